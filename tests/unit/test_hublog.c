/* SPDX-License-Identifier: ISC */
/* hublog: the hub's memory after kill -9, a new boot, damage, a full disk. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include <fcntl.h>
#include <sys/mount.h>
#include <sys/stat.h>

#include "hub/hublog.h"
#include "model/error.h"

#define CNV  "cnv_01234567890123456789abcdef"
#define USR  "usr_01234567890123456789abcdef"
#define WALL 1000

static char dir[64], path[160], boot[96];
static struct roster roster;

static void
write_boot(const char *id)
{
	FILE *f = fopen(boot, "w");

	fputs(id, f);
	fclose(f);
}

static bool
open_log(struct window *w, struct hublog **log, size_t compact_min)
{
	struct hublog_opts o = {.path = path, .boot_id_path = boot, .compact_min = compact_min};
	bool lift;

	memset(w, 0, sizeof(*w));
	memset(&roster, 0, sizeof(roster));
	assert_int_equal(hublog_open(&o, w, &roster, log, &lift), 0);
	return lift;
}

static uint64_t
submit(struct window *w, struct hublog *log, const char *client_id)
{
	struct event *ev = event_new(EVENT_MESSAGE_CREATED, CNV, USR, client_id, "{}", 2);
	struct window_entry *e;
	struct window_conv *c;
	bool dup;

	assert_int_equal(window_submit(w, ev, WALL, 0, &c, &e, &dup), 0);
	event_unref(&ev);
	if (!dup)
		hublog_event(log, e->ev);
	return e->ev->seq;
}

/* What kill -9 leaves: the file as it is. */
static void
forget(struct window *w, struct hublog **log)
{
	hublog_close(log);
	window_fini(w);
	roster_fini(&roster);
}

static void
numbers_go_on_after_a_kill(void **state)
{
	struct hublog *log;
	struct window w;

	unlink(path);
	assert_true(open_log(&w, &log, 1 << 20)); /* no file: nothing is known */
	assert_true(submit(&w, log, "a") == WALL + 1);
	assert_true(submit(&w, log, "b") == WALL + 2);
	assert_int_equal(hublog_write(log), 0);
	submit(&w, log, "never written");
	forget(&w, &log);
	assert_false(open_log(&w, &log, 1 << 20));
	assert_true(submit(&w, log, "b") == WALL + 2);
	assert_true(submit(&w, log, "c") == WALL + 3);
	hublog_write(log);
	hublog_archived(log, CNV, WALL + 1);
	hublog_write(log);
	forget(&w, &log);
	assert_false(open_log(&w, &log, 1 << 20));
	assert_true(window_find(&w, CNV)->entries->archived);
	assert_false(window_find(&w, CNV)->entries->next->archived);
	forget(&w, &log);
}

static void
a_torn_end_is_cut_at_every_byte(void **state)
{
	struct hublog *log;
	struct window w;
	struct stat st;
	off_t base;

	for (off_t cut = 1;; cut++) {
		unlink(path);
		open_log(&w, &log, 1 << 20);
		submit(&w, log, "a");
		hublog_write(log);
		stat(path, &st);
		base = st.st_size;
		submit(&w, log, "b");
		hublog_write(log);
		stat(path, &st);
		forget(&w, &log);
		if (cut >= st.st_size - base)
			break;
		assert_int_equal(truncate(path, st.st_size - cut), 0);
		assert_false(open_log(&w, &log, 1 << 20));
		assert_int_equal(w.entry_count, 1);
		assert_true(submit(&w, log, "c") == WALL + 2);
		forget(&w, &log);
	}
}

static void
a_new_boot_lifts_the_numbers(void **state)
{
	struct hublog *log;
	struct window w;

	unlink(path);
	open_log(&w, &log, 1 << 20);
	submit(&w, log, "a");
	hublog_write(log);
	forget(&w, &log);
	write_boot("22222222-2222-2222-2222-222222222222");
	assert_true(open_log(&w, &log, 1 << 20));
	assert_true(window_find(&w, CNV)->head > 1000000000000);
	forget(&w, &log);
	assert_false(open_log(&w, &log, 1 << 20)); /* and the lift is remembered */
	assert_true(submit(&w, log, "b") > 1000000000000);
	forget(&w, &log);
}

static void
damage_lifts_and_keeps_what_is_good(void **state)
{
	struct hublog *log;
	struct window w;
	struct stat st;
	char byte = 'X';
	int fd;

	unlink(path);
	open_log(&w, &log, 1 << 20);
	submit(&w, log, "a");
	hublog_write(log);
	stat(path, &st);
	submit(&w, log, "b");
	hublog_write(log);
	forget(&w, &log);
	fd = open(path, O_WRONLY);
	assert_int_equal(pwrite(fd, &byte, 1, st.st_size + 20), 1);
	close(fd);
	assert_true(open_log(&w, &log, 1 << 20));
	assert_int_equal(w.entry_count, 1);
	assert_true(window_find(&w, CNV)->head > 1000000000000);
	forget(&w, &log);
}

