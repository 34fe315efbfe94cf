/* SPDX-License-Identifier: ISC */
/* content: written, read and removed files. */
#include "../lib/content_help.h"

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
	assert_int_equal(await(content_read(r, 2, 2, read_some, &answers)), ERR_NOT_FOUND);
	content_reader_close(&r);
}

static int
descriptors(void)
{
	DIR *d = opendir("/proc/self/fd");
	int n = 0;

	while (readdir(d))
		n++;
	closedir(d);
	return n;
}

/* Or some clients that are slow enough would take them all. */
static void
who_waits_holds_no_descriptor(void **state)
{
	struct content_writer *w[20];
	struct content_reader *r[20];
	int before = descriptors();

	keep("text");
	for (int i = 0; i < 20; i++) {
		char other[ID_MAX];

		id_new(other, "fil");
		w[i] = content_create(content, other);
		assert_int_equal(put(w[i], "half", 4), 0);
		r[i] = content_reader_open(content, id);
		assert_int_equal(await(content_read(r[i], 0, 2, read_some, &answers)), 0);
	}
	assert_int_equal(descriptors(), before);
	for (int i = 0; i < 20; i++) {
		content_writer_close(&w[i]);
		content_reader_close(&r[i]);
	}
	settle(1);
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

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    TEST(what_was_written_is_read_by_ranges),
	    TEST(a_large_file_arrives_as_it_was),
	    TEST(an_empty_file_is_a_file),
	    TEST(without_a_commit_nothing_is_left),
	    TEST(removed_is_removed),
	    TEST(who_waits_holds_no_descriptor),
	    TEST(what_is_no_id_is_no_path),
	};

	loop_init();
	cmocka_set_message_output(CM_OUTPUT_TAP);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
