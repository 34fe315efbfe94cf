/* SPDX-License-Identifier: ISC */
/*
 * range: window first, store second.  Worker, loop thread.
 *
 * The window's answer says its floor: everything after it is in the window, and
 * what is at or below it is in the store, because the window is trimmed only up to
 * what is archived.  The window is read first: had the store been read first, an
 * event could be archived and trimmed between the two reads and be in neither.
 *
 * Then the messages' state is laid over: what the store has of it came with its events,
 * and what is not archived yet the window is asked for (`about`), if it said that it has
 * such events at all.  This last question may come after the store's answer, because
 * what is archived in between stays in the window for another minute.
 */
#include "chat/range.h"

#include <stdlib.h>
#include <string.h>

#include "chat/chat_int.h"

#define SEQ_END (UINT64_C(1) << 53) /* above every number */

struct range_op {
	struct chat *chat;
	char conversation[ID_MAX];
	bool forward;
	uint64_t after, before;
	size_t limit;
	uint64_t floor;        /* of the window */
	struct event **recent; /* what the window had, references */
	size_t recent_count;
	bool recent_more;
	size_t abouts; /* events about messages in the window */
	/* the answer: references, and states of its own */
	struct event **events;
	struct message_state **states;
	size_t count;
	bool more;
	/* the messages that the window is asked about, and which of them are under way */
	char (*ids)[ID_MAX];
	size_t id_count, asked_from, asked_count;
	range_cb cb;
	void *arg;
};

static void ask_about(struct range_op *op);

static void
range_free(struct range_op *op)
{
	for (size_t i = 0; i < op->recent_count; i++)
		event_unref(&op->recent[i]);
	for (size_t i = 0; i < op->count; i++) {
		event_unref(&op->events[i]);
		message_state_free(&op->states[i]);
	}
	free(op->recent);
	free(op->events);
	free(op->states);
	free(op->ids);
	free(op);
}

static void
range_fail(struct range_op *op, int err)
{
	struct range r = {.err = err == ERR_UNKNOWN_OUTCOME ? ERR_UNAVAILABLE : err};

	op->cb(op->arg, &r);
	range_free(op);
}

static void
range_end(struct range_op *op)
{
	struct range r = {
	    .events = op->events, .states = op->states, .count = op->count, .more = op->more};

	op->cb(op->arg, &r);
	range_free(op);
}

/* Room for this many events of the answer. */
static void
answer_room(struct range_op *op, size_t count)
{
	op->events = xcalloc(count + 1, sizeof(*op->events));
	op->states = xcalloc(count + 1, sizeof(*op->states));
}

static void
answer_add(struct range_op *op, struct event *ev)
{
	op->events[op->count++] = event_ref(ev);
}

/* The same with its state, which the request gives away. */
static void
answer_add_stored(struct range_op *op, struct store_req *req, size_t i)
{
	if (i < req->state_count) {
		op->states[op->count] = req->states[i];
		req->states[i] = NULL;
	}
	answer_add(op, req->events[i]);
}

/* ---- the state of messages that is only in the window ---- */

static void
fold_about(struct range_op *op, struct event *about)
{
	for (size_t i = 0; i < op->count; i++) {
		const char *id = message_shown_by(op->events[i]);

		if (!id || strcmp(id, about->ref) != 0)
			continue;
		if (!op->states[i])
			op->states[i] = message_state_new(id);
		message_state_fold(op->states[i], about);
	}
}

static void
told_about(void *arg, const struct bus_window *w)
{
	struct range_op *op = arg;

	if (w->err) {
		range_fail(op, w->err);
		return;
	}
	if (w->more && op->asked_count > 1) { /* more than fits: fewer messages at a time */
		op->asked_count /= 2;
		ask_about(op);
		return;
	}
	for (size_t i = 0; i < w->count; i++)
		fold_about(op, w->events[i]);
	op->asked_from += op->asked_count;
	op->asked_count = op->id_count - op->asked_from;
	ask_about(op);
}

static void
ask_about(struct range_op *op)
{
	int err;

	if (!op->asked_count) {
		range_end(op);
		return;
	}
	err = bus_about(op->chat->bus, op->conversation,
	    (const char(*)[ID_MAX])op->ids + op->asked_from, op->asked_count, told_about, op);
	if (err < 0)
		range_fail(op, err);
}

static bool
has_id(const struct range_op *op, const char *id)
{
	for (size_t i = 0; i < op->id_count; i++)
		if (!strcmp(op->ids[i], id))
			return true;
	return false;
}

static void
lay_over(struct range_op *op)
{
	_Static_assert(STORE_PAGE_MAX <= BUS_ABOUT_IDS, "one question for a page");
	op->ids = xcalloc(op->count + 1, sizeof(*op->ids));
	for (size_t i = 0; op->abouts && i < op->count; i++) {
		const char *id = message_shown_by(op->events[i]);

		if (id && !has_id(op, id))
			str_copy(op->ids[op->id_count++], ID_MAX, id);
	}
	op->asked_count = op->id_count;
	ask_about(op);
}

