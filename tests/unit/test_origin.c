/* SPDX-License-Identifier: ISC */
/*
 * origin: who is let in, and the CORS headers (protocol, section 9.1).  A request is made
 * without a connection; the file under test is included so that its answer can be caught.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#define http_reply catch_reply
#include "wire/origin.c"
#undef http_reply

#define COUNT(a) (sizeof(a) / sizeof(*(a)))

static struct {
	int status; /* 0: none */
	char headers[512];
} caught;

void
catch_reply(struct http_req *r, int status, const char *type, const char *headers, const void *body,
    size_t len)
{
	assert_null(type);
	assert_int_equal(len, 0);
	caught.status = status;
	snprintf(caught.headers, sizeof(caught.headers), "%s", headers);
}

/* fields: lines of the head; Host is chat.example. */
static struct http_req *
request_with(const char *host, const char *method, const char *fields)
{
	const struct head_limits limits = {1000, 4000, 20};
	struct head_fault fault;
	struct http_head h;
	char text[600];
	long n;

	snprintf(text, sizeof(text), "%s /socket.io/ HTTP/1.1\r\nHost: %s\r\n%s\r\n", method, host,
	    fields);
	n = http_head_parse(text, strlen(text), &limits, &h, &fault);
	assert_true(n > 0);
	return http_req_new(NULL, &h, text, (size_t)n);
}

static struct http_req *
request(const char *method, const char *fields)
{
	return request_with("chat.example:8080", method, fields);
}

static struct http_req *
request_to(const char *host, const char *method, const char *origin)
{
	char line[200] = "";

	if (origin)
		snprintf(line, sizeof(line), "Origin: %s\r\n", origin);
	return request_with(host, method, line);
}

static struct http_req *
request_from(const char *method, const char *origin)
{
	return request_to("chat.example:8080", method, origin);
}

static void
allowed(void **state)
{
	static const struct {
		const char *origins, *origin;
		bool allowed;
	} cases[] = {
	    {NULL, "https://evil.example", true},
	    {"", NULL, true},
	    {"", "https://evil.example", false},
	    {"", "null", false},
	    {"", "", false},
	    {"", "http://chat.example:8080", true},
	    {"", "https://CHAT.example:8080", true},
	    {"", "http://chat.example", false},
	    {"", "http://chat.example:80800", false},
	    {"", "http://xchat.example:8080", false},
	    {"", "chat.example:8080", false},
	    {"", "http://chat.example:8080/", false},
	    {"*", "https://evil.example", true},
	    {"*", "null", true},
	    {"https://a.example", "https://a.example", true},
	    {"https://a.example", "HTTPS://A.example", true},
	    {"https://a.example", "http://a.example", false},
	    {"https://a.example", "https://a.example.evil", false},
	    {"https://a.example", "https://a.exampl", false},
	    {"https://a.example", "https://a.example:444", false},
	    {"https://a.example", "https://chat.example:8080", true},
	    {" https://a.example\t\nhttps://b.example ", "https://b.example", true},
	    {"https://a.example https://b.example", "https://a.example https://b.example", false},
	    {"https://a.example *", "https://c.example", true},
	    {"https://*.example", "https://a.example", false},
	    {"null", "null", true},
	};

	for (size_t i = 0; i < COUNT(cases); i++) {
		struct wire w = {.origins = (char *)cases[i].origins};
		struct http_req *r = request_from("GET", cases[i].origin);

		if (origin_allowed(&w, r) != cases[i].allowed)
			fail_msg("%s in %s", cases[i].origin, cases[i].origins);
		http_req_free(r);
	}
}

