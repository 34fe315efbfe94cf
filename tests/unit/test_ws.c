/* SPDX-License-Identifier: ISC */
/* ws: frames of a client in every cut, violations with their codes, the handshake's key. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "lib/buf.h"
#include "wire/ws.h"

#define COUNT(a) (sizeof(a) / sizeof(*(a)))
#define LIT(s)   (const uint8_t *)(s), sizeof(s) - 1
#define MASK     "\x37\xfa\x21\x3d" /* of the RFC's examples */
#define HELLO    "\x7f\x9f\x4d\x51\x58"
#define ZERO     "\0\0\0\0" /* a mask that leaves the payload readable */
#define MAX      100000

static const uint8_t mask[] = {0x37, 0xfa, 0x21, 0x3d};

/* ---- a handler that writes down what it is told ---- */

struct record {
	struct buf log;
	int calls_left; /* the call that returns false; 0: none does */
};

static bool
write_down(struct record *r, const char *what, const void *data, size_t len)
{
	assert_non_null(data);
	buf_printf(&r->log, "%s%zu:", what, len);
	buf_append(&r->log, data, len);
	buf_putc(&r->log, ' ');
	return --r->calls_left != 0;
}

static bool
on_message(void *arg, const char *data, size_t len, bool binary)
{
	return write_down(arg, binary ? "B" : "T", data, len);
}

static bool
on_ping(void *arg, const uint8_t *data, size_t len)
{
	return write_down(arg, "P", data, len);
}

static bool
on_close(void *arg, int code)
{
	struct record *r = arg;

	buf_printf(&r->log, "C%d ", code);
	return false;
}

static const struct ws_handler handler = {on_message, on_ping, on_close};

/* One read, as a copy that ends where it ends. */
static int
feed(struct ws_reader *reader, const uint8_t *data, size_t len, size_t max, size_t *used_r,
    struct record *r)
{
	uint8_t *copy = malloc(len + !len);
	int code;

	memcpy(copy, data, len);
	code = ws_feed(reader, copy, len, max, used_r, &handler, r);
	free(copy);
	return code;
}

/*
 * The stream in reads that end at the given places, then its rest; the log ends with the
 * code, "=0" if there was none.
 */
static void
run(const uint8_t *data, size_t len, size_t max, const size_t *cuts, size_t cut_count,
    struct buf *log_r)
{
	struct ws_reader reader = {NULL};
	struct record r = {.calls_left = 0};
	size_t from = 0, used;
	int code = 0;

	for (size_t i = 0; i <= cut_count && !code; i++) {
		size_t to = i < cut_count ? cuts[i] : len;

		code = feed(&reader, data + from, to - from, max, &used, &r);
		if (code || used < to - from)
			break;
		from = to;
	}
	buf_printf(&r.log, "=%d", code);
	ws_reader_fini(&reader);
	*log_r = r.log;
}

static void
assert_log(const uint8_t *data, size_t len, size_t max, const char *want)
{
	struct buf log;

	run(data, len, max, NULL, 0, &log);
	assert_string_equal(buf_cstr(&log), want);
	buf_fini(&log);
}

/* Appends a frame with its first byte and the shortest length. */
static void
put_frame(struct buf *b, unsigned char first, const void *payload, size_t len)
{
	const uint8_t *p = payload;

	buf_putc(b, (char)first);
	buf_putc(b, (char)(0x80 | (len < 126 ? len : len < 65536 ? 126 : 127)));
	for (int i = len < 126 ? 0 : len < 65536 ? 2 : 8; i-- > 0;)
		buf_putc(b, (char)((uint64_t)len >> 8 * i));
	buf_append(b, mask, 4);
	for (size_t i = 0; i < len; i++)
		buf_putc(b, (char)(p[i] ^ mask[i % 4]));
}

/* ---- RFC 6455, 5.7 ---- */

