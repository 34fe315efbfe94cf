/* SPDX-License-Identifier: ISC */
/*
 * sqlite_messages: what became of messages: edits, deletions, reactions, mentions; and
 * who has read how far.  Threads of the store's pool.
 *
 * The tables are registers of model/message.h, each row won by one event by its seq, so
 * batches may be applied in any order and again.  The text of a message is in `events`
 * alone: `edits` only says which event has the newest one.  After each event that changes
 * a text, settle() makes the stored events and the mentions agree with the registers; it
 * reads nothing but the tables, so the last event of a message to arrive settles it the
 * same way, whichever that is.
 */
#include <string.h>

#include "lib/log.h"
#include "model/error.h"
#include "store/sqlite.h"

/* ---- registers ---- */

static int
put_edit(struct sqlite_handle *h, const struct event *ev)
{
	int err = 0;
	sqlite3_stmt *st = sqlite_stmt(h, SQL_EDIT_PUT, &err);

	if (!st)
		return err;
	sqlite_bind(st, 1, ev->ref);
	sqlite_bind(st, 2, ev->conversation);
	sqlite3_bind_int64(st, 3, sqlite_seq(ev->seq));
	return sqlite_exec(h, st);
}

static int
put_deletion(struct sqlite_handle *h, const struct event *ev)
{
	int err = 0;
	sqlite3_stmt *st = sqlite_stmt(h, SQL_DELETION_PUT, &err);

	if (!st)
		return err;
	sqlite_bind(st, 1, ev->ref);
	sqlite3_bind_int64(st, 2, sqlite_seq(ev->seq));
	sqlite3_bind_int64(st, 3, ev->created_ms);
	sqlite_bind(st, 4, ev->sender);
	return sqlite_exec(h, st);
}

static int
put_reaction(struct sqlite_handle *h, const struct event *ev)
{
	int err = 0;
	sqlite3_stmt *st = sqlite_stmt(h, SQL_REACTION_PUT, &err);

	if (!st)
		return err;
	sqlite_bind(st, 1, ev->ref);
	sqlite_bind(st, 2, ev->sender);
	sqlite3_bind_text(st, 3, ev->data, (int)ev->data_len, SQLITE_STATIC);
	sqlite3_bind_int64(st, 4, sqlite_seq(ev->seq));
	sqlite3_bind_int(st, 5, ev->type == EVENT_REACTION_ADDED);
	return sqlite_exec(h, st);
}

/* Where the newest edit is; 0 with *seq_r = 0: there is none. */
static int
newest_edit(
    struct sqlite_handle *h, const char *message, char conversation_r[ID_MAX], uint64_t *seq_r)
{
	int err = 0;
	sqlite3_stmt *st = sqlite_stmt(h, SQL_EDIT_OF, &err);

	*seq_r = 0;
	if (!st)
		return err;
	sqlite_bind(st, 1, message);
	if (sqlite_step(h, st, &err) != SQLITE_ROW)
		return err;
	sqlite_text(st, 0, conversation_r, ID_MAX);
	*seq_r = (uint64_t)sqlite3_column_int64(st, 1);
	sqlite3_reset(st);
	return 0;
}

/* Fills deleted_* of s; they stay 0 if it is not deleted. */
static int
read_deletion(struct sqlite_handle *h, struct message_state *s)
{
	int err = 0;
	sqlite3_stmt *st = sqlite_stmt(h, SQL_DELETION_OF, &err);

	if (!st)
		return err;
	sqlite_bind(st, 1, s->id);
	if (sqlite_step(h, st, &err) != SQLITE_ROW)
		return err;
	s->deleted_seq = (uint64_t)sqlite3_column_int64(st, 0);
	s->deleted_ms = sqlite3_column_int64(st, 1);
	sqlite_text(st, 2, s->deleted_by, sizeof(s->deleted_by));
	sqlite3_reset(st);
	return 0;
}

/* ---- text that nobody may read any more, and mentions ---- */

/* Of the message itself and of its edits below this number. */
static int
scrub(struct sqlite_handle *h, const char *message, uint64_t below)
{
	int err = sqlite_run_with(h, SQL_SCRUB_MESSAGE, message);
	sqlite3_stmt *st;

	if (err)
		return err;
	st = sqlite_stmt(h, SQL_SCRUB_EDITS, &err);
	if (!st)
		return err;
	sqlite_bind(st, 1, message);
	sqlite3_bind_int64(st, 2, sqlite_seq(below));
	return sqlite_exec(h, st);
}

