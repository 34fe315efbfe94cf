/* SPDX-License-Identifier: ISC */
/* head: what is a request head, what is refused and how, and escapes. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "wire/head.h"

#define COUNT(a) (sizeof(a) / sizeof(*(a)))
#define HOST     "Host: x\r\n"

static const struct head_limits limits = {.target = 64, .total = 1024, .fields = 20};

static struct http_head head;
static struct head_fault fault;

/* On a copy that ends where the text ends, so that a sanitizer sees a read beyond it. */
static long
parse_bytes(const char *text, size_t len)
{
	char *copy = malloc(len + !len);
	long n;

	memcpy(copy, text, len);
	memset(&head, 0xa5, sizeof(head)); /* nothing may depend on what was there */
	fault = (struct head_fault){0, NULL};
	n = http_head_parse(copy, len, &limits, &head, &fault);
	free(copy);
	return n;
}

static long
parse(const char *text)
{
	return parse_bytes(text, strlen(text));
}

static void
assert_accepted(const char *text)
{
	if (parse(text) != (long)strlen(text))
		fail_msg("%d %s for: %s", fault.status, fault.code ? fault.code : "more", text);
}

static void
assert_refused(const char *text, int status, const char *code)
{
	if (parse(text) != -1 || fault.status != status || strcmp(fault.code, code) != 0)
		fail_msg("%d %s, wanted %d %s for: %s", fault.status, fault.code ? fault.code : "-",
		    status, code, text);
}

static void
assert_span(const char *text, struct span s, const char *want)
{
	assert_int_equal(s.len, strlen(want));
	assert_memory_equal(text + s.at, want, s.len);
}

static void
request_lines(void **state)
{
	static const struct {
		const char *text;
		enum http_method method;
		unsigned int minor;
		const char *path, *query;
	} cases[] = {
	    {"GET / HTTP/1.1\r\n", HTTP_GET, 1, "/", ""},
	    {"HEAD /a HTTP/1.1\r\n", HTTP_HEAD, 1, "/a", ""},
	    {"POST /a?b HTTP/1.1\r\n", HTTP_POST, 1, "/a", "b"},
	    {"PUT /a? HTTP/1.0\r\n", HTTP_PUT, 0, "/a", ""},
	    {"PATCH /a?b?c HTTP/1.0\r\n", HTTP_PATCH, 0, "/a", "b?c"},
	    {"DELETE /%41//../~ HTTP/1.1\r\n", HTTP_DELETE, 1, "/%41//../~", ""},
	    {"OPTIONS /?a=/b HTTP/1.1\r\n", HTTP_OPTIONS, 1, "/", "a=/b"},
	    {"\r\nGET /a HTTP/1.1\r\n", HTTP_GET, 1, "/a", ""},
	    {"GET http://x/a?b HTTP/1.1\r\n", HTTP_GET, 1, "/a", "b"},
	    {"GET HTTPS://x:80/ HTTP/1.1\r\n", HTTP_GET, 1, "/", ""},
	    {"GET /http://x HTTP/1.1\r\n", HTTP_GET, 1, "/http://x", ""},
	    {"GET http://x HTTP/1.1\r\n", HTTP_GET, 1, "", ""},
	    {"GET http://x?a=/b HTTP/1.1\r\n", HTTP_GET, 1, "", "a=/b"},
	    {"GET / HTTP/1.2\r\n", HTTP_GET, 1, "/", ""},
	    {"GET / HTTP/1.9\r\n", HTTP_GET, 1, "/", ""},
	};
	char text[200];

	for (size_t i = 0; i < COUNT(cases); i++) {
		snprintf(text, sizeof(text), "%s" HOST "\r\n", cases[i].text);
		assert_accepted(text);
		assert_int_equal(head.method, cases[i].method);
		assert_int_equal(head.minor, cases[i].minor);
		assert_span(text, head.path, cases[i].path);
		assert_span(text, head.query, cases[i].query);
	}
}

