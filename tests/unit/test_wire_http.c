/* SPDX-License-Identifier: ISC */
/* wire: HTTP as bytes: handshakes that are refused, requests, static files. */
#include "../lib/wire_help.h"

#include <time.h>

#define WS                                                                                         \
	" HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"                    \
	"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: "

static void
handshakes_are_refused_before_101(void **state)
{
	assert_http("GET /socket.io/?EIO=4" WS "13\r\n\r\n", "400", "Transport unknown");
	assert_http(
	    "GET /socket.io/?EIO=4&transport=abc" WS "13\r\n\r\n", "400", "Transport unknown");
	assert_http(
	    "GET /socket.io/?EIO=4&transport=polling" WS "13\r\n\r\n", "400", "Bad request");
	assert_http("GET /socket.io/?EIO=3&transport=websocket" WS "13\r\n\r\n", "400",
	    "Unsupported protocol version");
	assert_http("GET /socket.io/?EIO=4&transport=websocket&sid=x" WS "13\r\n\r\n", "400",
	    "Session ID unknown");
	assert_http(
	    "GET /socket.io/?EIO=4&transport=websocket" WS "12\r\n\r\n", "426", "Bad request");
}

/* Clients put the application's parameters in front of EIO and transport. */
static void
a_long_parameter_does_not_hide_those_behind_it(void **state)
{
	char query[2048] = "token=";
	int fd;
	char request[2600];

	memset(query + strlen(query), 't', 1500);
	snprintf(request, sizeof(request),
	    "GET /socket.io/?%s&EIO=4&transport=websocket" WS "13\r\n\r\n", query);
	fd = dial();
	say(fd, request);
	assert_memory_equal(answer_of(fd), "HTTP/1.1 101", 12);
	assert_memory_equal(next(fd), "0{\"sid\":\"", 9);
	close(fd);
	snprintf(
	    request, sizeof(request), "GET /v1/x?%s&q=behind HTTP/1.1\r\nHost: x\r\n\r\n", query);
	assert_http(request, "200", "\r\n\r\nbehind");
}

static void
a_client_that_leaves_aborts_its_request(void **state)
{
	int fd = dial();

	say(fd, "GET /v1/never HTTP/1.1\r\nHost: x\r\n\r\n");
	/* processed before the next connection's request, which is accepted later */
	assert_http("GET /v1/aborted HTTP/1.1\r\nHost: x\r\n\r\n", "200", "aborted 0");
	close(fd);
	for (int i = 0; !strstr(http("GET /v1/aborted HTTP/1.1\r\nHost: x\r\n\r\n"), "aborted 1");
	     i++)
		assert_in_range(i, 0, 1000);
}

static void
one_connection_carries_many_requests(void **state)
{
	int fd = dial();

	for (int i = 0; i < 3; i++) {
		say(fd, "POST /v1/x HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n\r\none");
		assert_non_null(strstr(answer_of(fd), "\r\n\r\none"));
		say(fd, "GET /v1/x?q=two HTTP/1.1\r\nHost: x\r\n\r\n");
		assert_non_null(strstr(answer_of(fd), "\r\n\r\ntwo"));
	}
	close(fd);
}

static void
requests(void **state)
{
	char late[] = "POST /v1/x HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\nab";

	assert_http("POST /v1/x HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\nhello", "200",
	    "\r\n\r\nhello");
	assert_http("POST /v1/x HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n", "200", "");
	assert_http(
	    "POST /v1/x HTTP/1.1\r\nHost: x\r\nContent-Length: 50001\r\n\r\n", "413", "too_large");
	assert_http("POST /v1/x HTTP/1.1\r\nHost: x\r\nContent-Length: -5\r\n\r\n", "400",
	    "bad_content_length");
	assert_http("POST /v1/x HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\nContent-Length: "
		    "5\r\n\r\nhello",
	    "400", "bad_content_length");
	assert_http("POST /v1/x HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\nTransfer-Encoding: "
		    "chunked\r\n\r\nhello",
	    "400", "bad_transfer_encoding");
	assert_http("GET /v1/x HTTP/1.1\r\n\r\n", "400", "host_required");
	assert_http(late, "408", "timeout");
}

