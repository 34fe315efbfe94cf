/* SPDX-License-Identifier: ISC */
/*
 * conversations: creating, reading, listing and changing them.  Worker, loop thread.
 *
 * The store is written first: it decides what a conversation is and who is a member.  The
 * event that tells of it is written with it, and goes through the pipeline of send.c then.
 */
#include <stdlib.h>
#include <string.h>

#include "chat/change.h"
#include "chat/roles.h"
#include "lib/json.h"
#include "lib/log.h"

struct conv_op {
	struct chat *chat;
	char user[ID_MAX], id[ID_MAX];
	bool admin;      /* no member, and sees all */
	struct buf json; /* the answer */
	uint64_t version;
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

static void
conv_op_answer(struct conv_op *op, bool created, uint64_t version)
{
	struct chat_result res = {.created = created, .version = version};

	res.json = (const char *)op->json.data;
	res.json_len = op->json.len;
	op->done(op->arg, &res);
	conv_op_free(op);
}

/* ---- create ---- */

static void
add_created_event(struct store_req *req, const struct conversation *cv)
{
	struct buf data;

	buf_init(&data);
	buf_printf(&data,
	    "{\"sender_id\":\"%s\",\"conversation\":{\"id\":\"%s\",\"type\":\"%s\",\"name\":",
	    cv->creator, cv->id, conversation_type_name(cv->type));
	json_put_string(&data, cv->name, strlen(cv->name));
	buf_puts(&data, ",\"topic\":");
	json_put_string(&data, cv->topic, strlen(cv->topic));
	buf_printf(&data,
	    ",\"creator_id\":\"%s\",\"public\":%s,\"history\":\"%s\"},\"members\":", cv->creator,
	    cv->is_public ? "true" : "false", conversation_history_name(cv->history));
	change_put_members(&data, cv);
	buf_putc(&data, '}');
	store_req_add_event(req, event_new(EVENT_CONVERSATION_CREATED, cv->id, cv->creator, "",
				     (const char *)data.data, data.len));
	buf_fini(&data);
}

/*
 * The conversation exists whatever became of its event, so that is the answer; the
 * pipeline goes on trying, and lists show the conversation in any case.
 */
static void
told(void *arg, const struct chat_result *res)
{
	struct conv_op *op = arg;

	if (res->err)
		log_warn(
		    "conversation.event_failed", "conv=%s err=%s", op->id, error_code(res->err));
	conv_op_answer(op, true, op->version);
}

static void
creation_fail(struct conv_op *op, int err)
{
	if (err == ERR_NOT_FOUND)
		conv_op_fail(op, ERR_INVALID_FIELD, "/members", "no_such_user");
	else
		conv_op_fail(op, err, NULL, NULL);
}

static void
created(struct store_req *req)
{
	struct conv_op *op = req->arg;

	if (req->err) {
		creation_fail(op, req->err);
		store_req_free(&req);
		return;
	}
	op->version = req->conversations[0]->version;
	conversation_json(&op->json, req->conversations[0]);
	if (req->flag)
		conv_op_answer(op, false, op->version);
	else
		send_event(op->chat, event_ref(req->events[0]), told, op);
	store_req_free(&req);
}

/* The members' names are in the event, so they are read before it is written. */
static void
creation_users_read(struct store_req *req)
{
	struct store_req *create = req->arg;
	struct conv_op *op = create->arg;
	struct conversation *cv = create->conversation;

	if (req->err) {
		creation_fail(op, req->err);
		store_req_free(&create);
	} else {
		for (size_t i = 0; i < req->user_count; i++)
			str_copy(cv->members[i].username, sizeof(cv->members[i].username),
			    req->users[i].username);
		add_created_event(create, cv);
		chat_store(op->chat, create);
	}
	store_req_free(&req);
}

static const char *
fill_members(
    struct conversation *cv, const char *user, const struct chat_create *in, const char **reason_r)
{
	bool direct = cv->type == CONVERSATION_DIRECT;

