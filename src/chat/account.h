/* SPDX-License-Identifier: ISC */
/*
 * account: one operation on an account under way; what account.c, session.c and logins.c share.
 * Not for other folders.  Worker, loop thread.
 *
 * An operation belongs to the step that runs; the last step answers and frees it.
 */
#ifndef PALAVER_CHAT_ACCOUNT_H
#define PALAVER_CHAT_ACCOUNT_H

#include "chat/chat_int.h"
#include "chat/guard.h"


struct account_op {
	struct chat *chat;
	struct user user;
	struct session session; /* address and agent from the beginning, if there is an origin */
	char refresh[REFRESH_TEXT]; /* for the client; "": none */
	char *secret; /* password or refresh token; wiped */
	char *new_password;
	uint8_t invitation[TOKEN_HASH]; /* hash of its code */
	bool by_admin, created, lock, invited;
	bool limited; /* the session's address is the client's */
	chat_done done;
	void *arg;
};

/* secret and from may be NULL; both are copied. */
struct account_op *account_op_new(struct chat *c, const char *secret,
    const struct chat_origin *from, chat_done done, void *arg);
/* These answer and free op. */
void account_op_fail(struct account_op *op, int err, const char *pointer, const char *reason);
void account_op_slow(struct account_op *op, int err, int64_t retry_after); /* of a guard_cb */
void account_op_answer(struct account_op *op, bool created, const struct buf *json);
void account_op_free(struct account_op *op);
/* For a done() whose arg is op: the error or this text; ended sessions are over before. */
void account_answer_text(struct store_req *req, const char *text);
void account_answer_empty(struct store_req *req); /* such a done(): {} */

/* found() gets users[0] or the error; without such a user op is answered. */
void account_find_user(struct account_op *op, const char *username,
    void (*found)(struct store_req *));
/* NULL, or the pointer of the field. */
const char *password_fault(const char *password, const char *pointer, const char **reason_r);
/* For the ends of sessions: what a request that may end some needs to say. */
void account_ending(struct account_op *op, struct store_req *req, enum session_end why);

/* Is op->secret the password of op->user?  "" as its hash: there is none; name: as guard.h. */
void account_check_password(struct account_op *op, const char *name, guard_cb cb);

/* session.c: a new login of op->user; answers with its tokens. */
void session_create(struct account_op *op);

#endif
