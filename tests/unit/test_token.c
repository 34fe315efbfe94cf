/* SPDX-License-Identifier: ISC */
/* token, password: what opens the door, and what must not. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>

#include "chat/password.h"
#include "chat/token.h"
#include "lib/loop.h"
#include "model/error.h"

static const struct token_claims claims = {
    "usr_01234567890123456789abcdef", "ses_01234567890123456789abcdef", 1000000, 2000000};

static struct key_set keys;

/* Two keys, the first signs. */
static int
setup(void **state)
{
	memset(&keys, 0, sizeof(keys));
	assert_int_equal(keys_rotate(&keys, 1000, 0), 0);
	assert_int_equal(keys_rotate(&keys, 2000, 100000), 0);
	assert_int_equal(keys.count, 2);
	return 0;
}

static void
a_token_round_trips_until_it_expires(void **state)
{
	struct token_claims r;
	struct buf b;

	buf_init(&b);
	token_sign(&b, &claims, &keys);
	assert_int_equal(token_verify(buf_cstr(&b), &keys, 1999999, &r), 0);
	assert_string_equal(r.user, claims.user);
	assert_string_equal(r.session, claims.session);
	assert_true(r.expires_ms == 2000000 && r.issued_ms == 1000000);
	assert_int_equal(token_verify(buf_cstr(&b), &keys, 2000000, &r), ERR_UNAUTHORIZED);
	keys.keys[0].data[0] ^= 1;
	assert_int_equal(token_verify(buf_cstr(&b), &keys, 1, &r), ERR_UNAUTHORIZED);
	buf_fini(&b);
}

static void
every_key_verifies_and_one_signs(void **state)
{
	struct key_set later;
	struct token_claims r;
	struct buf b, fresh;

	buf_init(&b);
	buf_init(&fresh);
	keys.signer = 1;
	token_sign(&b, &claims, &keys);
	keys.signer = 0;
	token_sign(&fresh, &claims, &keys);
	assert_string_not_equal(buf_cstr(&b), buf_cstr(&fresh));
	assert_int_equal(token_verify(buf_cstr(&b), &keys, 1, &r), 0);
	assert_int_equal(token_verify(buf_cstr(&fresh), &keys, 1, &r), 0);
	later = keys;
	later.count = 1; /* the old key is dropped */
	assert_int_equal(token_verify(buf_cstr(&b), &later, 1, &r), ERR_UNAUTHORIZED);
	assert_int_equal(token_verify(buf_cstr(&fresh), &later, 1, &r), 0);
	later = keys;
	strcpy(later.keys[0].id, keys.keys[1].id); /* the id names a key and is no key */
	strcpy(later.keys[1].id, keys.keys[0].id);
	assert_int_equal(token_verify(buf_cstr(&b), &later, 1, &r), ERR_UNAUTHORIZED);
	buf_fini(&b);
	buf_fini(&fresh);
}

static void
no_changed_byte_is_accepted(void **state)
{
	struct token_claims r;
	struct buf b;
	size_t len;

	buf_init(&b);
	token_sign(&b, &claims, &keys);
	len = strlen(buf_cstr(&b));
	for (size_t i = 0; i < len; i++) {
		char was = (char)b.data[i];

		b.data[i] = was == 'A' ? 'B' : 'A';
		assert_int_equal(token_verify((char *)b.data, &keys, 1, &r), ERR_UNAUTHORIZED);
		b.data[i] = 0;
		assert_int_equal(token_verify((char *)b.data, &keys, 1, &r), ERR_UNAUTHORIZED);
		b.data[i] = (uint8_t)was;
	}
	assert_int_equal(token_verify((char *)b.data, &keys, 1, &r), 0);
	buf_fini(&b);
}

