/* SPDX-License-Identifier: ISC */
/*
 * guard: see guard.h.  Worker, loop thread.
 *
 * Keys of the counters: ga, gu: failures of an address, an account; pa, pu: their pauses, each a
 * counter whose window is the pause; gs: sign-ups of an address.
 *
 * An attempt: look at the pauses, hash, and then, if the password was right, look at the pauses
 * again; if it was wrong, count the failure and begin the pauses that follow from it.
 */
#include "chat/guard.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "chat/chat_int.h"
#include "lib/address.h"

#define GUARD_KEY_MAX 80
#define ACCOUNT_MAX   40 /* a username, or an id */

int64_t
guard_pause(uint64_t failures, uint64_t limit, int64_t longest)
{
	int64_t pause = GUARD_PAUSE_MS;

	if (!limit || failures < limit)
		return 0;
	for (uint64_t n = limit; n < failures && pause < longest; n++)
		pause *= 2;
	return pause < longest ? pause : longest;
}

struct guard_op {
	struct chat *chat;
	char account[ACCOUNT_MAX];
	char user[ID_MAX];
	char block[ADDRESS_BLOCK_MAX]; /* "": unknown */
	char password[PASSWORD_MAX + 1];
	char hash[PASSWORD_HASH];
	bool right, hashed;
	int64_t pause; /* ms that are left of one in which this attempt is */
	void (*next)(struct guard_op *op, uint64_t count, int64_t left_ms);
	guard_cb cb;
	void *arg;
};

/* ---- steps ---- */

static void
op_end(struct guard_op *op, int err, int64_t left_ms)
{
	bool slowed = err == ERR_RATE_LIMITED;

	op->chat->stats.slowed += slowed;
	op->cb(op->arg, err, slowed ? (left_ms + 999) / 1000 : 0);
	explicit_bzero(op->password, sizeof(op->password));
	free(op);
}

static void
counted(void *arg, int err, uint64_t count, int64_t left_ms)
{
	struct guard_op *op = arg;

	op->next(op, err ? 0 : count, err ? 0 : left_ms);
}

static void
count(struct guard_op *op, const char *kind, const char *what, uint64_t add, int64_t window,
    void (*next)(struct guard_op *, uint64_t, int64_t))
{
	char key[GUARD_KEY_MAX];

	snprintf(key, sizeof(key), "%s:%s", kind, what);
	op->next = next;
	if (bus_count(op->chat->bus, key, add, window, counted, op) < 0)
		next(op, 0, 0);
}

/* ---- is there a pause? ---- */

static void hash_or_end(struct guard_op *op);

/* Has the user a session at this address?  A session's address is its last one. */
static bool
at_home(const struct guard_op *op, const struct store_req *req)
{
	char block[ADDRESS_BLOCK_MAX];

	for (size_t i = 0; op->block[0] && i < req->session_count; i++)
		if (address_block(req->sessions[i].address, block) && strcmp(block, op->block) == 0)
			return true;
	return false;
}

static void
sessions_listed(struct store_req *req)
{
	struct guard_op *op = req->arg;

	if (!req->err && at_home(op, req))
		op->pause = 0;
	if (op->pause)
		op_end(op, ERR_RATE_LIMITED, op->pause);
	else
		hash_or_end(op);
	store_req_free(&req);
}

/* The pause is the account's.  Asked of nobody's sessions as well: it takes as long. */
static void
ask_sessions(struct guard_op *op)
{
	struct store_req *req = store_req_new(STORE_SESSION_LIST, sessions_listed, op);

	str_copy(req->id, sizeof(req->id), op->user);
	req->now_ms = clock_wall_ms();
	req->limit = STORE_PAGE_MAX;
	chat_store(op->chat, req);
}

static void
account_seen(struct guard_op *op, uint64_t n, int64_t left_ms)
{
	op->pause = n ? left_ms : 0;
	if (op->pause)
		ask_sessions(op);
	else
		hash_or_end(op);
}

static void
look_at_account(struct guard_op *op)
{
	if (op->chat->opts.lockout_account)
		count(op, "pu", op->account, 0, GUARD_PAUSE_MS, account_seen);
	else
		account_seen(op, 0, 0);
}

