/* SPDX-License-Identifier: ISC */
/*
 * chunk: a chunked request body (RFC 9112, section 7.1), read strictly.  Pure but for
 * the body it appends to.
 */
#ifndef PALAVER_WIRE_CHUNK_H
#define PALAVER_WIRE_CHUNK_H

#include <stddef.h>
#include <stdint.h>

#include "lib/buf.h"

struct chunk_reader { /* begins as zeros */
	unsigned int state;
	unsigned int digits; /* of the size so far */
	unsigned int extra;  /* bytes of extensions and trailers so far */
	uint64_t left;       /* of the chunk's data */
};

/*
 * Takes bytes, as many as belong to the body: *used_r.  1: the body is complete; 0: more
 * is needed; -400: malformed; -413: it has more than max bytes.
 */
int chunk_feed(struct chunk_reader *r, const void *data, size_t len, size_t *used_r, size_t max,
    struct buf *body);

#endif
