/* SPDX-License-Identifier: ISC */
/*
 * members: who is in a conversation, and as what.  Worker, loop thread.
 */
#include <stdlib.h>
#include <string.h>

#include "chat/change.h"
#include "chat/roles.h"

/* "members":[..] of an event: this user, with a name, a role or both. */
static void
tell_of_member(struct change_op *op, struct store_req *req, enum event_type type,
    const struct member *m, bool name, enum member_role role, const char *more)
{
	struct buf rest;

	buf_init(&rest);
	buf_printf(&rest, "\"members\":[{\"user_id\":\"%s\"", m->user);
	if (name)
		buf_printf(&rest, ",\"username\":\"%s\"", m->username);
	if (role)
		buf_printf(&rest, ",\"role\":\"%s\"", member_role_name(role));
	buf_printf(&rest, "}]%s", more);
	change_tell(op, req, type, buf_cstr(&rest));
	buf_fini(&rest);
}

/* The target as it is, or the error of one who is no member. */
static const struct member *
find_target(struct change_op *op, const struct conversation *now, int *err_r)
{
	const struct member *m = change_member(now, op->target);

	*err_r = m ? 0 : ERR_NOT_FOUND;
	return m;
}

/* ---- adding and joining ---- */

static int
check_add(struct change_op *op, const struct conversation *now)
{
	const struct member *me = change_member(now, op->user);
	bool alone = op->id_count == 1 && strcmp(op->ids[0], op->user) == 0;
	int err;

	if (!me && alone) {
		err = change_check(op, now, ACTION_JOIN);
		return !err && op->role > ROLE_MEMBER ? ERR_FORBIDDEN : err;
	}
	if (me && alone)
		return 0; /* nothing will come of it */
	err = change_check(op, now, ACTION_ADD);
	if (!err && op->role > ROLE_MEMBER)
		err = change_check(op, now, ACTION_SET_ROLE);
	return err;
}

static void
add_one(struct change_op *op, struct store_req *req, const struct user *u)
{
	struct member *m = conversation_add_member(req->conversation, u->id);

	m->role = op->role ? op->role : ROLE_MEMBER;
	m->since = req->conversation->history == HISTORY_JOINED ? op->head : 0;
	str_copy(m->username, sizeof(m->username), u->username);
}

static int
plan_add(struct change_op *op, const struct conversation *now, struct store_req *req)
{
	struct conversation *added = req->conversation;
	struct buf rest;
	int err = check_add(op, now);

	if (err)
		return err;
	for (size_t i = 0; i < op->users->user_count; i++)
		if (!change_member(now, op->users->users[i].id) &&
		    !change_member(added, op->users->users[i].id))
			add_one(op, req, &op->users->users[i]);
	if (now->member_count + added->member_count > CONVERSATION_MEMBERS_MAX) {
		op->pointer = "/user_ids";
		op->reason = "too_many";
		return ERR_INVALID_FIELD;
	}
	if (!added->member_count)
		return 0;
	buf_init(&rest);
	buf_puts(&rest, "\"members\":");
	change_put_members(&rest, added);
	change_tell(op, req, EVENT_MEMBER_JOINED, buf_cstr(&rest));
	buf_fini(&rest);
	return 0;
}

void
chat_members_add(struct chat *c, const char *user, const char *id, const char *const *users,
    size_t count, const char *role, chat_done done, void *arg)
{
	bool valid = count > 0 && count < CONVERSATION_MEMBERS_MAX;
	struct change_op *op;

	if (!id_valid(id, "cnv")) {
		chat_answer_error(done, arg, ERR_NOT_FOUND, NULL, NULL);
		return;
	}
	for (size_t i = 0; valid && i < count; i++)
		valid = id_valid(users[i], "usr");
	if (!valid || (role && !member_role_parse(role))) {
		chat_answer_error(
		    done, arg, ERR_INVALID_FIELD, valid ? "/role" : "/user_ids", "invalid");
		return;
	}
	op = change_new(c, user, id, plan_add, done, arg);
	op->creates = true;
	op->role = role ? member_role_parse(role) : ROLE_NONE;
	op->ids = xcalloc(count, sizeof(*op->ids));
	op->id_count = count;
	for (size_t i = 0; i < count; i++)
		str_copy(op->ids[i], ID_MAX, users[i]);
	change_start(op, "/user_ids");
}

/* ---- roles ---- */

static void
answer_member(struct change_op *op, const struct conversation *now)
{
	const struct member *m = change_member(now, op->target);

	if (m)
		member_json(&op->json, m);
	op->answer_version = 0; /* that is the conversation's, not the member's */
}

static int
plan_role(struct change_op *op, const struct conversation *now, struct store_req *req)
{
	int err = change_check(op, now, ACTION_SET_ROLE);
	const struct member *m;

	if (err)
		return err;
	m = find_target(op, now, &err);
	if (!m || m->role == op->role)
		return err;
	if (role_is_last_owner(now, op->target))
		return ERR_LAST_OWNER;
	conversation_add_member(req->conversation, op->target)->role = op->role;
	tell_of_member(op, req, EVENT_MEMBER_UPDATED, m, false, op->role, "");
	return 0;
}

void
chat_member_set_role(struct chat *c, const char *user, const char *id, const char *target,
    const char *role, chat_done done, void *arg)
{
	struct change_op *op;

	if (!id_valid(id, "cnv") || !id_valid(target, "usr")) {
		chat_answer_error(done, arg, ERR_NOT_FOUND, NULL, NULL);
		return;
	}
	if (!member_role_parse(role)) {
		chat_answer_error(done, arg, ERR_INVALID_FIELD, "/role", "invalid");
		return;
	}
	op = change_new(c, user, id, plan_role, done, arg);
	op->answer = answer_member;
	op->role = member_role_parse(role);
	str_copy(op->target, sizeof(op->target), target);
	change_start(op, NULL);
}

