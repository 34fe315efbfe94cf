/* SPDX-License-Identifier: ISC */
/*
 * sqlite_presence: when users were last seen, and whom that concerns.  Threads of the
 * store's pool.
 */
#include "model/error.h"
#include "store/sqlite.h"

static int
set_seen(struct sqlite_handle *h, const struct user *u)
{
	int err = 0;
	sqlite3_stmt *st = sqlite_stmt(h, SQL_USER_SEEN, &err);

	if (!st)
		return err;
	sqlite_bind(st, 1, u->id);
	sqlite3_bind_int64(st, 2, u->last_seen_ms);
	return sqlite_exec(h, st);
}

void
sqlite_users_seen(void *h, struct store_req *req)
{
	req->err = sqlite_begin(h);
	if (req->err)
		return;
	for (size_t i = 0; !req->err && i < req->user_count; i++)
		req->err = set_seen(h, &req->users[i]);
	sqlite_finish(h, req, req->err);
}

void
sqlite_users_shared(void *h, struct store_req *req)
{
	req->err = 0;
	for (size_t i = 0; !req->err && i < req->id_count; i++) {
		sqlite3_stmt *st = sqlite_stmt(h, SQL_USER_SHARED, &req->err);
		struct user *u;

		if (!st)
			return;
		sqlite_bind(st, 1, req->id);
		sqlite_bind(st, 2, req->ids[i]);
		if (sqlite_step(h, st, &req->err) != SQLITE_ROW)
			continue;
		u = store_req_add_user(req);
		str_copy(u->id, sizeof(u->id), req->ids[i]);
		u->last_seen_ms = sqlite3_column_int64(st, 0);
		sqlite3_reset(st);
	}
}

void
sqlite_presence_conversations(void *h, struct store_req *req)
{
	sqlite3_stmt *st = sqlite_stmt(h, SQL_PRESENCE_CONVERSATIONS, &req->err);

	if (!st)
		return;
	sqlite_bind(st, 1, req->id);
	sqlite3_bind_int64(st, 2, (sqlite3_int64)req->limit);
	req->err = sqlite_read_ids(h, req, st);
}
