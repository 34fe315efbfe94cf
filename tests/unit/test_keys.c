/* SPDX-License-Identifier: ISC */
/*
 * keys: the file's format, what is refused, rotation, and the way to workers.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "lib/keys.h"

#define HEAD "palaver-keys 1\n"
#define HEX  "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1eFF"
#define TIME " 2026-01-31T12:00:00Z "

static void
written_keys_are_read_again(void **state)
{
	struct key_set a = {0}, b;
	struct unpack u;
	struct buf text, packed;
	char *error;

	assert_int_equal(keys_rotate(&a, 1769860800000, 0), 0);
	assert_int_equal(keys_rotate(&a, 1769860900000, 1000000), 0);
	buf_init(&text);
	keys_format(&text, &a);
	assert_int_equal(keys_parse(&b, (char *)text.data, text.len, &error), 0);
	assert_memory_equal(&a, &b, sizeof(a));
	a.signer = 1;
	buf_init(&packed);
	keys_pack(&packed, &a);
	unpack_init(&u, packed.data, packed.len);
	assert_true(keys_unpack(&u, &b));
	assert_memory_equal(&a, &b, sizeof(a));
	for (size_t len = 0; len < packed.len; len++) {
		unpack_init(&u, packed.data, len);
		assert_false(keys_unpack(&u, &b));
	}
	buf_fini(&text);
	buf_fini(&packed);
}

static void
the_format_is_the_documented_one(void **state)
{
	static const char text[] =
	    HEAD "# a comment\n\nnew-1" TIME HEX "\n\told_2\t2025-12-31T23:59:59Z " HEX "  \r\n";
	struct key_set set;
	char *error;

	assert_int_equal(keys_parse(&set, text, sizeof(text) - 1, &error), 0);
	assert_int_equal(set.count, 2);
	assert_int_equal(set.signer, 0);
	assert_string_equal(set.keys[0].id, "new-1");
	assert_true(set.keys[0].created_ms == 1769860800000);
	assert_int_equal(set.keys[0].len, 32);
	assert_int_equal(set.keys[0].data[1], 1);
	assert_int_equal(set.keys[0].data[31], 0xff);
	assert_int_equal(keys_find(&set, "old_2"), 1);
	assert_int_equal(keys_find(&set, "old"), -1);
}

static void
another_file_is_one_key(void **state)
{
	uint8_t bytes[KEY_BYTES_MAX + 1] = {0};
	struct key_set set;
	char *error;

	bytes[5] = 7;
	assert_int_equal(keys_parse(&set, (char *)bytes, KEY_BYTES_MIN, &error), 0);
	assert_int_equal(set.count, 1);
	assert_string_equal(set.keys[0].id, "0");
	assert_memory_equal(set.keys[0].data, bytes, KEY_BYTES_MIN);
	assert_int_equal(keys_parse(&set, (char *)bytes, KEY_BYTES_MAX, &error), 0);
	assert_int_equal(set.keys[0].len, KEY_BYTES_MAX);
	assert_int_equal(keys_parse(&set, (char *)bytes, KEY_BYTES_MIN - 1, &error), -1);
	free(error);
	assert_int_equal(keys_parse(&set, (char *)bytes, KEY_BYTES_MAX + 1, &error), -1);
	free(error);
}

static void
what_is_not_in_order_is_named_by_its_line(void **state)
{
	static const struct {
		const char *text, *error;
	} wrong[] = {
	    {"palaver-keys 2\na" TIME HEX, "line 1: the first line"},
	    {"palaver-keys\na" TIME HEX, "line 1: the first line"},
	    {HEAD, "line 2: no key"},
	    {HEAD "a " HEX, "line 2: a key is three words"},
	    {HEAD "a" TIME HEX " b", "line 2: a key is three words"},
	    {HEAD "#\na\"b" TIME HEX, "line 3: the id"},
	    {HEAD "123456789012345678901234567890123" TIME HEX, "line 2: the id"},
	    {HEAD "a" TIME HEX "\na" TIME HEX, "line 3: this id was used"},
	    {HEAD "a 2026-01-31 " HEX, "line 2: the creation time"},
	    {HEAD "a 2026-01-31T12:00:00Zx " HEX, "line 2: the creation time"},
	    {HEAD "a" TIME "0011", "line 2: the key is not"},
	    {HEAD "a" TIME HEX "0", "line 2: the key is not"},
	    {HEAD "a" TIME "g" HEX "0", "line 2: the key is not"},
	};
	struct key_set set;
	char *error;

	for (size_t i = 0; i < sizeof(wrong) / sizeof(*wrong); i++) {
		assert_int_equal(
		    keys_parse(&set, wrong[i].text, strlen(wrong[i].text), &error), -1);
		assert_memory_equal(error, wrong[i].error, strlen(wrong[i].error));
		free(error);
	}
	assert_int_equal(
	    keys_parse(&set, HEAD "a" TIME HEX "\0b", sizeof(HEAD TIME HEX) + 2, &error), -1);
	free(error);
}

static void
a_key_is_dropped_when_its_tokens_are_over(void **state)
{
	struct key_set set = {0};
	char first[KEY_ID_MAX], second[KEY_ID_MAX];

	assert_int_equal(keys_rotate(&set, 1000, 60000), 0);
	assert_int_equal(set.count, 1);
	strcpy(first, set.keys[0].id);
	assert_int_equal(keys_rotate(&set, 500000, 60000), 0); /* old, but it signed until now */
	assert_int_equal(set.count, 2);
	strcpy(second, set.keys[0].id);
	assert_string_not_equal(first, second);
	assert_int_equal(keys_find(&set, first), 1);
	assert_int_equal(keys_rotate(&set, 560000, 60000), 0);
	assert_int_equal(set.count, 3);
	assert_int_equal(keys_rotate(&set, 560001, 60000), 0);
	assert_int_equal(keys_find(&set, first), -1);
	assert_int_equal(keys_find(&set, second), 2);
}

static void
no_key_is_dropped_before(void **state)
{
	struct key_set set = {0}, before;

	for (int i = 0; i < KEYS_MAX; i++)
		assert_int_equal(keys_rotate(&set, 1000, 60000), 0);
	before = set;
	assert_int_equal(keys_rotate(&set, 60000, 60000), -1);
	assert_memory_equal(&set, &before, sizeof(set));
	assert_int_equal(keys_rotate(&set, 62000, 60000), 0);
	assert_int_equal(set.count, 2); /* the one that signed until now */
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(written_keys_are_read_again),
	    cmocka_unit_test(the_format_is_the_documented_one),
	    cmocka_unit_test(another_file_is_one_key),
	    cmocka_unit_test(what_is_not_in_order_is_named_by_its_line),
	    cmocka_unit_test(a_key_is_dropped_when_its_tokens_are_over),
	    cmocka_unit_test(no_key_is_dropped_before),
	};

	cmocka_set_message_output(CM_OUTPUT_TAP);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
