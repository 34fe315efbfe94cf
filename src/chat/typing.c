/* SPDX-License-Identifier: ISC */
/*
 * typing: who is writing in a conversation.  Worker, loop thread.
 *
 * A device that says it is typing has a lease of LEASE_MS here, in its own worker; each
 * repeat begins it anew.  A user types in a conversation as long as one of his devices
 * does: typing.started is cast with the first, and with repeats, but not more than once in
 * REPEAT_MS; typing.stopped when the last one says so, goes, or lets its lease end.
 *
 * Another worker knows nothing of these devices.  When it casts typing.stopped of a user
 * who types here, too, typing.started follows from here at once.
 *
 * Invariant: `devices` of the chat is in the order in which the leases end, since all have
 * the same length; a device is on the list of its typing, too.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <utlist.h>

#include "chat/chat_int.h"
#include "chat/roles.h"

#define LEASE_MS  6000
#define REPEAT_MS 1000

/* One user in one conversation. */
struct typing {
	char key[2 * ID_MAX]; /* conversation, blank, user */
	char conversation[ID_MAX], user[ID_MAX];
	struct device *devices;
	int64_t said_ms; /* when typing.started was cast last */
	UT_hash_handle hh;
};

struct device {
	const struct client *client; /* NULL: it moved to another worker */
	struct typing *typing;
	int64_t until_ms;
	struct device *prev, *next;       /* in the order of until_ms */
	struct device *of_prev, *of_next; /* of the typing */
};

/* A client that waits for the store to say whether it may. */
struct check {
	struct typing_state *state;
	struct client *client; /* NULL: gone meanwhile */
	char conversation[ID_MAX];
	bool stopped; /* it has said so since */
	chat_done done;
	void *arg;
	struct check *prev, *next;
};

struct typing_state {
	struct chat *chat;
	struct typing *typings;
	struct device *devices;
	struct check *checks;
	ev_timer lease;
};

static const struct chat_result ok = {.json = "{}", .json_len = 2};

/* ---- others are told ---- */

static void
cast(struct chat *c, const struct typing *t, bool typing)
{
	struct buf b;

	buf_init(&b);
	pack_u8(&b, typing);
	chat_cast(c, t->conversation, t->user, CAST_TYPING, &b);
	buf_fini(&b);
}

static void
say_started(struct chat *c, struct typing *t)
{
	t->said_ms = clock_mono_ms();
	cast(c, t, true);
}

static struct typing *
find(const struct typing_state *s, const char *conversation, const char *user)
{
	char key[2 * ID_MAX];
	struct typing *t;

	snprintf(key, sizeof(key), "%s %s", conversation, user);
	HASH_FIND_STR(s->typings, key, t);
	return t;
}

void
typing_cast(struct chat *c, const char *conversation, const char *sender, struct unpack *u)
{
	char id[1][ID_MAX];
	struct typing *here;
	struct buf json;
	bool typing;

	typing = unpack_u8(u) != 0;
	if (!unpack_end(u))
		return;
	str_copy(id[0], ID_MAX, conversation);
	buf_init(&json);
	buf_printf(&json, "{\"conversation_id\":\"%s\",\"user_id\":\"%s\"}", conversation, sender);
	room_send_once(c, (const char(*)[ID_MAX])id, 1,
	    typing ? "typing.started" : "typing.stopped", (const char *)json.data, json.len,
	    sender);
	buf_fini(&json);
	here = typing ? NULL : find(c->typing, conversation, sender);
	if (here)
		say_started(c, here);
}

/* ---- leases ---- */

static void
next_lease(struct typing_state *s)
{
	ev_timer_stop(loop_ev(), &s->lease);
	if (!s->devices)
		return;
	ev_timer_set(&s->lease, (double)(s->devices->until_ms - clock_mono_ms()) / 1000.0, 0);
	ev_timer_start(loop_ev(), &s->lease);
}

/* The last device takes the typing along. */
static void
drop(struct typing_state *s, struct device *d)
{
	struct typing *t = d->typing;

	DL_DELETE(s->devices, d);
	DL_DELETE2(t->devices, d, of_prev, of_next);
	free(d);
	if (t->devices)
		return;
	HASH_DEL(s->typings, t);
	cast(s->chat, t, false);
	free(t);
}

static void
lease_ended(struct ev_loop *l, ev_timer *timer, int revents)
{
	struct typing_state *s = timer->data;
	int64_t now = clock_mono_ms();

	(void)l, (void)revents;
	while (s->devices && s->devices->until_ms <= now)
		drop(s, s->devices);
	next_lease(s);
}

static struct device *
device_of(const struct typing_state *s, const struct client *cl, const char *conversation)
{
	struct typing *t = find(s, conversation, cl->user->id);
	struct device *d = t ? t->devices : NULL;

	while (d && d->client != cl)
		d = d->of_next;
	return d;
}

