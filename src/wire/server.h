/* SPDX-License-Identifier: ISC */
/*
 * server: the front of a worker: accepts connections, speaks HTTP and WebSocket over
 * libwebsockets, serves static files, hands REST requests to the application and
 * Engine.IO traffic to its sessions, here or on another worker.  The only user of
 * libwebsockets.  Thread: loop.
 */
#ifndef PALAVER_WIRE_SERVER_H
#define PALAVER_WIRE_SERVER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "wire/eio.h"
#include "wire/http.h"
#include "wire/sio.h"

struct wire_opts {
	/* May be changed by wire_reconfigure(); times in ms, sizes in bytes. */
	int64_t ping_interval, ping_timeout, upgrade_timeout, connect_timeout;
	size_t max_payload;       /* Engine.IO message, and body of a polling POST */
	unsigned int max_packets; /* Engine.IO packets in one POST */
	size_t max_queue;
	size_t max_url, max_head; /* of a request */
	size_t max_body;          /* of REST requests */
	int64_t head_timeout;     /* from its first byte */
	int64_t body_timeout;
	int64_t idle_timeout;  /* an HTTP connection without a request */
	int64_t write_timeout; /* an answer, without progress */
	/*
	 * Origins that browsers may come from, separated by blanks; "*": any.  NULL: not
	 * looked at, and no CORS header is sent.  The server's own is always allowed.
	 */
	const char *origins;
	bool origins_credentials;                 /* Access-Control-Allow-Credentials */
	unsigned int max_connections_per_address; /* all workers; 0: no limit */
	unsigned int sessions_per_address;        /* new ones a second; 0: no limit */
	/*
	 * Numeric addresses, separated by blanks, that are not limited and whose last
	 * element of X-Forwarded-For is believed.  NULL: none.
	 */
	const char *trusted_proxies;
	int64_t hsts;            /* ms of Strict-Transport-Security over TLS; 0: not sent */
	unsigned int max_fields; /* of a request's head */
	unsigned int json_depth, json_keys; /* of Socket.IO packets */
	unsigned int max_attachments;       /* of one packet; at most SIO_ATTACHMENTS_MAX */
	/* Fixed. */
	size_t max_connections;
	int address_fd;       /* memory shared by the workers, see address.h; -1: none.  Taken */
	const char *sio_path; /* "/socket.io/" */
	const char *web_root; /* static files; NULL or "": none */
	unsigned int slot;    /* goes into session ids */
};

/* To the other workers; messages to one arrive in order, or not at all while it is away. */
struct wire_peers {
	void (*tell)(void *arg, unsigned int slot, const void *data, size_t len);
	void *arg;
	unsigned int slots; /* of workers: 0 to slots - 1 */
};

struct wire_app {
	struct sio_app sio;
	/* Bare Engine.IO, for tests; eio_path NULL: none. */
	const char *eio_path;
	const struct eio_handler *eio;
	/* The cookie whose value becomes the sio_credential() of a session; NULL: none. */
	const char *cookie;
	/* Requests whose path begins with rest_prefix ("/v1/"), body complete. */
	const char *rest_prefix;
	void (*request)(void *arg, struct http_req *r);
	/*
	 * The same before their body is read: it may answer, or want the body piece by piece
	 * (http_body_to); then request() does not run.  NULL: no.
	 */
	void (*begin)(void *arg, struct http_req *r);
	/* May this handshake become a session?  NULL: yes, else the text of the refusal. */
	const char *(*admit)(void *arg, const struct http_req *r); /* may be NULL */
	struct wire_peers peers; /* tell NULL: there is one worker */
	void *arg;               /* of all callbacks, also eio->open */
};

struct wire_stats {
	uint64_t connections;                   /* open now */
	uint64_t sessions;                      /* Engine.IO sessions now */
	uint64_t accepted;                      /* since start */
	uint64_t frames_in, frames_out, writes; /* writes: system calls */
	uint64_t slow_closed;                   /* closed for max_queue */
	uint64_t protocol_errors;
	uint64_t relayed; /* requests of sessions of other workers */
	uint64_t moved_in, moved_out;
	uint64_t refused_address; /* over a limit of its address */
};

struct wire;
struct wire *wire_new(
    const struct wire_opts *opts, const struct wire_app *app); /* ends the process if impossible */
void wire_reconfigure(struct wire *w, const struct wire_opts *opts);
#define WIRE_CLEAR (-1)
/*
 * Accepts from fd (listening, non-blocking; takes it); tag names it for wire_unlisten.
 * tls: the index given to wire_tls(), or WIRE_CLEAR.
 */
void wire_listen(struct wire *w, int fd, unsigned int tag, int tls);
/*
 * The certificate for connections of listeners with this index (0 to WIRE_TLS_MAX - 1),
 * the first or a new one.  NULL, or what is wrong with it: the old one stays.
 */
#define WIRE_TLS_MAX 16
struct tls_material;
const char *wire_tls(struct wire *w, unsigned int index, const struct tls_material *m);
void wire_unlisten(struct wire *w, unsigned int tag);
/*
 * Stops accepting, answers new handshakes and requests 503, closes the sessions
 * (frames queued before go out first, then a Close frame 1001).
 */
void wire_drain(struct wire *w);
size_t wire_connections(const struct wire *w);
void wire_stats(const struct wire *w, struct wire_stats *st);
void wire_free(struct wire **w);

/* What another worker told, and whether it is there. */
void wire_told(struct wire *w, unsigned int from, const void *data, size_t len);
void wire_peer(struct wire *w, unsigned int slot, bool up);
/* The way to them is gone; those that are there are named again later. */
void wire_peers_lost(struct wire *w);

#endif
