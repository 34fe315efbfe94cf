/* SPDX-License-Identifier: ISC */
/* roster: what is told of whom, when, and what is not told. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "hub/roster.h"

#define DELAY 10000
#define W1    UINT64_C(1)
#define W2    UINT64_C(2)
#define TELL  UINT64_C(4) /* a process that tells, and has no clients */

static struct roster r;
static struct roster_time now;
static char said[128]; /* what was told since the last look: "a online, b away" */

static void
say(void *arg, struct roster_user *u)
{
	static const char *const names[] = {"offline", "away", "online"};
	size_t len = strlen(said);

	roster_hand_over(&r, u, TELL);
	snprintf(
	    said + len, sizeof(said) - len, "%s%s %s", len ? ", " : "", u->id, names[u->telling]);
	u = roster_confirm(&r, u->id, TELL, u->telling);
	assert_non_null(u);
	roster_forget(&r, u);
}

/* ms later: exactly this is told. */
static void
after(int64_t ms, const char *expected)
{
	now.mono_ms += ms;
	now.wall_ms += ms;
	said[0] = '\0';
	roster_each_due(&r, now.mono_ms, say, NULL);
	assert_string_equal(said, expected);
}

static struct roster_user *
set(const char *user, uint64_t bit, enum presence p)
{
	return roster_set(&r, user, bit, p, &now);
}

static int
setup(void **state)
{
	memset(&r, 0, sizeof(r));
	now = (struct roster_time){.delay_ms = DELAY, .mono_ms = 1000, .wall_ms = 5000000};
	return 0;
}

static int
teardown(void **state)
{
	roster_fini(&r);
	return 0;
}

static void
one_device_comes_and_goes(void **state)
{
	set("a", W1, PRESENCE_ONLINE);
	after(0, "a online");
	set("a", W1, PRESENCE_OFFLINE);
	assert_true(roster_find(&r, "a")->gone_ms == now.wall_ms);
	assert_int_equal(roster_believed(roster_find(&r, "a")), PRESENCE_ONLINE);
	after(DELAY - 1, "");
	after(1, "a offline");
	assert_null(roster_find(&r, "a"));
	assert_int_equal(roster_believed(roster_find(&r, "a")), PRESENCE_OFFLINE);
	after(DELAY, "");
	assert_null(r.waiting);
}

static void
the_best_of_all_processes_counts(void **state)
{
	set("a", W1, PRESENCE_AWAY);
	after(0, "a away");
	set("a", W2, PRESENCE_ONLINE);
	after(0, "a online");
	set("a", W1, PRESENCE_OFFLINE);
	after(2 * DELAY, "");
	set("a", W2, PRESENCE_AWAY);
	after(ROSTER_AWAY_MS - 1, "");
	after(1, "a away");
	set("a", W1, PRESENCE_ONLINE);
	after(0, "a online");
}

static void
a_client_that_moves_does_not_flap(void **state)
{
	set("a", W1, PRESENCE_ONLINE);
	after(0, "a online");
	set("a", W1, PRESENCE_OFFLINE);
	after(20, "");
	set("a", W2, PRESENCE_ONLINE);
	after(5 * DELAY, "");
	/* And neither with another device that is away at the old place. */
	set("a", W1, PRESENCE_AWAY);
	set("a", W2, PRESENCE_AWAY);
	after(20, "");
	set("a", W1, PRESENCE_ONLINE);
	after(5 * DELAY, "");
}

static void
who_comes_back_in_time_was_never_away(void **state)
{
	set("a", W1, PRESENCE_ONLINE);
	after(0, "a online");
	for (int i = 0; i < 5; i++) {
		set("a", W1, PRESENCE_OFFLINE);
		after(DELAY - 1, "");
		set("a", W1, PRESENCE_ONLINE);
		assert_true(roster_find(&r, "a")->gone_ms == 0);
		after(DELAY + 1, "");
	}
}

/* A device that is away stays when the better one goes: then it is away, not offline. */
static void
the_worse_device_is_left(void **state)
{
	set("a", W1, PRESENCE_ONLINE);
	set("a", W2, PRESENCE_AWAY);
	after(0, "a online");
	set("a", W1, PRESENCE_OFFLINE);
	after(DELAY - 1, "");
	after(1, "a away");
	set("a", W2, PRESENCE_OFFLINE);
	after(DELAY, "a offline");
}

