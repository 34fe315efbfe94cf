/* SPDX-License-Identifier: ISC */
/*
 * fields: see fields.h.  Worker, loop thread (the pointer's buffer is static).
 */
#include "api/fields.h"

#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include "lib/buf.h"
#include "model/error.h"

static bool
is_string(struct json_object *v)
{
	return json_object_is_type(v, json_type_string) &&
	       strlen(json_object_get_string(v)) == (size_t)json_object_get_string_len(v);
}

static bool
all_strings(struct json_object *v)
{
	if (!json_object_is_type(v, json_type_array))
		return false;
	for (size_t i = 0; i < json_object_array_length(v); i++)
		if (!is_string(json_object_array_get_idx(v, i)))
			return false;
	return true;
}

/* false: wrong type. */
static bool
take(const struct field *f, struct json_object *v)
{
	switch (f->type) {
	case FIELD_STR:
		if (!is_string(v))
			return false;
		*(const char **)f->out = json_object_get_string(v);
		return true;
	case FIELD_BOOL:
		if (!json_object_is_type(v, json_type_boolean))
			return false;
		*(bool *)f->out = json_object_get_boolean(v);
		return true;
	case FIELD_INT:
		if (!json_object_is_type(v, json_type_int))
			return false;
		*(int64_t *)f->out = json_object_get_int64(v);
		return true;
	case FIELD_OBJECT:
		if (!json_object_is_type(v, json_type_object))
			return false;
		break;
	case FIELD_STRS:
		if (!all_strings(v))
			return false;
		break;
	}
	*(struct json_object **)f->out = v;
	return true;
}

int
fields_read(struct json_object *o, const struct field *fields, size_t count, const char **pointer_r,
    const char **reason_r)
{
	static char pointer[64];

	for (size_t i = 0; i < count; i++) {
		struct json_object *v = NULL;

		if (o)
			json_object_object_get_ex(o, fields[i].name, &v);
		if (v ? take(&fields[i], v) : !fields[i].required)
			continue;
		snprintf(pointer, sizeof(pointer), "/%s", fields[i].name);
		*pointer_r = pointer;
		*reason_r = v ? "wrong_type" : "required";
		return ERR_INVALID_FIELD;
	}
	return 0;
}

const char **
fields_strings(struct json_object *array, size_t *count_r)
{
	size_t n = array ? json_object_array_length(array) : 0;
	const char **s = xcalloc(n + 1, sizeof(*s));

	for (size_t i = 0; i < n; i++)
		s[i] = json_object_get_string(json_object_array_get_idx(array, i));
	*count_r = n;
	return s;
}
