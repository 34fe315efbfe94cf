/* SPDX-License-Identifier: ISC */
/*
 * http_stream: an answer that is too large to be kept: its source is asked for the next piece
 * when the client has taken the last.  Loop thread.
 *
 * A stream lives from http_reply_stream() until all of it was sent or the connection is gone;
 * closed() runs then, once.  It has one piece in memory, in the connection's reply.
 */
#include <stdlib.h>

#include "wire/http_int.h"

struct http_stream {
	struct conn *conn;
	const struct http_source *source;
	void *arg;
	size_t left; /* bytes that are still to come */
	bool asked;
};

struct http_stream *
http_stream_new(struct conn *c, size_t len, const struct http_source *source, void *arg)
{
	struct http_stream *st = xcalloc(1, sizeof(*st));

	st->conn = c;
	st->source = source;
	st->arg = arg;
	st->left = len;
	return st;
}

void
http_stream_end(struct conn *c)
{
	struct http_stream *st = c->stream;

	c->stream = NULL;
	if (!st)
		return;
	st->source->closed(st->arg);
	free(st);
}

bool
http_stream_more(struct conn *c)
{
	struct http_stream *st = c->stream;

	if (!st || !st->left) {
		http_stream_end(c);
		return false;
	}
	if (!st->asked) {
		st->asked = true;
		conn_deadline(c, -1); /* it is not the client who is slow */
		st->source->pull(st->arg, st->left < HTTP_PIECE ? st->left : HTTP_PIECE);
	}
	return true;
}

void
http_stream_put(struct http_stream *st, const void *data, size_t len)
{
	struct conn *c = st->conn;

	if (!len || len > st->left) { /* less than was announced cannot be told but so */
		conn_abort(c);
		return;
	}
	st->asked = false;
	st->left -= len;
	buf_append(&c->reply, data, len);
	conn_deadline(c, c->wire->opts.write_timeout);
	loop_defer(&c->flush);
}

void
http_stream_fail(struct http_stream *st)
{
	conn_abort(st->conn);
}
