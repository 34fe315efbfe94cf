/* SPDX-License-Identifier: ISC */
/*
 * chunk: a state machine over the bytes of a chunked body.  Extensions and trailers are
 * dropped; together they may have EXTRA_MAX bytes.  Loop thread.
 */
#include "wire/chunk.h"

#include <stdbool.h>

#define SIZE_DIGITS 8
#define EXTRA_MAX   4096

enum {
	IN_SIZE,
	IN_EXTENSION,
	AFTER_SIZE, /* the LF of the size's line is due */
	IN_DATA,
	AFTER_DATA, /* CR */
	AFTER_DATA_LF,
	TRAILER_START, /* of a line */
	IN_TRAILER,
	AFTER_TRAILER, /* LF */
	LAST_LF
};

static int
hex(uint8_t c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	c |= 0x20;
	return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

static int
size_byte(struct chunk_reader *r, uint8_t c)
{
	int v = hex(c);

	if (v >= 0) {
		if (++r->digits > SIZE_DIGITS)
			return -400;
		r->left = r->left << 4 | (uint64_t)v;
		return 0;
	}
	if (!r->digits || (c != ';' && c != '\r'))
		return -400;
	r->state = c == ';' ? IN_EXTENSION : AFTER_SIZE;
	return 0;
}

/* A byte of an extension or a trailer, up to its CR. */
static int
extra_byte(struct chunk_reader *r, uint8_t c, unsigned int next)
{
	if (c == '\r')
		r->state = next;
	else if ((c < ' ' && c != '\t') || c == 0x7f || ++r->extra > EXTRA_MAX)
		return -400;
	return 0;
}

/* Goes on to `next` if c is the byte that must come. */
static int
expect(struct chunk_reader *r, uint8_t c, uint8_t want, unsigned int next)
{
	r->state = next;
	return c == want ? 0 : -400;
}

static int
framing_byte(struct chunk_reader *r, uint8_t c)
{
	switch (r->state) {
	case IN_SIZE:
		return size_byte(r, c);
	case IN_EXTENSION:
		return extra_byte(r, c, AFTER_SIZE);
	case AFTER_SIZE:
		r->digits = 0;
		return expect(r, c, '\n', r->left ? IN_DATA : TRAILER_START);
	case AFTER_DATA:
		return expect(r, c, '\r', AFTER_DATA_LF);
	case AFTER_DATA_LF:
		return expect(r, c, '\n', IN_SIZE);
	case TRAILER_START:
		if (c == '\r') {
			r->state = LAST_LF;
			return 0;
		}
		r->state = IN_TRAILER;
		return extra_byte(r, c, AFTER_TRAILER);
	case IN_TRAILER:
		return extra_byte(r, c, AFTER_TRAILER);
	case AFTER_TRAILER:
		return expect(r, c, '\n', TRAILER_START);
	default: /* LAST_LF */
		return c == '\n' ? 1 : -400;
	}
}

int
chunk_feed(struct chunk_reader *r, const void *data, size_t len, size_t *used_r, size_t max,
    struct buf *body)
{
	const uint8_t *p = data, *end = p + len;
	int done = 0;

	while (p < end && !done) {
		size_t n = (size_t)(end - p);

		if (r->state != IN_DATA) {
			done = framing_byte(r, *p++);
			if (r->state == IN_DATA && body->len + r->left > max)
				done = -413;
			continue;
		}
		if (n > r->left)
			n = (size_t)r->left;
		buf_append(body, p, n);
		p += n;
		r->left -= n;
		if (!r->left)
			r->state = AFTER_DATA;
	}
	*used_r = (size_t)(p - (const uint8_t *)data);
	return done;
}
