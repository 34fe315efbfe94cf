/* SPDX-License-Identifier: ISC */
/*
 * raw: the baseline of `make bench`: the least a server must do, on bare epoll.
 * One process, one thread.
 *
 * It speaks just enough Engine.IO v4 and Socket.IO v5 over WebSocket for the load tool,
 * by comparing fixed strings: no JSON is read, no header but the key is looked at, and
 * there is one room.  It is a measure, not a server: what it leaves out is what a real
 * one has to pay for.
 *
 * Fan-out: all room messages of one turn of the loop go into one buffer, which each
 * member gets in one send.  Everything else is answered with one send a read.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/timerfd.h>
#include <unistd.h>

#include <openssl/evp.h>
#include <openssl/sha.h>

#define RX_SIZE   (256 * 1024)
#define TX_SIZE   (2 * RX_SIZE)
#define TURN_SIZE (4 * 1024 * 1024)
#define OUT_MAX   (16 * 1024 * 1024)
#define MAX_FRAME (64 * 1024)
#define BATCH     512
#define SLICES    100 /* the heartbeat visits the connections in so many parts */

#define OPCODE_TEXT 0x1
#define OPCODE_PING 0x9

struct conn {
	int fd;
	int member;       /* its place in `members`, -1: not in the room */
	uint32_t in_len;  /* bytes of an unfinished request or frame */
	uint32_t out_len; /* bytes the socket did not take */
	char *in, *out;
	struct conn *next_dead;
	bool upgraded;
};

struct span {
	const char *at;
	size_t len;
};

static int ep, listener, timer = -1;
static struct conn **conns; /* by fd */
static size_t max_fd;
static struct conn **members;
static struct conn *dead; /* closed in this turn */
static size_t n_members;
static unsigned ping_interval = 25000;
static char rx[RX_SIZE], tx[TX_SIZE], turn[TURN_SIZE];
static size_t tx_len, turn_len;

static void
die(const char *what)
{
	perror(what);
	exit(1);
}

static void *
must(void *p)
{
	if (p == NULL)
		die("malloc");
	return p;
}

static void
room_add(struct conn *c)
{
	if (c->member >= 0)
		return;
	c->member = (int)n_members;
	members[n_members++] = c;
}

static void
room_remove(struct conn *c)
{
	if (c->member < 0)
		return;
	members[c->member] = members[--n_members];
	members[c->member]->member = c->member;
	c->member = -1;
}

static void
conn_watch(struct conn *c, int op, bool out)
{
	struct epoll_event ev = {.events = EPOLLIN | (out ? EPOLLOUT : 0), .data.ptr = c};

	if (epoll_ctl(ep, op, c->fd, &ev) < 0)
		die("epoll_ctl");
}

/* Freed at the end of the turn: later events of the same turn may point here. */
static void
conn_close(struct conn *c)
{
	if (c->fd < 0)
		return;
	room_remove(c);
	conns[c->fd] = NULL;
	close(c->fd);
	c->fd = -1;
	c->next_dead = dead;
	dead = c;
}

static void
conn_keep_out(struct conn *c, const char *data, size_t len)
{
	if (c->out_len + len > OUT_MAX) {
		conn_close(c);
		return;
	}
	if (c->out_len == 0)
		conn_watch(c, EPOLL_CTL_MOD, true);
	c->out = must(realloc(c->out, c->out_len + len));
	memcpy(c->out + c->out_len, data, len);
	c->out_len += len;
}

static void
conn_send(struct conn *c, const char *data, size_t len)
{
	ssize_t n = 0;

	if (c->fd < 0 || len == 0)
		return;
	if (c->out_len == 0) {
		n = send(c->fd, data, len, MSG_NOSIGNAL);
		if (n < 0 && errno != EAGAIN) {
			conn_close(c);
			return;
		}
		if (n < 0)
			n = 0;
	}
	if ((size_t)n < len)
		conn_keep_out(c, data + n, len - n);
}

static void
conn_flush(struct conn *c)
{
	ssize_t n = send(c->fd, c->out, c->out_len, MSG_NOSIGNAL);

	if (n < 0) {
		if (errno != EAGAIN)
			conn_close(c);
		return;
	}
	c->out_len -= n;
	memmove(c->out, c->out + n, c->out_len);
	if (c->out_len == 0) {
		free(c->out);
		c->out = NULL;
		conn_watch(c, EPOLL_CTL_MOD, false);
	}
}

