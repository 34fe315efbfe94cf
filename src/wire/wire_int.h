/* SPDX-License-Identifier: ISC */
/*
 * wire_int: what the files of wire/ share.  Not for other folders.
 */
#ifndef PALAVER_WIRE_WIRE_INT_H
#define PALAVER_WIRE_WIRE_INT_H

#include <libwebsockets.h>

#include "lib/buf.h"
#include "lib/loop.h"
#include "wire/eio.h"
#include "wire/http.h"
#include "wire/server.h"
#include "wire/sio.h"

/* ---- sio.c ---- */

struct sio_server;
extern const struct eio_handler sio_eio_handler; /* its arg is the sio_server */
struct sio_server *sio_server_new(const struct sio_app *app, void *arg, int64_t timeout_ms);
void sio_server_reconfigure(struct sio_server *srv, int64_t timeout_ms);
uint64_t sio_server_errors(const struct sio_server *srv);
void sio_server_free(struct sio_server **srv);

/* ---- server.c ---- */

struct listener {
	struct wire *wire;
	unsigned int tag;
	ev_io accept;
	struct listener *prev, *next;
};

struct conn;
struct wire {
	struct wire_opts opts;
	struct wire_app app;
	char *sio_path, *web_root;
	struct lws_context *lws;
	struct lws_vhost *vhost;
	struct eio_server *eio;
	struct sio_server *sio;
	struct listener *listeners;
	struct conn *conns;
	bool paused;   /* at max_connections */
	bool draining;
	struct wire_stats stats;
};

/*
 * One TCP connection.  It begins as HTTP, carries one request after another, and may
 * become a WebSocket.
 */
struct conn {
	struct wire *wire;
	struct lws *wsi; /* NULL: gone, only a request that is not answered keeps the memory */
	char address[48];
	/* HTTP */
	struct http_req *req; /* under way */
	struct buf reply;     /* waiting for WRITEABLE */
	bool reply_ends;      /* close after it */
	/* WebSocket */
	struct eio_session *session;
	struct buf message;   /* fragments so far */
	bool message_binary;
	struct loop_task flush;
	bool closing;         /* send what waits, then close_code, then go */
	bool abort;           /* go now */
	int close_code;
	struct conn *prev, *next;
};

void conn_want_write(struct conn *c);
void conn_flush(void *conn); /* the loop_task of a WebSocket that has something to send */

/* ---- accept.c ---- */

void listeners_pause(struct wire *w, bool pause);
void listeners_close(struct wire *w);

/* ---- http.c ---- */

/*
 * Begins the request whose headers are there.  complete_r: no body will come.
 * NULL: refused; the answer is in c->reply.
 */
struct http_req *http_req_begin(struct conn *c, const char *uri, bool *complete_r);
/* false: too large or too late; the answer is in c->reply. */
bool http_req_body(struct http_req *r, const void *data, size_t len);
void http_req_complete(struct http_req *r); /* hands it to the application, a file, or 404 */
void http_req_gone(struct http_req *r);     /* the connection is gone */
/* A query parameter of the request line of wsi, decoded; false: absent. */
bool http_query_of(struct lws *wsi, const char *name, char *dst, size_t size);
/* Puts a finished answer into c->reply.  headers may be NULL. */
void http_put_reply(struct conn *c, int status, const char *type, const char *headers,
    const char *request_id, const void *body, size_t len);

/* ---- static.c ---- */

void static_serve(struct http_req *r, const char *web_root, const char *if_none_match);

#endif
