/* SPDX-License-Identifier: ISC */
/* content: written, read and removed files, and what is left when somebody goes. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include <dirent.h>
#include <fcntl.h>
#include <ftw.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "lib/id.h"
#include "lib/loop.h"
#include "model/error.h"
#include "store/content.h"

#define MANY 5000 /* more than may wait */

static char root[64], dir[96];
static char id[ID_MAX]; /* a new one for each test */
static struct content *content;

/* ---- waiting for answers ---- */

static int answers, last_err;
static struct buf got;

static void
answered(void *arg, int err)
{
	assert_ptr_equal(arg, &answers);
	answers++;
	last_err = err;
	loop_stop();
}

static void
read_some(void *arg, int err, const void *data, size_t len)
{
	buf_append(&got, data, len);
	answered(arg, err);
}

static void
never(void *arg, int err)
{
	fail_msg("called back after the close, err=%d", err);
}

static void
read_never(void *arg, int err, const void *data, size_t len)
{
	never(arg, err);
}

/* The err of the call, or else of its callback. */
static int
await(int err)
{
	int before = answers;

	if (err)
		return err;
	assert_int_equal(answers, before); /* later, not in the call */
	loop_run();
	assert_int_equal(answers, before + 1);
	return last_err;
}

static int
put(struct content_writer *w, const void *data, size_t len)
{
	struct buf b;
	int err;

	buf_init(&b);
	buf_append(&b, data, len);
	err = content_write(w, &b, answered, &answers);
	if (!err)
		assert_int_equal(b.len, 0);
	buf_fini(&b);
	return await(err);
}

static void
keep(const char *text)
{
	struct content_writer *w = content_create(content, id);

	assert_int_equal(put(w, text, strlen(text)), 0);
	assert_int_equal(await(content_commit(w, answered, &answers)), 0);
	content_writer_close(&w);
	assert_null(w);
}

static int
get(uint64_t offset, size_t len)
{
	struct content_reader *r = content_reader_open(content, id);
	int err;

	buf_clear(&got);
	err = await(content_read(r, offset, len, read_some, &answers));
	content_reader_close(&r);
	return err;
}

static int
forget(void)
{
	return await(content_remove(content, id, answered, &answers));
}

/* ---- what is on the disk ---- */

static int files;

static int
count_file(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
	files += type == FTW_F;
	if (type != FTW_NS) /* gone meanwhile */
		assert_int_equal(st->st_mode & 07777, type == FTW_F ? 0600 : 0700);
	return 0;
}

static int
file_count(void)
{
	files = 0;
	assert_int_equal(nftw(root, count_file, 8, FTW_PHYS), 0);
	return files;
}

static const char *
whole_path(void)
{
	static char path[192];

	snprintf(path, sizeof(path), "%s/%s/%s", dir, id + strlen(id) - 2, id);
	return path;
}

static void
wake(struct ev_loop *l, ev_timer *w, int revents)
{
	loop_stop();
}

/*
 * Until as many are there: clean-ups call nobody back.  Twice in a row, because a walk may
 * miss what is renamed meanwhile.
 */
static void
settle(int want)
{
	int in_a_row = 0;
	ev_timer t;

	for (int i = 0; i < 2000 && in_a_row < 2; i++) {
		in_a_row = file_count() == want ? in_a_row + 1 : 0;
		ev_timer_init(&t, wake, 0.005, 0);
		ev_timer_start(loop_ev(), &t);
		loop_run();
		ev_timer_stop(loop_ev(), &t);
	}
	assert_int_equal(in_a_row, 2);
}

static int
remove_one(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
	return remove(path);
}

static int
setup(void **state)
{
	strcpy(root, "/tmp/palaver-content-XXXXXX");
	assert_non_null(mkdtemp(root));
	snprintf(dir, sizeof(dir), "%s/files", root);
	content = content_open(dir, 3);
	assert_non_null(content);
	buf_init(&got);
	id_new(id, "fil");
	return 0;
}

static int
teardown(void **state)
{
	content_close(&content);
	buf_fini(&got);
	return nftw(root, remove_one, 8, FTW_PHYS | FTW_DEPTH);
}

/* ---- tests ---- */

