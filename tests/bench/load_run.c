/* SPDX-License-Identifier: ISC */
/*
 * load_run: warms up, measures, drains and reports.
 *
 * CPU and operations are differences over the measured time only.  The load tool's own CPU
 * is reported with them: from SATURATED on the figure says what the tool can do, and only
 * the server's CPU an operation is worth anything.
 */
#include "load_run.h"

#include <stdio.h>
#include <string.h>

#define WAIT      (20 * SECOND)
#define SATURATED 0.9

uint64_t
run_due(const struct run *r, uint64_t k)
{
	return r->start + (uint64_t)((double)k * (double)SECOND / r->options->rate);
}

bool
run_open(struct run *r, const struct options *o, uint32_t n)
{
	r->options = o;
	pool_init(&r->pool, o, o->idle + n);
	r->pool.arg = r;
	if ((o->idle == 0 || pool_open(&r->pool, 0, o->idle)) && pool_open(&r->pool, o->idle, n))
		return true;
	fprintf(stderr, "load: %u of %u connections joined, %u lost, %u bad frames\n",
	    r->pool.joined, o->idle + n, r->pool.lost, r->pool.bad);
	return false;
}

bool
run_until(struct run *r, bool (*done)(const struct run *))
{
	uint64_t until = load_now() + WAIT, now;

	while (!done(r)) {
		if ((now = load_now()) >= until || r->pool.lost > 0)
			return false;
		pool_turn(&r->pool, until - now);
	}
	return true;
}

static void
run_for(struct run *r, uint64_t until)
{
	uint64_t now, wait;

	while ((now = load_now()) < until) {
		wait = until - now;
		if (r->latency != NULL) {
			uint64_t due;

			while ((due = run_due(r, r->scheduled)) <= now) {
				if (r->scheduled >= r->first)
					hist_add(r->late, load_now() - due);
				r->send(r);
				r->scheduled++;
			}
			wait = due < until ? due - now : wait;
		}
		pool_turn(&r->pool, wait);
	}
}

void
run_measure(struct run *r)
{
	uint64_t warm = (uint64_t)(r->options->warmup * (double)SECOND);
	uint64_t length = (uint64_t)(r->options->seconds * (double)SECOND);

	r->start = load_now();
	if (r->latency != NULL) {
		r->first = (uint64_t)(r->options->warmup * r->options->rate);
		r->late = hist_new();
	}
	run_for(r, r->start + warm);
	usage_take(r->options, &r->before);
	r->ops_before = r->ops;
	run_for(r, r->before.at + length);
	usage_take(r->options, &r->after);
	r->ops_after = r->ops;
	if (!run_until(r, r->settled)) {
		fprintf(stderr, "load: answers are missing after %d s\n", (int)(WAIT / SECOND));
		r->errors++;
	}
}

int
run_report(struct run *r)
{
	const struct options *o = r->options;
	double ops = (double)(r->ops_after - r->ops_before);
	double wall = (double)(r->after.at - r->before.at);
	double server = (double)(r->after.server - r->before.server);
	double self = (double)(r->after.self - r->before.self) / wall;
	uint64_t errors = r->errors + r->pool.lost + r->pool.bad;

	printf("{\"scenario\":\"%s\",\"connections\":%u,\"idle\":%u,\"tls\":%s,\"seconds\":%.3f,"
	       "\"ops\":%.0f,\"per_second\":%.1f,\"server_cpu_us_per_op\":%.4f,"
	       "\"server_cpu\":%.3f,\"load_cpu\":%.3f,\"load_saturated\":%s",
	    o->scenario, o->n, o->idle, o->tls ? "true" : "false", wall / SECOND, ops,
	    ops * (double)SECOND / wall, ops > 0 ? server / ops / 1000 : 0, server / wall, self,
	    self >= SATURATED ? "true" : "false");
	if (r->latency != NULL)
		printf(",\"samples\":%llu,\"p50_us\":%.1f,\"p99_us\":%.1f,\"p999_us\":%.1f,"
		       "\"late_p99_us\":%.1f",
		    (unsigned long long)hist_count(r->latency),
		    (double)hist_quantile(r->latency, 0.5) / 1000,
		    (double)hist_quantile(r->latency, 0.99) / 1000,
		    (double)hist_quantile(r->latency, 0.999) / 1000,
		    (double)hist_quantile(r->late, 0.99) / 1000);
	printf(",\"errors\":%llu}\n", (unsigned long long)errors);
	fflush(stdout);
	hist_free(&r->latency);
	hist_free(&r->late);
	pool_fini(&r->pool);
	return errors > 0 || ops == 0;
}
