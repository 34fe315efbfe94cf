/* SPDX-License-Identifier: ISC */
/*
 * eio_int: what eio.c, eio_polling.c and eio_upgrade.c share.
 *
 * Life: OPEN, then CLOSING from eio_close() or the loss of the transport.  The layer
 * above hears closed() from a deferred task, never from inside its own call.  The
 * session is freed when closed() was called and nothing holds it: no WebSocket, and,
 * after an orderly close of a polling session, no GET that is still to fetch the rest.
 */
#ifndef PALAVER_WIRE_EIO_INT_H
#define PALAVER_WIRE_EIO_INT_H

#include <uthash.h>

#include "lib/loop.h"
#include "wire/eio.h"

/* Only while the transport is polling. */
struct eio_polling {
	struct eio_request *get;  /* parked */
	struct eio_request *post; /* its body is arriving */
	struct loop_task answer;  /* at the end of the turn */
	struct eio_candidate *candidate;
	bool probed;
	bool upgrade_wanted;   /* "5" came and the layer above is busy */
	struct loop_task idle; /* what "5" waits for may be over */
	int64_t last_noop;     /* monotonic ms */
	ev_timer upgrade;      /* its deadline */
	ev_timer noop;
};

struct eio_session {
	char sid[EIO_SID_MAX];
	struct eio_server *server;
	void *above;
	const struct eio_transport *transport;
	void *conn;                  /* WebSocket; NULL: gone, or polling */
	struct eio_polling *polling; /* NULL: the transport is a WebSocket */
	struct frame **ring;
	uint32_t ring_cap, ring_head, ring_count;
	size_t sent;        /* of the first frame */
	size_t queued;      /* bytes */
	int64_t over_since; /* that many are too many, monotonic ms; 0: they are not */
	ev_timer heartbeat;
	int64_t due_ms; /* scheduled time of what the timer is for, monotonic */
	bool pong_due;
	/* As the client was told: a reload does not change them. */
	uint32_t ping_interval, ping_timeout; /* ms */
	bool b64;
	bool foreign;       /* its sid names another worker */
	bool closing, told; /* eio_close was called; closed() was called */
	bool linger;        /* polling: the next GET fetches what is queued, and CLOSE */
	bool now;
	int code;
	const char *reason;
	struct loop_task end;
	UT_hash_handle hh;
};

/* A session that left, until it ends where it is now. */
struct eio_moved {
	char sid[EIO_SID_MAX];
	unsigned int slot;
	int64_t until_ms; /* monotonic; the word of its end may be lost */
	UT_hash_handle hh;
};

struct eio_server {
	struct eio_opts opts;
	const struct eio_handler *handler;
	void *arg;
	struct eio_session *sessions;
	struct eio_moved *moved;
	struct frame *ping;
	uint64_t slow;
	void (*foreign_ended)(void *arg, const char *sid);
	void *foreign_arg;
};

/* eio.c */
struct eio_session *eio_session_new(struct eio_server *e, const char *sid);
void eio_session_drop(struct eio_session *s); /* frees it; nobody is told */
void eio_queue_put(struct eio_session *s, struct frame *f);
struct frame *eio_queue_first(const struct eio_session *s); /* NULL: empty */
void eio_queue_pop(struct eio_session *s);
void eio_queue_clear(struct eio_session *s);
void eio_send_open(struct eio_session *s, const char *upgrades);
void eio_heartbeat_at(struct eio_session *s, int64_t due_ms);
void eio_packet(struct eio_session *s, const char *data, size_t len); /* a text packet */
/* Closes without waiting for anything. */
void eio_end(struct eio_session *s, const char *reason);

/* eio_polling.c */
struct eio_polling *eio_polling_new(struct eio_session *s);
void eio_polling_free(struct eio_session *s);
void eio_polling_flush(struct eio_session *s);
void eio_polling_close(struct eio_session *s); /* the session is closing: in order, or now */
void eio_polling_probed(struct eio_session *s);
/* Answers a parked GET with this one packet. */
void eio_answer_get(struct eio_session *s, const char *packet);

/* eio_upgrade.c */
void eio_upgrade_cancel(struct eio_session *s); /* the candidate is cut */

#endif