static void
the_examples_of_the_rfc(void **state)
{
	static const struct {
		const uint8_t *data;
		size_t len;
		const char *want;
	} cases[] = {
	    {LIT("\x81\x85" MASK HELLO), "T5:Hello =0"},
	    {LIT("\x89\x85" MASK HELLO), "P5:Hello =0"},
	    {LIT("\x8a\x85" MASK HELLO), "=0"},
	    {LIT("\x01\x83" ZERO "Hel\x80\x82" ZERO "lo"), "T5:Hello =0"},
	    /* Those of a server, which a client must not send. */
	    {LIT("\x81\x05Hello"), "=1002"},
	    {LIT("\x01\x03Hel"), "=1002"},
	    {LIT("\x89\x05Hello"), "=1002"},
	    {LIT("\x8a\x05Hello"), "=1002"},
	    {LIT("\x82\x7e\x01\x00"), "=1002"},
	};

	for (size_t i = 0; i < COUNT(cases); i++)
		assert_log(cases[i].data, cases[i].len, MAX, cases[i].want);
}

/* 256 bytes and 64 KiB of the RFC, and the lengths where the form of the length changes. */
static void
lengths_in_their_three_forms(void **state)
{
	static const size_t lengths[] = {0, 1, 125, 126, 127, 256, 65535, 65536, 65537};
	uint8_t *data = malloc(70000);

	for (size_t i = 0; i < 70000; i++)
		data[i] = (uint8_t)(i * 31 + i / 256);
	for (size_t i = 0; i < COUNT(lengths); i++) {
		struct buf b, log, want;
		size_t half = lengths[i] / 2 + 3;

		buf_init(&b);
		buf_init(&want);
		put_frame(&b, 0x82, data, lengths[i]);
		buf_printf(&want, "B%zu:", lengths[i]);
		buf_append(&want, data, lengths[i]);
		buf_puts(&want, " =0");
		for (size_t cuts = 0; cuts < 2; cuts++) {
			run(b.data, b.len, MAX, &half, cuts, &log);
			assert_int_equal(log.len, want.len);
			assert_memory_equal(log.data, want.data, want.len);
			buf_fini(&log);
		}
		buf_fini(&b);
		buf_fini(&want);
	}
	free(data);
}

static void
violations_have_their_code(void **state)
{
	static const struct {
		const uint8_t *data;
		size_t len;
		const char *want;
	} cases[] = {
	    /* reserved bits */
	    {LIT("\xc1\x80" ZERO), "=1002"},
	    {LIT("\xa1\x80" ZERO), "=1002"},
	    {LIT("\x91\x80" ZERO), "=1002"},
	    {LIT("\xc9\x80" ZERO), "=1002"},
	    /* opcodes */
	    {LIT("\x83\x80" ZERO), "=1002"},
	    {LIT("\x87\x80" ZERO), "=1002"},
	    {LIT("\x8b\x80" ZERO), "=1002"},
	    {LIT("\x8f\x80" ZERO), "=1002"},
	    {LIT("\x03\x80" ZERO), "=1002"},
	    /* two bytes are enough to see it */
	    {LIT("\x81\x00"), "=1002"},
	    {LIT("\xf1\x80"), "=1002"},
	    {LIT("\x84\x80"), "=1002"},
	    {LIT("\x09\x80"), "=1002"},
	    {LIT("\x89\xfe"), "=1002"},
	    /* the order of fragments */
	    {LIT("\x80\x80" ZERO), "=1002"},
	    {LIT("\x00\x80" ZERO), "=1002"},
	    {LIT("\x01\x81" ZERO "a\x81\x81" ZERO "b"), "=1002"},
	    {LIT("\x01\x81" ZERO "a\x82\x81" ZERO "b"), "=1002"},
	    {LIT("\x01\x81" ZERO "a\x01\x81" ZERO "b"), "=1002"},
	    {LIT("\x81\x81" ZERO "a\x80\x81" ZERO "b"), "T1:a =1002"},
	    {LIT("\x01\x81" ZERO "a\x80\x81" ZERO "b\x80\x80" ZERO), "T2:ab =1002"},
	    /* control frames */
	    {LIT("\x09\x80" ZERO), "=1002"},
	    {LIT("\x0a\x80" ZERO), "=1002"},
	    {LIT("\x08\x80" ZERO), "=1002"},
	    {LIT("\x89\xfe\x00\x7e" ZERO), "=1002"},
	    {LIT("\x8a\xff\0\0\0\0\0\1\0\0" ZERO), "=1002"},
	    {LIT("\x88\xfe\x00\x7e" ZERO), "=1002"},
	    /* lengths that are not the shortest, or too large for any message */
	    {LIT("\x82\xfe\x00\x7d" ZERO), "=1002"},
	    {LIT("\x82\xfe\x00\x00" ZERO), "=1002"},
	    {LIT("\x82\xff\0\0\0\0\0\0\xff\xff" ZERO), "=1002"},
	    {LIT("\x82\xff\x80\0\0\0\0\0\0\0" ZERO), "=1002"},
	    {LIT("\x82\xff\x7f\xff\xff\xff\xff\xff\xff\xff" ZERO), "=1009"},
	    /* text */
	    {LIT("\x81\x81" ZERO "\xff"), "=1007"},
	    {LIT("\x81\x82" ZERO "\xc3\x28"), "=1007"},
	    {LIT("\x81\x81" ZERO "\xc3"), "=1007"},
	    {LIT("\x81\x83" ZERO "\xed\xa0\x80"), "=1007"},
	    {LIT("\x01\x81" ZERO "\xc3\x80\x81" ZERO "\x28"), "=1007"},
	    {LIT("\x01\x81" ZERO "\xc3\x80\x80" ZERO), "=1007"},
	    {LIT("\x01\x81" ZERO "\xc3\x80\x81" ZERO "\xa9"), "T2:\xc3\xa9 =0"},
	    {LIT("\x82\x81" ZERO "\xff"), "B1:\xff =0"},
	    {LIT("\x02\x81" ZERO "\xff\x80\x80" ZERO), "B1:\xff =0"},
	};

	for (size_t i = 0; i < COUNT(cases); i++) {
		struct buf log;

		run(cases[i].data, cases[i].len, MAX, NULL, 0, &log);
		if (strcmp(buf_cstr(&log), cases[i].want) != 0)
			fail_msg("case %zu: %s, wanted %s", i, buf_cstr(&log), cases[i].want);
		buf_fini(&log);
	}
}

