/* SPDX-License-Identifier: ISC */
/*
 * invitations: what palaverctl does with them.  Worker, loop thread.  A code is shown once,
 * when it is made: the store has its hash alone.
 */
#include <stdlib.h>
#include <string.h>

#include "chat/chat_int.h"

#define CODE_BYTES 15 /* 120 bits, 20 characters */
#define CODE_TEXT  24
#define DAY_MS     86400000LL

struct invite_op {
	char code[CODE_TEXT];
	struct invitation invitation;
	chat_done done;
	void *arg;
};

static struct invite_op *
op_new(chat_done done, void *arg)
{
	struct invite_op *op = xcalloc(1, sizeof(*op));

	op->done = done;
	op->arg = arg;
	return op;
}

/* Answers with what is in json or the error of the request, and ends both. */
static void
op_end(struct invite_op *op, struct store_req *req, const struct buf *json)
{
	if (req->err)
		chat_answer_error(op->done, op->arg, req->err, NULL, NULL);
	else
		chat_answer_json(op->done, op->arg, req->op == STORE_INVITATION_CREATE, json);
	explicit_bzero(op->code, sizeof(op->code));
	free(op);
	store_req_free(&req);
}

static void
created(struct store_req *req)
{
	struct invite_op *op = req->arg;
	struct buf json;

	buf_init(&json);
	buf_printf(&json, "{\"code\":\"%s\",\"invitation\":", op->code);
	invitation_json(&json, &op->invitation);
	buf_putc(&json, '}');
	op_end(op, req, &json);
	buf_fini(&json);
}

static const char *
invite_fault(const struct chat_invite *in, const char **reason_r)
{
	*reason_r = "out_of_range";
	if (in->uses < 1 || in->uses > CHAT_INVITE_USES_MAX)
		return "/uses";
	if (in->days < 1 || in->days > CHAT_INVITE_DAYS_MAX)
		return "/days";
	*reason_r = "too_long";
	return strlen(in->note) > INVITATION_NOTE_MAX ? "/note" : NULL;
}

void
chat_invitation_add(struct chat *c, const struct chat_invite *in, chat_done done, void *arg)
{
	const char *reason, *pointer = invite_fault(in, &reason);
	struct invitation *inv;
	struct store_req *req;
	struct invite_op *op;

	if (pointer) {
		chat_answer_error(done, arg, ERR_INVALID_FIELD, pointer, reason);
		return;
	}
	op = op_new(done, arg);
	inv = &op->invitation;
	random_token(op->code, CODE_BYTES);
	token_hash(inv->code_hash, op->code);
	id_new(inv->id, "inv");
	inv->uses_left = (uint64_t)in->uses;
	inv->created_ms = clock_wall_ms();
	inv->expires_ms = inv->created_ms + in->days * DAY_MS;
	str_copy(inv->note, sizeof(inv->note), in->note);
	req = store_req_new(STORE_INVITATION_CREATE, created, op);
	req->invitation = *inv;
	chat_store(c, req);
}

static void
listed(struct store_req *req)
{
	size_t n = req->invitation_count;
	struct buf json;

	buf_init(&json);
	buf_puts(&json, "{\"invitations\":[");
	for (size_t i = 0; i < req->invitation_count; i++) {
		if (i)
			buf_putc(&json, ',');
		invitation_json(&json, &req->invitations[i]);
	}
	chat_page_end(&json, n && n == req->limit ? req->invitations[n - 1].id : NULL);
	op_end(req->arg, req, &json);
	buf_fini(&json);
}

void
chat_invitation_list(struct chat *c, const char *cursor, size_t limit, chat_done done, void *arg)
{
	struct store_req *req = store_req_new(STORE_INVITATION_LIST, listed, op_new(done, arg));

	req->cursor = xstrdup(cursor);
	req->limit = limit;
	chat_store(c, req);
}

static void
removed(struct store_req *req)
{
	struct buf json;

	buf_init(&json);
	buf_puts(&json, "{}");
	op_end(req->arg, req, &json);
	buf_fini(&json);
}

void
chat_invitation_remove(struct chat *c, const char *id, chat_done done, void *arg)
{
	struct store_req *req;

	if (!id_valid(id, "inv")) {
		chat_answer_error(done, arg, ERR_NOT_FOUND, "/id", "no_such_invitation");
		return;
	}
	req = store_req_new(STORE_INVITATION_DELETE, removed, op_new(done, arg));
	str_copy(req->id, sizeof(req->id), id);
	chat_store(c, req);
}
