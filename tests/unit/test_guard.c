/* SPDX-License-Identifier: ISC */
/*
 * guard: guessing is slowed, nobody is locked out, and nothing tells which accounts exist.
 * The hub's own counters, with a clock that the test moves; a store with sessions of one
 * user; passwords are really hashed, at the lowest cost.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "chat/chat_int.h"
#include "chat/guard.h"
#include "hub/count.h"
#include "lib/address.h"
#include "lib/log.h"
#include "lib/loop.h"

#define ANN       "usr_01234567890123456789abcdef"
#define HOME      "2001:db8:1:2::17" /* where ann is logged in */
#define HOME_TOO  "2001:db8:1:2:ffff::1"
#define PASSWORD  "correct horse"
#define WINDOW_MS 900000
#define ADDRESS   6 /* limits */
#define ACCOUNT   4
#define SIGNUPS   3
#define BURST     20

static int64_t now;
static struct counters counters;
static bool away;
static struct chat chat;
static char ann_hash[PASSWORD_HASH];
static unsigned int lists; /* of sessions that were asked for */

/* ---- the bus ---- */

static int
fake_count(
    struct bus *b, const char *key, uint64_t add, int64_t window_ms, bus_count_cb cb, void *arg)
{
	struct count_result r;

	if (away)
		return ERR_UNAVAILABLE;
	r = count_up(&counters, key, add, window_ms, now);
	cb(arg, 0, r.count, r.left_ms);
	return 0;
}

static const struct bus_ops bus_ops = {.name = "fake", .count = fake_count};
static struct bus bus = {.ops = &bus_ops, .up = true};

/* ---- the store ---- */

static void
list_sessions(void *handle, struct store_req *req)
{
	lists++;
	req->err = 0;
	if (strcmp(req->id, ANN) == 0)
		str_copy(store_req_add_session(req)->address, SESSION_ADDRESS_MAX, HOME);
}

static void *
open_handle(const char *where)
{
	return &chat;
}

static void
close_handle(void *handle)
{
}

static const struct store_impl fake_store = {.name = "fake",
    .open_handle = open_handle,
    .close_handle = close_handle,
    .ops = {[STORE_SESSION_LIST] = list_sessions}};

/* ---- attempts ---- */

struct attempt {
	bool done;
	int err;
	int64_t retry;
};

static void
answered(void *arg, int err, int64_t retry_after)
{
	struct attempt *a = arg;

	assert_false(a->done);
	*a = (struct attempt){true, err, retry_after};
}

/* known: the account exists and is ann's. */
static void
begin(struct attempt *a, const char *name, bool known, const char *address, const char *password)
{
	struct guard_subject s = {name, known ? ANN : "", address};

	*a = (struct attempt){0};
	guard_check_password(&chat, &s, password, known ? ann_hash : "", answered, a);
}

static void
finish(struct attempt *a)
{
	while (!a->done)
		ev_run(loop_ev(), EVRUN_ONCE);
}

static struct attempt
try(const char *name, bool known, const char *address, const char *password)
{
	struct attempt a;

	begin(&a, name, known, address, password);
	finish(&a);
	return a;
}

static struct attempt
wrong(const char *name, const char *address)
{
	return try(name, strcmp(name, "ann") == 0, address, "not this one");
}

static struct attempt
right(const char *address)
{
	return try("ann", true, address, PASSWORD);
}

/* An address that nobody has used yet. */
static const char *
stranger(void)
{
	static unsigned int n;
	static char text[32];

	n++;
	snprintf(text, sizeof(text), "10.%u.%u.%u", n >> 16 & 255, n >> 8 & 255, n & 255);
	return text;
}

static void
check(struct attempt a, int err, int64_t retry)
{
	assert_int_equal(a.err, err);
	assert_int_equal(a.retry, retry);
}

static int
setup(void **state)
{
	counters_fini(&counters);
	memset(&counters, 0, sizeof(counters));
	now = 1000;
	away = false;
	lists = 0;
	chat.opts.lockout_window = WINDOW_MS;
	chat.opts.lockout_address = ADDRESS;
	chat.opts.lockout_account = ACCOUNT;
	chat.opts.signups_per_address = SIGNUPS;
	return 0;
}

/* ---- tests ---- */

static void
pauses_double_from_the_limit_on(void **state)
{
	assert_int_equal(guard_pause(0, 3, 60000), 0);
	assert_int_equal(guard_pause(2, 3, 60000), 0);
	assert_int_equal(guard_pause(3, 3, 60000), 1000);
	assert_int_equal(guard_pause(4, 3, 60000), 2000);
	assert_int_equal(guard_pause(8, 3, 60000), 32000);
	assert_int_equal(guard_pause(9, 3, 60000), 60000);
	assert_int_equal(guard_pause(UINT64_MAX, 3, 60000), 60000);
	assert_int_equal(guard_pause(1000, 0, 60000), 0); /* no limit */
	assert_int_equal(guard_pause(1, 1, 500), 500);
}

