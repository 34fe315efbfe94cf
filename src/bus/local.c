/* SPDX-License-Identifier: ISC */
/*
 * local: the client side of the hub.  Worker and archiver, loop thread.
 *
 * Every request that wants an answer is in `pending` by its id until the answer came
 * or the channel broke.  When it breaks all of them get ERR_UNKNOWN_OUTCOME, in the
 * order of their ids, before state(false).
 */
#include "bus/local.h"

#include <stdlib.h>
#include <string.h>
#include <uthash.h>

#include "bus/hub_proto.h"
#include "lib/imsg.h"
#include "lib/log.h"
#include "model/error.h"

#define PENDING_MAX 100000

struct pending {
	uint32_t id;
	enum hub_msg request;
	union {
		bus_submit_cb submit;
		bus_window_cb window;
		bus_subscribe_cb subscribe;
		bus_count_cb count;
		bus_find_cb find;
	} cb;
	void *arg;
	UT_hash_handle hh;
};

struct bus_local {
	struct bus bus;
	struct imsg_chan *chan;
	struct pending *pending;
	uint32_t last_id;
};

/* ---- answers ---- */

static void
fail(const struct pending *p, int err)
{
	struct bus_submit_result submit = {.err = err};
	struct bus_window window = {.err = err};

	if (p->request == HUB_SUBMIT)
		p->cb.submit(p->arg, &submit);
	else if (p->request == HUB_WINDOW || p->request == HUB_ABOUT)
		p->cb.window(p->arg, &window);
	else if (p->request == HUB_SUBSCRIBE)
		p->cb.subscribe(p->arg, err, 0);
	else if (p->request == HUB_COUNT)
		p->cb.count(p->arg, err, 0, 0);
	else
		p->cb.find(p->arg, err, NULL);
}

static void
submit_result(const struct pending *p, struct unpack *u)
{
	struct bus_submit_result res = {0};
	struct event *ev = NULL;

	res.err = (int)unpack_i64(u);
	res.duplicate = unpack_u8(u) != 0;
	if (!res.err) {
		ev = event_unpack(u);
		if (!ev)
			res.err = ERR_UNKNOWN_OUTCOME;
	}
	res.event = ev;
	p->cb.submit(p->arg, &res);
	event_unref(&ev);
}

static void
window_result(const struct pending *p, struct unpack *u)
{
	struct event *events[BUS_ABOUT_MAX]; /* the longer one of the two kinds of answer */
	struct bus_window w = {.events = events};
	uint32_t count;

	w.head = unpack_u64(u);
	w.floor = unpack_u64(u);
	w.abouts = unpack_u32(u);
	w.more = unpack_u8(u) != 0;
	count = unpack_u32(u);
	while (w.count < count && w.count < BUS_ABOUT_MAX) {
		events[w.count] = event_unpack(u);
		if (!events[w.count])
			break;
		w.count++;
	}
	if (!unpack_end(u))
		w.err = ERR_INTERNAL;
	p->cb.window(p->arg, &w);
	for (size_t i = 0; i < w.count; i++)
		event_unref(&events[i]);
}

static void
count_result(const struct pending *p, struct unpack *u)
{
	uint64_t count = unpack_u64(u);
	int64_t left_ms = unpack_i64(u);

	p->cb.count(p->arg, unpack_end(u) ? 0 : ERR_INTERNAL, count, left_ms);
}

static void
find_result(const struct pending *p, struct unpack *u)
{
	struct event *ev = unpack_u8(u) ? event_unpack(u) : NULL;
	int err = ev ? 0 : ERR_NOT_FOUND;

	p->cb.find(p->arg, unpack_end(u) ? err : ERR_INTERNAL, unpack_end(u) ? ev : NULL);
	event_unref(&ev);
}

static bool
answers(uint16_t type, enum hub_msg request)
{
	switch (type) {
	case HUB_SUBMIT_RESULT:
		return request == HUB_SUBMIT;
	case HUB_WINDOW_RESULT:
		return request == HUB_WINDOW || request == HUB_ABOUT;
	case HUB_SUBSCRIBE_RESULT:
		return request == HUB_SUBSCRIBE;
	case HUB_COUNT_RESULT:
		return request == HUB_COUNT;
	case HUB_FIND_RESULT:
		return request == HUB_FIND;
	default:
		return false;
	}
}

static void
on_answer(struct bus_local *b, const struct imsg *m)
{
	struct pending *p;
	struct unpack u;

	HASH_FIND(hh, b->pending, &m->id, sizeof(m->id), p);
	if (!p) {
		log_error("bus.stray_answer", "type=%u id=%u", m->type, m->id);
		return;
	}
	HASH_DEL(b->pending, p);
	unpack_init(&u, m->data, m->len);
	if (!answers(m->type, p->request))
		fail(p, ERR_INTERNAL);
	else if (m->type == HUB_SUBMIT_RESULT)
		submit_result(p, &u);
	else if (m->type == HUB_WINDOW_RESULT)
		window_result(p, &u);
	else if (m->type == HUB_SUBSCRIBE_RESULT)
		p->cb.subscribe(p->arg, 0, unpack_u64(&u));
	else if (m->type == HUB_COUNT_RESULT)
		count_result(p, &u);
	else
		find_result(p, &u);
	free(p);
}

