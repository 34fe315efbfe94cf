/* SPDX-License-Identifier: ISC */
/*
 * json: strict reading of untrusted JSON in front of json-c, and helpers.
 *
 * json-c's strict mode still takes NaN, single quotes, raw control characters,
 * big integers (clamped) and NUL in keys.  So text from outside is scanned
 * first by a validator of our own, RFC 8259 to the letter plus the limits
 * below, and only what passed is parsed.
 */
#ifndef PALAVER_LIB_JSON_H
#define PALAVER_LIB_JSON_H

#include <json.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "lib/buf.h"

struct json_limits {
	unsigned int depth; /* nested arrays and objects */
	unsigned int keys;  /* members of all objects together */
	/*
	 * Strings that are not keys may have \u0000 (so they have a length) and lone
	 * surrogates (json-c makes U+FFFD of each).
	 */
	bool any_text;
};

extern const struct json_limits json_default_limits; /* depth 16, keys 1000 */

/*
 * Scans one JSON value with optional white space around it.  NULL: valid, else
 * a constant text saying what is wrong, and *offset_r (may be NULL) says where.
 * Refused beyond RFC 8259: invalid UTF-8, \u0000 in a key or in a string, lone
 * surrogate escapes, integers beyond +-2^53, duplicate keys are allowed (last
 * wins), depth and keys over the limits.
 */
const char *json_scan(const char *text, size_t len, const struct json_limits *limits,
    size_t *offset_r);

/* json_scan, then json-c.  NULL on error with *why_r set; else the caller puts it. */
struct json_object *json_parse(const char *text, size_t len, const struct json_limits *limits,
    const char **why_r);

bool utf8_valid(const void *data, size_t len);
/* Valid, and without control characters (C0, DEL and C1). */
bool utf8_printable(const char *text);

/* Appends s as a JSON string with quotes; s is valid UTF-8. */
void json_put_string(struct buf *b, const char *s, size_t len);
/* Appends o compactly (no blanks, slashes not escaped). */
void json_put(struct buf *b, struct json_object *o);

/*
 * Typed members.  All return false if the member is there with a wrong type; a
 * missing member (or null) leaves *r alone and returns true.
 */
bool json_get_str(struct json_object *o, const char *key, const char **r); /* borrowed from o */
bool json_get_int(struct json_object *o, const char *key, int64_t *r);
bool json_get_bool(struct json_object *o, const char *key, bool *r);

#endif