static void
address_seen(struct guard_op *op, uint64_t n, int64_t left_ms)
{
	if (n)
		op_end(op, ERR_RATE_LIMITED, left_ms);
	else
		look_at_account(op);
}

static void
look(struct guard_op *op)
{
	if (op->chat->opts.lockout_address && op->block[0])
		count(op, "pa", op->block, 0, GUARD_PAUSE_MS, address_seen);
	else
		look_at_account(op);
}

/* ---- a failure ---- */

/* The pause was there already: the attempt began before it, together with others. */
static void
account_paused(struct guard_op *op, uint64_t n, int64_t left_ms)
{
	if (n <= 1) {
		hash_or_end(op);
		return;
	}
	op->pause = left_ms;
	ask_sessions(op);
}

static void
account_failed(struct guard_op *op, uint64_t n, int64_t left_ms)
{
	int64_t pause = guard_pause(n, op->chat->opts.lockout_account, GUARD_ACCOUNT_PAUSE_MS);

	if (pause)
		count(op, "pu", op->account, 1, pause, account_paused);
	else
		hash_or_end(op);
}

static void
count_account(struct guard_op *op)
{
	if (op->chat->opts.lockout_account)
		count(op, "gu", op->account, 1, op->chat->opts.lockout_window, account_failed);
	else
		hash_or_end(op);
}

static void
address_paused(struct guard_op *op, uint64_t n, int64_t left_ms)
{
	if (n > 1)
		op_end(op, ERR_RATE_LIMITED, left_ms);
	else
		count_account(op);
}

static void
address_failed(struct guard_op *op, uint64_t n, int64_t left_ms)
{
	const struct chat_opts *o = &op->chat->opts;
	int64_t pause = guard_pause(n, o->lockout_address, o->lockout_window);

	if (pause)
		count(op, "pa", op->block, 1, pause, address_paused);
	else
		count_account(op);
}

static void
count_failure(struct guard_op *op)
{
	if (op->chat->opts.lockout_address && op->block[0])
		count(op, "ga", op->block, 1, op->chat->opts.lockout_window, address_failed);
	else
		count_account(op);
}

/* ---- an attempt ---- */

static void
hashed(void *arg, bool right)
{
	struct guard_op *op = arg;

	op->hashed = true;
	op->right = right;
	if (right)
		look(op);
	else
		count_failure(op);
}

/* No pause is in the way. */
static void
hash_or_end(struct guard_op *op)
{
	int err;

	if (op->hashed) {
		op_end(op, op->right ? 0 : ERR_BAD_CREDENTIALS, 0);
		return;
	}
	err = password_check(
	    op->chat->passwords, op->password, op->hash, op->chat->opts.hash_cost, hashed, op);
	if (err)
		op_end(op, err, 0);
}

static struct guard_op *
op_new(struct chat *c, const char *address, guard_cb cb, void *arg)
{
	struct guard_op *op = xcalloc(1, sizeof(*op));

	op->chat = c;
	address_block(address, op->block);
	op->cb = cb;
	op->arg = arg;
	return op;
}

void
guard_check_password(struct chat *c, const struct guard_subject *s, const char *password,
    const char *hash, guard_cb cb, void *arg)
{
	struct guard_op *op = op_new(c, s->address, cb, arg);

	str_copy(op->account, sizeof(op->account), s->account);
	str_copy(op->user, sizeof(op->user), s->user);
	str_copy(op->password, sizeof(op->password), password);
	str_copy(op->hash, sizeof(op->hash), hash);
	look(op);
}

/* ---- sign-up ---- */

static void
signup_counted(struct guard_op *op, uint64_t n, int64_t left_ms)
{
	bool many = n > op->chat->opts.signups_per_address;

	op_end(op, many ? ERR_RATE_LIMITED : 0, left_ms);
}

void
guard_signup(struct chat *c, const char *address, guard_cb cb, void *arg)
{
	struct guard_op *op = op_new(c, address, cb, arg);

	if (c->opts.signups_per_address && op->block[0])
		count(op, "gs", op->block, 1, GUARD_SIGNUP_WINDOW_MS, signup_counted);
	else
		op_end(op, 0, 0);
}
