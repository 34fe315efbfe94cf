/* SPDX-License-Identifier: ISC */
/*
 * send: the way of an event from a client to its acknowledgement.  Worker, loop
 * thread.
 *
 *	chat_send      checks; then send_lookup
 *	send_lookup    asks the store whether this client id made a message before, and
 *	               whether the sender is a member and may send; then, if it is a reply,
 *	               whether there is such a message, and claims the files that it has
 *	send_intake    the unnumbered event goes into the spool: survives kill -9
 *	send_submit    the bus numbers, deduplicates and publishes it
 *	send_append    the numbered event is made durable by the journal
 *	send_finish    the sender is acknowledged
 *
 * Invariants:
 * - Look-ups finish in any order, but sends go on in the order in which they came
 *   (one list of look-ups, only its head moves on), so a client that sends A and
 *   then B without waiting gets A before B.
 * - After the intake an op lives until the event is durable or the bus said that
 *   nothing happened: what members may have seen is never given up.  Its client is
 *   answered at the deadline at the latest, with a retryable error; the op goes on.
 * - A look-up is repeated when it is so old that the bus may have forgotten the
 *   client id since (it remembers for 60 s after archiving).
 */
#include <stdlib.h>
#include <string.h>
#include <utlist.h>

#include "chat/chat_int.h"
#include "chat/present.h"
#include "chat/roles.h"
#include "lib/clock.h"
#include "lib/log.h"

#define SENDS_MAX       20000 /* under way in one worker */
#define ANSWER_MS       5000  /* the client hears something by then */
#define LOOKUP_FRESH_MS 30000
#define RETRY_S         0.25

enum send_state {
	SEND_LOOKUP,
	SEND_LOOKED_UP, /* waits for those before it */
	SEND_WAIT_BUS,
	SEND_SUBMITTED,
	SEND_WAIT_JOURNAL,
	SEND_APPENDING
};

struct send_op {
	struct chat *chat;
	struct event *ev;       /* unnumbered */
	struct event *numbered; /* the bus's answer */
	enum send_state state;
	bool has_ticket, duplicate;
	bool repeated; /* submitted again, for the first time had no answer */
	uint64_t ticket;
	int64_t looked_up_ms, deadline_ms; /* monotonic */
	int lookup_err;
	struct event *found;
	bool by_client; /* must be a member, and the conversation not archived */
	char reply_to[ID_MAX];
	char (*files)[ID_MAX]; /* to be claimed */
	size_t file_count;
	size_t files_at; /* where they are in the data */
	uint64_t since;  /* of the member: sees nothing up to here */
	int refusal;     /* what is wrong with a new one; 0: nothing */
	const char *pointer, *reason;
	chat_done done; /* NULL: answered, or nobody waits */
	void *arg;
	struct send_op *prev, *next;
};

static void send_submit(struct send_op *op);
static void send_append(struct send_op *op);
static int send_lookup(struct send_op *op);

static void
send_free(struct send_op *op)
{
	op->chat->send_count--;
	event_unref(&op->ev);
	event_unref(&op->numbered);
	event_unref(&op->found);
	free(op->files);
	free(op);
}

static void
answer(struct send_op *op, int err)
{
	chat_done done = op->done;

	op->done = NULL;
	if (!done)
		return;
	op->chat->stats.refused++;
	chat_answer_error(done, op->arg, err, op->pointer, op->reason);
}

/* Nothing is to be replayed. */
static void
send_drop_intake(struct send_op *op)
{
	if (op->has_ticket && journal_done(op->chat->journal, op->ticket) < 0)
		log_warn("send.done_failed", "msg=%s", op->ev->id);
}

/* Takes the op off `sends` and ends it with an error that means: nothing happened. */
static void
send_refuse(struct send_op *op, int err)
{
	send_drop_intake(op);
	DL_DELETE(op->chat->sends, op);
	answer(op, err);
	send_free(op);
}

