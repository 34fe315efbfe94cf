/* SPDX-License-Identifier: ISC */
/*
 * account: sign-up, and what the administrator does to accounts.  Worker, loop thread.
 */
#include "chat/account.h"

#include <stdlib.h>
#include <string.h>

/* What a client says of itself is shown to people: plain ASCII only. */
static void
copy_plain(char *dst, size_t size, const char *src)
{
	str_copy(dst, size, src ? src : "");
	for (; *dst; dst++)
		if (*dst < 0x20 || *dst > 0x7e)
			*dst = '?';
}

struct account_op *
account_op_new(
    struct chat *c, const char *secret, const struct chat_origin *from, chat_done done, void *arg)
{
	struct account_op *op = xcalloc(1, sizeof(*op));

	op->chat = c;
	op->secret = xstrdup(secret);
	op->done = done;
	op->arg = arg;
	if (from) {
		op->limited = from->limited;
		copy_plain(op->session.address, sizeof(op->session.address), from->address);
		copy_plain(op->session.agent, sizeof(op->session.agent), from->agent);
	}
	return op;
}

void
account_op_free(struct account_op *op)
{
	if (op->secret)
		explicit_bzero(op->secret, strlen(op->secret));
	if (op->new_password)
		explicit_bzero(op->new_password, strlen(op->new_password));
	free(op->new_password);
	free(op->secret);
	explicit_bzero(op->refresh, sizeof(op->refresh));
	free(op);
}

void
account_op_fail(struct account_op *op, int err, const char *pointer, const char *reason)
{
	chat_answer_error(op->done, op->arg, err, pointer, reason);
	account_op_free(op);
}

void
account_op_slow(struct account_op *op, int err, int64_t retry_after)
{
	struct chat_result res = {.err = err, .retry_after = retry_after};

	op->done(op->arg, &res);
	account_op_free(op);
}

static const char *
limited_address(const struct account_op *op)
{
	return op->limited ? op->session.address : "";
}

void
account_check_password(struct account_op *op, const char *name, guard_cb cb)
{
	struct guard_subject s = {name, op->user.id, limited_address(op)};

	guard_check_password(op->chat, &s, op->secret, op->user.password, cb, op);
}

void
account_op_answer(struct account_op *op, bool created, const struct buf *json)
{
	chat_answer_json(op->done, op->arg, created, json);
	account_op_free(op);
}

void
account_ending(struct account_op *op, struct store_req *req, enum session_end why)
{
	req->now_ms = clock_wall_ms();
	req->until_ms = revocation_until(op->chat);
	req->why = why;
}

void
account_answer_text(struct store_req *req, const char *text)
{
	struct account_op *op = req->arg;
	struct buf json;

	sessions_ended(op->chat, req->revocations, req->revocation_count);
	if (req->err) {
		account_op_fail(op, req->err, NULL, NULL);
	} else {
		buf_init(&json);
		buf_puts(&json, text);
		account_op_answer(op, false, &json);
		buf_fini(&json);
	}
	store_req_free(&req);
}

void
account_answer_empty(struct store_req *req)
{
	account_answer_text(req, "{}");
}

/* ---- sign-up ---- */

static void
user_made(struct store_req *req)
{
	struct account_op *op = req->arg;
	struct buf json;

	if (req->err) {
		account_op_fail(
		    op, req->err, req->err == ERR_USERNAME_TAKEN ? "/username" : NULL, "taken");
	} else if (op->by_admin) {
		buf_init(&json);
		buf_puts(&json, "{\"user\":");
		user_json(&json, &op->user, USER_ADMIN);
		buf_putc(&json, '}');
		account_op_answer(op, true, &json);
		buf_fini(&json);
	} else {
		session_create(op);
	}
	store_req_free(&req);
}

static void
signup_hashed(void *arg, const char *hash)
{
	struct account_op *op = arg;
	struct store_req *req;

	if (!hash) {
		account_op_fail(op, ERR_INTERNAL, NULL, NULL);
		return;
	}
	str_copy(op->user.password, sizeof(op->user.password), hash);
	id_new(op->user.id, "usr");
	op->user.created_ms = clock_wall_ms();
	req = store_req_new(STORE_USER_CREATE, user_made, op);
	req->user = op->user;
	req->flag = op->invited;
	req->now_ms = op->user.created_ms;
	memcpy(req->invitation.code_hash, op->invitation, TOKEN_HASH);
	chat_store(op->chat, req);
}

const char *
password_fault(const char *password, const char *pointer, const char **reason_r)
{
	size_t len = strlen(password);

	*reason_r = len < PASSWORD_MIN ? "too_short" : "too_long";
	return len < PASSWORD_MIN || len > PASSWORD_MAX ? pointer : NULL;
}