static void
an_address_that_guesses_waits_longer_each_time(void **state)
{
	uint64_t hashes;
	char name[16];

	for (int i = 0; i < ADDRESS; i++) { /* one try an account */
		snprintf(name, sizeof(name), "name%d", i);
		check(wrong(name, "192.0.2.1"), ERR_BAD_CREDENTIALS, 0);
	}
	hashes = password_pool_hashes(chat.passwords);
	check(right("192.0.2.1"), ERR_RATE_LIMITED, 1); /* whatever the password */
	check(wrong("other", "192.0.2.1"), ERR_RATE_LIMITED, 1);
	assert_int_equal(password_pool_hashes(chat.passwords), hashes); /* none was hashed */
	check(right("192.0.2.2"), 0, 0);
	for (int64_t pause = 1; pause <= 16; pause *= 2) {
		now += 1000 * pause - 1;
		check(wrong("other", "192.0.2.1"), ERR_RATE_LIMITED, 1);
		now += 1;
		check(wrong(name, "192.0.2.1"), ERR_BAD_CREDENTIALS, 0);
		check(wrong("other", "192.0.2.1"), ERR_RATE_LIMITED, 2 * pause);
		snprintf(name, sizeof(name), "more%d", (int)pause);
	}
	now += 32000;
	check(right("192.0.2.1"), 0, 0);
	now += WINDOW_MS;
	for (int i = 0; i < ADDRESS; i++) {
		snprintf(name, sizeof(name), "later%d", i);
		check(wrong(name, "192.0.2.1"), ERR_BAD_CREDENTIALS, 0);
	}
}

static void
an_ipv6_address_is_its_network(void **state)
{
	char name[16], address[40];

	for (int i = 0; i < ADDRESS; i++) {
		snprintf(name, sizeof(name), "name%d", i);
		snprintf(address, sizeof(address), "2001:db8:7:7::%x", i + 1);
		check(wrong(name, address), ERR_BAD_CREDENTIALS, 0);
	}
	check(right("2001:db8:7:7:aaaa::"), ERR_RATE_LIMITED, 1);
	check(right("2001:db8:7:8::1"), 0, 0);
}

/* The user may come in where he is logged in, however many strangers guess at the account. */
static void
strangers_lock_nobody_out(void **state)
{
	for (int i = 0; i < ACCOUNT; i++)
		check(wrong("ann", stranger()), ERR_BAD_CREDENTIALS, 0);
	check(right(stranger()), ERR_RATE_LIMITED, 1);
	check(wrong("ann", stranger()), ERR_RATE_LIMITED, 1);
	check(right(HOME), 0, 0);
	check(right(HOME_TOO), 0, 0);
	check(right(""), ERR_RATE_LIMITED, 1); /* nobody knows where */
	for (int i = 0; i < 30; i++) {
		now += GUARD_ACCOUNT_PAUSE_MS; /* is the longest */
		check(wrong("ann", stranger()), ERR_BAD_CREDENTIALS, 0);
	}
	check(right(HOME), 0, 0);
	now += GUARD_ACCOUNT_PAUSE_MS;
	check(right(stranger()), 0, 0);
}

static void
who_guesses_at_home_is_slowed_by_the_address(void **state)
{
	for (int i = 0; i < ADDRESS; i++)
		check(wrong("ann", HOME), ERR_BAD_CREDENTIALS, 0);
	check(right(HOME), ERR_RATE_LIMITED, 1);
}

/* Answers, pauses, hashes and look-ups are the same for a name that nobody has. */
static void
nothing_tells_which_accounts_exist(void **state)
{
	const char *const names[] = {"ann", "nobody"};
	uint64_t hashes[2];
	struct attempt seen[2][12];
	unsigned int looked[2];

	for (int k = 0; k < 2; k++) {
		hashes[k] = password_pool_hashes(chat.passwords);
		lists = 0;
		for (int i = 0; i < 12; i++) {
			now += i % 3 == 2 ? 2000 : 0;
			seen[k][i] = wrong(names[k], stranger());
		}
		hashes[k] = password_pool_hashes(chat.passwords) - hashes[k];
		looked[k] = lists;
	}
	for (int i = 0; i < 12; i++) {
		assert_int_equal(seen[0][i].err, seen[1][i].err);
		assert_int_equal(seen[0][i].retry, seen[1][i].retry);
	}
	assert_int_equal(seen[0][11].err, ERR_RATE_LIMITED);
	assert_int_equal(hashes[0], hashes[1]);
	assert_int_equal(looked[0], looked[1]);
	assert_true(looked[0] > 0);
}

/* Many at once would all be let in before the first failure is counted. */
static void
of_many_at_once_only_some_learn_anything(void **state)
{
	struct attempt a[BURST];
	int told = 0;

	for (int i = 0; i < BURST; i++)
		begin(&a[i], "ann", true, stranger(), i == BURST - 1 ? PASSWORD : "not this one");
	for (int i = 0; i < BURST; i++) {
		finish(&a[i]);
		told += a[i].err != ERR_RATE_LIMITED;
	}
	assert_int_equal(told, ACCOUNT);
	assert_int_equal(a[BURST - 1].err, ERR_RATE_LIMITED); /* the right one was none of them */
}

