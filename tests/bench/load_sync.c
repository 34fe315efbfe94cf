/* SPDX-License-Identifier: ISC */
/*
 * load_sync: what the disk itself takes to make 4 KiB durable, for comparison with the time
 * of an acknowledgement: writes into an allocated file and fdatasync, one after the other.
 */
#include "load.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define BLOCK     4096
#define FILE_SIZE (8 * 1024 * 1024)

int
scenario_fdatasync(const struct options *o)
{
	static char block[BLOCK];
	struct hist *times = hist_new();
	uint64_t end = load_now() + (uint64_t)(o->seconds * (double)SECOND), from;
	off_t at = 0;
	int fd;

	if (o->out == NULL)
		load_die("fdatasync needs --out, a file that it may make");
	fd = open(o->out, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	if (fd < 0 || posix_fallocate(fd, 0, FILE_SIZE) != 0 || fsync(fd) < 0)
		load_die("%s: %s", o->out, strerror(errno));
	while ((from = load_now()) < end) {
		memset(block, (int)(from & 0xff), sizeof block);
		if (pwrite(fd, block, BLOCK, at) != BLOCK || fdatasync(fd) < 0)
			load_die("%s: %s", o->out, strerror(errno));
		hist_add(times, load_now() - from);
		at = (at + BLOCK) % FILE_SIZE;
	}
	close(fd);
	unlink(o->out);
	printf("{\"scenario\":\"fdatasync\",\"samples\":%llu,\"p50_us\":%.1f,\"p99_us\":%.1f,"
	       "\"p999_us\":%.1f}\n",
	    (unsigned long long)hist_count(times), (double)hist_quantile(times, 0.5) / 1000,
	    (double)hist_quantile(times, 0.99) / 1000, (double)hist_quantile(times, 0.999) / 1000);
	hist_free(&times);
	return 0;
}
