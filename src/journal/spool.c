/* SPDX-License-Identifier: ISC */
/*
 * spool: segment and position files of the local journal, format in spool.h.
 * Worker and archiver, loop thread; spool_sync also on the writer's job thread.
 *
 * Invariants: nothing is believed without its CRC; bytes that cannot be read
 * count as zeros, which is damage and not the end of the journal.
 */
#include "journal/spool.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "lib/log.h"
#include "lib/pack.h"

#define VERSION         1
#define WINDOW          (256U * 1024)
#define POSITION_SIZE   64
#define POSITION_STRIDE 512 /* a torn sector takes one of the two with it */

static const uint8_t segment_magic[8] = {0xff, 'P', 'L', 'V', 'S', 'E', 'G', 0xfe};
static const uint8_t position_magic[8] = {0xff, 'P', 'L', 'V', 'P', 'O', 'S', 0xfe};
static const uint8_t record_magic[4] = {0xfe, 'P', 'R', 0xff};
static const uint8_t zeros[SPOOL_SEG_HEADER];

int (*spool_sync)(int fd) = fdatasync;

/* ---- format ---- */

size_t
spool_record_size(size_t payload)
{
	return (SPOOL_REC_HEADER + payload + 7) & ~(size_t)7;
}

/* Fills up to 60 bytes from start and adds the CRC of these. */
static void
seal_64(struct buf *b, size_t start)
{
	buf_append(b, zeros, start + 60 - b->len);
	pack_u32(b, crc32c(0, b->data + start, 60));
}

static bool
sealed_64(const uint8_t *p, const uint8_t magic[8])
{
	struct unpack u;

	unpack_init(&u, p + 60, 4);
	return memcmp(p, magic, 8) == 0 && unpack_u32(&u) == crc32c(0, p, 60);
}

void
spool_pack_head(struct buf *b, const struct spool_head *h)
{
	size_t start = b->len;

	buf_append(b, segment_magic, sizeof(segment_magic));
	pack_u32(b, VERSION);
	pack_u32(b, h->slot);
	pack_u64(b, h->first);
	pack_u64(b, h->prev);
	seal_64(b, start);
}

static bool
parse_head(const uint8_t *p, struct spool_head *h)
{
	struct unpack u;

	if (!sealed_64(p, segment_magic))
		return false;
	unpack_init(&u, p + 8, SPOOL_SEG_HEADER - 8);
	if (unpack_u32(&u) != VERSION)
		return false;
	h->slot = unpack_u32(&u);
	h->first = unpack_u64(&u);
	h->prev = unpack_u64(&u);
	return true;
}

static uint32_t
record_crc(const uint8_t *p, size_t len)
{
	uint32_t crc = crc32c(0, p, 12);

	return crc32c(crc, p + 16, SPOOL_REC_HEADER - 16 + len);
}

void
spool_pack_record(struct buf *b, enum spool_type type, uint64_t number, uint64_t ticket,
    const void *data, size_t len)
{
	size_t start = b->len, size = spool_record_size(len);
	uint32_t crc;

	buf_append(b, record_magic, sizeof(record_magic));
	pack_u32(b, (uint32_t)len);
	pack_u8(b, (uint8_t)type);
	buf_append(b, zeros, 7);
	pack_u64(b, number);
	pack_u64(b, ticket);
	buf_append(b, data, len);
	buf_append(b, zeros, start + size - b->len);
	crc = record_crc(b->data + start, len);
	for (int i = 0; i < 4; i++)
		b->data[start + 12 + (size_t)i] = (uint8_t)(crc >> (8 * i));
}

/* ---- names and files ---- */

void
spool_name(char dst[SPOOL_NAME_MAX], uint64_t first)
{
	snprintf(dst, SPOOL_NAME_MAX, "%016llx.seg", (unsigned long long)first);
}

static bool
parse_name(const char *name, uint64_t *first_r)
{
	char again[SPOOL_NAME_MAX];
	unsigned long long first;

	if (sscanf(name, "%16llx.seg", &first) != 1 || first == 0)
		return false;
	spool_name(again, first);
	*first_r = first;
	return strcmp(again, name) == 0;
}

bool
spool_slot_name(const char *name, unsigned int *slot_r)
{
	char again[16];
	unsigned int slot;

	if (sscanf(name, "%9u", &slot) != 1)
		return false;
	snprintf(again, sizeof(again), "%u", slot);
	*slot_r = slot;
	return strcmp(again, name) == 0;
}

