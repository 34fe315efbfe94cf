/* SPDX-License-Identifier: ISC */
/*
 * local_int: the local writer's own structures, shared by local_writer.c (the
 * living spool), local_commit.c (group commit) and local_recover.c (open,
 * adoption, reclaim).  Loop thread.
 */
#ifndef PALAVER_JOURNAL_LOCAL_INT_H
#define PALAVER_JOURNAL_LOCAL_INT_H

#include <ev.h>
#include <uthash.h>

#include "journal/journal.h"
#include "journal/spool.h"
#include "lib/job.h"
#include "lib/loop.h"

#define EVENT_MARGIN 128 /* an event may be packed longer than its intake by this */

struct spool_dir;

struct segment {
	uint64_t first;
	struct spool_dir *dir;
	int fd; /* -1: nothing will be written or synced any more */
	size_t size, used;
	size_t synced;        /* up to here it is durable */
	size_t last_event;    /* end of its last EVENT; 0: none */
	unsigned int tickets; /* open intakes that live here */
	bool damaged;         /* is kept under another name when its time has come */
	bool suspect;         /* an fdatasync failed: never written again */
	struct segment *prev, *next;
};

struct spool_dir {
	unsigned int slot;
	char *path;
	int fd, lock;
	uint64_t next; /* number of the next record */
	uint64_t tail; /* first of the newest segment whose successor may count a hole; 0: none */
	struct segment *segments; /* ascending */
	struct spool_dir *prev_dir, *next_dir;
};

struct pending {
	struct ticket *t;
	void *packed;
	size_t len;
	struct segment *seg;
	journal_append_cb cb;
	void *arg;
	int err;
	bool rewritten;
	struct pending *prev, *next;
};

struct ticket {
	uint64_t id;
	struct segment *seg; /* where the intake is */
	size_t offset, len;  /* of its payload */
	void *packed;        /* the same, NULL if found at open */
	size_t reserve;      /* bytes promised for what will end it */
	struct pending *pending;
	bool replay;
	UT_hash_handle hh;
};

struct sync_batch {
	struct segment **segs; /* loop thread only */
	size_t *targets;       /* loop thread only */
	int *fds;
	size_t count;
	int dir; /* to be synced as well: it has a new name; -1: none */
	int err; /* by the job: errno of the first that failed */
	bool running;
};

struct spare {
	int fd;
	char name[SPOOL_NAME_MAX];
	struct spare *next;
};

struct local_writer {
	struct journal_writer base;
	struct spool_dir *dirs; /* own first, then adopted */
	struct segment *cur;    /* NULL: the next write begins one */
	struct spare *spares;
	unsigned int spare_count, spare_serial;
	unsigned int slots;
	size_t segment_size;
	struct ticket *tickets;
	size_t reserved, reservations; /* bytes and number over all tickets */
	size_t largest;                /* reservation ever made */
	bool dir_dirty;                /* has a name that is not durable */
	bool full;                     /* no room was found; logged once */
	struct pending *waiting;       /* written, not in the running batch */
	struct pending *syncing;       /* in the running batch */
	struct sync_batch batch;
	struct job_pool *pool;
	struct loop_task sync_task;
	ev_timer reclaim_timer;
	struct buf scratch;
	struct journal_writer_stats stats;
};

/* local_writer.c */
int writer_rotate(struct local_writer *w);
/* Appends a record to the own spool; the place of the payload in *seg_r, *offset_r. */
int writer_record(struct local_writer *w, enum spool_type type, uint64_t ticket, const void *data,
    size_t len, struct segment **seg_r, size_t *offset_r);
void writer_reserve(struct local_writer *w, struct ticket *t, size_t len);
void writer_ticket_free(struct local_writer *w, struct ticket *t);

/* local_commit.c */
void commit_start(void *arg); /* a loop task; arg: the writer */
/* Syncs all there is, blocking; no callbacks. */
void commit_flush(struct local_writer *w);

/* local_recover.c */
int recover_open(struct local_writer *w, const struct journal_opts *opts);
void recover_adopt(struct local_writer *w, const struct journal_opts *opts);
void recover_close_dirs(struct local_writer *w);
void recover_segment_free(struct segment **seg);
/* Deletes what the reader has committed past and no open ticket needs. */
void recover_reclaim(struct local_writer *w);
/* The event of an intake in the spool; NULL: unreadable, logged. */
struct event *recover_read(const struct ticket *t);

#endif