/* The text of the event at this place counts; without the message itself nothing happens. */
static int
put_mentions(struct sqlite_handle *h, const char *message, const char *conversation, uint64_t seq)
{
	int err = 0;
	sqlite3_stmt *st = sqlite_stmt(h, SQL_MENTIONS_PUT, &err);

	if (!st)
		return err;
	sqlite_bind(st, 1, message);
	sqlite_bind(st, 2, conversation);
	sqlite3_bind_int64(st, 3, sqlite_seq(seq));
	return sqlite_exec(h, st);
}

static int
settle(struct sqlite_handle *h, const char *message, const struct event *ev, bool keep_edits)
{
	struct message_state s = {0};
	char conversation[ID_MAX];
	uint64_t edit;
	int err;

	str_copy(s.id, sizeof(s.id), message);
	err = read_deletion(h, &s);
	if (!err)
		err = newest_edit(h, message, conversation, &edit);
	if (!err)
		err = sqlite_files_settle(h, ev, message, s.deleted_seq != 0);
	if (!err && !s.deleted_seq && !edit)
		return put_mentions(h, message, ev->conversation, ev->seq);
	if (!err && s.deleted_seq)
		err = scrub(h, message, UINT64_MAX);
	else if (!err && !keep_edits)
		err = scrub(h, message, edit);
	if (!err)
		err = sqlite_run_with(h, SQL_MENTIONS_DELETE, message);
	if (!err && !s.deleted_seq)
		err = put_mentions(h, message, conversation, edit);
	return err;
}

int
sqlite_apply_state(struct sqlite_handle *h, const struct event *ev, bool keep_edits)
{
	int err = 0;

	switch (ev->type) {
	case EVENT_MESSAGE_CREATED:
		return settle(h, ev->id, ev, keep_edits);
	case EVENT_MESSAGE_UPDATED:
		err = put_edit(h, ev);
		break;
	case EVENT_MESSAGE_DELETED:
		err = put_deletion(h, ev);
		break;
	case EVENT_REACTION_ADDED:
	case EVENT_REACTION_REMOVED:
		return put_reaction(h, ev);
	default:
		return 0;
	}
	return err ? err : settle(h, ev->ref, ev, keep_edits);
}

/* ---- reading ---- */

static int
read_edit(struct sqlite_handle *h, struct message_state *s)
{
	char conversation[ID_MAX];
	sqlite3_stmt *st;
	uint64_t seq;
	int err = newest_edit(h, s->id, conversation, &seq);

	if (err || !seq)
		return err;
	st = sqlite_stmt(h, SQL_EVENT_AT, &err);
	if (!st)
		return err;
	sqlite_bind(st, 1, conversation);
	sqlite3_bind_int64(st, 2, sqlite_seq(seq));
	if (sqlite_step(h, st, &err) != SQLITE_ROW)
		return err;
	s->edit = sqlite_read_event(st);
	sqlite3_reset(st);
	return 0;
}

static int
read_reactions(struct sqlite_handle *h, struct message_state *s)
{
	int err = 0;
	sqlite3_stmt *st = sqlite_stmt(h, SQL_REACTIONS_OF, &err);

	if (!st)
		return err;
	sqlite_bind(st, 1, s->id);
	while (sqlite_step(h, st, &err) == SQLITE_ROW) {
		struct message_reaction r = {0};

		sqlite_text(st, 0, r.user, sizeof(r.user));
		sqlite_text(st, 1, r.emoji, sizeof(r.emoji));
		r.seq = (uint64_t)sqlite3_column_int64(st, 2);
		r.present = sqlite3_column_int(st, 3) != 0;
		message_state_push_reaction(s, &r);
	}
	return err;
}

/* Did anything happen to this message?  One look into an index, and of most nothing did. */
static int
is_touched(struct sqlite_handle *h, const char *message, bool *touched_r)
{
	int err = 0;
	sqlite3_stmt *st = sqlite_stmt(h, SQL_MESSAGE_TOUCHED, &err);

	*touched_r = false;
	if (!st)
		return err;
	sqlite_bind(st, 1, message);
	if (sqlite_step(h, st, &err) == SQLITE_ROW) {
		*touched_r = true;
		sqlite3_reset(st);
	}
	return err;
}

