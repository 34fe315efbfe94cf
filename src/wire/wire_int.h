/* SPDX-License-Identifier: ISC */
/*
 * wire_int: what the files of wire/ share.  Not for other folders.
 */
#ifndef PALAVER_WIRE_WIRE_INT_H
#define PALAVER_WIRE_WIRE_INT_H

#include <libwebsockets.h>
#include <netinet/in.h>

#include "lib/buf.h"
#include "lib/loop.h"
#include "wire/eio.h"
#include "wire/head.h"
#include "wire/http.h"
#include "wire/server.h"
#include "wire/sio.h"
#include "wire/ws.h"

/* ---- sio.c ---- */

struct sio_server;
extern const struct eio_handler sio_eio_handler; /* its arg is the sio_server */
struct sio_server *sio_server_new(
    const struct sio_app *app, void *arg, int64_t timeout_ms, size_t max_payload);
void sio_server_reconfigure(struct sio_server *srv, int64_t timeout_ms, size_t max_payload);
uint64_t sio_server_errors(const struct sio_server *srv);
void sio_server_free(struct sio_server **srv);

/* ---- server.c ---- */

#define ADDRESS_TEXT HTTP_ADDRESS_MAX

struct listener {
	struct wire *wire;
	unsigned int tag;
	int tls; /* WIRE_CLEAR, or index of the vhost */
	ev_io accept;
	struct listener *prev, *next;
};

/* A path that speaks Engine.IO. */
struct endpoint {
	struct wire *wire;
	unsigned int index;
	char *path;
	struct eio_server *eio;
};
#define ENDPOINTS_MAX 2

struct tls_vhost {
	struct lws_vhost *vhost;
	struct ssl_ctx_st *ctx; /* libwebsockets' */
};

struct relay;
struct wire {
	struct wire_opts opts;
	struct wire_app app;
	char *web_root, *origins, *proxies;
	struct lws_context *lws;
	struct lws_vhost *vhost;
	struct tls_vhost *tls[WIRE_TLS_MAX];
	struct address_table *addresses;
	struct endpoint endpoints[ENDPOINTS_MAX];
	unsigned int endpoint_count;
	struct sio_server *sio;
	struct relay *relay;
	struct listener *listeners;
	struct conn *conns;
	uint64_t crowd; /* most connections since memory was given back */
	ev_timer trim;  /* gives it back */
	ev_timer rest;  /* after a lack of descriptors */
	bool paused;    /* at max_connections */
	bool draining;
	struct wire_stats stats;
};

void wire_tls_context(void *tls_vhost, void *ssl_ctx);

/* ---- conn.c ---- */

enum conn_state {
	CONN_HEAD,    /* waits for a request's head, or is in it */
	CONN_BODY,    /* is in its body */
	CONN_ANSWER,  /* the request is with the application, or its answer is going out */
	CONN_LINGER,  /* all is said; what the client still sends is dropped */
	CONN_SHAKING, /* a WebSocket handshake that another worker decides */
	CONN_WS
};

struct upgrade; /* eio_http.c: a WebSocket that is not yet a session's transport */

/*
 * One TCP connection.  It begins as HTTP, carries one request after another, and may
 * become a WebSocket.
 */
struct conn {
	struct wire *wire;
	struct lws *wsi;
	enum conn_state state;
	bool reply_ends;   /* close after the answer */
	bool unread;       /* answered before its body was read */
	bool closing;      /* send what waits, then close_code, then go */
	bool abort;        /* go now */
	bool tls, secured; /* the handshake of TLS is done */
	bool proxy;        /* its address is trusted */
	bool stopped;      /* input waits in `in` */
	bool held;         /* nothing is read: the peer takes nothing */
	bool resuming;     /* at the end of the turn */
	int close_code;
	struct buf in;    /* read and not yet used */
	struct buf reply; /* answer; reply_sent bytes of it are out */
	size_t reply_sent;
	int unsent;           /* bytes, when the answer last made progress */
	uint64_t acknowledged; /* bytes, when a long answer was last late */
	size_t body_read;     /* of a body for a sink, since its deadline was set */
	int64_t linger_until; /* monotonic ms */
	struct http_req *req; /* under way */
	struct http_stream *stream; /* the answer's rest; NULL: reply has all of it */
	ev_timer deadline;    /* of the head, the body, the answer or idleness */
	/* WebSocket */
	struct ws_reader reader;
	struct eio_session *session;
	struct upgrade *upgrade;
	struct buf control; /* pongs that wait */
	struct loop_task flush;
	struct in6_addr address; /* IPv4 as mapped */
	struct conn *prev, *next;
};

