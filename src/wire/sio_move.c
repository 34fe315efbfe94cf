/* SPDX-License-Identifier: ISC */
/*
 * sio_move: a connection's namespaces written down on one worker and made anew on
 * another.  Loop thread.
 *
 * State: u32 count of sockets, each: str nsp, str id, i64 next_ack, u32 count of answers
 * that are due (each i64 id, i64 value), bytes of the application; then u8 whether a
 * binary packet waits for attachments: bytes of its text, u32 count, each bytes; then u8
 * whether a first namespace is still to be joined, str credential ("": none), u32 count of
 * namespaces left a moment ago, each str.
 */
#include <stdlib.h>
#include <string.h>
#include <utlist.h>

#include "lib/log.h"
#include "lib/pack.h"
#include "wire/sio_int.h"

/* A socket that is still joining has no answer yet, which only this worker can give. */
bool
sio_busy(void *arg)
{
	struct sio_conn *c = arg;
	struct sio_socket *s;

	DL_FOREACH (c->sockets, s)
		if (s->state != SOCKET_JOINED || c->server->app->busy(c->server->arg, s))
			return true;
	return false;
}

static void
pack_socket(struct buf *b, struct sio_socket *s)
{
	struct sio_server *srv = s->conn->server;
	struct pending_answer *a;
	struct buf above;

	pack_str(b, s->nsp);
	pack_str(b, s->id);
	pack_i64(b, s->next_ack);
	pack_u32(b, s->answer_count);
	DL_FOREACH (s->answers, a) {
		pack_i64(b, a->id);
		pack_i64(b, a->value);
	}
	buf_init(&above);
	srv->app->leave(srv->arg, s, &above);
	pack_bytes(b, above.data, above.len);
	buf_fini(&above);
}

static void
pack_assembly(struct buf *b, const struct sio_assembly *a)
{
	pack_u8(b, a != NULL);
	if (!a)
		return;
	pack_bytes(b, a->text, a->len);
	pack_u32(b, a->count);
	for (unsigned int i = 0; i < a->count; i++)
		pack_bytes(b, a->attachments[i].data, a->attachments[i].len);
}

void
sio_leave(void *arg, struct buf *b)
{
	struct sio_conn *c = arg;
	struct left_namespace *l;
	struct sio_socket *s;
	unsigned int count;

	DL_COUNT(c->sockets, s, count);
	pack_u32(b, count);
	DL_FOREACH (c->sockets, s)
		pack_socket(b, s);
	pack_assembly(b, c->assembly);
	pack_u8(b, c->connect_timeout != NULL);
	pack_str(b, c->credential ? c->credential : "");
	DL_COUNT(c->left, l, count);
	pack_u32(b, count);
	DL_FOREACH (c->left, l)
		pack_str(b, l->nsp);
	while (c->sockets)
		sio_socket_drop(c->sockets);
	sio_conn_free(c);
}

/* ---- arriving ---- */

static bool
unpack_assembly(struct unpack *u, struct sio_conn *c)
{
	struct sio_decoded d;
	const void *data;
	uint32_t count;
	size_t len;

	if (!unpack_u8(u))
		return unpack_ok(u);
	data = unpack_bytes(u, &len);
	if (!unpack_ok(u) || sio_decode(data, len, &d) < 0)
		return false;
	c->assembly = sio_assembly_new(data, len);
	count = unpack_u32(u);
	while (count-- && unpack_ok(u) && c->assembly->count < d.attachments) {
		data = unpack_bytes(u, &len);
		sio_assembly_add(c->assembly, data, len);
	}
	return unpack_ok(u) && c->assembly->count < d.attachments;
}

static bool
unpack_rest(struct unpack *u, struct sio_conn *c)
{
	bool joining = unpack_u8(u) != 0;
	char nsp[SIO_NAME_MAX + 1];
	uint32_t count;

	c->credential = unpack_str(u);
	if (!joining)
		sio_conn_joined(c);
	count = unpack_u32(u);
	while (count-- && unpack_ok(u)) {
		unpack_strn(u, nsp, sizeof(nsp));
		if (unpack_ok(u))
			sio_remember_left(c, nsp);
	}
	return unpack_ok(u);
}

struct arrival {
	struct sio_socket *s;
	const void *state;
	size_t len;
};

static bool
unpack_socket(struct unpack *u, struct sio_conn *c, struct arrival *a)
{
	char nsp[SIO_NAME_MAX + 1], id[24];
	uint32_t answers;

	unpack_strn(u, nsp, sizeof(nsp));
	unpack_strn(u, id, sizeof(id));
	if (!unpack_ok(u))
		return false;
	a->s = sio_socket_new(c, nsp);
	str_copy(a->s->id, sizeof(a->s->id), id);
	a->s->state = SOCKET_ARRIVING;
	a->s->next_ack = unpack_i64(u);
	answers = unpack_u32(u);
	while (answers-- && unpack_ok(u)) {
		int64_t ack = unpack_i64(u), value = unpack_i64(u);

		sio_answer_put(a->s, ack, value);
	}
	a->state = unpack_bytes(u, &a->len);
	return unpack_ok(u);
}

/* The application hears of its sockets when all of the state proved good. */
void *
sio_arrive(void *arg, struct eio_session *session, const void *state, size_t len)
{
	struct sio_server *srv = arg;
	struct sio_conn *c = sio_conn_new(srv, session, NULL);
	struct arrival *arrivals;
	struct unpack u;
	uint32_t count, n = 0;
	bool good;

	unpack_init(&u, state, len);
	count = unpack_u32(&u);
	good = unpack_ok(&u) && count <= len;
	arrivals = xcalloc(good ? count + 1 : 1, sizeof(*arrivals));
	while (good && n < count)
		good = unpack_socket(&u, c, &arrivals[n++]);
	good = good && unpack_assembly(&u, c) && unpack_rest(&u, c) && unpack_end(&u);
	c->arriving = count + 1; /* the one more is this function */
	for (n = 0; good && n < count; n++)
		srv->app->arrive(srv->arg, arrivals[n].s, arrivals[n].state, arrivals[n].len);
	free(arrivals);
	if (!good) {
		while (c->sockets)
			sio_socket_drop(c->sockets);
		sio_conn_free(c);
		return NULL;
	}
	if (--c->arriving == 0)
		eio_ready(session);
	return c;
}

void
sio_resume(struct sio_socket *s)
{
	struct sio_conn *c = s->conn;

	if (s->state != SOCKET_ARRIVING)
		return;
	s->state = SOCKET_JOINED;
	if (--c->arriving == 0 && c->session)
		eio_ready(c->session);
}

void
sio_idle(struct sio_socket *s)
{
	if (s->conn->session)
		eio_idle(s->conn->session);
}
