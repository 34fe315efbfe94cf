/* SPDX-License-Identifier: ISC */
/*
 * The spool on disk: syncs, failed syncs, torn and damaged files, full disks,
 * reclaim, positions.  The contract of journal.h is in tests/contract/test_journal.c.
 */
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <setjmp.h>
#include <signal.h>
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

#include "../lib/journal_help.h"

#define SEGMENT (256 * 1024)

static char dir[64];
static struct journal_opts opts;

static int
setup(void **state)
{
	strcpy(dir, "/tmp/palaver-spool.XXXXXX");
	opts = (struct journal_opts){.dir = dir, .slots = 1, .segment_size = SEGMENT};
	return mkdtemp(dir) ? 0 : -1;
}

static int
teardown(void **state)
{
	spool_sync = fdatasync;
	log_set_fd(-1);
	umount(dir); /* if the test of the full disk left it */
	remove_tree(dir);
	return 0;
}

static struct journal_writer *
writer(void)
{
	struct journal_writer *w;

	assert_int_equal(journal_local_writer_open(&opts, &w), 0);
	return w;
}

static struct journal_reader *
reader(void)
{
	struct journal_reader *r;

	assert_int_equal(journal_local_reader_open(&opts, woken, NULL, &r), 0);
	return r;
}

static int
slot_dir(void)
{
	char path[100];
	int fd;

	snprintf(path, sizeof(path), "%s/0", dir);
	fd = open(path, O_RDONLY | O_DIRECTORY);
	assert_true(fd >= 0);
	return fd;
}

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

/* ---- crash states ---- */

#define RUN 40

struct run {
	uint8_t *bytes;
	size_t size, used;
	struct spool_record records[3 * RUN];
	size_t count;
};

/* Intakes 1..RUN; every third stays undone, every fifth is refused. */
static void
record_run(struct run *run)
{
	struct journal_writer *w = writer();
	struct spool_cursor c;
	int fd;

	for (unsigned int n = 1; n <= RUN; n++) {
		uint64_t ticket = intake(w, n);

		left = failures = 0;
		if (n % 5 == 0) {
			assert_int_equal(journal_done(w, ticket), 0);
		} else if (n % 3) {
			append(w, ticket, n);
			run_loop();
		}
	}
	fd = slot_dir();
	assert_int_equal(spool_cursor_open(&c, fd, 1), 0);
	run->count = 0;
	while (spool_next(&c, false, &run->records[run->count]) == SPOOL_RECORD)
		run->count++;
	run->size = c.size;
	run->used = c.offset;
	run->bytes = malloc(c.size);
	assert_int_equal(pread(c.fd, run->bytes, c.size, 0), (ssize_t)c.size);
	spool_cursor_close(&c);
	close(fd);
	journal_writer_close(&w);
}

/* What should come back from the first `cut` bytes. */
static void
expect_run(const struct run *run, size_t cut, unsigned char *events, unsigned char *undone)
{
	uint64_t n_of[3 * RUN + 2] = {0};
	unsigned int n = 0;

	memset(events, 0, RUN + 1);
	memset(undone, 0, RUN + 1);
	for (size_t i = 0; i < run->count && run->records[i].end <= cut; i++) {
		const struct spool_record *rec = &run->records[i];

		if (rec->type == SPOOL_INTAKE)
			n_of[rec->ticket] = ++n;
		undone[n_of[rec->ticket]] = rec->type == SPOOL_INTAKE;
		if (rec->type == SPOOL_EVENT)
			events[n_of[rec->ticket]] = 1;
	}
}

static void
write_segment(const struct run *run, size_t cut, bool padded)
{
	char path[100];
	int fd;

	remove_tree(dir);
	assert_int_equal(mkdir(dir, 0700), 0);
	snprintf(path, sizeof(path), "%s/0", dir);
	assert_int_equal(mkdir(path, 0700), 0);
	strcat(path, "/0000000000000001.seg");
	fd = open(path, O_WRONLY | O_CREAT, 0600);
	assert_int_equal(write(fd, run->bytes, cut), (ssize_t)cut);
	if (padded)
		assert_int_equal(ftruncate(fd, (off_t)run->size), 0);
	close(fd);
}

