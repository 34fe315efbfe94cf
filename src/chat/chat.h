/* SPDX-License-Identifier: ISC */
/*
 * chat: the rules: who may do what, sending, history, sync.  Knows no sockets and no
 * HTTP: REST and Socket.IO both call these functions, so both have one set of rules.
 *
 * Every operation is asynchronous and answers through chat_done exactly once,
 * later or at once (before the call returns).  Inputs are borrowed for the call.
 * Thread: loop of a worker.
 */
#ifndef PALAVER_CHAT_CHAT_H
#define PALAVER_CHAT_CHAT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "bus/bus.h"
#include "journal/journal.h"
#include "lib/buf.h"
#include "lib/keys.h"
#include "model/error.h"
#include "store/content.h"
#include "store/store.h"

#define CHAT_SYNC_CONVERSATIONS 200  /* conversations in one sync */
#define CHAT_SYNC_LIMIT_MAX     1000 /* events in one sync answer */
#define CHAT_SYNC_LIMIT         200
#define CHAT_PAGE               50 /* default page of lists and history; at most STORE_PAGE_MAX */

struct chat;

/* How an event becomes bytes for clients: once, however many receive it. */
struct chat_encoder {
	void *(*encode)(const char *name, const char *json, size_t len);
	void (*release)(void *encoded);
};

enum chat_signup_mode { SIGNUP_CLOSED, SIGNUP_OPEN, SIGNUP_INVITE };

struct chat_opts {
	size_t max_text;
	size_t presence_members; /* of channels that are told of presence, at most */
	int64_t rate, burst; /* writes of one user a second; at once */
	bool keep_edits;
	int64_t max_reactions; /* different emoji of one message */
	size_t file_max;       /* bytes of an upload; 0: there are none */
	int64_t file_quota;    /* of all files of a user; 0: no limit */
	enum chat_signup_mode signup;
	enum conversation_history history; /* of new conversations that do not say */
	int64_t access_ttl, refresh_ttl; /* ms */
	int64_t refresh_grace;           /* ms: see chat/session.c */
	/* Guessing, see guard.h: a window in ms; limits within it, and of an hour; 0: none. */
	int64_t lockout_window;
	uint64_t lockout_address, lockout_account, signups_per_address;
	int hash_cost;                   /* yescrypt */
	unsigned int hash_queue;         /* fixed at chat_new */
	const struct key_set *keys;      /* of access tokens; copied at chat_new */
	struct chat_encoder encoder;     /* fixed at chat_new */
};

/* The bus is given later, because it needs the chat for its handler. */
struct chat *chat_new(const struct chat_opts *opts, struct store *store,
    struct journal_writer *journal);
void chat_set_bus(struct chat *c, struct bus *bus);
void chat_set_content(struct chat *c, struct content *content); /* borrowed; of files */
extern const struct bus_handler chat_bus_handler; /* its arg is the chat */
void chat_set_keys(struct chat *c, const struct key_set *keys); /* copied */
void chat_reconfigure(struct chat *c, const struct chat_opts *opts);
/* Sends what a dead worker left in the spool through the pipeline again. */
void chat_replay(struct chat *c);
size_t chat_in_flight(const struct chat *c); /* sends and read positions that are not done */
void chat_free(struct chat **c);

struct chat_stats {
	uint64_t clients, rooms, sent, acknowledged, duplicates, refused, replayed, delivered, gaps;
	uint64_t hashes; /* passwords that were hashed */
	uint64_t slowed; /* attempts that were refused for the guessing before them */
};
void chat_stats(const struct chat *c, struct chat_stats *st);

/* ---- answers ---- */

struct chat_result {
	int err;             /* 0 or ERR_ */
	const char *pointer; /* JSON pointer of the field at fault, or NULL */
	const char *reason;  /* what is wrong with it: a short stable word, or NULL */
	int64_t retry_after; /* seconds; 0: the default of the error */
	bool created;        /* something new was made (201 instead of 200) */
	const char *json;    /* the answer's data, a JSON object; NULL on error */
	size_t json_len;
	/* Of sign-up, login and refresh; valid in the call.  Not in the JSON: the caller puts
	   them where the client wants them.  NULL: none. */
	const char *access_token, *refresh_token;
	int64_t access_ttl, refresh_ttl; /* ms */
	uint64_t version;          /* of what the answer shows, for its ETag; 0: it has none */
};
typedef void (*chat_done)(void *arg, const struct chat_result *res);

void chat_answer_error(chat_done done, void *arg, int err, const char *pointer, const char *reason);
void chat_answer_json(chat_done done, void *arg, bool created, const struct buf *json);

/* ---- logins (session.c) ---- */

struct chat_identity {
	char user[ID_MAX];
	char session[ID_MAX];
	int64_t expires_ms; /* wall clock */
};