static void
headers(void **state)
{
	static const struct {
		const char *origins;
		bool credentials;
		const char *origin, *want;
	} cases[] = {
	    {NULL, false, "https://a.example", ""},
	    {"", true, "http://chat.example:8080", ""},
	    {"*", false, "https://a.example", "Access-Control-Allow-Origin: *\r\n"},
	    {"*", false, NULL, "Access-Control-Allow-Origin: *\r\n"},
	    /* Browsers take no star together with credentials. */
	    {"*", true, "https://a.example",
		"Vary: Origin\r\nAccess-Control-Allow-Origin: https://a.example\r\n"
		"Access-Control-Allow-Credentials: true\r\n"},
	    {"*", true, NULL, "Vary: Origin\r\n"},
	    {"https://a.example", false, "https://a.example",
		"Vary: Origin\r\nAccess-Control-Allow-Origin: https://a.example\r\n"},
	    {"https://a.example", true, "https://A.example",
		"Vary: Origin\r\nAccess-Control-Allow-Origin: https://A.example\r\n"
		"Access-Control-Allow-Credentials: true\r\n"},
	    {"https://a.example", true, "https://evil.example", "Vary: Origin\r\n"},
	    {"https://a.example", true, NULL, "Vary: Origin\r\n"},
	};

	for (size_t i = 0; i < COUNT(cases); i++) {
		struct wire w = {.origins = (char *)cases[i].origins,
		    .opts.origins_credentials = cases[i].credentials};
		struct http_req *r = request_from("GET", cases[i].origin);
		struct buf b;

		buf_init(&b);
		origin_put_headers(&b, &w, r);
		assert_string_equal(buf_cstr(&b), cases[i].want);
		buf_fini(&b);
		http_req_free(r);
	}
}

static void
preflights(void **state)
{
	static const struct {
		const char *method, *fields, *origins;
		bool answered;
	} cases[] = {
	    {"OPTIONS", "Origin: https://a.example\r\n", "https://a.example", true},
	    {"OPTIONS", "Origin: https://a.example\r\n", "*", true},
	    {"GET", "Origin: https://a.example\r\n", "*", false},
	    {"OPTIONS", "", "*", false},
	    {"OPTIONS", "Origin: https://a.example\r\n", "", false},
	    {"OPTIONS", "Origin: https://a.example\r\n", NULL, false},
	    {"OPTIONS", "Origin: https://evil.example\r\n", "https://a.example", false},
	};

	for (size_t i = 0; i < COUNT(cases); i++) {
		struct wire w = {.origins = (char *)cases[i].origins};
		struct http_req *r = request(cases[i].method, cases[i].fields);

		caught.status = 0;
		assert_int_equal(origin_preflight(r, &w), cases[i].answered);
		assert_int_equal(caught.status, cases[i].answered ? 204 : 0);
		http_req_free(r);
	}
}

static void
a_preflight_names_methods_and_reflects_the_headers(void **state)
{
	struct wire w = {.origins = (char *)"*"};
	struct http_req *r = request("OPTIONS", "Origin: null\r\n");

	assert_true(origin_preflight(r, &w));
	assert_string_equal(caught.headers,
	    "Access-Control-Allow-Methods: GET,HEAD,PUT,PATCH,POST,DELETE\r\n"
	    "Access-Control-Max-Age: 600\r\n");
	http_req_free(r);
	r = request(
	    "OPTIONS", "Origin: null\r\nAccess-Control-Request-Headers: x-foo, authorization\r\n");
	assert_true(origin_preflight(r, &w));
	assert_non_null(
	    strstr(caught.headers, "\r\nAccess-Control-Allow-Headers: x-foo, authorization\r\n"
				   "Vary: Access-Control-Request-Headers\r\n"));
	http_req_free(r);
}