/* The token with another header, signed rightly by the key that the header names. */
static int
verify_with_header(const char *json)
{
	char header[200], mac[64];
	struct token_claims r;
	const char *dot;
	struct buf b, forged;
	unsigned int n;
	uint8_t raw[32];
	int err;

	buf_init(&b);
	buf_init(&forged);
	token_sign(&b, &claims, &keys);
	n = (unsigned int)EVP_EncodeBlock(
	    (unsigned char *)header, (const unsigned char *)json, (int)strlen(json));
	while (n && header[n - 1] == '=')
		n--;
	dot = strchr(buf_cstr(&b), '.');
	buf_append(&forged, header, n);
	buf_append(&forged, dot, (size_t)(strrchr(dot, '.') - dot));
	HMAC(EVP_sha256(), keys.keys[0].data, (int)keys.keys[0].len, forged.data, forged.len, raw,
	    &n);
	n = (unsigned int)EVP_EncodeBlock((unsigned char *)mac, raw, (int)n);
	for (char *p = mac; *p; p++)
		*p = *p == '+' ? '-' : *p == '/' ? '_' : *p;
	buf_putc(&forged, '.');
	buf_append(&forged, mac, 43);
	err = token_verify(buf_cstr(&forged), &keys, 1, &r);
	buf_fini(&b);
	buf_fini(&forged);
	return err;
}

static void
no_other_header_is_accepted(void **state)
{
	static const char *const wrong[] = {
	    "{\"alg\":\"HS256\",\"typ\":\"JWT\"}",
	    "{\"alg\":\"none\",\"kid\":\"K\",\"typ\":\"JWT\"}",
	    "{\"alg\":\"HS512\",\"kid\":\"K\",\"typ\":\"JWT\"}",
	    "{\"alg\":\"HS256\",\"kid\":\"L\",\"typ\":\"JWT\"}",
	    "{\"alg\":\"HS256\",\"kid\":\"K\",\"typ\":\"jwt\"}",
	    "{\"alg\":\"HS256\",\"kid\":\"K\",\"typ\":\"JWT\",\"crit\":[\"b64\"]}",
	    "{\"alg\":\"HS256\",\"kid\":\"K\",\"typ\":\"JWT\"} ",
	    "{\"alg\":\"HS256\", \"kid\":\"K\",\"typ\":\"JWT\"}",
	    "{\"kid\":\"K\",\"alg\":\"HS256\",\"typ\":\"JWT\"}",
	    "",
	};
	struct token_claims r;

	strcpy(keys.keys[0].id, "K");
	assert_int_equal(
	    verify_with_header("{\"alg\":\"HS256\",\"kid\":\"K\",\"typ\":\"JWT\"}"), 0);
	for (size_t i = 0; i < sizeof(wrong) / sizeof(*wrong); i++)
		assert_int_equal(verify_with_header(wrong[i]), ERR_UNAUTHORIZED);
	/* {"alg":"none","typ":"JWT"} with the right claims and no signature */
	assert_int_equal(token_verify("eyJhbGciOiJub25lIiwidHlwIjoiSldUIn0."
				      "eyJzdWIiOiJ1c3JfMDEyMzQ1Njc4OTAxMjM0NTY3ODlhYmNkZWYifQ.",
			     &keys, 1, &r),
	    ERR_UNAUTHORIZED);
	assert_int_equal(token_verify("", &keys, 1, &r), ERR_UNAUTHORIZED);
	assert_int_equal(token_verify("a.b.c", &keys, 1, &r), ERR_UNAUTHORIZED);
}

static void
a_successor_needs_token_and_nonce(void **state)
{
	uint8_t nonce[TOKEN_HASH] = {1}, other[TOKEN_HASH] = {2};
	char a[REFRESH_TEXT], b[REFRESH_TEXT];

	token_successor(a, "token", nonce);
	token_successor(b, "token", nonce);
	assert_string_equal(a, b);
	assert_int_equal(strlen(a), 43);
	token_successor(b, "token", other);
	assert_string_not_equal(a, b);
	token_successor(b, "Token", nonce);
	assert_string_not_equal(a, b);
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
	    cmocka_unit_test_setup(a_token_round_trips_until_it_expires, setup),
	    cmocka_unit_test_setup(every_key_verifies_and_one_signs, setup),
	    cmocka_unit_test_setup(no_changed_byte_is_accepted, setup),
	    cmocka_unit_test_setup(no_other_header_is_accepted, setup),
	    cmocka_unit_test(a_successor_needs_token_and_nonce),
	    cmocka_unit_test(a_password_matches_its_hash_only),
	};

	cmocka_set_message_output(CM_OUTPUT_TAP);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
