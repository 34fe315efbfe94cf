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
#include "wire/sio_int.h"
#include "wire/wire_int.h"

#define SIO_ID_BYTES   15
#define ASSEMBLY_TIMES 4     /* of max_payload: bytes of a binary packet altogether */
#define LEFT_MS        10000 /* how long late packets of a left namespace are dropped */
#define LEFT_MAX       32    /* that are remembered of one connection */

static char root_namespace[] = "/";

/* ---- sockets ---- */

void
sio_answer_put(struct sio_socket *s, int64_t id, int64_t value)
{
	struct pending_answer *a = xcalloc(1, sizeof(*a));

	a->id = id;
	a->value = value;
	DL_APPEND(s->answers, a);
	s->answer_count++;
}

static void
answer_drop(struct sio_socket *s, struct pending_answer *a)
{
	DL_DELETE(s->answers, a);
	s->answer_count--;
	free(a);
}

struct sio_socket *
sio_socket_new(struct sio_conn *c, const char *nsp)
{
	struct sio_socket *s = xcalloc(1, sizeof(*s));

	s->conn = c;
	s->nsp = strcmp(nsp, "/") == 0 ? root_namespace : xstrdup(nsp);
	DL_APPEND(c->sockets, s);
	return s;
}

void
sio_socket_drop(struct sio_socket *s)
{
	while (s->answers)
		answer_drop(s, s->answers);
	DL_DELETE(s->conn->sockets, s);
	if (s->nsp != root_namespace)
		free(s->nsp);
	free(s);
}

