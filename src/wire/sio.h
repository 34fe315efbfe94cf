/* SPDX-License-Identifier: ISC */
/*
 * sio: Socket.IO v5 over Engine.IO v4 sessions, as the application sees it:
 * sockets (one membership of a session in one namespace), events, acks.
 *
 * Protocol: spec/socketio-protocol.md, sections 10-13.  Any violation closes the
 * whole connection.  Thread: loop.
 */
#ifndef PALAVER_WIRE_SIO_H
#define PALAVER_WIRE_SIO_H

#include <json.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "lib/buf.h"
#include "wire/frame.h"

#define SIO_NAME_MAX        128 /* bytes of a namespace name */
#define SIO_ATTACHMENTS_MAX 10
#define SIO_ASKS_MAX        1000 /* answers that one socket owes */

struct sio_socket;

struct sio_attachment {
	const uint8_t *data;
	size_t len;
};

/* What came with an event or an ack; everything is valid during the call only. */
struct sio_args {
	/*
	 * The arguments as the client wrote them: valid JSON values, comma separated,
	 * without brackets; "" if there are none.  Binary is {"_placeholder":true,"num":n}
	 * (checked) with the bytes in attachments[n]; attachment_count is 0 for plain ones.
	 */
	const char *text;
	size_t len;
	const struct sio_attachment *attachments;
	size_t attachment_count;
	struct json_object **parsed; /* sio's */
};

/* The arguments as an array, parsed when first asked for; borrowed. */
struct json_object *sio_args_json(const struct sio_args *args);

#define SIO_NO_ACK (-1)

struct sio_app {
	/* Is there such a namespace?  false: the client gets "Invalid namespace". */
	bool (*namespace_known)(void *arg, const char *nsp);
	/*
	 * A client wants to join.  auth is an object ({} if it gave none), borrowed.
	 * Answer with sio_accept or sio_refuse, now or later; until then the socket is
	 * joining: its client sends nothing that would be accepted.
	 */
	void (*connect)(void *arg, struct sio_socket *s, struct json_object *auth);
	/* ack: SIO_NO_ACK, or the id for sio_ack(). */
	void (*event)(void *arg, struct sio_socket *s, const char *name,
	    const struct sio_args *args, int64_t ack);
	/*
	 * The socket is gone, for whatever reason; called exactly once for each
	 * connect(), also if it was still joining.  s is freed after the return.
	 * reason: as in the protocol, section 11.3.
	 */
	void (*disconnect)(void *arg, struct sio_socket *s, const char *reason);
	/*
	 * What the client answered to sio_ask(); args NULL: the answer will not come.
	 * value is what sio_ask() was given.
	 */
	void (*answer)(void *arg, struct sio_socket *s, int64_t value, const struct sio_args *args);
	/*
	 * The session moves to another worker.  busy: an ack is owed that only this worker
	 * can give; sio_idle() is called when it is given.  leave: writes down what arrive()
	 * needs; s goes without disconnect().  arrive: on the other worker, in place of
	 * connect(): s has its id, namespace and pending answers; the application takes it
	 * up with sio_resume(), now or later, or ends it with sio_disconnect().  Until then
	 * it may send, and nothing comes in.
	 */
	bool (*busy)(void *arg, struct sio_socket *s);
	void (*leave)(void *arg, struct sio_socket *s, struct buf *state);
	void (*arrive)(void *arg, struct sio_socket *s, const void *state, size_t len);
};

const char *sio_id(const struct sio_socket *s);        /* the public socket id */
const char *sio_namespace(const struct sio_socket *s); /* "/" or "/chat" */

/*
 * For connect(): the value of wire_app.cookie in the request that opened the session, if
 * its origin may use the cookie; else NULL.  Forgotten when the first namespace is joined.
 */
const char *sio_credential(const struct sio_socket *s);

void sio_set_user(struct sio_socket *s, void *user); /* the application's own pointer */
void *sio_user(const struct sio_socket *s);

void sio_accept(struct sio_socket *s);
/* message: text for people; data: JSON text or NULL.  s is gone after this, with disconnect(). */
void sio_refuse(struct sio_socket *s, const char *message, const char *data);

/*
 * An event as frames, encoded once: name and args (JSON text of the arguments,
 * comma separated, without brackets; may be ""; at most SIO_ATTACHMENTS_MAX
 * attachments in the order of their placeholders).  Never a reserved name.
 */
struct sio_packet; /* shared, immutable: the frames of one packet, sent as one unit */
struct sio_packet *sio_event_new(const char *nsp, const char *name, const char *args,
    size_t args_len, const struct sio_attachment *att, size_t att_count);
struct sio_packet *sio_packet_ref(struct sio_packet *p);
void sio_packet_unref(struct sio_packet **p);

/* Queues for the client; everything of one turn of the loop leaves in one system call. */
void sio_send(struct sio_socket *s, struct sio_packet *p); /* shares p */
/* Answers ack id once; args as in sio_event_new. */
void sio_ack(struct sio_socket *s, int64_t ack, const char *args, size_t args_len,
    const struct sio_attachment *att, size_t att_count);
/*
 * Emits with an ack wanted; sio_app.answer() runs once, with args, or with NULL when the
 * socket went away first.  At most SIO_ASKS_MAX answers may be due: -1 beyond that, or
 * if the socket is not joined.
 */
int sio_ask(struct sio_socket *s, const char *name, const char *args, size_t args_len,
    const struct sio_attachment *att, size_t att_count, int64_t value);

void sio_idle(struct sio_socket *s);   /* sio_app.busy() has become false */
void sio_resume(struct sio_socket *s); /* after sio_app.arrive() */

/*
 * Leaves the namespace ("41"): disconnect() runs before the return and s is gone.  With
 * close: closes the whole connection in order, disconnect() runs later.
 */
void sio_disconnect(struct sio_socket *s, bool close);

#endif
