/* SPDX-License-Identifier: ISC */
/*
 * ctlsock: see ctlsock.h.  Server: master process, loop thread.  Client: palaverctl.
 *
 * A peer has one request under way at a time; the next line is looked at when the
 * answer to the last is out, by a deferred task: were it done inside ctlsock_reply(), a
 * peer that sends a thousand lines at once would nest a thousand calls.  A peer that goes away
 * while its answer is being made is kept (fd -1) until ctlsock_reply().
 */
#include "lib/ctlsock.h"

#include <errno.h>
#include <poll.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>
#include <utlist.h>

#include "lib/log.h"
#include "lib/loop.h"

static const char refusal[] = "{\"ok\":false,\"code\":\"forbidden\",\"error\":\"only root and the "
			      "user that runs palaverd may use this socket\",\"exit\":77}\n";

struct ctlsock {
	int fd;
	char *path;
	ctlsock_request_cb cb;
	void *arg;
	ev_io accept;
	struct ctlsock_peer *peers;
};

struct ctlsock_peer {
	struct ctlsock *sock; /* NULL: the socket was closed */
	int fd;
	ev_io rd;
	ev_timer idle;
	struct buf in;
	struct loop_task again; /* looks for the next line in what was read already */
	bool busy;              /* the request was handed over and not answered yet */
	struct ctlsock_peer *prev, *next;
};

static void
peer_hang_up(struct ctlsock_peer *p)
{
	if (p->fd < 0)
		return;
	ev_io_stop(loop_ev(), &p->rd);
	ev_timer_stop(loop_ev(), &p->idle);
	loop_cancel(&p->again);
	close(p->fd);
	p->fd = -1;
}

static void
peer_end(struct ctlsock_peer *p)
{
	peer_hang_up(p);
	if (p->busy)
		return;
	if (p->sock)
		DL_DELETE(p->sock->peers, p);
	buf_fini(&p->in);
	free(p);
}

static void
peer_idle(struct ev_loop *l, ev_timer *t, int revents)
{
	peer_end(t->data);
}

/* Looks for a complete line; the callback may answer and end the peer. */
static void
peer_next(void *arg)
{
	struct ctlsock_peer *p = arg;
	uint8_t *nl = p->in.len ? memchr(p->in.data, '\n', p->in.len) : NULL;
	struct buf line;

	if (p->busy) {
		if (p->in.len > CTLSOCK_LINE_MAX)
			peer_end(p);
		return;
	}
	if ((nl ? (size_t)(nl - p->in.data) : p->in.len) > CTLSOCK_LINE_MAX) {
		peer_end(p);
		return;
	}
	if (!nl)
		return;
	buf_init(&line);
	buf_append(&line, p->in.data, (size_t)(nl - p->in.data));
	buf_drop(&p->in, line.len + 1);
	buf_cstr(&line);
	p->busy = true;
	ev_timer_stop(loop_ev(), &p->idle);
	p->sock->cb(p->sock->arg, p, (const char *)line.data, line.len);
	buf_fini(&line);
}

static void
peer_readable(struct ev_loop *l, ev_io *w, int revents)
{
	struct ctlsock_peer *p = w->data;
	ssize_t n = recv(p->fd, buf_reserve(&p->in, 65536), 65536, MSG_DONTWAIT);

	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return;
	if (n <= 0) {
		peer_end(p);
		return;
	}
	p->in.len += (size_t)n;
	peer_next(p);
}

/* Answers are short and palaverctl reads: what does not fit is waited for a second. */
static bool
send_line(int fd, const char *json, size_t len, int timeout_ms)
{
	while (len) {
		struct pollfd pfd = {fd, POLLOUT, 0};
		ssize_t n = send(fd, json, len, MSG_NOSIGNAL | MSG_DONTWAIT);

		if (n > 0) {
			json += n;
			len -= (size_t)n;
		} else if (n < 0 && errno == EAGAIN) {
			if (poll(&pfd, 1, timeout_ms) <= 0)
				return false;
		} else if (n < 0 && errno != EINTR) {
			return false;
		}
	}
	return true;
}

void
ctlsock_reply(struct ctlsock_peer *p, const char *json, size_t len)
{
	p->busy = false;
	if (p->fd < 0 || !send_line(p->fd, json, len, 1000) || !send_line(p->fd, "\n", 1, 1000) ||
	    !p->sock) {
		peer_end(p);
		return;
	}
	ev_timer_again(loop_ev(), &p->idle);
	loop_defer(&p->again);
}

