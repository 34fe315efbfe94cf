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

#include "chat/chat_int.h"
#include "lib/json.h"
#include "lib/log.h"

#define ROOM_RETRY_S 1.0

enum room_state { ROOM_DOWN, ROOM_SUBSCRIBING, ROOM_CATCHING_UP, ROOM_LIVE };

struct pending_event {
	struct event *ev;
	struct pending_event *prev, *next;
};

struct room {
	char id[ID_MAX];
	struct chat *chat;
	enum room_state state;
	bool known; /* last means something */
	uint64_t last;
	unsigned int calls; /* bus callbacks that will come; the room stays until then */
	struct attachment *members;
	struct pending_event *pending; /* in order of arrival, which is order of seq */
	UT_hash_handle hh;
};

static void retry_later(struct chat *c);
static void room_subscribe(struct room *r);
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
	retry_later(r->chat);
}

/* Frees the room if nobody is in it and nothing will call back. */
static void
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

	if (!cl->ready && (!cl->arrived || a->behind))
		return false;
	return !seq || seq > a->from;
}

/* Encoded once, at the first client that is there to receive it. */
static void
send_to_members(
    struct room *r, const char *name, const struct buf *json, uint64_t seq, const char *except)
{
	const struct chat_encoder *enc = &r->chat->opts.encoder;
	struct attachment *a, *tmp;
	void *encoded = NULL;

