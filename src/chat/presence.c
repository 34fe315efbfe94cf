/* SPDX-License-Identifier: ISC */
/*
 * presence: the state of this worker's users, and telling others of changes that the bus
 * gives to this worker.  Worker, loop thread.
 *
 * A user's state here is the best of the clients that are here; the bus makes one of all
 * workers'.  A change that the bus hands to this worker goes through these steps, up to
 * BATCH users at a time:
 *	1. when users were last seen is written, with one request for all who went offline;
 *	2. the store says which conversations are to be told (not the large channels);
 *	3. one cast to all of them, which reaches each client once;
 *	4. the bus is told that it was done.
 * Where the store cannot be asked all of it is tried again later.  A state that changes
 * while its user is on the way takes the place of the one before.
 */
#include <stdlib.h>
#include <string.h>
#include <utlist.h>

#include "chat/chat_int.h"
#include "lib/clock.h"
#include "lib/log.h"

#define BATCH   100
#define RETRY_S 1.0

struct change {
	struct teller *teller;
	char user[ID_MAX];
	enum presence state;
	int64_t left_ms;
	UT_hash_handle hh;
	struct change *prev, *next;
};

struct teller {
	struct chat *chat;
	struct change *by_user;
	struct change *queue; /* not on their way */
	struct change *batch; /* on their way */
	size_t waiting;       /* answers of the store for the batch */
	ev_timer retry;
};

static const char *const status_names[] = {"offline", "away", "online"};

/* ---- the users of this worker ---- */

void
presence_update(struct chat *c, struct chat_user *u)
{
	enum presence best = PRESENCE_OFFLINE;
	struct client *cl;

	DL_FOREACH (u->clients, cl)
		if (cl->presence > best)
			best = cl->presence;
	if (best == u->presence)
		return;
	u->presence = best;
	bus_presence_set(c->bus, u->id, best);
}

void
presence_bus_up(struct chat *c)
{
	struct chat_user *u, *tmp;

	HASH_ITER (hh, c->users, u, tmp)
		bus_presence_set(c->bus, u->id, u->presence);
}

int
chat_presence_set(struct chat *c, struct client *cl, const char *status)
{
	if (strcmp(status, "online") == 0)
		cl->presence = PRESENCE_ONLINE;
	else if (strcmp(status, "away") == 0)
		cl->presence = PRESENCE_AWAY;
	else
		return ERR_INVALID_FIELD;
	presence_update(c, cl->user);
	return 0;
}

static void
put_presence(struct buf *b, const char *user, enum presence state, int64_t seen_ms)
{
	char when[CLOCK_TEXT_MAX];

	buf_printf(b, "{\"user_id\":\"%s\",\"status\":\"%s\",\"last_seen_at\":", user,
	    status_names[state]);
	if (state == PRESENCE_OFFLINE && seen_ms) {
		clock_format(seen_ms, when);
		buf_printf(b, "\"%s\"}", when);
	} else {
		buf_puts(b, "null}");
	}
}

/* ---- telling others ---- */

static void next_batch(struct teller *t);

static void
retry(struct ev_loop *l, ev_timer *timer, int revents)
{
	(void)l, (void)revents;
	next_batch(timer->data);
}

/* Back into the queue, and everything there waits a moment. */
static void
put_off(struct change *ch, int err)
{
	struct teller *t = ch->teller;

	log_warn("presence.put_off", "uid=%s err=%s", ch->user, error_code(err));
	DL_DELETE(t->batch, ch);
	DL_APPEND(t->queue, ch);
	if (!ev_is_active(&t->retry)) {
		ev_timer_set(&t->retry, RETRY_S, 0);
		ev_timer_start(loop_ev(), &t->retry);
	}
}

static void
answered(struct teller *t)
{
	if (--t->waiting == 0 && !ev_is_active(&t->retry))
		next_batch(t);
}

static void
tell(struct change *ch, const struct store_req *req)
{
	struct teller *t = ch->teller;
	struct bus *bus = t->chat->bus;
	struct buf json;

	buf_init(&json);
	put_presence(&json, ch->user, ch->state, ch->left_ms);
	if (req->id_out_count)
		bus_cast_many(bus, (const char(*)[ID_MAX])req->ids_out, req->id_out_count, ch->user,
		    (const char *)json.data, json.len);
	buf_fini(&json);
	bus_presence_told(bus, ch->user, ch->state);
	HASH_DEL(t->by_user, ch);
	DL_DELETE(t->batch, ch);
	free(ch);
}

static void
listed(struct store_req *req)
{
	struct change *ch = req->arg;
	struct teller *t = ch->teller;

	if (req->err)
		put_off(ch, req->err);
	else
		tell(ch, req);
	store_req_free(&req);
	answered(t);
}

static void
list_conversations(struct teller *t)
{
	struct change *ch, *tmp;

	t->waiting++; /* until all are asked */
	DL_FOREACH_SAFE (t->batch, ch, tmp) {
		struct store_req *req = store_req_new(STORE_PRESENCE_CONVERSATIONS, listed, ch);

		str_copy(req->id, sizeof(req->id), ch->user);
		req->limit = t->chat->opts.presence_members;
		t->waiting++;
		chat_store(t->chat, req);
	}
	answered(t);
}