static bool
admitted(int fd)
{
	struct ucred cred;
	socklen_t len = sizeof(cred);

	if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &cred, &len) < 0)
		return false;
	return cred.uid == 0 || cred.uid == geteuid();
}

static void
accept_peer(struct ev_loop *l, ev_io *w, int revents)
{
	struct ctlsock *s = w->data;
	struct ctlsock_peer *p;
	int fd = accept4(s->fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);

	if (fd < 0)
		return;
	if (!admitted(fd)) {
		send_line(fd, refusal, sizeof(refusal) - 1, 0);
		close(fd);
		return;
	}
	p = xcalloc(1, sizeof(*p));
	p->sock = s;
	p->fd = fd;
	p->again.run = peer_next;
	p->again.arg = p;
	ev_io_init(&p->rd, peer_readable, fd, EV_READ);
	ev_init(&p->idle, peer_idle);
	p->idle.repeat = CTLSOCK_IDLE_S;
	p->rd.data = p->idle.data = p;
	ev_io_start(loop_ev(), &p->rd);
	ev_timer_again(loop_ev(), &p->idle);
	DL_APPEND(s->peers, p);
}

static int
fill_address(struct sockaddr_un *sun, const char *path)
{
	memset(sun, 0, sizeof(*sun));
	sun->sun_family = AF_UNIX;
	if (str_copy(sun->sun_path, sizeof(sun->sun_path), path))
		return 0;
	errno = ENAMETOOLONG;
	return -1;
}

struct ctlsock *
ctlsock_listen(const char *path, ctlsock_request_cb cb, void *arg)
{
	struct sockaddr_un sun;
	struct ctlsock *s;
	int fd;

	if (fill_address(&sun, path) < 0)
		return NULL;
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd < 0)
		return NULL;
	unlink(path);
	if (bind(fd, (struct sockaddr *)&sun, sizeof(sun)) < 0 || chmod(path, 0660) < 0 ||
	    listen(fd, 16) < 0) {
		close(fd);
		return NULL;
	}
	s = xcalloc(1, sizeof(*s));
	s->fd = fd;
	s->path = xstrdup(path);
	s->cb = cb;
	s->arg = arg;
	ev_io_init(&s->accept, accept_peer, fd, EV_READ);
	s->accept.data = s;
	ev_io_start(loop_ev(), &s->accept);
	return s;
}

void
ctlsock_close(struct ctlsock **sp)
{
	struct ctlsock *s = *sp;
	struct ctlsock_peer *p, *tmp;

	*sp = NULL;
	if (!s)
		return;
	ev_io_stop(loop_ev(), &s->accept);
	close(s->fd);
	unlink(s->path);
	DL_FOREACH_SAFE (s->peers, p, tmp) {
		DL_DELETE(s->peers, p);
		p->sock = NULL;
		peer_end(p);
	}
	free(s->path);
	free(s);
}

int
ctlsock_connect(const char *path)
{
	struct sockaddr_un sun;
	int fd, err;

	if (fill_address(&sun, path) < 0)
		return -1;
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return -1;
	if (connect(fd, (struct sockaddr *)&sun, sizeof(sun)) == 0)
		return fd;
	err = errno;
	close(fd);
	errno = err;
	return -1;
}

int
ctlsock_call(int fd, const char *json, size_t len, int timeout_ms, struct buf *answer)
{
	int64_t until = clock_mono_ms() + timeout_ms;

	/* A server that refuses says why and closes: that is there to read if we cannot send. */
	if (send_line(fd, json, len, timeout_ms))
		send_line(fd, "\n", 1, timeout_ms);
	while (!answer->len || answer->data[answer->len - 1] != '\n') {
		struct pollfd pfd = {fd, POLLIN, 0};
		int64_t left = until - clock_mono_ms();
		ssize_t n;

		if (left <= 0 || poll(&pfd, 1, (int)left) == 0) {
			errno = ETIMEDOUT;
			return -1;
		}
		n = recv(fd, buf_reserve(answer, 65536), 65536, 0);
		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0 || answer->len > 16 * CTLSOCK_LINE_MAX) {
			errno = n <= 0 ? ECONNRESET : EMSGSIZE;
			return -1;
		}
		answer->len += (size_t)n;
	}
	answer->len--;
	return 0;
}