static void
of_many_at_once_from_one_address_too(void **state)
{
	struct attempt a[BURST];
	int told = 0;
	char name[16];

	for (int i = 0; i < BURST; i++) {
		snprintf(name, sizeof(name), "name%d", i);
		begin(&a[i], name, false, "192.0.2.1", "not this one");
	}
	for (int i = 0; i < BURST; i++) {
		finish(&a[i]);
		told += a[i].err != ERR_RATE_LIMITED;
	}
	assert_int_equal(told, ADDRESS);
}

static void
without_the_bus_people_log_in(void **state)
{
	for (int i = 0; i < ACCOUNT + ADDRESS; i++)
		wrong("ann", "192.0.2.1");
	check(right("192.0.2.1"), ERR_RATE_LIMITED, 1);
	away = true;
	check(right("192.0.2.1"), 0, 0);
	check(wrong("ann", "192.0.2.1"), ERR_BAD_CREDENTIALS, 0);
}

static void
a_limit_of_0_is_none(void **state)
{
	chat.opts.lockout_account = chat.opts.lockout_address = 0;
	for (int i = 0; i < 30; i++)
		check(wrong("ann", "192.0.2.1"), ERR_BAD_CREDENTIALS, 0);
	check(right("192.0.2.1"), 0, 0);
}

static struct attempt
sign_up(const char *address)
{
	struct attempt a = {0};

	guard_signup(&chat, address, answered, &a);
	finish(&a);
	return a;
}

static void
an_address_makes_so_many_accounts_an_hour(void **state)
{
	for (int i = 0; i < SIGNUPS; i++)
		check(sign_up("192.0.2.1"), 0, 0);
	check(sign_up("192.0.2.1"), ERR_RATE_LIMITED, 3600);
	now += 3599 * 1000;
	check(sign_up("192.0.2.1"), ERR_RATE_LIMITED, 1);
	check(sign_up("192.0.2.2"), 0, 0);
	now += 1000;
	check(sign_up("192.0.2.1"), 0, 0);
	for (int i = 0; i < 2 * SIGNUPS; i++)
		check(sign_up(""), 0, 0);
	chat.opts.signups_per_address = 0;
	for (int i = 0; i < 2 * SIGNUPS; i++)
		check(sign_up("192.0.2.1"), 0, 0);
}

static void
blocks_of_addresses(void **state)
{
	static const struct {
		const char *text, *block; /* NULL: none */
	} cases[] = {
	    {"192.0.2.1", "192.0.2.1"},
	    {"::ffff:192.0.2.1", "192.0.2.1"},
	    {"2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"},
	    {"::1", "::/64"},
	    {"", NULL},
	    {"unix:", NULL},
	    {"192.0.2", NULL},
	};
	char block[ADDRESS_BLOCK_MAX];

	for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
		assert_true(address_block(cases[i].text, block) == (cases[i].block != NULL));
		assert_string_equal(block, cases[i].block ? cases[i].block : "");
	}
}

static void
keep_hash(void *arg, const char *hash)
{
	assert_non_null(hash);
	str_copy(ann_hash, sizeof(ann_hash), hash);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test_setup(pauses_double_from_the_limit_on, setup),
	    cmocka_unit_test_setup(an_address_that_guesses_waits_longer_each_time, setup),
	    cmocka_unit_test_setup(an_ipv6_address_is_its_network, setup),
	    cmocka_unit_test_setup(strangers_lock_nobody_out, setup),
	    cmocka_unit_test_setup(who_guesses_at_home_is_slowed_by_the_address, setup),
	    cmocka_unit_test_setup(nothing_tells_which_accounts_exist, setup),
	    cmocka_unit_test_setup(of_many_at_once_only_some_learn_anything, setup),
	    cmocka_unit_test_setup(of_many_at_once_from_one_address_too, setup),
	    cmocka_unit_test_setup(without_the_bus_people_log_in, setup),
	    cmocka_unit_test_setup(a_limit_of_0_is_none, setup),
	    cmocka_unit_test_setup(an_address_makes_so_many_accounts_an_hour, setup),
	    cmocka_unit_test_setup(blocks_of_addresses, setup),
	};
	int bad;

	loop_init();
	log_init("test", -1, LOG_TO_STDERR, LOG_LVL_ERROR);
	cmocka_set_message_output(CM_OUTPUT_TAP);
	chat.bus = &bus;
	chat.opts.hash_cost = 1;
	chat.passwords = password_pool_new(64);
	chat.store = store_open(&fake_store, "", 1);
	if (password_hash(chat.passwords, PASSWORD, 1, keep_hash, NULL))
		return 1;
	while (!ann_hash[0])
		ev_run(loop_ev(), EVRUN_ONCE);
	bad = cmocka_run_group_tests(tests, NULL, NULL);
	counters_fini(&counters);
	store_close(&chat.store);
	password_pool_free(&chat.passwords);
	return bad;
}