/* Writes a final unmasked frame made of three pieces, returns its length. */
static size_t
frame(char *dst, int opcode, struct span a, struct span b, struct span c)
{
	size_t len = a.len + b.len + c.len, head = len < 126 ? 2 : len < 65536 ? 4 : 10;

	dst[0] = (char)(0x80 | opcode);
	dst[1] = (char)(head == 2 ? len : head == 4 ? 126 : 127);
	for (size_t i = 2; i < head; i++)
		dst[i] = (char)(len >> 8 * (head - 1 - i));
	memcpy(dst + head, a.at, a.len);
	memcpy(dst + head + a.len, b.at, b.len);
	memcpy(dst + head + a.len + b.len, c.at, c.len);
	return head + len;
}

#define SPAN(s) ((struct span){s, sizeof s - 1})
#define NONE    ((struct span){"", 0})

static void
answer(struct span a, struct span b, struct span c)
{
	tx_len += frame(tx + tx_len, OPCODE_TEXT, a, b, c);
}

/* If `text` begins with `what`, *rest_r is what follows. */
static bool
starts(struct span text, struct span what, struct span *rest_r)
{
	if (text.len < what.len || memcmp(text.at, what.at, what.len) != 0)
		return false;
	*rest_r = (struct span){text.at + what.len, text.len - what.len};
	return true;
}

static void
to_room(struct conn *c, struct span rest)
{
	if (turn_len + rest.len + 64 > TURN_SIZE || c->member >= 0) {
		size_t len =
		    frame(turn + turn_len, OPCODE_TEXT, SPAN("42[\"room-msg\","), rest, NONE);

		for (size_t i = n_members; i-- > 0;)
			if (members[i] != c)
				conn_send(members[i], turn + turn_len, len);
		return;
	}
	turn_len += frame(turn + turn_len, OPCODE_TEXT, SPAN("42[\"room-msg\","), rest, NONE);
}

/* An event with an ack id: `text` is what follows `42`. */
static void
on_acked(struct conn *c, struct span text)
{
	size_t digits = strspn(text.at, "0123456789");
	struct span id = {text.at, digits}, call = {text.at + digits, text.len - digits}, rest;

	if (starts(call, SPAN("[\"message-with-ack\","), &rest)) {
		char head[32];

		if (digits > 20)
			return;
		memcpy(head, "43", 2);
		memcpy(head + 2, id.at, digits);
		head[2 + digits] = '[';
		answer((struct span){head, digits + 3}, rest, NONE);
	} else if (starts(call, SPAN("[\"join\","), &rest)) {
		room_add(c);
		answer(SPAN("43"), id, SPAN("[\"joined\"]"));
	} else if (starts(call, SPAN("[\"leave\","), &rest)) {
		room_remove(c);
		answer(SPAN("43"), id, SPAN("[\"left\"]"));
	}
}

static void
on_text(struct conn *c, struct span text)
{
	struct span rest;
	char sid[64];

	if (starts(text, SPAN("42[\"to-room\","), &rest)) {
		to_room(c, rest);
	} else if (starts(text, SPAN("42[\"message\","), &rest)) {
		answer(SPAN("42[\"message-back\","), rest, NONE);
	} else if (starts(text, SPAN("42"), &rest)) {
		on_acked(c, rest);
	} else if (starts(text, SPAN("40"), &rest)) {
		int n = snprintf(sid, sizeof sid, "40{\"sid\":\"%016d\"}", c->fd);

		answer((struct span){sid, n}, NONE, NONE);
		answer(SPAN("42[\"auth\","), rest.len > 0 ? rest : SPAN("{}"), SPAN("]"));
	}
}

