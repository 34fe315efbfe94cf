/* SPDX-License-Identifier: ISC */
/*
 * load_conn: the connections of the load tool.
 *
 * Each goes CONNECTING, TLS if asked for, UPGRADE, OPEN, JOIN, JOINED; at most UNDER_WAY are
 * between the first and the last at once.  Sockets never block; epoll is level-triggered
 * and each event reads once, into one buffer for all: what is left of it stays with the
 * connection until more comes.
 *
 * With 127/8 as the server's address the connections take turns at several source
 * addresses, so that neither their ports run out nor those of earlier runs (TIME_WAIT)
 * are in the way.
 */
#include "load_conn.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include <openssl/err.h>

#define UNDER_WAY     200
#define BATCH         512
#define RX_SIZE       (256 * 1024)
#define OPEN_TIMEOUT  (60 * SECOND)
#define CLOSE_TIMEOUT (20 * SECOND)

static const char key[] = "dGhlIHNhbXBsZSBub25jZQ==";
static const char accepted[] = "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="; /* RFC 6455, 1.3 */
static char rx[RX_SIZE];

static void
conn_watch(struct pool *p, struct conn *c, int op, bool out)
{
	struct epoll_event ev = {.events = EPOLLIN | (out ? EPOLLOUT : 0), .data.ptr = c};

	if (epoll_ctl(p->ep, op, c->fd, &ev) < 0)
		load_die("epoll_ctl: %s", strerror(errno));
	c->wants_out = out;
}

static void
conn_drop(struct pool *p, struct conn *c)
{
	if (c->state == CONN_UNUSED)
		return;
	if (c->state == CONN_CLOSING)
		p->closing--;
	else if (c->state == CONN_JOINED)
		p->joined--;
	else
		p->under_way--;
	if (c->state != CONN_CLOSING)
		p->lost++;
	SSL_free(c->ssl);
	close(c->fd);
	free(c->in);
	free(c->out);
	memset(c, 0, sizeof *c);
	c->fd = -1;
}

/* < 0: an error or the end; 0: not now */
static ssize_t
io_result(struct conn *c, int n)
{
	int error;

	if (n > 0)
		return n;
	if (c->ssl == NULL)
		return n < 0 && (errno == EAGAIN || errno == EINTR) ? 0 : -1;
	error = SSL_get_error(c->ssl, n);
	ERR_clear_error();
	return error == SSL_ERROR_WANT_READ || error == SSL_ERROR_WANT_WRITE ? 0 : -1;
}

static ssize_t
io_read(struct conn *c, char *data, size_t len)
{
	if (c->ssl != NULL)
		return io_result(c, SSL_read(c->ssl, data, (int)len));
	return io_result(c, (int)recv(c->fd, data, len, 0));
}

static ssize_t
io_write(struct conn *c, const char *data, size_t len)
{
	if (c->ssl != NULL)
		return io_result(c, SSL_write(c->ssl, data, (int)len));
	return io_result(c, (int)send(c->fd, data, len, MSG_NOSIGNAL));
}

static void
conn_keep(char **where, uint32_t *len, const char *data, size_t n)
{
	char *p = realloc(*where, *len + n);

	if (p == NULL)
		load_die("out of memory");
	memcpy(p + *len, data, n);
	*where = p;
	*len += n;
}

void
conn_send(struct pool *p, struct conn *c, const char *data, size_t len)
{
	ssize_t n;

	if (c->state == CONN_UNUSED)
		return;
	n = c->out_len > 0 ? 0 : io_write(c, data, len);
	if (n < 0) {
		conn_drop(p, c);
		return;
	}
	if ((size_t)n == len)
		return;
	conn_keep(&c->out, &c->out_len, data + n, len - n);
	if (!c->wants_out)
		conn_watch(p, c, EPOLL_CTL_MOD, true);
}

