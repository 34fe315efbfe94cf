/* SPDX-License-Identifier: ISC */
/*
 * history: pages of a conversation, and sync: everything that followed what a
 * client has.  Both read through range.h.  Worker, loop thread.
 */
#include <stdlib.h>
#include <string.h>

#include "chat/chat_int.h"
#include "chat/range.h"
#include "chat/tally.h"

#define SYNC_BYTES (512 * 1024) /* after which a sync ends, with more: true */
/*
 * Answers that are being put together take memory, so who asks again and again without
 * waiting for them is refused: so many at once for all clients of a user at this worker.
 */
#define SYNCS_A_USER 8

static void
put_event(struct buf *b, const struct range *r, size_t i, bool comma)
{
	if (comma)
		buf_putc(b, ',');
	message_envelope(b, r->events[i], r->states[i]);
}

static void
put_events(struct buf *b, const struct range *r, bool comma)
{
	for (size_t i = 0; i < r->count; i++)
		put_event(b, r, i, comma || i);
}

/* Where a member whose history begins at since begins to read. */
static uint64_t
seen_from(uint64_t after, uint64_t since)
{
	return after > since ? after : since;
}

/* ---- one page ---- */

struct page_op {
	struct chat *chat;
	struct chat_page page;
	char conversation[ID_MAX];
	uint64_t since; /* the member sees nothing up to here */
	struct buf json;
	size_t count;
	bool more;
	chat_done done;
	void *arg;
};

static void
page_end(struct page_op *op, int err)
{
	if (err) {
		chat_answer_error(op->done, op->arg, err, NULL, NULL);
	} else {
		buf_printf(&op->json, "],\"has_more\":%s}", op->more ? "true" : "false");
		chat_answer_json(op->done, op->arg, false, &op->json);
	}
	buf_fini(&op->json);
	free(op);
}

static void
page_last_part(void *arg, const struct range *r)
{
	struct page_op *op = arg;

	put_events(&op->json, r, op->count > 0);
	op->more = op->more || r->more;
	page_end(op, r->err);
}

/* The half up to and with the number in the middle is there; now those after it. */
static void
page_first_half(void *arg, const struct range *r)
{
	struct page_op *op = arg;

	if (r->err) {
		page_end(op, r->err);
		return;
	}
	put_events(&op->json, r, false);
	op->count = r->count;
	op->more = r->more;
	range_after(op->chat, op->conversation, seen_from(op->page.around, op->since),
	    op->page.limit / 2, page_last_part, op);
}

static void
page_read(struct page_op *op)
{
	struct chat *c = op->chat;
	size_t limit = op->page.limit;

	buf_puts(&op->json, "{\"items\":[");
	if (op->page.around)
		range_before(c, op->conversation, op->since, op->page.around + 1, limit - limit / 2,
		    limit > 1 ? page_first_half : page_last_part, op);
	else if (op->page.has_after)
		range_after(c, op->conversation, seen_from(op->page.after, op->since), limit,
		    page_last_part, op);
	else
		range_before(
		    c, op->conversation, op->since, op->page.before, limit, page_last_part, op);
}

static void
page_member_checked(struct store_req *req)
{
	struct page_op *op = req->arg;

	if (req->err) {
		page_end(op, req->err);
	} else {
		op->since = req->memberships[0].since;
		page_read(op);
	}
	store_req_free(&req);
}

void
chat_history(
    struct chat *c, const char *user, const struct chat_page *in, chat_done done, void *arg)
{
	struct page_op *op;

	if (!id_valid(in->conversation, "cnv")) {
		chat_answer_error(done, arg, ERR_NOT_FOUND, NULL, NULL);
		return;
	}
	op = xcalloc(1, sizeof(*op));
	op->chat = c;
	op->page = *in;
	str_copy(op->conversation, sizeof(op->conversation), in->conversation);
	op->done = done;
	op->arg = arg;
	chat_check_member(c, in->conversation, user, page_member_checked, op);
}

/* ---- sync ---- */

