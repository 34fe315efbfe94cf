/* SPDX-License-Identifier: ISC */
/*
 * messages: /v1/conversations/{id}/messages, /v1/conversations/{id}/read,
 * /v1/messages/{id} and /v1/sync.  Worker, loop thread.
 */
#include <stdlib.h>
#include <string.h>

#include "api/api_int.h"

/* ?name=SEQ; false: there, and not a number. */
static bool
seq_param(const struct api_call *call, const char *name, uint64_t *seq_r, bool *there_r)
{
	const char *text = http_query(call->req, name);
	char *end;

	*there_r = text != NULL;
	if (!text)
		return true;
	*seq_r = strtoull(text, &end, 10);
	return *text >= '0' && *text <= '9' && !*end && *seq_r < UINT64_C(1) << 53;
}

void
api_get_messages(struct api_call *call)
{
	struct chat_page page = {.conversation = call->params[0]};
	bool before, around;

	if (!seq_param(call, "before", &page.before, &before))
		api_fail(call, ERR_INVALID_FIELD, "/before", "not_a_seq");
	else if (!seq_param(call, "after", &page.after, &page.has_after))
		api_fail(call, ERR_INVALID_FIELD, "/after", "not_a_seq");
	else if (!seq_param(call, "around", &page.around, &around))
		api_fail(call, ERR_INVALID_FIELD, "/around", "not_a_seq");
	else if (before + page.has_after + around > 1)
		api_fail(call, ERR_INVALID_FIELD, "/before", "exclusive");
	else if (api_limit(call, CHAT_PAGE, STORE_PAGE_MAX, &page.limit))
		chat_history(call->api->chat, call->who.user, &page, api_done, call);
}

void
api_send_message(struct chat *c, const char *user, const char *conversation,
    struct json_object *body, chat_done done, void *arg)
{
	struct chat_message in = {.conversation = conversation, .text = ""};
	struct json_object *mentions = NULL, *files = NULL;
	const struct field fields[] = {
	    {"conversation_id", FIELD_STR, true, &in.conversation},
	    {"client_msg_id", FIELD_STR, true, &in.client_msg_id},
	    {"text", FIELD_STR, false, &in.text}, /* empty only with files; chat_send() says so */
	    {"mentions", FIELD_STRS, false, &mentions},
	    {"reply_to", FIELD_STR, false, &in.reply_to},
	    {"files", FIELD_STRS, false, &files},
	};
	const size_t skip = conversation != NULL;
	const char **list, **ids;

	if (!api_read_fields(body, fields + skip, 6 - skip, done, arg))
		return;
	in.text_len = strlen(in.text);
	list = fields_strings(mentions, &in.mention_count);
	ids = fields_strings(files, &in.file_count);
	in.mentions = list;
	in.files = ids;
	chat_send(c, user, &in, done, arg);
	free(list);
	free(ids);
}

void
api_post_messages(struct api_call *call)
{
	api_send_message(
	    call->api->chat, call->who.user, call->params[0], call->body, api_done, call);
}

/* ---- one message ---- */

void
api_get_message(struct api_call *call)
{
	chat_message_get(call->api->chat, call->who.user, call->params[0], api_done, call);
}

void
api_edit_message(struct chat *c, const char *user, const char *message, struct json_object *body,
    chat_done done, void *arg)
{
	struct chat_change in = {.type = EVENT_MESSAGE_UPDATED, .message = message};
	struct json_object *mentions = NULL;
	const struct field fields[] = {
	    {"message_id", FIELD_STR, true, &in.message},
	    {"text", FIELD_STR, true, &in.text},
	    {"mentions", FIELD_STRS, false, &mentions},
	    {"client_msg_id", FIELD_STR, false, &in.client_msg_id},
	};
	const size_t skip = message != NULL;
	const char **list;

	if (!api_read_fields(body, fields + skip, 4 - skip, done, arg))
		return;
	in.text_len = strlen(in.text);
	list = fields_strings(mentions, &in.mention_count);
	in.mentions = list;
	chat_message_change(c, user, &in, done, arg);
	free(list);
}

