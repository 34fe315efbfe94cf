/* SPDX-License-Identifier: ISC */
/*
 * http_body: the body of a request, kept whole or given to a sink piece by piece.  Loop
 * thread.
 *
 * A sink takes one piece at a time.  What arrives meanwhile is kept; once that is SINK_AHEAD
 * bytes, nothing more is read from the connection until the sink goes on.  So a sink that
 * writes to a disk holds up its client, and nobody else.
 */
#include <string.h>

#include "wire/http_int.h"

#define SINK_AHEAD (64 * 1024)

/* Of a body, all of it. */
static size_t
body_limit(const struct http_req *r)
{
	const struct wire_opts *o = &r->conn->wire->opts;

	if (r->sink)
		return r->sink_max;
	return r->endpoint ? o->max_payload : o->max_body;
}

void
http_req_take_back(struct http_req *r)
{
	if (r->cancel)
		r->cancel(r->abort_arg);
	r->cancel = r->abort = NULL;
	r->user = NULL;
}

static void
refuse_too_large(struct http_req *r)
{
	if (!r->endpoint && r->conn->wire->draining) {
		http_refuse(r->conn, 503, "shutting_down"); /* it might have had a sink */
	} else if (!r->endpoint) {
		http_refuse(r->conn, 413, "too_large");
	} else {
		http_req_take_back(r);
		http_reply(r, 413, NULL, NULL, NULL, 0);
	}
}

/* Before the body is read, those are told who want to know; either may answer. */
static void
announce(struct http_req *r)
{
	struct conn *c = r->conn;
	const struct wire_app *app = &c->wire->app;

	if (r->endpoint && (r->chunked || r->length > c->in.len))
		eio_http_body_begins(r->endpoint, r);
	else if (!r->endpoint && app->begin && !c->wire->draining && http_is_rest(r))
		app->begin(app->arg, r);
}

bool
http_req_begin(struct http_req *r)
{
	struct conn *c = r->conn;

	if (!r->path) {
		http_refuse(c, 400, "bad_target");
		return false;
	}
	r->endpoint = endpoint_of(c->wire, r->raw_path, r->raw_path_len);
	if (r->endpoint && r->length > body_limit(r)) {
		refuse_too_large(r);
		return false;
	}
	announce(r);
	if (c->req == r && r->length > body_limit(r))
		refuse_too_large(r);
	if (c->req != r)
		return false;
	if (r->expect_continue && !c->in.len && (r->chunked || r->length))
		conn_write_interim(c, "HTTP/1.1 100 Continue\r\n\r\n");
	return true;
}

/* Appends as many bytes as belong to the body.  false: refused. */
static bool
take(struct http_req *r, const void *data, size_t len, size_t *used_r)
{
	size_t missing = r->length - r->taken - r->body.len;
	int got;

	if (!r->chunked) {
		*used_r = len < missing ? len : missing;
		buf_append(&r->body, data, *used_r);
		r->whole = *used_r == missing;
		return true;
	}
	got = chunk_feed(&r->chunks, data, len, used_r, body_limit(r) - r->taken, &r->body);
	r->whole = got == 1;
	if (got == -413)
		refuse_too_large(r);
	else if (got < 0)
		http_refuse(r->conn, 400, "bad_chunk");
	return got >= 0;
}

bool
http_req_take(struct http_req *r, const void *data, size_t len, size_t *used_r)
{
	struct conn *c = r->conn;

	if (!take(r, data, len, used_r))
		return false;
	if (r->sink && !r->whole)
		http_body_go_on(r);
	return c->req == r;
}

bool
http_req_whole(const struct http_req *r)
{
	return r->whole;
}

bool
http_req_has_sink(const struct http_req *r)
{
	return r->sink != NULL;
}

bool
http_req_is_ahead(const struct http_req *r)
{
	return r->sink && r->sink_busy && r->body.len >= SINK_AHEAD;
}

/* ---- sinks ---- */

void
http_body_to(struct http_req *r, size_t max, const struct http_sink *sink)
{
	r->sink = sink;
	r->sink_max = max;
}

void
http_body_go_on(struct http_req *r)
{
	if (r->sink_busy || r->sink_ended)
		return;
	if (r->body.len) {
		r->sink_busy = true;
		r->taken += r->body.len;
		r->sink->data(r->abort_arg, &r->body);
	} else if (r->whole) {
		r->sink_ended = true;
		r->sink->end(r->abort_arg);
	}
}

void
http_body_next(struct http_req *r)
{
	struct conn *c = r->conn;

	r->sink_busy = false;
	http_body_go_on(r);
	if (c->req == r && !r->whole)
		conn_resume_body(c);
}