/* ---- removing and leaving ---- */

static void
take_out(struct change_op *op, struct store_req *req, const struct member *m, const char *reason)
{
	req->ids = xcalloc(1, sizeof(*req->ids));
	str_copy(req->ids[req->id_count++], ID_MAX, m->user);
	tell_of_member(op, req, EVENT_MEMBER_LEFT, m, true, ROLE_NONE, reason);
}

/* An owner who goes may leave what he had to another. */
static int
plan_successor(struct change_op *op, const struct conversation *now, struct store_req *req)
{
	const struct member *next = change_member(now, op->successor);
	int err = change_check(op, now, ACTION_SET_ROLE);

	if (err)
		return err;
	if (!next || strcmp(op->successor, op->user) == 0) {
		op->pointer = "/successor";
		op->reason = "not_a_member";
		return ERR_INVALID_FIELD;
	}
	if (next->role == ROLE_OWNER)
		return 0;
	conversation_add_member(req->conversation, op->successor)->role = ROLE_OWNER;
	tell_of_member(op, req, EVENT_MEMBER_UPDATED, next, false, ROLE_OWNER, "");
	return 0;
}

static int
plan_leave(struct change_op *op, const struct conversation *now, struct store_req *req)
{
	int err = change_check(op, now, ACTION_LEAVE);

	if (!err && op->successor[0])
		err = plan_successor(op, now, req);
	if (err)
		return err;
	if (now->member_count == 1) {
		req->conversation->archived = true;
		change_tell_changes(op, now, req, "\"archived\":true");
	} else if (!op->successor[0] && role_is_last_owner(now, op->user)) {
		return ERR_LAST_OWNER;
	}
	take_out(op, req, change_member(now, op->user), ",\"reason\":\"left\"");
	return 0;
}

static int
plan_remove(struct change_op *op, const struct conversation *now, struct store_req *req)
{
	int err = change_check(op, now, ACTION_REMOVE);
	const struct member *m;

	if (err)
		return err;
	m = find_target(op, now, &err);
	if (!m)
		return err;
	if (!role_may_remove(change_member(now, op->user)->role, m->role))
		return ERR_FORBIDDEN;
	take_out(op, req, m, ",\"reason\":\"removed\"");
	return 0;
}

static void
answer_nothing(struct change_op *op, const struct conversation *now)
{
	op->answer_version = 0;
}

void
chat_member_remove(struct chat *c, const char *user, const char *id, const char *target,
    const char *successor, chat_done done, void *arg)
{
	bool leaves = strcmp(user, target) == 0;
	struct change_op *op;

	if (!id_valid(id, "cnv") || !id_valid(target, "usr")) {
		chat_answer_error(done, arg, ERR_NOT_FOUND, NULL, NULL);
		return;
	}
	if (successor && (!leaves || !id_valid(successor, "usr"))) {
		chat_answer_error(done, arg, ERR_INVALID_FIELD, "/successor", "invalid");
		return;
	}
	op = change_new(c, user, id, leaves ? plan_leave : plan_remove, done, arg);
	op->answer = answer_nothing;
	str_copy(op->target, sizeof(op->target), target);
	if (successor)
		str_copy(op->successor, sizeof(op->successor), successor);
	change_start(op, NULL);
}

/* ---- listing ---- */

struct member_list {
	struct chat *chat;
	struct store_req *page; /* asked when it is known that the user is a member */
	chat_done done;
	void *arg;
};

static void
members_listed(struct store_req *req)
{
	struct member_list *ml = req->arg;
	size_t n = req->member_count;
	struct buf json;

	if (req->err) {
		chat_answer_error(ml->done, ml->arg, req->err, NULL, NULL);
	} else {
		buf_init(&json);
		buf_puts(&json, "{\"items\":[");
		for (size_t i = 0; i < req->member_count; i++) {
			if (i)
				buf_putc(&json, ',');
			member_json(&json, &req->members[i]);
		}
		chat_page_end(&json, n && n == req->limit ? req->members[n - 1].user : NULL);
		chat_answer_json(ml->done, ml->arg, false, &json);
		buf_fini(&json);
	}
	free(ml);
	store_req_free(&req);
}

static void
lister_checked(struct store_req *req)
{
	struct member_list *ml = req->arg;

	if (req->err) {
		chat_answer_error(ml->done, ml->arg, req->err, NULL, NULL);
		store_req_free(&ml->page);
		free(ml);
	} else {
		chat_store(ml->chat, ml->page);
	}
	store_req_free(&req);
}

void
chat_members_list(struct chat *c, const char *user, const char *id, const char *cursor,
    size_t limit, chat_done done, void *arg)
{
	struct member_list *ml;

	if (!id_valid(id, "cnv")) {
		chat_answer_error(done, arg, ERR_NOT_FOUND, NULL, NULL);
		return;
	}
	ml = xcalloc(1, sizeof(*ml));
	*ml = (struct member_list){.chat = c, .done = done, .arg = arg};
	ml->page = store_req_new(STORE_MEMBERS_LIST, members_listed, ml);
	str_copy(ml->page->id, sizeof(ml->page->id), id);
	ml->page->cursor = xstrdup(cursor);
	ml->page->limit = limit;
	chat_check_member(c, id, user, lister_checked, ml);
}
