/* SPDX-License-Identifier: ISC */
/*
 * eio_upgrade: from polling to a WebSocket, of this worker or of another one
 * (protocol, section 6; design, section 5).  Loop thread.
 *
 * Here the session just changes its transport.  To another worker it goes with its
 * state, once the layer above has nothing under way: sid, heartbeat, unsent packets and
 * what the layer above writes down.  What is left is a note, so that late requests get
 * the answer they would get anywhere: the transport is another one.
 *
 * State: str sid, i64 ms until the heartbeat's timer, u8 pong_due, u32 ping_interval, u32
 * ping_timeout, u8 closing, str reason, u32 count of packets, each u8 binary and bytes,
 * then bytes of the layer above.
 */
#include <stdlib.h>
#include <string.h>

#include "lib/log.h"
#include "lib/pack.h"
#include "wire/eio_int.h"

#define NOTE_MS (24 * 3600 * 1000) /* how long a session that moved is remembered at most */

static void
detach(struct eio_session *s)
{
	struct eio_polling *p = s->polling;

	p->candidate = NULL;
	p->probed = false;
	p->upgrade_wanted = false;
	loop_cancel(&p->idle);
	ev_timer_stop(loop_ev(), &p->upgrade);
	ev_timer_stop(loop_ev(), &p->noop);
}

void
eio_upgrade_cancel(struct eio_session *s)
{
	struct eio_candidate *c = s->polling->candidate;

	if (!c)
		return;
	detach(s);
	c->session = NULL;
	c->ops->cut(c);
}

static void
late(struct ev_loop *l, ev_timer *t, int revents)
{
	struct eio_session *s = t->data;

	(void)l, (void)revents;
	if (!s->polling->upgrade_wanted)
		eio_upgrade_cancel(s);
}

enum eio_error
eio_candidate_add(struct eio_server *e, const char *sid, struct eio_candidate *c)
{
	enum eio_error err = eio_check_polling(e, sid);
	struct eio_session *s;
	struct eio_polling *p;

	if (err != EIO_OK)
		return err;
	HASH_FIND_STR(e->sessions, sid, s);
	p = s->polling;
	if (p->candidate || s->closing)
		return EIO_BAD_REQUEST;
	p->candidate = c;
	c->session = s;
	ev_timer_init(&p->upgrade, late, (double)e->opts.upgrade_timeout / 1000.0, 0);
	p->upgrade.data = s;
	ev_timer_start(loop_ev(), &p->upgrade);
	return EIO_OK;
}

void
eio_candidate_probe(struct eio_candidate *c)
{
	if (c->session && !c->session->polling->probed)
		eio_polling_probed(c->session);
}

void
eio_candidate_gone(struct eio_candidate *c)
{
	if (c->session)
		detach(c->session);
	c->session = NULL;
}

/* ---- leaving ---- */

static void
pack_session(struct buf *b, struct eio_session *s)
{
	struct buf above;

	pack_str(b, s->sid);
	pack_i64(b, s->due_ms - clock_mono_ms());
	pack_u8(b, s->pong_due);
	pack_u32(b, s->ping_interval);
	pack_u32(b, s->ping_timeout);
	pack_u8(b, s->closing);
	pack_str(b, s->reason ? s->reason : "");
	pack_u32(b, s->ring_count);
	for (uint32_t i = 0; i < s->ring_count; i++) {
		const struct frame *f = s->ring[(s->ring_head + i) % s->ring_cap];

		pack_u8(b, f->binary);
		pack_bytes(b, f->data + f->header, f->len - f->header);
	}
	buf_init(&above);
	if (!s->told)
		s->server->handler->leave(s->above, &above);
	pack_bytes(b, above.data, above.len);
	buf_fini(&above);
}

static void
forget(struct eio_server *e, struct eio_moved *m)
{
	HASH_DEL(e->moved, m);
	free(m);
}

static void
forget_old(struct eio_server *e)
{
	while (e->moved && e->moved->until_ms < clock_mono_ms())
		forget(e, e->moved);
}

static void
leave(struct eio_session *s, struct eio_candidate *c)
{
	struct eio_moved *m = xcalloc(1, sizeof(*m));
	struct eio_server *e = s->server;
	struct buf state;

	buf_init(&state);
	pack_session(&state, s);
	str_copy(m->sid, sizeof(m->sid), s->sid);
	m->slot = c->slot;
	m->until_ms = clock_mono_ms() + NOTE_MS;
	forget_old(e);
	HASH_ADD_STR(e->moved, sid, m); /* uthash keeps the order of adding: the oldest first */
	eio_session_drop(s);
	c->ops->moved(c, &state);
	buf_fini(&state);
}

