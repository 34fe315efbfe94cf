/* SPDX-License-Identifier: ISC */
/* pack: round trip, sticky errors, and the CRC against known values. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "lib/pack.h"

static void
what_is_packed_comes_back(void **state)
{
	struct unpack u;
	struct buf b;
	char *s, fixed[6];
	size_t len;

	buf_init(&b);
	pack_u8(&b, 0xfe);
	pack_u16(&b, 0xfedc);
	pack_u32(&b, 0xfedcba98);
	pack_u64(&b, UINT64_C(0xfedcba9876543210));
	pack_i64(&b, -5);
	pack_bytes(&b, "a\0b", 3);
	pack_str(&b, "text");
	pack_str(&b, NULL);
	pack_str(&b, "fixed");
	unpack_init(&u, b.data, b.len);
	assert_int_equal(unpack_u8(&u), 0xfe);
	assert_int_equal(unpack_u16(&u), 0xfedc);
	assert_int_equal(unpack_u32(&u), 0xfedcba98);
	assert_true(unpack_u64(&u) == UINT64_C(0xfedcba9876543210));
	assert_true(unpack_i64(&u) == -5);
	assert_memory_equal(unpack_bytes(&u, &len), "a\0b", 3);
	assert_int_equal(len, 3);
	s = unpack_str(&u);
	assert_string_equal(s, "text");
	free(s);
	s = unpack_str(&u);
	assert_string_equal(s, "");
	free(s);
	unpack_strn(&u, fixed, sizeof(fixed));
	assert_string_equal(fixed, "fixed");
	assert_true(unpack_end(&u));
	buf_fini(&b);
}

static void
every_cut_is_an_error_and_stays_one(void **state)
{
	struct buf b;

	buf_init(&b);
	pack_u32(&b, 7);
	pack_str(&b, "hello");
	pack_u8(&b, 1);
	for (size_t cut = 0; cut < b.len; cut++) {
		struct unpack u;
		char *s;

		unpack_init(&u, b.data, cut);
		unpack_u32(&u);
		s = unpack_str(&u);
		unpack_u8(&u);
		assert_false(unpack_ok(&u));
		assert_int_equal(unpack_u64(&u), 0);
		assert_false(unpack_end(&u));
		free(s);
	}
	buf_fini(&b);
}

static void
a_string_with_a_nul_or_too_long_is_refused(void **state)
{
	struct unpack u;
	char small[3], *s;
	struct buf b;

	buf_init(&b);
	pack_bytes(&b, "a\0b", 3);
	unpack_init(&u, b.data, b.len);
	s = unpack_str(&u);
	assert_string_equal(s, "");
	assert_false(unpack_ok(&u));
	free(s);
	buf_clear(&b);
	pack_str(&b, "abc");
	unpack_init(&u, b.data, b.len);
	unpack_strn(&u, small, sizeof(small));
	assert_false(unpack_ok(&u));
	assert_string_equal(small, "");
	buf_fini(&b);
}

static void
crc32c_known_values(void **state)
{
	uint8_t zeros[32] = {0};

	/* RFC 3720, B.4 */
	assert_int_equal(crc32c(0, zeros, 32), 0x8a9136aaU);
	assert_int_equal(crc32c(0, "123456789", 9), 0xe3069283U);
	assert_int_equal(crc32c(crc32c(0, "1234", 4), "56789", 5), 0xe3069283U);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(what_is_packed_comes_back),
	    cmocka_unit_test(every_cut_is_an_error_and_stays_one),
	    cmocka_unit_test(a_string_with_a_nul_or_too_long_is_refused),
	    cmocka_unit_test(crc32c_known_values),
	};

	cmocka_set_message_output(CM_OUTPUT_TAP);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