/* It was announced to its session as a POST; the session must not keep a request that is gone. */
static void
a_post_that_wants_an_upgrade_leaves_nothing_behind(void **state)
{
	char sid[64], request[512];
	int fd = dial();

	assert_int_equal(sscanf(strstr(http("GET /socket.io/?EIO=4&transport=polling HTTP/1.1\r\n"
					    "Host: x\r\n\r\n"),
				    "\"sid\":\""),
			     "\"sid\":\"%63[^\"]", sid),
	    1);
	snprintf(request, sizeof(request),
	    "POST /socket.io/?EIO=4&transport=polling&sid=%s HTTP/1.1\r\nHost: x\r\n"
	    "Connection: upgrade\r\nUpgrade: websocket\r\nContent-Length: 1\r\n\r\n",
	    sid);
	say(fd, request);
	assert_http("GET /v1/x?q=a HTTP/1.1\r\nHost: x\r\n\r\n", "200", "a"); /* it is read */
	say(fd, "3");
	assert_memory_equal(answer_of(fd), "HTTP/1.1 400", 12);
	close(fd);
	for (int i = 0; i < 2; i++) {
		snprintf(request, sizeof(request),
		    "POST /socket.io/?EIO=4&transport=polling&sid=%s HTTP/1.1\r\nHost: x\r\n"
		    "Content-Length: 1\r\n\r\n3",
		    sid);
		assert_http(request, "200", "ok");
	}
}

#define CHUNKED(body) "POST /v1/x HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n" body

static void
chunked_bodies(void **state)
{
	char big[512];
	int fd;

	assert_http(CHUNKED("5\r\nhello\r\n0\r\n\r\n"), "200", "\r\n\r\nhello");
	assert_http(
	    CHUNKED("2;a=b\r\nhe\r\n03\r\nllo\r\n0\r\nX: y\r\n\r\n"), "200", "\r\n\r\nhello");
	assert_http(CHUNKED("0\r\n\r\n"), "200", "Content-Length: 0");
	assert_http(CHUNKED("g\r\n"), "400", "bad_chunk");
	assert_http(CHUNKED("\r\n"), "400", "bad_chunk");
	assert_http(CHUNKED("1\nx"), "400", "bad_chunk");
	assert_http(CHUNKED("1\r\nxy"), "400", "bad_chunk");
	assert_http(CHUNKED("-1\r\n"), "400", "bad_chunk");
	assert_http(CHUNKED("1 \r\nx"), "400", "bad_chunk");
	assert_http(CHUNKED("0\r\nX: y\n\r\n"), "400", "bad_chunk");
	assert_http(CHUNKED("000000001\r\nx"), "400", "bad_chunk");
	assert_http(CHUNKED("c351\r\n"), "413", "too_large");
	assert_http(CHUNKED("ffffffff\r\n"), "413", "too_large");
	assert_http("POST /v1/x HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: gzip, "
		    "chunked\r\n\r\n",
	    "501", "transfer_encoding");
	assert_http("POST /v1/x HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n", "400",
	    "bad_transfer_encoding");
	fd = dial(); /* the next request begins where the body ends */
	snprintf(big, sizeof(big), "%s%s", CHUNKED("3\r\none\r\n0\r\n\r\n"),
	    "GET /v1/x?q=two HTTP/1.1\r\nHost: x\r\n\r\n");
	say(fd, big);
	assert_non_null(strstr(answer_of(fd), "\r\n\r\none"));
	assert_non_null(strstr(answer_of(fd), "\r\n\r\ntwo"));
	close(fd);
}

static void
static_files(void **state)
{
	char etag[64], request[256];

	assert_http("GET / HTTP/1.1\r\nHost: x\r\n\r\n", "200", "<p>hello");
	assert_http(
	    "GET /index.html HTTP/1.1\r\nHost: x\r\n\r\n", "200", "Content-Security-Policy");
	assert_http("GET /none HTTP/1.1\r\nHost: x\r\n\r\n", "404", "not found");
	assert_http("GET /../../etc/passwd HTTP/1.1\r\nHost: x\r\n\r\n", "40", "");
	assert_http("GET /%2e%2e/%2e%2e/etc/passwd HTTP/1.1\r\nHost: x\r\n\r\n", "40", "");
	assert_http("GET /link HTTP/1.1\r\nHost: x\r\n\r\n", "404", "not found");
	assert_null(strstr(http("GET /..%2f..%2fetc/passwd HTTP/1.1\r\nHost: x\r\n\r\n"), "root:"));
	assert_http("GET /index.html%00.png HTTP/1.1\r\nHost: x\r\n\r\n", "40", "");
	assert_null(strstr(http("HEAD / HTTP/1.1\r\nHost: x\r\n\r\n"), "hello"));
	snprintf(etag, sizeof(etag), "%s",
	    strstr(http("GET / HTTP/1.1\r\nHost: x\r\n\r\n"), "ETag: ") + 6);
	etag[strcspn(etag, "\r")] = '\0';
	snprintf(request, sizeof(request), "GET / HTTP/1.1\r\nHost: x\r\nIf-None-Match: %s\r\n\r\n",
	    etag);
	assert_http(request, "304", etag);
	assert_http("DELETE / HTTP/1.1\r\nHost: x\r\n\r\n", "405", "method not allowed");
}

