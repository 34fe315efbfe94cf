/* SPDX-License-Identifier: ISC */
/*
 * files: uploading, reading and deleting them; and who may.  Worker, loop thread.
 *
 *	chat_upload_begin, _data   the bytes go into store/content.h as they come
 *	chat_upload_end            the row is written, then the content gets its name; so a
 *	                           content without a row cannot be, whatever dies when, and a
 *	                           row without a content is swept like a file that nobody wants
 *
 * A send claims its files (send.c); the archiver attaches them, and removes those that no
 * message has (archiver/sweep.c).
 */
#include <stdlib.h>
#include <string.h>

#include "chat/chat_int.h"
#include "chat/present.h"
#include "chat/tally.h"
#include "lib/clock.h"

/* ---- uploading ---- */

struct chat_upload {
	struct chat *chat;
	struct file file;
	struct content_writer *writer;
	const struct chat_upload_ops *ops;
	void *arg;
	struct tally *tally;
	bool ending;  /* the row is being written, or the content gets its name */
	bool has_row; /* of an upload that is not complete */
	bool gone;    /* nobody waits for the answer */
};

static struct store_req *
file_req(enum store_op op, void (*done)(struct store_req *), void *arg, const char *id)
{
	struct store_req *req = store_req_new(op, done, arg);

	str_copy(req->id, sizeof(req->id), id);
	return req;
}

static void
row_forgotten(struct store_req *req)
{
	store_req_free(&req);
}

/* Of an upload that came to nothing; if this fails it is swept later. */
static void
forget_row(struct chat_upload *u)
{
	struct store_req *req = file_req(STORE_FILE_DELETE, row_forgotten, NULL, u->file.id);

	str_copy(req->user_id, sizeof(req->user_id), u->file.owner);
	chat_store(u->chat, req);
}

static void
upload_free(struct chat_upload *u)
{
	if (u->has_row)
		forget_row(u);
	content_writer_close(&u->writer);
	tally_leave(&u->chat->uploading, &u->tally);
	free(u);
}

static void
upload_fail(struct chat_upload *u, int err)
{
	chat_answer_error(u->ops->done, u->arg, err, NULL, NULL);
	upload_free(u);
}

struct chat_upload *
chat_upload_begin(struct chat *c, const char *user, const char *name, const char *type,
    const struct chat_upload_ops *ops, void *arg)
{
	struct chat_upload *u;
	struct tally *tally;
	struct file f = {.size = 0};
	const char *pointer = NULL;

	if (!file_name_valid(name))
		pointer = "/name";
	else if (!file_type_parse(type, f.type))
		pointer = "/type";
	if (pointer || !c->opts.file_max) {
		chat_answer_error(ops->done, arg, pointer ? ERR_INVALID_FIELD : ERR_FORBIDDEN,
		    pointer, pointer ? "invalid" : NULL);
		return NULL;
	}
	tally = tally_enter(&c->uploading, user, CHAT_UPLOADS);
	if (!tally) {
		chat_answer_error(ops->done, arg, ERR_RATE_LIMITED, NULL, NULL);
		return NULL;
	}
	id_new(f.id, "fil");
	str_copy(f.owner, sizeof(f.owner), user);
	str_copy(f.name, sizeof(f.name), name);
	u = xcalloc(1, sizeof(*u));
	u->chat = c;
	u->tally = tally;
	u->file = f;
	u->writer = content_create(c->content, f.id);
	u->ops = ops;
	u->arg = arg;
	return u;
}

size_t
chat_upload_max(const struct chat *c)
{
	return c->opts.file_max;
}

static void
written(void *arg, int err)
{
	struct chat_upload *u = arg;

	if (err)
		upload_fail(u, err);
	else
		u->ops->more(u->arg);
}

void
chat_upload_data(struct chat_upload *u, struct buf *b)
{
	int err;

	u->file.size += (int64_t)b->len;
	err = content_write(u->writer, b, written, u);
	if (err < 0)
		upload_fail(u, err);
}

static void
committed(void *arg, int err)
{
	struct chat_upload *u = arg;
	struct buf json;

	if (u->gone) { /* what has its name by now is swept with its row */
		upload_free(u);
		return;
	}
	if (err) {
		upload_fail(u, err);
		return;
	}
	u->has_row = false;
	buf_init(&json);
	file_put_json(&json, &u->file);
	chat_answer_json(u->ops->done, u->arg, true, &json);
	buf_fini(&json);
	upload_free(u);
}

static void
stored(struct store_req *req)
{
	struct chat_upload *u = req->arg;
	int err = req->err;

	store_req_free(&req);
	u->has_row = !err;
	if (u->gone) {
		upload_free(u);
		return;
	}
	if (!err)
		err = content_commit(u->writer, committed, u);
	if (err < 0)
		upload_fail(u, err);
}

void
chat_upload_end(struct chat_upload *u)
{
	struct store_req *req = store_req_new(STORE_FILE_CREATE, stored, u);

	u->file.created_ms = clock_wall_ms(); /* files.keep counts from here */
	req->file = u->file;
	req->quota = u->chat->opts.file_quota;
	u->ending = true;
	chat_store(u->chat, req);
}

