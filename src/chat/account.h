/* SPDX-License-Identifier: ISC */
/*
 * account: one operation on an account under way; what account.c and session.c share.
 * Not for other folders.  Worker, loop thread.
 *
 * An operation belongs to the step that runs; the last step answers and frees it.
 */
#ifndef PALAVER_CHAT_ACCOUNT_H
#define PALAVER_CHAT_ACCOUNT_H

#include "chat/chat_int.h"

#define REFRESH_BYTES 32
#define REFRESH_TEXT  48

struct account_op {
	struct chat *chat;
	struct user user;
	struct session session; /* address and agent from the beginning, if there is an origin */
	char refresh[REFRESH_TEXT];
	char *password;
	uint8_t invitation[TOKEN_HASH]; /* hash of its code */
	bool by_admin, created, lock, invited;
	chat_done done;
	void *arg;
};

/* password and from may be NULL; both are copied. */
struct account_op *account_op_new(struct chat *c, const char *password,
    const struct chat_origin *from, chat_done done, void *arg);
/* These answer and free op. */
void account_op_fail(struct account_op *op, int err, const char *pointer, const char *reason);
void account_op_answer(struct account_op *op, bool created, const struct buf *json);
void account_op_free(struct account_op *op);
void account_answer_empty(struct store_req *req); /* a done() whose arg is op: {} or the error */

/* session.c: a new login of op->user; answers with its tokens. */
void session_create(struct account_op *op);

#endif