/* ---- window and store joined ---- */

/* Older ones of the store, then all of the window's. */
static void
join_before(struct range_op *op, struct store_req *req)
{
	size_t old = req->event_count, room = op->limit - op->recent_count;
	size_t skip =
	    old > room ? old - room : 0; /* one more was asked for to see that it is there */

	answer_room(op, old + op->recent_count);
	for (size_t i = skip; i < old; i++)
		answer_add_stored(op, req, i);
	for (size_t i = 0; i < op->recent_count; i++)
		answer_add(op, op->recent[i]);
	op->more = skip > 0 || req->flag;
	lay_over(op);
}

/*
 * The store's up to the floor, then the window's, as far as they fit.  Above the floor the
 * store may have holes: each worker's spool is archived at its own pace.
 */
static void
join_after(struct range_op *op, struct store_req *req)
{
	uint64_t last = op->after;
	size_t i;

	answer_room(op, op->limit + req->event_count);
	for (i = 0; i < req->event_count && req->events[i]->seq <= op->floor; i++) {
		last = req->events[i]->seq;
		answer_add_stored(op, req, i);
	}
	op->more = req->flag && i == req->event_count;
	for (i = 0; !op->more && i < op->recent_count; i++) {
		if (op->recent[i]->seq <= last)
			continue;
		if (op->count == op->limit)
			op->more = true;
		else
			answer_add(op, op->recent[i]);
	}
	op->more = op->more || op->recent_more;
	lay_over(op);
}

static void
stored(struct store_req *req)
{
	struct range_op *op = req->arg;

	if (req->err)
		range_fail(op, req->err);
	else if (op->forward)
		join_after(op, req);
	else
		join_before(op, req);
	store_req_free(&req);
}

static void
ask_store(struct range_op *op, uint64_t after, uint64_t before, size_t limit)
{
	struct store_req *req = store_req_new(STORE_EVENTS, stored, op);

	str_copy(req->id, sizeof(req->id), op->conversation);
	req->after = after;
	req->before = before;
	req->limit = limit;
	chat_store(op->chat, req);
}

static void
keep_recent(struct range_op *op, const struct bus_window *w)
{
	op->recent = xcalloc(w->count + 1, sizeof(struct event *));
	for (size_t i = 0; i < w->count; i++)
		op->recent[i] = event_ref(w->events[i]);
	op->recent_count = w->count;
	op->floor = w->floor;
	op->recent_more = w->more;
}

/* Everything after its floor is in the window; backward a full page is enough. */
static bool
window_has_all(const struct range_op *op, const struct bus_window *w)
{
	if (op->forward)
		return w->floor <= op->after;
	return w->more || (op->after && w->floor <= op->after);
}

static void
windowed(void *arg, const struct bus_window *w)
{
	struct range_op *op = arg;
	uint64_t before;

	if (w->err) {
		range_fail(op, w->err);
		return;
	}
	op->abouts = w->abouts;
	if (window_has_all(op, w)) {
		answer_room(op, w->count);
		for (size_t i = 0; i < w->count; i++)
			answer_add(op, w->events[i]);
		op->more = w->more;
		lay_over(op);
		return;
	}
	keep_recent(op, w);
	if (op->forward) {
		ask_store(op, op->after, 0, op->limit);
		return;
	}
	before = w->count ? w->events[0]->seq : op->before;
	/* With a full page one row of the store still tells whether there is more. */
	ask_store(op, op->after, before, w->count < op->limit ? op->limit - w->count : 1);
}

static void
range_start(struct range_op *op)
{
	int err = bus_window(
	    op->chat->bus, op->conversation, op->after, op->before, op->limit, windowed, op);

	if (err < 0)
		range_fail(op, err);
}

static struct range_op *
range_new(struct chat *c, const char *conversation, size_t limit, range_cb cb, void *arg)
{
	struct range_op *op = xcalloc(1, sizeof(*op));

	op->chat = c;
	str_copy(op->conversation, sizeof(op->conversation), conversation);
	op->limit = limit;
	op->cb = cb;
	op->arg = arg;
	return op;
}

void
range_after(
    struct chat *c, const char *conversation, uint64_t after, size_t limit, range_cb cb, void *arg)
{
	struct range_op *op = range_new(c, conversation, limit, cb, arg);

	op->forward = true;
	op->after = after;
	range_start(op);
}

void
range_before(struct chat *c, const char *conversation, uint64_t after, uint64_t before,
    size_t limit, range_cb cb, void *arg)
{
	struct range_op *op = range_new(c, conversation, limit, cb, arg);

	op->after = after;
	op->before = before ? before : SEQ_END;
	range_start(op);
}