/* What follows a close is not read; RFC 6455, 7.4 says which codes there are. */
static void
closes(void **state)
{
	static const struct {
		int code;
		bool good;
	} codes[] = {{0, false}, {999, false}, {1000, true}, {1003, true}, {1004, false},
	    {1005, false}, {1006, false}, {1007, true}, {1014, true}, {1015, false}, {1016, false},
	    {2999, false}, {3000, true}, {4999, true}, {5000, false}, {65535, false}};

	assert_log(LIT("\x88\x80" ZERO "\x81\x81" ZERO "a"), MAX, "C0 =0");
	assert_log(LIT("\x88\x81" ZERO "\x03"), MAX, "=1002");
	/* The second byte is not what an earlier control frame left there. */
	assert_log(LIT("\x01\x80" ZERO "\x89\x82" ZERO "\x03\xe8\x88\x81" ZERO "\x03"), MAX,
	    "P2:\x03\xe8 =1002");
	assert_log(LIT("\x88\x85" ZERO "\x03\xe8"
		       "bye"),
	    MAX, "C1000 =0");
	assert_log(LIT("\x88\x83" ZERO "\x03\xe8\xff"), MAX, "=1007");
	assert_log(LIT("\x01\x81" ZERO "a\x88\x80" ZERO), MAX, "C0 =0");
	for (size_t i = 0; i < COUNT(codes); i++) {
		uint8_t payload[2] = {(uint8_t)(codes[i].code >> 8), (uint8_t)codes[i].code};
		char want[20] = "=1002";
		struct buf b;

		if (codes[i].good)
			snprintf(want, sizeof(want), "C%d =0", codes[i].code);
		buf_init(&b);
		put_frame(&b, 0x88, payload, 2);
		assert_log(b.data, b.len, MAX, want);
		buf_fini(&b);
	}
}

/* ---- cuts ---- */

static void
assert_cut(const uint8_t *data, size_t len, const size_t *cuts, size_t count, const char *want)
{
	struct buf log;

	run(data, len, MAX, cuts, count, &log);
	if (strcmp(buf_cstr(&log), want) != 0)
		fail_msg("cut at %zu, ... %zu of %zu: %s, wanted %s", cuts[0], cuts[count - 1], len,
		    buf_cstr(&log), want);
	buf_fini(&log);
}

