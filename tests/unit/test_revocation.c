/* SPDX-License-Identifier: ISC */
/*
 * revocation: which news of ended sessions reach a worker, and when the store is read.  The
 * bus and the store are fakes; a client has no conversations.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "chat/chat.h"
#include "chat/chat_int.h"
#include "chat/client.h"
#include "lib/log.h"
#include "lib/loop.h"

#define USR "usr_01234567890123456789abcdef"
#define SES "ses_01234567890123456789abcdef"
#define OLD "ses_abcdefghjkmnpqrstvwxyz0123"

/* ---- the store: one revocation, or none ---- */

static bool stored;
static int reads;

static void
memberships(void *handle, struct store_req *req)
{
	req->err = 0;
}

static void
revocations(void *handle, struct store_req *req)
{
	struct revocation *r;

	req->err = 0;
	reads++;
	if (!stored)
		return;
	r = store_req_add_revocation(req);
	strcpy(r->session, SES);
	strcpy(r->user, USR);
	r->until_ms = INT64_MAX;
	r->why = SESSION_TOKEN_REUSED;
}

static void *
open_handle(const char *where)
{
	return &stored;
}

static void
close_handle(void *handle)
{
}

static const struct store_impl fake_store = {
    .name = "fake",
    .open_handle = open_handle,
    .close_handle = close_handle,
    .ops = {[STORE_MEMBERSHIPS] = memberships, [STORE_REVOCATIONS] = revocations},
};

/* ---- the bus: keeps what was announced and what was asked ---- */

static struct buf announced;
static int announcements;
static bus_count_cb answer;
static void *answer_arg;

static void
b_announce(struct bus *b, const void *payload, size_t len)
{
	announcements++;
	buf_clear(&announced);
	buf_append(&announced, payload, len);
}

static int
b_count(struct bus *b, const char *key, uint64_t add, int64_t window_ms, bus_count_cb cb, void *arg)
{
	assert_int_equal(add, 0);
	answer = cb;
	answer_arg = arg;
	return 0;
}

static void
b_presence(struct bus *b, const char *user, enum presence p)
{
}

static const struct bus_ops bus_ops = {
    .name = "fake", .announce = b_announce, .count = b_count, .presence_set = b_presence};
static struct bus bus = {.ops = &bus_ops, .up = true};

/* ---- the chat under test ---- */

static struct chat *chat;
static struct store *store;
static struct client *client;
static const char *ended; /* why */

static void
peer_send(void *peer, void *encoded)
{
}

static void
peer_ready(void *peer, int err)
{
	loop_stop();
}

static void
peer_end(void *peer, const char *reason)
{
	ended = reason;
	loop_stop();
}

static const struct peer_ops peer_ops = {peer_send, peer_ready, peer_end};

static void
bus_state(bool up)
{
	bus.up = up;
	revocation_bus_state(chat, up);
}

static struct revocation
ended_session(const char *session)
{
	struct revocation r = {.until_ms = INT64_MAX, .why = SESSION_LOGGED_OUT};

	strcpy(r.session, session);
	strcpy(r.user, USR);
	return r;
}

static int
setup(void **state)
{
	static const struct key_set keys = {.count = 1};
	const struct chat_opts opts = {.rate = 1, .burst = 1, .access_ttl = 1000, .keys = &keys};
	const struct chat_identity who = {.user = USR, .session = SES};
	struct store_req *none = store_req_new(STORE_REVOCATIONS, NULL, NULL);

	loop_init();
	stored = false;
	reads = announcements = 0;
	answer = NULL;
	ended = NULL;
	bus.up = true;
	store = store_open(&fake_store, "", 1);
	chat = chat_new(&opts, store, NULL);
	chat_set_bus(chat, &bus);
	chat_take_revocations(chat, none);
	store_req_free(&none);
	client = client_open(chat, &who, &peer_ops, NULL);
	loop_run(); /* until it is ready */
	return 0;
}

static int
teardown(void **state)
{
	client_close(&client);
	store_close(&store);
	chat_free(&chat);
	buf_fini(&announced);
	return 0;
}

static void
an_announced_end_cuts_this_session_only(void **state)
{
	struct revocation r = ended_session(OLD);

	sessions_ended(chat, &r, 1);
	assert_int_equal(announcements, 1);
	assert_null(ended);
	assert_true(session_is_revoked(chat, OLD));
	assert_false(session_is_revoked(chat, SES));
	r = ended_session(SES);
	sessions_ended(chat, &r, 1);
	assert_string_equal(ended, "logged_out");
	ended = NULL;
	chat_bus_handler.announced(chat, announced.data, announced.len); /* our own comes back */
	assert_null(ended);
}

static void
a_cut_announcement_ends_nobody(void **state)
{
	struct revocation r = ended_session(OLD);
	uint8_t copy[256];
	size_t len;

	sessions_ended(chat, &r, 1);
	len = announced.len;
	memcpy(copy, announced.data, len);
	memcpy(memmem(copy, len, OLD, sizeof(OLD) - 1), SES, sizeof(SES) - 1);
	for (size_t cut = 0; cut < len; cut++)
		chat_bus_handler.announced(chat, copy, cut);
	assert_null(ended);
	chat_bus_handler.announced(chat, copy, len);
	assert_string_equal(ended, "logged_out");
}

static void
an_end_that_was_announced_before_the_hub_knew_us_is_read(void **state)
{
	bus_state(false);
	while (reads < 1)
		ev_run(loop_ev(), EVRUN_ONCE);
	bus_state(true);
	assert_non_null(answer); /* it is asked whatever, and nothing is read before it answers */
	stored = true;           /* and announced, to those whom the hub knew */
	answer(answer_arg, 0, 0, 0);
	loop_run();
	assert_string_equal(ended, "token_reused");
}

static void
while_the_bus_is_down_the_store_is_read_again_and_again(void **state)
{
	bus_state(false);
	while (reads < 2)
		ev_run(loop_ev(), EVRUN_ONCE);
	stored = true;
	loop_run();
	assert_string_equal(ended, "token_reused");
}

static void
what_was_ended_here_is_announced_again_when_the_bus_is_back(void **state)
{
	struct revocation r = ended_session(OLD);

	sessions_ended(chat, &r, 1);
	bus_state(false);
	bus_state(true);
	assert_int_equal(announcements, 2);
	assert_non_null(memmem(announced.data, announced.len, OLD, sizeof(OLD) - 1));
}

static void
a_client_that_arrives_with_an_ended_session_is_cut(void **state)
{
	struct revocation r = ended_session(SES);
	struct buf b;

	buf_init(&b);
	client_leave(&client, &b);
	sessions_ended(chat, &r, 1); /* while it is nowhere */
	assert_null(ended);
	client = client_arrive(chat, b.data, b.len, &peer_ops, NULL);
	assert_non_null(client);
	while (!ended)
		loop_run();
	assert_string_equal(ended, "logged_out");
	buf_fini(&b);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
	    TEST(an_announced_end_cuts_this_session_only),
	    TEST(a_cut_announcement_ends_nobody),
	    TEST(an_end_that_was_announced_before_the_hub_knew_us_is_read),
	    TEST(while_the_bus_is_down_the_store_is_read_again_and_again),
	    TEST(what_was_ended_here_is_announced_again_when_the_bus_is_back),
	    TEST(a_client_that_arrives_with_an_ended_session_is_cut),
#undef TEST
	};

	log_init("test", -1, LOG_TO_STDERR, LOG_LVL_ERROR);
	cmocka_set_message_output(CM_OUTPUT_TAP);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
