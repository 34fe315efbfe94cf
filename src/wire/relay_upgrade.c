/* SPDX-License-Identifier: ISC */
/*
 * relay_upgrade: WebSockets that are to take over sessions of other workers, from both
 * sides.  Loop thread.
 */
#include <stdlib.h>
#include <string.h>

#include "lib/log.h"
#include "wire/relay_int.h"

/* A WebSocket here that is to take over a session elsewhere. */
struct relay_link {
	uint64_t id;
	struct relay *relay;
	struct endpoint *ep;
	unsigned int slot;
	struct upgrade *upgrade;
	UT_hash_handle hh;
};

/* A WebSocket elsewhere that is to take over a session here. */
struct candidate {
	struct eio_candidate base;
	struct relay_key key;
	struct relay *relay;
	struct endpoint *ep;
	UT_hash_handle hh;
};

/* ---- on the side of the WebSocket ---- */

struct relay_link *
relay_link_new(
    struct relay *rl, struct endpoint *ep, unsigned int slot, const char *sid, struct upgrade *u)
{
	struct relay_link *l = xcalloc(1, sizeof(*l));
	struct buf b;

	l->id = ++rl->last_id;
	l->relay = rl;
	l->ep = ep;
	l->slot = slot;
	l->upgrade = u;
	HASH_ADD(hh, rl->links, id, sizeof(l->id), l);
	relay_begin(&b, RELAY_CANDIDATE, ep, l->id);
	pack_str(&b, sid);
	relay_finish(rl, slot, &b);
	return l;
}

void
relay_link_probe(struct relay_link *l)
{
	relay_tell(l->relay, l->slot, RELAY_PROBE, l->ep, l->id);
}

void
relay_link_take(struct relay_link *l)
{
	relay_tell(l->relay, l->slot, RELAY_TAKE, l->ep, l->id);
}

void
relay_link_free(struct relay_link **lp, bool say)
{
	struct relay_link *l = *lp;

	*lp = NULL;
	if (!l)
		return;
	if (say)
		relay_tell(l->relay, l->slot, RELAY_LEFT, l->ep, l->id);
	HASH_DEL(l->relay->links, l);
	free(l);
}

/* The WebSocket went while its session was on the way: the session is nowhere now. */
static void
state_unwanted(struct endpoint *ep, struct unpack *u)
{
	char sid[EIO_SID_MAX];
	struct unpack state;
	const void *data;
	size_t len;

	data = unpack_bytes(u, &len);
	if (!unpack_ok(u))
		return;
	unpack_init(&state, data, len);
	unpack_strn(&state, sid, sizeof(sid)); /* begins every state, see eio_upgrade.c */
	if (unpack_ok(&state))
		relay_ended(ep, sid);
}

void
relay_on_link(
    struct relay *rl, struct endpoint *ep, uint64_t id, enum relay_type type, struct unpack *u)
{
	struct relay_link *l;
	const void *state;
	size_t len;

	HASH_FIND(hh, rl->links, &id, sizeof(id), l);
	if (!l && type == RELAY_STATE)
		state_unwanted(ep, u);
	if (!l)
		return;
	if (type == RELAY_DECIDED) {
		upgrade_decided(l->upgrade, (enum eio_error)unpack_i64(u));
	} else if (type == RELAY_CUT) {
		upgrade_cut(l->upgrade);
	} else {
		state = unpack_bytes(u, &len);
		if (unpack_end(u))
			upgrade_state(l->upgrade, state, len);
	}
}

static void
candidate_free(struct candidate *c)
{
	HASH_DEL(c->relay->candidates, c);
	free(c);
}

static void
candidate_cut(struct eio_candidate *base)
{
	struct candidate *c = (struct candidate *)base;

	relay_tell(c->relay, (unsigned int)c->key.slot, RELAY_CUT, c->ep, c->key.id);
	candidate_free(c);
}

static void
candidate_moved(struct eio_candidate *base, const struct buf *state)
{
	struct candidate *c = (struct candidate *)base;
	struct buf b;

	relay_begin(&b, RELAY_STATE, c->ep, c->key.id);
	pack_bytes(&b, state->data, state->len);
	relay_finish(c->relay, (unsigned int)c->key.slot, &b);
	c->relay->wire->stats.moved_out++;
	candidate_free(c);
}

void
relay_on_candidate(
    struct relay *rl, unsigned int from, struct endpoint *ep, uint64_t id, struct unpack *u)
{
	static const struct eio_candidate_ops ops = {candidate_cut, NULL, candidate_moved};
	struct candidate *c;
	char sid[EIO_SID_MAX];
	enum eio_error err;
	struct buf b;

	unpack_strn(u, sid, sizeof(sid));
	if (!unpack_end(u))
		return;
	c = xcalloc(1, sizeof(*c));
	c->base.ops = &ops;
	c->base.slot = from;
	c->key = (struct relay_key){id, from};
	c->relay = rl;
	c->ep = ep;
	HASH_ADD(hh, rl->candidates, key, sizeof(c->key), c);
	err = eio_candidate_add(ep->eio, sid, &c->base);
	if (err != EIO_OK)
		candidate_free(c);
	relay_begin(&b, RELAY_DECIDED, ep, id);
	pack_i64(&b, err);
	relay_finish(rl, from, &b);
}

void
relay_on_candidate_says(
    struct relay *rl, unsigned int from, struct endpoint *ep, uint64_t id, enum relay_type type)
{
	struct relay_key key = {id, from};
	struct candidate *c;

	HASH_FIND(hh, rl->candidates, &key, sizeof(key), c);
	if (!c && type != RELAY_LEFT)
		relay_tell(rl, from, RELAY_CUT, ep, id);
	if (!c)
		return;
	if (type == RELAY_PROBE) {
		eio_candidate_probe(&c->base);
	} else if (type == RELAY_TAKE) {
		eio_candidate_upgrade(&c->base);
	} else {
		eio_candidate_gone(&c->base);
		candidate_free(c);
	}
}

/* ---- the other worker comes and goes ---- */

void
relay_links_down(struct relay *rl, unsigned int slot)
{
	struct relay_link *l, *ltmp;
	struct candidate *c, *ctmp;

	HASH_ITER (hh, rl->links, l, ltmp)
		if (l->slot == slot)
			upgrade_cut(l->upgrade);
	HASH_ITER (hh, rl->candidates, c, ctmp)
		if (c->key.slot == slot) {
			eio_candidate_gone(&c->base);
			candidate_free(c);
		}
}

/* What they asked may be lost; the client tries again. */
void
relay_links_up(struct relay *rl, unsigned int slot)
{
	struct relay_link *l, *ltmp;

	HASH_ITER (hh, rl->links, l, ltmp)
		if (l->slot == slot) {
			relay_tell(rl, slot, RELAY_LEFT, l->ep, l->id);
			upgrade_cut(l->upgrade);
		}
}

/* Their sessions stay with their owners, on polling. */
void
relay_take_nothing(struct relay *rl)
{
	struct relay_link *l, *tmp;

	HASH_ITER (hh, rl->links, l, tmp) {
		relay_tell(rl, l->slot, RELAY_LEFT, l->ep, l->id);
		upgrade_cut(l->upgrade);
	}
}

void
relay_links_free(struct relay *rl)
{
	struct candidate *c, *ctmp;

	HASH_ITER (hh, rl->candidates, c, ctmp)
		candidate_free(c);
}
