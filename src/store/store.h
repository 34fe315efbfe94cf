/* SPDX-License-Identifier: ISC */
/*
 * store: what is kept for good: users, login sessions, conversations, members,
 * events.  "sqlite" or "mongodb".
 *
 * An implementation is blocking: its functions run on a thread of the store's
 * own pool, with the handle that its open_handle made in that thread.  Callers use
 * the asynchronous requests of this header from the loop: store_submit() < 0 and
 * done() never runs; 0 and it runs exactly once, later, on the loop, with
 * req->err and the outputs set.
 *
 * Rules for every implementation (the contract test holds them):
 * - unique: users by username; sessions by token hash; direct conversations by
 *   pair; events by id, by (conversation, seq), and by (conversation, sender,
 *   client_id) where client_id is not empty.
 * - a write that returned 0 is durable.
 * - ERR_UNAVAILABLE: the back end is busy, locked or gone, ERR_STORAGE_FULL: no
 *   space; both changed nothing or may be repeated without harm.
 */
#ifndef PALAVER_STORE_STORE_H
#define PALAVER_STORE_STORE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "model/conversation.h"
#include "model/event.h"
#include "model/file.h"
#include "model/message.h"
#include "model/user.h"

#define STORE_PAGE_MAX  200  /* events or rows of one read */
#define STORE_BATCH_MAX 1000 /* events of one apply */
#define STORE_SPENT_KEPT 500 /* spent tokens of one session */

