/* SPDX-License-Identifier: ISC */
/*
 * logins: what a user and the administrator see of a user's sessions, how they end them, the
 * user's new password, and the end of his account.  Worker, loop thread.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "chat/account.h"

/* ---- lists ---- */

/* op->session.id: the one that asks; an administrator has none. */
static void
listed(struct store_req *req)
{
	struct account_op *op = req->arg;
	struct buf json;

	if (req->err) {
		account_op_fail(op, req->err, NULL, NULL);
		store_req_free(&req);
		return;
	}
	buf_init(&json);
	buf_puts(&json, "{\"items\":[");
	for (size_t i = 0; i < req->session_count; i++) {
		const struct session *s = &req->sessions[i];

		if (i)
			buf_putc(&json, ',');
		session_json(&json, s, strcmp(s->id, op->session.id) == 0);
	}
	buf_puts(&json, "]}");
	account_op_answer(op, false, &json);
	buf_fini(&json);
	store_req_free(&req);
}

static void
list(struct account_op *op, const char *user)
{
	struct store_req *req = store_req_new(STORE_SESSION_LIST, listed, op);

	str_copy(req->id, sizeof(req->id), user);
	req->now_ms = clock_wall_ms();
	req->limit = STORE_PAGE_MAX;
	chat_store(op->chat, req);
}

void
chat_session_list(struct chat *c, const struct chat_identity *who, chat_done done, void *arg)
{
	struct account_op *op = account_op_new(c, NULL, NULL, done, arg);

	str_copy(op->session.id, sizeof(op->session.id), who->session);
	list(op, who->user);
}

static void
user_to_list(struct store_req *req)
{
	if (req->err)
		account_op_fail(req->arg, req->err, NULL, NULL);
	else
		list(req->arg, req->users[0].id);
	store_req_free(&req);
}

void
chat_user_sessions(struct chat *c, const char *username, chat_done done, void *arg)
{
	account_find_user(account_op_new(c, NULL, NULL, done, arg), username, user_to_list);
}

/* ---- ends ---- */

static void
revoked(struct store_req *req)
{
	char json[48];

	snprintf(json, sizeof(json), "{\"ended\":%zu}", req->revocation_count);
	account_answer_text(req, json);
}

/* As STORE_SESSION_REVOKE has them. */
static void
end_sessions(struct account_op *op, const char *user, const char *session, bool all_but)
{
	struct store_req *req = store_req_new(STORE_SESSION_REVOKE, revoked, op);

	account_ending(op, req, SESSION_REVOKED);
	str_copy(req->id, sizeof(req->id), user);
	str_copy(req->session_id, sizeof(req->session_id), session);
	req->flag = all_but;
	chat_store(op->chat, req);
}

static void
revoke_one(struct chat *c, const char *user, const char *session, chat_done done, void *arg)
{
	if (id_valid(session, "ses"))
		end_sessions(account_op_new(c, NULL, NULL, done, arg), user, session, false);
	else
		chat_answer_error(done, arg, ERR_NOT_FOUND, NULL, NULL);
}

void
chat_session_end(
    struct chat *c, const struct chat_identity *who, const char *session, chat_done done, void *arg)
{
	revoke_one(c, who->user, session, done, arg);
}

void
chat_session_end_others(struct chat *c, const struct chat_identity *who, chat_done done, void *arg)
{
	end_sessions(account_op_new(c, NULL, NULL, done, arg), who->user, who->session, true);
}

void
chat_session_kill(struct chat *c, const char *session, chat_done done, void *arg)
{
	revoke_one(c, "", session, done, arg);
}

static void
user_to_revoke(struct store_req *req)
{
	if (req->err)
		account_op_fail(req->arg, req->err, NULL, NULL);
	else
		end_sessions(req->arg, req->users[0].id, "", false);
	store_req_free(&req);
}

void
chat_user_revoke(struct chat *c, const char *username, chat_done done, void *arg)
{
	account_find_user(account_op_new(c, NULL, NULL, done, arg), username, user_to_revoke);
}

/* ---- kick ---- */

