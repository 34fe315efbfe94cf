/* SPDX-License-Identifier: ISC */
/*
 * local_recover: what a writer does with spools that are there already: open,
 * lock, scan, adopt, reclaim.  Worker, loop thread.  Format: spool.h.
 *
 * Invariants:
 * - record numbers of a directory never go back, and neither do segment names: so
 *   its newest segment is never deleted, and the reader's position counts as seen;
 * - segments are deleted oldest first, so an EVENT or DONE outlives its INTAKE;
 * - an adopted intake is durable in the own spool before it is done in the old one.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>
#include <utlist.h>

#include "journal/local_int.h"
#include "lib/log.h"
#include "model/error.h"

static int
failed(const char *what, const char *path)
{
	int err = errno;

	log_error("journal.open_failed", "step=%s path=%s err=%s", what, log_quote(path),
	    log_quote(strerror(err)));
	return err == ENOSPC || err == EDQUOT ? ERR_STORAGE_FULL : ERR_UNAVAILABLE;
}

void
recover_segment_free(struct segment **segp)
{
	struct segment *seg = *segp;

	*segp = NULL;
	if (seg->fd >= 0)
		close(seg->fd);
	free(seg);
}

static void
dir_close(struct spool_dir **dp)
{
	struct spool_dir *d = *dp;
	struct segment *seg, *tmp;

	*dp = NULL;
	DL_FOREACH_SAFE (d->segments, seg, tmp)
		recover_segment_free(&seg);
	if (d->lock >= 0)
		close(d->lock);
	if (d->fd >= 0)
		close(d->fd);
	free(d->path);
	free(d);
}

void
recover_close_dirs(struct local_writer *w)
{
	while (w->dirs) {
		struct spool_dir *d = w->dirs;

		DL_DELETE2(w->dirs, d, prev_dir, next_dir);
		dir_close(&d);
	}
}

/* ---- scan ---- */

static void
add_ticket(struct ticket **table, struct segment *seg, const struct spool_record *r)
{
	struct ticket *t;

	HASH_FIND(hh, *table, &r->ticket, sizeof(r->ticket), t);
	if (t) {
		t->seg->tickets--;
	} else {
		t = xcalloc(1, sizeof(*t));
		t->id = r->ticket;
		t->replay = true;
		HASH_ADD(hh, *table, id, sizeof(t->id), t);
	}
	t->seg = seg;
	t->offset = r->offset + SPOOL_REC_HEADER;
	t->len = r->len;
	seg->tickets++;
}

static void
drop_ticket(struct ticket **table, uint64_t id)
{
	struct ticket *t;

	HASH_FIND(hh, *table, &id, sizeof(id), t);
	if (!t)
		return;
	t->seg->tickets--;
	HASH_DEL(*table, t);
	free(t);
}

static void
note_damage(struct local_writer *w, struct segment *seg, const struct spool_damage *d)
{
	seg->damaged = true;
	w->stats.damaged_regions++;
	w->stats.damaged_records += d->records;
	spool_log_damage(seg->dir->path, seg->first, d);
}

static void
scan_segment(
    struct local_writer *w, struct segment *seg, struct spool_cursor *c, struct ticket **table)
{
	struct spool_damage head = {0, SPOOL_SEG_HEADER, 0};
	struct spool_record r;

	while (spool_next(c, true, &r) == SPOOL_RECORD) {
		if (c->damage.bytes || c->damage.records)
			note_damage(w, seg, &c->damage);
		if (r.type == SPOOL_INTAKE)
			add_ticket(table, seg, &r);
		else
			drop_ticket(table, r.ticket);
		if (r.type == SPOOL_EVENT)
			seg->last_event = r.end;
	}
	if (!c->head_ok && (c->offset > SPOOL_SEG_HEADER || c->tail_dirty))
		note_damage(w, seg, &head);
	if (c->tail_dirty) {
		seg->damaged = true;
		log_warn("journal.torn",
		    "file=%s/%016llx.seg offset=%zu; not whole, so never confirmed", seg->dir->path,
		    (unsigned long long)seg->first, c->offset);
	}
	seg->size = c->size;
	seg->used = seg->synced = c->offset;
	/* What the reader may hand out must not vanish with the power. */
	if (spool_sync(c->fd) < 0)
		log_warn("journal.sync_failed", "file=%s/%016llx.seg err=%s", seg->dir->path,
		    (unsigned long long)seg->first, log_quote(strerror(errno)));
}

