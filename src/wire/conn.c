/* SPDX-License-Identifier: ISC */
/*
 * conn: one TCP connection, from bytes to requests and messages and back.  Loop thread.
 *
 * libwebsockets has the socket, TLS, the event loop and what the socket did not take;
 * it hands us the bytes as they come (its "raw" role).  HTTP and WebSocket are read by
 * head.c and ws.c, because what libwebsockets lets pass (bare LF, two lengths, frames
 * without mask, HTTP/2 by Upgrade) cannot be seen through its callbacks.
 *
 * Everything that waits for a client leaves in one write: of what it sent, once that is
 * read; of what others caused, at the end of the turn.
 *
 * No timer of libwebsockets is used for a connection (they are linear lists);
 * deadlines are libev's.  In HTTP there is always one: of the head, the body, the
 * answer, or of idleness; only what waits for the application has none: a request, a body
 * for its sink, an answer for its source.
 */
#include <linux/sockios.h>
#include <linux/tcp.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <utlist.h>

#include "lib/log.h"
#include "lib/address.h"
#include "wire/wire_int.h"

#define GATHER_MAX  (128 * 1024)
#define STREAM_PACE (16 * 1024) /* bytes of a long answer to be taken within write_timeout */
#define CONTROL_MAX 8192        /* bytes beside the session that may wait for a client */

static uint8_t gather[GATHER_MAX];

/* ---- deadlines ---- */

void
conn_deadline(struct conn *c, int64_t ms)
{
	ev_timer_stop(loop_ev(), &c->deadline);
	if (ms < 0)
		return;
	ev_timer_set(&c->deadline, (double)ms / 1000.0, 0);
	ev_timer_start(loop_ev(), &c->deadline);
}

/*
 * A peer that does not read never becomes writable, so WRITEABLE would not come: the
 * shut socket is, at once.  No linger: the kernel does not keep the unsent bytes either.
 */
static void
conn_cut(struct conn *c)
{
	const struct linger none = {.l_onoff = 1, .l_linger = 0};
	int fd = lws_get_socket_fd(c->wsi);

	setsockopt(fd, SOL_SOCKET, SO_LINGER, &none, sizeof(none));
	shutdown(fd, SHUT_RDWR);
}

void
conn_abort(struct conn *c)
{
	c->abort = true;
	conn_cut(c);
	conn_want_write(c);
}

int
conn_unacknowledged(const struct conn *c)
{
	int n = 0;

	return ioctl(lws_get_socket_fd(c->wsi), SIOCOUTQ, &n) == 0 ? n : 0;
}

static bool
takes_some(struct conn *c)
{
	int unsent = conn_unacknowledged(c);
	bool some = unsent != c->unsent;

	c->unsent = unsent;
	return some;
}

/* Since it was asked last: an answer that is long must not be taken by drops. */
static bool
keeps_pace(struct conn *c)
{
	struct tcp_info info;
	socklen_t len = sizeof(info);
	uint64_t before = c->acknowledged;

	if (getsockopt(lws_get_socket_fd(c->wsi), IPPROTO_TCP, TCP_INFO, &info, &len) < 0)
		return false;
	c->acknowledged = info.tcpi_bytes_acked;
	return c->acknowledged - before >= STREAM_PACE;
}

static void
late(struct ev_loop *l, ev_timer *t, int revents)
{
	struct conn *c = t->data;

	(void)l, (void)revents;
	if (c->state == CONN_ANSWER && (c->stream ? keeps_pace(c) : takes_some(c))) {
		conn_deadline(c, c->wire->opts.write_timeout);
		return;
	}
	if (c->state == CONN_BODY || (c->state == CONN_HEAD && c->in.len)) {
		c->in.len = 0;
		http_refuse(c, 408, "timeout");
	} else if (c->state == CONN_HEAD || c->state == CONN_LINGER) { /* nothing is unsent */
		c->abort = true;
		shutdown(lws_get_socket_fd(c->wsi), SHUT_RDWR);
		conn_want_write(c);
	} else {
		conn_abort(c); /* does not take its answer */
	}
}

/* ---- writing ---- */

void
conn_want_write(struct conn *c)
{
	lws_callback_on_writable(c->wsi);
}

