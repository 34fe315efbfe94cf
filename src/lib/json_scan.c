/* SPDX-License-Identifier: ISC */
/*
 * json_scan: a strict validator for JSON from outside: RFC 8259 to the letter, plus
 * limits.  Pure; any thread.  One pass, no allocation; nesting is counted, and the
 * recursion is bounded by limits.depth.
 */
#include <string.h>

#include "lib/json.h"

#define INT_LIMIT (UINT64_C(1) << 53)

const struct json_limits json_default_limits = {.depth = 16, .keys = 1000};

struct scan {
	const unsigned char *start, *p, *end;
	const struct json_limits *limits;
	unsigned int keys;
	bool any_text; /* in the string at hand */
};

static const char *scan_value(struct scan *s, unsigned int depth);

/* Length of the UTF-8 sequence at p (RFC 3629), 0: invalid. */
static size_t
utf8_length(const unsigned char *p, const unsigned char *end)
{
	size_t left = (size_t)(end - p), n;
	unsigned char lo = 0x80, hi = 0xbf;

	if (*p < 0x80)
		return 1;
	if (*p < 0xc2 || *p > 0xf4)
		return 0;
	n = *p < 0xe0 ? 2 : *p < 0xf0 ? 3 : 4;
	if (n > left)
		return 0;
	if (*p == 0xe0)
		lo = 0xa0; /* overlong */
	else if (*p == 0xed)
		hi = 0x9f; /* surrogates */
	else if (*p == 0xf0)
		lo = 0x90; /* overlong */
	else if (*p == 0xf4)
		hi = 0x8f; /* above U+10FFFF */
	if (p[1] < lo || p[1] > hi)
		return 0;
	for (size_t i = 2; i < n; i++)
		if (p[i] < 0x80 || p[i] > 0xbf)
			return 0;
	return n;
}

bool
utf8_valid(const void *data, size_t len)
{
	const unsigned char *p = data, *end = p + len;

	while (p < end) {
		uint64_t v = 0;
		size_t n;

		if (end - p >= 8)
			memcpy(&v, p, 8);
		if (end - p >= 8 && !(v & UINT64_C(0x8080808080808080))) {
			p += 8;
			continue;
		}
		n = utf8_length(p, end);
		if (!n)
			return false;
		p += n;
	}
	return true;
}

bool
utf8_printable(const char *text)
{
	if (!utf8_valid(text, strlen(text)))
		return false;
	for (const unsigned char *p = (const unsigned char *)text; *p; p++) {
		if (*p < 0x20 || *p == 0x7f)
			return false;
		if (*p == 0xc2 && p[1] < 0xa0) /* U+0080 to U+009F */
			return false;
	}
	return true;
}

/*
 * How many of the bytes from p on are plain: printable ASCII, no quote, no backslash.
 * Eight at a time (Mycroft's test); it may stop early.
 */
static size_t
plain_length(const unsigned char *p, const unsigned char *end)
{
	const uint64_t ones = UINT64_C(0x0101010101010101), high = ones * 0x80;
	const unsigned char *from = p;

	for (; end - p >= 8; p += 8) {
		uint64_t v, quote, slash;

		memcpy(&v, p, 8);
		quote = v ^ ones * '"';
		slash = v ^ ones * '\\';
		if ((v | (v - ones * 0x20) | (quote - ones) | (slash - ones)) & high)
			break;
	}
	return (size_t)(p - from);
}

static void
skip_space(struct scan *s)
{
	while (s->p < s->end && (*s->p == ' ' || *s->p == '\t' || *s->p == '\n' || *s->p == '\r'))
		s->p++;
}

/* Four hex digits at s->p, or -1. */
static int
scan_hex4(struct scan *s)
{
	int v = 0;

	if (s->end - s->p < 4)
		return -1;
	for (int i = 0; i < 4; i++) {
		unsigned char c = *s->p++;

		if (c >= '0' && c <= '9')
			v = v * 16 + c - '0';
		else if ((c | 32) >= 'a' && (c | 32) <= 'f')
			v = v * 16 + (c | 32) - 'a' + 10;
		else
			return -1;
	}
	return v;
}

/* After the "\u". */
static const char *
scan_unicode_escape(struct scan *s)
{
	int low, v = scan_hex4(s);

	if (v < 0)
		return "bad \\u escape";
	if (s->any_text)
		return NULL;
	if (v == 0)
		return "\\u0000 is not accepted";
	if (v >= 0xdc00 && v <= 0xdfff)
		return "lone surrogate";
	if (v < 0xd800 || v > 0xdbff)
		return NULL;
	if (s->end - s->p < 2 || s->p[0] != '\\' || s->p[1] != 'u')
		return "lone surrogate";
	s->p += 2;
	low = scan_hex4(s);
	return low >= 0xdc00 && low <= 0xdfff ? NULL : "lone surrogate";
}

