/* SPDX-License-Identifier: ISC */
/*
 * socket_messages: the socket events about messages.  Worker, loop thread.  The same
 * rules as REST, because both call the same functions of chat/.
 */
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
	api_send_message(chat_of(call), user_of(call), NULL, body, socket_done, call);
}

void
socket_message_edit(struct socket_call *call, struct json_object *body)
{
	api_edit_message(chat_of(call), user_of(call), NULL, body, socket_done, call);
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
