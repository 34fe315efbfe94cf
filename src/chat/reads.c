/* SPDX-License-Identifier: ISC */
/*
 * reads: up to which number each user has read, and who has muted a conversation.
 * Worker, loop thread.
 *
 * A position only moves forward and is the last one to win, so it needs no event and no
 * number: it is kept here for FLUSH_S at most, then cast once, however often it moved, and
 * written to the store with all others of that time.  A worker that is killed loses what
 * it has not written: the user sees some messages as unread again.
 *
 * Invariants:
 * - an entry stays until the store has its position; of two answers the later is never
 *   behind the earlier.
 * - one batch is under way at a time; one that fails is tried again with the next.
 */
#include <stdlib.h>
#include <string.h>
#include <utlist.h>

#include "chat/chat_int.h"
#include "chat/range.h"
#include "lib/log.h"

#define FLUSH_S   0.25
#define BATCH_MAX 1000

struct read_key {
	char conversation[ID_MAX], user[ID_MAX];
};

struct read_entry {
	struct read_key key;
	bool private; /* channels: only the user's own devices are told */
	bool told;
	uint64_t seq;
	UT_hash_handle hh;
};

struct reads {
	struct chat *chat;
	struct read_entry *entries;
	struct store_req *writing;
	ev_timer flush;
};

/* ---- telling ---- */

/* To all devices of the user that this worker has. */
static void
send_to_user(struct chat *c, const char *user, const char *name, const struct buf *json)
{
	struct chat_user *u = chat_user_find(c, user);
	struct client *cl, *tmp;
	void *encoded;

	if (!u)
		return;
	encoded = c->opts.encoder.encode(name, (const char *)json->data, json->len);
	DL_FOREACH_SAFE (u->clients, cl, tmp)
		if (cl->ready)
			cl->ops->send(cl->peer, encoded);
	c->opts.encoder.release(encoded);
}

void
reads_cast(struct chat *c, const char *conversation, const char *sender, struct unpack *u)
{
	bool private = unpack_u8(u) != 0;
	uint64_t seq = unpack_u64(u);
	char id[1][ID_MAX];
	struct buf json;

	if (!unpack_end(u))
		return;
	str_copy(id[0], ID_MAX, conversation);
	buf_init(&json);
	buf_printf(&json, "{\"conversation_id\":\"%s\",\"user_id\":\"%s\",\"seq\":%llu}",
	    conversation, sender, (unsigned long long)seq);
	if (private)
		send_to_user(c, sender, "read.updated", &json);
	else
		room_send_once(c, (const char(*)[ID_MAX])id, 1, "read.updated",
		    (const char *)json.data, json.len, "");
	buf_fini(&json);
}

static void
tell(struct reads *r, struct read_entry *e)
{
	struct buf b;

	buf_init(&b);
	pack_u8(&b, e->private);
	pack_u64(&b, e->seq);
	chat_cast(r->chat, e->key.conversation, e->key.user, CAST_READ, &b);
	buf_fini(&b);
	e->told = true;
}

/* ---- writing ---- */

static struct read_entry *
find(struct reads *r, const char *conversation, const char *user)
{
	struct read_key key = {0};
	struct read_entry *e;

	str_copy(key.conversation, sizeof(key.conversation), conversation);
	str_copy(key.user, sizeof(key.user), user);
	HASH_FIND(hh, r->entries, &key, sizeof(key), e);
	return e;
}

static void
flush_later(struct reads *r)
{
	if (ev_is_active(&r->flush))
		return;
	ev_timer_set(&r->flush, FLUSH_S, 0);
	ev_timer_start(loop_ev(), &r->flush);
}

static void
written(struct store_req *req)
{
	struct reads *r = req->arg;

	r->writing = NULL;
	if (req->err)
		log_warn(
		    "reads.not_written", "count=%zu err=%s", req->read_count, error_code(req->err));
	for (size_t i = 0; !req->err && i < req->read_count; i++) {
		const struct store_read *w = &req->reads[i];
		struct read_entry *e = find(r, w->conversation, w->user);

		if (e && e->seq == w->seq) {
			HASH_DEL(r->entries, e);
			free(e);
		}
	}
	store_req_free(&req);
	if (r->entries)
		flush_later(r);
}

static void
flush(struct ev_loop *l, ev_timer *t, int revents)
{
	struct reads *r = t->data;
	struct read_entry *e, *tmp;
	struct store_req *req;
	size_t max = HASH_COUNT(r->entries);

	(void)l, (void)revents;
	HASH_ITER (hh, r->entries, e, tmp)
		if (!e->told)
			tell(r, e);
	if (r->writing || !r->entries)
		return;
	req = store_req_new(STORE_READS_PUT, written, r);
	if (max > BATCH_MAX)
		max = BATCH_MAX;
	req->reads = xcalloc(max, sizeof(*req->reads));
	HASH_ITER (hh, r->entries, e, tmp) {
		struct store_read *w = &req->reads[req->read_count];

		if (req->read_count == max)
			break;
		str_copy(w->conversation, sizeof(w->conversation), e->key.conversation);
		str_copy(w->user, sizeof(w->user), e->key.user);
		w->seq = e->seq;
		req->read_count++;
	}
	r->writing = req;
	chat_store(r->chat, req);
}

struct reads *
reads_new(struct chat *c)
{
	struct reads *r = xcalloc(1, sizeof(*r));

	r->chat = c;
	ev_init(&r->flush, flush);
	r->flush.data = r;
	return r;
}