/* It stays with its state; only the transport changes.  A close under way goes on. */
static void
change_transport(struct eio_session *s, struct eio_candidate *c)
{
	eio_polling_free(s);
	s->transport = c->transport;
	s->conn = c->conn;
	c->ops->upgraded(c, s);
	if (s->closing) {
		s->linger = false;
		loop_defer(&s->end);
	} else if (s->ring_count) {
		s->transport->flush(s->conn);
	}
}

static void
upgrade(struct eio_session *s)
{
	struct eio_candidate *c = s->polling->candidate;
	struct eio_request *post = s->polling->post;

	detach(s);
	c->session = NULL;
	eio_answer_get(s, "6");
	s->polling->post = NULL;
	if (post) { /* an impatient client; its body belongs nowhere now */
		post->session = NULL;
		eio_answer_error(post, EIO_BAD_REQUEST);
	}
	if (c->transport)
		change_transport(s, c);
	else
		leave(s, c);
}

static bool
is_busy(struct eio_session *s)
{
	return !s->told && s->server->handler->busy(s->above);
}

void
eio_candidate_upgrade(struct eio_candidate *c)
{
	struct eio_session *s = c->session;

	if (!s)
		return;
	if (!c->transport && is_busy(s))
		s->polling->upgrade_wanted = true;
	else
		upgrade(s);
}

static void
idle(void *arg)
{
	struct eio_session *s = arg;

	if (s->polling->upgrade_wanted && !is_busy(s))
		upgrade(s);
}

/* At the end of the turn: a session that leaves takes what our caller still holds with it. */
void
eio_idle(struct eio_session *s)
{
	if (!s->polling || !s->polling->upgrade_wanted)
		return;
	s->polling->idle.run = idle;
	s->polling->idle.arg = s;
	loop_defer(&s->polling->idle);
}

/* ---- arriving ---- */

static bool
unpack_queue(struct unpack *u, struct eio_session *s)
{
	uint32_t count = unpack_u32(u);

	while (count-- && unpack_ok(u)) {
		bool binary = unpack_u8(u) != 0;
		size_t len;
		const void *data = unpack_bytes(u, &len);
		struct frame *f;

		if (!unpack_ok(u))
			return false;
		f = frame_new(data, len, binary);
		eio_queue_put(s, f);
		frame_unref(&f);
	}
	return unpack_ok(u);
}

/* A session whose upper half has ended where it came from: the rest, then the end. */
static void
arrive_closing(struct eio_session *s)
{
	s->told = true;
	s->reason = "forced close";
	s->closing = true;
	loop_defer(&s->end);
}

struct eio_session *
eio_arrive(
    struct eio_server *e, const struct eio_transport *t, void *conn, const void *state, size_t len)
{
	char sid[EIO_SID_MAX], reason[64];
	struct eio_session *s;
	struct unpack u;
	const void *above;
	size_t above_len;
	bool closing;

	unpack_init(&u, state, len);
	unpack_strn(&u, sid, sizeof(sid));
	HASH_FIND_STR(e->sessions, sid, s);
	if (!unpack_ok(&u) || s)
		return NULL;
	s = eio_session_new(e, sid);
	s->transport = t;
	s->conn = conn;
	eio_heartbeat_at(s, clock_mono_ms() + unpack_i64(&u));
	s->pong_due = unpack_u8(&u) != 0;
	s->ping_interval = unpack_u32(&u);
	s->ping_timeout = unpack_u32(&u);
	closing = unpack_u8(&u) != 0;
	unpack_strn(&u, reason, sizeof(reason));
	if (!unpack_queue(&u, s))
		goto bad;
	above = unpack_bytes(&u, &above_len);
	if (!unpack_end(&u))
		goto bad;
	if (closing)
		arrive_closing(s);
	else if (!(s->above = e->handler->arrive(e->arg, s, above, above_len)))
		goto bad;
	if (s->ring_count)
		t->flush(conn);
	return s;
bad:
	log_error("eio.bad_state", "sid=%.8s", sid);
	eio_session_drop(s);
	return NULL;
}

void
eio_ready(struct eio_session *s)
{
	if (s->conn && s->transport->resume)
		s->transport->resume(s->conn);
}

/* ---- notes ---- */

void
eio_moved_ended(struct eio_server *e, const char *sid)
{
	struct eio_moved *m;

	HASH_FIND_STR(e->moved, sid, m);
	if (m)
		forget(e, m);
}

void
eio_forget_moved(struct eio_server *e, unsigned int slot)
{
	struct eio_moved *m, *tmp;

	HASH_ITER (hh, e->moved, m, tmp)
		if (m->slot == slot)
			forget(e, m);
}
