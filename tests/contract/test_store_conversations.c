/* SPDX-License-Identifier: ISC */
/*
 * The contract of store.h, run on every implementation: changing conversations, their
 * members, lists of them, and the outbox.
 */
#include <pthread.h>
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
#include "store/store.h"

#include "../lib/store_help.h"

#define WRITERS 3
#define CHANGES 20

/* A group of anna, who is the owner. */
static void
add_group(const struct fixture *f, const char *owner, char id_r[ID_MAX])
{
	struct store_req *req =
	    make_conversation(CONVERSATION_GROUP, (const char *[]){owner, NULL});

	req->conversation->members[0].role = ROLE_OWNER;
	str_copy(id_r, ID_MAX, req->conversation->id);
	assert_int_equal(run_free(f, req), 0);
}

static struct conversation *
get(const struct fixture *f, const char *id)
{
	struct store_req *req = must(f, make(STORE_CONVERSATION_GET, id, NULL));
	struct conversation *c = req->conversations[0];

	req->conversation_count = 0;
	store_req_free(&req);
	return c;
}

static struct event *
make_told(const char *conversation, enum event_type type)
{
	return event_new(type, conversation, NOBODY, "", "{\"sender_id\":\"x\"}", 17);
}

/* Expects exactly these events in the outbox, in this order. */
static void
check_outbox(const struct fixture *f, int64_t before, struct event *const *events, size_t count)
{
	struct store_req *req = make(STORE_OUTBOX_LIST, "", NULL);
	struct buf a, b;

	req->now_ms = before;
	must(f, req);
	assert_int_equal(req->event_count, count);
	buf_init(&a);
	buf_init(&b);
	for (size_t i = 0; i < count; i++) {
		event_pack(&a, events[i]);
		event_pack(&b, req->events[i]);
	}
	assert_int_equal(a.len, b.len);
	if (a.len)
		assert_memory_equal(a.data, b.data, a.len);
	buf_fini(&a);
	buf_fini(&b);
	store_req_free(&req);
}

static void
users_are_read_together_in_the_order_asked(void **state)
{
	struct fixture *f = *state;
	char anna[ID_MAX], bob[ID_MAX];
	struct store_req *req = make(STORE_USERS_BY_ID, "", NULL);

	add_user(f, "anna", anna);
	add_user(f, "bob", bob);
	req->ids = xcalloc(3, sizeof(*req->ids));
	str_copy(req->ids[0], ID_MAX, bob);
	str_copy(req->ids[1], ID_MAX, anna);
	req->id_count = 2;
	must(f, req);
	assert_int_equal(req->user_count, 2);
	assert_string_equal(req->users[0].username, "bob");
	assert_string_equal(req->users[1].username, "anna");
	str_copy(req->ids[2], ID_MAX, NOBODY);
	req->id_count = 3;
	assert_int_equal(run(f, req), ERR_NOT_FOUND);
	assert_string_equal(req->text_out, NOBODY);
	store_req_free(&req);
}