static void
check_cut(const struct run *run, size_t cut, bool padded)
{
	unsigned char events[RUN + 1], undone[RUN + 1], seen[RUN + 3] = {0}, again[RUN + 1] = {0};
	struct journal_writer_stats ws;
	struct journal_reader_stats rs;
	struct journal_writer *w;
	struct journal_reader *r;

	write_segment(run, cut, padded);
	expect_run(run, cut, events, undone);
	w = writer();
	replay(w);
	for (unsigned int i = 0; i < replayed_count; i++)
		again[replayed[i]]++;
	assert_memory_equal(again, undone, RUN + 1);
	send_events(w, RUN + 1, RUN + 2); /* and it goes on */
	r = reader();
	read_marks(r, seen, RUN + 3);
	assert_memory_equal(seen, events, RUN + 1);
	assert_int_equal(seen[RUN + 1] + seen[RUN + 2], 2);
	journal_reader_stats(r, &rs);
	assert_int_equal(rs.damaged_records, 0);
	journal_writer_stats(w, &ws);
	assert_int_equal(ws.damaged_records, 0);
	journal_reader_close(&r);
	journal_writer_close(&w);
}

static void
every_crash_state_recovers(void **state)
{
	struct run run;

	log_set_fd(open("/dev/null", O_WRONLY));
	record_run(&run);
	assert_true(run.count > RUN + 20);
	for (size_t i = 0; i < run.count; i++) {
		size_t start = run.records[i].offset, len = run.records[i].end - start;
		const size_t cuts[] = {0, 3, 13, 40, len / 2, len - 9};

		for (size_t k = 0; k < sizeof(cuts) / sizeof(*cuts); k++)
			if (cuts[k] < len)
				check_cut(&run, start + cuts[k], (i + k) % 2);
	}
	check_cut(&run, run.used, false);
	check_cut(&run, run.used, true);
	check_cut(&run, 0, false);
	check_cut(&run, 0, true);
	check_cut(&run, 30, false);
	free(run.bytes);
	log_set_fd(-1);
}

/* ---- damage ---- */

static void
flip(struct run *run, size_t offset, size_t len)
{
	for (size_t i = 0; i < len; i++)
		run->bytes[offset + i] ^= 0x5a;
}

/* Records from..to-1 are spoilt: all others come back, and the count is exact. */
static void
check_damage(const struct run *run, size_t from, size_t to)
{
	unsigned char seen[RUN + 2] = {0};
	struct journal_writer_stats ws;
	struct journal_reader_stats rs;
	unsigned int events = 0;
	struct journal_writer *w;
	struct journal_reader *r;

	write_segment(run, run->used, true);
	w = writer();
	journal_writer_stats(w, &ws);
	assert_int_equal(ws.damaged_records, to - from);
	assert_int_equal(ws.damaged_regions, 1);
	r = reader();
	send_events(w, RUN + 1, RUN + 1);
	read_marks(r, seen, RUN + 2);
	for (size_t i = 0; i < run->count; i++)
		if (run->records[i].type == SPOOL_EVENT && (i < from || i >= to))
			events++;
	for (unsigned int n = 1; n <= RUN; n++)
		events -= seen[n];
	assert_int_equal(events, 0);
	assert_int_equal(seen[RUN + 1], 1);
	journal_reader_stats(r, &rs);
	assert_int_equal(rs.damaged_records, to - from);
	assert_int_equal(rs.damaged_regions, 1);
	journal_reader_close(&r);
	journal_writer_close(&w);
}

static void
damage_is_skipped_and_counted(void **state)
{
	struct run run;

	log_set_fd(open("/dev/null", O_WRONLY));
	record_run(&run);
	for (size_t i = 0; i + 4 < run.count; i += 3) {
		size_t start = run.records[i].offset, end = run.records[i + 2].end;

		flip(&run, start + 50, 1); /* payload */
		check_damage(&run, i, i + 1);
		flip(&run, start + 50, 1);
		flip(&run, start, 1); /* magic */
		check_damage(&run, i, i + 1);
		flip(&run, start, 1);
		flip(&run, start + 5, 2); /* length, far too long */
		check_damage(&run, i, i + 1);
		flip(&run, start + 5, 2);
		flip(&run, start + 1, end - start - 1); /* three in a row */
		check_damage(&run, i, i + 3);
		flip(&run, start + 1, end - start - 1);
	}
	free(run.bytes);
	log_set_fd(-1);
}

