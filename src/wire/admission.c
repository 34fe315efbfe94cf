/* SPDX-License-Identifier: ISC */
/*
 * admission: the address of a connection, whether it may have another one, and what
 * follows when one has left.  Loop thread.
 */
#include <arpa/inet.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "lib/log.h"
#include "lib/address.h"
#include "wire/wire_int.h"

#define CROWD_MIN  256 /* connections, for which giving memory back is worth it */
#define TRIM_AFTER 1.0 /* seconds: the rest of a crowd leaves in that time, too */

void
address_text(const struct in6_addr *a, char dst[ADDRESS_TEXT])
{
	if (IN6_IS_ADDR_V4MAPPED(a))
		inet_ntop(AF_INET, &a->s6_addr[12], dst, ADDRESS_TEXT);
	else
		inet_ntop(AF_INET6, a, dst, ADDRESS_TEXT);
}

static void
take_address(struct conn *c, const struct sockaddr_storage *sa)
{
	if (sa->ss_family == AF_INET6) {
		c->address = ((const struct sockaddr_in6 *)sa)->sin6_addr;
		return;
	}
	c->address.s6_addr[10] = c->address.s6_addr[11] = 0xff;
	memcpy(&c->address.s6_addr[12], &((const struct sockaddr_in *)sa)->sin_addr, 4);
}

static bool
is_listed(const char *list, const struct in6_addr *a)
{
	char text[ADDRESS_TEXT];
	struct in6_addr one;

	while (list && *list) {
		size_t len;

		list += strspn(list, " \t\n");
		len = strcspn(list, " \t\n");
		if (len && len < sizeof(text)) {
			memcpy(text, list, len);
			text[len] = '\0';
			if (address_parse(text, &one) && memcmp(&one, a, sizeof(one)) == 0)
				return true;
		}
		list += len;
	}
	return false;
}

/* Behind a trusted proxy the last hop that it names; programs may have written the others. */
void
http_client_address(const struct http_req *r, struct in6_addr *a)
{
	const struct conn *c = http_conn(r);
	const char *last = http_proxy_says(r, "x-forwarded-for");
	char text[ADDRESS_TEXT];

	*a = c->address;
	if (last && str_copy(text, sizeof(text), last))
		address_parse(text, a);
}

static void
too_many(struct wire *w, int fd, const struct conn *c)
{
	static const char answer[] = "HTTP/1.1 429 Too Many Requests\r\nRetry-After: 10\r\n"
				     "Content-Length: 0\r\nConnection: close\r\n\r\n";
	char text[ADDRESS_TEXT];

	w->stats.refused_address++;
	address_text(&c->address, text);
	log_info("wire.address_full",
	    "address=%s; http.max_connections_per_address, or name a proxy in http.trusted_proxies",
	    text);
	if (!c->tls && send(fd, answer, sizeof(answer) - 1, MSG_DONTWAIT | MSG_NOSIGNAL) < 0)
		log_debug("wire.not_told", "address=%s", text);
	close(fd);
}

/* false: it may not; the client was told, and fd is closed. */
bool
conn_admit(struct conn *c, int fd, const struct sockaddr_storage *sa)
{
	struct wire *w = c->wire;

	take_address(c, sa);
	if (w->stats.connections >= w->crowd)
		w->crowd = w->stats.connections + 1;
	c->proxy = is_listed(w->proxies, &c->address);
	if (address_connect(
		w->addresses, &c->address, c->proxy ? 0 : w->opts.max_connections_per_address))
		return true;
	too_many(w, fd, c);
	return false;
}

/* ---- leaving ---- */

/* What a crowd needed is given back when most of it has left; the allocator would keep it. */
static void
trim(struct ev_loop *loop, ev_timer *timer, int revents)
{
	struct wire *w = timer->data;

	(void)loop;
	(void)revents;
	w->crowd = w->stats.connections;
	memory_trim();
}

void
conn_left(struct wire *w)
{
	if (--w->stats.connections < w->opts.max_connections && !w->draining)
		listeners_pause(w, false);
	if (w->crowd >= CROWD_MIN && w->stats.connections < w->crowd / 4 && !ev_is_active(&w->trim))
		ev_timer_start(loop_ev(), &w->trim);
}

void
conn_trim_init(struct wire *w)
{
	ev_timer_init(&w->trim, trim, TRIM_AFTER, 0.);
	w->trim.data = w;
}