static void
what_was_written_is_read_by_ranges(void **state)
{
	struct content_writer *w = content_create(content, id);
	struct content_reader *r;

	assert_int_equal(put(w, "one ", 4), 0);
	assert_int_equal(put(w, "", 0), 0);
	assert_int_equal(put(w, "two ", 4), 0);
	assert_int_equal(put(w, "three", 5), 0);
	assert_int_equal(access(whole_path(), F_OK), -1);
	assert_int_equal(get(0, 4), ERR_NOT_FOUND); /* before the commit */
	assert_int_equal(await(content_commit(w, answered, &answers)), 0);
	content_writer_close(&w);
	assert_int_equal(file_count(), 1);
	r = content_reader_open(content, id);
	buf_clear(&got);
	assert_int_equal(await(content_read(r, 4, 4, read_some, &answers)), 0);
	assert_string_equal(buf_cstr(&got), "two ");
	assert_int_equal(await(content_read(r, 0, 4, read_some, &answers)), 0);
	assert_string_equal(buf_cstr(&got), "two one ");
	assert_int_equal(await(content_read(r, 8, CONTENT_READ_MAX, read_some, &answers)), 0);
	assert_string_equal(buf_cstr(&got), "two one three");
	assert_int_equal(await(content_read(r, 13, 1, read_some, &answers)), 0);
	assert_int_equal(await(content_read(r, 1000, 1, read_some, &answers)), 0);
	assert_int_equal(await(content_read(r, UINT64_MAX, 2, read_some, &answers)), 0);
	assert_int_equal(await(content_read(r, 0, 0, read_some, &answers)), 0);
	assert_int_equal(got.len, 13);
	content_reader_close(&r);
}

static void
a_large_file_arrives_as_it_was(void **state)
{
	struct buf all;
	struct content_writer *w;

	buf_init(&all);
	buf_reserve(&all, 3 * CONTENT_READ_MAX + 7);
	all.len = 3 * CONTENT_READ_MAX + 7;
	random_bytes(all.data, all.len);
	w = content_create(content, id);
	for (size_t at = 0, n; at < all.len; at += n) {
		n = all.len - at < 100000 ? all.len - at : 100000;
		assert_int_equal(put(w, all.data + at, n), 0);
	}
	assert_int_equal(await(content_commit(w, answered, &answers)), 0);
	content_writer_close(&w);
	for (size_t at = 0; at < all.len; at += CONTENT_READ_MAX) {
		assert_int_equal(get(at, CONTENT_READ_MAX), 0);
		assert_memory_equal(got.data, all.data + at, got.len);
		assert_int_equal(got.len, at + CONTENT_READ_MAX > all.len ? 7 : CONTENT_READ_MAX);
	}
	buf_fini(&all);
}

static void
an_empty_file_is_a_file(void **state)
{
	struct content_writer *w = content_create(content, id);

	assert_int_equal(await(content_commit(w, answered, &answers)), 0);
	content_writer_close(&w);
	assert_int_equal(get(0, 10), 0);
	assert_int_equal(got.len, 0);
	assert_int_equal(file_count(), 1);
}

static void
without_a_commit_nothing_is_left(void **state)
{
	struct content_writer *w = content_create(content, id);

	assert_int_equal(file_count(), 0);
	content_writer_close(&w);
	w = content_create(content, id);
	assert_int_equal(put(w, "text", 4), 0);
	assert_int_equal(file_count(), 1);
	content_writer_close(&w);
	settle(0);
	assert_int_equal(get(0, 4), ERR_NOT_FOUND);
}

static void
go_while_it_is_under_way(bool committing, bool all)
{
	struct content_writer *w = content_create(content, id);
	struct buf b;

	buf_init(&b);
	memset(buf_reserve(&b, 4 << 20), 'x', 4 << 20);
	b.len = 4 << 20;
	if (committing) {
		assert_int_equal(put(w, "text", 4), 0);
		assert_int_equal(content_commit(w, never, NULL), 0);
	} else {
		assert_int_equal(content_write(w, &b, never, NULL), 0);
	}
	content_writer_close(&w);
	if (all) {
		content_close(&content);
		assert_int_equal(file_count(), 0);
		content = content_open(dir, 3);
	}
	settle(0);
	buf_fini(&b);
}

static void
close_while_a_write_is_under_way(void **state)
{
	go_while_it_is_under_way(false, false);
	go_while_it_is_under_way(false, true);
}

/* Nobody knows that it is there, so it would stay for good. */
static void
close_while_a_commit_is_under_way_takes_it_back(void **state)
{
	for (int i = 0; i < 20; i++) {
		go_while_it_is_under_way(true, false);
		go_while_it_is_under_way(true, true);
	}
}

static void
a_reader_may_go_while_it_reads(void **state)
{
	struct content_reader *r;

	keep("text");
	for (int i = 0; i < 2; i++) {
		r = content_reader_open(content, id);
		assert_int_equal(content_read(r, 0, 4, read_never, NULL), 0);
		content_reader_close(&r);
		if (i)
			content_close(&content);
	}
	content = content_open(dir, 3);
	assert_int_equal(get(0, 4), 0);
}

