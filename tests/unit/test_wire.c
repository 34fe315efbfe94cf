/* SPDX-License-Identifier: ISC */
/* wire: a real server in a process of its own, spoken to with raw bytes. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include <arpa/inet.h>
#include <poll.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>

#include "lib/json.h"
#include "lib/log.h"
#include "lib/loop.h"
#include "wire/server.h"

#define MAX_PAYLOAD 20000

static char root[64];
static pid_t server;
static int port;

/* ---- the server: echoes events, acks and attachments ---- */

static bool
known(void *arg, const char *nsp)
{
	return strcmp(nsp, "/") == 0 || strcmp(nsp, "/denied") == 0;
}

static void
on_connect(void *arg, struct sio_socket *s, struct json_object *auth)
{
	if (strcmp(sio_namespace(s), "/denied") == 0)
		sio_refuse(s, "not authorized", "{\"code\":401}");
	else
		sio_accept(s);
}

/* The arguments of an event as JSON text without brackets. */
static void
put_args(struct buf *b, const struct sio_args *args, size_t from)
{
	for (size_t i = from; i < json_object_array_length(args->json); i++) {
		if (i > from)
			buf_putc(b, ',');
		json_put(b, json_object_array_get_idx(args->json, i));
	}
}

struct question {
	struct sio_socket *s;
	int64_t ack;
};

static void
on_answer(void *arg, const struct sio_args *args)
{
	struct question *q = arg;
	struct buf b;

	buf_init(&b);
	if (args) {
		put_args(&b, args, 0);
		sio_ack(q->s, q->ack, (char *)b.data, b.len, NULL, 0);
	}
	buf_fini(&b);
	free(q);
}

static void
on_event(
    void *arg, struct sio_socket *s, const char *name, const struct sio_args *args, int64_t ack)
{
	struct sio_packet *p;
	struct question *q;
	struct buf b;

	buf_init(&b);
	put_args(&b, args, 1);
	if (strcmp(name, "message") == 0) {
		p = sio_event_new("/", "message-back", (char *)b.data, b.len, args->attachments,
		    args->attachment_count);
		sio_send(s, p);
		sio_packet_unref(&p);
	} else if (strcmp(name, "message-with-ack") == 0) {
		sio_ack(s, ack, (char *)b.data, b.len, args->attachments, args->attachment_count);
	} else if (strcmp(name, "ask-me") == 0) {
		q = xcalloc(1, sizeof(*q));
		*q = (struct question){s, ack};
		sio_send_ack(s, "question", (char *)b.data, b.len, on_answer, q);
	} else if (strcmp(name, "flood") == 0) {
		for (int i = 0; i < 10000; i++) {
			p = sio_event_new("/", "flood", (char *)b.data, b.len, NULL, 0);
			sio_send(s, p);
			sio_packet_unref(&p);
		}
	} else if (strcmp(name, "kick") == 0) {
		sio_disconnect(
		    s, json_object_get_boolean(json_object_array_get_idx(args->json, 1)));
	}
	buf_fini(&b);
}

static void
on_disconnect(void *arg, struct sio_socket *s, const char *reason)
{
}

static void
on_request(void *arg, struct http_req *r)
{
	size_t len;
	const char *body = http_body(r, &len);

	http_reply(r, 200, "text/plain", NULL, body, len);
}

static void
run_server(int listener)
{
	struct wire_opts o = {.ping_interval = 300,
	    .ping_timeout = 200,
	    .connect_timeout = 1000,
	    .max_payload = MAX_PAYLOAD,
	    .max_queue = 300000,
	    .max_body = 1000,
	    .body_timeout = 500,
	    .max_connections = 100,
	    .sio_path = "/socket.io/",
	    .web_root = root};
	struct wire_app app = {.sio = {known, on_connect, on_event, on_disconnect},
	    .rest_prefix = "/v1/",
	    .request = on_request};

	prctl(PR_SET_PDEATHSIG, SIGKILL);
	log_init("test", -1, LOG_TO_STDERR, LOG_LVL_ERROR);
	loop_init();
	wire_listen(wire_new(&o, &app), listener, 0);
	loop_run();
	_exit(0);
}