static void
a_change_is_written_with_its_members_and_events(void **state)
{
	struct fixture *f = *state;
	char anna[ID_MAX], bob[ID_MAX], carl[ID_MAX], id[ID_MAX];
	struct event *told[2];
	struct store_req *req;
	struct conversation *c;

	add_user(f, "anna", anna);
	add_user(f, "bob", bob);
	add_user(f, "carl", carl);
	add_group(f, anna, id);
	told[0] = make_told(id, EVENT_MEMBER_JOINED);
	told[1] = make_told(id, EVENT_CONVERSATION_UPDATED);
	req = make_change(id, 1);
	c = req->conversation;
	str_copy(c->topic, sizeof(c->topic), "beans");
	c->is_public = c->archived = true;
	c->history = HISTORY_JOINED;
	conversation_add_member(c, bob)->since = 55;
	conversation_add_member(c, carl)->role = ROLE_ADMIN;
	store_req_add_event(req, event_ref(told[0]));
	store_req_add_event(req, event_ref(told[1]));
	must(f, req);
	assert_int_equal(req->conversations[0]->version, 2);
	assert_int_equal(req->conversations[0]->member_count, 3);
	store_req_free(&req);
	reopen(f);
	c = get(f, id);
	assert_int_equal(c->version, 2);
	assert_string_equal(c->name, "Coffee");
	assert_string_equal(c->topic, "beans");
	assert_true(c->is_public && c->archived && c->history == HISTORY_JOINED);
	assert_int_equal(c->members[0].role, ROLE_OWNER);
	assert_int_equal(c->members[1].role, ROLE_MEMBER);
	assert_int_equal(c->members[1].since, 55);
	assert_string_equal(c->members[1].username, "bob");
	assert_int_equal(c->members[2].role, ROLE_ADMIN);
	conversation_free(&c);
	check_outbox(f, 1001, told, 2);
	check_outbox(f, 1000, NULL, 0); /* not older than that */

	req = make_change(id, 2); /* bob's role changes, not since when he is here; carl goes */
	conversation_add_member(req->conversation, bob)->role = ROLE_OWNER;
	req->ids = xcalloc(1, sizeof(*req->ids));
	str_copy(req->ids[req->id_count++], ID_MAX, carl);
	assert_int_equal(run_free(f, req), 0);
	c = get(f, id);
	assert_int_equal(c->version, 3);
	assert_int_equal(c->member_count, 2);
	assert_int_equal(c->members[1].role, ROLE_OWNER);
	assert_int_equal(c->members[1].since, 55);
	assert_false(c->archived);
	conversation_free(&c);
	assert_int_equal(run_free(f, make(STORE_MEMBER_CHECK, id, carl)), ERR_NOT_FOUND);
	event_unref(&told[0]);
	event_unref(&told[1]);
}

static void
a_change_at_another_version_changes_nothing(void **state)
{
	struct fixture *f = *state;
	char anna[ID_MAX], id[ID_MAX];
	struct store_req *req;
	struct conversation *c;

	add_user(f, "anna", anna);
	add_group(f, anna, id);
	for (uint64_t version = 0; version < 3; version += 2) {
		req = make_change(id, version);
		store_req_add_event(req, make_told(id, EVENT_CONVERSATION_UPDATED));
		assert_int_equal(run_free(f, req), ERR_CONFLICT);
	}
	assert_int_equal(run_free(f, make_change(CONV, 1)), ERR_NOT_FOUND);
	req = make_change(id, 1); /* the last of the members is no user: nothing of it stays */
	conversation_add_member(req->conversation, NOBODY);
	store_req_add_event(req, make_told(id, EVENT_MEMBER_JOINED));
	assert_int_equal(run(f, req), ERR_NOT_FOUND);
	assert_string_equal(req->text_out, NOBODY);
	store_req_free(&req);
	c = get(f, id);
	assert_int_equal(c->version, 1);
	assert_string_equal(c->name, "Tea");
	conversation_free(&c);
	check_outbox(f, INT64_MAX, NULL, 0);
}

struct writer {
	const struct fixture *f;
	const char *id;
	pthread_t thread;
	int written, conflicts, failed;
};

/* Reads, and writes at the version that was read, until it has changed it CHANGES times. */
static void *
write_often(void *arg)
{
	struct writer *w = arg;
	const struct store_impl *store = w->f->im->store;
	void *h = store->open_handle(w->f->where);

	while (w->written < CHANGES && !w->failed) {
		struct store_req *req = make(STORE_CONVERSATION_GET, w->id, NULL), *change;
		int err;

		store_run(store, h, req);
		change = make_change(w->id, req->conversations[0]->version);
		err = store_run(store, h, change);
		w->written += !err;
		w->conflicts += err == ERR_CONFLICT;
		w->failed += err && err != ERR_CONFLICT;
		store_req_free(&req);
		store_req_free(&change);
	}
	store->close_handle(h);
	return NULL;
}

