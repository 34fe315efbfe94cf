/* SPDX-License-Identifier: ISC */
/*
 * sqlite_files: what is known about uploaded files.  Threads of the store's pool.
 *
 * A row goes from state to state by single statements that name the state it must have, so
 * that a claim and the sweep, or two claims, decide it between them by who writes first.
 */
#include <string.h>

#include "model/error.h"
#include "store/sqlite.h"

/* By FILE_COLUMNS. */
static void
read_file(sqlite3_stmt *st, struct file *f)
{
	sqlite_text(st, 0, f->id, sizeof(f->id));
	sqlite_text(st, 1, f->owner, sizeof(f->owner));
	sqlite_text(st, 2, f->name, sizeof(f->name));
	sqlite_text(st, 3, f->type, sizeof(f->type));
	f->size = sqlite3_column_int64(st, 4);
	f->created_ms = sqlite3_column_int64(st, 5);
	f->state = (enum file_state)sqlite3_column_int(st, 6);
	sqlite_text(st, 7, f->conversation, sizeof(f->conversation));
	sqlite_text(st, 8, f->message, sizeof(f->message));
}

/* Adds it to req's files.  ERR_NOT_FOUND, also if it is doomed. */
static int
add_file(struct sqlite_handle *h, struct store_req *req, const char *id)
{
	int err = 0;
	sqlite3_stmt *st = sqlite_stmt(h, SQL_FILE_BY_ID, &err);

	if (!st)
		return err;
	sqlite_bind(st, 1, id);
	if (sqlite_step(h, st, &err) != SQLITE_ROW)
		return err ? err : ERR_NOT_FOUND;
	read_file(st, store_req_add_file(req));
	sqlite3_reset(st);
	return 0;
}

/* ---- one file ---- */

static int
check_quota(struct sqlite_handle *h, const struct store_req *req)
{
	sqlite3_int64 used = 0;
	sqlite3_stmt *st;
	int err = 0;

	if (!req->quota)
		return 0;
	st = sqlite_stmt(h, SQL_FILES_SIZE, &err);
	if (!st)
		return err;
	sqlite_bind(st, 1, req->file.owner);
	if (sqlite_step(h, st, &err) == SQLITE_ROW) {
		used = sqlite3_column_int64(st, 0);
		sqlite3_reset(st);
	}
	if (!err && used + req->file.size > req->quota)
		err = ERR_QUOTA;
	return err;
}

static int
insert_file(struct sqlite_handle *h, const struct file *f)
{
	int err = 0;
	sqlite3_stmt *st = sqlite_stmt(h, SQL_FILE_INSERT, &err);

	if (!st)
		return err;
	sqlite_bind(st, 1, f->id);
	sqlite_bind(st, 2, f->owner);
	sqlite_bind(st, 3, f->name);
	sqlite_bind(st, 4, f->type);
	sqlite3_bind_int64(st, 5, f->size);
	sqlite3_bind_int64(st, 6, f->created_ms);
	return sqlite_exec(h, st);
}

void
sqlite_file_create(void *handle, struct store_req *req)
{
	struct sqlite_handle *h = handle;
	int err = sqlite_begin(h);

	if (!err)
		err = check_quota(h, req);
	if (!err)
		err = insert_file(h, &req->file);
	sqlite_finish(h, req, err);
}

void
sqlite_file_get(void *h, struct store_req *req)
{
	req->err = add_file(h, req, req->id);
}

void
sqlite_file_delete(void *handle, struct store_req *req)
{
	struct sqlite_handle *h = handle;
	sqlite3_stmt *st = sqlite_stmt(h, SQL_FILE_DELETE, &req->err);

	if (!st)
		return;
	sqlite_bind(st, 1, req->id);
	sqlite_bind(st, 2, req->user_id);
	req->err = sqlite_exec_some(h, st, ERR_CONFLICT);
	if (req->err != ERR_CONFLICT)
		return;
	req->err = add_file(h, req, req->id);
	if (!req->err)
		req->err = strcmp(req->files[0].owner, req->user_id) ? ERR_NOT_FOUND : ERR_CONFLICT;
}

/* ---- a send takes its files ---- */

