/* SPDX-License-Identifier: ISC */
/*
 * local_calls: the calls of the local bus: each packs what hub_proto.h says and sends it.
 * Worker and archiver, loop thread.
 */
#include "bus/local_int.h"
#include "model/error.h"

#define PENDING_MAX 100000

/* Takes the payload. */
static int
request(struct bus *bus, enum hub_msg type, struct buf *payload, const struct pending *from)
{
	struct bus_local *b = (struct bus_local *)bus;
	struct pending *p;
	int err = 0;

	if (!b->chan) {
		err = ERR_UNAVAILABLE;
	} else if (HASH_COUNT(b->pending) >= PENDING_MAX) {
		err = ERR_OVERLOADED;
	} else {
		p = xcalloc(1, sizeof(*p));
		*p = *from;
		p->request = type;
		p->id = ++b->last_id;
		HASH_ADD(hh, b->pending, id, sizeof(p->id), p);
		imsg_send_buf(b->chan, (uint16_t)type, p->id, payload);
	}
	buf_fini(payload);
	return err;
}

static int
local_submit(struct bus *bus, const struct event *ev, bus_submit_cb cb, void *arg)
{
	struct pending p = {.cb.submit = cb, .arg = arg};
	struct buf b;

	buf_init(&b);
	event_pack(&b, ev);
	return request(bus, HUB_SUBMIT, &b, &p);
}

static int
local_window(struct bus *bus, const char *conversation, uint64_t after, uint64_t before,
    size_t limit, bus_window_cb cb, void *arg)
{
	struct pending p = {.cb.window = cb, .arg = arg};
	struct buf b;

	buf_init(&b);
	pack_str(&b, conversation);
	pack_u64(&b, after);
	pack_u64(&b, before);
	pack_u32(&b, (uint32_t)limit);
	return request(bus, HUB_WINDOW, &b, &p);
}

static int
local_subscribe(struct bus *bus, const char *conversation, bus_subscribe_cb cb, void *arg)
{
	struct pending p = {.cb.subscribe = cb, .arg = arg};
	struct buf b;

	buf_init(&b);
	pack_str(&b, conversation);
	return request(bus, HUB_SUBSCRIBE, &b, &p);
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

	buf_init(&b);
	pack_str(&b, key);
	pack_u64(&b, add);
	pack_i64(&b, window_ms);
	return request(bus, HUB_COUNT, &b, &p);
}

static int
local_find(struct bus *bus, const char *event_id, bus_find_cb cb, void *arg)
{
	struct pending p = {.cb.find = cb, .arg = arg};
	struct buf b;

	buf_init(&b);
	pack_str(&b, event_id);
	return request(bus, HUB_FIND, &b, &p);
}

static void
pack_ids(struct buf *b, const char (*ids)[ID_MAX], size_t count)
{
	pack_u32(b, (uint32_t)count);
	for (size_t i = 0; i < count; i++)
		pack_str(b, ids[i]);
}

static int
local_about(struct bus *bus, const char *conversation, const char (*ids)[ID_MAX], size_t count,
    bus_window_cb cb, void *arg)
{
	struct pending p = {.cb.window = cb, .arg = arg};
	struct buf b;

	buf_init(&b);
	pack_str(&b, conversation);
	pack_ids(&b, ids, count);
	return request(bus, HUB_ABOUT, &b, &p);
}

/* ---- presence ---- */

static void
local_cast_many(struct bus *bus, const char (*conversations)[ID_MAX], size_t count,
    const char *sender, const char *payload, size_t len)
{
	struct buf b;

	buf_init(&b);
	pack_ids(&b, conversations, count);
	pack_str(&b, sender);
	pack_bytes(&b, payload, len);
	tell(bus, HUB_CAST_MANY, &b);
}

static void
tell_presence(struct bus *bus, enum hub_msg type, const char *user, enum presence p)
{
	struct buf b;

	buf_init(&b);
	pack_str(&b, user);
	pack_u8(&b, (uint8_t)p);
	tell(bus, type, &b);
}

static void
local_presence_set(struct bus *bus, const char *user, enum presence p)
{
	tell_presence(bus, HUB_PRESENCE, user, p);
}

static void
local_presence_told(struct bus *bus, const char *user, enum presence p)
{
	tell_presence(bus, HUB_PRESENCE_TOLD, user, p);
}

static int
local_presence_get(
    struct bus *bus, const char (*users)[ID_MAX], size_t count, bus_presence_cb cb, void *arg)
{
	struct pending p = {.cb.presence = cb, .arg = arg};
	struct buf b;

	buf_init(&b);
	pack_ids(&b, users, count);
	return request(bus, HUB_PRESENCE_GET, &b, &p);
}

const struct bus_ops bus_local_ops = {
    .name = "local",
    .close = bus_local_close,
    .submit = local_submit,
    .window = local_window,
    .subscribe = local_subscribe,
    .unsubscribe = local_unsubscribe,
    .cast = local_cast,
    .archived = local_archived,
    .tell = local_tell,
    .announce = local_announce,
    .count = local_count,
    .find = local_find,
    .about = local_about,
    .cast_many = local_cast_many,
    .presence_set = local_presence_set,
    .presence_told = local_presence_told,
    .presence_get = local_presence_get,
};
