/* SPDX-License-Identifier: ISC */
/*
 * client: who is logged in on one socket.  It speaks to its session through a small
 * peer vtable.  Thread: loop of a worker.
 */
#ifndef PALAVER_CHAT_CLIENT_H
#define PALAVER_CHAT_CLIENT_H

#include "chat/chat.h"

struct peer_ops {
	void (*send)(void *peer, void *encoded); /* borrows what the encoder made */
	/* Subscribed to everything (err 0), or it cannot be: the peer accepts or refuses. */
	void (*ready)(void *peer, int err);
	/*
	 * The client's time is over, also before ready(): the peer says so to the other side,
	 * if there is a reason (a word for session.ended; NULL: an administrator's kick), and
	 * closes the connection.  The client may be closed in the call.
	 */
	void (*end)(void *peer, const char *reason);
};

/*
 * Loads the user's conversations and subscribes to them; ready() runs once, later,
 * unless the client is closed before.  Nothing is sent before ready().
 */
struct client *client_open(
    struct chat *c, const struct chat_identity *who, const struct peer_ops *ops, void *peer);
/*
 * The socket moves to another worker: leave() writes down what arrive() needs there and
 * closes the client.  An arrived client gets, before ready(), exactly what followed the
 * last event that it was sent; where that cannot be known, sync.required.
 * arrive: NULL: the state is bad.
 */
void client_leave(struct client **cl, struct buf *state);
struct client *client_arrive(
    struct chat *c, const void *state, size_t len, const struct peer_ops *ops, void *peer);
void client_close(struct client **cl);
const char *client_user(const struct client *cl);

#endif