/* A loose one; again: one that the same send claimed before. */
static int
claim_one(struct sqlite_handle *h, struct store_req *req, const char *id, bool again)
{
	int err = 0;
	sqlite3_stmt *st = sqlite_stmt(h, SQL_FILE_CLAIM, &err);

	if (!st)
		return err;
	sqlite_bind(st, 1, id);
	sqlite_bind(st, 2, req->user_id);
	sqlite_bind(st, 3, req->id);
	sqlite_bind(st, 4, req->text);
	sqlite_bind(st, 5, req->message);
	sqlite3_bind_int64(st, 6, req->now_ms);
	sqlite3_bind_int(st, 7, again);
	err = sqlite_exec_some(h, st, ERR_CONFLICT);
	if (err && err != ERR_CONFLICT)
		return err;
	if (!err)
		return add_file(h, req, id);
	err = add_file(h, req, id);
	if (!err && strcmp(req->files[req->file_count - 1].owner, req->user_id) == 0)
		return again ? ERR_ID_REUSED : ERR_CONFLICT;
	return err ? err : ERR_NOT_FOUND;
}

/* The message that the same send was to make when it claimed files before; else *found_r "". */
static int
claimed_before(struct sqlite_handle *h, const struct store_req *req, char found_r[ID_MAX])
{
	int err = 0;
	sqlite3_stmt *st = sqlite_stmt(h, SQL_FILE_CLAIMED_FOR, &err);

	found_r[0] = '\0';
	if (!st)
		return err;
	sqlite_bind(st, 1, req->user_id);
	sqlite_bind(st, 2, req->id);
	sqlite_bind(st, 3, req->text);
	if (sqlite_step(h, st, &err) == SQLITE_ROW) {
		sqlite_text(st, 0, found_r, ID_MAX);
		sqlite3_reset(st);
	}
	return err;
}

void
sqlite_files_claim(void *handle, struct store_req *req)
{
	struct sqlite_handle *h = handle;
	char before[ID_MAX];
	int err = sqlite_begin(h);

	if (!err)
		err = claimed_before(h, req, before);
	if (!err && before[0])
		str_copy(req->message, sizeof(req->message), before);
	for (size_t i = 0; !err && i < req->id_count; i++) {
		err = claim_one(h, req, req->ids[i], before[0] != '\0');
		if (err == ERR_NOT_FOUND || err == ERR_CONFLICT || err == ERR_ID_REUSED)
			req->text_out = xstrdup(req->ids[i]);
	}
	sqlite_finish(h, req, err);
	if (req->err)
		req->file_count = 0;
	else
		req->text_out = xstrdup(req->message);
}

/* ---- what becomes of the message ---- */

int
sqlite_files_settle(
    struct sqlite_handle *h, const struct event *ev, const char *message, bool deleted)
{
	/* Within a string the quotes would be escaped, so this is the member. */
	static const char member[] = "\"files\":[{";
	int err;

	if (deleted) {
		err = sqlite_run_with(h, SQL_FILES_DOOM, message);
		return err ? err : sqlite_run_with(h, SQL_SCRUB_FILES, message);
	}
	if (ev->type != EVENT_MESSAGE_CREATED ||
	    !memmem(ev->data, ev->data_len, member, sizeof(member) - 1))
		return 0;
	return sqlite_run_with(h, SQL_FILES_ATTACH, message);
}

/* ---- what nobody wants ---- */

static int
doom(struct sqlite_handle *h, enum sql_id id, int64_t before_ms)
{
	int err = 0;
	sqlite3_stmt *st = sqlite_stmt(h, id, &err);

	if (!st)
		return err;
	sqlite3_bind_int64(st, 1, before_ms);
	return sqlite_exec(h, st);
}

void
sqlite_files_sweep(void *handle, struct store_req *req)
{
	struct sqlite_handle *h = handle;
	sqlite3_stmt *st;
	int err = sqlite_begin(h);

	if (!err)
		err = doom(h, SQL_FILES_DOOM_LOOSE, req->before_ms);
	if (!err && req->flag)
		err = doom(h, SQL_FILES_DOOM_CLAIMED, req->before_ms);
	st = err ? NULL : sqlite_stmt(h, SQL_FILES_DOOMED, &err);
	if (st) {
		sqlite3_bind_int64(st, 1, (sqlite3_int64)req->limit);
		err = sqlite_read_ids(h, req, st);
	}
	sqlite_finish(h, req, err);
}

void
sqlite_files_forget(void *handle, struct store_req *req)
{
	struct sqlite_handle *h = handle;
	int err = sqlite_begin(h);

	for (size_t i = 0; !err && i < req->id_count; i++)
		err = sqlite_run_with(h, SQL_FILE_FORGET, req->ids[i]);
	sqlite_finish(h, req, err);
}
