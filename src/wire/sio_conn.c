/* SPDX-License-Identifier: ISC */
/*
 * sio_conn: life of a connection's Socket.IO state.  Loop thread.
 *
 * Invariant: the time-out and the credential are there until a first namespace is joined,
 * and not after it: a client that is only there costs no memory for how it came in.
 */
#include <stdlib.h>
#include <string.h>
#include <utlist.h>

#include "lib/loop.h"
#include "wire/sio_int.h"

static void
forget_credential(struct sio_conn *c)
{
	if (c->credential)
		explicit_bzero(c->credential, strlen(c->credential));
	free(c->credential);
	c->credential = NULL;
}

void
sio_conn_joined(struct sio_conn *c)
{
	forget_credential(c);
	if (!c->connect_timeout)
		return;
	ev_timer_stop(loop_ev(), c->connect_timeout);
	free(c->connect_timeout);
	c->connect_timeout = NULL;
}

static void
connect_timeout(struct ev_loop *l, ev_timer *t, int revents)
{
	struct sio_conn *c = t->data;

	(void)l, (void)revents;
	if (c->session)
		eio_close(c->session, "forced close", 0);
}

struct sio_conn *
sio_conn_new(struct sio_server *srv, struct eio_session *session, const char *credential)
{
	struct sio_conn *c = xcalloc(1, sizeof(*c));

	c->server = srv;
	c->session = session;
	c->credential = credential ? xstrdup(credential) : NULL;
	c->connect_timeout = xcalloc(1, sizeof(*c->connect_timeout));
	ev_timer_init(
	    c->connect_timeout, connect_timeout, (double)srv->connect_timeout / 1000.0, 0);
	c->connect_timeout->data = c;
	ev_timer_start(loop_ev(), c->connect_timeout);
	return c;
}

void
sio_conn_free(struct sio_conn *c)
{
	struct left_namespace *l, *tmp;

	sio_conn_joined(c);
	DL_FOREACH_SAFE (c->left, l, tmp)
		free(l);
	sio_assembly_free(&c->assembly);
	free(c);
}
