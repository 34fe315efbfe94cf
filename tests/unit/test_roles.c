/* SPDX-License-Identifier: ISC */
/* roles: every role, action and type, archived or not, against the table as people read it. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "chat/roles.h"
#include "model/error.h"

/*
 * One letter for each of stranger, member, admin, owner: "." may do it, "?" does not learn
 * that there is such a thing, "-" may not, "a" might, but it is archived.  Then the
 * same while it is archived.
 */
static const struct row {
	enum conversation_type type;
	bool is_public;
	enum role_action action;
	const char *now, *archived;
} table[] = {
    {CONVERSATION_DIRECT, false, ACTION_SEND, "?...", "?aaa"},
    {CONVERSATION_DIRECT, false, ACTION_DELETE_ANOTHERS, "?---", "?---"},
    {CONVERSATION_DIRECT, false, ACTION_ADD, "?---", "?---"},
    {CONVERSATION_DIRECT, false, ACTION_JOIN, "?---", "?---"},
    {CONVERSATION_DIRECT, false, ACTION_REMOVE, "?---", "?---"},
    {CONVERSATION_DIRECT, false, ACTION_LEAVE, "?---", "?---"},
    {CONVERSATION_DIRECT, false, ACTION_SET_ROLE, "?---", "?---"},
    {CONVERSATION_DIRECT, false, ACTION_CHANGE, "?---", "?---"},
    {CONVERSATION_DIRECT, false, ACTION_UNARCHIVE, "?---", "?---"},
    {CONVERSATION_GROUP, false, ACTION_SEND, "?...", "?aaa"},
    {CONVERSATION_GROUP, false, ACTION_DELETE_ANOTHERS, "?-..", "?-aa"},
    {CONVERSATION_GROUP, false, ACTION_ADD, "?...", "?aaa"},
    {CONVERSATION_GROUP, false, ACTION_JOIN, "?---", "?---"},
    {CONVERSATION_GROUP, false, ACTION_REMOVE, "?-..", "?-aa"},
    {CONVERSATION_GROUP, false, ACTION_LEAVE, "?...", "?aaa"},
    {CONVERSATION_GROUP, false, ACTION_SET_ROLE, "?--.", "?--a"},
    {CONVERSATION_GROUP, false, ACTION_CHANGE, "?-..", "?-aa"},
    {CONVERSATION_GROUP, false, ACTION_UNARCHIVE, "?-..", "?-.."},
    {CONVERSATION_CHANNEL, false, ACTION_SEND, "?...", "?aaa"},
    {CONVERSATION_CHANNEL, false, ACTION_DELETE_ANOTHERS, "?-..", "?-aa"},
    {CONVERSATION_CHANNEL, false, ACTION_ADD, "?-..", "?-aa"},
    {CONVERSATION_CHANNEL, false, ACTION_JOIN, "?...", "?aaa"},
    {CONVERSATION_CHANNEL, false, ACTION_REMOVE, "?-..", "?-aa"},
    {CONVERSATION_CHANNEL, false, ACTION_LEAVE, "?...", "?aaa"},
    {CONVERSATION_CHANNEL, false, ACTION_SET_ROLE, "?--.", "?--a"},
    {CONVERSATION_CHANNEL, false, ACTION_CHANGE, "?-..", "?-aa"},
    {CONVERSATION_CHANNEL, false, ACTION_UNARCHIVE, "?-..", "?-.."},
    {CONVERSATION_CHANNEL, true, ACTION_SEND, "?...", "?aaa"},
    {CONVERSATION_CHANNEL, true, ACTION_DELETE_ANOTHERS, "?-..", "?-aa"},
    {CONVERSATION_CHANNEL, true, ACTION_ADD, "?-..", "?-aa"},
    {CONVERSATION_CHANNEL, true, ACTION_JOIN, "....", "aaaa"},
    {CONVERSATION_CHANNEL, true, ACTION_REMOVE, "?-..", "?-aa"},
    {CONVERSATION_CHANNEL, true, ACTION_LEAVE, "?...", "?aaa"},
    {CONVERSATION_CHANNEL, true, ACTION_SET_ROLE, "?--.", "?--a"},
    {CONVERSATION_CHANNEL, true, ACTION_CHANGE, "?-..", "?-aa"},
    {CONVERSATION_CHANNEL, true, ACTION_UNARCHIVE, "?-..", "?-.."},
};
#define ROWS (sizeof(table) / sizeof(*table))

static int
error_of(char letter)
{
	switch (letter) {
	case '.':
		return 0;
	case '?':
		return ERR_NOT_FOUND;
	case 'a':
		return ERR_ARCHIVED;
	default:
		return ERR_FORBIDDEN;
	}
}

static void
every_role_may_do_what_the_table_says(void **state)
{
	assert_int_equal(ROWS, 4 * ROLE_ACTIONS); /* of three types, and of public channels */
	for (size_t i = 0; i < ROWS; i++) {
		const struct row *r = &table[i];

		for (int role = ROLE_NONE; role <= ROLE_OWNER; role++) {
			struct role_facts f = {
			    r->type, false, r->is_public, (enum member_role)role};

			assert_int_equal(role_check(&f, r->action), error_of(r->now[role]));
			f.archived = true;
			assert_int_equal(role_check(&f, r->action), error_of(r->archived[role]));
		}
	}
}

static void
only_a_smaller_role_is_removed(void **state)
{
	for (int actor = ROLE_MEMBER; actor <= ROLE_OWNER; actor++)
		for (int target = ROLE_MEMBER; target <= ROLE_OWNER; target++)
			assert_int_equal(
			    role_may_remove((enum member_role)actor, (enum member_role)target),
			    target < actor);
}

static void
the_last_owner_is_known(void **state)
{
	struct conversation *c = conversation_new();

	assert_false(role_is_last_owner(c, "usr_a"));
	conversation_add_member(c, "usr_a")->role = ROLE_OWNER;
	conversation_add_member(c, "usr_b")->role = ROLE_ADMIN;
	assert_true(role_is_last_owner(c, "usr_a"));
	assert_false(role_is_last_owner(c, "usr_b"));
	c->members[1].role = ROLE_OWNER;
	assert_false(role_is_last_owner(c, "usr_a"));
	assert_false(role_is_last_owner(c, "usr_b"));
	c->members[0].role = ROLE_MEMBER;
	assert_false(role_is_last_owner(c, "usr_a"));
	assert_true(role_is_last_owner(c, "usr_b"));
	conversation_free(&c);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(every_role_may_do_what_the_table_says),
	    cmocka_unit_test(only_a_smaller_role_is_removed),
	    cmocka_unit_test(the_last_owner_is_known),
	};

	cmocka_set_message_output(CM_OUTPUT_TAP);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
