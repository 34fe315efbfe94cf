/* SPDX-License-Identifier: ISC */
/*
 * hub: serves workers and archiver over one channel each.  Hub, loop thread.
 *
 * Submits of one turn of the loop are gathered and go through commit_batch():
 *	1. each gets its number, or is found to be a duplicate, in memory;
 *	2. all records go to the hub's log with one write;
 *	3. only then are they published and answered.
 * So nothing is visible that a kill -9 of the hub would forget.  If the write fails the
 * numbers are taken back and nothing happened.
 *
 * What was numbered and is not reported as archived for OFFER_MS is handed to the
 * archiver again: a report is lost when the hub or the archiver dies at that moment.
 */
#include "hub/hub.h"

#include <stdlib.h>
#include <string.h>
#include <sysexits.h>
#include <uthash.h>
#include <utlist.h>

#include "bus/bus.h"
#include "bus/hub_proto.h"
#include "hub/hublog.h"
#include "hub/window.h"
#include "lib/json.h"
#include "lib/log.h"
#include "lib/loop.h"
#include "model/error.h"

#define ARCHIVER_PEER 63 /* slots of workers are 0 to 62: one bit each in a mask of 64 */
#define PEERS         64
#define TRIM_S        5.0
#define OFFER_MS      30000
#define OFFER_MAX     500
#define COMPACT_MIN   (16 * 1024 * 1024)
#define BOOT_ID       "/proc/sys/kernel/random/boot_id"

struct hub_user {
	char id[ID_MAX];
	uint64_t peers;
	UT_hash_handle hh;
};

struct hub;
struct peer {
	struct hub *hub;
	unsigned int index;
	struct imsg_chan *chan;
};

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

struct hub {
	struct child *child;
	struct window window;
	struct hublog *log;
	struct peer peers[PEERS];
	struct hub_user *users;
	struct submit *batch;
	struct loop_task commit;
	ev_timer trim;
	uint64_t submits, duplicates, published;
};

/* ---- publishing ---- */

static void
send_to(struct hub *h, uint64_t mask, enum hub_msg type, const struct buf *payload)
{
	for (unsigned int i = 0; mask; i++, mask >>= 1)
		if (mask & 1 && h->peers[i].chan)
			imsg_send_buf(h->peers[i].chan, (uint16_t)type, 0, payload);
}

/* Where users are online whom the event makes members. */
static uint64_t
peers_of_members(struct hub *h, const struct event *ev)
{
	struct json_object *data, *members;
	uint64_t mask = 0;
	const char *why;

	data = json_parse(ev->data, ev->data_len, &json_default_limits, &why);
	if (data && json_object_object_get_ex(data, "members", &members) &&
	    json_object_is_type(members, json_type_array)) {
		for (size_t i = 0; i < json_object_array_length(members); i++) {
			struct hub_user *u = NULL;
			const char *id = NULL;

			json_get_str(json_object_array_get_idx(members, i), "user_id", &id);
			if (id)
				HASH_FIND_STR(h->users, id, u);
			if (u)
				mask |= u->peers;
		}
	} else {
		log_error("hub.no_members", "msg=%s why=%s", ev->id, log_quote(data ? "" : why));
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
	send_to(h, mask, HUB_EVENT, &b);
	buf_fini(&b);
	h->published++;
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

static void
commit_batch(void *arg)
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
		h->submits++;
		h->duplicates += s->duplicate;
		if (!s->err && !s->duplicate)
			publish(h, s->conv, s->numbered);
		answer(h, s);
		event_unref(&s->ev);
		event_unref(&s->numbered);
		free(s);
	}
	h->batch = NULL;
}

static void
on_submit(struct peer *p, const struct imsg *m)
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

/* ---- other requests ---- */

static void
on_window(struct peer *p, const struct imsg *m)
{
	struct event *events[BUS_WINDOW_PAGE];
	const struct window_conv *c;
	uint64_t after, before;
	char id[ID_MAX];
	struct unpack u;
	size_t limit, n = 0;
	struct buf b;
	bool more = false;

	unpack_init(&u, m->data, m->len);
	unpack_strn(&u, id, sizeof(id));
	after = unpack_u64(&u);
	before = unpack_u64(&u);
	limit = unpack_u32(&u);
	if (!unpack_end(&u))
		return;
	if (limit > BUS_WINDOW_PAGE)
		limit = BUS_WINDOW_PAGE;
	c = window_find(&p->hub->window, id);
	if (c)
		n = window_read(c, after, before, limit, events, &more);
	buf_init(&b);
	pack_u64(&b, c ? c->head : 0);
	pack_u64(&b, c ? c->floor : UINT64_C(1) << 53); /* unknown here: all is in the store */
	pack_u8(&b, more);
	pack_u32(&b, (uint32_t)n);
	for (size_t i = 0; i < n; i++)
		event_pack(&b, events[i]);
	imsg_send_buf(p->chan, HUB_WINDOW_RESULT, m->id, &b);
	buf_fini(&b);
}

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
		c->subscribers &= ~(UINT64_C(1) << p->index);
		return;
	}
	c->subscribers |= UINT64_C(1) << p->index;
	buf_init(&b);
	pack_u64(&b, c->head);
	imsg_send_buf(p->chan, HUB_SUBSCRIBE_RESULT, m->id, &b);
	buf_fini(&b);
}

static void
set_online(struct hub *h, const char *id, uint64_t bit, bool online)
{
	struct hub_user *u;

	HASH_FIND_STR(h->users, id, u);
	if (!u && online) {
		u = xcalloc(1, sizeof(*u));
		str_copy(u->id, sizeof(u->id), id);
		HASH_ADD_STR(h->users, id, u);
	}
	if (!u)
		return;
	u->peers = online ? u->peers | bit : u->peers & ~bit;
	if (u->peers)
		return;
	HASH_DEL(h->users, u);
	free(u);
}

