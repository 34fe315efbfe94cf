/* SPDX-License-Identifier: ISC */
/*
 * client: opening and closing logins on sockets.  Worker, loop thread.
 *
 * Opening: register the user with the bus first, then ask the store for the
 * conversations: one that is created in between arrives as an event and attaches
 * the client as well, so none falls between.  When every room it is attached to is live
 * the memberships are read once more: who was removed before the room was subscribed to
 * has missed the event of it.  Then the client is ready; what was published before that
 * is not sent to it, and its first sync finds it.
 */
#include "chat/client.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>
#include <utlist.h>

#include "chat/chat_int.h"
#include "lib/pack.h"

struct chat_user *
chat_user_find(struct chat *c, const char *id)
{
	struct chat_user *u;

	HASH_FIND_STR(c->users, id, u);
	return u;
}

static struct chat_user *
user_get(struct chat *c, const char *id)
{
	struct chat_user *u = chat_user_find(c, id);

	if (u)
		return u;
	u = xcalloc(1, sizeof(*u));
	str_copy(u->id, sizeof(u->id), id);
	HASH_ADD_STR(c->users, id, u);
	return u;
}

static void verify(struct client *cl);

static void
waited(struct client *cl)
{
	assert(cl->waiting > 0);
	if (--cl->waiting)
		return;
	if (!cl->verifying) {
		verify(cl);
		return;
	}
	cl->ready = true;
	cl->ops->ready(cl->peer, 0);
}

void
client_room_ready(struct client *cl, struct attachment *a)
{
	if (!a->waiting)
		return;
	a->waiting = false;
	waited(cl);
}

static void
loaded(struct store_req *req)
{
	struct client *cl = req->arg;
	int err = req->err;

	if (!cl) { /* closed meanwhile */
		store_req_free(&req);
		return;
	}
	cl->loading = NULL;
	for (size_t i = 0; !err && i < req->membership_count; i++) {
		const char *id = req->memberships[i].conversation;
		bool joined_meanwhile = cl->arrived && !client_attachment(cl, id);
		struct attachment *a = room_attach(cl->chat, cl, id, 0);

		if (joined_meanwhile)
			room_tell_sync_required(a);
	}
	store_req_free(&req);
	if (err)
		cl->ops->ready(cl->peer, err);
	else
		waited(cl);
}

void
client_detach(struct client *cl, struct attachment *a)
{
	bool waiting = a->waiting;

	room_detach(a);
	if (waiting)
		waited(cl);
}

/* ---- is it still a member of all that? ---- */

/* Those that came by an event since the store was asked are not the answer's to judge. */
static void
detach_unconfirmed(struct client *cl)
{
	struct attachment *a, *tmp;

	DL_FOREACH_SAFE (cl->rooms, a, tmp) {
		if (a->confirmed == cl->load_serial || a->serial > cl->load_serial)
			continue;
		if (cl->arrived)
			room_tell_sync_required(a); /* the answer of that says it is gone */
		client_detach(cl, a);
	}
}

static void
verified(struct store_req *req)
{
	struct client *cl = req->arg;
	int err = req->err;

	if (!cl) { /* closed meanwhile */
		store_req_free(&req);
		return;
	}
	cl->loading = NULL;
	for (size_t i = 0; !err && i < req->membership_count; i++)
		room_attach(cl->chat, cl, req->memberships[i].conversation, 0)->confirmed =
		    cl->load_serial;
	store_req_free(&req);
	if (err) {
		cl->ops->ready(cl->peer, err);
		return;
	}
	detach_unconfirmed(cl);
	waited(cl);
}

/* The store took no request: the answer comes later all the same, like any other. */
static void
refused(void *arg)
{
	struct client *cl = arg;

	cl->ops->ready(cl->peer, ERR_OVERLOADED);
}

static void
ended(void *arg)
{
	client_end_revoked(arg);
}

static struct client *
client_new(struct chat *c, const struct chat_identity *who, enum presence presence,
    const struct peer_ops *ops, void *peer)
{
	struct client *cl = xcalloc(1, sizeof(*cl));

	cl->chat = c;
	cl->ops = ops;
	cl->peer = peer;
	str_copy(cl->session, sizeof(cl->session), who->session);
	cl->user = user_get(c, who->user);
	cl->presence = presence;
	DL_APPEND(cl->user->clients, cl);
	presence_update(c, cl->user);
	c->stats.clients++;
	cl->refused.run = refused;
	cl->refused.arg = cl;
	cl->ended.run = ended;
	cl->ended.arg = cl;
	return cl;
}

