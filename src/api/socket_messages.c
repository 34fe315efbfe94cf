/* SPDX-License-Identifier: ISC */
/*
 * socket_messages: the socket events about messages.  Worker, loop thread.  The same
 * rules as REST, because both call the same functions of chat/.
 */
#include <stdlib.h>
#include <string.h>

#include "api/socket_int.h"

static struct chat *
chat_of(const struct socket_call *call)
{
	return call->socket->api->chat;
}

static const char *
user_of(const struct socket_call *call)
{
	return client_user(call->socket->client);
}

void
socket_message_send(struct socket_call *call, struct json_object *body)
{
	struct chat_message in = {0};
	struct json_object *mentions = NULL;
	const struct field fields[] = {
	    {"conversation_id", FIELD_STR, true, &in.conversation},
	    {"client_msg_id", FIELD_STR, true, &in.client_msg_id},
	    {"text", FIELD_STR, true, &in.text},
	    {"mentions", FIELD_STRS, false, &mentions},
	    {"reply_to", FIELD_STR, false, &in.reply_to},
	};
	const char **list;

	if (!socket_fields(call, body, fields, 5))
		return;
	in.text_len = strlen(in.text);
	list = fields_strings(mentions, &in.mention_count);
	in.mentions = list;
	chat_send(chat_of(call), user_of(call), &in, socket_done, call);
	free(list);
}

void
socket_message_edit(struct socket_call *call, struct json_object *body)
{
	struct chat_change in = {.type = EVENT_MESSAGE_UPDATED};
	struct json_object *mentions = NULL;
	const struct field fields[] = {
	    {"message_id", FIELD_STR, true, &in.message},
	    {"text", FIELD_STR, true, &in.text},
	    {"mentions", FIELD_STRS, false, &mentions},
	    {"client_msg_id", FIELD_STR, false, &in.client_msg_id},
	};
	const char **list;

	if (!socket_fields(call, body, fields, 4))
		return;
	in.text_len = strlen(in.text);
	list = fields_strings(mentions, &in.mention_count);
	in.mentions = list;
	chat_message_change(chat_of(call), user_of(call), &in, socket_done, call);
	free(list);
}

void
socket_message_delete(struct socket_call *call, struct json_object *body)
{
	struct chat_change in = {.type = EVENT_MESSAGE_DELETED};
	const struct field fields[] = {
	    {"message_id", FIELD_STR, true, &in.message},
	    {"client_msg_id", FIELD_STR, false, &in.client_msg_id},
	};

	if (socket_fields(call, body, fields, 2))
		chat_message_change(chat_of(call), user_of(call), &in, socket_done, call);
}

static void
reaction(struct socket_call *call, struct json_object *body, enum event_type type)
{
	struct chat_change in = {.type = type};
	const struct field fields[] = {
	    {"message_id", FIELD_STR, true, &in.message},
	    {"emoji", FIELD_STR, true, &in.emoji},
	    {"client_msg_id", FIELD_STR, false, &in.client_msg_id},
	};

	if (socket_fields(call, body, fields, 3))
		chat_message_change(chat_of(call), user_of(call), &in, socket_done, call);
}

void
socket_reaction_add(struct socket_call *call, struct json_object *body)
{
	reaction(call, body, EVENT_REACTION_ADDED);
}

void
socket_reaction_remove(struct socket_call *call, struct json_object *body)
{
	reaction(call, body, EVENT_REACTION_REMOVED);
}

void
socket_read_set(struct socket_call *call, struct json_object *body)
{
	const char *conversation;
	int64_t seq;
	const struct field fields[] = {
	    {"conversation_id", FIELD_STR, true, &conversation},
	    {"seq", FIELD_INT, true, &seq},
	};

	if (!socket_fields(call, body, fields, 2))
		return;
	if (seq < 0)
		chat_answer_error(socket_done, call, ERR_INVALID_FIELD, "/seq", "not_a_seq");
	else
		chat_read_set(
		    chat_of(call), user_of(call), conversation, (uint64_t)seq, socket_done, call);
}
