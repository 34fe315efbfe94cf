/* SPDX-License-Identifier: ISC */
/*
 * count: see count.h.  Hub, loop thread.
 *
 * Invariant: each counter is in the hash and in the list, which is in the order of the
 * last counting.
 */
#include "hub/count.h"

#include <stdlib.h>
#include <string.h>
#include <uthash.h>
#include <utlist.h>

#include "bus/bus.h"

struct counter {
	uint64_t count;
	int64_t end_ms;
	UT_hash_handle hh;
	struct counter *prev, *next;
	char key[]; /* last, as long as it is: most are short */
};

static void
drop(struct counters *cs, struct counter *c)
{
	HASH_DEL(cs->by_key, c);
	DL_DELETE(cs->recent, c);
	free(c);
}

static struct counter *
make(struct counters *cs, const char *key, int64_t end_ms)
{
	size_t max = cs->max ? cs->max : BUS_COUNTERS_MAX;
	size_t len = strlen(key);
	struct counter *c;

	if (HASH_COUNT(cs->by_key) >= max)
		drop(cs, cs->recent);
	c = xcalloc(1, sizeof(*c) + len + 1);
	memcpy(c->key, key, len + 1);
	c->end_ms = end_ms;
	HASH_ADD_KEYPTR(hh, cs->by_key, c->key, len, c);
	DL_APPEND(cs->recent, c);
	return c;
}

struct count_result
count_up(struct counters *cs, const char *key, uint64_t add, int64_t window_ms, int64_t now)
{
	struct count_result r = {0};
	struct counter *c;

	HASH_FIND_STR(cs->by_key, key, c);
	if (c && now >= c->end_ms) {
		drop(cs, c);
		c = NULL;
	}
	if (!c && add)
		c = make(cs, key, now + window_ms);
	if (!c)
		return r;
	if (add) {
		c->count = add > UINT64_MAX - c->count ? UINT64_MAX : c->count + add;
		DL_DELETE(cs->recent, c);
		DL_APPEND(cs->recent, c);
	}
	r.count = c->count;
	r.left_ms = c->end_ms - now;
	return r;
}

void
counters_expire(struct counters *cs, int64_t now)
{
	struct counter *c, *tmp;

	DL_FOREACH_SAFE (cs->recent, c, tmp)
		if (now >= c->end_ms)
			drop(cs, c);
}

void
counters_fini(struct counters *cs)
{
	struct counter *c, *tmp;

	DL_FOREACH_SAFE (cs->recent, c, tmp)
		drop(cs, c);
}
