/* SPDX-License-Identifier: ISC */
/*
 * roles: see roles.h.  Pure.
 */
#include "chat/roles.h"

#include <string.h>

#include "model/error.h"

#define NOBODY (ROLE_OWNER + 1)

/* The smallest role that may do it, by type, and whether it can be done while archived. */
static const struct rule {
	int direct, group, channel;
	bool archived_too;
} rules[ROLE_ACTIONS] = {
    [ACTION_SEND] = {ROLE_MEMBER, ROLE_MEMBER, ROLE_MEMBER, false},
    [ACTION_DELETE_ANOTHERS] = {NOBODY, ROLE_ADMIN, ROLE_ADMIN, false},
    [ACTION_ADD] = {NOBODY, ROLE_MEMBER, ROLE_ADMIN, false},
    [ACTION_JOIN] = {NOBODY, NOBODY, ROLE_NONE, false},
    [ACTION_REMOVE] = {NOBODY, ROLE_ADMIN, ROLE_ADMIN, false},
    [ACTION_LEAVE] = {NOBODY, ROLE_MEMBER, ROLE_MEMBER, false},
    [ACTION_SET_ROLE] = {NOBODY, ROLE_OWNER, ROLE_OWNER, false},
    [ACTION_CHANGE] = {NOBODY, ROLE_ADMIN, ROLE_ADMIN, false},
    [ACTION_UNARCHIVE] = {NOBODY, ROLE_ADMIN, ROLE_ADMIN, true},
};

static int
needed(const struct rule *r, enum conversation_type type)
{
	switch (type) {
	case CONVERSATION_GROUP:
		return r->group;
	case CONVERSATION_CHANNEL:
		return r->channel;
	default:
		return r->direct;
	}
}

int
role_check(const struct role_facts *f, enum role_action action)
{
	const struct rule *r = &rules[action];

	/* A stranger may join what is public; of anything else he does not know. */
	if (f->role == ROLE_NONE && (action != ACTION_JOIN || !f->is_public))
		return ERR_NOT_FOUND;
	if ((int)f->role < needed(r, f->type))
		return ERR_FORBIDDEN;
	return f->archived && !r->archived_too ? ERR_ARCHIVED : 0;
}

int
role_check_member(const struct membership *m, enum role_action action)
{
	const struct role_facts f = {.type = m->type, .archived = m->archived, .role = m->role};

	return role_check(&f, action);
}

bool
role_may_remove(enum member_role actor, enum member_role target)
{
	return target < actor;
}

bool
role_is_last_owner(const struct conversation *c, const char *user)
{
	bool owner = false;

	for (size_t i = 0; i < c->member_count; i++) {
		if (c->members[i].role != ROLE_OWNER)
			continue;
		if (strcmp(c->members[i].user, user) != 0)
			return false;
		owner = true;
	}
	return owner;
}
