/* SPDX-License-Identifier: ISC */
/*
 * The contract of store.h, run on every implementation: logins, the rotation of their
 * tokens, how they end, and revocations.
 *
 * A token is known here by one byte, of which its hash consists.
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

#define GRACE 10
#define UNTIL 9000

static struct store_req *
make_rotation(uint8_t token, uint8_t next, int64_t now_ms)
{
	struct store_req *req = make(STORE_SESSION_ROTATE, "", NULL);

	memset(req->session.token_hash, token, TOKEN_HASH);
	memset(req->rotation.next_hash, next, TOKEN_HASH);
	memset(req->rotation.nonce, next ^ 0x80, TOKEN_HASH);
	str_copy(req->session.address, SESSION_ADDRESS_MAX, "192.0.2.2");
	str_copy(req->session.agent, SESSION_AGENT_MAX, "test/2");
	req->session.expires_ms = now_ms + 1000;
	req->rotation.grace_ms = GRACE;
	req->now_ms = now_ms;
	req->until_ms = UNTIL;
	req->why = SESSION_TOKEN_REUSED;
	return req;
}

static int
rotate(const struct fixture *f, uint8_t token, uint8_t next, int64_t now_ms)
{
	return run_free(f, make_rotation(token, next, now_ms));
}

static struct store_req *
make_logout(uint8_t token)
{
	struct store_req *req = make(STORE_SESSION_LOGOUT, "", NULL);

	memset(req->session.token_hash, token, TOKEN_HASH);
	req->until_ms = UNTIL;
	req->why = SESSION_LOGGED_OUT;
	return req;
}

static struct store_req *
make_revoke(const char *user, const char *session, bool all_but)
{
	struct store_req *req = make(STORE_SESSION_REVOKE, user, NULL);

	str_copy(req->session_id, sizeof(req->session_id), session);
	req->flag = all_but;
	req->until_ms = UNTIL;
	return req;
}

/* A session with this token; its id. */
static void
add_session(const struct fixture *f, const char *user, uint8_t token, char id_r[ID_MAX])
{
	struct store_req *req = make_session(user, token, 1000);

	str_copy(id_r, ID_MAX, req->session.id);
	assert_int_equal(run_free(f, req), 0);
}

static size_t
count_revocations(const struct fixture *f, int64_t now_ms)
{
	struct store_req *req = make(STORE_REVOCATIONS, "", NULL);
	size_t n;

	req->now_ms = now_ms;
	n = must(f, req)->revocation_count;
	store_req_free(&req);
	return n;
}

static void
a_session_is_made_for_who_may_log_in(void **state)
{
	struct fixture *f = *state;
	struct store_req *req;
	char anna[ID_MAX];

	add_user(f, "anna", anna);
	assert_int_equal(run_free(f, make_session(NOBODY, 1, 100)), ERR_NOT_FOUND);
	req = make_session(anna, 1, 100);
	strcpy(req->user.password, "$y$changed meanwhile");
	assert_int_equal(run_free(f, req), ERR_BAD_CREDENTIALS);
	req = make_session(anna, 1, 100);
	strcpy(req->user.password, "$y$secret");
	assert_int_equal(run_free(f, req), 0);
	assert_int_equal(run_free(f, make_session(anna, 1, 100)), ERR_CONFLICT);
	req = make(STORE_USER_SET_LOCKED, anna, NULL);
	req->flag = true;
	assert_int_equal(run_free(f, req), 0);
	assert_int_equal(run_free(f, make_session(anna, 2, 100)), ERR_USER_LOCKED);
	assert_int_equal(run_free(f, make(STORE_USER_SET_LOCKED, anna, NULL)), 0);
	assert_int_equal(run_free(f, make(STORE_USER_DEACTIVATE, anna, NULL)), 0);
	assert_int_equal(count_sessions(f, anna, 1), 0);
}