/* At the opening quote. */
static const char *
scan_string(struct scan *s)
{
	s->p++;
	while (s->p < s->end) {
		const char *why;
		size_t n = plain_length(s->p, s->end);

		if (n) {
			s->p += n;
			continue;
		}
		if (*s->p == '"') {
			s->p++;
			return NULL;
		}
		if (*s->p < 0x20)
			return "control character in a string";
		if (*s->p != '\\') {
			n = utf8_length(s->p, s->end);
			if (!n)
				return "invalid UTF-8";
			s->p += n;
			continue;
		}
		if (++s->p == s->end)
			break;
		if (*s->p == 'u') {
			s->p++;
			why = scan_unicode_escape(s);
			if (why)
				return why;
		} else if (*s->p && strchr("\"\\/bfnrt", *s->p)) {
			s->p++;
		} else {
			return "bad escape";
		}
	}
	return "unterminated string";
}

static bool
scan_digits(struct scan *s)
{
	const unsigned char *from = s->p;

	while (s->p < s->end && *s->p >= '0' && *s->p <= '9')
		s->p++;
	return s->p > from;
}

static const char *
check_integer(const unsigned char *digits, const unsigned char *end)
{
	uint64_t v = 0;

	for (; digits < end; digits++) {
		v = v * 10 + (*digits - '0');
		if (v > INT_LIMIT)
			return "integer beyond 2^53";
	}
	return NULL;
}

static const char *
scan_number(struct scan *s)
{
	const unsigned char *digits;
	bool integer = true;

	if (*s->p == '-')
		s->p++;
	digits = s->p;
	if (!scan_digits(s))
		return "bad number";
	if (*digits == '0' && s->p - digits > 1)
		return "number with a leading zero";
	if (s->p < s->end && *s->p == '.') {
		integer = false;
		s->p++;
		if (!scan_digits(s))
			return "bad number";
	}
	if (s->p < s->end && (*s->p | 32) == 'e') {
		integer = false;
		s->p++;
		if (s->p < s->end && (*s->p == '+' || *s->p == '-'))
			s->p++;
		if (!scan_digits(s))
			return "bad number";
	}
	return integer ? check_integer(digits, s->p) : NULL;
}

static const char *
scan_word(struct scan *s, const char *word)
{
	size_t n = strlen(word);

	if ((size_t)(s->end - s->p) < n || memcmp(s->p, word, n) != 0)
		return "unexpected character";
	s->p += n;
	return NULL;
}

/* `"key":` of an object. */
static const char *
scan_key(struct scan *s)
{
	const char *why;

	if (s->p == s->end || *s->p != '"')
		return "expected a key";
	if (++s->keys > s->limits->keys)
		return "too many keys";
	s->any_text = false;
	why = scan_string(s);
	if (why)
		return why;
	skip_space(s);
	if (s->p == s->end || *s->p != ':')
		return "expected ':'";
	s->p++;
	return NULL;
}

/* At the opening bracket; close is its partner. */
static const char *
scan_container(struct scan *s, char close, unsigned int depth)
{
	const char *why;

	if (depth >= s->limits->depth)
		return "nested too deeply";
	s->p++;
	skip_space(s);
	if (s->p < s->end && *s->p == close) {
		s->p++;
		return NULL;
	}
	for (;;) {
		skip_space(s);
		if (close == '}') {
			why = scan_key(s);
			if (why)
				return why;
		}
		why = scan_value(s, depth + 1);
		if (why)
			return why;
		if (s->p == s->end)
			return "unexpected end";
		if (*s->p == close) {
			s->p++;
			return NULL;
		}
		if (*s->p++ != ',')
			return "expected ',' or the end of the list";
	}
}

/* With white space before and after it. */
static const char *
scan_value(struct scan *s, unsigned int depth)
{
	const char *why;

	skip_space(s);
	if (s->p == s->end)
		return "unexpected end";
	switch (*s->p) {
	case '{':
		why = scan_container(s, '}', depth);
		break;
	case '[':
		why = scan_container(s, ']', depth);
		break;
	case '"':
		s->any_text = s->limits->any_text;
		why = scan_string(s);
		break;
	case 't':
		why = scan_word(s, "true");
		break;
	case 'f':
		why = scan_word(s, "false");
		break;
	case 'n':
		why = scan_word(s, "null");
		break;
	default:
		why = *s->p == '-' || (*s->p >= '0' && *s->p <= '9') ? scan_number(s)
								     : "unexpected character";
	}
	if (!why)
		skip_space(s);
	return why;
}

const char *
json_scan(const char *text, size_t len, const struct json_limits *limits, size_t *offset_r)
{
	struct scan s = {.limits = limits};
	const char *why;

	s.start = s.p = (const unsigned char *)text;
	s.end = s.p + len;
	why = scan_value(&s, 0);
	if (!why && s.p != s.end)
		why = "text after the value";
	if (offset_r)
		*offset_r = (size_t)(s.p - s.start);
	return why;
}
