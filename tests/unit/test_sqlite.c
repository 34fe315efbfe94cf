/* SPDX-License-Identifier: ISC */
/*
 * What only a file can show: a database of a newer server, one of an older, one that
 * vanished, and a file system that is really full.  The rules of store.h are in
 * tests/contract/test_store.c.
 */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <unistd.h>

#include <cmocka.h>

#include "lib/log.h"
#include "model/error.h"
#include "store/sqlite.h"

#define CONV    "cnv_01jx3kq5v8z6w9y2m4t7r0p1nb"
#define BATCH   100
#define BATCHES 100 /* of 64 KB: more than the file system holds */

static char dir[64], where[96];
static FILE *log_file;

static int
setup(void **state)
{
	strcpy(dir, "/tmp/palaver-sqlite.XXXXXX");
	if (!mkdtemp(dir))
		return -1;
	snprintf(where, sizeof(where), "%s/store", dir);
	log_file = tmpfile();
	log_set_fd(fileno(log_file));
	return 0;
}

static int
teardown(void **state)
{
	static const char *const names[] = {"", "-wal", "-shm", ".lock"};
	char path[128];

	log_set_fd(-1);
	fclose(log_file);
	for (size_t i = 0; i < sizeof(names) / sizeof(*names); i++) {
		snprintf(path, sizeof(path), "%s%s", where, names[i]);
		unlink(path);
	}
	return rmdir(dir);
}

static bool
logged(const char *word)
{
	char text[16 * 1024];
	ssize_t n = pread(fileno(log_file), text, sizeof(text) - 1, 0);

	assert_true(n >= 0);
	text[n] = '\0';
	return strstr(text, word) != NULL;
}

static int
version(const char *set)
{
	sqlite3_stmt *st;
	sqlite3 *db;
	int v;

	assert_int_equal(sqlite3_open(where, &db), SQLITE_OK);
	assert_int_equal(sqlite3_exec(db, set, NULL, NULL, NULL), SQLITE_OK);
	assert_int_equal(sqlite3_prepare_v2(db, "PRAGMA user_version", -1, &st, NULL), SQLITE_OK);
	assert_int_equal(sqlite3_step(st), SQLITE_ROW);
	v = sqlite3_column_int(st, 0);
	sqlite3_finalize(st);
	sqlite3_close(db);
	return v;
}

static void
a_database_of_a_newer_server_is_left_alone(void **state)
{
	assert_int_equal(store_sqlite.prepare(where), 0);
	assert_int_equal(version("PRAGMA user_version=999"), 999);
	assert_true(store_sqlite.prepare(where) < 0);
	assert_true(logged("store.too_new"));
	assert_int_equal(version(""), 999);
}

static void
a_handle_does_not_make_an_empty_database(void **state)
{
	assert_null(store_sqlite.open_handle(where));
	assert_int_equal(access(where, F_OK), -1);
	assert_int_equal(store_sqlite.prepare("/nonexistent/store"), ERR_UNAVAILABLE);
}

static struct store_req *
make_batch(int batch)
{
	struct store_req *req = store_req_new(STORE_APPLY, NULL, NULL);
	char data[640];

	memset(data, 'x', sizeof(data));
	for (int i = 0; i < BATCH; i++) {
		struct event *ev =
		    event_new(EVENT_MESSAGE_CREATED, CONV, "usr_1", "", data, sizeof(data));

		store_req_add_event(req, event_numbered(ev, (uint64_t)(batch * BATCH + i + 1), 1));
		event_unref(&ev);
	}
	return req;
}

/* Whole batches, and as many as were said to be there. */
static void
check_count(void *h, int batches)
{
	struct store_req *req = store_req_new(STORE_EVENTS, NULL, NULL);

	str_copy(req->id, sizeof(req->id), CONV);
	req->limit = (size_t)BATCH * BATCHES;
	assert_int_equal(store_run(&store_sqlite, h, req), 0);
	assert_int_equal(req->event_count, batches * BATCH);
	store_req_free(&req);
}

/* What version 6 made is taken away, so this is what a server of version 5 left. */
static void
a_database_of_version_5_gets_files_and_keeps_the_rest(void **state)
{
	struct store_req *req = make_batch(0);
	void *h;

	assert_int_equal(store_sqlite.prepare(where), 0);
	assert_int_equal(version("DROP TABLE files; PRAGMA user_version=5"), 5);
	h = store_sqlite.open_handle(where);
	assert_int_equal(store_run(&store_sqlite, h, req), 0);
	store_req_free(&req);
	store_sqlite.close_handle(h);
	assert_int_equal(store_sqlite.prepare(where), 0);
	assert_int_equal(version(""), 6);
	assert_true(logged("store.upgrade"));
	h = store_sqlite.open_handle(where);
	check_count(h, 1);
	req = store_req_new(STORE_FILES_SWEEP, NULL, NULL);
	req->limit = 1;
	assert_int_equal(store_run(&store_sqlite, h, req), 0);
	store_req_free(&req);
	store_sqlite.close_handle(h);
}

static void
fill(void)
{
	void *h = store_sqlite.open_handle(where);
	struct store_req *req;
	int batches = 0, err;

	assert_non_null(h);
	do {
		req = make_batch(batches);
		err = store_run(&store_sqlite, h, req);
		batches += !err;
		store_req_free(&req);
	} while (!err && batches < BATCHES);
	assert_int_equal(err, ERR_STORAGE_FULL);
	assert_true(batches > 0);
	check_count(h, batches);
	assert_int_equal(mount(NULL, dir, NULL, MS_REMOUNT, "size=32m"), 0); /* space again */
	req = make_batch(batches);
	assert_int_equal(store_run(&store_sqlite, h, req), 0);
	store_req_free(&req);
	store_sqlite.close_handle(h);
	h = store_sqlite.open_handle(where);
	assert_non_null(h);
	check_count(h, batches + 1);
	store_sqlite.close_handle(h);
}

static int
unmount(void **state)
{
	umount2(dir, MNT_DETACH); /* nothing there where the test was skipped */
	return teardown(state);
}

static void
a_full_file_system_loses_nothing_that_was_confirmed(void **state)
{
	if (mount("tmpfs", dir, "tmpfs", 0, "size=2m") < 0) {
		/* Not skip(): cmocka says "not ok # SKIP", which Automake counts as a failure. */
		print_message("# SKIP a full disk needs root and mount(2): %s\n", strerror(errno));
		return;
	}
	assert_int_equal(store_sqlite.prepare(where), 0);
	fill();
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test_setup_teardown(
		a_database_of_a_newer_server_is_left_alone, setup, teardown),
	    cmocka_unit_test_setup_teardown(
		a_database_of_version_5_gets_files_and_keeps_the_rest, setup, teardown),
	    cmocka_unit_test_setup_teardown(
		a_handle_does_not_make_an_empty_database, setup, teardown),
	    cmocka_unit_test_setup_teardown(
		a_full_file_system_loses_nothing_that_was_confirmed, setup, unmount),
	};

	log_init("test", -1, LOG_TO_STDERR, LOG_LVL_INFO);
	cmocka_set_message_output(CM_OUTPUT_TAP);
	return cmocka_run_group_tests_name("sqlite", tests, NULL, NULL);
}
