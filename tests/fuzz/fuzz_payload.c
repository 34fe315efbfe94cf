/* SPDX-License-Identifier: ISC */
/*
 * fuzz_payload: a polling body is split, and put together again is what it was; base64
 * survives a round trip.  Input: the body.
 */
#include "fuzz.h"

#include "wire/payload.h"

#define SEPARATOR 0x1e

static struct frame *
text_frame(const struct payload_packet *p)
{
	return frame_new(p->data, p->len, false);
}

/* What base64 says, says its canonical form, too. */
static void
check_base64(const struct payload_packet *p)
{
	size_t len = p->len - 1, room = len * 3 / 4 + 1;
	char *text = fuzz_copy(p->data + 1, len), *dst = malloc(room), *again;
	long n = payload_base64_decode(dst, text, len);
	struct frame *f, *t;
	struct buf b;

	assert(n >= -1 && n < (long)room);
	if (n >= 0) {
		f = frame_new(dst, (size_t)n, true);
		t = payload_base64_frame(f);
		buf_init(&b);
		payload_put(&b, f);
		assert(b.len == 1 + ((size_t)n + 2) / 3 * 4 && b.data[0] == 'b');
		assert(
		    t->len - t->header == b.len && memcmp(t->data + t->header, b.data, b.len) == 0);
		again = malloc((b.len - 1) * 3 / 4 + 1);
		assert(payload_base64_decode(again, (char *)b.data + 1, b.len - 1) == n);
		assert(memcmp(again, dst, (size_t)n) == 0);
		free(again);
		buf_fini(&b);
		frame_unref(&t);
		frame_unref(&f);
	}
	free(text);
	free(dst);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	const char *body = (const char *)data;
	struct payload_packet p;
	struct buf joined;
	size_t pos = 0;
	int got;

	buf_init(&joined);
	while ((got = payload_next(body, size, &pos, &p)) > 0) {
		struct frame *f;

		assert(p.data >= body && p.len && p.len <= size - (size_t)(p.data - body));
		assert(pos == (size_t)(p.data - body) + p.len + 1);
		assert(!memchr(p.data, SEPARATOR, p.len));
		f = text_frame(&p);
		payload_put(&joined, f);
		frame_unref(&f);
		assert(joined.len == pos - 1);
		if (*p.data == 'b')
			check_base64(&p);
	}
	if (got == 0)
		assert(joined.len == size);
	assert(!joined.len || memcmp(joined.data, body, joined.len) == 0);
	buf_fini(&joined);
	return 0;
}