	*reason_r = "too_many";
	if (in->member_count >= CONVERSATION_MEMBERS_MAX)
		return "/members";
	str_copy(cv->creator, sizeof(cv->creator), user);
	conversation_add_member(cv, user)->role = direct ? ROLE_MEMBER : ROLE_OWNER;
	*reason_r = "invalid";
	for (size_t i = 0; i < in->member_count; i++) {
		if (!id_valid(in->members[i], "usr"))
			return "/members";
		if (!change_member(cv, in->members[i]))
			conversation_add_member(cv, in->members[i]);
	}
	*reason_r = "direct_needs_one_other";
	return direct && cv->member_count != 2 ? "/members" : NULL;
}

/* A direct conversation has no name, topic or anything else that could be set. */
static const char *
fill_settings(struct conversation *cv, const struct chat_create *in, const char **reason_r)
{
	if (cv->type == CONVERSATION_DIRECT) {
		cv->history = HISTORY_ALL;
		return NULL;
	}
	*reason_r = "too_long";
	if (in->name && !str_copy(cv->name, sizeof(cv->name), in->name))
		return "/name";
	if (in->topic && !str_copy(cv->topic, sizeof(cv->topic), in->topic))
		return "/topic";
	*reason_r = "required";
	if (!cv->name[0])
		return "/name";
	*reason_r = "invalid";
	if (in->history && !conversation_history_parse(in->history, &cv->history))
		return "/history";
	*reason_r = "channels_only";
	cv->is_public = in->is_public;
	return in->is_public && cv->type != CONVERSATION_CHANNEL ? "/public" : NULL;
}

/* The field at fault, or NULL; fills cv. */
static const char *
fill_conversation(
    struct conversation *cv, const char *user, const struct chat_create *in, const char **reason_r)
{
	const char *pointer;

	*reason_r = "unknown_type";
	for (cv->type = CONVERSATION_DIRECT; cv->type <= CONVERSATION_CHANNEL; cv->type++)
		if (strcmp(in->type, conversation_type_name(cv->type)) == 0)
			break;
	if (cv->type > CONVERSATION_CHANNEL)
		return "/type";
	pointer = fill_settings(cv, in, reason_r);
	return pointer ? pointer : fill_members(cv, user, in, reason_r);
}

void
chat_conversation_create(
    struct chat *c, const char *user, const struct chat_create *in, chat_done done, void *arg)
{
	struct conversation *cv = conversation_new();
	const char *reason, *pointer;
	struct store_req *create, *users;

