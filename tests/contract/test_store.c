/* SPDX-License-Identifier: ISC */
/*
 * The contract of store.h, run on every implementation: the requests and their rules.
 * Another implementation is one more row of the table in store_help.h.
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
#include "lib/loop.h"
#include "model/error.h"
#include "store/sqlite.h"
#include "store/store.h"

#include "../lib/store_help.h"

#define BATCH 200

/* ---- users ---- */

static void
a_user_is_found_by_id_and_name(void **state)
{
	struct fixture *f = *state;
	struct store_req *req;
	char id[ID_MAX];

	add_user(f, "anna", id);
	reopen(f);
	req = must(f, make(STORE_USER_BY_ID, id, NULL));
	assert_int_equal(req->user_count, 1);
	assert_string_equal(req->users[0].username, "anna");
	assert_string_equal(req->users[0].password, "$y$secret");
	assert_int_equal(req->users[0].created_ms, 1234567890123);
	assert_false(req->users[0].locked);
	store_req_free(&req);
	req = must(f, make(STORE_USER_BY_USERNAME, "", "anna"));
	assert_string_equal(req->users[0].id, id);
	store_req_free(&req);
	assert_int_equal(run_free(f, make(STORE_USER_BY_ID, NOBODY, NULL)), ERR_NOT_FOUND);
	assert_int_equal(run_free(f, make(STORE_USER_BY_USERNAME, "", "ann")), ERR_NOT_FOUND);
}

static void
a_username_is_given_once(void **state)
{
	struct fixture *f = *state;
	struct store_req *req;
	char id[ID_MAX];

	add_user(f, "anna", id);
	assert_int_equal(run_free(f, make_user("anna", "Other")), ERR_USERNAME_TAKEN);
	req = must(f, make(STORE_USER_BY_USERNAME, "", "anna"));
	assert_string_equal(req->users[0].id, id);
	store_req_free(&req);
}

/* Expects exactly these usernames, separated by blanks. */
static void
check_list(const struct fixture *f, const char *prefix, const char *cursor, size_t limit,
    const char *expected)
{
	struct store_req *req = make(STORE_USER_LIST, "", prefix);
	struct buf b;

	buf_init(&b);
	req->cursor = xstrdup(cursor);
	req->limit = limit;
	must(f, req);
	for (size_t i = 0; i < req->user_count; i++)
		buf_printf(&b, "%s%s", i ? " " : "", req->users[i].username);
	assert_string_equal(buf_cstr(&b), expected);
	buf_fini(&b);
	store_req_free(&req);
}

static void
users_are_listed_by_prefix_in_pages(void **state)
{
	struct fixture *f = *state;

	assert_int_equal(run_free(f, make_user("carl", "Anton")), 0);
	assert_int_equal(run_free(f, make_user("anna", "Zoe")), 0);
	assert_int_equal(run_free(f, make_user("a_b", "Percent %")), 0);
	assert_int_equal(run_free(f, make_user("bob", "Bob")), 0);
	check_list(f, "", NULL, 10, "a_b anna bob carl");
	check_list(f, "", NULL, 2, "a_b anna");
	check_list(f, "", "anna", 2, "bob carl");
	check_list(f, "", "carl", 2, "");
	check_list(f, "AN", NULL, 10, "anna carl"); /* one by username, one by name */
	check_list(f, "an", "anna", 10, "carl");
	check_list(f, "a_", NULL, 10, "a_b"); /* no pattern */
	check_list(f, "%", NULL, 10, "");
	check_list(f, "anna'", NULL, 10, "");
}

/* ---- conversations ---- */

static void
a_pair_has_one_direct_conversation(void **state)
{
	struct fixture *f = *state;
	char a[ID_MAX], b[ID_MAX], id[ID_MAX];
	struct store_req *req;

	add_user(f, "anna", a);
	add_user(f, "bob", b);
	req = must(f, make_conversation(CONVERSATION_DIRECT, (const char *[]){a, b, NULL}));
	assert_false(req->flag);
	assert_int_equal(req->conversation_count, 1);
	assert_int_equal(req->conversations[0]->member_count, 2);
	assert_string_equal(req->conversations[0]->members[0].username, "anna");
	str_copy(id, sizeof(id), req->conversations[0]->id);
	assert_string_equal(id, req->conversation->id);
	store_req_free(&req);
	req = must(f, make_conversation(CONVERSATION_DIRECT, (const char *[]){b, a, NULL}));
	assert_true(req->flag);
	assert_string_equal(req->conversations[0]->id, id);
	store_req_free(&req);
	req = must(f, make_conversation(CONVERSATION_GROUP, (const char *[]){a, b, NULL}));
	assert_false(req->flag);
	store_req_free(&req);
	assert_int_equal(
	    run_free(f, make_conversation(CONVERSATION_DIRECT, (const char *[]){a, a, NULL})),
	    ERR_INVALID_FIELD);
	assert_int_equal(
	    run_free(f, make_conversation(CONVERSATION_DIRECT, (const char *[]){a, NULL})),
	    ERR_INVALID_FIELD);
}

