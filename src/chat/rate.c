/* SPDX-License-Identifier: ISC */
/*
 * rate: see rate.h.  Worker, loop thread.
 *
 * Invariant: each bucket is in the hash and in the list, which is in the order of at_ms.
 */
#include "chat/rate.h"

#include <stdlib.h>
#include <uthash.h>
#include <utlist.h>

#include "lib/buf.h"
#include "lib/id.h"

#define ROUNDING 1e-6 /* a token is one although its fractions do not add up exactly */

struct bucket {
	char user[ID_MAX];
	double tokens;
	int64_t at_ms; /* monotonic: when tokens was right */
	UT_hash_handle hh;
	struct bucket *prev, *next;
};

static void
drop(struct rates *r, struct bucket *b)
{
	HASH_DEL(r->by_user, b);
	DL_DELETE(r->recent, b);
	free(b);
}

static double
tokens_at(const struct bucket *b, const struct rate_limit *l, int64_t now)
{
	double tokens = b->tokens + (double)(now - b->at_ms) * (double)l->rate / 1000.0;

	return tokens < (double)l->burst ? tokens : (double)l->burst;
}

/* A bucket that is up to date, and the last of the list. */
static struct bucket *
use(struct rates *r, const char *user, const struct rate_limit *l, int64_t now)
{
	size_t max = r->max ? r->max : RATE_USERS_MAX;
	struct bucket *b;

	HASH_FIND_STR(r->by_user, user, b);
	if (b) {
		b->tokens = tokens_at(b, l, now);
		DL_DELETE(r->recent, b);
	} else {
		if (HASH_COUNT(r->by_user) >= max)
			drop(r, r->recent);
		b = xcalloc(1, sizeof(*b));
		str_copy(b->user, sizeof(b->user), user);
		b->tokens = (double)l->burst;
		HASH_ADD_STR(r->by_user, user, b);
	}
	b->at_ms = now;
	DL_APPEND(r->recent, b);
	return b;
}

/* Each call drops more than it can make, so those that are full again do not gather. */
static void
forget_full(struct rates *r, const struct rate_limit *l, int64_t now)
{
	for (int i = 0; i < 2 && r->recent; i++) {
		if (tokens_at(r->recent, l, now) < (double)l->burst)
			return;
		drop(r, r->recent);
	}
}

int64_t
rate_take(struct rates *r, const char *user, const struct rate_limit *l, int64_t now)
{
	struct bucket *b;
	int64_t whole;
	double ms;

	forget_full(r, l, now);
	b = use(r, user, l, now);
	if (b->tokens >= 1.0 - ROUNDING) {
		b->tokens -= 1.0;
		return 0;
	}
	ms = (1.0 - b->tokens) * 1000.0 / (double)l->rate;
	whole = (int64_t)ms;
	return ms - (double)whole > ROUNDING ? whole + 1 : whole; /* never too early */
}

void
rate_lower(struct rates *r, const char *user, const struct rate_limit *l, int64_t left, int64_t now)
{
	struct bucket *b = use(r, user, l, now);

	if ((double)left < b->tokens)
		b->tokens = (double)left;
}

int64_t
rate_left(struct rates *r, const char *user, const struct rate_limit *l, int64_t now)
{
	struct bucket *b;

	HASH_FIND_STR(r->by_user, user, b);
	return b ? (int64_t)tokens_at(b, l, now) : l->burst;
}

void
rates_fini(struct rates *r)
{
	struct bucket *b, *tmp;

	DL_FOREACH_SAFE (r->recent, b, tmp)
		drop(r, b);
}
