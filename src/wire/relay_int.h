/* SPDX-License-Identifier: ISC */
/*
 * relay_int: what relay.c and relay_upgrade.c share.
 */
#ifndef PALAVER_WIRE_RELAY_INT_H
#define PALAVER_WIRE_RELAY_INT_H

#include <uthash.h>

#include "lib/pack.h"
#include "wire/wire_int.h"

enum relay_type {
	/* 1 to 4 are enum poll_kind */
	RELAY_POST_BEGIN = 5,
	RELAY_GONE,
	RELAY_DONE,
	RELAY_CANCEL,
	RELAY_ANSWER,
	RELAY_CANDIDATE,
	RELAY_DECIDED,
	RELAY_PROBE,
	RELAY_TAKE,
	RELAY_LEFT,
	RELAY_CUT,
	RELAY_STATE,
	RELAY_ENDED
};

struct relay_key {
	uint64_t id;
	uint64_t slot;
};

struct relay {
	struct wire *wire;
	uint64_t last_id;
	bool down[EIO_SLOTS]; /* reported as gone */
	struct asked *asked;
	struct served *served;
	struct relay_link *links;
	struct candidate *candidates;
};

/* relay.c: a message is begun, appended to, and finished. */
void relay_begin(struct buf *b, unsigned int type, const struct endpoint *ep, uint64_t id);
void relay_finish(struct relay *rl, unsigned int slot, struct buf *b);
void relay_tell(
    struct relay *rl, unsigned int slot, unsigned int type, const struct endpoint *ep, uint64_t id);

/* relay_upgrade.c */
void relay_on_link(
    struct relay *rl, struct endpoint *ep, uint64_t id, enum relay_type type, struct unpack *u);
void relay_on_candidate(
    struct relay *rl, unsigned int from, struct endpoint *ep, uint64_t id, struct unpack *u);
void relay_on_candidate_says(
    struct relay *rl, unsigned int from, struct endpoint *ep, uint64_t id, enum relay_type type);
void relay_links_down(struct relay *rl, unsigned int slot);
void relay_links_up(struct relay *rl, unsigned int slot);
void relay_links_free(struct relay *rl);

#endif
