/* SPDX-License-Identifier: ISC */
/*
 * change: how a conversation is changed safely.  Worker, loop thread.
 *
 * It is read, a plan decides by the rules of roles.h what is to be written, and that is
 * written only at the version that was read, together with the events that tell of it
 * (STORE_CONVERSATION_CHANGE).  Where another change came between, all of it is done again.
 * Then the events go through the pipeline of send.c, and the answer waits for the last.
 */
#ifndef PALAVER_CHAT_CHANGE_H
#define PALAVER_CHAT_CHANGE_H

#include "chat/chat_int.h"

struct change_op;

/*
 * now: the conversation as it was read.  Fills req: conversation has the fields of `now` and
 * no members; see STORE_CONVERSATION_CHANGE.  Events are added in the order in which they
 * are sent; none: there is nothing to change, and `now` is the answer.  0 or ERR_, with
 * op->pointer and op->reason where a field is at fault.
 */
typedef int (*change_plan)(
    struct change_op *op, const struct conversation *now, struct store_req *req);
/* Appends the answer to op->json. */
typedef void (*change_answer)(struct change_op *op, const struct conversation *now);

struct change_op {
	struct chat *chat;
	char user[ID_MAX], id[ID_MAX]; /* who changes what */
	change_plan plan;
	change_answer answer;
	uint64_t version; /* that it must have; 0: any */
	bool creates;     /* a change makes something new */
	unsigned int tries;
	/* What is asked for; each plan takes its own. */
	char *name, *topic; /* NULL: stays as it is */
	int archived, is_public, history; /* -1: stays as it is */
	char (*ids)[ID_MAX]; /* users to add */
	size_t id_count;
	enum member_role role; /* of those, or to be set; ROLE_NONE: not said */
	char target[ID_MAX], successor[ID_MAX]; /* "": not said */
	/* What was read for it. */
	struct store_req *users; /* those of ids, with their names */
	bool head_known;
	uint64_t head; /* the conversation's last number */
	/* What comes of it. */
	const char *pointer, *reason;
	struct buf json;
	uint64_t answer_version;
	chat_done done;
	void *arg;
};

struct change_op *change_new(struct chat *c, const char *user, const char *id, change_plan plan,
    chat_done done, void *arg);
void change_free(struct change_op *op);
void change_fail(struct change_op *op, int err, const char *pointer, const char *reason);
/* Takes op.  With ids their users are read first; ERR_INVALID_FIELD: pointer, no_such_user. */
void change_start(struct change_op *op, const char *users_pointer);

const struct member *change_member(const struct conversation *c, const char *user);
/* The rule for who changes it. */
int change_check(
    const struct change_op *op, const struct conversation *now, unsigned int action);
/* Adds a conversation.updated; changes: members of a JSON object. */
void change_tell_changes(struct change_op *op, const struct conversation *now,
    struct store_req *req, const char *changes);
/* Appends [{"user_id","username","role"},..] of c's members. */
void change_put_members(struct buf *b, const struct conversation *c);
/* Adds an event whose data is sender_id and `rest`: further members of a JSON object. */
void change_tell(
    struct change_op *op, struct store_req *req, enum event_type type, const char *rest);

#endif
