/* SPDX-License-Identifier: ISC */
/*
 * local_reader: walks the spools of all slots and returns their numbered events.
 * Archiver, loop thread.  Format: spool.h.
 *
 * Invariants:
 * - a segment counts as sealed only if a later one was there before its end was
 *   read: the writer never writes to a segment after it began the next;
 * - no file stays open between calls, so what a writer deletes or renames is gone;
 * - what is not a whole record at the end of the newest segment is not there yet,
 *   until good records were seen behind it for a while: then it is damage.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/inotify.h>
#include <sys/stat.h>
#include <unistd.h>
#include <utlist.h>

#include "journal/journal.h"
#include "journal/spool.h"
#include "lib/log.h"
#include "lib/loop.h"
#include "model/error.h"

#define WAKE_DELAY 0.020 /* s */
#define WAKE_POLL  5.0   /* s; heals a lost notification */
#define STALL_MS   1000
#define WATCH_DIR  (IN_CREATE | IN_MOVED_TO)
#define WATCH_SLOT (IN_MODIFY | IN_CREATE | IN_MOVED_TO)

struct slot {
	unsigned int number;
	char *path;
	int fd;
	struct spool_position pos; /* segment 0: at the beginning of the first there is */
	uint64_t committed_segment, committed_offset;
	uint64_t stall_next; /* number of the record that did not become whole; 0: none */
	int64_t stall_since;
	struct slot *prev, *next;
};

struct local_reader {
	struct journal_reader base;
	char *dir;
	struct slot *slots, *turn; /* turn: who is asked first next time */
	int inotify, dir_watch;
	bool rescan;
	ev_io io;
	ev_timer soon, poll, stall;
	void (*wake)(void *arg);
	void *arg;
	struct journal_reader_stats stats;
};

/* ---- slots ---- */

static void
slot_free(struct slot **sp)
{
	struct slot *s = *sp;

	*sp = NULL;
	close(s->fd);
	free(s->path);
	free(s);
}

