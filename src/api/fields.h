/* SPDX-License-Identifier: ISC */
/*
 * fields: typed members of a JSON object from a client, read by a table.  Unknown
 * members are ignored, wrong types are refused with a pointer to the field.
 * Pure; any thread.
 */
#ifndef PALAVER_API_FIELDS_H
#define PALAVER_API_FIELDS_H

#include <json.h>
#include <stdbool.h>
#include <stddef.h>

enum field_type {
	FIELD_STR,    /* const char **, borrowed from the object; no NUL inside */
	FIELD_BOOL,   /* bool * */
	FIELD_INT,    /* int64_t * */
	FIELD_OBJECT, /* struct json_object **, borrowed */
	FIELD_STRS    /* struct json_object **: an array of strings, borrowed */
};

struct field {
	const char *name;
	enum field_type type;
	bool required;
	void *out; /* left alone if the member is absent or null */
};

/*
 * 0, or ERR_INVALID_FIELD with *pointer_r ("/name") in a static buffer that the next
 * call overwrites and *reason_r ("required", "wrong_type").  o may be NULL (no body).
 */
int fields_read(struct json_object *o, const struct field *fields, size_t count,
    const char **pointer_r, const char **reason_r);

/*
 * The strings of a FIELD_STRS (NULL: it was absent) as an array for the chat; the caller
 * frees the array alone.
 */
const char **fields_strings(struct json_object *array, size_t *count_r);

#endif