static void
acknowledge(struct send_op *op, const struct event *ev, enum journal_durable how)
{
	chat_done done = op->done;
	char when[CLOCK_TEXT_MAX];
	struct buf json;

	op->done = NULL;
	op->chat->stats.acknowledged++;
	if (op->duplicate)
		op->chat->stats.duplicates++;
	if (!done)
		return;
	clock_format(ev->created_ms, when);
	buf_init(&json);
	buf_printf(&json, "{\"id\":\"%s\",", ev->id);
	if (ev->ref[0])
		buf_printf(&json, "\"message_id\":\"%s\",", ev->ref);
	buf_printf(&json, "\"conversation_id\":\"%s\",\"seq\":%llu,\"created_at\":\"%s\",",
	    ev->conversation, (unsigned long long)ev->seq, when);
	if (ev->client_id[0])
		buf_printf(&json, "\"client_msg_id\":\"%s\",", ev->client_id);
	buf_printf(&json, "\"durable\":\"%s\",\"duplicate\":%s}",
	    how == JOURNAL_DURABLE_LOG ? "log" : "local", op->duplicate ? "true" : "false");
	chat_answer_json(done, op->arg, !op->duplicate && ev->type == EVENT_MESSAGE_CREATED, &json);
	buf_fini(&json);
}

static void
send_finish(struct send_op *op, const struct event *ev, enum journal_durable how)
{
	DL_DELETE(op->chat->sends, op);
	acknowledge(op, ev, how);
	send_free(op);
}

/* ---- durable ---- */

static void
appended(void *arg, int err, enum journal_durable how)
{
	struct send_op *op = arg;

	if (!err) {
		send_finish(op, op->numbered, how);
		return;
	}
	op->state = SEND_WAIT_JOURNAL; /* members have seen it: the timer tries again */
	log_warn("send.not_durable", "msg=%s conv=%s err=%s", op->ev->id, op->ev->conversation,
	    error_code(err));
}

static void
send_append(struct send_op *op)
{
	op->state = SEND_APPENDING;
	if (journal_append(op->chat->journal, op->ticket, op->numbered, appended, op) < 0)
		op->state = SEND_WAIT_JOURNAL;
}

/* ---- numbered and published ---- */

static void
submitted(void *arg, const struct bus_submit_result *res)
{
	struct send_op *op = arg;

	if (res->err == ERR_UNKNOWN_OUTCOME) {
		op->state = SEND_WAIT_BUS; /* send_bus_up repeats it */
		op->repeated = true;
		return;
	}
	if (res->err) {
		send_refuse(op, res->err);
		return;
	}
	/* A retry that claims the files of its first attempt has that one's id, too. */
	op->duplicate =
	    res->duplicate && (!op->repeated || strcmp(res->event->id, op->ev->id) != 0);
	op->numbered = event_ref(res->event);
	send_append(op);
}

static void
send_submit(struct send_op *op)
{
	if (op->ev->client_id[0] && clock_mono_ms() - op->looked_up_ms >= LOOKUP_FRESH_MS) {
		if (send_lookup(op) < 0)
			op->state = SEND_WAIT_BUS;
		return;
	}
	op->state = SEND_SUBMITTED;
	if (bus_submit(op->chat->bus, op->ev, submitted, op) < 0)
		op->state = SEND_WAIT_BUS;
}

static void
send_intake(struct send_op *op)
{
	int err = 0;

	if (!op->has_ticket)
		err = journal_intake(op->chat->journal, op->ev, &op->ticket);
	if (err) {
		send_refuse(op, err);
		return;
	}
	op->has_ticket = true;
	send_submit(op);
}

/* ---- was it sent before? ---- */

static void
looked_up_before(struct send_op *op)
{
	struct event *first = op->found;

	if (memcmp(first->digest, op->ev->digest, EVENT_DIGEST) != 0) {
		send_refuse(op, ERR_ID_REUSED);
		return;
	}
	send_drop_intake(op);
	op->duplicate = true;
	send_finish(op, first, JOURNAL_DURABLE_LOCAL);
}

static void
go_on(struct send_op *op)
{
	DL_APPEND(op->chat->sends, op);
	if (op->found)
		looked_up_before(op);
	else if (op->lookup_err != ERR_NOT_FOUND && op->has_ticket)
		op->state = SEND_WAIT_BUS; /* may have been published: try again */
	else if (op->lookup_err != ERR_NOT_FOUND)
		send_refuse(op, op->lookup_err);
	else if (op->refusal && !op->has_ticket)
		send_refuse(op, op->refusal);
	else
		send_intake(op);
}

/* The op has all its answers; it goes on when those before it have theirs. */
static void
lookup_end(struct send_op *op)
{
	struct chat *c = op->chat;
	struct send_op *head;

	op->state = SEND_LOOKED_UP;
	while ((head = c->lookups) && head->state == SEND_LOOKED_UP) {
		DL_DELETE(c->lookups, head);
		go_on(head);
	}
}

