/* SPDX-License-Identifier: ISC */
/*
 * eio: Engine.IO v4 sessions (protocol, sections 3, 7, 8, 17), apart from any
 * connection: a session speaks to its transport through a small vtable, so that it
 * can change it.  Thread: loop.
 */
#ifndef PALAVER_WIRE_EIO_H
#define PALAVER_WIRE_EIO_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "wire/frame.h"

#define EIO_SID_MAX 40

struct eio_session;
struct eio_server;

struct eio_opts {
	int64_t ping_interval, ping_timeout; /* ms */
	size_t max_payload;                  /* bytes */
	size_t max_queue;                    /* bytes waiting for one client */
	unsigned int slot;                   /* of the worker, begins each sid */
};

/* What a transport does for its session; conn is the transport's. */
struct eio_transport {
	void (*flush)(void *conn); /* frames are waiting: take them with eio_gather() soon */
	/*
	 * Send what is queued, then close; code: WebSocket status or 0 for none; now: the
	 * queue was dropped, the peer reads too slowly to be told anything.
	 */
	void (*close)(void *conn, int code, bool now);
};

/* The layer above. */
struct eio_handler {
	void *(*open)(void *arg, struct eio_session *s); /* what it returns is handed back below */
	void (*message)(void *session_arg, const char *data, size_t len, bool binary);
	/* Once, later than whatever caused it; nothing comes after it. */
	void (*closed)(void *session_arg, const char *reason);
};

struct eio_server *eio_server_new(const struct eio_opts *o, const struct eio_handler *h, void *arg);
void eio_server_reconfigure(struct eio_server *e, const struct eio_opts *o);
void eio_server_free(struct eio_server **e); /* closes all sessions, callbacks run */
size_t eio_session_count(const struct eio_server *e);
uint64_t eio_slow_count(const struct eio_server *e);
void eio_close_all(struct eio_server *e, const char *reason, int code);

/* A new session on a WebSocket: queues the OPEN packet. */
struct eio_session *eio_open(struct eio_server *e, const struct eio_transport *t, void *conn);
/* A complete WebSocket message came. */
void eio_input(struct eio_session *s, const char *data, size_t len, bool binary);
/* The connection is gone; the session must not use it any more. */
void eio_transport_gone(struct eio_session *s, const char *reason);
/* Copies waiting frames, as many as fit; the number of bytes.  0: none are waiting. */
size_t eio_gather(struct eio_session *s, uint8_t *dst, size_t room, size_t *frames_r);
bool eio_waiting(const struct eio_session *s);

const char *eio_sid(const struct eio_session *s);
void eio_send(struct eio_session *s, struct frame *f); /* shares f */
/* Orderly: what is queued goes out first.  Does nothing if it is closing already. */
void eio_close(struct eio_session *s, const char *reason, int code);

#endif
