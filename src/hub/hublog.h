/* SPDX-License-Identifier: ISC */
/*
 * hublog: what the hub must still know after kill -9, in one file of plain writes: the
 * page cache survives the death of a process.  Thread: loop of the hub.
 */
#ifndef PALAVER_HUB_HUBLOG_H
#define PALAVER_HUB_HUBLOG_H

#include <stdbool.h>
#include <stddef.h>

#include "hub/roster.h"
#include "hub/window.h"

struct hublog;

struct hublog_opts {
	const char *path;
	const char *boot_id_path; /* "/proc/sys/kernel/random/boot_id"; another one in tests */
	size_t compact_min;       /* bytes below which the file is never rewritten */
	const char *spool;        /* whence to learn what the file may lack; NULL: nowhere */
};

/*
 * Loads the file into w and r (both empty) and rewrites it compactly.  *lift_r: numbers may have
 * been lost (the machine was restarted, the file is missing or damaged), so what the spools
 * have is loaded as well, and no counter may go on from where it was.  0, ERR_STORAGE_FULL,
 * ERR_UNAVAILABLE (logged).
 */
int hublog_open(const struct hublog_opts *opts, struct window *w, struct roster *r,
    struct hublog **log_r, bool *lift_r);
/* When the file that was loaded was last written, in wall clock ms; 0: there was none. */
int64_t hublog_written_ms(const struct hublog *log);
void hublog_close(struct hublog **log);

/* Gathered until hublog_write(). */
void hublog_event(struct hublog *log, const struct event *ev);
void hublog_archived(struct hublog *log, const char *conversation, uint64_t seq);
void hublog_presence(struct hublog *log, const struct roster_user *u);

/*
 * Everything gathered, with one write.  On an error nothing of it is in the file:
 * ERR_STORAGE_FULL, ERR_UNAVAILABLE.
 */
int hublog_write(struct hublog *log);
/* Rewrites the file if most of it is dead; 0 also if there was nothing to do. */
int hublog_compact(struct hublog *log, const struct window *w, const struct roster *r);

#endif
