/* SPDX-License-Identifier: ISC */
/*
 * conversation: conversations and members as data.  Pure; any thread.
 */
#include "model/conversation.h"

#include <stdlib.h>
#include <string.h>

#include "lib/clock.h"
#include "lib/json.h"

struct conversation *
conversation_new(void)
{
	return xcalloc(1, sizeof(struct conversation));
}

void
conversation_free(struct conversation **cp)
{
	struct conversation *c = *cp;

	*cp = NULL;
	if (!c)
		return;
	free(c->members);
	free(c);
}

struct member *
conversation_add_member(struct conversation *c, const char *user)
{
	struct member *m;

	c->members = xrealloc(c->members, (c->member_count + 1) * sizeof(*c->members));
	m = &c->members[c->member_count++];
	memset(m, 0, sizeof(*m));
	str_copy(m->user, sizeof(m->user), user);
	m->role = ROLE_MEMBER;
	return m;
}

const char *
conversation_type_name(enum conversation_type type)
{
	switch (type) {
	case CONVERSATION_DIRECT:
		return "direct";
	case CONVERSATION_CHANNEL:
		return "channel";
	default:
		return "group";
	}
}

static const char *const roles[] = {"", "member", "admin", "owner"};

const char *
member_role_name(enum member_role role)
{
	return roles[role];
}

enum member_role
member_role_parse(const char *text)
{
	for (enum member_role r = ROLE_MEMBER; r <= ROLE_OWNER; r++)
		if (strcmp(roles[r], text) == 0)
			return r;
	return ROLE_NONE;
}

void
conversation_json(struct buf *b, const struct conversation *c)
{
	char when[CLOCK_TEXT_MAX];

	clock_format(c->created_ms, when);
	buf_printf(
	    b, "{\"id\":\"%s\",\"type\":\"%s\",\"name\":", c->id, conversation_type_name(c->type));
	json_put_string(b, c->name, strlen(c->name));
	buf_puts(b, ",\"topic\":");
	json_put_string(b, c->topic, strlen(c->topic));
	buf_printf(b,
	    ",\"creator_id\":\"%s\",\"created_at\":\"%s\",\"archived\":%s,\"public\":%s,"
	    "\"history\":\"%s\",\"version\":%llu,\"members\":[",
	    c->creator, when, c->archived ? "true" : "false", c->is_public ? "true" : "false",
	    c->history == HISTORY_ALL ? "all" : "joined", (unsigned long long)c->version);
	for (size_t i = 0; i < c->member_count; i++) {
		const struct member *m = &c->members[i];

		buf_printf(b, "%s{\"user_id\":\"%s\",\"username\":\"%s\",\"name\":", i ? "," : "",
		    m->user, m->username);
		json_put_string(b, m->name, strlen(m->name));
		buf_printf(b, ",\"role\":\"%s\"}", member_role_name(m->role));
	}
	buf_puts(b, "]}");
}