/* Who may act with the rights of a cookie: scheme, host and port count, a star does not. */
static void
only_known_pages_use_cookies(void **state)
{
	static const struct {
		const char *origins, *host, *origin;
		bool secure, trusted;
	} cases[] = {
	    {"", "chat.example:8080", NULL, false, false},
	    {"", "chat.example:8080", "http://chat.example:8080", false, true},
	    {"", "chat.example:8080", "HTTP://CHAT.example:8080", false, true},
	    {"", "chat.example:8080", "https://chat.example:8080", false, false},
	    {"", "chat.example:8080", "http://chat.example:8080", true, false},
	    {"", "chat.example:8080", "http://chat.example", false, false},
	    {"", "chat.example:8080", "http://chat.example:80801", false, false},
	    {"", "chat.example:8080", "http://chat.example:808", false, false},
	    {"", "chat.example:8080", "http://xchat.example:8080", false, false},
	    {"", "chat.example:8080", "http://chat.example:8080.evil", false, false},
	    {"", "chat.example:8080", "chat.example:8080", false, false},
	    {"", "chat.example:8080", "null", false, false},
	    {"", "chat.example:8080", "", false, false},
	    {"", "chat.example", "https://chat.example", true, true},
	    {"", "chat.example:443", "https://chat.example", true, true},
	    {"", "chat.example", "https://chat.example:443", true, true},
	    {"", "chat.example:80", "http://chat.example", false, true},
	    {"", "chat.example:80", "https://chat.example", true, false},
	    {"", "chat.example:443", "http://chat.example", false, false},
	    {"*", "chat.example", "https://evil.example", true, false},
	    {"*", "chat.example", "*", true, false},
	    {"null", "chat.example", "null", true, false},
	    {"https://a.example *", "chat.example", "https://a.example", true, true},
	    {"https://a.example", "chat.example", "http://a.example", true, false},
	    {NULL, "chat.example", "https://evil.example", true, false},
	    {NULL, "chat.example", "https://chat.example", true, true},
	};

	for (size_t i = 0; i < COUNT(cases); i++) {
		struct wire w = {.origins = (char *)cases[i].origins};
		struct http_req *r = request_to(cases[i].host, "POST", cases[i].origin);

		if (origin_trusted(&w, r, cases[i].secure) != cases[i].trusted)
			fail_msg("%zu: %s at %s", i, cases[i].origin, cases[i].host);
		http_req_free(r);
	}
}

static void
cookies_are_found_by_their_whole_name(void **state)
{
	static const struct {
		const char *header, *prefix, *value; /* NULL: none */
	} cases[] = {
	    {NULL, "", NULL},
	    {"", "", NULL},
	    {"sid=abc", "", "abc"},
	    {"a=b; sid=abc; c=d", "", "abc"},
	    {"a=b;sid=abc;c=d", "", "abc"},
	    {"sid=abc ; c=d", "", "abc"},
	    {"sid=first; sid=second", "", "first"},
	    {"xsid=abc; sid2=abc; sid", "", NULL},
	    {"a=sid=abc", "", NULL},
	    {"sid=", "", NULL},
	    {"sid=; sid=second", "", NULL},
	    {"SID=abc", "", NULL},
	    {"sid=a=b", "", "a=b"},
	    {"sid=1234567", "", "1234567"},
	    {"sid=12345678", "", NULL}, /* does not fit */
	    {"sid=abc", "__Host-", NULL},
	    {"sid=abc; __Host-sid=safe", "__Host-", "safe"},
	    {"__Host-sid=safe", "", NULL},
	};
	char value[8];

	for (size_t i = 0; i < COUNT(cases); i++) {
		bool found =
		    cookie_value(cases[i].header, cases[i].prefix, "sid", value, sizeof(value));

		if (found != (cases[i].value != NULL))
			fail_msg("%s", cases[i].header);
		if (found)
			assert_string_equal(value, cases[i].value);
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(allowed),
	    cmocka_unit_test(headers),
	    cmocka_unit_test(preflights),
	    cmocka_unit_test(only_known_pages_use_cookies),
	    cmocka_unit_test(cookies_are_found_by_their_whole_name),
	    cmocka_unit_test(a_preflight_names_methods_and_reflects_the_headers),
	};

	cmocka_set_message_output(CM_OUTPUT_TAP);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
