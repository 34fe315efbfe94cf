/* SPDX-License-Identifier: ISC */
/*
 * conversation: who talks to whom.  Plain data.
 */
#ifndef PALAVER_MODEL_CONVERSATION_H
#define PALAVER_MODEL_CONVERSATION_H

#include <stddef.h>
#include <stdint.h>

#include "lib/buf.h"
#include "lib/id.h"

#define CONVERSATION_NAME_MAX    128 /* bytes, UTF-8 */
#define CONVERSATION_MEMBERS_MAX 1000

enum conversation_type { CONVERSATION_DIRECT = 1, CONVERSATION_GROUP = 2 }; /* on disk */

struct member {
	char user[ID_MAX];
	char username[33]; /* for display; "" where the store was not asked for it */
	char name[129];
};

struct conversation {
	char id[ID_MAX]; /* cnv_.. */
	enum conversation_type type;
	char name[CONVERSATION_NAME_MAX + 1]; /* "" for direct */
	char creator[ID_MAX];
	int64_t created_ms;
	struct member *members;
	size_t member_count;
};

struct conversation *conversation_new(void);
void conversation_free(struct conversation **c);
struct member *conversation_add_member(struct conversation *c, const char *user);
const char *conversation_type_name(enum conversation_type type);

/* {"id","type","name","creator_id","created_at","members":[{"user_id","username","name"}]} */
void conversation_json(struct buf *b, const struct conversation *c);

#endif