enum store_op {
	/*
	 * in: user (all but id's uniqueness is the caller's); flag: it costs one use of the
	 * invitation with invitation.code_hash, at now_ms.  ERR_INVITATION: there is none with
	 * a use left; ERR_USERNAME_TAKEN, which uses nothing up.
	 */
	STORE_USER_CREATE,
	/* in: id; out: users[0]; ERR_NOT_FOUND */
	STORE_USER_BY_ID,
	/* in: ids; out: users, in the order of ids; ERR_NOT_FOUND: text_out is no user's id */
	STORE_USERS_BY_ID,
	/* in: text = username; out: users[0]; ERR_NOT_FOUND */
	STORE_USER_BY_USERNAME,
	/* in: text = username or display name prefix ("" = all), cursor = last username, limit,
	   flag = deactivated ones too; out: users */
	STORE_USER_LIST,
	/*
	 * in: user (id, name, avatar, bio, time_zone), after = the version that it must have;
	 * out: users[0].  ERR_CONFLICT: it has another; ERR_NOT_FOUND: no such user
	 */
	STORE_USER_UPDATE,
	/* in: id, now_ms; 0 also when it is; ERR_NOT_FOUND.  Ends the user's sessions, see below. */
	STORE_USER_DEACTIVATE,
	/*
	 * in: id, text = crypt(5) hash, user.password = the one that it must still have ("": any);
	 * ERR_NOT_FOUND, ERR_CONFLICT: it has another.  Ends the user's sessions but session_id.
	 */
	STORE_USER_SET_PASSWORD,
	/* in: id, flag; ERR_NOT_FOUND.  Locking ends the user's sessions; unlocking makes
	   an account active again, too. */
	STORE_USER_SET_LOCKED,
	/* in: invitation; ERR_CONFLICT: the code or the id is taken */
	STORE_INVITATION_CREATE,
	/* in: cursor = last id, limit; out: invitations by id, the used up and expired ones too */
	STORE_INVITATION_LIST,
	/* in: id; ERR_NOT_FOUND */
	STORE_INVITATION_DELETE,
	/*
	 * Sessions.  What ends one deletes it and its spent tokens and records it as a
	 * revocation until until_ms, for the reason `why`, in the same transaction; out:
	 * revocations = those that ended now.  CREATE and ROTATE also remove a few sessions
	 * that have expired and revocations that are over at now_ms.
	 *
	 * in: session, now_ms, user.password = the hash that the user must still have ("": any);
	 * ERR_NOT_FOUND: no such user; ERR_BAD_CREDENTIALS: another password; ERR_USER_LOCKED,
	 * ERR_DEACTIVATED
	 */
	STORE_SESSION_CREATE,
	/*
	 * in: session (token_hash, address, agent, expires_ms = the new end), rotation (next_hash,
	 * nonce, grace_ms), now_ms, until_ms.  The session's token: it is spent and next_hash
	 * takes its place; out: session, users[0].  A token that was spent less than grace_ms
	 * before now_ms: nothing changes; out: flag, session with the token_hash that it has
	 * now, rotation.nonce of when it was spent, users[0].  Spent earlier: the session ends,
	 * ERR_TOKEN_REUSED.  ERR_NOT_FOUND: neither, or the session has expired.  Of each
	 * session the last STORE_SPENT_KEPT spent tokens are known.
	 */
	STORE_SESSION_ROTATE,
	/* in: session.token_hash, also a spent one, until_ms; ends it; 0 even if there was none */
	STORE_SESSION_LOGOUT,
	/* in: id = user, now_ms, limit; out: sessions that have not expired, last used first */
	STORE_SESSION_LIST,
	/*
	 * in: id = user ("": whoever has it), session_id ("": all), flag = all but session_id;
	 * until_ms, why.  ERR_NOT_FOUND: one was named and there is none
	 */
	STORE_SESSION_REVOKE,
	/* in: now_ms; out: revocations that are not over (no paging) */
	STORE_REVOCATIONS,
	/*
	 * in: conversation with members (user ids), events that tell of it (not numbered), now_ms.
	 * Direct: exactly 2 members; if the pair has one already, out: conversations[0] is
	 * that one and flag = true (existed), and the events are left alone.  Else out:
	 * conversations[0] with usernames, and the events are in the outbox.  ERR_NOT_FOUND: a
	 * member or the creator is no user (text_out = its id); ERR_INVALID_FIELD: direct, and
	 * not two different members; ERR_CONFLICT: the id is taken.
	 */
	STORE_CONVERSATION_CREATE,
	/*
	 * Compare and swap.  in: id, after = the version that it must have; conversation: name,
	 * topic, archived, is_public and history are written as they are there, each of its
	 * members is put (a new one with role and since; of one that is there only the role is
	 * written); ids: users who are members no more; events that tell of it, now_ms.  All
	 * of it, version + 1 and the events into the outbox, or nothing.  out:
	 * conversations[0] as it is then.  ERR_CONFLICT: it has another version;
	 * ERR_NOT_FOUND: there is no such conversation, or a member to put is no user
	 * (text_out = its id)
	 */
	STORE_CONVERSATION_CHANGE,
	/* in: id; out: conversations[0] with members and their names; ERR_NOT_FOUND */
	STORE_CONVERSATION_GET,
	/* in: id = user, cursor = last conversation id, limit; out: conversations, with members, by
	   id, and for each the user's membership with its counts */
	STORE_CONVERSATION_LIST,
	/*
	 * in: text = beginning of the name in either case (ASCII; "" = all), cursor = last
	 * conversation id, limit; flag = all there are, also archived ones, for the
	 * administrator; else public ones that are not archived; out: conversations by id,
	 * without members, but with member_total
	 */
	STORE_CHANNEL_LIST,
	/* in: id = user; out: memberships = all of the user (no paging) */
	STORE_MEMBERSHIPS,
	/* in: id = conversation, cursor = last user id, limit; out: members with names, by user
	   id; ERR_NOT_FOUND: no such conversation */
	STORE_MEMBERS_LIST,
	/* in: id = conversation, text = user; out: memberships[0]; ERR_NOT_FOUND: is no member */
	STORE_MEMBER_CHECK,
	/*
	 * in: id = conversation, user_id = sender, text = client_id; out: events[0];
	 * ERR_NOT_FOUND.  In both cases memberships[0] of the sender; none: is no member.
	 */
	STORE_EVENT_BY_CLIENT_ID,
	/*
	 * in: id = conversation, after, before (0 = no end), limit; out: events with
	 * after < seq < before, ascending: with before the newest `limit`, else the
	 * oldest; flag = there are more on the far side.  states[i] is the state of the
	 * message that events[i] shows (message_shown_by), NULL: nothing happened to it
	 */
	STORE_EVENTS,
	/*
	 * in: events, flag = keep what edits replace; applied unordered, idempotent by id, all
	 * or nothing durable.  Archiver only.  An event whose seq or client id belongs to
	 * another event is a broken promise: it is logged and left out, the rest is applied;
	 * out: ids_out = those left out.
	 * A deleted message's text and mentions, and those of its edits, are taken out of the
	 * stored events, whichever of them is applied first; without flag also what a newer
	 * edit replaced.  Digests stay as they were, so that a retry is still recognised.
	 * What is applied, or was before, is taken out of the outbox.
	 * A message that is applied attaches the files that were claimed for it; one that is
	 * deleted loses its files, which are doomed, whichever of the two is applied first.
	 */
	STORE_APPLY,
	/*
	 * The outbox has events of changes that are written and may not have reached the
	 * journal.  in: now_ms = only those put before, limit; out: events, not numbered, in
	 * the order in which they were put
	 */
	STORE_OUTBOX_LIST,
	/* in: users = (id, last_seen_ms); an older time than the one there is left out; 0 even
	   for an id that is no user */
	STORE_USERS_SEEN,
	/* in: id = user, ids; out: users (id and last_seen_ms alone) = those of ids who share a
	   conversation with the user, and the user, in the order of ids */
	STORE_USERS_SHARED,
	/* in: id = user, limit; out: ids_out = the conversations whose members are told of the
	   user's presence: all but channels with more than limit members */
	STORE_PRESENCE_CONVERSATIONS,
	/*
	 * in: id = message; out: events[0] and states[0], then (without states) its last
	 * STORE_PAGE_MAX message.updated, ascending; ERR_NOT_FOUND: there is no such message
	 */
	STORE_MESSAGE_GET,
	/*
	 * in: reads; a read position moves forward only, and where the user is no member
	 * nothing happens; all or nothing
	 */
	STORE_READS_PUT,
	/* in: id = conversation, user_id, flag = muted; ERR_NOT_FOUND: is no member */
	STORE_MEMBER_MUTE,
	/*
	 * in: file (without state, conversation, message); quota = bytes that all files of the
	 * owner may have together, doomed ones apart, 0: no limit.  ERR_QUOTA; ERR_NOT_FOUND: the
	 * owner is no user; ERR_CONFLICT: the id is taken
	 */
	STORE_FILE_CREATE,
	/* in: id; out: files[0]; ERR_NOT_FOUND, also when it is doomed */
	STORE_FILE_GET,
	/*
	 * in: ids = files, user_id = sender, id = conversation, text = client_id, message, now_ms:
	 * all of them become claimed for this send, or none does.  What was claimed or attached for
	 * the same send (conversation, sender, client_id) before stays so.  out: files in the
	 * order of ids; text_out = the message that the send made or is to make: where it was
	 * claimed before, that one, else `message`.
	 * ERR_NOT_FOUND: text_out is no file of the sender's; ERR_CONFLICT: text_out is another
	 * message's; ERR_ID_REUSED: the same send claimed others before
	 */
	STORE_FILES_CLAIM,
	/* in: id, user_id = owner; a loose one becomes doomed.  ERR_NOT_FOUND; ERR_CONFLICT: a
	   message has it */
	STORE_FILE_DELETE,
	/*
	 * Dooms loose files of before `before_ms` and, with flag, those claimed before it, which
	 * no archived message has (flag: everything that was sent by then is archived, or refused).
	 * in: before_ms, flag, limit; out: ids_out = doomed ones, also from before
	 */
	STORE_FILES_SWEEP,
	/* in: ids; doomed ones are gone; others, and such as are not there, are left out */
	STORE_FILES_FORGET,
	STORE_OP_COUNT
};

