/* SPDX-License-Identifier: ISC */
/* send: the way of a message against a bus, a journal and a store that do as they are told. */
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
#include "lib/loop.h"

#define CNV  "cnv_01234567890123456789abcdef"
#define USR  "usr_01234567890123456789abcdef"
#define UUID "0190a0b1-1234-7abc-8def-0123456789a"

/* ---- the store: membership is fine; the look-up answers as set ---- */

static int lookup_err, lookups;
static const char *found_text; /* of the message that is there already */

static void
no_op(void *handle, struct store_req *req)
{
	req->err = 0;
}

static void
look_up(void *handle, struct store_req *req)
{
	char data[200];
	struct event *ev, *n;

	__atomic_add_fetch(&lookups, 1, __ATOMIC_SEQ_CST);
	req->err = lookup_err;
	if (lookup_err)
		return;
	snprintf(data, sizeof(data),
	    "{\"sender_id\":\"" USR "\",\"client_msg_id\":\"%s\",\"text\":\"%s\"}", req->text,
	    found_text);
	ev = event_new(EVENT_MESSAGE_CREATED, CNV, USR, req->text, data, strlen(data));
	n = event_numbered(ev, 77, 1);
	event_unref(&ev);
	store_req_add_event(req, n);
}

static void *
open_handle(const char *where)
{
	return &lookups;
}

static void
close_handle(void *handle)
{
}

static const struct store_impl fake_store = {
    .name = "fake",
    .open_handle = open_handle,
    .close_handle = close_handle,
    .ops = {[STORE_MEMBER_CHECK] = no_op, [STORE_EVENT_BY_CLIENT_ID] = look_up},
};

/* ---- the journal ---- */

static int intakes, dones, intake_err;
static struct {
	journal_append_cb cb;
	void *arg;
} append;

static int
j_intake(struct journal_writer *w, const struct event *ev, uint64_t *ticket_r)
{
	*ticket_r = (uint64_t)++intakes;
	return intake_err;
}

static int
j_append(struct journal_writer *w, uint64_t ticket, const struct event *ev, journal_append_cb cb,
    void *arg)
{
	append.cb = cb;
	append.arg = arg;
	loop_stop();
	return 0;
}

static int
j_done(struct journal_writer *w, uint64_t ticket)
{
	dones++;
	return 0;
}

static const struct journal_writer_ops journal_ops = {
    "fake", NULL, j_intake, j_append, j_done, NULL, NULL};
static struct journal_writer journal = {&journal_ops};

/* ---- the bus ---- */

static struct {
	struct event *ev;
	bus_submit_cb cb;
	void *arg;
} submits[64];
static int submit_count, submits_wanted;
static bool bus_up = true;

static int
b_submit(struct bus *b, const struct event *ev, bus_submit_cb cb, void *arg)
{
	if (!bus_up)
		return ERR_UNAVAILABLE;
	submits[submit_count].ev = event_numbered(ev, 100 + (uint64_t)submit_count, 5);
	submits[submit_count].cb = cb;
	submits[submit_count++].arg = arg;
	if (submit_count == submits_wanted)
		loop_stop();
	return 0;
}

static void
b_nothing(struct bus *b, const char *user, enum presence p)
{
}

static const struct bus_ops bus_ops = {
    .name = "fake", .submit = b_submit, .presence_set = b_nothing};
static struct bus bus = {.ops = &bus_ops, .up = true};

/* ---- the chat under test, and answers ---- */

static struct chat *chat;
static struct store *store;
static struct chat_result last;
static char last_json[512];
static int answers;

static void
done(void *arg, const struct chat_result *res)
{
	last = *res;
	snprintf(
	    last_json, sizeof(last_json), "%.*s", (int)res->json_len, res->json ? res->json : "");
	answers++;
	loop_stop();
}

static void
send_text(char last_digit, const char *text)
{
	char id[40];
	struct chat_message m = {CNV, id, text, strlen(text)};

	snprintf(id, sizeof(id), UUID "%c", last_digit);
	chat_send(chat, USR, NULL, &m, done, NULL);
}

static void
answer_submit(int i, int err)
{
	struct bus_submit_result res = {.err = err, .event = err ? NULL : submits[i].ev};

	submits[i].cb(submits[i].arg, &res);
}

static void
run_until_submits(int n)
{
	submits_wanted = n;
	while (submit_count < n)
		loop_run();
}

static int
setup(void **state)
{
	static const uint8_t key[32];
	struct chat_opts o = {.max_text = 20,
	    .rate = 10,
	    .burst = 10,
	    .hash_cost = 1,
	    .hash_queue = 1,
	    .key = key,
	    .key_len = sizeof(key)};

	loop_init();
	lookup_err = ERR_NOT_FOUND;
	lookups = intakes = dones = intake_err = submit_count = answers = 0;
	bus_up = true;
	memset(&append, 0, sizeof(append));
	store = store_open(&fake_store, "", 2);
	chat = chat_new(&o, store, &journal);
	chat_set_bus(chat, &bus);
	return 0;
}

static int
teardown(void **state)
{
	store_close(&store);
	chat_free(&chat);
	for (int i = 0; i < submit_count; i++)
		event_unref(&submits[i].ev);
	return 0;
}

