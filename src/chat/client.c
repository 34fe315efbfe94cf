/* SPDX-License-Identifier: ISC */
/*
 * client: opening and closing logins on sockets.  Worker, loop thread.
 *
 * Opening: register the user with the bus first, then ask the store for the
 * conversations: one that is created in between arrives as an event and attaches
 * the client as well, so none falls between.  The client is ready when every room
 * it is attached to is live; what was published before that is not sent to it, and
 * its first sync finds it.
 */
#include "chat/client.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>
#include <utlist.h>

#include "chat/chat_int.h"
#include "lib/log.h"

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
	bus_user_online(c->bus, id, true);
	return u;
}

static void
waited(struct client *cl)
{
	assert(cl->waiting > 0);
	if (--cl->waiting)
		return;
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
	for (size_t i = 0; !err && i < req->id_out_count; i++)
		room_attach(cl->chat, cl, req->ids_out[i], 0);
	store_req_free(&req);
	if (err)
		cl->ops->ready(cl->peer, err);
	else
		waited(cl);
}

/* The store took no request: the answer comes later all the same, like any other. */
static void
refused(void *arg)
{
	struct client *cl = arg;

	cl->ops->ready(cl->peer, ERR_OVERLOADED);
}

struct client *
client_open(struct chat *c, const struct chat_identity *who, const struct peer_ops *ops, void *peer)
{
	struct client *cl = xcalloc(1, sizeof(*cl));
	struct store_req *req;

	cl->chat = c;
	cl->ops = ops;
	cl->peer = peer;
	cl->tokens = (double)c->opts.burst;
	cl->tokens_at = clock_mono_ms();
	cl->user = user_get(c, who->user);
	DL_APPEND(cl->user->clients, cl);
	c->stats.clients++;
	cl->waiting = 1;
	req = store_req_new(STORE_CONVERSATION_IDS, loaded, cl);
	str_copy(req->id, sizeof(req->id), who->user);
	cl->loading = req;
	cl->refused.run = refused;
	cl->refused.arg = cl;
	if (store_submit(c->store, req) < 0) {
		cl->loading = NULL;
		store_req_free(&req);
		loop_defer(&cl->refused);
	}
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
	DL_FOREACH_SAFE (cl->rooms, a, tmp)
		room_detach(a);
	u = cl->user;
	DL_DELETE(u->clients, cl);
	if (!u->clients) {
		bus_user_online(c->bus, u->id, false);
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

/* A token bucket: `burst` at once, `rate` a second over time. */
bool
client_take_token(struct client *cl)
{
	const struct chat_opts *o = &cl->chat->opts;
	int64_t now = clock_mono_ms();

	cl->tokens += (double)(now - cl->tokens_at) * (double)o->rate / 1000.0;
	cl->tokens_at = now;
	if (cl->tokens > (double)o->burst)
		cl->tokens = (double)o->burst;
	if (cl->tokens < 1.0)
		return false;
	cl->tokens -= 1.0;
	return true;
}