static void
on_user(struct peer *p, const struct imsg *m)
{
	char id[ID_MAX];
	struct unpack u;
	bool online;

	unpack_init(&u, m->data, m->len);
	unpack_strn(&u, id, sizeof(id));
	online = unpack_u8(&u) != 0;
	if (unpack_end(&u))
		set_online(p->hub, id, UINT64_C(1) << p->index, online);
}

static void
on_cast(struct peer *p, const struct imsg *m)
{
	const struct window_conv *c;
	char id[ID_MAX];
	struct unpack u;
	struct buf b;

	unpack_init(&u, m->data, m->len);
	unpack_strn(&u, id, sizeof(id));
	c = unpack_ok(&u) ? window_find(&p->hub->window, id) : NULL;
	if (!c)
		return;
	buf_init(&b);
	buf_append(&b, m->data, m->len);
	send_to(p->hub, c->subscribers, HUB_CASTED, &b);
	buf_fini(&b);
}

static void
on_archived(struct peer *p, const struct imsg *m)
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

/* ---- between workers ---- */

static void
say_peer(struct peer *to, unsigned int slot, bool there)
{
	uint8_t up = there;

	if (to->chan && to->index != ARCHIVER_PEER && to->index != slot)
		imsg_send(to->chan, HUB_PEER, slot, -1, &up, 1);
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
on_message(void *arg, struct imsg *m)
{
	static void (*const handlers[])(struct peer *, const struct imsg *) = {
	    [HUB_SUBMIT] = on_submit,
	    [HUB_WINDOW] = on_window,
	    [HUB_SUBSCRIBE] = on_subscribe,
	    [HUB_UNSUBSCRIBE] = on_subscribe,
	    [HUB_USER] = on_user,
	    [HUB_CAST] = on_cast,
	    [HUB_ARCHIVED] = on_archived,
	    [HUB_TELL] = on_tell,
	};

	if (m->type >= sizeof(handlers) / sizeof(*handlers) || !handlers[m->type])
		log_error("hub.unknown_message", "type=%u", m->type);
	else
		handlers[m->type](arg, m);
}

/* ---- peers ---- */

static void
forget_peer(struct peer *p)
{
	uint64_t keep = ~(UINT64_C(1) << p->index);
	struct window_conv *c, *ctmp;
	struct hub_user *u, *utmp;

	imsg_chan_free(&p->chan);
	HASH_ITER (hh, p->hub->window.convs, c, ctmp)
		c->subscribers &= keep;
	HASH_ITER (hh, p->hub->users, u, utmp)
		set_online(p->hub, u->id, ~keep, false);
	for (unsigned int i = 0; p->index != ARCHIVER_PEER && i < ARCHIVER_PEER; i++)
		say_peer(&p->hub->peers[i], p->index, false);
}

static void
on_closed(void *arg)
{
	forget_peer(arg);
}

static const struct imsg_handler peer_handler = {on_message, on_closed};

static void
on_peer(struct hub *h, struct imsg *m)
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

/* ---- time ---- */

static void
offer_again(struct hub *h, int64_t now)
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
			send_to(h, UINT64_C(1) << ARCHIVER_PEER, HUB_EVENT, &b);
			buf_fini(&b);
		}
	}
}

static void
trim(struct ev_loop *l, ev_timer *t, int revents)
{
	struct hub *h = t->data;
	int64_t now = clock_mono_ms();

	window_trim(&h->window, now);
	offer_again(h, now);
	if (hublog_compact(h->log, &h->window))
		log_warn("hub.log_grows", "the next try is in %.0f s", TRIM_S);
}

/* ---- life ---- */

static void
hub_open(struct hub *h)
{
	char *path = xasprintf("%s/hub.log", h->child->conf->state_dir);
	struct hublog_opts opts = {
	    .path = path, .boot_id_path = BOOT_ID, .compact_min = COMPACT_MIN};
	bool lift;

	if (hublog_open(&opts, &h->window, &h->log, &lift))
		fatal(EX_CANTCREAT, "hub.no_log", "file=%s; free some space in state_dir", path);
	log_info("hub.loaded", "conversations=%u events=%zu lifted=%d", HASH_COUNT(h->window.convs),
	    h->window.entry_count, lift);
	free(path);
	h->commit.run = commit_batch;
	h->commit.arg = h;
	ev_timer_init(&h->trim, trim, TRIM_S, TRIM_S);
	h->trim.data = h;
	ev_timer_start(loop_ev(), &h->trim);
}

static void
on_master(struct child *ch, struct imsg *m)
{
	if (m->type == CHAN_HUB)
		on_peer(ch->arg, m);
	else if (m->type == CHAN_DRAIN)
		loop_stop();
	else
		log_warn("hub.unknown_message", "type=%u", m->type);
}

int
hub_main(struct child *ch)
{
	struct hub *h = xcalloc(1, sizeof(*h));
	struct hub_user *u, *tmp;
	int status;

	h->child = ch;
	ch->message = on_master;
	ch->arg = h;
	hub_open(h);
	child_ready(ch);
	status = child_run(ch);
	ev_timer_stop(loop_ev(), &h->trim);
	for (unsigned int i = 0; i < PEERS; i++) {
		if (h->peers[i].chan)
			imsg_flush(h->peers[i].chan, 100);
		imsg_chan_free(&h->peers[i].chan);
	}
	HASH_ITER (hh, h->users, u, tmp) {
		HASH_DEL(h->users, u);
		free(u);
	}
	window_fini(&h->window);
	hublog_close(&h->log);
	free(h);
	return status;
}
