/* SPDX-License-Identifier: ISC */
/*
 * sio: namespaces, sockets, events and acks on top of Engine.IO sessions (protocol,
 * sections 11 and 12).  Loop thread.
 *
 * A connection holds its sockets (one a namespace), the namespaces it has left a
 * moment ago (late packets for them are dropped silently), and a binary packet that
 * waits for its attachments.  A socket ends in socket_free(), which tells the
 * application exactly once; a connection ends when its session is closed.
 */
#include "wire/sio.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <uthash.h>
#include <utlist.h>

#include "lib/id.h"
#include "lib/json.h"
#include "lib/log.h"
#include "lib/loop.h"
#include "wire/sio_packet.h"
#include "wire/wire_int.h"

#define SIO_ID_BYTES 15
#define LEFT_MS      10000 /* how long late packets of a left namespace are dropped */
#define ACKS_MAX     1000  /* answers that one socket owes */

enum socket_state { SOCKET_JOINING, SOCKET_JOINED };

struct pending_ack {
	int64_t id;
	sio_ack_cb cb;
	void *arg;
	UT_hash_handle hh;
};

struct sio_socket {
	struct sio_conn *conn;
	enum socket_state state;
	char id[24];
	char nsp[SIO_NAME_MAX + 1];
	void *user;
	struct pending_ack *acks;
	struct sio_socket *prev, *next;
};

struct left_namespace {
	char nsp[SIO_NAME_MAX + 1];
	int64_t until_ms;
	struct left_namespace *prev, *next;
};

struct sio_conn {
	struct sio_server *server;
	struct eio_session *session; /* NULL: closed */
	struct sio_socket *sockets;
	struct left_namespace *left;
	ev_timer connect_timeout;
	struct sio_decoded binary; /* waits for attachments; type is BINARY_x while it does */
	bool assembling;
	struct sio_attachment attachments[SIO_ATTACHMENTS_MAX];
	unsigned int attachment_count;
};

struct sio_server {
	const struct sio_app *app;
	void *arg;
	int64_t connect_timeout; /* ms */
	int64_t next_ack;
	uint64_t errors;
};

/* ---- sockets ---- */

static void
fail_acks(struct sio_socket *s)
{
	struct pending_ack *a, *tmp;

	HASH_ITER (hh, s->acks, a, tmp) {
		HASH_DEL(s->acks, a);
		a->cb(a->arg, NULL);
		free(a);
	}
}

static void
socket_free(struct sio_socket *s, const char *reason)
{
	struct sio_server *srv = s->conn->server;

	DL_DELETE(s->conn->sockets, s);
	fail_acks(s);
	srv->app->disconnect(srv->arg, s, reason);
	free(s);
}

static struct sio_socket *
find_socket(struct sio_conn *c, const char *nsp)
{
	struct sio_socket *s;

	DL_FOREACH (c->sockets, s)
		if (strcmp(s->nsp, nsp) == 0)
			return s;
	return NULL;
}

static void
send_packet(struct sio_conn *c, struct sio_packet *p)
{
	if (!c->session)
		return;
	for (unsigned int i = 0; i < p->count; i++)
		eio_send(c->session, p->frames[i]);
}

/* Encodes, sends and forgets. */
static void
send_one(struct sio_conn *c, enum sio_type type, const char *nsp, int64_t ack, const char *json,
    size_t len, const struct sio_attachment *att, size_t att_count)
{
	struct sio_packet *p = sio_encode(type, nsp, ack, json, len, att, att_count);

	send_packet(c, p);
	sio_packet_unref(&p);
}

/* A violation of the protocol: the whole connection goes. */
static void
violation(struct sio_conn *c, const char *what)
{
	c->server->errors++;
	log_debug("sio.violation", "sid=%.8s what=%s", eio_sid(c->session), log_quote(what));
	eio_close(c->session, "parse error", 0);
}

/* ---- namespaces left ---- */

static void
remember_left(struct sio_conn *c, const char *nsp)
{
	struct left_namespace *l = xcalloc(1, sizeof(*l));

	str_copy(l->nsp, sizeof(l->nsp), nsp);
	l->until_ms = clock_mono_ms() + LEFT_MS;
	DL_APPEND(c->left, l);
}

/* Was it left a moment ago?  forget: a new CONNECT ends that. */
static bool
recently_left(struct sio_conn *c, const char *nsp, bool forget)
{
	struct left_namespace *l, *tmp;
	int64_t now = clock_mono_ms();
	bool found = false;

	DL_FOREACH_SAFE (c->left, l, tmp) {
		bool same = strcmp(l->nsp, nsp) == 0;

		if (same && l->until_ms > now)
			found = true;
		if (l->until_ms <= now || (same && forget)) {
			DL_DELETE(c->left, l);
			free(l);
		}
	}
	return found;
}

/* ---- packets ---- */