struct sync_op {
	struct chat *chat;
	struct tally *tally;
	struct chat_sync_entry *entries;
	size_t count, next;
	size_t left; /* events that may still go into the answer */
	struct buf events, gone;
	bool more;
	chat_done done;
	void *arg;
};

static void sync_go_on(struct sync_op *op);

static void
sync_end(struct sync_op *op, int err)
{
	struct buf json;

	if (err) {
		chat_answer_error(op->done, op->arg, err, NULL, NULL);
	} else {
		buf_init(&json);
		buf_printf(&json, "{\"events\":[%s],", buf_cstr(&op->events));
		buf_printf(&json, "\"more\":%s,\"gone\":[%s]}", op->more ? "true" : "false",
		    buf_cstr(&op->gone));
		chat_answer_json(op->done, op->arg, false, &json);
		buf_fini(&json);
	}
	tally_leave(&op->chat->syncing, &op->tally);
	buf_fini(&op->events);
	buf_fini(&op->gone);
	free(op->entries);
	free(op);
}

static void
sync_part(void *arg, const struct range *r)
{
	struct sync_op *op = arg;
	size_t i;

	if (r->err) {
		sync_end(op, r->err);
		return;
	}
	for (i = 0; i < r->count && op->events.len < SYNC_BYTES; i++)
		put_event(&op->events, r, i, op->events.len > 0);
	op->left = op->events.len < SYNC_BYTES ? op->left - r->count : 0;
	op->more = op->more || r->more || i < r->count;
	op->next++;
	sync_go_on(op);
}

static void
sync_go_on(struct sync_op *op)
{
	while (op->next < op->count && room_is_at(op->chat, op->entries[op->next].conversation,
					   op->entries[op->next].after))
		op->next++;
	if (op->next == op->count || op->left == 0) {
		op->more = op->more || op->next < op->count;
		sync_end(op, 0);
		return;
	}
	range_after(op->chat, op->entries[op->next].conversation, op->entries[op->next].after,
	    op->left < STORE_PAGE_MAX ? op->left : STORE_PAGE_MAX, sync_part, op);
}

static const struct membership *
find_membership(const struct store_req *req, const char *conversation)
{
	for (size_t i = 0; i < req->membership_count; i++)
		if (strcmp(req->memberships[i].conversation, conversation) == 0)
			return &req->memberships[i];
	return NULL;
}

/* Takes conversations out that the user is not in, and lets the others begin where he may. */
static void
sync_drop_foreign(struct sync_op *op, const struct store_req *req)
{
	size_t kept = 0;

	for (size_t i = 0; i < op->count; i++) {
		const struct membership *m = find_membership(req, op->entries[i].conversation);

		if (m)
			op->entries[i].after = seen_from(op->entries[i].after, m->since);
		if (m)
			op->entries[kept++] = op->entries[i];
		else
			buf_printf(&op->gone, "%s\"%s\"", op->gone.len ? "," : "",
			    op->entries[i].conversation);
	}
	op->count = kept;
}

static void
sync_memberships(struct store_req *req)
{
	struct sync_op *op = req->arg;

	if (req->err) {
		sync_end(op, req->err);
	} else {
		sync_drop_foreign(op, req);
		sync_go_on(op);
	}
	store_req_free(&req);
}

void
chat_sync(struct chat *c, const char *user, const struct chat_sync_entry *entries, size_t count,
    size_t limit, chat_done done, void *arg)
{
	struct tally *tally = tally_enter(&c->syncing, user, SYNCS_A_USER);
	struct store_req *req;
	struct sync_op *op;

	if (!tally) {
		chat_answer_error(done, arg, ERR_RATE_LIMITED, NULL, NULL);
		return;
	}
	op = xcalloc(1, sizeof(*op));
	op->chat = c;
	op->tally = tally;
	op->entries = xcalloc(count + 1, sizeof(*entries));
	memcpy(op->entries, entries, count * sizeof(*entries));
	op->count = count;
	op->left = limit;
	op->done = done;
	op->arg = arg;
	req = store_req_new(STORE_MEMBERSHIPS, sync_memberships, op);
	str_copy(req->id, sizeof(req->id), user);
	chat_store(c, req);
}
