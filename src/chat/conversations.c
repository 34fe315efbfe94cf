/* SPDX-License-Identifier: ISC */
/*
 * conversations: creating, reading, members.  Worker, loop thread.
 *
 * The store is written first: it decides who is a member.  Then the change goes
 * through the pipeline of send.c as an event with a number, which tells everybody
 * who is online and stands in the history.
 */
#include <stdlib.h>
#include <string.h>

#include "chat/chat_int.h"
#include "lib/json.h"
#include "lib/log.h"

struct conv_op {
	struct chat *chat;
	char user[ID_MAX], id[ID_MAX];
	struct buf json; /* the answer */
	chat_done done;
	void *arg;
};

static struct conv_op *
conv_op_new(struct chat *c, const char *user, const char *id, chat_done done, void *arg)
{
	struct conv_op *op = xcalloc(1, sizeof(*op));

	op->chat = c;
	str_copy(op->user, sizeof(op->user), user);
	str_copy(op->id, sizeof(op->id), id);
	op->done = done;
	op->arg = arg;
	return op;
}

static void
conv_op_free(struct conv_op *op)
{
	buf_fini(&op->json);
	free(op);
}

static void
conv_op_fail(struct conv_op *op, int err, const char *pointer, const char *reason)
{
	chat_answer_error(op->done, op->arg, err, pointer, reason);
	conv_op_free(op);
}

static bool
is_member(const struct conversation *cv, const char *user)
{
	for (size_t i = 0; i < cv->member_count; i++)
		if (strcmp(cv->members[i].user, user) == 0)
			return true;
	return false;
}

/* ---- events ---- */

static void
put_members(struct buf *b, const struct conversation *cv, const struct store_req *only)
{
	bool first = true;

	buf_puts(b, "\"members\":[");
	for (size_t i = 0; i < cv->member_count; i++) {
		const struct member *m = &cv->members[i];
		bool take = !only;

		for (size_t k = 0; only && k < only->id_out_count && !take; k++)
			take = strcmp(only->ids_out[k], m->user) == 0;
		if (!take)
			continue;
		buf_printf(b, "%s{\"user_id\":\"%s\",\"username\":\"%s\"}", first ? "" : ",",
		    m->user, m->username);
		first = false;
	}
	buf_putc(b, ']');
}

static struct event *
created_event(const struct conversation *cv)
{
	struct event *ev;
	struct buf data;

	buf_init(&data);
	buf_printf(&data,
	    "{\"sender_id\":\"%s\",\"conversation\":{\"id\":\"%s\",\"type\":\"%s\",\"name\":",
	    cv->creator, cv->id, conversation_type_name(cv->type));
	json_put_string(&data, cv->name, strlen(cv->name));
	buf_printf(&data, ",\"creator_id\":\"%s\"},", cv->creator);
	put_members(&data, cv, NULL);
	buf_putc(&data, '}');
	ev = event_new(
	    EVENT_CONVERSATION_CREATED, cv->id, cv->creator, "", (char *)data.data, data.len);
	buf_fini(&data);
	return ev;
}

static struct event *
joined_event(const struct conversation *cv, const char *by, const struct store_req *added)
{
	struct event *ev;
	struct buf data;

	buf_init(&data);
	buf_printf(&data, "{\"sender_id\":\"%s\",", by);
	put_members(&data, cv, added);
	buf_putc(&data, '}');
	ev = event_new(EVENT_MEMBER_JOINED, cv->id, by, "", (char *)data.data, data.len);
	buf_fini(&data);
	return ev;
}

/* ---- create ---- */

/*
 * The conversation exists whatever became of its event, so that is the answer; the
 * pipeline goes on trying, and lists show the conversation in any case.
 */
static void
announced(void *arg, const struct chat_result *res)
{
	struct conv_op *op = arg;

	if (res->err)
		log_warn(
		    "conversation.event_failed", "conv=%s err=%s", op->id, error_code(res->err));
	chat_answer_json(op->done, op->arg, true, &op->json);
	conv_op_free(op);
}