static void
request_lines_refused(void **state)
{
	static const struct {
		const char *line;
		int status;
		const char *code;
	} cases[] = {
	    {"", 400, "bad_request_line"},
	    {"GET", 400, "bad_request_line"},
	    {"GET /", 400, "bad_request_line"},
	    {"GET / ", 400, "bad_request_line"},
	    {"GET /  HTTP/1.1", 400, "bad_request_line"},
	    {"GET / HTTP/1.1 ", 400, "bad_request_line"},
	    {"GET / http/1.1", 400, "bad_request_line"},
	    {"GET / HTTP/1.10", 400, "bad_request_line"},
	    {"GET / HTTP/11", 400, "bad_request_line"},
	    {" GET / HTTP/1.1", 400, "bad_request_line"},
	    {"G(T / HTTP/1.1", 400, "bad_request_line"},
	    {"GET\t/ HTTP/1.1", 400, "bad_request_line"},
	    {"GET /\x01 HTTP/1.1", 400, "bad_request_line"},
	    {"GET /\x7f HTTP/1.1", 400, "bad_request_line"},
	    {"GET / HTTP/1.1\nHost: x", 400, "bad_request_line"},
	    {"GET / HTTP/1.1\rHost: x", 400, "bad_request_line"},
	    {"\r\n\r\nGET / HTTP/1.1", 400, "bad_request_line"},
	    {"GET / HTTP/1.x", 400, "bad_request_line"},
	    {"GET / HTTP/x.1", 400, "bad_request_line"},
	    {"GET / HTTP/1,1", 400, "bad_request_line"},
	    {"GET / HTTP/0.9", 505, "http_version"},
	    {"GET / HTTP/2.0", 505, "http_version"},
	    {"PRI * HTTP/2.0", 505, "http_version"},
	    {"get / HTTP/1.1", 501, "method_not_implemented"},
	    {"GETS / HTTP/1.1", 501, "method_not_implemented"},
	    {"TRACE / HTTP/1.1", 501, "method_not_implemented"},
	    {"CONNECT x:1 HTTP/1.1", 501, "method_not_implemented"},
	    {"GET  HTTP/1.1", 400, "bad_target"},
	    {"GET a HTTP/1.1", 400, "bad_target"},
	    {"GET * HTTP/1.1", 400, "bad_target"},
	    {"GET ?a HTTP/1.1", 400, "bad_target"},
	    {"GET /a#b HTTP/1.1", 400, "bad_target"},
	    {"GET /\t HTTP/1.1", 400, "bad_target"},
	    {"GET /\xc3\xa9 HTTP/1.1", 400, "bad_target"},
	    {"GET https:// HTTP/1.1", 400, "bad_target"},
	    {"GET http:///b HTTP/1.1", 400, "bad_target"},
	    {"GET http://?a HTTP/1.1", 400, "bad_target"},
	    {"GET http://u@x/ HTTP/1.1", 400, "bad_target"},
	    {"GET http://x:y/ HTTP/1.1", 400, "bad_target"},
	    {"GET ftp://x/ HTTP/1.1", 400, "bad_target"},
	};
	char text[200];

	for (size_t i = 0; i < COUNT(cases); i++) {
		snprintf(text, sizeof(text), "%s\r\n" HOST "\r\n", cases[i].line);
		assert_refused(text, cases[i].status, cases[i].code);
	}
	assert_int_equal(parse_bytes("GET /\0 HTTP/1.1\r\n\r\n", 19), -1);
	assert_string_equal(fault.code, "bad_request_line");
}

static void
fields(void **state)
{
	static const char text[] = "GET / HTTP/1.1\r\nHost: x\r\nA:1\r\nb-: \t 2 3\t \r\n"
				   "a: second\r\nEmpty:\r\nBlank: \t\r\nX~!: \xff:\r\n\r\nbody";
	static const struct {
		const char *name, *value;
	} cases[] = {{"host", "x"}, {"a", "1"}, {"b-", "2 3"}, {"empty", ""}, {"blank", ""},
	    {"x~!", "\xff:"}};

	assert_int_equal(parse(text), sizeof(text) - 5);
	assert_int_equal(head.field_count, 7);
	assert_span(text, head.fields[3].value, "second");
	for (size_t i = 0; i < COUNT(cases); i++) {
		const struct head_field *f = http_head_find(&head, text, cases[i].name);

		assert_non_null(f);
		assert_span(text, f->value, cases[i].value);
	}
	assert_null(http_head_find(&head, text, "hos"));
	assert_null(http_head_find(&head, text, "hostx"));
	assert_null(http_head_find(&head, text, ""));
}

