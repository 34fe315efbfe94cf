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
#define MSG  "msg_01234567890123456789abcdef"
#define UUID "0190a0b1-1234-7abc-8def-0123456789a"

/* ---- the store: the sender is as set, and so is what the look-up finds ---- */

static int lookup_err, lookups;
static const char *found_text; /* of the message that is there already */
static bool is_member, is_archived;
static const char *replied_to; /* the conversation of MSG */

static void
look_up(void *handle, struct store_req *req)
{
	char data[200];
	struct event *ev, *n;

	__atomic_add_fetch(&lookups, 1, __ATOMIC_SEQ_CST);
	req->err = lookup_err;
	if (is_member) {
		struct membership *m = store_req_add_membership(req);

		m->role = ROLE_MEMBER;
		m->archived = is_archived;
	}
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

/* The message that replies answer to: number 50 of the conversation CNV. */
static void
get_message(void *handle, struct store_req *req)
{
	struct event *ev;

	req->err = ERR_NOT_FOUND;
	if (strcmp(req->id, MSG) != 0)
		return;
	ev = event_new(EVENT_MESSAGE_CREATED, replied_to, USR, "", "{}", 2);
	str_copy(ev->id, sizeof(ev->id), MSG);
	store_req_add_event(req, event_numbered(ev, 50, 1));
	event_unref(&ev);
	req->err = 0;
}

static void
list_nothing(void *handle, struct store_req *req)
{
	req->err = 0;
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
    .ops = {[STORE_EVENT_BY_CLIENT_ID] = look_up,
	[STORE_OUTBOX_LIST] = list_nothing,
	[STORE_MESSAGE_GET] = get_message},
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

static int
b_find(struct bus *b, const char *id, bus_find_cb cb, void *arg)
{
	cb(arg, ERR_NOT_FOUND, NULL);
	return 0;
}

static int
b_about(struct bus *b, const char *conversation, const char (*ids)[ID_MAX], size_t count,
    bus_window_cb cb, void *arg)
{
	struct bus_window w = {0};

	cb(arg, &w);
	return 0;
}

static const struct bus_ops bus_ops = {.name = "fake",
    .submit = b_submit,
    .presence_set = b_nothing,
    .find = b_find,
    .about = b_about};
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

static const char *reply_to;

static void
send_text(char last_digit, const char *text)
{
	char id[40];
	struct chat_message m = {.conversation = CNV,
	    .client_msg_id = id,
	    .text = text,
	    .text_len = strlen(text),
	    .reply_to = reply_to};

	snprintf(id, sizeof(id), UUID "%c", last_digit);
	chat_send(chat, USR, &m, done, NULL);
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
	static const struct key_set keys = {.count = 1};
	struct chat_opts o = {.max_text = 20,
	    .rate = 10,
	    .burst = 10,
	    .hash_cost = 1,
	    .hash_queue = 1,
	    .keys = &keys};

	loop_init();
	lookup_err = ERR_NOT_FOUND;
	is_member = true;
	is_archived = false;
	reply_to = NULL;
	replied_to = CNV;
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
		/* Of two threads one may find its answer first; a reply needs a second one. */
		reply_to = i % 3 ? NULL : MSG;
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
	struct chat_message m = {
	    .conversation = CNV, .client_msg_id = "x", .text = "hello", .text_len = 5};
	const char *users[MESSAGE_MENTIONS_MAX + 1];

	chat_send(chat, USR, &m, done, NULL);
	assert_string_equal(last.pointer, "/client_msg_id");
	m.client_msg_id = UUID "1";
	m.conversation = "cnv_x";
	chat_send(chat, USR, &m, done, NULL);
	assert_string_equal(last.pointer, "/conversation_id");
	send_text('1', "a text of 21 bytes...");
	assert_string_equal(last.pointer, "/text");
	assert_string_equal(last.reason, "too_long");
	send_text('1', "");
	assert_string_equal(last.reason, "empty");
	m.conversation = CNV;
	m.reply_to = "msg_x";
	chat_send(chat, USR, &m, done, NULL);
	assert_string_equal(last.pointer, "/reply_to");
	m.reply_to = NULL;
	for (size_t i = 0; i <= MESSAGE_MENTIONS_MAX; i++)
		users[i] = USR;
	m.mentions = users;
	m.mention_count = MESSAGE_MENTIONS_MAX + 1;
	chat_send(chat, USR, &m, done, NULL);
	assert_string_equal(last.pointer, "/mentions");
	assert_string_equal(last.reason, "too_many");
	users[1] = CNV;
	m.mention_count = 2;
	chat_send(chat, USR, &m, done, NULL);
	assert_string_equal(last.reason, "invalid");
	assert_int_equal(answers, 7);
	assert_int_equal(lookups, 0);
}

static void
run_until_answers(int n)
{
	while (answers < n)
		loop_run();
}

static void
only_members_send_and_not_into_an_archive(void **state)
{
	is_member = false;
	send_text('1', "hello");
	run_until_answers(1);
	assert_int_equal(last.err, ERR_NOT_FOUND);
	is_member = is_archived = true;
	send_text('1', "hello");
	run_until_answers(2);
	assert_int_equal(last.err, ERR_ARCHIVED);
	lookup_err = 0; /* sent before: the first answer, whatever has become of it since */
	found_text = "hello";
	send_text('1', "hello");
	run_until_answers(3);
	assert_int_equal(last.err, 0);
	assert_int_equal(intakes, 0);
}

static void
a_reply_is_to_a_message_of_the_conversation(void **state)
{
	reply_to = USR;
	send_text('1', "hello");
	assert_string_equal(last.pointer, "/reply_to");
	reply_to = "msg_00000000000000000000000000";
	send_text('1', "hello");
	run_until_answers(2);
	assert_int_equal(last.err, ERR_INVALID_FIELD);
	assert_string_equal(last.pointer, "/reply_to");
	reply_to = MSG;
	replied_to = "cnv_00000000000000000000000000";
	send_text('1', "hello");
	run_until_answers(3);
	assert_int_equal(last.err, ERR_INVALID_FIELD);
	replied_to = CNV;
	send_text('1', "hello");
	run_until_submits(1);
	assert_non_null(strstr(submits[0].ev->data, ",\"reply_to\":\"" MSG "\"}"));
	assert_int_equal(intakes, 1);
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
	    CASE(only_members_send_and_not_into_an_archive),
	    CASE(a_reply_is_to_a_message_of_the_conversation),
	};

	cmocka_set_message_output(CM_OUTPUT_TAP);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