size_t
reads_waiting(const struct reads *r)
{
	return HASH_COUNT(r->entries);
}

void
reads_free(struct reads **rp)
{
	struct reads *r = *rp;
	struct read_entry *e, *tmp;

	*rp = NULL;
	ev_timer_stop(loop_ev(), &r->flush);
	HASH_ITER (hh, r->entries, e, tmp) {
		HASH_DEL(r->entries, e);
		free(e);
	}
	free(r);
}

/* ---- read.set ---- */

struct read_op {
	struct chat *chat;
	struct read_key key;
	uint64_t seq;
	bool private, muted;
	uint64_t stored;
	chat_done done;
	void *arg;
};

static struct read_op *
read_op_new(struct chat *c, const char *user, const char *conversation, chat_done done, void *arg)
{
	struct read_op *op = xcalloc(1, sizeof(*op));

	op->chat = c;
	op->done = done;
	op->arg = arg;
	str_copy(op->key.user, sizeof(op->key.user), user);
	str_copy(op->key.conversation, sizeof(op->key.conversation), conversation);
	return op;
}

static void
read_fail(struct read_op *op, int err)
{
	chat_answer_error(op->done, op->arg, err, NULL, NULL);
	free(op);
}

/* Moves the position forward, if that is what the user asks for, and says where it is. */
static void
read_move(struct read_op *op)
{
	struct reads *r = op->chat->reads;
	struct read_entry *e = find(r, op->key.conversation, op->key.user);
	uint64_t now = e && e->seq > op->stored ? e->seq : op->stored;
	struct buf json;

	if (op->seq > now && !e) {
		e = xcalloc(1, sizeof(*e));
		e->key = op->key;
		HASH_ADD(hh, r->entries, key, sizeof(e->key), e);
	}
	if (op->seq > now) {
		now = e->seq = op->seq;
		e->private = op->private;
		e->told = false;
		flush_later(r);
	}
	buf_init(&json);
	buf_printf(&json, "{\"conversation_id\":\"%s\",\"seq\":%llu}", op->key.conversation,
	    (unsigned long long)now);
	chat_answer_json(op->done, op->arg, false, &json);
	buf_fini(&json);
	free(op);
}

/* Nobody has read what is not there yet. */
static void
newest_read(void *arg, const struct range *range)
{
	struct read_op *op = arg;
	uint64_t newest;

	if (range->err) {
		read_fail(op, range->err);
		return;
	}
	newest = range->count ? range->events[range->count - 1]->seq : 0;
	if (op->seq > newest)
		op->seq = newest;
	read_move(op);
}

static void
reader_checked(struct store_req *req)
{
	struct read_op *op = req->arg;

	if (req->err) {
		read_fail(op, req->err);
	} else {
		op->private = req->memberships[0].type == CONVERSATION_CHANNEL;
		op->stored = req->memberships[0].read;
		range_before(op->chat, op->key.conversation, 0, 0, 1, newest_read, op);
	}
	store_req_free(&req);
}

void
chat_read_set(struct chat *c, const char *user, const char *conversation, uint64_t seq,
    chat_done done, void *arg)
{
	struct read_op *op;

	if (!id_valid(conversation, "cnv")) {
		chat_answer_error(done, arg, ERR_NOT_FOUND, NULL, NULL);
		return;
	}
	if (!send_admit(c, done, arg))
		return;
	op = read_op_new(c, user, conversation, done, arg);
	op->seq = seq;
	chat_check_member(c, conversation, user, reader_checked, op);
}

/* ---- muting ---- */

void
reads_mute_cast(struct chat *c, const char *conversation, const char *sender, struct unpack *u)
{
	bool muted = unpack_u8(u) != 0;
	struct buf json;

	if (!unpack_end(u))
		return;
	buf_init(&json);
	buf_printf(&json, "{\"conversation_id\":\"%s\",\"muted\":%s}", conversation,
	    muted ? "true" : "false");
	send_to_user(c, sender, "mute.updated", &json);
	buf_fini(&json);
}

static void
muted(struct store_req *req)
{
	struct read_op *op = req->arg;
	struct buf b;

	if (req->err) {
		read_fail(op, req->err);
		store_req_free(&req);
		return;
	}
	buf_init(&b);
	pack_u8(&b, op->muted);
	chat_cast(op->chat, op->key.conversation, op->key.user, CAST_MUTE, &b);
	buf_clear(&b);
	buf_printf(&b, "{\"conversation_id\":\"%s\",\"muted\":%s}", op->key.conversation,
	    op->muted ? "true" : "false");
	chat_answer_json(op->done, op->arg, false, &b);
	buf_fini(&b);
	free(op);
	store_req_free(&req);
}

void
chat_mute(struct chat *c, const char *user, const char *conversation, bool mute, chat_done done,
    void *arg)
{
	struct store_req *req;
	struct read_op *op;

	if (!id_valid(conversation, "cnv")) {
		chat_answer_error(done, arg, ERR_NOT_FOUND, NULL, NULL);
		return;
	}
	op = read_op_new(c, user, conversation, done, arg);
	op->muted = mute;
	req = store_req_new(STORE_MEMBER_MUTE, muted, op);
	str_copy(req->id, sizeof(req->id), conversation);
	str_copy(req->user_id, sizeof(req->user_id), user);
	req->flag = mute;
	chat_store(c, req);
}
