/* SPDX-License-Identifier: ISC */
/*
 * frame: WebSocket frames of a server (RFC 6455, 5.2): final, unmasked.  Loop thread.
 */
#include "wire/frame.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#define FIN    0x80
#define TEXT   0x01
#define BINARY 0x02

struct frame *
frame_alloc(size_t len, bool binary)
{
	unsigned int header = len < 126 ? 2 : len < 65536 ? 4 : 10;
	struct frame *f = xmalloc(sizeof(*f) + header + len);

	f->refs = 1;
	f->header = header;
	f->binary = binary;
	f->len = header + len;
	f->data[0] = FIN | (binary ? BINARY : TEXT);
	f->data[1] = (unsigned char)(header == 2 ? len : header == 4 ? 126 : 127);
	for (unsigned int i = 2; i < header; i++)
		f->data[i] = (unsigned char)((uint64_t)len >> (8 * (header - 1 - i)));
	return f;
}

struct frame *
frame_new(const void *payload, size_t len, bool binary)
{
	struct frame *f = frame_alloc(len, binary);

	if (len)
		memcpy(f->data + f->header, payload, len);
	return f;
}

struct frame *
frame_ref(struct frame *f)
{
	f->refs++;
	return f;
}

void
frame_unref(struct frame **fp)
{
	struct frame *f = *fp;

	*fp = NULL;
	if (f && --f->refs == 0)
		free(f);
}