static int
add_state(struct sqlite_handle *h, struct store_req *req, const char *message)
{
	struct message_state *s = NULL;
	bool touched = false;
	int err = message ? is_touched(h, message, &touched) : 0;

	if (touched)
		s = message_state_new(message);
	store_req_add_state(req, s);
	if (!s)
		return err;
	err = read_edit(h, s);
	if (!err)
		err = read_deletion(h, s);
	return err ? err : read_reactions(h, s);
}

int
sqlite_add_states(struct sqlite_handle *h, struct store_req *req)
{
	int err = 0;

	for (size_t i = 0; !err && i < req->event_count; i++)
		err = add_state(h, req, message_shown_by(req->events[i]));
	return err;
}

void
sqlite_message_get(void *h, struct store_req *req)
{
	sqlite3_stmt *st = sqlite_stmt(h, SQL_MESSAGE_BY_ID, &req->err);

	if (!st)
		return;
	sqlite_bind(st, 1, req->id);
	req->err = ERR_NOT_FOUND;
	if (sqlite_step(h, st, &req->err) != SQLITE_ROW)
		return;
	store_req_add_event(req, sqlite_read_event(st));
	sqlite3_reset(st);
	req->err = add_state(h, req, req->id);
	st = req->err ? NULL : sqlite_stmt(h, SQL_MESSAGE_EDITS, &req->err);
	if (!st)
		return;
	sqlite_bind(st, 1, req->id);
	sqlite3_bind_int(st, 2, STORE_PAGE_MAX);
	while (sqlite_step(h, st, &req->err) == SQLITE_ROW)
		store_req_add_event(req, sqlite_read_event(st));
	sqlite_reverse(req->events + 1, req->event_count - 1);
}

/* ---- who has read how far ---- */

static int
put_read(struct sqlite_handle *h, const struct store_read *r)
{
	int err = 0;
	sqlite3_stmt *st = sqlite_stmt(h, SQL_MEMBER_READ, &err);

	if (!st)
		return err;
	sqlite_bind(st, 1, r->conversation);
	sqlite_bind(st, 2, r->user);
	sqlite3_bind_int64(st, 3, sqlite_seq(r->seq));
	return sqlite_exec(h, st);
}

void
sqlite_reads_put(void *h, struct store_req *req)
{
	req->err = sqlite_begin(h);
	if (req->err)
		return;
	for (size_t i = 0; !req->err && i < req->read_count; i++)
		req->err = put_read(h, &req->reads[i]);
	sqlite_finish(h, req, req->err);
}

void
sqlite_member_mute(void *handle, struct store_req *req)
{
	struct sqlite_handle *h = handle;
	sqlite3_stmt *st = sqlite_stmt(h, SQL_MEMBER_MUTE, &req->err);

	if (!st)
		return;
	sqlite_bind(st, 1, req->id);
	sqlite_bind(st, 2, req->user_id);
	sqlite3_bind_int(st, 3, req->flag);
	req->err = sqlite_exec_some(h, st, ERR_NOT_FOUND);
}

static int
count(struct sqlite_handle *h, enum sql_id id, const char *user, const struct membership *m,
    sqlite3_int64 *count_r)
{
	int err = 0;
	sqlite3_stmt *st = sqlite_stmt(h, id, &err);

	if (!st)
		return err;
	sqlite_bind(st, 1, m->conversation);
	if (id != SQL_LAST_SEQ) {
		sqlite3_bind_int64(st, 2, sqlite_seq(m->read > m->since ? m->read : m->since));
		sqlite_bind(st, 3, user);
		sqlite3_bind_int(st, 4, UNREAD_MAX);
	}
	if (sqlite_step(h, st, &err) == SQLITE_ROW) {
		*count_r = sqlite3_column_int64(st, 0);
		sqlite3_reset(st);
	}
	return err;
}

int
sqlite_count_unread(struct sqlite_handle *h, const char *user, struct membership *m)
{
	sqlite3_int64 last = 0, unread = 0, mentions = 0;
	int err = count(h, SQL_LAST_SEQ, user, m, &last);

	if (!err)
		err = count(h, SQL_UNREAD, user, m, &unread);
	if (!err)
		err = count(h, SQL_UNREAD_MENTIONS, user, m, &mentions);
	m->last = (uint64_t)last;
	m->unread = (unsigned int)unread;
	m->mentions = (unsigned int)mentions;
	return err;
}