/* Was something lost between the segment before and c? */
static void
check_hole(struct local_writer *w, struct segment *before, const struct spool_cursor *pc,
    const struct spool_cursor *c)
{
	struct spool_damage d = {pc->offset, pc->size - pc->offset, spool_tail_lost(pc, c)};

	if (d.records)
		note_damage(w, before, &d);
}

/* The newest segment: gives back what was preallocated, or goes if it is empty. */
static void
finish_newest(struct spool_dir *d, struct segment *seg, const struct spool_cursor *c)
{
	char name[SPOOL_NAME_MAX];
	int fd;

	spool_name(name, seg->first);
	d->next = c->expect;
	d->tail = seg->first;
	if (c->tail_dirty) {
		if (d->next == seg->first) { /* its name is taken, and its number maybe used */
			d->next++;
			d->tail = 0;
		}
		return;
	}
	if (d->next == seg->first) {
		d->tail = seg->prev != seg ? seg->prev->first : 0;
		unlinkat(d->fd, name, 0);
		DL_DELETE(d->segments, seg);
		recover_segment_free(&seg);
		return;
	}
	fd = openat(d->fd, name, O_WRONLY | O_CLOEXEC);
	if (fd >= 0 && ftruncate(fd, (off_t)seg->used) == 0)
		seg->size = seg->used;
	if (fd >= 0)
		close(fd);
}

static struct segment *
old_segment(struct spool_dir *d, uint64_t first)
{
	struct segment *seg = xcalloc(1, sizeof(*seg));

	seg->first = first;
	seg->dir = d;
	seg->fd = -1;
	DL_APPEND(d->segments, seg);
	return seg;
}

static int
scan_dir(struct local_writer *w, struct spool_dir *d, struct ticket **table)
{
	struct spool_cursor c, before = {.fd = -1};
	struct segment *seg = NULL;
	struct spool_position pos;
	uint64_t *firsts;
	size_t count;

	if (spool_list(d->fd, &firsts, &count) < 0)
		return failed("list", d->path);
	d->next = 1;
	for (size_t i = 0; i < count; i++) {
		struct segment *last = seg;
		int err = spool_cursor_open(&c, d->fd, firsts[i]);

		seg = old_segment(d, firsts[i]);
		if (err) {
			errno = err;
			failed("read", d->path);
			seg->damaged = true;
			d->next = firsts[i] + 1;
			d->tail = 0;
			continue;
		}
		if (before.fd >= 0) {
			check_hole(w, last, &before, &c);
			spool_cursor_close(&before);
		}
		scan_segment(w, seg, &c, table);
		before = c;
	}
	if (before.fd >= 0) {
		if (before.segment == seg->first)
			finish_newest(d, seg, &before);
		spool_cursor_close(&before);
	}
	free(firsts);
	spool_position_load(d->fd, &pos);
	if (pos.next > d->next || pos.segment > d->next) {
		d->next = pos.next > pos.segment ? pos.next : pos.segment;
		d->tail = 0;
	}
	return 0;
}

