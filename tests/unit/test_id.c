/* SPDX-License-Identifier: ISC */
/* id, clock: names sort by time, are unique and strictly checked. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "lib/clock.h"
#include "lib/id.h"

static void
ids_increase_strictly(void **state)
{
	char last[ID_MAX] = "", id[ID_MAX];

	for (int i = 0; i < 20000; i++) {
		id_new(id, "msg");
		assert_true(id_valid(id, "msg"));
		assert_true(strcmp(last, id) < 0);
		memcpy(last, id, sizeof(last));
	}
	assert_int_equal(strlen(id), 4 + ID_BODY);
}

static void
wrong_ids_are_refused(void **state)
{
	char id[ID_MAX];

	id_new(id, "usr");
	assert_false(id_valid(id, "msg"));
	assert_false(id_valid("", "usr"));
	assert_false(id_valid("usr_", "usr"));
	assert_false(id_valid("usr_0123456789012345678901234", "usr"));
	assert_false(id_valid("usr_012345678901234567890123456", "usr"));
	assert_false(id_valid("usr_0123456789012345678901234U", "usr"));
	assert_false(id_valid("usr_0123456789012345678901234'", "usr"));
	assert_true(id_valid("usr_01234567890123456789abcdef", "usr"));
}

static void
tokens_have_the_length_of_base64url(void **state)
{
	char t[64];

	for (size_t n = 1; n < 40; n++) {
		random_token(t, n);
		assert_int_equal(strlen(t), (n * 4 + 2) / 3);
		assert_int_equal(strspn(t, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
					   "0123456789-_"),
		    strlen(t));
	}
}

static void
uuids(void **state)
{
	assert_true(uuid_valid("0190a0b1-1234-7abc-8def-0123456789ab"));
	assert_true(uuid_valid("0190A0B1-1234-7ABC-8DEF-0123456789AB"));
	assert_false(uuid_valid("0190a0b1-1234-7abc-8def-0123456789a"));
	assert_false(uuid_valid("0190a0b1-1234-7abc-8def-0123456789abc"));
	assert_false(uuid_valid("0190a0b1x1234-7abc-8def-0123456789ab"));
	assert_false(uuid_valid("0190a0b1-1234-7abc-8def-0123456789ag"));
	assert_false(uuid_valid(""));
}

static void
times_as_text(void **state)
{
	char t[CLOCK_TEXT_MAX];

	clock_format(INT64_C(1795512515123), t);
	assert_string_equal(t, "2026-11-24T09:28:35.123Z");
	clock_format(0, t);
	assert_string_equal(t, "1970-01-01T00:00:00.000Z");
	clock_format(-1, t);
	assert_string_equal(t, "1969-12-31T23:59:59.999Z");
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(ids_increase_strictly),
	    cmocka_unit_test(wrong_ids_are_refused),
	    cmocka_unit_test(tokens_have_the_length_of_base64url),
	    cmocka_unit_test(uuids),
	    cmocka_unit_test(times_as_text),
	};

	cmocka_set_message_output(CM_OUTPUT_TAP);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
