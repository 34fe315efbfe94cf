/* SPDX-License-Identifier: ISC */
/*
 * load: what the parts of the load tool share.  One process, one thread.
 *
 * Times are nanoseconds of CLOCK_MONOTONIC.
 */
#ifndef LOAD_H
#define LOAD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define SECOND   1000000000ULL
#define MAX_PIDS 64

struct options {
	const char *scenario;
	const char *host;
	uint16_t port;
	bool tls;
	uint32_t n;         /* connections that take part */
	uint32_t idle;      /* further ones, opened before, that only answer PINGs */
	uint32_t sources;   /* source addresses 127.0.0.2 and on; 0: the system's choice */
	uint32_t size;      /* bytes of text in an event */
	uint32_t in_flight; /* fan-out: messages under way */
	uint32_t repeat;    /* connects: how often */
	double rate;        /* rate and rate-fanout: messages a second, all clients together */
	double seconds;     /* measured time */
	double warmup;      /* before it */
	double ping_window; /* idle: seconds in which the heartbeat is watched */
	uint32_t careless;  /* ledger: per cent of messages that are sent once, whatever comes of it */
	uint32_t seed;      /* ledger: of its random numbers */
	const char *plan;   /* ledger: what clients there are, a file */
	const char *out;    /* ledger: the file it writes */
	const char *auth;   /* file with a token a line; NULL: CONNECT has no payload */
	int pids[MAX_PIDS];
	unsigned n_pids;
};

uint64_t load_now(void);

/* Ends the program with a message. */
_Noreturn void load_die(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* load_proc.c: what the server used */

struct usage {
	uint64_t at;
	uint64_t server; /* CPU time of all its processes and threads, ns */
	uint64_t self;   /* that of the load tool */
};

void usage_take(const struct options *, struct usage *usage_r);

/* Memory of the server: the sum of its processes' PSS in bytes. */
uint64_t usage_pss(const struct options *);

/* load_hist.c: latencies; a value is known within 1/128 of itself. */

struct hist;

struct hist *hist_new(void);
void hist_add(struct hist *, uint64_t ns);
uint64_t hist_count(const struct hist *);
/* The least value that at least the part `q` (0…1) of all values do not exceed. */
uint64_t hist_quantile(const struct hist *, double q);
void hist_free(struct hist **);

/* load_auth.c: the CONNECT packets of clients that log in */

struct auth;

/* Reads the tokens, one a line; ends the program where there is none, or a bad one. */
struct auth *auth_read(const char *path);
/* The packet of client `index`: they take the tokens in turn. */
const char *auth_packet(const struct auth *, uint32_t index);
void auth_free(struct auth **);

/* The scenarios: each prints one JSON object; returns 0, or 1 if anything went wrong. */

int scenario_fanout(const struct options *);
int scenario_acks(const struct options *);
int scenario_connects(const struct options *);
int scenario_idle(const struct options *);
int scenario_ledger(const struct options *);
int scenario_fdatasync(const struct options *); /* load_sync.c */

#endif