static void
each_version_is_written_once_between_handles(void **state)
{
	struct fixture *f = *state;
	struct writer w[WRITERS];
	struct conversation *c;
	char anna[ID_MAX], id[ID_MAX];

	add_user(f, "anna", anna);
	add_group(f, anna, id);
	for (int i = 0; i < WRITERS; i++) {
		w[i] = (struct writer){.f = f, .id = id};
		assert_int_equal(pthread_create(&w[i].thread, NULL, write_often, &w[i]), 0);
	}
	for (int i = 0; i < WRITERS; i++) {
		pthread_join(w[i].thread, NULL);
		assert_int_equal(w[i].failed, 0);
	}
	c = get(f, id);
	assert_int_equal(c->version, 1 + WRITERS * CHANGES);
	conversation_free(&c);
}

static void
a_creation_leaves_its_event_unless_the_pair_has_one(void **state)
{
	struct fixture *f = *state;
	char anna[ID_MAX], bob[ID_MAX];
	struct store_req *req;
	struct event *told;

	add_user(f, "anna", anna);
	add_user(f, "bob", bob);
	req = make_conversation(CONVERSATION_DIRECT, (const char *[]){anna, bob, NULL});
	told = make_told(req->conversation->id, EVENT_CONVERSATION_CREATED);
	store_req_add_event(req, event_ref(told));
	assert_int_equal(run_free(f, req), 0);
	req = make_conversation(CONVERSATION_DIRECT, (const char *[]){bob, anna, NULL});
	store_req_add_event(req, make_told(req->conversation->id, EVENT_CONVERSATION_CREATED));
	must(f, req);
	assert_true(req->flag);
	store_req_free(&req);
	req = make_conversation(CONVERSATION_GROUP, (const char *[]){anna, NOBODY, NULL});
	store_req_add_event(req, make_told(req->conversation->id, EVENT_CONVERSATION_CREATED));
	assert_int_equal(run_free(f, req), ERR_NOT_FOUND);
	check_outbox(f, 1, &told, 1);
	event_unref(&told);
}

static void
what_is_archived_leaves_the_outbox(void **state)
{
	struct fixture *f = *state;
	char anna[ID_MAX], id[ID_MAX];
	struct event *told[2];
	struct store_req *req;

	add_user(f, "anna", anna);
	add_group(f, anna, id);
	for (int i = 0; i < 2; i++) {
		told[i] = make_told(id, EVENT_CONVERSATION_UPDATED);
		req = make_change(id, (uint64_t)i + 1);
		store_req_add_event(req, event_ref(told[i]));
		assert_int_equal(run_free(f, req), 0);
	}
	check_outbox(f, INT64_MAX, told, 2);
	req = make_apply(CONV, 1, 3); /* others */
	store_req_add_event(req, event_numbered(told[0], 4, 4));
	assert_int_equal(run(f, req), 0);
	check_outbox(f, INT64_MAX, told + 1, 1);
	assert_int_equal(run_free(f, req), 0); /* and once more */
	check_outbox(f, INT64_MAX, told + 1, 1);
	req = make(STORE_OUTBOX_LIST, "", NULL);
	req->now_ms = INT64_MAX;
	req->limit = 1;
	must(f, req);
	assert_int_equal(req->event_count, 1);
	store_req_free(&req);
	event_unref(&told[0]);
	event_unref(&told[1]);
}

/* Makes a channel with this name.  */
static void
add_channel(const struct fixture *f, const char *name, const char *const *members, bool is_public,
    char id_r[ID_MAX])
{
	struct store_req *req = make_conversation(CONVERSATION_CHANNEL, members);

	str_copy(req->conversation->name, sizeof(req->conversation->name), name);
	req->conversation->is_public = is_public;
	str_copy(id_r, ID_MAX, req->conversation->id);
	assert_int_equal(run_free(f, req), 0);
}

/* Expects exactly these names, separated by blanks. */
static void
check_channels(const struct fixture *f, bool all, const char *prefix, const char *cursor,
    size_t limit, const char *expected)
{
	struct store_req *req = make(STORE_CHANNEL_LIST, "", prefix);
	struct buf b;

	buf_init(&b);
	req->flag = all;
	req->cursor = xstrdup(cursor);
	req->limit = limit;
	must(f, req);
	for (size_t i = 0; i < req->conversation_count; i++)
		buf_printf(&b, "%s%s:%zu", i ? " " : "", req->conversations[i]->name,
		    req->conversations[i]->member_total);
	assert_string_equal(buf_cstr(&b), expected);
	buf_fini(&b);
	store_req_free(&req);
}

