/* SPDX-License-Identifier: ISC */
/*
 * window: see window.h.  Hub, loop thread.
 *
 * Invariants: entries of a conversation are in order of seq and have no hole from
 * floor + 1 up to head, but where the counter was lifted; each entry is in the list,
 * in the hash of keys and in the hash of ids, one with a ref also in the list of its
 * message, and it leaves all of them together.
 */
#include "hub/window.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <utlist.h>

#include "model/error.h"

static size_t
weight(const struct event *ev)
{
	return sizeof(struct window_entry) + sizeof(*ev) + ev->data_len;
}

struct window_conv *
window_find(struct window *w, const char *conversation)
{
	struct window_conv *c;

	HASH_FIND_STR(w->convs, conversation, c);
	return c;
}

struct window_conv *
window_get(struct window *w, const char *conversation)
{
	struct window_conv *c = window_find(w, conversation);

	if (c)
		return c;
	c = xcalloc(1, sizeof(*c));
	str_copy(c->id, sizeof(c->id), conversation);
	HASH_ADD_STR(w->convs, id, c);
	return c;
}

static void
make_key(char *key, size_t size, const struct event *ev)
{
	if (ev->client_id[0])
		snprintf(key, size, "%s %s", ev->sender, ev->client_id);
	else
		snprintf(key, size, "%s", ev->id);
}

static void
about_add(struct window_conv *c, struct window_entry *e)
{
	struct window_about *a;

	if (!e->ev->ref[0])
		return;
	HASH_FIND_STR(c->abouts, e->ev->ref, a);
	if (!a) {
		a = xcalloc(1, sizeof(*a));
		str_copy(a->ref, sizeof(a->ref), e->ev->ref);
		HASH_ADD_STR(c->abouts, ref, a);
	}
	e->about = a;
	DL_APPEND2(a->entries, e, about_prev, about_next);
	c->about_count++;
}

static void
about_drop(struct window_conv *c, struct window_entry *e)
{
	struct window_about *a = e->about;

	if (!a)
		return;
	DL_DELETE2(a->entries, e, about_prev, about_next);
	c->about_count--;
	if (a->entries)
		return;
	HASH_DEL(c->abouts, a);
	free(a);
}

static struct window_entry *
append(struct window *w, struct window_conv *c, struct event *ev, int64_t mono_ms)
{
	struct window_entry *e = xcalloc(1, sizeof(*e));

	e->ev = ev;
	e->since_ms = mono_ms;
	make_key(e->key, sizeof(e->key), ev);
	if (!c->entries)
		DL_APPEND(w->active, c);
	DL_APPEND(c->entries, e);
	HASH_ADD_STR(c->keys, key, e);
	HASH_ADD_KEYPTR(hh_id, w->by_id, ev->id, strlen(ev->id), e);
	about_add(c, e);
	c->head = ev->seq;
	c->last_ms = ev->created_ms;
	w->entry_count++;
	w->bytes += weight(ev);
	return e;
}

static void
drop(struct window *w, struct window_conv *c, struct window_entry *e)
{
	DL_DELETE(c->entries, e);
	HASH_DEL(c->keys, e);
	HASH_DELETE(hh_id, w->by_id, e);
	about_drop(c, e);
	w->entry_count--;
	w->bytes -= weight(e->ev);
	event_unref(&e->ev);
	free(e);
	if (!c->entries)
		DL_DELETE(w->active, c);
}

int
window_submit(struct window *w, const struct event *ev, int64_t wall_ms, int64_t mono_ms,
    struct window_conv **conv_r, struct window_entry **entry_r, bool *duplicate_r)
{
	struct window_conv *c = window_get(w, ev->conversation);
	char key[sizeof(((struct window_entry *)0)->key)];
	struct window_entry *e;

	*conv_r = c;
	make_key(key, sizeof(key), ev);
	HASH_FIND_STR(c->keys, key, e);
	*duplicate_r = e != NULL;
	*entry_r = e;
	if (e)
		return memcmp(e->ev->digest, ev->digest, EVENT_DIGEST) == 0 ? 0 : ERR_ID_REUSED;
	if (!c->head) {
		c->head = (uint64_t)wall_ms;
		c->floor = c->head;
	}
	if (wall_ms < c->last_ms)
		wall_ms = c->last_ms;
	*entry_r = append(w, c, event_numbered(ev, c->head + 1, wall_ms), mono_ms);
	return 0;
}

void
window_take_back(struct window *w, struct window_conv *c)
{
	drop(w, c, c->entries->prev); /* utlist: the prev of the head is the tail */
	c->head--;
}

void
window_load_event(struct window *w, struct event *ev, int64_t mono_ms)
{
	struct window_conv *c = window_get(w, ev->conversation);

	if (ev->seq <= c->head)
		return;
	if (!c->head)
		c->floor = ev->seq - 1;
	append(w, c, event_ref(ev), mono_ms);
}

