/* SPDX-License-Identifier: ISC */
/*
 * session: logins: login, refresh, logout, and who an access token belongs to.  Worker,
 * loop thread.
 *
 * A login is a session in the store, known by the hash of its refresh token; access
 * tokens are signed and short-lived and are checked without the store.
 */
#include <stdlib.h>
#include <string.h>

#include "chat/account.h"
#include "lib/json.h"

/* ---- the answer: user and tokens ---- */

static void
answer_login(struct account_op *op)
{
	struct chat *c = op->chat;
	int64_t now = clock_wall_ms();
	struct token_claims claims = {.issued_ms = now, .expires_ms = now + c->opts.access_ttl};
	struct chat_result res = {.created = op->created};
	struct buf json, access;

	str_copy(claims.user, sizeof(claims.user), op->user.id);
	str_copy(claims.session, sizeof(claims.session), op->session.id);
	buf_init(&json);
	buf_puts(&json, "{\"user\":");
	user_json(&json, &op->user, false);
	buf_printf(&json, ",\"expires_in\":%lld}", (long long)(c->opts.access_ttl / 1000));
	res.json = (const char *)json.data;
	res.json_len = json.len;
	buf_init(&access);
	token_sign(&access, &claims, c->key, c->opts.key_len);
	res.access_token = buf_cstr(&access);
	res.access_ttl = c->opts.access_ttl;
	if (op->refresh[0]) {
		res.refresh_token = op->refresh;
		res.refresh_ttl = op->session.expires_ms - now;
	}
	op->done(op->arg, &res);
	explicit_bzero(access.data, access.len);
	buf_fini(&access);
	buf_fini(&json);
	account_op_free(op);
}

static void
session_made(struct store_req *req)
{
	struct account_op *op = req->arg;

	if (req->err)
		account_op_fail(op, req->err, NULL, NULL);
	else
		answer_login(op);
	store_req_free(&req);
}

void
session_create(struct account_op *op)
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

/* ---- login ---- */

static void
login_checked(void *arg, bool matches)
{
	struct account_op *op = arg;

	if (!matches)
		account_op_fail(op, ERR_BAD_CREDENTIALS, NULL, NULL);
	else if (op->user.locked) /* only who knows the password learns this */
		account_op_fail(op, ERR_USER_LOCKED, NULL, NULL);
	else if (op->user.deactivated_ms)
		account_op_fail(op, ERR_DEACTIVATED, NULL, NULL);
	else
		session_create(op);
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
		account_op_fail(op, err, NULL, NULL);
	store_req_free(&req);
}

void
chat_login(struct chat *c, const char *username, const char *password,
    const struct chat_origin *from, chat_done done, void *arg)
{
	char name[USERNAME_MAX + 1];
	struct store_req *req;

	if (!username_normalize(name, username) || strlen(password) > PASSWORD_MAX) {
		chat_answer_error(done, arg, ERR_BAD_CREDENTIALS, NULL, NULL);
		return;
	}
	req = store_req_new(
	    STORE_USER_BY_USERNAME, login_user, account_op_new(c, password, from, done, arg));
	req->text = xstrdup(name);
	chat_store(c, req);
}

/* ---- refresh, logout, identity ---- */

static void
refreshed(struct store_req *req)
{
	struct account_op *op = req->arg;

	if (req->err == ERR_NOT_FOUND) {
		account_op_fail(op, ERR_UNAUTHORIZED, NULL, NULL);
	} else if (req->err) {
		account_op_fail(op, req->err, NULL, NULL);
	} else if (req->users[0].locked) {
		account_op_fail(op, ERR_USER_LOCKED, NULL, NULL);
	} else {
		op->user = req->users[0];
		op->session = req->session;
		answer_login(op);
	}
	store_req_free(&req);
}

void
chat_refresh(struct chat *c, const char *refresh_token, const struct chat_origin *from,
    chat_done done, void *arg)
{
	struct store_req *req = store_req_new(
	    STORE_SESSION_BY_TOKEN, refreshed, account_op_new(c, NULL, from, done, arg));

	token_hash(req->session.token_hash, refresh_token);
	req->now_ms = clock_wall_ms();
	chat_store(c, req);
}

void
chat_logout(struct chat *c, const char *refresh_token, chat_done done, void *arg)
{
	struct store_req *req = store_req_new(
	    STORE_SESSION_DELETE, account_answer_empty, account_op_new(c, NULL, NULL, done, arg));

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
