/* SPDX-License-Identifier: ISC */
/*
 * The contract of store.h, run on every implementation: when users were last seen, and
 * whom that concerns.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "../lib/store_help.h"

static void
add_seen(struct store_req *req, const char *id, int64_t ms)
{
	struct user *u = store_req_add_user(req);

	str_copy(u->id, sizeof(u->id), id);
	u->last_seen_ms = ms;
}

/* The users who share a conversation with asker, of these two; the caller frees. */
static struct store_req *
shared(const struct fixture *f, const char *asker, const char *a, const char *b)
{
	return must(f, make_ids(STORE_USERS_SHARED, asker, a, b));
}

static int64_t
seen(const struct fixture *f, const char *id)
{
	struct store_req *req = shared(f, id, id, NULL);
	int64_t ms = req->users[0].last_seen_ms;

	assert_int_equal(req->user_count, 1);
	store_req_free(&req);
	return ms;
}

static void
who_was_seen_last_is_kept(void **state)
{
	struct fixture *f = *state;
	char anna[ID_MAX], bert[ID_MAX];
	struct store_req *req = make(STORE_USERS_SEEN, "", NULL);

	add_user(f, "anna", anna);
	add_user(f, "bert", bert);
	assert_int_equal(seen(f, anna), 0);
	add_seen(req, anna, 1000);
	add_seen(req, NOBODY, 1000);
	add_seen(req, bert, 3000);
	assert_int_equal(run_free(f, req), 0);
	reopen(f);
	assert_int_equal(seen(f, anna), 1000);
	assert_int_equal(seen(f, bert), 3000);
	/* An older time, of a slower worker, does not take its place. */
	req = make(STORE_USERS_SEEN, "", NULL);
	add_seen(req, anna, 2000);
	add_seen(req, bert, 2999);
	assert_int_equal(run_free(f, req), 0);
	assert_int_equal(seen(f, anna), 2000);
	assert_int_equal(seen(f, bert), 3000);
	assert_int_equal(run_free(f, make(STORE_USERS_SEEN, "", NULL)), 0);
}

static void
a_busy_store_says_so_and_changes_nothing(void **state)
{
	struct fixture *f = *state;
	struct store_req *req = make(STORE_USERS_SEEN, "", NULL);
	char anna[ID_MAX];
	void *lock;

	add_user(f, "anna", anna);
	sqlite_busy_ms = 10;
	reopen(f);
	sqlite_busy_ms = 5000;
	lock = f->im->lock(f->where);
	add_seen(req, anna, 1000);
	assert_int_equal(run(f, req), ERR_UNAVAILABLE);
	f->im->unlock(lock);
	assert_int_equal(seen(f, anna), 0);
	assert_int_equal(run_free(f, req), 0); /* the same request again */
	assert_int_equal(seen(f, anna), 1000);
}

static void
only_who_shares_a_conversation_is_shown(void **state)
{
	struct fixture *f = *state;
	char anna[ID_MAX], bert[ID_MAX], carl[ID_MAX];
	struct store_req *req;

	add_user(f, "anna", anna);
	add_user(f, "bert", bert);
	add_user(f, "carl", carl);
	assert_int_equal(run_free(f, make_conversation(CONVERSATION_DIRECT,
					 (const char *const[]){anna, bert, NULL})),
	    0);
	assert_int_equal(run_free(f, make_conversation(CONVERSATION_GROUP,
					 (const char *const[]){carl, bert, NULL})),
	    0);
	req = shared(f, anna, carl, bert);
	assert_int_equal(req->user_count, 1);
	assert_string_equal(req->users[0].id, bert);
	store_req_free(&req);
	req = shared(f, bert, carl, anna);
	assert_int_equal(req->user_count, 2);
	assert_string_equal(req->users[0].id, carl);
	assert_string_equal(req->users[1].id, anna);
	store_req_free(&req);
	req = shared(f, carl, anna, NOBODY);
	assert_int_equal(req->user_count, 0);
	store_req_free(&req);
}

static void
a_large_channel_is_not_told_of_presence(void **state)
{
	struct fixture *f = *state;
	char anna[ID_MAX], bert[ID_MAX], carl[ID_MAX];
	const char *const all[] = {anna, bert, carl, NULL}, *const two[] = {anna, bert, NULL};
	struct store_req *req, *made[4];

	add_user(f, "anna", anna);
	add_user(f, "bert", bert);
	add_user(f, "carl", carl);
	made[0] = must(f, make_conversation(CONVERSATION_DIRECT, two));
	made[1] = must(f, make_conversation(CONVERSATION_GROUP, all));
	made[2] = must(f, make_conversation(CONVERSATION_CHANNEL, two));
	made[3] = must(f, make_conversation(CONVERSATION_CHANNEL, all));
	for (size_t limit = 2; limit <= 3; limit++) {
		req = make(STORE_PRESENCE_CONVERSATIONS, anna, NULL);
		req->limit = limit;
		must(f, req);
		assert_int_equal(req->id_out_count, limit + 1);
		for (size_t i = 0; i < limit + 1; i++) /* by id, which is the order of making */
			assert_string_equal(req->ids_out[i], made[i]->conversations[0]->id);
		store_req_free(&req);
	}
	req = make(STORE_PRESENCE_CONVERSATIONS, NOBODY, NULL);
	assert_int_equal(must(f, req)->id_out_count, 0);
	store_req_free(&req);
	for (int i = 0; i < 4; i++)
		store_req_free(&made[i]);
}

int
main(void)
{
	struct CMUnitTest tests[] = {
	    TEST(who_was_seen_last_is_kept),
	    TEST(a_busy_store_says_so_and_changes_nothing),
	    TEST(only_who_shares_a_conversation_is_shown),
	    TEST(a_large_channel_is_not_told_of_presence),
	};

	return run_on_each(tests, sizeof(tests) / sizeof(*tests));
}
