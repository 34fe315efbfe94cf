/* SPDX-License-Identifier: ISC */
/*
 * peers: the connected processes, their requests, and what goes between them without
 * being kept: subscriptions, casts, what workers tell each other.  Hub, loop thread.
 *
 * Nothing of a peer outlives its connection: subscriptions, users, place in every mask.
 */
#include "hub/hub_int.h"
#include "lib/log.h"

#define ALL_WORKERS (~(UINT64_C(1) << ARCHIVER_PEER))

void
hub_send(struct hub *h, uint64_t mask, enum hub_msg type, const void *data, size_t len)
{
	for (unsigned int i = 0; mask; i++, mask >>= 1)
		if (mask & 1 && h->peers[i].chan)
			imsg_send(h->peers[i].chan, (uint16_t)type, 0, -1, data, len);
}

/* ---- requests ---- */

static void
on_subscribe(struct peer *p, const struct imsg *m)
{
	struct window_conv *c;
	char id[ID_MAX];
	struct unpack u;
	struct buf b;

	unpack_init(&u, m->data, m->len);
	unpack_strn(&u, id, sizeof(id));
	if (!unpack_end(&u))
		return;
	c = window_get(&p->hub->window, id);
	if (m->type == HUB_UNSUBSCRIBE) {
		c->subscribers &= ~peer_bit(p);
		return;
	}
	c->subscribers |= peer_bit(p);
	buf_init(&b);
	pack_u64(&b, c->head);
	imsg_send_buf(p->chan, HUB_SUBSCRIBE_RESULT, m->id, &b);
	buf_fini(&b);
}

static void
on_cast(struct peer *p, const struct imsg *m)
{
	const struct window_conv *c;
	char id[ID_MAX];
	struct unpack u;

	unpack_init(&u, m->data, m->len);
	unpack_strn(&u, id, sizeof(id));
	c = unpack_ok(&u) ? window_find(&p->hub->window, id) : NULL;
	if (c)
		hub_send(p->hub, c->subscribers, HUB_CASTED, m->data, m->len);
}

/* Once to each process, whichever of the conversations it has. */
static void
on_cast_many(struct peer *p, const struct imsg *m)
{
	uint64_t mask = 0;
	char id[ID_MAX];
	struct unpack u;
	uint32_t count;

	unpack_init(&u, m->data, m->len);
	count = unpack_u32(&u);
	while (count-- && unpack_ok(&u)) {
		const struct window_conv *c;

		unpack_strn(&u, id, sizeof(id));
		c = window_find(&p->hub->window, id);
		mask |= c ? c->subscribers : 0;
	}
	if (unpack_ok(&u))
		hub_send(p->hub, mask, HUB_CASTED_MANY, m->data, m->len);
	else
		log_error("hub.bad_cast", "peer=%u", p->index);
}

/* To one that is away it is lost: its slot was, or will be, reported as gone. */
static void
on_tell(struct peer *p, const struct imsg *m)
{
	struct peer *to = m->id < ARCHIVER_PEER ? &p->hub->peers[m->id] : NULL;

	if (to && to->chan)
		imsg_send(to->chan, HUB_TOLD, p->index, -1, m->data, m->len);
}

static void
on_announce(struct peer *p, const struct imsg *m)
{
	hub_send(p->hub, ALL_WORKERS, HUB_ANNOUNCED, m->data, m->len);
}

static void
on_count(struct peer *p, const struct imsg *m)
{
	struct count_result r;
	char key[BUS_KEY_MAX + 1];
	int64_t window_ms;
	struct unpack u;
	uint64_t add;
	struct buf b;

	unpack_init(&u, m->data, m->len);
	unpack_strn(&u, key, sizeof(key));
	add = unpack_u64(&u);
	window_ms = unpack_i64(&u);
	if (!unpack_end(&u)) {
		log_error("hub.bad_count", "peer=%u", p->index);
		return;
	}
	r = count_up(&p->hub->counters, key, add, window_ms, clock_mono_ms());
	buf_init(&b);
	pack_u64(&b, r.count);
	pack_i64(&b, r.left_ms);
	imsg_send_buf(p->chan, HUB_COUNT_RESULT, m->id, &b);
	buf_fini(&b);
}

static void
on_message(void *arg, struct imsg *m)
{
	static void (*const handlers[])(struct peer *, const struct imsg *) = {
	    [HUB_SUBMIT] = hub_on_submit,
	    [HUB_WINDOW] = hub_on_window,
	    [HUB_SUBSCRIBE] = on_subscribe,
	    [HUB_UNSUBSCRIBE] = on_subscribe,
	    [HUB_PRESENCE] = hub_on_presence,
	    [HUB_PRESENCE_TOLD] = hub_on_presence_told,
	    [HUB_PRESENCE_GET] = hub_on_presence_get,
	    [HUB_CAST] = on_cast,
	    [HUB_CAST_MANY] = on_cast_many,
	    [HUB_ARCHIVED] = hub_on_archived,
	    [HUB_TELL] = on_tell,
	    [HUB_ANNOUNCE] = on_announce,
	    [HUB_COUNT] = on_count,
	    [HUB_FIND] = hub_on_find,
	    [HUB_ABOUT] = hub_on_about,
	};

	if (m->type >= sizeof(handlers) / sizeof(*handlers) || !handlers[m->type])
		log_error("hub.unknown_message", "type=%u", m->type);
	else
		handlers[m->type](arg, m);
}

/* ---- coming and going ---- */

static void
say_peer(struct peer *to, unsigned int slot, bool there)
{
	uint8_t up = there;

	if (to->chan && to->index != ARCHIVER_PEER && to->index != slot)
		imsg_send(to->chan, HUB_PEER, slot, -1, &up, 1);
}

static void
forget_peer(struct peer *p)
{
	struct window_conv *c, *tmp;

	imsg_chan_free(&p->chan);
	HASH_ITER (hh, p->hub->window.convs, c, tmp)
		c->subscribers &= ~peer_bit(p);
	hub_forget_users_of(p->hub, p);
	for (unsigned int i = 0; p->index != ARCHIVER_PEER && i < ARCHIVER_PEER; i++)
		say_peer(&p->hub->peers[i], p->index, false);
}

static void
on_closed(void *arg)
{
	forget_peer(arg);
}

static const struct imsg_handler peer_handler = {on_message, on_closed};

void
hub_on_peer(struct hub *h, struct imsg *m)
{
	unsigned int index;
	struct unpack u;
	struct peer *p;

	unpack_init(&u, m->data, m->len);
	index = unpack_u32(&u);
	if (index == CHAN_PEER_ARCHIVER)
		index = ARCHIVER_PEER;
	if (!unpack_end(&u) || index >= PEERS || m->fd < 0)
		return;
	p = &h->peers[index];
	if (p->chan)
		forget_peer(p);
	p->hub = h;
	p->index = index;
	p->chan = imsg_chan_new(m->fd, &peer_handler, p);
	m->fd = -1;
	for (unsigned int i = 0; index != ARCHIVER_PEER && i < ARCHIVER_PEER; i++) {
		if (!h->peers[i].chan || i == index)
			continue;
		say_peer(&h->peers[i], index, true);
		say_peer(p, i, true);
	}
}

void
hub_free_peers(struct hub *h)
{
	for (unsigned int i = 0; i < PEERS; i++) {
		if (h->peers[i].chan)
			imsg_flush(h->peers[i].chan, 100);
		imsg_chan_free(&h->peers[i].chan);
	}
}