void
window_load_counter(struct window *w, const char *conversation, uint64_t head, uint64_t floor)
{
	struct window_conv *c = window_get(w, conversation);

	if (head < c->head)
		return;
	c->head = head;
	if (!c->entries)
		c->floor = floor;
}

void
window_lift(struct window *w, uint64_t head, uint64_t step)
{
	struct window_conv *c, *tmp;

	HASH_ITER (hh, w->convs, c, tmp) {
		c->head = c->head + step > head ? c->head + step : head;
		if (!c->entries)
			c->floor = c->head;
	}
}

/* utlist: the prev of the head is the tail. */
static struct window_entry *
last_entry(const struct window_conv *c)
{
	return c->entries ? c->entries->prev : NULL;
}

static struct window_entry *
entry_before(const struct window_conv *c, const struct window_entry *e)
{
	return e == c->entries ? NULL : e->prev;
}

void
window_archived(struct window *w, const char *conversation, uint64_t seq, int64_t mono_ms)
{
	struct window_conv *c = window_find(w, conversation);
	struct window_entry *e;

	if (!c)
		return;
	/* From the newest back: what is archived now was written a moment ago. */
	for (e = last_entry(c); e && e->ev->seq >= seq; e = entry_before(c, e)) {
		if (e->ev->seq == seq && !e->archived) {
			e->archived = true;
			e->since_ms = mono_ms;
		}
	}
}

size_t
window_trim(struct window *w, int64_t mono_ms)
{
	struct window_conv *c, *tmp;
	size_t n = 0;

	DL_FOREACH_SAFE (w->active, c, tmp) {
		while (c->entries && c->entries->archived &&
		       mono_ms - c->entries->since_ms >= WINDOW_KEEP_MS) {
			c->floor = c->entries->ev->seq;
			drop(w, c, c->entries);
			n++;
		}
		if (!c->entries)
			c->floor = c->head;
	}
	return n;
}

/* The oldest ones after `after`. */
static size_t
read_forward(
    const struct window_conv *c, uint64_t after, size_t limit, struct event **events, bool *more_r)
{
	struct window_entry *e = NULL;
	size_t n = 0;

	for (struct window_entry *p = last_entry(c); p && p->ev->seq > after;
	     p = entry_before(c, p))
		e = p;
	for (; e && n < limit; e = e->next)
		events[n++] = e->ev;
	*more_r = e != NULL;
	return n;
}

/* The newest ones before `before`, read from the end and turned round. */
static size_t
read_backward(const struct window_conv *c, uint64_t after, uint64_t before, size_t limit,
    struct event **events, bool *more_r)
{
	struct window_entry *e = last_entry(c);
	size_t n = 0;

	while (e && e->ev->seq >= before)
		e = entry_before(c, e);
	for (; e && e->ev->seq > after && n < limit; e = entry_before(c, e))
		events[n++] = e->ev;
	*more_r = e && e->ev->seq > after;
	for (size_t i = 0; i < n / 2; i++) {
		struct event *t = events[i];

		events[i] = events[n - 1 - i];
		events[n - 1 - i] = t;
	}
	return n;
}

size_t
window_read(const struct window_conv *c, uint64_t after, uint64_t before, size_t limit,
    struct event **events, bool *more_r)
{
	*more_r = false;
	if (before)
		return read_backward(c, after, before, limit, events, more_r);
	return read_forward(c, after, limit, events, more_r);
}

struct event *
window_find_event(const struct window *w, const char *id)
{
	struct window_entry *e;

	HASH_FIND(hh_id, w->by_id, id, strlen(id), e);
	return e ? e->ev : NULL;
}

static int
by_seq(const void *a, const void *b)
{
	const struct event *const *x = a, *const *y = b;

	return (*x)->seq < (*y)->seq ? -1 : (*x)->seq > (*y)->seq;
}

static bool
listed_before(const char (*ids)[ID_MAX], size_t i)
{
	for (size_t j = 0; j < i; j++)
		if (strcmp(ids[j], ids[i]) == 0)
			return true;
	return false;
}

size_t
window_about(const struct window_conv *c, const char (*ids)[ID_MAX], size_t count, size_t limit,
    struct event **events, bool *more_r)
{
	struct event **found = xcalloc(c->about_count + 1, sizeof(struct event *));
	size_t n = 0, skip;

	for (size_t i = 0; i < count; i++) {
		struct window_about *a;
		struct window_entry *e;

		HASH_FIND_STR(c->abouts, ids[i], a);
		if (!a || listed_before(ids, i))
			continue;
		for (e = a->entries; e; e = e->about_next)
			found[n++] = e->ev;
	}
	qsort(found, n, sizeof(*found), by_seq);
	skip = n > limit ? n - limit : 0;
	memcpy(events, found + skip, (n - skip) * sizeof(*found));
	free(found);
	*more_r = skip > 0;
	return n - skip;
}

void
window_fini(struct window *w)
{
	struct window_conv *c, *tmp;

	HASH_ITER (hh, w->convs, c, tmp) {
		while (c->entries)
			drop(w, c, c->entries);
		HASH_DEL(w->convs, c);
		free(c);
	}
}
