/* SPDX-License-Identifier: ISC */
/*
 * local_writer: the living end of a spool: space, segments, intake, append, done.
 * Worker, loop thread.  Format: spool.h; how appends become durable: local_commit.c.
 *
 * Invariants:
 * - a record is in one segment, written whole before the call returns;
 * - every open ticket has room for the record that ends it, in the current segment
 *   or in spare ones: a full disk is met by intake.
 */
#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>
#include <utlist.h>

#include "journal/local_int.h"
#include "lib/log.h"
#include "model/error.h"

#define RECLAIM_EVERY 5.0 /* s */

/* ---- space ---- */

/* False early: posix_fallocate on a nearly full disk takes all of it for a moment. */
static bool
disk_has_room(const struct local_writer *w)
{
	struct statvfs v;

	return fstatvfs(w->dirs->fd, &v) < 0 ||
	       (uint64_t)v.f_bavail * v.f_frsize >= w->segment_size;
}

static int
add_spare(struct local_writer *w)
{
	struct spare *s = xcalloc(1, sizeof(*s));

	snprintf(s->name, sizeof(s->name), "spare.%u", w->spare_serial++);
	errno = ENOSPC;
	s->fd = disk_has_room(w) ? spool_create(w->dirs->fd, s->name, w->segment_size) : -1;
	if (s->fd >= 0) {
		LL_APPEND(w->spares, s);
		w->spare_count++;
		if (w->full)
			log_info("journal.space_again", "dir=%s", w->dirs->path);
		w->full = false;
		return 0;
	}
	if (!w->full)
		log_error("journal.no_space",
		    "dir=%s bytes=%zu err=%s; messages are refused when the present segment is "
		    "full",
		    w->dirs->path, w->segment_size, log_quote(strerror(errno)));
	w->full = true;
	free(s);
	return errno == ENOSPC || errno == EDQUOT ? ERR_STORAGE_FULL : ERR_UNAVAILABLE;
}

/*
 * Do `bytes` in `records` records, none over `largest`, surely fit?  Each segment
 * that is filled may waste less than the largest record at its end.
 */
static bool
has_room(const struct local_writer *w, size_t bytes, size_t records, size_t largest)
{
	size_t left = w->cur ? w->cur->size - w->cur->used : 0;
	size_t whole = w->segment_size - SPOOL_SEG_HEADER;
	size_t sum = left > largest ? left - largest : 0;

	if (left >= bytes)
		return true;
	sum += w->spare_count * (whole - largest);
	return sum >= bytes || w->spare_count * (whole / largest) >= records;
}

static int
make_room(struct local_writer *w, size_t now, size_t later)
{
	size_t largest = later > w->largest ? later : w->largest;
	int err;

	while (!has_room(w, w->reserved + now + later, w->reservations + 2, largest)) {
		err = add_spare(w);
		if (err)
			return err;
	}
	return 0;
}

void
writer_reserve(struct local_writer *w, struct ticket *t, size_t len)
{
	t->reserve = spool_record_size(len + EVENT_MARGIN);
	if (t->reserve > w->segment_size - SPOOL_SEG_HEADER)
		t->reserve = w->segment_size - SPOOL_SEG_HEADER;
	if (t->reserve > w->largest)
		w->largest = t->reserve;
	w->reserved += t->reserve;
	w->reservations++;
}

static void
release(struct local_writer *w, struct ticket *t)
{
	if (!t->reserve)
		return;
	w->reserved -= t->reserve;
	w->reservations--;
	t->reserve = 0;
}

/* ---- segments and records ---- */

/* Turns the first spare into the segment that begins with the next record. */
static struct segment *
begin_segment(struct local_writer *w)
{
	struct spool_dir *d = w->dirs;
	struct spool_head h = {.slot = d->slot};
	struct spare *s = w->spares;
	struct segment *seg;
	char name[SPOOL_NAME_MAX];
	int err;

	if (d->segments && d->segments->prev->first == d->next) {
		d->next++; /* its first write failed, then its sync: it keeps its name */
		d->tail = 0;
	}
	h.first = d->next;
	h.prev = d->tail;
	spool_name(name, d->next);
	buf_clear(&w->scratch);
	spool_pack_head(&w->scratch, &h);
	err = spool_write(s->fd, w->scratch.data, w->scratch.len, 0);
	if (!err && renameat(d->fd, s->name, d->fd, name) < 0)
		err = errno;
	if (err)
		unlinkat(d->fd, s->name, 0);
	w->dir_dirty = true; /* until then a sync of its records proves nothing */
	LL_DELETE(w->spares, s);
	w->spare_count--;
	seg = xcalloc(1, sizeof(*seg));
	seg->first = d->next;
	seg->dir = d;
	seg->fd = s->fd;
	seg->size = w->segment_size;
	seg->used = SPOOL_SEG_HEADER;
	free(s);
	if (!err)
		return seg;
	log_error(
	    "journal.no_segment", "dir=%s file=%s err=%s", d->path, name, log_quote(strerror(err)));
	recover_segment_free(&seg);
	return NULL;
}

