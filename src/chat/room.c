/* SPDX-License-Identifier: ISC */
/*
 * room: conversations with members on this worker: subscribed to on the bus, every
 * event delivered to every local member in order of seq, exactly once.
 * Worker, loop thread.
 *
 * States:
 *	SUBSCRIBING  the bus was asked; events wait in `pending`
 *	CATCHING_UP  something between `last` and what is known is missing and is read
 *	             from the recent window; events wait in `pending`
 *	LIVE         event last+1 is delivered at once; a gap leads to CATCHING_UP
 *	DOWN         the bus is away
 *
 * `last` is the number of the last event delivered here.  A room that was just made
 * for a member who is already in the conversation starts at the head, one that an
 * event made starts before that event.  When the window no longer reaches back to
 * `last`, the clients are told sync.required: they ask with their own numbers.
 */
#include <stdlib.h>
#include <string.h>
#include <utlist.h>

#include "chat/room_int.h"
#include "lib/log.h"

#define ROOM_RETRY_S 1.0

static void room_catch_up(struct room *r);

const char *
room_id(const struct room *r)
{
	return r->id;
}

/* Is the room live and `seq` the last there is?  Then nothing was missed. */
bool
room_is_at(struct chat *c, const char *conversation, uint64_t seq)
{
	struct room *r;

	HASH_FIND_STR(c->rooms, conversation, r);
	return r && r->state == ROOM_LIVE && bus_is_up(c->bus) && r->last == seq;
}

static void
pending_clear(struct room *r)
{
	struct pending_event *p, *tmp;

	DL_FOREACH_SAFE (r->pending, p, tmp) {
		DL_DELETE(r->pending, p);
		event_unref(&p->ev);
		free(p);
	}
}

/* The bus takes no request now: later, or when it is up again. */
static void
room_wait(struct room *r)
{
	r->state = ROOM_DOWN;
	room_retry_later(r->chat);
}

/* Frees the room if nobody is in it and nothing will call back. */
void
room_release(struct room *r)
{
	struct chat *c = r->chat;

	if (r->members || r->calls)
		return;
	bus_unsubscribe(c->bus, r->id);
	HASH_DEL(c->rooms, r);
	c->stats.rooms--;
	pending_clear(r);
	free(r);
}

/* May this client be sent something of the room now?  seq 0: it has no number. */
static bool
receives(const struct attachment *a, uint64_t seq)
{
	const struct client *cl = a->client;

	if (a->behind || (!cl->ready && !cl->arrived))
		return false;
	return !seq || seq > a->from;
}

/* Encoded once, at the first client that is there to receive it. */
static void
send_to_members(struct room *r, const char *name, const struct buf *json, uint64_t seq)
{
	const struct chat_encoder *enc = &r->chat->opts.encoder;
	struct attachment *a, *tmp;
	void *encoded = NULL;

	DL_FOREACH_SAFE2(r->members, a, tmp, room_next)
	{
		struct client *cl = a->client;

		if (!receives(a, seq))
			continue;
		if (!encoded)
			encoded = enc->encode(name, (const char *)json->data, json->len);
		cl->ops->send(cl->peer, encoded);
		r->chat->stats.delivered++;
	}
	if (encoded)
		enc->release(encoded);
}

void
room_send_once(struct chat *c, const char (*conversations)[ID_MAX], size_t count, const char *name,
    const char *json, size_t len, const char *except)
{
	void *encoded = NULL;
	uint64_t mark = ++c->send_mark;

	for (size_t i = 0; i < count; i++) {
		struct attachment *a, *tmp;
		struct room *r;

		HASH_FIND_STR(c->rooms, conversations[i], r);
		if (!r)
			continue;
		DL_FOREACH_SAFE2(r->members, a, tmp, room_next)
		{
			struct client *cl = a->client;

			if (!receives(a, 0) || cl->mark == mark ||
			    strcmp(cl->user->id, except) == 0)
				continue;
			if (!encoded)
				encoded = c->opts.encoder.encode(name, json, len);
			cl->mark = mark;
			cl->ops->send(cl->peer, encoded);
		}
	}
	if (encoded)
		c->opts.encoder.release(encoded);
}

static void
deliver(struct room *r, const struct event *ev)
{
	struct buf json;

	buf_init(&json);
	event_envelope(&json, ev);
	send_to_members(r, event_type_name(ev->type), &json, ev->seq);
	buf_fini(&json);
	r->last = ev->seq;
	r->known = true;
	if (ev->type == EVENT_MEMBER_LEFT)
		membership_left(r->chat, ev);
}

/* What is delivered may take the last member out: the room stays until the end of a list. */
static void
room_hold(struct room *r)
{
	r->calls++;
}

static void
room_let_go(struct room *r)
{
	r->calls--;
	room_release(r);
}

static void
tell_sync_required(struct room *r)
{
	struct buf json;

	buf_init(&json);
	buf_printf(&json, "{\"conversation_id\":\"%s\"}", r->id);
	send_to_members(r, "sync.required", &json, 0);
	buf_fini(&json);
}

/* ---- states ---- */

static void
room_live(struct room *r)
{
	struct attachment *a, *tmp;

	room_hold(r);
	r->state = ROOM_LIVE;
	while (r->pending) {
		struct pending_event *p = r->pending;

		DL_DELETE(r->pending, p);
		if (p->ev->seq > r->last)
			deliver(r, p->ev);
		event_unref(&p->ev);
		free(p);
	}
	DL_FOREACH_SAFE2(r->members, a, tmp, room_next)
	{
		if (a->behind)
			attachment_catch_up(a);
		else
			client_room_ready(a->client, a);
	}
	room_let_go(r);
}