static void
socket_free(struct sio_socket *s, const char *reason)
{
	struct sio_server *srv = s->conn->server;
	struct sio_conn *c = s->conn;

	if (s->state == SOCKET_ARRIVING && --c->arriving == 0 && c->session)
		eio_ready(c->session);
	s->state = SOCKET_JOINING; /* nothing is sent any more */
	while (s->answers) {
		int64_t value = s->answers->value;

		answer_drop(s, s->answers);
		srv->app->answer(srv->arg, s, value, NULL);
	}
	srv->app->disconnect(srv->arg, s, reason);
	sio_socket_drop(s);
	if (c->session)
		eio_idle(c->session); /* it may have been what kept the session here */
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
send_parts(struct sio_conn *c, const struct sio_parts *parts, const struct sio_attachment *att)
{
	struct sio_packet *p;
	struct frame *f;

	if (!c->session)
		return;
	if (parts->attachments) {
		p = sio_packet_new(parts, att);
		send_packet(c, p);
		sio_packet_unref(&p);
	} else {
		f = sio_encode(parts);
		eio_send(c->session, f);
		frame_unref(&f);
	}
}

static void
send_json(struct sio_conn *c, enum sio_type type, const char *nsp, const char *json, size_t len)
{
	struct sio_parts parts = {
	    .type = type, .nsp = nsp, .ack = SIO_NO_ACK, .json = json, .json_len = len};

	send_parts(c, &parts, NULL);
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

void
sio_remember_left(struct sio_conn *c, const char *nsp)
{
	size_t size = strlen(nsp) + 1;
	struct left_namespace *l = xcalloc(1, sizeof(*l) + size), *old;
	unsigned int count;

	DL_COUNT(c->left, old, count);
	if (count >= LEFT_MAX) {
		old = c->left;
		DL_DELETE(c->left, old);
		free(old);
	}
	memcpy(l->nsp, nsp, size);
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
	struct json_object *auth;
	struct sio_socket *s;
	const char *why;

	if (find_socket(c, d->nsp)) {
		violation(c, "second CONNECT for a namespace");
		return;
	}
	recently_left(c, d->nsp, true);
	if (!srv->app->namespace_known(srv->arg, d->nsp)) {
		static const char json[] = "{\"message\":\"Invalid namespace\"}";

		send_json(c, SIO_CONNECT_ERROR, d->nsp, json, sizeof(json) - 1);
		return;
	}
	s = sio_socket_new(c, d->nsp);
	random_token(s->id, SIO_ID_BYTES);
	auth = d->json ? json_parse(d->json, d->json_len, &sio_json_limits, &why)
		       : json_object_new_object();
	srv->app->connect(srv->arg, s, auth);
	json_object_put(auth);
}

static void
on_event(struct sio_socket *s, const struct sio_decoded *d, const struct sio_args *args)
{
	struct sio_server *srv = s->conn->server;
	char *name;

	if (!d->json)
		return;
	name = sio_name_text(d->name, d->name_len);
	if (name)
		srv->app->event(srv->arg, s, name, args, d->ack);
	free(name);
}

static void
on_ack(struct sio_socket *s, const struct sio_decoded *d, const struct sio_args *args)
{
	struct sio_server *srv = s->conn->server;
	struct pending_answer *a;
	int64_t value;

	DL_SEARCH_SCALAR(s->answers, a, id, d->ack);
	if (!a || !d->json)
		return;
	value = a->value;
	answer_drop(s, a);
	srv->app->answer(srv->arg, s, value, args);
}

struct json_object *
sio_args_json(const struct sio_args *args)
{
	const char *why;
	struct buf b;

	if (*args->parsed)
		return *args->parsed;
	buf_init(&b);
	buf_putc(&b, '[');
	buf_append(&b, args->text, args->len);
	buf_putc(&b, ']');
	*args->parsed = json_parse((const char *)b.data, b.len, &sio_json_limits, &why);
	buf_fini(&b);
	return *args->parsed;
}

/* Hands a packet to its socket; att: of a binary one. */
static void
dispatch(struct sio_conn *c, const struct sio_decoded *d, const struct sio_attachment *att,
    size_t att_count)
{
	struct json_object *parsed = NULL;
	struct sio_args args = {d->args, d->args_len, att, att_count, &parsed};
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
		sio_remember_left(c, s->nsp);
		socket_free(s, "client namespace disconnect");
		break;
	case SIO_EVENT:
	case SIO_BINARY_EVENT:
		on_event(s, d, &args);
		break;
	case SIO_ACK:
	case SIO_BINARY_ACK:
		on_ack(s, d, &args);
		break;
	default:
		violation(c, "packet that only a server sends");
	}
	json_object_put(parsed);
}

/* ---- packets in pieces ---- */

static bool
placeholders_valid(const struct sio_decoded *d, unsigned int count)
{
	const char *why;
	struct json_object *json = json_parse(d->json, d->json_len, &sio_json_limits, &why);
	bool valid = sio_placeholders_valid(json, count);

	json_object_put(json);
	return valid;
}

static void
take_attachment(struct sio_conn *c, const char *data, size_t len)
{
	struct sio_assembly *a = c->assembly;
	struct sio_decoded d;

	if (!a) {
		violation(c, "attachment that nobody announced");
		return;
	}
	if (a->size + len > ASSEMBLY_TIMES * c->server->max_payload) {
		violation(c, "attachments that are too large together");
		return;
	}
	sio_assembly_add(a, data, len);
	if (sio_decode(a->text, a->len, &d) < 0 || a->count < d.attachments)
		return;
	c->assembly = NULL;
	if (placeholders_valid(&d, a->count))
		dispatch(c, &d, a->attachments, a->count);
	else
		violation(c, "placeholder out of range");
	sio_assembly_free(&a);
}

/* What comes for a namespace left a moment ago is put together, and dropped then. */
static bool
may_send(struct sio_conn *c, const char *nsp)
{
	const struct sio_socket *s = find_socket(c, nsp);

	return s ? s->state == SOCKET_JOINED : recently_left(c, nsp, false);
}

static void
on_message(void *arg, const char *data, size_t len, bool binary)
{
	struct sio_conn *c = arg;
	struct sio_decoded d;

	if (binary)
		take_attachment(c, data, len);
	else if (c->assembly)
		violation(c, "text where an attachment is due");
	else if (sio_decode(data, len, &d) < 0)
		violation(c, "bad packet");
	else if (d.attachments && !may_send(c, d.nsp))
		violation(c, "binary packet for a namespace not joined");
	else if (d.attachments)
		c->assembly = sio_assembly_new(data, len);
	else
		dispatch(c, &d, NULL, 0);
}

/* ---- connections ---- */

static void *
on_open(void *arg, struct eio_session *session, const char *credential)
{
	return sio_conn_new(arg, session, credential);
}

static void
on_closed(void *arg, const char *reason)
{
	struct sio_conn *c = arg;

	c->session = NULL;
	while (c->sockets)
		socket_free(c->sockets, reason);
	sio_conn_free(c);
}

const struct eio_handler sio_eio_handler = {
    on_open, on_message, on_closed, sio_busy, sio_leave, sio_arrive};

struct sio_server *
sio_server_new(const struct sio_app *app, void *arg, int64_t timeout_ms, size_t max_payload)
{
	struct sio_server *srv = xcalloc(1, sizeof(*srv));

	srv->app = app;
	srv->arg = arg;
	srv->connect_timeout = timeout_ms;
	srv->max_payload = max_payload;
	return srv;
}

void
sio_server_reconfigure(struct sio_server *srv, int64_t timeout_ms, size_t max_payload)
{
	srv->connect_timeout = timeout_ms;
	srv->max_payload = max_payload;
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

const char *
sio_credential(const struct sio_socket *s)
{
	const char *text = s->conn->credential;

	return text && *text ? text : NULL;
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
	sio_conn_joined(s->conn);
	n = snprintf(json, sizeof(json), "{\"sid\":\"%s\"}", s->id);
	send_json(s->conn, SIO_CONNECT, s->nsp, json, (size_t)n);
	sio_idle(s);
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
	send_json(s->conn, SIO_CONNECT_ERROR, s->nsp, (const char *)b.data, b.len);
	buf_fini(&b);
	socket_free(s, "refused");
}

void
sio_send(struct sio_socket *s, struct sio_packet *p)
{
	if (s->state != SOCKET_JOINING)
		send_packet(s->conn, p);
}

void
sio_ack(struct sio_socket *s, int64_t ack, const char *args, size_t len,
    const struct sio_attachment *att, size_t att_count)
{
	struct sio_parts parts = {.type = SIO_ACK,
	    .nsp = s->nsp,
	    .ack = ack,
	    .args = args,
	    .args_len = len,
	    .attachments = att_count};

	if (s->state != SOCKET_JOINING && ack != SIO_NO_ACK)
		send_parts(s->conn, &parts, att);
}

int
sio_ask(struct sio_socket *s, const char *name, const char *args, size_t len,
    const struct sio_attachment *att, size_t att_count, int64_t value)
{
	struct sio_parts parts = {.type = SIO_EVENT,
	    .nsp = s->nsp,
	    .ack = s->next_ack,
	    .name = name,
	    .args = args,
	    .args_len = len,
	    .attachments = att_count};

	if (s->state != SOCKET_JOINED || s->answer_count >= SIO_ASKS_MAX)
		return -1;
	sio_answer_put(s, s->next_ack++, value);
	send_parts(s->conn, &parts, att);
	return 0;
}

void
sio_disconnect(struct sio_socket *s, bool close)
{
	struct sio_conn *c = s->conn;

	if (!c->session)
		return;
	if (close) {
		DL_FOREACH (c->sockets, s)
			if (s->state == SOCKET_JOINED)
				send_json(c, SIO_DISCONNECT, s->nsp, NULL, 0);
		eio_close(c->session, "forced server close", 0);
		return;
	}
	send_json(c, SIO_DISCONNECT, s->nsp, NULL, 0);
	sio_remember_left(c, s->nsp);
	socket_free(s, "server namespace disconnect");
}
