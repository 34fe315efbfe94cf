/* SPDX-License-Identifier: ISC */
/* file, byte_range: names and types of files, and which bytes of one are wanted. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "api/byte_range.h"
#include "model/file.h"

static void
names(void **state)
{
	char longest[FILE_NAME_BYTES + 2];

	memset(longest, 'n', sizeof(longest));
	longest[FILE_NAME_BYTES] = '\0';
	assert_true(file_name_valid("a"));
	assert_true(file_name_valid("Gr\xc3\xbc\xc3\x9f"
				    "e \"1\".tar.gz"));
	assert_true(file_name_valid(".profile"));
	assert_true(file_name_valid("..."));
	assert_true(file_name_valid(longest));
	longest[FILE_NAME_BYTES] = 'n';
	longest[FILE_NAME_BYTES + 1] = '\0';
	assert_false(file_name_valid(longest));
	assert_false(file_name_valid(""));
	assert_false(file_name_valid("."));
	assert_false(file_name_valid(".."));
	assert_false(file_name_valid("a/b"));
	assert_false(file_name_valid("a\nb"));
	assert_false(file_name_valid("a\x7f"));
	assert_false(file_name_valid("a\xc2\x85"));
	assert_false(file_name_valid("a\xff"));
}

static void
assert_type(const char *text, const char *type)
{
	char got[FILE_TYPE_BYTES + 1] = "";

	assert_int_equal(file_type_parse(text, got), type != NULL);
	if (type)
		assert_string_equal(got, type);
}

static void
types(void **state)
{
	char longest[FILE_TYPE_BYTES + 2] = "a/";

	assert_type(NULL, "application/octet-stream");
	assert_type("", "application/octet-stream");
	assert_type("Image/PNG", "image/png");
	assert_type("text/plain; charset=utf-8", "text/plain");
	assert_type("text/plain ;x", "text/plain");
	assert_type("application/vnd.ms-excel+x", "application/vnd.ms-excel+x");
	assert_type("text", NULL);
	assert_type("text/", NULL);
	assert_type("/plain", NULL);
	assert_type("text/pl ain", "text/pl"); /* what follows the blank is a parameter's */
	assert_type("text/a,text/b", NULL);
	assert_type("text/a\"b", NULL);
	assert_type("text/\xc3\xa9", NULL);
	memset(longest + 2, 'x', FILE_TYPE_BYTES - 2);
	assert_type(longest, longest);
	longest[FILE_TYPE_BYTES] = 'x';
	longest[FILE_TYPE_BYTES + 1] = '\0';
	assert_type(longest, NULL);
}

static void
what_a_message_shows(void **state)
{
	struct file f = {
	    .id = "fil_x", .name = "a\"b\\", .type = "image/png", .size = 1234567890123};
	struct buf b;

	buf_init(&b);
	file_put_json(&b, &f);
	assert_string_equal(buf_cstr(&b),
	    "{\"id\":\"fil_x\",\"name\":\"a\\\"b\\\\\",\"type\":\"image/png\","
	    "\"size\":1234567890123}");
	buf_fini(&b);
}

static void
ranges(void **state)
{
	static const struct {
		const char *text;
		uint64_t size;
		int64_t at, end; /* at < 0: unsatisfiable */
	} rows[] = {{NULL, 10, 0, 10}, {"bytes=0-", 10, 0, 10}, {"bytes=0-0", 10, 0, 1},
	    {"bytes=3-5", 10, 3, 6}, {"Bytes=3-5", 10, 3, 6}, {"bytes=9-9", 10, 9, 10},
	    {"bytes=3-99", 10, 3, 10}, {"bytes=3-18446744073709551615", 10, 3, 10},
	    {"bytes=3-99999999999999999999999", 10, 3, 10}, {"bytes=-1", 10, 9, 10},
	    {"bytes=-10", 10, 0, 10}, {"bytes=-99", 10, 0, 10}, {"bytes=10-", 10, -1, 0},
	    {"bytes=99999999999999999999999-", 10, -1, 0}, {"bytes=-0", 10, -1, 0},
	    {"bytes=0-", 0, -1, 0}, {"bytes=-5", 0, -1, 0}, {NULL, 0, 0, 0},
	    /* what is to be ignored */
	    {"bytes=5-3", 10, 0, 10}, {"bytes=-", 10, 0, 10}, {"bytes=", 10, 0, 10},
	    {"bytes=1", 10, 0, 10}, {"bytes=1-2,4-5", 10, 0, 10}, {"lines=1-2", 10, 0, 10},
	    {"bytes=+1-2", 10, 0, 10}, {"bytes= 1-2", 10, 0, 10}, {"bytes=1-2x", 10, 0, 10},
	    {"bytes=--2", 10, 0, 10}};

	for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++) {
		uint64_t at, end;
		bool good = byte_range_parse(rows[i].text, rows[i].size, &at, &end);

		if (good != (rows[i].at >= 0) ||
		    (good && (at != (uint64_t)rows[i].at || end != (uint64_t)rows[i].end)))
			fail_msg("%s of %d: %d %d-%d", rows[i].text, (int)rows[i].size, good,
			    (int)at, (int)end);
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(names),
	    cmocka_unit_test(types),
	    cmocka_unit_test(what_a_message_shows),
	    cmocka_unit_test(ranges),
	};

	cmocka_set_message_output(CM_OUTPUT_TAP);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
