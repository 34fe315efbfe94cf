/* SPDX-License-Identifier: ISC */
/*
 * account: sign-up, login, refresh, logout, and what the administrator does to accounts.  Worker,
 * loop thread.
 *
 * A login is a session in the store, known by the hash of its refresh token; access
 * tokens are signed and short-lived and are checked without the store.
 */
#include <stdlib.h>
#include <string.h>

#include "chat/chat_int.h"
#include "lib/json.h"

#define REFRESH_BYTES 32
#define REFRESH_TEXT  48

struct account_op {
	struct chat *chat;
	struct user user;
	struct session session;
	char refresh[REFRESH_TEXT];
	char *password;
	uint8_t invitation[TOKEN_HASH]; /* hash of its code */
	bool by_admin, created, lock, invited;
	chat_done done;
	void *arg;
};

static struct account_op *
op_new(struct chat *c, const char *password, chat_done done, void *arg)
{
	struct account_op *op = xcalloc(1, sizeof(*op));

	op->chat = c;
	op->password = xstrdup(password);
	op->done = done;
	op->arg = arg;
	return op;
}

static void
op_free(struct account_op *op)
{
	if (op->password)
		explicit_bzero(op->password, strlen(op->password));
	free(op->password);
	explicit_bzero(op->refresh, sizeof(op->refresh));
	free(op);
}

static void
op_fail(struct account_op *op, int err, const char *pointer, const char *reason)
{
	chat_answer_error(op->done, op->arg, err, pointer, reason);
	op_free(op);
}

static void
op_answer(struct account_op *op, bool created, const struct buf *json)
{
	chat_answer_json(op->done, op->arg, created, json);
	op_free(op);
}

/* ---- the answer: user and tokens ---- */

static void
answer_login(struct account_op *op)
{
	struct chat *c = op->chat;
	int64_t now = clock_wall_ms();
	struct token_claims claims = {.issued_ms = now, .expires_ms = now + c->opts.access_ttl};
	struct chat_result res = {.created = op->created};
	struct buf json;

	str_copy(claims.user, sizeof(claims.user), op->user.id);
	str_copy(claims.session, sizeof(claims.session), op->session.id);
	buf_init(&json);
	buf_puts(&json, "{\"user\":");
	user_json(&json, &op->user, false);
	buf_puts(&json, ",\"access_token\":\"");
	token_sign(&json, &claims, c->key, c->opts.key_len);
	buf_printf(&json, "\",\"token_type\":\"Bearer\",\"expires_in\":%lld}",
	    (long long)(c->opts.access_ttl / 1000));
	res.json = (const char *)json.data;
	res.json_len = json.len;
	if (op->refresh[0]) {
		res.refresh_token = op->refresh;
		res.refresh_ttl = op->session.expires_ms - now;
	}
	op->done(op->arg, &res);
	buf_fini(&json);
	op_free(op);
}

static void
session_made(struct store_req *req)
{
	struct account_op *op = req->arg;

	if (req->err)
		op_fail(op, req->err, NULL, NULL);
	else
		answer_login(op);
	store_req_free(&req);
}

static void
make_session(struct account_op *op)
{
	struct store_req *req = store_req_new(STORE_SESSION_CREATE, session_made, op);
	struct session *s = &op->session;

	random_token(op->refresh, REFRESH_BYTES);
	id_new(s->id, "ses");
	str_copy(s->user, sizeof(s->user), op->user.id);
	token_hash(s->token_hash, op->refresh);
	s->created_ms = clock_wall_ms();
	s->expires_ms = s->created_ms + op->chat->opts.refresh_ttl;
	req->session = *s;
	chat_store(op->chat, req);
}

/* ---- sign-up ---- */

static void
user_made(struct store_req *req)
{
	struct account_op *op = req->arg;
	struct buf json;

	if (req->err) {
		op_fail(op, req->err, req->err == ERR_USERNAME_TAKEN ? "/username" : NULL, "taken");
	} else if (op->by_admin) {
		buf_init(&json);
		buf_puts(&json, "{\"user\":");
		user_json(&json, &op->user, true);
		buf_putc(&json, '}');
		op_answer(op, true, &json);
		buf_fini(&json);
	} else {
		make_session(op);
	}
	store_req_free(&req);
}