static void
public_channels_are_listed_by_name_in_pages(void **state)
{
	struct fixture *f = *state;
	char anna[ID_MAX], bob[ID_MAX], ids[4][ID_MAX];
	struct store_req *req;

	add_user(f, "anna", anna);
	add_user(f, "bob", bob);
	add_channel(f, "News", (const char *[]){anna, bob, NULL}, true, ids[0]);
	add_channel(f, "Secret", (const char *[]){anna, NULL}, false, ids[1]);
	add_channel(f, "newcomers", (const char *[]){bob, NULL}, true, ids[2]);
	add_channel(f, "n%ws", (const char *[]){bob, NULL}, true, ids[3]);
	check_channels(f, false, "", NULL, 10, "News:2 newcomers:1 n%ws:1");
	check_channels(f, false, "", NULL, 1, "News:2");
	check_channels(f, false, "", ids[0], 10, "newcomers:1 n%ws:1");
	check_channels(f, false, "NEW", NULL, 10, "News:2 newcomers:1");
	check_channels(f, false, "n%", NULL, 10, "n%ws:1"); /* no pattern */
	check_channels(f, false, "S", NULL, 10, "");
	check_channels(f, true, "S", NULL, 10, "Secret:1");
	req = make_change(ids[0], 1);
	req->conversation->archived = req->conversation->is_public = true;
	assert_int_equal(run_free(f, req), 0);
	check_channels(f, false, "", NULL, 10, "newcomers:1 n%ws:1");
	check_channels(f, true, "", NULL, 10, "Coffee:2 Secret:1 newcomers:1 n%ws:1");
}

static void
members_are_listed_in_pages(void **state)
{
	struct fixture *f = *state;
	char anna[ID_MAX], bob[ID_MAX], carl[ID_MAX], id[ID_MAX];
	struct store_req *req;

	add_user(f, "anna", anna);
	add_user(f, "bob", bob);
	add_user(f, "carl", carl);
	req = make_conversation(CONVERSATION_GROUP, (const char *[]){carl, bob, anna, NULL});
	str_copy(id, sizeof(id), req->conversation->id);
	req->conversation->members[0].role = ROLE_OWNER;
	assert_int_equal(run_free(f, req), 0);
	req = make(STORE_MEMBERS_LIST, id, NULL);
	req->limit = 2;
	must(f, req);
	assert_int_equal(req->member_count, 2);
	assert_string_equal(req->members[0].username, "anna");
	assert_string_equal(req->members[1].user, bob);
	assert_int_equal(req->members[1].role, ROLE_MEMBER);
	store_req_free(&req);
	req = make(STORE_MEMBERS_LIST, id, NULL);
	req->cursor = xstrdup(bob);
	must(f, req);
	assert_int_equal(req->member_count, 1);
	assert_string_equal(req->members[0].name, "carl");
	assert_int_equal(req->members[0].role, ROLE_OWNER);
	store_req_free(&req);
	assert_int_equal(run_free(f, make(STORE_MEMBERS_LIST, CONV, NULL)), ERR_NOT_FOUND);
}

int
main(void)
{
	struct CMUnitTest tests[] = {
	    TEST(users_are_read_together_in_the_order_asked),
	    TEST(a_change_is_written_with_its_members_and_events),
	    TEST(a_change_at_another_version_changes_nothing),
	    TEST(each_version_is_written_once_between_handles),
	    TEST(a_creation_leaves_its_event_unless_the_pair_has_one),
	    TEST(what_is_archived_leaves_the_outbox),
	    TEST(public_channels_are_listed_by_name_in_pages),
	    TEST(members_are_listed_in_pages),
	};

	return run_on_each(tests, sizeof(tests) / sizeof(*tests));
}
