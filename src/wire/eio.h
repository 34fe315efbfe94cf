/* SPDX-License-Identifier: ISC */
/*
 * eio: Engine.IO v4 sessions (protocol, sections 3-8 and 17), apart from connections
 * and from HTTP.  A session has one transport: a WebSocket, which it reaches through
 * eio_transport, or polling, whose requests come as eio_request, from this worker's
 * connections or relayed from another worker.  It can change from polling to a
 * WebSocket here, or leave with its state to a WebSocket of another worker.
 * Thread: loop.
 */
#ifndef PALAVER_WIRE_EIO_H
#define PALAVER_WIRE_EIO_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "lib/buf.h"
#include "wire/frame.h"

#define EIO_SID_MAX    40  /* with NUL */
#define EIO_SLOTS      676 /* a session id begins with two letters for its owner's slot */
#define EIO_POLL_BATCH 16  /* packets in one answer: python clients refuse more */

struct eio_session;
struct eio_server;

/* Error answers of the protocol's section 2.3. */
enum eio_error {
	EIO_UNKNOWN_TRANSPORT,
	EIO_UNKNOWN_SID,
	EIO_BAD_METHOD,
	EIO_BAD_REQUEST,
	EIO_FORBIDDEN,
	EIO_UNSUPPORTED_VERSION,
	EIO_OK = -1
};
const char *eio_error_text(enum eio_error e);

struct eio_opts {
	int64_t ping_interval, ping_timeout, upgrade_timeout; /* ms */
	size_t max_payload;                                   /* bytes */
	size_t max_queue;                                     /* bytes waiting for one client */
	unsigned int max_packets;                             /* in the body of one POST */
	unsigned int slot;                                    /* of the worker, begins each sid */
};

/* What a WebSocket does for its session; conn is the transport's. */
struct eio_transport {
	void (*flush)(void *conn); /* frames are waiting: take them with eio_gather() soon */
	/*
	 * Send what is queued, then close; code: WebSocket status or 0 for none; now: the
	 * queue was dropped, the peer reads too slowly to be told anything.
	 */
	void (*close)(void *conn, int code, bool now);
	void (*resume)(void *conn); /* the session that arrived takes input now */
};

/* The layer above. */
struct eio_handler {
	/*
	 * What it returns is handed back below.  credential: what the request that opened the
	 * session says of who the client is, or NULL; valid during the call.
	 */
	void *(*open)(void *arg, struct eio_session *s, const char *credential);
	void (*message)(void *session_arg, const char *data, size_t len, bool binary);
	/* Once, later than whatever caused it; nothing comes after it. */
	void (*closed)(void *session_arg, const char *reason);
	/*
	 * The session moves to another worker.  busy: something is under way whose outcome
	 * would be lost; then eio_idle() is due later.  leave: writes down its state and is
	 * gone, without closed().  arrive: makes it anew; NULL: the state is bad.  Input
	 * waits until eio_ready().
	 */
	bool (*busy)(void *session_arg);
	void (*leave)(void *session_arg, struct buf *state);
	void *(*arrive)(void *arg, struct eio_session *s, const void *state, size_t len);
};

struct eio_server *eio_server_new(const struct eio_opts *o, const struct eio_handler *h, void *arg);
void eio_server_reconfigure(struct eio_server *e, const struct eio_opts *o);
void eio_server_free(struct eio_server **e); /* closes all sessions, callbacks run */
size_t eio_session_count(const struct eio_server *e);
uint64_t eio_slow_count(const struct eio_server *e);
/* All of them, at once; their clients are told. */
void eio_close_all(struct eio_server *e, const char *reason, int code);
/* Called with the sid when a session that came from another worker has ended here. */
void eio_on_foreign_end(struct eio_server *e, void (*ended)(void *arg, const char *sid), void *arg);
/* What is remembered of sessions that moved to that worker, or of that one, is dropped. */
void eio_forget_moved(struct eio_server *e, unsigned int slot);
void eio_moved_ended(struct eio_server *e, const char *sid);
/* The slot that a session id names; -1: it is none of ours. */
int eio_sid_slot(const char *sid);