/* 0 or ERR_UNAUTHORIZED: signature, expiry, and whether its session was ended. */
int chat_identify(struct chat *c, const char *access_token, struct chat_identity *id_r);

/* Where a login or a refresh comes from, as its session shows it; NULL: unknown. */
struct chat_origin {
	bool limited; /* false: address is a proxy's, which names no client; see http.h */
	const char *address, *agent; /* cut to SESSION_ADDRESS_MAX - 1, SESSION_AGENT_MAX bytes */
};

/* The answers of these and of sign-up are {"user":{..},"expires_in":seconds}. */
void chat_login(struct chat *c, const char *username, const char *password,
    const struct chat_origin *from, chat_done done, void *arg);
void chat_refresh(struct chat *c, const char *refresh_token, const struct chat_origin *from,
    chat_done done, void *arg);
void chat_logout(struct chat *c, const char *refresh_token, chat_done done, void *arg);

/*
 * Before the first client: the answer of STORE_REVOCATIONS.  From then on the chat keeps
 * itself informed of sessions that are ended anywhere.
 */
void chat_take_revocations(struct chat *c, const struct store_req *req);

/* ---- a user's logins (logins.c) ---- */

/* {"items":[{"id",..,"current"}]}, last used first, STORE_PAGE_MAX at most. */
void chat_session_list(struct chat *c, const struct chat_identity *who, chat_done done, void *arg);
/*
 * Ends one session of the user, or all but the one that asks.  Its sockets get session.ended
 * and are cut, its access tokens are refused, on every worker.  ERR_NOT_FOUND.
 */
void chat_session_end(struct chat *c, const struct chat_identity *who, const char *session,
    chat_done done, void *arg);
void chat_session_end_others(struct chat *c, const struct chat_identity *who, chat_done done,
    void *arg);
/* Ends the other sessions as well.  ERR_BAD_CREDENTIALS: current is not the password. */
void chat_password_change(struct chat *c, const struct chat_identity *who, const char *current,
    const char *fresh, chat_done done, void *arg);

/* By the administrator: */
void chat_user_sessions(struct chat *c, const char *username, chat_done done, void *arg);
void chat_user_revoke(struct chat *c, const char *username, chat_done done, void *arg);
void chat_session_kill(struct chat *c, const char *session, chat_done done, void *arg);
/* Cuts the user's sockets and ends nothing; ERR_UNAVAILABLE: other workers cannot be told. */
void chat_user_kick(struct chat *c, const char *username, chat_done done, void *arg);

/*
 * Every change that a user asks for is counted, by REST and by sockets, before anything
 * else is done for it: one count for all clients of the user at this worker.  false: too
 * many; *retry_after_r: seconds until the next one is taken.
 */
bool chat_write_allowed(struct chat *c, const char *user, int64_t *retry_after_r);

/* ---- accounts (account.c) ---- */

struct chat_signup {
	const char *username, *password, *name; /* name may be NULL: the username */
	const char *invitation; /* its code, where SIGNUP_INVITE asks for one; may be NULL */
	const struct chat_origin *from; /* may be NULL */
	/* Also when signup is closed; no session is made; the answer is {"user":{..}}. */
	bool by_admin;
};
void chat_signup(struct chat *c, const struct chat_signup *in, chat_done done, void *arg);
void chat_user_set_password(struct chat *c, const char *username, const char *password,
    chat_done done, void *arg);
void chat_user_set_locked(struct chat *c, const char *username, bool locked, chat_done done,
    void *arg);

/* ---- invitations (invitations.c): the administrator's ---- */

#define CHAT_INVITE_USES_MAX 1000000
#define CHAT_INVITE_DAYS_MAX 3650

struct chat_invite {
	int64_t uses, days; /* at least 1 */
	const char *note;   /* at most INVITATION_NOTE_MAX bytes */
};
/* The answer has the code, which nobody can read again. */
void chat_invitation_add(struct chat *c, const struct chat_invite *in, chat_done done, void *arg);
void chat_invitation_list(struct chat *c, const char *cursor, size_t limit, chat_done done,
    void *arg);
void chat_invitation_remove(struct chat *c, const char *id, chat_done done, void *arg);

/* ---- profiles (profile.c) ---- */

/* own: with what is the user's own business, and an ETag.  ERR_NOT_FOUND. */
void chat_user_get(struct chat *c, const char *user, bool own, chat_done done, void *arg);
void chat_user_show(struct chat *c, const char *username, chat_done done, void *arg); /* admin */
/*
 * prefix "" lists all; admin: with the deactivated ones and what is the administrator's
 * business, and the list is called users, not items.
 */
void chat_user_list(struct chat *c, const char *prefix, const char *cursor, size_t limit, bool admin,
    chat_done done, void *arg);

