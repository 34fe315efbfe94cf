/* SPDX-License-Identifier: ISC */
/*
 * accept: listening sockets and new connections, which are handed to libwebsockets.
 * Loop thread.
 *
 * At max_connections nothing more is accepted: the kernel's queue holds the rest until
 * a connection ends.
 */
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>
#include <utlist.h>

#include "lib/log.h"
#include "wire/wire_int.h"

#define ACCEPTS_A_TURN 64
#define REST_S         0.1

void
listeners_pause(struct wire *w, bool pause)
{
	struct listener *l;

	if (w->paused == pause)
		return;
	w->paused = pause;
	DL_FOREACH (w->listeners, l) {
		if (pause)
			ev_io_stop(loop_ev(), &l->accept);
		else
			ev_io_start(loop_ev(), &l->accept);
	}
}

static void
adopt(struct wire *w, int fd, const struct sockaddr_storage *sa, int tls)
{
	int on = 1;

	setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on)); /* we gather ourselves */
	if (!conn_new(w, fd, sa, tls))
		return;
	w->stats.accepted++;
	if (++w->stats.connections >= w->opts.max_connections) {
		log_warn("wire.full", "connections=%llu; raise http.max_connections",
		    (unsigned long long)w->stats.connections);
		listeners_pause(w, true);
	}
}

static void
rested(struct ev_loop *l, ev_timer *t, int revents)
{
	struct wire *w = t->data;

	(void)l, (void)revents;
	if (w->stats.connections < w->opts.max_connections && !w->draining)
		listeners_pause(w, false);
}

/* The listening socket stays readable, so accepting is tried again after a while only. */
static void
rest(struct wire *w)
{
	listeners_pause(w, true);
	ev_timer_stop(loop_ev(), &w->rest);
	ev_timer_init(&w->rest, rested, REST_S, 0);
	w->rest.data = w;
	ev_timer_start(loop_ev(), &w->rest);
}

static void
accept_ready(struct ev_loop *l, ev_io *io, int revents)
{
	struct listener *ln = io->data;
	struct wire *w = ln->wire;

	for (int i = 0; i < ACCEPTS_A_TURN && !w->paused; i++) {
		struct sockaddr_storage sa;
		socklen_t len = sizeof(sa);
		int fd =
		    accept4(io->fd, (struct sockaddr *)&sa, &len, SOCK_NONBLOCK | SOCK_CLOEXEC);

		if (fd >= 0) {
			adopt(w, fd, &sa, ln->tls);
			continue;
		}
		if (errno == EMFILE || errno == ENFILE || errno == ENOBUFS || errno == ENOMEM) {
			log_error(
			    "wire.no_descriptors", "err=%s; raise LimitNOFILE", strerror(errno));
			rest(w);
			return;
		}
		if (errno != ECONNABORTED && errno != EINTR)
			return;
	}
}

void
wire_listen(struct wire *w, int fd, unsigned int tag, int tls)
{
	struct listener *l;

	if (w->draining) {
		close(fd);
		return;
	}
	l = xcalloc(1, sizeof(*l));
	l->wire = w;
	l->tag = tag;
	l->tls = tls;
	ev_io_init(&l->accept, accept_ready, fd, EV_READ);
	l->accept.data = l;
	if (!w->paused)
		ev_io_start(loop_ev(), &l->accept);
	DL_APPEND(w->listeners, l);
}

static void
listener_close(struct wire *w, struct listener *l)
{
	ev_io_stop(loop_ev(), &l->accept);
	close(l->accept.fd);
	DL_DELETE(w->listeners, l);
	free(l);
}

void
wire_unlisten(struct wire *w, unsigned int tag)
{
	struct listener *l, *tmp;

	DL_FOREACH_SAFE (w->listeners, l, tmp)
		if (l->tag == tag)
			listener_close(w, l);
}

void
listeners_close(struct wire *w)
{
	struct listener *l, *tmp;

	DL_FOREACH_SAFE (w->listeners, l, tmp)
		listener_close(w, l);
}
