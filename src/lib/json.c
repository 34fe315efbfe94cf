/* SPDX-License-Identifier: ISC */
/*
 * json: json-c behind the strict scan, and writing.  Any thread.
 */
#include "lib/json.h"

#include <string.h>

struct json_object *
json_parse(const char *text, size_t len, const struct json_limits *limits, const char **why_r)
{
	struct json_tokener *tok;
	struct json_object *o;

	*why_r = json_scan(text, len, limits, NULL);
	if (*why_r)
		return NULL;
	/* json-c counts one level more than the scan, for the value itself. */
	tok = json_tokener_new_ex((int)limits->depth + 2);
	if (!tok)
		return NULL;
	o = json_tokener_parse_ex(tok, text, (int)len);
	if (json_tokener_get_error(tok) == json_tokener_continue) /* a bare number or word */
		o = json_tokener_parse_ex(tok, "", -1);
	if (json_tokener_get_error(tok) != json_tokener_success) {
		*why_r = json_tokener_error_desc(json_tokener_get_error(tok));
		json_object_put(o);
		o = NULL;
	} else if (!o) {
		*why_r = "null";
	}
	json_tokener_free(tok);
	return o;
}

void
json_put_string(struct buf *b, const char *s, size_t len)
{
	static const char hex[] = "0123456789abcdef";
	size_t from = 0;

	buf_putc(b, '"');
	for (size_t i = 0; i < len; i++) {
		unsigned char c = (unsigned char)s[i];

		if (c >= 0x20 && c != '"' && c != '\\')
			continue;
		buf_append(b, s + from, i - from);
		from = i + 1;
		if (c == '"' || c == '\\')
			buf_printf(b, "\\%c", c);
		else if (c == '\n')
			buf_puts(b, "\\n");
		else if (c == '\t')
			buf_puts(b, "\\t");
		else
			buf_printf(b, "\\u00%c%c", hex[c >> 4], hex[c & 15]);
	}
	buf_append(b, s + from, len - from);
	buf_putc(b, '"');
}

void
json_put(struct buf *b, struct json_object *o)
{
	size_t len;
	const char *s = json_object_to_json_string_length(
	    o, JSON_C_TO_STRING_PLAIN | JSON_C_TO_STRING_NOSLASHESCAPE, &len);

	buf_append(b, s, len);
}

/* false: there, with another type; *v_r NULL: absent or null. */
static bool
member(struct json_object *o, const char *key, enum json_type type, struct json_object **v_r)
{
	struct json_object *v = NULL;

	*v_r = NULL;
	if (!json_object_is_type(o, json_type_object) || !json_object_object_get_ex(o, key, &v) ||
	    !v)
		return true;
	if (!json_object_is_type(v, type))
		return false;
	*v_r = v;
	return true;
}

bool
json_get_str(struct json_object *o, const char *key, const char **r)
{
	struct json_object *v;

	if (!member(o, key, json_type_string, &v))
		return false;
	if (v)
		*r = json_object_get_string(v);
	return true;
}

bool
json_get_int(struct json_object *o, const char *key, int64_t *r)
{
	struct json_object *v;

	if (!member(o, key, json_type_int, &v))
		return false;
	if (v)
		*r = json_object_get_int64(v);
	return true;
}

bool
json_get_bool(struct json_object *o, const char *key, bool *r)
{
	struct json_object *v;

	if (!member(o, key, json_type_boolean, &v))
		return false;
	if (v)
		*r = json_object_get_boolean(v);
	return true;
}
