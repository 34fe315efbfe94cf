/* SPDX-License-Identifier: ISC */
/*
 * spool: the files of the local journal: segments, records, positions.
 *
 * <dir>/<slot>/ holds
 *	%016llx.seg	segments, named by the number of their first record
 *	spare.<n>	preallocated, not yet in use
 *	lock		flock()ed by the one writer
 *	position	how far the reader has committed
 *	*.damaged	segments that were reclaimed but had damage: for a person to see
 *
 * Segment: a header of 64 bytes, then records one after another, then zeros (the
 * file is preallocated) or the end of the file.  All integers little-endian.
 *	0  magic ff 50 4c 56 53 45 47 fe	8  u32 version 1	12 u32 slot
 *	16 u64 number of the first record	24 u64 first of the segment before; 0: unknown
 *	32 zeros				60 u32 crc32c of bytes 0..59
 *
 * Record: a header of 32 bytes, the payload, zeros up to a multiple of 8.
 *	0  magic fe 50 52 ff	4  u32 length of the payload	8  u8 type	9  zeros
 *	12 u32 crc32c of bytes 0..11, 16..31 and the payload
 *	16 u64 number		24 u64 ticket
 * Numbers are consecutive over all segments of a slot, so a hole is counted
 * exactly.  The magics hold bytes that UTF-8 never has: no message can imitate one.
 *
 * Position: two records of 64 bytes at offsets 0 and 512, written in turn; the
 * valid one with the higher generation counts, so a torn write leaves the older.
 *	0  magic ff 50 4c 56 50 4f 53 fe	8  u64 generation	16 u64 segment
 *	24 u64 offset	32 u64 number of the next record	40 zeros	60 u32 crc32c of
 *0..59
 *
 * Any thread; nothing here is shared but the hook.
 */
#ifndef PALAVER_JOURNAL_SPOOL_H
#define PALAVER_JOURNAL_SPOOL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "lib/buf.h"

#define SPOOL_SEG_HEADER  64
#define SPOOL_REC_HEADER  32
#define SPOOL_NAME_MAX    40
#define SPOOL_SEGMENT_MIN 4096
#define SPOOL_POSITION    "position"
#define SPOOL_LOCK        "lock"

enum spool_type {
	SPOOL_INTAKE = 1, /* ticket, packed event without number */
	SPOOL_EVENT = 2,  /* ticket, packed numbered event; its ticket is done */
	SPOOL_DONE = 3    /* ticket alone */
};

struct spool_head {
	uint32_t slot;
	uint64_t first;
	uint64_t prev;
};

struct spool_record {
	enum spool_type type;
	uint64_t number, ticket;
	size_t offset, end;  /* in the file; end includes the padding */
	const uint8_t *data; /* payload; valid until the next call on the cursor */
	size_t len;
};

struct spool_position {
	uint64_t generation; /* 0: none */
	uint64_t segment;
	uint64_t offset;
	uint64_t next; /* number of the record expected there */
};

/* fdatasync(), replaced by tests.  Called from the writer's job thread and the loop. */
extern int (*spool_sync)(int fd);

size_t spool_record_size(size_t payload); /* in the file */
void spool_pack_head(struct buf *b, const struct spool_head *h);
void spool_pack_record(struct buf *b, enum spool_type type, uint64_t number, uint64_t ticket,
    const void *data, size_t len);

void spool_name(char dst[SPOOL_NAME_MAX], uint64_t first);
/* Slot directories have plain decimal names. */
bool spool_slot_name(const char *name, unsigned int *slot_r);
/* Numbers of all segments of a directory, ascending; the caller frees.  < 0: errno. */
int spool_list(int dir, uint64_t **firsts_r, size_t *count_r);

/* A new file of size allocated bytes.  The descriptor, or < 0 with errno; then no file. */
int spool_create(int dir, const char *name, size_t size);
/* All of it or an errno value; after an error the bytes there are undefined. */
int spool_write(int fd, const void *data, size_t len, size_t offset);

/* generation 0 in *p: no valid position.  Never fails. */
void spool_position_load(int dir, struct spool_position *p);
/* Writes p with the next generation, durably.  0 or an errno value. */
int spool_position_store(int dir, struct spool_position *p);

/* ---- reading a segment ---- */

struct spool_damage {
	size_t offset, bytes;
	uint64_t records;
};

struct spool_cursor {
	int fd;
	uint64_t segment;
	size_t size;
	size_t offset;   /* of the next record */
	uint64_t expect; /* its number */
	bool head_ok;
	struct spool_head head;
	struct spool_damage damage; /* skipped by the last spool_next; bytes and records 0: none */
	bool tail_dirty;            /* after SPOOL_END: what follows is not all zeros */
	struct buf window;
	size_t window_at;
};

enum spool_found {
	SPOOL_RECORD, /* *r; c->damage says what was skipped before it */
	SPOOL_WAIT,   /* not sealed: nothing whole here yet */
	SPOOL_END     /* sealed: no further record; c->offset stays where they end */
};

/* Opens segment `first` at its first record.  0 or an errno value. */
int spool_cursor_open(struct spool_cursor *c, int dir, uint64_t first);
void spool_cursor_close(struct spool_cursor *c);
/*
 * sealed: nothing is written to the segment any more, so what is not a record
 * is damage and is skipped to the next good one.
 */
enum spool_found spool_next(struct spool_cursor *c, bool sealed, struct spool_record *r);
/*
 * Records that were lost between where c ended and segment `next`, which is known
 * only if `next` says that it followed directly.
 */
uint64_t spool_tail_lost(const struct spool_cursor *c, const struct spool_cursor *next);

void spool_log_damage(const char *dir, uint64_t segment, const struct spool_damage *d);

#endif
