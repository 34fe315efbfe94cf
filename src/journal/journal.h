/* SPDX-License-Identifier: ISC */
/*
 * journal: the durable log between a send and the archive.  "local" is spool
 * files on this machine; "kafka" is Kafka, with the same spool before it.
 *
 * Writer side, one a worker.  A message goes through three steps:
 *	intake   the unnumbered event is in the spool (page cache): kill -9 safe
 *	append   the numbered event is durable (fdatasync or acks=all)
 *	done     the intake needs no replay
 * append implies done for its intake; done alone is for intakes that were
 * refused later.  What a dead writer left in between is replayed by its successor.
 *
 * Reader side, one archiver: reads numbered events in batches and commits a
 * position after the store has confirmed.  At least once: after a crash the
 * events since the last commit come again.
 *
 * All calls and callbacks run on the loop's thread unless said otherwise.
 */
#ifndef PALAVER_JOURNAL_JOURNAL_H
#define PALAVER_JOURNAL_JOURNAL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "model/event.h"

struct journal_opts {
	const char *dir;        /* spool directory of the server: <state_dir>/spool */
	unsigned int slot;      /* whose spool a writer writes: <dir>/<slot>/ */
	unsigned int slots;     /* writers now; spools of slots >= slots are adopted (see replay) */
	size_t segment_size;    /* bytes of one segment file, preallocated */
};

enum journal_durable { JOURNAL_DURABLE_LOCAL, JOURNAL_DURABLE_LOG };

/*
 * err 0: durable, how says where.  ERR_STORAGE_FULL, ERR_UNAVAILABLE: not durable
 * now; append may be called again with the same ticket.
 */
typedef void (*journal_append_cb)(void *arg, int err, enum journal_durable how);

/* One undone intake found at open; ticket is live in this writer.  ev is borrowed. */
typedef void (*journal_replay_cb)(void *arg, uint64_t ticket, struct event *ev);

struct journal_writer_stats {
	uint64_t intakes, appends, dones, syncs;
	uint64_t open_tickets;      /* intakes without append or done */
	uint64_t damaged_records;   /* skipped while recovering */
	uint64_t damaged_regions;
	uint64_t segments;          /* files now */
};

struct journal_writer;
struct journal_writer_ops {
	const char *name; /* "local" */
	void (*close)(struct journal_writer *w);
	int (*intake)(struct journal_writer *w, const struct event *ev, uint64_t *ticket_r);
	int (*append)(struct journal_writer *w, uint64_t ticket, const struct event *ev,
	    journal_append_cb cb, void *arg);
	int (*done)(struct journal_writer *w, uint64_t ticket);
	int (*replay)(struct journal_writer *w, journal_replay_cb cb, void *arg);
	void (*stats)(const struct journal_writer *w, struct journal_writer_stats *st);
};
struct journal_writer {
	const struct journal_writer_ops *ops;
};

/*
 * Opens <dir>/<slot>, and what it can adopt (spools of slots >= opts->slots with
 * number % slots == slot), locks them, scans them, begins a new segment.
 * 0 or ERR_STORAGE_FULL, ERR_UNAVAILABLE (errno logged with what to do).
 * Damage is logged with file, offset and number of records, never fatal.
 */
int journal_local_writer_open(const struct journal_opts *opts, struct journal_writer **w_r);
/* Pending callbacks do not run; all that was written is synced first. */
void journal_writer_close(struct journal_writer **w);

/*
 * Writes an unnumbered event.  0: *ticket_r names it, and there is room reserved
 * for its append, so a full disk is met here and not after the event was seen.
 * ERR_STORAGE_FULL, ERR_UNAVAILABLE: nothing was kept.
 */
int journal_intake(struct journal_writer *w, const struct event *ev, uint64_t *ticket_r);
/* ev is numbered, borrowed for the call.  Follows the asynchronous rule of bus.h. */
int journal_append(struct journal_writer *w, uint64_t ticket, const struct event *ev,
    journal_append_cb cb, void *arg);
int journal_done(struct journal_writer *w, uint64_t ticket);
/* Calls cb for every undone intake found at open, oldest first; each once. */
int journal_replay(struct journal_writer *w, journal_replay_cb cb, void *arg);
void journal_writer_stats(const struct journal_writer *w, struct journal_writer_stats *st);

/* ---- reader ---- */

struct journal_reader_stats {
	uint64_t events, commits;
	uint64_t damaged_records, damaged_regions;
};

struct journal_reader;
struct journal_reader_ops {
	const char *name;
	void (*close)(struct journal_reader *r);
	int (*read)(struct journal_reader *r, struct event **events, size_t max, size_t *count_r);
	int (*commit)(struct journal_reader *r);
	void (*stats)(const struct journal_reader *r, struct journal_reader_stats *st);
};
struct journal_reader {
	const struct journal_reader_ops *ops;
};

/*
 * wake(arg) runs on the loop when there may be something new to read, at most
 * every 20 ms; it also runs once soon after open.
 */
int journal_local_reader_open(const struct journal_opts *opts, void (*wake)(void *arg), void *arg,
    struct journal_reader **r_r);
void journal_reader_close(struct journal_reader **r);

/*
 * Reads on from where the last read ended: up to max events into events[], one
 * reference each for the caller.  *count_r 0: nothing now, wait for wake().
 * The local one returns events of one spool in their order; different spools in
 * any order, and an event may come more than once (the store drops it by id).
 */
int journal_read(struct journal_reader *r, struct event **events, size_t max, size_t *count_r);
/* All that read() returned so far is in the store: keep that, durably. 0 or ERR_. */
int journal_commit(struct journal_reader *r);
/*
 * Every numbered event in the spools below dir, archived or not, of one spool in their order,
 * perhaps more than once; ev is borrowed.  Reads only, any thread.  0 or ERR_UNAVAILABLE.
 */
typedef void (*journal_scan_cb)(void *arg, struct event *ev);
int journal_local_scan(const char *dir, journal_scan_cb cb, void *arg);

void journal_reader_stats(const struct journal_reader *r, struct journal_reader_stats *st);

#endif