static void
conn_flush(struct pool *p, struct conn *c)
{
	ssize_t n = io_write(c, c->out, c->out_len);

	if (n < 0) {
		conn_drop(p, c);
		return;
	}
	c->out_len -= n;
	memmove(c->out, c->out + n, c->out_len);
	if (c->out_len == 0) {
		free(c->out);
		c->out = NULL;
		conn_watch(p, c, EPOLL_CTL_MOD, false);
	}
}

size_t
conn_frame(char *dst, const char *text, size_t len)
{
	static uint64_t state = 0x9e3779b97f4a7c15;
	size_t head = len < 126 ? 6 : 8, i = 0;
	uint64_t mask, word;

	state ^= state << 13;
	state ^= state >> 7;
	state ^= state << 17;
	mask = (state & 0xffffffff) * 0x100000001;
	dst[0] = (char)0x81;
	dst[1] = (char)(0x80 | (head == 6 ? len : 126));
	if (head == 8) {
		dst[2] = (char)(len >> 8);
		dst[3] = (char)len;
	}
	memcpy(dst + head - 4, &mask, 4);
	for (; i + 8 <= len; i += 8) {
		memcpy(&word, text + i, 8);
		word ^= mask;
		memcpy(dst + head + i, &word, 8);
	}
	for (; i < len; i++)
		dst[head + i] = (char)(text[i] ^ ((char *)&mask)[i & 7]);
	return head + len;
}

void
conn_send_text(struct pool *p, struct conn *c, const char *text, size_t len)
{
	char frame[FRAME_HEAD + 65535];

	conn_send(p, c, frame, conn_frame(frame, text, len));
}

static void
conn_request(struct pool *p, struct conn *c)
{
	char request[512];
	int n = snprintf(request, sizeof request,
	    "GET /socket.io/?EIO=4&transport=websocket HTTP/1.1\r\n"
	    "Host: %s:%u\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
	    "Sec-WebSocket-Key: %s\r\nSec-WebSocket-Version: 13\r\n\r\n",
	    p->options->host, p->options->port, key);

	c->state = CONN_UPGRADE;
	conn_send(p, c, request, n);
}

static void
conn_tls(struct pool *p, struct conn *c)
{
	int n;

	if (c->ssl == NULL) {
		c->ssl = SSL_new(p->tls);
		if (c->ssl == NULL || SSL_set_fd(c->ssl, c->fd) != 1)
			load_die("no TLS client");
		c->state = CONN_TLS;
		conn_watch(p, c, EPOLL_CTL_MOD, false);
	}
	n = SSL_connect(c->ssl);
	if (n == 1)
		conn_request(p, c);
	else if (io_result(c, n) < 0)
		conn_drop(p, c);
}

static void
conn_connected(struct pool *p, struct conn *c)
{
	int error = 0;
	socklen_t len = sizeof error;

	getsockopt(c->fd, SOL_SOCKET, SO_ERROR, &error, &len);
	if (error != 0) {
		conn_drop(p, c);
	} else if (p->tls != NULL) {
		conn_tls(p, c);
	} else {
		conn_watch(p, c, EPOLL_CTL_MOD, false);
		conn_request(p, c);
	}
}

static void
conn_join(struct pool *p, struct conn *c)
{
	const char *packet = p->auth == NULL ? "40" : auth_packet(p->auth, c - p->conns);

	c->state = CONN_JOIN;
	conn_send_text(p, c, packet, strlen(packet));
}

static bool
begins(const char *text, size_t len, const char *what)
{
	return len >= strlen(what) && memcmp(text, what, strlen(what)) == 0;
}

static void
conn_text(struct pool *p, struct conn *c, const char *text, size_t len)
{
	if (c->state == CONN_CLOSING) {
		return;
	} else if (len == 1 && text[0] == '2') {
		p->pings++;
		conn_send_text(p, c, "3", 1);
	} else if (c->state == CONN_JOINED) {
		if (p->packet != NULL)
			p->packet(p, c, text, len);
	} else if (c->state == CONN_OPEN && begins(text, len, "0{")) {
		conn_join(p, c);
	} else if (c->state == CONN_JOIN && begins(text, len, "40{\"sid\"")) {
		c->state = CONN_JOINED;
		p->under_way--;
		p->joined++;
	} else {
		p->bad++;
		conn_drop(p, c);
	}
}

