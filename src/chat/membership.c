/* SPDX-License-Identifier: ISC */
/*
 * membership: events bring clients into rooms and take them out; the store has the last word.
 * Worker, loop thread.
 *
 * The store decides who is a member; an event only says when to look.  What an event says is
 * done at once, so that who was removed hears nothing after it.  Two changes of one
 * conversation may be numbered in another order than they were written in, though, and an
 * event may be late (outbox.c); so then the store is asked what is true now, and that is done.
 * One question for a user and conversation is under way at a time; where another event comes
 * meanwhile, its answer is not taken and it is asked again.
 */
#include <stdlib.h>
#include <string.h>
#include <utlist.h>

#include "chat/room_int.h"
#include "lib/log.h"

#define CHECK_RETRY_S 1.0

struct membership_check {
	struct chat *chat;
	char conversation[ID_MAX], user[ID_MAX];
	uint64_t seq; /* of the event; who is a member has been sent all up to it */
	bool again;   /* another event has come since the store was asked */
	bool asked;   /* the store's answer is to come */
	ev_timer retry;
	struct membership_check *prev, *next;
};

static void check_ask(struct membership_check *mc);

/* ---- out and in ---- */

/* A client that is behind has not been sent the event yet: it goes when it has caught up. */
static void
detach_user(struct chat *c, const char *conversation, const char *user)
{
	struct chat_user *u = chat_user_find(c, user);
	struct client *cl, *tmp;

	if (!u)
		return;
	DL_FOREACH_SAFE (u->clients, cl, tmp) {
		struct attachment *a = client_attachment(cl, conversation);

		if (a && a->behind)
			a->leaving = true;
		else if (a)
			client_detach(cl, a);
	}
}

static void
attach_user(struct chat *c, const char *conversation, const char *user, uint64_t seen)
{
	struct chat_user *u = chat_user_find(c, user);
	struct client *cl, *tmp;

	if (!u)
		return;
	DL_FOREACH_SAFE (u->clients, cl, tmp) {
		struct attachment *a = client_attachment(cl, conversation);

		if (a)
			a->leaving = false;
		else
			room_attach_from(c, cl, conversation, seen);
	}
}

/* ---- asking the store ---- */

static void
check_free(struct membership_check *mc)
{
	ev_timer_stop(loop_ev(), &mc->retry);
	DL_DELETE(mc->chat->checks, mc);
	free(mc);
}

static void
checked(struct store_req *req)
{
	struct membership_check *mc = req->arg;

	mc->asked = false;
	if (mc->again) {
		check_ask(mc);
	} else if (req->err && req->err != ERR_NOT_FOUND) {
		log_warn("membership.not_checked", "conv=%s uid=%s err=%s", mc->conversation,
		    mc->user, error_code(req->err));
		ev_timer_set(&mc->retry, CHECK_RETRY_S, 0);
		ev_timer_start(loop_ev(), &mc->retry);
	} else {
		if (req->err)
			detach_user(mc->chat, mc->conversation, mc->user);
		else
			attach_user(mc->chat, mc->conversation, mc->user, mc->seq);
		check_free(mc);
	}
	store_req_free(&req);
}

static void
check_ask(struct membership_check *mc)
{
	mc->again = false;
	mc->asked = true;
	chat_check_member(mc->chat, mc->conversation, mc->user, checked, mc);
}

static void
check_retry(struct ev_loop *l, ev_timer *t, int revents)
{
	(void)l, (void)revents;
	check_ask(t->data);
}

static void
check(struct chat *c, const char *conversation, const char *user, uint64_t seq)
{
	struct membership_check *mc;

	DL_FOREACH (c->checks, mc)
		if (!strcmp(mc->user, user) && !strcmp(mc->conversation, conversation))
			break;
	if (mc) {
		mc->seq = seq;
		mc->again = mc->asked;
		return;
	}
	mc = xcalloc(1, sizeof(*mc));
	mc->chat = c;
	mc->seq = seq;
	str_copy(mc->conversation, sizeof(mc->conversation), conversation);
	str_copy(mc->user, sizeof(mc->user), user);
	ev_timer_init(&mc->retry, check_retry, CHECK_RETRY_S, 0);
	mc->retry.data = mc;
	DL_APPEND(c->checks, mc);
	check_ask(mc);
}

void
membership_check_one(struct attachment *a)
{
	check(a->room->chat, a->room->id, a->client->user->id, a->room->last);
}

void
membership_check_all(struct room *r)
{
	struct attachment *a;

	DL_FOREACH2(r->members, a, room_next)
	membership_check_one(a);
}

/* At the end of the process, after the store is closed: no answer comes any more. */
void
membership_free_all(struct chat *c)
{
	struct membership_check *mc, *tmp;

	DL_FOREACH_SAFE (c->checks, mc, tmp)
		check_free(mc);
}

/* ---- events ---- */

/* The i-th member, if a client of that user is here. */
static struct chat_user *
local_member(struct chat *c, struct json_object *members, size_t i)
{
	const char *id = event_member(members, i);

	return id ? chat_user_find(c, id) : NULL;
}

void
membership_joined(struct chat *c, const struct event *ev)
{
	struct json_object *members, *data = event_members(ev, &members);

	for (size_t i = 0; data && i < json_object_array_length(members); i++) {
		struct chat_user *u = local_member(c, members, i);
		struct client *cl;

		if (!u)
			continue;
		DL_FOREACH (u->clients, cl)
			room_attach(c, cl, ev->conversation, ev->seq - 1);
		check(c, ev->conversation, u->id, ev->seq);
	}
	json_object_put(data);
}

void
membership_left(struct chat *c, const struct event *ev)
{
	struct json_object *members, *data = event_members(ev, &members);

	for (size_t i = 0; data && i < json_object_array_length(members); i++) {
		struct chat_user *u = local_member(c, members, i);
		char user[ID_MAX];

		if (!u)
			continue;
		str_copy(user, sizeof(user), u->id);
		detach_user(c, ev->conversation, user);
		check(c, ev->conversation, user, ev->seq);
	}
	json_object_put(data);
}

bool
membership_left_one(struct attachment *a, const struct event *ev)
{
	struct json_object *members, *data;
	struct client *cl = a->client;
	bool left = false;

	if (ev->type != EVENT_MEMBER_LEFT)
		return false;
	data = event_members(ev, &members);
	for (size_t i = 0; data && !left && i < json_object_array_length(members); i++)
		left = local_member(cl->chat, members, i) == cl->user;
	json_object_put(data);
	if (left) {
		check(cl->chat, ev->conversation, cl->user->id, ev->seq);
		client_detach(cl, a);
	}
	return left;
}
