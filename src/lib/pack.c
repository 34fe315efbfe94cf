/* SPDX-License-Identifier: ISC */
/*
 * pack: typed values to bytes and back, format in pack.h.  Pure; any thread.
 */
#include "lib/pack.h"

#include <stdlib.h>
#include <string.h>

static void
put_le(struct buf *b, uint64_t v, unsigned int bytes)
{
	uint8_t *p = buf_reserve(b, bytes);

	for (unsigned int i = 0; i < bytes; i++)
		p[i] = (uint8_t)(v >> (8 * i));
	b->len += bytes;
}

void
pack_u8(struct buf *b, uint8_t v)
{
	put_le(b, v, 1);
}

void
pack_u16(struct buf *b, uint16_t v)
{
	put_le(b, v, 2);
}

void
pack_u32(struct buf *b, uint32_t v)
{
	put_le(b, v, 4);
}

void
pack_u64(struct buf *b, uint64_t v)
{
	put_le(b, v, 8);
}

void
pack_i64(struct buf *b, int64_t v)
{
	put_le(b, (uint64_t)v, 8);
}

void
pack_bytes(struct buf *b, const void *data, size_t len)
{
	pack_u32(b, (uint32_t)len);
	buf_append(b, data, len);
}

void
pack_str(struct buf *b, const char *s)
{
	pack_bytes(b, s, s ? strlen(s) : 0);
}

void
unpack_init(struct unpack *u, const void *data, size_t len)
{
	u->p = data;
	u->left = len;
	u->bad = false;
}

/* The next n bytes, or NULL and the reader is bad from now on. */
static const uint8_t *
take(struct unpack *u, size_t n)
{
	const uint8_t *p = u->p;

	if (u->bad || n > u->left) {
		u->bad = true;
		return NULL;
	}
	u->p += n;
	u->left -= n;
	return p;
}

static uint64_t
get_le(struct unpack *u, unsigned int bytes)
{
	const uint8_t *p = take(u, bytes);
	uint64_t v = 0;

	if (!p)
		return 0;
	for (unsigned int i = 0; i < bytes; i++)
		v |= (uint64_t)p[i] << (8 * i);
	return v;
}

uint8_t
unpack_u8(struct unpack *u)
{
	return (uint8_t)get_le(u, 1);
}

uint16_t
unpack_u16(struct unpack *u)
{
	return (uint16_t)get_le(u, 2);
}

uint32_t
unpack_u32(struct unpack *u)
{
	return (uint32_t)get_le(u, 4);
}

uint64_t
unpack_u64(struct unpack *u)
{
	return get_le(u, 8);
}

int64_t
unpack_i64(struct unpack *u)
{
	return (int64_t)get_le(u, 8);
}

const void *
unpack_bytes(struct unpack *u, size_t *len_r)
{
	size_t len = unpack_u32(u);
	const uint8_t *p = take(u, len);

	*len_r = p ? len : 0;
	return p ? p : (const uint8_t *)"";
}

char *
unpack_str(struct unpack *u)
{
	size_t len;
	const void *p = unpack_bytes(u, &len);
	char *s;

	if (memchr(p, '\0', len)) {
		u->bad = true;
		len = 0;
	}
	s = xmalloc(len + 1);
	memcpy(s, p, len);
	s[len] = '\0';
	return s;
}

void
unpack_strn(struct unpack *u, char *dst, size_t size)
{
	size_t len;
	const void *p = unpack_bytes(u, &len);

	if (len >= size || memchr(p, '\0', len)) {
		u->bad = true;
		len = 0;
	}
	memcpy(dst, p, len);
	dst[len] = '\0';
}

bool
unpack_ok(const struct unpack *u)
{
	return !u->bad;
}

bool
unpack_end(const struct unpack *u)
{
	return !u->bad && u->left == 0;
}

/* Castagnoli's polynomial, reflected; one table of 256 made before main(). */
static uint32_t crc_table[256];

__attribute__((constructor)) static void
crc_table_init(void)
{
	for (uint32_t i = 0; i < 256; i++) {
		uint32_t c = i;

		for (int k = 0; k < 8; k++)
			c = c & 1 ? 0x82f63b78U ^ (c >> 1) : c >> 1;
		crc_table[i] = c;
	}
}

uint32_t
crc32c(uint32_t crc, const void *data, size_t len)
{
	const uint8_t *p = data;

	crc = ~crc;
	while (len--)
		crc = crc_table[(crc ^ *p++) & 0xff] ^ (crc >> 8);
	return ~crc;
}
