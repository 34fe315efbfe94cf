/* SPDX-License-Identifier: ISC */
/*
 * eio: the session table, the queue, heartbeat and packets.  Loop thread.
 *
 * Heartbeat: one timer, for the next PING or for the deadline of its PONG.  Deadlines
 * are reckoned from scheduled times, not from when the timer ran, so they do not
 * drift: pong_by = scheduled PING + ping_timeout.  In CLOSING the timer bounds how long
 * the transport may wait for a peer that does not read: ping_timeout, then it is cut.
 *
 * The queue is a ring of frame references; `sent` bytes of the first are out.
 */
#include "wire/eio.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lib/id.h"
#include "lib/json.h"
#include "lib/log.h"
#include "wire/eio_int.h"
#include "wire/payload.h"

#define SID_BYTES  18
#define RING_KEPT  8 /* references that an idle session may hold */
#define OVER_MS    1000
#define OVER_TIMES 4
#define GRACE_MS   30000

/* ---- queue ---- */

static void
ring_grow(struct eio_session *s)
{
	uint32_t cap = s->ring_cap ? s->ring_cap * 2 : 4;
	struct frame **ring = xmalloc(cap * sizeof(struct frame *));

	for (uint32_t i = 0; i < s->ring_count; i++)
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

	if (++s->ring_head == s->ring_cap)
		s->ring_head = 0;
	s->ring_count--;
	s->sent = 0;
	frame_unref(&f);
}

static void
ring_trim(struct eio_session *s)
{
	if (s->ring_count || s->ring_cap <= RING_KEPT)
		return;
	free(s->ring);
	s->ring = NULL;
	s->ring_cap = s->ring_head = 0;
}

void
eio_queue_clear(struct eio_session *s)
{
	while (s->ring_count)
		ring_pop(s);
	free(s->ring);
	s->ring = NULL;
	s->ring_cap = s->ring_head = 0;
	s->queued = 0;
}

static void
took(struct eio_session *s, size_t len)
{
	s->queued -= len;
	if (s->queued <= s->server->opts.max_queue)
		s->over_since = 0;
}

struct frame *
eio_queue_first(const struct eio_session *s)
{
	return s->ring_count ? s->ring[s->ring_head] : NULL;
}

void
eio_queue_pop(struct eio_session *s)
{
	took(s, s->ring[s->ring_head]->len);
	ring_pop(s);
	ring_trim(s);
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
	took(s, n);
	ring_trim(s);
	return n;
}

bool
eio_waiting(const struct eio_session *s)
{
	return s->ring_count > 0;
}

bool
eio_mid_frame(const struct eio_session *s)
{
	return s->sent > 0;
}

void
eio_queue_put(struct eio_session *s, struct frame *f)
{
	if (s->ring_count == s->ring_cap)
		ring_grow(s);
	s->ring[(s->ring_head + s->ring_count++) % s->ring_cap] = frame_ref(f);
	s->queued += f->len;
}

static void
flush(struct eio_session *s)
{
	if (s->polling)
		eio_polling_flush(s);
	else
		s->transport->flush(s->conn);
}

/*
 * A burst may fill the queue faster than anybody could read: it is too full when it has
 * been so for OVER_MS, or is OVER_TIMES as full as allowed.  One frame always has room.
 */
static bool
has_room(struct eio_session *s, size_t len)
{
	size_t max = s->server->opts.max_queue;
	int64_t now;

	if (!s->queued || s->queued + len <= max)
		return true;
	now = clock_mono_ms();
	if (!s->over_since)
		s->over_since = now;
	return now - s->over_since <= OVER_MS && s->queued + len <= max * OVER_TIMES;
}

void
eio_send(struct eio_session *s, struct frame *f)
{
	struct frame *text = NULL;

	if (s->closing || (!s->conn && !s->polling))
		return;
	if (!has_room(s, f->len)) {
		log_info("eio.slow_reader", "sid=%.8s queued=%zu", s->sid, s->queued);
		s->server->slow++;
		s->now = true;
		eio_close(s, "transport error", 0);
		return;
	}
	if (s->b64 && f->binary) {
		text = payload_base64_frame(f);
		f = text;
	}
	eio_queue_put(s, f);
	frame_unref(&text);
	flush(s);
}

