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

#include "bus/local_int.h"
#include "lib/log.h"
#include "model/error.h"

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
	else if (p->request == HUB_PRESENCE_GET)
		p->cb.presence(p->arg, err, NULL, 0);
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

static void
presence_result(const struct pending *p, struct unpack *u)
{
	enum presence states[BUS_USERS_MAX];
	uint32_t count = unpack_u32(u);

	for (uint32_t i = 0; i < count && i < BUS_USERS_MAX; i++)
		states[i] = unpack_u8(u);
	if (unpack_end(u))
		p->cb.presence(p->arg, 0, states, count);
	else
		fail(p, ERR_INTERNAL);
}

static void
subscribe_result(const struct pending *p, struct unpack *u)
{
	p->cb.subscribe(p->arg, 0, unpack_u64(u));
}

/* What a request may be answered with. */
static const struct {
	enum hub_msg answer;
	void (*take)(const struct pending *p, struct unpack *u);
} kinds[] = {
    [HUB_SUBMIT] = {HUB_SUBMIT_RESULT, submit_result},
    [HUB_WINDOW] = {HUB_WINDOW_RESULT, window_result},
    [HUB_ABOUT] = {HUB_WINDOW_RESULT, window_result},
    [HUB_SUBSCRIBE] = {HUB_SUBSCRIBE_RESULT, subscribe_result},
    [HUB_COUNT] = {HUB_COUNT_RESULT, count_result},
    [HUB_FIND] = {HUB_FIND_RESULT, find_result},
    [HUB_PRESENCE_GET] = {HUB_PRESENCE_RESULT, presence_result},
};

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
	if (m->type == kinds[p->request].answer)
		kinds[p->request].take(p, &u);
	else
		fail(p, ERR_INTERNAL);
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
on_cast_many(struct bus_local *b, const struct imsg *m)
{
	char(*conversations)[ID_MAX], sender[ID_MAX];
	const char *payload;
	struct unpack u;
	uint32_t count;
	size_t len, n = 0;

	unpack_init(&u, m->data, m->len);
	count = unpack_u32(&u);
	conversations = xcalloc(u.left / sizeof(count) + 1, sizeof(*conversations));
	while (n < count && unpack_ok(&u))
		unpack_strn(&u, conversations[n++], ID_MAX);
	unpack_strn(&u, sender, sizeof(sender));
	payload = unpack_bytes(&u, &len);
	if (unpack_end(&u) && b->bus.handler.cast_many)
		b->bus.handler.cast_many(
		    b->bus.arg, (const char(*)[ID_MAX])conversations, n, sender, payload, len);
	free(conversations);
}

static void
on_presence(struct bus_local *b, const struct imsg *m)
{
	char user[ID_MAX];
	struct unpack u;
	int64_t left_ms;
	uint8_t state;

	unpack_init(&u, m->data, m->len);
	unpack_strn(&u, user, sizeof(user));
	state = unpack_u8(&u);
	left_ms = unpack_i64(&u);
	if (unpack_end(&u) && b->bus.handler.presence)
		b->bus.handler.presence(b->bus.arg, user, state, left_ms);
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

	switch (m->type) {
	case HUB_EVENT:
		on_event(b, m);
		break;
	case HUB_CASTED:
		on_cast(b, m);
		break;
	case HUB_CASTED_MANY:
		on_cast_many(b, m);
		break;
	case HUB_PEER:
		on_peer(b, m);
		break;
	case HUB_PRESENCE_CHANGED:
		on_presence(b, m);
		break;
	case HUB_TOLD:
		if (b->bus.handler.told)
			b->bus.handler.told(b->bus.arg, m->id, m->data, m->len);
		break;
	case HUB_ANNOUNCED:
		if (b->bus.handler.announced)
			b->bus.handler.announced(b->bus.arg, m->data, m->len);
		break;
	default:
		on_answer(b, m);
	}
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

/* ---- life ---- */

void
bus_local_close(struct bus *bus)
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

struct bus *
bus_local_new(const struct bus_handler *h, void *arg)
{
	struct bus_local *b = xcalloc(1, sizeof(*b));

	b->bus.ops = &bus_local_ops;
	b->bus.handler = *h;
	b->bus.arg = arg;
	return &b->bus;
}
