/* SPDX-License-Identifier: ISC */
/* content: what fails, and what is left when somebody goes. */
#include "../lib/content_help.h"

#define MANY 5000 /* more than may wait */

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
		content = content_open(dir, 3, 32);
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
	content = content_open(dir, 3, 32);
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
	content = content_open(dir, 3, 32);
	assert_int_equal(file_count(), 2);
}

/* More wait than may; those that wait when all is closed are not called back. */
static void
too_many_at_once_are_refused(void **state)
{
	struct content_writer *w = content_create(content, id), *other;
	char other_id[ID_MAX];
	int err = 0, n = 0;

	assert_int_equal(put(w, "text", 4), 0);
	id_new(other_id, "fil");
	other = content_create(content, other_id);
	while (!err && n < MANY) {
		err = content_remove(content, id, never, NULL);
		n += !err;
	}
	assert_int_equal(err, ERR_OVERLOADED);
	assert_in_range(n, 100, MANY - 1);
	buf_puts(&got, "more");
	assert_int_equal(content_write(other, &got, never, NULL), ERR_OVERLOADED);
	assert_int_equal(got.len, 4);
	assert_int_equal(content_commit(other, never, NULL), ERR_OVERLOADED);
	assert_int_equal(content_write(w, &got, never, NULL), 0); /* it has begun */
	content_writer_close(&other);
	content_writer_close(&w); /* what cleans up is taken all the same */
	content_close(&content);
	assert_int_equal(file_count(), 0);
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
	other = content_open(dir, 30, 32);
	snprintf(path, sizeof(path), "%s/new.30/%s", dir, id);
	write_file(path);
	content_close(&other);
	assert_int_equal(file_count(), 3);
	content = content_open(dir, -1, 32);
	assert_int_equal(file_count(), 3);
	content_close(&content);
	content = content_open(dir, 3, 32);
	assert_int_equal(file_count(), 2);
	assert_int_equal(get(0, 10), 0); /* also: whole files survive */
	assert_string_equal(buf_cstr(&got), "text");
	content_close(&content);
	content = content_open(dir, 2, 9); /* fewer workers than before; 30 is left to 3 */
	assert_int_equal(file_count(), 2);
	content_close(&content);
	content = content_open(dir, 3, 9);
	assert_int_equal(file_count(), 1);
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
a_directory_that_cannot_be_is_said(void **state)
{
	char path[160];

	snprintf(path, sizeof(path), "%s/missing/files", root);
	assert_null(content_open(path, 0, 32));
	snprintf(path, sizeof(path), "%s/new.5", dir);
	write_file(path);
	assert_null(content_open(dir, 5, 32));
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

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    TEST(close_while_a_write_is_under_way),
	    TEST(close_while_a_commit_is_under_way_takes_it_back),
	    TEST(a_reader_may_go_while_it_reads),
	    TEST(content_may_go_before_its_handles),
	    TEST(too_many_at_once_are_refused),
	    TEST(what_a_dead_worker_left_goes_and_a_neighbours_stays),
	    TEST(a_write_that_fails_is_said_and_leaves_nothing),
	    TEST(an_id_that_is_being_written_is_not_taken_again),
	    TEST(a_commit_that_fails_is_said_and_leaves_nothing),
	    TEST(a_directory_that_cannot_be_is_said),
	    TEST(a_handle_may_be_closed_in_its_callback),
	};

	loop_init();
	cmocka_set_message_output(CM_OUTPUT_TAP);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
