/* SPDX-License-Identifier: ISC */
/*
 * id: names and randomness.  Any process, any thread.
 */
#include "lib/id.h"

#include <ctype.h>
#include <pthread.h>
#include <stdint.h>
#include <string.h>
#include <sys/random.h>

#include "lib/log.h"
#include "lib/loop.h"

#define RANDOM_BYTES 10

static const char crockford[] = "0123456789abcdefghjkmnpqrstvwxyz";

static struct {
	pthread_mutex_t lock;
	int64_t ms;
	uint8_t random[RANDOM_BYTES];
} last = {.lock = PTHREAD_MUTEX_INITIALIZER};

void
random_bytes(void *dst, size_t n)
{
	uint8_t *p = dst;

	while (n) {
		size_t want = n > 256 ? 256 : n; /* getrandom never shortens up to 256 */

		if (getrandom(p, want, 0) != (ssize_t)want)
			fatal(71, "random.failed",
			    "getrandom(2) does not work; a kernel >= 3.17 is needed");
		p += want;
		n -= want;
	}
}

/*
 * The next time and random part: within one millisecond, or when the clock went
 * back, the random part of the last id counts on, so ids never go backwards.
 */
static void
next_parts(int64_t *ms_r, uint8_t random[RANDOM_BYTES])
{
	int64_t now = clock_wall_ms();

	pthread_mutex_lock(&last.lock);
	if (now > last.ms) {
		last.ms = now;
		random_bytes(last.random, RANDOM_BYTES);
		last.random[0] &= 0x7f; /* room to count */
	} else {
		for (int i = RANDOM_BYTES - 1; i >= 0 && ++last.random[i] == 0; i--)
			;
	}
	*ms_r = last.ms;
	memcpy(random, last.random, RANDOM_BYTES);
	pthread_mutex_unlock(&last.lock);
}

void
id_new(char dst[ID_MAX], const char *prefix)
{
	uint8_t random[RANDOM_BYTES];
	int64_t ms;
	char *p = dst;

	next_parts(&ms, random);
	memcpy(p, prefix, 3);
	p[3] = '_';
	p += 4;
	for (int shift = 45; shift >= 0; shift -= 5) /* 10 characters hold the 48 bits */
		*p++ = crockford[(ms >> shift) & 31];
	for (int half = 0; half < 2; half++) { /* 2 x 40 bits are 2 x 8 characters */
		uint64_t v = 0;

		for (int i = 0; i < 5; i++)
			v = v << 8 | random[half * 5 + i];
		for (int shift = 35; shift >= 0; shift -= 5)
			*p++ = crockford[(v >> shift) & 31];
	}
	*p = '\0';
}

bool
id_valid(const char *s, const char *prefix)
{
	if (strncmp(s, prefix, 3) != 0 || s[3] != '_')
		return false;
	s += 4;
	for (int i = 0; i < ID_BODY; i++)
		if (!s[i] || !strchr(crockford, s[i]))
			return false;
	return s[ID_BODY] == '\0';
}

void
random_token(char *dst, size_t n)
{
	static const char alphabet[] =
	    "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
	uint8_t bytes[64];
	uint32_t v = 0;
	int bits = 0;

	for (size_t i = 0; i < n; i++) {
		if (i % sizeof(bytes) == 0) /* one call into the kernel, not one a byte */
			random_bytes(bytes, n - i < sizeof(bytes) ? n - i : sizeof(bytes));
		v = v << 8 | bytes[i % sizeof(bytes)];
		for (bits += 8; bits >= 6; bits -= 6)
			*dst++ = alphabet[(v >> (bits - 6)) & 63];
	}
	if (bits)
		*dst++ = alphabet[(v << (6 - bits)) & 63];
	*dst = '\0';
}

bool
uuid_valid(const char *s)
{
	for (int i = 0; i < 36; i++) {
		bool dash = i == 8 || i == 13 || i == 18 || i == 23;

		if (dash ? s[i] != '-' : !isxdigit((unsigned char)s[i]))
			return false;
	}
	return s[36] == '\0';
}