static void
a_conversation_with_a_stranger_is_not_created(void **state)
{
	struct fixture *f = *state;
	struct store_req *req;
	char a[ID_MAX], id[ID_MAX];

	add_user(f, "anna", a);
	req = make_conversation(CONVERSATION_GROUP, (const char *[]){a, NOBODY, NULL});
	str_copy(id, sizeof(id), req->conversation->id);
	assert_int_equal(run(f, req), ERR_NOT_FOUND);
	assert_string_equal(req->text_out, NOBODY);
	store_req_free(&req);
	assert_int_equal(run_free(f, make(STORE_CONVERSATION_GET, id, NULL)), ERR_NOT_FOUND);
	assert_int_equal(run_free(f, make(STORE_MEMBER_CHECK, id, a)), ERR_NOT_FOUND);
	req = make_conversation(CONVERSATION_GROUP, (const char *[]){NOBODY, a, NULL});
	assert_int_equal(run(f, req), ERR_NOT_FOUND);
	assert_string_equal(req->text_out, NOBODY);
	store_req_free(&req);
	req = must(f, make_conversation(CONVERSATION_GROUP, (const char *[]){a, NULL}));
	str_copy(id, sizeof(id), req->conversation->id);
	store_req_free(&req);
	req = make_conversation(CONVERSATION_GROUP, (const char *[]){a, NULL});
	str_copy(req->conversation->id, ID_MAX, id);
	assert_int_equal(run_free(f, req), ERR_CONFLICT);
}

static void
conversations_are_listed_in_pages(void **state)
{
	struct fixture *f = *state;
	char a[ID_MAX], b[ID_MAX], ids[5][ID_MAX];
	struct store_req *req;

	add_user(f, "anna", a);
	add_user(f, "bob", b);
	for (int i = 0; i < 5; i++) {
		req = must(f,
		    make_conversation(CONVERSATION_GROUP, (const char *[]){a, i ? NULL : b, NULL}));
		str_copy(ids[i], ID_MAX, req->conversation->id);
		store_req_free(&req);
	}
	for (size_t at = 0; at < 6; at += 2) {
		req = make(STORE_CONVERSATION_LIST, a, NULL);
		req->limit = 2;
		req->cursor = xstrdup(at ? ids[at - 1] : NULL);
		must(f, req);
		assert_int_equal(req->conversation_count, at == 4 ? 1 : 2);
		for (size_t i = 0; i < req->conversation_count; i++)
			assert_string_equal(req->conversations[i]->id, ids[at + i]);
		assert_string_equal(req->conversations[0]->members[0].username, "anna");
		store_req_free(&req);
	}
	req = must(f, make(STORE_MEMBERSHIPS, a, NULL));
	assert_int_equal(req->membership_count, 5);
	store_req_free(&req);
	req = must(f, make(STORE_MEMBERSHIPS, b, NULL));
	assert_int_equal(req->membership_count, 1);
	assert_string_equal(req->memberships[0].conversation, ids[0]);
	assert_int_equal(req->memberships[0].role, ROLE_MEMBER);
	store_req_free(&req);
	req = must(f, make(STORE_CONVERSATION_LIST, NOBODY, NULL));
	assert_int_equal(req->conversation_count, 0);
	store_req_free(&req);
}

/* ---- events ---- */

static void
events_are_read_in_pages_from_both_ends(void **state)
{
	struct fixture *f = *state;

	check_page(f, 0, 0, 10, 1, 0, false); /* none */
	assert_int_equal(run_free(f, make_apply(CONV, 1, 10)), 0);
	assert_int_equal(run_free(f, make_apply("cnv_other", 1, 3)), 0);
	check_page(f, 0, 0, 200, 1, 10, false);
	check_page(f, 0, 0, 10, 1, 10, false);
	check_page(f, 0, 0, 9, 1, 9, true);
	check_page(f, 3, 0, 4, 4, 7, true);
	check_page(f, 6, 0, 4, 7, 10, false);
	check_page(f, 10, 0, 4, 1, 0, false);
	check_page(f, 0, 11, 4, 7, 10, true); /* with an upper end: the newest below it */
	check_page(f, 0, 5, 4, 1, 4, false);
	check_page(f, 0, 6, 4, 2, 5, true);
	check_page(f, 0, 1, 4, 1, 0, false);
	check_page(f, 3, 8, 10, 4, 7, false);
	check_page(f, 3, 8, 4, 4, 7, false);
	check_page(f, 3, 8, 3, 5, 7, true);
	check_page(f, 7, 8, 3, 1, 0, false);
	check_page(f, 0, UINT64_MAX, 2, 9, 10, true);
	check_page(f, UINT64_MAX, 0, 2, 1, 0, false);
}

