/* SPDX-License-Identifier: ISC */
/*
 * load_run: the measured part of a scenario, and its report.
 */
#ifndef LOAD_RUN_H
#define LOAD_RUN_H

#include "load_conn.h"

/*
 * A run sends by itself when something arrives (closed loop) or at scheduled times: message
 * k is due at start + k / rate, and its latency counts from then, whenever it was sent.
 */
struct run {
	struct pool pool;
	const struct options *options;
	uint64_t ops;         /* what is counted: acks, deliveries, connects */
	uint64_t errors;      /* wrong, out of order, or missing answers */
	uint64_t start;       /* of the schedule */
	uint64_t scheduled;   /* messages sent of it */
	uint64_t first;       /* the first whose latency counts */
	struct hist *latency; /* NULL: closed loop */
	struct hist *late;    /* how long after its time a message was sent: our own fault */
	struct usage before, after;
	uint64_t ops_before, ops_after;
	void (*send)(struct run *);          /* sends message number `scheduled` */
	bool (*settled)(const struct run *); /* nothing is under way */
};

/* The time at which message `k` of the schedule is due. */
uint64_t run_due(const struct run *, uint64_t k);

/* Warms up, measures, and waits for what is still under way. */
void run_measure(struct run *);

/* Opens the idle connections and those of the scenario, `n`; false after a message. */
bool run_open(struct run *, const struct options *, uint32_t n);

/* Turns the loop until `done`; false: not within 20 s. */
bool run_until(struct run *, bool (*done)(const struct run *));

/* Prints the result, closes everything, returns the exit status. */
int run_report(struct run *);

#endif