extern const struct lws_protocols conn_protocols[];
extern const struct eio_transport conn_transport; /* its conn is a struct conn */

/* admission.c */
bool conn_admit(struct conn *c, int fd, const struct sockaddr_storage *sa);
void conn_left(struct wire *w); /* one connection less */
/* conn.c */
/* Over a limit of its address, or libwebsockets does not want it: NULL, fd is closed. */
struct conn *conn_new(struct wire *w, int fd, const struct sockaddr_storage *sa, int tls);
/*
 * The last element of a list header that a trusted proxy has set, without blanks before it;
 * NULL: there is no such proxy, or it does not say.
 */
const char *http_proxy_says(const struct http_req *r, const char *name);
/* The client's address, which a trusted proxy may name. */
void http_client_address(const struct http_req *r, struct in6_addr *a);
void conn_trim_init(struct wire *w);
void conn_deadline(struct conn *c, int64_t ms); /* from now; < 0: none */
void conn_abort(struct conn *c);                /* what is unsent is lost */
void conn_write_close(struct conn *c);          /* the Close frame */
void conn_want_write(struct conn *c);
int conn_write_bytes(struct conn *c, uint8_t *data, size_t len); /* -1: it is broken */
/*
 * While libwebsockets holds what the peer has not taken it reads nothing.  Is it so?  Call it
 * after writing.
 */
bool conn_hold_reading(struct conn *c);
/* Of what was sent; the socket is writable only long after its client took some. */
int conn_unacknowledged(const struct conn *c);
/* conn_http.c; -1: close. */
int conn_http_received(struct conn *c, const uint8_t *data, size_t len);
int conn_http_write(struct conn *c);
void conn_http_flush(struct conn *c); /* outside of a callback of libwebsockets */
/* conn_ws.c; -1: close. */
int conn_read_ws(struct conn *c, uint8_t *data, size_t len);
void conn_resume_reading(struct conn *c);
void conn_resume_body(struct conn *c); /* the sink wants more */
void conn_write_interim(struct conn *c, const char *text); /* before the answer */
void address_text(const struct in6_addr *a, char dst[ADDRESS_TEXT]);
/* A WebSocket handshake that another worker decides. */
void conn_wait_for_decision(struct conn *c);
/* The handshake is accepted: 101, and frames from now on. */
void conn_become_ws(struct conn *c, const char *headers);
void conn_stop_reading(struct conn *c);
/* Closes a WebSocket after what waits; code 0: without a status. */
void conn_close_ws(struct conn *c, int code);
void conn_send_text(struct conn *c, const char *packet); /* a WebSocket without session */
/* The answer is in c->reply. */
void conn_answered(struct conn *c);

/* ---- accept.c ---- */

void listeners_pause(struct wire *w, bool pause);
void listeners_close(struct wire *w);

/* ---- http.c ---- */

/* text is the head's; it is copied. */
struct http_req *http_req_new(
    struct conn *c, const struct http_head *h, const char *text, size_t len);
void http_req_free(struct http_req *r);
/* What to do with a request when its head is there; false: it is answered already. */
bool http_req_begin(struct http_req *r);
/* Bytes that follow the head, as many as are its body; false: refused and answered. */
bool http_req_take(struct http_req *r, const void *data, size_t len, size_t *used_r);
bool http_req_whole(const struct http_req *r); /* the body is complete */
void http_req_complete(struct http_req *r);    /* hands it to whom it is for */
bool http_req_has_sink(const struct http_req *r);
bool http_req_is_ahead(const struct http_req *r); /* of its sink: read no more */
void http_req_gone(struct http_req *r);        /* the connection is gone */
/* Refuses what is not a request, or not one that we take; the connection ends after it. */
void http_refuse(struct conn *c, int status, const char *code);
/* Puts a finished answer into c->reply.  r, headers may be NULL. */
void http_put_reply(struct conn *c, const struct http_req *r, int status, const char *type,
    const char *headers, const void *body, size_t len);
