/* SPDX-License-Identifier: ISC */
/* wire: bodies that go to a sink and answers that come from a source, piece by piece. */
#include "../lib/wire_help.h"

#include <errno.h>
#include <fcntl.h>

/* ---- the server ---- */

#define SINK_MAX 5000000

static struct uploading {
	struct http_req *req;
	size_t len, pieces;
	uint32_t sum;
	ev_timer slow;
	bool held; /* takes the first piece and goes on when /v1/go is asked for */
} uploading;

static struct downloading {
	struct http_stream *st;
	size_t at, fail_at, max;
	int closed;
	ev_timer slow;
} downloading;

static uint8_t
pattern(size_t i)
{
	return (uint8_t)(i * 31 + i / 251);
}

static uint32_t
sum_of(uint32_t sum, const uint8_t *p, size_t len)
{
	for (size_t i = 0; i < len; i++)
		sum = sum * 16777619U ^ p[i];
	return sum;
}

static void
sink_go_on(struct ev_loop *l, ev_timer *t, int revents)
{
	http_body_next(uploading.req);
}

static void
sink_data(void *arg, struct buf *b)
{
	struct uploading *u = arg;

	u->sum = sum_of(u->sum, b->data, b->len);
	u->len += b->len;
	u->pieces++;
	buf_fini(b);
	if (u->held)
		return;
	ev_timer_init(&u->slow, sink_go_on, 0.002, 0);
	ev_timer_start(loop_ev(), &u->slow);
}

static void
sink_end(void *arg)
{
	struct uploading *u = arg;
	char text[64];
	int n = snprintf(text, sizeof(text), "%zu %08x", u->len, u->sum);

	http_reply(u->req, 201, "text/plain", NULL, text, (size_t)n);
}

static void
sink_gone(void *arg)
{
	ev_timer_stop(loop_ev(), &uploading.slow);
	aborted++;
}

static const struct http_sink sink = {sink_data, sink_end};

static void
on_begin(void *arg, struct http_req *r)
{
	if (strcmp(http_path(r), "/v1/refused") == 0) {
		http_reply(r, 403, "text/plain", NULL, "no", 2);
		return;
	}
	if (strcmp(http_path(r), "/v1/sink") != 0 && strcmp(http_path(r), "/v1/held") != 0)
		return;
	memset(&uploading, 0, sizeof(uploading));
	uploading.req = r;
	uploading.held = strcmp(http_path(r), "/v1/held") == 0;
	http_on_abort(r, sink_gone, &uploading);
	http_body_to(r, SINK_MAX, &sink);
}

static void
source_put(struct ev_loop *l, ev_timer *t, int revents)
{
	struct downloading *d = &downloading;
	uint8_t piece[1000];
	size_t n = d->max < sizeof(piece) ? d->max : sizeof(piece);

	if (d->at >= d->fail_at) {
		http_stream_fail(d->st);
		return;
	}
	for (size_t i = 0; i < n; i++)
		piece[i] = pattern(d->at + i);
	d->at += n;
	http_stream_put(d->st, piece, n);
}

static void
source_pull(void *arg, size_t max)
{
	downloading.max = max;
	if (downloading.at % 3000 != 0) { /* at once, or later */
		source_put(loop_ev(), &downloading.slow, 0);
		return;
	}
	ev_timer_init(&downloading.slow, source_put, 0.0001, 0);
	ev_timer_start(loop_ev(), &downloading.slow);
}

static void
source_closed(void *arg)
{
	ev_timer_stop(loop_ev(), &downloading.slow);
	downloading.st = NULL;
	downloading.closed++;
}

static const struct http_source source = {source_pull, source_closed};

static void
reply_in_pieces(struct http_req *r)
{
	const char *fail = http_query(r, "fail");
	size_t len = (size_t)atoi(http_query(r, "n"));

	downloading.at = downloading.max = 0;
	downloading.fail_at = fail ? (size_t)atoi(fail) : SIZE_MAX;
	downloading.st = http_reply_stream(r, 200, "text/plain", NULL, len, &source, NULL);
}

static bool
on_pieces(struct http_req *r)
{
	char text[64] = "";

	if (strcmp(http_path(r), "/v1/source") == 0) {
		reply_in_pieces(r);
		return true;
	}
	if (strcmp(http_path(r), "/v1/go") == 0) {
		uploading.held = false;
		http_body_next(uploading.req);
	} else if (strcmp(http_path(r), "/v1/state") == 0) {
		snprintf(text, sizeof(text), "taken %zu aborted %d closed %d", uploading.len,
		    aborted, downloading.closed);
	} else {
		return false;
	}
	http_reply(r, 200, "text/plain", NULL, text, strlen(text));
	return true;
}

/* ---- the client ---- */

#define GET(path) "GET " path " HTTP/1.1\r\nHost: x\r\n\r\n"

static int
pieces_start(void **state)
{
	begin_hook = on_begin;
	request_hook = on_pieces;
	return start(state);
}