static void
acknowledged_only_when_durable(void **state)
{
	send_text('1', "hello");
	run_until_submits(1);
	assert_int_equal(intakes, 1); /* in the spool before it is numbered */
	assert_null(append.cb);
	answer_submit(0, 0);
	assert_non_null(append.cb);
	assert_int_equal(answers, 0); /* numbered, published, and not yet acknowledged */
	append.cb(append.arg, 0, JOURNAL_DURABLE_LOCAL);
	assert_int_equal(answers, 1);
	assert_int_equal(last.err, 0);
	assert_true(last.created);
	assert_non_null(strstr(last_json, "\"seq\":100,"));
	assert_non_null(strstr(last_json, "\"durable\":\"local\",\"duplicate\":false"));
	assert_int_equal(chat_in_flight(chat), 0);
}

static void
order_is_kept_though_look_ups_race(void **state)
{
	for (int i = 0; i < 30; i++) {
		send_text((char)(i < 10 ? '0' + i : 'a' + i % 6), "x");
		/* Without a socket membership is asked of the store first, in no order. */
		while (chat_in_flight(chat) <= (size_t)i)
			ev_run(loop_ev(), EVRUN_ONCE);
	}
	run_until_submits(30);
	for (int i = 0; i < 10; i++)
		assert_int_equal(submits[i].ev->client_id[35], '0' + i);
}

static void
what_is_in_the_store_is_answered_from_there(void **state)
{
	lookup_err = 0;
	found_text = "hello";
	send_text('1', "hello");
	loop_run();
	while (!answers)
		loop_run();
	assert_int_equal(last.err, 0);
	assert_non_null(strstr(last_json, "\"seq\":77,"));
	assert_non_null(strstr(last_json, "\"duplicate\":true"));
	send_text('1', "other");
	while (answers < 2)
		loop_run();
	assert_int_equal(last.err, ERR_ID_REUSED);
	assert_int_equal(intakes, 0);
	assert_int_equal(submit_count, 0);
}

static void
an_unknown_outcome_is_submitted_again(void **state)
{
	send_text('1', "hello");
	run_until_submits(1);
	bus_up = false;
	answer_submit(0, ERR_UNKNOWN_OUTCOME);
	assert_int_equal(answers, 0);
	bus_up = true;
	chat_bus_handler.state(chat, true);
	assert_int_equal(submit_count, 2);
	assert_string_equal(submits[1].ev->id, submits[0].ev->id);
	answer_submit(1, 0);
	append.cb(append.arg, 0, JOURNAL_DURABLE_LOCAL);
	assert_int_equal(answers, 1);
	assert_int_equal(intakes, 1);
}

static void
what_the_bus_refuses_needs_no_replay(void **state)
{
	send_text('1', "hello");
	run_until_submits(1);
	answer_submit(0, ERR_STORAGE_FULL);
	assert_int_equal(dones, 1);
	assert_int_equal(last.err, ERR_STORAGE_FULL);
	assert_int_equal(chat_in_flight(chat), 0);
}

static void
a_full_spool_is_said_before_anybody_sees_the_message(void **state)
{
	intake_err = ERR_STORAGE_FULL;
	send_text('1', "hello");
	while (!answers)
		loop_run();
	assert_int_equal(last.err, ERR_STORAGE_FULL);
	assert_int_equal(submit_count, 0);
	assert_int_equal(dones, 0);
}

static void
an_append_that_fails_is_tried_again(void **state)
{
	journal_append_cb first;

	send_text('1', "hello");
	run_until_submits(1);
	answer_submit(0, 0);
	first = append.cb;
	append.cb = NULL;
	first(append.arg, ERR_STORAGE_FULL, JOURNAL_DURABLE_LOCAL);
	assert_int_equal(answers, 0);
	while (!append.cb) /* the timer */
		loop_run();
	append.cb(append.arg, 0, JOURNAL_DURABLE_LOCAL);
	assert_int_equal(last.err, 0);
	assert_int_equal(answers, 1);
}

static void
bad_fields_are_named(void **state)
{
	struct chat_message m = {CNV, "x", "hello", 5};

	chat_send(chat, USR, NULL, &m, done, NULL);
	assert_string_equal(last.pointer, "/client_msg_id");
	m.client_msg_id = UUID "1";
	m.conversation = "cnv_x";
	chat_send(chat, USR, NULL, &m, done, NULL);
	assert_string_equal(last.pointer, "/conversation_id");
	send_text('1', "a text of 21 bytes...");
	assert_string_equal(last.pointer, "/text");
	assert_string_equal(last.reason, "too_long");
	send_text('1', "");
	assert_string_equal(last.reason, "empty");
	assert_int_equal(answers, 4);
	assert_int_equal(lookups, 0);
}

#define CASE(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    CASE(acknowledged_only_when_durable),
	    CASE(order_is_kept_though_look_ups_race),
	    CASE(what_is_in_the_store_is_answered_from_there),
	    CASE(an_unknown_outcome_is_submitted_again),
	    CASE(what_the_bus_refuses_needs_no_replay),
	    CASE(a_full_spool_is_said_before_anybody_sees_the_message),
	    CASE(an_append_that_fails_is_tried_again),
	    CASE(bad_fields_are_named),
	};

	cmocka_set_message_output(CM_OUTPUT_TAP);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
