/* SPDX-License-Identifier: ISC */
/*
 * server: the front of a worker: accepts connections, speaks HTTP and WebSocket
 * through libwebsockets, serves static files, hands REST requests to the
 * application and Engine.IO traffic to its sessions.  The only user of
 * libwebsockets.  Thread: loop.
 */
#ifndef PALAVER_WIRE_SERVER_H
#define PALAVER_WIRE_SERVER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "wire/http.h"
#include "wire/sio.h"

struct wire_opts {
	/* May be changed by wire_reconfigure(); times in ms, sizes in bytes. */
	int64_t ping_interval, ping_timeout, connect_timeout;
	size_t max_payload;
	size_t max_queue;
	size_t max_body;      /* of REST requests */
	int64_t body_timeout;
	/* Fixed. */
	size_t max_connections;
	const char *sio_path; /* "/socket.io/" */
	const char *web_root; /* static files; NULL or "": none */
	unsigned int slot;    /* goes into session ids */
};

struct wire_app {
	struct sio_app sio;
	/* Requests whose path begins with rest_prefix ("/v1/"), body complete. */
	const char *rest_prefix;
	void (*request)(void *arg, struct http_req *r);
	void *arg; /* of all callbacks */
};

struct wire_stats {
	uint64_t connections;       /* open now */
	uint64_t sessions;          /* Engine.IO sessions now */
	uint64_t accepted;          /* since start */
	uint64_t frames_in, frames_out, writes; /* writes: system calls */
	uint64_t slow_closed;       /* closed for max_queue */
	uint64_t protocol_errors;
};

struct wire;
struct wire *wire_new(const struct wire_opts *opts, const struct wire_app *app); /* ends the process if impossible */
void wire_reconfigure(struct wire *w, const struct wire_opts *opts);
/* Accepts from fd (listening, non-blocking; takes it); tag names it for wire_unlisten. */
void wire_listen(struct wire *w, int fd, unsigned int tag);
void wire_unlisten(struct wire *w, unsigned int tag);
/*
 * Stops accepting, answers new handshakes and requests 503, closes the sessions
 * (frames queued before go out first, then a Close frame 1001).
 */
void wire_drain(struct wire *w);
size_t wire_connections(const struct wire *w);
void wire_stats(const struct wire *w, struct wire_stats *st);
void wire_free(struct wire **w);

#endif
