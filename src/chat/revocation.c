/* SPDX-License-Identifier: ISC */
/*
 * revocation: sessions that were ended while their access tokens may be good: each worker
 * refuses them, and cuts the sockets that came in with them.  Worker, loop thread.
 *
 * The store has them; each worker has a copy, by session id, until the last access token
 * of the session has expired.  News come three ways, so that none is missed for long:
 * - announced by the worker that ended the session: at once;
 * - announced again by that worker when its bus comes up, for ANNOUNCE_AGAIN_MS;
 * - read from the store: at the start, when the bus goes down, when it has answered after
 *   coming up, every DOWN_POLL_S while it is down, and every UP_POLL_S all the same.
 * A client that moves between workers is looked at when it arrives.
 */
#include <stdlib.h>
#include <string.h>
#include <utlist.h>

#include "chat/chat_int.h"
#include "lib/log.h"

#define MARGIN_MS         60000 /* clocks of reloads that are not at one moment */
#define ANNOUNCE_AGAIN_MS 60000
#define ANNOUNCE_BATCH    200
#define DOWN_POLL_S       0.5
#define UP_POLL_S         30.0

struct revoked {
	struct revocation r;
	int64_t ended_here_ms; /* monotonic: when this worker ended it; 0: another did */
	UT_hash_handle hh;
};

int64_t
revocation_until(const struct chat *c)
{
	return clock_wall_ms() + c->opts.access_ttl + MARGIN_MS;
}

static struct revoked *
find(struct chat *c, const char *session)
{
	struct revoked *v;

	HASH_FIND_STR(c->revoked, session, v);
	return v;
}

bool
session_is_revoked(struct chat *c, const char *session)
{
	return find(c, session) != NULL;
}

void
client_end_revoked(struct client *cl)
{
	struct revoked *v = find(cl->chat, cl->session);

	if (v)
		cl->ops->end(cl->peer, session_end_name(v->r.why));
}

/* ---- the copy ---- */

/* session NULL: all of the user. */
static void
cut_sockets(struct chat *c, const char *user, const char *session, const char *reason)
{
	struct chat_user *u = chat_user_find(c, user);
	struct client *cl, *next;

	if (!u)
		return;
	DL_FOREACH_SAFE (u->clients, cl, next) /* the last one may take u with it */
		if (!session || strcmp(cl->session, session) == 0)
			cl->ops->end(cl->peer, reason);
}

static struct revoked *
take(struct chat *c, const struct revocation *r)
{
	struct revoked *v = find(c, r->session);

	if (v)
		return v;
	v = xcalloc(1, sizeof(*v));
	v->r = *r;
	HASH_ADD_STR(c->revoked, r.session, v);
	cut_sockets(c, r->user, r->session, session_end_name(r->why));
	return v;
}

static void
drop_expired(struct chat *c)
{
	int64_t now = clock_wall_ms();
	struct revoked *v, *tmp;

	HASH_ITER (hh, c->revoked, v, tmp) {
		if (v->r.until_ms > now)
			continue;
		HASH_DEL(c->revoked, v);
		free(v);
	}
}

void
revocation_free_all(struct chat *c)
{
	struct revoked *v, *tmp;

	ev_timer_stop(loop_ev(), &c->revocation_tick);
	HASH_ITER (hh, c->revoked, v, tmp) {
		HASH_DEL(c->revoked, v);
		free(v);
	}
}

/* ---- from the store ---- */

static void load(struct chat *c);

static void
loaded(struct store_req *req)
{
	struct chat *c = req->arg;

	c->revocations_loading = false;
	for (size_t i = 0; !req->err && i < req->revocation_count; i++)
		take(c, &req->revocations[i]);
	if (req->err)
		log_warn("chat.revocations_not_read", "err=%s", error_code(req->err));
	store_req_free(&req);
	if (c->revocations_again)
		load(c);
}

/* One under way may have read before what this one is for was written: then once more. */
static void
load(struct chat *c)
{
	struct store_req *req;

	c->revocations_again = c->revocations_loading;
	if (c->revocations_loading)
		return;
	c->revocations_loading = true;
	req = store_req_new(STORE_REVOCATIONS, loaded, c);
	req->now_ms = clock_wall_ms();
	chat_store(c, req);
}

