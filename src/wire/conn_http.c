/* SPDX-License-Identifier: ISC */
/*
 * conn_http: a connection that is HTTP: one request after another, and their answers.  Loop
 * thread.
 */
#include <sys/socket.h>

#include "lib/clock.h"
#include "wire/wire_int.h"

#define REPLY_CHUNK        (64 * 1024)
#define LINGER_MS          5000 /* without a byte; at most body_timeout */
#define LINGER_DRAINING_MS 1000
#define BODY_PIECE         (64 * 1024) /* of a body for a sink must come within body_timeout */

static void read_input(struct conn *c);

/*
 * The client is still sending what it was told is not wanted.  Were the socket closed now,
 * the kernel would answer that with a reset, and the client might lose the answer by it
 * (RFC 9112, 9.6).
 */
static int
linger(struct conn *c)
{
	c->state = CONN_LINGER;
	buf_fini(&c->in);
	c->linger_until = c->wire->draining ? 0 : clock_mono_ms() + c->wire->opts.body_timeout;
	conn_deadline(c, c->wire->draining ? LINGER_DRAINING_MS : LINGER_MS);
	shutdown(lws_get_socket_fd(c->wsi), SHUT_WR);
	return 0;
}

/* The answer is out: the next request. */
static int
http_next(struct conn *c)
{
	buf_fini(&c->reply);
	c->reply_sent = 0;
	if (c->unread)
		return linger(c);
	if (c->reply_ends || c->wire->draining)
		return -1;
	c->state = CONN_HEAD;
	conn_deadline(c, c->in.len ? c->wire->opts.head_timeout : c->wire->opts.idle_timeout);
	read_input(c);
	return 0;
}

int
conn_http_write(struct conn *c)
{
	if (c->abort)
		return -1;
	if (!c->reply.len)
		return 0;
	while (c->reply_sent < c->reply.len && !lws_partial_buffered(c->wsi)) {
		size_t n = c->reply.len - c->reply_sent;

		if (n > REPLY_CHUNK)
			n = REPLY_CHUNK;
		if (conn_write_bytes(c, c->reply.data + c->reply_sent, n) < 0)
			return -1;
		c->reply_sent += n;
	}
	if (!conn_hold_reading(c)) {
		c->reply.len = c->reply_sent = 0;
		return http_stream_more(c) ? 0 : http_next(c);
	}
	c->unsent = conn_unacknowledged(c);
	conn_deadline(c, c->wire->opts.write_timeout);
	conn_want_write(c);
	return 0;
}

void
conn_answered(struct conn *c)
{
	if (c->state == CONN_BODY) { /* the rest of the body is not wanted */
		c->reply_ends = c->unread = true;
		conn_resume_body(c);
	}
	c->state = CONN_ANSWER;
	conn_deadline(c, c->wire->opts.write_timeout);
	loop_defer(&c->flush);
}

void
conn_http_flush(struct conn *c)
{
	if (c->reply_ends || c->wire->draining || c->abort) /* it may have to be closed */
		conn_want_write(c);
	else if (conn_http_write(c) < 0)
		conn_abort(c);
}

/* A head, or a part of it, is in c->in. */
static void
read_head(struct conn *c)
{
	const struct wire_opts *o = &c->wire->opts;
	const struct head_limits limits = {o->max_url, o->max_head, o->max_fields};
	struct head_fault fault;
	struct http_head h;
	long n = http_head_parse((char *)c->in.data, c->in.len, &limits, &h, &fault);

	if (n < 0) {
		c->in.len = 0;
		http_refuse(c, fault.status, fault.code);
		return;
	}
	if (n == 0)
		return;
	c->reply_ends = !h.keep_alive;
	c->req = http_req_new(c, &h, (char *)c->in.data, (size_t)n);
	buf_drop(&c->in, (size_t)n);
	c->state = CONN_BODY;
	if (http_req_begin(c->req))
		conn_deadline(c, o->body_timeout);
}

/* Of a body that goes to a sink and may be large: time for each piece, not for all of it. */
static void
body_progress(struct conn *c)
{
	if (http_req_is_ahead(c->req)) {
		conn_deadline(c, -1);
		conn_stop_reading(c);
	} else if (http_req_has_sink(c->req) && c->body_read >= BODY_PIECE) {
		c->body_read = 0;
		conn_deadline(c, c->wire->opts.body_timeout);
	}
}

void
conn_resume_body(struct conn *c)
{
	if (!c->stopped)
		return;
	c->stopped = false;
	c->body_read = 0;
	conn_deadline(c, c->wire->opts.body_timeout);
	lws_rx_flow_control(c->wsi, c->held ? 0 : 1);
}

static void
read_body(struct conn *c)
{
	size_t n;

	if (!http_req_take(c->req, c->in.data, c->in.len, &n)) {
		c->in.len = 0;
		return;
	}
	buf_drop(&c->in, n);
	c->body_read += n;
	if (!http_req_whole(c->req)) {
		body_progress(c);
		return;
	}
	c->state = CONN_ANSWER;
	conn_deadline(c, -1);
	http_req_complete(c->req);
}

/* Uses what is in c->in, as far as it goes. */
static void
read_input(struct conn *c)
{
	size_t before;

	do {
		before = c->in.len;
		if (c->state == CONN_HEAD && before)
			read_head(c);
		if (c->state == CONN_BODY && c->req)
			read_body(c);
	} while (c->state == CONN_HEAD && c->in.len && c->in.len < before);
	if (!c->in.len)
		buf_fini(&c->in);
	if (c->state == CONN_WS && c->in.len && !c->stopped)
		conn_resume_reading(c);
}

int
conn_http_received(struct conn *c, const uint8_t *data, size_t len)
{
	size_t room = c->wire->opts.max_head + (c->state == CONN_BODY ? len : 0);

	if (c->state == CONN_LINGER && clock_mono_ms() < c->linger_until)
		conn_deadline(c, LINGER_MS);
	if (c->state == CONN_LINGER || (c->reply_ends && c->state == CONN_ANSWER))
		return 0; /* not wanted any more */
	if (c->state == CONN_HEAD && !c->in.len)
		conn_deadline(c, c->wire->opts.head_timeout);
	if (c->state != CONN_BODY && c->state != CONN_HEAD && c->in.len + len > room)
		return -1; /* far ahead of its answers */
	buf_append(&c->in, data, len);
	read_input(c);
	return 0;
}
