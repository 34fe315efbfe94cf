/* SPDX-License-Identifier: ISC */
/*
 * roles: who may do what in a conversation: the table of rules, as pure functions.
 * Any thread.
 */
#ifndef PALAVER_CHAT_ROLES_H
#define PALAVER_CHAT_ROLES_H

#include <stdbool.h>

#include "model/conversation.h"

enum role_action {
	ACTION_SEND,           /* also type, edit, delete and react to: one's own and others' */
	ACTION_DELETE_ANOTHERS, /* another's message */
	ACTION_ADD,            /* other users, as members */
	ACTION_JOIN,           /* oneself, who is no member */
	ACTION_REMOVE,         /* another; see role_may_remove() too */
	ACTION_LEAVE,          /* see role_is_last_owner() too */
	ACTION_SET_ROLE,       /* see role_is_last_owner() too */
	ACTION_CHANGE,         /* name, topic, public, history; archiving */
	ACTION_UNARCHIVE,
	ROLE_ACTIONS
};

/* What the rules look at. */
struct role_facts {
	enum conversation_type type;
	bool archived, is_public;
	enum member_role role; /* of who acts; ROLE_NONE: no member */
};

/*
 * 0; ERR_NOT_FOUND: who acts is a stranger and does not learn that there is such a
 * conversation; ERR_FORBIDDEN: no member with this role, or nobody in this type, may do
 * it; ERR_ARCHIVED: one who might cannot now.
 */
int role_check(const struct role_facts *f, enum role_action action);

int role_check_member(const struct membership *m, enum role_action action); /* the same */

/* Of a smaller role than one's own. */
bool role_may_remove(enum member_role actor, enum member_role target);
/* Is this user an owner, and no other member one? */
bool role_is_last_owner(const struct conversation *c, const char *user);

#endif
