/* SPDX-License-Identifier: ISC */
/*
 * The spool on disk: syncs and failed syncs, reclaim, positions, full disks.  Crash
 * states and damage are in test_spool_damage.c, the contract of journal.h in
 * tests/contract/test_journal.c.
 */
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "journal/journal.h"
#include "journal/spool.h"
#include "lib/log.h"
#include "lib/loop.h"
#include "model/error.h"

#include "../lib/spool_help.h"

static size_t
segment_count(void)
{
	uint64_t *firsts;
	size_t count;
	int fd = slot_dir();

	assert_int_equal(spool_list(fd, &firsts, &count), 0);
	free(firsts);
	close(fd);
	return count;
}

/* ---- syncs ---- */

static atomic_uint syncs_begun, syncs_ended;
static atomic_uint syncs_to_fail;
static _Atomic(ino_t) failed_ino;
static atomic_uint synced_after_failure; /* of the same file */

static int
counting_sync(int fd)
{
	struct stat st;
	int rc;

	syncs_begun++;
	fstat(fd, &st);
	if (st.st_ino == failed_ino)
		synced_after_failure++;
	if (syncs_to_fail) {
		syncs_to_fail--;
		failed_ino = st.st_ino;
		errno = EIO;
		return -1;
	}
	rc = fdatasync(fd);
	syncs_ended++;
	return rc;
}

static void
count_syncs(unsigned int fail)
{
	syncs_begun = syncs_ended = synced_after_failure = 0;
	failed_ino = 0;
	syncs_to_fail = fail;
	spool_sync = counting_sync;
}

static void
a_hundred_appends_of_a_turn_share_a_sync(void **state)
{
	struct journal_writer *w = writer();
	struct journal_writer_stats st;

	count_syncs(0);
	send_events(w, 1, 100);
	assert_in_range(syncs_begun, 1, 2);
	journal_writer_stats(w, &st);
	assert_in_range(st.syncs, 1, 2);
	journal_writer_close(&w);
}

static struct journal_writer *chain_writer;
static unsigned int chain_left, ended_before;

static void chain_appended(void *arg, int err, enum journal_durable how);

static void
chain_append(void)
{
	struct event *ev = make_event(chain_left), *numbered = event_numbered(ev, chain_left, 1);
	uint64_t ticket = intake(chain_writer, chain_left);

	assert_int_equal(journal_append(chain_writer, ticket, numbered, chain_appended, NULL), 0);
	ended_before = syncs_begun; /* a sync that had begun by now does not count */
	event_unref(&ev);
	event_unref(&numbered);
}

static void
chain_appended(void *arg, int err, enum journal_durable how)
{
	assert_int_equal(err, 0);
	assert_true(syncs_ended > ended_before);
	if (--chain_left)
		chain_append();
	else
		loop_stop();
}

static void
an_append_is_confirmed_by_a_later_sync(void **state)
{
	chain_writer = writer();
	count_syncs(0);
	chain_left = 20;
	chain_append();
	assert_int_equal(chain_left, 20); /* never from within the call */
	run_loop();
	assert_int_equal(syncs_ended, 20);
	journal_writer_close(&chain_writer);
}

/* A sync that tells when it has begun and ends when it is told. */
static int begun_pipe[2], go_pipe[2];

static int
gated_sync(int fd)
{
	char c = 'b';

	if (syncs_begun++ == 0 &&
	    (write(begun_pipe[1], &c, 1) != 1 || read(go_pipe[0], &c, 1) != 1))
		abort();
	syncs_ended++;
	return fdatasync(fd);
}

static void
gate_appended(void *arg, int err, enum journal_durable how)
{
	unsigned int *ended = arg;

	assert_int_equal(err, 0);
	*ended = syncs_ended;
	if (--left == 0)
		loop_stop();
}

static void
gate_append(unsigned int n, unsigned int *ended)
{
	struct event *ev = make_event(n), *numbered = event_numbered(ev, n, 1);

	left++;
	assert_int_equal(
	    journal_append(chain_writer, intake(chain_writer, n), numbered, gate_appended, ended),
	    0);
	event_unref(&ev);
	event_unref(&numbered);
}

static unsigned int ended_first, ended_late;

static void
on_sync_begun(struct ev_loop *loop, ev_io *io, int revents)
{
	char c;

	assert_int_equal(read(begun_pipe[0], &c, 1), 1);
	assert_int_equal(left, 1); /* the first waits for its sync */
	gate_append(2, &ended_late);
	assert_int_equal(write(go_pipe[1], &c, 1), 1);
}