static int
compare_u64(const void *a, const void *b)
{
	uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

	return x < y ? -1 : x > y;
}

int
spool_list(int dir, uint64_t **firsts_r, size_t *count_r)
{
	int fd = openat(dir, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	DIR *d = fd < 0 ? NULL : fdopendir(fd);
	uint64_t *firsts = NULL, first;
	size_t count = 0, cap = 0;
	struct dirent *e;

	if (!d) {
		if (fd >= 0)
			close(fd);
		return -1;
	}
	while ((e = readdir(d))) {
		if (!parse_name(e->d_name, &first))
			continue;
		if (count == cap) {
			cap = cap ? 2 * cap : 16;
			firsts = xrealloc(firsts, cap * sizeof(*firsts));
		}
		firsts[count++] = first;
	}
	closedir(d);
	if (count)
		qsort(firsts, count, sizeof(*firsts), compare_u64);
	*firsts_r = firsts;
	*count_r = count;
	return 0;
}

int
spool_create(int dir, const char *name, size_t size)
{
	int fd = openat(dir, name, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600), err;

	if (fd < 0)
		return -1;
	/* Where the file system cannot, glibc writes a byte into each block instead. */
	do
		err = posix_fallocate(fd, 0, (off_t)size);
	while (err == EINTR);
	if (!err)
		return fd;
	close(fd);
	unlinkat(dir, name, 0);
	errno = err;
	return -1;
}

int
spool_write(int fd, const void *data, size_t len, size_t offset)
{
	const uint8_t *p = data;

	while (len) {
		ssize_t n = pwrite(fd, p, len, (off_t)offset);

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return n < 0 ? errno : ENOSPC;
		p += n;
		offset += (size_t)n;
		len -= (size_t)n;
	}
	return 0;
}

/* ---- position ---- */

static void
position_parse(const uint8_t *p, struct spool_position *best)
{
	struct spool_position one;
	struct unpack u;

	if (!sealed_64(p, position_magic))
		return;
	unpack_init(&u, p + 8, POSITION_SIZE - 8);
	one.generation = unpack_u64(&u);
	one.segment = unpack_u64(&u);
	one.offset = unpack_u64(&u);
	one.next = unpack_u64(&u);
	if (one.generation > best->generation)
		*best = one;
}

void
spool_position_load(int dir, struct spool_position *p)
{
	uint8_t raw[POSITION_STRIDE + POSITION_SIZE] = {0};
	int fd = openat(dir, SPOOL_POSITION, O_RDONLY | O_CLOEXEC);

	memset(p, 0, sizeof(*p));
	if (fd < 0)
		return;
	if (pread(fd, raw, sizeof(raw), 0) > 0) {
		position_parse(raw, p);
		position_parse(raw + POSITION_STRIDE, p);
	}
	close(fd);
}

int
spool_position_store(int dir, struct spool_position *p)
{
	int fd = openat(dir, SPOOL_POSITION, O_WRONLY | O_CREAT | O_CLOEXEC, 0600), err;
	uint64_t generation = p->generation + 1;
	struct buf b;

	if (fd < 0)
		return errno;
	buf_init(&b);
	buf_append(&b, position_magic, sizeof(position_magic));
	pack_u64(&b, generation);
	pack_u64(&b, p->segment);
	pack_u64(&b, p->offset);
	pack_u64(&b, p->next);
	seal_64(&b, 0);
	err = spool_write(fd, b.data, b.len, generation % 2 * POSITION_STRIDE);
	if (!err && spool_sync(fd) < 0)
		err = errno;
	if (!err)
		p->generation = generation;
	buf_fini(&b);
	close(fd);
	return err;
}

/* ---- cursor ---- */

/* len bytes at offset, or NULL beyond the end. */
static const uint8_t *
peek(struct spool_cursor *c, size_t offset, size_t len)
{
	size_t want, got = 0;

	if (offset > c->size || len > c->size - offset)
		return NULL;
	if (offset >= c->window_at && offset + len <= c->window_at + c->window.len)
		return c->window.data + (offset - c->window_at);
	want = len > WINDOW ? len : WINDOW;
	if (want > c->size - offset)
		want = c->size - offset;
	buf_clear(&c->window);
	buf_reserve(&c->window, want);
	while (got < want) {
		ssize_t n = pread(c->fd, c->window.data + got, want - got, (off_t)(offset + got));

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			log_error("journal.read_failed", "segment=%016llx offset=%zu err=%s",
			    (unsigned long long)c->segment, offset + got,
			    log_quote(strerror(errno)));
		if (n <= 0)
			break;
		got += (size_t)n;
	}
	memset(c->window.data + got, 0, want - got);
	c->window.len = want;
	c->window_at = offset;
	return c->window.data;
}

int
spool_cursor_open(struct spool_cursor *c, int dir, uint64_t first)
{
	char name[SPOOL_NAME_MAX];
	const uint8_t *p;
	struct stat st;

	memset(c, 0, sizeof(*c));
	spool_name(name, first);
	c->fd = openat(dir, name, O_RDONLY | O_CLOEXEC);
	if (c->fd < 0)
		return errno;
	if (fstat(c->fd, &st) < 0) {
		int err = errno;

		close(c->fd);
		return err;
	}
	buf_init(&c->window);
	c->segment = first;
	c->size = (size_t)st.st_size;
	c->offset = SPOOL_SEG_HEADER;
	c->expect = first;
	p = peek(c, 0, SPOOL_SEG_HEADER);
	c->head_ok = p && parse_head(p, &c->head) && c->head.first == first;
	return 0;
}

void
spool_cursor_close(struct spool_cursor *c)
{
	close(c->fd);
	buf_fini(&c->window);
}

static bool
record_at(struct spool_cursor *c, size_t offset, struct spool_record *r)
{
	const uint8_t *p = peek(c, offset, SPOOL_REC_HEADER);
	struct unpack u;
	uint32_t crc;

	if (!p || memcmp(p, record_magic, sizeof(record_magic)) != 0)
		return false;
	unpack_init(&u, p + 4, SPOOL_REC_HEADER - 4);
	r->len = unpack_u32(&u);
	r->type = unpack_u32(&u) & 0xff;
	crc = unpack_u32(&u);
	r->number = unpack_u64(&u);
	r->ticket = unpack_u64(&u);
	p = peek(c, offset, SPOOL_REC_HEADER + r->len);
	if (!p || record_crc(p, r->len) != crc)
		return false;
	r->data = p + SPOOL_REC_HEADER;
	r->offset = offset;
	r->end = offset + spool_record_size(r->len);
	return true;
}

/* The next good record behind the bad place where the cursor stands. */
static bool
resync(struct spool_cursor *c, struct spool_record *r)
{
	const uint8_t *p;
	size_t offset = c->offset;

	c->tail_dirty = false;
	for (; (p = peek(c, offset, 8)); offset += 8) {
		if (memcmp(p, zeros, 8) == 0)
			continue;
		if (offset > c->offset && record_at(c, offset, r) && r->number >= c->expect)
			return true;
		c->tail_dirty = true;
	}
	if (offset < c->size && (p = peek(c, offset, c->size - offset)) &&
	    memcmp(p, zeros, c->size - offset) != 0)
		c->tail_dirty = true;
	return false;
}

/*
 * The good record r behind the bad place may be newer than what was read of that
 * place, if the segment is alive: read it once more before it is passed by.
 */
static bool
recheck(struct spool_cursor *c, struct spool_record *r)
{
	size_t offset = r->offset;

	buf_clear(&c->window);
	return record_at(c, c->offset, r) || record_at(c, offset, r);
}

enum spool_found
spool_next(struct spool_cursor *c, bool sealed, struct spool_record *r)
{
	memset(&c->damage, 0, sizeof(c->damage));
	if (!record_at(c, c->offset, r)) {
		if (!sealed)
			return SPOOL_WAIT;
		if (!resync(c, r) || !recheck(c, r))
			return SPOOL_END;
	}
	c->damage.offset = c->offset;
	c->damage.bytes = r->offset - c->offset;
	if (r->number > c->expect)
		c->damage.records = r->number - c->expect;
	c->offset = r->end;
	c->expect = r->number + 1;
	return SPOOL_RECORD;
}

uint64_t
spool_tail_lost(const struct spool_cursor *c, const struct spool_cursor *next)
{
	if (!next->head_ok || next->head.prev != c->segment || next->segment <= c->expect)
		return 0;
	return next->segment - c->expect;
}

void
spool_log_damage(const char *dir, uint64_t segment, const struct spool_damage *d)
{
	log_error("journal.damaged",
	    "file=%s/%016llx.seg offset=%zu bytes=%zu records=%llu; skipped, the file will be kept",
	    dir, (unsigned long long)segment, d->offset, d->bytes, (unsigned long long)d->records);
}