/* ---- the client ---- */

static int
dial(void)
{
	struct sockaddr_in in = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
	int fd = socket(AF_INET, SOCK_STREAM, 0);

	in.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	assert_int_equal(connect(fd, (struct sockaddr *)&in, sizeof(in)), 0);
	return fd;
}

/* Exactly len bytes; false: closed or nothing for ms. */
static bool
read_bytes(int fd, void *dst, size_t len, int ms)
{
	uint8_t *p = dst;

	while (len) {
		struct pollfd pfd = {fd, POLLIN, 0};
		ssize_t n;

		if (poll(&pfd, 1, ms) <= 0 || (n = recv(fd, p, len, 0)) <= 0)
			return false;
		p += n;
		len -= (size_t)n;
	}
	return true;
}

/* Up to the empty line and the announced body. */
static char *
http(const char *request)
{
	static char answer[70000];
	size_t n = 0;
	int fd = dial();
	char *end;

	if (send(fd, request, strlen(request), MSG_NOSIGNAL) < 0)
		fail();
	while (n < sizeof(answer) - 1 && read_bytes(fd, answer + n, 1, 3000)) {
		answer[++n] = '\0';
		end = strstr(answer, "\r\n\r\n");
		if (end) {
			char *len = strstr(answer, "Content-Length: ");

			if (!len || (size_t)(answer + n - end - 4) >= (size_t)atoi(len + 16))
				break;
		}
	}
	answer[n] = '\0';
	close(fd);
	return answer;
}

static void
assert_http(const char *request, const char *status, const char *part)
{
	char *answer = http(request);

	if (strncmp(answer + 9, status, strlen(status)) != 0 || !strstr(answer, part))
		fail_msg("%s\n answered %s\n wanted %s .. %s", request, answer, status, part);
}

static void
ws_send(int fd, int first, const void *data, size_t len)
{
	static const uint8_t mask[4] = {1, 2, 3, 4};
	uint8_t *f = malloc(len + 14);
	size_t n = 2;

	f[0] = (uint8_t)first;
	f[1] = (uint8_t)(0x80 | (len < 126 ? len : 126));
	if (len >= 126) {
		f[2] = (uint8_t)(len >> 8);
		f[3] = (uint8_t)len;
		n = 4;
	}
	memcpy(f + n, mask, 4);
	for (size_t i = 0; i < len; i++)
		f[n + 4 + i] = ((const uint8_t *)data)[i] ^ mask[i % 4];
	assert_int_equal(send(fd, f, n + 4 + len, MSG_NOSIGNAL), n + 4 + len);
	free(f);
}

static void
text(int fd, const char *packet)
{
	ws_send(fd, 0x81, packet, strlen(packet));
}

/* The next frame as text: "x" text, "<0102>" binary, "closed N", "pong", "nothing". */
static const char *
next(int fd)
{
	static char out[70000];
	static uint8_t data[66000];
	uint8_t head[4];
	size_t len, n = 0;

	if (!read_bytes(fd, head, 2, 2000))
		return "nothing";
	len = head[1];
	if (len == 126) {
		assert_true(read_bytes(fd, head + 2, 2, 2000));
		len = (size_t)head[2] << 8 | head[3];
	}
	assert_true(len < sizeof(data) && read_bytes(fd, data, len, 2000));
	if (head[0] == 0x88)
		snprintf(out, sizeof(out), "closed %d", len >= 2 ? data[0] << 8 | data[1] : 1005);
	else if (head[0] == 0x8a)
		snprintf(out, sizeof(out), "pong %.*s", (int)len, data);
	else if (head[0] == 0x81)
		snprintf(out, sizeof(out), "%.*s", (int)len, data);
	else if (head[0] == 0x82) {
		n = (size_t)sprintf(out, "<");
		for (size_t i = 0; i < len; i++)
			n += (size_t)sprintf(out + n, "%02x", data[i]);
		strcpy(out + n, ">");
	}
	return out;
}

