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

const char *
conversation_history_name(enum conversation_history history)
{
	return history == HISTORY_ALL ? "all" : "joined";
}

bool
conversation_history_parse(const char *text, enum conversation_history *history_r)
{
	*history_r = strcmp(text, "joined") == 0 ? HISTORY_JOINED : HISTORY_ALL;
	return strcmp(text, conversation_history_name(*history_r)) == 0;
}

void
member_json(struct buf *b, const struct member *m)
{
	buf_printf(b, "{\"user_id\":\"%s\",\"username\":\"%s\",\"name\":", m->user, m->username);
	json_put_string(b, m->name, strlen(m->name));
	buf_printf(b, ",\"role\":\"%s\"}", member_role_name(m->role));
}

/* All but the members and the closing brace. */
static void
put_head(struct buf *b, const struct conversation *c)
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
	    "\"history\":\"%s\",\"version\":%llu",
	    c->creator, when, c->archived ? "true" : "false", c->is_public ? "true" : "false",
	    conversation_history_name(c->history), (unsigned long long)c->version);
}

void
conversation_json(struct buf *b, const struct conversation *c)
{
	put_head(b, c);
	buf_puts(b, ",\"members\":[");
	for (size_t i = 0; i < c->member_count; i++) {
		if (i)
			buf_putc(b, ',');
		member_json(b, &c->members[i]);
	}
	buf_puts(b, "]}");
}

void
conversation_summary_json(struct buf *b, const struct conversation *c)
{
	put_head(b, c);
	buf_printf(
	    b, ",\"member_count\":%zu}", c->member_count ? c->member_count : c->member_total);
}

void
conversation_member_json(struct buf *b, const struct conversation *c, const struct membership *m)
{
	conversation_json(b, c);
	b->len--; /* the closing brace */
	buf_printf(b,
	    ",\"role\":\"%s\",\"muted\":%s,\"read_seq\":%llu,\"last_seq\":%llu,"
	    "\"unread_count\":%u,\"mention_count\":%u}",
	    member_role_name(m->role), m->muted ? "true" : "false", (unsigned long long)m->read,
	    (unsigned long long)m->last, m->unread, m->mentions);
}