static void
fields_refused(void **state)
{
	static const struct {
		const char *fields;
		int status;
		const char *code;
	} cases[] = {
	    {"A\r\n", 400, "bad_field"},
	    {": 1\r\n", 400, "bad_field"},
	    {"A : 1\r\n", 400, "bad_field"},
	    {" A: 1\r\n", 400, "bad_field"},
	    {"A: 1\r\n folded\r\n", 400, "bad_field"},
	    {"A: 1\r\n\tfolded: 1\r\n", 400, "bad_field"},
	    {"A(: 1\r\n", 400, "bad_field"},
	    {"\xc3\xa9: 1\r\n", 400, "bad_field"},
	    {"A: 1\nB: 2\r\n", 400, "bad_field"},
	    {"A: 1\rB: 2\r\n", 400, "bad_field"},
	    {"A: 1\r\r\n", 400, "bad_field"},
	    {"A: \x01\r\n", 400, "bad_field"},
	    {"A: \x7f\r\n", 400, "bad_field"},
	    {"Content-Length:\r\n", 400, "bad_content_length"},
	    {"Content-Length: -1\r\n", 400, "bad_content_length"},
	    {"Content-Length: +1\r\n", 400, "bad_content_length"},
	    {"Content-Length: 0x1\r\n", 400, "bad_content_length"},
	    {"Content-Length: 1, 1\r\n", 400, "bad_content_length"},
	    {"Content-Length: 1 1\r\n", 400, "bad_content_length"},
	    {"Content-Length: 1234567890123456\r\n", 400, "bad_content_length"},
	    {"Content-Length: 1\r\nContent-Length: 1\r\n", 400, "bad_content_length"},
	    {"Content-Length: 0\r\ncontent-length: 1\r\n", 400, "bad_content_length"},
	    {"Transfer-Encoding: chunked\r\nContent-Length: 1\r\n", 400, "bad_transfer_encoding"},
	    {"Content-Length: 0\r\nTransfer-Encoding: chunked\r\n", 400, "bad_transfer_encoding"},
	    {"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n", 400,
		"bad_transfer_encoding"},
	    {"Transfer-Encoding: gzip\r\nTransfer-Encoding: chunked\r\n", 400,
		"bad_transfer_encoding"},
	    {"Transfer-Encoding: gzip, chunked\r\n", 501, "transfer_encoding_not_implemented"},
	    {"Transfer-Encoding: chunked, chunked\r\n", 501, "transfer_encoding_not_implemented"},
	    {"Transfer-Encoding: xchunked\r\n", 400, "bad_transfer_encoding"},
	    {"Transfer-Encoding: chunked, gzip\r\n", 400, "bad_transfer_encoding"},
	    {"Transfer-Encoding: chunked,\r\n", 400, "bad_transfer_encoding"},
	    {"Transfer-Encoding:\r\n", 400, "bad_transfer_encoding"},
	    {"Expect: 200-ok\r\n", 417, "expectation_failed"},
	    {"Expect:\r\n", 417, "expectation_failed"},
	    {"Host: y\r\n", 400, "bad_host"},
	    {"Host: x\r\n", 400, "bad_host"},
	};
	char text[300];

	for (size_t i = 0; i < COUNT(cases); i++) {
		snprintf(text, sizeof(text), "GET / HTTP/1.1\r\n" HOST "%s\r\n", cases[i].fields);
		assert_refused(text, cases[i].status, cases[i].code);
	}
	assert_int_equal(parse_bytes("GET / HTTP/1.1\r\nA: \0\r\n\r\n", 24), -1);
	assert_string_equal(fault.code, "bad_field");
	assert_refused(
	    "GET / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n", 400, "bad_transfer_encoding");
	assert_refused("GET / HTTP/1.1\r\n\r\n", 400, "host_required");
	assert_accepted("GET / HTTP/1.0\r\n\r\n");
}

