/* SPDX-License-Identifier: ISC */
/*
 * count: counters that begin anew when their window of time has passed.  Pure: the time
 * is given.  Thread: loop of the hub.
 */
#ifndef PALAVER_HUB_COUNT_H
#define PALAVER_HUB_COUNT_H

#include <stddef.h>
#include <stdint.h>

struct counter;

struct counters {
	struct counter *by_key;
	struct counter *recent; /* the one counted longest ago first */
	size_t max;             /* 0: BUS_COUNTERS_MAX; another one in tests */
};

struct count_result {
	uint64_t count;  /* after adding; never above UINT64_MAX */
	int64_t left_ms; /* until the window ends; 0: there is no counter */
};

/*
 * add 0 only reads, and makes no counter.  window_ms, from a counter's first count, is
 * given by the call that makes it; now is monotonic ms.  A new key in a full table takes
 * the place of the counter that was counted up longest ago.
 */
struct count_result count_up(struct counters *cs, const char *key, uint64_t add,
    int64_t window_ms, int64_t now);
void counters_expire(struct counters *cs, int64_t now);
void counters_fini(struct counters *cs);

#endif