static void
on_event(struct bus_local *b, const struct imsg *m)
{
	struct event *ev;
	struct unpack u;

	unpack_init(&u, m->data, m->len);
	ev = event_unpack(&u);
	if (ev)
		b->bus.handler.event(b->bus.arg, ev);
	else
		log_error("bus.bad_event", "len=%zu", m->len);
	event_unref(&ev);
}

static void
on_cast(struct bus_local *b, const struct imsg *m)
{
	char conversation[ID_MAX], sender[ID_MAX];
	const char *payload;
	struct unpack u;
	size_t len;

	unpack_init(&u, m->data, m->len);
	unpack_strn(&u, conversation, sizeof(conversation));
	unpack_strn(&u, sender, sizeof(sender));
	payload = unpack_bytes(&u, &len);
	if (unpack_end(&u))
		b->bus.handler.cast(b->bus.arg, conversation, sender, payload, len);
}

static void
on_peer(struct bus_local *b, const struct imsg *m)
{
	struct unpack u;
	bool up;

	unpack_init(&u, m->data, m->len);
	up = unpack_u8(&u) != 0;
	if (unpack_end(&u) && b->bus.handler.peer)
		b->bus.handler.peer(b->bus.arg, m->id, up);
}

/* ---- the channel ---- */

static void
on_message(void *arg, struct imsg *m)
{
	struct bus_local *b = arg;

	if (m->type == HUB_EVENT)
		on_event(b, m);
	else if (m->type == HUB_CASTED)
		on_cast(b, m);
	else if (m->type == HUB_PEER)
		on_peer(b, m);
	else if (m->type == HUB_TOLD && b->bus.handler.told)
		b->bus.handler.told(b->bus.arg, m->id, m->data, m->len);
	else if (m->type == HUB_ANNOUNCED && b->bus.handler.announced)
		b->bus.handler.announced(b->bus.arg, m->data, m->len);
	else
		on_answer(b, m);
}

static int
by_id(const struct pending *a, const struct pending *b)
{
	return a->id < b->id ? -1 : a->id > b->id;
}

static void
disconnect(struct bus_local *b)
{
	struct pending *list = b->pending, *p, *tmp;

	if (!b->chan)
		return;
	imsg_chan_free(&b->chan);
	b->bus.up = false;
	b->pending = NULL;
	HASH_SORT(list, by_id);
	HASH_ITER (hh, list, p, tmp) {
		HASH_DEL(list, p);
		fail(p, ERR_UNKNOWN_OUTCOME);
		free(p);
	}
	b->bus.handler.state(b->bus.arg, false);
}

static void
on_closed(void *arg)
{
	disconnect(arg);
}

static const struct imsg_handler chan_handler = {on_message, on_closed};

void
bus_local_set_fd(struct bus *bus, int fd)
{
	struct bus_local *b = (struct bus_local *)bus;

	disconnect(b);
	b->chan = imsg_chan_new(fd, &chan_handler, b);
	b->bus.up = true;
	b->bus.handler.state(b->bus.arg, true);
}

/* ---- calls ---- */

static int
request(struct bus_local *b, enum hub_msg type, const struct buf *payload, struct pending *from)
{
	struct pending *p;

	if (!b->chan)
		return ERR_UNAVAILABLE;
	if (HASH_COUNT(b->pending) >= PENDING_MAX)
		return ERR_OVERLOADED;
	p = xcalloc(1, sizeof(*p));
	*p = *from;
	p->request = type;
	p->id = ++b->last_id;
	HASH_ADD(hh, b->pending, id, sizeof(p->id), p);
	imsg_send_buf(b->chan, (uint16_t)type, p->id, payload);
	return 0;
}

static int
local_submit(struct bus *bus, const struct event *ev, bus_submit_cb cb, void *arg)
{
	struct pending p = {.cb.submit = cb, .arg = arg};
	struct buf b;
	int err;

	buf_init(&b);
	event_pack(&b, ev);
	err = request((struct bus_local *)bus, HUB_SUBMIT, &b, &p);
	buf_fini(&b);
	return err;
}

static int
local_window(struct bus *bus, const char *conversation, uint64_t after, uint64_t before,
    size_t limit, bus_window_cb cb, void *arg)
{
	struct pending p = {.cb.window = cb, .arg = arg};
	struct buf b;
	int err;

	buf_init(&b);
	pack_str(&b, conversation);
	pack_u64(&b, after);
	pack_u64(&b, before);
	pack_u32(&b, (uint32_t)limit);
	err = request((struct bus_local *)bus, HUB_WINDOW, &b, &p);
	buf_fini(&b);
	return err;
}