static void
signup_hashed(void *arg, const char *hash)
{
	struct account_op *op = arg;
	struct store_req *req;

	if (!hash) {
		op_fail(op, ERR_INTERNAL, NULL, NULL);
		return;
	}
	str_copy(op->user.password, sizeof(op->user.password), hash);
	id_new(op->user.id, "usr");
	op->user.created_ms = clock_wall_ms();
	req = store_req_new(STORE_USER_CREATE, user_made, op);
	req->user = op->user;
	req->flag = op->invited;
	req->now_ms = op->user.created_ms;
	memcpy(req->invitation.code_hash, op->invitation, TOKEN_HASH);
	chat_store(op->chat, req);
}

static const char *
password_fault(const char *password, const char **reason_r)
{
	size_t len = strlen(password);

	*reason_r = len < PASSWORD_MIN ? "too_short" : "too_long";
	return len < PASSWORD_MIN || len > PASSWORD_MAX ? "/password" : NULL;
}

static const char *
signup_fault(struct user *u, const struct chat_signup *in, const char **reason_r)
{
	const char *name = in->name ? in->name : in->username;

	*reason_r = "invalid";
	if (!username_normalize(u->username, in->username))
		return "/username";
	*reason_r = "too_long";
	if (!str_copy(u->name, sizeof(u->name), name))
		return "/name";
	*reason_r = "empty";
	if (!*name)
		return "/name";
	return password_fault(in->password, reason_r);
}

void
chat_signup(struct chat *c, const struct chat_signup *in, chat_done done, void *arg)
{
	struct account_op *op = op_new(c, in->password, done, arg);
	const char *reason, *pointer = signup_fault(&op->user, in, &reason);
	int err;

	op->by_admin = in->by_admin;
	op->created = true;
	op->invited = c->opts.signup == SIGNUP_INVITE && !in->by_admin;
	if (c->opts.signup == SIGNUP_CLOSED && !in->by_admin) {
		op_fail(op, ERR_SIGNUP_CLOSED, NULL, NULL);
		return;
	}
	if (op->invited && !in->invitation) {
		op_fail(op, ERR_INVALID_FIELD, "/invitation", "required");
		return;
	}
	if (op->invited)
		token_hash(op->invitation, in->invitation);
	if (pointer) {
		op_fail(op, ERR_INVALID_FIELD, pointer, reason);
		return;
	}
	err = password_hash(c->passwords, op->password, c->opts.hash_cost, signup_hashed, op);
	if (err)
		op_fail(op, err, NULL, NULL);
}

/* ---- login ---- */

static void
login_checked(void *arg, bool matches)
{
	struct account_op *op = arg;

	if (!matches)
		op_fail(op, ERR_BAD_CREDENTIALS, NULL, NULL);
	else if (op->user.locked) /* only who knows the password learns this */
		op_fail(op, ERR_USER_LOCKED, NULL, NULL);
	else if (op->user.deactivated_ms)
		op_fail(op, ERR_DEACTIVATED, NULL, NULL);
	else
		make_session(op);
}

/* An unknown user costs as much time as a known one. */
static void
login_user(struct store_req *req)
{
	struct account_op *op = req->arg;
	const char *hash = "";
	int err = req->err;

	if (!err) {
		op->user = req->users[0];
		hash = op->user.password;
	}
	if (!err || err == ERR_NOT_FOUND)
		err = password_check(op->chat->passwords, op->password, hash,
		    op->chat->opts.hash_cost, login_checked, op);
	if (err)
		op_fail(op, err, NULL, NULL);
	store_req_free(&req);
}

void
chat_login(struct chat *c, const char *username, const char *password, chat_done done, void *arg)
{
	char name[USERNAME_MAX + 1];
	struct store_req *req;

	if (!username_normalize(name, username) || strlen(password) > PASSWORD_MAX) {
		chat_answer_error(done, arg, ERR_BAD_CREDENTIALS, NULL, NULL);
		return;
	}
	req = store_req_new(STORE_USER_BY_USERNAME, login_user, op_new(c, password, done, arg));
	req->text = xstrdup(name);
	chat_store(c, req);
}

/* ---- refresh, logout, identity ---- */

static void
refreshed(struct store_req *req)
{
	struct account_op *op = req->arg;

	if (req->err == ERR_NOT_FOUND) {
		op_fail(op, ERR_UNAUTHORIZED, NULL, NULL);
	} else if (req->err) {
		op_fail(op, req->err, NULL, NULL);
	} else if (req->users[0].locked) {
		op_fail(op, ERR_USER_LOCKED, NULL, NULL);
	} else {
		op->user = req->users[0];
		op->session = req->session;
		answer_login(op);
	}
	store_req_free(&req);
}

