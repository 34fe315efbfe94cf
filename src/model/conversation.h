/* SPDX-License-Identifier: ISC */
/*
 * conversation: who talks to whom.  Plain data.
 */
#ifndef PALAVER_MODEL_CONVERSATION_H
#define PALAVER_MODEL_CONVERSATION_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "lib/buf.h"
#include "lib/id.h"

#define CONVERSATION_NAME_MAX    128 /* bytes, UTF-8 */
#define CONVERSATION_MEMBERS_MAX 1000

#define CONVERSATION_TOPIC_MAX 512 /* bytes, UTF-8 */
#define UNREAD_MAX             1000

/* On disk.  A channel that is public can be listed and joined by every user. */
enum conversation_type {
	CONVERSATION_DIRECT = 1,
	CONVERSATION_GROUP = 2,
	CONVERSATION_CHANNEL = 3
};
/* On disk; a greater one may do whatever a smaller one may. */
enum member_role { ROLE_NONE = 0, ROLE_MEMBER = 1, ROLE_ADMIN = 2, ROLE_OWNER = 3 };
/* What of the past a new member may read; on disk. */
enum conversation_history { HISTORY_ALL = 0, HISTORY_JOINED = 1 };

struct member {
	char user[ID_MAX];
	enum member_role role;
	uint64_t since;    /* sees only events with a greater seq; 0: all */
	char username[33]; /* for display; "" where the store was not asked for it */
	char name[129];
};

struct conversation {
	char id[ID_MAX]; /* cnv_.. */
	enum conversation_type type;
	char name[CONVERSATION_NAME_MAX + 1]; /* "" for direct */
	char topic[CONVERSATION_TOPIC_MAX + 1];
	char creator[ID_MAX];
	int64_t created_ms;
	bool archived, is_public;
	enum conversation_history history;
	uint64_t version; /* counts changes, of members too; from 1 */
	struct member *members;
	size_t member_count;
	size_t member_total; /* where the members themselves were not asked for */
};

/* One user's place in one conversation. */
struct membership {
	char conversation[ID_MAX];
	enum conversation_type type;
	enum member_role role;
	bool archived; /* the conversation is */
	bool muted;
	uint64_t since; /* as in struct member */
	uint64_t read;  /* has read up to here */
	/* Only where the store was asked for a list; as far as it has got (archiver). */
	uint64_t last;                 /* the last event's number; 0: none */
	unsigned int unread, mentions; /* of others, after read and not deleted; at most UNREAD_MAX */
};

struct conversation *conversation_new(void);
void conversation_free(struct conversation **c);
struct member *conversation_add_member(struct conversation *c, const char *user);
const char *conversation_type_name(enum conversation_type type);
const char *member_role_name(enum member_role role);  /* "owner", "admin", "member" */
enum member_role member_role_parse(const char *text); /* ROLE_NONE: none of them */
const char *conversation_history_name(enum conversation_history history); /* "all", "joined" */
bool conversation_history_parse(const char *text, enum conversation_history *history_r);

/*
 * {"id","type","name","topic","creator_id","created_at","archived","public","history",
 * "version","members":[{"user_id","username","name","role"}]}
 */
void conversation_json(struct buf *b, const struct conversation *c);
/* The same with "member_count" for "members": for who is no member of it. */
void conversation_summary_json(struct buf *b, const struct conversation *c);
/* {"user_id","username","name","role"} */
void member_json(struct buf *b, const struct member *m);
/*
 * As conversation_json(), with what it is to one member: "role", "muted", "read_seq", "last_seq",
 * "unread_count", "mention_count".
 */
void conversation_member_json(
    struct buf *b, const struct conversation *c, const struct membership *m);

#endif
