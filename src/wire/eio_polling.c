/* SPDX-License-Identifier: ISC */
/*
 * eio_polling: GET and POST of a session whose transport is polling (protocol,
 * sections 4, 6 and 8).  Loop thread.
 *
 * At most one GET is parked and at most one POST is arriving.  What the layer above
 * sends goes into the queue; a parked GET takes it at the end of the turn, so that
 * everything of one turn is one payload.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lib/json.h"
#include "lib/log.h"
#include "wire/eio_int.h"
#include "wire/payload.h"

#define TYPE_PAYLOAD "text/plain; charset=UTF-8"
#define NOOP_MS      100
#define PAYLOAD_SOFT (256 * 1024) /* bytes, after which the rest waits for the next GET */

static void
answer(struct eio_request *rq, int status, const char *type, const void *body, size_t len)
{
	rq->session = NULL;
	rq->ops->answer(rq, status, type, body, len);
}

static void
answer_empty(struct eio_request *rq, int status)
{
	answer(rq, status, NULL, NULL, 0);
}

void
eio_answer_error(struct eio_request *rq, enum eio_error e)
{
	char body[96];
	int n = snprintf(
	    body, sizeof(body), "{\"code\":%d,\"message\":\"%s\"}", (int)e, eio_error_text(e));

	answer(rq, e == EIO_FORBIDDEN ? 403 : 400, "application/json", body, (size_t)n);
}

void
eio_answer_get(struct eio_session *s, const char *packet)
{
	struct eio_request *rq = s->polling->get;

	s->polling->get = NULL;
	if (rq)
		answer(rq, 200, TYPE_PAYLOAD, packet, strlen(packet));
}

/* Answers rq with what is queued; last: and, if that was all, with the end. */
static void
answer_queue(struct eio_session *s, struct eio_request *rq, bool last)
{
	unsigned int count = 0, most = EIO_POLL_BATCH - (last ? 1 : 0);
	struct frame *f;
	struct buf b;

	buf_init(&b);
	if (last && !s->ring_count)
		buf_putc(&b, '6');
	while (count < most && b.len < PAYLOAD_SOFT && (f = eio_queue_first(s)) != NULL) {
		payload_put(&b, f);
		eio_queue_pop(s);
		count++;
	}
	if (last && !s->ring_count) {
		buf_puts(&b, "\x1e"
			     "1");
		s->linger = false;
		loop_defer(&s->end);
	}
	answer(rq, 200, TYPE_PAYLOAD, b.data, b.len);
	buf_fini(&b);
}

static void
answer_task(void *arg)
{
	struct eio_session *s = arg;
	struct eio_request *rq = s->polling->get;

	if (!rq || !s->ring_count)
		return;
	s->polling->get = NULL;
	answer_queue(s, rq, false);
}

void
eio_polling_flush(struct eio_session *s)
{
	if (s->polling->get)
		loop_defer(&s->polling->answer);
}

/* ---- NOOP while upgrading: every GET is ended soon (section 6, rule 2) ---- */

static void
noop(struct eio_session *s)
{
	s->polling->last_noop = clock_mono_ms();
	eio_answer_get(s, "6");
}

static void
noop_due(struct ev_loop *l, ev_timer *t, int revents)
{
	struct eio_session *s = t->data;

	(void)l, (void)revents;
	if (s->polling->get && s->polling->probed)
		noop(s);
}

static void
noop_soon(struct eio_session *s)
{
	struct eio_polling *p = s->polling;
	int64_t in = p->last_noop + NOOP_MS - clock_mono_ms();

	if (in <= 0) {
		noop(s);
		return;
	}
	ev_timer_stop(loop_ev(), &p->noop);
	ev_timer_set(&p->noop, (double)in / 1000.0, 0);
	ev_timer_start(loop_ev(), &p->noop);
}

void
eio_polling_probed(struct eio_session *s)
{
	s->polling->probed = true;
	if (s->polling->get && !s->ring_count)
		noop(s);
}

/* ---- requests ---- */

static struct eio_session *
find(struct eio_server *e, const char *sid, enum eio_error *err_r)
{
	struct eio_session *s;
	struct eio_moved *m;

	*err_r = EIO_UNKNOWN_SID;
	HASH_FIND_STR(e->sessions, sid, s);
	if (!s) {
		HASH_FIND_STR(e->moved, sid, m);
		if (m)
			*err_r = EIO_BAD_REQUEST; /* its transport is a WebSocket elsewhere */
		return NULL;
	}
	if (s->pong_due && !s->closing && clock_mono_ms() >= s->due_ms)
		eio_end(s, "ping timeout");
	if (s->closing && !s->linger)
		return NULL;
	if (!s->polling) {
		*err_r = EIO_BAD_REQUEST;
		return NULL;
	}
	*err_r = EIO_OK;
	return s;
}

enum eio_error
eio_check_polling(struct eio_server *e, const char *sid)
{
	enum eio_error err;

	find(e, sid, &err);
	return err;
}

