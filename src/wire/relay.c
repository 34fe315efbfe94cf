/* SPDX-License-Identifier: ISC */
/*
 * relay: what concerns sessions of other workers: polling requests that arrived here
 * and WebSockets that are to take a session over (design, section 5).  Loop thread.
 *
 * Messages between two workers arrive in order; while the bus or the other worker is
 * away they are lost.  A request is therefore sent again when the other worker is (again)
 * reachable, under the same id; the owner keeps its answer until it is told DONE, so a
 * request is served once however often it is sent.  When the bus reports that the other
 * worker is gone, its sessions are: what waits for them ends.
 *
 * Message: u8 type, u8 endpoint, u64 id (of the one who asks), then
 *	GET, METHOD, MISMATCH  str sid
 *	POST                   str sid, u8 octets, bytes body
 *	POST_BEGIN             str sid
 *	GONE, DONE             the client took it away; the answer has arrived
 *	CANCEL                 what POST_BEGIN announced will not come
 *	ANSWER                 u32 status, str type, bytes body
 *	CANDIDATE              str sid; answered by DECIDED: i64 error
 *	PROBE, TAKE, LEFT      of a candidate: "2probe", "5", the WebSocket is gone
 *	CUT, STATE             to it: close it; bytes: the session
 *	ENDED                  str sid: a session that moved has ended
 */
#include <stdlib.h>
#include <string.h>

#include "lib/id.h"
#include "lib/log.h"
#include "wire/relay_int.h"

/* A request that arrived here, for a session elsewhere. */
struct asked {
	uint64_t id;
	struct relay *relay;
	struct endpoint *ep;
	unsigned int slot;
	char sid[EIO_SID_MAX];
	struct http_req *r;
	enum poll_kind kind;
	bool octets;
	bool complete;
	UT_hash_handle hh;
};

/* A request that arrived elsewhere, for a session here. */
struct served {
	struct eio_request base;
	struct relay_key key;
	struct relay *relay;
	struct endpoint *ep;
	bool answered;
	int status;
	char *type;
	struct buf body;
	UT_hash_handle hh;
};

/* ---- sending ---- */

void
relay_begin(struct buf *b, unsigned int type, const struct endpoint *ep, uint64_t id)
{
	buf_init(b);
	pack_u8(b, (uint8_t)type);
	pack_u8(b, (uint8_t)ep->index);
	pack_u64(b, id);
}

void
relay_finish(struct relay *rl, unsigned int slot, struct buf *b)
{
	const struct wire_peers *p = &rl->wire->app.peers;

	p->tell(p->arg, slot, b->data, b->len);
	buf_fini(b);
}

void
relay_tell(
    struct relay *rl, unsigned int slot, unsigned int type, const struct endpoint *ep, uint64_t id)
{
	struct buf b;

	relay_begin(&b, type, ep, id);
	relay_finish(rl, slot, &b);
}

/* ---- asking ---- */

static void
asked_free(struct asked *a)
{
	HASH_DEL(a->relay->asked, a);
	free(a);
}

static void
asked_end(struct asked *a, enum relay_type type)
{
	relay_tell(a->relay, a->slot, type, a->ep, a->id);
	asked_free(a);
}

static void
asked_abort(void *arg)
{
	asked_end(arg, RELAY_GONE);
}

static void
asked_cancel(void *arg)
{
	asked_end(arg, RELAY_CANCEL);
}

static void
send_asked(struct asked *a)
{
	const char *body;
	struct buf b;
	size_t len;

	relay_begin(&b, a->complete ? (unsigned int)a->kind : RELAY_POST_BEGIN, a->ep, a->id);
	pack_str(&b, a->sid);
	if (a->complete && a->kind == POLL_POST) {
		body = http_body(a->r, &len);
		pack_u8(&b, a->octets);
		pack_bytes(&b, body, len);
	}
	relay_finish(a->relay, a->slot, &b);
}

static struct asked *
asked_new(
    struct relay *rl, struct endpoint *ep, unsigned int slot, const char *sid, struct http_req *r)
{
	struct asked *a = xcalloc(1, sizeof(*a));

	a->id = ++rl->last_id;
	a->relay = rl;
	a->ep = ep;
	a->slot = slot;
	str_copy(a->sid, sizeof(a->sid), sid);
	a->r = r;
	HASH_ADD(hh, rl->asked, id, sizeof(a->id), a);
	http_set_user(r, a);
	http_on_abort(r, asked_abort, a);
	http_on_cancel(r, asked_cancel);
	rl->wire->stats.relayed++;
	return a;
}

