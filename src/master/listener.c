/* SPDX-License-Identifier: ISC */
/*
 * listener: one SO_REUSEPORT socket per worker slot and listen section, bound by the
 * master before anything else starts and kept for good: connections that wait in a
 * crashed worker's queue are served by its successor.  Master process.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sysexits.h>
#include <time.h>
#include <unistd.h>

#include "lib/log.h"
#include "lib/loop.h"
#include "master/master.h"

#define BACKLOG 4096
#define WAIT_MS 2000

struct address {
	struct sockaddr_storage sa;
	socklen_t len;
};

static void
set_port(struct address *a, uint16_t port)
{
	if (a->sa.ss_family == AF_INET6)
		((struct sockaddr_in6 *)&a->sa)->sin6_port = htons(port);
	else
		((struct sockaddr_in *)&a->sa)->sin_port = htons(port);
}

static uint16_t
get_port(const struct address *a)
{
	return ntohs(a->sa.ss_family == AF_INET6 ? ((const struct sockaddr_in6 *)&a->sa)->sin6_port
						 : ((const struct sockaddr_in *)&a->sa)->sin_port);
}

static void
resolve(struct address *a, const struct conf_listen *l)
{
	const char *text = strcmp(l->address, "*") == 0 ? "::" : l->address;
	struct sockaddr_in6 *in6 = (struct sockaddr_in6 *)&a->sa;
	struct sockaddr_in *in = (struct sockaddr_in *)&a->sa;

	memset(a, 0, sizeof(*a));
	if (inet_pton(AF_INET, text, &in->sin_addr) == 1) {
		a->sa.ss_family = AF_INET;
		a->len = sizeof(*in);
	} else if (inet_pton(AF_INET6, text, &in6->sin6_addr) == 1) {
		a->sa.ss_family = AF_INET6;
		a->len = sizeof(*in6);
	} else {
		fatal(EX_CONFIG, "listen.bad_address",
		    "listen.address=%s is no numeric IPv4 or IPv6 address and not \"*\"",
		    l->address);
	}
	set_port(a, (uint16_t)l->port);
}

static void
cannot_listen(const struct conf_listen *l)
{
	int err = errno;
	const char *hint = err == EADDRINUSE ? "another program has the port (ss -ltnp shows which)"
			   : err == EACCES   ? "ports below 1024 need root or CAP_NET_BIND_SERVICE"
					     : "is this an address of this machine?";

	fatal(EX_OSERR, "listen.failed", "cannot listen on %s:%lld: %s; %s, or change listen.port",
	    l->address, (long long)l->port, strerror(err), hint);
}

/*
 * Bound without SO_REUSEPORT first: with it, another palaverd of the same user would
 * silently share the port.  A port in use is waited for a little: the children of a
 * master that was killed are just leaving.
 */
static void
probe(struct address *a, const struct conf_listen *l)
{
	int fd = socket(a->sa.ss_family, SOCK_STREAM | SOCK_CLOEXEC, 0), on = 1;
	int64_t until = clock_mono_ms() + WAIT_MS;

	if (fd < 0)
		cannot_listen(l);
	setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
	while (bind(fd, (struct sockaddr *)&a->sa, a->len) < 0) {
		struct timespec ts = {0, 20 * 1000000L};

		if (errno != EADDRINUSE || clock_mono_ms() > until)
			cannot_listen(l);
		nanosleep(&ts, NULL);
	}
	if (listen(fd, 1) < 0)
		cannot_listen(l);
	if (getsockname(fd, (struct sockaddr *)&a->sa, &a->len) < 0)
		cannot_listen(l);
	close(fd);
}

static int
open_one(const struct address *a, const struct conf_listen *l)
{
	int fd = socket(a->sa.ss_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	int on = 1, off = 0;

	if (fd < 0)
		cannot_listen(l);
	setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
	setsockopt(fd, SOL_SOCKET, SO_REUSEPORT, &on, sizeof(on));
	if (a->sa.ss_family == AF_INET6 && strcmp(l->address, "*") == 0)
		setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &off, sizeof(off));
	if (bind(fd, (const struct sockaddr *)&a->sa, a->len) < 0 || listen(fd, BACKLOG) < 0)
		cannot_listen(l);
	return fd;
}

void
listener_open_all(struct master *m)
{
	m->listeners = xcalloc(m->workers, sizeof(*m->listeners));
	for (size_t i = 0; i < m->conf->listen_count; i++) {
		const struct conf_listen *l = &m->conf->listen[i];
		struct address a;

		resolve(&a, l);
		probe(&a, l); /* with port 0 this chooses the port that all slots share */
		for (unsigned int s = 0; s < m->workers; s++)
			m->listeners[s].fds[i] = open_one(&a, l);
		snprintf(m->addresses[i], sizeof(m->addresses[i]),
		    a.sa.ss_family == AF_INET6 && *l->address != '*' ? "[%s]:%u" : "%s:%u",
		    l->address, get_port(&a));
		log_info("listen.open", "address=%s slots=%u", m->addresses[i], m->workers);
	}
}