static void
created(struct store_req *req)
{
	struct conv_op *op = req->arg;
	const struct conversation *cv;

	if (req->err) {
		bool no_user = req->err == ERR_NOT_FOUND;

		conv_op_fail(op, no_user ? ERR_INVALID_FIELD : req->err,
		    no_user ? "/members" : NULL, no_user ? "no_such_user" : NULL);
		store_req_free(&req);
		return;
	}
	cv = req->conversations[0];
	str_copy(op->id, sizeof(op->id), cv->id);
	conversation_json(&op->json, cv);
	if (req->flag) {
		chat_answer_json(op->done, op->arg, false, &op->json);
		conv_op_free(op);
	} else {
		send_event(op->chat, created_event(cv), announced, op);
	}
	store_req_free(&req);
}

/* The field at fault, or NULL; fills cv. */
static const char *
fill_conversation(
    struct conversation *cv, const char *user, const struct chat_create *in, const char **reason_r)
{
	bool direct = strcmp(in->type, "direct") == 0;

	*reason_r = "unknown_type";
	if (!direct && strcmp(in->type, "group") != 0)
		return "/type";
	cv->type = direct ? CONVERSATION_DIRECT : CONVERSATION_GROUP;
	*reason_r = "too_long";
	if (in->name && !direct && !str_copy(cv->name, sizeof(cv->name), in->name))
		return "/name";
	*reason_r = "required";
	if (!direct && !cv->name[0])
		return "/name";
	*reason_r = "too_many";
	if (in->member_count >= CONVERSATION_MEMBERS_MAX)
		return "/members";
	str_copy(cv->creator, sizeof(cv->creator), user);
	conversation_add_member(cv, user)->role = direct ? ROLE_MEMBER : ROLE_OWNER;
	*reason_r = "invalid";
	for (size_t i = 0; i < in->member_count; i++) {
		if (!id_valid(in->members[i], "usr"))
			return "/members";
		if (!is_member(cv, in->members[i]))
			conversation_add_member(cv, in->members[i]);
	}
	*reason_r = "direct_needs_one_other";
	return direct && cv->member_count != 2 ? "/members" : NULL;
}

void
chat_conversation_create(
    struct chat *c, const char *user, const struct chat_create *in, chat_done done, void *arg)
{
	struct conversation *cv = conversation_new();
	const char *reason, *pointer = fill_conversation(cv, user, in, &reason);
	struct store_req *req;

	if (pointer) {
		conversation_free(&cv);
		chat_answer_error(done, arg, ERR_INVALID_FIELD, pointer, reason);
		return;
	}
	id_new(cv->id, "cnv");
	cv->created_ms = clock_wall_ms();
	req = store_req_new(
	    STORE_CONVERSATION_CREATE, created, conv_op_new(c, user, cv->id, done, arg));
	req->conversation = cv;
	chat_store(c, req);
}

/* ---- read ---- */

static void
got(struct store_req *req)
{
	struct conv_op *op = req->arg;

	if (!req->err && !is_member(req->conversations[0], op->user))
		req->err = ERR_NOT_FOUND; /* a stranger does not learn that it exists */
	if (req->err) {
		conv_op_fail(op, req->err, NULL, NULL);
	} else {
		conversation_json(&op->json, req->conversations[0]);
		chat_answer_json(op->done, op->arg, false, &op->json);
		conv_op_free(op);
	}
	store_req_free(&req);
}

/* Asks for conversation op->id; what comes then is up to `then`. */
static void
get(struct conv_op *op, void (*then)(struct store_req *))
{
	struct store_req *req = store_req_new(STORE_CONVERSATION_GET, then, op);

	str_copy(req->id, sizeof(req->id), op->id);
	chat_store(op->chat, req);
}

void
chat_conversation_get(struct chat *c, const char *user, const char *id, chat_done done, void *arg)
{
	if (!id_valid(id, "cnv")) {
		chat_answer_error(done, arg, ERR_NOT_FOUND, NULL, NULL);
		return;
	}
	get(conv_op_new(c, user, id, done, arg), got);
}