/* The owner is gone, and the session with it. */
static void
asked_fail(struct asked *a)
{
	struct http_req *r = a->r;

	asked_free(a);
	eio_http_error(r, EIO_UNKNOWN_SID, NULL);
}

void
relay_post_begin(
    struct relay *rl, struct endpoint *ep, unsigned int slot, const char *sid, struct http_req *r)
{
	send_asked(asked_new(rl, ep, slot, sid, r));
}

void
relay_request(struct relay *rl, struct endpoint *ep, unsigned int slot, const char *sid,
    struct http_req *r, enum poll_kind kind, bool octets)
{
	struct asked *a = http_user(r);

	if (!a)
		a = asked_new(rl, ep, slot, sid, r);
	a->kind = kind;
	a->octets = octets;
	a->complete = true;
	if (rl->down[slot])
		asked_fail(a);
	else
		send_asked(a);
}

static void
on_answer(struct relay *rl, unsigned int from, struct endpoint *ep, uint64_t id, struct unpack *u)
{
	struct http_req *r;
	struct asked *a;
	const void *body;
	uint32_t status = unpack_u32(u);
	char type[64];
	size_t len;

	unpack_strn(u, type, sizeof(type));
	body = unpack_bytes(u, &len);
	relay_tell(rl, from, RELAY_DONE, ep, id);
	HASH_FIND(hh, rl->asked, &id, sizeof(id), a);
	if (!a || !unpack_end(u))
		return;
	r = a->r;
	asked_free(a);
	eio_http_answer(r, (int)status, *type ? type : NULL, body, len);
}

/* ---- serving ---- */

static void
served_free(struct served *s)
{
	HASH_DEL(s->relay->served, s);
	buf_fini(&s->body);
	free(s->type);
	free(s);
}

static void
send_answer(struct served *s)
{
	struct buf b;

	relay_begin(&b, RELAY_ANSWER, s->ep, s->key.id);
	pack_u32(&b, (uint32_t)s->status);
	pack_str(&b, s->type);
	pack_bytes(&b, s->body.data, s->body.len);
	relay_finish(s->relay, (unsigned int)s->key.slot, &b);
}

static void
served_answer(struct eio_request *rq, int status, const char *type, const void *body, size_t len)
{
	struct served *s = (struct served *)rq;

	s->answered = true;
	s->status = status;
	s->type = xstrdup(type);
	buf_append(&s->body, body, len);
	send_answer(s);
}

static struct served *
served_find(struct relay *rl, unsigned int from, uint64_t id)
{
	struct relay_key key = {id, from};
	struct served *s;

	HASH_FIND(hh, rl->served, &key, sizeof(key), s);
	return s;
}

static void
serve(struct relay *rl, unsigned int from, struct endpoint *ep, uint64_t id, unsigned int type,
    struct unpack *u)
{
	static const struct eio_request_ops ops = {served_answer};
	struct served *s = served_find(rl, from, id);
	char sid[EIO_SID_MAX];
	const char *body = "";
	bool octets = false;
	size_t len = 0;

	unpack_strn(u, sid, sizeof(sid));
	if (type == POLL_POST) {
		octets = unpack_u8(u) != 0;
		body = unpack_bytes(u, &len);
	}
	if (!unpack_end(u))
		return;
	if (s && s->answered) { /* it was lost, or crossed the request's second sending */
		send_answer(s);
		return;
	}
	if (s && (type != POLL_POST || s->base.session == NULL))
		return;
	if (!s) {
		s = xcalloc(1, sizeof(*s));
		s->base.ops = &ops;
		s->key = (struct relay_key){id, from};
		s->relay = rl;
		s->ep = ep;
		HASH_ADD(hh, rl->served, key, sizeof(s->key), s);
	}
	if (type == RELAY_POST_BEGIN)
		eio_post_begin(ep->eio, sid, &s->base);
	else
		endpoint_serve(ep, (enum poll_kind)type, sid, &s->base, body, len, octets);
	if (type == RELAY_POST_BEGIN && !s->answered && !s->base.session)
		served_free(s); /* no such session: the POST will hear of it */
}

/* The other side has no request of this id any more. */
static void
on_gone(struct relay *rl, unsigned int from, uint64_t id, enum relay_type why)
{
	struct served *s = served_find(rl, from, id);

	if (!s || (why == RELAY_DONE && !s->answered))
		return;
	if (!s->answered && why == RELAY_CANCEL)
		eio_post_cancel(&s->base);
	else if (!s->answered)
		eio_request_gone(&s->base);
	served_free(s);
}

/* A session that had come from elsewhere has ended here. */
void
relay_ended(void *arg, const char *sid)
{
	struct endpoint *ep = arg;
	int slot = eio_sid_slot(sid);
	struct buf b;

	if (slot < 0 || !ep->wire->relay)
		return;
	relay_begin(&b, RELAY_ENDED, ep, 0);
	pack_str(&b, sid);
	relay_finish(ep->wire->relay, (unsigned int)slot, &b);
}