/* RFC 9112, 3.2: one Host field, and it is a host. */
static void
a_host_that_is_none_is_refused(void **state)
{
	static const char *const bad[] = {"", "a b", "a/b", "a?b", "a#b", "u@a", "a\\b", ":80",
	    "a:b", "a:123456", "[", "[]", "[::1", "[::1]x", "a]", "a:1:2", "\"a\"", "a<b",
	    "\xc3\xa9", "a\tb"};
	static const char *const good[] = {"a", "a.example:8080", "[::1]:80", "127.0.0.1",
	    "xn--a_b~", "a%20b", "a!$&'()*+,;=", "a:"};
	char text[200];

	for (size_t i = 0; i < COUNT(bad); i++) {
		snprintf(text, sizeof(text), "GET / HTTP/1.1\r\nHost: %s\r\n\r\n", bad[i]);
		assert_refused(text, 400, "bad_host");
	}
	for (size_t i = 0; i < COUNT(good); i++) {
		snprintf(text, sizeof(text), "GET / HTTP/1.1\r\nHost: %s\r\n\r\n", good[i]);
		assert_accepted(text);
	}
}

static void
meaning(void **state)
{
	static const struct {
		const char *fields;
		unsigned int minor;
		bool keep_alive, websocket, chunked;
		int64_t length; /* -1: not given */
	} cases[] = {
	    {"", 1, true, false, false, -1},
	    {"", 0, false, false, false, -1},
	    {"Connection: close\r\n", 1, false, false, false, -1},
	    {"Connection: keep-alive\r\n", 0, true, false, false, -1},
	    {"Connection: Keep-Alive , Close\r\n", 0, false, false, false, -1},
	    {"Connection: keep-alive\r\nConnection: close\r\n", 1, false, false, false, -1},
	    {"Connection: closed, xclose\r\n", 1, true, false, false, -1},
	    {"Connection: ,, a\t,\tclose ,\r\n", 1, false, false, false, -1},
	    {"Connection: Upgrade\r\nUpgrade: websocket\r\n", 1, true, true, false, -1},
	    {"upgrade: h2c , WebSocket\r\nconnection: keep-alive, UPGRADE\r\n", 1, true, true,
		false, -1},
	    {"Connection: Upgrade\r\nUpgrade: h2c\r\n", 1, true, false, false, -1},
	    {"Connection: Upgrade\r\nUpgrade: websocket/13\r\n", 1, true, false, false, -1},
	    {"Upgrade: websocket\r\n", 1, true, false, false, -1},
	    {"Connection: upgrade\r\n", 1, true, false, false, -1},
	    {"Connection: upgrade2\r\nUpgrade: websocket\r\n", 1, true, false, false, -1},
	    {"Content-Length: 0\r\n", 1, true, false, false, 0},
	    {"CONTENT-LENGTH:\t007 \r\n", 1, true, false, false, 7},
	    {"Content-Length: 999999999999999\r\n", 1, true, false, false, 999999999999999},
	    {"Transfer-Encoding: Chunked\r\n", 1, true, false, true, -1},
	};
	char text[300];

	for (size_t i = 0; i < COUNT(cases); i++) {
		snprintf(text, sizeof(text), "POST / HTTP/1.%u\r\n" HOST "%s\r\n", cases[i].minor,
		    cases[i].fields);
		assert_accepted(text);
		assert_int_equal(head.keep_alive, cases[i].keep_alive);
		assert_int_equal(head.websocket, cases[i].websocket);
		assert_int_equal(head.chunked, cases[i].chunked);
		assert_int_equal(head.length_given, cases[i].length >= 0);
		assert_int_equal(head.length, cases[i].length < 0 ? 0 : cases[i].length);
	}
}

/* RFC 9110, 10.1.1: of an HTTP/1.0 request it is ignored. */
static void
an_expectation(void **state)
{
	assert_accepted("POST / HTTP/1.1\r\n" HOST "Expect: 100-Continue\r\n\r\n");
	assert_true(head.expect_continue);
	assert_accepted("POST / HTTP/1.0\r\n" HOST "Expect: 100-continue\r\n\r\n");
	assert_false(head.expect_continue);
	assert_accepted("POST / HTTP/1.1\r\n" HOST "\r\n");
	assert_false(head.expect_continue);
}