static void
every_way_of_cutting_short_streams(void **state)
{
	static const struct {
		const uint8_t *data;
		size_t len;
		const char *want;
	} cases[] = {
	    {LIT("\x81\x81" MASK "\x56\x88\x80" MASK), "T1:a C0 =0"},
	    {LIT("\x01\x80" MASK "\x80\x82" MASK "\x56\x98"), "T2:ab =0"},
	    {LIT("\x02\x80" MASK "\x80\x80" MASK), "B0: =0"},
	    {LIT("\x89\x81" MASK "\x56\x82\x80" MASK), "P1:a B0: =0"},
	    {LIT("\x81\x81" MASK "\x56\x80\x80" MASK), "T1:a =1002"},
	    {LIT("\x82\xfe\x00\x05" MASK "\x56"), "=1002"},
	};
	size_t cuts[16];

	for (size_t i = 0; i < COUNT(cases); i++) {
		assert_true(cases[i].len <= 16);
		for (unsigned int set = 1; set < 1U << (cases[i].len - 1); set++) {
			size_t n = 0;

			for (size_t k = 0; k + 1 < cases[i].len; k++)
				if (set & 1U << k)
					cuts[n++] = k + 1;
			assert_cut(cases[i].data, cases[i].len, cuts, n, cases[i].want);
		}
	}
}

/* Messages of one frame and of fragments with pings between, long and short. */
static void
every_two_cuts_of_a_long_stream(void **state)
{
	static char text[130];
	size_t cuts[2], *bytes;
	struct buf b, want;

	memset(text, 'x', sizeof(text));
	buf_init(&b);
	put_frame(&b, 0x81, "Hello", 5);
	put_frame(&b, 0x01, "frag\xe2\x82", 6);
	put_frame(&b, 0x89, "one", 3);
	put_frame(&b, 0x00, "\xacment", 5);
	put_frame(&b, 0x89, "", 0);
	put_frame(&b, 0x8a, "pong", 4);
	put_frame(&b, 0x80, "s", 1);
	put_frame(&b, 0x82, text, sizeof(text));
	put_frame(&b, 0x81, "", 0);
	put_frame(&b, 0x02, "", 0);
	put_frame(&b, 0x80, "\xff\xfe", 2);
	put_frame(&b, 0x88, "\x0f\xa0", 2);
	buf_init(&want);
	buf_printf(&want,
	    "T5:Hello P3:one P0: T12:frag\xe2\x82\xacments B130:%.130s T0: "
	    "B2:\xff\xfe C4000 =0",
	    text);
	for (cuts[0] = 1; cuts[0] < b.len; cuts[0]++)
		for (cuts[1] = cuts[0]; cuts[1] < b.len; cuts[1]++)
			assert_cut(b.data, b.len, cuts, 2, buf_cstr(&want));
	bytes = malloc(b.len * sizeof(*bytes));
	for (size_t i = 0; i < b.len; i++)
		bytes[i] = i;
	assert_cut(b.data, b.len, bytes, b.len, buf_cstr(&want));
	free(bytes);
	buf_fini(&b);
	buf_fini(&want);
}

/* Handlers do arithmetic with the address, which is undefined for NULL (write_down looks). */
static void
an_empty_message_in_pieces_has_an_address(void **state)
{
	static const size_t cut = 3;

	assert_log(LIT("\x01\x80" ZERO "\x80\x80" ZERO), MAX, "T0: =0");
	assert_cut(LIT("\x82\x80" ZERO), &cut, 1, "B0: =0");
	assert_cut(LIT("\x89\x80" ZERO), &cut, 1, "P0: =0");
}

