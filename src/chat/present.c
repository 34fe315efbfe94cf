/* SPDX-License-Identifier: ISC */
/*
 * present: see present.h.  Worker, loop thread.
 *
 * The window is asked for the message first, then the store: what is trimmed from the
 * window between the two is in the store.  Last the window is asked for what is about
 * the message; what is archived after the store was asked stays there for a minute more.
 */
#include "chat/present.h"

#include <stdlib.h>
#include <string.h>

#include "chat/chat_int.h"

struct present_op {
	struct chat *chat;
	char id[ID_MAX];
	struct event *message;
	struct store_req *stored; /* the store's answer, whose events are borrowed from it */
	bool in_window;
	present_cb cb;
	void *arg;
};

static void
present_end(struct present_op *op, const struct present *p)
{
	op->cb(op->arg, p);
	event_unref(&op->message);
	store_req_free(&op->stored);
	free(op);
}

static void
present_fail(struct present_op *op, int err)
{
	struct present p = {.err = err == ERR_UNKNOWN_OUTCOME ? ERR_UNAVAILABLE : err};

	present_end(op, &p);
}

/* Into the list by seq, once. */
static void
add_edit(struct present *p, struct event *ev)
{
	size_t at = p->edit_count;

	while (at > 0 && p->edits[at - 1]->seq > ev->seq)
		at--;
	if (at > 0 && p->edits[at - 1]->seq == ev->seq)
		return;
	memmove(&p->edits[at + 1], &p->edits[at], (p->edit_count - at) * sizeof(*p->edits));
	p->edits[at] = ev;
	p->edit_count++;
}

static void
told_about(void *arg, const struct bus_window *w)
{
	struct present_op *op = arg;
	struct store_req *req = op->stored;
	struct present p = {.message = op->message,
	    .recent = w->events,
	    .recent_count = w->count,
	    .in_window = op->in_window,
	    .in_store = !req->err};

	if (w->err) {
		present_fail(op, w->err);
		return;
	}
	if (req->state_count && req->states[0]) {
		p.state = req->states[0];
		req->states[0] = NULL;
	} else {
		p.state = message_state_new(op->id);
	}
	p.edits = xcalloc(req->event_count + w->count + 1, sizeof(*p.edits));
	for (size_t i = 1; i < req->event_count; i++)
		add_edit(&p, req->events[i]);
	for (size_t i = 0; i < w->count; i++) {
		message_state_fold(p.state, w->events[i]);
		if (w->events[i]->type == EVENT_MESSAGE_UPDATED)
			add_edit(&p, w->events[i]);
	}
	present_end(op, &p);
	message_state_free(&p.state);
	free(p.edits);
}

static void
stored(struct store_req *req)
{
	struct present_op *op = req->arg;
	int err = req->err;

	op->stored = req;
	if (err == ERR_NOT_FOUND && op->message)
		err = 0;
	if (!err && !op->message)
		op->message = event_ref(req->events[0]);
	if (!err)
		err = bus_about(op->chat->bus, op->message->conversation,
		    (const char(*)[ID_MAX]) & op->id, 1, told_about, op);
	if (err < 0)
		present_fail(op, err);
}

static void
found(void *arg, int err, struct event *ev)
{
	struct present_op *op = arg;
	struct store_req *req;

	if (err && err != ERR_NOT_FOUND) {
		present_fail(op, err);
		return;
	}
	if (ev && ev->type != EVENT_MESSAGE_CREATED) { /* the id of another kind of event */
		present_fail(op, ERR_NOT_FOUND);
		return;
	}
	op->in_window = ev != NULL;
	op->message = ev ? event_ref(ev) : NULL;
	req = store_req_new(STORE_MESSAGE_GET, stored, op);
	str_copy(req->id, sizeof(req->id), op->id);
	chat_store(op->chat, req);
}

void
present_find(struct chat *c, const char *message, present_cb cb, void *arg)
{
	struct present_op *op = xcalloc(1, sizeof(*op));
	int err = ERR_NOT_FOUND;

	op->chat = c;
	op->cb = cb;
	op->arg = arg;
	str_copy(op->id, sizeof(op->id), message);
	if (id_valid(message, "msg"))
		err = bus_find(c->bus, op->id, found, op);
	if (err < 0)
		present_fail(op, err);
}
