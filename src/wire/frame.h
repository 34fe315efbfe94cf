/* SPDX-License-Identifier: ISC */
/*
 * frame: bytes ready for a WebSocket: header and payload, unmasked, so the same
 * for every client.  Made once, shared by reference.
 */
#ifndef PALAVER_WIRE_FRAME_H
#define PALAVER_WIRE_FRAME_H

#include <stdbool.h>
#include <stddef.h>

#include "lib/buf.h"

struct frame {
	unsigned int refs;
	unsigned int header; /* bytes of WebSocket header in front of the payload */
	bool binary;
	size_t len; /* header + payload */
	unsigned char data[];
};

/* One frame around an Engine.IO packet (text, with its type character) or bare binary. */
struct frame *frame_new(const void *payload, size_t len, bool binary);
struct frame *frame_alloc(size_t len, bool binary); /* the payload is to be written */
struct frame *frame_ref(struct frame *f);
void frame_unref(struct frame **f);

#endif