/* RFC 9110, 7.8: an Upgrade field of an HTTP/1.0 request is ignored. */
static void
http_1_0_does_not_upgrade(void **state)
{
	assert_accepted(
	    "GET / HTTP/1.0\r\n" HOST "Connection: Upgrade\r\nUpgrade: websocket\r\n\r\n");
	assert_false(head.websocket);
}

/* A text with a target of so many bytes, filled up with a field to total bytes. */
static const char *
sized(size_t target, size_t total)
{
	static char text[4096];
	size_t n;

	n = (size_t)snprintf(
	    text, sizeof(text), "GET /%0*d HTTP/1.1\r\n" HOST "A: ", (int)target - 1, 0);
	memset(text + n, 'a', total - n - 4);
	strcpy(text + total - 4, "\r\n\r\n");
	return text;
}

static void
limits_exactly_and_one_more(void **state)
{
	char text[4096] = "GET / HTTP/1.1\r\n" HOST;
	size_t n;

	assert_accepted(sized(limits.target, 200));
	assert_refused(sized(limits.target + 1, 200), 414, "uri_too_long");
	assert_accepted(sized(limits.target, limits.total));
	assert_refused(sized(limits.target, limits.total + 1), 431, "head_too_large");
	/* Nothing is awaited that cannot be accepted any more. */
	assert_int_equal(parse_bytes(sized(8, limits.total), limits.total - 1), 0);
	assert_int_equal(parse_bytes(sized(8, limits.total + 1), limits.total), -1);
	assert_string_equal(fault.code, "head_too_large");
	assert_int_equal(parse_bytes(sized(900, 1000), limits.target + 32), 0);
	assert_int_equal(parse_bytes(sized(900, 1000), limits.target + 33), -1);
	assert_string_equal(fault.code, "uri_too_long");

	for (n = strlen(text); head.field_count < limits.fields; n += 4) {
		strcpy(text + n, "a:\r\n\r\n");
		assert_accepted(text);
	}
	strcpy(text + n, "a:\r\n\r\n");
	assert_refused(text, 431, "too_many_fields");
}

static void
every_cut_of_a_good_head_needs_more(void **state)
{
	static const char *const good[] = {
	    "GET /socket.io/?EIO=4&transport=polling HTTP/1.1\r\n" HOST "Accept: */*\r\n\r\n",
	    "\r\nPOST http://x/v1/x HTTP/1.1\r\n" HOST
	    "Content-Length: 3\r\nConnection: a,b\r\n\r\n",
	    "PUT / HTTP/1.0\r\n\r\n",
	    "OPTIONS /123456789012345678901234567890123456789012345678901234567890123 "
	    "HTTP/1.1\r\n" HOST "\r\n",
	};

	for (size_t i = 0; i < COUNT(good); i++) {
		size_t len = strlen(good[i]);

		for (size_t cut = 0; cut < len; cut++)
			if (parse_bytes(good[i], cut) != 0)
				fail_msg("cut %zu of %s", cut, good[i]);
		assert_accepted(good[i]);
	}
}

static void
decoding(void **state)
{
	static const struct {
		const char *text;
		bool plus;
		const char *want; /* NULL: refused */
	} cases[] = {
	    {"", false, ""},
	    {"abc", false, "abc"},
	    {"%41%7a%7A", false, "Azz"},
	    {"a+b", false, "a+b"},
	    {"a+b%2B", true, "a b+"},
	    {"%2541", false, "%41"},
	    {"%c3%A9\xc3\xa9", false, "\xc3\xa9\xc3\xa9"},
	    {"%20%7e%2f%2e%2e", false, " ~/.."},
	    {"%", false, NULL},
	    {"%4", false, NULL},
	    {"ab%4", false, NULL},
	    {"%%41", false, NULL},
	    {"%4g", false, NULL},
	    {"%g4", false, NULL},
	    {"%+1", true, NULL},
	    {"% 1", false, NULL},
	    {"%-1", false, NULL},
	    {"%0x", false, NULL},
	    {"%00", false, NULL},
	    {"%0a", false, NULL},
	    {"%1F", false, NULL},
	    {"%7f", false, NULL},
	    {"\t", false, NULL},
	};

	for (size_t i = 0; i < COUNT(cases); i++) {
		size_t len = strlen(cases[i].text);
		char *src = malloc(len + !len), *dst = malloc(len + 1);
		long n;

		memcpy(src, cases[i].text, len);
		n = http_decode(dst, src, len, cases[i].plus);
		if (n != (cases[i].want ? (long)strlen(cases[i].want) : -1))
			fail_msg("%ld for: %s", n, cases[i].text);
		if (cases[i].want)
			assert_string_equal(dst, cases[i].want);
		free(src);
		free(dst);
	}
}

