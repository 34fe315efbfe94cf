/* SPDX-License-Identifier: ISC */
/*
 * local_commit: group commit of the local writer.  Worker; sync_work() runs on
 * the writer's job thread and sees the batch's descriptors and err only, the rest
 * is the loop thread's.
 *
 * Invariants:
 * - at most one sync is under way; an append is confirmed by a sync that began
 *   after its bytes were written, and that covers all older dirty segments and the
 *   names of new ones;
 * - after a failed fdatasync the kernel may have dropped the pages, so its
 *   segments are never written or synced again: what was not confirmed is written
 *   once more into a new segment, and confirmed by a sync of that.
 */
#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <utlist.h>

#include "journal/local_int.h"
#include "lib/log.h"
#include "model/error.h"

static void
sync_work(void *ctx, void *arg)
{
	struct sync_batch *b = &((struct local_writer *)arg)->batch;

	for (size_t i = 0; i < b->count && !b->err; i++)
		if (spool_sync(b->fds[i]) < 0)
			b->err = errno;
	if (!b->err && b->dir >= 0 && fsync(b->dir) < 0)
		b->err = errno;
}

/* All dirty segments, oldest first. */
static void
batch_fill(struct local_writer *w)
{
	struct sync_batch *b = &w->batch;
	struct segment *seg;
	size_t n = 0;

	b->count = 0;
	b->err = 0;
	b->dir = w->dir_dirty ? w->dirs->fd : -1;
	w->dir_dirty = false;
	DL_FOREACH (w->dirs->segments, seg)
		n += seg->fd >= 0;
	b->segs = xrealloc(b->segs, n * sizeof(struct segment *));
	b->targets = xrealloc(b->targets, n * sizeof(*b->targets));
	b->fds = xrealloc(b->fds, n * sizeof(*b->fds));
	DL_FOREACH (w->dirs->segments, seg) {
		if (seg->fd < 0 || seg->synced == seg->used)
			continue;
		b->segs[b->count] = seg;
		b->targets[b->count] = seg->used;
		b->fds[b->count++] = seg->fd;
	}
}

static void
pending_end(struct local_writer *w, struct pending *p, int err)
{
	journal_append_cb cb = p->cb;
	void *arg = p->arg;

	p->t->pending = NULL;
	if (!err) {
		w->stats.appends++;
		writer_ticket_free(w, p->t);
	}
	free(p->packed);
	free(p);
	cb(arg, err, JOURNAL_DURABLE_LOCAL);
}

static void
end_all(struct local_writer *w, struct pending **list)
{
	while (*list) {
		struct pending *p = *list;

		DL_DELETE(*list, p);
		pending_end(w, p, p->err);
	}
}

static void
mark_batch(struct local_writer *w)
{
	struct sync_batch *b = &w->batch;

	for (size_t i = 0; i < b->count; i++) {
		b->segs[i]->synced = b->targets[i];
		if (!b->err)
			continue;
		b->segs[i]->suspect = true;
		b->segs[i]->synced = b->segs[i]->used;
		if (w->cur == b->segs[i])
			w->cur = NULL;
	}
}

static void
close_clean(struct local_writer *w)
{
	struct segment *seg;

	DL_FOREACH (w->dirs->segments, seg) {
		if (seg == w->cur || seg->fd < 0 || seg->synced != seg->used)
			continue;
		close(seg->fd);
		seg->fd = -1;
	}
}

/* Open intakes of suspect segments: in the page cache for now, but not to be relied on. */
static void
rewrite_intakes(struct local_writer *w)
{
	struct ticket *t, *tmp;
	struct segment *seg;
	size_t offset;

	HASH_ITER (hh, w->tickets, t, tmp) {
		if (!t->seg->suspect || !t->packed || t->pending)
			continue;
		if (writer_record(w, SPOOL_INTAKE, t->id, t->packed, t->len, &seg, &offset) < 0)
			return; /* logged; the old one may yet be readable */
		t->seg->tickets--;
		t->seg = seg;
		t->offset = offset;
		t->seg->tickets++;
	}
}

/* Writes what the failed batch left open into a new segment, once; the rest fails. */
static void
rewrite_events(struct local_writer *w)
{
	struct pending *p, *tmp, *list = w->syncing, *failed = NULL;
	size_t offset;

	DL_CONCAT(list, w->waiting);
	w->syncing = w->waiting = NULL;
	DL_FOREACH_SAFE (list, p, tmp) {
		DL_DELETE(list, p);
		p->err = p->seg->suspect && p->rewritten ? ERR_UNAVAILABLE : 0;
		if (!p->err && p->seg->suspect) {
			p->rewritten = true;
			p->err = writer_record(
			    w, SPOOL_EVENT, p->t->id, p->packed, p->len, &p->seg, &offset);
		}
		if (p->err)
			DL_APPEND(failed, p);
		else
			DL_APPEND(w->waiting, p);
	}
	rewrite_intakes(w);
	end_all(w, &failed);
}

static void
sync_done(void *arg)
{
	struct local_writer *w = arg;
	struct pending *list = NULL;

	w->batch.running = false;
	w->stats.syncs++;
	if (w->batch.err && w->batch.dir >= 0)
		w->dir_dirty = true;
	mark_batch(w);
	if (w->batch.err) {
		log_error("journal.sync_failed",
		    "dir=%s err=%s; check the disk. Unconfirmed records go to a new segment",
		    w->dirs->path, log_quote(strerror(w->batch.err)));
		rewrite_events(w);
	} else {
		DL_CONCAT(list, w->syncing);
		w->syncing = NULL;
		end_all(w, &list);
	}
	close_clean(w);
	if (w->waiting)
		loop_defer(&w->sync_task);
}

void
commit_start(void *arg)
{
	struct local_writer *w = arg;

	if (w->batch.running || !w->waiting)
		return;
	batch_fill(w);
	w->syncing = w->waiting;
	w->waiting = NULL;
	w->batch.running = true;
	if (job_submit(w->pool, sync_work, sync_done, w) == 0)
		return;
	assert(!"a pool with one job in it refused the next");
}

void
commit_flush(struct local_writer *w)
{
	batch_fill(w);
	sync_work(NULL, w);
	if (w->batch.err)
		log_error("journal.sync_failed", "dir=%s err=%s", w->dirs->path,
		    log_quote(strerror(w->batch.err)));
}
