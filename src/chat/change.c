/* SPDX-License-Identifier: ISC */
/*
 * change: see change.h.  Worker, loop thread.
 *
 *	change_start -> users_read -> read_now -> now_read -> (head_read -> read_now ..)
 *	  -> the plan -> written -> send_event -> told
 */
#include "chat/change.h"

#include <stdlib.h>
#include <string.h>

#include "chat/range.h"
#include "chat/roles.h"
#include "lib/log.h"

#define TRIES_MAX 5

static void read_now(struct change_op *op);

static void
answer_conversation(struct change_op *op, const struct conversation *now)
{
	conversation_json(&op->json, now);
}

struct change_op *
change_new(
    struct chat *c, const char *user, const char *id, change_plan plan, chat_done done, void *arg)
{
	struct change_op *op = xcalloc(1, sizeof(*op));

	op->chat = c;
	str_copy(op->user, sizeof(op->user), user);
	str_copy(op->id, sizeof(op->id), id);
	op->plan = plan;
	op->answer = answer_conversation;
	op->archived = op->is_public = op->history = -1;
	op->done = done;
	op->arg = arg;
	return op;
}

void
change_free(struct change_op *op)
{
	free(op->name);
	free(op->topic);
	free(op->ids);
	store_req_free(&op->users);
	buf_fini(&op->json);
	free(op);
}

void
change_fail(struct change_op *op, int err, const char *pointer, const char *reason)
{
	chat_answer_error(op->done, op->arg, err, pointer, reason);
	change_free(op);
}

static void
change_succeed(struct change_op *op, bool changed)
{
	struct chat_result res = {.created = changed && op->creates, .version = op->answer_version};

	res.json = (const char *)op->json.data;
	res.json_len = op->json.len;
	op->done(op->arg, &res);
	change_free(op);
}

/* ---- for plans ---- */

const struct member *
change_member(const struct conversation *c, const char *user)
{
	for (size_t i = 0; i < c->member_count; i++)
		if (strcmp(c->members[i].user, user) == 0)
			return &c->members[i];
	return NULL;
}

int
change_check(const struct change_op *op, const struct conversation *now, unsigned int action)
{
	const struct member *me = change_member(now, op->user);
	struct role_facts facts = {
	    now->type, now->archived, now->is_public, me ? me->role : ROLE_NONE};

	return role_check(&facts, (enum role_action)action);
}

void
change_tell(struct change_op *op, struct store_req *req, enum event_type type, const char *rest)
{
	struct buf data;

	buf_init(&data);
	buf_printf(&data, "{\"sender_id\":\"%s\",%s}", op->user, rest);
	store_req_add_event(
	    req, event_new(type, op->id, op->user, "", (const char *)data.data, data.len));
	buf_fini(&data);
}

/* Of two changes at one moment the earlier may be numbered later: the version tells. */
void
change_tell_changes(struct change_op *op, const struct conversation *now, struct store_req *req,
    const char *changes)
{
	struct buf rest;

	buf_init(&rest);
	buf_printf(&rest, "\"version\":%llu,\"changes\":{%s}", (unsigned long long)now->version + 1,
	    changes);
	change_tell(op, req, EVENT_CONVERSATION_UPDATED, buf_cstr(&rest));
	buf_fini(&rest);
}

void
change_put_members(struct buf *b, const struct conversation *c)
{
	buf_putc(b, '[');
	for (size_t i = 0; i < c->member_count; i++)
		buf_printf(b, "%s{\"user_id\":\"%s\",\"username\":\"%s\",\"role\":\"%s\"}",
		    i ? "," : "", c->members[i].user, c->members[i].username,
		    member_role_name(c->members[i].role));
	buf_putc(b, ']');
}

/* ---- the steps ---- */

/*
 * The change is written whatever became of its event, so that is the answer; the pipeline
 * goes on trying, and after the end of this process the outbox does (outbox.c).
 */
