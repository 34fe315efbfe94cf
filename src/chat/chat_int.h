/* SPDX-License-Identifier: ISC */
/*
 * chat_int: what the files of chat/ share.  Not for other folders.
 *
 *	chat -- users[user id] -- clients -- attachments -- rooms[conversation id]
 *
 * A room is a conversation with members on this worker.  An attachment ties one
 * client to one room and is on the lists of both.
 */
#ifndef PALAVER_CHAT_CHAT_INT_H
#define PALAVER_CHAT_CHAT_INT_H

#include <uthash.h>

#include "chat/chat.h"
#include "chat/client.h"
#include "chat/password.h"
#include "chat/rate.h"
#include "chat/token.h"
#include "lib/loop.h"
#include "lib/pack.h"

struct room;

struct attachment {
	struct client *client;
	struct room *room;
	bool waiting; /* the client's ready() waits for this room */
	uint64_t serial; /* in the order in which attachments were made */
	uint64_t confirmed; /* the last reading of memberships that had it (client.c) */
	/* Of a client that came from another worker: */
	uint64_t from; /* it was sent all up to this number */
	bool behind;   /* and what follows is still to be read from the window */
	bool leaving;  /* goes when it is behind no more */
	struct attachment_fetch *fetch; /* under way */
	struct attachment *room_prev, *room_next;
	struct attachment *prev, *next; /* of the client */
};

struct chat_user {
	char id[ID_MAX];
	enum presence presence; /* what the bus was told */
	struct client *clients;
	UT_hash_handle hh;
};

struct client {
	struct chat *chat;
	struct chat_user *user;
	char session[ID_MAX];
	const struct peer_ops *ops;
	void *peer;
	struct attachment *rooms;
	unsigned int waiting; /* the store's list counts as one, then one a room */
	bool ready;
	bool arrived; /* from another worker: a room delivers as soon as it is not behind */
	struct store_req *loading; /* its arg is cleared when the client goes first */
	bool verifying; /* memberships were read again, or are being read */
	uint64_t load_serial; /* attachments up to this one were there when that began */
	struct loop_task refused;
	enum presence presence; /* as its device says; never offline */
	uint64_t mark; /* of the last room_send_once that it was sent */
	struct loop_task ended;    /* it arrived with a session that has ended */
	struct client *prev, *next; /* of the user */
};

struct send_op;
struct tally;
struct membership_check;
struct teller;
struct typing_state;
struct reads;

struct chat {
	struct chat_opts opts;
	struct key_set *keys;
	struct bus *bus;
	struct store *store;
	struct journal_writer *journal;
	struct content *content;
	struct password_pool *passwords;
	struct chat_user *users;
	struct room *rooms;
	struct rates rates;
	struct teller *teller;
	struct typing_state *typing;
	struct reads *reads;
	uint64_t send_mark;
	struct send_op *lookups; /* in order of arrival, waiting for the store's look-up */
	struct send_op *sends;   /* everything else under way */
	size_t send_count;
	struct tally *syncing;   /* who has syncs under way; history.c */
	struct tally *uploading; /* the same of uploads; files.c */
	struct revoked *revoked; /* by session id */
	bool revocations_loading, revocations_again;
	ev_timer revocation_tick;
	ev_timer retry;
	ev_timer room_retry;
	ev_timer outbox;
	bool outbox_asked; /* the store's answer is to come */
	uint64_t attachment_serial;
	struct membership_check *checks; /* under way (membership.c) */
	struct chat_stats stats;
};

/*
 * What workers announce to each other: the first byte says what it is, the rest belongs to
 * that kind.  A new kind has a name here and a row in the table of chat.c.
 */
enum announcement {
	ANNOUNCE_SESSIONS_ENDED = 1,
	ANNOUNCE_KICK,
	ANNOUNCEMENT_KINDS /* keep this the last */
};
/* u: what follows the kind; bad if it was cut.  Also in the worker that announced it. */
typedef void (*announced_fn)(struct chat *c, struct unpack *u);

/*
 * What is cast in a conversation (bus_cast) has the same form, with kinds of its own.
 * sender: the user who caused it.
 */
enum cast_kind { CAST_TYPING = 1, CAST_READ, CAST_MUTE, CAST_KINDS /* keep this the last */ };
typedef void (*cast_fn)(struct chat *c, const char *conversation, const char *sender,
    struct unpack *u);

/* chat.c */
/* Of a client that moves: what its user may write at once, where it was and where it comes. */
int64_t chat_writes_left(struct chat *c, const char *user);
void chat_writes_lower(struct chat *c, const char *user, int64_t left);
/* To every worker with members of the conversation, this one too. */
void chat_cast(struct chat *c, const char *conversation, const char *sender, enum cast_kind kind,
    const struct buf *payload);
