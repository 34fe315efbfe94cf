/* SPDX-License-Identifier: ISC */
/*
 * The contract of store.h, run on every implementation: profiles, deactivation and
 * invitations.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "lib/log.h"
#include "model/error.h"
#include "store/sqlite.h"
#include "store/store.h"

#include "../lib/store_help.h"

/* ---- profiles ---- */

static struct store_req *
make_update(const char *id, const char *name, uint64_t version)
{
	struct store_req *req = make(STORE_USER_UPDATE, "", NULL);

	str_copy(req->user.id, sizeof(req->user.id), id);
	str_copy(req->user.name, sizeof(req->user.name), name);
	str_copy(req->user.avatar, sizeof(req->user.avatar), "https://example.org/a.png");
	str_copy(req->user.bio, sizeof(req->user.bio), "I 'quote' and \xe2\x82\xac");
	str_copy(req->user.time_zone, sizeof(req->user.time_zone), "Europe/Vienna");
	req->after = version;
	return req;
}

static struct user
get_user(const struct fixture *f, const char *id)
{
	struct store_req *req = must(f, make(STORE_USER_BY_ID, id, NULL));
	struct user u = req->users[0];

	store_req_free(&req);
	return u;
}

static void
a_profile_changes_only_at_the_version_that_was_read(void **state)
{
	struct fixture *f = *state;
	struct store_req *req;
	char anna[ID_MAX];
	struct user u;

	add_user(f, "anna", anna);
	u = get_user(f, anna);
	assert_int_equal(u.version, 1);
	assert_string_equal(u.avatar, "");
	req = must(f, make_update(anna, "Anna", 1));
	assert_int_equal(req->users[0].version, 2);
	assert_string_equal(req->users[0].name, "Anna");
	store_req_free(&req);
	assert_int_equal(run_free(f, make_update(anna, "Late", 1)), ERR_CONFLICT);
	assert_int_equal(run_free(f, make_update(NOBODY, "None", 1)), ERR_NOT_FOUND);
	reopen(f);
	u = get_user(f, anna);
	assert_int_equal(u.version, 2);
	assert_string_equal(u.name, "Anna");
	assert_string_equal(u.avatar, "https://example.org/a.png");
	assert_string_equal(u.bio, "I 'quote' and \xe2\x82\xac");
	assert_string_equal(u.time_zone, "Europe/Vienna");
	assert_string_equal(u.password, "$y$secret");
	assert_int_equal(run_free(f, make_update(anna, "Again", 2)), 0);
}

static size_t
count_listed(const struct fixture *f, bool deactivated_too)
{
	struct store_req *req = make(STORE_USER_LIST, "", "");
	size_t n;

	req->flag = deactivated_too;
	n = must(f, req)->user_count;
	store_req_free(&req);
	return n;
}

static struct store_req *
make_deactivate(const char *id, int64_t now_ms)
{
	struct store_req *req = make(STORE_USER_DEACTIVATE, id, NULL);

	req->now_ms = now_ms;
	return req;
}

static void
who_is_deactivated_keeps_the_name_and_loses_the_sessions(void **state)
{
	struct fixture *f = *state;
	char anna[ID_MAX], bob[ID_MAX];

	add_user(f, "anna", anna);
	add_user(f, "bob", bob);
	assert_int_equal(run_free(f, make_session(anna, 1, 100)), 0);
	assert_int_equal(run_free(f, make_session(bob, 2, 100)), 0);
	assert_int_equal(run_free(f, make_deactivate(anna, 5000)), 0);
	assert_int_equal(count_sessions(f, anna, 1), 0);
	assert_int_equal(count_sessions(f, bob, 1), 1);
	assert_int_equal(run_free(f, make_user("anna", "Other")), ERR_USERNAME_TAKEN);
	assert_int_equal(get_user(f, anna).deactivated_ms, 5000);
	assert_int_equal(get_user(f, anna).version, 2);
	assert_int_equal(run_free(f, make_deactivate(anna, 9000)), 0);
	assert_int_equal(get_user(f, anna).deactivated_ms, 5000); /* the first time counts */
	assert_int_equal(get_user(f, anna).version, 2);
	assert_int_equal(count_listed(f, false), 1);
	assert_int_equal(count_listed(f, true), 2);
	assert_int_equal(run_free(f, make_deactivate(NOBODY, 1)), ERR_NOT_FOUND);
}

