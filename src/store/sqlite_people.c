/* SPDX-License-Identifier: ISC */
/*
 * sqlite_people: users.  Threads of the store's pool.
 */
#include <string.h>

#include "model/error.h"
#include "store/sqlite.h"

void
sqlite_read_user(sqlite3_stmt *st, struct user *u)
{
	sqlite_text(st, 0, u->id, sizeof(u->id));
	sqlite_text(st, 1, u->username, sizeof(u->username));
	sqlite_text(st, 2, u->name, sizeof(u->name));
	sqlite_text(st, 3, u->password, sizeof(u->password));
	u->locked = sqlite3_column_int(st, 4) != 0;
	u->created_ms = sqlite3_column_int64(st, 5);
	sqlite_text(st, 6, u->avatar, sizeof(u->avatar));
	sqlite_text(st, 7, u->bio, sizeof(u->bio));
	sqlite_text(st, 8, u->time_zone, sizeof(u->time_zone));
	u->deactivated_ms = sqlite3_column_int64(st, 9);
	u->last_seen_ms = sqlite3_column_int64(st, 10);
	u->version = (uint64_t)sqlite3_column_int64(st, 11);
}

static int
insert_user(struct sqlite_handle *h, const struct user *u)
{
	int err = 0;
	sqlite3_stmt *st = sqlite_stmt(h, SQL_USER_INSERT, &err);

	if (!st)
		return err;
	sqlite_bind(st, 1, u->id);
	sqlite_bind(st, 2, u->username);
	sqlite_bind(st, 3, u->name);
	sqlite_bind(st, 4, u->password);
	sqlite3_bind_int(st, 5, u->locked);
	sqlite3_bind_int64(st, 6, u->created_ms);
	err = sqlite_exec(h, st);
	return err == ERR_CONFLICT ? ERR_USERNAME_TAKEN : err;
}

/* The invitation first: who has none does not learn which names are taken. */
void
sqlite_user_create(void *h, struct store_req *req)
{
	req->err = sqlite_begin(h);
	if (req->err)
		return;
	if (req->flag)
		req->err = sqlite_invitation_use(h, req);
	if (!req->err)
		req->err = insert_user(h, &req->user);
	sqlite_finish(h, req, req->err);
}

static void
one_user(struct sqlite_handle *h, struct store_req *req, enum sql_id id, const char *key)
{
	sqlite3_stmt *st = sqlite_stmt(h, id, &req->err);

	if (!st)
		return;
	sqlite_bind(st, 1, key);
	req->err = ERR_NOT_FOUND;
	if (sqlite_step(h, st, &req->err) == SQLITE_ROW) {
		req->err = 0;
		sqlite_read_user(st, store_req_add_user(req));
		sqlite3_reset(st);
	}
}

void
sqlite_user_by_id(void *h, struct store_req *req)
{
	one_user(h, req, SQL_USER_BY_ID, req->id);
}

void
sqlite_users_by_id(void *h, struct store_req *req)
{
	req->err = 0;
	for (size_t i = 0; !req->err && i < req->id_count; i++) {
		one_user(h, req, SQL_USER_BY_ID, req->ids[i]);
		if (req->err == ERR_NOT_FOUND)
			req->text_out = xstrdup(req->ids[i]);
	}
}

void
sqlite_user_by_username(void *h, struct store_req *req)
{
	one_user(h, req, SQL_USER_BY_USERNAME, req->text);
}

void
sqlite_user_list(void *h, struct store_req *req)
{
	sqlite3_stmt *st = sqlite_stmt(h, SQL_USER_LIST, &req->err);

	if (!st)
		return;
	sqlite_bind(st, 1, req->text);
	sqlite_bind(st, 2, req->cursor);
	sqlite3_bind_int64(st, 3, (sqlite3_int64)req->limit);
	sqlite3_bind_int(st, 4, req->flag);
	req->err = 0;
	while (sqlite_step(h, st, &req->err) == SQLITE_ROW)
		sqlite_read_user(st, store_req_add_user(req));
}

void
sqlite_update_user(struct sqlite_handle *h, struct store_req *req, sqlite3_stmt *st, bool end)
{
	req->err = sqlite_begin(h);
	if (req->err)
		return;
	req->err = sqlite_exec_some(h, st, ERR_NOT_FOUND);
	if (!req->err && end)
		req->err = sqlite_sessions_end(h, req, req->id, req->session_id);
	sqlite_finish(h, req, req->err);
}

/* Of a user who is there an update that changed nothing found another password. */
static void
explain_conflict(void *h, struct store_req *req)
{
	if (req->err != ERR_NOT_FOUND || !req->user.password[0])
		return;
	sqlite_user_by_id(h, req);
	if (!req->err)
		req->err = ERR_CONFLICT;
}

void
sqlite_user_set_password(void *h, struct store_req *req)
{
	sqlite3_stmt *st = sqlite_stmt(h, SQL_USER_PASSWORD, &req->err);

	if (!st)
		return;
	sqlite_bind(st, 1, req->id);
	sqlite_bind(st, 2, req->text);
	sqlite_bind(st, 3, req->user.password);
	sqlite_update_user(h, req, st, true);
	explain_conflict(h, req);
}

void
sqlite_user_set_locked(void *h, struct store_req *req)
{
	sqlite3_stmt *st = sqlite_stmt(h, SQL_USER_LOCKED, &req->err);

	if (!st)
		return;
	sqlite_bind(st, 1, req->id);
	sqlite3_bind_int(st, 2, req->flag);
	sqlite_update_user(h, req, st, req->flag);
}