static void
park(struct eio_session *s, struct eio_request *rq)
{
	rq->session = s;
	s->polling->get = rq;
	if (s->polling->probed)
		noop_soon(s);
}

void
eio_get(struct eio_server *e, const char *sid, struct eio_request *rq)
{
	enum eio_error err;
	struct eio_session *s = find(e, sid, &err);

	if (!s) {
		eio_answer_error(rq, err);
	} else if (s->polling->get) {
		eio_answer_get(s, "1");
		answer_empty(rq, 400);
		eio_end(s, "transport error");
	} else if (s->ring_count || s->closing) {
		answer_queue(s, rq, s->closing);
	} else {
		park(s, rq);
	}
}

void
eio_open_polling(struct eio_server *e, struct eio_request *rq, const char *credential)
{
	struct eio_session *s = eio_session_new(e, NULL);

	s->polling = eio_polling_new(s);
	eio_heartbeat_at(s, clock_mono_ms() + s->ping_interval);
	park(s, rq);
	eio_send_open(s, "\"websocket\"");
	s->above = e->handler->open(e->arg, s, credential);
}

void
eio_post_begin(struct eio_server *e, const char *sid, struct eio_request *rq)
{
	enum eio_error err;
	struct eio_session *s = find(e, sid, &err);

	if (!s || s->closing)
		return; /* the error is for eio_post() */
	if (s->polling->post) {
		answer_empty(s->polling->post, 400);
		s->polling->post = NULL;
		answer_empty(rq, 400);
		eio_end(s, "transport error");
		return;
	}
	rq->session = s;
	s->polling->post = rq;
}

/* All packets of the body, in order, until one of them ends the session. */
static void
take_body(struct eio_session *s, const char *body, size_t len)
{
	struct payload_packet p;
	unsigned int count = 0;
	size_t pos = 0;
	int got = -1;

	if (utf8_valid(body, len))
		while (!s->closing && (got = payload_next(body, len, &pos, &p)) > 0) {
			if (++count > s->server->opts.max_packets) {
				got = -1;
				break;
			}
			eio_packet(s, p.data, p.len);
		}
	if (got < 0 && !s->closing)
		eio_end(s, "parse error");
}

void
eio_post(struct eio_server *e, const char *sid, struct eio_request *rq, const char *body,
    size_t len, bool octets)
{
	enum eio_error err;
	struct eio_session *s = find(e, sid, &err);

	if (!s) {
		if (rq->session)
			rq->session->polling->post = NULL;
		eio_answer_error(rq, err);
		return;
	}
	if (s->polling->post && s->polling->post != rq) {
		eio_post_begin(e, sid, rq);
		return;
	}
	s->polling->post = NULL;
	if (octets) {
		answer_empty(rq, 400);
		eio_end(s, "parse error");
		return;
	}
	if (!s->closing)
		take_body(s, body, len);
	if (s->closing && !s->linger && strcmp(s->reason, "parse error") == 0)
		answer_empty(rq, 400);
	else
		answer(rq, 200, "text/html", "ok", 2);
}

void
eio_post_cancel(struct eio_request *rq)
{
	if (rq->session)
		rq->session->polling->post = NULL;
	rq->session = NULL;
}

void
eio_request_gone(struct eio_request *rq)
{
	struct eio_session *s = rq->session;

	if (!s)
		return;
	rq->session = NULL;
	if (s->polling->get == rq)
		s->polling->get = NULL;
	else
		s->polling->post = NULL;
	eio_end(s, "transport error");
}

/* ---- life ---- */

struct eio_polling *
eio_polling_new(struct eio_session *s)
{
	struct eio_polling *p = xcalloc(1, sizeof(*p));

	p->answer.run = answer_task;
	p->answer.arg = s;
	ev_init(&p->noop, noop_due);
	p->noop.data = s;
	ev_init(&p->upgrade, NULL);
	return p;
}

void
eio_polling_close(struct eio_session *s)
{
	struct eio_polling *p = s->polling;
	struct eio_request *rq = p->get, *post = p->post;

	if (!s->linger)
		eio_upgrade_cancel(s);
	p->post = NULL;
	if (post)
		answer_empty(post, 400);
	if (!rq)
		return;
	p->get = NULL;
	if (!s->linger)
		answer(rq, 200, TYPE_PAYLOAD, "1", 1);
	else if (s->ring_count)
		answer_queue(s, rq, true);
	else {
		answer(rq, 200, TYPE_PAYLOAD, "1", 1);
		s->linger = false;
	}
}

/* The requests have been answered. */
void
eio_polling_free(struct eio_session *s)
{
	struct eio_polling *p = s->polling;

	if (!p)
		return;
	eio_upgrade_cancel(s);
	if (p->get)
		p->get->session = NULL;
	if (p->post)
		p->post->session = NULL;
	loop_cancel(&p->answer);
	loop_cancel(&p->idle);
	ev_timer_stop(loop_ev(), &p->noop);
	ev_timer_stop(loop_ev(), &p->upgrade);
	s->polling = NULL;
	free(p);
}
