/* SPDX-License-Identifier: ISC */
/* payload: polling bodies taken apart and put together. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "wire/payload.h"

#define COUNT(a) (sizeof(a) / sizeof(*(a)))
#define RS       "\x1e"

static void
bodies_are_split(void **state)
{
	static const struct {
		const char *body;
		const char *packets[5];
		int end; /* what follows the packets */
	} cases[] = {
	    {"4hello", {"4hello"}, 0},
	    {"0" RS "1" RS "2" RS "3" RS "5", {"0", "1", "2", "3", "5"}, 0},
	    {"6", {"6"}, 0},
	    {"4hello" RS "2" RS "bAQIDBA==", {"4hello", "2", "bAQIDBA=="}, 0},
	    {"b", {"b"}, 0},
	    {"4 \n4", {"4 \n4"}, 0},
	    {"", {NULL}, -1},
	    {RS, {NULL}, -1},
	    {"7x", {NULL}, -1},
	    {"/", {NULL}, -1},
	    {"B", {NULL}, -1},
	    {"abc", {NULL}, -1},
	    {"\xff", {NULL}, -1},
	    {"4a" RS, {"4a"}, -1},
	    {"4a" RS RS "4b", {"4a"}, -1},
	    {RS "4a", {NULL}, -1},
	    {"4a" RS "x" RS "4b", {"4a"}, -1},
	};

	for (size_t i = 0; i < COUNT(cases); i++) {
		size_t len = strlen(cases[i].body), pos = 0;
		char *body = malloc(len + !len);
		struct payload_packet p;

		memcpy(body, cases[i].body, len);
		for (size_t k = 0; k < 5 && cases[i].packets[k]; k++) {
			assert_int_equal(payload_next(body, len, &pos, &p), 1);
			assert_int_equal(p.len, strlen(cases[i].packets[k]));
			assert_memory_equal(p.data, cases[i].packets[k], p.len);
		}
		if (payload_next(body, len, &pos, &p) != cases[i].end)
			fail_msg("the end of: %s", cases[i].body);
		free(body);
	}
}

static void
a_nul_is_data(void **state)
{
	struct payload_packet p;
	size_t pos = 0;

	assert_int_equal(payload_next("4\0a\0" RS "2", 6, &pos, &p), 1);
	assert_int_equal(p.len, 4);
	assert_int_equal(payload_next("4\0a\0" RS "2", 6, &pos, &p), 1);
	assert_int_equal(p.len, 1);
	assert_int_equal(payload_next("4\0a\0" RS "2", 6, &pos, &p), 0);
	assert_int_equal(payload_next("4\0a\0" RS "2", 6, &pos, &p), 0);
	pos = 0;
	assert_int_equal(payload_next("\0", 1, &pos, &p), -1);
}

static void
base64_is_decoded(void **state)
{
	static const struct {
		const char *text;
		long len; /* -1: refused */
		const char *want;
	} cases[] = {
	    {"", 0, ""},
	    {"AQIDBA==", 4, "\1\2\3\4"},
	    {"AQIDBA", 4, "\1\2\3\4"},
	    {"AQIDBAU=", 5, "\1\2\3\4\5"},
	    {"AQIDBAU", 5, "\1\2\3\4\5"},
	    {"AQID", 3, "\1\2\3"},
	    {"+/+/", 3, "\xfb\xff\xbf"},
	    {"-_-_", 3, "\xfb\xff\xbf"},
	    {"+_-/", 3, "\xfb\xff\xbf"},
	    {"-_8=", 2, "\xfb\xff"},
	    {"AAAA", 3, "\0\0\0"},
	    {"azAZ", 3, "\x6b\x30\x19"},
	    {"09zz", 3, "\xd3\xdc\xf3"},
	    {"A", -1, NULL},
	    {"AQIDB", -1, NULL},
	    {"A===", -1, NULL},
	    {"AQIDBA=", -1, NULL},
	    {"=", -1, NULL},
	    {"==", -1, NULL},
	    {"====", -1, NULL},
	    {"AQ===", -1, NULL},
	    {"AQ=I", -1, NULL},
	    {"=AQI", -1, NULL},
	    {"AQ==AQ==", -1, NULL},
	    {"!!!!", -1, NULL},
	    {"AQ I", -1, NULL},
	    {"AQI\n", -1, NULL},
	    {"AQI.", -1, NULL},
	    {"AQI\xc1", -1, NULL},
	};

	for (size_t i = 0; i < COUNT(cases); i++) {
		size_t len = strlen(cases[i].text);
		char *text = malloc(len + !len), *dst = malloc(len * 3 / 4 + 1);
		long n;

		memcpy(text, cases[i].text, len);
		n = payload_base64_decode(dst, text, len);
		if (n != cases[i].len)
			fail_msg("%ld for: %s", n, cases[i].text);
		if (n > 0)
			assert_memory_equal(dst, cases[i].want, n);
		free(text);
		free(dst);
	}
}

