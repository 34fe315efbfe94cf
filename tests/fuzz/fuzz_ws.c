/* SPDX-License-Identifier: ISC */
/*
 * fuzz_ws: frames of a client read in random cuts say the same as in one piece, also when
 * handlers stop the reading.  Input: a byte for the limit, a byte that says which calls
 * return false, a byte from which the cuts follow, the stream.
 */
#include "fuzz.h"

#include "lib/buf.h"
#include "lib/json.h"
#include "wire/ws.h"

struct record {
	struct buf log;
	size_t max;
	unsigned int stops; /* bit n: call n, modulo 8, returns false */
	unsigned int calls;
	bool stopped, closed;
};

static bool
write_down(struct record *r, char what, const void *data, size_t len)
{
	buf_printf(&r->log, "%c%zu:", what, len);
	buf_append(&r->log, data, len);
	r->stopped = r->stops >> r->calls++ % 8 & 1;
	return !r->stopped;
}

static bool
on_message(void *arg, const char *data, size_t len, bool binary)
{
	struct record *r = arg;

	assert(!r->stopped && len <= r->max && (binary || utf8_valid(data, len)));
	return write_down(r, binary ? 'B' : 'T', data, len);
}

static bool
on_ping(void *arg, const uint8_t *data, size_t len)
{
	struct record *r = arg;

	assert(!r->stopped && len <= 125);
	return write_down(r, 'P', data, len);
}

static bool
on_close(void *arg, int code)
{
	struct record *r = arg;

	assert(!r->stopped && (!code || (code >= 1000 && code <= 4999)));
	buf_printf(&r->log, "C%d", code);
	r->stopped = r->closed = true;
	return false;
}

/* The length of the next read. */
static size_t
next_cut(uint32_t *seed, size_t left)
{
	size_t n;

	*seed = *seed * 1103515245 + 12345;
	n = 1 + (*seed >> 16) % (*seed >> 28 ? 8 : 200);
	return n < left ? n : left;
}

/*
 * The whole stream, in one piece if the seed is 0.  A read that was stopped goes on with
 * what it left, as a connection does.  The log ends with the place and the code.
 */
static void
drive(struct record *r, const uint8_t *data, size_t len, uint32_t seed)
{
	static const struct ws_handler handler = {on_message, on_ping, on_close};
	struct ws_reader reader = {NULL};
	size_t at = 0, used = 0;
	int code = 0;

	while (at < len && !code && !r->closed) {
		size_t n = seed ? next_cut(&seed, len - at) : len - at;
		uint8_t *copy = fuzz_copy(data + at, n);

		r->stopped = false;
		code = ws_feed(&reader, copy, n, r->max, &used, &handler, r);
		free(copy);
		assert(code == 0 || code == 1002 || code == 1007 || code == 1009);
		assert(used <= n && (code || used == n || r->stopped));
		at += used;
	}
	if (!code)
		buf_printf(&r->log, "@%zu", at);
	buf_printf(&r->log, "=%d", code);
	ws_reader_fini(&reader);
	assert(!reader.partial);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const size_t limits[] = {0, 3, 125, 126, 1000, 65535, 65536, 1000000};
	struct record whole = {.calls = 0}, cut;

	if (size < 3)
		return 0;
	whole.max = limits[data[0] % 8];
	whole.stops = data[1];
	cut = whole;
	drive(&whole, data + 3, size - 3, 0);
	drive(&cut, data + 3, size - 3, data[2] + 1U);
	assert(whole.log.len == cut.log.len);
	assert(memcmp(whole.log.data, cut.log.data, cut.log.len) == 0);
	buf_fini(&whole.log);
	buf_fini(&cut.log);
	return 0;
}