/* next(), but PINGs are answered. */
static const char *
next_packet(int fd)
{
	const char *p;

	while (strcmp(p = next(fd), "2") == 0)
		text(fd, "3");
	return p;
}

static int
ws_open(const char *query)
{
	char request[512], c;
	int fd = dial(), n;
	unsigned int seen = 0;

	n = snprintf(request, sizeof(request),
	    "GET /socket.io/?%s HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: "
	    "Upgrade\r\n"
	    "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n",
	    query);
	assert_int_equal(send(fd, request, (size_t)n, 0), n);
	while (seen < 4 && read_bytes(fd, &c, 1, 2000))
		seen = c == "\r\n\r\n"[seen] ? seen + 1 : c == '\r';
	return fd;
}

/* Connected and joined. */
static int
joined(void)
{
	int fd = ws_open("EIO=4&transport=websocket");

	assert_memory_equal(next(fd), "0{\"sid\":\"", 9);
	text(fd, "40");
	assert_memory_equal(next_packet(fd), "40{\"sid\":\"", 10);
	return fd;
}

/* ---- tests ---- */

static void
events_acks_and_attachments(void **state)
{
	int fd = joined();

	text(fd, "42[\"message\",1,\"\xc3\xa9\"]");
	assert_string_equal(next_packet(fd), "42[\"message-back\",1,\"\xc3\xa9\"]");
	text(fd, "420[\"message-with-ack\",{\"a\":1}]");
	assert_string_equal(next_packet(fd), "430[{\"a\":1}]");
	text(fd, "421[\"message-with-ack\"]");
	assert_string_equal(next_packet(fd), "431[]");
	text(fd, "452-[\"message\",{\"_placeholder\":true,\"num\":0},{\"_placeholder\":true,"
		 "\"num\":1}]");
	text(fd, "3"); /* heartbeats may come in between */
	ws_send(fd, 0x82, "\1\2\3", 3);
	ws_send(fd, 0x82, "\t", 1);
	assert_memory_equal(next_packet(fd), "452-[\"message-back\",", 19);
	assert_string_equal(next_packet(fd), "<010203>");
	assert_string_equal(next_packet(fd), "<09>");
	text(fd, "451-42[\"message-with-ack\",{\"_placeholder\":true,\"num\":0}]");
	ws_send(fd, 0x82, "\1", 1);
	assert_memory_equal(next_packet(fd), "461-42[", 7);
	assert_string_equal(next_packet(fd), "<01>");
	text(fd, "427[\"ask-me\",5]");
	assert_string_equal(next_packet(fd), "420[\"question\",5]");
	text(fd, "430[6]");
	assert_string_equal(next_packet(fd), "437[6]");
	text(fd, "42[\"unknown\",1]");
	text(fd, "42[\"message\",2]");
	assert_string_equal(next_packet(fd), "42[\"message-back\",2]");
	close(fd);
}

static void
frames_in_pieces_and_pings_of_the_websocket(void **state)
{
	char *big = malloc(MAX_PAYLOAD + 1), *first, *second;
	int fd = joined();
	bool pong_first;
	size_t n = (size_t)sprintf(big, "42[\"message\",\"");

	ws_send(fd, 0x01, "42[\"mes", 7);
	ws_send(fd, 0x89, "hi", 2);
	ws_send(fd, 0x00, "sage\",", 6);
	ws_send(fd, 0x80, "7]", 2);
	first = xstrdup(next_packet(fd)); /* a pong keeps no order with data */
	second = xstrdup(next_packet(fd));
	pong_first = strcmp(first, "pong hi") == 0;
	assert_string_equal(pong_first ? first : second, "pong hi");
	assert_string_equal(pong_first ? second : first, "42[\"message-back\",7]");
	free(first);
	free(second);
	memset(big + n, 'x', MAX_PAYLOAD - n);
	memcpy(big + MAX_PAYLOAD - 2, "\"]x", 3);
	ws_send(fd, 0x81, big, MAX_PAYLOAD);
	assert_memory_equal(next_packet(fd), "42[\"message-back\",\"xxx", 22);
	ws_send(fd, 0x81, big, MAX_PAYLOAD + 1);
	assert_string_equal(next_packet(fd), "closed 1009");
	close(fd);
	free(big);
}