static void
start(struct typing_state *s, const struct client *cl, const char *conversation)
{
	struct device *d = device_of(s, cl, conversation);
	struct typing *t = find(s, conversation, cl->user->id);

	if (!t) {
		t = xcalloc(1, sizeof(*t));
		snprintf(t->key, sizeof(t->key), "%s %s", conversation, cl->user->id);
		str_copy(t->conversation, sizeof(t->conversation), conversation);
		str_copy(t->user, sizeof(t->user), cl->user->id);
		t->said_ms = -REPEAT_MS;
		HASH_ADD_STR(s->typings, key, t);
	}
	if (d) {
		DL_DELETE(s->devices, d);
	} else {
		d = xcalloc(1, sizeof(*d));
		d->client = cl;
		d->typing = t;
		DL_APPEND2(t->devices, d, of_prev, of_next);
	}
	d->until_ms = clock_mono_ms() + LEASE_MS;
	DL_APPEND(s->devices, d);
	next_lease(s);
	if (clock_mono_ms() - t->said_ms >= REPEAT_MS)
		say_started(s->chat, t);
}

/* ---- clients ---- */

static void
checked(struct store_req *req)
{
	struct check *ch = req->arg;
	struct typing_state *s = ch->state;
	int err = req->err;

	if (!err)
		err = role_check_member(&req->memberships[0], ACTION_SEND);
	if (!err && (!ch->client || !client_attachment(ch->client, req->id)))
		err = ERR_NOT_FOUND;
	DL_DELETE(s->checks, ch);
	if (!err && !ch->stopped)
		start(s, ch->client, req->id);
	if (err)
		chat_answer_error(ch->done, ch->arg, err, NULL, NULL);
	else
		ch->done(ch->arg, &ok);
	store_req_free(&req);
	free(ch);
}

void
chat_typing(struct chat *c, struct client *cl, const char *conversation, bool typing,
    chat_done done, void *arg)
{
	struct typing_state *s = c->typing;
	struct device *d;
	struct check *ch;

	if (!client_attachment(cl, conversation)) {
		chat_answer_error(done, arg, ERR_NOT_FOUND, NULL, NULL);
		return;
	}
	if (typing) {
		ch = xcalloc(1, sizeof(*ch));
		*ch = (struct check){.state = s, .client = cl, .done = done, .arg = arg};
		str_copy(ch->conversation, sizeof(ch->conversation), conversation);
		DL_APPEND(s->checks, ch);
		chat_check_member(c, conversation, cl->user->id, checked, ch);
		return;
	}
	DL_FOREACH (s->checks, ch)
		if (ch->client == cl && strcmp(ch->conversation, conversation) == 0)
			ch->stopped = true;
	d = device_of(s, cl, conversation);
	if (d)
		drop(s, d);
	next_lease(s);
	done(arg, &ok);
}

static void
forget_checks(struct typing_state *s, const struct client *cl)
{
	struct check *ch;

	DL_FOREACH (s->checks, ch)
		if (ch->client == cl)
			ch->client = NULL;
}

void
typing_client_gone(struct client *cl)
{
	struct typing_state *s = cl->chat->typing;
	struct device *d, *tmp;

	forget_checks(s, cl);
	DL_FOREACH_SAFE (s->devices, d, tmp)
		if (d->client == cl)
			drop(s, d);
	next_lease(s);
}

/* Its leases run on here: where it repeats itself in the new place nobody sees a break. */
void
typing_client_moves(struct client *cl)
{
	struct typing_state *s = cl->chat->typing;
	struct device *d;

	forget_checks(s, cl);
	DL_FOREACH (s->devices, d)
		if (d->client == cl)
			d->client = NULL;
}

/* ---- life ---- */

struct typing_state *
typing_new(struct chat *c)
{
	struct typing_state *s = xcalloc(1, sizeof(*s));

	s->chat = c;
	ev_init(&s->lease, lease_ended);
	s->lease.data = s;
	return s;
}

/* At the end of the process, after bus and store are closed. */
void
typing_free(struct typing_state **sp)
{
	struct typing_state *s = *sp;
	struct typing *t, *ttmp;
	struct device *d, *dtmp;
	struct check *ch, *ctmp;

	*sp = NULL;
	ev_timer_stop(loop_ev(), &s->lease);
	DL_FOREACH_SAFE (s->devices, d, dtmp)
		free(d);
	HASH_ITER (hh, s->typings, t, ttmp) {
		HASH_DEL(s->typings, t);
		free(t);
	}
	DL_FOREACH_SAFE (s->checks, ch, ctmp)
		free(ch);
	free(s);
}