static void
slot_add(struct local_reader *r, unsigned int number)
{
	struct slot *s;

	DL_FOREACH (r->slots, s)
		if (s->number == number)
			return;
	s = xcalloc(1, sizeof(*s));
	s->number = number;
	s->path = xasprintf("%s/%u", r->dir, number);
	s->fd = open(s->path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (s->fd < 0 || inotify_add_watch(r->inotify, s->path, WATCH_SLOT) < 0) {
		log_error("journal.watch_failed", "dir=%s err=%s", log_quote(s->path),
		    log_quote(strerror(errno)));
		if (s->fd < 0) {
			free(s->path);
			free(s);
			r->rescan = true;
			return;
		}
	}
	spool_position_load(s->fd, &s->pos);
	s->committed_segment = s->pos.segment;
	s->committed_offset = s->pos.offset;
	DL_APPEND(r->slots, s);
}

static int
find_slots(struct local_reader *r)
{
	DIR *d = opendir(r->dir);
	struct dirent *e;
	unsigned int number;

	if (!d)
		return -1;
	r->rescan = false;
	while ((e = readdir(d)))
		if (spool_slot_name(e->d_name, &number))
			slot_add(r, number);
	closedir(d);
	return 0;
}

/* ---- reading ---- */

static void
note_damage(
    struct local_reader *r, const struct slot *s, uint64_t segment, const struct spool_damage *d)
{
	if (!d->bytes && !d->records)
		return;
	r->stats.damaged_regions++;
	r->stats.damaged_records += d->records;
	spool_log_damage(s->path, segment, d);
}

/* The first segment after `segment`; 0: none.  < 0: the directory cannot be read. */
static int
successor(const struct slot *s, uint64_t segment, uint64_t *next_r)
{
	uint64_t *firsts;
	size_t count;

	*next_r = 0;
	if (spool_list(s->fd, &firsts, &count) < 0)
		return -1;
	for (size_t i = 0; i < count && !*next_r; i++)
		if (firsts[i] > segment)
			*next_r = firsts[i];
	free(firsts);
	return 0;
}

/* c: the segment that ended, or NULL if it is gone. */
static void
go_to(struct local_reader *r, struct slot *s, uint64_t next, const struct spool_cursor *c)
{
	struct spool_damage d;
	struct spool_cursor n;

	if (c && spool_cursor_open(&n, s->fd, next) == 0) {
		d = (struct spool_damage){c->offset, 0, spool_tail_lost(c, &n)};
		if (d.records)
			d.bytes = c->size - c->offset;
		note_damage(r, s, c->segment, &d);
		spool_cursor_close(&n);
	}
	s->pos.segment = next;
	s->pos.offset = SPOOL_SEG_HEADER;
	s->pos.next = next;
	s->stall_next = 0;
}

static struct event *
unpack_record(struct local_reader *r, const struct slot *s, const struct spool_record *rec)
{
	struct spool_damage d = {rec->offset, rec->end - rec->offset, 1};
	struct event *ev;
	struct unpack u;

	unpack_init(&u, rec->data, rec->len);
	ev = event_unpack(&u);
	if (!ev)
		note_damage(r, s, s->pos.segment, &d);
	return ev;
}

/*
 * The newest segment does not go on with a whole record.  True: that has lasted,
 * so if there are good records behind it, it is damage.
 */
static bool
stalled(struct local_reader *r, struct slot *s, const struct spool_cursor *c)
{
	uint8_t b[SPOOL_REC_HEADER] = {0};
	static const uint8_t none[SPOOL_REC_HEADER];

	if (pread(c->fd, b, sizeof(b), (off_t)c->offset) <= 0 || !memcmp(b, none, sizeof(b))) {
		/* Zeros are the normal end; lost zeros in a living segment wait for its successor.
		 */
		s->stall_next = 0;
		return false;
	}
	if (s->stall_next == c->expect)
		return clock_mono_ms() - s->stall_since >= STALL_MS;
	s->stall_next = c->expect;
	s->stall_since = clock_mono_ms();
	ev_timer_stop(loop_ev(), &r->stall);
	ev_timer_set(&r->stall, (STALL_MS + 100) / 1000.0, 0);
	ev_timer_start(loop_ev(), &r->stall);
	return false;
}

/* Reads on in the open segment.  The state it ends in; SPOOL_RECORD: max is reached. */
static enum spool_found
read_segment(struct local_reader *r, struct slot *s, struct spool_cursor *c, bool sealed,
    struct event **events, size_t max, size_t *count)
{
	enum spool_found found = SPOOL_RECORD;
	struct spool_record rec;
	bool skip = sealed;

	while (*count < max) {
		found = spool_next(c, skip, &rec);
		if (found == SPOOL_WAIT && !skip && stalled(r, s, c)) {
			skip = true;
			continue;
		}
		if (found != SPOOL_RECORD)
			break;
		note_damage(r, s, c->segment, &c->damage);
		if (rec.type == SPOOL_EVENT && (events[*count] = unpack_record(r, s, &rec)))
			(*count)++;
		skip = sealed;
	}
	s->pos.offset = c->offset;
	s->pos.next = c->expect;
	return found == SPOOL_END && !sealed ? SPOOL_WAIT : found;
}

static int
read_slot(struct local_reader *r, struct slot *s, struct event **events, size_t max, size_t *count)
{
	struct spool_cursor c;
	enum spool_found found;
	uint64_t next;
	int err;

	while (*count < max) {
		if (successor(s, s->pos.segment, &next) < 0)
			return errno;
		err = s->pos.segment ? spool_cursor_open(&c, s->fd, s->pos.segment) : ENOENT;
		if (err == ENOENT && !next)
			return 0;
		if (err == ENOENT) {
			go_to(r, s, next, NULL);
			continue;
		}
		if (err)
			return err;
		if (s->pos.offset > SPOOL_SEG_HEADER) {
			c.offset = s->pos.offset;
			c.expect = s->pos.next;
		}
		found = read_segment(r, s, &c, next != 0, events, max, count);
		if (found == SPOOL_END)
			go_to(r, s, next, &c);
		spool_cursor_close(&c);
		if (found == SPOOL_WAIT)
			return 0;
	}
	return 0;
}

static int
local_read(struct journal_reader *base, struct event **events, size_t max, size_t *count_r)
{
	struct local_reader *r = (struct local_reader *)base;
	struct slot *s, *first;
	int err, bad = 0;

	*count_r = 0;
	if (r->rescan && find_slots(r) < 0)
		log_warn("journal.list_failed", "dir=%s err=%s", log_quote(r->dir),
		    log_quote(strerror(errno)));
	first = s = r->turn ? r->turn : r->slots;
	while (s && *count_r < max) {
		err = read_slot(r, s, events, max, count_r);
		if (err) {
			log_error("journal.read_failed", "dir=%s err=%s", log_quote(s->path),
			    log_quote(strerror(err)));
			bad = ERR_UNAVAILABLE;
		}
		s = s->next ? s->next : r->slots;
		if (s == first)
			break;
	}
	r->turn = s;
	r->stats.events += *count_r;
	return *count_r ? 0 : bad;
}

static int
local_commit(struct journal_reader *base)
{
	struct local_reader *r = (struct local_reader *)base;
	struct slot *s;
	int err, bad = 0;

	DL_FOREACH (r->slots, s) {
		if (s->pos.segment == s->committed_segment && s->pos.offset == s->committed_offset)
			continue;
		err = spool_position_store(s->fd, &s->pos);
		if (err) {
			log_error("journal.commit_failed", "dir=%s err=%s", log_quote(s->path),
			    log_quote(strerror(err)));
			bad = err == ENOSPC || err == EDQUOT ? ERR_STORAGE_FULL : ERR_UNAVAILABLE;
			continue;
		}
		s->committed_segment = s->pos.segment;
		s->committed_offset = s->pos.offset;
	}
	r->stats.commits++;
	return bad;
}

/* ---- waking ---- */

static void
on_timer(struct ev_loop *loop, ev_timer *t, int revents)
{
	struct local_reader *r = t->data;

	r->wake(r->arg);
}

static void
wake_soon(struct local_reader *r)
{
	if (ev_is_active(&r->soon) && ev_timer_remaining(loop_ev(), &r->soon) <= WAKE_DELAY)
		return;
	ev_timer_stop(loop_ev(), &r->soon);
	ev_timer_set(&r->soon, WAKE_DELAY, 0);
	ev_timer_start(loop_ev(), &r->soon);
}

/* Not the files that the reader itself writes, nor what is no segment yet. */
static bool
is_news(struct local_reader *r, const struct inotify_event *e)
{
	size_t len = e->len ? strlen(e->name) : 0;

	if (e->mask & IN_Q_OVERFLOW || e->wd == r->dir_watch) {
		r->rescan = true;
		return true;
	}
	return len > 4 && strcmp(e->name + len - 4, ".seg") == 0;
}

static void
on_inotify(struct ev_loop *loop, ev_io *io, int revents)
{
	struct local_reader *r = io->data;
	char raw[8192] __attribute__((aligned(__alignof__(struct inotify_event))));
	bool news = false;
	ssize_t n;

	while ((n = read(r->inotify, raw, sizeof(raw))) > 0)
		for (char *p = raw; p < raw + n;) {
			const struct inotify_event *e = (const struct inotify_event *)p;

			news |= is_news(r, e);
			p += sizeof(*e) + e->len;
		}
	if (news)
		wake_soon(r);
}

/* ---- life ---- */

static void
local_close(struct journal_reader *base)
{
	struct local_reader *r = (struct local_reader *)base;
	struct slot *s, *tmp;

	ev_io_stop(loop_ev(), &r->io);
	ev_timer_stop(loop_ev(), &r->soon);
	ev_timer_stop(loop_ev(), &r->poll);
	ev_timer_stop(loop_ev(), &r->stall);
	DL_FOREACH_SAFE (r->slots, s, tmp)
		slot_free(&s);
	if (r->inotify >= 0)
		close(r->inotify);
	free(r->dir);
	free(r);
}

static void
local_stats(const struct journal_reader *base, struct journal_reader_stats *st)
{
	*st = ((const struct local_reader *)base)->stats;
}

static const struct journal_reader_ops local_ops = {
    "local", local_close, local_read, local_commit, local_stats};

int
journal_local_reader_open(const struct journal_opts *opts, void (*wake)(void *arg), void *arg,
    struct journal_reader **r_r)
{
	struct local_reader *r = xcalloc(1, sizeof(*r));

	*r_r = NULL;
	r->base.ops = &local_ops;
	r->dir = xstrdup(opts->dir);
	r->wake = wake;
	r->arg = arg;
	r->inotify = inotify_init1(IN_NONBLOCK | IN_CLOEXEC);
	ev_io_init(&r->io, on_inotify, r->inotify, EV_READ);
	ev_timer_init(&r->soon, on_timer, WAKE_DELAY, 0);
	ev_timer_init(&r->poll, on_timer, WAKE_POLL, WAKE_POLL);
	ev_timer_init(&r->stall, on_timer, 0, 0);
	r->io.data = r->soon.data = r->poll.data = r->stall.data = r;
	if (mkdir(r->dir, 0700) < 0 && errno != EEXIST)
		goto fail;
	if (r->inotify < 0)
		goto fail;
	r->dir_watch = inotify_add_watch(r->inotify, r->dir, WATCH_DIR);
	if (r->dir_watch < 0 || find_slots(r) < 0)
		goto fail;
	ev_io_start(loop_ev(), &r->io);
	ev_timer_start(loop_ev(), &r->soon);
	ev_timer_start(loop_ev(), &r->poll);
	*r_r = &r->base;
	return 0;

fail:
	log_error(
	    "journal.open_failed", "dir=%s err=%s", log_quote(r->dir), log_quote(strerror(errno)));
	local_close(&r->base);
	return ERR_UNAVAILABLE;
}
