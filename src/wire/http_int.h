/* SPDX-License-Identifier: ISC */
/*
 * http_int: a request, as http.c, http_body.c and http_stream.c have it.  Not for others.
 */
#ifndef PALAVER_WIRE_HTTP_INT_H
#define PALAVER_WIRE_HTTP_INT_H

#include "wire/chunk.h"
#include "wire/wire_int.h"

struct query_value {
	struct query_value *next;
	const char *name;
	char value[];
};

struct http_req {
	struct conn *conn;
	enum http_method method;
	bool websocket, expect_continue;
	char request_id[20];
	char *path; /* decoded */
	char *text; /* the head */
	const char *query, *raw_path;
	size_t raw_path_len;
	size_t query_len;
	struct head_field *fields;
	size_t field_count;
	struct query_value *values; /* that were asked for */
	struct buf body;            /* all of it; with a sink what the sink has not taken */
	size_t length;              /* that was announced */
	size_t taken;               /* of the body, by the sink */
	bool chunked, whole;
	struct chunk_reader chunks;
	const struct http_sink *sink; /* NULL: the body is kept */
	size_t sink_max;
	bool sink_busy, sink_ended;
	struct endpoint *endpoint; /* NULL: not Engine.IO */
	void *user;
	void (*abort)(void *arg);
	void *abort_arg; /* the sink's, too */
	void (*cancel)(void *arg); /* with abort_arg */
};

/* ---- http.c ---- */

bool http_is_rest(const struct http_req *r); /* its path is the application's */

/* ---- http_body.c ---- */

/* It was announced to a session, which is not to get it after all. */
void http_req_take_back(struct http_req *r);
/* Gives the sink what is there; r may be answered after it. */
void http_body_go_on(struct http_req *r);

/* ---- http_stream.c ---- */

struct http_stream *http_stream_new(
    struct conn *c, size_t len, const struct http_source *source, void *arg);

#endif
