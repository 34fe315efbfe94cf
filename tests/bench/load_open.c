/* SPDX-License-Identifier: ISC */
/*
 * load_open: what connections cost: `connects` opens them as fast as it can, `idle` looks
 * at the server's memory and heartbeat while nothing else happens.
 */
#include "load_run.h"

#include <stdio.h>
#include <string.h>

#define QUIET_STEP  (20000000ULL) /* 20 ms … */
#define QUIET_CPU   (2000000ULL)  /* … in which the server used less than a tenth of a core */
#define QUIET_STEPS 5
#define QUIET_MAX   (10 * SECOND)
#define BACK_STEP   (SECOND / 4)
#define BACK_STEPS                                                                                 \
	12 /* the memory of those who left is back when it did not shrink for so many steps */

/* Turns the loop until the time has come. */
static void
turn_until(struct pool *p, uint64_t until)
{
	uint64_t now;

	while ((now = load_now()) < until)
		pool_turn(p, until - now);
}

/* Waits until the server has nothing more to do, a collector of garbage included. */
static void
wait_quiet(struct pool *p)
{
	uint64_t give_up = load_now() + QUIET_MAX;
	struct usage before, after;
	int quiet = 0;

	usage_take(p->options, &before);
	while (quiet < QUIET_STEPS && before.at < give_up) {
		turn_until(p, before.at + QUIET_STEP);
		usage_take(p->options, &after);
		quiet = after.server - before.server < QUIET_CPU ? quiet + 1 : 0;
		before = after;
	}
}

/*
 * The idle connections are open all the time; the others come and go `repeat` times.  Only the
 * coming is measured.  The usages of all rounds are added up in before and after.
 */
int
scenario_connects(const struct options *o)
{
	struct run r = {.options = o};
	struct usage before, after;

	pool_init(&r.pool, o, o->idle + o->n);
	if (o->idle > 0 && !pool_open(&r.pool, 0, o->idle))
		load_die("%u of %u idle connections joined", r.pool.joined, o->idle);
	for (uint32_t i = 0; i < o->repeat && r.errors == 0; i++) {
		wait_quiet(&r.pool);
		usage_take(o, &before);
		if (!pool_open(&r.pool, o->idle, o->n))
			r.errors++;
		usage_take(o, &after);
		r.ops_after += o->n;
		r.after.at += after.at - before.at;
		r.after.server += after.server - before.server;
		r.after.self += after.self - before.self;
		if (!pool_close(&r.pool, o->idle, o->n))
			r.errors++;
	}
	return run_report(&r);
}

struct idle {
	uint64_t empty, full, left, full_again, left_again; /* PSS */
	double heartbeat;                                   /* part of a core */
	double ping_us;                                     /* server CPU a ping */
	uint64_t pings;
};

static void
watch_heartbeat(struct pool *p, struct idle *i)
{
	struct usage before, after;
	uint64_t pings = p->pings;

	usage_take(p->options, &before);
	turn_until(p, before.at + (uint64_t)(p->options->ping_window * (double)SECOND));
	usage_take(p->options, &after);
	i->pings = p->pings - pings;
	i->heartbeat = (double)(after.server - before.server) / (double)(after.at - before.at);
	if (i->pings > 0)
		i->ping_us = (double)(after.server - before.server) / (double)i->pings / 1000;
}

static void
print_idle(const struct options *o, const struct idle *i, double opened, uint64_t errors)
{
	const double kib = 1024;

	printf("{\"scenario\":\"idle\",\"connections\":%u,\"tls\":%s,\"pss_empty_kib\":%.0f,"
	       "\"pss_full_kib\":%.0f,\"pss_left_kib\":%.0f,\"pss_full_again_kib\":%.0f,"
	       "\"pss_left_again_kib\":%.0f,\"kib_per_connection\":%.3f,"
	       "\"kib_per_connection_again\":%.3f,\"ping_window\":%.1f,\"pings\":%llu,"
	       "\"heartbeat_cpu\":%.5f,\"cpu_us_per_ping\":%.3f,\"open_seconds\":%.3f,"
	       "\"errors\":%llu}\n",
	    o->n, o->tls ? "true" : "false", (double)i->empty / kib, (double)i->full / kib,
	    (double)i->left / kib, (double)i->full_again / kib, (double)i->left_again / kib,
	    ((double)i->full - (double)i->empty) / kib / o->n,
	    ((double)i->full_again - (double)i->empty) / kib / o->n, o->ping_window,
	    (unsigned long long)i->pings, i->heartbeat, i->ping_us, opened,
	    (unsigned long long)errors);
}

/* Opens all, reads the memory when the server is quiet; `watch` looks at the heartbeat too. */
static uint64_t
idle_open(struct pool *p, struct idle *i, bool watch)
{
	uint64_t pss;

	if (!pool_open(p, 0, p->n))
		load_die("%u of %u joined, %u lost, %u bad", p->joined, p->n, p->lost, p->bad);
	wait_quiet(p);
	pss = usage_pss(p->options);
	if (watch && p->options->ping_window > 0)
		watch_heartbeat(p, i);
	return pss;
}

static uint64_t
idle_close(struct pool *p)
{
	uint64_t pss, least;

	if (!pool_close(p, 0, p->n))
		load_die("the server kept %u of %u connections open", p->closing, p->n);
	wait_quiet(p);
	least = usage_pss(p->options);
	for (int same = 0; same < BACK_STEPS; same++) {
		turn_until(p, load_now() + BACK_STEP);
		if ((pss = usage_pss(p->options)) < least) {
			least = pss;
			same = -1;
		}
	}
	return least;
}

int
scenario_idle(const struct options *o)
{
	struct pool pool;
	struct idle i = {0};
	uint64_t start, errors;
	double opened;

	pool_init(&pool, o, o->n);
	wait_quiet(&pool);
	i.empty = usage_pss(o);
	start = load_now();
	i.full = idle_open(&pool, &i, true);
	opened = (double)(load_now() - start) / SECOND - o->ping_window;
	i.left = idle_close(&pool);
	i.full_again = idle_open(&pool, &i, false);
	i.left_again = idle_close(&pool);
	errors = pool.lost + pool.bad;
	print_idle(o, &i, opened, errors);
	pool_fini(&pool);
	return errors > 0;
}
