/* SPDX-License-Identifier: ISC */
/*
 * wire_help: for the tests of wire: a real server in a process of its own, and a client
 * that speaks raw bytes.
 */
#ifndef PALAVER_TESTS_WIRE_HELP_H
#define PALAVER_TESTS_WIRE_HELP_H

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
#define MAX_BODY    50000

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

static void
on_answer(void *arg, struct sio_socket *s, int64_t ack, const struct sio_args *args)
{
	if (args)
		sio_ack(s, ack, args->text, args->len, NULL, 0);
}

static void
emit(struct sio_socket *s, const char *name, const struct sio_args *args)
{
	struct sio_packet *p = sio_event_new(
	    "/", name, args->text, args->len, args->attachments, args->attachment_count);

	sio_send(s, p);
	sio_packet_unref(&p);
}

static void
on_event(
    void *arg, struct sio_socket *s, const char *name, const struct sio_args *args, int64_t ack)
{
	if (strcmp(name, "message") == 0)
		emit(s, "message-back", args);
	else if (strcmp(name, "message-with-ack") == 0)
		sio_ack(s, ack, args->text, args->len, args->attachments, args->attachment_count);
	else if (strcmp(name, "ask-me") == 0)
		sio_ask(s, "question", args->text, args->len, NULL, 0, ack);
	else if (strcmp(name, "flood") == 0)
		for (int i = 0; i < 10000; i++)
			emit(s, "flood", args);
	else if (strcmp(name, "kick") == 0)
		sio_disconnect(s, args->text[0] == 't');
}

static void
on_disconnect(void *arg, struct sio_socket *s, const char *reason)
{
}

static int aborted; /* in the server: requests whose client went away */
/* What a test of its own has beside this, set before the start; NULL: nothing. */
static void (*begin_hook)(void *arg, struct http_req *r);
static bool (*request_hook)(struct http_req *r); /* true: it is, or will be, answered */

static void
on_abort(void *arg)
{
	aborted++;
}

static void
on_request(void *arg, struct http_req *r)
{
	size_t len;
	const char *body = http_body(r, &len);
	char count[16];

	if (request_hook && request_hook(r))
		return;
	if (strcmp(http_path(r), "/v1/never") == 0) {
		http_on_abort(r, on_abort, NULL);
		return;
	}
	if (strcmp(http_path(r), "/v1/aborted") == 0) {
		len = (size_t)snprintf(count, sizeof(count), "aborted %d", aborted);
		body = count;
	} else if (http_query(r, "q")) {
		body = http_query(r, "q");
		len = strlen(body);
	}
	http_reply(r, 200, "text/plain", NULL, body, len);
}

/* SIGTERM: drains, and ends in order when nobody is left. */
static ev_prepare empty;

static void
leave_when_empty(struct ev_loop *l, ev_prepare *prepare, int revents)
{
	if (wire_connections(prepare->data) == 0)
		loop_stop();
}

static void
drain(struct ev_loop *l, ev_signal *term, int revents)
{
	wire_drain(term->data);
	ev_prepare_init(&empty, leave_when_empty);
	empty.data = term->data;
	ev_prepare_start(l, &empty);
}

static void
run_server(int listener)
{
	struct wire_opts o = {.ping_interval = 300,
	    .ping_timeout = 200,
	    .upgrade_timeout = 1000,
	    .connect_timeout = 1000,
	    .max_packets = 1000,
	    .max_url = 4096,
	    .max_head = 8192,
	    .max_fields = 64,
	    .json_depth = 32,
	    .json_keys = 1000,
	    .max_attachments = SIO_ATTACHMENTS_MAX,
	    .address_fd = -1,
	    .head_timeout = 500,
	    .idle_timeout = 5000,
	    .write_timeout = 1000,
	    .max_payload = MAX_PAYLOAD,
	    .max_queue = 300000,
	    .max_body = MAX_BODY,
	    .body_timeout = 500,
	    .max_connections = 100,
	    .sio_path = "/socket.io/",
	    .web_root = root};
	struct wire_app app = {.sio = {.namespace_known = known,
				   .connect = on_connect,
				   .event = on_event,
				   .disconnect = on_disconnect,
				   .answer = on_answer},
	    .rest_prefix = "/v1/",
	    .begin = begin_hook,
	    .request = on_request};
	struct wire *w;
	ev_signal term;

	prctl(PR_SET_PDEATHSIG, SIGKILL);
	log_init("test", -1, LOG_TO_STDERR, LOG_LVL_ERROR);
	loop_init();
	w = wire_new(&o, &app);
	wire_listen(w, listener, 0, WIRE_CLEAR);
	ev_signal_init(&term, drain, SIGTERM);
	term.data = w;
	ev_signal_start(loop_ev(), &term);
	loop_run();
	ev_prepare_stop(loop_ev(), &empty);
	ev_signal_stop(loop_ev(), &term);
	wire_free(&w);
	exit(0); /* a sanitizer looks for leaks now */
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

static inline void
say(int fd, const char *bytes)
{
	assert_int_equal(send(fd, bytes, strlen(bytes), MSG_NOSIGNAL), strlen(bytes));
}

/* Up to the empty line and the announced body; "" at the end of the connection. */
static inline char *
answer_of(int fd)
{
	static char answer[70000];
	size_t n = 0;
	char *end;

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
	return answer;
}

static inline char *
http(const char *request)
{
	int fd = dial();
	char *answer;

	say(fd, request);
	answer = answer_of(fd);
	close(fd);
	return answer;
}

/* The server ends it, with or without a reset, though what it sent is not read. */
static inline void
assert_closed(int fd)
{
	struct pollfd pfd = {fd, POLLRDHUP, 0};

	assert_int_equal(poll(&pfd, 1, 3000), 1);
	close(fd);
}

static inline void
assert_http(const char *request, const char *status, const char *part)
{
	char *answer = http(request);

	if (strncmp(answer + 9, status, strlen(status)) != 0 || !strstr(answer, part))
		fail_msg("%s\n answered %s\n wanted %s .. %s", request, answer, status, part);
}

static inline void
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

static inline void
text(int fd, const char *packet)
{
	ws_send(fd, 0x81, packet, strlen(packet));
}

/* The next frame as text: "x" text, "<0102>" binary, "closed N", "pong", "nothing". */
static inline const char *
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
static inline const char *
next_packet(int fd)
{
	const char *p;

	while (strcmp(p = next(fd), "2") == 0)
		text(fd, "3");
	return p;
}

static inline int
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
static inline int
joined(void)
{
	int fd = ws_open("EIO=4&transport=websocket");

	assert_memory_equal(next(fd), "0{\"sid\":\"", 9);
	text(fd, "40");
	assert_memory_equal(next_packet(fd), "40{\"sid\":\"", 10);
	return fd;
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
	snprintf(path, sizeof(path), "%s/big.txt", root); /* more than a socket holds */
	f = fopen(path, "w");
	if (ftruncate(fileno(f), 16 * 1024 * 1024) < 0)
		return -1;
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

	if (server > 0) {
		kill(server, SIGKILL);
		waitpid(server, NULL, 0);
	}
	snprintf(cmd, sizeof(cmd), "rm -rf %s", root);
	return system(cmd);
}

#endif