static void
a_dead_process_takes_its_users_along(void **state)
{
	set("a", W1, PRESENCE_ONLINE);
	set("b", W1, PRESENCE_ONLINE);
	set("b", W2, PRESENCE_ONLINE);
	set("c", W1, PRESENCE_ONLINE);
	after(0, "a online, b online, c online");
	roster_drop_peer(&r, W1, &now);
	after(DELAY / 2, "");
	set("c", W2, PRESENCE_ONLINE); /* came back */
	after(DELAY / 2, "a offline");
	after(DELAY, "");
}

static void
a_teller_that_dies_is_replaced(void **state)
{
	struct roster_user *u = set("a", W1, PRESENCE_ONLINE);

	roster_hand_over(&r, u, W2);
	after(DELAY, "");
	assert_int_equal(roster_believed(u), PRESENCE_ONLINE);
	roster_drop_peer(&r, W2, &now);
	after(0, "a online");
	/* Offline, too: the user is remembered until somebody was told. */
	set("a", W1, PRESENCE_OFFLINE);
	now.mono_ms += DELAY;
	assert_true(roster_is_due(u, now.mono_ms));
	roster_hand_over(&r, u, W2);
	roster_drop_peer(&r, W2, &now);
	after(0, "a offline");
	assert_null(roster_find(&r, "a"));
}

/* The one who was to tell of it dies with the only client: nobody ever knew. */
static void
what_nobody_knew_is_not_taken_back(void **state)
{
	struct roster_user *u = set("a", W1, PRESENCE_ONLINE);

	roster_hand_over(&r, u, W1);
	roster_drop_peer(&r, W1, &now);
	after(DELAY, "");
	assert_null(roster_find(&r, "a"));
}

static void
a_confirmation_of_what_has_changed_is_not_taken(void **state)
{
	struct roster_user *u = set("a", W1, PRESENCE_AWAY);

	roster_hand_over(&r, u, TELL);
	set("a", W1, PRESENCE_ONLINE);
	roster_hand_over(&r, u, TELL);
	assert_null(roster_confirm(&r, "a", TELL, PRESENCE_AWAY));
	assert_null(roster_confirm(&r, "a", W2, PRESENCE_ONLINE));
	assert_null(roster_confirm(&r, "b", TELL, PRESENCE_ONLINE));
	assert_ptr_equal(roster_confirm(&r, "a", TELL, PRESENCE_ONLINE), u);
	after(DELAY, "");
}

/* A new hub: those who were online are waited for. */
static void
after_loading_nobody_flaps(void **state)
{
	roster_load(&r, "back", PRESENCE_ONLINE, 0);
	roster_load(&r, "away", PRESENCE_AWAY, 0);
	roster_load(&r, "lost", PRESENCE_ONLINE, 0);
	roster_load(&r, "left", PRESENCE_ONLINE, 77);
	roster_load(&r, "off", PRESENCE_ONLINE, 0);
	roster_load(&r, "off", PRESENCE_OFFLINE, 5);
	assert_null(roster_find(&r, "off"));
	roster_start(&r, &now, 4000);
	assert_true(roster_find(&r, "left")->gone_ms == 77);
	assert_true(roster_find(&r, "lost")->gone_ms == 4000);
	set("back", W1, PRESENCE_AWAY); /* the first of its two workers to register */
	after(DELAY / 2, "");
	set("back", W2, PRESENCE_ONLINE);
	set("away", W2, PRESENCE_AWAY);
	after(DELAY / 2 - 1, "");
	after(1, "lost offline, left offline");
	after(DELAY, "");
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    TEST(one_device_comes_and_goes),
	    TEST(the_best_of_all_processes_counts),
	    TEST(a_client_that_moves_does_not_flap),
	    TEST(who_comes_back_in_time_was_never_away),
	    TEST(the_worse_device_is_left),
	    TEST(a_dead_process_takes_its_users_along),
	    TEST(a_teller_that_dies_is_replaced),
	    TEST(what_nobody_knew_is_not_taken_back),
	    TEST(a_confirmation_of_what_has_changed_is_not_taken),
	    TEST(after_loading_nobody_flaps),
	};

	cmocka_set_message_output(CM_OUTPUT_TAP);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