/* Removes the mask; the byte behind the text becomes a NUL for strspn() and is put back. */
static void
on_frame(struct conn *c, int opcode, char *text, size_t len, const char mask[4])
{
	char behind = text[len];
	uint64_t word, pattern;
	size_t i = 0;

	memcpy(&pattern, mask, 4);
	memcpy((char *)&pattern + 4, mask, 4);
	for (; i + 8 <= len; i += 8) {
		memcpy(&word, text + i, 8);
		word ^= pattern;
		memcpy(text + i, &word, 8);
	}
	for (; i < len; i++)
		text[i] ^= mask[i & 3];
	text[len] = '\0';
	if (opcode == OPCODE_TEXT)
		on_text(c, (struct span){text, len});
	else if (opcode == OPCODE_PING)
		tx_len += frame(tx + tx_len, 0xa, (struct span){text, len}, NONE, NONE);
	else
		conn_close(c);
	text[len] = behind;
}

/* Takes whole frames from the buffer, returns how many bytes they had. */
static size_t
take_frames(struct conn *c, char *data, size_t len)
{
	size_t used = 0;

	while (c->fd >= 0 && len - used >= 6) {
		char *p = data + used;
		size_t size = p[1] & 0x7f, head = 6;

		if ((p[1] & 0x80) == 0 || size == 127) {
			conn_close(c);
			break;
		}
		if (size == 126) {
			if (len - used < 8)
				break;
			size = (size_t)(unsigned char)p[2] << 8 | (unsigned char)p[3];
			head = 8;
		}
		if (len - used < head + size)
			break;
		on_frame(c, p[0] & 0xf, p + head, size, p + head - 4);
		used += head + size;
		if (tx_len > TX_SIZE / 2) {
			conn_send(c, tx, tx_len);
			tx_len = 0;
		}
	}
	return used;
}

/* Answers the upgrade request, OPEN with it; returns the bytes of the request, 0: not whole. */
static size_t
take_request(struct conn *c, char *data, size_t len)
{
	static const char guid[] = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11";
	unsigned char digest[SHA_DIGEST_LENGTH], accept[32];
	char *end = memmem(data, len, "\r\n\r\n", 4), *key, text[64], open[160];
	int n;

	if (end == NULL)
		return 0;
	key = memmem(data, end - data, "Sec-WebSocket-Key: ", 19);
	if (key == NULL || end - (key += 19) < 24) {
		conn_close(c);
		return len;
	}
	memcpy(text, key, 24);
	memcpy(text + 24, guid, 36);
	SHA1((unsigned char *)text, 60, digest);
	EVP_EncodeBlock(accept, digest, sizeof digest);
	n = snprintf(tx, TX_SIZE,
	    "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n"
	    "Connection: Upgrade\r\nSec-WebSocket-Accept: %s\r\n\r\n",
	    accept);
	tx_len = n;
	n = snprintf(open, sizeof open,
	    "0{\"sid\":\"%016d\",\"upgrades\":[],\"pingInterval\":%u,"
	    "\"pingTimeout\":20000,\"maxPayload\":1000000}",
	    c->fd, ping_interval);
	answer((struct span){open, n}, NONE, NONE);
	c->upgraded = true;
	return end + 4 - data;
}

static void
conn_read(struct conn *c)
{
	size_t len, used = 0;
	ssize_t n;

	memcpy(rx, c->in, c->in_len);
	n = recv(c->fd, rx + c->in_len, RX_SIZE - 1 - c->in_len, 0);
	if (n <= 0) {
		if (n == 0 || errno != EAGAIN)
			conn_close(c);
		return;
	}
	len = c->in_len + n;
	tx_len = 0;
	if (!c->upgraded)
		used = take_request(c, rx, len);
	if (c->upgraded)
		used += take_frames(c, rx + used, len - used);
	conn_send(c, tx, tx_len);
	tx_len = 0;
	free(c->in);
	c->in = NULL;
	c->in_len = 0;
	if (c->fd < 0 || used == len)
		return;
	if (len - used > MAX_FRAME + 8) {
		conn_close(c);
		return;
	}
	c->in_len = len - used;
	c->in = must(malloc(c->in_len));
	memcpy(c->in, rx + used, c->in_len);
}

static void
accept_all(void)
{
	int fd, on = 1;
	struct conn *c;

	while ((fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC)) >= 0) {
		if ((size_t)fd >= max_fd) {
			close(fd);
			continue;
		}
		setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
		c = must(calloc(1, sizeof *c));
		c->fd = fd;
		c->member = -1;
		conns[fd] = c;
		conn_watch(c, EPOLL_CTL_ADD, false);
	}
}