static void
an_event_comes_back_as_it_was(void **state)
{
	struct fixture *f = *state;
	struct event *ev = make_event(CONV, (1ULL << 53) - 1, "a-client-id");
	struct store_req *req = make(STORE_APPLY, "", NULL);
	struct buf before, after;

	buf_init(&before);
	buf_init(&after);
	event_pack(&before, ev);
	store_req_add_event(req, ev);
	assert_int_equal(run_free(f, req), 0);
	reopen(f);
	req = make(STORE_EVENT_BY_CLIENT_ID, CONV, "a-client-id");
	str_copy(req->user_id, ID_MAX, NOBODY);
	must(f, req);
	assert_int_equal(req->event_count, 1);
	event_pack(&after, req->events[0]);
	assert_int_equal(after.len, before.len);
	assert_memory_equal(after.data, before.data, before.len);
	buf_fini(&before);
	buf_fini(&after);
	store_req_free(&req);
}

static void
a_client_id_is_found_only_where_it_was_sent(void **state)
{
	static const char *const asks[][3] = {{"cnv_other", NOBODY, "x"}, {CONV, "usr_other", "x"},
	    {CONV, NOBODY, "y"}, {CONV, NOBODY, ""}};
	struct fixture *f = *state;
	struct store_req *req = make_apply(CONV, 2, 3); /* two without */

	store_req_add_event(req, make_event(CONV, 1, "x"));
	assert_int_equal(run_free(f, req), 0);
	check_page(f, 0, 0, 10, 1, 3, false);
	for (size_t i = 0; i < sizeof(asks) / sizeof(*asks); i++) {
		req = make(STORE_EVENT_BY_CLIENT_ID, asks[i][0], asks[i][2]);
		str_copy(req->user_id, ID_MAX, asks[i][1]);
		assert_int_equal(run_free(f, req), ERR_NOT_FOUND);
	}
}

static void
a_batch_applied_again_changes_nothing(void **state)
{
	struct fixture *f = *state;
	struct store_req *req = make_apply(CONV, 1, BATCH);

	for (size_t i = 0; i < BATCH / 2; i++) { /* unordered, and one of them twice */
		struct event *t = req->events[i];

		req->events[i] = req->events[BATCH - 1 - i];
		req->events[BATCH - 1 - i] = t;
	}
	store_req_add_event(req, event_numbered(req->events[7], req->events[7]->seq, 1));
	must(f, req);
	assert_int_equal(req->id_out_count, 0);
	reopen(f);
	store_req_add_event(req, make_event(CONV, BATCH + 1, "new")); /* overlapping */
	must(f, req);
	assert_int_equal(req->id_out_count, 0);
	assert_false(logged(f, "store.conflict"));
	store_req_free(&req);
	check_page(f, BATCH - 5, 0, STORE_PAGE_MAX, BATCH - 4, BATCH + 1, false);
	check_page(f, 0, 0, STORE_PAGE_MAX, 1, STORE_PAGE_MAX, true);
}

static void
a_broken_promise_is_left_out_and_named(void **state)
{
	struct fixture *f = *state;
	struct event *first = make_event(CONV, 1, "x");
	struct event *same_seq = make_event(CONV, 1, "y"), *same_client = make_event(CONV, 2, "x");
	struct store_req *req = make(STORE_APPLY, "", NULL);

	store_req_add_event(req, event_ref(first));
	assert_int_equal(run_free(f, req), 0);
	req = make_apply(CONV, 3, 4);
	store_req_add_event(req, event_ref(same_seq));
	store_req_add_event(req, event_ref(same_client));
	store_req_add_event(req, make_event(CONV, 5, "z"));
	must(f, req);
	assert_int_equal(req->id_out_count, 2);
	assert_string_equal(req->ids_out[0], same_seq->id);
	assert_string_equal(req->ids_out[1], same_client->id);
	store_req_free(&req);
	assert_true(logged(f, "store.conflict"));
	assert_true(logged(f, first->id));
	assert_true(logged(f, same_seq->id));
	assert_true(logged(f, same_client->id));
	check_page(f, 2, 0, 10, 3, 5, false);
	check_page(f, 0, 3, 10, 1, 1, false);
	req = make(STORE_EVENT_BY_CLIENT_ID, CONV, "x");
	str_copy(req->user_id, ID_MAX, NOBODY);
	must(f, req);
	assert_string_equal(req->events[0]->id, first->id);
	store_req_free(&req);
	event_unref(&first);
	event_unref(&same_seq);
	event_unref(&same_client);
}

int
main(void)
{
	struct CMUnitTest tests[] = {
	    TEST(a_user_is_found_by_id_and_name),
	    TEST(a_username_is_given_once),
	    TEST(users_are_listed_by_prefix_in_pages),
	    TEST(a_pair_has_one_direct_conversation),
	    TEST(a_conversation_with_a_stranger_is_not_created),
	    TEST(conversations_are_listed_in_pages),
	    TEST(events_are_read_in_pages_from_both_ends),
	    TEST(an_event_comes_back_as_it_was),
	    TEST(a_client_id_is_found_only_where_it_was_sent),
	    TEST(a_batch_applied_again_changes_nothing),
	    TEST(a_broken_promise_is_left_out_and_named),
	};

	return run_on_each(tests, sizeof(tests) / sizeof(*tests));
}