struct chat_profile {
	/* NULL: stays as it is.  Bytes: USER_NAME_MAX, USER_AVATAR_MAX, USER_BIO_MAX */
	const char *name, *avatar, *bio;
	/* A name of the IANA database, which this machine's must have, if it has one; "": none */
	const char *time_zone;
};
/* version: that the profile must have, else ERR_PRECONDITION_FAILED; 0: any. */
void chat_user_update(struct chat *c, const char *user, const struct chat_profile *in,
    uint64_t version, chat_done done, void *arg);
/*
 * The user's own will, which costs the password (ERR_BAD_CREDENTIALS).  The sessions end, the
 * name stays taken, messages stay; the administrator's unlocking brings the account back.
 */
void chat_user_deactivate(struct chat *c, const char *user, const char *password, chat_done done,
    void *arg);

/* ---- conversations (conversations.c) ---- */

/*
 * Answers with a conversation have its version.  A stranger gets ERR_NOT_FOUND, a member
 * whose role does not allow it ERR_FORBIDDEN (roles.h), what is archived ERR_ARCHIVED.
 */
struct chat_create {
	const char *type;  /* "direct", "group" or "channel" */
	const char *name;  /* of a group or channel; CONVERSATION_NAME_MAX bytes */
	const char *topic; /* the same; NULL: none; CONVERSATION_TOPIC_MAX bytes */
	bool is_public;    /* a channel alone can be */
	const char *history; /* "all" or "joined"; NULL: as opts.history says */
	const char *const *members;
	size_t member_count;
};
void chat_conversation_create(struct chat *c, const char *user, const struct chat_create *in,
    chat_done done, void *arg);
/* A public channel is shown to strangers too, without its members. */
void chat_conversation_get(struct chat *c, const char *user, const char *id, chat_done done,
    void *arg);
void chat_conversation_list(struct chat *c, const char *user, const char *cursor, size_t limit,
    chat_done done, void *arg);
/*
 * prefix: of the name, in either case; "" = all.  Public channels; admin: whatever there is,
 * and the list is called conversations, not items.
 */
void chat_channel_list(struct chat *c, const char *prefix, const char *cursor, size_t limit,
    bool admin, chat_done done, void *arg);
void chat_conversation_show(struct chat *c, const char *id, chat_done done, void *arg); /* admin */

struct chat_settings {
	const char *name, *topic, *history; /* NULL: stays as it is */
	const bool *archived, *is_public;   /* the same */
};
/* version: that it must have, else ERR_PRECONDITION_FAILED; 0: any. */
void chat_conversation_change(struct chat *c, const char *user, const char *id,
    const struct chat_settings *in, uint64_t version, chat_done done, void *arg);

/* ---- members (members.c) ---- */

/* role: NULL: member.  A user who is no member may add exactly himself to a public channel. */
void chat_members_add(struct chat *c, const char *user, const char *id, const char *const *users,
    size_t count, const char *role, chat_done done, void *arg);
void chat_members_list(struct chat *c, const char *user, const char *id, const char *cursor,
    size_t limit, chat_done done, void *arg);
void chat_member_set_role(struct chat *c, const char *user, const char *id, const char *target,
    const char *role, chat_done done, void *arg);
/*
 * target is the user himself: he leaves.  The last owner does so only with a successor, who
 * becomes an owner (else ERR_LAST_OWNER), or when he is alone: then it is archived.
 * successor: NULL: none.
 */
void chat_member_remove(struct chat *c, const char *user, const char *id, const char *target,
    const char *successor, chat_done done, void *arg);

/* ---- messages (send.c, messages.c, history.c) ---- */

struct client;
struct chat_message {
	const char *conversation, *client_msg_id, *text;
	size_t text_len;
	const char *const *mentions; /* user ids; at most MESSAGE_MENTIONS_MAX */
	size_t mention_count;
	const char *reply_to; /* NULL, or a message of the same conversation */
	const char *const *files; /* ids of the sender's, that no message has; FILES_A_MESSAGE */
	size_t file_count;        /* with one the text may be empty */
};
void chat_send(struct chat *c, const char *user, const struct chat_message *in, chat_done done,
    void *arg);

/*
 * An edit (the sender alone), a deletion (the sender; in groups and channels admins too),
 * a reaction added or taken back: type says which.  Archived: ERR_ARCHIVED; deleted:
 * ERR_DELETED.  A reaction that is there already, or not there, makes no event: the answer
 * has no "id" and "duplicate":true, and the present "reactions".
 */
struct chat_change {
	enum event_type type;
	const char *message;
	const char *client_msg_id; /* NULL, or as of sends */
	const char *text;          /* of an edit; mentions too */
	size_t text_len;
	const char *const *mentions;
	size_t mention_count;
	const char *emoji; /* of reactions */
};
void chat_message_change(struct chat *c, const char *user, const struct chat_change *in,
    chat_done done, void *arg);
