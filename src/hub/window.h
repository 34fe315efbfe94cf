/* SPDX-License-Identifier: ISC */
/*
 * window: numbers, recent events and duplicates of every conversation, in memory.
 * Pure: no I/O, the time is given.  Thread: loop of the hub.
 */
#ifndef PALAVER_HUB_WINDOW_H
#define PALAVER_HUB_WINDOW_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <uthash.h>

#include "model/event.h"

/* An archived event stays this long: look-ups in the store that are under way miss it. */
#define WINDOW_KEEP_MS 60000

struct window_entry {
	struct event *ev;
	bool archived;
	int64_t since_ms; /* monotonic: of archiving, or of numbering before that */
	char key[ID_MAX + EVENT_DEDUP_MAX]; /* sender, blank, client id; or the event's id */
	UT_hash_handle hh;                  /* by key, within the conversation */
	UT_hash_handle hh_id;               /* by ev->id, within the window */
	struct window_entry *prev, *next;   /* by seq */
	struct window_about *about;         /* of ev->ref; NULL: it has none */
	struct window_entry *about_prev, *about_next;
};

/* The events about one message, by seq. */
struct window_about {
	char ref[ID_MAX];
	struct window_entry *entries;
	UT_hash_handle hh;
};

struct window_conv {
	char id[ID_MAX];
	uint64_t head;  /* last number given */
	uint64_t floor; /* everything after it is in `entries` */
	int64_t last_ms; /* created_ms of the last event: it never goes back */
	struct window_entry *entries, *keys;
	struct window_about *abouts;
	size_t about_count; /* of the entries, those with a ref */
	uint64_t subscribers; /* bit a peer; the hub's */
	UT_hash_handle hh;
	struct window_conv *prev, *next; /* list of those with entries */
};

struct window {
	struct window_conv *convs;
	struct window_conv *active;
	struct window_entry *by_id;
	size_t entry_count;
	size_t bytes; /* of the events in all entries, roughly */
};

void window_fini(struct window *w);
struct window_conv *window_find(struct window *w, const char *conversation);
struct window_conv *window_get(struct window *w, const char *conversation); /* made if missing */

/*
 * The one atomic step.  0: *entry_r is the new event with its number or, with
 * *duplicate_r, the first one.  ERR_ID_REUSED: that client id with another body.
 * A new conversation starts at wall_ms, an old one goes on by one.
 */
int window_submit(struct window *w, const struct event *ev, int64_t wall_ms, int64_t mono_ms,
    struct window_conv **conv_r, struct window_entry **entry_r, bool *duplicate_r);
/* Takes the newest event of a conversation back: it was seen by nobody. */
void window_take_back(struct window *w, struct window_conv *c);

/* Loading: an event with its number; older than what is there is ignored. */
void window_load_event(struct window *w, struct event *ev, int64_t mono_ms);
void window_load_counter(struct window *w, const char *conversation, uint64_t head, uint64_t floor);
/* No number up to this one, nor up to step above the last, is ever given again. */
void window_lift(struct window *w, uint64_t head, uint64_t step);

void window_archived(struct window *w, const char *conversation, uint64_t seq, int64_t mono_ms);
/* Drops from the front what is archived for WINDOW_KEEP_MS; the number of events dropped. */
size_t window_trim(struct window *w, int64_t mono_ms);

/*
 * after < seq < before (0: no end): the newest limit events with before, else the oldest.
 * Fills events[] (borrowed, ascending), returns the count.
 */
size_t window_read(const struct window_conv *c, uint64_t after, uint64_t before, size_t limit,
    struct event **events, bool *more_r);

/* The event with this id; NULL: it is not in the window. */
struct event *window_find_event(const struct window *w, const char *id);
/*
 * The events about one of these messages, ascending by seq: the newest limit of them.
 * Fills events[] (borrowed), returns the count.
 */
size_t window_about(const struct window_conv *c, const char (*ids)[ID_MAX], size_t count,
    size_t limit, struct event **events, bool *more_r);

#endif
