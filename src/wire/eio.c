/* SPDX-License-Identifier: ISC */
/*
 * eio: the session table, heartbeat and queue.  Loop thread.
 *
 * Life: OPEN, then CLOSING from eio_close() or the loss of the transport.  The layer
 * above hears closed() from a deferred task, never from inside its own call.  The
 * session is freed when closed() was called and the transport is gone.
 *
 * Heartbeat: one timer, for the next PING or for the deadline of its PONG.  Deadlines
 * are reckoned from scheduled times, not from when the timer ran, so they do not
 * drift: pong_by = scheduled PING + ping_timeout.
 *
 * The queue is a ring of frame references; `sent` bytes of the first are out.
 */
#include "wire/eio.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <uthash.h>

#include "lib/id.h"
#include "lib/json.h"
#include "lib/log.h"
#include "lib/loop.h"

#define SID_BYTES 18

struct eio_session {
	char sid[EIO_SID_MAX];
	struct eio_server *server;
	const struct eio_transport *transport;
	void *conn; /* NULL: gone */
	void *above;
	struct frame **ring;
	size_t ring_cap, ring_head, ring_count;
	size_t sent;   /* of the first frame */
	size_t queued; /* bytes */
	ev_timer heartbeat;
	int64_t due_ms; /* scheduled time of the PING or of the PONG's deadline, monotonic */
	bool pong_due;
	bool closing, told; /* eio_close was called; closed() was called */
	const char *reason;
	int code;
	bool now;
	struct loop_task end;
	UT_hash_handle hh;
};

struct eio_server {
	struct eio_opts opts;
	const struct eio_handler *handler;
	void *arg;
	struct eio_session *sessions;
	struct frame *ping;
	uint64_t slow;
};

/* ---- queue ---- */

static void
ring_grow(struct eio_session *s)
{
	size_t cap = s->ring_cap ? s->ring_cap * 2 : 4;
	struct frame **ring = xmalloc(cap * sizeof(struct frame *));

	for (size_t i = 0; i < s->ring_count; i++)
		ring[i] = s->ring[(s->ring_head + i) % s->ring_cap];
	free(s->ring);
	s->ring = ring;
	s->ring_cap = cap;
	s->ring_head = 0;
}

static void
ring_pop(struct eio_session *s)
{
	struct frame *f = s->ring[s->ring_head];

	s->ring_head = (s->ring_head + 1) % s->ring_cap;
	s->ring_count--;
	s->sent = 0;
	frame_unref(&f);
}

static void
ring_clear(struct eio_session *s)
{
	while (s->ring_count)
		ring_pop(s);
	free(s->ring);
	s->ring = NULL;
	s->ring_cap = s->ring_head = s->queued = 0;
}

size_t
eio_gather(struct eio_session *s, uint8_t *dst, size_t room, size_t *frames_r)
{
	size_t n = 0;

	*frames_r = 0;
	while (s->ring_count && n < room) {
		struct frame *f = s->ring[s->ring_head];
		size_t take = f->len - s->sent;

		if (take > room - n)
			take = room - n;
		memcpy(dst + n, f->data + s->sent, take);
		n += take;
		s->sent += take;
		if (s->sent == f->len) {
			ring_pop(s);
			++*frames_r;
		}
	}
	s->queued -= n;
	if (!s->ring_count && s->ring_cap > 64)
		ring_clear(s); /* a burst is over: an idle connection holds no memory */
	return n;
}

bool
eio_waiting(const struct eio_session *s)
{
	return s->ring_count > 0;
}

void
eio_send(struct eio_session *s, struct frame *f)
{
	if (s->closing || !s->conn)
		return;
	if (s->queued + f->len > s->server->opts.max_queue) {
		log_info("eio.slow_reader", "sid=%.8s queued=%zu", s->sid, s->queued);
		s->server->slow++;
		s->now = true;
		eio_close(s, "transport error", 0);
		return;
	}
	if (s->ring_count == s->ring_cap)
		ring_grow(s);
	s->ring[(s->ring_head + s->ring_count++) % s->ring_cap] = frame_ref(f);
	s->queued += f->len;
	s->transport->flush(s->conn);
}

static void
send_text(struct eio_session *s, const char *text, size_t len)
{
	struct frame *f = frame_new(text, len, false);

	eio_send(s, f);
	frame_unref(&f);
}

/* ---- end ---- */

static void
session_free(struct eio_session *s)
{
	if (!s->told || s->conn)
		return;
	ev_timer_stop(loop_ev(), &s->heartbeat);
	loop_cancel(&s->end);
	HASH_DEL(s->server->sessions, s);
	ring_clear(s);
	free(s);
}

static void
session_end(void *arg)
{
	struct eio_session *s = arg;

	if (!s->told) {
		s->told = true;
		s->server->handler->closed(s->above, s->reason);
	}
	if (s->now)
		ring_clear(s);
	if (s->conn)
		s->transport->close(s->conn, s->code, s->now);
	session_free(s);
}