static int
local_subscribe(struct bus *bus, const char *conversation, bus_subscribe_cb cb, void *arg)
{
	struct pending p = {.cb.subscribe = cb, .arg = arg};
	struct buf b;
	int err;

	buf_init(&b);
	pack_str(&b, conversation);
	err = request((struct bus_local *)bus, HUB_SUBSCRIBE, &b, &p);
	buf_fini(&b);
	return err;
}

static void
tell(struct bus *bus, enum hub_msg type, struct buf *payload)
{
	struct bus_local *b = (struct bus_local *)bus;

	if (b->chan)
		imsg_send_buf(b->chan, (uint16_t)type, 0, payload);
	buf_fini(payload);
}

static void
local_unsubscribe(struct bus *bus, const char *conversation)
{
	struct buf b;

	buf_init(&b);
	pack_str(&b, conversation);
	tell(bus, HUB_UNSUBSCRIBE, &b);
}

static void
local_user_online(struct bus *bus, const char *user, bool online)
{
	struct buf b;

	buf_init(&b);
	pack_str(&b, user);
	pack_u8(&b, online);
	tell(bus, HUB_USER, &b);
}

static void
local_cast(
    struct bus *bus, const char *conversation, const char *sender, const char *payload, size_t len)
{
	struct buf b;

	buf_init(&b);
	pack_str(&b, conversation);
	pack_str(&b, sender);
	pack_bytes(&b, payload, len);
	tell(bus, HUB_CAST, &b);
}

static int
local_archived(struct bus *bus, struct event *const *events, size_t count)
{
	struct buf b;

	if (!((struct bus_local *)bus)->chan)
		return ERR_UNAVAILABLE; /* the hub will offer them again */
	buf_init(&b);
	pack_u32(&b, (uint32_t)count);
	for (size_t i = 0; i < count; i++) {
		pack_str(&b, events[i]->conversation);
		pack_u64(&b, events[i]->seq);
	}
	tell(bus, HUB_ARCHIVED, &b);
	return 0;
}

static void
local_tell(struct bus *bus, unsigned int slot, const void *data, size_t len)
{
	struct bus_local *b = (struct bus_local *)bus;

	if (b->chan)
		imsg_send(b->chan, HUB_TELL, slot, -1, data, len);
}

static void
local_announce(struct bus *bus, const void *payload, size_t len)
{
	struct bus_local *b = (struct bus_local *)bus;

	if (b->chan)
		imsg_send(b->chan, HUB_ANNOUNCE, 0, -1, payload, len);
}

static int
local_count(
    struct bus *bus, const char *key, uint64_t add, int64_t window_ms, bus_count_cb cb, void *arg)
{
	struct pending p = {.cb.count = cb, .arg = arg};
	struct buf b;
	int err;

	buf_init(&b);
	pack_str(&b, key);
	pack_u64(&b, add);
	pack_i64(&b, window_ms);
	err = request((struct bus_local *)bus, HUB_COUNT, &b, &p);
	buf_fini(&b);
	return err;
}

static int
local_find(struct bus *bus, const char *event_id, bus_find_cb cb, void *arg)
{
	struct pending p = {.cb.find = cb, .arg = arg};
	struct buf b;
	int err;

	buf_init(&b);
	pack_str(&b, event_id);
	err = request((struct bus_local *)bus, HUB_FIND, &b, &p);
	buf_fini(&b);
	return err;
}

static int
local_about(struct bus *bus, const char *conversation, const char (*ids)[ID_MAX], size_t count,
    bus_window_cb cb, void *arg)
{
	struct pending p = {.cb.window = cb, .arg = arg};
	struct buf b;
	int err;

	buf_init(&b);
	pack_str(&b, conversation);
	pack_u32(&b, (uint32_t)count);
	for (size_t i = 0; i < count; i++)
		pack_str(&b, ids[i]);
	err = request((struct bus_local *)bus, HUB_ABOUT, &b, &p);
	buf_fini(&b);
	return err;
}

static void
local_close(struct bus *bus)
{
	struct bus_local *b = (struct bus_local *)bus;
	struct pending *p, *tmp;

	imsg_chan_free(&b->chan);
	HASH_ITER (hh, b->pending, p, tmp) {
		HASH_DEL(b->pending, p);
		free(p);
	}
	free(b);
}

static const struct bus_ops local_ops = {
    .name = "local",
    .close = local_close,
    .submit = local_submit,
    .window = local_window,
    .subscribe = local_subscribe,
    .unsubscribe = local_unsubscribe,
    .user_online = local_user_online,
    .cast = local_cast,
    .archived = local_archived,
    .tell = local_tell,
    .announce = local_announce,
    .count = local_count,
    .find = local_find,
    .about = local_about,
};

struct bus *
bus_local_new(const struct bus_handler *h, void *arg)
{
	struct bus_local *b = xcalloc(1, sizeof(*b));

	b->bus.ops = &local_ops;
	b->bus.handler = *h;
	b->bus.arg = arg;
	return &b->bus;
}