static void
an_append_during_a_sync_waits_for_the_next(void **state)
{
	ev_io io;

	chain_writer = writer();
	assert_int_equal(pipe(begun_pipe) | pipe(go_pipe), 0);
	ev_io_init(&io, on_sync_begun, begun_pipe[0], EV_READ);
	ev_io_start(loop_ev(), &io);
	count_syncs(0);
	spool_sync = gated_sync;
	left = 0;
	gate_append(1, &ended_first);
	run_loop();
	assert_int_equal(ended_first, 1);
	assert_int_equal(ended_late, 2);
	ev_io_stop(loop_ev(), &io);
	for (int i = 0; i < 2; i++) {
		close(begun_pipe[i]);
		close(go_pipe[i]);
	}
	journal_writer_close(&chain_writer);
}

static void
a_failed_sync_is_not_tried_again_but_rewritten(void **state)
{
	struct journal_writer *w = writer();
	struct journal_reader *r;
	unsigned char seen[40] = {0};
	size_t before = segment_count();

	intake(w, 30);
	count_syncs(1);
	send_events(w, 1, 20);
	assert_int_equal(synced_after_failure, 0);
	assert_true(syncs_ended >= 1);
	assert_int_equal(segment_count(), before + 1);
	journal_writer_close(&w);
	assert_int_equal(synced_after_failure, 0);
	spool_sync = fdatasync;

	/* The pages of the first segment were dropped: all is in the second. */
	r = reader();
	int fd = slot_dir();
	assert_int_equal(unlinkat(fd, "0000000000000001.seg", 0), 0);
	close(fd);
	assert_int_equal(read_marks(r, seen, 40), 20);
	journal_reader_close(&r);
	w = writer();
	assert_int_equal(replay(w), 1);
	assert_int_equal(replayed[0], 30);
	journal_writer_close(&w);
}

static void
an_append_that_failed_twice_may_be_repeated(void **state)
{
	struct journal_writer *w = writer();
	struct journal_reader *r;
	struct journal_writer_stats st;
	unsigned char seen[4] = {0};
	uint64_t ticket = intake(w, 1);

	count_syncs(2);
	left = failures = 0;
	append(w, ticket, 1);
	run_loop();
	assert_int_equal(failures, 1);
	journal_writer_stats(w, &st);
	assert_int_equal(st.open_tickets, 1);
	left = failures = 0;
	append(w, ticket, 1);
	run_loop();
	assert_int_equal(failures, 0);
	assert_int_equal(synced_after_failure, 0);
	r = reader();
	assert_in_range(read_marks(r, seen, 4), 1, 3); /* at least once */
	assert_true(seen[1]);
	journal_reader_close(&r);
	journal_writer_close(&w);
	w = writer();
	assert_int_equal(replay(w), 0);
	journal_writer_close(&w);
}

/* ---- reclaim ---- */

static void
only_what_was_committed_is_reclaimed(void **state)
{
	struct journal_writer *w;
	struct journal_reader *r;
	size_t all;

	opts.segment_size = 16384;
	w = writer();
	send_events(w, 1, 200);
	journal_writer_close(&w);
	all = segment_count();
	assert_true(all > 5);
	w = writer();
	assert_int_equal(segment_count(), all + 1);
	r = reader();
	assert_int_equal(read_all(r, 1), 200);
	journal_writer_close(&w);
	w = writer(); /* read, but not committed */
	assert_in_range(segment_count(), all, all + 1);
	assert_int_equal(journal_commit(r), 0);
	journal_writer_close(&w);
	w = writer();
	assert_in_range(segment_count(), 1, 2);
	send_events(w, 201, 210);
	assert_int_equal(read_all(r, 201), 10);
	journal_reader_close(&r);
	r = reader();
	assert_int_equal(read_all(r, 201), 10);
	journal_reader_close(&r);
	journal_writer_close(&w);
}

static void
an_open_intake_keeps_its_segment(void **state)
{
	struct journal_writer *w;
	struct journal_reader *r;

	opts.segment_size = 16384;
	w = writer();
	intake(w, 4000);
	send_events(w, 1, 200);
	r = reader();
	assert_int_equal(read_all(r, 1), 200);
	assert_int_equal(journal_commit(r), 0);
	journal_reader_close(&r);
	for (int i = 0; i < 3; i++) {
		journal_writer_close(&w);
		w = writer();
		assert_true(slot_has("0000000000000001.seg"));
	}
	assert_int_equal(replay(w), 1);
	assert_int_equal(replayed[0], 4000);
	assert_int_equal(journal_done(w, replayed_ticket[0]), 0);
	journal_writer_close(&w);
	w = writer();
	assert_false(slot_has("0000000000000001.seg"));
	journal_writer_close(&w);
}

/* ---- position ---- */

