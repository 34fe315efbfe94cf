/* SPDX-License-Identifier: ISC */
/*
 * http: one HTTP request and its answer, as the application sees them.
 * Thread: loop.
 */
#ifndef PALAVER_WIRE_HTTP_H
#define PALAVER_WIRE_HTTP_H

#include <stdbool.h>
#include <stddef.h>

#include "lib/buf.h"
#include "wire/head.h"

struct http_req;

/* Valid until the request was answered or aborted. */
enum http_method http_method(const struct http_req *r);
const char *http_method_name(enum http_method m);
const char *http_path(const struct http_req *r); /* decoded, without the query, begins with / */
/*
 * A query parameter, decoded; NULL: absent; HTTP_MALFORMED, which no good one can be: it has
 * a bad escape.  The last one wins.  name: a constant.
 */
#define HTTP_MALFORMED "\001"
const char *http_query(const struct http_req *r, const char *name);
/* A header field by its name in lower case; NULL: absent.  The first of several. */
const char *http_header(const struct http_req *r, const char *name);
const char *http_body(const struct http_req *r, size_t *len_r);
#define HTTP_ADDRESS_MAX 48
void http_address(const struct http_req *r, char dst[HTTP_ADDRESS_MAX]); /* peer, text */
const char *http_request_id(const struct http_req *r); /* for logs and problem+json */

/*
 * Answers, now or later (while the client is still there: see abort).  type may be
 * NULL with no body.  headers: "Name: value\r\n" lines or NULL.  r is gone after it.
 * Content-Length, Date-less; adds Cache-Control: no-store, X-Request-Id,
 * X-Content-Type-Options: nosniff.
 */
void http_reply(struct http_req *r, int status, const char *type, const char *headers,
    const void *body, size_t len);

/*
 * A handler that answers later sets this; abort(arg) runs if the client goes away
 * before the answer: r is gone then and must not be answered.
 */
void http_on_abort(struct http_req *r, void (*abort)(void *arg), void *arg);

#endif