	cv->history = c->opts.history;
	pointer = fill_conversation(cv, user, in, &reason);
	if (pointer) {
		conversation_free(&cv);
		chat_answer_error(done, arg, ERR_INVALID_FIELD, pointer, reason);
		return;
	}
	id_new(cv->id, "cnv");
	cv->created_ms = clock_wall_ms();
	create = store_req_new(
	    STORE_CONVERSATION_CREATE, created, conv_op_new(c, user, cv->id, done, arg));
	create->conversation = cv;
	create->now_ms = cv->created_ms;
	users = store_req_new(STORE_USERS_BY_ID, creation_users_read, create);
	users->ids = xcalloc(cv->member_count, sizeof(*users->ids));
	users->id_count = cv->member_count;
	for (size_t i = 0; i < cv->member_count; i++)
		str_copy(users->ids[i], ID_MAX, cv->members[i].user);
	chat_store(c, users);
}

/* ---- read ---- */

static void
got(struct store_req *req)
{
	struct conv_op *op = req->arg;
	const struct conversation *cv = req->err ? NULL : req->conversations[0];
	bool member = cv && (op->admin || change_member(cv, op->user));

	if (!req->err && !member && !cv->is_public)
		req->err = ERR_NOT_FOUND; /* a stranger does not learn that it exists */
	if (req->err) {
		conv_op_fail(op, req->err, NULL, NULL);
		store_req_free(&req);
		return;
	}
	if (member)
		conversation_json(&op->json, cv);
	else
		conversation_summary_json(&op->json, cv);
	conv_op_answer(op, false, cv->version);
	store_req_free(&req);
}

static void
get(struct chat *c, const char *user, const char *id, bool admin, chat_done done, void *arg)
{
	struct store_req *req;
	struct conv_op *op;

	if (!id_valid(id, "cnv")) {
		chat_answer_error(done, arg, ERR_NOT_FOUND, NULL, NULL);
		return;
	}
	op = conv_op_new(c, user, id, done, arg);
	op->admin = admin;
	req = store_req_new(STORE_CONVERSATION_GET, got, op);
	str_copy(req->id, sizeof(req->id), id);
	chat_store(c, req);
}

void
chat_conversation_get(struct chat *c, const char *user, const char *id, chat_done done, void *arg)
{
	get(c, user, id, false, done, arg);
}

void
chat_conversation_show(struct chat *c, const char *id, chat_done done, void *arg)
{
	get(c, "", id, true, done, arg);
}

/* Answers with the list that is open in op->json. */
static void
answer_list(struct conv_op *op, const struct store_req *req)
{
	size_t n = req->conversation_count;

	chat_page_end(&op->json, n && n == req->limit ? req->conversations[n - 1]->id : NULL);
	conv_op_answer(op, false, 0);
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
		conversation_member_json(&op->json, req->conversations[i], &req->memberships[i]);
	}
	answer_list(op, req);
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

static void
channels_listed(struct store_req *req)
{
	struct conv_op *op = req->arg;

	if (req->err) {
		conv_op_fail(op, req->err, NULL, NULL);
		store_req_free(&req);
		return;
	}
	buf_puts(&op->json, op->admin ? "{\"conversations\":[" : "{\"items\":[");
	for (size_t i = 0; i < req->conversation_count; i++) {
		if (i)
			buf_putc(&op->json, ',');
		conversation_summary_json(&op->json, req->conversations[i]);
	}
	answer_list(op, req);
	store_req_free(&req);
}

void
chat_channel_list(struct chat *c, const char *prefix, const char *cursor, size_t limit, bool admin,
    chat_done done, void *arg)
{
	struct conv_op *op = conv_op_new(c, "", "", done, arg);
	struct store_req *req = store_req_new(STORE_CHANNEL_LIST, channels_listed, op);

	op->admin = admin;
	req->flag = admin;
	req->text = xstrdup(prefix);
	req->cursor = xstrdup(cursor);
	req->limit = limit;
	chat_store(c, req);
}

/* ---- change ---- */

static void
put_change(struct buf *b, const char *name)
{
	buf_printf(b, "%s\"%s\":", b->len ? "," : "", name);
}

static void
change_text(struct buf *b, const char *name, const char *wanted, char *text, size_t size)
{
	if (!wanted || strcmp(wanted, text) == 0)
		return;
	str_copy(text, size, wanted);
	put_change(b, name);
	json_put_string(b, text, strlen(text));
}

static void
change_flag(struct buf *b, const char *name, int wanted, bool *flag)
{
	if (wanted < 0 || *flag == (wanted != 0))
		return;
	*flag = wanted != 0;
	put_change(b, name);
	buf_puts(b, *flag ? "true" : "false");
}

static int
plan_change(struct change_op *op, const struct conversation *now, struct store_req *req)
{
	struct conversation *cv = req->conversation;
	struct buf changes;
	int err = change_check(op, now, op->archived == 0 ? ACTION_UNARCHIVE : ACTION_CHANGE);

	if (err)
		return err;
	if (op->is_public == 1 && now->type != CONVERSATION_CHANNEL) {
		op->pointer = "/public";
		op->reason = "channels_only";
		return ERR_INVALID_FIELD;
	}
	buf_init(&changes);
	change_text(&changes, "name", op->name, cv->name, sizeof(cv->name));
	change_text(&changes, "topic", op->topic, cv->topic, sizeof(cv->topic));
	change_flag(&changes, "archived", op->archived, &cv->archived);
	change_flag(&changes, "public", op->is_public, &cv->is_public);
	if (op->history >= 0 && cv->history != (enum conversation_history)op->history) {
		cv->history = (enum conversation_history)op->history;
		put_change(&changes, "history");
		buf_printf(&changes, "\"%s\"", conversation_history_name(cv->history));
	}
	if (changes.len)
		change_tell_changes(op, now, req, buf_cstr(&changes));
	buf_fini(&changes);
	return 0;
}

/* The field at fault, or NULL. */
static const char *
change_fault(
    const struct chat_settings *in, enum conversation_history *history_r, const char **reason_r)
{
	*reason_r = "empty";
	if (in->name && !in->name[0])
		return "/name";
	*reason_r = "too_long";
	if (in->name && strlen(in->name) > CONVERSATION_NAME_MAX)
		return "/name";
	if (in->topic && strlen(in->topic) > CONVERSATION_TOPIC_MAX)
		return "/topic";
	*reason_r = "invalid";
	if (in->history && !conversation_history_parse(in->history, history_r))
		return "/history";
	return NULL;
}

void
chat_conversation_change(struct chat *c, const char *user, const char *id,
    const struct chat_settings *in, uint64_t version, chat_done done, void *arg)
{
	enum conversation_history history = HISTORY_ALL;
	const char *reason, *pointer = change_fault(in, &history, &reason);
	struct change_op *op;

	if (!id_valid(id, "cnv")) {
		chat_answer_error(done, arg, ERR_NOT_FOUND, NULL, NULL);
		return;
	}
	if (pointer) {
		chat_answer_error(done, arg, ERR_INVALID_FIELD, pointer, reason);
		return;
	}
	op = change_new(c, user, id, plan_change, done, arg);
	op->version = version;
	op->name = xstrdup(in->name);
	op->topic = xstrdup(in->topic);
	op->archived = in->archived ? *in->archived : -1;
	op->is_public = in->is_public ? *in->is_public : -1;
	op->history = in->history ? (int)history : -1;
	change_start(op, NULL);
}
