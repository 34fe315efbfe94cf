/* SPDX-License-Identifier: ISC */
/*
 * ctlsock: the control socket: one JSON object in one line each way over a Unix
 * stream socket.  The server side runs on the loop, the client side blocks.
 */
#ifndef PALAVER_LIB_CTLSOCK_H
#define PALAVER_LIB_CTLSOCK_H

#include <stddef.h>

#include "lib/buf.h"

#define CTLSOCK_LINE_MAX (1024 * 1024)
#define CTLSOCK_IDLE_S   30 /* a peer that says nothing for so long is cut off */

struct ctlsock;
struct ctlsock_peer;

/*
 * A request line (without the newline, NUL-terminated).  Answer once, now or later, with
 * ctlsock_reply(); the peer may have gone by then, which is no error.
 */
typedef void (*ctlsock_request_cb)(void *arg, struct ctlsock_peer *peer, const char *line,
    size_t len);

/*
 * Binds path (removing a stale socket), mode 0660.  NULL with errno.  Peers that are
 * neither root nor the user of this process get an error line and are closed.
 */
struct ctlsock *ctlsock_listen(const char *path, ctlsock_request_cb cb, void *arg);
void ctlsock_close(struct ctlsock **s); /* also removes the socket; answers are flushed first */
void ctlsock_reply(struct ctlsock_peer *peer, const char *json, size_t len);

/* Client: connects (-1 with errno). */
int ctlsock_connect(const char *path);
/* Sends a line and reads one; -1 with errno (ETIMEDOUT, ECONNRESET, EMSGSIZE). */
int ctlsock_call(int fd, const char *json, size_t len, int timeout_ms, struct buf *answer);

#endif
