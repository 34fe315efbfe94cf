/* SPDX-License-Identifier: ISC */
/*
 * ws: reading WebSocket frames of a client (RFC 6455, 5) and the handshake's key.
 * Pure but for the memory of a message that is under way.
 *
 * Refused: frames without a mask, reserved bits, unknown opcodes, stray continuations,
 * control frames that are long or fragmented, lengths that are not minimal (1002);
 * text that is not UTF-8 (1007); a message over the limit, as soon as its length is
 * announced (1009).
 */
#ifndef PALAVER_WIRE_WS_H
#define PALAVER_WIRE_WS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct ws_partial;

struct ws_reader {
	struct ws_partial *partial; /* NULL: between two messages, the usual state */
};

struct ws_handler {
	/* Each may return false: nothing more of this connection is to be read. */
	bool (*message)(void *arg, const char *data, size_t len, bool binary);
	bool (*ping)(void *arg, const uint8_t *data, size_t len);
	bool (*close)(void *arg, int code); /* 0: none was given */
};

/*
 * Takes what was read; it is unmasked in place.  0, or the status code with which the
 * connection is to be closed.  used_r: bytes taken; less than len only after a handler
 * returned false, and then at the end of a frame.
 */
int ws_feed(struct ws_reader *r, uint8_t *data, size_t len, size_t max_message, size_t *used_r,
    const struct ws_handler *h, void *arg);
void ws_reader_fini(struct ws_reader *r);

#define WS_ACCEPT_MAX 29
/* Is key the base64 of 16 bytes?  Then dst is the Sec-WebSocket-Accept for it. */
bool ws_accept_key(const char *key, size_t len, char dst[WS_ACCEPT_MAX]);

#endif
