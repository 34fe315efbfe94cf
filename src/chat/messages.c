/* SPDX-License-Identifier: ISC */
/*
 * messages: what is done to a message that is there: edits, deletions, reactions; and
 * reading one.  Worker, loop thread.
 *
 *	change_start   the message by its id, with its present state (present.h)
 *	change_found   was this client id used before?  And who is the user there?
 *	change_decide  the rules; then the event goes through the pipeline of send.c
 *
 * A client id that was used before skips the rules and goes straight into the pipeline,
 * which answers as it did the first time: a retry must not fail because the first
 * attempt succeeded.
 *
 * Two users may change a message at the same moment; both events are then in order by
 * seq, and every reader folds them to the same state (model/message.h).
 */
#include <stdlib.h>
#include <string.h>

#include "chat/chat_int.h"
#include "chat/present.h"
#include "chat/roles.h"
#include "lib/clock.h"
#include "lib/json.h"

struct change_op {
	struct chat *chat;
	enum event_type type;
	char user[ID_MAX], id[ID_MAX], client_id[EVENT_DEDUP_MAX];
	char emoji[MESSAGE_EMOJI_MAX + 1];
	struct buf data; /* of the event */
	struct event *message;
	struct message_state *state;
	bool done_before; /* the window has an event of this client id */
	chat_done done;
	void *arg;
};

static void
change_free(struct change_op *op)
{
	buf_fini(&op->data);
	event_unref(&op->message);
	message_state_free(&op->state);
	free(op);
}

static void
change_fail(struct change_op *op, int err, const char *pointer, const char *reason)
{
	chat_answer_error(op->done, op->arg, err, pointer, reason);
	change_free(op);
}

/* Nothing is to be done: the answer is the state as it is. */
static void
change_nothing(struct change_op *op)
{
	struct buf json;

	buf_init(&json);
	buf_printf(&json,
	    "{\"message_id\":\"%s\",\"conversation_id\":\"%s\",\"duplicate\":true,\"reactions\":",
	    op->id, op->message->conversation);
	message_reactions_json(&json, op->state);
	buf_putc(&json, '}');
	chat_answer_json(op->done, op->arg, false, &json);
	buf_fini(&json);
	change_free(op);
}

static void
change_send(struct change_op *op)
{
	struct event *ev = event_new_about(op->type, op->message->conversation, op->user,
	    op->client_id, op->id, (const char *)op->data.data, op->data.len);

	send_event(op->chat, ev, op->done, op->arg);
	change_free(op);
}

/* ---- the rules ---- */

static bool
may_delete(const struct change_op *op, const struct membership *m)
{
	return strcmp(op->message->sender, op->user) == 0 ||
	       !role_check_member(m, ACTION_DELETE_ANOTHERS);
}

static void
decide_reaction(struct change_op *op)
{
	const struct message_reaction *r = message_reaction_find(op->state, op->user, op->emoji);
	bool add = op->type == EVENT_REACTION_ADDED, there = r && r->present, used;

	if (add == there)
		change_nothing(op);
	else if (add &&
		 message_emoji_count(op->state, op->emoji, &used) >=
		     (size_t)op->chat->opts.max_reactions &&
		 !used)
		change_fail(op, ERR_INVALID_FIELD, "/emoji", "too_many");
	else
		change_send(op);
}

static void
change_decide(struct change_op *op, const struct membership *m)
{
	int err = role_check_member(m, ACTION_SEND);

	if (err)
		change_fail(op, err, NULL, NULL);
	else if (op->state->deleted_seq)
		change_fail(op, ERR_DELETED, NULL, NULL);
	else if (op->type == EVENT_MESSAGE_UPDATED && strcmp(op->message->sender, op->user) != 0)
		change_fail(op, ERR_FORBIDDEN, NULL, NULL);
	else if (op->type == EVENT_MESSAGE_DELETED && !may_delete(op, m))
		change_fail(op, ERR_FORBIDDEN, NULL, NULL);
	else if (op->emoji[0])
		decide_reaction(op);
	else
		change_send(op);
}