void
chat_refresh(struct chat *c, const char *refresh_token, chat_done done, void *arg)
{
	struct store_req *req =
	    store_req_new(STORE_SESSION_BY_TOKEN, refreshed, op_new(c, NULL, done, arg));

	token_hash(req->session.token_hash, refresh_token);
	req->now_ms = clock_wall_ms();
	chat_store(c, req);
}

static void
answer_empty(struct store_req *req)
{
	struct account_op *op = req->arg;
	struct buf json;

	if (req->err) {
		op_fail(op, req->err, NULL, NULL);
	} else {
		buf_init(&json);
		buf_puts(&json, "{}");
		op_answer(op, false, &json);
		buf_fini(&json);
	}
	store_req_free(&req);
}

void
chat_logout(struct chat *c, const char *refresh_token, chat_done done, void *arg)
{
	struct store_req *req =
	    store_req_new(STORE_SESSION_DELETE, answer_empty, op_new(c, NULL, done, arg));

	token_hash(req->session.token_hash, refresh_token);
	chat_store(c, req);
}

int
chat_identify(struct chat *c, const char *access_token, struct chat_identity *id_r)
{
	struct token_claims claims;
	int err;

	err = token_verify(access_token, c->key, c->opts.key_len, clock_wall_ms(), &claims);
	if (err)
		return err;
	str_copy(id_r->user, sizeof(id_r->user), claims.user);
	str_copy(id_r->session, sizeof(id_r->session), claims.session);
	id_r->expires_ms = claims.expires_ms;
	return 0;
}

/* ---- by the administrator: the user is named by username ---- */

static void
set_on_user(struct store_req *found, enum store_op what, const char *hash, bool flag)
{
	struct account_op *op = found->arg;
	struct store_req *req = store_req_new(what, answer_empty, op);

	str_copy(req->id, sizeof(req->id), op->user.id);
	req->text = xstrdup(hash);
	req->flag = flag;
	chat_store(op->chat, req);
}

static void
new_password_hashed(void *arg, const char *hash)
{
	struct store_req *found = arg;

	if (hash)
		set_on_user(found, STORE_USER_SET_PASSWORD, hash, false);
	else
		op_fail(found->arg, ERR_INTERNAL, NULL, NULL);
	store_req_free(&found);
}

static void
password_user_found(struct store_req *req)
{
	struct account_op *op = req->arg;
	int err = req->err;

	if (!err) {
		op->user = req->users[0];
		err = password_hash(op->chat->passwords, op->password, op->chat->opts.hash_cost,
		    new_password_hashed, req);
	}
	if (err) {
		op_fail(op, err, NULL, NULL);
		store_req_free(&req);
	}
}

static void
lock_user_found(struct store_req *req)
{
	struct account_op *op = req->arg;

	if (req->err) {
		op_fail(op, req->err, NULL, NULL);
	} else {
		str_copy(op->user.id, sizeof(op->user.id), req->users[0].id);
		set_on_user(req, STORE_USER_SET_LOCKED, NULL, op->lock);
	}
	store_req_free(&req);
}

static void
find_user(struct account_op *op, const char *username, void (*found)(struct store_req *))
{
	char name[USERNAME_MAX + 1];
	struct store_req *req;

	if (!username_normalize(name, username)) {
		op_fail(op, ERR_NOT_FOUND, "/username", "no_such_user");
		return;
	}
	req = store_req_new(STORE_USER_BY_USERNAME, found, op);
	req->text = xstrdup(name);
	chat_store(op->chat, req);
}

void
chat_user_set_password(
    struct chat *c, const char *username, const char *password, chat_done done, void *arg)
{
	const char *reason, *pointer = password_fault(password, &reason);

	if (pointer)
		chat_answer_error(done, arg, ERR_INVALID_FIELD, pointer, reason);
	else
		find_user(op_new(c, password, done, arg), username, password_user_found);
}

void
chat_user_set_locked(struct chat *c, const char *username, bool locked, chat_done done, void *arg)
{
	struct account_op *op = op_new(c, NULL, done, arg);

	op->lock = locked;
	find_user(op, username, lock_user_found);
}
