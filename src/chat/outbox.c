/* SPDX-License-Identifier: ISC */
/*
 * outbox: events of changes whose worker died before it had them in its spool.  Worker,
 * loop thread.
 *
 * The store has each change with its events in the outbox until the archiver has stored
 * them.  Most are there for less than a second.  One that stays is looked for in the window:
 * there it is on its way.  Else it goes through the pipeline like a new one.  Several
 * workers may do that at the same moment: the bus knows events by their ids, and an event
 * is taken out of the outbox before the bus forgets it.
 */
#include <stdlib.h>

#include "chat/chat_int.h"
#include "lib/log.h"

#define LOOK_S   10.0
#define OLD_MS   10000
#define LOOK_MAX 100 /* the rest comes with the next look */

struct recovery {
	struct chat *chat;
	struct event *ev;
};

static void
sought(void *arg, int err, struct event *found)
{
	struct recovery *r = arg;

	(void)found;
	if (err == ERR_NOT_FOUND) {
		log_info("outbox.send", "msg=%s conv=%s", r->ev->id, r->ev->conversation);
		send_event(r->chat, event_ref(r->ev), NULL, NULL);
	}
	event_unref(&r->ev);
	free(r);
}

static void
seek(struct chat *c, struct event *ev)
{
	struct recovery *r = xcalloc(1, sizeof(*r));

	r->chat = c;
	r->ev = event_ref(ev);
	if (bus_find(c->bus, ev->id, sought, r) == 0)
		return;
	event_unref(&r->ev);
	free(r);
}

static void
listed(struct store_req *req)
{
	struct chat *c = req->arg;

	c->outbox_asked = false;
	if (req->err)
		log_warn("outbox.not_read", "err=%s", error_code(req->err));
	for (size_t i = 0; i < req->event_count; i++)
		seek(c, req->events[i]);
	store_req_free(&req);
}

void
outbox_look(struct chat *c)
{
	struct store_req *req;

	if (c->outbox_asked || !bus_is_up(c->bus))
		return;
	req = store_req_new(STORE_OUTBOX_LIST, listed, c);
	req->now_ms = clock_wall_ms() - OLD_MS;
	req->limit = LOOK_MAX;
	c->outbox_asked = true;
	chat_store(c, req);
}

static void
look(struct ev_loop *l, ev_timer *t, int revents)
{
	(void)l, (void)revents;
	outbox_look(t->data);
}

void
outbox_start(struct chat *c)
{
	ev_timer_init(&c->outbox, look, LOOK_S, LOOK_S);
	c->outbox.data = c;
	ev_timer_start(loop_ev(), &c->outbox);
}

void
outbox_stop(struct chat *c)
{
	ev_timer_stop(loop_ev(), &c->outbox);
}
