/* SPDX-License-Identifier: ISC */
/*
 * rate: how much a user may write: a token bucket each, `burst` at once and `rate` a
 * second over time.  Pure: the time is given.  Thread: loop of a worker.
 *
 * Buckets belong to users, not to connections: who connects again goes on where he was.
 * One that is full again is as good as none, and is forgotten; of more than RATE_USERS_MAX
 * the one that was used longest ago is.
 */
#ifndef PALAVER_CHAT_RATE_H
#define PALAVER_CHAT_RATE_H

#include <stddef.h>
#include <stdint.h>

#define RATE_USERS_MAX 65536 /* about 10 MiB */

struct bucket;

struct rates {
	struct bucket *by_user;
	struct bucket *recent; /* the one used longest ago first */
	size_t max;            /* 0: RATE_USERS_MAX; another one in tests */
};

struct rate_limit {
	int64_t rate, burst; /* tokens a second; at once: both at least 1 */
};

/* Takes a token: 0, or how many ms until there is one.  now: monotonic ms. */
int64_t rate_take(struct rates *r, const char *user, const struct rate_limit *l, int64_t now);
/* For a user who comes from another worker, which had this much left: not more here. */
void rate_lower(struct rates *r, const char *user, const struct rate_limit *l, int64_t left,
    int64_t now);
int64_t rate_left(struct rates *r, const char *user, const struct rate_limit *l, int64_t now);
void rates_fini(struct rates *r);

#endif
