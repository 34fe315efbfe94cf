/* SPDX-License-Identifier: ISC */
/*
 * sqlite_sessions: logins, their spent tokens, and revocations.  Threads of the store's pool.
 *
 * Invariant: a session that is ended before its time leaves a revocation in the same
 * transaction, and none of its spent tokens.
 */
#include <string.h>

#include "model/error.h"
#include "store/sqlite.h"

#define CLEAN_SESSIONS    5 /* of one call: each may have STORE_SPENT_KEPT spent tokens */
#define CLEAN_REVOCATIONS 50

static void
bind_hash(sqlite3_stmt *st, int i, const uint8_t hash[TOKEN_HASH])
{
	sqlite3_bind_blob(st, i, hash, TOKEN_HASH, SQLITE_STATIC);
}

static void
read_hash(sqlite3_stmt *st, int col, uint8_t hash[TOKEN_HASH])
{
	const void *data = sqlite3_column_blob(st, col);
	size_t len = (size_t)sqlite3_column_bytes(st, col);

	memset(hash, 0, TOKEN_HASH);
	if (data)
		memcpy(hash, data, len < TOKEN_HASH ? len : TOKEN_HASH);
}

/* By SESSION_COLUMNS. */
static void
read_session(sqlite3_stmt *st, struct session *s)
{
	sqlite_text(st, 0, s->id, sizeof(s->id));
	sqlite_text(st, 1, s->user, sizeof(s->user));
	read_hash(st, 2, s->token_hash);
	s->created_ms = sqlite3_column_int64(st, 3);
	s->used_ms = sqlite3_column_int64(st, 4);
	s->expires_ms = sqlite3_column_int64(st, 5);
	sqlite_text(st, 6, s->address, sizeof(s->address));
	sqlite_text(st, 7, s->agent, sizeof(s->agent));
}

/* ---- cleaning ---- */

static int
clean(struct sqlite_handle *h, enum sql_id id, int64_t now_ms, int limit)
{
	int err = 0;
	sqlite3_stmt *st = sqlite_stmt(h, id, &err);

	if (!st)
		return err;
	sqlite3_bind_int64(st, 1, now_ms);
	sqlite3_bind_int(st, 2, limit);
	return sqlite_exec(h, st);
}

static int
clean_up(struct sqlite_handle *h, int64_t now_ms)
{
	int err = clean(h, SQL_SPENT_CLEAN, now_ms, CLEAN_SESSIONS);

	if (!err)
		err = clean(h, SQL_SESSIONS_CLEAN, now_ms, CLEAN_SESSIONS);
	if (!err)
		err = clean(h, SQL_REVOCATIONS_CLEAN, now_ms, CLEAN_REVOCATIONS);
	return err;
}

/* ---- ending ---- */

static int
end_session(struct sqlite_handle *h, const struct revocation *r)
{
	int err = 0;
	sqlite3_stmt *st = sqlite_stmt(h, SQL_REVOCATION_INSERT, &err);

	if (!st)
		return err;
	sqlite_bind(st, 1, r->session);
	sqlite_bind(st, 2, r->user);
	sqlite3_bind_int64(st, 3, r->until_ms);
	sqlite3_bind_int(st, 4, (int)r->why);
	err = sqlite_exec(h, st);
	if (!err)
		err = sqlite_run_with(h, SQL_SPENT_DELETE, r->session);
	if (!err)
		err = sqlite_run_with(h, SQL_SESSION_DELETE, r->session);
	return err;
}

/* Ends the sessions that the statement finds (id, user), in the caller's transaction. */
static int
end_found(struct sqlite_handle *h, struct store_req *req, sqlite3_stmt *st)
{
	int err = 0;

	while (sqlite_step(h, st, &err) == SQLITE_ROW) {
		struct revocation *r = store_req_add_revocation(req);

		sqlite_text(st, 0, r->session, sizeof(r->session));
		sqlite_text(st, 1, r->user, sizeof(r->user));
		r->until_ms = req->until_ms;
		r->why = req->why;
	}
	for (size_t i = 0; !err && i < req->revocation_count; i++)
		err = end_session(h, &req->revocations[i]);
	return err;
}

/* id SQL_SESSIONS_TO_END: all of a user but one; SQL_SESSION_OWNER: one, of a user or "". */
static int
end_by(struct sqlite_handle *h, struct store_req *req, enum sql_id id, const char *a, const char *b)
{
	int err = 0;
	sqlite3_stmt *st = sqlite_stmt(h, id, &err);

	if (!st)
		return err;
	sqlite_bind(st, 1, a);
	sqlite_bind(st, 2, b);
	return end_found(h, req, st);
}

