/* SPDX-License-Identifier: ISC */
/*
 * app: rooms, and the events of the test application.  Worker, loop thread.
 */
#include "app.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <uthash.h>
#include <utlist.h>

#include "lib/json.h"
#include "lib/log.h"
#include "lib/pack.h"

#define RECENT 4096 /* published packets kept for sockets that arrive */

struct member {
	struct user *user;
	struct room *room;
	struct member *prev, *next;           /* of the room */
	struct member *user_prev, *user_next; /* of the user */
};

struct room {
	struct member *members;
	UT_hash_handle hh;
	char key[]; /* namespace, a blank, name */
};

struct user {
	struct sio_socket *s;
	uint64_t from; /* it has seen what is published up to this number */
	struct member *rooms;
	struct user *prev, *next;
};

struct published {
	uint64_t number;
	struct buf packed;
};

struct app {
	void (*publish)(void *arg, const struct buf *packed);
	void *arg;
	struct room *rooms;
	struct user *users;
	uint64_t number; /* the last that was published */
	struct published recent[RECENT];
	bool deny;
};

/* ---- rooms ---- */

static char *
room_key(const char *nsp, const char *name)
{
	return xasprintf("%s %s", nsp, name);
}

static struct room *
room_find(struct app *a, const char *nsp, const char *name)
{
	char *key = room_key(nsp, name);
	struct room *r;

	HASH_FIND_STR(a->rooms, key, r);
	free(key);
	return r;
}

static void
join(struct app *a, struct user *u, const char *name)
{
	struct room *r = room_find(a, sio_namespace(u->s), name);
	struct member *m;

	if (!r) {
		char *key = room_key(sio_namespace(u->s), name);

		r = xcalloc(1, sizeof(*r) + strlen(key) + 1);
		strcpy(r->key, key);
		free(key);
		HASH_ADD_STR(a->rooms, key, r);
	}
	DL_FOREACH2(u->rooms, m, user_next)
	if (m->room == r)
		return;
	m = xcalloc(1, sizeof(*m));
	m->user = u;
	m->room = r;
	DL_APPEND(r->members, m);
	DL_APPEND2(u->rooms, m, user_prev, user_next);
}

static void
member_free(struct app *a, struct member *m)
{
	struct room *r = m->room;

	DL_DELETE(r->members, m);
	DL_DELETE2(m->user->rooms, m, user_prev, user_next);
	free(m);
	if (r->members)
		return;
	HASH_DEL(a->rooms, r);
	free(r);
}

static void
leave(struct app *a, struct user *u, const char *name)
{
	struct room *r = room_find(a, sio_namespace(u->s), name);
	struct member *m, *tmp;

	DL_FOREACH_SAFE2(u->rooms, m, tmp, user_next)
	if (m->room == r)
		member_free(a, m);
}

/* ---- publishing ---- */

/*
 * To a room, or to all of a namespace if room is "".  Packed: str namespace, str room,
 * str id of the sender (who is left out, ""), str event, bytes arguments, u32 count of
 * attachments, each bytes.
 */
struct publication {
	char nsp[SIO_NAME_MAX + 1], room[256], except[32], event[32];
	const char *args;
	size_t args_len;
	struct sio_attachment attachments[SIO_ATTACHMENTS_MAX];
	uint32_t count;
};

static bool
unpack(struct publication *p, const void *data, size_t len)
{
	struct unpack u;

	unpack_init(&u, data, len);
	unpack_strn(&u, p->nsp, sizeof(p->nsp));
	unpack_strn(&u, p->room, sizeof(p->room));
	unpack_strn(&u, p->except, sizeof(p->except));
	unpack_strn(&u, p->event, sizeof(p->event));
	p->args = unpack_bytes(&u, &p->args_len);
	p->count = unpack_u32(&u);
	for (uint32_t i = 0; i < p->count && i < SIO_ATTACHMENTS_MAX; i++)
		p->attachments[i].data = unpack_bytes(&u, &p->attachments[i].len);
	return unpack_end(&u);
}

static struct sio_packet *
packet_of(const struct publication *p)
{
	return sio_event_new(p->nsp, p->event, p->args, p->args_len, p->attachments, p->count);
}

static void
send_to(struct user *u, const struct publication *p, uint64_t number, struct sio_packet *packet)
{
	if ((!number || number > u->from) && strcmp(sio_id(u->s), p->except) != 0)
		sio_send(u->s, packet);
}

static void
deliver(struct app *a, const struct publication *p, uint64_t number)
{
	struct sio_packet *packet = packet_of(p);
	struct user *u;
	struct room *r;
	struct member *m;

	if (*p->room) {
		r = room_find(a, p->nsp, p->room);
		DL_FOREACH (r ? r->members : NULL, m)
			send_to(m->user, p, number, packet);
	} else {
		DL_FOREACH (a->users, u)
			if (strcmp(sio_namespace(u->s), p->nsp) == 0)
				send_to(u, p, number, packet);
	}
	sio_packet_unref(&packet);
}

