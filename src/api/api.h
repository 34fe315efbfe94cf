/* SPDX-License-Identifier: ISC */
/*
 * api: what clients can ask for: REST resources under /v1 and the events of the
 * Socket.IO namespace "/".  It reads and checks the inputs, calls chat/, and turns
 * the answers into HTTP and acks.  Thread: loop of a worker.
 */
#ifndef PALAVER_API_API_H
#define PALAVER_API_API_H

#include <stdbool.h>

#include "chat/chat.h"
#include "wire/http.h"
#include "wire/sio.h"

#define API_PREFIX "/v1/"
#define API_COOKIE "palaver_access" /* wire_app.cookie: an access token */

struct api;

extern const struct chat_encoder api_encoder; /* events for the namespace "/" */
extern const struct sio_app api_sio_app;      /* its arg is the api */

struct api *api_new(struct chat *chat);
void api_request(void *api, struct http_req *r); /* wire_app.request */
void api_begin(void *api, struct http_req *r);   /* wire_app.begin */
void api_json_limits(struct api *a, unsigned int depth, unsigned int keys); /* of bodies */
void api_free(struct api **a);

/* The tables, for the tests that compare them with the documentation; NULL ends each. */
const char *api_route(unsigned int i); /* "POST /v1/auth/login"; valid until the next call */
const char *api_event(unsigned int i); /* "message.send": what a client may send */

#endif