/* Until the server's state has this part. */
static void
wait_for(const char *part)
{
	for (int i = 0; i < 300; i++) {
		if (strstr(http(GET("/v1/state")), part))
			return;
		poll(NULL, 0, 10);
	}
	fail_msg("the state did not become %s: %s", part, http(GET("/v1/state")));
}

static char *
make_body(size_t len, char expect[64])
{
	char *body = xmalloc(len + 1);

	for (size_t i = 0; i < len; i++)
		body[i] = (char)pattern(i);
	snprintf(expect, 64, "%zu %08x", len, sum_of(0, (const uint8_t *)body, len));
	return body;
}

static void
send_all(int fd, const char *data, size_t len)
{
	while (len) {
		ssize_t n = send(fd, data, len, MSG_NOSIGNAL);

		assert_true(n > 0);
		data += n;
		len -= (size_t)n;
	}
}

static void
say_post(int fd, const char *path, size_t len)
{
	char head[200];

	snprintf(head, sizeof(head), "POST %s HTTP/1.1\r\nHost: x\r\nContent-Length: %zu\r\n\r\n",
	    path, len);
	say(fd, head);
}

static void
a_body_goes_to_its_sink_in_order(void **state)
{
	static const size_t sizes[] = {0, 1, 4096, 300000, SINK_MAX};

	for (size_t i = 0; i < sizeof(sizes) / sizeof(*sizes); i++) {
		int fd = dial();
		char expect[64], *body = make_body(sizes[i], expect);

		say_post(fd, "/v1/sink", sizes[i]);
		send_all(fd, body, sizes[i]);
		assert_non_null(strstr(answer_of(fd), expect));
		say(fd, GET("/v1/state")); /* the connection goes on */
		assert_non_null(strstr(answer_of(fd), "taken"));
		close(fd);
		free(body);
	}
}

static void
a_chunked_body_goes_to_its_sink(void **state)
{
	char expect[64], *body = make_body(200000, expect), line[32];
	int fd = dial();

	say(fd, "POST /v1/sink HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n");
	for (size_t at = 0; at < 200000; at += 40000) {
		snprintf(line, sizeof(line), "%x\r\n", 40000);
		say(fd, line);
		send_all(fd, body + at, 40000);
		say(fd, "\r\n");
	}
	say(fd, "0\r\n\r\n");
	assert_non_null(strstr(answer_of(fd), expect));
	close(fd);
	free(body);
}

/* The client is held up: no more is read than the sink may be behind. */
static void
a_sink_that_waits_holds_up_its_client(void **state)
{
	char expect[64], *body = make_body(SINK_MAX, expect);
	size_t sent = 0, seen = 1;
	int fd = dial();

	say_post(fd, "/v1/held", SINK_MAX);
	fcntl(fd, F_SETFL, O_NONBLOCK);
	while (sent != seen) { /* until the socket has taken nothing for a while */
		ssize_t n;

		seen = sent;
		while (sent < SINK_MAX &&
		       (n = send(fd, body + sent, SINK_MAX - sent, MSG_NOSIGNAL)) > 0)
			sent += (size_t)n;
		poll(NULL, 0, 200);
	}
	assert_true(sent < SINK_MAX); /* buffers of both sockets, and what the server keeps */
	poll(NULL, 0, 700);           /* longer than body_timeout: it is not the client's fault */
	fcntl(fd, F_SETFL, 0);
	assert_non_null(strstr(http(GET("/v1/go")), "200"));
	send_all(fd, body + sent, SINK_MAX - sent);
	assert_non_null(strstr(answer_of(fd), expect));
	close(fd);
	free(body);
}

static void
a_body_for_a_sink_has_its_own_limit(void **state)
{
	char request[200];

	snprintf(request, sizeof(request),
	    "POST /v1/sink HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n", SINK_MAX + 1);
	assert_http(request, "413", "too_large");
	snprintf(request, sizeof(request),
	    "POST /v1/sink HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n%x\r\n",
	    SINK_MAX + 1);
	assert_http(request, "413", "too_large");
	snprintf(request, sizeof(request),
	    "POST /v1/x HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n", MAX_BODY + 1);
	assert_http(request, "413", "too_large");
}

/* The client is still sending: it must hear why, and not a reset that takes the answer along. */
static void
an_answer_before_the_body_arrives(void **state)
{
	char expect[64], *body = make_body(SINK_MAX, expect);
	int fd = dial();
	size_t sent = 0;
	ssize_t n;

	say_post(fd, "/v1/refused", SINK_MAX);
	fcntl(fd, F_SETFL, O_NONBLOCK);
	for (int idle = 0; sent < SINK_MAX && idle < 300;) {
		n = send(fd, body + sent, SINK_MAX - sent, MSG_NOSIGNAL);
		if (n > 0) {
			sent += (size_t)n;
			idle = 0;
		} else {
			assert_int_equal(errno, EAGAIN);
			poll(NULL, 0, 10);
			idle++;
		}
	}
	assert_int_equal(sent, SINK_MAX);
	fcntl(fd, F_SETFL, 0);
	assert_true(strncmp(answer_of(fd), "HTTP/1.1 403", 12) == 0);
	assert_closed(fd);
	free(body);
}

