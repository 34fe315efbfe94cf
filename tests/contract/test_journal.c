/* SPDX-License-Identifier: ISC */
/*
 * The contract of journal.h, run on every implementation.  What only files can
 * show is in tests/unit/test_spool.c.
 */
#include <errno.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "journal/journal.h"
#include "lib/log.h"
#include "lib/loop.h"
#include "model/error.h"

#include "../lib/journal_help.h"

#define SEGMENT (256 * 1024)
#define MANY    1000

struct implementation {
	const char *name;
	int (*writer_open)(const struct journal_opts *opts, struct journal_writer **w_r);
	int (*reader_open)(const struct journal_opts *opts, void (*wake)(void *arg), void *arg,
	    struct journal_reader **r_r);
};

static const struct implementation implementations[] = {
    {"local", journal_local_writer_open, journal_local_reader_open},
};

struct fixture {
	const struct implementation *im;
	char dir[64];
	struct journal_opts opts;
};

static int
setup(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));

	f->im = *state;
	strcpy(f->dir, "/tmp/palaver-journal.XXXXXX");
	if (!mkdtemp(f->dir))
		return -1;
	f->opts =
	    (struct journal_opts){.dir = f->dir, .slot = 0, .slots = 1, .segment_size = SEGMENT};
	*state = f;
	return 0;
}

static int
teardown(void **state)
{
	struct fixture *f = *state;

	remove_tree(f->dir);
	free(f);
	return 0;
}

static struct journal_writer *
writer(const struct fixture *f)
{
	struct journal_writer *w;

	assert_int_equal(f->im->writer_open(&f->opts, &w), 0);
	return w;
}

static struct journal_reader *
reader(const struct fixture *f)
{
	struct journal_reader *r;

	assert_int_equal(f->im->reader_open(&f->opts, woken, NULL, &r), 0);
	return r;
}

/* ---- tests ---- */

static void
events_come_back_in_order(void **state)
{
	struct fixture *f = *state;
	struct journal_writer *w = writer(f);
	struct journal_reader *r = reader(f);
	struct journal_writer_stats ws;
	struct journal_reader_stats rs;

	send_events(w, 1, MANY);
	assert_int_equal(read_all(r, 1), MANY);
	journal_writer_stats(w, &ws);
	assert_int_equal(ws.intakes, MANY);
	assert_int_equal(ws.appends, MANY);
	assert_int_equal(ws.open_tickets, 0);
	assert_true(ws.segments > 1);
	journal_reader_stats(r, &rs);
	assert_int_equal(rs.events, MANY);
	assert_int_equal(rs.damaged_records, 0);
	journal_reader_close(&r);
	journal_writer_close(&w);
	assert_null(w);
}

static void
undone_intakes_are_replayed_once_and_in_order(void **state)
{
	struct fixture *f = *state;
	struct journal_writer *w = writer(f);
	struct journal_writer_stats st;

	assert_int_equal(replay(w), 0);
	send_events(w, 1, 5);
	for (unsigned int n = 10; n < 20; n++) {
		uint64_t ticket = intake(w, n);

		if (n % 2)
			assert_int_equal(journal_done(w, ticket), 0);
	}
	journal_writer_close(&w);

	w = writer(f);
	journal_writer_stats(w, &st);
	assert_int_equal(st.open_tickets, 5);
	assert_int_equal(replay(w), 5);
	for (unsigned int i = 0; i < 5; i++)
		assert_int_equal(replayed[i], 10 + 2 * i);
	left = failures = 0;
	append(w, replayed_ticket[0], 10);
	append(w, replayed_ticket[1], 12);
	assert_int_equal(journal_done(w, replayed_ticket[2]), 0);
	run_loop();
	assert_int_equal(failures, 0);
	assert_int_equal(replay(w), 0);
	journal_writer_close(&w);

	w = writer(f);
	assert_int_equal(replay(w), 2);
	assert_int_equal(replayed[0], 16);
	assert_int_equal(replayed[1], 18);
	journal_writer_close(&w);
}

static void
done_after_append_does_nothing(void **state)
{
	struct fixture *f = *state;
	struct journal_writer *w = writer(f);
	struct journal_reader *r = reader(f);
	uint64_t ticket = intake(w, 1);

	left = failures = 0;
	append(w, ticket, 1);
	assert_int_equal(journal_done(w, ticket), 0);
	run_loop();
	assert_int_equal(journal_done(w, ticket), 0);
	assert_int_equal(read_all(r, 1), 1);
	journal_reader_close(&r);
	journal_writer_close(&w);
}

static void
what_was_not_committed_is_read_again(void **state)
{
	struct fixture *f = *state;
	struct journal_writer *w = writer(f);
	struct journal_reader *r = reader(f);

	send_events(w, 1, 300);
	assert_int_equal(read_all(r, 1), 300);
	journal_reader_close(&r); /* as if it had died: no commit */
	r = reader(f);
	assert_int_equal(read_all(r, 1), 300);
	assert_int_equal(journal_commit(r), 0);
	send_events(w, 301, 310);
	assert_int_equal(read_all(r, 301), 10);
	journal_reader_close(&r);
	r = reader(f);
	assert_int_equal(read_all(r, 301), 10);
	assert_int_equal(journal_commit(r), 0);
	journal_reader_close(&r);
	r = reader(f);
	assert_int_equal(read_all(r, 311), 0);
	journal_reader_close(&r);
	journal_writer_close(&w);
}

