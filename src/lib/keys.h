/* SPDX-License-Identifier: ISC */
/*
 * keys: the keys that sign access tokens, as the master keeps them in a file and as it
 * sends them to workers.  Plain data; any thread.
 *
 * File, text, at most KEYS_FILE_MAX bytes:
 *
 *	palaver-keys 1
 *	# comments and empty lines
 *	ID CREATED KEY
 *
 * one key a line, the newest first: the first signs, all verify.  ID: 1 to 32 characters of
 * [A-Za-z0-9_-], the `kid` of the tokens.  CREATED: UTC, as 2026-01-31T12:00:00Z.  KEY: 32
 * to 1024 bytes in hexadecimal digits.  At most KEYS_MAX keys.  A file that does not begin
 * with "palaver-keys" is one key, its bytes as they are, with the id "0".
 */
#ifndef PALAVER_LIB_KEYS_H
#define PALAVER_LIB_KEYS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "lib/buf.h"
#include "lib/pack.h"

#define KEYS_MAX      16
#define KEYS_FILE_MAX 40960
#define KEY_ID_MAX    33 /* with NUL */
#define KEY_BYTES_MIN 32
#define KEY_BYTES_MAX 1024

struct key {
	char id[KEY_ID_MAX];
	int64_t created_ms; /* wall clock, whole seconds in the file */
	size_t len;
	uint8_t data[KEY_BYTES_MAX];
};

struct key_set {
	size_t count;
	size_t signer; /* which one signs; not in the file */
	struct key keys[KEYS_MAX]; /* newest first */
};

/* 0, or -1 with *error_r: "line 3: what is wrong" (caller frees).  The first key signs. */
int keys_parse(struct key_set *set, const char *text, size_t len, char **error_r);
void keys_format(struct buf *b, const struct key_set *set);

/*
 * A new key in front, which signs.  Of the others those go that were replaced longer than
 * keep_ms before now: no token of theirs is good any more.  -1: there are KEYS_MAX that
 * are still wanted; nothing changed.
 */
int keys_rotate(struct key_set *set, int64_t now_ms, int64_t keep_ms);

/* The place of the key with this id, or -1. */
int keys_find(const struct key_set *set, const char *id);

void keys_pack(struct buf *b, const struct key_set *set);
bool keys_unpack(struct unpack *u, struct key_set *set); /* false: damaged, or no key */

#endif