int
conn_write_bytes(struct conn *c, uint8_t *data, size_t len)
{
	c->wire->stats.writes++;
	return lws_write(c->wsi, data, len, LWS_WRITE_RAW) < 0 ? -1 : 0;
}

void
conn_write_interim(struct conn *c, const char *text)
{
	uint8_t bytes[64];
	size_t len = strlen(text);

	memcpy(bytes, text, len);
	if (conn_write_bytes(c, bytes, len) < 0)
		conn_abort(c);
}

static bool
mid_frame(const struct conn *c)
{
	return c->session && eio_mid_frame(c->session);
}

/* A Close frame: with a status, or empty (the client sees 1005). */
void
conn_write_close(struct conn *c)
{
	uint8_t frame[4] = {0x88, 0};
	size_t len = 2;

	if (mid_frame(c))
		return; /* it would become part of the frame */
	if (c->close_code) {
		frame[1] = 2;
		frame[2] = (uint8_t)(c->close_code >> 8);
		frame[3] = (uint8_t)c->close_code;
		len = 4;
	}
	conn_write_bytes(c, frame, len);
}

/* Pongs and the packets of a WebSocket that is no transport yet go first. */
static size_t
gather_some(struct conn *c, size_t *frames_r)
{
	size_t n = 0;

	*frames_r = 0;
	if (c->control.len && !mid_frame(c)) {
		n = c->control.len;
		memcpy(gather, c->control.data, n);
		buf_fini(&c->control);
	}
	if (c->session)
		n += eio_gather(c->session, gather + n, sizeof(gather) - n, frames_r);
	return n;
}

/* It would also be woken for input that it leaves where it is, again and again. */
bool
conn_hold_reading(struct conn *c)
{
	bool held = lws_partial_buffered(c->wsi);

	if (held == c->held)
		return held;
	c->held = held;
	if (!c->stopped)
		lws_rx_flow_control(c->wsi, held ? 0 : 1);
	return held;
}

/* Sends what waits; -1: the connection is to be closed (only from a callback of lws). */
static int
ws_write(struct conn *c, bool in_callback)
{
	size_t n, frames;

	if ((c->abort || c->closing) && !in_callback) {
		conn_want_write(c);
		return 0;
	}
	if (c->abort)
		return -1;
	while (!lws_partial_buffered(c->wsi) && (n = gather_some(c, &frames)) > 0) {
		c->wire->stats.frames_out += frames;
		if (conn_write_bytes(c, gather, n) < 0) {
			c->abort = true;
			conn_want_write(c);
			return in_callback ? -1 : 0;
		}
	}
	if (conn_hold_reading(c)) {
		conn_want_write(c);
		return 0;
	}
	if (c->closing) {
		conn_write_close(c);
		return -1;
	}
	return 0;
}

static void
transport_flush(void *conn)
{
	struct conn *c = conn;

	loop_defer(&c->flush);
}

static void
transport_close(void *conn, int code, bool now)
{
	struct conn *c = conn;

	c->closing = true;
	c->close_code = code;
	c->abort = c->abort || now;
	conn_want_write(c);
	if (now)
		conn_cut(c);
}

/* Later: the session is not ours yet while it arrives. */
static void
transport_resume(void *conn)
{
	struct conn *c = conn;

	c->resuming = c->stopped;
	loop_defer(&c->flush);
}

const struct eio_transport conn_transport = {
    .flush = transport_flush,
    .close = transport_close,
    .resume = transport_resume,
};

void
conn_close_ws(struct conn *c, int code)
{
	transport_close(c, code, false);
	conn_deadline(c, c->wire->opts.write_timeout);
}

void
conn_send_text(struct conn *c, const char *packet)
{
	struct frame *f = frame_new(packet, strlen(packet), false);

	if (c->control.len < CONTROL_MAX)
		buf_append(&c->control, f->data, f->len);
	frame_unref(&f);
	loop_defer(&c->flush);
}

/* ---- the end of a connection ---- */