static void
send_text(struct eio_session *s, const char *text, size_t len)
{
	struct frame *f = frame_new(text, len, false);

	eio_send(s, f);
	frame_unref(&f);
}

/* ---- end ---- */

void
eio_session_drop(struct eio_session *s)
{
	struct eio_server *e = s->server;

	ev_timer_stop(loop_ev(), &s->heartbeat);
	loop_cancel(&s->end);
	HASH_DEL(e->sessions, s);
	eio_polling_free(s);
	eio_queue_clear(s);
	if (s->foreign && e->foreign_ended)
		e->foreign_ended(e->foreign_arg, s->sid);
	free(s);
}

static void
session_free(struct eio_session *s)
{
	if (s->told && !s->conn && !s->linger)
		eio_session_drop(s);
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
		eio_queue_clear(s);
	if (s->polling) {
		eio_polling_close(s);
		if (s->linger)
			eio_heartbeat_at(s, clock_mono_ms() + GRACE_MS);
	} else if (s->conn) {
		eio_heartbeat_at(s, clock_mono_ms() + s->ping_timeout);
		s->transport->close(s->conn, s->code, s->now);
	}
	session_free(s);
}

void
eio_close(struct eio_session *s, const char *reason, int code)
{
	if (s->closing)
		return;
	s->closing = true;
	s->linger = s->polling && !s->now;
	s->reason = reason;
	s->code = code;
	ev_timer_stop(loop_ev(), &s->heartbeat);
	loop_defer(&s->end);
}

