/* SPDX-License-Identifier: ISC */
/*
 * imsg: channels between the processes of one tree.  Loop thread.
 *
 * Outgoing bytes gather in one buffer and leave at the end of the turn; a message
 * with a descriptor ends a piece, because the kernel ties descriptors to bytes:
 * the descriptor is sent with the first byte of its own frame, never earlier.
 * Incoming descriptors wait in a queue until their frame (flag 1) is complete.
 */
#include "lib/imsg.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>
#include <utlist.h>

#include "lib/log.h"
#include "lib/loop.h"
#include "lib/pack.h"

#define HEADER     16
#define FLAG_FD    1
#define READ_CHUNK 65536
#define FDS_MAX    64 /* descriptors that came before their frames */

struct pending_fd {
	int fd;
	size_t at; /* offset in out of the frame it belongs to */
	struct pending_fd *next;
};

struct imsg_chan {
	int fd;
	const struct imsg_handler *handler;
	void *arg;
	struct ev_io rd, wr;
	struct loop_task flush;
	struct buf in, out;
	struct pending_fd *out_fds;
	int in_fds[FDS_MAX];
	size_t in_fd_count;
	bool broken; /* closed() was called or is about to be */
	bool *freed; /* set while a callback runs: tells that it freed the channel */
};

static void
take_back_watchers(struct imsg_chan *c)
{
	ev_io_stop(loop_ev(), &c->rd);
	ev_io_stop(loop_ev(), &c->wr);
	loop_cancel(&c->flush);
}

static void
channel_broken(struct imsg_chan *c)
{
	if (c->broken)
		return;
	c->broken = true;
	take_back_watchers(c);
	c->handler->closed(c->arg);
}

/* Bytes that may go out together: up to the frame of the next descriptor. */
static ssize_t
send_piece(struct imsg_chan *c)
{
	union {
		char space[CMSG_SPACE(sizeof(int))];
		struct cmsghdr align;
	} control;
	struct pending_fd *p = c->out_fds;
	struct iovec iov = {c->out.data, c->out.len};
	struct msghdr msg = {.msg_iov = &iov, .msg_iovlen = 1};
	bool with_fd = p && p->at == 0;
	ssize_t n;

	if (with_fd) {
		struct cmsghdr *cm;

		memset(&control, 0, sizeof(control));
		msg.msg_control = control.space;
		msg.msg_controllen = sizeof(control.space);
		cm = CMSG_FIRSTHDR(&msg);
		cm->cmsg_level = SOL_SOCKET;
		cm->cmsg_type = SCM_RIGHTS;
		cm->cmsg_len = CMSG_LEN(sizeof(int));
		memcpy(CMSG_DATA(cm), &p->fd, sizeof(int));
		if (p->next)
			iov.iov_len = p->next->at;
	} else if (p) {
		iov.iov_len = p->at;
	}
	n = sendmsg(c->fd, &msg, MSG_NOSIGNAL | MSG_DONTWAIT);
	if (n <= 0)
		return n;
	if (with_fd) {
		LL_DELETE(c->out_fds, p);
		close(p->fd);
		free(p);
	}
	LL_FOREACH (c->out_fds, p)
		p->at -= (size_t)n;
	buf_drop(&c->out, (size_t)n);
	return n;
}

/* 0: all is out or the socket is full; -1: broken. */
static int
send_all(struct imsg_chan *c)
{
	while (c->out.len) {
		if (send_piece(c) >= 0)
			continue;
		if (errno == EINTR)
			continue;
		return errno == EAGAIN || errno == EWOULDBLOCK ? 0 : -1;
	}
	return 0;
}

static void
flush_now(void *arg)
{
	struct imsg_chan *c = arg;

	if (c->broken)
		return;
	if (send_all(c) < 0) {
		channel_broken(c);
		return;
	}
	if (c->out.len)
		ev_io_start(loop_ev(), &c->wr);
	else
		ev_io_stop(loop_ev(), &c->wr);
}

static void
writable(struct ev_loop *l, ev_io *w, int revents)
{
	(void)l, (void)revents;
	flush_now(w->data);
}

/* -1: end of the channel, -2: nothing now. */
static ssize_t
read_some(struct imsg_chan *c)
{
	union {
		char space[CMSG_SPACE(sizeof(int) * FDS_MAX)];
		struct cmsghdr align;
	} control;
	struct iovec iov = {buf_reserve(&c->in, READ_CHUNK), READ_CHUNK};
	struct msghdr msg = {.msg_iov = &iov,
	    .msg_iovlen = 1,
	    .msg_control = control.space,
	    .msg_controllen = sizeof(control.space)};
	ssize_t n = recvmsg(c->fd, &msg, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);

	if (n < 0)
		return errno == EAGAIN || errno == EINTR ? -2 : -1;
	for (struct cmsghdr *cm = CMSG_FIRSTHDR(&msg); cm; cm = CMSG_NXTHDR(&msg, cm)) {
		size_t count;

		if (cm->cmsg_level != SOL_SOCKET || cm->cmsg_type != SCM_RIGHTS)
			continue;
		count = (cm->cmsg_len - CMSG_LEN(0)) / sizeof(int);
		for (size_t i = 0; i < count; i++) {
			int fd;

			memcpy(&fd, CMSG_DATA(cm) + i * sizeof(int), sizeof(int));
			if (c->in_fd_count < FDS_MAX)
				c->in_fds[c->in_fd_count++] = fd;
			else
				close(fd);
		}
	}
	if (n == 0)
		return -1;
	c->in.len += (size_t)n;
	return n;
}