static void
who_leaves_or_is_too_slow_ends_its_upload(void **state)
{
	char expect[64], *body = make_body(1000, expect), part[32];
	int fd = dial(), before = atoi(strstr(http(GET("/v1/state")), "aborted") + 8);

	say_post(fd, "/v1/sink", 100000);
	send_all(fd, body, 1000);
	close(fd);
	snprintf(part, sizeof(part), "aborted %d", before + 1);
	wait_for(part);
	fd = dial();
	say_post(fd, "/v1/sink", 100000);
	send_all(fd, body, 1000);
	assert_true(strncmp(answer_of(fd), "HTTP/1.1 408", 12) == 0);
	snprintf(part, sizeof(part), "aborted %d", before + 2);
	wait_for(part);
	close(fd);
	free(body);
}

static void
assert_pattern(int fd, size_t len)
{
	static uint8_t got[1 << 20];

	assert_true(read_bytes(fd, got, len, 3000));
	for (size_t i = 0; i < len; i++)
		if (got[i] != pattern(i))
			fail_msg("byte %zu is %u", i, got[i]);
}

/* The head of an answer, without what follows it. */
static void
skip_head(int fd)
{
	char last[5] = "";

	while (strcmp(last, "\r\n\r\n") != 0) {
		memmove(last, last + 1, 3);
		assert_true(read_bytes(fd, last + 3, 1, 3000));
	}
}

static void
an_answer_comes_from_its_source(void **state)
{
	int fd = dial();

	for (int i = 0; i < 3; i++) {
		say(fd, GET("/v1/source?n=500123"));
		skip_head(fd);
		assert_pattern(fd, 500123);
	}
	say(fd, GET("/v1/source?n=0"));
	skip_head(fd);
	say(fd, GET("/v1/state"));
	assert_non_null(strstr(answer_of(fd), "closed 4"));
	close(fd);
}

/* What was announced and does not come must not look whole. */
static void
a_source_that_fails_cuts_the_connection(void **state)
{
	int fd = dial();
	uint8_t got;

	say(fd, GET("/v1/source?n=500000&fail=9000"));
	skip_head(fd);
	for (size_t n = 0; read_bytes(fd, &got, 1, 3000); n++)
		assert_true(n < 9000);
	assert_closed(fd);
	wait_for("closed 5");
}

static void
who_leaves_closes_the_source(void **state)
{
	int fd = dial();

	say(fd, GET("/v1/source?n=100000000"));
	skip_head(fd);
	close(fd);
	wait_for("closed 6");
}

/* Asks for a long answer and takes so many bytes every 100 ms, for so long; is it still there? */
static bool
taken_slowly(int window, size_t bytes, int ms)
{
	struct sockaddr_in in = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
	int fd = socket(AF_INET, SOCK_STREAM, 0);
	char some[8000];
	ssize_t n = 1;

	assert_int_equal(setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &window, sizeof(window)), 0);
	in.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	assert_int_equal(connect(fd, (struct sockaddr *)&in, sizeof(in)), 0);
	say(fd, GET("/v1/source?n=100000000"));
	for (int i = 0; i < ms / 100 && n > 0; i++) {
		n = recv(fd, some, bytes, 0);
		poll(NULL, 0, 100);
	}
	close(fd);
	return n > 0;
}

/* A little now and then is no way to keep the server's memory for ever; slow is. */
static void
who_takes_an_answer_by_drops_is_cut_off(void **state)
{
	assert_false(taken_slowly(2048, 500, 12000)); /* 5 KB in write_timeout; 16 KiB are due */
	wait_for("closed 7");
	assert_true(taken_slowly(8192, 5000, 5000)); /* 50 KB */
	wait_for("closed 8");
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(a_body_goes_to_its_sink_in_order),
	    cmocka_unit_test(a_chunked_body_goes_to_its_sink),
	    cmocka_unit_test(a_sink_that_waits_holds_up_its_client),
	    cmocka_unit_test(a_body_for_a_sink_has_its_own_limit),
	    cmocka_unit_test(an_answer_before_the_body_arrives),
	    cmocka_unit_test(who_leaves_or_is_too_slow_ends_its_upload),
	    cmocka_unit_test(an_answer_comes_from_its_source),
	    cmocka_unit_test(a_source_that_fails_cuts_the_connection),
	    cmocka_unit_test(who_leaves_closes_the_source),
	    cmocka_unit_test(who_takes_an_answer_by_drops_is_cut_off),
	};

	cmocka_set_message_output(CM_OUTPUT_TAP);
	return cmocka_run_group_tests(tests, pieces_start, stop);
}
