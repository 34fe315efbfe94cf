/* SPDX-License-Identifier: ISC */
/*
 * socket_int: what the files of the socket events share.  Not for other folders.
 */
#ifndef PALAVER_API_SOCKET_INT_H
#define PALAVER_API_SOCKET_INT_H

#include "api/api_int.h"
#include "chat/client.h"

struct api_socket {
	struct api *api;
	struct sio_socket *s;
	struct client *client;
	unsigned int calls;
	bool arriving; /* from another worker; it has joined long ago */
	bool joined;
	bool ended;          /* nothing goes in or out any more */
	struct ending *ending; /* the close that follows; NULL: none */
};

struct socket_call {
	struct api_socket *socket;
	int64_t ack;
};

/* A chat_done: acknowledges and frees the call.  Every handler ends in it, once. */
void socket_done(void *call, const struct chat_result *res);
/* false: a field is at fault, and the call was answered. */
bool socket_fields(struct socket_call *call, struct json_object *body, const struct field *fields,
    size_t count);

/* socket_messages.c */
void socket_message_send(struct socket_call *call, struct json_object *body);
void socket_message_edit(struct socket_call *call, struct json_object *body);
void socket_message_delete(struct socket_call *call, struct json_object *body);
void socket_reaction_add(struct socket_call *call, struct json_object *body);
void socket_reaction_remove(struct socket_call *call, struct json_object *body);
void socket_read_set(struct socket_call *call, struct json_object *body);

#endif