static void
next_tick(struct chat *c)
{
	ev_timer_stop(loop_ev(), &c->revocation_tick);
	ev_timer_set(&c->revocation_tick, bus_is_up(c->bus) ? UP_POLL_S : DOWN_POLL_S, 0);
	ev_timer_start(loop_ev(), &c->revocation_tick);
}

static void
tick(struct ev_loop *l, ev_timer *t, int revents)
{
	struct chat *c = t->data;

	(void)l, (void)revents;
	drop_expired(c);
	load(c);
	next_tick(c);
}

void
chat_take_revocations(struct chat *c, const struct store_req *req)
{
	for (size_t i = 0; i < req->revocation_count; i++)
		take(c, &req->revocations[i]);
	ev_init(&c->revocation_tick, tick);
	c->revocation_tick.data = c;
	next_tick(c);
}

/* ---- between workers: u32 count, each str session, str user, i64 until, u8 why ---- */

static void
announce(struct chat *c, const struct revocation *const *list, uint32_t count)
{
	struct buf b;

	buf_init(&b);
	pack_u32(&b, count);
	for (uint32_t i = 0; i < count; i++) {
		pack_str(&b, list[i]->session);
		pack_str(&b, list[i]->user);
		pack_i64(&b, list[i]->until_ms);
		pack_u8(&b, (uint8_t)list[i]->why);
	}
	chat_announce(c, ANNOUNCE_SESSIONS_ENDED, &b);
	buf_fini(&b);
}

void
announced_sessions_ended(struct chat *c, struct unpack *u)
{
	uint32_t count = unpack_u32(u);

	while (count-- && unpack_ok(u)) {
		struct revocation r = {0};

		unpack_strn(u, r.session, sizeof(r.session));
		unpack_strn(u, r.user, sizeof(r.user));
		r.until_ms = unpack_i64(u);
		r.why = (enum session_end)unpack_u8(u);
		if (unpack_ok(u))
			take(c, &r);
	}
}

static void
announce_own(struct chat *c, int64_t since)
{
	const struct revocation *batch[ANNOUNCE_BATCH];
	struct revoked *v, *tmp;
	uint32_t n = 0;

	HASH_ITER (hh, c->revoked, v, tmp) {
		if (!v->ended_here_ms || v->ended_here_ms < since)
			continue;
		batch[n++] = &v->r;
		if (n == ANNOUNCE_BATCH) {
			announce(c, batch, n);
			n = 0;
		}
	}
	if (n)
		announce(c, batch, n);
}

static void
bus_answered(void *arg, int err, uint64_t count, int64_t left_ms)
{
	(void)err, (void)count, (void)left_ms;
	load(arg);
}

/*
 * What is announced before the bus knows of this worker never comes here.  An answer, to
 * whatever question, says that it knows: what was announced earlier is in the store.
 */
void
revocation_bus_state(struct chat *c, bool up)
{
	if (!c->revocation_tick.data)
		return;
	if (up) {
		announce_own(c, clock_mono_ms() - ANNOUNCE_AGAIN_MS);
		bus_count(c->bus, "revocations", 0, 1000, bus_answered, c);
	} else {
		load(c);
	}
	next_tick(c);
}

void
sessions_ended(struct chat *c, const struct revocation *ended, size_t count)
{
	const struct revocation *batch[ANNOUNCE_BATCH];
	uint32_t n = 0;

	for (size_t i = 0; i < count; i++) {
		log_info("session.ended", "session=%s uid=%s reason=%s", ended[i].session,
		    ended[i].user, session_end_name(ended[i].why));
		take(c, &ended[i])->ended_here_ms = clock_mono_ms();
		batch[n++] = &ended[i];
		if (n == ANNOUNCE_BATCH || i + 1 == count) {
			announce(c, batch, n);
			n = 0;
		}
	}
}

void
announced_kick(struct chat *c, struct unpack *u)
{
	char user[ID_MAX];

	unpack_strn(u, user, sizeof(user));
	if (unpack_end(u))
		cut_sockets(c, user, NULL, NULL);
}
