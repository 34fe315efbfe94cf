/* SPDX-License-Identifier: ISC */
/* bus: the rules of bus.h, for every implementation; local against a real hub process. */
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

/* ---- rules ---- */

static void
numbers_have_no_hole_under_two_submitters(void **state)
{
	static struct answer a[400];
	char id[16];
	uint64_t lowest = UINT64_MAX;

	subscribe(&one, CNV);
	subscribe(&two, CNV);
	for (int i = 0; i < 400; i++) {
		snprintf(id, sizeof(id), "c%d", i);
		submit(i % 2 ? &one : &two, CNV, id, "{}", &a[i]);
	}
	wait_answers(400);
	run_until(&one.events, 400);
	run_until(&two.events, 400);
	for (int i = 0; i < 400; i++) {
		assert_int_equal(a[i].err, 0);
		lowest = a[i].seq < lowest ? a[i].seq : lowest;
	}
	for (int i = 0; i < 400; i++) {
		assert_true(one.seqs[i] == lowest + (uint64_t)i); /* in order, none twice */
		assert_true(two.seqs[i] == one.seqs[i]);
		assert_string_equal(two.ids[i], one.ids[i]);
	}
	assert_true(subscribe(&one, CNV) == lowest + 399);
}

static void
a_client_id_makes_one_event(void **state)
{
	struct answer first, again, other;

	submit(&one, CNV, "x", "{}", &first);
	submit(&two, CNV, "x", "{}", &again);
	submit(&two, CNV, "x", "{\"other\":1}", &other);
	wait_answers(3);
	if (first.duplicate) { /* the hub may have heard the second one first */
		struct answer t = first;

		first = again;
		again = t;
	}
	assert_int_equal(first.err, 0);
	assert_false(first.duplicate);
	assert_true(again.duplicate);
	assert_true(again.seq == first.seq);
	assert_string_equal(again.id, first.id);
	assert_int_equal(other.err, ERR_ID_REUSED);
}

static void
unsubscribed_is_not_told(void **state)
{
	struct answer a;

	subscribe(&one, CNV);
	subscribe(&two, CNV);
	bus_unsubscribe(two.bus, CNV);
	subscribe(&two, CNV2); /* its answer comes after the unsubscribing */
	submit(&one, CNV, "a", "{}", &a);
	wait_answers(1);
	submit(&two, CNV2, "b", "{}", &a);
	wait_answers(1);
	run_until(&two.events, 1);
	run_until(&one.events, 1);
	assert_int_equal(two.events, 1);
	assert_string_equal(two.ids[0], a.id);
}

static void
windows_page_and_know_their_floor(void **state)
{
	struct answer a[10], w = {0};
	uint64_t base;
	char id[8];

	for (int i = 0; i < 10; i++) {
		snprintf(id, sizeof(id), "%d", i);
		submit(&one, CNV, id, "{}", &a[i]);
	}
	wait_answers(10);
	base = a[0].seq;
	bus_window(one.bus, CNV, base + 2, 0, 4, on_window, &w);
	wait_answers(1);
	assert_true(w.count == 4 && w.first == base + 3 && w.more && w.seq == base + 9);
	assert_true(w.floor == base - 1);
	bus_window(one.bus, CNV, 0, base + 5, 3, on_window, &w);
	wait_answers(1);
	assert_true(w.count == 3 && w.first == base + 2 && w.more);
	bus_window(one.bus, CNV2, 5, 0, 3, on_window, &w);
	wait_answers(1);
	assert_true(w.count == 0 && w.seq == 0 && w.floor > 5); /* unknown: ask the store */
}

static void
new_members_hear_of_their_conversation(void **state)
{
	static const char data[] = "{\"members\":[{\"user_id\":\"" USR "\"}]}";
	struct event *ev;
	struct answer a = {0};

	bus_presence_set(two.bus, USR, PRESENCE_AWAY);
	subscribe(&two, CNV2);
	ev = event_new(EVENT_CONVERSATION_CREATED, CNV, USR, "", data, strlen(data));
	bus_submit(one.bus, ev, on_submit, &a);
	wait_answers(1);
	run_until(&two.events, 1);
	assert_string_equal(two.ids[0], ev->id);
	assert_int_equal(one.events, 0);
	event_unref(&ev);
}

static void
casts_reach_subscribers(void **state)
{
	subscribe(&one, CNV);
	subscribe(&two, CNV);
	bus_cast(one.bus, CNV, USR, "hi", 2);
	run_until(&two.casts, 1);
	run_until(&one.casts, 1);
	assert_string_equal(two.cast, USR);
}