/* Takes the answer to the upgrade request; returns its bytes, 0: it is not whole. */
static size_t
take_answer(struct pool *p, struct conn *c, const char *data, size_t len)
{
	const char *end = memmem(data, len, "\r\n\r\n", 4);

	if (end == NULL)
		return 0;
	if (!begins(data, len, "HTTP/1.1 101 ") ||
	    memmem(data, end - data, accepted, sizeof accepted - 1) == NULL) {
		p->bad++;
		conn_drop(p, c);
		return len;
	}
	c->state = CONN_OPEN;
	return end + 4 - data;
}

static size_t
take_frames(struct pool *p, struct conn *c, const char *data, size_t len)
{
	const unsigned char *u = (const unsigned char *)data;
	size_t used = 0;

	while (len - used >= 2 && c->state >= CONN_OPEN) {
		size_t size = u[used + 1], head = 2;

		if (u[used] != 0x81 || size == 127 || (size & 0x80)) {
			if (u[used] != 0x88)
				p->bad++;
			conn_drop(p, c);
			break;
		}
		if (size == 126) {
			if (len - used < 4)
				break;
			size = (size_t)u[used + 2] << 8 | u[used + 3];
			head = 4;
		}
		if (len - used < head + size)
			break;
		conn_text(p, c, data + used + head, size);
		used += head + size;
	}
	return used;
}

/* Returns whether more may be waiting inside the TLS layer. */
static bool
conn_read_once(struct pool *p, struct conn *c)
{
	size_t len, used = 0;
	ssize_t n;

	if (c->in_len > 0)
		memcpy(rx, c->in, c->in_len);
	n = io_read(c, rx + c->in_len, RX_SIZE - c->in_len);
	if (n < 0)
		conn_drop(p, c);
	if (n <= 0)
		return false;
	len = c->in_len + n;
	free(c->in);
	c->in = NULL;
	c->in_len = 0;
	if (c->state == CONN_UPGRADE)
		used = take_answer(p, c, rx, len);
	if (c->state >= CONN_OPEN)
		used += take_frames(p, c, rx + used, len - used);
	if (c->state == CONN_UNUSED)
		return false;
	if (used < len)
		conn_keep(&c->in, &c->in_len, rx + used, len - used);
	if (c->in_len == RX_SIZE)
		load_die("a frame longer than %d bytes", RX_SIZE);
	return c->ssl != NULL && SSL_has_pending(c->ssl);
}

static void
conn_event(struct pool *p, struct conn *c, uint32_t events)
{
	if (c->state == CONN_CONNECTING) {
		conn_connected(p, c);
		return;
	}
	if (c->state == CONN_TLS) {
		conn_tls(p, c);
		return;
	}
	if (c->state != CONN_UNUSED && (events & EPOLLOUT))
		conn_flush(p, c);
	if (c->state != CONN_UNUSED && (events & ~EPOLLOUT))
		while (conn_read_once(p, c))
			;
}

/* A socket bound to the `turn`-th source address; the port is chosen by connect(). */
static int
source_socket(const struct options *o, uint32_t turn)
{
	struct sockaddr_in sin = {.sin_family = AF_INET};
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0), on = 1;

	if (fd < 0)
		load_die("socket: %s", strerror(errno));
	setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
	if (o->sources == 0 || strncmp(o->host, "127.", 4) != 0)
		return fd;
	setsockopt(fd, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, &on, sizeof on);
	sin.sin_addr.s_addr = htonl(0x7f000002 + turn % o->sources);
	if (bind(fd, (struct sockaddr *)&sin, sizeof sin) < 0)
		load_die("bind: %s", strerror(errno));
	return fd;
}

