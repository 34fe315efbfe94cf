/* SPDX-License-Identifier: ISC */
/*
 * chat: life of the chat object, the bus handler, answers.  Worker, loop thread.
 */
#include "chat/chat.h"

#include <stdlib.h>
#include <string.h>

#include "chat/chat_int.h"
#include "lib/log.h"

static void
on_event(void *arg, struct event *ev)
{
	room_event(arg, ev);
}

static const cast_fn cast_fns[CAST_KINDS] = {
    [CAST_TYPING] = typing_cast,
    [CAST_READ] = reads_cast,
    [CAST_MUTE] = reads_mute_cast,
};

static void
on_cast(void *arg, const char *conversation, const char *sender, const char *payload, size_t len)
{
	struct unpack u;
	uint8_t kind;

	unpack_init(&u, payload, len);
	kind = unpack_u8(&u);
	if (unpack_ok(&u) && kind < CAST_KINDS && cast_fns[kind])
		cast_fns[kind](arg, conversation, sender, &u);
	else
		log_warn("chat.unknown_cast", "kind=%u len=%zu", kind, len);
}

/* A kind and what belongs to it, as bytes. */
static void
pack_kind(struct buf *b, uint8_t kind, const struct buf *payload)
{
	buf_init(b);
	pack_u8(b, kind);
	buf_append(b, payload->data, payload->len);
}

void
chat_cast(struct chat *c, const char *conversation, const char *sender, enum cast_kind kind,
    const struct buf *payload)
{
	struct buf b;

	pack_kind(&b, (uint8_t)kind, payload);
	bus_cast(c->bus, conversation, sender, (const char *)b.data, b.len);
	buf_fini(&b);
}

/* After a reconnect the bus knows nothing of this worker: say everything again. */
static void
on_state(void *arg, bool up)
{
	struct chat *c = arg;

	log_info(up ? "bus.up" : "bus.down", "users=%u rooms=%llu", HASH_COUNT(c->users),
	    (unsigned long long)c->stats.rooms);
	revocation_bus_state(c, up);
	if (!up)
		return;
	presence_bus_up(c);
	room_resubscribe_all(c);
	send_bus_up(c);
	outbox_look(c);
}

/* By kind; a kind that has no row is one of a newer version. */
static const announced_fn announced_fns[ANNOUNCEMENT_KINDS] = {
    [ANNOUNCE_SESSIONS_ENDED] = announced_sessions_ended,
    [ANNOUNCE_KICK] = announced_kick,
};

static void
on_announced(void *arg, const void *payload, size_t len)
{
	struct unpack u;
	uint8_t kind;

	unpack_init(&u, payload, len);
	kind = unpack_u8(&u);
	if (unpack_ok(&u) && kind < ANNOUNCEMENT_KINDS && announced_fns[kind])
		announced_fns[kind](arg, &u);
	else
		log_warn("chat.unknown_announcement", "kind=%u len=%zu", kind, len);
}

void
chat_announce(struct chat *c, enum announcement kind, const struct buf *payload)
{
	struct buf b;

	pack_kind(&b, (uint8_t)kind, payload);
	bus_announce(c->bus, b.data, b.len);
	buf_fini(&b);
}

static void
on_cast_many(void *arg, const char (*conversations)[ID_MAX], size_t count, const char *sender,
    const char *payload, size_t len)
{
	presence_told(arg, conversations, count, sender, payload, len);
}

static void
on_presence(void *arg, const char *user, enum presence p, int64_t left_ms)
{
	presence_changed(arg, user, p, left_ms);
}

const struct bus_handler chat_bus_handler = {.event = on_event,
    .cast = on_cast,
    .state = on_state,
    .announced = on_announced,
    .cast_many = on_cast_many,
    .presence = on_presence};