static void
drop_spares(struct spool_dir *d)
{
	int fd = openat(d->fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	DIR *dir = fd < 0 ? NULL : fdopendir(fd);
	struct dirent *e;

	if (!dir)
		return;
	while ((e = readdir(dir)))
		if (strncmp(e->d_name, "spare.", 6) == 0)
			unlinkat(d->fd, e->d_name, 0);
	closedir(dir);
}

static int
dir_open(const char *root, unsigned int slot, struct spool_dir **d_r)
{
	struct spool_dir *d = xcalloc(1, sizeof(*d));
	int err = 0;

	d->slot = slot;
	d->fd = d->lock = -1;
	d->path = xasprintf("%s/%u", root, slot);
	if (mkdir(root, 0700) < 0 && errno != EEXIST)
		err = failed("mkdir", root);
	if (!err && mkdir(d->path, 0700) < 0 && errno != EEXIST)
		err = failed("mkdir", d->path);
	if (!err && (d->fd = open(d->path, O_RDONLY | O_DIRECTORY | O_CLOEXEC)) < 0)
		err = failed("open", d->path);
	if (!err && (d->lock = openat(d->fd, SPOOL_LOCK, O_RDWR | O_CREAT | O_CLOEXEC, 0600)) < 0)
		err = failed("lock", d->path);
	if (!err && flock(d->lock, LOCK_EX | LOCK_NB) < 0) {
		log_error("journal.locked",
		    "dir=%s; another palaverd works in this state directory, stop it first",
		    d->path);
		err = ERR_UNAVAILABLE;
	}
	if (err)
		dir_close(&d);
	else
		drop_spares(d);
	*d_r = d;
	return err;
}

static void
sync_path(const char *path)
{
	int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	if (fd < 0 || fsync(fd) < 0)
		log_warn("journal.sync_failed", "path=%s err=%s", log_quote(path),
		    log_quote(strerror(errno)));
	if (fd >= 0)
		close(fd);
}

static void
count_segments(struct local_writer *w)
{
	struct spool_dir *d;
	struct segment *seg;

	w->stats.segments = 0;
	DL_FOREACH2(w->dirs, d, next_dir)
	DL_FOREACH (d->segments, seg)
		w->stats.segments++;
}

int
recover_open(struct local_writer *w, const struct journal_opts *opts)
{
	struct spool_dir *d;
	struct ticket *t;
	int err = dir_open(opts->dir, opts->slot, &d);

	if (err)
		return err;
	DL_APPEND2(w->dirs, d, prev_dir, next_dir);
	err = scan_dir(w, d, &w->tickets);
	if (err)
		return err;
	recover_reclaim(w); /* on a full disk this may be the room that is needed */
	for (t = w->tickets; t; t = t->hh.next)
		writer_reserve(w, t, t->len);
	err = writer_rotate(w);
	sync_path(opts->dir);
	sync_path(d->path);
	count_segments(w);
	return err;
}

/* ---- adoption ---- */

static uint8_t *
read_payload(const struct ticket *t)
{
	uint8_t *data = xmalloc(t->len);
	char name[SPOOL_NAME_MAX];
	ssize_t n = -1;
	int fd;

	spool_name(name, t->seg->first);
	fd = openat(t->seg->dir->fd, name, O_RDONLY | O_CLOEXEC);
	if (fd >= 0) {
		n = pread(fd, data, t->len, (off_t)t->offset);
		close(fd);
	}
	if (n == (ssize_t)t->len)
		return data;
	log_error("journal.intake_unreadable", "file=%s/%s offset=%zu err=%s", t->seg->dir->path,
	    name, t->offset, log_quote(n < 0 ? strerror(errno) : "short"));
	free(data);
	return NULL;
}

struct event *
recover_read(const struct ticket *t)
{
	uint8_t *data = t->packed ? NULL : read_payload(t);
	struct event *ev = NULL;
	struct unpack u;

	if (t->packed || data) {
		unpack_init(&u, t->packed ? t->packed : data, t->len);
		ev = event_unpack(&u);
		if (!ev)
			log_error("journal.intake_unreadable", "dir=%s ticket=%llu",
			    t->seg->dir->path, (unsigned long long)t->id);
	}
	free(data);
	return ev;
}

/* A fresh intake in the own spool. */
static int
copy_ticket(struct local_writer *w, const struct ticket *old)
{
	struct ticket *t;
	int err;

	t = xcalloc(1, sizeof(*t));
	t->packed = read_payload(old);
	t->len = old->len;
	t->replay = true;
	t->id = w->dirs->next;
	err = t->packed ? writer_record(w, SPOOL_INTAKE, 0, t->packed, t->len, &t->seg, &t->offset)
			: ERR_DAMAGED;
	if (err) {
		free(t->packed);
		free(t);
		return err;
	}
	t->seg->tickets++;
	writer_reserve(w, t, t->len);
	HASH_ADD(hh, w->tickets, id, sizeof(t->id), t);
	return 0;
}

static int
sync_own(struct local_writer *w)
{
	struct segment *seg;

	DL_FOREACH (w->dirs->segments, seg)
		if (seg->fd >= 0 && spool_sync(seg->fd) < 0)
			return failed("sync", w->dirs->path);
	return fsync(w->dirs->fd) < 0 ? failed("sync", w->dirs->path) : 0;
}

/* A last segment in the adopted spool that says DONE for what was copied. */
static int
write_dones(struct spool_dir *d, const uint64_t *ids, size_t count)
{
	struct spool_head h = {.slot = d->slot, .first = d->next, .prev = d->tail};
	char name[SPOOL_NAME_MAX];
	struct segment *seg;
	struct buf b;
	int fd, err;

	buf_init(&b);
	spool_pack_head(&b, &h);
	for (size_t i = 0; i < count; i++)
		spool_pack_record(&b, SPOOL_DONE, d->next++, ids[i], NULL, 0);
	spool_name(name, h.first);
	fd = openat(d->fd, name, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	err = fd < 0 ? errno : spool_write(fd, b.data, b.len, 0);
	if (!err && (spool_sync(fd) < 0 || fsync(d->fd) < 0))
		err = errno;
	if (fd >= 0)
		close(fd);
	if (fd >= 0) {
		seg = old_segment(d, h.first);
		seg->size = seg->used = seg->synced = b.len;
		d->tail = h.first;
	}
	buf_fini(&b);
	errno = err;
	return err ? failed("adopt", d->path) : 0;
}

static void
adopt_tickets(struct local_writer *w, struct spool_dir *d, struct ticket *table)
{
	uint64_t *ids = xcalloc(HASH_COUNT(table), sizeof(*ids));
	struct ticket *t, *tmp;
	size_t count = 0;
	int err = 0;

	for (t = table; t && !err; t = t->hh.next) {
		err = copy_ticket(w, t);
		if (!err)
			ids[count++] = t->id;
	}
	if (err)
		log_error("journal.adopt_failed", "dir=%s left=%zu err=%s; restart tries again",
		    d->path, (size_t)HASH_COUNT(table) - count, error_code(err));
	if (count && sync_own(w) == 0 && write_dones(d, ids, count) == 0) {
		for (size_t i = 0; i < count; i++)
			drop_ticket(&table, ids[i]);
		log_info("journal.adopted", "dir=%s intakes=%zu", d->path, count);
	}
	HASH_ITER (hh, table, t, tmp) { /* its segment keeps the count and so is kept */
		HASH_DEL(table, t);
		free(t);
	}
	free(ids);
}

static void
adopt(struct local_writer *w, const char *root, unsigned int slot)
{
	struct ticket *table = NULL;
	struct spool_dir *d;

	if (dir_open(root, slot, &d) < 0)
		return; /* logged; perhaps its old writer still drains */
	if (scan_dir(w, d, &table) < 0) {
		dir_close(&d);
		return;
	}
	DL_APPEND2(w->dirs, d, prev_dir, next_dir);
	if (table)
		adopt_tickets(w, d, table);
}

void
recover_adopt(struct local_writer *w, const struct journal_opts *opts)
{
	DIR *dir = opts->slots ? opendir(opts->dir) : NULL;
	struct dirent *e;
	unsigned int slot;

	if (!dir)
		return;
	while ((e = readdir(dir)))
		if (spool_slot_name(e->d_name, &slot) && slot >= opts->slots &&
		    slot != opts->slot && slot % opts->slots == opts->slot)
			adopt(w, opts->dir, slot);
	closedir(dir);
	count_segments(w);
}

/* ---- reclaim ---- */

static bool
passed(const struct segment *seg, const struct spool_position *pos)
{
	if (!seg->last_event || seg->first < pos->segment)
		return true;
	return seg->first == pos->segment && seg->last_event <= pos->offset;
}

static bool
remove_segment(struct spool_dir *d, struct segment *seg)
{
	char name[SPOOL_NAME_MAX], kept[SPOOL_NAME_MAX + 8];
	int err;

	spool_name(name, seg->first);
	snprintf(kept, sizeof(kept), "%s.damaged", name);
	err = seg->damaged ? renameat(d->fd, name, d->fd, kept) : unlinkat(d->fd, name, 0);
	if (err == 0 || errno == ENOENT)
		return true;
	log_warn("journal.reclaim_failed", "file=%s/%s err=%s", d->path, name,
	    log_quote(strerror(errno)));
	return false;
}

void
recover_reclaim(struct local_writer *w)
{
	struct spool_position pos;
	struct spool_dir *d;
	struct segment *seg;

	DL_FOREACH2(w->dirs, d, next_dir)
	{
		spool_position_load(d->fd, &pos);
		while ((seg = d->segments) && seg->next && seg->fd < 0 && !seg->tickets &&
		       passed(seg, &pos) && remove_segment(d, seg)) {
			DL_DELETE(d->segments, seg);
			recover_segment_free(&seg);
		}
	}
	count_segments(w);
}
