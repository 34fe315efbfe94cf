/* SPDX-License-Identifier: ISC */
/*
 * content: the bytes of uploaded files.  What is known about a file (whose it is, its name,
 * which message has it) is a row of the store; this keeps what is in it, written once and
 * read in pieces.
 *
 * "local" keeps them below a directory of its own:
 *
 *	new.<slot>/<id>      being written by the worker of that slot
 *	<xx>/<id>            whole and durable; xx are the last two characters of the id
 *
 * so what a dead worker left half-written is in its own folder, and its successor empties it.
 *
 * Everything that may block is a job on a small pool, so the loop never waits for the disk.
 * Calls that return < 0 never run their callback; 0: it runs exactly once, later, on the loop,
 * unless the writer, the reader or all of it is closed before.  Thread: loop, of a worker (all of
 * it) or of the archiver (content_remove).
 */
#ifndef PALAVER_STORE_CONTENT_H
#define PALAVER_STORE_CONTENT_H

#include <stddef.h>
#include <stdint.h>

#include "lib/buf.h"

#define CONTENT_READ_MAX (256 * 1024) /* bytes of one content_read() */

struct content;
struct content_writer;
struct content_reader;

/*
 * slot < 0: only removes (the archiver); slots: how many there are, so that what slots that are
 * no more have left half-written is removed, too.  Makes dir if need be; NULL: logged, with
 * what to do.
 */
struct content *content_open(const char *dir, int slot, int slots);
/* Running jobs finish; the callbacks of all others do not run. */
void content_close(struct content **c);

/* err: 0, ERR_STORAGE_FULL, ERR_UNAVAILABLE; of removals and reads also ERR_NOT_FOUND. */
typedef void (*content_done)(void *arg, int err);

/* ---- writing ---- */

/* id: fil_.., new.  Nothing is on the disk before the first content_write(). */
struct content_writer *content_create(struct content *c, const char *id);
/*
 * Appends what is in b, and takes it: b is empty then.  One at a time.  After an error the
 * writer can only be closed.  ERR_OVERLOADED: too many wait, and this one is not begun yet.
 */
int content_write(struct content_writer *w, struct buf *b, content_done done, void *arg);
/* Makes it durable under its name, also if nothing was written.  Nothing may be written after it. */
int content_commit(struct content_writer *w, content_done done, void *arg);
/* What was not committed is removed.  At any time, also while one of the two is under way. */
void content_writer_close(struct content_writer **w);

/* ---- reading ---- */

/* id need not be there: a read says ERR_NOT_FOUND, also when it was removed meanwhile. */
struct content_reader *content_reader_open(struct content *c, const char *id);
/* data is valid in the call; len is shorter than asked for only at the end of the file. */
typedef void (*content_read_cb)(void *arg, int err, const void *data, size_t len);
/* One at a time; at most CONTENT_READ_MAX bytes. */
int content_read(struct content_reader *r, uint64_t offset, size_t len, content_read_cb cb, void *arg);
void content_reader_close(struct content_reader **r); /* at any time */

/* ---- removing ---- */

/* 0 also where there was none; durable. */
int content_remove(struct content *c, const char *id, content_done done, void *arg);

#endif