/* Nothing more will be written to it; its descriptor stays until it is synced. */
static void
leave_segment(struct local_writer *w)
{
	struct segment *seg = w->cur;

	w->cur = NULL;
	if (!seg || seg->synced != seg->used || w->batch.running)
		return; /* sync_done closes it */
	close(seg->fd);
	seg->fd = -1;
}

int
writer_rotate(struct local_writer *w)
{
	struct segment *seg;
	int err = w->spares ? 0 : add_spare(w);

	if (err)
		return err;
	seg = begin_segment(w);
	if (!seg)
		return ERR_UNAVAILABLE;
	leave_segment(w);
	DL_APPEND(w->dirs->segments, seg);
	w->dirs->tail = seg->first;
	w->cur = seg;
	w->stats.segments++;
	return 0;
}

int
writer_record(struct local_writer *w, enum spool_type type, uint64_t ticket, const void *data,
    size_t len, struct segment **seg_r, size_t *offset_r)
{
	size_t need = spool_record_size(len);
	int err;

	if (need > w->segment_size - SPOOL_SEG_HEADER)
		return ERR_TOO_LARGE;
	if (!w->cur || w->cur->size - w->cur->used < need) {
		err = writer_rotate(w);
		if (err)
			return err;
	}
	buf_clear(&w->scratch);
	spool_pack_record(
	    &w->scratch, type, w->dirs->next, ticket ? ticket : w->dirs->next, data, len);
	err = spool_write(w->cur->fd, w->scratch.data, w->scratch.len, w->cur->used);
	if (err) { /* `used` stays: the next record is written over the rest of this one */
		log_error("journal.write_failed", "dir=%s err=%s", w->dirs->path,
		    log_quote(strerror(err)));
		return err == ENOSPC || err == EDQUOT ? ERR_STORAGE_FULL : ERR_UNAVAILABLE;
	}
	*seg_r = w->cur;
	*offset_r = w->cur->used + SPOOL_REC_HEADER;
	w->cur->used += need;
	if (type == SPOOL_EVENT)
		w->cur->last_event = w->cur->used;
	w->dirs->next++;
	return 0;
}

/* ---- tickets ---- */

void
writer_ticket_free(struct local_writer *w, struct ticket *t)
{
	release(w, t);
	t->seg->tickets--;
	HASH_DEL(w->tickets, t);
	free(t->packed);
	free(t);
}

static struct ticket *
ticket_find(struct local_writer *w, uint64_t id)
{
	struct ticket *t;

	HASH_FIND(hh, w->tickets, &id, sizeof(id), t);
	return t;
}

static int
local_intake(struct journal_writer *base, const struct event *ev, uint64_t *ticket_r)
{
	struct local_writer *w = (struct local_writer *)base;
	struct ticket *t = xcalloc(1, sizeof(*t));
	struct buf packed;
	int err;

	buf_init(&packed);
	event_pack(&packed, ev);
	err = ERR_TOO_LARGE;
	if (spool_record_size(packed.len + EVENT_MARGIN) <= w->segment_size - SPOOL_SEG_HEADER)
		err = make_room(
		    w, spool_record_size(packed.len), spool_record_size(packed.len + EVENT_MARGIN));
	if (!err) {
		t->id = w->dirs->next;
		err =
		    writer_record(w, SPOOL_INTAKE, 0, packed.data, packed.len, &t->seg, &t->offset);
	}
	if (err) {
		free(t);
		buf_fini(&packed);
		return err;
	}
	t->len = packed.len;
	t->packed = buf_steal(&packed);
	t->seg->tickets++;
	writer_reserve(w, t, t->len);
	HASH_ADD(hh, w->tickets, id, sizeof(t->id), t);
	w->stats.intakes++;
	*ticket_r = t->id;
	return 0;
}

static int
local_append(struct journal_writer *base, uint64_t ticket, const struct event *ev,
    journal_append_cb cb, void *arg)
{
	struct local_writer *w = (struct local_writer *)base;
	struct ticket *t = ticket_find(w, ticket);
	struct pending *p;
	struct buf packed;
	size_t offset;
	int err;

	assert(t && !t->pending);
	p = xcalloc(1, sizeof(*p));
	buf_init(&packed);
	event_pack(&packed, ev);
	err = writer_record(w, SPOOL_EVENT, ticket, packed.data, packed.len, &p->seg, &offset);
	if (err) {
		free(p);
		buf_fini(&packed);
		return err;
	}
	release(w, t);
	p->t = t;
	p->len = packed.len;
	p->packed = buf_steal(&packed);
	p->cb = cb;
	p->arg = arg;
	t->pending = p;
	DL_APPEND(w->waiting, p);
	loop_defer(&w->sync_task);
	return 0;
}