static void
listed(struct store_req *req)
{
	struct conv_op *op = req->arg;

	if (req->err) {
		conv_op_fail(op, req->err, NULL, NULL);
		store_req_free(&req);
		return;
	}
	buf_puts(&op->json, "{\"items\":[");
	for (size_t i = 0; i < req->conversation_count; i++) {
		if (i)
			buf_putc(&op->json, ',');
		conversation_json(&op->json, req->conversations[i]);
	}
	if (req->conversation_count == req->limit)
		buf_printf(&op->json, "],\"next_cursor\":\"%s\"}",
		    req->conversations[req->conversation_count - 1]->id);
	else
		buf_puts(&op->json, "],\"next_cursor\":null}");
	chat_answer_json(op->done, op->arg, false, &op->json);
	conv_op_free(op);
	store_req_free(&req);
}

void
chat_conversation_list(
    struct chat *c, const char *user, const char *cursor, size_t limit, chat_done done, void *arg)
{
	struct store_req *req =
	    store_req_new(STORE_CONVERSATION_LIST, listed, conv_op_new(c, user, "", done, arg));

	str_copy(req->id, sizeof(req->id), user);
	req->cursor = xstrdup(cursor);
	req->limit = limit;
	chat_store(c, req);
}

/* ---- members ---- */

/* The conversation as it is with the new members; tells them and the old ones. */
static void
members_read(struct store_req *req)
{
	struct store_req *added = req->arg;
	struct conv_op *op = added->arg;

	if (req->err) {
		conv_op_fail(op, req->err, NULL, NULL);
	} else {
		conversation_json(&op->json, req->conversations[0]);
		send_event(
		    op->chat, joined_event(req->conversations[0], op->user, added), announced, op);
	}
	store_req_free(&added);
	store_req_free(&req);
}

static void
members_added(struct store_req *req)
{
	struct conv_op *op = req->arg;
	bool no_user = req->err == ERR_NOT_FOUND;
	struct store_req *read;

	if (req->err) {
		conv_op_fail(op, no_user ? ERR_INVALID_FIELD : req->err,
		    no_user ? "/user_ids" : NULL, no_user ? "no_such_user" : NULL);
		store_req_free(&req);
		return;
	}
	if (!req->id_out_count) { /* all were members before */
		get(op, got);
		store_req_free(&req);
		return;
	}
	read = store_req_new(STORE_CONVERSATION_GET, members_read, req);
	str_copy(read->id, sizeof(read->id), op->id);
	chat_store(op->chat, read);
}

static void
adder_checked(struct store_req *req)
{
	struct store_req *add = req->arg;

	struct conv_op *op = add->arg;

	if (req->err) {
		conv_op_fail(op, req->err, NULL, NULL);
		store_req_free(&add);
	} else {
		chat_store(op->chat, add);
	}
	store_req_free(&req);
}

void
chat_members_add(struct chat *c, const char *user, const char *id, const char *const *users,
    size_t count, chat_done done, void *arg)
{
	struct store_req *add;
	bool valid = count > 0 && count < CONVERSATION_MEMBERS_MAX;

	if (!id_valid(id, "cnv")) {
		chat_answer_error(done, arg, ERR_NOT_FOUND, NULL, NULL);
		return;
	}
	for (size_t i = 0; valid && i < count; i++)
		valid = id_valid(users[i], "usr");
	if (!valid) {
		chat_answer_error(done, arg, ERR_INVALID_FIELD, "/user_ids", "invalid");
		return;
	}
	add = store_req_new(STORE_MEMBERS_ADD, members_added, conv_op_new(c, user, id, done, arg));
	str_copy(add->id, sizeof(add->id), id);
	add->ids = xcalloc(count, sizeof(*add->ids));
	add->id_count = count;
	for (size_t i = 0; i < count; i++)
		str_copy(add->ids[i], ID_MAX, users[i]);
	chat_check_member(c, id, user, adder_checked, add);
}