static void
flip_file(const char *name, off_t offset)
{
	int d = slot_dir(), fd = openat(d, name, O_RDWR);
	uint8_t b;

	assert_int_equal(pread(fd, &b, 1, offset), 1);
	b ^= 0xff;
	assert_int_equal(pwrite(fd, &b, 1, offset), 1);
	close(fd);
	close(d);
}

static bool
slot_has(const char *name)
{
	int d = slot_dir(), rc = faccessat(d, name, F_OK, 0);

	close(d);
	return rc == 0;
}

static void
damage_at_the_end_of_a_segment_is_counted(void **state)
{
	struct journal_writer *w;
	struct journal_reader *r;
	struct journal_writer_stats ws;
	struct journal_reader_stats rs;
	struct spool_record rec, last = {0};
	struct spool_cursor c;
	int fd;

	log_set_fd(open("/dev/null", O_WRONLY));
	opts.segment_size = 16384;
	w = writer();
	send_events(w, 1, 100);
	journal_writer_close(&w);
	fd = slot_dir();
	assert_int_equal(spool_cursor_open(&c, fd, 1), 0);
	while (spool_next(&c, true, &rec) == SPOOL_RECORD)
		last = rec;
	spool_cursor_close(&c);
	close(fd);
	flip_file("0000000000000001.seg", (off_t)last.offset + 20);

	w = writer();
	journal_writer_stats(w, &ws);
	assert_int_equal(ws.damaged_records, 1);
	r = reader();
	unsigned char seen[101] = {0};
	read_marks(r, seen, 101);
	journal_reader_stats(r, &rs);
	assert_int_equal(rs.damaged_records, 1);
	assert_int_equal(journal_commit(r), 0);
	journal_reader_close(&r);
	replay(w); /* perhaps it was an EVENT */
	for (unsigned int i = 0; i < replayed_count; i++)
		assert_int_equal(journal_done(w, replayed_ticket[i]), 0);
	journal_writer_close(&w);
	w = writer(); /* reclaims, but not what a person should look at */
	assert_false(slot_has("0000000000000001.seg"));
	assert_true(slot_has("0000000000000001.seg.damaged"));
	journal_writer_close(&w);
	log_set_fd(-1);
}

/* Nothing seals the newest segment of an idle writer, yet its events must not wait for ever. */
static void
damage_in_a_living_segment_does_not_stop_the_reader(void **state)
{
	struct journal_writer *w = writer();
	struct journal_reader *r = reader();
	struct journal_reader_stats st;
	unsigned char seen[21] = {0};
	unsigned int got;

	log_set_fd(open("/dev/null", O_WRONLY));
	send_events(w, 1, 20);
	flip_file("0000000000000001.seg", SPOOL_SEG_HEADER + 40); /* the first intake */
	got = read_marks(r, seen, 21);
	assert_int_equal(got, 0); /* may be half written, as far as one can see */
	while ((got += read_marks(r, seen, 21)) < 20)
		run_loop();
	journal_reader_stats(r, &st);
	assert_int_equal(st.damaged_records, 1);
	journal_reader_close(&r);
	journal_writer_close(&w);
	log_set_fd(-1);
}

/* The log says where, so that a person can look. */
static void
damage_is_logged_with_its_place(void **state)
{
	char text[2000] = "";
	FILE *log = tmpfile();
	struct journal_writer *w = writer();

	send_events(w, 1, 3);
	journal_writer_close(&w);
	flip_file("0000000000000001.seg", SPOOL_SEG_HEADER + 40);
	log_set_fd(fileno(log));
	w = writer();
	log_set_fd(-1);
	journal_writer_close(&w);
	rewind(log);
	assert_true(fread(text, 1, sizeof(text) - 1, log) > 0);
	fclose(log);
	assert_non_null(strstr(text, "journal.damaged"));
	assert_non_null(strstr(text, "/0/0000000000000001.seg offset=64 "));
	assert_non_null(strstr(text, "records=1"));
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
	    TEST(every_crash_state_recovers),
	    TEST(damage_is_skipped_and_counted),
	    TEST(damage_at_the_end_of_a_segment_is_counted),
	    TEST(damage_in_a_living_segment_does_not_stop_the_reader),
	    TEST(damage_is_logged_with_its_place),
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
