/* SPDX-License-Identifier: ISC */
/* bus: presence, and what is cast to several conversations. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "../lib/bus_help.h"

/* Whatever was sent before has been handled by the hub. */
static void
settle(struct side *s)
{
	subscribe(s, CNV);
}

/* Runs the loop until both together were told n changes. */
static void
run_until_told(int n)
{
	int64_t end = clock_mono_ms() + 10000;

	while (one.presences + two.presences < n) {
		if (clock_mono_ms() > end)
			fail_msg("waited in vain: %d of %d", one.presences + two.presences, n);
		ev_run(loop_ev(), EVRUN_ONCE);
	}
}

/* What was told since the last look, by whichever of the two. */
static void
assert_told(const char *expected)
{
	if (one.presence[0] && two.presence[0])
		fail_msg("both were to tell: %s; %s", one.presence, two.presence);
	assert_string_equal(one.presence[0] ? one.presence : two.presence, expected);
	one.presence[0] = two.presence[0] = '\0';
	one.presences = two.presences = 0;
}

static enum presence states[3];

static void
on_states(void *arg, int err, const enum presence *s, size_t count)
{
	assert_int_equal(err, *(int *)arg);
	if (!err)
		memcpy(states, s, count * sizeof(*s));
	answers++;
}

static enum presence
ask(struct side *s, const char *user)
{
	char ids[2][ID_MAX] = {"usr_nobody"};
	int err = 0;

	str_copy(ids[1], ID_MAX, user);
	assert_int_equal(
	    bus_presence_get(s->bus, (const char(*)[ID_MAX])ids, 2, on_states, &err), 0);
	wait_answers(1);
	assert_int_equal(states[0], PRESENCE_OFFLINE);
	return states[1];
}

static void
one_process_tells_each_change(void **state)
{
	settle(&two);
	bus_presence_set(one.bus, "usr_a", PRESENCE_AWAY);
	run_until_told(1);
	assert_told("usr_a away");
	bus_presence_set(two.bus, "usr_a", PRESENCE_ONLINE);
	run_until_told(1);
	assert_told("usr_a online");
	assert_int_equal(ask(&one, "usr_a"), PRESENCE_ONLINE);
	bus_presence_set(two.bus, "usr_a", PRESENCE_OFFLINE);
	run_until_told(1);
	assert_told("usr_a away");
	assert_int_equal(ask(&two, "usr_a"), PRESENCE_AWAY);
}

static void
offline_is_told_after_a_while(void **state)
{
	int64_t before, wall;

	bus_presence_set(one.bus, "usr_a", PRESENCE_ONLINE);
	run_until_told(1);
	assert_told("usr_a online");
	before = clock_mono_ms();
	wall = clock_wall_ms();
	bus_presence_set(one.bus, "usr_a", PRESENCE_OFFLINE);
	settle(&one);
	assert_int_equal(ask(&one, "usr_a"), PRESENCE_ONLINE);
	run_until_told(1);
	assert_true(clock_mono_ms() - before >= OFFLINE_DELAY);
	assert_true(one.left_ms + two.left_ms >= wall);
	assert_true(one.left_ms + two.left_ms < wall + OFFLINE_DELAY);
	assert_told("usr_a offline");
	assert_int_equal(ask(&one, "usr_a"), PRESENCE_OFFLINE);
}

/* usr_clock goes offline at the same moment as usr_a moves: when it is told, so would be a. */
static void
who_moves_to_another_process_does_not_flap(void **state)
{
	settle(&two);
	bus_presence_set(one.bus, "usr_a", PRESENCE_ONLINE);
	run_until_told(1);
	bus_presence_set(one.bus, "usr_clock", PRESENCE_ONLINE);
	run_until_told(2);
	one.presence[0] = two.presence[0] = '\0';
	one.presences = two.presences = 0;
	bus_presence_set(one.bus, "usr_a", PRESENCE_OFFLINE);
	bus_presence_set(one.bus, "usr_clock", PRESENCE_OFFLINE);
	settle(&one);
	bus_presence_set(two.bus, "usr_a", PRESENCE_ONLINE);
	run_until_told(1);
	assert_told("usr_clock offline");
}