static void
a_token_is_spent_by_its_use(void **state)
{
	struct fixture *f = *state;
	char anna[ID_MAX], id[ID_MAX];
	struct store_req *req;

	add_user(f, "anna", anna);
	add_session(f, anna, 1, id);
	reopen(f);
	req = must(f, make_rotation(1, 2, 100));
	assert_false(req->flag);
	assert_string_equal(req->session.id, id);
	assert_string_equal(req->session.user, anna);
	assert_int_equal(req->session.created_ms, 10);
	assert_int_equal(req->session.used_ms, 100);
	assert_int_equal(req->session.expires_ms, 1100);
	assert_string_equal(req->users[0].username, "anna");
	store_req_free(&req);
	req = make(STORE_SESSION_LIST, anna, NULL);
	must(f, req);
	assert_int_equal(req->session_count, 1);
	assert_string_equal(req->sessions[0].id, id);
	assert_string_equal(req->sessions[0].address, "192.0.2.2");
	assert_string_equal(req->sessions[0].agent, "test/2");
	assert_int_equal(req->sessions[0].used_ms, 100);
	assert_int_equal(req->sessions[0].expires_ms, 1100);
	store_req_free(&req);
	assert_int_equal(rotate(f, 2, 3, 1099), 0);
	assert_int_equal(rotate(f, 3, 4, 2099), ERR_NOT_FOUND); /* expired */
	assert_int_equal(rotate(f, 9, 10, 100), ERR_NOT_FOUND);
}

static void
within_the_grace_a_spent_token_changes_nothing(void **state)
{
	struct fixture *f = *state;
	char anna[ID_MAX], id[ID_MAX];
	struct store_req *req;
	uint8_t nonce[TOKEN_HASH], now_has[TOKEN_HASH];

	add_user(f, "anna", anna);
	add_session(f, anna, 1, id);
	assert_int_equal(rotate(f, 1, 2, 100), 0);
	req = must(f, make_rotation(1, 7, 100 + GRACE - 1));
	memset(nonce, 2 ^ 0x80, TOKEN_HASH);
	memset(now_has, 2, TOKEN_HASH);
	assert_true(req->flag);
	assert_string_equal(req->session.id, id);
	assert_memory_equal(req->rotation.nonce, nonce, TOKEN_HASH);
	assert_memory_equal(req->session.token_hash, now_has, TOKEN_HASH);
	assert_string_equal(req->users[0].id, anna);
	assert_int_equal(req->revocation_count, 0);
	store_req_free(&req);
	assert_int_equal(rotate(f, 7, 8, 110), ERR_NOT_FOUND);
	assert_int_equal(rotate(f, 2, 3, 110), 0);
	assert_int_equal(count_sessions(f, anna, 110), 1);
}

static void
a_spent_token_that_comes_later_ends_the_session(void **state)
{
	struct fixture *f = *state;
	char anna[ID_MAX], id[ID_MAX], other[ID_MAX];
	struct store_req *req;

	add_user(f, "anna", anna);
	add_session(f, anna, 1, id);
	add_session(f, anna, 50, other);
	assert_int_equal(rotate(f, 1, 2, 100), 0);
	assert_int_equal(rotate(f, 2, 3, 200), 0);
	req = make_rotation(1, 9, 100 + GRACE);
	assert_int_equal(run(f, req), ERR_TOKEN_REUSED);
	assert_int_equal(req->revocation_count, 1);
	assert_string_equal(req->revocations[0].session, id);
	assert_string_equal(req->revocations[0].user, anna);
	assert_int_equal(req->revocations[0].until_ms, UNTIL);
	assert_int_equal(req->revocations[0].why, SESSION_TOKEN_REUSED);
	store_req_free(&req);
	reopen(f);
	for (uint8_t token = 1; token <= 3; token++)
		assert_int_equal(rotate(f, token, 9, 210), ERR_NOT_FOUND);
	assert_int_equal(rotate(f, 50, 51, 210), 0); /* another login of the same user */
	assert_int_equal(count_revocations(f, UNTIL - 1), 1);
	assert_int_equal(count_revocations(f, UNTIL), 0);
}