void
eio_end(struct eio_session *s, const char *reason)
{
	s->now = s->now || s->polling;
	if (s->closing) {
		s->linger = false;
		loop_defer(&s->end);
	} else {
		eio_close(s, reason, 0);
	}
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

void
eio_heartbeat_at(struct eio_session *s, int64_t due_ms)
{
	int64_t in = due_ms - clock_mono_ms();

	s->due_ms = due_ms;
	ev_timer_stop(loop_ev(), &s->heartbeat);
	/* libev counts from the loop's idea of now, which may be a little old */
	ev_now_update(loop_ev());
	ev_timer_set(&s->heartbeat, in > 0 ? (double)in / 1000.0 : 0, 0);
	ev_timer_start(loop_ev(), &s->heartbeat);
}

/* The time of an orderly close is over. */
static void
cut(struct eio_session *s)
{
	if (s->linger) {
		s->linger = false;
		session_free(s);
		return;
	}
	log_info("eio.cut", "sid=%.8s queued=%zu", s->sid, s->queued);
	eio_queue_clear(s);
	s->transport->close(s->conn, s->code, true);
}

static void
heartbeat(struct ev_loop *l, ev_timer *t, int revents)
{
	struct eio_session *s = t->data;
	struct eio_server *e = s->server;

	(void)l, (void)revents;
	if (s->closing) {
		cut(s);
		return;
	}
	if (s->pong_due) {
		eio_end(s, "ping timeout");
		return;
	}
	s->pong_due = true;
	eio_heartbeat_at(s, s->due_ms + s->ping_timeout);
	eio_send(s, e->ping);
}

static void
got_pong(struct eio_session *s)
{
	s->pong_due = false;
	eio_heartbeat_at(s, clock_mono_ms() + s->ping_interval);
}

/* ---- input ---- */

static void
base64_packet(struct eio_session *s, const char *text, size_t len)
{
	const struct eio_handler *h = s->server->handler;
	char *bytes = xmalloc(len + 1);
	long n = payload_base64_decode(bytes, text, len);

	if (n < 0)
		eio_end(s, "parse error");
	else
		h->message(s->above, bytes, (size_t)n, true);
	free(bytes);
}

void
eio_packet(struct eio_session *s, const char *data, size_t len)
{
	switch (len ? *data : 0) {
	case '4':
		s->server->handler->message(s->above, data + 1, len - 1, false);
		break;
	case '3':
		got_pong(s);
		break;
	case 'b':
		base64_packet(s, data + 1, len - 1);
		break;
	case '0':
	case '5':
	case '6':
		break;
	case '1':
		if (s->polling)
			eio_answer_get(s, "6");
		eio_end(s, "transport close");
		break;
	default: /* also 2: only the server pings */
		eio_end(s, "parse error");
	}
}

void
eio_input(struct eio_session *s, const char *data, size_t len, bool binary)
{
	if (s->closing)
		return;
	if (binary)
		s->server->handler->message(s->above, data, len, true);
	else
		eio_packet(s, data, len);
}

/* ---- sessions ---- */

void
eio_send_open(struct eio_session *s, const char *upgrades)
{
	const struct eio_opts *o = &s->server->opts;
	char text[256];
	int n;

	n = snprintf(text, sizeof(text),
	    "0{\"sid\":\"%s\",\"upgrades\":[%s],\"pingInterval\":%lld,\"pingTimeout\":%lld,"
	    "\"maxPayload\":%zu}",
	    s->sid, upgrades, (long long)s->ping_interval, (long long)s->ping_timeout,
	    o->max_payload);
	send_text(s, text, (size_t)n);
}

/* sid: NULL for a new one. */
struct eio_session *
eio_session_new(struct eio_server *e, const char *sid)
{
	struct eio_session *s = xcalloc(1, sizeof(*s));

	if (sid) {
		str_copy(s->sid, sizeof(s->sid), sid);
		s->foreign = eio_sid_slot(sid) != (int)e->opts.slot;
	} else {
		s->sid[0] = (char)('A' + e->opts.slot / 26 % 26);
		s->sid[1] = (char)('A' + e->opts.slot % 26);
		random_token(s->sid + 2, SID_BYTES);
	}
	s->server = e;
	s->ping_interval = (uint32_t)e->opts.ping_interval;
	s->ping_timeout = (uint32_t)e->opts.ping_timeout;
	s->end.run = session_end;
	s->end.arg = s;
	HASH_ADD_STR(e->sessions, sid, s);
	ev_init(&s->heartbeat, heartbeat);
	s->heartbeat.data = s;
	return s;
}

struct eio_session *
eio_open(struct eio_server *e, const struct eio_transport *t, void *conn, bool b64,
    const char *credential)
{
	struct eio_session *s = eio_session_new(e, NULL);

	s->transport = t;
	s->conn = conn;
	s->b64 = b64;
	eio_heartbeat_at(s, clock_mono_ms() + s->ping_interval);
	eio_send_open(s, "");
	s->above = e->handler->open(e->arg, s, credential);
	return s;
}

const char *
eio_sid(const struct eio_session *s)
{
	return s->sid;
}

int
eio_sid_slot(const char *sid)
{
	size_t len = strlen(sid);

	if (len < 20 || len >= EIO_SID_MAX || sid[0] < 'A' || sid[0] > 'Z' || sid[1] < 'A' ||
	    sid[1] > 'Z')
		return -1;
	return (sid[0] - 'A') * 26 + sid[1] - 'A';
}

const char *
eio_error_text(enum eio_error e)
{
	static const char *const texts[] = {"Transport unknown", "Session ID unknown",
	    "Bad handshake method", "Bad request", "Forbidden", "Unsupported protocol version"};

	return texts[e];
}

/* ---- the server ---- */

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

void
eio_on_foreign_end(struct eio_server *e, void (*ended)(void *arg, const char *sid), void *arg)
{
	e->foreign_ended = ended;
	e->foreign_arg = arg;
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

	HASH_ITER (hh, e->sessions, s, tmp) {
		if (s->polling)
			eio_end(s, reason);
		else
			eio_close(s, reason, code);
	}
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
	e->foreign_ended = NULL;
	HASH_ITER (hh, e->sessions, s, tmp) {
		s->conn = NULL;
		s->now = true;
		s->linger = false;
		if (!s->reason)
			s->reason = "server shutting down";
		session_end(s);
	}
	for (unsigned int slot = 0; e->moved; slot = e->moved ? e->moved->slot : 0)
		eio_forget_moved(e, slot);
	frame_unref(&e->ping);
	free(e);
}