static void
told(void *arg, const struct chat_result *res)
{
	struct change_op *op = arg;

	if (res->err)
		log_warn(
		    "conversation.event_failed", "conv=%s err=%s", op->id, error_code(res->err));
	change_succeed(op, true);
}

static void
written(struct store_req *req)
{
	struct change_op *op = req->arg;
	struct chat *c = op->chat;

	if (req->err == ERR_CONFLICT && ++op->tries < TRIES_MAX) {
		read_now(op);
	} else if (req->err) {
		change_fail(op, req->err, NULL, NULL);
	} else {
		op->answer_version = req->conversations[0]->version;
		op->answer(op, req->conversations[0]);
		for (size_t i = 0; i < req->event_count; i++) {
			bool last = i + 1 == req->event_count;

			send_event(
			    c, event_ref(req->events[i]), last ? told : NULL, last ? op : NULL);
		}
	}
	store_req_free(&req);
}

static struct store_req *
change_req(struct change_op *op, const struct conversation *now)
{
	struct store_req *req = store_req_new(STORE_CONVERSATION_CHANGE, written, op);

	str_copy(req->id, sizeof(req->id), op->id);
	req->after = now->version;
	req->now_ms = clock_wall_ms();
	req->conversation = conversation_new();
	*req->conversation = *now;
	req->conversation->members = NULL;
	req->conversation->member_count = 0;
	return req;
}

static void
make_plan(struct change_op *op, const struct conversation *now)
{
	struct store_req *req = change_req(op, now);
	int err = op->plan(op, now, req);

	if (!err && op->version && op->version != now->version)
		err = ERR_PRECONDITION_FAILED; /* who may not change it learns that first */
	if (err) {
		change_fail(op, err, op->pointer, op->reason);
	} else if (req->event_count) {
		chat_store(op->chat, req);
		return;
	} else {
		op->answer_version = now->version;
		op->answer(op, now);
		change_succeed(op, false);
	}
	store_req_free(&req);
}

/* The head was read before the conversation is: who joins sees what follows his joining. */
static void
head_read(void *arg, const struct range *r)
{
	struct change_op *op = arg;

	if (r->err) {
		change_fail(op, r->err, NULL, NULL);
		return;
	}
	op->head_known = true;
	op->head = r->count ? r->events[r->count - 1]->seq : 0;
	read_now(op);
}

static void
now_read(struct store_req *req)
{
	struct change_op *op = req->arg;

	if (req->err)
		change_fail(op, req->err, NULL, NULL);
	else if (op->ids && req->conversations[0]->history == HISTORY_JOINED && !op->head_known)
		range_before(op->chat, op->id, 0, 0, 1, head_read, op);
	else
		make_plan(op, req->conversations[0]);
	store_req_free(&req);
}

static void
read_now(struct change_op *op)
{
	struct store_req *req = store_req_new(STORE_CONVERSATION_GET, now_read, op);

	str_copy(req->id, sizeof(req->id), op->id);
	chat_store(op->chat, req);
}

static void
users_read(struct store_req *req)
{
	struct change_op *op = req->arg;

	if (!req->err) {
		op->pointer = NULL;
		op->users = req;
		read_now(op);
		return;
	}
	if (req->err == ERR_NOT_FOUND)
		change_fail(op, ERR_INVALID_FIELD, op->pointer, "no_such_user");
	else
		change_fail(op, req->err, NULL, NULL);
	store_req_free(&req);
}

void
change_start(struct change_op *op, const char *users_pointer)
{
	struct store_req *req;

	if (!op->ids) {
		read_now(op);
		return;
	}
	op->pointer = users_pointer;
	req = store_req_new(STORE_USERS_BY_ID, users_read, op);
	req->ids = xcalloc(op->id_count, sizeof(*req->ids));
	memcpy(req->ids, op->ids, op->id_count * sizeof(*req->ids));
	req->id_count = op->id_count;
	chat_store(op->chat, req);
}
