/* SPDX-License-Identifier: ISC */
/* typing: who may, and what happens while the store is asked. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "chat/chat.h"
#include "chat/client.h"
#include "lib/loop.h"

#define CNV "cnv_01234567890123456789abcdef"
#define USR "usr_01234567890123456789abcdef"

/* ---- the store: one conversation, whose state is set ---- */

static int check_err;
static bool archived;

static void
memberships(void *handle, struct store_req *req)
{
	req->err = 0;
	str_copy(store_req_add_membership(req)->conversation, ID_MAX, CNV);
}

static void
member_check(void *handle, struct store_req *req)
{
	struct membership *m;

	req->err = check_err;
	if (check_err)
		return;
	m = store_req_add_membership(req);
	m->role = ROLE_MEMBER;
	m->archived = archived;
}

static void *
open_handle(const char *where)
{
	return &archived;
}

static void
close_handle(void *handle)
{
}

static const struct store_impl fake_store = {
    .name = "fake",
    .open_handle = open_handle,
    .close_handle = close_handle,
    .ops = {[STORE_MEMBERSHIPS] = memberships, [STORE_MEMBER_CHECK] = member_check},
};

/* ---- the bus: keeps what is cast, "+" started, "-" stopped ---- */

static char casts[32];
static bus_subscribe_cb subscribed;
static void *subscribed_arg;

static int
b_subscribe(struct bus *b, const char *conversation, bus_subscribe_cb cb, void *arg)
{
	subscribed = cb;
	subscribed_arg = arg;
	loop_stop();
	return 0;
}

static void
b_unsubscribe(struct bus *b, const char *conversation)
{
}

static void
b_cast(struct bus *b, const char *conversation, const char *sender, const char *payload, size_t len)
{
	assert_string_equal(conversation, CNV);
	assert_string_equal(sender, USR);
	assert_int_equal(len, 2);
	strcat(casts, payload[1] ? "+" : "-");
}

static void
b_presence(struct bus *b, const char *user, enum presence p)
{
}

static const struct bus_ops bus_ops = {.name = "fake",
    .subscribe = b_subscribe,
    .unsubscribe = b_unsubscribe,
    .cast = b_cast,
    .presence_set = b_presence};
static struct bus bus = {.ops = &bus_ops, .up = true};

/* ---- the chat under test ---- */

static struct chat *chat;
static struct store *store;
static struct client *client;
static int answers, last_err, readies;

static void
done(void *arg, const struct chat_result *res)
{
	answers++;
	last_err = res->err;
	loop_stop();
}

static void
peer_send(void *peer, void *encoded)
{
}

static void
peer_ready(void *peer, int err)
{
	assert_int_equal(err, 0);
	readies++;
	loop_stop();
}

static const struct peer_ops peer_ops = {.send = peer_send, .ready = peer_ready};

static struct client *
open_client(void)
{
	const struct chat_identity who = {.user = USR};

	return client_open(chat, &who, &peer_ops, NULL);
}

static int
setup(void **state)
{
	static const struct key_set keys = {.count = 1};
	const struct chat_opts opts = {.rate = 100, .burst = 100, .keys = &keys};

	loop_init();
	check_err = answers = last_err = readies = 0;
	archived = false;
	casts[0] = '\0';
	store = store_open(&fake_store, "", 1);
	chat = chat_new(&opts, store, NULL);
	chat_set_bus(chat, &bus);
	client = open_client();
	loop_run(); /* until it subscribes */
	subscribed(subscribed_arg, 0, 5);
	return 0;
}

static int
teardown(void **state)
{
	client_close(&client);
	store_close(&store);
	chat_free(&chat);
	return 0;
}

static void
type(bool typing)
{
	chat_typing(chat, client, CNV, typing, done, NULL);
}

/* Says that it types and waits for the answer. */
static int
type_and_wait(void)
{
	int before = answers;

	type(true);
	while (answers == before)
		loop_run();
	return last_err;
}

static void
it_is_cast(void **state)
{
	assert_int_equal(type_and_wait(), 0);
	assert_int_equal(type_and_wait(), 0);
	assert_string_equal(casts, "+");
	type(false);
	assert_string_equal(casts, "+-");
	type(false);
	assert_int_equal(answers, 4);
	assert_string_equal(casts, "+-");
}

static void
nobody_types_in_what_is_archived(void **state)
{
	archived = true;
	assert_int_equal(type_and_wait(), ERR_ARCHIVED);
	assert_string_equal(casts, "");
	archived = false;
	assert_int_equal(type_and_wait(), 0);
	archived = true; /* a repeat, too */
	assert_int_equal(type_and_wait(), ERR_ARCHIVED);
	assert_string_equal(casts, "+");
}

static void
only_members_type(void **state)
{
	check_err = ERR_NOT_FOUND; /* removed a moment ago */
	assert_int_equal(type_and_wait(), ERR_NOT_FOUND);
	check_err = ERR_UNAVAILABLE;
	assert_int_equal(type_and_wait(), ERR_UNAVAILABLE);
	chat_typing(chat, client, "cnv_another", true, done, NULL);
	assert_int_equal(last_err, ERR_NOT_FOUND);
	assert_string_equal(casts, "");
}

static void
what_was_stopped_meanwhile_does_not_start(void **state)
{
	type(true);
	type(false);
	assert_int_equal(answers, 1);
	while (answers < 2)
		loop_run();
	assert_int_equal(last_err, 0);
	assert_string_equal(casts, "");
}

static void
a_client_that_goes_meanwhile_does_not_start(void **state)
{
	type(true);
	client_close(&client);
	while (answers < 1)
		loop_run();
	assert_int_equal(last_err, ERR_NOT_FOUND);
	assert_string_equal(casts, "");
}

static void
it_ends_with_the_last_client(void **state)
{
	struct client *second = open_client();

	while (readies < 2)
		loop_run();
	assert_int_equal(type_and_wait(), 0);
	chat_typing(chat, second, CNV, true, done, NULL);
	while (answers < 2)
		loop_run();
	client_close(&client);
	assert_string_equal(casts, "+");
	client_close(&second);
	assert_string_equal(casts, "+-");
}

/* The lease runs on where it was; the client is not needed for that. */
static void
a_client_that_moves_stops_nothing(void **state)
{
	struct buf b;

	buf_init(&b);
	assert_int_equal(type_and_wait(), 0);
	client_leave(&client, &b);
	assert_string_equal(casts, "+");
	buf_fini(&b);
}

/* Another worker says stopped of a user who types here, too. */
static void
another_workers_word_is_corrected(void **state)
{
	assert_int_equal(type_and_wait(), 0);
	chat_bus_handler.cast(chat, CNV, USR, "\1\0", 2);
	assert_string_equal(casts, "++");
	type(false);
	chat_bus_handler.cast(chat, CNV, USR, "\1\0", 2);
	chat_bus_handler.cast(chat, CNV, USR, "\1\1", 2);
	chat_bus_handler.cast(chat, CNV, USR, "\77\1", 2); /* unknown: ignored */
	chat_bus_handler.cast(chat, CNV, USR, "", 0);
	assert_string_equal(casts, "++-");
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    TEST(it_is_cast),
	    TEST(nobody_types_in_what_is_archived),
	    TEST(only_members_type),
	    TEST(what_was_stopped_meanwhile_does_not_start),
	    TEST(a_client_that_goes_meanwhile_does_not_start),
	    TEST(it_ends_with_the_last_client),
	    TEST(a_client_that_moves_stops_nothing),
	    TEST(another_workers_word_is_corrected),
	};

	cmocka_set_message_output(CM_OUTPUT_TAP);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
