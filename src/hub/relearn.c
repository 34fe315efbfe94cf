/* SPDX-License-Identifier: ISC */
/*
 * relearn: after a loss of power the hub's log, which is never synced, may lack events that
 * the spools, which are, have.  If they are not archived yet, only the hub can know that
 * their client ids were used: without it a client's repetition would make a second message,
 * and one of the two would have to be left out of the archive.  Hub, loop thread, at start.
 *
 * The spools hold more than is wanted: what is archived, and copies of one event.  The window
 * ignores what is not newer than what it has.  The log is written before anything reaches a
 * spool, so what is in a spool and older than the log's last is in the log, or archived.
 */
#include "hub/relearn.h"

#include <stdlib.h>
#include <string.h>

#include "journal/journal.h"
#include "lib/log.h"
#include "lib/loop.h"

struct found {
	struct event **events;
	size_t count, cap;
};

static void
found_add(void *arg, struct event *ev)
{
	struct found *f = arg;

	if (f->count == f->cap) {
		f->cap = f->cap ? 2 * f->cap : 256;
		f->events = xrealloc(f->events, f->cap * sizeof(struct event *));
	}
	f->events[f->count++] = event_ref(ev);
}

static int
by_number(const void *a, const void *b)
{
	const struct event *x = *(struct event *const *)a, *y = *(struct event *const *)b;
	int c = strcmp(x->conversation, y->conversation);

	return c ? c : x->seq < y->seq ? -1 : x->seq > y->seq;
}

void
hub_relearn(const char *spool, struct window *w)
{
	struct found f = {0};
	size_t before = w->entry_count;

	(void)journal_local_scan(spool, found_add, &f); /* logged; what it found is there */
	if (f.count)
		qsort(f.events, f.count, sizeof(struct event *), by_number);
	for (size_t i = 0; i < f.count; i++) {
		window_load_event(w, f.events[i], clock_mono_ms());
		event_unref(&f.events[i]);
	}
	free(f.events);
	log_info("hub.relearned", "read=%zu new=%zu", f.count, w->entry_count - before);
}
