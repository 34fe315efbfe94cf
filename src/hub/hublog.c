/* SPDX-License-Identifier: ISC */
/*
 * hublog: the hub's memory on disk.  Hub, loop thread.
 *
 * File: a header of 64 bytes, then records.
 *	header   8 bytes "PLVHUB1\n", 36 bytes boot id, zeros, u32 crc32c of bytes 0..59
 *	record   u32 length of the payload, u32 crc32c of type and payload, u8 type, payload
 *	type 1   EVENT     event_pack() of a numbered event
 *	type 2   ARCHIVED  str conversation, u64 seq
 *	type 3   COUNTER   str conversation, u64 head, u64 floor
 *	type 4   PRESENCE  str user, u8 what others know, i64 wall ms when the last client
 *	                   went (0: one is there); the last record of a user counts
 *
 * Only a new file is synced, records are not: the file need not survive a power loss,
 * because the boot id tells that there was one; then what is durable is learned from the
 * spools (relearn.c), and every counter is lifted beyond what was given.  A torn
 * record at the end is what kill -9 leaves; it was never published, and is cut off.
 * Anything else that does not read is damage, and means: lift.
 *
 * Compaction writes a new file (counters, live events, archived marks) and renames it.
 * It blocks the loop for as long as that takes: about 10 ms for 10,000 live events, and
 * it comes at most once for each compact_min bytes.
 */
#include "hub/hublog.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "hub/relearn.h"
#include "lib/log.h"
#include "lib/loop.h"
#include "model/error.h"

#define MAGIC       "PLVHUB1\n"
#define MAGIC_LEN   8
#define BOOT_ID_LEN 36
#define HEADER      64
#define REC_HEADER  9
#define REC_MAX     (EVENT_DATA_MAX + 4096)
/* More than can have been numbered and lost; so the clock may even have gone back. */
#define LIFT_STEP (1 << 21)

enum rec_type { REC_EVENT = 1, REC_ARCHIVED = 2, REC_COUNTER = 3, REC_PRESENCE = 4 };

struct hublog {
	int fd;
	char *path;
	char boot_id[BOOT_ID_LEN + 1];
	size_t compact_min;
	size_t size; /* good bytes in the file */
	int64_t written_ms;
	struct buf batch; /* to be written */
};

static int
write_error(const char *what, const char *path)
{
	int err = errno == ENOSPC || errno == EDQUOT ? ERR_STORAGE_FULL : ERR_UNAVAILABLE;

	log_error(what, "file=%s err=%s", path, strerror(errno));
	return err;
}

/* ---- records ---- */

static void
put_record(struct buf *b, enum rec_type type, const struct buf *payload)
{
	uint8_t t = (uint8_t)type;

	pack_u32(b, (uint32_t)payload->len);
	pack_u32(b, crc32c(crc32c(0, &t, 1), payload->data, payload->len));
	pack_u8(b, t);
	buf_append(b, payload->data, payload->len);
}

static void
put_event(struct buf *b, const struct event *ev)
{
	struct buf p;

	buf_init(&p);
	event_pack(&p, ev);
	put_record(b, REC_EVENT, &p);
	buf_fini(&p);
}

static void
put_archived(struct buf *b, const char *conversation, uint64_t seq)
{
	struct buf p;

	buf_init(&p);
	pack_str(&p, conversation);
	pack_u64(&p, seq);
	put_record(b, REC_ARCHIVED, &p);
	buf_fini(&p);
}

static void
put_counter(struct buf *b, const struct window_conv *c, uint64_t head)
{
	struct buf p;

	buf_init(&p);
	pack_str(&p, c->id);
	pack_u64(&p, head);
	pack_u64(&p, c->floor);
	put_record(b, REC_COUNTER, &p);
	buf_fini(&p);
}

static void
put_presence(struct buf *b, const struct roster_user *u)
{
	struct buf p;

	buf_init(&p);
	pack_str(&p, u->id);
	pack_u8(&p, (uint8_t)u->told);
	pack_i64(&p, u->gone_ms);
	put_record(b, REC_PRESENCE, &p);
	buf_fini(&p);
}

static void
put_header(struct buf *b, const char *boot_id)
{
	uint8_t h[HEADER - 4] = MAGIC;

	memcpy(h + MAGIC_LEN, boot_id, BOOT_ID_LEN);
	buf_append(b, h, sizeof(h));
	pack_u32(b, crc32c(0, h, sizeof(h)));
}

/* ---- loading ---- */

