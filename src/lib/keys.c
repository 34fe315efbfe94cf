/* SPDX-License-Identifier: ISC */
/*
 * keys: reading, writing and rotating the keys of access tokens.  Any thread.
 */
#include "lib/keys.h"

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "lib/clock.h"
#include "lib/id.h"

#define MAGIC     "palaver-keys"
#define HEAD      "palaver-keys 1"
#define ID_CHARS  "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_-"
#define ID_RANDOM 9 /* bytes */
#define RAW_ID    "0"

/* ---- reading ---- */

static bool
read_time(const char *text, int64_t *ms_r)
{
	struct tm tm = {0};
	const char *end = strptime(text, "%Y-%m-%dT%H:%M:%SZ", &tm);

	if (!end || *end)
		return false;
	*ms_r = (int64_t)timegm(&tm) * 1000;
	return true;
}

static int
digit(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	c = (char)tolower((unsigned char)c);
	return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

static bool
read_hex(struct key *k, const char *text)
{
	size_t n = strlen(text);

	if (n % 2 || n < 2 * KEY_BYTES_MIN || n > 2 * KEY_BYTES_MAX)
		return false;
	for (size_t i = 0; i < n; i += 2) {
		int high = digit(text[i]), low = digit(text[i + 1]);

		if (high < 0 || low < 0)
			return false;
		k->data[i / 2] = (uint8_t)(high << 4 | low);
	}
	k->len = n / 2;
	return true;
}

/* NULL, or what is wrong.  line is cut into its words. */
static const char *
read_line(struct key_set *set, char *line)
{
	char *save = NULL, *id = strtok_r(line, " \t\r", &save);
	char *created = strtok_r(NULL, " \t\r", &save), *key = strtok_r(NULL, " \t\r", &save);
	struct key *k = &set->keys[set->count];

	if (!id || *id == '#')
		return NULL;
	if (!key || strtok_r(NULL, " \t\r", &save))
		return "a key is three words: id, creation time, hexadecimal digits";
	if (set->count == KEYS_MAX)
		return "too many keys";
	if (strlen(id) >= KEY_ID_MAX || id[strspn(id, ID_CHARS)])
		return "the id is 1 to 32 letters, digits, _ or -";
	if (keys_find(set, id) >= 0)
		return "this id was used above";
	if (!read_time(created, &k->created_ms))
		return "the creation time is not as 2026-01-31T12:00:00Z";
	if (!read_hex(k, key))
		return "the key is not 32 to 1024 bytes in hexadecimal digits";
	str_copy(k->id, sizeof(k->id), id);
	set->count++;
	return NULL;
}

static int
parse_raw(struct key_set *set, const char *text, size_t len, char **error_r)
{
	struct key *k = &set->keys[0];

	if (len < KEY_BYTES_MIN || len > KEY_BYTES_MAX) {
		*error_r = xasprintf(
		    "a key has %d to %d bytes, this one %zu", KEY_BYTES_MIN, KEY_BYTES_MAX, len);
		return -1;
	}
	strcpy(k->id, RAW_ID);
	k->len = len;
	memcpy(k->data, text, len);
	set->count = 1;
	return 0;
}

int
keys_parse(struct key_set *set, const char *text, size_t len, char **error_r)
{
	unsigned int number = 0;
	const char *why = NULL;
	char *copy, *rest, *line;

	memset(set, 0, sizeof(*set));
	*error_r = NULL;
	if (len < strlen(MAGIC) || memcmp(text, MAGIC, strlen(MAGIC)) != 0)
		return parse_raw(set, text, len, error_r);
	copy = xmalloc(len + 1);
	memcpy(copy, text, len);
	copy[len] = '\0';
	rest = copy;
	if (strlen(copy) != len)
		why = "there is a NUL in it";
	while (!why && (line = strsep(&rest, "\n"))) {
		number++;
		if (number > 1)
			why = read_line(set, line);
		else if (strcmp(line, HEAD) != 0)
			why = "the first line is not \"" HEAD
			      "\"; a newer palaverd may have written it";
	}
	if (!why && !set->count)
		why = "no key";
	if (why)
		*error_r = xasprintf("line %u: %s", number, why);
	explicit_bzero(copy, len);
	free(copy);
	return why ? -1 : 0;
}

/* ---- writing ---- */

static void
format_time(int64_t ms, char dst[CLOCK_TEXT_MAX])
{
	clock_format(ms, dst);
	strcpy(dst + strlen("2026-01-31T12:00:00"), "Z");
}

void
keys_format(struct buf *b, const struct key_set *set)
{
	char created[CLOCK_TEXT_MAX];

	buf_puts(b, HEAD "\n# Keys that sign access tokens, the newest first: the first signs, all "
			 "verify.\n# Whoever has one can be anybody.  Id, creation time, key:\n");
	for (size_t i = 0; i < set->count; i++) {
		const struct key *k = &set->keys[i];

		format_time(k->created_ms, created);
		buf_printf(b, "%s %s ", k->id, created);
		for (size_t j = 0; j < k->len; j++)
			buf_printf(b, "%02x", k->data[j]);
		buf_putc(b, '\n');
	}
}

/* ---- rotating ---- */

int
keys_find(const struct key_set *set, const char *id)
{
	for (size_t i = 0; i < set->count; i++)
		if (strcmp(set->keys[i].id, id) == 0)
			return (int)i;
	return -1;
}

/* How many of the old keys are wanted yet; a key was replaced when the one before it was made. */
static size_t
count_wanted(const struct key_set *set, int64_t now_ms, int64_t keep_ms)
{
	int64_t replaced_ms = now_ms;
	size_t n = 0;

	while (n < set->count && now_ms - replaced_ms <= keep_ms)
		replaced_ms = set->keys[n++].created_ms;
	return n;
}

int
keys_rotate(struct key_set *set, int64_t now_ms, int64_t keep_ms)
{
	size_t wanted = count_wanted(set, now_ms, keep_ms);
	struct key *k = &set->keys[0];

	if (wanted == KEYS_MAX)
		return -1;
	explicit_bzero(&set->keys[wanted], (KEYS_MAX - wanted) * sizeof(*k));
	memmove(k + 1, k, wanted * sizeof(*k));
	memset(k, 0, sizeof(*k));
	random_token(k->id, ID_RANDOM);
	k->created_ms = now_ms / 1000 * 1000;
	k->len = KEY_BYTES_MIN;
	random_bytes(k->data, k->len);
	set->count = wanted + 1;
	set->signer = 0;
	return 0;
}

/* ---- to workers: u32 signer, u32 count, each str id, i64 created, bytes key ---- */

void
keys_pack(struct buf *b, const struct key_set *set)
{
	pack_u32(b, (uint32_t)set->signer);
	pack_u32(b, (uint32_t)set->count);
	for (size_t i = 0; i < set->count; i++) {
		pack_str(b, set->keys[i].id);
		pack_i64(b, set->keys[i].created_ms);
		pack_bytes(b, set->keys[i].data, set->keys[i].len);
	}
}

bool
keys_unpack(struct unpack *u, struct key_set *set)
{
	memset(set, 0, sizeof(*set));
	set->signer = unpack_u32(u);
	set->count = unpack_u32(u);
	if (!unpack_ok(u) || set->count > KEYS_MAX || set->signer >= set->count)
		return false;
	for (size_t i = 0; i < set->count; i++) {
		struct key *k = &set->keys[i];
		const void *data;

		unpack_strn(u, k->id, sizeof(k->id));
		k->created_ms = unpack_i64(u);
		data = unpack_bytes(u, &k->len);
		if (!unpack_ok(u) || k->len < KEY_BYTES_MIN || k->len > KEY_BYTES_MAX)
			return false;
		memcpy(k->data, data, k->len);
	}
	return unpack_end(u);
}