static void
a_lost_connection_answers_everybody_once(void **state)
{
	static struct answer a[50];

	for (int i = 0; i < 50; i++)
		submit(&one, CNV, "", "{}", &a[i]);
	kill_hub();
	run_until(&one.downs, 1);
	assert_int_equal(answers, 50); /* all of them before state(false) */
	answers = 0;
	assert_int_equal(bus_subscribe(one.bus, CNV, on_subscribe, &a[0]), ERR_UNAVAILABLE);
	assert_false(bus_is_up(one.bus));
	start_hub();
	join(&one);
	assert_int_equal(one.ups, 2);
	submit(&one, CNV, "", "{}", &a[0]);
	wait_answers(1);
	assert_int_equal(a[0].err, 0);
}

/* Over many kills: no number for two messages, no message with two numbers. */
static void
numbers_survive_kill_9(void **state)
{
	static char id_of[200][ID_MAX];
	uint64_t base = 0;
	int sent = 0;

	for (int round = 0; round < 25; round++) {
		struct answer a[4];

		subscribe(&one, CNV);
		for (int i = 0; i < 4; i++) {
			char id[16];

			snprintf(id, sizeof(id), "r%d", sent + i);
			submit(&one, CNV, id, "{}", &a[i]);
		}
		for (int turns = round % 5; turns > 0; turns--)
			ev_run(loop_ev(), EVRUN_NOWAIT);
		kill_hub();
		run_until(&one.downs, round + 1);
		answers = 0;
		start_hub();
		join(&one);
		subscribe(&one, CNV);
		for (int i = 0; i < 4; i++) {
			char id[16];
			struct answer again;

			snprintf(id, sizeof(id), "r%d", sent + i);
			submit(&one, CNV, id, "{}", &again);
			wait_answers(1);
			assert_int_equal(again.err, 0);
			if (!base)
				base = again.seq;
			assert_true(again.seq == base + (uint64_t)(sent + i));
			if (!a[i].err && a[i].seq)
				assert_string_equal(again.id, a[i].id);
			strcpy(id_of[sent + i], again.id);
		}
		sent += 4;
	}
	for (int i = 0; i < one.events; i++)
		assert_string_equal(one.ids[i], id_of[one.seqs[i] - base]);
}

static void
tell(struct side *s, unsigned int slot, unsigned int n, size_t len)
{
	uint8_t *data = xcalloc(1, len);

	memcpy(data, &n, sizeof(n));
	bus_tell(s->bus, slot, data, len);
	free(data);
}

static void
workers_tell_each_other_in_order(void **state)
{
	run_until(&one.peer_ups, 1);
	run_until(&two.peer_ups, 1);
	for (unsigned int i = 0; i < 100; i++) {
		tell(&one, 1, i, 4 + i * 1000);
		tell(&two, 0, i, 4);
	}
	run_until(&one.told, 100);
	run_until(&two.told, 100);
	tell(&one, 7, 0, 4); /* nobody */
	tell(&one, 1, 100, 4);
	run_until(&two.told, 101);
	assert_int_equal(one.told, 100);
	assert_int_equal(one.peer_downs + two.peer_downs, 0);
}

/* Who is gone is named; after a new hub those that are there are named again. */
static void
workers_hear_who_is_there(void **state)
{
	run_until(&one.peer_ups, 1);
	run_until(&two.peer_ups, 1);
	bus_close(&two.bus);
	run_until(&one.peer_downs, 1);
	two.bus = bus_local_new(&handler, &two);
	join(&two);
	run_until(&one.peer_ups, 2);
	run_until(&two.peer_ups, 2);
	kill_hub();
	run_until(&one.downs, 1);
	start_hub();
	join(&one);
	join(&two);
	run_until(&one.peer_ups, 3);
	run_until(&two.peer_ups, 3);
	tell(&two, 0, 0, 4);
	run_until(&one.told, 1);
}

static int
run(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test_setup_teardown(
		numbers_have_no_hole_under_two_submitters, setup, teardown),
	    cmocka_unit_test_setup_teardown(a_client_id_makes_one_event, setup, teardown),
	    cmocka_unit_test_setup_teardown(unsubscribed_is_not_told, setup, teardown),
	    cmocka_unit_test_setup_teardown(windows_page_and_know_their_floor, setup, teardown),
	    cmocka_unit_test_setup_teardown(
		new_members_hear_of_their_conversation, setup, teardown),
	    cmocka_unit_test_setup_teardown(casts_reach_subscribers, setup, teardown),
	    cmocka_unit_test_setup_teardown(
		a_lost_connection_answers_everybody_once, setup, teardown),
	    cmocka_unit_test_setup_teardown(numbers_survive_kill_9, setup, teardown),
	    cmocka_unit_test_setup_teardown(workers_tell_each_other_in_order, setup, teardown),
	    cmocka_unit_test_setup_teardown(workers_hear_who_is_there, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

int
main(int argc, char **argv)
{
	return bus_main(argc, argv, run);
}