static bool
load_presence(struct roster *r, const void *data, size_t len)
{
	char user[ID_MAX];
	struct unpack u;
	int64_t gone_ms;
	uint8_t told;

	unpack_init(&u, data, len);
	unpack_strn(&u, user, sizeof(user));
	told = unpack_u8(&u);
	gone_ms = unpack_i64(&u);
	if (!unpack_end(&u) || told > PRESENCE_ONLINE)
		return false;
	roster_load(r, user, told, gone_ms);
	return true;
}

static bool
load_record(struct window *w, struct roster *r, enum rec_type type, const void *data, size_t len,
    int64_t now)
{
	char conversation[ID_MAX];
	uint64_t head, floor;
	struct event *ev;
	struct unpack u;

	if (type == REC_PRESENCE)
		return load_presence(r, data, len);
	unpack_init(&u, data, len);
	if (type == REC_EVENT) {
		ev = event_unpack(&u);
		if (ev && unpack_end(&u))
			window_load_event(w, ev, now);
		event_unref(&ev);
		return unpack_end(&u);
	}
	unpack_strn(&u, conversation, sizeof(conversation));
	head = unpack_u64(&u);
	if (type == REC_ARCHIVED && unpack_end(&u)) {
		window_archived(w, conversation, head, now);
		return true;
	}
	floor = unpack_u64(&u);
	if (type != REC_COUNTER || !unpack_end(&u))
		return false;
	window_load_counter(w, conversation, head, floor);
	return true;
}

/* The number of good bytes; *damaged_r: something bad, and not just a torn end. */
static size_t
load_records(struct window *w, struct roster *r, const uint8_t *data, size_t size, bool *damaged_r)
{
	int64_t now = clock_mono_ms();
	size_t at = HEADER;

	*damaged_r = false;
	while (size - at >= REC_HEADER) {
		struct unpack u;
		uint32_t len, crc;
		uint8_t type;

		unpack_init(&u, data + at, REC_HEADER);
		len = unpack_u32(&u);
		crc = unpack_u32(&u);
		type = unpack_u8(&u);
		if (len > size - at - REC_HEADER) {
			*damaged_r = len > REC_MAX;
			return at;
		}
		if (crc32c(0, data + at + REC_HEADER - 1, len + 1) != crc ||
		    !load_record(w, r, type, data + at + REC_HEADER, len, now)) {
			*damaged_r = true;
			return at;
		}
		at += REC_HEADER + len;
	}
	return at;
}

static bool
header_valid(const struct buf *b)
{
	struct unpack u;

	if (b->len < HEADER || memcmp(b->data, MAGIC, MAGIC_LEN) != 0)
		return false;
	unpack_init(&u, b->data + HEADER - 4, 4);
	return unpack_u32(&u) == crc32c(0, b->data, HEADER - 4);
}

static int
read_file(const char *path, struct buf *b)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	ssize_t n;

	if (fd < 0)
		return -1;
	while ((n = read(fd, buf_reserve(b, 1 << 20), 1 << 20)) > 0)
		b->len += (size_t)n;
	close(fd);
	return n < 0 ? -1 : 0;
}

/* true: the numbers in the file can be trusted to be the last ones. */
static bool
load(struct hublog *log, struct window *w, struct roster *r)
{
	bool damaged = true, same_boot = false;
	size_t good = 0;
	struct buf b;

	buf_init(&b);
	if (read_file(log->path, &b) < 0) {
		log_info("hub.no_log", "file=%s err=%s", log->path, strerror(errno));
	} else if (!header_valid(&b)) {
		log_error("hub.log_damaged", "file=%s bytes=%zu offset=0", log->path, b.len);
	} else {
		same_boot = memcmp(b.data + MAGIC_LEN, log->boot_id, BOOT_ID_LEN) == 0;
		good = load_records(w, r, b.data, b.len, &damaged);
		if (damaged)
			log_error("hub.log_damaged", "file=%s bytes=%zu offset=%zu", log->path,
			    b.len, good);
		else if (good < b.len)
			log_info("hub.log_torn", "file=%s cut=%zu", log->path, b.len - good);
	}
	buf_fini(&b);
	return !damaged && same_boot;
}

/* ---- writing ---- */

static int
write_all(int fd, const uint8_t *data, size_t len)
{
	while (len) {
		ssize_t n = write(fd, data, len);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -1;
		data += n;
		len -= (size_t)n;
	}
	return 0;
}