unsigned int http_header_count(const struct http_req *r, const char *name);
struct conn *http_conn(const struct http_req *r);
/*
 * Whoever was told that its body begins is not to answer it after all; with the arg of
 * http_on_abort().  The session lives on.
 */
void http_on_cancel(struct http_req *r, void (*cancel)(void *arg));
/* A pointer of whoever answers it. */
void http_set_user(struct http_req *r, void *user);
void *http_user(const struct http_req *r);

/* ---- http_stream.c ---- */

/* The reply is out: asks for more.  false: there is none, and the stream is gone. */
bool http_stream_more(struct conn *c);
void http_stream_end(struct conn *c); /* if there is one */

/* ---- origin.c ---- */

bool origin_allowed(const struct wire *w, const struct http_req *r);
/* As http_origin_allowed(). */
bool origin_trusted(const struct wire *w, const struct http_req *r, bool secure);
/* A value of a Cookie header, which may be NULL: the first of prefix and name, as http_cookie(). */
bool cookie_value(
    const char *header, const char *prefix, const char *name, char *dst, size_t size);
/* Appends the CORS header lines of an answer to r. */
void origin_put_headers(struct buf *b, const struct wire *w, const struct http_req *r);
/* Answers a preflight; false: r is none, or its origin is not allowed. */
bool origin_preflight(struct http_req *r, const struct wire *w);

/* ---- eio_http.c ---- */

/* Answers with an error of Engine.IO; text NULL: what the error says by itself. */
void eio_http_error(struct http_req *r, enum eio_error e, const char *text);

enum poll_kind {
	POLL_GET = 1,
	POLL_POST,
	POLL_METHOD,  /* one that polling does not have */
	POLL_MISMATCH /* for another transport or protocol revision */
};

struct endpoint *endpoint_of(struct wire *w, const char *raw_path, size_t len);
/* A request whose syntax is right, of this worker or relayed. */
void endpoint_serve(struct endpoint *ep, enum poll_kind kind, const char *sid,
    struct eio_request *rq, const char *body, size_t len, bool octets);
/* With what the status wants beside it. */
void eio_http_answer(
    struct http_req *r, int status, const char *type, const void *body, size_t len);
void eio_http_body_begins(struct endpoint *ep, struct http_req *r);
void eio_http_request(struct endpoint *ep, struct http_req *r);
void eio_http_upgrade(struct endpoint *ep, struct http_req *r);
/* A packet on a WebSocket that is not yet a transport; false: nothing more is read. */
bool upgrade_input(struct conn *c, const char *data, size_t len, bool binary);
void upgrade_gone(struct conn *c); /* the connection is gone, or closing */
/* What relay.c tells of a WebSocket whose session is another worker's. */
void upgrade_decided(struct upgrade *u, enum eio_error err);
void upgrade_cut(struct upgrade *u);
void upgrade_state(struct upgrade *u, const void *state, size_t len);

/* ---- relay.c ---- */

struct relay *relay_new(struct wire *w);
void relay_free(struct relay **r);
void relay_told(struct relay *r, unsigned int from, const void *data, size_t len);
void relay_peer(struct relay *r, unsigned int slot, bool up);
void relay_peers_lost(struct relay *r);
void relay_take_nothing(struct relay *r); /* no session comes here any more */
bool relay_is_down(const struct relay *r, unsigned int slot);
/* A request to a session of another worker; r is answered, or goes, by itself. */
void relay_post_begin(
    struct relay *rl, struct endpoint *ep, unsigned int slot, const char *sid, struct http_req *r);
void relay_request(struct relay *rl, struct endpoint *ep, unsigned int slot, const char *sid,
    struct http_req *r, enum poll_kind kind, bool octets);
/* A WebSocket for a session of another worker. */
struct relay_link;
struct relay_link *relay_link_new(
    struct relay *rl, struct endpoint *ep, unsigned int slot, const char *sid, struct upgrade *u);
void relay_link_probe(struct relay_link *l);
void relay_link_take(struct relay_link *l);
void relay_link_free(struct relay_link **l, bool tell);
void relay_ended(void *endpoint, const char *sid); /* eio_on_foreign_end */

/* ---- static.c ---- */

void static_serve(struct http_req *r, const char *web_root, const char *if_none_match);

#endif