void
pool_start(struct pool *p, uint32_t index)
{
	const struct options *o = p->options;
	struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons(o->port)};
	struct conn *c = &p->conns[index];
	uint32_t tries = 0;

	if (inet_pton(AF_INET, o->host, &to.sin_addr) != 1)
		load_die("not an IPv4 address: %s", o->host);
	for (;;) {
		c->fd = source_socket(o, index + tries);
		if (connect(c->fd, (struct sockaddr *)&to, sizeof to) == 0 ||
		    errno == EINPROGRESS || errno == ECONNREFUSED)
			break; /* the first event tells an error */
		if (errno != EADDRNOTAVAIL || ++tries >= o->sources)
			load_die("connect: %s", strerror(errno));
		close(c->fd);
	}
	c->state = CONN_CONNECTING;
	p->under_way++;
	conn_watch(p, c, EPOLL_CTL_ADD, true);
}

static SSL_CTX *
tls_client(void)
{
	SSL_CTX *ctx = SSL_CTX_new(TLS_client_method());

	if (ctx == NULL)
		load_die("no TLS");
	SSL_CTX_set_verify(ctx, SSL_VERIFY_NONE, NULL);
	SSL_CTX_set_session_cache_mode(ctx, SSL_SESS_CACHE_OFF);
	SSL_CTX_set_mode(ctx, SSL_MODE_RELEASE_BUFFERS | SSL_MODE_ENABLE_PARTIAL_WRITE |
				  SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
	SSL_CTX_set_read_ahead(ctx, 1);
	return ctx;
}

void
pool_init(struct pool *p, const struct options *o, uint32_t n)
{
	memset(p, 0, sizeof *p);
	p->options = o;
	p->n = n;
	p->tls = o->tls ? tls_client() : NULL;
	p->auth = o->auth != NULL ? auth_read(o->auth) : NULL;
	p->conns = calloc(n, sizeof *p->conns);
	p->ep = epoll_create1(EPOLL_CLOEXEC);
	if (p->conns == NULL || p->ep < 0)
		load_die("no memory or no epoll");
	for (uint32_t i = 0; i < n; i++)
		p->conns[i].fd = -1;
}

void
pool_fini(struct pool *p)
{
	for (uint32_t i = 0; i < p->n; i++)
		conn_drop(p, &p->conns[i]);
	SSL_CTX_free(p->tls);
	auth_free(&p->auth);
	free(p->conns);
	close(p->ep);
}

void
pool_turn(struct pool *p, uint64_t ns)
{
	struct timespec wait = {(time_t)(ns / SECOND), (long)(ns % SECOND)};
	struct epoll_event ev[BATCH];
	int n;

	while (p->next < p->end && p->under_way < UNDER_WAY)
		pool_start(p, p->next++);
	n = epoll_pwait2(p->ep, ev, BATCH, &wait, NULL);
	if (n < 0 && errno != EINTR)
		load_die("epoll: %s", strerror(errno));
	for (int i = 0; i < n; i++)
		conn_event(p, ev[i].data.ptr, ev[i].events);
	if (p->turn_end != NULL)
		p->turn_end(p);
}

bool
pool_open(struct pool *p, uint32_t first, uint32_t n)
{
	uint32_t lost = p->lost, joined = p->joined;
	uint64_t until = load_now() + OPEN_TIMEOUT, now;

	p->next = first;
	p->end = first + n;
	while (p->next < p->end || p->under_way > 0) {
		if ((now = load_now()) >= until)
			break;
		pool_turn(p, until - now);
	}
	p->next = p->end;
	return p->lost == lost && p->joined == joined + n;
}

bool
pool_close(struct pool *p, uint32_t first, uint32_t n)
{
	uint64_t until = load_now() + CLOSE_TIMEOUT, now;

	for (uint32_t i = first; i < first + n; i++) {
		struct conn *c = &p->conns[i];

		if (c->state != CONN_JOINED)
			continue;
		if (c->ssl != NULL)
			SSL_shutdown(c->ssl);
		shutdown(c->fd, SHUT_WR);
		c->state = CONN_CLOSING;
		p->joined--;
		p->closing++;
	}
	while (p->closing > 0 && (now = load_now()) < until)
		pool_turn(p, until - now);
	return p->closing == 0;
}