static void
a_commit_covers_what_was_read_and_no_more(void **state)
{
	struct fixture *f = *state;
	struct journal_writer *w = writer(f);
	struct journal_reader *r = reader(f);
	struct event *events[10];
	size_t count;

	send_events(w, 1, 25);
	for (unsigned int round = 0; round < 2; round++) {
		assert_int_equal(journal_read(r, events, 10, &count), 0);
		assert_int_equal(count, 10);
		for (size_t i = 0; i < count; i++)
			event_unref(&events[i]);
		if (round == 0)
			assert_int_equal(journal_commit(r), 0);
	}
	journal_reader_close(&r);
	r = reader(f);
	assert_int_equal(read_all(r, 11), 15);
	journal_reader_close(&r);
	journal_writer_close(&w);
}

static void
the_reader_is_woken(void **state)
{
	struct fixture *f = *state;
	struct journal_reader *r = reader(f);
	struct journal_writer *w;
	unsigned int got = 0;

	wakes = 0;
	run_loop();
	assert_int_equal(wakes, 1); /* once soon after open */
	assert_int_equal(read_all(r, 1), 0);
	w = writer(f); /* its spool was not there when the reader began */
	send_events(w, 1, 3);
	while ((got += read_all(r, got + 1)) < 3)
		run_loop();
	assert_true(wakes < 20);
	journal_reader_close(&r);
	journal_writer_close(&w);
}

static void
all_slots_are_read(void **state)
{
	struct fixture *f = *state;
	struct journal_writer *w[3];
	unsigned char seen[200] = {0};
	struct journal_reader *r;

	f->opts.slots = 3;
	for (unsigned int i = 0; i < 3; i++) {
		f->opts.slot = i;
		w[i] = writer(f);
		send_events(w[i], 1 + 50 * i, 50 + 50 * i);
	}
	r = reader(f);
	assert_int_equal(read_marks(r, seen, 200), 150);
	assert_int_equal(journal_commit(r), 0);
	for (unsigned int n = 1; n <= 150; n++)
		assert_int_equal(seen[n], 1);
	journal_reader_close(&r);
	r = reader(f);
	assert_int_equal(read_all(r, 0), 0);
	journal_reader_close(&r);
	for (unsigned int i = 0; i < 3; i++)
		journal_writer_close(&w[i]);
}

static void
fewer_slots_adopt_what_the_others_left(void **state)
{
	struct fixture *f = *state;
	struct journal_writer *w;
	struct journal_reader *r;
	unsigned char seen[200] = {0};

	f->opts.slots = 4;
	for (f->opts.slot = 0; f->opts.slot < 4; f->opts.slot++) {
		w = writer(f);
		send_events(w, 1 + 10 * f->opts.slot, 5 + 10 * f->opts.slot);
		intake(w, 100 + f->opts.slot);
		journal_writer_close(&w);
	}
	f->opts.slots = 2;
	f->opts.slot = 1;
	w = writer(f);
	assert_int_equal(replay(w), 2); /* its own and that of slot 3 */
	assert_int_equal(replayed[0], 101);
	assert_int_equal(replayed[1], 103);
	left = failures = 0;
	append(w, replayed_ticket[1], 103);
	run_loop();
	journal_writer_close(&w);
	w = writer(f);
	assert_int_equal(replay(w), 1); /* not adopted twice */
	r = reader(f);
	assert_int_equal(read_marks(r, seen, 200), 21);
	assert_int_equal(seen[35], 1);
	assert_int_equal(seen[103], 1);
	journal_reader_close(&r);
	journal_writer_close(&w);
}

static void
a_spool_has_one_writer(void **state)
{
	struct fixture *f = *state;
	struct journal_writer *w = writer(f), *second;

	log_set_level(LOG_LVL_ERROR);
	assert_int_equal(f->im->writer_open(&f->opts, &second), ERR_UNAVAILABLE);
	assert_null(second);
	journal_writer_close(&w);
	w = writer(f);
	journal_writer_close(&w);
}

static void
an_event_beyond_a_segment_is_refused(void **state)
{
	struct fixture *f = *state;
	struct journal_writer *w;
	struct event *ev;
	char *data = calloc(1, 20000);
	uint64_t ticket;

	f->opts.segment_size = 16384;
	w = writer(f);
	memset(data, ' ', 20000);
	ev = event_new(EVENT_MESSAGE_CREATED, CONV, SENDER, "", data, 20000);
	assert_int_equal(journal_intake(w, ev, &ticket), ERR_TOO_LARGE);
	event_unref(&ev);
	ev = event_new(EVENT_MESSAGE_CREATED, CONV, SENDER, "", data, 15000);
	assert_int_equal(journal_intake(w, ev, &ticket), 0);
	event_unref(&ev);
	free(data);
	send_events(w, 1, 3);
	journal_writer_close(&w);
	w = writer(f);
	journal_writer_close(&w);
}

