/* SPDX-License-Identifier: ISC */
/*
 * membership: events that come early, late and in another order, against a bus that answers when
 * it is told to and a store that says who is a member now.
 */
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

/* ---- the store ---- */

static bool is_member;
static int checks; /* answered */

static void
memberships(void *handle, struct store_req *req)
{
	req->err = 0;
	if (__atomic_load_n(&is_member, __ATOMIC_SEQ_CST))
		str_copy(store_req_add_membership(req)->conversation, ID_MAX, CNV);
}

static void
member_check(void *handle, struct store_req *req)
{
	bool yes = __atomic_load_n(&is_member, __ATOMIC_SEQ_CST);

	req->err = yes ? 0 : ERR_NOT_FOUND;
	if (yes)
		store_req_add_membership(req);
	__atomic_add_fetch(&checks, 1, __ATOMIC_SEQ_CST);
}

static void *
open_handle(const char *where)
{
	return &checks;
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

/* ---- the bus ---- */

#define FIRST 101 /* the first number of the window; what it has is all that was given */

static struct event *given[16]; /* numbers FIRST.. */
static size_t given_count;
static uint64_t window_floor = FIRST - 1;

static struct {
	bus_subscribe_cb cb;
	void *arg;
} subscription;
static struct {
	bus_window_cb cb;
	void *arg;
	uint64_t after;
} window;

static int
b_subscribe(struct bus *b, const char *conversation, bus_subscribe_cb cb, void *arg)
{
	subscription.cb = cb;
	subscription.arg = arg;
	return 0;
}

static void
b_unsubscribe(struct bus *b, const char *conversation)
{
}

static int
b_window(struct bus *b, const char *conversation, uint64_t after, uint64_t before, size_t limit,
    bus_window_cb cb, void *arg)
{
	window.cb = cb;
	window.arg = arg;
	window.after = after;
	return 0;
}

static void
b_presence(struct bus *b, const char *user, enum presence p)
{
}

static const struct bus_ops bus_ops = {.name = "fake",
    .subscribe = b_subscribe,
    .unsubscribe = b_unsubscribe,
    .window = b_window,
    .presence_set = b_presence};
static struct bus bus = {.ops = &bus_ops, .up = true};

/* Answers what was asked; false: nothing was. */
static bool
answer_bus(void)
{
	if (subscription.cb) {
		bus_subscribe_cb cb = subscription.cb;

		subscription.cb = NULL;
		cb(subscription.arg, 0, FIRST - 1 + given_count);
		return true;
	}
	if (window.cb) {
		bus_window_cb cb = window.cb;
		size_t skip = window.after < FIRST ? 0 : (size_t)(window.after - FIRST + 1);
		struct bus_window w = {.floor = window_floor, .head = FIRST - 1 + given_count};

		if (skip > given_count)
			skip = given_count;
		w.events = given + skip;
		w.count = given_count - skip;
		window.cb = NULL;
		cb(window.arg, &w);
		return true;
	}
	return false;
}

/* ---- the chat under test ---- */

static struct chat *chat;
static struct store *store;
static struct client *client;
static char sent[256]; /* the last digits of what the client was sent */
static int readies;

static void *
encode(const char *name, const char *json, size_t len)
{
	const char *seq = strstr(json, "\"seq\":");

	return seq ? xasprintf("%.3s ", seq + strlen("\"seq\":")) : xasprintf("%s ", name);
}

static void
peer_send(void *peer, void *encoded)
{
	strcat(sent, encoded);
}

static void
peer_ready(void *peer, int err)
{
	assert_int_equal(err, 0);
	readies++;
}

static const struct peer_ops peer_ops = {.send = peer_send, .ready = peer_ready};

/* The next number goes to an event with this user as its member, and to the worker. */
static void
give(enum event_type type)
{
	static const char data[] = "{\"members\":[{\"user_id\":\"" USR "\",\"username\":\"x\"}]}";
	struct event *ev = event_new(type, CNV, USR, "", data, strlen(data));

	given[given_count] = event_numbered(ev, FIRST + given_count, 1);
	event_unref(&ev);
	given_count++;
}

static void
publish(enum event_type type)
{
	give(type);
	chat_bus_handler.event(chat, given[given_count - 1]);
}

static void
turn(void)
{
	ev_run(loop_ev(), EVRUN_NOWAIT);
	answer_bus();
	usleep(200);
}

/* Until nothing is under way: the store's pool, the bus and the loop. */
static void
settle(void)
{
	for (int i = 0; i < 100; i++)
		turn();
}

static void
run_until_ready(void)
{
	while (!readies)
		turn();
}

static size_t
rooms(void)
{
	struct chat_stats st;

	chat_stats(chat, &st);
	return st.rooms;
}

static void
open_client(void)
{
	struct chat_identity who = {.user = USR, .session = "ses_01234567890123456789abcdef"};

	client = client_open(chat, &who, &peer_ops, NULL);
}

static int
setup(void **state)
{
	static const struct key_set keys = {.count = 1};
	struct chat_opts o = {.rate = 10, .burst = 10, .keys = &keys, .encoder = {encode, free}};

	loop_init();
	is_member = true;
	checks = readies = 0;
	sent[0] = '\0';
	window_floor = FIRST - 1;
	store = store_open(&fake_store, "", 1);
	chat = chat_new(&o, store, NULL);
	chat_set_bus(chat, &bus);
	return 0;
}

static int
teardown(void **state)
{
	client_close(&client);
	settle();
	store_close(&store);
	chat_free(&chat);
	while (given_count)
		event_unref(&given[--given_count]);
	memset(&subscription, 0, sizeof(subscription));
	memset(&window, 0, sizeof(window));
	return 0;
}

static void
who_is_removed_before_the_room_is_subscribed_to_is_out(void **state)
{
	open_client();
	while (!subscription.cb) /* the first list had it */
		ev_run(loop_ev(), EVRUN_ONCE);
	is_member = false;
	run_until_ready();
	settle();
	assert_int_equal(rooms(), 0);
	publish(EVENT_MESSAGE_CREATED);
	assert_string_equal(sent, "");
}

static void
who_is_removed_is_sent_that_and_nothing_after(void **state)
{
	open_client();
	run_until_ready();
	publish(EVENT_MESSAGE_CREATED);
	is_member = false;
	publish(EVENT_MEMBER_LEFT);
	publish(EVENT_MESSAGE_CREATED);
	settle();
	publish(EVENT_MESSAGE_CREATED);
	assert_string_equal(sent, "101 102 ");
	assert_int_equal(rooms(), 0);
}

static void
a_removal_that_was_numbered_after_the_return_takes_nobody_out(void **state)
{
	open_client();
	run_until_ready();
	publish(EVENT_MEMBER_JOINED);
	publish(EVENT_MEMBER_LEFT); /* but the store says: is a member */
	publish(EVENT_MESSAGE_CREATED);
	settle();
	publish(EVENT_MESSAGE_CREATED);
	settle();
	assert_string_equal(sent, "101 102 103 104 "); /* each once */
}

static void
a_joining_that_comes_after_the_removal_brings_nobody_in(void **state)
{
	is_member = false;
	open_client();
	run_until_ready();
	publish(EVENT_MEMBER_JOINED);
	settle();
	publish(EVENT_MESSAGE_CREATED);
	settle();
	assert_int_equal(checks, 1);
	assert_int_equal(rooms(), 0);
	assert_null(strstr(sent, "102"));
}

/* The first event of a large conversation names as many as it may have. */
static void
a_member_among_a_thousand_is_brought_in(void **state)
{
	struct event *ev;
	struct buf data;

	is_member = false;
	open_client();
	run_until_ready();
	is_member = true;
	buf_init(&data);
	buf_puts(&data, "{\"members\":[");
	for (int i = 0; i < CONVERSATION_MEMBERS_MAX - 1; i++)
		buf_printf(&data,
		    "{\"user_id\":\"usr_%026d\",\"username\":\"u%d\",\"role\":\"member\"},", i, i);
	buf_puts(&data, "{\"user_id\":\"" USR "\",\"username\":\"x\",\"role\":\"member\"}]}");
	ev = event_new(EVENT_CONVERSATION_CREATED, CNV, USR, "", (const char *)data.data, data.len);
	given[given_count] = event_numbered(ev, FIRST, 1);
	chat_bus_handler.event(chat, given[given_count++]);
	settle();
	assert_string_equal(sent, "101 ");
	event_unref(&ev);
	buf_fini(&data);
}

/* Leaves this worker, and arrives again; what was given in between was not published here. */
static void
move(void)
{
	struct buf state;

	buf_init(&state);
	client_leave(&client, &state);
	settle();
	give(EVENT_MESSAGE_CREATED);
	give(EVENT_MEMBER_LEFT);
	give(EVENT_MESSAGE_CREATED);
	readies = 0;
	client = client_arrive(chat, state.data, state.len, &peer_ops, NULL);
	assert_non_null(client);
	buf_fini(&state);
}

static void
who_is_removed_while_moving_is_sent_that_and_nothing_after(void **state)
{
	open_client();
	run_until_ready();
	is_member = false;
	move();
	run_until_ready();
	settle();
	publish(EVENT_MESSAGE_CREATED);
	assert_string_equal(sent, "101 102 ");
	assert_int_equal(rooms(), 0);
}

static void
who_missed_the_removal_is_out_all_the_same(void **state)
{
	open_client();
	run_until_ready();
	is_member = false;
	move();
	window_floor = FIRST + 1; /* the archive has it, and the window no more */
	run_until_ready();
	settle();
	publish(EVENT_MESSAGE_CREATED);
	settle();
	assert_non_null(strstr(sent, "sync.required"));
	assert_null(strstr(sent, "104"));
	assert_int_equal(rooms(), 0);
}

#define CASE(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    CASE(who_is_removed_before_the_room_is_subscribed_to_is_out),
	    CASE(who_is_removed_is_sent_that_and_nothing_after),
	    CASE(a_removal_that_was_numbered_after_the_return_takes_nobody_out),
	    CASE(a_joining_that_comes_after_the_removal_brings_nobody_in),
	    CASE(a_member_among_a_thousand_is_brought_in),
	    CASE(who_is_removed_while_moving_is_sent_that_and_nothing_after),
	    CASE(who_missed_the_removal_is_out_all_the_same),
	};

	cmocka_set_message_output(CM_OUTPUT_TAP);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