void
app_published(struct app *a, uint64_t number, const void *packed, size_t len)
{
	struct published *slot = &a->recent[number % RECENT];
	struct publication p;

	slot->number = number;
	buf_clear(&slot->packed);
	buf_append(&slot->packed, packed, len);
	a->number = number;
	if (unpack(&p, packed, len))
		deliver(a, &p, number);
}

static void
publish(struct app *a, struct sio_socket *s, const char *room, bool except_sender,
    const char *event, const struct sio_args *in)
{
	struct buf b;

	buf_init(&b);
	pack_str(&b, sio_namespace(s));
	pack_str(&b, room);
	pack_str(&b, except_sender ? sio_id(s) : "");
	pack_str(&b, event);
	pack_bytes(&b, in->text, in->len);
	pack_u32(&b, (uint32_t)in->attachment_count);
	for (size_t i = 0; i < in->attachment_count; i++)
		pack_bytes(&b, in->attachments[i].data, in->attachments[i].len);
	if (a->publish) {
		a->publish(a->arg, &b);
	} else {
		struct publication p;

		if (unpack(&p, b.data, b.len))
			deliver(a, &p, 0);
	}
	buf_fini(&b);
}

/* ---- events ---- */

static void
emit(struct sio_socket *s, const char *event, const char *args, size_t len,
    const struct sio_args *in)
{
	struct sio_packet *p = sio_event_new(sio_namespace(s), event, args, len,
	    in ? in->attachments : NULL, in ? in->attachment_count : 0);

	sio_send(s, p);
	sio_packet_unref(&p);
}

struct event {
	struct app *app;
	struct user *user;
	const struct sio_args *in;
	int64_t ack;
};

/* The first argument, if it is a string; else "". */
static const char *
word(const struct event *e)
{
	struct json_object *o = json_object_array_get_idx(sio_args_json(e->in), 0);

	return json_object_is_type(o, json_type_string) ? json_object_get_string(o) : "";
}

static void
on_message(struct event *e)
{
	emit(e->user->s, "message-back", e->in->text, e->in->len, e->in);
}

static void
on_message_with_ack(struct event *e)
{
	sio_ack(e->user->s, e->ack, e->in->text, e->in->len, e->in->attachments,
	    e->in->attachment_count);
}

static void
on_join(struct event *e)
{
	join(e->app, e->user, word(e));
	sio_ack(e->user->s, e->ack, "\"joined\"", 8, NULL, 0);
}

static void
on_leave_room(struct event *e)
{
	leave(e->app, e->user, word(e));
	sio_ack(e->user->s, e->ack, "\"left\"", 6, NULL, 0);
}

static void
on_to_room(struct event *e)
{
	if (*word(e))
		publish(e->app, e->user->s, word(e), true, "room-msg", e->in);
}

static void
on_to_all(struct event *e)
{
	publish(e->app, e->user->s, "", false, "all-msg", e->in);
}

static void
on_ask_me(struct event *e)
{
	sio_ask(e->user->s, "question", e->in->text, e->in->len, e->in->attachments,
	    e->in->attachment_count, e->ack);
}

static void
on_burst(struct event *e)
{
	int64_t n = json_object_get_int64(json_object_array_get_idx(sio_args_json(e->in), 0));
	char text[32];

	for (int64_t i = 0; i < n && i < 100000; i++) {
		int len = snprintf(text, sizeof(text), "%lld", (long long)i);

		emit(e->user->s, "seq", text, (size_t)len, NULL);
	}
}

static void
on_kick(struct event *e)
{
	sio_disconnect(e->user->s,
	    json_object_get_boolean(json_object_array_get_idx(sio_args_json(e->in), 0)));
}

static void
on_event(void *arg, struct sio_socket *s, const char *name, const struct sio_args *in, int64_t ack)
{
	static const struct {
		const char *name;
		void (*handler)(struct event *e);
	} events[] = {{"message", on_message}, {"message-with-ack", on_message_with_ack},
	    {"to-room", on_to_room}, {"to-all", on_to_all}, {"join", on_join},
	    {"leave", on_leave_room}, {"ask-me", on_ask_me}, {"burst", on_burst},
	    {"kick", on_kick}};
	struct event e = {arg, sio_user(s), in, ack};

	for (size_t i = 0; i < sizeof(events) / sizeof(*events); i++) {
		if (strcmp(events[i].name, name) == 0) {
			events[i].handler(&e);
			return;
		}
	}
}

static void
on_answer(void *arg, struct sio_socket *s, int64_t ack, const struct sio_args *args)
{
	(void)arg;
	if (args)
		sio_ack(s, ack, args->text, args->len, args->attachments, args->attachment_count);
}

/* ---- joining and leaving ---- */

static bool
namespace_known(void *arg, const char *nsp)
{
	(void)arg;
	return strcmp(nsp, "/") == 0 || strcmp(nsp, "/custom") == 0 || strcmp(nsp, "/denied") == 0;
}

static struct user *
user_new(struct app *a, struct sio_socket *s, uint64_t from)
{
	struct user *u = xcalloc(1, sizeof(*u));

	u->s = s;
	u->from = from;
	DL_APPEND(a->users, u);
	sio_set_user(s, u);
	return u;
}