static const char *
signup_fault(struct user *u, const struct chat_signup *in, const char **reason_r)
{
	const char *name = in->name ? in->name : in->username;

	*reason_r = "invalid";
	if (!username_normalize(u->username, in->username))
		return "/username";
	*reason_r = "too_long";
	if (!str_copy(u->name, sizeof(u->name), name))
		return "/name";
	*reason_r = "empty";
	if (!*name)
		return "/name";
	return password_fault(in->password, "/password", reason_r);
}

static void
signup_admitted(void *arg, int err, int64_t retry_after)
{
	struct account_op *op = arg;

	if (!err)
		err = password_hash(
		    op->chat->passwords, op->secret, op->chat->opts.hash_cost, signup_hashed, op);
	if (err)
		account_op_slow(op, err, retry_after);
}

void
chat_signup(struct chat *c, const struct chat_signup *in, chat_done done, void *arg)
{
	struct account_op *op = account_op_new(c, in->password, in->from, done, arg);
	const char *reason, *pointer = signup_fault(&op->user, in, &reason);

	op->by_admin = in->by_admin;
	op->created = true;
	op->invited = c->opts.signup == SIGNUP_INVITE && !in->by_admin;
	if (c->opts.signup == SIGNUP_CLOSED && !in->by_admin) {
		account_op_fail(op, ERR_SIGNUP_CLOSED, NULL, NULL);
		return;
	}
	if (op->invited && !in->invitation) {
		account_op_fail(op, ERR_INVALID_FIELD, "/invitation", "required");
		return;
	}
	if (op->invited)
		token_hash(op->invitation, in->invitation);
	if (pointer) {
		account_op_fail(op, ERR_INVALID_FIELD, pointer, reason);
		return;
	}
	guard_signup(c, limited_address(op), signup_admitted, op);
}

/* ---- by the administrator: the user is named by username ---- */

static void
set_on_user(struct store_req *found, enum store_op what, const char *hash, bool flag)
{
	struct account_op *op = found->arg;
	struct store_req *req = store_req_new(what, account_answer_empty, op);

	str_copy(req->id, sizeof(req->id), op->user.id);
	account_ending(op, req,
	    what == STORE_USER_SET_LOCKED ? SESSION_USER_LOCKED : SESSION_PASSWORD_CHANGED);
	req->text = xstrdup(hash);
	req->flag = flag;
	chat_store(op->chat, req);
}

static void
new_password_hashed(void *arg, const char *hash)
{
	struct store_req *found = arg;

	if (hash)
		set_on_user(found, STORE_USER_SET_PASSWORD, hash, false);
	else
		account_op_fail(found->arg, ERR_INTERNAL, NULL, NULL);
	store_req_free(&found);
}

static void
password_user_found(struct store_req *req)
{
	struct account_op *op = req->arg;
	int err = req->err;

	if (!err) {
		op->user = req->users[0];
		err = password_hash(op->chat->passwords, op->secret, op->chat->opts.hash_cost,
		    new_password_hashed, req);
	}
	if (err) {
		account_op_fail(op, err, NULL, NULL);
		store_req_free(&req);
	}
}

static void
lock_user_found(struct store_req *req)
{
	struct account_op *op = req->arg;

	if (req->err) {
		account_op_fail(op, req->err, NULL, NULL);
	} else {
		str_copy(op->user.id, sizeof(op->user.id), req->users[0].id);
		set_on_user(req, STORE_USER_SET_LOCKED, NULL, op->lock);
	}
	store_req_free(&req);
}

void
account_find_user(struct account_op *op, const char *username, void (*found)(struct store_req *))
{
	char name[USERNAME_MAX + 1];
	struct store_req *req;

	if (!username_normalize(name, username)) {
		account_op_fail(op, ERR_NOT_FOUND, "/username", "no_such_user");
		return;
	}
	req = store_req_new(STORE_USER_BY_USERNAME, found, op);
	req->text = xstrdup(name);
	chat_store(op->chat, req);
}

void
chat_user_set_password(
    struct chat *c, const char *username, const char *password, chat_done done, void *arg)
{
	const char *reason, *pointer = password_fault(password, "/password", &reason);

	if (pointer)
		chat_answer_error(done, arg, ERR_INVALID_FIELD, pointer, reason);
	else
		account_find_user(
		    account_op_new(c, password, NULL, done, arg), username, password_user_found);
}

void
chat_user_set_locked(struct chat *c, const char *username, bool locked, chat_done done, void *arg)
{
	struct account_op *op = account_op_new(c, NULL, NULL, done, arg);

	op->lock = locked;
	account_find_user(op, username, lock_user_found);
}