static void
conn_gone(struct conn *c)
{
	struct wire *w = c->wire;
	struct http_req *r = c->req;

	c->req = NULL;
	if (r)
		http_req_gone(r);
	http_stream_end(c);
	if (c->session)
		eio_transport_gone(c->session, "transport close");
	upgrade_gone(c);
	loop_cancel(&c->flush);
	ev_timer_stop(loop_ev(), &c->deadline);
	DL_DELETE(w->conns, c);
	address_disconnect(w->addresses, &c->address);
	buf_fini(&c->in);
	buf_fini(&c->reply);
	buf_fini(&c->control);
	ws_reader_fini(&c->reader);
	free(c);
	conn_left(w);
}

/* ---- life ---- */

/* At the end of the turn, for what others caused. */
static void
task(void *arg)
{
	struct conn *c = arg;

	if (c->state != CONN_WS) {
		conn_http_flush(c);
		return;
	}
	if (c->resuming)
		conn_resume_reading(c);
	ws_write(c, false);
}

/*
 * What a connection's own input caused is sent at once, while its socket is at hand in
 * the processor's caches (an ack costs a fifth less so than at the end of the turn).
 */
static int
received(struct conn *c, uint8_t *data, size_t len)
{
	int err;

	if (c->abort)
		return -1;
	if (c->tls && !c->secured) {
		/* libwebsockets' timer of the TLS handshake would go on and close it. */
		c->secured = true;
		lws_set_timeout(c->wsi, NO_PENDING_TIMEOUT, 0);
	}
	err = c->state == CONN_WS ? conn_read_ws(c, data, len) : conn_http_received(c, data, len);
	if (err || !c->flush.queued || c->resuming)
		return err;
	loop_cancel(&c->flush);
	return c->state == CONN_WS ? ws_write(c, true) : conn_http_write(c);
}

static int
callback(struct lws *wsi, enum lws_callback_reasons reason, void *user, void *in, size_t len)
{
	struct conn *c = wsi ? lws_get_opaque_user_data(wsi) : NULL;

	if (reason == LWS_CALLBACK_OPENSSL_LOAD_EXTRA_SERVER_VERIFY_CERTS)
		wire_tls_context(lws_get_vhost_user(in), user);
	if (!c)
		return 0;
	switch (reason) {
	case LWS_CALLBACK_RAW_RX:
		return received(c, in, len);
	case LWS_CALLBACK_RAW_WRITEABLE:
		return c->state == CONN_WS ? ws_write(c, true) : conn_http_write(c);
	case LWS_CALLBACK_WSI_DESTROY:
		lws_set_opaque_user_data(wsi, NULL);
		conn_gone(c);
		return 0;
	default:
		return 0;
	}
}

const struct lws_protocols conn_protocols[] = {
    {.name = "palaver", .callback = callback}, {.name = NULL}};

static struct lws *
adopt(struct conn *c, int fd, int tls)
{
	lws_sock_file_fd_type sock = {.sockfd = fd};
	struct wire *w = c->wire;

	return lws_adopt_descriptor_vhost(c->tls ? w->tls[tls]->vhost : w->vhost,
	    LWS_ADOPT_SOCKET | (c->tls ? LWS_ADOPT_ALLOW_SSL : 0), sock, conn_protocols[0].name,
	    NULL);
}

struct conn *
conn_new(struct wire *w, int fd, const struct sockaddr_storage *sa, int tls)
{
	struct conn *c = xcalloc(1, sizeof(*c));

	c->wire = w;
	c->tls = tls != WIRE_CLEAR;
	c->flush.run = task;
	c->flush.arg = c;
	if (!conn_admit(c, fd, sa)) {
		free(c);
		return NULL;
	}
	c->wsi = adopt(c, fd, tls);
	if (!c->wsi) { /* it has closed fd */
		if (c->tls)
			log_debug("wire.tls_refused", "the handshake failed at once");
		else
			log_warn("wire.not_adopted", "hint=raise LimitNOFILE");
		address_disconnect(w->addresses, &c->address);
		free(c);
		return NULL;
	}
	lws_set_opaque_user_data(c->wsi, c);
	ev_timer_init(&c->deadline, late, 0, 0);
	c->deadline.data = c;
	conn_deadline(c, w->opts.head_timeout);
	DL_APPEND(w->conns, c);
	return c;
}
