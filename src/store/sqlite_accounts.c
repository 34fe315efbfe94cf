/* SPDX-License-Identifier: ISC */
/*
 * sqlite_accounts: profiles and invitations.  Threads of the store's pool.
 *
 * Invariant: uses_left of an invitation never falls below 0, and falls in the same
 * transaction that makes the user: so of two who come with the last use one gets it.
 */
#include <string.h>

#include "model/error.h"
#include "store/sqlite.h"

/* ---- profiles ---- */

/* The answer is read in the transaction of the update: it shows exactly that version. */
static int
update_profile(struct sqlite_handle *h, struct store_req *req)
{
	const struct user *u = &req->user;
	int err = 0;
	sqlite3_stmt *st = sqlite_stmt(h, SQL_USER_UPDATE, &err);
	bool changed;

	if (!st)
		return err;
	sqlite_bind(st, 1, u->id);
	sqlite_bind(st, 2, u->name);
	sqlite_bind(st, 3, u->avatar);
	sqlite_bind(st, 4, u->bio);
	sqlite_bind(st, 5, u->time_zone);
	sqlite3_bind_int64(st, 6, (sqlite3_int64)req->after);
	err = sqlite_exec(h, st);
	if (err)
		return err;
	changed = sqlite3_changes(h->db) > 0;
	str_copy(req->id, sizeof(req->id), u->id);
	sqlite_user_by_id(h, req);
	return req->err || changed ? req->err : ERR_CONFLICT;
}

void
sqlite_user_update(void *h, struct store_req *req)
{
	req->err = sqlite_begin(h);
	if (!req->err)
		sqlite_finish(h, req, update_profile(h, req));
}

void
sqlite_user_deactivate(void *h, struct store_req *req)
{
	sqlite3_stmt *st = sqlite_stmt(h, SQL_USER_DEACTIVATE, &req->err);

	if (!st)
		return;
	sqlite_bind(st, 1, req->id);
	sqlite3_bind_int64(st, 2, req->now_ms);
	sqlite_update_user(h, req, st, true);
}

/* ---- invitations ---- */

void
sqlite_invitation_create(void *h, struct store_req *req)
{
	const struct invitation *inv = &req->invitation;
	sqlite3_stmt *st = sqlite_stmt(h, SQL_INVITATION_INSERT, &req->err);

	if (!st)
		return;
	sqlite_bind(st, 1, inv->id);
	sqlite3_bind_blob(st, 2, inv->code_hash, TOKEN_HASH, SQLITE_STATIC);
	sqlite3_bind_int64(st, 3, (sqlite3_int64)inv->uses_left);
	sqlite3_bind_int64(st, 4, inv->created_ms);
	sqlite3_bind_int64(st, 5, inv->expires_ms);
	sqlite_bind(st, 6, inv->note);
	req->err = sqlite_exec(h, st);
}

void
sqlite_invitation_list(void *h, struct store_req *req)
{
	sqlite3_stmt *st = sqlite_stmt(h, SQL_INVITATION_LIST, &req->err);

	if (!st)
		return;
	sqlite_bind(st, 1, req->cursor);
	sqlite3_bind_int64(st, 2, (sqlite3_int64)req->limit);
	req->err = 0;
	while (sqlite_step(h, st, &req->err) == SQLITE_ROW) {
		struct invitation *inv = store_req_add_invitation(req);

		sqlite_text(st, 0, inv->id, sizeof(inv->id));
		inv->uses_left = (uint64_t)sqlite3_column_int64(st, 1);
		inv->created_ms = sqlite3_column_int64(st, 2);
		inv->expires_ms = sqlite3_column_int64(st, 3);
		sqlite_text(st, 4, inv->note, sizeof(inv->note));
	}
}

void
sqlite_invitation_delete(void *handle, struct store_req *req)
{
	struct sqlite_handle *h = handle;
	sqlite3_stmt *st = sqlite_stmt(h, SQL_INVITATION_DELETE, &req->err);

	if (!st)
		return;
	sqlite_bind(st, 1, req->id);
	req->err = sqlite_exec_some(h, st, ERR_NOT_FOUND);
}

int
sqlite_invitation_use(struct sqlite_handle *h, const struct store_req *req)
{
	int err = 0;
	sqlite3_stmt *st = sqlite_stmt(h, SQL_INVITATION_USE, &err);

	if (!st)
		return err;
	sqlite3_bind_blob(st, 1, req->invitation.code_hash, TOKEN_HASH, SQLITE_STATIC);
	sqlite3_bind_int64(st, 2, req->now_ms);
	return sqlite_exec_some(h, st, ERR_INVITATION);
}