/* To every worker, this one too; lost where the bus is down (see bus_announce). */
void chat_announce(struct chat *c, enum announcement kind, const struct buf *payload);
/* Submits req; where the store takes no more its done() runs with the error at once. */
void chat_store(struct chat *c, struct store_req *req);
/* Asks whether user is a member: done() gets 0 or ERR_NOT_FOUND in req->err. */
void chat_check_member(struct chat *c, const char *conversation, const char *user,
    void (*done)(struct store_req *), void *arg);

/* Ends {"..":[..  next: the cursor of the next page; NULL: this was the last. */
void chat_page_end(struct buf *json, const char *next);

/* client.c */
struct chat_user *chat_user_find(struct chat *c, const char *id);
void client_room_ready(struct client *cl, struct attachment *a);
/* Takes the client out of the room; a is gone then. */
void client_detach(struct client *cl, struct attachment *a);
struct attachment *client_attachment(struct client *cl, const char *conversation);

/* revocation.c */
/* How long a revocation of this moment is kept, wall clock ms. */
int64_t revocation_until(const struct chat *c);
/* These have ended in the store: ends them here and on every worker. */
void sessions_ended(struct chat *c, const struct revocation *ended, size_t count);
bool session_is_revoked(struct chat *c, const char *session);
/* The session of this client has ended: tells its peer. */
void client_end_revoked(struct client *cl);
void revocation_bus_state(struct chat *c, bool up);
void announced_sessions_ended(struct chat *c, struct unpack *u);
void announced_kick(struct chat *c, struct unpack *u);
void revocation_free_all(struct chat *c);

/* room.c */
const char *room_id(const struct room *r);
struct attachment *room_attach(struct chat *c, struct client *cl, const char *conversation,
    uint64_t seen);
/* For a client that was sent everything up to seen; 0: nobody knows what. */
void room_attach_from(struct chat *c, struct client *cl, const char *conversation, uint64_t seen);
uint64_t room_last(const struct attachment *a); /* what its client was sent last; 0: unknown */
void room_tell_sync_required(struct attachment *a);
void room_detach(struct attachment *a);
bool room_is_at(struct chat *c, const char *conversation, uint64_t seq);
void room_event(struct chat *c, struct event *ev);
/* To each client in these rooms once; not to those of the user `except`. */
void room_send_once(struct chat *c, const char (*conversations)[ID_MAX], size_t count,
    const char *name, const char *json, size_t len, const char *except);
void room_resubscribe_all(struct chat *c);
void room_free_all(struct chat *c);
/* outbox.c */
void outbox_start(struct chat *c);
void outbox_look(struct chat *c); /* now, if the bus is up */
void outbox_stop(struct chat *c);
/* membership.c */
void membership_free_all(struct chat *c);

/* presence.c */
struct teller *presence_new(struct chat *c);
void presence_free(struct teller **t);
void presence_update(struct chat *c, struct chat_user *u); /* its clients have changed */
void presence_bus_up(struct chat *c);
/* Handlers of the bus: this worker is to tell others; others told something. */
void presence_changed(struct chat *c, const char *user, enum presence state, int64_t left_ms);
void presence_told(struct chat *c, const char (*conversations)[ID_MAX], size_t count,
    const char *user, const char *json, size_t len);

/* typing.c */
struct typing_state *typing_new(struct chat *c);
void typing_free(struct typing_state **s);
void typing_client_gone(struct client *cl);
void typing_client_moves(struct client *cl); /* to another worker; it is closed next */
void typing_cast(struct chat *c, const char *conversation, const char *sender, struct unpack *u);

/* reads.c */
struct reads *reads_new(struct chat *c);
size_t reads_waiting(const struct reads *r); /* positions that the store has not yet */
void reads_free(struct reads **r);
void reads_cast(struct chat *c, const char *conversation, const char *sender, struct unpack *u);
void reads_mute_cast(struct chat *c, const char *conversation, const char *sender,
    struct unpack *u);

/* compose.c */
/* Appends ,"mentions":[..] or nothing. */
void compose_mentions(struct buf *data, const char *const *mentions, size_t count);
/* The event of a send, which names the ids of its files at *files_at_r of its data. */
struct event *compose_message(const char *user, const struct chat_message *in, size_t *files_at_r);
/*
 * The same with what is known of the files, and with this id.  Its digest stays that of what
 * the client has sent, which its retry sends again.
 */
struct event *compose_with_files(const struct event *plain, size_t files_at,
    const struct file *files, size_t count, const char *id);
/* The field at fault, or NULL; *reason_r says why.  The latter of a text and its mentions. */
const char *compose_fault(const struct chat *c, const struct chat_message *in,
    const char **reason_r);
const char *compose_text_fault(const struct chat *c, size_t text_len, bool may_be_empty,
    const char *const *mentions, size_t count, const char **reason_r);

/* send.c */
/* Takes an event of the server's own making through the pipeline; done may be NULL. */
void send_event(struct chat *c, struct event *ev, chat_done done, void *arg);
/* May one more be sent?  false: the caller was answered. */
bool send_admit(struct chat *c, chat_done done, void *arg);
void send_bus_up(struct chat *c);
void send_free_all(struct chat *c);

#endif
