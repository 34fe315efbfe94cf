/* SPDX-License-Identifier: ISC */
/*
 * payload: the codec of polling bodies.  Loop thread; no state.
 */
#include "wire/payload.h"

#include <openssl/evp.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#define SEPARATOR 0x1e

int
payload_next(const char *body, size_t len, size_t *pos, struct payload_packet *p)
{
	const char *from = body + *pos, *end;
	size_t left = len - *pos;

	if (*pos > len)
		return 0;
	end = left ? memchr(from, SEPARATOR, left) : NULL;
	p->data = from;
	p->len = end ? (size_t)(end - from) : left;
	*pos += p->len + 1;
	if (!p->len || !((*from >= '0' && *from <= '6') || *from == 'b'))
		return -1;
	return 1;
}

static void
put_base64(struct buf *b, const unsigned char *data, size_t len)
{
	unsigned char *dst = buf_reserve(b, 4 * ((len + 2) / 3) + 1);

	b->len += (size_t)EVP_EncodeBlock(dst, data, (int)len);
}

void
payload_put(struct buf *b, const struct frame *f)
{
	const unsigned char *data = f->data + f->header;
	size_t len = f->len - f->header;

	if (b->len)
		buf_putc(b, SEPARATOR);
	if (!f->binary) {
		buf_append(b, data, len);
		return;
	}
	buf_putc(b, 'b');
	put_base64(b, data, len);
}

struct frame *
payload_base64_frame(const struct frame *f)
{
	struct frame *text;
	struct buf b;

	buf_init(&b);
	buf_putc(&b, 'b');
	put_base64(&b, f->data + f->header, f->len - f->header);
	text = frame_new(b.data, b.len, false);
	buf_fini(&b);
	return text;
}

static int
value_of(unsigned char c)
{
	if (c >= 'A' && c <= 'Z')
		return c - 'A';
	if (c >= 'a' && c <= 'z')
		return c - 'a' + 26;
	if (c >= '0' && c <= '9')
		return c - '0' + 52;
	if (c == '+' || c == '-')
		return 62;
	if (c == '/' || c == '_')
		return 63;
	return -1;
}

long
payload_base64_decode(char *dst, const char *text, size_t len)
{
	uint32_t bits = 0;
	unsigned int have = 0;
	long n = 0;

	if (len && text[len - 1] == '=') { /* if there is padding, it is right */
		if (len % 4)
			return -1;
		len -= text[len - 2] == '=' ? 2 : 1;
	}
	if (len % 4 == 1)
		return -1;
	for (size_t i = 0; i < len; i++) {
		int v = value_of((unsigned char)text[i]);

		if (v < 0)
			return -1;
		bits = bits << 6 | (uint32_t)v;
		have += 6;
		if (have >= 8) {
			have -= 8;
			dst[n++] = (char)(bits >> have);
		}
	}
	return n;
}