static void
requests_in_one_read_are_answered_in_order(void **state)
{
	static const char get[] = "GET /v1/x?q=one HTTP/1.1\r\nHost: x\r\n\r\n";
	static const char post[] = "POST /v1/x HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n\r\ntwo";
	char both[256];
	int fd = dial();

	snprintf(both, sizeof(both), "%s%s", get, get);
	say(fd, both);
	assert_non_null(strstr(answer_of(fd), "\r\n\r\none"));
	assert_non_null(strstr(answer_of(fd), "\r\n\r\none"));
	close(fd);
	fd = dial();
	snprintf(both, sizeof(both), "%s%s", get, post);
	say(fd, both);
	assert_non_null(strstr(answer_of(fd), "\r\n\r\none"));
	assert_non_null(strstr(answer_of(fd), "\r\n\r\ntwo"));
	close(fd);
}

static int64_t
cpu_ms(void)
{
	struct timespec t;
	clockid_t clock;

	assert_int_equal(clock_getcpuclockid(server, &clock), 0);
	assert_int_equal(clock_gettime(clock, &t), 0);
	return (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

/* Also with the next request waiting behind the one that is not answered. */
static void
a_request_that_waits_costs_no_time(void **state)
{
	struct pollfd pfd;
	int fd = dial();
	int64_t before;

	say(fd, "GET /v1/never HTTP/1.1\r\nHost: x\r\n\r\n");
	assert_http("GET /v1/x?q=a HTTP/1.1\r\nHost: x\r\n\r\n", "200", "\r\n\r\na");
	say(fd, "GET /v1/x?q=b HTTP/1.1\r\nHost: x\r\n\r\n");
	before = cpu_ms();
	pfd = (struct pollfd){fd, POLLIN, 0};
	assert_int_equal(poll(&pfd, 1, 200), 0);
	assert_in_range(cpu_ms() - before, 0, 60);
	close(fd);
}

static void
who_does_not_take_an_answer_gets_no_other(void **state)
{
	static const char big[] = "GET /big.txt HTTP/1.1\r\nHost: x\r\n\r\n";
	struct pollfd pfd;
	int fd = dial();

	say(fd, big);
	pfd = (struct pollfd){fd, POLLIN, 0};
	assert_int_equal(poll(&pfd, 1, 3000), 1); /* it is under way */
	say(fd, big);
	assert_closed(fd);
	assert_http("GET / HTTP/1.1\r\nHost: x\r\n\r\n", "200", "<p>hello");
}

static void
a_body_of_many_reads(void **state)
{
	char *request = xcalloc(1, MAX_BODY + 200);
	size_t n = (size_t)sprintf(
	    request, "POST /v1/x HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n", MAX_BODY);

	memset(request + n, 'b', MAX_BODY);
	strcpy(request + n + MAX_BODY - 3, "end");
	assert_http(request, "200", "bbbend");
	free(request);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(handshakes_are_refused_before_101),
	    cmocka_unit_test(a_long_parameter_does_not_hide_those_behind_it),
	    cmocka_unit_test(a_client_that_leaves_aborts_its_request),
	    cmocka_unit_test(one_connection_carries_many_requests),
	    cmocka_unit_test(requests),
	    cmocka_unit_test(a_post_that_wants_an_upgrade_leaves_nothing_behind),
	    cmocka_unit_test(chunked_bodies),
	    cmocka_unit_test(static_files),
	    cmocka_unit_test(requests_in_one_read_are_answered_in_order),
	    cmocka_unit_test(a_request_that_waits_costs_no_time),
	    cmocka_unit_test(who_does_not_take_an_answer_gets_no_other),
	    cmocka_unit_test(a_body_of_many_reads),
	};

	cmocka_set_message_output(CM_OUTPUT_TAP);
	return cmocka_run_group_tests(tests, start, stop);
}