/* A stranger, and a member who may not see so far back, learn nothing. */
static bool
sees(const struct event *message, const struct store_req *req)
{
	return req->membership_count && message->seq > req->memberships[0].since;
}

static void
change_looked_up(struct store_req *req)
{
	struct change_op *op = req->arg;

	if (req->err && req->err != ERR_NOT_FOUND)
		change_fail(op, req->err, NULL, NULL);
	else if (!sees(op->message, req))
		change_fail(op, ERR_NOT_FOUND, NULL, NULL);
	else if (!req->err || op->done_before)
		change_send(op);
	else
		change_decide(op, &req->memberships[0]);
	store_req_free(&req);
}

/* ---- the message ---- */

/* Asks for membership, and for what the store has of this client id ("": nothing). */
static void
ask_member(struct chat *c, const char *conversation, const char *user, const char *client_id,
    void (*done)(struct store_req *), void *arg)
{
	struct store_req *req = store_req_new(STORE_EVENT_BY_CLIENT_ID, done, arg);

	str_copy(req->id, sizeof(req->id), conversation);
	str_copy(req->user_id, sizeof(req->user_id), user);
	req->text = xstrdup(client_id);
	chat_store(c, req);
}

static void
change_found(void *arg, const struct present *p)
{
	struct change_op *op = arg;

	if (p->err) {
		change_fail(op, p->err, NULL, NULL);
		return;
	}
	op->message = event_ref(p->message);
	op->state = message_state_copy(p->state);
	for (size_t i = 0; op->client_id[0] && i < p->recent_count; i++)
		if (strcmp(p->recent[i]->client_id, op->client_id) == 0 &&
		    strcmp(p->recent[i]->sender, op->user) == 0)
			op->done_before = true;
	ask_member(
	    op->chat, op->message->conversation, op->user, op->client_id, change_looked_up, op);
}

static void
put_data(struct change_op *op, const struct chat_change *in)
{
	struct buf *b = &op->data;

	buf_printf(b, "{\"sender_id\":\"%s\",\"message_id\":\"%s\"", op->user, op->id);
	if (op->client_id[0])
		buf_printf(b, ",\"client_msg_id\":\"%s\"", op->client_id);
	if (op->type == EVENT_MESSAGE_UPDATED) {
		buf_puts(b, ",\"text\":");
		json_put_string(b, in->text, in->text_len);
		compose_mentions(b, in->mentions, in->mention_count);
	}
	if (op->emoji[0]) {
		buf_puts(b, ",\"emoji\":");
		json_put_string(b, op->emoji, strlen(op->emoji));
	}
	buf_putc(b, '}');
}

/* The field at fault, or NULL; *reason_r says why. */
static const char *
change_fault(const struct chat *c, const struct chat_change *in, const char **reason_r)
{
	bool reaction = in->type == EVENT_REACTION_ADDED || in->type == EVENT_REACTION_REMOVED;

	*reason_r = "not_a_uuid";
	if (in->client_msg_id && !uuid_valid(in->client_msg_id))
		return "/client_msg_id";
	*reason_r = "invalid";
	if (reaction && !message_emoji_valid(in->emoji))
		return "/emoji";
	if (in->type == EVENT_MESSAGE_UPDATED)
		return compose_text_fault(
		    c, in->text_len, false, in->mentions, in->mention_count, reason_r);
	return NULL;
}

void
chat_message_change(
    struct chat *c, const char *user, const struct chat_change *in, chat_done done, void *arg)
{
	const char *reason, *pointer = change_fault(c, in, &reason);
	struct change_op *op;

	if (pointer) {
		chat_answer_error(done, arg, ERR_INVALID_FIELD, pointer, reason);
		return;
	}
	if (!send_admit(c, done, arg))
		return;
	op = xcalloc(1, sizeof(*op));
	op->chat = c;
	op->type = in->type;
	op->done = done;
	op->arg = arg;
	str_copy(op->user, sizeof(op->user), user);
	str_copy(op->id, sizeof(op->id), in->message);
	if (in->client_msg_id)
		str_copy(op->client_id, sizeof(op->client_id), in->client_msg_id);
	if (in->emoji)
		str_copy(op->emoji, sizeof(op->emoji), in->emoji);
	put_data(op, in);
	present_find(c, op->id, change_found, op);
}

