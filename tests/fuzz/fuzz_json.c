/* SPDX-License-Identifier: ISC */
/*
 * fuzz_json: what the scan accepts json-c parses, and what it writes is accepted again;
 * UTF-8 and strings.  Input: a byte for the limits, the text.
 */
#include "fuzz.h"

#include "lib/json.h"

static const struct json_limits limits[] = {
    {.depth = 16, .keys = 1000},
    {.depth = 32, .keys = 10000, .any_text = true},
    {.depth = 2, .keys = 2},
    {.depth = 0, .keys = 0, .any_text = true},
};

/* UTF-8 by its definition: what a code point is, and that it has no shorter form. */
static bool
utf8_by_definition(const uint8_t *p, size_t len)
{
	static const uint32_t least[] = {0, 0, 0x80, 0x800, 0x10000};

	while (len) {
		size_t n = *p < 0x80       ? 1
			   : *p >> 5 == 6  ? 2
			   : *p >> 4 == 14 ? 3
			   : *p >> 3 == 30 ? 4
					   : 0;
		uint32_t c = n == 1 ? *p : *p & (0x7fU >> n);

		if (!n || n > len)
			return false;
		for (size_t i = 1; i < n; i++) {
			if (p[i] >> 6 != 2)
				return false;
			c = c << 6 | (p[i] & 0x3f);
		}
		if (c < least[n] || c > 0x10ffff || (c >= 0xd800 && c <= 0xdfff))
			return false;
		p += n;
		len -= n;
	}
	return true;
}

/* Any valid text is a JSON string, and is the same when it was read. */
static void
check_string(const char *text, size_t len)
{
	struct json_object *o;
	const char *why;
	struct buf b;

	if (!utf8_valid(text, len))
		return;
	buf_init(&b);
	json_put_string(&b, text, len);
	assert(!json_scan((char *)b.data, b.len, &limits[1], NULL));
	o = json_parse((char *)b.data, b.len, &limits[1], &why);
	assert(o && json_object_is_type(o, json_type_string));
	assert((size_t)json_object_get_string_len(o) == len);
	assert(memcmp(json_object_get_string(o), text, len) == 0);
	json_object_put(o);
	buf_fini(&b);
}

/* What was written is valid, and stays as it is from then on. */
static void
check_written(struct json_object *o, const struct json_limits *l)
{
	struct json_object *o2;
	struct buf b, b2;
	const char *why;

	buf_init(&b);
	buf_init(&b2);
	json_put(&b, o);
	assert(!json_scan((char *)b.data, b.len, l, NULL));
	o2 = json_parse((char *)b.data, b.len, l, &why);
	assert(o2);
	json_put(&b2, o2);
	assert(b.len == b2.len && memcmp(b.data, b2.data, b.len) == 0);
	json_object_put(o2);
	buf_fini(&b);
	buf_fini(&b2);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	const char *text = (const char *)data + 1, *wrong, *why;
	const struct json_limits *l;
	struct json_object *o;
	size_t len = size - 1, offset = SIZE_MAX;

	if (!size)
		return 0;
	l = &limits[data[0] % 4];
	wrong = json_scan(text, len, l, &offset);
	assert(offset <= len && (wrong || offset == len));
	assert(!wrong || *wrong);
	o = json_parse(text, len, l, &why);
	if (wrong)
		assert(!o && why == wrong);
	else if (!o)
		assert(strcmp(why, "null") == 0 && memmem(text, len, "null", 4));
	else
		check_written(o, l);
	json_object_put(o);
	assert(utf8_valid(text, len) == utf8_by_definition(data + 1, len));
	assert(wrong || utf8_valid(text, len));
	check_string(text, len);
	return 0;
}