static int
local_done(struct journal_writer *base, uint64_t ticket)
{
	struct local_writer *w = (struct local_writer *)base;
	struct ticket *t = ticket_find(w, ticket);
	struct segment *seg;
	size_t offset;
	int err;

	if (!t || t->pending) /* append did it, or does it */
		return 0;
	err = writer_record(w, SPOOL_DONE, ticket, NULL, 0, &seg, &offset);
	if (err)
		return err;
	writer_ticket_free(w, t);
	w->stats.dones++;
	return 0;
}

static int
compare_tickets(const struct ticket *a, const struct ticket *b)
{
	return a->id < b->id ? -1 : a->id > b->id;
}

static int
local_replay(struct journal_writer *base, journal_replay_cb cb, void *arg)
{
	struct local_writer *w = (struct local_writer *)base;
	size_t count = 0, n = 0;
	uint64_t *ids;
	struct ticket *t;
	struct event *ev;

	/* The callback may end any ticket, so keep their numbers only. */
	HASH_SORT(w->tickets, compare_tickets);
	ids = xcalloc(HASH_COUNT(w->tickets), sizeof(*ids));
	for (t = w->tickets; t; t = t->hh.next)
		if (t->replay)
			ids[count++] = t->id;
	for (size_t i = 0; i < count; i++) {
		t = ticket_find(w, ids[i]);
		if (!t)
			continue;
		t->replay = false;
		ev = recover_read(t);
		if (!ev)
			continue;
		cb(arg, t->id, ev);
		event_unref(&ev);
		n++;
	}
	free(ids);
	if (n)
		log_info("journal.replayed", "dir=%s intakes=%zu", w->dirs->path, n);
	return 0;
}

/* ---- life ---- */

static void
on_reclaim(struct ev_loop *loop, ev_timer *timer, int revents)
{
	struct local_writer *w = timer->data;

	recover_reclaim(w);
	if (!w->spares && !w->full)
		add_spare(w);
}

static void
pending_free(struct pending **list)
{
	while (*list) {
		struct pending *p = *list;

		DL_DELETE(*list, p);
		free(p->packed);
		free(p);
	}
}

static void
local_close(struct journal_writer *base)
{
	struct local_writer *w = (struct local_writer *)base;
	struct ticket *t, *tmp;

	loop_cancel(&w->sync_task);
	job_pool_free(&w->pool); /* waits for a running sync */
	if (w->dirs)
		commit_flush(w);
	ev_timer_stop(loop_ev(), &w->reclaim_timer);
	pending_free(&w->waiting);
	pending_free(&w->syncing);
	HASH_ITER (hh, w->tickets, t, tmp)
		writer_ticket_free(w, t);
	while (w->spares) {
		struct spare *s = w->spares;

		LL_DELETE(w->spares, s);
		unlinkat(w->dirs->fd, s->name, 0);
		close(s->fd);
		free(s);
	}
	recover_close_dirs(w);
	free(w->batch.segs);
	free(w->batch.targets);
	free(w->batch.fds);
	buf_fini(&w->scratch);
	free(w);
}

static void
local_stats(const struct journal_writer *base, struct journal_writer_stats *st)
{
	const struct local_writer *w = (const struct local_writer *)base;

	*st = w->stats;
	st->open_tickets = HASH_COUNT(w->tickets);
}

static const struct journal_writer_ops local_ops = {
    "local", local_close, local_intake, local_append, local_done, local_replay, local_stats};

int
journal_local_writer_open(const struct journal_opts *opts, struct journal_writer **w_r)
{
	struct job_pool_opts pool = {.name = "spool-sync", .threads = 1, .queue = 1};
	struct local_writer *w = xcalloc(1, sizeof(*w));
	int err;

	*w_r = NULL;
	w->base.ops = &local_ops;
	w->slots = opts->slots;
	w->segment_size = opts->segment_size & ~(size_t)7;
	if (w->segment_size < SPOOL_SEGMENT_MIN)
		w->segment_size = SPOOL_SEGMENT_MIN;
	w->sync_task = (struct loop_task){.run = commit_start, .arg = w};
	buf_init(&w->scratch);
	ev_timer_init(&w->reclaim_timer, on_reclaim, RECLAIM_EVERY, RECLAIM_EVERY);
	w->reclaim_timer.data = w;
	w->pool = job_pool_new(&pool);
	err = recover_open(w, opts);
	if (err) {
		local_close(&w->base);
		return err;
	}
	recover_adopt(w, opts);
	recover_reclaim(w);
	if (!w->spares)
		add_spare(w);
	ev_timer_start(loop_ev(), &w->reclaim_timer);
	*w_r = &w->base;
	return 0;
}
