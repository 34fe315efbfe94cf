/* SPDX-License-Identifier: ISC */
/*
 * head: the request line and the header fields of an HTTP/1.1 request, read strictly
 * (RFC 9112, sections 2-6).  Pure: no state, no memory.
 *
 * What two readers could understand differently is refused, because it is what request
 * smuggling is made of: a bare LF or CR, white space around a field name, folded lines,
 * a second or malformed Content-Length or Host, Transfer-Encoding beside Content-Length
 * or other than "chunked".
 */
#ifndef PALAVER_WIRE_HEAD_H
#define PALAVER_WIRE_HEAD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define HEAD_FIELDS_MAX 64

enum http_method {
	HTTP_GET,
	HTTP_HEAD,
	HTTP_POST,
	HTTP_PUT,
	HTTP_PATCH,
	HTTP_DELETE,
	HTTP_OPTIONS
};

struct span { /* a piece of the text that was parsed */
	uint32_t at, len;
};

struct head_field {
	struct span name, value; /* the value without white space around it */
};

struct head_limits {
	size_t target; /* bytes of the request target; more: 414 */
	size_t total;  /* bytes of the whole head; more: 431 */
	size_t fields; /* at most HEAD_FIELDS_MAX; more: 431 */
};

struct http_head {
	enum http_method method;
	unsigned int minor; /* HTTP/1.minor */
	struct span path;   /* undecoded, begins with / */
	struct span query;  /* undecoded, without the ? */
	bool chunked;       /* Transfer-Encoding: chunked */
	bool length_given;
	uint64_t length; /* Content-Length, at most 15 digits */
	bool keep_alive;
	bool websocket; /* Connection names "upgrade", and an Upgrade field "websocket" */
	bool expect_continue;
	size_t field_count;
	struct head_field fields[HEAD_FIELDS_MAX];
};

struct head_fault {
	int status;
	const char *code; /* stable, for programs: "bad_request_line" */
};

/*
 * > 0: the head is complete and has so many bytes.  0: more is needed.  -1: refused,
 * see fault_r.
 */
long http_head_parse(const char *text, size_t len, const struct head_limits *limits,
    struct http_head *h, struct head_fault *fault_r);

/* The field with this name (lower case); NULL: absent.  The first, if there are several. */
const struct head_field *http_head_find(
    const struct http_head *h, const char *text, const char *name);

/*
 * Decodes %XX (and + if plus) into dst, NUL-terminated; dst holds len + 1.  The length,
 * or -1: not a valid escape, or it stands for NUL or another control character.
 */
long http_decode(char *dst, const char *src, size_t len, bool plus);

/*
 * The value of a query parameter, decoded, into dst, which holds len + 1 bytes.  The
 * last one of that name wins (protocol, section 2.1).
 */
enum http_query { HTTP_QUERY_ABSENT, HTTP_QUERY_GOOD, HTTP_QUERY_MALFORMED };
enum http_query http_query_get(const char *query, size_t len, const char *name, char *dst);

#endif