static void
of_many_spent_tokens_the_last_are_known(void **state)
{
	struct fixture *f = *state;
	char anna[ID_MAX], id[ID_MAX];
	uint8_t first[TOKEN_HASH], second[TOKEN_HASH];

	add_user(f, "anna", anna);
	add_session(f, anna, 0, id);
	memset(first, 0, sizeof(first));
	for (int i = 0; i < STORE_SPENT_KEPT + 3; i++) {
		struct store_req *req = make_rotation(0, 0, 100 + i);

		memcpy(req->session.token_hash, first, TOKEN_HASH);
		memcpy(second, first, TOKEN_HASH);
		memcpy(second, &i, sizeof(i));
		second[TOKEN_HASH - 1] = 1;
		memcpy(req->rotation.next_hash, second, TOKEN_HASH);
		req->session.expires_ms = 100000;
		assert_int_equal(run_free(f, req), 0);
		memcpy(first, second, TOKEN_HASH);
	}
	assert_int_equal(rotate(f, 0, 9, 5000), ERR_NOT_FOUND); /* forgotten, not mistaken */
	assert_int_equal(count_sessions(f, anna, 5000), 1);
}

static void
logout_takes_a_spent_token_too(void **state)
{
	struct fixture *f = *state;
	char anna[ID_MAX], a[ID_MAX], b[ID_MAX];
	struct store_req *req;

	add_user(f, "anna", anna);
	add_session(f, anna, 1, a);
	add_session(f, anna, 2, b);
	assert_int_equal(rotate(f, 2, 3, 100), 0);
	req = must(f, make_logout(1));
	assert_int_equal(req->revocation_count, 1);
	assert_string_equal(req->revocations[0].session, a);
	assert_int_equal(req->revocations[0].why, SESSION_LOGGED_OUT);
	store_req_free(&req);
	assert_int_equal(count_sessions(f, anna, 100), 1);
	req = must(f, make_logout(2));
	assert_string_equal(req->revocations[0].session, b);
	store_req_free(&req);
	assert_int_equal(count_sessions(f, anna, 100), 0);
	req = must(f, make_logout(1));
	assert_int_equal(req->revocation_count, 0);
	store_req_free(&req);
}

static void
one_all_or_all_others_are_revoked(void **state)
{
	struct fixture *f = *state;
	char anna[ID_MAX], bob[ID_MAX], a[4][ID_MAX], b[ID_MAX];
	struct store_req *req;

	add_user(f, "anna", anna);
	add_user(f, "bob", bob);
	for (uint8_t i = 0; i < 4; i++)
		add_session(f, anna, i, a[i]);
	add_session(f, bob, 9, b);
	assert_int_equal(run_free(f, make_revoke(bob, a[0], false)), ERR_NOT_FOUND);
	assert_int_equal(run_free(f, make_revoke("", NOBODY, false)), ERR_NOT_FOUND);
	assert_int_equal(run_free(f, make_revoke(anna, a[0], false)), 0);
	assert_int_equal(run_free(f, make_revoke(anna, a[0], false)), ERR_NOT_FOUND);
	req = must(f, make_revoke("", a[1], false));
	assert_int_equal(req->revocation_count, 1);
	assert_string_equal(req->revocations[0].user, anna);
	store_req_free(&req);
	assert_int_equal(run_free(f, make_revoke(anna, a[2], true)), 0);
	assert_int_equal(count_sessions(f, anna, 1), 1);
	assert_int_equal(rotate(f, 2, 20, 1), 0);
	assert_int_equal(run_free(f, make_revoke(anna, "", false)), 0);
	assert_int_equal(run_free(f, make_revoke(anna, "", false)), 0);
	assert_int_equal(count_sessions(f, anna, 1), 0);
	assert_int_equal(count_sessions(f, bob, 1), 1);
	assert_int_equal(count_revocations(f, 1), 4);
}