static void
unlocking_makes_an_account_active_again(void **state)
{
	struct fixture *f = *state;
	struct store_req *req;
	char anna[ID_MAX];

	add_user(f, "anna", anna);
	assert_int_equal(run_free(f, make_deactivate(anna, 5000)), 0);
	req = make(STORE_USER_SET_LOCKED, anna, NULL);
	req->flag = true;
	assert_int_equal(run_free(f, req), 0);
	assert_int_equal(get_user(f, anna).deactivated_ms, 5000);
	assert_int_equal(run_free(f, make(STORE_USER_SET_LOCKED, anna, NULL)), 0);
	assert_int_equal(get_user(f, anna).deactivated_ms, 0);
	assert_false(get_user(f, anna).locked);
}

/* ---- invitations ---- */

static struct store_req *
make_invitation(uint8_t code, uint64_t uses, int64_t expires_ms, char id_r[ID_MAX])
{
	struct store_req *req = make(STORE_INVITATION_CREATE, "", NULL);
	struct invitation *inv = &req->invitation;

	id_new(inv->id, "inv");
	str_copy(id_r, ID_MAX, inv->id);
	memset(inv->code_hash, code, TOKEN_HASH);
	inv->uses_left = uses;
	inv->created_ms = 10;
	inv->expires_ms = expires_ms;
	str_copy(inv->note, sizeof(inv->note), "for \xe2\x82\xac");
	return req;
}

static int
sign_up(const struct fixture *f, const char *username, uint8_t code, int64_t now_ms)
{
	struct store_req *req = make_user(username, username);

	req->flag = true;
	memset(req->invitation.code_hash, code, TOKEN_HASH);
	req->now_ms = now_ms;
	return run_free(f, req);
}

static void
an_invitation_is_good_for_its_uses_and_its_time(void **state)
{
	struct fixture *f = *state;
	char id[ID_MAX];

	assert_int_equal(run_free(f, make_invitation(1, 2, 100, id)), 0);
	assert_int_equal(run_free(f, make_invitation(1, 2, 100, id)), ERR_CONFLICT);
	assert_int_equal(run_free(f, make_invitation(2, 1, 100, id)), 0);
	assert_int_equal(sign_up(f, "anna", 9, 50), ERR_INVITATION);  /* nobody made it */
	assert_int_equal(sign_up(f, "anna", 1, 100), ERR_INVITATION); /* too late */
	assert_int_equal(sign_up(f, "anna", 1, 99), 0);
	reopen(f);
	assert_int_equal(sign_up(f, "anna", 1, 50), ERR_USERNAME_TAKEN); /* costs no use */
	assert_int_equal(sign_up(f, "bob", 1, 50), 0);
	assert_int_equal(sign_up(f, "carl", 1, 50), ERR_INVITATION); /* used up */
	assert_int_equal(sign_up(f, "anna", 1, 50), ERR_INVITATION); /* says nothing of names */
	assert_int_equal(sign_up(f, "carl", 2, 50), 0);
}

static void
invitations_are_listed_in_pages_and_deleted(void **state)
{
	struct fixture *f = *state;
	struct store_req *req;
	char first[ID_MAX], second[ID_MAX];

	assert_int_equal(run_free(f, make_invitation(1, 3, 100, first)), 0);
	assert_int_equal(run_free(f, make_invitation(2, 1, 200, second)), 0);
	req = make(STORE_INVITATION_LIST, "", NULL);
	req->limit = 1;
	must(f, req);
	assert_int_equal(req->invitation_count, 1);
	assert_string_equal(req->invitations[0].id, first);
	assert_int_equal(req->invitations[0].uses_left, 3);
	assert_int_equal(req->invitations[0].created_ms, 10);
	assert_int_equal(req->invitations[0].expires_ms, 100);
	assert_string_equal(req->invitations[0].note, "for \xe2\x82\xac");
	store_req_free(&req);
	req = make(STORE_INVITATION_LIST, "", NULL);
	req->cursor = xstrdup(first);
	must(f, req);
	assert_int_equal(req->invitation_count, 1);
	assert_string_equal(req->invitations[0].id, second);
	store_req_free(&req);
	assert_int_equal(run_free(f, make(STORE_INVITATION_DELETE, first, NULL)), 0);
	assert_int_equal(run_free(f, make(STORE_INVITATION_DELETE, first, NULL)), ERR_NOT_FOUND);
	assert_int_equal(sign_up(f, "anna", 1, 50), ERR_INVITATION);
}

int
main(void)
{
	struct CMUnitTest tests[] = {
	    TEST(a_profile_changes_only_at_the_version_that_was_read),
	    TEST(who_is_deactivated_keeps_the_name_and_loses_the_sessions),
	    TEST(unlocking_makes_an_account_active_again),
	    TEST(an_invitation_is_good_for_its_uses_and_its_time),
	    TEST(invitations_are_listed_in_pages_and_deleted),
	};

	return run_on_each(tests, sizeof(tests) / sizeof(*tests));
}
