/* SPDX-License-Identifier: ISC */
/*
 * fuzz_head: the head of an HTTP request, and escapes in what was accepted.
 * Input: a byte for the limits, a byte for the cut, the text.
 */
#include "fuzz.h"

#include "wire/head.h"

static struct head_limits limits;

static long
parse(const char *text, size_t len, struct http_head *h, struct head_fault *fault)
{
	char *copy = fuzz_copy(text, len);
	long n;

	memset(h, 0xa5, sizeof(*h)); /* nothing may depend on what was there */
	n = http_head_parse(copy, len, &limits, h, fault);
	free(copy);
	return n;
}

static void
assert_inside(struct span s, size_t from, size_t end)
{
	assert(s.at >= from && s.at <= end && s.len <= end - s.at);
}

static bool
is_blank(char c)
{
	return c == ' ' || c == '\t';
}

/* http.c writes a NUL behind each name and value: it must not hit another one. */
static void
check_field(const struct head_field *f, const char *text, size_t from, size_t end)
{
	const char *value = text + f->value.at;

	assert_inside(f->name, from, end);
	assert_inside(f->value, f->name.at + f->name.len + 1, end);
	assert(f->name.len && text[f->name.at + f->name.len] == ':');
	for (size_t i = 0; i < f->name.len; i++) {
		unsigned char c = (unsigned char)text[f->name.at + i];

		assert(c > ' ' && c < 0x7f && c != ':');
	}
	for (size_t i = 0; i < f->value.len; i++) {
		unsigned char c = (unsigned char)value[i];

		assert((c >= ' ' || c == '\t') && c != 0x7f);
	}
	if (f->value.len)
		assert(!is_blank(value[0]) && !is_blank(value[f->value.len - 1]));
	assert(is_blank(value[f->value.len]) || value[f->value.len] == '\r');
}

static void
check_accepted(const struct http_head *h, const char *text, size_t len)
{
	size_t from = h->query.at + h->query.len, target = from - h->path.at;
	const char *mark;

	assert(len >= 4 && memcmp(text + len - 4, "\r\n\r\n", 4) == 0 && len <= limits.total);
	assert(h->method <= HTTP_OPTIONS && h->minor <= 1);
	assert_inside(h->path, 0, len);
	assert_inside(h->query, h->path.at + h->path.len, len);
	/* Only that of an absolute-form may be empty. */
	assert(h->path.len ? text[h->path.at] == '/' : text[h->path.at - 1] != ' ');
	assert(target <= limits.target);
	/* The first question mark of the line ends the path. */
	mark = memchr(text, '?', from);
	assert(mark ? mark == text + h->query.at - 1 : !h->query.len);
	assert(text[from] == ' ');
	assert(h->field_count <= limits.fields);
	for (size_t i = 0; i < h->field_count; i++) {
		check_field(&h->fields[i], text, from, len);
		from = h->fields[i].value.at + h->fields[i].value.len;
	}
	assert(!(h->chunked && (h->length_given || h->minor == 0)));
	assert(h->length < UINT64_C(1000000000000000) && (h->length_given || !h->length));
	assert(http_head_find(h, text, "host") || h->minor == 0);
	assert(!h->websocket || (h->minor && http_head_find(h, text, "upgrade")));
	assert(!h->expect_continue || (h->minor && http_head_find(h, text, "expect")));
}

/* Nothing that decodes to a control character, and no longer than it was. */
static void
check_decoded(const char *dst, long n, size_t len)
{
	assert(n >= 0 && (size_t)n <= len && strlen(dst) == (size_t)n);
	for (long i = 0; i < n; i++)
		assert((unsigned char)dst[i] >= ' ' && dst[i] != 0x7f);
}

static void
decode(const char *text, struct span s, bool plus)
{
	char *src = fuzz_copy(text + s.at, s.len), *dst = malloc(s.len + 1);
	long n = http_decode(dst, src, s.len, plus);

	assert(n >= 0 || memchr(src, '%', s.len));
	if (n >= 0)
		check_decoded(dst, n, s.len);
	free(src);
	free(dst);
}

static void
query(const char *text, struct span s)
{
	static const char *const names[] = {"EIO", "sid", "transport", ""};
	char *src = fuzz_copy(text + s.at, s.len), *dst = malloc(s.len + 1);

	for (size_t i = 0; i < sizeof(names) / sizeof(*names); i++) {
		enum http_query got = http_query_get(src, s.len, names[i], dst);

		assert(got <= HTTP_QUERY_MALFORMED);
		if (got == HTTP_QUERY_GOOD)
			check_decoded(dst, (long)strlen(dst), s.len);
		if (got == HTTP_QUERY_MALFORMED)
			assert(memchr(src, '%', s.len));
	}
	free(src);
	free(dst);
}

/* What follows a head is not looked at, and what precedes its end needs more. */
static void
check_cut(const char *text, size_t len, long whole, const struct http_head *h, size_t cut)
{
	struct head_fault fault = {0, NULL};
	struct http_head part;
	long n = parse(text, cut, &part, &fault);

	assert(n <= 0 || n == whole);
	if (whole == 0 || (whole > 0 && cut < (size_t)whole))
		assert(n == 0);
	if (whole <= 0 || cut < (size_t)whole)
		return;
	assert(n == whole && part.method == h->method && part.minor == h->minor);
	assert(part.chunked == h->chunked && part.length == h->length);
	assert(part.keep_alive == h->keep_alive && part.websocket == h->websocket);
	assert(part.field_count == h->field_count);
	assert(memcmp(part.fields, h->fields, h->field_count * sizeof(*h->fields)) == 0);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct head_fault fault = {0, NULL};
	const char *text = (const char *)data + 2;
	struct http_head h;
	size_t len = size - 2;
	long n;

	if (size < 2)
		return 0;
	limits = (struct head_limits){2000, 8000, HEAD_FIELDS_MAX};
	if (data[0] & 1)
		limits = (struct head_limits){data[0], data[0] * 2U, data[0] / 16};
	n = parse(text, len, &h, &fault);
	assert(n >= -1 && n <= (long)len);
	if (n < 0)
		assert(fault.status >= 400 && fault.status < 600 && fault.code && *fault.code);
	if (n > 0) {
		check_accepted(&h, text, (size_t)n);
		check_cut(text, len, n, &h, (size_t)n);
		check_cut(text, len, n, &h, (size_t)n - 1);
		decode(text, h.path, false);
		query(text, h.query);
	}
	check_cut(text, len, n, &h, data[1] * (len + 1) / 256);
	return 0;
}
