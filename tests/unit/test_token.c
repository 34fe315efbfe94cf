/* SPDX-License-Identifier: ISC */
/* token, password: what opens the door, and what must not. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "chat/password.h"
#include "chat/token.h"
#include "lib/loop.h"
#include "model/error.h"

#define KEY     "0123456789abcdef0123456789abcdef"
#define KEY_LEN 32

static const struct token_claims claims = {"usr_01234567890123456789abcdef",
    "ses_01234567890123456789abcdef", 1000000, 2000000};

static void
a_token_round_trips_until_it_expires(void **state)
{
	struct token_claims r;
	struct buf b;

	buf_init(&b);
	token_sign(&b, &claims, KEY, KEY_LEN);
	assert_int_equal(token_verify(buf_cstr(&b), KEY, KEY_LEN, 1999999, &r), 0);
	assert_string_equal(r.user, claims.user);
	assert_string_equal(r.session, claims.session);
	assert_true(r.expires_ms == 2000000 && r.issued_ms == 1000000);
	assert_int_equal(token_verify(buf_cstr(&b), KEY, KEY_LEN, 2000000, &r), ERR_UNAUTHORIZED);
	assert_int_equal(token_verify(buf_cstr(&b), "x" KEY, KEY_LEN, 1, &r), ERR_UNAUTHORIZED);
	buf_fini(&b);
}

static void
no_changed_byte_is_accepted(void **state)
{
	struct token_claims r;
	struct buf b;
	size_t len;

	buf_init(&b);
	token_sign(&b, &claims, KEY, KEY_LEN);
	len = strlen(buf_cstr(&b));
	for (size_t i = 0; i < len; i++) {
		char was = (char)b.data[i];

		b.data[i] = was == 'A' ? 'B' : 'A';
		assert_int_equal(token_verify((char *)b.data, KEY, KEY_LEN, 1, &r), ERR_UNAUTHORIZED);
		b.data[i] = 0;
		assert_int_equal(token_verify((char *)b.data, KEY, KEY_LEN, 1, &r), ERR_UNAUTHORIZED);
		b.data[i] = (uint8_t)was;
	}
	assert_int_equal(token_verify((char *)b.data, KEY, KEY_LEN, 1, &r), 0);
	buf_fini(&b);
}

static void
other_algorithms_are_refused(void **state)
{
	struct token_claims r;

	/* {"alg":"none","typ":"JWT"} with the right claims and no, or any, signature */
	assert_int_equal(token_verify("eyJhbGciOiJub25lIiwidHlwIjoiSldUIn0."
				      "eyJzdWIiOiJ1c3JfMDEyMzQ1Njc4OTAxMjM0NTY3ODlhYmNkZWYifQ.",
			     KEY, KEY_LEN, 1, &r),
	    ERR_UNAUTHORIZED);
	assert_int_equal(token_verify("", KEY, KEY_LEN, 1, &r), ERR_UNAUTHORIZED);
	assert_int_equal(token_verify("a.b.c", KEY, KEY_LEN, 1, &r), ERR_UNAUTHORIZED);
}

static char stored[256];
static int matched;

static void
on_hash(void *arg, const char *hash)
{
	assert_non_null(hash);
	assert_true(str_copy(stored, sizeof(stored), hash));
	loop_stop();
}

static void
on_check(void *arg, bool matches)
{
	matched = matches;
	loop_stop();
}

static void
a_password_matches_its_hash_only(void **state)
{
	struct password_pool *p;

	loop_init();
	p = password_pool_new(4);
	assert_int_equal(password_hash(p, "correct horse", 1, on_hash, NULL), 0);
	loop_run();
	assert_memory_equal(stored, "$y$", 3);
	assert_int_equal(password_check(p, "correct horse", stored, 1, on_check, NULL), 0);
	loop_run();
	assert_true(matched);
	assert_int_equal(password_check(p, "Correct horse", stored, 1, on_check, NULL), 0);
	loop_run();
	assert_false(matched);
	assert_int_equal(password_check(p, "correct horse", "", 1, on_check, NULL), 0);
	loop_run();
	assert_false(matched); /* nobody's hash never matches */
	password_pool_free(&p);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(a_token_round_trips_until_it_expires),
	    cmocka_unit_test(no_changed_byte_is_accepted),
	    cmocka_unit_test(other_algorithms_are_refused),
	    cmocka_unit_test(a_password_matches_its_hash_only),
	};

	cmocka_set_message_output(CM_OUTPUT_TAP);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
