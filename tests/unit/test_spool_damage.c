/* SPDX-License-Identifier: ISC */
/* The spool on disk after a crash at any byte, and with bytes that went bad. */
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "journal/journal.h"
#include "journal/spool.h"
#include "lib/log.h"
#include "lib/loop.h"

#include "../lib/spool_help.h"

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

int
main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
	const struct CMUnitTest tests[] = {
	    TEST(every_crash_state_recovers),
	    TEST(damage_is_skipped_and_counted),
	    TEST(damage_at_the_end_of_a_segment_is_counted),
	    TEST(damage_in_a_living_segment_does_not_stop_the_reader),
	    TEST(damage_is_logged_with_its_place),
	};
#undef TEST

	loop_init();
	log_init("test", -1, LOG_TO_STDERR, LOG_LVL_ERROR);
	cmocka_set_message_output(CM_OUTPUT_TAP);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