/* ---- sessions ---- */

const char *eio_sid(const struct eio_session *s);
void eio_send(struct eio_session *s, struct frame *f); /* shares f */
/* Orderly: what is queued goes out first.  Does nothing if it is closing already. */
void eio_close(struct eio_session *s, const char *reason, int code);
void eio_idle(struct eio_session *s);  /* busy() has become false */
void eio_ready(struct eio_session *s); /* after arrive(): input may come */

/* ---- WebSocket ---- */

/*
 * A new session on a WebSocket: queues the OPEN packet.  b64: no binary frames, please.
 * credential: for eio_handler.open(), or NULL.
 */
struct eio_session *eio_open(struct eio_server *e, const struct eio_transport *t, void *conn,
    bool b64, const char *credential);
/* A complete WebSocket message came. */
void eio_input(struct eio_session *s, const char *data, size_t len, bool binary);
/* The connection is gone; the session must not use it any more. */
void eio_transport_gone(struct eio_session *s, const char *reason);
/* Copies waiting frames, as many as fit; the number of bytes.  0: none are waiting. */
size_t eio_gather(struct eio_session *s, uint8_t *dst, size_t room, size_t *frames_r);
bool eio_waiting(const struct eio_session *s);
/* The last eio_gather() ended within a frame: nothing else may be written before the rest. */
bool eio_mid_frame(const struct eio_session *s);

/* ---- polling ---- */

struct eio_request;
struct eio_request_ops {
	/* The answer; rq is not the session's any more.  type NULL: no body. */
	void (*answer)(
	    struct eio_request *rq, int status, const char *type, const void *body, size_t len);
};
struct eio_request { /* the requester embeds it */
	const struct eio_request_ops *ops;
	struct eio_session *session; /* while it is parked or its body is on the way */
};

void eio_answer_error(struct eio_request *rq, enum eio_error e);
/* A handshake by polling: a new session.  credential: as in eio_open(). */
void eio_open_polling(struct eio_server *e, struct eio_request *rq, const char *credential);
void eio_get(struct eio_server *e, const char *sid, struct eio_request *rq);
/* The body of a POST begins to arrive and will take a while; optional. */
void eio_post_begin(struct eio_server *e, const char *sid, struct eio_request *rq);
/* octets: it came as application/octet-stream. */
void eio_post(struct eio_server *e, const char *sid, struct eio_request *rq, const char *body,
    size_t len, bool octets);
/* The body that begins is not wanted: the session lives on. */
void eio_post_cancel(struct eio_request *rq);
/* The client took the request away before its answer. */
void eio_request_gone(struct eio_request *rq);
/* Is there such a session, on polling?  For other methods and for checks. */
enum eio_error eio_check_polling(struct eio_server *e, const char *sid);

/* ---- upgrade ---- */

/* A WebSocket that may become the transport of a polling session. */
struct eio_candidate;
struct eio_candidate_ops {
	/* The session has ended, or this took too long: close the WebSocket. */
	void (*cut)(struct eio_candidate *c);
	/* The session has it as its transport now (local) */
	void (*upgraded)(struct eio_candidate *c, struct eio_session *s);
	/* The session has left with this state (remote). */
	void (*moved)(struct eio_candidate *c, const struct buf *state);
};
struct eio_candidate { /* embedded by whoever has the WebSocket, or speaks for it */
	const struct eio_candidate_ops *ops;
	struct eio_session *session;           /* while it is a candidate */
	const struct eio_transport *transport; /* NULL: on another worker */
	void *conn;
	unsigned int slot; /* that worker */
};

enum eio_error eio_candidate_add(struct eio_server *e, const char *sid, struct eio_candidate *c);
void eio_candidate_probe(struct eio_candidate *c);
void eio_candidate_upgrade(struct eio_candidate *c); /* upgraded() or moved(), now or later */
void eio_candidate_gone(struct eio_candidate *c);
/* Makes the session that moved() gave; NULL: the state is bad. */
struct eio_session *eio_arrive(
    struct eio_server *e, const struct eio_transport *t, void *conn, const void *state, size_t len);

#endif
