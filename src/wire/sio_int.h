/* SPDX-License-Identifier: ISC */
/*
 * sio_int: what sio.c and sio_move.c share.
 */
#ifndef PALAVER_WIRE_SIO_INT_H
#define PALAVER_WIRE_SIO_INT_H

#include <ev.h>
#include <uthash.h>

#include "wire/eio.h"
#include "wire/sio.h"
#include "wire/sio_packet.h"

enum socket_state {
	SOCKET_JOINING,
	SOCKET_JOINED,
	SOCKET_ARRIVING /* from another worker, not yet taken up by the application */
};

struct pending_answer {
	int64_t id;    /* of the ack */
	int64_t value; /* the application's */
	struct pending_answer *prev, *next;
};

struct sio_socket {
	struct sio_conn *conn;
	enum socket_state state;
	char id[24];
	char *nsp;
	void *user;
	int64_t next_ack;
	unsigned int answer_count;
	struct pending_answer *answers; /* few, oldest first */
	struct sio_socket *prev, *next;
};

struct left_namespace {
	int64_t until_ms;
	struct left_namespace *prev, *next;
	char nsp[];
};

/* A binary packet that waits for its attachments. */
struct sio_assembly {
	char *text; /* the packet, which is valid */
	size_t len;
	size_t size; /* of all, so far */
	struct sio_attachment attachments[SIO_ATTACHMENTS_MAX];
	unsigned int count;
};

struct sio_conn {
	struct sio_server *server;
	struct eio_session *session; /* NULL: closed */
	struct sio_socket *sockets;
	struct left_namespace *left;
	struct sio_assembly *assembly;
	/* Until the first namespace is joined: */
	ev_timer *connect_timeout;
	char *credential; /* may be NULL */
	unsigned int arriving;     /* sockets */
};

struct sio_server {
	const struct sio_app *app;
	void *arg;
	int64_t connect_timeout; /* ms */
	size_t max_payload;
	uint64_t errors;
};

/* sio_conn.c */
struct sio_conn *sio_conn_new(
    struct sio_server *srv, struct eio_session *session, const char *credential);
void sio_conn_free(struct sio_conn *c);
void sio_conn_joined(struct sio_conn *c); /* a first namespace is */
/* sio.c */
void sio_remember_left(struct sio_conn *c, const char *nsp);
struct sio_socket *sio_socket_new(struct sio_conn *c, const char *nsp);
void sio_socket_drop(struct sio_socket *s); /* without a word to the application */
/* sio_assembly.c */
struct sio_assembly *sio_assembly_new(const char *text, size_t len);
void sio_assembly_free(struct sio_assembly **a);
void sio_assembly_add(struct sio_assembly *a, const void *data, size_t len);
void sio_answer_put(struct sio_socket *s, int64_t id, int64_t value);

/* sio_move.c */
bool sio_busy(void *conn);
void sio_leave(void *conn, struct buf *state);
void *sio_arrive(void *arg, struct eio_session *s, const void *state, size_t len);

#endif
