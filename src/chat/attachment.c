/* SPDX-License-Identifier: ISC */
/*
 * attachment: one client in one room: coming, going, and reading what the room delivered
 * before this client came.  Worker, loop thread.
 *
 * An attachment that is `behind` is sent nothing by the room; when it has read as far as the
 * room has delivered it is behind no more, in the same turn of the loop, so that no event
 * falls between and none comes twice.
 */
#include <stdlib.h>
#include <utlist.h>

#include "chat/room_int.h"

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
		membership_check_one(a); /* it may have missed that it has left */
	}
	for (size_t i = 0; i < w->count; i++) {
		if (w->events[i]->seq <= a->from)
			continue;
		deliver_to_one(a, w->events[i]);
		if (membership_left_one(a, w->events[i]))
			return;
	}
	attachment_catch_up(a);
}

void
attachment_catch_up(struct attachment *a)
{
	struct attachment_fetch *f;
	struct room *r = a->room;

	if (a->fetch)
		return;
	if (r->last <= a->from) {
		a->behind = false;
		if (a->leaving) {
			client_detach(a->client, a);
			return;
		}
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
		room_retry_later(r->chat);
		return;
	}
	a->fetch = f;
}

/* seen: 0, or the number before the event that brought the client here. */
struct attachment *
room_attach(struct chat *c, struct client *cl, const char *conversation, uint64_t seen)
{
	struct attachment *a = client_attachment(cl, conversation);
	struct room *r;
	bool empty;

	if (a) {
		a->leaving = false;
		return a;
	}
	r = room_get(c, conversation, seen);
	empty = !r->members;
	a = xcalloc(1, sizeof(*a));
	a->client = cl;
	a->room = r;
	a->serial = ++c->attachment_serial;
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
	if (!a->waiting && !cl->ready) {
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