/* Who has read how far. */
struct store_read {
	char conversation[ID_MAX], user[ID_MAX];
	uint64_t seq;
};

struct store_req {
	enum store_op op;
	/* inputs; copied or owned by the request, freed by store_req_free */
	char id[ID_MAX];
	char user_id[ID_MAX];
	char *text;
	char *cursor;
	size_t limit;
	uint64_t after, before;
	int64_t now_ms;
	struct user user;
	struct session session;
	char session_id[ID_MAX];
	int64_t until_ms; /* of revocations, wall clock */
	enum session_end why;
	struct session_rotation {
		uint8_t next_hash[TOKEN_HASH], nonce[TOKEN_HASH];
		int64_t grace_ms;
	} rotation;
	struct invitation invitation;
	struct conversation *conversation;
	struct file file;
	char message[ID_MAX];
	int64_t before_ms, quota;
	char (*ids)[ID_MAX];
	size_t id_count;
	/* in for APPLY, CREATE and CHANGE, out for reads.  The pool thread owns them while it
	   runs. */
	struct event **events;
	size_t event_count;
	struct store_read *reads;
	size_t read_count;
	/* outputs */
	int err;
	bool flag; /* also an input where said */
	char *text_out;
	struct user *users;
	size_t user_count;
	struct session *sessions;
	size_t session_count;
	struct revocation *revocations;
	size_t revocation_count;
	struct invitation *invitations;
	size_t invitation_count;
	struct conversation **conversations;
	size_t conversation_count;
	char (*ids_out)[ID_MAX];
	size_t id_out_count;
	struct membership *memberships;
	size_t membership_count;
	struct message_state **states; /* beside events; NULL, or event_count of them */
	size_t state_count;
	struct member *members;
	size_t member_count;
	struct file *files;
	size_t file_count;
	/* the caller's */
	void (*done)(struct store_req *req); /* owns req then, frees it */
	void *arg;
	struct store *store;
};

