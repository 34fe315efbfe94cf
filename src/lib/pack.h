/* SPDX-License-Identifier: ISC */
/*
 * pack: typed values to bytes and back, for channels between processes and for
 * records on disk.  Writer and reader mirror each other call for call.
 *
 * Format: integers little-endian, fixed size; a string or a byte run is a u32
 * length and the bytes.  The reader is sticky: after the first error every read
 * gives 0 or an empty string, and unpack_ok() says so once at the end.
 */
#ifndef PALAVER_LIB_PACK_H
#define PALAVER_LIB_PACK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "lib/buf.h"

void pack_u8(struct buf *b, uint8_t v);
void pack_u16(struct buf *b, uint16_t v);
void pack_u32(struct buf *b, uint32_t v);
void pack_u64(struct buf *b, uint64_t v);
void pack_i64(struct buf *b, int64_t v);
void pack_bytes(struct buf *b, const void *data, size_t len); /* len < 2^32 */
void pack_str(struct buf *b, const char *s);                  /* NULL is written as "" */

struct unpack {
	const uint8_t *p;
	size_t left;
	bool bad;
};

void unpack_init(struct unpack *u, const void *data, size_t len); /* borrows data */
uint8_t unpack_u8(struct unpack *u);
uint16_t unpack_u16(struct unpack *u);
uint32_t unpack_u32(struct unpack *u);
uint64_t unpack_u64(struct unpack *u);
int64_t unpack_i64(struct unpack *u);
/* Points into the data; *len_r is the length. */
const void *unpack_bytes(struct unpack *u, size_t *len_r);
/* A copy; the caller frees.  An embedded NUL is an error. */
char *unpack_str(struct unpack *u);
/* Into a fixed array; too long is an error. */
void unpack_strn(struct unpack *u, char *dst, size_t size);
bool unpack_ok(const struct unpack *u);  /* no error so far */
bool unpack_end(const struct unpack *u); /* no error and nothing left */

uint32_t crc32c(uint32_t crc, const void *data, size_t len); /* Castagnoli; start with 0 */

#endif