static void
a_torn_position_leaves_the_older_one(void **state)
{
	struct journal_writer *w = writer();
	struct journal_reader *r = reader();
	struct spool_position pos;
	int fd;

	for (unsigned int i = 0; i < 3; i++) {
		send_events(w, 1 + 10 * i, 10 + 10 * i);
		assert_int_equal(read_all(r, 1 + 10 * i), 10);
		assert_int_equal(journal_commit(r), 0);
	}
	journal_reader_close(&r);
	fd = slot_dir();
	spool_position_load(fd, &pos);
	close(fd);
	assert_int_equal(pos.generation, 3);
	flip_file(SPOOL_POSITION, 512 + 20); /* generation 3 */
	r = reader();
	assert_int_equal(read_all(r, 21), 10);
	assert_int_equal(journal_commit(r), 0); /* generation 3 again, where it was torn */
	journal_reader_close(&r);
	r = reader();
	assert_int_equal(read_all(r, 31), 0);
	journal_reader_close(&r);
	flip_file(SPOOL_POSITION, 20);
	flip_file(SPOOL_POSITION, 512 + 20);
	r = reader();
	assert_int_equal(read_all(r, 1), 30); /* both gone: everything comes again */
	journal_reader_close(&r);
	journal_writer_close(&w);
}

static void
numbers_never_go_back_behind_the_reader(void **state)
{
	struct journal_writer *w = writer();
	struct journal_reader *r = reader();

	send_events(w, 1, 10);
	assert_int_equal(read_all(r, 1), 10);
	assert_int_equal(journal_commit(r), 0);
	journal_reader_close(&r);
	journal_writer_close(&w);
	int fd = slot_dir();
	assert_int_equal(unlinkat(fd, "0000000000000001.seg", 0), 0); /* say, by a power cut */
	close(fd);
	w = writer();
	send_events(w, 11, 15);
	r = reader();
	assert_int_equal(read_all(r, 11), 5);
	journal_reader_close(&r);
	journal_writer_close(&w);
}

/* ---- full disk ---- */

static void
a_full_disk_is_met_by_intake(void **state)
{
	uint64_t tickets[2000], ticket;
	unsigned int n = 0;
	struct journal_writer *w;
	struct journal_reader *r;
	struct event *ev;
	char ballast[100];
	int fd, err = 0;

	if (mount("palaver-test", dir, "tmpfs", 0, "size=1m") < 0) {
		/* Not skip(): cmocka says "not ok # SKIP", which Automake counts as a failure. */
		print_message(
		    "# SKIP a_full_disk_is_met_by_intake: no right to mount a tmpfs (%s)\n",
		    strerror(errno));
		return;
	}
	log_set_fd(open("/dev/null", O_WRONLY));
	opts.segment_size = 65536;
	w = writer();
	snprintf(ballast, sizeof(ballast), "%s/ballast", dir);
	fd = open(ballast, O_WRONLY | O_CREAT, 0600);
	assert_int_equal(posix_fallocate(fd, 0, 600 * 1024), 0);
	close(fd);
	while (!err && n < 2000) {
		ev = make_event(n + 1);
		err = journal_intake(w, ev, &tickets[n]);
		n += !err;
		event_unref(&ev);
	}
	assert_int_equal(err, ERR_STORAGE_FULL);
	assert_in_range(n, 100, 1999);
	left = failures = 0;
	for (unsigned int i = 0; i < n; i++)
		append(w, tickets[i], i + 1); /* all that was taken in has its room */
	run_loop();
	assert_int_equal(failures, 0);
	r = reader();
	assert_int_equal(read_all(r, 1), n);

	assert_int_equal(unlink(ballast), 0); /* and it recovers by itself */
	ev = make_event(n + 1);
	assert_int_equal(journal_intake(w, ev, &ticket), 0);
	event_unref(&ev);
	left = failures = 0;
	append(w, ticket, n + 1);
	run_loop();
	assert_int_equal(failures, 0);
	assert_int_equal(read_all(r, n + 1), 1);
	journal_reader_close(&r);
	journal_writer_close(&w);
	log_set_fd(-1);
	assert_int_equal(umount(dir), 0);
}

int
main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
	const struct CMUnitTest tests[] = {
	    TEST(a_hundred_appends_of_a_turn_share_a_sync),
	    TEST(an_append_is_confirmed_by_a_later_sync),
	    TEST(an_append_during_a_sync_waits_for_the_next),
	    TEST(a_failed_sync_is_not_tried_again_but_rewritten),
	    TEST(an_append_that_failed_twice_may_be_repeated),
	    TEST(only_what_was_committed_is_reclaimed),
	    TEST(an_open_intake_keeps_its_segment),
	    TEST(a_torn_position_leaves_the_older_one),
	    TEST(numbers_never_go_back_behind_the_reader),
	    TEST(a_full_disk_is_met_by_intake),
	};
#undef TEST

	loop_init();
	log_init("test", -1, LOG_TO_STDERR, LOG_LVL_ERROR);
	cmocka_set_message_output(CM_OUTPUT_TAP);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