static int
next_fd(struct imsg_chan *c)
{
	int fd;

	if (!c->in_fd_count)
		return -1;
	fd = c->in_fds[0];
	memmove(c->in_fds, c->in_fds + 1, --c->in_fd_count * sizeof(int));
	return fd;
}

/* Hands complete frames over; false: the channel is gone or broken. */
static bool
dispatch(struct imsg_chan *c)
{
	bool freed = false;
	size_t used = 0;

	while (c->in.len - used >= HEADER) {
		struct unpack u;
		struct imsg m;
		uint32_t len;
		uint16_t flags;

		unpack_init(&u, c->in.data + used, HEADER);
		len = unpack_u32(&u);
		m.type = unpack_u16(&u);
		flags = unpack_u16(&u);
		m.id = unpack_u32(&u);
		if (len > IMSG_MAX_PAYLOAD || unpack_u32(&u) != 0) {
			log_error("imsg.rubbish", "len=%u type=%u", len, m.type);
			channel_broken(c);
			return false;
		}
		if (c->in.len - used - HEADER < len)
			break;
		m.data = c->in.data + used + HEADER;
		m.len = len;
		m.fd = flags & FLAG_FD ? next_fd(c) : -1;
		used += HEADER + len;
		c->freed = &freed;
		c->handler->message(c->arg, &m);
		if (m.fd >= 0)
			close(m.fd);
		if (freed)
			return false;
		c->freed = NULL;
		if (c->broken)
			return false;
	}
	buf_drop(&c->in, used);
	return true;
}

static void
readable(struct ev_loop *l, ev_io *w, int revents)
{
	struct imsg_chan *c = w->data;
	ssize_t n = read_some(c);

	(void)l, (void)revents;
	if (n == -2)
		return;
	if (n < 0) {
		channel_broken(c);
		return;
	}
	dispatch(c);
}

static int
read_exactly(int fd, struct buf *b, size_t len)
{
	while (len) {
		ssize_t n = recv(fd, buf_reserve(b, len), len, 0);

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return -1;
		b->len += (size_t)n;
		len -= (size_t)n;
	}
	return 0;
}

int
imsg_read_first(int fd, uint16_t type, struct buf *payload)
{
	struct unpack u;
	struct buf head;
	uint32_t len;
	int err = -1;

	buf_init(&head);
	if (read_exactly(fd, &head, HEADER) == 0) {
		unpack_init(&u, head.data, head.len);
		len = unpack_u32(&u);
		if (unpack_u16(&u) == type && unpack_u16(&u) == 0 && len <= IMSG_MAX_PAYLOAD)
			err = read_exactly(fd, payload, len);
	}
	buf_fini(&head);
	return err;
}

struct imsg_chan *
imsg_chan_new(int fd, const struct imsg_handler *h, void *arg)
{
	struct imsg_chan *c = xcalloc(1, sizeof(*c));

	fcntl(fd, F_SETFD, FD_CLOEXEC);
	fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) | O_NONBLOCK);
	c->fd = fd;
	c->handler = h;
	c->arg = arg;
	c->flush.run = flush_now;
	c->flush.arg = c;
	ev_io_init(&c->rd, readable, fd, EV_READ);
	ev_io_init(&c->wr, writable, fd, EV_WRITE);
	c->rd.data = c->wr.data = c;
	ev_io_start(loop_ev(), &c->rd);
	return c;
}

void
imsg_chan_free(struct imsg_chan **cp)
{
	struct imsg_chan *c = *cp;
	struct pending_fd *p, *tmp;

	*cp = NULL;
	if (!c)
		return;
	if (c->freed)
		*c->freed = true;
	take_back_watchers(c);
	LL_FOREACH_SAFE (c->out_fds, p, tmp) {
		close(p->fd);
		free(p);
	}
	while (c->in_fd_count)
		close(c->in_fds[--c->in_fd_count]);
	close(c->fd);
	buf_fini(&c->in);
	buf_fini(&c->out);
	free(c);
}

void
imsg_send(struct imsg_chan *c, uint16_t type, uint32_t id, int fd, const void *payload, size_t len)
{
	if (c->broken) {
		if (fd >= 0)
			close(fd);
		return;
	}
	if (fd >= 0) {
		struct pending_fd *p = xcalloc(1, sizeof(*p));

		p->fd = fd;
		p->at = c->out.len;
		LL_APPEND(c->out_fds, p);
	}
	pack_u32(&c->out, (uint32_t)len);
	pack_u16(&c->out, type);
	pack_u16(&c->out, fd >= 0 ? FLAG_FD : 0);
	pack_u32(&c->out, id);
	pack_u32(&c->out, 0);
	buf_append(&c->out, payload, len);
	if (!ev_is_active(&c->wr))
		loop_defer(&c->flush);
}

void
imsg_send_buf(struct imsg_chan *c, uint16_t type, uint32_t id, const struct buf *payload)
{
	imsg_send(c, type, id, -1, payload->data, payload->len);
}

size_t
imsg_pending(const struct imsg_chan *c)
{
	return c->out.len;
}

void
imsg_flush(struct imsg_chan *c, int ms)
{
	int64_t until = clock_mono_ms() + ms;

	while (!c->broken && c->out.len && send_all(c) == 0 && c->out.len) {
		struct pollfd pfd = {c->fd, POLLOUT, 0};
		int64_t left = until - clock_mono_ms();

		if (left <= 0 || poll(&pfd, 1, (int)left) <= 0)
			return;
	}
}