/* Nothing is kept between two messages. */
static void
memory_is_given_back_between_messages(void **state)
{
	struct ws_reader reader = {NULL};
	struct record r = {.calls_left = 0};
	size_t used;

	assert_int_equal(feed(&reader, LIT("\x81"), MAX, &used, &r), 0);
	assert_non_null(reader.partial);
	assert_int_equal(feed(&reader, LIT("\x81" ZERO "a"), MAX, &used, &r), 0);
	assert_null(reader.partial);
	assert_int_equal(feed(&reader, LIT("\x01\x81" ZERO "b"), MAX, &used, &r), 0);
	assert_int_equal(feed(&reader, LIT("\x89\x80" ZERO), MAX, &used, &r), 0);
	assert_non_null(reader.partial); /* a ping does not end the message */
	assert_int_equal(feed(&reader, LIT("\x80\x80" ZERO), MAX, &used, &r), 0);
	assert_null(reader.partial);
	assert_string_equal(buf_cstr(&r.log), "T1:a P0: T1:b ");
	buf_fini(&r.log);
}

/* ---- limit ---- */

static void
the_limit_exactly_and_one_more(void **state)
{
	static const struct {
		const uint8_t *data;
		size_t len, max;
		const char *want;
	} cases[] = {
	    {LIT("\x82\x84" ZERO "abcd"), 4, "B4:abcd =0"},
	    {LIT("\x82\x85" ZERO "abcde"), 4, "=1009"},
	    {LIT("\x81\x80" ZERO), 0, "T0: =0"},
	    {LIT("\x81\x81" ZERO "a"), 0, "=1009"},
	    {LIT("\x02\x82" ZERO "ab\x80\x82" ZERO "cd"), 4, "B4:abcd =0"},
	    {LIT("\x02\x82" ZERO "ab\x80\x83" ZERO "cde"), 4, "=1009"},
	    {LIT("\x02\x84" ZERO "abcd\x00\x80" ZERO "\x80\x81" ZERO "e"), 4, "=1009"},
	    {LIT("\x02\x84" ZERO "abcd\x00\x80" ZERO "\x80\x80" ZERO), 4, "B4:abcd =0"},
	    /* announced is enough, nothing of it has to come */
	    {LIT("\x82\x85" ZERO), 4, "=1009"},
	    {LIT("\x82\xfe\x01\x00" ZERO), 255, "=1009"},
	    {LIT("\x82\xff\0\0\0\0\0\1\0\0" ZERO), 65535, "=1009"},
	    {LIT("\x02\x82" ZERO "ab\x80\xff\x7f\xff\xff\xff\xff\xff\xff\xff" ZERO), 4, "=1009"},
	    /* each message for itself, and control frames not at all */
	    {LIT("\x82\x83" ZERO "abc\x82\x83" ZERO "def"), 4, "B3:abc B3:def =0"},
	    {LIT("\x02\x84" ZERO "abcd\x89\x85" ZERO "Hello\x80\x80" ZERO), 4,
		"P5:Hello B4:abcd =0"},
	};

	for (size_t i = 0; i < COUNT(cases); i++)
		assert_log(cases[i].data, cases[i].len, cases[i].max, cases[i].want);
}

/* ---- handlers that have had enough ---- */

static void
a_handler_that_returns_false_ends_the_read_behind_its_frame(void **state)
{
	static const uint8_t stream[] = "\x81\x81" ZERO "a\x01\x81" ZERO "b\x89\x81" ZERO "c"
					"\x80\x81" ZERO "d\x82\x81" ZERO "e";
	static const size_t ends[] = {7, 21, 28, 35}; /* of the frames with a call */
	static const char *const logs[] = {"T1:a ", "P1:c ", "T2:bd ", "B1:e "};

	for (size_t first = 0; first < sizeof(stream); first++) {
		struct ws_reader reader = {NULL};
		struct record r = {.calls_left = 0};
		size_t from = 0, used;

		/* Every call returns false; a read that begins anywhere goes on where it was. */
		for (size_t i = 0; i < COUNT(ends); i++) {
			size_t to = first > from && first < ends[i] ? first : sizeof(stream) - 1;

			buf_clear(&r.log);
			for (; from < ends[i]; to = sizeof(stream) - 1) {
				r.calls_left = 1;
				assert_int_equal(
				    feed(&reader, stream + from, to - from, MAX, &used, &r), 0);
				from += used;
				assert_true(from == to || from == ends[i]);
			}
			assert_int_equal(from, ends[i]);
			assert_string_equal(buf_cstr(&r.log), logs[i]);
		}
		ws_reader_fini(&reader);
		buf_fini(&r.log);
	}
}

