/* SPDX-License-Identifier: ISC */
/*
 * load_conn: many client connections on one epoll: WebSocket, Engine.IO v4, Socket.IO v5.
 */
#ifndef LOAD_CONN_H
#define LOAD_CONN_H

#include "load.h"

#include <openssl/ssl.h>

#define FRAME_HEAD 8 /* most that a frame adds to a text of up to 65,535 bytes */

enum conn_state {
	CONN_UNUSED,
	CONN_CONNECTING,
	CONN_TLS,     /* handshake */
	CONN_UPGRADE, /* request sent */
	CONN_OPEN,    /* upgraded, waits for OPEN */
	CONN_JOIN,    /* waits for CONNECT's answer */
	CONN_JOINED,
	CONN_CLOSING, /* we have shut down, the server has not */
};

struct conn {
	int fd;
	uint8_t state;
	bool wants_out; /* EPOLLOUT is asked for */
	uint32_t in_len, out_len;
	char *in;  /* an unfinished frame or answer */
	char *out; /* what the socket did not take */
	SSL *ssl;
	uint64_t seq; /* the scenario's */
};

struct pool {
	const struct options *options;
	int ep;
	struct conn *conns;
	uint32_t n;
	uint32_t next, end; /* still to be opened */
	uint32_t under_way; /* being opened */
	uint32_t joined;
	uint32_t closing;
	uint32_t lost; /* ended without our doing, since pool_init() */
	uint32_t bad;  /* frames that nobody could have meant */
	uint64_t pings;
	SSL_CTX *tls;
	struct auth *auth; /* NULL: nobody logs in */
	/* A packet after the namespace was joined, PING excepted; `text` ends with no NUL. */
	void (*packet)(struct pool *, struct conn *, const char *text, size_t len);
	/* After the events of a turn were handled, if not NULL. */
	void (*turn_end)(struct pool *);
	void *arg; /* theirs */
};

void pool_init(struct pool *, const struct options *, uint32_t n);
void pool_fini(struct pool *);

/* Opens `n` connections from `first` on, few at a time, until all have joined; false: not all did.
 */
bool pool_open(struct pool *, uint32_t first, uint32_t n);

/* Begins to open one that is unused; its state tells what comes of it. */
void pool_start(struct pool *, uint32_t index);

/* Shuts them down and waits until the server has closed every one; false: it did not in time. */
bool pool_close(struct pool *, uint32_t first, uint32_t n);

/* Waits for events, at most `ns`, and handles what is there. */
void pool_turn(struct pool *, uint64_t ns);

/* Writes a masked text frame to `dst` (FRAME_HEAD + len bytes are enough), returns its length. */
size_t conn_frame(char *dst, const char *text, size_t len);

/* Sends complete frames. */
void conn_send(struct pool *, struct conn *, const char *frames, size_t len);
void conn_send_text(struct pool *, struct conn *, const char *text, size_t len);

#endif