static void
users_of_a_dead_process_go_offline(void **state)
{
	settle(&one);
	bus_presence_set(two.bus, "usr_a", PRESENCE_ONLINE);
	run_until_told(1);
	assert_told("usr_a online");
	bus_close(&two.bus);
	run_until(&one.presences, 1);
	assert_told("usr_a offline");
}

/* The first that is asked dies before it confirms: the other one is asked. */
static void
a_change_is_told_although_its_teller_dies(void **state)
{
	struct side *dies, *lives;

	one.tells_nobody = two.tells_nobody = true;
	settle(&two);
	bus_presence_set(one.bus, "usr_a", PRESENCE_ONLINE);
	bus_presence_set(two.bus, "usr_a", PRESENCE_ONLINE);
	run_until_told(1);
	dies = one.presences ? &one : &two;
	lives = dies == &one ? &two : &one;
	lives->tells_nobody = false;
	bus_close(&dies->bus);
	run_until(&lives->presences, 1);
	assert_string_equal(lives->presence, "usr_a online");
	assert_int_equal(ask(lives, "usr_a"), PRESENCE_ONLINE);
}

/* usr_a is registered again, usr_gone is not. */
static void
a_new_hub_waits_for_who_was_online(void **state)
{
	bus_presence_set(one.bus, "usr_a", PRESENCE_ONLINE);
	bus_presence_set(two.bus, "usr_gone", PRESENCE_AWAY);
	run_until_told(2);
	settle(&one);
	settle(&two);
	one.presence[0] = two.presence[0] = '\0';
	one.presences = two.presences = 0;
	kill_hub();
	run_until(&one.downs, 1);
	run_until(&two.downs, 1);
	start_hub();
	join(&one);
	assert_int_equal(ask(&one, "usr_gone"), PRESENCE_AWAY);
	bus_presence_set(one.bus, "usr_a", PRESENCE_ONLINE);
	run_until_told(1);
	assert_told("usr_gone offline");
	assert_int_equal(ask(&one, "usr_a"), PRESENCE_ONLINE);
}

static void
a_lost_connection_answers_who_asked(void **state)
{
	const char ids[1][ID_MAX] = {"usr_a"};
	int err = ERR_UNKNOWN_OUTCOME;

	assert_int_equal(bus_presence_get(one.bus, ids, 1, on_states, &err), 0);
	kill_hub();
	run_until(&one.downs, 1);
	assert_int_equal(answers, 1);
	answers = 0;
	assert_int_equal(bus_presence_get(one.bus, ids, 1, on_states, &err), ERR_UNAVAILABLE);
	bus_presence_set(one.bus, "usr_a", PRESENCE_ONLINE); /* lost, and no harm */
	bus_presence_told(one.bus, "usr_a", PRESENCE_ONLINE);
	bus_cast_many(one.bus, ids, 1, USR, "hi", 2);
	start_hub(); /* for the teardown */
}

static void
a_cast_to_many_comes_once(void **state)
{
	const char ids[3][ID_MAX] = {CNV, CNV2, "cnv_unknown"};

	subscribe(&one, CNV);
	subscribe(&one, CNV2);
	bus_cast_many(two.bus, ids, 3, USR, "hi", 2);
	subscribe(&two, CNV2);
	bus_cast_many(two.bus, ids, 3, USR, "hi", 2);
	run_until(&one.cast_manys, 2);
	run_until(&two.cast_manys, 1);
	settle(&one);
	assert_true(one.cast_manys == 2 && two.cast_manys == 1);
	assert_int_equal(one.cast_ids, 3);
	assert_string_equal(one.cast, USR);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

static int
run(void)
{
	const struct CMUnitTest tests[] = {
	    TEST(one_process_tells_each_change),
	    TEST(offline_is_told_after_a_while),
	    TEST(who_moves_to_another_process_does_not_flap),
	    TEST(users_of_a_dead_process_go_offline),
	    TEST(a_change_is_told_although_its_teller_dies),
	    TEST(a_new_hub_waits_for_who_was_online),
	    TEST(a_lost_connection_answers_who_asked),
	    TEST(a_cast_to_many_comes_once),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

int
main(int argc, char **argv)
{
	return bus_main(argc, argv, run);
}