struct store_req *store_req_new(enum store_op op, void (*done)(struct store_req *), void *arg);
void store_req_free(struct store_req **req);

/* For implementations (pool thread): room for one more output. */
struct user *store_req_add_user(struct store_req *req);
struct session *store_req_add_session(struct store_req *req);
struct revocation *store_req_add_revocation(struct store_req *req);
struct invitation *store_req_add_invitation(struct store_req *req);
void store_req_add_event(struct store_req *req, struct event *ev);              /* takes */
void store_req_add_conversation(struct store_req *req, struct conversation *c); /* takes */
void store_req_add_id(struct store_req *req, const char *id);                   /* to ids_out */
struct membership *store_req_add_membership(struct store_req *req);
void store_req_add_state(struct store_req *req, struct message_state *s); /* takes; may be NULL */
struct member *store_req_add_member(struct store_req *req);
struct file *store_req_add_file(struct store_req *req);

typedef void (*store_op_fn)(void *handle, struct store_req *req); /* sets req->err */

struct store_impl {
	const char *name;
	/* Pool thread; NULL: not available now (logged), tried again with the next request. */
	void *(*open_handle)(const char *where);
	void (*close_handle)(void *handle);
	store_op_fn ops[STORE_OP_COUNT];
	/*
	 * Once, before any handle, in whatever process starts first: creates or upgrades
	 * the schema.  0 or ERR_; logs what to do.  Safe to run in several processes at once.
	 */
	int (*prepare)(const char *where);
};

extern const struct store_impl store_sqlite; /* where: path of the database file */

struct store;
/* threads: 1 for the archiver, 2 for a worker.  where is copied. */
struct store *store_open(const struct store_impl *impl, const char *where, unsigned int threads);
void store_close(
    struct store **s); /* running requests finish; waiting ones are dropped and freed */
int store_submit(struct store *s, struct store_req *req); /* takes req if 0; ERR_OVERLOADED */
/* Runs one request now, on the calling thread, with a handle of its own: tests and tools. */
int store_run(const struct store_impl *impl, void *handle, struct store_req *req);

#endif