static void
namespaces(void **state)
{
	int fd = joined();

	text(fd, "40/nope,");
	assert_string_equal(next_packet(fd), "44/nope,{\"message\":\"Invalid namespace\"}");
	text(fd, "40/denied,");
	assert_string_equal(
	    next_packet(fd), "44/denied,{\"message\":\"not authorized\",\"data\":{\"code\":401}}");
	text(fd, "41");
	text(fd, "42[\"message\",\"late\"]"); /* under way behind it: dropped */
	text(fd, "40");
	assert_memory_equal(next_packet(fd), "40{\"sid\":\"", 10);
	text(fd, "42[\"kick\",false]");
	assert_string_equal(next_packet(fd), "41");
	text(fd, "42[\"message\",\"late\"]");
	text(fd, "40");
	assert_memory_equal(next_packet(fd), "40{\"sid\":\"", 10);
	text(fd, "42[\"kick\",true]");
	assert_string_equal(next_packet(fd), "closed 1005");
	close(fd);
}

static void
violations_close_the_connection(void **state)
{
	static const char *const packets[] = {"", "2", "2probe", "abc", "7", "4", "47", "40",
	    "42{}", "42[\"a\"", "42[\"connect\"]", "41/custom,", "42/custom,[\"a\"]", "44{}",
	    "451[\"a\"]", "450-[\"a\"]", "431{}", "42[1e]"};

	for (size_t i = 0; i < sizeof(packets) / sizeof(*packets); i++) {
		int fd = joined();
		const char *got;

		text(fd, packets[i]);
		got = next_packet(fd);
		if (strncmp(got, "closed", 6) != 0)
			fail_msg("\"%s\" answered %s", packets[i], got);
		close(fd);
	}
	for (int first = 0; first < 2; first++) { /* before CONNECT; an unannounced attachment */
		int fd = first ? joined() : ws_open("EIO=4&transport=websocket");

		if (first) {
			ws_send(fd, 0x82, "x", 1);
		} else {
			next(fd);
			text(fd, "42[\"a\"]");
		}
		assert_memory_equal(next_packet(fd), "closed", 6);
		close(fd);
	}
	assert_int_equal(kill(server, 0), 0);
}

static void
heartbeat_and_connect_timeout(void **state)
{
	int fd = ws_open("EIO=4&transport=websocket");
	int64_t from = clock_mono_ms(), took;

	next(fd);
	assert_string_equal(next(fd), "2");
	took = clock_mono_ms() - from;
	assert_in_range(took, 280, 400);
	assert_string_equal(next(fd), "closed 1005"); /* no PONG */
	took = clock_mono_ms() - from;
	assert_in_range(took, 480, 620);
	close(fd);
	fd = ws_open("EIO=4&transport=websocket");
	from = clock_mono_ms();
	next(fd);
	assert_string_equal(next_packet(fd), "closed 1005"); /* never joined */
	took = clock_mono_ms() - from;
	assert_in_range(took, 950, 1150);
	close(fd);
}

static void
a_slow_reader_is_closed_and_others_are_served(void **state)
{
	char big[1100] = "42[\"flood\",\"";
	int slow = joined(), fine = joined();

	memset(big + strlen(big), 'x', 1000);
	strcat(big, "\"]");
	text(slow, big);
	for (int i = 0; i < 3; i++) {
		text(fine, "42[\"message\",1]");
		assert_string_equal(next_packet(fine), "42[\"message-back\",1]");
	}
	for (;;) { /* what was under way, then the end */
		char bytes[4096];
		struct pollfd pfd = {slow, POLLIN, 0};

		assert_int_equal(poll(&pfd, 1, 3000), 1);
		if (recv(slow, bytes, sizeof(bytes), 0) <= 0)
			break;
	}
	close(slow);
	close(fine);
}

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
	    "GET /socket.io/?EIO=4&transport=websocket" WS "12\r\n\r\n", "400", "Bad request");
	assert_http("GET /other/?EIO=4&transport=websocket" WS "13\r\n\r\n", "400", "Not found");
	assert_http("GET /socket.io/?EIO=4&transport=polling HTTP/1.1\r\nHost: x\r\n\r\n", "400",
	    "{\"code\":0,\"message\":\"Transport unknown\"}");
}