static void
on_connect(struct sio_conn *c, const struct sio_decoded *d)
{
	struct sio_server *srv = c->server;
	struct json_object *empty = NULL;
	struct sio_socket *s;

	if (find_socket(c, d->nsp)) {
		violation(c, "second CONNECT for a namespace");
		return;
	}
	recently_left(c, d->nsp, true);
	if (!srv->app->namespace_known(srv->arg, d->nsp)) {
		static const char json[] = "{\"message\":\"Invalid namespace\"}";

		send_one(c, SIO_CONNECT_ERROR, d->nsp, SIO_NO_ACK, json, sizeof(json) - 1, NULL, 0);
		return;
	}
	s = xcalloc(1, sizeof(*s));
	s->conn = c;
	str_copy(s->nsp, sizeof(s->nsp), d->nsp);
	random_token(s->id, SIO_ID_BYTES);
	DL_APPEND(c->sockets, s);
	if (!d->json)
		empty = json_object_new_object();
	srv->app->connect(srv->arg, s, d->json ? d->json : empty);
	json_object_put(empty);
}

static void
on_event(struct sio_socket *s, const struct sio_decoded *d, const struct sio_args *args)
{
	struct sio_server *srv = s->conn->server;
	struct json_object *name;

	if (!d->json)
		return;
	name = json_object_array_get_idx(d->json, 0);
	srv->app->event(srv->arg, s, json_object_get_string(name), args, d->ack);
}

static void
on_ack(struct sio_socket *s, const struct sio_decoded *d, const struct sio_args *args)
{
	struct pending_ack *a;
	int64_t id = d->ack;

	HASH_FIND(hh, s->acks, &id, sizeof(id), a);
	if (!a || !d->json)
		return;
	HASH_DEL(s->acks, a);
	a->cb(a->arg, args);
	free(a);
}

static void
dispatch(struct sio_conn *c, const struct sio_decoded *d, const struct sio_args *args)
{
	struct sio_socket *s;

	if (d->type == SIO_CONNECT) {
		on_connect(c, d);
		return;
	}
	s = find_socket(c, d->nsp);
	if (!s && recently_left(c, d->nsp, false))
		return;
	if (!s || (s->state == SOCKET_JOINING && d->type != SIO_DISCONNECT)) {
		violation(c, "packet for a namespace not joined");
		return;
	}
	switch (d->type) {
	case SIO_DISCONNECT:
		remember_left(c, s->nsp);
		socket_free(s, "client namespace disconnect");
		break;
	case SIO_EVENT:
	case SIO_BINARY_EVENT:
		on_event(s, d, args);
		break;
	case SIO_ACK:
	case SIO_BINARY_ACK:
		on_ack(s, d, args);
		break;
	default:
		violation(c, "packet that only a server sends");
	}
}

/* ---- assembly ---- */

static void
drop_assembly(struct sio_conn *c)
{
	for (unsigned int i = 0; i < c->attachment_count; i++)
		free((void *)c->attachments[i].data);
	c->attachment_count = 0;
	if (c->assembling)
		json_object_put(c->binary.json);
	c->assembling = false;
}

static void
take_attachment(struct sio_conn *c, const char *data, size_t len)
{
	struct sio_args args = {c->binary.json, c->attachments, 0};
	uint8_t *copy;

	if (!c->assembling) {
		violation(c, "attachment that nobody announced");
		return;
	}
	copy = xmalloc(len);
	if (len)
		memcpy(copy, data, len);
	c->attachments[c->attachment_count++] = (struct sio_attachment){copy, len};
	if (c->attachment_count < c->binary.attachments)
		return;
	args.attachment_count = c->attachment_count;
	if (sio_placeholders_valid(c->binary.json, c->attachment_count))
		dispatch(c, &c->binary, &args);
	else
		violation(c, "placeholder out of range");
	drop_assembly(c);
}

static void
on_message(void *arg, const char *data, size_t len, bool binary)
{
	struct sio_conn *c = arg;
	struct sio_decoded d;
	struct sio_args args = {0};

	if (binary) {
		take_attachment(c, data, len);
		return;
	}
	if (c->assembling || sio_decode(data, len, &d) < 0) {
		violation(c, c->assembling ? "text where an attachment is due" : "bad packet");
		return;
	}
	if (d.attachments) {
		c->binary = d;
		c->assembling = true;
		return;
	}
	args.json = d.json;
	dispatch(c, &d, &args);
	json_object_put(d.json);
}

/* ---- connections ---- */

static void
connect_timeout(struct ev_loop *l, ev_timer *t, int revents)
{
	struct sio_conn *c = t->data;

	if (c->session)
		eio_close(c->session, "forced close", 0);
}

static void *
on_open(void *arg, struct eio_session *session)
{
	struct sio_server *srv = arg;
	struct sio_conn *c = xcalloc(1, sizeof(*c));

	c->server = srv;
	c->session = session;
	ev_timer_init(
	    &c->connect_timeout, connect_timeout, (double)srv->connect_timeout / 1000.0, 0);
	c->connect_timeout.data = c;
	ev_timer_start(loop_ev(), &c->connect_timeout);
	return c;
}