void
chat_upload_abort(struct chat_upload *u)
{
	u->gone = true;
	if (!u->ending)
		upload_free(u);
}

/* ---- who may read it ---- */

struct file_op {
	struct chat *chat;
	char user[ID_MAX];
	struct file file;
	uint64_t seq; /* of the message that has it */
	chat_file_cb cb;
	void *arg;
};

static void
find_end(struct file_op *op, int err)
{
	op->cb(op->arg, err, err ? NULL : &op->file);
	free(op);
}

static bool
is_owner(const struct file_op *op)
{
	return strcmp(op->file.owner, op->user) == 0;
}

static void
member_checked(struct store_req *req)
{
	struct file_op *op = req->arg;
	int err = req->err;

	if (!err && op->seq <= req->memberships[0].since)
		err = ERR_NOT_FOUND;
	store_req_free(&req);
	find_end(op, err);
}

/* A claimed file's message may not be there yet: it is the owner's alone as long. */
static void
message_found(void *arg, const struct present *p)
{
	struct file_op *op = arg;

	if (p->err == ERR_NOT_FOUND && is_owner(op)) {
		find_end(op, 0);
	} else if (p->err) {
		find_end(op, p->err);
	} else if (p->state->deleted_seq) {
		find_end(op, ERR_NOT_FOUND);
	} else if (is_owner(op)) {
		find_end(op, 0);
	} else {
		op->seq = p->message->seq;
		chat_check_member(op->chat, p->message->conversation, op->user, member_checked, op);
	}
}

static void
row_found(struct store_req *req)
{
	struct file_op *op = req->arg;
	int err = req->err;

	if (!err)
		op->file = req->files[0];
	store_req_free(&req);
	if (!err && op->file.state != FILE_LOOSE)
		present_find(op->chat, op->file.message, message_found, op);
	else
		find_end(op, !err && !is_owner(op) ? ERR_NOT_FOUND : err);
}

void
chat_file_find(struct chat *c, const char *user, const char *id, chat_file_cb cb, void *arg)
{
	struct file_op *op;

	if (!id_valid(id, "fil")) {
		cb(arg, ERR_NOT_FOUND, NULL);
		return;
	}
	op = xcalloc(1, sizeof(*op));
	op->chat = c;
	str_copy(op->user, sizeof(op->user), user);
	op->cb = cb;
	op->arg = arg;
	chat_store(c, file_req(STORE_FILE_GET, row_found, op, id));
}

struct content_reader *
chat_file_open(struct chat *c, const char *id)
{
	return content_reader_open(c->content, id);
}

int
chat_file_read(struct content_reader *r, uint64_t offset, size_t len, content_read_cb cb, void *arg)
{
	return content_read(r, offset, len, cb, arg);
}

void
chat_file_close(struct content_reader **r)
{
	content_reader_close(r);
}

/* ---- what is known of it; deleting ---- */

struct answer_op {
	chat_done done;
	void *arg;
};

static struct answer_op *
answer_op_new(chat_done done, void *arg)
{
	struct answer_op *op = xcalloc(1, sizeof(*op));

	op->done = done;
	op->arg = arg;
	return op;
}

static void
put_details(struct buf *b, const struct file *f)
{
	char when[CLOCK_TEXT_MAX];

	clock_format(f->created_ms, when);
	file_put_json(b, f);
	b->len--; /* the closing brace */
	buf_printf(b, ",\"owner_id\":\"%s\",\"created_at\":\"%s\",", f->owner, when);
	if (f->state == FILE_LOOSE)
		buf_puts(b, "\"conversation_id\":null,\"message_id\":null}");
	else
		buf_printf(b, "\"conversation_id\":\"%s\",\"message_id\":\"%s\"}", f->conversation,
		    f->message);
}

static void
got(void *arg, int err, const struct file *f)
{
	struct answer_op *op = arg;
	struct buf json;

	buf_init(&json);
	if (!err)
		put_details(&json, f);
	if (err)
		chat_answer_error(op->done, op->arg, err, NULL, NULL);
	else
		chat_answer_json(op->done, op->arg, false, &json);
	buf_fini(&json);
	free(op);
}

void
chat_file_get(struct chat *c, const char *user, const char *id, chat_done done, void *arg)
{
	chat_file_find(c, user, id, got, answer_op_new(done, arg));
}

static void
deleted(struct store_req *req)
{
	struct answer_op *op = req->arg;
	struct chat_result res = {.err = req->err == ERR_CONFLICT ? ERR_FILE_IN_USE : req->err};

	store_req_free(&req);
	op->done(op->arg, &res);
	free(op);
}

void
chat_file_delete(struct chat *c, const char *user, const char *id, chat_done done, void *arg)
{
	struct store_req *req;

	if (!id_valid(id, "fil")) {
		chat_answer_error(done, arg, ERR_NOT_FOUND, NULL, NULL);
		return;
	}
	req = file_req(STORE_FILE_DELETE, deleted, answer_op_new(done, arg), id);
	str_copy(req->user_id, sizeof(req->user_id), user);
	chat_store(c, req);
}