/* The envelope with its present state; with keep_edits also "edits", the earlier texts. */
void chat_message_get(struct chat *c, const char *user, const char *message, chat_done done,
    void *arg);
/* For the administrator: what is known of it and where it is. */
void chat_message_show(struct chat *c, const char *message, chat_done done, void *arg);

/*
 * Has read up to seq: moves forward only, and not beyond the newest event.  The answer is
 * {"conversation_id","seq"}: where the position is now.  The user's devices and, but in
 * channels, the other members hear read.updated.
 */
void chat_read_set(struct chat *c, const char *user,
    const char *conversation, uint64_t seq, chat_done done, void *arg);
/* Of this user alone, whose devices hear mute.updated. */
void chat_mute(struct chat *c, const char *user, const char *conversation, bool mute,
    chat_done done, void *arg);

struct chat_page {
	const char *conversation;
	uint64_t before, after, around; /* at most one is not 0 */
	bool has_after;                 /* after=0 is a position, too */
	size_t limit;
};
void chat_history(struct chat *c, const char *user, const struct chat_page *in, chat_done done,
    void *arg);

struct chat_sync_entry {
	char conversation[ID_MAX];
	uint64_t after;
};
/* Of more than 8 at once of one user at this worker the next is refused: ERR_RATE_LIMITED. */
void chat_sync(struct chat *c, const char *user, const struct chat_sync_entry *entries,
    size_t count, size_t limit, chat_done done, void *arg);

/*
 * Ephemeral; ends by itself 6 s after the last call, or with the client.  ERR_NOT_FOUND: the
 * user is no member; ERR_ARCHIVED.
 */
void chat_typing(struct chat *c, struct client *client, const char *conversation, bool typing,
    chat_done done, void *arg);

/* ---- files (files.c) ---- */

/*
 * An upload, piece by piece.  It answers once, through the done() of its begin, with
 * {"id","name","type","size"}: also in the middle of it, with what is wrong; then it is gone,
 * and when it is aborted.
 */
struct chat_upload;
struct chat_upload_ops {
	chat_done done;
	void (*more)(void *arg); /* the last piece was taken; maybe at once */
};
/*
 * name: of the file; type: a Content-Type, or NULL.  NULL: it was answered: ERR_INVALID_FIELD
 * (/name, /type), ERR_FORBIDDEN: there are no uploads, ERR_RATE_LIMITED: CHAT_UPLOADS of the
 * user are under way at this worker.
 */
#define CHAT_UPLOADS 4
struct chat_upload *chat_upload_begin(struct chat *c, const char *user, const char *name,
    const char *type, const struct chat_upload_ops *ops, void *arg);
size_t chat_upload_max(const struct chat *c); /* bytes; the caller sees to it */
void chat_upload_data(struct chat_upload *u, struct buf *b); /* takes what is in b */
/* ERR_QUOTA, ERR_STORAGE_FULL. */
void chat_upload_end(struct chat_upload *u);
void chat_upload_abort(struct chat_upload *u); /* nobody is answered */

/*
 * A file is there for its owner, and for who may read the message that has it.  Else, and
 * when the message was deleted, ERR_NOT_FOUND.
 */
void chat_file_get(struct chat *c, const char *user, const char *id, chat_done done, void *arg);
/* f: valid in the call; only without err.  Runs once, maybe at once. */
typedef void (*chat_file_cb)(void *arg, int err, const struct file *f);
void chat_file_find(struct chat *c, const char *user, const char *id, chat_file_cb cb, void *arg);
/* The bytes of it, as of content.h. */
struct content_reader *chat_file_open(struct chat *c, const char *id);
int chat_file_read(struct content_reader *r, uint64_t offset, size_t len, content_read_cb cb,
    void *arg);
void chat_file_close(struct content_reader **r);
/* The owner's, while no message has it: else ERR_FILE_IN_USE. */
void chat_file_delete(struct chat *c, const char *user, const char *id, chat_done done, void *arg);

/* ---- presence (presence.c) ---- */

#define CHAT_PRESENCE_MAX 100 /* users in one question */

/* The state of one device: "online" or "away"; 0, ERR_INVALID_FIELD. */
int chat_presence_set(struct chat *c, struct client *client, const char *status);
/*
 * {"items":[{"user_id","status","last_seen_at"}]}: of these users those who share a
 * conversation with the asker; last_seen_at of who is offline, else null.  pointer: what an
 * error of the list is said of.
 */
void chat_presence_get(struct chat *c, const char *user, const char *const *users, size_t count,
    const char *pointer, chat_done done, void *arg);

#endif