static void
query_parameters(void **state)
{
	static const struct {
		const char *query;
		enum http_query got;
		const char *want;
	} cases[] = {
	    {"", HTTP_QUERY_ABSENT, NULL},
	    {"sid", HTTP_QUERY_GOOD, ""},
	    {"sid=", HTTP_QUERY_GOOD, ""},
	    {"sid=a", HTTP_QUERY_GOOD, "a"},
	    {"a=1&sid=b&c=2", HTTP_QUERY_GOOD, "b"},
	    {"&&sid=c&&", HTTP_QUERY_GOOD, "c"},
	    {"sid=d=e?f/g", HTTP_QUERY_GOOD, "d=e?f/g"},
	    {"sid=first&sid=last", HTTP_QUERY_GOOD, "last"},
	    {"sid=first&sid", HTTP_QUERY_GOOD, ""},
	    {"sid=%41+b%2B", HTTP_QUERY_GOOD, "A b+"},
	    {"%73i%64=a", HTTP_QUERY_GOOD, "a"},
	    {"sid=first&%73id=last", HTTP_QUERY_GOOD, "last"},
	    {"sidx=1", HTTP_QUERY_ABSENT, NULL},
	    {"xsid=1", HTTP_QUERY_ABSENT, NULL},
	    {"si=1", HTTP_QUERY_ABSENT, NULL},
	    {"SID=1", HTTP_QUERY_ABSENT, NULL},
	    {"a=sid=1", HTTP_QUERY_ABSENT, NULL},
	    {"sid%=1", HTTP_QUERY_ABSENT, NULL},
	    {"sid%3d=1", HTTP_QUERY_ABSENT, NULL},
	    {"sid%00=1", HTTP_QUERY_ABSENT, NULL},
	    {"sid=%zz", HTTP_QUERY_MALFORMED, NULL},
	    {"sid=good&sid=%0a", HTTP_QUERY_MALFORMED, NULL},
	    {"sid=%0a&sid=good", HTTP_QUERY_GOOD, "good"},
	    {"a123456789012345678901234567890123456789012345678901234567890123=1&sid=b",
		HTTP_QUERY_GOOD, "b"},
	};

	for (size_t i = 0; i < COUNT(cases); i++) {
		size_t len = strlen(cases[i].query);
		char *query = malloc(len + !len), *dst = malloc(len + 1);
		enum http_query got;

		memcpy(query, cases[i].query, len);
		got = http_query_get(query, len, "sid", dst);
		if (got != cases[i].got || (cases[i].want && strcmp(dst, cases[i].want) != 0))
			fail_msg("%s: %d", cases[i].query, (int)got);
		free(query);
		free(dst);
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(request_lines),
	    cmocka_unit_test(request_lines_refused),
	    cmocka_unit_test(fields),
	    cmocka_unit_test(fields_refused),
	    cmocka_unit_test(a_host_that_is_none_is_refused),
	    cmocka_unit_test(meaning),
	    cmocka_unit_test(an_expectation),
	    cmocka_unit_test(http_1_0_does_not_upgrade),
	    cmocka_unit_test(limits_exactly_and_one_more),
	    cmocka_unit_test(every_cut_of_a_good_head_needs_more),
	    cmocka_unit_test(decoding),
	    cmocka_unit_test(query_parameters),
	};

	cmocka_set_message_output(CM_OUTPUT_TAP);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
