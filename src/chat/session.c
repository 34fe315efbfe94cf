/* SPDX-License-Identifier: ISC */
/*
 * session: logins: login, refresh, logout, and who an access token belongs to.  Worker,
 * loop thread.
 *
 * A login is a session in the store, known by the hash of its refresh token; access
 * tokens are signed and short-lived and are checked without the store.
 *
 * Rotation.  A refresh spends the token and gives its successor, which is
 * HMAC-SHA256(nonce, token) with a random nonce that the store keeps beside the spent one.
 * A spent token that comes again
 * - less than refresh_grace after it was spent, while its successor is the session's token:
 *   an answer was lost, or two tabs asked at once.  The answer is that same successor again:
 *   both tabs have one token, whichever answer came last, and nothing else changes.
 * - less than refresh_grace after, but its successor is spent, too: ERR_UNAUTHORIZED.  Who
 *   asked is behind; the session goes on with who is not.
 * - later: two hold this login, one of them is not its owner.  The session ends, with all
 *   its sockets and access tokens: ERR_TOKEN_REUSED.
 * So within the grace a thief who has the old token may get its successor, but no second
 * line of tokens: he and the owner hold the same one, and the second of them to use it
 * (after the grace) ends the session.  Who knows the store's contents alone, or an old
 * token alone, can derive nothing.
 */
#include <stdlib.h>
#include <string.h>

#include "chat/account.h"
#include "lib/log.h"

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
	user_json(&json, &op->user, USER_PUBLIC);
	buf_printf(&json, ",\"expires_in\":%lld}", (long long)(c->opts.access_ttl / 1000));
	res.json = (const char *)json.data;
	res.json_len = json.len;
	buf_init(&access);
	token_sign(&access, &claims, c->keys);
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

	random_token(op->refresh, TOKEN_HASH);
	id_new(s->id, "ses");
	str_copy(s->user, sizeof(s->user), op->user.id);
	token_hash(s->token_hash, op->refresh);
	s->created_ms = s->used_ms = clock_wall_ms();
	s->expires_ms = s->created_ms + op->chat->opts.refresh_ttl;
	req->session = *s;
	req->now_ms = s->created_ms;
	str_copy(req->user.password, sizeof(req->user.password), op->user.password);
	chat_store(op->chat, req);
}

/* ---- login ---- */

static void
login_checked(void *arg, int err, int64_t retry_after)
{
	struct account_op *op = arg;

	if (err)
		account_op_slow(op, err, retry_after);
	else if (op->user.locked) /* only who knows the password learns this */
		account_op_fail(op, ERR_USER_LOCKED, NULL, NULL);
	else if (op->user.deactivated_ms)
		account_op_fail(op, ERR_DEACTIVATED, NULL, NULL);
	else
		session_create(op);
}

/* An unknown user is checked in the same way, and takes as much time, as a known one. */
static void
login_user(struct store_req *req)
{
	struct account_op *op = req->arg;

	if (!req->err)
		op->user = req->users[0];
	if (req->err && req->err != ERR_NOT_FOUND)
		account_op_fail(op, req->err, NULL, NULL);
	else
		account_check_password(op, req->text, login_checked);
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

/* ---- refresh ---- */

/* The successor that was given when the token was spent; false: it is spent itself. */
static bool
repeat_successor(struct account_op *op, const struct store_req *req)
{
	uint8_t hash[TOKEN_HASH];

	token_successor(op->refresh, op->secret, req->rotation.nonce);
	token_hash(hash, op->refresh);
	return memcmp(hash, req->session.token_hash, TOKEN_HASH) == 0;
}

static int
refresh_result(struct account_op *op, const struct store_req *req)
{
	if (req->err)
		return req->err == ERR_NOT_FOUND ? ERR_UNAUTHORIZED : req->err;
	if (req->users[0].locked)
		return ERR_USER_LOCKED;
	if (req->users[0].deactivated_ms)
		return ERR_DEACTIVATED;
	return req->flag && !repeat_successor(op, req) ? ERR_UNAUTHORIZED : 0;
}

static void
refreshed(struct store_req *req)
{
	struct account_op *op = req->arg;
	int err = refresh_result(op, req);

	if (err == ERR_TOKEN_REUSED)
		log_warn("session.token_reused", "session=%s uid=%s address=%s", req->session.id,
		    req->session.user, log_quote(op->session.address));
	sessions_ended(op->chat, req->revocations, req->revocation_count);
	if (err) {
		account_op_fail(op, err, NULL, NULL);
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
	struct account_op *op = account_op_new(c, refresh_token, from, done, arg);
	struct store_req *req = store_req_new(STORE_SESSION_ROTATE, refreshed, op);
	struct session_rotation *r = &req->rotation;

	account_ending(op, req, SESSION_TOKEN_REUSED);
	req->session = op->session;
	token_hash(req->session.token_hash, refresh_token);
	req->session.expires_ms = req->now_ms + c->opts.refresh_ttl;
	random_bytes(r->nonce, sizeof(r->nonce));
	token_successor(op->refresh, refresh_token, r->nonce);
	token_hash(r->next_hash, op->refresh);
	r->grace_ms = c->opts.refresh_grace;
	chat_store(c, req);
}

/* ---- logout, identity ---- */

void
chat_logout(struct chat *c, const char *refresh_token, chat_done done, void *arg)
{
	struct account_op *op = account_op_new(c, NULL, NULL, done, arg);
	struct store_req *req = store_req_new(STORE_SESSION_LOGOUT, account_answer_empty, op);

	account_ending(op, req, SESSION_LOGGED_OUT);
	token_hash(req->session.token_hash, refresh_token);
	chat_store(c, req);
}

/*
 * A token lives no longer than access_ttl of now, even if it was signed when that was more:
 * revocations are kept for no longer.
 */
int
chat_identify(struct chat *c, const char *access_token, struct chat_identity *id_r)
{
	struct token_claims claims;
	int64_t now = clock_wall_ms(), end;
	int err;

	err = token_verify(access_token, c->keys, now, &claims);
	if (err)
		return err;
	end = claims.issued_ms + c->opts.access_ttl;
	if (claims.expires_ms < end)
		end = claims.expires_ms;
	if (end <= now || session_is_revoked(c, claims.session))
		return ERR_UNAUTHORIZED;
	str_copy(id_r->user, sizeof(id_r->user), claims.user);
	str_copy(id_r->session, sizeof(id_r->session), claims.session);
	id_r->expires_ms = end;
	return 0;
}
