/* SPDX-License-Identifier: ISC */
/*
 * head: one pass over the lines of a request head.  No state.
 */
#include "wire/head.h"

#include <string.h>
#include <strings.h>

#define LENGTH_DIGITS 15

struct reader {
	const char *text;
	size_t pos, len;
	struct head_fault *fault;
};

static long
refuse(struct reader *r, int status, const char *code)
{
	*r->fault = (struct head_fault){status, code};
	return -1;
}

/* RFC 9110, 5.6.2 */
static bool
is_token_char(unsigned char c)
{
	return (c >= '0' && c <= '9') || (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') ||
	       (c && strchr("!#$%&'*+-.^_`|~", c));
}

static bool
same(const char *text, struct span s, const char *word)
{
	return s.len == strlen(word) && strncasecmp(text + s.at, word, s.len) == 0;
}

/*
 * The next line without its CR LF.  1: there; 0: not complete; -1: a CR or LF that
 * stands alone, or a control character.
 */
static int
next_line(struct reader *r, struct span *line)
{
	size_t i = r->pos;

	line->at = (uint32_t)i;
	for (; i < r->len; i++) {
		unsigned char c = (unsigned char)r->text[i];

		if (c == '\r') {
			if (i + 1 == r->len)
				return 0;
			if (r->text[i + 1] != '\n')
				return -1;
			line->len = (uint32_t)(i - r->pos);
			r->pos = i + 2;
			return 1;
		}
		if ((c < ' ' && c != '\t') || c == 0x7f)
			return -1;
	}
	return 0;
}

/* ---- request line ---- */

static int
read_method(const char *text, struct span s, enum http_method *m)
{
	static const struct {
		const char *name;
		enum http_method method;
	} methods[] = {{"GET", HTTP_GET}, {"POST", HTTP_POST}, {"HEAD", HTTP_HEAD},
	    {"PUT", HTTP_PUT}, {"PATCH", HTTP_PATCH}, {"DELETE", HTTP_DELETE},
	    {"OPTIONS", HTTP_OPTIONS}};

	for (size_t i = 0; i < sizeof(methods) / sizeof(*methods); i++) {
		if (s.len == strlen(methods[i].name) &&
		    memcmp(text + s.at, methods[i].name, s.len) == 0) {
			*m = methods[i].method;
			return 0;
		}
	}
	return -1;
}

static bool
is_host_char(unsigned char c)
{
	return (c >= '0' && c <= '9') || (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') ||
	       (c && strchr("-._~!$&'()*+,;=%", c));
}

/* host or [IPv6], and perhaps a port (RFC 3986, 3.2.2 and 3.2.3); nothing else. */
static bool
authority_valid(const char *p, size_t len)
{
	const char *end = p + len, *host = p;

	if (p < end && *p == '[') {
		for (p++; p < end && (is_token_char((unsigned char)*p) || *p == ':'); p++)
			;
		if (p == end || p == host + 1 || *p++ != ']')
			return false;
	} else {
		while (p < end && is_host_char((unsigned char)*p))
			p++;
	}
	if (p == host || p == end)
		return p != host;
	if (*p++ != ':' || end - p > 5)
		return false;
	while (p < end && *p >= '0' && *p <= '9')
		p++;
	return p == end;
}

/* The length of "http://host" in front of an absolute-form; 0: it is none; -1: malformed. */
static long
absolute_prefix(const char *p, size_t len)
{
	size_t scheme = 0, end;

	if (len > 7 && strncasecmp(p, "http://", 7) == 0)
		scheme = 7;
	else if (len > 8 && strncasecmp(p, "https://", 8) == 0)
		scheme = 8;
	if (!scheme)
		return 0;
	for (end = scheme; end < len && p[end] != '/' && p[end] != '?'; end++)
		;
	return authority_valid(p + scheme, end - scheme) ? (long)end : -1;
}

/* Path and query of an origin-form or an absolute-form, whose path may be empty. */
static int
read_target(const char *text, struct span t, struct http_head *h)
{
	const char *p = text + t.at, *end = p + t.len, *mark;
	long prefix;

	for (const char *q = p; q < end; q++)
		if ((unsigned char)*q <= ' ' || (unsigned char)*q > '~' || *q == '#')
			return -1;
	prefix = absolute_prefix(p, t.len);
	if (prefix < 0 || (prefix == 0 && (p == end || *p != '/')))
		return -1;
	p += prefix;
	mark = memchr(p, '?', (size_t)(end - p));
	h->path = (struct span){(uint32_t)(p - text), (uint32_t)((mark ? mark : end) - p)};
	h->query = (struct span){(uint32_t)(end - text), 0};
	if (mark)
		h->query = (struct span){(uint32_t)(mark + 1 - text), (uint32_t)(end - mark - 1)};
	return 0;
}

/* HTTP/1.x is read as 1.1, unless x is 0.  0, or the status of the refusal. */
static int
read_version(const char *p, struct http_head *h)
{
	bool digits = p[5] >= '0' && p[5] <= '9' && p[6] == '.' && p[7] >= '0' && p[7] <= '9';

	if (strncmp(p, "HTTP/", 5) != 0 || !digits)
		return 400;
	h->minor = p[7] != '0';
	return p[5] == '1' ? 0 : 505;
}

static long
read_request_line(
    struct reader *r, struct span line, const struct head_limits *l, struct http_head *h)
{
	const char *p = r->text + line.at, *end = p + line.len;
	const char *a = memchr(p, ' ', line.len), *b;
	struct span method, target;
	int status;

	if (!a)
		return refuse(r, 400, "bad_request_line");
	b = memchr(a + 1, ' ', (size_t)(end - a - 1));
	if (!b || end - b - 1 != 8)
		return refuse(r, 400, "bad_request_line");
	status = read_version(b + 1, h);
	if (status)
		return refuse(r, status, status == 505 ? "http_version" : "bad_request_line");
	method = (struct span){line.at, (uint32_t)(a - p)};
	target = (struct span){(uint32_t)(a + 1 - r->text), (uint32_t)(b - a - 1)};
	for (uint32_t i = 0; i < method.len; i++)
		if (!is_token_char((unsigned char)r->text[method.at + i]))
			return refuse(r, 400, "bad_request_line");
	if (read_method(r->text, method, &h->method) < 0)
		return refuse(r, method.len ? 501 : 400,
		    method.len ? "method_not_implemented" : "bad_request_line");
	if (target.len > l->target)
		return refuse(r, 414, "uri_too_long");
	if (read_target(r->text, target, h) < 0)
		return refuse(r, 400, "bad_target");
	return 0;
}

/* ---- fields ---- */

static long
read_field(struct reader *r, struct span line, size_t max, struct http_head *h)
{
	const char *p = r->text + line.at, *end = p + line.len, *colon;
	struct head_field *f;

	if (h->field_count == max || h->field_count == HEAD_FIELDS_MAX)
		return refuse(r, 431, "too_many_fields");
	colon = memchr(p, ':', line.len);
	if (!colon || colon == p)
		return refuse(r, 400, "bad_field");
	for (const char *q = p; q < colon; q++)
		if (!is_token_char((unsigned char)*q))
			return refuse(r, 400, "bad_field");
	f = &h->fields[h->field_count++];
	f->name = (struct span){line.at, (uint32_t)(colon - p)};
	for (colon++; colon < end && (*colon == ' ' || *colon == '\t'); colon++)
		;
	while (end > colon && (end[-1] == ' ' || end[-1] == '\t'))
		end--;
	f->value = (struct span){(uint32_t)(colon - r->text), (uint32_t)(end - colon)};
	return 0;
}

/* Is word one of the comma-separated elements? */
static bool
lists(const char *text, struct span v, const char *word)
{
	size_t n = strlen(word), i = 0;

	while (i < v.len) {
		const char *p = text + v.at + i;
		size_t len = 0, whole;

		while (i + len < v.len && p[len] != ',')
			len++;
		whole = len;
		while (len && (*p == ' ' || *p == '\t'))
			p++, len--;
		while (len && (p[len - 1] == ' ' || p[len - 1] == '\t'))
			len--;
		if (len == n && strncasecmp(p, word, n) == 0)
			return true;
		i += whole + 1;
	}
	return false;
}

static int
read_length(const char *text, struct span v, uint64_t *length_r)
{
	*length_r = 0;
	if (!v.len || v.len > LENGTH_DIGITS)
		return -1;
	for (uint32_t i = 0; i < v.len; i++) {
		char c = text[v.at + i];

		if (c < '0' || c > '9')
			return -1;
		*length_r = *length_r * 10 + (uint64_t)(c - '0');
	}
	return 0;
}

struct meaning {
	bool close, keep, upgrade, websocket;
	unsigned int hosts, codings;
	bool chunked_last, chunked_only;
};

/* "chunked" as the last of the codings, and as the only one. */
static void
read_coding(const char *text, struct span v, struct meaning *m)
{
	uint32_t last = v.len;

	while (last && text[v.at + last - 1] != ',')
		last--;
	while (last < v.len && (text[v.at + last] == ' ' || text[v.at + last] == '\t'))
		last++;
	m->codings++;
	m->chunked_last = same(text, (struct span){v.at + last, v.len - last}, "chunked");
	m->chunked_only = same(text, v, "chunked");
}

static long
read_one_meaning(
    struct reader *r, const struct head_field *f, struct meaning *m, struct http_head *h)
{
	const char *text = r->text;

	if (same(text, f->name, "host")) {
		if (++m->hosts > 1 || !authority_valid(text + f->value.at, f->value.len))
			return refuse(r, 400, "bad_host");
	} else if (same(text, f->name, "content-length")) {
		if (h->length_given || read_length(text, f->value, &h->length) < 0)
			return refuse(r, 400, "bad_content_length");
		h->length_given = true;
	} else if (same(text, f->name, "transfer-encoding")) {
		read_coding(text, f->value, m);
	} else if (same(text, f->name, "connection")) {
		m->close = m->close || lists(text, f->value, "close");
		m->keep = m->keep || lists(text, f->value, "keep-alive");
		m->upgrade = m->upgrade || lists(text, f->value, "upgrade");
	} else if (same(text, f->name, "upgrade")) {
		m->websocket = m->websocket || lists(text, f->value, "websocket");
	} else if (same(text, f->name, "expect")) {
		if (!same(text, f->value, "100-continue"))
			return refuse(r, 417, "expectation_failed");
		h->expect_continue = true;
	}
	return 0;
}

/* What the fields mean together. */
static long
read_meaning(struct reader *r, struct http_head *h)
{
	struct meaning m = {0};

	h->expect_continue = false;
	for (size_t i = 0; i < h->field_count; i++)
		if (read_one_meaning(r, &h->fields[i], &m, h) < 0)
			return -1;
	if (m.codings && (h->length_given || m.codings > 1 || h->minor == 0 || !m.chunked_last))
		return refuse(r, 400, "bad_transfer_encoding");
	if (m.codings && !m.chunked_only)
		return refuse(r, 501, "transfer_encoding_not_implemented");
	if (!m.hosts && h->minor == 1)
		return refuse(r, 400, "host_required");
	h->chunked = m.codings;
	h->keep_alive = !m.close && (h->minor == 1 || m.keep);
	h->websocket = h->minor == 1 && m.upgrade && m.websocket;
	h->expect_continue = h->expect_continue && h->minor == 1;
	return 0;
}

long
http_head_parse(const char *text, size_t len, const struct head_limits *limits, struct http_head *h,
    struct head_fault *fault_r)
{
	struct reader r = {text, 0, len < limits->total ? len : limits->total, fault_r};
	bool first = true;
	struct span line;
	int got;

	h->field_count = 0;
	h->length_given = h->chunked = false;
	h->length = 0;
	if (r.len >= 2 && memcmp(text, "\r\n", 2) == 0)
		r.pos = 2; /* RFC 9112, 2.2: one empty line in front is let pass */
	for (;;) {
		got = next_line(&r, &line);
		if (got < 0)
			return refuse(&r, 400, first ? "bad_request_line" : "bad_field");
		if (!got)
			break;
		if (!first && !line.len)
			return read_meaning(&r, h) < 0 ? -1 : (long)r.pos;
		if ((first ? read_request_line(&r, line, limits, h)
			   : read_field(&r, line, limits->fields, h)) < 0)
			return -1;
		first = false;
	}
	if (first && r.len - line.at > limits->target + 32)
		return refuse(&r, 414, "uri_too_long");
	if (len >= limits->total)
		return refuse(&r, 431, "head_too_large");
	return 0;
}

const struct head_field *
http_head_find(const struct http_head *h, const char *text, const char *name)
{
	for (size_t i = 0; i < h->field_count; i++)
		if (same(text, h->fields[i].name, name))
			return &h->fields[i];
	return NULL;
}

/* ---- escapes ---- */

static int
hex(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	if (c >= 'A' && c <= 'F')
		return c - 'A' + 10;
	if (c >= 'a' && c <= 'f')
		return c - 'a' + 10;
	return -1;
}

long
http_decode(char *dst, const char *src, size_t len, bool plus)
{
	size_t n = 0;

	for (size_t i = 0; i < len; i++) {
		int c = (unsigned char)src[i];

		if (c == '%') {
			int hi = i + 2 < len ? hex(src[i + 1]) : -1;
			int lo = i + 2 < len ? hex(src[i + 2]) : -1;

			if (hi < 0 || lo < 0)
				return -1;
			c = hi << 4 | lo;
			i += 2;
		} else if (plus && c == '+') {
			c = ' ';
		}
		if (c < ' ' || c == 0x7f)
			return -1;
		dst[n++] = (char)c;
	}
	dst[n] = '\0';
	return (long)n;
}

/* Is this, decoded, the name? */
static bool
is_name(const char *p, size_t len, const char *name)
{
	char decoded[64];

	if (len >= sizeof(decoded))
		return false;
	return http_decode(decoded, p, len, true) >= 0 && strcmp(decoded, name) == 0;
}

enum http_query
http_query_get(const char *query, size_t len, const char *name, char *dst)
{
	const char *value = NULL;
	size_t value_len = 0, i = 0;

	while (i < len) {
		const char *p = query + i, *end = memchr(p, '&', len - i), *eq;
		size_t part = end ? (size_t)(end - p) : len - i, n;

		eq = memchr(p, '=', part);
		n = eq ? (size_t)(eq - p) : part;
		if (is_name(p, n, name)) {
			value = eq ? eq + 1 : p + n;
			value_len = part - (size_t)(value - p);
		}
		i += part + 1;
	}
	if (!value)
		return HTTP_QUERY_ABSENT;
	return http_decode(dst, value, value_len, true) < 0 ? HTTP_QUERY_MALFORMED
							    : HTTP_QUERY_GOOD;
}