/* Whoever was told of as being there, and since when there was no client. */
static void
presence_goes_on_after_a_kill(void **state)
{
	const struct roster_time t = {.delay_ms = 10000, .mono_ms = 1, .wall_ms = 5000};
	struct roster_user *u;
	struct hublog *log;
	struct window w;

	unlink(path);
	open_log(&w, &log, 1 << 20);
	assert_true(hublog_written_ms(log) == 0);
	for (int i = 0; i < 3; i++) {
		char id[ID_MAX];

		snprintf(id, sizeof(id), "usr_%d", i);
		u = roster_set(&roster, id, 1, PRESENCE_ONLINE, &t);
		roster_hand_over(&roster, u, 1);
		hublog_presence(log, roster_confirm(&roster, id, 1, PRESENCE_ONLINE));
	}
	u = roster_set(&roster, "usr_1", 1, PRESENCE_OFFLINE, &t);
	hublog_presence(log, u);
	u = roster_set(&roster, "usr_2", 1, PRESENCE_OFFLINE, &t);
	roster_hand_over(&roster, u, 1);
	hublog_presence(log, roster_confirm(&roster, "usr_2", 1, PRESENCE_OFFLINE));
	assert_int_equal(hublog_write(log), 0);
	forget(&w, &log);
	for (int round = 0; round < 2; round++) { /* the second one reads what was rewritten */
		assert_false(open_log(&w, &log, 1 << 20));
		assert_true(hublog_written_ms(log) > 1000000000000);
		assert_int_equal(HASH_COUNT(roster.users), 2);
		u = roster_find(&roster, "usr_0");
		assert_true(u->told == PRESENCE_ONLINE && u->gone_ms == 0);
		u = roster_find(&roster, "usr_1");
		assert_true(u->told == PRESENCE_ONLINE && u->gone_ms == 5000);
		forget(&w, &log);
	}
}

static void
compaction_keeps_everything(void **state)
{
	struct hublog *log;
	struct window w;
	struct stat st;
	char id[24];

	unlink(path);
	open_log(&w, &log, 4096);
	for (int i = 0; i < 2000; i++) {
		snprintf(id, sizeof(id), "%d", i);
		submit(&w, log, id);
		if (i < 1990)
			window_archived(&w, CNV, WALL + 1 + (uint64_t)i, 0);
	}
	hublog_write(log);
	assert_int_equal(window_trim(&w, WINDOW_KEEP_MS), 1990);
	assert_int_equal(hublog_compact(log, &w, &roster), 0);
	stat(path, &st);
	assert_in_range(st.st_size, 100, 8192);
	submit(&w, log, "after");
	hublog_write(log);
	forget(&w, &log);
	assert_false(open_log(&w, &log, 4096));
	assert_int_equal(w.entry_count, 11);
	assert_true(window_find(&w, CNV)->floor == WALL + 1990);
	assert_true(window_find(&w, CNV)->head == WALL + 2001);
	forget(&w, &log);
}

static void
a_full_disk_keeps_the_file_good(void **state)
{
	char small[96], keep[160], *data = malloc(60000);
	struct hublog *log;
	struct window w;
	int err = 0, n = 0;

	snprintf(small, sizeof(small), "%s/small", dir);
	mkdir(small, 0700);
	if (geteuid() != 0 || mount("tmpfs", small, "tmpfs", 0, "size=256k") < 0) {
		print_message("# SKIP no tmpfs can be mounted here\n");
		rmdir(small);
		free(data);
		return;
	}
	memset(data, ' ', 60000);
	data[0] = '{';
	data[59999] = '}';
	strcpy(keep, path);
	snprintf(path, sizeof(path), "%s/hub.log", small);
	open_log(&w, &log, 1 << 20);
	while (!err && n < 100) {
		struct event *ev = event_new(EVENT_MESSAGE_CREATED, CNV, USR, "", data, 60000);
		struct window_entry *e;
		struct window_conv *c;
		bool dup;

		window_submit(&w, ev, WALL, 0, &c, &e, &dup);
		hublog_event(log, e->ev);
		err = hublog_write(log);
		if (err)
			window_take_back(&w, c);
		else
			n++;
		event_unref(&ev);
	}
	assert_int_equal(err, ERR_STORAGE_FULL);
	assert_in_range(n, 1, 4);
	assert_true(submit(&w, log, "small") == WALL + 1 + (uint64_t)n);
	assert_int_equal(hublog_write(log), 0); /* there is room for a small one */
	hublog_close(&log);
	window_fini(&w);
	umount(small);
	rmdir(small);
	strcpy(path, keep);
	free(data);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(numbers_go_on_after_a_kill),
	    cmocka_unit_test(a_torn_end_is_cut_at_every_byte),
	    cmocka_unit_test(a_new_boot_lifts_the_numbers),
	    cmocka_unit_test(damage_lifts_and_keeps_what_is_good),
	    cmocka_unit_test(presence_goes_on_after_a_kill),
	    cmocka_unit_test(compaction_keeps_everything),
	    cmocka_unit_test(a_full_disk_keeps_the_file_good),
	};
	int failed;

	strcpy(dir, "/tmp/palaver-hublog-XXXXXX");
	if (!mkdtemp(dir))
		return 99;
	snprintf(path, sizeof(path), "%s/hub.log", dir);
	snprintf(boot, sizeof(boot), "%s/boot_id", dir);
	write_boot("11111111-1111-1111-1111-111111111111");
	cmocka_set_message_output(CM_OUTPUT_TAP);
	failed = cmocka_run_group_tests(tests, NULL, NULL);
	unlink(path);
	unlink(boot);
	rmdir(dir);
	return failed;
}
