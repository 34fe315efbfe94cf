/* SPDX-License-Identifier: ISC */
/*
 * compose: from what a client asks for to the event of a message.  Worker, loop thread.
 */
#include <string.h>

#include "chat/chat_int.h"
#include "lib/json.h"

/* Appends ,"name":["..",".."], or nothing. */
static void
put_ids(struct buf *data, const char *name, const char *const *ids, size_t count)
{
	if (!count)
		return;
	buf_printf(data, ",\"%s\":[", name);
	for (size_t i = 0; i < count; i++)
		buf_printf(data, "%s\"%s\"", i ? "," : "", ids[i]);
	buf_putc(data, ']');
}

void
compose_mentions(struct buf *data, const char *const *mentions, size_t count)
{
	put_ids(data, "mentions", mentions, count);
}

struct event *
compose_message(const char *user, const struct chat_message *in, size_t *files_at_r)
{
	struct event *ev;
	struct buf data;

	buf_init(&data);
	buf_printf(&data, "{\"sender_id\":\"%s\",\"client_msg_id\":\"%s\",\"text\":", user,
	    in->client_msg_id);
	json_put_string(&data, in->text, in->text_len);
	compose_mentions(&data, in->mentions, in->mention_count);
	if (in->reply_to)
		buf_printf(&data, ",\"reply_to\":\"%s\"", in->reply_to);
	*files_at_r = data.len;
	put_ids(&data, "files", in->files, in->file_count);
	buf_putc(&data, '}');
	ev = event_new(EVENT_MESSAGE_CREATED, in->conversation, user, in->client_msg_id,
	    (const char *)data.data, data.len);
	buf_fini(&data);
	return ev;
}

struct event *
compose_with_files(const struct event *plain, size_t files_at, const struct file *files,
    size_t count, const char *id)
{
	struct event *ev;
	struct buf data;

	buf_init(&data);
	buf_append(&data, plain->data, files_at);
	for (size_t i = 0; i < count; i++) {
		buf_puts(&data, i ? "," : ",\"files\":[");
		file_put_json(&data, &files[i]);
	}
	buf_puts(&data, "]}");
	ev = event_new(plain->type, plain->conversation, plain->sender, plain->client_id,
	    (const char *)data.data, data.len);
	buf_fini(&data);
	memcpy(ev->digest, plain->digest, EVENT_DIGEST);
	str_copy(ev->id, sizeof(ev->id), id);
	return ev;
}

/* ---- what is wrong with it ---- */

const char *
compose_text_fault(const struct chat *c, size_t text_len, bool may_be_empty,
    const char *const *mentions, size_t count, const char **reason_r)
{
	*reason_r = text_len ? "too_long" : "empty";
	if ((!text_len && !may_be_empty) || text_len > c->opts.max_text)
		return "/text";
	*reason_r = "too_many";
	if (count > MESSAGE_MENTIONS_MAX)
		return "/mentions";
	*reason_r = "invalid";
	for (size_t i = 0; i < count; i++)
		if (!id_valid(mentions[i], "usr"))
			return "/mentions";
	return NULL;
}

static const char *
files_fault(const struct chat_message *in, const char **reason_r)
{
	*reason_r = "too_many";
	if (in->file_count > FILES_A_MESSAGE)
		return "/files";
	*reason_r = "invalid";
	for (size_t i = 0; i < in->file_count; i++) {
		if (!id_valid(in->files[i], "fil"))
			return "/files";
		for (size_t k = 0; k < i; k++)
			if (strcmp(in->files[i], in->files[k]) == 0)
				return "/files";
	}
	return NULL;
}

const char *
compose_fault(const struct chat *c, const struct chat_message *in, const char **reason_r)
{
	const char *pointer;

	*reason_r = "invalid";
	if (!id_valid(in->conversation, "cnv"))
		return "/conversation_id";
	*reason_r = "not_a_uuid";
	if (!uuid_valid(in->client_msg_id))
		return "/client_msg_id";
	*reason_r = "no_such_message";
	if (in->reply_to && !id_valid(in->reply_to, "msg"))
		return "/reply_to";
	pointer = files_fault(in, reason_r);
	if (pointer)
		return pointer;
	return compose_text_fault(
	    c, in->text_len, in->file_count, in->mentions, in->mention_count, reason_r);
}
