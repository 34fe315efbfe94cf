/* SPDX-License-Identifier: ISC */
/*
 * message: what has become of a message: the events about it (edits, deletions,
 * reactions) folded into its present state, and its JSON with that state laid over it.
 *
 * Folding is unordered and idempotent: each part of the state is a register that one
 * event wins by its seq, so the same events in any order, also twice, give the same state.
 *	text       the message.updated with the greatest seq
 *	deletion   the message.deleted with the smallest seq; it wins over everything
 *	reaction   for each user and emoji the event with the greatest seq
 * Pure; a state belongs to one thread.
 */
#ifndef PALAVER_MODEL_MESSAGE_H
#define PALAVER_MODEL_MESSAGE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "lib/buf.h"
#include "lib/id.h"
#include "model/event.h"

#define MESSAGE_EMOJI_MAX    64 /* bytes, UTF-8 */
#define MESSAGE_MENTIONS_MAX 50

struct message_reaction {
	char emoji[MESSAGE_EMOJI_MAX + 1];
	char user[ID_MAX];
	uint64_t seq;
	bool present; /* false: it was taken back */
};

struct message_state {
	char id[ID_MAX];     /* msg_.., of the message */
	struct event *edit;  /* the newest message.updated, a reference; NULL: none */
	uint64_t deleted_seq; /* 0: not deleted */
	int64_t deleted_ms;
	char deleted_by[ID_MAX];
	struct message_reaction *reactions; /* by seq, those taken back too */
	size_t reaction_count;
};

struct message_state *message_state_new(const char *id);
struct message_state *message_state_copy(const struct message_state *s);
void message_state_free(struct message_state **s);
/* ev: numbered, may be about anything; what is not about this message is ignored. */
void message_state_fold(struct message_state *s, struct event *ev);
/* For the store: nothing of this user and emoji is there yet, and no greater seq. */
void message_state_push_reaction(struct message_state *s, const struct message_reaction *r);

/* The register of this user and emoji; NULL: there never was one. */
const struct message_reaction *message_reaction_find(
    const struct message_state *s, const char *user, const char *emoji);
/* How many different emoji are present; *used_r: this one is among them. */
size_t message_emoji_count(const struct message_state *s, const char *emoji, bool *used_r);

/* 1..MESSAGE_EMOJI_MAX bytes of UTF-8 without control characters. */
bool message_emoji_valid(const char *emoji);

/* Which message this event shows the text of: its own id or its ref; NULL: none. */
const char *message_shown_by(const struct event *ev);

/*
 * The envelope of event.h; with s (may be NULL) the data is the present one: text and
 * mentions, and of a message.created "edited_at" or "deleted_at", and "reactions".
 */
void message_envelope(struct buf *b, const struct event *ev, const struct message_state *s);
/* [{"emoji":"..","user_ids":["usr_.."]}], in the order in which they were first given. */
void message_reactions_json(struct buf *b, const struct message_state *s);

#endif
