/* SPDX-License-Identifier: ISC */
/*
 * journal_help: what test_journal.c and test_spool.c share: numbered events whose
 * text follows from their number, a loop with a guard, and reading everything.
 * Included once by each, after cmocka.h.
 */
#ifndef PALAVER_TESTS_JOURNAL_HELP_H
#define PALAVER_TESTS_JOURNAL_HELP_H

#include <fts.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "journal/journal.h"
#include "lib/loop.h"

#define CONV   "cnv_01jx3kq5v8z6w9y2m4t7r0p1nb"
#define SENDER "usr_01jx3kq5v8z6w9y2m4t7r0p1nb"

static void
remove_tree(const char *dir)
{
	char *const roots[] = {(char *)dir, NULL};
	FTS *tree = fts_open(roots, FTS_PHYSICAL | FTS_NOCHDIR, NULL);
	FTSENT *e;

	while ((e = fts_read(tree)))
		if (e->fts_info != FTS_D)
			remove(e->fts_path);
	fts_close(tree);
}

static void
too_late(struct ev_loop *loop, ev_timer *t, int revents)
{
	fprintf(stderr, "nothing happened for 20 s\n");
	abort();
}

/* Runs the loop until something in it calls loop_stop(). */
static void
run_loop(void)
{
	ev_timer guard;

	ev_timer_init(&guard, too_late, 20, 0);
	ev_timer_start(loop_ev(), &guard);
	loop_run();
	ev_timer_stop(loop_ev(), &guard);
}

static struct event *
make_event(unsigned int n)
{
	char data[200];
	int len = snprintf(
	    data, sizeof(data), "{\"text\":\"message %u %0*d\"}", n, 1 + (int)(n % 100), 0);

	return event_new(EVENT_MESSAGE_CREATED, CONV, SENDER, "", data, (size_t)len);
}

static uint64_t
intake(struct journal_writer *w, unsigned int n)
{
	struct event *ev = make_event(n);
	uint64_t ticket;

	assert_int_equal(journal_intake(w, ev, &ticket), 0);
	event_unref(&ev);
	return ticket;
}

static int left, failures;

static void
appended(void *arg, int err, enum journal_durable how)
{
	assert_int_equal(how, JOURNAL_DURABLE_LOCAL);
	failures += err != 0;
	if (--left == 0)
		loop_stop();
}

static void
append(struct journal_writer *w, uint64_t ticket, unsigned int n)
{
	struct event *ev = make_event(n), *numbered = event_numbered(ev, n, 1000 + n);

	assert_int_equal(journal_append(w, ticket, numbered, appended, NULL), 0);
	left++;
	event_unref(&ev);
	event_unref(&numbered);
}

/* Events number from..to, durable when this returns. */
static void
send_events(struct journal_writer *w, unsigned int from, unsigned int to)
{
	left = failures = 0;
	for (unsigned int n = from; n <= to; n++)
		append(w, intake(w, n), n);
	while (left) /* a reader that is woken stops the loop, too */
		run_loop();
	assert_int_equal(failures, 0);
}

static int wakes;

static void
woken(void *arg)
{
	wakes++;
	loop_stop();
}

/* Everything there is now: how many, which must be from, from + 1, .. */
__attribute__((unused)) static unsigned int
read_all(struct journal_reader *r, unsigned int from)
{
	struct event *events[64];
	unsigned int total = 0;
	size_t count;

	do {
		assert_int_equal(journal_read(r, events, 64, &count), 0);
		for (size_t i = 0; i < count; i++) {
			struct event *expect = make_event(from + total);

			assert_int_equal(events[i]->seq, from + total);
			assert_int_equal(events[i]->created_ms, 1000 + from + total);
			assert_string_equal(events[i]->data, expect->data);
			event_unref(&expect);
			event_unref(&events[i]);
			total++;
		}
	} while (count);
	return total;
}

/* The number that make_event() put into the text. */
static unsigned int
event_n(const struct event *ev)
{
	unsigned int n = 0;

	assert_int_equal(sscanf(ev->data, "{\"text\":\"message %u", &n), 1);
	return n;
}

/* Numbers of the intakes that were replayed, in order. */
static unsigned int replayed[4096];
static uint64_t replayed_ticket[4096];
static unsigned int replayed_count;

static void
note_replay(void *arg, uint64_t ticket, struct event *ev)
{
	assert_int_equal(ev->seq, 0);
	assert_true(replayed_count < 4096);
	replayed_ticket[replayed_count] = ticket;
	replayed[replayed_count++] = event_n(ev);
}

static unsigned int
replay(struct journal_writer *w)
{
	replayed_count = 0;
	assert_int_equal(journal_replay(w, note_replay, NULL), 0);
	return replayed_count;
}

/* Marks each number that is read in seen[0..size); all that there is. */
static unsigned int
read_marks(struct journal_reader *r, unsigned char *seen, unsigned int size)
{
	struct event *events[64];
	unsigned int total = 0;
	size_t count;

	do {
		assert_int_equal(journal_read(r, events, 64, &count), 0);
		for (size_t i = 0; i < count; i++) {
			unsigned int n = event_n(events[i]);

			assert_true(n < size);
			assert_int_equal(events[i]->seq, n);
			seen[n]++;
			event_unref(&events[i]);
			total++;
		}
	} while (count);
	return total;
}

#endif