void
eio_close(struct eio_session *s, const char *reason, int code)
{
	if (s->closing)
		return;
	s->closing = true;
	s->reason = reason;
	s->code = code;
	ev_timer_stop(loop_ev(), &s->heartbeat);
	loop_defer(&s->end);
}

void
eio_transport_gone(struct eio_session *s, const char *reason)
{
	s->conn = NULL;
	if (!s->closing)
		eio_close(s, reason, 0);
	else if (s->told)
		session_free(s);
}

/* ---- heartbeat ---- */

static void
heartbeat_at(struct eio_session *s, int64_t due_ms)
{
	int64_t in = due_ms - clock_mono_ms();

	s->due_ms = due_ms;
	ev_timer_stop(loop_ev(), &s->heartbeat);
	/* libev counts from the loop's idea of now, which may be a little old */
	ev_now_update(loop_ev());
	ev_timer_set(&s->heartbeat, in > 0 ? (double)in / 1000.0 : 0, 0);
	ev_timer_start(loop_ev(), &s->heartbeat);
}

static void
heartbeat(struct ev_loop *l, ev_timer *t, int revents)
{
	struct eio_session *s = t->data;
	struct eio_server *e = s->server;

	if (s->pong_due) {
		eio_close(s, "ping timeout", 0);
		return;
	}
	s->pong_due = true;
	heartbeat_at(s, s->due_ms + e->opts.ping_timeout);
	eio_send(s, e->ping);
}

static void
got_pong(struct eio_session *s)
{
	s->pong_due = false;
	heartbeat_at(s, clock_mono_ms() + s->server->opts.ping_interval);
}

/* ---- input ---- */

void
eio_input(struct eio_session *s, const char *data, size_t len, bool binary)
{
	const struct eio_handler *h = s->server->handler;

	if (s->closing)
		return;
	if (binary) {
		h->message(s->above, data, len, true);
		return;
	}
	switch (len ? *data : 0) {
	case '4':
		if (utf8_valid(data + 1, len - 1))
			h->message(s->above, data + 1, len - 1, false);
		else
			eio_close(s, "transport error", 1007);
		break;
	case '3':
		got_pong(s);
		break;
	case '0':
	case '5':
	case '6':
		break;
	case '1':
		eio_close(s, "transport close", 0);
		break;
	default: /* also 2: only the server pings; and b: for clients without binary frames */
		eio_close(s, "parse error", 0);
	}
}

/* ---- sessions ---- */

static void
send_open(struct eio_session *s)
{
	const struct eio_opts *o = &s->server->opts;
	char text[256];
	int n;

	n = snprintf(text, sizeof(text),
	    "0{\"sid\":\"%s\",\"upgrades\":[],\"pingInterval\":%lld,\"pingTimeout\":%lld,"
	    "\"maxPayload\":%zu}",
	    s->sid, (long long)o->ping_interval, (long long)o->ping_timeout, o->max_payload);
	send_text(s, text, (size_t)n);
}

struct eio_session *
eio_open(struct eio_server *e, const struct eio_transport *t, void *conn)
{
	struct eio_session *s = xcalloc(1, sizeof(*s));

	s->sid[0] = (char)('A' + e->opts.slot / 26 % 26); /* the owner's slot, two letters */
	s->sid[1] = (char)('A' + e->opts.slot % 26);
	random_token(s->sid + 2, SID_BYTES);
	s->server = e;
	s->transport = t;
	s->conn = conn;
	s->end.run = session_end;
	s->end.arg = s;
	HASH_ADD_STR(e->sessions, sid, s);
	ev_init(&s->heartbeat, heartbeat);
	s->heartbeat.data = s;
	heartbeat_at(s, clock_mono_ms() + e->opts.ping_interval);
	send_open(s);
	s->above = e->handler->open(e->arg, s);
	return s;
}

const char *
eio_sid(const struct eio_session *s)
{
	return s->sid;
}

struct eio_server *
eio_server_new(const struct eio_opts *o, const struct eio_handler *h, void *arg)
{
	struct eio_server *e = xcalloc(1, sizeof(*e));

	e->opts = *o;
	e->handler = h;
	e->arg = arg;
	e->ping = frame_new("2", 1, false);
	return e;
}

void
eio_server_reconfigure(struct eio_server *e, const struct eio_opts *o)
{
	e->opts = *o;
}

size_t
eio_session_count(const struct eio_server *e)
{
	return HASH_COUNT(e->sessions);
}

uint64_t
eio_slow_count(const struct eio_server *e)
{
	return e->slow;
}

void
eio_close_all(struct eio_server *e, const char *reason, int code)
{
	struct eio_session *s, *tmp;

	HASH_ITER (hh, e->sessions, s, tmp)
		eio_close(s, reason, code);
}

/* The transports must be gone by now. */
void
eio_server_free(struct eio_server **ep)
{
	struct eio_server *e = *ep;
	struct eio_session *s, *tmp;

	*ep = NULL;
	if (!e)
		return;
	HASH_ITER (hh, e->sessions, s, tmp) {
		s->conn = NULL;
		if (!s->reason)
			s->reason = "server shutting down";
		session_end(s);
	}
	frame_unref(&e->ping);
	free(e);
}