/* ---- receiving ---- */

static void
on_ended(struct endpoint *ep, struct unpack *u)
{
	char sid[EIO_SID_MAX];

	unpack_strn(u, sid, sizeof(sid));
	if (unpack_end(u))
		eio_moved_ended(ep->eio, sid);
}

static void
on_message(struct relay *rl, unsigned int from, struct endpoint *ep, unsigned int type, uint64_t id,
    struct unpack *u)
{
	switch (type) {
	case POLL_GET:
	case POLL_POST:
	case POLL_METHOD:
	case POLL_MISMATCH:
	case RELAY_POST_BEGIN:
		serve(rl, from, ep, id, type, u);
		break;
	case RELAY_GONE:
	case RELAY_DONE:
	case RELAY_CANCEL:
		on_gone(rl, from, id, (enum relay_type)type);
		break;
	case RELAY_ANSWER:
		on_answer(rl, from, ep, id, u);
		break;
	case RELAY_CANDIDATE:
		relay_on_candidate(rl, from, ep, id, u);
		break;
	case RELAY_DECIDED:
	case RELAY_CUT:
	case RELAY_STATE:
		relay_on_link(rl, ep, id, (enum relay_type)type, u);
		break;
	case RELAY_PROBE:
	case RELAY_TAKE:
	case RELAY_LEFT:
		relay_on_candidate_says(rl, from, ep, id, (enum relay_type)type);
		break;
	case RELAY_ENDED:
		on_ended(ep, u);
		break;
	default:
		log_error("relay.unknown_message", "type=%u from=%u", type, from);
	}
}

void
relay_told(struct relay *rl, unsigned int from, const void *data, size_t len)
{
	struct unpack u;
	unsigned int type, index;
	uint64_t id;

	unpack_init(&u, data, len);
	type = unpack_u8(&u);
	index = unpack_u8(&u);
	id = unpack_u64(&u);
	if (!unpack_ok(&u) || index >= rl->wire->endpoint_count)
		log_error("relay.bad_message", "from=%u len=%zu", from, len);
	else
		on_message(rl, from, &rl->wire->endpoints[index], type, id, &u);
}

static void
peer_down(struct relay *rl, unsigned int slot)
{
	struct asked *a, *atmp;
	struct served *s, *stmp;

	HASH_ITER (hh, rl->asked, a, atmp)
		if (a->slot == slot)
			asked_fail(a);
	HASH_ITER (hh, rl->served, s, stmp)
		if (s->key.slot == slot)
			on_gone(rl, slot, s->key.id, RELAY_GONE);
	relay_links_down(rl, slot);
	for (unsigned int i = 0; i < rl->wire->endpoint_count; i++)
		eio_forget_moved(rl->wire->endpoints[i].eio, slot);
}

/* What was on the way may be lost: requests go again, WebSockets begin anew. */
static void
peer_up(struct relay *rl, unsigned int slot)
{
	struct asked *a, *atmp;
	struct served *s, *stmp;

	HASH_ITER (hh, rl->asked, a, atmp)
		if (a->slot == slot)
			send_asked(a);
	HASH_ITER (hh, rl->served, s, stmp) /* its DONE may be lost */
		if (s->key.slot == slot && s->answered)
			send_answer(s);
	relay_links_up(rl, slot);
}

void
relay_peer(struct relay *rl, unsigned int slot, bool up)
{
	if (slot == rl->wire->opts.slot || slot >= EIO_SLOTS)
		return;
	rl->down[slot] = !up;
	if (up)
		peer_up(rl, slot);
	else
		peer_down(rl, slot);
}

/* Nothing is known until they are named again; requests wait for that. */
void
relay_peers_lost(struct relay *rl)
{
	memset(rl->down, 0, sizeof(rl->down));
}

bool
relay_is_down(const struct relay *rl, unsigned int slot)
{
	return rl->down[slot];
}

struct relay *
relay_new(struct wire *w)
{
	struct relay *rl = xcalloc(1, sizeof(*rl));

	rl->wire = w;
	random_bytes(&rl->last_id, 6); /* an earlier worker of this slot had others */
	return rl;
}

/* The connections and sessions are gone. */
void
relay_free(struct relay **rp)
{
	struct relay *rl = *rp;
	struct served *s, *stmp;

	*rp = NULL;
	if (!rl)
		return;
	HASH_ITER (hh, rl->served, s, stmp)
		served_free(s);
	relay_links_free(rl);
	free(rl);
}