/* Handles may outlive what they came from; they can only be closed then. */
static void
content_may_go_before_its_handles(void **state)
{
	struct content_writer *w, *idle, *whole;
	struct content_reader *r;
	char other[ID_MAX];

	keep("text");
	id_new(other, "fil");
	w = content_create(content, other);
	assert_int_equal(put(w, "text", 4), 0);
	id_new(other, "fil");
	idle = content_create(content, other);
	id_new(other, "fil");
	whole = content_create(content, other);
	assert_int_equal(await(content_commit(whole, answered, &answers)), 0);
	r = content_reader_open(content, id);
	assert_int_equal(await(content_read(r, 0, 4, read_some, &answers)), 0);
	assert_int_equal(content_read(r, 0, 4, read_never, NULL), 0);
	content_close(&content);
	assert_int_equal(file_count(), 2);
	buf_clear(&got);
	buf_puts(&got, "more");
	assert_int_equal(content_write(w, &got, never, NULL), ERR_UNAVAILABLE);
	assert_int_equal(got.len, 4); /* not taken */
	assert_int_equal(content_read(r, 0, 4, read_never, NULL), ERR_UNAVAILABLE);
	content_writer_close(&w);
	content_writer_close(&idle);
	content_writer_close(&whole);
	content_reader_close(&r);
	content = content_open(dir, 3);
	assert_int_equal(file_count(), 2);
}

/* More wait than may; those that wait when all is closed are not called back. */
static void
too_many_at_once_are_refused(void **state)
{
	struct content_writer *w = content_create(content, id);
	int err = 0, n = 0;

	assert_int_equal(put(w, "text", 4), 0);
	while (!err && n < MANY) {
		err = content_remove(content, id, never, NULL);
		n += !err;
	}
	assert_int_equal(err, ERR_OVERLOADED);
	assert_in_range(n, 100, MANY - 1);
	buf_puts(&got, "more");
	assert_int_equal(content_write(w, &got, never, NULL), ERR_OVERLOADED);
	assert_int_equal(got.len, 4);
	assert_int_equal(content_commit(w, never, NULL), ERR_OVERLOADED);
	content_writer_close(&w); /* what cleans up is taken all the same */
	content_close(&content);
	assert_int_equal(file_count(), 0);
}

static void
write_file(const char *path)
{
	int fd = open(path, O_WRONLY | O_CREAT, 0600);

	assert_int_equal(write(fd, "text", 4), 4);
	close(fd);
}

static void
what_a_dead_worker_left_goes_and_a_neighbours_stays(void **state)
{
	char path[192];
	struct content *other;

	keep("text");
	content_close(&content);
	snprintf(path, sizeof(path), "%s/new.3/%s", dir, id);
	write_file(path);
	other = content_open(dir, 30);
	snprintf(path, sizeof(path), "%s/new.30/%s", dir, id);
	write_file(path);
	content_close(&other);
	assert_int_equal(file_count(), 3);
	content = content_open(dir, -1);
	assert_int_equal(file_count(), 3);
	content_close(&content);
	content = content_open(dir, 3);
	assert_int_equal(file_count(), 2);
	assert_int_equal(get(0, 10), 0); /* also: whole files survive */
	assert_string_equal(buf_cstr(&got), "text");
}

static void
a_write_that_fails_is_said_and_leaves_nothing(void **state)
{
	struct rlimit was, limit;
	struct content_writer *w;
	char *data = calloc(2, 1 << 20);

	signal(SIGXFSZ, SIG_IGN);
	assert_int_equal(getrlimit(RLIMIT_FSIZE, &was), 0);
	limit = was;
	limit.rlim_cur = 1 << 20;
	w = content_create(content, id);
	assert_int_equal(put(w, data, 1000), 0);
	assert_int_equal(setrlimit(RLIMIT_FSIZE, &limit), 0);
	assert_int_equal(put(w, data, 2 << 20), ERR_UNAVAILABLE);
	assert_int_equal(setrlimit(RLIMIT_FSIZE, &was), 0);
	content_writer_close(&w);
	settle(0);
	free(data);
}

/* The other file of this name is not the writer's to remove. */
static void
an_id_that_is_being_written_is_not_taken_again(void **state)
{
	struct content_writer *first, *second;

	first = content_create(content, id);
	assert_int_equal(put(first, "text", 4), 0);
	second = content_create(content, id);
	assert_int_equal(put(second, "other", 5), ERR_UNAVAILABLE);
	content_writer_close(&second);
	assert_int_equal(await(content_commit(first, answered, &answers)), 0);
	content_writer_close(&first);
	assert_int_equal(get(0, 10), 0);
	assert_string_equal(buf_cstr(&got), "text");
}

