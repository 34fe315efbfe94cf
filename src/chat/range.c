/* SPDX-License-Identifier: ISC */
/*
 * range: window first, store second.  Worker, loop thread.
 *
 * The window's answer says its floor: everything after it is in the window, and
 * what is at or below it is in the store, because the window is trimmed only up to
 * what is archived.  The window is read first: had the store been read first, an
 * event could be archived and trimmed between the two reads and be in neither.
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
	range_cb cb;
	void *arg;
};

static void
range_end(struct range_op *op, const struct range *r)
{
	op->cb(op->arg, r);
	for (size_t i = 0; i < op->recent_count; i++)
		event_unref(&op->recent[i]);
	free(op->recent);
	free(op);
}

static void
range_fail(struct range_op *op, int err)
{
	struct range r = {.err = err};

	range_end(op, &r);
}

/* Older ones of the store, then all of the window's. */
static void
join_before(struct range_op *op, struct store_req *req)
{
	size_t old = req->event_count, room = op->limit - op->recent_count;
	struct event **all = xcalloc(old + op->recent_count + 1, sizeof(struct event *));
	struct range r = {.events = all};
	size_t skip =
	    old > room ? old - room : 0; /* one more was asked for to see that it is there */

	for (size_t i = skip; i < old; i++)
		all[r.count++] = req->events[i];
	for (size_t i = 0; i < op->recent_count; i++)
		all[r.count++] = op->recent[i];
	r.more = skip > 0 || req->flag;
	range_end(op, &r);
	free(all);
}

/*
 * The store's up to the floor, then the window's, as far as they fit.  Above the floor the
 * store may have holes: each worker's spool is archived at its own pace.
 */
static void
join_after(struct range_op *op, struct store_req *req)
{
	struct event **all = xcalloc(op->limit + req->event_count + 1, sizeof(struct event *));
	struct range r = {.events = all};
	uint64_t last = op->after;
	size_t i;

	for (i = 0; i < req->event_count && req->events[i]->seq <= op->floor; i++) {
		all[r.count++] = req->events[i];
		last = req->events[i]->seq;
	}
	r.more = req->flag && i == req->event_count;
	for (i = 0; !r.more && i < op->recent_count; i++) {
		if (op->recent[i]->seq <= last)
			continue;
		if (r.count == op->limit)
			r.more = true;
		else
			all[r.count++] = op->recent[i];
	}
	r.more = r.more || op->recent_more;
	range_end(op, &r);
	free(all);
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
	int err;

	str_copy(req->id, sizeof(req->id), op->conversation);
	req->after = after;
	req->before = before;
	req->limit = limit;
	err = store_submit(op->chat->store, req);
	if (err < 0) {
		store_req_free(&req);
		range_fail(op, err);
	}
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

static void
windowed(void *arg, const struct bus_window *w)
{
	struct range_op *op = arg;
	struct range r = {.events = w->events, .count = w->count, .more = w->more};
	uint64_t before;

	if (w->err) {
		range_fail(op, w->err == ERR_UNKNOWN_OUTCOME ? ERR_UNAVAILABLE : w->err);
		return;
	}
	if (op->forward ? w->floor <= op->after : w->more) {
		range_end(op, &r); /* the window has it all */
		return;
	}
	keep_recent(op, w);
	if (op->forward) {
		ask_store(op, op->after, 0, op->limit);
		return;
	}
	before = w->count ? w->events[0]->seq : op->before;
	/* With a full page one row of the store still tells whether there is more. */
	ask_store(op, 0, before, w->count < op->limit ? op->limit - w->count : 1);
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
range_before(
    struct chat *c, const char *conversation, uint64_t before, size_t limit, range_cb cb, void *arg)
{
	struct range_op *op = range_new(c, conversation, limit, cb, arg);

	op->before = before ? before : SEQ_END;
	range_start(op);
}