void
api_patch_message(struct api_call *call)
{
	api_edit_message(
	    call->api->chat, call->who.user, call->params[0], call->body, api_done, call);
}

/* The body has nothing but a client_msg_id, and need not be there. */
static void
change(struct api_call *call, enum event_type type, const char *emoji)
{
	struct chat_change in = {.type = type, .message = call->params[0], .emoji = emoji};
	const struct field fields[] = {{"client_msg_id", FIELD_STR, false, &in.client_msg_id}};

	if (api_fields(call, fields, 1))
		chat_message_change(call->api->chat, call->who.user, &in, api_done, call);
}

void
api_delete_message(struct api_call *call)
{
	change(call, EVENT_MESSAGE_DELETED, NULL);
}

void
api_put_reaction(struct api_call *call)
{
	change(call, EVENT_REACTION_ADDED, call->params[1]);
}

void
api_delete_reaction(struct api_call *call)
{
	change(call, EVENT_REACTION_REMOVED, call->params[1]);
}

void
api_put_read(struct api_call *call)
{
	int64_t seq;
	const struct field fields[] = {{"seq", FIELD_INT, true, &seq}};

	if (!api_fields(call, fields, 1))
		return;
	if (seq < 0)
		api_fail(call, ERR_INVALID_FIELD, "/seq", "not_a_seq");
	else
		chat_read_set(call->api->chat, call->who.user, call->params[0], (uint64_t)seq,
		    api_done, call);
}

/* ---- sync ---- */

/* The body to entries.  0 or ERR_INVALID_FIELD. */
static int
read_sync(struct json_object *body, struct chat_sync_entry **entries_r, size_t *count_r,
    size_t *limit_r, const char **pointer_r, const char **reason_r)
{
	struct json_object *map = NULL;
	int64_t limit = CHAT_SYNC_LIMIT;
	const struct field fields[] = {
	    {"conversations", FIELD_OBJECT, true, &map},
	    {"limit", FIELD_INT, false, &limit},
	};
	struct chat_sync_entry *e;
	size_t n = 0;
	int err;

	err = fields_read(body, fields, 2, pointer_r, reason_r);
	if (err)
		return err;
	*pointer_r = "/limit";
	*reason_r = "out_of_range";
	if (limit < 1 || limit > CHAT_SYNC_LIMIT_MAX)
		return ERR_INVALID_FIELD;
	*pointer_r = "/conversations";
	*reason_r = "too_many";
	if (json_object_object_length(map) > CHAT_SYNC_CONVERSATIONS)
		return ERR_INVALID_FIELD;
	*reason_r = "invalid";
	e = xcalloc((size_t)json_object_object_length(map) + 1, sizeof(*e));
	json_object_object_foreach(map, id, seq)
	{
		int64_t after = json_object_get_int64(seq);

		if (!id_valid(id, "cnv") || !json_object_is_type(seq, json_type_int) || after < 0) {
			free(e);
			return ERR_INVALID_FIELD;
		}
		str_copy(e[n].conversation, sizeof(e[n].conversation), id);
		e[n++].after = (uint64_t)after;
	}
	*entries_r = e;
	*count_r = n;
	*limit_r = (size_t)limit;
	return 0;
}

void
api_sync(struct chat *c, const char *user, struct json_object *body, chat_done done, void *arg)
{
	struct chat_sync_entry *entries;
	const char *pointer, *reason;
	size_t count, limit;

	if (read_sync(body, &entries, &count, &limit, &pointer, &reason)) {
		chat_answer_error(done, arg, ERR_INVALID_FIELD, pointer, reason);
		return;
	}
	chat_sync(c, user, entries, count, limit, done, arg);
	free(entries);
}

void
api_post_sync(struct api_call *call)
{
	api_sync(call->api->chat, call->who.user, call->body, api_done, call);
}