static void
put(struct buf *b, const void *data, size_t len, bool binary)
{
	struct frame *f = frame_new(data, len, binary);

	payload_put(b, f);
	frame_unref(&f);
}

static void
packets_are_joined(void **state)
{
	struct buf b;

	buf_init(&b);
	put(&b, "4hello", 6, false);
	assert_string_equal(buf_cstr(&b), "4hello");
	put(&b, "2", 1, false);
	put(&b, "\1\2\3\4", 4, true);
	put(&b, "\xfb\xff\xbf", 3, true);
	put(&b, NULL, 0, true);
	put(&b, "4", 1, false);
	assert_string_equal(buf_cstr(&b), "4hello" RS "2" RS "bAQIDBA==" RS "b+/+/" RS "b" RS "4");
	buf_clear(&b);
	put(&b, "2", 1, false);
	put(&b, "3", 1, false);
	assert_string_equal(buf_cstr(&b), "2" RS "3");
	buf_fini(&b);
}

static void
a_binary_frame_becomes_a_text_frame(void **state)
{
	struct frame *f = frame_new("\1\2\3\4", 4, true), *t = payload_base64_frame(f);

	assert_false(t->binary);
	assert_int_equal(t->data[0], 0x81);
	assert_int_equal(t->len - t->header, 9);
	assert_memory_equal(t->data + t->header, "bAQIDBA==", 9);
	frame_unref(&t);
	frame_unref(&f);
	f = frame_new(NULL, 0, true);
	t = payload_base64_frame(f);
	assert_int_equal(t->len - t->header, 1);
	assert_int_equal(t->data[t->header], 'b');
	frame_unref(&t);
	frame_unref(&f);
}

/* Over the lengths around each size of a frame's header, with and without padding. */
static void
base64_round_trips(void **state)
{
	unsigned char data[300];
	char back[sizeof(data) + 4];
	struct buf b;

	for (size_t i = 0; i < sizeof(data); i++)
		data[i] = (unsigned char)(i * 37 + 250);
	buf_init(&b);
	for (size_t len = 0; len < sizeof(data); len++) {
		buf_clear(&b);
		put(&b, data, len, true);
		assert_int_equal(b.data[0], 'b');
		assert_int_equal(b.len, 1 + (len + 2) / 3 * 4);
		for (int padded = 1; padded >= 0; padded--) {
			assert_int_equal(
			    payload_base64_decode(back, (char *)b.data + 1, b.len - 1), len);
			assert_memory_equal(back, data, len);
			while (b.data[b.len - 1] == '=')
				b.len--;
		}
	}
	buf_fini(&b);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(bodies_are_split),
	    cmocka_unit_test(a_nul_is_data),
	    cmocka_unit_test(base64_is_decoded),
	    cmocka_unit_test(packets_are_joined),
	    cmocka_unit_test(a_binary_frame_becomes_a_text_frame),
	    cmocka_unit_test(base64_round_trips),
	};

	cmocka_set_message_output(CM_OUTPUT_TAP);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
