/* SPDX-License-Identifier: ISC */
/*
 * load_hist: a histogram of latencies with a bounded relative error.
 *
 * Values below 256 have a bucket each.  Above, each power of two is divided into 128
 * buckets: the index is the number of shifts that bring the value below 256, times 128,
 * plus the value so shifted (128…255).
 */
#include "load.h"

#include <stdlib.h>

#define SUB     128
#define BUCKETS (SUB * 58)

struct hist {
	uint64_t count;
	uint64_t bucket[BUCKETS];
};

struct hist *
hist_new(void)
{
	struct hist *h = calloc(1, sizeof *h);

	if (h == NULL)
		load_die("out of memory");
	return h;
}

static unsigned
shifts(uint64_t v)
{
	return v < 2 * SUB ? 0 : 56 - (unsigned)__builtin_clzll(v);
}

void
hist_add(struct hist *h, uint64_t v)
{
	unsigned s = shifts(v);

	h->bucket[s * SUB + (v >> s)]++;
	h->count++;
}

uint64_t
hist_count(const struct hist *h)
{
	return h->count;
}

/* The greatest value of a bucket. */
static uint64_t
bucket_top(unsigned i)
{
	unsigned s = i < 2 * SUB ? 0 : i / SUB - 1;

	return ((uint64_t)(i - s * SUB + 1) << s) - 1;
}

uint64_t
hist_quantile(const struct hist *h, double q)
{
	uint64_t below = 0;

	for (unsigned i = 0; i < BUCKETS; i++) {
		below += h->bucket[i];
		if (below > 0 && (double)below >= q * (double)h->count)
			return bucket_top(i);
	}
	return 0;
}

void
hist_free(struct hist **h)
{
	free(*h);
	*h = NULL;
}