static void
claimed(struct store_req *req)
{
	struct send_op *op = req->arg;

	if (req->err == ERR_NOT_FOUND || req->err == ERR_CONFLICT) {
		op->refusal = ERR_INVALID_FIELD;
		op->pointer = "/files";
		op->reason = req->err == ERR_CONFLICT ? "in_use" : "no_such_file";
	} else if (req->err == ERR_ID_REUSED) {
		op->refusal = req->err;
	} else if (req->err) {
		op->lookup_err = req->err;
	} else {
		struct event *plain = op->ev;

		op->ev = compose_with_files(
		    plain, op->files_at, req->files, req->file_count, req->text_out);
		event_unref(&plain);
	}
	store_req_free(&req);
	lookup_end(op);
}

/* The last of the answers: the files are this message's, or it is refused. */
static void
send_claim(struct send_op *op)
{
	struct store_req *req;

	if (!op->file_count || op->refusal || op->lookup_err != ERR_NOT_FOUND) {
		lookup_end(op);
		return;
	}
	req = store_req_new(STORE_FILES_CLAIM, claimed, op);
	str_copy(req->id, sizeof(req->id), op->ev->conversation);
	str_copy(req->user_id, sizeof(req->user_id), op->ev->sender);
	str_copy(req->message, sizeof(req->message), op->ev->id);
	req->text = xstrdup(op->ev->client_id);
	req->now_ms = clock_wall_ms();
	req->ids = op->files;
	req->id_count = op->file_count;
	op->files = NULL;
	chat_store(op->chat, req);
}

/* A reply to a deleted message is one, too: the retry of a send must not fail by that. */
static void
reply_checked(void *arg, const struct present *p)
{
	struct send_op *op = arg;

	if (p->err && p->err != ERR_NOT_FOUND) {
		op->lookup_err = p->err;
	} else if (p->err || strcmp(p->message->conversation, op->ev->conversation) != 0 ||
		   p->message->seq <= op->since) {
		op->refusal = ERR_INVALID_FIELD;
		op->pointer = "/reply_to";
		op->reason = "no_such_message";
	}
	send_claim(op);
}

static void
check_sender(struct send_op *op, const struct store_req *req)
{
	const struct membership *m = req->memberships;

	if (!op->by_client)
		return;
	if (!req->membership_count) {
		op->refusal = ERR_NOT_FOUND;
		return;
	}
	op->since = m->since;
	op->refusal = role_check_member(m, ACTION_SEND);
}

static void
looked_up(struct store_req *req)
{
	struct send_op *op = req->arg;
	bool is_new;

	op->lookup_err = req->err;
	if (!req->err && req->event_count)
		op->found = event_ref(req->events[0]);
	else if (!req->err)
		op->lookup_err = ERR_INTERNAL;
	if (!op->lookup_err || op->lookup_err == ERR_NOT_FOUND)
		op->looked_up_ms = clock_mono_ms(); /* else: nothing is known yet */
	is_new = op->lookup_err == ERR_NOT_FOUND && !op->has_ticket;
	if (is_new)
		check_sender(op, req);
	store_req_free(&req);
	if (is_new && !op->refusal && op->reply_to[0])
		present_find(op->chat, op->reply_to, reply_checked, op);
	else if (is_new)
		send_claim(op);
	else
		lookup_end(op);
}

/* The op is on `sends`, or on no list if it is new; 0: it is on `lookups` now. */
static int
send_lookup(struct send_op *op)
{
	struct chat *c = op->chat;
	struct store_req *req = store_req_new(STORE_EVENT_BY_CLIENT_ID, looked_up, op);
	int err;

	str_copy(req->id, sizeof(req->id), op->ev->conversation);
	str_copy(req->user_id, sizeof(req->user_id), op->ev->sender);
	req->text = xstrdup(op->ev->client_id);
	err = store_submit(c->store, req);
	if (err < 0) {
		store_req_free(&req);
		return err;
	}
	if (op->state != SEND_LOOKUP)
		DL_DELETE(c->sends, op);
	op->state = SEND_LOOKUP;
	DL_APPEND(c->lookups, op);
	return 0;
}

/* ---- time ---- */

