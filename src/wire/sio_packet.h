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

/*
 * The process's limits of packets.  attachments: of one packet, at most
 * SIO_ATTACHMENTS_MAX, because clients close a connection over more.
 */
extern struct json_limits sio_json_limits;
void sio_packet_limits(unsigned int depth, unsigned int keys, unsigned int attachments);

struct sio_decoded {
	enum sio_type type;
	unsigned int attachments;
	char nsp[SIO_NAME_MAX + 1]; /* "/" if none was given */
	int64_t ack;                /* SIO_NO_ACK */
	/* Within the packet, valid JSON of the type's shape; NULL: nothing was there. */
	const char *json;
	size_t json_len;
	/* Of an array: what is between the brackets; of an event: behind its name. */
	const char *args;
	size_t args_len;
	/* Of an event: its name as JSON (a string or a number). */
	const char *name;
	size_t name_len;
};

/* Decodes the data of an Engine.IO text MESSAGE.  0, or -1: close the connection. */
int sio_decode(const char *text, size_t len, struct sio_decoded *d);

/* The text of a JSON string or number; the caller frees.  NULL: it has a NUL in it. */
char *sio_name_text(const char *json, size_t len);
bool sio_name_reserved(const char *event);

/* Are all placeholders of a binary packet good?  count: attachments that came. */
bool sio_placeholders_valid(struct json_object *json, unsigned int count);

/* The frames of one packet: header first, then its attachments. */
struct sio_packet {
	unsigned int refs;
	unsigned int count;
	struct frame *frames[];
};

/* What a packet is made of. */
struct sio_parts {
	enum sio_type type; /* EVENT or ACK becomes its binary form if there are attachments */
	const char *nsp;
	int64_t ack;
	const char *name; /* of an event, or NULL */
	const char *args; /* in brackets behind the name; NULL: no brackets, json instead */
	size_t args_len;
	const char *json; /* the whole payload, or NULL */
	size_t json_len;
	size_t attachments;
};

/* The first frame of the packet. */
struct frame *sio_encode(const struct sio_parts *parts);
struct sio_packet *sio_packet_new(const struct sio_parts *parts, const struct sio_attachment *att);

#endif