	DL_FOREACH_SAFE2(r->members, a, tmp, room_next)
	{
		struct client *cl = a->client;

		if (!receives(a, seq) || (except && strcmp(cl->user->id, except) == 0))
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
	send_to_members(r, event_type_name(ev->type), &json, ev->seq, NULL);
	buf_fini(&json);
	r->last = ev->seq;
	r->known = true;
}

static void
tell_sync_required(struct room *r)
{
	struct buf json;

	buf_init(&json);
	buf_printf(&json, "{\"conversation_id\":\"%s\"}", r->id);
	send_to_members(r, "sync.required", &json, 0, NULL);
	buf_fini(&json);
}

/* ---- one client that came from another worker catches up ---- */

struct attachment_fetch {
	struct attachment *a; /* NULL: gone */
	struct room *r;
};

static void
send_to_one(struct attachment *a, const char *name, const struct buf *json)
{
	const struct chat_encoder *enc = &a->room->chat->opts.encoder;
	void *encoded = enc->encode(name, (const char *)json->data, json->len);

	a->client->ops->send(a->client->peer, encoded);
	enc->release(encoded);
	a->room->chat->stats.delivered++;
}

void
room_tell_sync_required(struct attachment *a)
{
	struct buf json;

	buf_init(&json);
	buf_printf(&json, "{\"conversation_id\":\"%s\"}", a->room->id);
	send_to_one(a, "sync.required", &json);
	buf_fini(&json);
}

static void
deliver_to_one(struct attachment *a, const struct event *ev)
{
	struct buf json;

	buf_init(&json);
	event_envelope(&json, ev);
	send_to_one(a, event_type_name(ev->type), &json);
	buf_fini(&json);
	a->from = ev->seq;
}

static void attachment_catch_up(struct attachment *a);

static void
fetched(void *arg, const struct bus_window *w)
{
	struct attachment_fetch *f = arg;
	struct attachment *a = f->a;
	struct room *r = f->r;

	free(f);
	r->calls--;
	if (!a) {
		room_release(r);
		return;
	}
	a->fetch = NULL;
	if (w->err || r->state != ROOM_LIVE)
		return; /* room_live() begins again */
	if (w->floor > a->from) {
		a->from = r->last;
		room_tell_sync_required(a);
	}
	for (size_t i = 0; i < w->count; i++)
		if (w->events[i]->seq > a->from)
			deliver_to_one(a, w->events[i]);
	attachment_catch_up(a);
}

/* The room is live: what it delivered before this client came is read for it alone. */
static void
attachment_catch_up(struct attachment *a)
{
	struct attachment_fetch *f;
	struct room *r = a->room;

	if (a->fetch)
		return;
	if (r->last <= a->from) {
		a->behind = false;
		client_room_ready(a->client, a);
		return;
	}
	f = xcalloc(1, sizeof(*f));
	f->a = a;
	f->r = r;
	r->calls++;
	if (bus_window(r->chat->bus, r->id, a->from, 0, BUS_WINDOW_PAGE, fetched, f) < 0) {
		r->calls--;
		free(f);
		retry_later(r->chat);
		return;
	}
	a->fetch = f;
}

/* ---- states ---- */

static void
room_live(struct room *r)
{
	struct attachment *a, *tmp;

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
}

static void
caught_up(void *arg, const struct bus_window *w)
{
	struct room *r = arg;

	r->calls--;
	if (!r->members || r->state != ROOM_CATCHING_UP) {
		room_release(r);
		return;
	}
	if (w->err) { /* perhaps the bus went away; then state() resubscribes */
		room_wait(r);
		return;
	}
	if (w->floor > r->last) {
		log_info("room.sync_required", "conv=%s last=%llu floor=%llu", r->id,
		    (unsigned long long)r->last, (unsigned long long)w->floor);
		r->last = w->head;
		tell_sync_required(r);
		room_live(r);
		return;
	}
	for (size_t i = 0; i < w->count; i++)
		if (w->events[i]->seq > r->last)
			deliver(r, w->events[i]);
	if (w->more)
		room_catch_up(r);
	else
		room_live(r);
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

static void
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

static void
retry_later(struct chat *c)
{
	if (ev_is_active(&c->room_retry))
		return;
	ev_timer_init(&c->room_retry, retry, ROOM_RETRY_S, 0);
	c->room_retry.data = c;
	ev_timer_start(loop_ev(), &c->room_retry);
}

static struct room *
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

/* seen: 0, or the number before the event that brought the client here. */
struct attachment *
room_attach(struct chat *c, struct client *cl, const char *conversation, uint64_t seen)
{
	struct attachment *a = client_attachment(cl, conversation);
	struct room *r;
	bool empty;

	if (a)
		return a;
	r = room_get(c, conversation, seen);
	empty = !r->members;
	a = xcalloc(1, sizeof(*a));
	a->client = cl;
	a->room = r;
	DL_APPEND(cl->rooms, a);
	DL_APPEND2(r->members, a, room_prev, room_next);
	if (!cl->ready && r->state != ROOM_LIVE) {
		a->waiting = true;
		cl->waiting++;
	}
	if (empty && r->state != ROOM_SUBSCRIBING && r->state != ROOM_CATCHING_UP)
		room_subscribe(r);
	return a;
}

void
room_attach_from(struct chat *c, struct client *cl, const char *conversation, uint64_t seen)
{
	struct attachment *a = room_attach(c, cl, conversation, seen);

	if (!seen) { /* the other worker had not subscribed yet */
		room_tell_sync_required(a);
		return;
	}
	a->from = seen;
	a->behind = true;
	if (!a->waiting) {
		a->waiting = true;
		cl->waiting++;
	}
	if (a->room->state == ROOM_LIVE)
		attachment_catch_up(a);
}

uint64_t
room_last(const struct attachment *a)
{
	if (a->behind || !a->room->known)
		return a->from;
	return a->room->last > a->from ? a->room->last : a->from;
}

void
room_detach(struct attachment *a)
{
	struct room *r = a->room;

	if (a->fetch)
		a->fetch->a = NULL;
	DL_DELETE(a->client->rooms, a);
	DL_DELETE2(r->members, a, room_prev, room_next);
	free(a);
	room_release(r);
}

/* Clients of users that an event made members join the room before it is delivered. */
static void
attach_new_members(struct chat *c, const struct event *ev)
{
	struct json_object *data, *members;
	const char *why;

	data = json_parse(ev->data, ev->data_len, &event_json_limits, &why);
	if (!data || !json_object_object_get_ex(data, "members", &members) ||
	    !json_object_is_type(members, json_type_array)) {
		log_error("event.no_members", "msg=%s conv=%s", ev->id, ev->conversation);
		json_object_put(data);
		return;
	}
	for (size_t i = 0; i < json_object_array_length(members); i++) {
		const char *id = NULL;
		struct chat_user *u;
		struct client *cl;

		json_get_str(json_object_array_get_idx(members, i), "user_id", &id);
		u = id ? chat_user_find(c, id) : NULL;
		if (!u)
			continue;
		DL_FOREACH (u->clients, cl)
			room_attach(c, cl, ev->conversation, ev->seq - 1);
	}
	json_object_put(data);
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
		attach_new_members(c, ev);
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
