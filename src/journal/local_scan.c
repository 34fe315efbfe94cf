/* SPDX-License-Identifier: ISC */
/*
 * local_scan: every numbered event that is in the spools, archived or not, for who has
 * forgotten what was numbered.  Reads only; takes no lock, keeps no position; writers may be
 * alive, what they write meanwhile is seen or not.  Any thread.
 *
 * Damage is skipped without a word: who opens the spool for writing reports it.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "journal/journal.h"
#include "journal/spool.h"
#include "lib/log.h"
#include "model/error.h"

/* Newer events of a segment that is gone meanwhile are in the store. */
static int
scan_segment(int dir, uint64_t first, journal_scan_cb cb, void *arg)
{
	struct spool_cursor c;
	struct spool_record r;
	int err = spool_cursor_open(&c, dir, first);

	if (err)
		return err == ENOENT ? 0 : err;
	while (spool_next(&c, true, &r) == SPOOL_RECORD) {
		struct event *ev;
		struct unpack u;

		if (r.type != SPOOL_EVENT)
			continue;
		unpack_init(&u, r.data, r.len);
		ev = event_unpack(&u);
		if (ev)
			cb(arg, ev);
		event_unref(&ev);
	}
	spool_cursor_close(&c);
	return 0;
}

static int
scan_slot(int dir, journal_scan_cb cb, void *arg)
{
	uint64_t *firsts;
	size_t count;
	int err = 0;

	if (spool_list(dir, &firsts, &count) < 0)
		return errno;
	for (size_t i = 0; i < count && !err; i++)
		err = scan_segment(dir, firsts[i], cb, arg);
	free(firsts);
	return err;
}

int
journal_local_scan(const char *dir, journal_scan_cb cb, void *arg)
{
	DIR *d = opendir(dir);
	struct dirent *e;
	unsigned int slot;
	int err = 0;

	if (!d && errno == ENOENT)
		return 0; /* never was there a writer */
	if (!d)
		err = errno;
	while (!err && (e = readdir(d))) {
		int fd = spool_slot_name(e->d_name, &slot)
			     ? openat(dirfd(d), e->d_name, O_RDONLY | O_DIRECTORY | O_CLOEXEC)
			     : -1;

		if (fd < 0)
			continue;
		err = scan_slot(fd, cb, arg);
		close(fd);
	}
	if (d)
		closedir(d);
	if (!err)
		return 0;
	log_error("journal.scan_failed", "dir=%s err=%s", dir, log_quote(strerror(err)));
	return ERR_UNAVAILABLE;
}