/* Asks the store for the user's conversations; then() goes on. */
static void
client_load(struct client *cl, void (*then)(struct store_req *))
{
	struct store_req *req = store_req_new(STORE_MEMBERSHIPS, then, cl);

	cl->waiting++;
	str_copy(req->id, sizeof(req->id), cl->user->id);
	cl->loading = req;
	if (store_submit(cl->chat->store, req) < 0) {
		cl->loading = NULL;
		store_req_free(&req);
		loop_defer(&cl->refused);
	}
}

/* All rooms are live, so what changes from now on comes as an event. */
static void
verify(struct client *cl)
{
	cl->verifying = true;
	cl->load_serial = cl->chat->attachment_serial;
	client_load(cl, verified);
}

struct client *
client_open(struct chat *c, const struct chat_identity *who, const struct peer_ops *ops, void *peer)
{
	struct client *cl = client_new(c, who, PRESENCE_ONLINE, ops, peer);

	client_load(cl, loaded);
	return cl;
}

/* ---- moving ---- */

/*
 * State: str user, str session, u8 presence, i64 writes left, u32 count, each str conversation and
 * u64 last.
 */
void
client_leave(struct client **clp, struct buf *b)
{
	struct client *cl = *clp;
	struct attachment *a;
	unsigned int count;

	pack_str(b, cl->user->id);
	pack_str(b, cl->session);
	pack_u8(b, (uint8_t)cl->presence);
	pack_i64(b, chat_writes_left(cl->chat, cl->user->id));
	DL_COUNT(cl->rooms, a, count);
	pack_u32(b, count);
	DL_FOREACH (cl->rooms, a) {
		pack_str(b, room_id(a->room));
		pack_u64(b, room_last(a));
	}
	typing_client_moves(cl);
	client_close(clp);
}

struct client *
client_arrive(struct chat *c, const void *state, size_t len, const struct peer_ops *ops, void *peer)
{
	struct chat_identity who = {0};
	char conversation[ID_MAX];
	enum presence presence;
	struct client *cl;
	struct unpack u;
	int64_t writes;
	uint32_t count;

	unpack_init(&u, state, len);
	unpack_strn(&u, who.user, sizeof(who.user));
	unpack_strn(&u, who.session, sizeof(who.session));
	presence = unpack_u8(&u);
	writes = unpack_i64(&u);
	count = unpack_u32(&u);
	if (!unpack_ok(&u) || presence < PRESENCE_AWAY || presence > PRESENCE_ONLINE)
		return NULL;
	cl = client_new(c, &who, presence, ops, peer);
	cl->arrived = true;
	if (session_is_revoked(c, cl->session)) /* while it was under way */
		loop_defer(&cl->ended);
	chat_writes_lower(c, who.user, writes);
	client_load(cl, loaded); /* first, so that ready() cannot come before all rooms are there */
	while (count--) {
		uint64_t last;

		unpack_strn(&u, conversation, sizeof(conversation));
		last = unpack_u64(&u);
		if (!unpack_ok(&u))
			break;
		room_attach_from(c, cl, conversation, last);
	}
	if (!unpack_end(&u))
		client_close(&cl);
	return cl;
}

void
client_close(struct client **clp)
{
	struct client *cl = *clp;
	struct attachment *a, *tmp;
	struct chat_user *u;
	struct chat *c;

	*clp = NULL;
	if (!cl)
		return;
	c = cl->chat;
	if (cl->loading)
		cl->loading->arg = NULL;
	loop_cancel(&cl->refused);
	loop_cancel(&cl->ended);
	typing_client_gone(cl);
	DL_FOREACH_SAFE (cl->rooms, a, tmp)
		room_detach(a);
	u = cl->user;
	DL_DELETE(u->clients, cl);
	presence_update(c, u);
	if (!u->clients) {
		HASH_DEL(c->users, u);
		free(u);
	}
	c->stats.clients--;
	free(cl);
}

const char *
client_user(const struct client *cl)
{
	return cl->user->id;
}

struct attachment *
client_attachment(struct client *cl, const char *conversation)
{
	struct attachment *a;

	DL_FOREACH (cl->rooms, a)
		if (strcmp(room_id(a->room), conversation) == 0)
			return a;
	return NULL;
}