static void
all_that_was_read_is_used_otherwise(void **state)
{
	struct ws_reader reader = {NULL};
	struct record r = {.calls_left = 0};
	size_t used = 99;

	assert_int_equal(feed(&reader, LIT(""), MAX, &used, &r), 0);
	assert_int_equal(used, 0);
	assert_int_equal(
	    feed(&reader, LIT("\x81\x81" ZERO "a\x82\x82" ZERO "b"), MAX, &used, &r), 0);
	assert_int_equal(used, 14);
	ws_reader_fini(&reader);
	buf_fini(&r.log);
}

/* ---- handshake ---- */

static void
the_key_of_the_rfc(void **state)
{
	char accept[WS_ACCEPT_MAX];

	assert_true(ws_accept_key("dGhlIHNhbXBsZSBub25jZQ==", 24, accept));
	assert_string_equal(accept, "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
	assert_true(ws_accept_key("AAAAAAAAAAAAAAAAAAAAAA==", 24, accept));
	assert_true(ws_accept_key("+/+/+/+/+/+/+/+/+/+/+w==", 24, accept));
}

static void
wrong_keys(void **state)
{
	static const char *const cases[] = {"", "=", "dGhlIHNhbXBsZSBub25jZQ",
	    "dGhlIHNhbXBsZSBub25jZQ=", "dGhlIHNhbXBsZSBub25jZQ===", "dGhlIHNhbXBsZSBub25jZQAA",
	    "dGhlIHNhbXBsZSBub25jZQA=", "dGhlIHNhbXBsZSBub25j",
	    "dGhlIHNhbXBsZSBub25jZGhlIA==", " GhlIHNhbXBsZSBub25jZQ==", "dGhl IHNhbXBsZSBub25jZQ==",
	    "dGhlIHNhbXBsZSBub25j Q==", "dGhlIHNhbXBsZSBub25j-_==", "dGhlIHNhbXBsZSBub25jZQ= ",
	    "dGhlIHNhb\001sZSBub25jZQ==", "dGhlIHNhb\xc3\xa9ZSBub25jZQ==",
	    "    IHNhbXBsZSBub25jZQ==", "\n\n\n\nIHNhbXBsZSBub25jZQ=="};
	char accept[WS_ACCEPT_MAX];

	for (size_t i = 0; i < COUNT(cases); i++)
		if (ws_accept_key(cases[i], strlen(cases[i]), accept))
			fail_msg("accepted: %s", cases[i]);
}

/* OpenSSL reads "=" as a digit wherever it stands. */
static void
a_key_with_padding_inside_is_no_key(void **state)
{
	char accept[WS_ACCEPT_MAX];

	assert_false(ws_accept_key("dGhlIHNhbXBsZSBub25jZ===", 24, accept));
	assert_false(ws_accept_key("dGhlIHNhb==sZSBub25jZQ==", 24, accept));
	assert_false(ws_accept_key("dGhlIHNhbXBsZSBub25jZQ=A", 24, accept));
	assert_false(ws_accept_key("========================", 24, accept));
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(the_examples_of_the_rfc),
	    cmocka_unit_test(lengths_in_their_three_forms),
	    cmocka_unit_test(violations_have_their_code),
	    cmocka_unit_test(closes),
	    cmocka_unit_test(every_way_of_cutting_short_streams),
	    cmocka_unit_test(every_two_cuts_of_a_long_stream),
	    cmocka_unit_test(an_empty_message_in_pieces_has_an_address),
	    cmocka_unit_test(memory_is_given_back_between_messages),
	    cmocka_unit_test(the_limit_exactly_and_one_more),
	    cmocka_unit_test(a_handler_that_returns_false_ends_the_read_behind_its_frame),
	    cmocka_unit_test(all_that_was_read_is_used_otherwise),
	    cmocka_unit_test(the_key_of_the_rfc),
	    cmocka_unit_test(wrong_keys),
	    cmocka_unit_test(a_key_with_padding_inside_is_no_key),
	};

	cmocka_set_message_output(CM_OUTPUT_TAP);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