struct chat *
chat_new(const struct chat_opts *opts, struct store *store, struct journal_writer *journal)
{
	struct chat *c = xcalloc(1, sizeof(*c));

	c->opts = *opts;
	c->keys = xcalloc(1, sizeof(*c->keys));
	c->opts.keys = c->keys;
	chat_set_keys(c, opts->keys);
	c->store = store;
	c->journal = journal;
	c->passwords = password_pool_new(opts->hash_queue);
	c->teller = presence_new(c);
	c->typing = typing_new(c);
	c->reads = reads_new(c);
	return c;
}

void
chat_set_bus(struct chat *c, struct bus *bus)
{
	c->bus = bus;
}

void
chat_set_content(struct chat *c, struct content *content)
{
	c->content = content;
}

void
chat_set_keys(struct chat *c, const struct key_set *keys)
{
	*c->keys = *keys;
}

void
chat_reconfigure(struct chat *c, const struct chat_opts *opts)
{
	struct chat_opts fixed = c->opts;

	c->opts = *opts;
	c->opts.keys = fixed.keys;
	c->opts.encoder = fixed.encoder;
	c->opts.hash_queue = fixed.hash_queue;
}

void
chat_free(struct chat **cp)
{
	struct chat *c = *cp;

	*cp = NULL;
	if (!c)
		return;
	ev_timer_stop(loop_ev(), &c->retry);
	outbox_stop(c);
	password_pool_free(&c->passwords);
	send_free_all(c);
	membership_free_all(c);
	room_free_all(c);
	presence_free(&c->teller);
	revocation_free_all(c);
	typing_free(&c->typing);
	rates_fini(&c->rates);
	reads_free(&c->reads);
	explicit_bzero(c->keys, sizeof(*c->keys));
	free(c->keys);
	free(c);
}

void
chat_stats(const struct chat *c, struct chat_stats *st)
{
	*st = c->stats;
	st->hashes = password_pool_hashes(c->passwords);
}

static struct rate_limit
limit(const struct chat *c)
{
	return (struct rate_limit){.rate = c->opts.rate, .burst = c->opts.burst};
}

bool
chat_write_allowed(struct chat *c, const char *user, int64_t *retry_after_r)
{
	const struct rate_limit l = limit(c);
	int64_t ms = rate_take(&c->rates, user, &l, clock_mono_ms());

	*retry_after_r = (ms + 999) / 1000;
	return ms == 0;
}

int64_t
chat_writes_left(struct chat *c, const char *user)
{
	const struct rate_limit l = limit(c);

	return rate_left(&c->rates, user, &l, clock_mono_ms());
}

void
chat_writes_lower(struct chat *c, const char *user, int64_t left)
{
	const struct rate_limit l = limit(c);

	rate_lower(&c->rates, user, &l, left, clock_mono_ms());
}

void
chat_answer_error(chat_done done, void *arg, int err, const char *pointer, const char *reason)
{
	struct chat_result res = {.err = err, .pointer = pointer, .reason = reason};

	if (done)
		done(arg, &res);
}

void
chat_answer_json(chat_done done, void *arg, bool created, const struct buf *json)
{
	struct chat_result res = {
	    .created = created, .json = (const char *)json->data, .json_len = json->len};

	if (done)
		done(arg, &res);
}

void
chat_page_end(struct buf *json, const char *next)
{
	if (next)
		buf_printf(json, "],\"next_cursor\":\"%s\"}", next);
	else
		buf_puts(json, "],\"next_cursor\":null}");
}

void
chat_store(struct chat *c, struct store_req *req)
{
	int err = store_submit(c->store, req);

	if (err < 0) {
		req->err = err;
		req->done(req);
	}
}

void
chat_check_member(struct chat *c, const char *conversation, const char *user,
    void (*done)(struct store_req *), void *arg)
{
	struct store_req *req = store_req_new(STORE_MEMBER_CHECK, done, arg);

	str_copy(req->id, sizeof(req->id), conversation);
	req->text = xstrdup(user);
	chat_store(c, req);
}
