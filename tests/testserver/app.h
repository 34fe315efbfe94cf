/* SPDX-License-Identifier: ISC */
/*
 * app: what the clients of sio-testserver talk to.  Worker, loop thread.
 *
 * With several workers, what goes to a room or to all takes the way over the parent,
 * which numbers it; so every worker sees one order, and a socket that moves from one to
 * another says with its number what it has seen.
 */
#ifndef PALAVER_TESTS_TESTSERVER_APP_H
#define PALAVER_TESTS_TESTSERVER_APP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "wire/eio.h"
#include "wire/server.h"

struct app;

extern const struct sio_app app_sio;     /* the arg of all is the app */
extern const struct eio_handler app_eio; /* echo */

/* publish: to the parent, which hands it to every worker; NULL: there is one worker. */
struct app *app_new(void (*publish)(void *arg, const struct buf *packed), void *arg);
void app_free(struct app **a);
void app_published(struct app *a, uint64_t number, const void *packed, size_t len);
/* With --deny: the text of the header x-deny. */
const char *app_admit(void *app, const struct http_req *r);
void app_set_deny(struct app *a, bool deny);

#endif
