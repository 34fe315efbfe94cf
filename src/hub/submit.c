/* SPDX-License-Identifier: ISC */
/*
 * submit: numbering and publishing events.  Hub, loop thread.
 *
 * Submits of one turn of the loop are gathered and go through hub_commit():
 *	1. each gets its number, or is found to be a duplicate, in memory;
 *	2. all records go to the hub's log with one write;
 *	3. only then are they published and answered.
 * So nothing is visible that a kill -9 of the hub would forget.  If the write fails the
 * numbers are taken back and nothing happened.
 *
 * What was numbered and is not reported as archived for OFFER_MS is handed to the
 * archiver again: a report is lost when the hub or the archiver dies at that moment.
 */
#include <stdlib.h>
#include <utlist.h>

#include "hub/hub_int.h"
#include "lib/log.h"
#include "model/error.h"

#define OFFER_MS  30000
#define OFFER_MAX 500

struct submit {
	unsigned int peer;
	uint32_t id;
	struct event *ev;
	/* after numbering */
	int err;
	bool duplicate;
	struct window_conv *conv;
	struct event *numbered; /* a reference */
	struct submit *prev, *next;
};

/* ---- publishing ---- */

/* Where users are online whom the event makes members. */
static uint64_t
peers_of_members(struct hub *h, const struct event *ev)
{
	struct json_object *members, *data = event_members(ev, &members);
	uint64_t mask = 0;

	for (size_t i = 0; data && i < json_object_array_length(members); i++) {
		const char *id = event_member(members, i);

		if (id)
			mask |= hub_peers_of_user(h, id);
	}
	json_object_put(data);
	return mask;
}

static void
publish(struct hub *h, const struct window_conv *c, const struct event *ev)
{
	uint64_t mask = c->subscribers;
	struct buf b;

	if (ev->type == EVENT_CONVERSATION_CREATED || ev->type == EVENT_MEMBER_JOINED)
		mask |= peers_of_members(h, ev);
	buf_init(&b);
	event_pack(&b, ev);
	hub_send(h, mask, HUB_EVENT, b.data, b.len);
	buf_fini(&b);
}

/* ---- submits ---- */

static void
number(struct hub *h, struct submit *s)
{
	struct window_entry *e;

	s->err = window_submit(
	    &h->window, s->ev, clock_wall_ms(), clock_mono_ms(), &s->conv, &e, &s->duplicate);
	if (s->err)
		return;
	s->numbered = event_ref(e->ev);
	if (!s->duplicate)
		hublog_event(h->log, e->ev);
}

/* Nothing happened: the numbers go back, newest first; duplicates of them fail, too. */
static void
undo(struct hub *h, int err)
{
	struct submit *s = h->batch ? h->batch->prev : NULL;

	while (s) {
		if (!s->err && !s->duplicate)
			window_take_back(&h->window, s->conv);
		if (!s->err) {
			s->err = err;
			event_unref(&s->numbered);
		}
		s = s == h->batch ? NULL : s->prev;
	}
}

static void
answer(struct hub *h, const struct submit *s)
{
	struct buf b;

	if (!h->peers[s->peer].chan)
		return;
	buf_init(&b);
	pack_i64(&b, s->err);
	pack_u8(&b, s->duplicate);
	if (!s->err)
		event_pack(&b, s->numbered);
	imsg_send_buf(h->peers[s->peer].chan, HUB_SUBMIT_RESULT, s->id, &b);
	buf_fini(&b);
}

void
hub_commit(void *arg)
{
	struct hub *h = arg;
	struct submit *s, *tmp;
	int err;

	DL_FOREACH (h->batch, s)
		number(h, s);
	err = hublog_write(h->log);
	if (err)
		undo(h, err);
	DL_FOREACH_SAFE (h->batch, s, tmp) {
		if (!s->err && !s->duplicate)
			publish(h, s->conv, s->numbered);
		answer(h, s);
		event_unref(&s->ev);
		event_unref(&s->numbered);
		free(s);
	}
	h->batch = NULL;
}

void
hub_on_submit(struct peer *p, const struct imsg *m)
{
	struct submit *s;
	struct unpack u;

	unpack_init(&u, m->data, m->len);
	s = xcalloc(1, sizeof(*s));
	s->peer = p->index;
	s->id = m->id;
	s->ev = event_unpack(&u);
	if (!s->ev) {
		log_error("hub.bad_submit", "peer=%u", p->index);
		free(s);
		return;
	}
	DL_APPEND(p->hub->batch, s);
	loop_defer(&p->hub->commit);
}

/* ---- archived, or not ---- */

void
hub_on_archived(struct peer *p, const struct imsg *m)
{
	struct hub *h = p->hub;
	char id[ID_MAX];
	struct unpack u;
	uint32_t count;

	unpack_init(&u, m->data, m->len);
	count = unpack_u32(&u);
	while (count-- && unpack_ok(&u)) {
		uint64_t seq;

		unpack_strn(&u, id, sizeof(id));
		seq = unpack_u64(&u);
		if (!unpack_ok(&u))
			break;
		window_archived(&h->window, id, seq, clock_mono_ms());
		hublog_archived(h->log, id, seq);
	}
	loop_defer(&h->commit); /* written with the turn's submits */
}

void
hub_offer_again(struct hub *h, int64_t now)
{
	struct window_conv *c;
	struct window_entry *e;
	unsigned int n = 0;

	DL_FOREACH (h->window.active, c) {
		DL_FOREACH (c->entries, e) {
			struct buf b;

			if (e->archived || now - e->since_ms < OFFER_MS)
				continue;
			if (++n > OFFER_MAX)
				return;
			e->since_ms = now; /* not again before another OFFER_MS */
			buf_init(&b);
			event_pack(&b, e->ev);
			hub_send(h, UINT64_C(1) << ARCHIVER_PEER, HUB_EVENT, b.data, b.len);
			buf_fini(&b);
		}
	}
}
