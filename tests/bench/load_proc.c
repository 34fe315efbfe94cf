/* SPDX-License-Identifier: ISC */
/*
 * load_proc: CPU time and memory of the server's processes.
 *
 * The CPU clock of a process counts nanoseconds, of all its threads, ended ones too, and is
 * current even while they run; /proc/PID/stat counts in hundredths of a second and
 * /proc/PID/schedstat only the first thread.
 */
#include "load.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

static uint64_t
clock_read(clockid_t id)
{
	struct timespec ts;

	if (clock_gettime(id, &ts) < 0)
		load_die("a server's CPU clock: %s", strerror(errno));
	return ts.tv_sec * SECOND + ts.tv_nsec;
}

void
usage_take(const struct options *o, struct usage *u)
{
	clockid_t id;
	int error;

	u->server = 0;
	for (unsigned i = 0; i < o->n_pids; i++) {
		if ((error = clock_getcpuclockid(o->pids[i], &id)) != 0)
			load_die("process %d: %s", o->pids[i], strerror(error));
		u->server += clock_read(id);
	}
	u->self = clock_read(CLOCK_PROCESS_CPUTIME_ID);
	u->at = load_now();
}

uint64_t
usage_pss(const struct options *o)
{
	uint64_t sum = 0;
	char path[64], line[256];

	for (unsigned i = 0; i < o->n_pids; i++) {
		unsigned long long kib = 0;
		bool found = false;
		FILE *f;

		snprintf(path, sizeof path, "/proc/%d/smaps_rollup", o->pids[i]);
		if ((f = fopen(path, "r")) == NULL)
			load_die("%s: %s", path, strerror(errno));
		while (!found && fgets(line, sizeof line, f) != NULL)
			found = sscanf(line, "Pss: %llu kB", &kib) == 1;
		fclose(f);
		if (!found)
			load_die("%s: no Pss", path);
		sum += kib * 1024;
	}
	return sum;
}