static void
requests(void **state)
{
	char late[] = "POST /v1/x HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\nab";

	assert_http("POST /v1/x HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\nhello", "200",
	    "\r\n\r\nhello");
	assert_http("POST /v1/x HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n", "200", "");
	assert_http(
	    "POST /v1/x HTTP/1.1\r\nHost: x\r\nContent-Length: 1001\r\n\r\n", "413", "too_large");
	assert_http("POST /v1/x HTTP/1.1\r\nHost: x\r\nContent-Length: -5\r\n\r\n", "400",
	    "bad_content_length");
	assert_http("POST /v1/x HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
	    "411", "length_required");
	assert_http("GET /v1/x HTTP/1.1\r\n\r\n", "400", "host_required");
	assert_http(late, "408", "timeout");
}

static void
static_files(void **state)
{
	assert_http("GET / HTTP/1.1\r\nHost: x\r\n\r\n", "200", "<p>hello");
	assert_http(
	    "GET /index.html HTTP/1.1\r\nHost: x\r\n\r\n", "200", "Content-Security-Policy");
	assert_http("GET /none HTTP/1.1\r\nHost: x\r\n\r\n", "404", "not found");
	assert_http("GET /../../etc/passwd HTTP/1.1\r\nHost: x\r\n\r\n", "40", "");
	assert_http("GET /%2e%2e/%2e%2e/etc/passwd HTTP/1.1\r\nHost: x\r\n\r\n", "40", "");
	assert_http("GET /link HTTP/1.1\r\nHost: x\r\n\r\n", "404", "not found");
	assert_null(strstr(http("GET /..%2f..%2fetc/passwd HTTP/1.1\r\nHost: x\r\n\r\n"), "root:"));
	assert_http("DELETE / HTTP/1.1\r\nHost: x\r\n\r\n", "405", "method not allowed");
}

static int
start(void **state)
{
	struct sockaddr_in in = {.sin_family = AF_INET};
	socklen_t len = sizeof(in);
	char path[128];
	FILE *f;
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);

	signal(SIGPIPE, SIG_IGN);
	strcpy(root, "/tmp/palaver-wire-XXXXXX");
	if (!mkdtemp(root))
		return -1;
	snprintf(path, sizeof(path), "%s/index.html", root);
	f = fopen(path, "w");
	fputs("<p>hello", f);
	fclose(f);
	snprintf(path, sizeof(path), "%s/link", root);
	if (symlink("/etc/passwd", path) < 0)
		return -1;
	in.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	if (bind(fd, (struct sockaddr *)&in, sizeof(in)) < 0 || listen(fd, 64) < 0 ||
	    getsockname(fd, (struct sockaddr *)&in, &len) < 0)
		return -1;
	port = ntohs(in.sin_port);
	server = fork();
	if (server == 0)
		run_server(fd);
	close(fd);
	return 0;
}

static int
stop(void **state)
{
	char cmd[96];

	kill(server, SIGKILL);
	waitpid(server, NULL, 0);
	snprintf(cmd, sizeof(cmd), "rm -rf %s", root);
	return system(cmd);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(events_acks_and_attachments),
	    cmocka_unit_test(frames_in_pieces_and_pings_of_the_websocket),
	    cmocka_unit_test(namespaces),
	    cmocka_unit_test(violations_close_the_connection),
	    cmocka_unit_test(heartbeat_and_connect_timeout),
	    cmocka_unit_test(a_slow_reader_is_closed_and_others_are_served),
	    cmocka_unit_test(handshakes_are_refused_before_101),
	    cmocka_unit_test(requests),
	    cmocka_unit_test(static_files),
	};

	cmocka_set_message_output(CM_OUTPUT_TAP);
	return cmocka_run_group_tests(tests, start, stop);
}