int
sqlite_sessions_end(
    struct sqlite_handle *h, struct store_req *req, const char *user, const char *keep)
{
	return end_by(h, req, SQL_SESSIONS_TO_END, user, keep);
}

void
sqlite_session_revoke(void *handle, struct store_req *req)
{
	struct sqlite_handle *h = handle;
	bool one = !req->flag && req->session_id[0];
	int err = sqlite_begin(h);

	if (err) {
		req->err = err;
		return;
	}
	if (one)
		err = end_by(h, req, SQL_SESSION_OWNER, req->session_id, req->id);
	else
		err = sqlite_sessions_end(h, req, req->id, req->session_id);
	if (!err && one && !req->revocation_count)
		err = ERR_NOT_FOUND;
	sqlite_finish(h, req, err);
}

/* ---- making ---- */

static int
check_user(struct sqlite_handle *h, struct store_req *req)
{
	const struct user *u;

	str_copy(req->id, sizeof(req->id), req->session.user);
	sqlite_user_by_id(h, req);
	if (req->err)
		return req->err;
	u = &req->users[0];
	if (req->user.password[0] && strcmp(req->user.password, u->password) != 0)
		return ERR_BAD_CREDENTIALS;
	if (u->locked)
		return ERR_USER_LOCKED;
	return u->deactivated_ms ? ERR_DEACTIVATED : 0;
}

static int
insert_session(struct sqlite_handle *h, const struct session *s)
{
	int err = 0;
	sqlite3_stmt *st = sqlite_stmt(h, SQL_SESSION_INSERT, &err);

	if (!st)
		return err;
	sqlite_bind(st, 1, s->id);
	sqlite_bind(st, 2, s->user);
	bind_hash(st, 3, s->token_hash);
	sqlite3_bind_int64(st, 4, s->created_ms);
	sqlite3_bind_int64(st, 5, s->used_ms);
	sqlite3_bind_int64(st, 6, s->expires_ms);
	sqlite_bind(st, 7, s->address);
	sqlite_bind(st, 8, s->agent);
	return sqlite_exec(h, st);
}

/*
 * The user is looked at in the transaction that makes the session: a lock or a new password
 * that came while this login's password was checked is not undone by it.
 */
void
sqlite_session_create(void *handle, struct store_req *req)
{
	struct sqlite_handle *h = handle;
	int err = sqlite_begin(h);

	if (err) {
		req->err = err;
		return;
	}
	err = check_user(h, req);
	if (!err)
		err = insert_session(h, &req->session);
	if (!err)
		err = clean_up(h, req->now_ms);
	sqlite_finish(h, req, err);
}

/* ---- rotation ---- */

/* The first row of st, or ERR_NOT_FOUND. */
static int
one_session(struct sqlite_handle *h, sqlite3_stmt *st, struct session *s)
{
	int err = ERR_NOT_FOUND;

	if (sqlite_step(h, st, &err) != SQLITE_ROW)
		return err;
	read_session(st, s);
	sqlite3_reset(st);
	return 0;
}

/* ERR_NOT_FOUND: no session has this token now. */
static int
find_by_token(struct sqlite_handle *h, struct store_req *req, struct session *s)
{
	int err = 0;
	sqlite3_stmt *st = sqlite_stmt(h, SQL_SESSION_BY_TOKEN, &err);

	if (!st)
		return err;
	bind_hash(st, 1, req->session.token_hash);
	sqlite3_bind_int64(st, 2, req->now_ms);
	return one_session(h, st, s);
}

/* ERR_NOT_FOUND: the token is not a spent one of a session that lives. */
static int
find_by_spent(struct sqlite_handle *h, struct store_req *req, struct session *s, int64_t *spent_ms)
{
	int err = 0;
	sqlite3_stmt *st = sqlite_stmt(h, SQL_SPENT_TOKEN, &err);
	char id[ID_MAX];

	if (!st)
		return err;
	bind_hash(st, 1, req->session.token_hash);
	err = ERR_NOT_FOUND;
	if (sqlite_step(h, st, &err) != SQLITE_ROW)
		return err;
	sqlite_text(st, 0, id, sizeof(id));
	*spent_ms = sqlite3_column_int64(st, 1);
	read_hash(st, 2, req->rotation.nonce);
	sqlite3_reset(st);
	st = sqlite_stmt(h, SQL_SESSION_BY_ID, &err);
	if (!st)
		return err;
	sqlite_bind(st, 1, id);
	sqlite3_bind_int64(st, 2, req->now_ms);
	return one_session(h, st, s);
}