/* ---- kill -9 ---- */

#define KILLED_MAX 100000

static int report;

static void
tell(char what, unsigned int n)
{
	char line[16];
	int len = snprintf(line, sizeof(line), "%c%09u\n", what, n);

	if (write(report, line, (size_t)len) != len)
		_exit(1);
}

static struct journal_writer *victim;
static unsigned int victim_next;
static void victim_send(void);

static void
victim_acked(void *arg, int err, enum journal_durable how)
{
	if (err)
		_exit(2);
	tell('A', (unsigned int)(uintptr_t)arg);
	victim_send();
}

static void
victim_send(void)
{
	unsigned int n = victim_next++;
	struct event *ev = make_event(n), *numbered = event_numbered(ev, n, 1000 + n);
	uint64_t ticket;

	if (journal_intake(victim, ev, &ticket) < 0)
		_exit(3);
	tell('I', n);
	if (journal_append(victim, ticket, numbered, victim_acked, (void *)(uintptr_t)n) < 0)
		_exit(4);
	event_unref(&ev);
	event_unref(&numbered);
}

static void
victim_main(const struct fixture *f, unsigned int from)
{
	ev_loop_fork(loop_ev());
	if (f->im->writer_open(&f->opts, &victim) < 0)
		_exit(5);
	victim_next = from;
	for (int i = 0; i < 7; i++)
		victim_send();
	loop_run();
	_exit(0);
}

/* Runs a writer, kills it after `acks` confirmations, and notes what it said. */
static unsigned int
run_and_kill(const struct fixture *f, unsigned int from, int acks, unsigned char *said)
{
	unsigned int n, last = from;
	int fds[2], status;
	char what;
	FILE *in;
	pid_t pid;

	assert_int_equal(pipe(fds), 0);
	pid = fork();
	if (pid == 0) {
		close(fds[0]);
		report = fds[1];
		victim_main(f, from);
	}
	close(fds[1]);
	in = fdopen(fds[0], "r");
	while (fscanf(in, "%c%u\n", &what, &n) == 2) {
		if (what == 'A' && --acks == 0)
			kill(pid, SIGKILL);
		assert_true(n < KILLED_MAX);
		said[n] = said[n] == 'A' ? 'A' : (unsigned char)what;
		last = n > last ? n : last;
	}
	fclose(in);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFSIGNALED(status));
	return last + 1;
}

static void
a_killed_writer_loses_nothing(void **state)
{
	struct fixture *f = *state;
	unsigned char *said = calloc(1, KILLED_MAX), *seen = calloc(1, KILLED_MAX);
	unsigned int next = 1;
	struct journal_writer *w;
	struct journal_reader *r;

	f->opts.segment_size = 16384; /* many rotations */
	for (int round = 0; round < 15; round++) {
		next = run_and_kill(f, next, 1 + 17 * round, said);
		next++; /* an intake may be there that it did not live to tell */
		w = writer(f);
		replay(w);
		for (unsigned int i = 0; i < replayed_count; i++) {
			assert_int_not_equal(said[replayed[i]], 'A');
			seen[replayed[i]] = 1;
			assert_int_equal(journal_done(w, replayed_ticket[i]), 0);
		}
		journal_writer_close(&w);
	}
	r = reader(f);
	read_marks(r, seen, KILLED_MAX);
	for (unsigned int n = 1; n < next; n++)
		if (said[n] && !seen[n])
			fail_msg(
			    "%u was %s and is lost", n, said[n] == 'A' ? "confirmed" : "taken in");
	journal_reader_close(&r);
	free(said);
	free(seen);
}

int
main(void)
{
	int bad = 0;

	loop_init();
	log_init("test", -1, LOG_TO_STDERR, LOG_LVL_ERROR);
	cmocka_set_message_output(CM_OUTPUT_TAP);
	for (size_t i = 0; i < sizeof(implementations) / sizeof(*implementations); i++) {
		void *im = (void *)&implementations[i];
#define TEST(name) cmocka_unit_test_prestate_setup_teardown(name, setup, teardown, im)
		const struct CMUnitTest tests[] = {
		    TEST(events_come_back_in_order),
		    TEST(undone_intakes_are_replayed_once_and_in_order),
		    TEST(done_after_append_does_nothing),
		    TEST(what_was_not_committed_is_read_again),
		    TEST(a_commit_covers_what_was_read_and_no_more),
		    TEST(the_reader_is_woken),
		    TEST(all_slots_are_read),
		    TEST(fewer_slots_adopt_what_the_others_left),
		    TEST(a_spool_has_one_writer),
		    TEST(an_event_beyond_a_segment_is_refused),
		    TEST(a_killed_writer_loses_nothing),
		};
#undef TEST
		bad += cmocka_run_group_tests_name(implementations[i].name, tests, NULL, NULL);
	}
	return bad;
}
