/* SPDX-License-Identifier: ISC */
/*
 * sqlite_events: events: reading, and applying batches.  Threads of the store's pool.
 */
#include <stdlib.h>
#include <string.h>

#include "lib/log.h"
#include "model/error.h"
#include "store/sqlite.h"

/* Numbers stay below 2^53, but what a client asks for may not. */
sqlite3_int64
sqlite_seq(uint64_t seq)
{
	return seq > INT64_MAX ? INT64_MAX : (sqlite3_int64)seq;
}

/* Columns in the order of the SELECTs of sqlite.def. */
struct event *
sqlite_read_event(sqlite3_stmt *st)
{
	char conversation[ID_MAX], sender[ID_MAX], client_id[EVENT_DEDUP_MAX];
	const void *digest = sqlite3_column_blob(st, 6);
	const char *data = (const char *)sqlite3_column_text(st, 7);
	struct event *ev;

	sqlite_text(st, 1, conversation, sizeof(conversation));
	sqlite_text(st, 2, sender, sizeof(sender));
	sqlite_text(st, 3, client_id, sizeof(client_id));
	ev = event_new((enum event_type)sqlite3_column_int(st, 4), conversation, sender, client_id,
	    data ? data : "{}", data ? (size_t)sqlite3_column_bytes(st, 7) : 2);
	sqlite_text(st, 0, ev->id, sizeof(ev->id));
	ev->created_ms = sqlite3_column_int64(st, 5);
	if (digest && sqlite3_column_bytes(st, 6) == EVENT_DIGEST)
		memcpy(ev->digest, digest, EVENT_DIGEST);
	ev->seq = (uint64_t)sqlite3_column_int64(st, 8);
	sqlite_text(st, 9, ev->ref, sizeof(ev->ref));
	return ev;
}

void
sqlite_event_by_client_id(void *h, struct store_req *req)
{
	sqlite3_stmt *st;

	req->err = sqlite_add_membership(h, req, req->id, req->user_id);
	if (req->err && req->err != ERR_NOT_FOUND)
		return;
	st = sqlite_stmt(h, SQL_EVENT_BY_CLIENT_ID, &req->err);
	if (!st)
		return;
	sqlite_bind(st, 1, req->id);
	sqlite_bind(st, 2, req->user_id);
	sqlite_bind(st, 3, req->text);
	req->err = ERR_NOT_FOUND;
	if (sqlite_step(h, st, &req->err) == SQLITE_ROW) {
		req->err = 0;
		store_req_add_event(req, sqlite_read_event(st));
		sqlite3_reset(st);
	}
}

void
sqlite_reverse(struct event **events, size_t n)
{
	for (size_t i = 0; i < n / 2; i++) {
		struct event *t = events[i];

		events[i] = events[n - 1 - i];
		events[n - 1 - i] = t;
	}
}

/* One more than the limit is read, to know whether there is more. */
void
sqlite_events(void *h, struct store_req *req)
{
	bool down = req->before != 0;
	sqlite3_stmt *st = sqlite_stmt(h, down ? SQL_EVENTS_DOWN : SQL_EVENTS_UP, &req->err);

	if (!st)
		return;
	sqlite_bind(st, 1, req->id);
	sqlite3_bind_int64(st, 2, sqlite_seq(req->after));
	sqlite3_bind_int64(st, 3, (sqlite3_int64)req->limit + 1);
	if (down)
		sqlite3_bind_int64(st, 4, sqlite_seq(req->before));
	req->err = 0;
	req->flag = false;
	while (sqlite_step(h, st, &req->err) == SQLITE_ROW) {
		if (req->event_count == req->limit)
			req->flag = true;
		else
			store_req_add_event(req, sqlite_read_event(st));
	}
	if (down)
		sqlite_reverse(req->events, req->event_count);
	if (!req->err)
		req->err = sqlite_add_states(h, req);
}

/* The id of the event in the way of this one: its own, if it is there already. */
static int
who_is_there(struct sqlite_handle *h, const struct event *ev, char id_r[ID_MAX])
{
	int err = 0;
	sqlite3_stmt *st = sqlite_stmt(h, SQL_EVENT_TAKEN, &err);

	id_r[0] = '\0';
	if (!st)
		return err;
	sqlite_bind(st, 1, ev->id);
	sqlite_bind(st, 2, ev->conversation);
	sqlite3_bind_int64(st, 3, sqlite_seq(ev->seq));
	sqlite_bind(st, 4, ev->sender);
	sqlite_bind(st, 5, ev->client_id);
	if (sqlite_step(h, st, &err) == SQLITE_ROW) {
		sqlite_text(st, 0, id_r, ID_MAX);
		sqlite3_reset(st);
	}
	return err;
}

/*
 * An event that is there already is skipped.  One whose place or client id is taken by
 * another event would be a broken promise of ours: it is reported and left out, so that
 * the archive goes on.
 */
static int
apply_one(struct sqlite_handle *h, struct store_req *req, const struct event *ev)
{
	char other[ID_MAX];
	int err = 0;
	sqlite3_stmt *st = sqlite_stmt(h, SQL_EVENT_INSERT, &err);

	if (!st)
		return err;
	sqlite_bind(st, 1, ev->conversation);
	sqlite3_bind_int64(st, 2, sqlite_seq(ev->seq));
	sqlite_bind(st, 3, ev->id);
	sqlite_bind(st, 4, ev->sender);
	sqlite_bind(st, 5, ev->client_id);
	sqlite3_bind_int(st, 6, (int)ev->type);
	sqlite3_bind_int64(st, 7, ev->created_ms);
	sqlite3_bind_blob(st, 8, ev->digest, EVENT_DIGEST, SQLITE_STATIC);
	sqlite3_bind_text(st, 9, ev->data, (int)ev->data_len, SQLITE_STATIC);
	sqlite_bind(st, 10, ev->ref);
	err = sqlite_exec(h, st);
	if (err)
		return err;
	if (sqlite3_changes(h->db) > 0)
		return sqlite_apply_state(h, ev, req->flag);
	err = who_is_there(h, ev, other);
	if (err || !strcmp(other, ev->id))
		return err;
	log_error("store.conflict",
	    "msg=%s other=%s conv=%s seq=%llu; its place or client id is taken by the other, left "
	    "out",
	    ev->id, other, ev->conversation, (unsigned long long)ev->seq);
	store_req_add_id(req, ev->id);
	return 0;
}

void
sqlite_apply(void *handle, struct store_req *req)
{
	struct sqlite_handle *h = handle;

	req->err = sqlite_begin(h);
	if (req->err)
		return;
	req->id_out_count = 0; /* a repeated request says it anew */
	for (size_t i = 0; !req->err && i < req->event_count; i++) {
		req->err = apply_one(h, req, req->events[i]);
		if (!req->err)
			req->err = sqlite_outbox_delete(h, req->events[i]);
	}
	sqlite_finish(h, req, req->err);
}