static int
spend(struct sqlite_handle *h, const struct store_req *req, const char *session)
{
	int err = 0;
	sqlite3_stmt *st = sqlite_stmt(h, SQL_TOKEN_SPEND, &err);

	if (!st)
		return err;
	bind_hash(st, 1, req->session.token_hash);
	sqlite_bind(st, 2, session);
	sqlite3_bind_int64(st, 3, req->now_ms);
	bind_hash(st, 4, req->rotation.nonce);
	err = sqlite_exec(h, st);
	if (err || !(st = sqlite_stmt(h, SQL_SPENT_TRIM, &err)))
		return err;
	sqlite_bind(st, 1, session);
	sqlite3_bind_int(st, 2, STORE_SPENT_KEPT);
	return sqlite_exec(h, st);
}

static int
rotate(struct sqlite_handle *h, struct store_req *req, struct session *s)
{
	int err = spend(h, req, s->id);
	sqlite3_stmt *st;

	if (err || !(st = sqlite_stmt(h, SQL_SESSION_ROTATE, &err)))
		return err;
	memcpy(s->token_hash, req->rotation.next_hash, TOKEN_HASH);
	s->used_ms = req->now_ms;
	s->expires_ms = req->session.expires_ms;
	str_copy(s->address, sizeof(s->address), req->session.address);
	str_copy(s->agent, sizeof(s->agent), req->session.agent);
	sqlite_bind(st, 1, s->id);
	bind_hash(st, 2, s->token_hash);
	sqlite3_bind_int64(st, 3, s->used_ms);
	sqlite3_bind_int64(st, 4, s->expires_ms);
	sqlite_bind(st, 5, s->address);
	sqlite_bind(st, 6, s->agent);
	err = sqlite_exec(h, st);
	return err ? err : clean_up(h, req->now_ms);
}

void
sqlite_session_rotate(void *handle, struct store_req *req)
{
	struct sqlite_handle *h = handle;
	struct session s = {0};
	int64_t spent_ms = 0;
	bool reused = false;
	int err = sqlite_begin(h);

	if (err) {
		req->err = err;
		return;
	}
	err = find_by_token(h, req, &s);
	if (!err) {
		err = rotate(h, req, &s);
	} else if (err == ERR_NOT_FOUND) {
		err = find_by_spent(h, req, &s, &spent_ms);
		req->flag = !err;
		reused = !err && req->now_ms - spent_ms >= req->rotation.grace_ms;
	}
	if (reused)
		err = end_by(h, req, SQL_SESSION_OWNER, s.id, s.user);
	if (!err) {
		req->session = s;
		str_copy(req->id, sizeof(req->id), s.user);
		sqlite_user_by_id(h, req);
		err = req->err;
	}
	sqlite_finish(h, req, err);
	if (!req->err && reused)
		req->err = ERR_TOKEN_REUSED;
}

void
sqlite_session_logout(void *handle, struct store_req *req)
{
	struct sqlite_handle *h = handle;
	struct session s = {0};
	int64_t spent_ms;
	int err = sqlite_begin(h);

	if (err) {
		req->err = err;
		return;
	}
	err = find_by_token(h, req, &s);
	if (err == ERR_NOT_FOUND)
		err = find_by_spent(h, req, &s, &spent_ms);
	if (!err)
		err = end_by(h, req, SQL_SESSION_OWNER, s.id, s.user);
	else if (err == ERR_NOT_FOUND)
		err = 0;
	sqlite_finish(h, req, err);
}

/* ---- reading ---- */

void
sqlite_session_list(void *h, struct store_req *req)
{
	sqlite3_stmt *st = sqlite_stmt(h, SQL_SESSIONS_OF_USER, &req->err);

	if (!st)
		return;
	sqlite_bind(st, 1, req->id);
	sqlite3_bind_int64(st, 2, req->now_ms);
	sqlite3_bind_int64(st, 3, (sqlite3_int64)req->limit);
	req->err = 0;
	while (sqlite_step(h, st, &req->err) == SQLITE_ROW)
		read_session(st, store_req_add_session(req));
}

void
sqlite_revocations(void *h, struct store_req *req)
{
	sqlite3_stmt *st = sqlite_stmt(h, SQL_REVOCATIONS, &req->err);

	if (!st)
		return;
	sqlite3_bind_int64(st, 1, req->now_ms);
	req->err = 0;
	while (sqlite_step(h, st, &req->err) == SQLITE_ROW) {
		struct revocation *r = store_req_add_revocation(req);

		sqlite_text(st, 0, r->session, sizeof(r->session));
		sqlite_text(st, 1, r->user, sizeof(r->user));
		r->until_ms = sqlite3_column_int64(st, 2);
		r->why = (enum session_end)sqlite3_column_int(st, 3);
	}
}