static void
on_connect(void *arg, struct sio_socket *s, struct json_object *auth)
{
	struct buf b;

	if (strcmp(sio_namespace(s), "/denied") == 0) {
		sio_refuse(s, "not authorized", "{\"code\":401,\"hint\":\"no token\"}");
		return;
	}
	user_new(arg, s, 0);
	sio_accept(s);
	buf_init(&b);
	json_put(&b, auth);
	emit(s, "auth", (const char *)b.data, b.len, NULL);
	buf_fini(&b);
}

static void
user_free(struct app *a, struct sio_socket *s)
{
	struct user *u = sio_user(s);

	if (!u)
		return;
	while (u->rooms)
		member_free(a, u->rooms);
	DL_DELETE(a->users, u);
	free(u);
	sio_set_user(s, NULL);
}

static void
on_disconnect(void *arg, struct sio_socket *s, const char *reason)
{
	log_debug("app.disconnect", "reason=%s", reason);
	user_free(arg, s);
}

/* ---- moving ---- */

static bool
busy(void *arg, struct sio_socket *s)
{
	(void)arg, (void)s;
	return false;
}

static void
on_leave(void *arg, struct sio_socket *s, struct buf *state)
{
	struct app *a = arg;
	struct user *u = sio_user(s);
	struct member *m;
	unsigned int count;

	pack_u64(state, a->number > u->from ? a->number : u->from);
	DL_COUNT2(u->rooms, m, count, user_next);
	pack_u32(state, count);
	DL_FOREACH2(u->rooms, m, user_next)
	pack_str(state, strchr(m->room->key, ' ') + 1);
	user_free(a, s);
}

/* What was published while the socket was on its way. */
static void
catch_up(struct app *a, struct user *u)
{
	struct publication p;

	for (uint64_t n = u->from + 1; n <= a->number; n++) {
		const struct published *old = &a->recent[n % RECENT];
		struct sio_packet *packet;
		struct member *m;
		bool in = false;

		if (old->number != n || !unpack(&p, old->packed.data, old->packed.len) ||
		    strcmp(p.nsp, sio_namespace(u->s)) != 0)
			continue;
		DL_FOREACH2(u->rooms, m, user_next)
		in = in || strcmp(strchr(m->room->key, ' ') + 1, p.room) == 0;
		if (*p.room && !in)
			continue;
		packet = packet_of(&p);
		send_to(u, &p, n, packet);
		sio_packet_unref(&packet);
	}
}

static void
on_arrive(void *arg, struct sio_socket *s, const void *state, size_t len)
{
	struct app *a = arg;
	struct user *u;
	struct unpack in;
	uint32_t count;

	unpack_init(&in, state, len);
	u = user_new(a, s, unpack_u64(&in));
	count = unpack_u32(&in);
	while (count-- && unpack_ok(&in)) {
		char *room = unpack_str(&in);

		if (room)
			join(a, u, room);
		free(room);
	}
	catch_up(a, u);
	sio_resume(s);
}

const struct sio_app app_sio = {
    namespace_known, on_connect, on_event, on_disconnect, on_answer, busy, on_leave, on_arrive};

/* ---- bare Engine.IO: an echo ---- */

static void *
echo_open(void *arg, struct eio_session *s, const char *credential)
{
	(void)arg;
	return s;
}

static void
echo_message(void *session, const char *data, size_t len, bool binary)
{
	struct frame *f;
	struct buf b;

	buf_init(&b);
	if (!binary)
		buf_putc(&b, '4');
	buf_append(&b, data, len);
	f = frame_new(b.data, b.len, binary);
	eio_send(session, f);
	frame_unref(&f);
	buf_fini(&b);
}

static void
echo_closed(void *session, const char *reason)
{
	(void)session, (void)reason;
}

static bool
echo_busy(void *session)
{
	(void)session;
	return false;
}

static void
echo_leave(void *session, struct buf *state)
{
	(void)session, (void)state;
}

static void *
echo_arrive(void *arg, struct eio_session *s, const void *state, size_t len)
{
	(void)arg, (void)state, (void)len;
	eio_ready(s);
	return s;
}

const struct eio_handler app_eio = {
    echo_open, echo_message, echo_closed, echo_busy, echo_leave, echo_arrive};

/* ---- life ---- */

const char *
app_admit(void *arg, const struct http_req *r)
{
	const struct app *a = arg;
	const char *text = a->deny ? http_header(r, "x-deny") : NULL;

	if (!text)
		return NULL;
	return *text ? text : "Forbidden";
}

void
app_set_deny(struct app *a, bool deny)
{
	a->deny = deny;
}

struct app *
app_new(void (*pub)(void *arg, const struct buf *packed), void *arg)
{
	struct app *a = xcalloc(1, sizeof(*a));

	a->publish = pub;
	a->arg = arg;
	return a;
}

/* The sockets are gone. */
void
app_free(struct app **ap)
{
	struct app *a = *ap;

	*ap = NULL;
	for (size_t i = 0; i < RECENT; i++)
		buf_fini(&a->recent[i].packed);
	free(a);
}