/* A part of the connections gets its PING; in SLICES calls each has got one. */
static void
heartbeat(void)
{
	static unsigned slice;
	uint64_t times;
	char ping[8];
	size_t len = frame(ping, OPCODE_TEXT, SPAN("2"), NONE, NONE);

	if (read(timer, &times, sizeof times) < 0)
		return;
	for (; times > 0; times--) {
		for (size_t fd = slice; fd < max_fd; fd += SLICES)
			if (conns[fd] != NULL && conns[fd]->upgraded)
				conn_send(conns[fd], ping, len);
		slice = (slice + 1) % SLICES;
	}
}

static void
flush_room(void)
{
	for (size_t i = n_members; turn_len > 0 && i-- > 0;)
		conn_send(members[i], turn, turn_len);
	turn_len = 0;
}

static void
conn_event(struct conn *c, uint32_t events)
{
	if (c->fd >= 0 && (events & EPOLLOUT))
		conn_flush(c);
	if (c->fd >= 0 && (events & ~EPOLLOUT))
		conn_read(c);
}

static void
free_dead(void)
{
	struct conn *c;

	while ((c = dead) != NULL) {
		dead = c->next_dead;
		free(c->in);
		free(c->out);
		free(c);
	}
}

static void
loop(void)
{
	struct epoll_event ev[BATCH];

	for (;;) {
		int n = epoll_wait(ep, ev, BATCH, -1);

		if (n < 0 && errno != EINTR)
			die("epoll_wait");
		for (int i = 0; i < n; i++) {
			if (ev[i].data.ptr == NULL)
				accept_all();
			else if (ev[i].data.ptr == &timer)
				heartbeat();
			else
				conn_event(ev[i].data.ptr, ev[i].events);
		}
		flush_room();
		free_dead();
	}
}

static void
watch_other(int fd, void *tag)
{
	struct epoll_event ev = {.events = EPOLLIN, .data.ptr = tag};

	if (epoll_ctl(ep, EPOLL_CTL_ADD, fd, &ev) < 0)
		die("epoll_ctl");
}

static void
start(uint16_t port)
{
	struct sockaddr_in sin = {.sin_family = AF_INET, .sin_port = htons(port)};
	socklen_t len = sizeof sin;
	uint64_t tick = (uint64_t)ping_interval * 1000000 / SLICES;
	struct itimerspec every = {{tick / 1000000000, tick % 1000000000}, {0, 1}};
	int on = 1;

	sin.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	listener = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
	if (listener < 0 || bind(listener, (struct sockaddr *)&sin, sizeof sin) < 0 ||
	    listen(listener, 4096) < 0 || getsockname(listener, (struct sockaddr *)&sin, &len) < 0)
		die("listen");
	if ((ep = epoll_create1(EPOLL_CLOEXEC)) < 0)
		die("epoll_create1");
	watch_other(listener, NULL);
	if (tick > 0) {
		timer = timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK | TFD_CLOEXEC);
		if (timer < 0 || timerfd_settime(timer, 0, &every, NULL) < 0)
			die("timerfd");
		watch_other(timer, &timer);
	}
	printf("listening 127.0.0.1:%u\n", ntohs(sin.sin_port));
	fflush(stdout);
}

int
main(int argc, char **argv)
{
	struct rlimit nofile;
	uint16_t port = 0;

	for (int i = 1; i < argc; i += 2) {
		if (i + 1 < argc && strcmp(argv[i], "--port") == 0) {
			port = (uint16_t)atoi(argv[i + 1]);
		} else if (i + 1 < argc && strcmp(argv[i], "--ping-interval") == 0) {
			ping_interval = (unsigned)atoi(argv[i + 1]);
		} else {
			fprintf(stderr, "usage: raw [--port N] [--ping-interval MS]\n");
			return 2;
		}
	}
	getrlimit(RLIMIT_NOFILE, &nofile);
	nofile.rlim_cur = nofile.rlim_max < 65536 ? nofile.rlim_max : 65536;
	setrlimit(RLIMIT_NOFILE, &nofile);
	max_fd = nofile.rlim_cur;
	conns = must(calloc(max_fd, sizeof(struct conn *)));
	members = must(calloc(max_fd, sizeof(struct conn *)));
	signal(SIGPIPE, SIG_IGN);
	start(port);
	loop();
}