/* Tries again what failed, and answers clients whose time has come. */
static void
retry(struct ev_loop *l, ev_timer *w, int revents)
{
	struct chat *c = w->data;
	int64_t now = clock_mono_ms();
	struct send_op *op, *tmp;

	(void)l, (void)revents;
	DL_FOREACH (c->lookups, op)
		if (op->done && now >= op->deadline_ms)
			answer(op, ERR_TIMEOUT);
	DL_FOREACH_SAFE (c->sends, op, tmp) {
		if (op->done && now >= op->deadline_ms)
			answer(op, op->numbered ? ERR_STORAGE_FULL : ERR_UNKNOWN_OUTCOME);
		if (op->state == SEND_WAIT_JOURNAL)
			send_append(op);
		else if (op->state == SEND_WAIT_BUS && bus_is_up(c->bus))
			send_submit(op);
	}
	if (!c->send_count)
		ev_timer_stop(loop_ev(), w);
}

void
send_bus_up(struct chat *c)
{
	struct send_op *op, *tmp;

	DL_FOREACH_SAFE (c->sends, op, tmp)
		if (op->state == SEND_WAIT_BUS)
			send_submit(op);
}

static struct send_op *
send_new(struct chat *c, struct event *ev, chat_done done, void *arg)
{
	struct send_op *op = xcalloc(1, sizeof(*op));

	op->chat = c;
	op->ev = ev;
	op->done = done;
	op->arg = arg;
	op->deadline_ms = clock_mono_ms() + ANSWER_MS;
	op->looked_up_ms = -LOOKUP_FRESH_MS; /* never: older than fresh at any uptime */
	c->send_count++;
	if (!ev_is_active(&c->retry)) {
		ev_timer_init(&c->retry, retry, RETRY_S, RETRY_S);
		c->retry.data = c;
		ev_timer_start(loop_ev(), &c->retry);
	}
	return op;
}

static void
send_start(struct send_op *op)
{
	int err;

	if (!op->ev->client_id[0]) { /* of the server's own making: its id is new */
		op->lookup_err = ERR_NOT_FOUND;
		go_on(op);
		return;
	}
	err = send_lookup(op);
	if (err && op->has_ticket) {
		op->state = SEND_WAIT_BUS;
		DL_APPEND(op->chat->sends, op);
	} else if (err) {
		answer(op, err);
		send_free(op);
	}
}

void
send_event(struct chat *c, struct event *ev, chat_done done, void *arg)
{
	send_start(send_new(c, ev, done, arg));
}

/* ---- from a client ---- */

bool
send_admit(struct chat *c, chat_done done, void *arg)
{
	if (c->send_count < SENDS_MAX)
		return true;
	chat_answer_error(done, arg, ERR_OVERLOADED, NULL, NULL);
	return false;
}

void
chat_send(
    struct chat *c, const char *user, const struct chat_message *in, chat_done done, void *arg)
{
	const char *reason, *pointer = compose_fault(c, in, &reason);
	struct send_op *op;
	size_t files_at;

	if (pointer) {
		chat_answer_error(done, arg, ERR_INVALID_FIELD, pointer, reason);
		return;
	}
	if (!send_admit(c, done, arg))
		return;
	c->stats.sent++;
	op = send_new(c, compose_message(user, in, &files_at), done, arg);
	op->by_client = true;
	op->files_at = files_at;
	op->file_count = in->file_count;
	op->files = in->file_count ? xcalloc(in->file_count, sizeof(*op->files)) : NULL;
	for (size_t i = 0; i < in->file_count; i++)
		str_copy(op->files[i], ID_MAX, in->files[i]);
	if (in->reply_to)
		str_copy(op->reply_to, sizeof(op->reply_to), in->reply_to);
	send_start(op);
}

/* ---- replay and the end ---- */

static void
replay_one(void *arg, uint64_t ticket, struct event *ev)
{
	struct chat *c = arg;
	struct send_op *op = send_new(c, event_ref(ev), NULL, NULL);

	op->has_ticket = true;
	op->ticket = ticket;
	c->stats.replayed++;
	log_info("send.replay", "msg=%s conv=%s", ev->id, ev->conversation);
	send_start(op);
}

void
chat_replay(struct chat *c)
{
	int err = journal_replay(c->journal, replay_one, c);

	outbox_start(c);
	if (err)
		log_error("send.replay_failed", "err=%s", error_code(err));
}

size_t
chat_in_flight(const struct chat *c)
{
	return c->send_count + reads_waiting(c->reads);
}

/* Their intakes stay in the spool; the successor of this worker replays them. */
void
send_free_all(struct chat *c)
{
	struct send_op *op, *tmp;

	DL_CONCAT(c->sends, c->lookups);
	DL_FOREACH_SAFE (c->sends, op, tmp)
		send_free(op);
	c->sends = c->lookups = NULL;
}
