/* SPDX-License-Identifier: ISC */
/*
 * bus: hands each call to the implementation.  Any process that opened one, loop
 * thread.
 */
#include "bus/bus.h"

#include <assert.h>
#include <string.h>

#include "model/error.h"

void
bus_close(struct bus **b)
{
	if (*b)
		(*b)->ops->close(*b);
	*b = NULL;
}

bool
bus_is_up(const struct bus *b)
{
	return b->up;
}

int
bus_submit(struct bus *b, const struct event *ev, bus_submit_cb cb, void *arg)
{
	return b->ops->submit(b, ev, cb, arg);
}

int
bus_window(struct bus *b, const char *conversation, uint64_t after, uint64_t before, size_t limit,
    bus_window_cb cb, void *arg)
{
	return b->ops->window(b, conversation, after, before, limit, cb, arg);
}

int
bus_subscribe(struct bus *b, const char *conversation, bus_subscribe_cb cb, void *arg)
{
	return b->ops->subscribe(b, conversation, cb, arg);
}

void
bus_unsubscribe(struct bus *b, const char *conversation)
{
	b->ops->unsubscribe(b, conversation);
}

void
bus_cast(
    struct bus *b, const char *conversation, const char *sender, const char *payload, size_t len)
{
	b->ops->cast(b, conversation, sender, payload, len);
}

int
bus_archived(struct bus *b, struct event *const *events, size_t count)
{
	return b->ops->archived(b, events, count);
}

void
bus_tell(struct bus *b, unsigned int slot, const void *data, size_t len)
{
	b->ops->tell(b, slot, data, len);
}

void
bus_announce(struct bus *b, const void *payload, size_t len)
{
	b->ops->announce(b, payload, len);
}

int
bus_count(
    struct bus *b, const char *key, uint64_t add, int64_t window_ms, bus_count_cb cb, void *arg)
{
	assert(strlen(key) <= BUS_KEY_MAX);
	return b->ops->count(b, key, add, window_ms, cb, arg);
}

int
bus_find(struct bus *b, const char *event_id, bus_find_cb cb, void *arg)
{
	return b->ops->find(b, event_id, cb, arg);
}

int
bus_about(struct bus *b, const char *conversation, const char (*ids)[ID_MAX], size_t count,
    bus_window_cb cb, void *arg)
{
	assert(count <= BUS_ABOUT_IDS);
	return b->ops->about(b, conversation, ids, count, cb, arg);
}

void
bus_cast_many(struct bus *b, const char (*conversations)[ID_MAX], size_t count, const char *sender,
    const char *payload, size_t len)
{
	b->ops->cast_many(b, conversations, count, sender, payload, len);
}

void
bus_presence_set(struct bus *b, const char *user, enum presence p)
{
	b->ops->presence_set(b, user, p);
}

void
bus_presence_told(struct bus *b, const char *user, enum presence p)
{
	b->ops->presence_told(b, user, p);
}

int
bus_presence_get(
    struct bus *b, const char (*users)[ID_MAX], size_t count, bus_presence_cb cb, void *arg)
{
	assert(count <= BUS_USERS_MAX);
	return b->ops->presence_get(b, users, count, cb, arg);
}