static void
seen_written(struct store_req *req)
{
	struct teller *t = req->arg;
	struct change *ch, *tmp;
	int err = req->err;

	store_req_free(&req);
	if (!err) {
		list_conversations(t);
		return;
	}
	DL_FOREACH_SAFE (t->batch, ch, tmp)
		put_off(ch, err);
}

static void
next_batch(struct teller *t)
{
	struct store_req *req;
	size_t n = 0;

	if (t->batch || !t->queue)
		return;
	req = store_req_new(STORE_USERS_SEEN, seen_written, t);
	while (t->queue && n++ < BATCH) {
		struct change *ch = t->queue;

		DL_DELETE(t->queue, ch);
		DL_APPEND(t->batch, ch);
		if (ch->state == PRESENCE_OFFLINE) {
			struct user *u = store_req_add_user(req);

			str_copy(u->id, sizeof(u->id), ch->user);
			u->last_seen_ms = ch->left_ms;
		}
	}
	if (req->user_count) {
		chat_store(t->chat, req);
	} else {
		store_req_free(&req);
		list_conversations(t);
	}
}

void
presence_changed(struct chat *c, const char *user, enum presence state, int64_t left_ms)
{
	struct teller *t = c->teller;
	struct change *ch;

	HASH_FIND_STR(t->by_user, user, ch);
	if (!ch) {
		ch = xcalloc(1, sizeof(*ch));
		ch->teller = t;
		str_copy(ch->user, sizeof(ch->user), user);
		HASH_ADD_STR(t->by_user, user, ch);
		DL_APPEND(t->queue, ch);
	}
	ch->state = state;
	ch->left_ms = left_ms;
	if (!ev_is_active(&t->retry))
		next_batch(t);
}

void
presence_told(struct chat *c, const char (*conversations)[ID_MAX], size_t count, const char *user,
    const char *json, size_t len)
{
	room_send_once(c, conversations, count, "presence.updated", json, len, user);
}

/* ---- asking ---- */

struct presence_get {
	struct chat *chat;
	struct store_req *found;
	chat_done done;
	void *arg;
};

static void
get_done(struct presence_get *g, int err, const enum presence *states)
{
	struct buf json;

	if (err) {
		chat_answer_error(g->done, g->arg, err, NULL, NULL);
	} else {
		buf_init(&json);
		buf_puts(&json, "{\"items\":[");
		for (size_t i = 0; i < g->found->user_count; i++) {
			const struct user *u = &g->found->users[i];

			buf_puts(&json, i ? "," : "");
			put_presence(&json, u->id, states[i], u->last_seen_ms);
		}
		buf_puts(&json, "]}");
		chat_answer_json(g->done, g->arg, false, &json);
		buf_fini(&json);
	}
	store_req_free(&g->found);
	free(g);
}

static void
got_states(void *arg, int err, const enum presence *states, size_t count)
{
	struct presence_get *g = arg;

	get_done(g, !err && count != g->found->user_count ? ERR_INTERNAL : err, states);
}

static void
got_shared(struct store_req *req)
{
	struct presence_get *g = req->arg;
	char ids[CHAT_PRESENCE_MAX][ID_MAX];
	int err = req->err;

	g->found = req;
	for (size_t i = 0; i < req->user_count; i++)
		memcpy(ids[i], req->users[i].id, ID_MAX);
	if (!err && req->user_count)
		err = bus_presence_get(
		    g->chat->bus, (const char(*)[ID_MAX])ids, req->user_count, got_states, g);
	if (err || !req->user_count)
		get_done(g, err, NULL);
}

void
chat_presence_get(struct chat *c, const char *user, const char *const *users, size_t count,
    const char *pointer, chat_done done, void *arg)
{
	struct presence_get *g;
	struct store_req *req;

	if (count < 1 || count > CHAT_PRESENCE_MAX) {
		chat_answer_error(
		    done, arg, ERR_INVALID_FIELD, pointer, count ? "too_many" : "empty");
		return;
	}
	for (size_t i = 0; i < count; i++) {
		if (!id_valid(users[i], "usr")) {
			chat_answer_error(done, arg, ERR_INVALID_FIELD, pointer, "invalid");
			return;
		}
	}
	g = xcalloc(1, sizeof(*g));
	*g = (struct presence_get){.chat = c, .done = done, .arg = arg};
	req = store_req_new(STORE_USERS_SHARED, got_shared, g);
	str_copy(req->id, sizeof(req->id), user);
	req->ids = xcalloc(count, sizeof(*req->ids));
	for (; req->id_count < count; req->id_count++)
		str_copy(req->ids[req->id_count], ID_MAX, users[req->id_count]);
	chat_store(c, req);
}

/* ---- life ---- */

struct teller *
presence_new(struct chat *c)
{
	struct teller *t = xcalloc(1, sizeof(*t));

	t->chat = c;
	ev_init(&t->retry, retry);
	t->retry.data = t;
	return t;
}

/* At the end of the process, after the store is closed: no answer comes any more. */
void
presence_free(struct teller **tp)
{
	struct teller *t = *tp;
	struct change *ch, *tmp;

	*tp = NULL;
	ev_timer_stop(loop_ev(), &t->retry);
	HASH_ITER (hh, t->by_user, ch, tmp) {
		HASH_DEL(t->by_user, ch);
		free(ch);
	}
	free(t);
}