static void
on_closed(void *arg, const char *reason)
{
	struct sio_conn *c = arg;
	struct left_namespace *l, *tmp;

	c->session = NULL;
	ev_timer_stop(loop_ev(), &c->connect_timeout);
	while (c->sockets)
		socket_free(c->sockets, reason);
	DL_FOREACH_SAFE (c->left, l, tmp)
		free(l);
	drop_assembly(c);
	free(c);
}

const struct eio_handler sio_eio_handler = {on_open, on_message, on_closed};

struct sio_server *
sio_server_new(const struct sio_app *app, void *arg, int64_t timeout_ms)
{
	struct sio_server *srv = xcalloc(1, sizeof(*srv));

	srv->app = app;
	srv->arg = arg;
	srv->connect_timeout = timeout_ms;
	return srv;
}

void
sio_server_reconfigure(struct sio_server *srv, int64_t timeout_ms)
{
	srv->connect_timeout = timeout_ms;
}

uint64_t
sio_server_errors(const struct sio_server *srv)
{
	return srv->errors;
}

void
sio_server_free(struct sio_server **srv)
{
	free(*srv);
	*srv = NULL;
}

/* ---- for the application ---- */

const char *
sio_id(const struct sio_socket *s)
{
	return s->id;
}

const char *
sio_namespace(const struct sio_socket *s)
{
	return s->nsp;
}

void
sio_set_user(struct sio_socket *s, void *user)
{
	s->user = user;
}

void *
sio_user(const struct sio_socket *s)
{
	return s->user;
}

void
sio_accept(struct sio_socket *s)
{
	char json[64];
	int n;

	if (s->state != SOCKET_JOINING)
		return;
	s->state = SOCKET_JOINED;
	ev_timer_stop(loop_ev(), &s->conn->connect_timeout);
	n = snprintf(json, sizeof(json), "{\"sid\":\"%s\"}", s->id);
	send_one(s->conn, SIO_CONNECT, s->nsp, SIO_NO_ACK, json, (size_t)n, NULL, 0);
}

void
sio_refuse(struct sio_socket *s, const char *message, const char *data)
{
	struct buf b;

	buf_init(&b);
	buf_puts(&b, "{\"message\":");
	json_put_string(&b, message, strlen(message));
	if (data)
		buf_printf(&b, ",\"data\":%s", data);
	buf_putc(&b, '}');
	send_one(
	    s->conn, SIO_CONNECT_ERROR, s->nsp, SIO_NO_ACK, (const char *)b.data, b.len, NULL, 0);
	buf_fini(&b);
	socket_free(s, "refused");
}

void
sio_send(struct sio_socket *s, struct sio_packet *p)
{
	if (s->state == SOCKET_JOINED)
		send_packet(s->conn, p);
}

/* args in brackets. */
static void
send_args(struct sio_socket *s, enum sio_type type, int64_t ack, const char *name, const char *args,
    size_t len, const struct sio_attachment *att, size_t att_count)
{
	struct buf b;

	buf_init(&b);
	buf_putc(&b, '[');
	if (name)
		json_put_string(&b, name, strlen(name));
	if (name && len)
		buf_putc(&b, ',');
	buf_append(&b, args, len);
	buf_putc(&b, ']');
	send_one(s->conn, type, s->nsp, ack, (const char *)b.data, b.len, att, att_count);
	buf_fini(&b);
}

void
sio_ack(struct sio_socket *s, int64_t ack, const char *args, size_t len,
    const struct sio_attachment *att, size_t att_count)
{
	if (s->state == SOCKET_JOINED && ack != SIO_NO_ACK)
		send_args(s, SIO_ACK, ack, NULL, args, len, att, att_count);
}

void
sio_send_ack(
    struct sio_socket *s, const char *name, const char *args, size_t len, sio_ack_cb cb, void *arg)
{
	struct pending_ack *a;

	if (s->state != SOCKET_JOINED || HASH_COUNT(s->acks) >= ACKS_MAX) {
		cb(arg, NULL);
		return;
	}
	a = xcalloc(1, sizeof(*a));
	a->id = s->conn->server->next_ack++;
	a->cb = cb;
	a->arg = arg;
	HASH_ADD(hh, s->acks, id, sizeof(a->id), a);
	send_args(s, SIO_EVENT, a->id, name, args, len, NULL, 0);
}

void
sio_disconnect(struct sio_socket *s, bool close)
{
	struct sio_conn *c = s->conn;

	if (!c->session)
		return;
	if (close) {
		eio_close(c->session, "forced server close", 0);
		return;
	}
	send_one(c, SIO_DISCONNECT, s->nsp, SIO_NO_ACK, NULL, 0, NULL, 0);
	remember_left(c, s->nsp);
	socket_free(s, "server namespace disconnect");
}
