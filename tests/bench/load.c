/* SPDX-License-Identifier: ISC */
/*
 * load: the load tool of `make bench`.  One process, one thread, one JSON object on standard
 * output a run; the exit status is 1 if anything was lost, doubled or wrong.
 *
 *	load SCENARIO --port N --pid PID… [option value]…
 *
 * `fanout`, `acks`, `rate`, `rate-fanout`, `connects`, `idle`, `ledger`: see load_fanout.c,
 * load_acks.c, load_open.c and load_ledger.c.  --pid names the processes of the server whose CPU
 *and memory count.
 */
#include "load.h"

#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <time.h>

struct scenario {
	const char *name;
	int (*run)(const struct options *);
	uint32_t n;
	double rate;
};

static const struct scenario scenarios[] = {
    {"fanout", scenario_fanout, 1000, 0},
    {"rate-fanout", scenario_fanout, 1000, 20},
    {"acks", scenario_acks, 1000, 0},
    {"rate", scenario_acks, 1000, 2000},
    {"connects", scenario_connects, 5000, 0},
    {"idle", scenario_idle, 10000, 0},
    {"ledger", scenario_ledger, 100, 100},
    {"fdatasync", scenario_fdatasync, 1, 0},
};

enum kind { COUNT, NUMBER, TEXT, FLAG, PID };

struct option_row {
	const char *name;
	enum kind kind;
	size_t offset;
	double min, max;
	const char *help;
};

#define AT(field) offsetof(struct options, field)

static const struct option_row rows[] = {
    {"--host", TEXT, AT(host), 0, 0, "IPv4 address of the server (127.0.0.1)"},
    {"--port", PID, AT(port), 1, 65535, "its port"},
    {"--pid", PID, AT(pids), 1, 4194304, "a process of the server; repeatable"},
    {"--tls", FLAG, AT(tls), 0, 0, "speak TLS; the certificate is not checked"},
    {"--connections", COUNT, AT(n), 1, 1000000, "that take part"},
    {"--idle", COUNT, AT(idle), 0, 1000000, "further ones that only answer PINGs (0)"},
    {"--sources", COUNT, AT(sources), 0, 200, "source addresses from 127.0.0.2 on (16)"},
    {"--size", COUNT, AT(size), 8, 60000, "bytes of text in an event (300)"},
    {"--in-flight", COUNT, AT(in_flight), 1, 1024, "fanout: messages under way (8)"},
    {"--repeat", COUNT, AT(repeat), 1, 1000, "connects: times (1)"},
    {"--rate", NUMBER, AT(rate), 0.1, 1e7, "rate (2000), rate-fanout (20): messages a second"},
    {"--seconds", NUMBER, AT(seconds), 0.01, 86400, "measured time (3)"},
    {"--warmup", NUMBER, AT(warmup), 0, 3600, "seconds before it (0.5)"},
    {"--ping-window", NUMBER, AT(ping_window), 0, 3600, "idle: seconds to watch PINGs (0)"},
    {"--careless", COUNT, AT(careless), 0, 100, "ledger: per cent of messages never repeated (10)"},
    {"--seed", COUNT, AT(seed), 0, 4294967295, "ledger: of its random numbers (1)"},
    {"--plan", TEXT, AT(plan), 0, 0, "ledger: a file with a line a client, user and conversations"},
    {"--out", TEXT, AT(out), 0, 0, "ledger: the file it writes"},
    {"--auth", TEXT, AT(auth), 0, 0, "a file of tokens, one a line, that clients take in turn"},
};

uint64_t
load_now(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return ts.tv_sec * SECOND + ts.tv_nsec;
}

void
load_die(const char *format, ...)
{
	va_list ap;

	fputs("load: ", stderr);
	va_start(ap, format);
	vfprintf(stderr, format, ap);
	va_end(ap);
	fputc('\n', stderr);
	exit(1);
}

_Noreturn static void
usage(void)
{
	fputs("usage: load SCENARIO --port N --pid PID [option value]...\nscenarios:", stderr);
	for (size_t i = 0; i < sizeof scenarios / sizeof scenarios[0]; i++)
		fprintf(stderr, " %s", scenarios[i].name);
	fputc('\n', stderr);
	for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++)
		fprintf(stderr, "  %-14s %s\n", rows[i].name, rows[i].help);
	exit(2);
}

static double
parse_number(const struct option_row *row, const char *text)
{
	char *end;
	double value = strtod(text, &end);

	if (end == text || *end != '\0' || !(value >= row->min && value <= row->max))
		load_die("%s: a number from %g to %g, not %s", row->name, row->min, row->max, text);
	return value;
}

static void
set_option(struct options *o, const struct option_row *row, const char *text)
{
	void *field = (char *)o + row->offset;
	double value = row->kind == TEXT || row->kind == FLAG ? 0 : parse_number(row, text);

	if (row->kind == TEXT) {
		*(const char **)field = text;
	} else if (row->kind == FLAG) {
		*(bool *)field = true;
	} else if (row->kind == NUMBER) {
		*(double *)field = value;
	} else if (row->kind == COUNT) {
		*(uint32_t *)field = (uint32_t)value;
	} else if (row->offset == AT(port)) {
		o->port = (uint16_t)value;
	} else {
		if (o->n_pids == MAX_PIDS)
			load_die("more than %d processes", MAX_PIDS);
		o->pids[o->n_pids++] = (int)value;
	}
}

static void
parse_options(struct options *o, int argc, char **argv)
{
	for (int i = 2; i < argc; i++) {
		const struct option_row *row = rows, *end = rows + sizeof rows / sizeof rows[0];

		while (row < end && strcmp(row->name, argv[i]) != 0)
			row++;
		if (row == end || (row->kind != FLAG && i + 1 == argc))
			usage();
		set_option(o, row, row->kind == FLAG ? NULL : argv[++i]);
	}
	if (o->port == 0 || (o->n_pids == 0 && strcmp(o->scenario, "ledger") != 0 &&
				strcmp(o->scenario, "fdatasync") != 0))
		usage();
}

/* As many descriptors as are allowed, timers that fire when they are due. */
static void
prepare_process(const struct options *o)
{
	struct rlimit nofile;

	signal(SIGPIPE, SIG_IGN);
	prctl(PR_SET_TIMERSLACK, 1);
	getrlimit(RLIMIT_NOFILE, &nofile);
	nofile.rlim_cur = nofile.rlim_max;
	setrlimit(RLIMIT_NOFILE, &nofile);
	if (o->n + o->idle + 16 > nofile.rlim_cur)
		load_die("%u connections, but only %llu descriptors", o->n + o->idle,
		    (unsigned long long)nofile.rlim_cur);
}

int
main(int argc, char **argv)
{
	struct options o = {.host = "127.0.0.1",
	    .sources = 16,
	    .size = 300,
	    .in_flight = 8,
	    .repeat = 1,
	    .seed = 1,
	    .careless = 10,
	    .seconds = 3,
	    .warmup = 0.5};
	const struct scenario *s = scenarios, *end = s + sizeof scenarios / sizeof scenarios[0];

	while (argc > 1 && s < end && strcmp(s->name, argv[1]) != 0)
		s++;
	if (argc < 2 || s == end)
		usage();
	o.scenario = s->name;
	o.n = s->n;
	o.rate = s->rate;
	parse_options(&o, argc, argv);
	if (s->rate == 0)
		o.rate = 0;
	prepare_process(&o);
	return s->run(&o);
}