static void
a_commit_that_fails_is_said_and_leaves_nothing(void **state)
{
	struct content_writer *w = content_create(content, id);
	char path[192];

	assert_int_equal(put(w, "text", 4), 0);
	snprintf(path, sizeof(path), "%s/%s", dir, id + strlen(id) - 2);
	write_file(path); /* where the folder should be */
	assert_int_equal(await(content_commit(w, answered, &answers)), ERR_UNAVAILABLE);
	content_writer_close(&w);
	settle(1);
	assert_int_equal(get(0, 4), ERR_UNAVAILABLE); /* ENOTDIR */
}

static void
removed_is_removed(void **state)
{
	struct content_reader *r;

	assert_int_equal(forget(), 0); /* neither file nor folder */
	keep("text");
	r = content_reader_open(content, id);
	assert_int_equal(await(content_read(r, 0, 2, read_some, &answers)), 0);
	assert_int_equal(forget(), 0);
	assert_int_equal(forget(), 0);
	assert_int_equal(file_count(), 0);
	assert_int_equal(get(0, 4), ERR_NOT_FOUND);
	buf_clear(&got); /* who reads it reads on */
	assert_int_equal(await(content_read(r, 0, 4, read_some, &answers)), 0);
	assert_string_equal(buf_cstr(&got), "text");
	content_reader_close(&r);
}

static void
what_is_no_id_is_no_path(void **state)
{
	static const char *const none[] = {"", "fil_", "..", "../../secret", "/etc/passwd",
	    "usr_01jx3kq5v8z6w9y2m4t7r0p1nb", "fil_../../../../../../../secret",
	    "fil_01jx3kq5v8z6w9y2m4t7r0p1nb/../secret"};
	char path[128];

	snprintf(path, sizeof(path), "%s/secret", root);
	write_file(path);
	for (size_t i = 0; i < sizeof(none) / sizeof(*none); i++) {
		struct content_reader *r = content_reader_open(content, none[i]);

		assert_int_equal(await(content_read(r, 0, 4, read_some, &answers)), ERR_NOT_FOUND);
		assert_int_equal(
		    await(content_remove(content, none[i], answered, &answers)), ERR_NOT_FOUND);
		content_reader_close(&r);
	}
	assert_int_equal(file_count(), 1);
}

static void
a_directory_that_cannot_be_is_said(void **state)
{
	char path[160];

	snprintf(path, sizeof(path), "%s/missing/files", root);
	assert_null(content_open(path, 0));
	snprintf(path, sizeof(path), "%s/new.5", dir);
	write_file(path);
	assert_null(content_open(dir, 5));
}

static void
closed_in_its_callback(void *arg, int err)
{
	content_writer_close(arg);
	answered(&answers, err);
}

static void
a_handle_may_be_closed_in_its_callback(void **state)
{
	struct content_writer *w;
	struct buf b;

	buf_init(&b);
	buf_puts(&b, "text");
	w = content_create(content, id);
	assert_int_equal(await(content_write(w, &b, closed_in_its_callback, &w)), 0);
	assert_null(w);
	settle(0);
	w = content_create(content, id);
	assert_int_equal(await(content_commit(w, closed_in_its_callback, &w)), 0);
	settle(1);
	buf_fini(&b);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    TEST(what_was_written_is_read_by_ranges),
	    TEST(a_large_file_arrives_as_it_was),
	    TEST(an_empty_file_is_a_file),
	    TEST(without_a_commit_nothing_is_left),
	    TEST(close_while_a_write_is_under_way),
	    TEST(close_while_a_commit_is_under_way_takes_it_back),
	    TEST(a_reader_may_go_while_it_reads),
	    TEST(content_may_go_before_its_handles),
	    TEST(too_many_at_once_are_refused),
	    TEST(what_a_dead_worker_left_goes_and_a_neighbours_stays),
	    TEST(a_write_that_fails_is_said_and_leaves_nothing),
	    TEST(an_id_that_is_being_written_is_not_taken_again),
	    TEST(a_commit_that_fails_is_said_and_leaves_nothing),
	    TEST(removed_is_removed),
	    TEST(what_is_no_id_is_no_path),
	    TEST(a_directory_that_cannot_be_is_said),
	    TEST(a_handle_may_be_closed_in_its_callback),
	};

	loop_init();
	cmocka_set_message_output(CM_OUTPUT_TAP);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
