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
/* The client's address as text: the peer's, or what a trusted proxy says (http.trusted_proxies). */
void http_address(const struct http_req *r, char dst[HTTP_ADDRESS_MAX]);
/* false: the peer is a trusted proxy and names no client: nobody is known to limit. */
bool http_address_known(const struct http_req *r);
/*
 * Does the client speak https?  TLS ends here, or a trusted proxy says so: the last element
 * of X-Forwarded-Proto.
 */
bool http_is_secure(const struct http_req *r);
/*
 * Does the request come from a page of this server (RFC 6454, 5: same scheme, host and port)
 * or of an origin that http.origins names?  false also where there is no Origin, and
 * "*" names nobody: this is for what acts with the rights of a cookie.
 */
bool http_origin_allowed(const struct http_req *r);
/*
 * The value of a cookie of the request (RFC 6265, 4.2), the first of that name; over https of
 * __Host-<name>, which no other host can have set (6265bis, 4.1.3.2).  false: there is none, it
 * is empty, or it does not fit.
 */
#define HTTP_COOKIE_PREFIX "__Host-"
bool http_cookie(const struct http_req *r, const char *name, char *dst, size_t size);
const char *http_request_id(const struct http_req *r); /* for logs and problem+json */

/*
 * Answers, now or later (while the client is still there: see abort).  type may be
 * NULL with no body.  headers: "Name: value\r\n" lines or NULL.  r is gone after it.
 * Content-Length, Date-less; adds Cache-Control: no-store, X-Request-Id,
 * X-Content-Type-Options: nosniff.
 */
void http_reply(struct http_req *r, int status, const char *type, const char *headers,
    const void *body, size_t len);

/* ---- bodies and answers that are not kept whole ---- */

/*
 * Where a body goes piece by piece.  Both run with the arg of http_on_abort(), and may answer
 * the request; after that none of them runs.
 */
struct http_sink {
	/* Takes what is in b: b is empty then.  The next one comes after http_body_next(). */
	void (*data)(void *arg, struct buf *b);
	void (*end)(void *arg); /* that was all of it, and the last piece was taken */
};
/* In wire_app.begin alone.  A body of more than max bytes is answered 413. */
void http_body_to(struct http_req *r, size_t max, const struct http_sink *sink);
/* The sink has done with the last piece.  May call it at once. */
void http_body_next(struct http_req *r);

/*
 * Where an answer comes from piece by piece.  pull: http_stream_put() with 1 to max bytes is
 * wanted, once, now or later, or http_stream_fail().  closed: it was all sent, or the client is
 * gone; the stream is gone.
 */
#define HTTP_PIECE (128 * 1024)
struct http_source {
	void (*pull)(void *arg, size_t max);
	void (*closed)(void *arg);
};
struct http_stream;
/* As http_reply(), with len bytes of source.  Not for HEAD. */
struct http_stream *http_reply_stream(struct http_req *r, int status, const char *type,
    const char *headers, size_t len, const struct http_source *source, void *arg);
void http_stream_put(struct http_stream *st, const void *data, size_t len);
/* Cuts the connection: the client sees that it has not all. */
void http_stream_fail(struct http_stream *st);

/*
 * A handler that answers later sets this; abort(arg) runs if the client goes away
 * before the answer: r is gone then and must not be answered.
 */
void http_on_abort(struct http_req *r, void (*abort)(void *arg), void *arg);

#endif
