/* SPDX-License-Identifier: ISC */
/*
 * event: one change in a conversation, the unit that is numbered, published,
 * made durable, archived and resumed from.  Immutable once numbered; shared by
 * reference within a process, packed between processes and on disk, and one
 * envelope of JSON everywhere outside:
 *
 * {"id":"msg_..","type":"message.created","conversation_id":"cnv_..","seq":7,
 *  "created_at":"2026-11-24T09:28:35.123Z","data":{..}}
 *
 * A reference count belongs to one thread; hand a packed copy to a job.
 */
#ifndef PALAVER_MODEL_EVENT_H
#define PALAVER_MODEL_EVENT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "lib/buf.h"
#include "lib/id.h"
#include "lib/json.h"
#include "lib/pack.h"

#define EVENT_DIGEST    16
#define EVENT_DEDUP_MAX 40 /* a client_msg_id is a UUID: 36 characters and NUL */
#define EVENT_DATA_MAX  (256U * 1024)

enum event_type {
	EVENT_MESSAGE_CREATED = 1,
	EVENT_CONVERSATION_CREATED = 2,
	EVENT_MEMBER_JOINED = 3,
	EVENT_MESSAGE_UPDATED = 4,
	EVENT_MESSAGE_DELETED = 5,
	EVENT_REACTION_ADDED = 6,
	EVENT_REACTION_REMOVED = 7,
	EVENT_MEMBER_LEFT = 8,
	EVENT_MEMBER_UPDATED = 9,
	EVENT_CONVERSATION_UPDATED = 10,
	EVENT_TYPE_COUNT /* numbers are on disk: append only */
};

struct event {
	unsigned int refs;
	enum event_type type;
	char id[ID_MAX];           /* msg_.., of the event itself */
	char conversation[ID_MAX]; /* cnv_.. */
	char sender[ID_MAX];       /* usr_.., who caused it */
	/*
	 * The client's own id of the send; with sender and conversation it names the
	 * send for good.  "" where the client gives none: then the id serves.
	 */
	char client_id[EVENT_DEDUP_MAX];
	/* msg_.. that this changes: of edits, deletions and reactions; else "" */
	char ref[ID_MAX];
	uint8_t digest[EVENT_DIGEST]; /* of type and data: the same client_id must bring the same */
	uint64_t seq;                 /* 0: not numbered yet.  < 2^53 */
	int64_t created_ms;           /* set with the number */
	char *data;                   /* a JSON object as text, compact */
	size_t data_len;
};

const char *event_type_name(enum event_type type); /* "message.created"; NULL: unknown */

/*
 * A new event with a new id, one reference, not numbered.  data is copied,
 * <= EVENT_DATA_MAX; the digest is computed here.
 */
struct event *event_new(enum event_type type, const char *conversation, const char *sender,
    const char *client_id, const char *data, size_t data_len);
/* The same for one that changes the message ref. */
struct event *event_new_about(enum event_type type, const char *conversation, const char *sender,
    const char *client_id, const char *ref, const char *data, size_t data_len);
struct event *event_ref(struct event *ev);
void event_unref(struct event **ev);
/* A copy with seq and created_ms set: what submit makes of an event. */
struct event *event_numbered(const struct event *ev, uint64_t seq, int64_t created_ms);

void event_pack(struct buf *b, const struct event *ev);
/* NULL: damaged (u is then bad).  One reference. */
struct event *event_unpack(struct unpack *u);

/*
 * The data of an event that has members, which the caller puts, and their list; NULL (logged): it
 * is damaged.
 */
struct json_object *event_members(const struct event *ev, struct json_object **members_r);
const char *event_member(struct json_object *members, size_t i); /* usr_..; NULL: damaged */

void event_envelope(struct buf *b, const struct event *ev); /* appends the JSON */

#endif