static void
user_to_kick(struct store_req *req)
{
	struct account_op *op = req->arg;
	struct buf b;

	if (!req->err && !bus_is_up(op->chat->bus))
		req->err = ERR_UNAVAILABLE;
	if (!req->err) {
		buf_init(&b);
		pack_str(&b, req->users[0].id);
		chat_announce(op->chat, ANNOUNCE_KICK, &b);
		buf_fini(&b);
	}
	account_answer_empty(req);
}

void
chat_user_kick(struct chat *c, const char *username, chat_done done, void *arg)
{
	account_find_user(account_op_new(c, NULL, NULL, done, arg), username, user_to_kick);
}

/* ---- a new password ---- */

/* Who was overtaken by another change gave a password that is no more. */
static void
password_set(struct store_req *req)
{
	if (req->err == ERR_CONFLICT)
		req->err = ERR_BAD_CREDENTIALS;
	account_answer_empty(req);
}

static void
fresh_hashed(void *arg, const char *hash)
{
	struct account_op *op = arg;
	struct store_req *req;

	if (!hash) {
		account_op_fail(op, ERR_INTERNAL, NULL, NULL);
		return;
	}
	req = store_req_new(STORE_USER_SET_PASSWORD, password_set, op);
	account_ending(op, req, SESSION_PASSWORD_CHANGED);
	str_copy(req->id, sizeof(req->id), op->user.id);
	str_copy(req->user.password, sizeof(req->user.password), op->user.password);
	str_copy(req->session_id, sizeof(req->session_id), op->session.id);
	req->text = xstrdup(hash);
	chat_store(op->chat, req);
}

static void
current_checked(void *arg, int err, int64_t retry_after)
{
	struct account_op *op = arg;

	if (!err)
		err = password_hash(op->chat->passwords, op->new_password, op->chat->opts.hash_cost,
		    fresh_hashed, op);
	if (err)
		account_op_slow(op, err, retry_after);
}

/* The user was read: the secret must be his password. */
static void
check_password_of(struct store_req *req, guard_cb cb)
{
	struct account_op *op = req->arg;

	if (req->err) {
		account_op_fail(op, req->err, NULL, NULL);
	} else {
		op->user = req->users[0];
		account_check_password(op, op->user.id, cb);
	}
	store_req_free(&req);
}

static void
user_to_change(struct store_req *req)
{
	check_password_of(req, current_checked);
}

void
chat_password_change(struct chat *c, const struct chat_identity *who, const char *current,
    const char *fresh, chat_done done, void *arg)
{
	const char *reason, *pointer = password_fault(fresh, "/new_password", &reason);
	struct account_op *op;
	struct store_req *req;

	if (pointer || strlen(current) > PASSWORD_MAX) {
		chat_answer_error(done, arg, pointer ? ERR_INVALID_FIELD : ERR_BAD_CREDENTIALS,
		    pointer, pointer ? reason : NULL);
		return;
	}
	op = account_op_new(c, current, NULL, done, arg);
	op->new_password = xstrdup(fresh);
	str_copy(op->session.id, sizeof(op->session.id), who->session);
	req = store_req_new(STORE_USER_BY_ID, user_to_change, op);
	str_copy(req->id, sizeof(req->id), who->user);
	chat_store(c, req);
}

/* ---- the end of an account ---- */

static void
owner_checked(void *arg, int err, int64_t retry_after)
{
	struct account_op *op = arg;
	struct store_req *req;

	if (err) {
		account_op_slow(op, err, retry_after);
		return;
	}
	req = store_req_new(STORE_USER_DEACTIVATE, account_answer_empty, op);
	account_ending(op, req, SESSION_USER_DEACTIVATED);
	str_copy(req->id, sizeof(req->id), op->user.id);
	chat_store(op->chat, req);
}

static void
user_to_deactivate(struct store_req *req)
{
	check_password_of(req, owner_checked);
}

void
chat_user_deactivate(
    struct chat *c, const char *user, const char *password, chat_done done, void *arg)
{
	struct store_req *req;

	if (strlen(password) > PASSWORD_MAX) {
		chat_answer_error(done, arg, ERR_BAD_CREDENTIALS, NULL, NULL);
		return;
	}
	req = store_req_new(
	    STORE_USER_BY_ID, user_to_deactivate, account_op_new(c, password, NULL, done, arg));
	str_copy(req->id, sizeof(req->id), user);
	chat_store(c, req);
}