/* The window does not reach back to what was delivered last: nobody knows who has left. */
static void
room_lost(struct room *r, const struct bus_window *w)
{
	log_info("room.sync_required", "conv=%s last=%llu floor=%llu", r->id,
	    (unsigned long long)r->last, (unsigned long long)w->floor);
	r->last = w->head;
	tell_sync_required(r);
	membership_check_all(r);
	room_live(r);
}

static void
caught_up(void *arg, const struct bus_window *w)
{
	struct room *r = arg; /* held since it was asked for */

	if (!r->members || r->state != ROOM_CATCHING_UP) {
		room_let_go(r);
		return;
	}
	if (w->err) { /* perhaps the bus went away; then state() resubscribes */
		room_wait(r);
	} else if (w->floor > r->last) {
		room_lost(r, w);
	} else {
		for (size_t i = 0; i < w->count; i++)
			if (w->events[i]->seq > r->last)
				deliver(r, w->events[i]);
		if (w->more)
			room_catch_up(r);
		else
			room_live(r);
	}
	room_let_go(r);
}

static void
room_catch_up(struct room *r)
{
	r->state = ROOM_CATCHING_UP;
	r->calls++;
	if (bus_window(r->chat->bus, r->id, r->last, 0, BUS_WINDOW_PAGE, caught_up, r) < 0) {
		r->calls--;
		room_wait(r);
	}
}

static void
subscribed(void *arg, int err, uint64_t head)
{
	struct room *r = arg;

	r->calls--;
	if (!r->members || r->state != ROOM_SUBSCRIBING) {
		room_release(r);
		return;
	}
	if (err) {
		room_wait(r);
		return;
	}
	if (!r->known) {
		r->known = true;
		r->last = head;
	}
	if (head > r->last)
		room_catch_up(r);
	else
		room_live(r);
}

void
room_subscribe(struct room *r)
{
	r->state = ROOM_SUBSCRIBING;
	r->calls++;
	if (bus_subscribe(r->chat->bus, r->id, subscribed, r) < 0) {
		r->calls--;
		room_wait(r);
	}
}

void
room_resubscribe_all(struct chat *c)
{
	struct room *r, *tmp;

	HASH_ITER (hh, c->rooms, r, tmp) {
		pending_clear(r); /* those are in the window */
		room_subscribe(r);
	}
}

/* What the bus took no request for. */
static void
retry(struct ev_loop *l, ev_timer *t, int revents)
{
	struct chat *c = t->data;
	struct room *r, *tmp;
	struct attachment *a, *atmp;

	(void)l, (void)revents;
	if (!bus_is_up(c->bus))
		return; /* it will be said */
	HASH_ITER (hh, c->rooms, r, tmp) {
		if (r->state == ROOM_DOWN)
			room_subscribe(r);
		if (r->state != ROOM_LIVE)
			continue;
		DL_FOREACH_SAFE2(r->members, a, atmp, room_next)
		if (a->behind)
			attachment_catch_up(a);
	}
}

void
room_retry_later(struct chat *c)
{
	if (ev_is_active(&c->room_retry))
		return;
	ev_timer_init(&c->room_retry, retry, ROOM_RETRY_S, 0);
	c->room_retry.data = c;
	ev_timer_start(loop_ev(), &c->room_retry);
}

struct room *
room_get(struct chat *c, const char *id, uint64_t seen)
{
	struct room *r;

	HASH_FIND_STR(c->rooms, id, r);
	if (r)
		return r;
	r = xcalloc(1, sizeof(*r));
	str_copy(r->id, sizeof(r->id), id);
	r->chat = c;
	r->known = seen != 0;
	r->last = seen;
	HASH_ADD_STR(c->rooms, id, r);
	c->stats.rooms++;
	return r;
}

static void
room_take(struct room *r, struct event *ev)
{
	struct pending_event *p;

	if (r->known && ev->seq <= r->last)
		return;
	if (r->state == ROOM_LIVE && ev->seq == r->last + 1) {
		deliver(r, ev);
		return;
	}
	p = xcalloc(1, sizeof(*p));
	p->ev = event_ref(ev);
	DL_APPEND(r->pending, p);
	if (r->state == ROOM_LIVE) {
		r->chat->stats.gaps++;
		log_info("room.gap", "conv=%s last=%llu seq=%llu", r->id,
		    (unsigned long long)r->last, (unsigned long long)ev->seq);
		room_catch_up(r);
	}
}

void
room_event(struct chat *c, struct event *ev)
{
	struct room *r;

	if (ev->type == EVENT_CONVERSATION_CREATED || ev->type == EVENT_MEMBER_JOINED)
		membership_joined(c, ev);
	HASH_FIND_STR(c->rooms, ev->conversation, r);
	if (r)
		room_take(r, ev);
}

/* At the end of the process, after the bus is closed: no callback comes any more. */
void
room_free_all(struct chat *c)
{
	struct room *r, *tmp;

	ev_timer_stop(loop_ev(), &c->room_retry);
	HASH_ITER (hh, c->rooms, r, tmp) {
		HASH_DEL(c->rooms, r);
		pending_clear(r);
		free(r);
	}
}
