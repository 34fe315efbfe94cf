/* SPDX-License-Identifier: ISC */
/*
 * sio_packet: Socket.IO packets to bytes and back (protocol, section 10).  Pure.
 */
#ifndef PALAVER_WIRE_SIO_PACKET_H
#define PALAVER_WIRE_SIO_PACKET_H

#include <json.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "lib/json.h"
#include "wire/frame.h"
#include "wire/sio.h"

enum sio_type {
	SIO_CONNECT,
	SIO_DISCONNECT,
	SIO_EVENT,
	SIO_ACK,
	SIO_CONNECT_ERROR,
	SIO_BINARY_EVENT,
	SIO_BINARY_ACK
};

extern const struct json_limits sio_json_limits;

struct sio_decoded {
	enum sio_type type;
	unsigned int attachments;
	char nsp[SIO_NAME_MAX + 1]; /* "/" if none was given */
	int64_t ack;                /* SIO_NO_ACK */
	struct json_object *json;   /* NULL: nothing was there; else of the type's shape */
};

/*
 * Decodes the data of an Engine.IO text MESSAGE.  0, or -1: the connection is to be
 * closed.  On 0 the caller puts d->json.
 */
int sio_decode(const char *text, size_t len, struct sio_decoded *d);

/* Are all placeholders of a binary packet good?  count: attachments that came. */
bool sio_placeholders_valid(struct json_object *json, unsigned int count);
bool sio_name_reserved(const char *event);

/* The frames of one packet: header first, then its attachments. */
struct sio_packet {
	unsigned int refs;
	unsigned int count;
	struct frame *frames[];
};

/*
 * json: the whole payload as text, NULL for none; type EVENT or ACK becomes its binary
 * form when there are attachments.
 */
struct sio_packet *sio_encode(enum sio_type type, const char *nsp, int64_t ack, const char *json,
    size_t json_len, const struct sio_attachment *att, size_t att_count);

#endif
