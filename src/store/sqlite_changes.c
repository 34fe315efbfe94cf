/* SPDX-License-Identifier: ISC */
/*
 * sqlite_changes: changing a conversation, and the outbox.  Threads of the store's pool.
 *
 * Invariant: a change and the events that tell of it are written in one transaction, and
 * the archiver takes an event out of the outbox in the transaction that stores it.  So for
 * each change the events are in the outbox, or in the archive, at any moment.
 */
#include <string.h>

#include "lib/log.h"
#include "model/error.h"
#include "store/sqlite.h"

/* ---- the outbox ---- */

static int
put_event(struct sqlite_handle *h, const struct event *ev, int64_t now_ms)
{
	int err = 0;
	sqlite3_stmt *st = sqlite_stmt(h, SQL_OUTBOX_PUT, &err);
	struct buf b;

	if (!st)
		return err;
	buf_init(&b);
	event_pack(&b, ev);
	sqlite_bind(st, 1, ev->id);
	sqlite3_bind_int64(st, 2, now_ms);
	sqlite3_bind_blob(st, 3, b.data, (int)b.len, SQLITE_STATIC);
	err = sqlite_exec(h, st);
	buf_fini(&b);
	return err;
}

int
sqlite_outbox_put(struct sqlite_handle *h, const struct store_req *req)
{
	int err = 0;

	for (size_t i = 0; !err && i < req->event_count; i++)
		err = put_event(h, req->events[i], req->now_ms);
	return err;
}

/* Messages and what is about them are never there: that is most events. */
static bool
may_be_in_outbox(const struct event *ev)
{
	switch (ev->type) {
	case EVENT_CONVERSATION_CREATED:
	case EVENT_CONVERSATION_UPDATED:
	case EVENT_MEMBER_JOINED:
	case EVENT_MEMBER_LEFT:
	case EVENT_MEMBER_UPDATED:
		return true;
	default:
		return false;
	}
}

int
sqlite_outbox_delete(struct sqlite_handle *h, const struct event *ev)
{
	return may_be_in_outbox(ev) ? sqlite_run_with(h, SQL_OUTBOX_DELETE, ev->id) : 0;
}

/* A row that cannot be read is named and left where it is: somebody may want to look at it. */
void
sqlite_outbox_list(void *h, struct store_req *req)
{
	sqlite3_stmt *st = sqlite_stmt(h, SQL_OUTBOX_LIST, &req->err);

	if (!st)
		return;
	sqlite3_bind_int64(st, 1, req->now_ms);
	sqlite3_bind_int64(st, 2, (sqlite3_int64)req->limit);
	req->err = 0;
	while (sqlite_step(h, st, &req->err) == SQLITE_ROW) {
		struct unpack u;
		struct event *ev;
		char id[ID_MAX];

		sqlite_text(st, 0, id, sizeof(id));
		unpack_init(&u, sqlite3_column_blob(st, 1), (size_t)sqlite3_column_bytes(st, 1));
		ev = event_unpack(&u);
		if (ev)
			store_req_add_event(req, ev);
		else
			log_error("store.bad_outbox_row", "msg=%s", log_quote(id));
	}
}

/* ---- changing a conversation ---- */

static int
update_fields(struct sqlite_handle *h, const struct store_req *req)
{
	const struct conversation *c = req->conversation;
	int err = 0;
	sqlite3_stmt *st = sqlite_stmt(h, SQL_CONV_UPDATE, &err);

	if (!st)
		return err;
	sqlite_bind(st, 1, req->id);
	sqlite3_bind_int64(st, 2, (sqlite3_int64)req->after);
	sqlite_bind(st, 3, c->name);
	sqlite_bind(st, 4, c->topic);
	sqlite3_bind_int(st, 5, c->archived);
	sqlite3_bind_int(st, 6, c->is_public);
	sqlite3_bind_int(st, 7, (int)c->history);
	return sqlite_exec(h, st);
}

int
sqlite_put_member(struct sqlite_handle *h, const char *conversation, const struct member *m)
{
	int err = 0;
	sqlite3_stmt *st = sqlite_stmt(h, SQL_MEMBER_PUT, &err);

	if (!st)
		return err;
	sqlite_bind(st, 1, conversation);
	sqlite_bind(st, 2, m->user);
	sqlite3_bind_int(st, 3, (int)m->role);
	sqlite3_bind_int64(st, 4, (sqlite3_int64)m->since);
	return sqlite_exec(h, st);
}

static int
delete_member(struct sqlite_handle *h, const char *conversation, const char *user)
{
	int err = 0;
	sqlite3_stmt *st = sqlite_stmt(h, SQL_MEMBER_DELETE, &err);

	if (!st)
		return err;
	sqlite_bind(st, 1, conversation);
	sqlite_bind(st, 2, user);
	return sqlite_exec(h, st);
}

static int
write_change(struct sqlite_handle *h, struct store_req *req)
{
	const struct conversation *c = req->conversation;
	int err = update_fields(h, req);
	bool changed = !err && sqlite3_changes(h->db) > 0;

	if (!err && !changed) {
		sqlite_add_conversation(h, req, req->id); /* another version, or none at all */
		return req->err ? req->err : ERR_CONFLICT;
	}
	for (size_t i = 0; !err && i < c->member_count; i++) {
		err = sqlite_put_member(h, req->id, &c->members[i]);
		if (err == ERR_NOT_FOUND)
			req->text_out = xstrdup(c->members[i].user);
	}
	for (size_t i = 0; !err && i < req->id_count; i++)
		err = delete_member(h, req->id, req->ids[i]);
	if (!err)
		err = sqlite_outbox_put(h, req);
	if (err)
		return err;
	sqlite_add_conversation(h, req, req->id);
	return req->err;
}

void
sqlite_conversation_change(void *h, struct store_req *req)
{
	req->err = sqlite_begin(h);
	if (!req->err)
		sqlite_finish(h, req, write_change(h, req));
}