/* The whole window as a new file in the place of the old one. */
static int
rewrite(struct hublog *log, const struct window *w, const struct roster *r)
{
	char *tmp = xasprintf("%s.new", log->path);
	struct window_conv *c, *ctmp;
	struct roster_user *u, *utmp;
	struct window_entry *e;
	struct buf b;
	int err = 0, fd;

	buf_init(&b);
	put_header(&b, log->boot_id);
	HASH_ITER (hh, w->convs, c, ctmp) {
		put_counter(&b, c, c->floor); /* the events count on from here */
		for (e = c->entries; e; e = e->next) {
			put_event(&b, e->ev);
			if (e->archived)
				put_archived(&b, c->id, e->ev->seq);
		}
		put_counter(&b, c, c->head); /* may have been lifted above them */
	}
	HASH_ITER (hh, r->users, u, utmp)
		if (u->told != PRESENCE_OFFLINE)
			put_presence(&b, u);
	fd = open(tmp, O_RDWR | O_CREAT | O_TRUNC | O_APPEND | O_CLOEXEC, 0600);
	if (fd < 0 || write_all(fd, b.data, b.len) < 0 || rename(tmp, log->path) < 0) {
		err = write_error("hub.log_rewrite_failed", tmp);
		if (fd >= 0)
			close(fd);
		unlink(tmp);
	} else {
		if (log->fd >= 0)
			close(log->fd);
		log->fd = fd;
		log->size = b.len;
	}
	buf_fini(&b);
	free(tmp);
	return err;
}

void
hublog_event(struct hublog *log, const struct event *ev)
{
	put_event(&log->batch, ev);
}

void
hublog_archived(struct hublog *log, const char *conversation, uint64_t seq)
{
	put_archived(&log->batch, conversation, seq);
}

void
hublog_presence(struct hublog *log, const struct roster_user *u)
{
	put_presence(&log->batch, u);
}

int
hublog_write(struct hublog *log)
{
	int err = 0;

	if (log->batch.len && write_all(log->fd, log->batch.data, log->batch.len) < 0) {
		err = write_error("hub.log_write_failed", log->path);
		if (ftruncate(log->fd, (off_t)log->size) < 0)
			fatal(71, "hub.log_torn", "file=%s err=%s; a record may be half written",
			    log->path, strerror(errno));
	} else {
		log->size += log->batch.len;
	}
	buf_clear(&log->batch);
	return err;
}

int
hublog_compact(struct hublog *log, const struct window *w, const struct roster *r)
{
	size_t live = w->bytes + (HASH_COUNT(w->convs) + HASH_COUNT(r->users)) * 64;

	if (log->size < log->compact_min || log->size < live * 2)
		return 0;
	log_info("hub.log_compact", "bytes=%zu live=%zu", log->size, live);
	return rewrite(log, w, r);
}

/* ---- life ---- */

/* The counters as they are now outlive a loss of power; if not, they are lifted all the same. */
static void
sync_file(const struct hublog *log)
{
	if (fdatasync(log->fd) < 0)
		log_warn("hub.sync_failed", "file=%s err=%s", log->path, strerror(errno));
}

static void
read_boot_id(struct hublog *log, const char *path)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);

	memset(log->boot_id, '?', BOOT_ID_LEN); /* never equal to a real one */
	if (fd < 0 || read(fd, log->boot_id, BOOT_ID_LEN) != BOOT_ID_LEN)
		log_warn("hub.no_boot_id", "file=%s; numbers will jump at each start", path);
	if (fd >= 0)
		close(fd);
}

int
hublog_open(const struct hublog_opts *opts, struct window *w, struct roster *r,
    struct hublog **log_r, bool *lift_r)
{
	struct hublog *log = xcalloc(1, sizeof(*log));
	struct stat st;
	int err;

	log->fd = -1;
	log->path = xstrdup(opts->path);
	log->compact_min = opts->compact_min;
	log->written_ms = stat(log->path, &st) == 0 ? (int64_t)st.st_mtime * 1000 : 0;
	read_boot_id(log, opts->boot_id_path);
	*lift_r = !load(log, w, r) || log->boot_id[0] == '?';
	if (*lift_r) {
		if (opts->spool)
			hub_relearn(opts->spool, w);
		window_lift(w, (uint64_t)clock_wall_ms(), LIFT_STEP);
	}
	err = rewrite(log, w, r);
	if (!err)
		sync_file(log);
	if (err)
		hublog_close(&log);
	*log_r = log;
	return err;
}

int64_t
hublog_written_ms(const struct hublog *log)
{
	return log->written_ms;
}

void
hublog_close(struct hublog **lp)
{
	struct hublog *log = *lp;

	*lp = NULL;
	if (!log)
		return;
	if (log->fd >= 0)
		close(log->fd);
	buf_fini(&log->batch);
	free(log->path);
	free(log);
}
