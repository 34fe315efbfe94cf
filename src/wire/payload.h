/* SPDX-License-Identifier: ISC */
/*
 * payload: the body of a polling request: Engine.IO packets joined by 0x1e, binary as
 * "b" and base64 (protocol, section 3.2).  Pure.
 */
#ifndef PALAVER_WIRE_PAYLOAD_H
#define PALAVER_WIRE_PAYLOAD_H

#include <stdbool.h>
#include <stddef.h>

#include "lib/buf.h"
#include "wire/frame.h"

struct payload_packet {
	const char *data; /* with its type character */
	size_t len;
};

/*
 * The next packet from *pos on, which moves behind it.  1: there is one; 0: that was
 * all; -1: an empty packet, or the first character is no type.
 */
int payload_next(const char *body, size_t len, size_t *pos, struct payload_packet *p);

/* Appends a frame's packet; a separator first unless b is empty. */
void payload_put(struct buf *b, const struct frame *f);

/* The text frame "b<base64>" of a binary one. */
struct frame *payload_base64_frame(const struct frame *f);

/*
 * Padding may be missing and the alphabet may be the URL-safe one, as the reference
 * takes them.  The length, or -1.  dst holds len * 3 / 4 + 1 bytes.
 */
long payload_base64_decode(char *dst, const char *text, size_t len);

#endif