static void
password_and_lock_end_the_sessions_of_this_user_only(void **state)
{
	struct fixture *f = *state;
	char anna[ID_MAX], bob[ID_MAX], a[ID_MAX], kept[ID_MAX], b[ID_MAX];
	struct store_req *req;

	add_user(f, "anna", anna);
	add_user(f, "bob", bob);
	add_session(f, anna, 1, a);
	add_session(f, anna, 2, kept);
	add_session(f, bob, 3, b);
	req = make(STORE_USER_SET_PASSWORD, anna, "$y$new");
	strcpy(req->user.password, "$y$another");
	assert_int_equal(run_free(f, req), ERR_CONFLICT);
	assert_int_equal(count_sessions(f, anna, 1), 2);
	req = make(STORE_USER_SET_PASSWORD, anna, "$y$new");
	strcpy(req->user.password, "$y$secret");
	strcpy(req->session_id, kept);
	req->until_ms = UNTIL;
	req->why = SESSION_PASSWORD_CHANGED;
	must(f, req);
	assert_int_equal(req->revocation_count, 1);
	assert_string_equal(req->revocations[0].session, a);
	assert_int_equal(req->revocations[0].why, SESSION_PASSWORD_CHANGED);
	store_req_free(&req);
	assert_int_equal(count_sessions(f, anna, 1), 1);
	assert_int_equal(run_free(f, make(STORE_USER_SET_PASSWORD, anna, "$y$newer")), 0);
	assert_int_equal(count_sessions(f, anna, 1), 0);
	assert_int_equal(count_sessions(f, bob, 1), 1);
	req = make(STORE_USER_SET_LOCKED, bob, NULL);
	req->flag = true;
	assert_int_equal(run_free(f, req), 0);
	assert_int_equal(count_sessions(f, bob, 1), 0);
	req = must(f, make(STORE_USER_BY_ID, bob, NULL));
	assert_true(req->users[0].locked);
	store_req_free(&req);
	assert_int_equal(run_free(f, make(STORE_USER_SET_LOCKED, bob, NULL)), 0);
	req = must(f, make(STORE_USER_BY_ID, anna, NULL));
	assert_string_equal(req->users[0].password, "$y$newer");
	store_req_free(&req);
	req = make(STORE_USER_SET_PASSWORD, NOBODY, "$y$");
	strcpy(req->user.password, "$y$");
	assert_int_equal(run_free(f, req), ERR_NOT_FOUND);
	assert_int_equal(run_free(f, make(STORE_USER_SET_LOCKED, NOBODY, NULL)), ERR_NOT_FOUND);
}

static void
sessions_are_listed_by_their_last_use(void **state)
{
	struct fixture *f = *state;
	char anna[ID_MAX], a[ID_MAX], b[ID_MAX], c[ID_MAX];
	struct store_req *req;

	add_user(f, "anna", anna);
	add_session(f, anna, 1, a);
	add_session(f, anna, 2, b);
	add_session(f, anna, 3, c);
	assert_int_equal(rotate(f, 1, 11, 500), 0);
	assert_int_equal(rotate(f, 3, 13, 400), 0);
	req = make(STORE_SESSION_LIST, anna, NULL);
	req->limit = 2;
	must(f, req);
	assert_int_equal(req->session_count, 2);
	assert_string_equal(req->sessions[0].id, a);
	assert_string_equal(req->sessions[1].id, c);
	store_req_free(&req);
	assert_int_equal(count_sessions(f, anna, 999), 3);
	assert_int_equal(count_sessions(f, anna, 1000), 2);
	assert_int_equal(count_sessions(f, anna, 1500), 0);
}

/* What a database keeps of what is over, which no request shows. */
static void
what_is_over_is_removed_bit_by_bit(void **state)
{
	struct fixture *f = *state;
	char anna[ID_MAX], id[ID_MAX];
	struct store_req *req;

	add_user(f, "anna", anna);
	for (uint8_t i = 0; i < 20; i++)
		add_session(f, anna, i, id);
	assert_int_equal(run_free(f, make_revoke(anna, id, false)), 0);
	for (int i = 0; i < 10; i++) {
		req = make_session(anna, (uint8_t)(100 + i), 100000);
		req->now_ms = 50000;
		assert_int_equal(run_free(f, req), 0);
	}
	assert_int_equal(count_sessions(f, anna, 1), 10);
	assert_int_equal(count_revocations(f, 1), 0);
}

int
main(void)
{
	struct CMUnitTest tests[] = {
	    TEST(a_session_is_made_for_who_may_log_in),
	    TEST(a_token_is_spent_by_its_use),
	    TEST(within_the_grace_a_spent_token_changes_nothing),
	    TEST(a_spent_token_that_comes_later_ends_the_session),
	    TEST(of_many_spent_tokens_the_last_are_known),
	    TEST(logout_takes_a_spent_token_too),
	    TEST(one_all_or_all_others_are_revoked),
	    TEST(password_and_lock_end_the_sessions_of_this_user_only),
	    TEST(sessions_are_listed_by_their_last_use),
	    TEST(what_is_over_is_removed_bit_by_bit),
	};

	return run_on_each(tests, sizeof(tests) / sizeof(*tests));
}