/* ---- reading one ---- */

struct get_op {
	struct chat *chat;
	char user[ID_MAX];
	struct event *message;
	struct buf json;
	chat_done done;
	void *arg;
};

static void
get_end(struct get_op *op, int err)
{
	if (err)
		chat_answer_error(op->done, op->arg, err, NULL, NULL);
	else
		chat_answer_json(op->done, op->arg, false, &op->json);
	event_unref(&op->message);
	buf_fini(&op->json);
	free(op);
}

/* {"text":"..","created_at":".."}; false: the event has no text any more. */
static bool
put_version(struct buf *b, const struct event *ev, bool comma)
{
	struct json_object *data;
	char when[CLOCK_TEXT_MAX];
	const char *why, *text = NULL;

	data = json_parse(ev->data, ev->data_len, &json_default_limits, &why);
	if (data)
		json_get_str(data, "text", &text);
	if (!text || !*text) {
		json_object_put(data);
		return false;
	}
	clock_format(ev->created_ms, when);
	buf_puts(b, comma ? ",{\"text\":" : "{\"text\":");
	json_put_string(b, text, strlen(text));
	buf_printf(b, ",\"created_at\":\"%s\"}", when);
	json_object_put(data);
	return true;
}

/* The texts that the newest edit replaced, oldest first. */
static void
put_edits(struct buf *b, const struct present *p)
{
	bool any = p->edit_count && put_version(b, p->message, false);

	for (size_t i = 0; i + 1 < p->edit_count; i++)
		any |= put_version(b, p->edits[i], any);
}

static void
get_member_checked(struct store_req *req)
{
	struct get_op *op = req->arg;
	int err = req->err == ERR_NOT_FOUND ? 0 : req->err;

	if (!err && !sees(op->message, req))
		err = ERR_NOT_FOUND;
	get_end(op, err);
	store_req_free(&req);
}

static void
get_found(void *arg, const struct present *p)
{
	struct get_op *op = arg;

	if (p->err) {
		get_end(op, p->err);
		return;
	}
	op->message = event_ref(p->message);
	message_envelope(&op->json, p->message, p->state);
	if (op->chat->opts.keep_edits && !p->state->deleted_seq) {
		op->json.len--; /* the closing brace */
		buf_puts(&op->json, ",\"edits\":[");
		put_edits(&op->json, p);
		buf_puts(&op->json, "]}");
	}
	chat_check_member(op->chat, p->message->conversation, op->user, get_member_checked, op);
}

void
chat_message_get(struct chat *c, const char *user, const char *message, chat_done done, void *arg)
{
	struct get_op *op = xcalloc(1, sizeof(*op));

	op->chat = c;
	op->done = done;
	op->arg = arg;
	str_copy(op->user, sizeof(op->user), user);
	present_find(c, message, get_found, op);
}

/* ---- for the administrator ---- */

static void
show_found(void *arg, const struct present *p)
{
	struct get_op *op = arg;
	struct buf *b = &op->json;

	if (p->err) {
		get_end(op, p->err);
		return;
	}
	buf_puts(b, "{\"event\":");
	message_envelope(b, p->message, p->state);
	buf_printf(b,
	    ",\"sender_id\":\"%s\",\"in_window\":%s,\"in_store\":%s,\"edits\":%zu,"
	    "\"changes_in_window\":%zu,\"deleted_by\":",
	    p->message->sender, p->in_window ? "true" : "false", p->in_store ? "true" : "false",
	    p->edit_count, p->recent_count);
	if (p->state->deleted_seq)
		buf_printf(b, "\"%s\"}", p->state->deleted_by);
	else
		buf_puts(b, "null}");
	get_end(op, 0);
}

void
chat_message_show(struct chat *c, const char *message, chat_done done, void *arg)
{
	struct get_op *op = xcalloc(1, sizeof(*op));

	op->chat = c;
	op->done = done;
	op->arg = arg;
	present_find(c, message, show_found, op);
}
