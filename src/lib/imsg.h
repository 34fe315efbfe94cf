/* SPDX-License-Identifier: ISC */
/*
 * imsg: messages with optional file descriptors over a Unix stream socket, one
 * channel a peer, on the loop.
 *
 * Frame: u32 length of the payload, u16 type, u16 flags (1: a descriptor comes
 * with it), u32 id, u32 reserved (0), then the payload.  All little-endian.
 * Ids pair requests and answers; what they mean is the users' affair.
 *
 * Everything sent in one turn of the loop leaves in one system call.
 */
#ifndef PALAVER_LIB_IMSG_H
#define PALAVER_LIB_IMSG_H

#include <stddef.h>
#include <stdint.h>

#include "lib/buf.h"

#define IMSG_MAX_PAYLOAD (64U * 1024 * 1024) /* a longer one ends the channel */

struct imsg {
	uint16_t type;
	uint32_t id;
	const uint8_t *data; /* valid during the callback only */
	size_t len;
	int fd; /* -1: none.  The callback takes it (sets it to -1) or it is closed */
};

/*
 * Reads one message from a blocking socket that has no channel yet; it must be of
 * this type and bring no descriptor.  0, or -1: it did not, or the peer is gone.
 */
int imsg_read_first(int fd, uint16_t type, struct buf *payload);

struct imsg_chan;

struct imsg_handler {
	void (*message)(void *arg, struct imsg *m);
	/*
	 * The peer closed, sent rubbish or exceeded the limit: called once, nothing
	 * after it.  The handler may free the channel here.
	 */
	void (*closed)(void *arg);
};

/* Takes fd (a connected AF_UNIX stream socket), makes it non-blocking and close-on-exec. */
struct imsg_chan *imsg_chan_new(int fd, const struct imsg_handler *h, void *arg);
void imsg_chan_free(struct imsg_chan **c); /* closes; unsent messages are lost */

/*
 * Queues a message.  fd is duplicated into the message and closed here after
 * sending (takes); -1: none.  payload is copied.  Never blocks.
 * Nothing is sent after closed() was called: the message is dropped silently,
 * as it would be if the peer died a moment later.
 */
void imsg_send(struct imsg_chan *c, uint16_t type, uint32_t id, int fd, const void *payload,
    size_t len);
void imsg_send_buf(struct imsg_chan *c, uint16_t type, uint32_t id, const struct buf *payload);
size_t imsg_pending(const struct imsg_chan *c); /* bytes queued and not yet sent */
/* Blocks until all is sent or ms have passed; for the last words before an exit. */
void imsg_flush(struct imsg_chan *c, int ms);

#endif
