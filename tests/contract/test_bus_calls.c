/* SPDX-License-Identifier: ISC */
/* bus: announcements, counters, finding events by id and by what they are about. */
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

#define KEY "login usr_1"

/* ---- announcements ---- */

static void
announcements_reach_every_worker_in_order(void **state)
{
	subscribe(&two, CNV); /* both have joined */
	subscribe(&one, CNV);
	bus_announce(one.bus, "first", 5);
	bus_announce(one.bus, "second", 6);
	run_until(&one.announced, 2);
	run_until(&two.announced, 2);
	assert_string_equal(one.announcements[0], "first");
	assert_string_equal(two.announcements[0], "first");
	assert_string_equal(two.announcements[1], "second");
}

/* The archiver has a place on the bus and is no worker. */
static void
the_archiver_hears_no_announcement(void **state)
{
	struct side archiver = {.slot = CHAN_PEER_ARCHIVER};

	archiver.bus = bus_local_new(&handler, &archiver);
	join(&archiver);
	subscribe(&archiver, CNV);
	subscribe(&one, CNV);
	bus_announce(one.bus, "x", 1);
	run_until(&one.announced, 1);
	subscribe(&archiver, CNV); /* its answer comes after what was sent before */
	assert_int_equal(archiver.announced, 0);
	bus_close(&archiver.bus);
}

/* ---- counters ---- */

struct counted {
	int err;
	uint64_t count;
	int64_t left_ms;
};

static void
on_count(void *arg, int err, uint64_t count, int64_t left_ms)
{
	*(struct counted *)arg = (struct counted){err, count, left_ms};
	answers++;
}

static struct counted
count(struct side *s, const char *key, uint64_t add, int64_t window_ms)
{
	struct counted c = {.err = -1};

	assert_int_equal(bus_count(s->bus, key, add, window_ms, on_count, &c), 0);
	wait_answers(1);
	assert_int_equal(c.err, 0);
	return c;
}

static void
a_count_is_one_for_all_processes(void **state)
{
	struct counted c = count(&one, KEY, 1, 60000);

	assert_true(c.count == 1 && c.left_ms > 50000 && c.left_ms <= 60000);
	assert_true(count(&two, KEY, 2, 60000).count == 3);
	assert_true(count(&one, "another", 1, 60000).count == 1);
	assert_true(count(&one, KEY, 0, 60000).count == 3);
	/* Who made the counter may go: the count stays. */
	bus_close(&two.bus);
	run_until(&one.peer_downs, 1);
	assert_true(count(&one, KEY, 1, 60000).count == 4);
}

static void
reading_makes_no_counter(void **state)
{
	struct counted c = count(&one, KEY, 0, 60000);

	assert_true(c.count == 0 && c.left_ms == 0);
	c = count(&one, KEY, 5, 1000000);
	assert_true(c.count == 5 && c.left_ms > 900000);
}

static void
a_count_ends_with_its_window(void **state)
{
	int64_t end = clock_mono_ms() + 10000;

	assert_true(count(&one, KEY, 7, 50).count == 7);
	while (count(&one, KEY, 0, 50).count && clock_mono_ms() < end)
		;
	assert_true(count(&one, KEY, 1, 50).count == 1);
}

/* ---- finding ---- */

struct found {
	int err;
	uint64_t seq;
	char ref[ID_MAX];
};

static void
on_find(void *arg, int err, struct event *ev)
{
	struct found *f = arg;

	f->err = err;
	f->seq = ev ? ev->seq : 0;
	str_copy(f->ref, sizeof(f->ref), ev ? ev->ref : "");
	answers++;
}

static struct found
find(struct side *s, const char *id)
{
	struct found f = {.err = -1};

	assert_int_equal(bus_find(s->bus, id, on_find, &f), 0);
	wait_answers(1);
	return f;
}

/* One about another, whose id is ref; waits for its number. */
static struct answer
react(struct side *s, const char *conv, const char *ref, const char *data)
{
	struct event *ev =
	    event_new_about(EVENT_REACTION_ADDED, conv, USR, "", ref, data, strlen(data));
	struct answer a = {0};

	assert_int_equal(bus_submit(s->bus, ev, on_submit, &a), 0);
	event_unref(&ev);
	wait_answers(1);
	assert_int_equal(a.err, 0);
	return a;
}

static void
restart_hub(void)
{
	int downs = one.downs;

	kill_hub();
	run_until(&one.downs, downs + 1);
	start_hub();
	join(&one);
}

static void
an_event_is_found_by_its_id(void **state)
{
	struct answer first, other, about;
	struct found f;

	submit(&one, CNV, "a", "{}", &first);
	submit(&one, CNV2, "b", "{}", &other);
	wait_answers(2);
	about = react(&two, CNV, first.id, "{}");
	for (int round = 0; round < 2; round++) {
		f = find(&one, first.id);
		assert_true(f.err == 0 && f.seq == first.seq && !f.ref[0]);
		f = find(&one, other.id);
		assert_true(f.err == 0 && f.seq == other.seq);
		f = find(&one, about.id);
		assert_true(f.err == 0 && f.seq == about.seq);
		assert_string_equal(f.ref, first.id);
		f = find(&one, "msg_01234567890123456789abcdef");
		assert_true(f.err == ERR_NOT_FOUND && f.seq == 0);
		restart_hub(); /* and again: the index comes back with the log */
	}
}

static struct answer
about(struct side *s, const char *conv, const char (*ids)[ID_MAX], size_t n)
{
	struct answer a = {0};

	assert_int_equal(bus_about(s->bus, conv, ids, n, on_window, &a), 0);
	wait_answers(1);
	assert_int_equal(a.err, 0);
	return a;
}

static size_t
abouts_of(struct side *s, const char *conv)
{
	struct answer a = {0};

	assert_int_equal(bus_window(s->bus, conv, 0, 0, 1, on_window, &a), 0);
	wait_answers(1);
	return a.abouts;
}

static void
what_is_about_a_message_is_found(void **state)
{
	char ids[3][ID_MAX];
	struct answer m[3], r[4], a;
	const char(*asked)[ID_MAX] = (const char(*)[ID_MAX])ids;

	for (int i = 0; i < 3; i++)
		submit(&one, CNV, "", "{}", &m[i]);
	wait_answers(3);
	assert_int_equal(abouts_of(&one, CNV), 0);
	assert_int_equal(abouts_of(&one, CNV2), 0);
	for (int i = 0; i < 3; i++)
		strcpy(ids[i], m[i].id);
	r[0] = react(&one, CNV, ids[1], "{\"n\":0}");
	r[1] = react(&two, CNV, ids[0], "{\"n\":1}");
	r[2] = react(&one, CNV, ids[1], "{\"n\":2}");
	r[3] = react(&one, CNV2, ids[1], "{\"n\":3}"); /* elsewhere */
	for (int round = 0; round < 2; round++) {
		assert_int_equal(abouts_of(&one, CNV), 3);
		a = about(&one, CNV, asked, 2); /* on_window() checks the order */
		assert_true(a.count == 3 && a.first == r[0].seq && a.last == r[2].seq);
		assert_true(!a.more && a.abouts == 3 && a.seq == r[2].seq);
		a = about(&one, CNV, asked, 1);
		assert_true(a.count == 1 && a.first == r[1].seq);
		assert_int_equal(about(&one, CNV, asked + 2, 1).count, 0);
		assert_int_equal(about(&one, "cnv_unknown", asked, 3).count, 0);
		restart_hub();
	}
	/* An id that is named twice gives its events once. */
	strcpy(ids[2], ids[1]);
	assert_int_equal(about(&one, CNV, asked, 3).count, 3);
}

static void
of_too_many_the_newest_are_given(void **state)
{
	static struct answer r[BUS_ABOUT_MAX + 5];
	char id[1][ID_MAX];
	struct answer a;

	submit(&one, CNV, "", "{}", &a);
	wait_answers(1);
	strcpy(id[0], a.id);
	for (int i = 0; i < BUS_ABOUT_MAX + 5; i++) {
		struct event *ev =
		    event_new_about(EVENT_REACTION_ADDED, CNV, USR, "", id[0], "{}", 2);

		assert_int_equal(bus_submit(one.bus, ev, on_submit, &r[i]), 0);
		event_unref(&ev);
	}
	wait_answers(BUS_ABOUT_MAX + 5);
	a = about(&one, CNV, (const char(*)[ID_MAX])id, 1);
	assert_true(a.count == BUS_ABOUT_MAX && a.more && a.abouts == BUS_ABOUT_MAX + 5);
	assert_true(a.first == r[5].seq && a.last == r[BUS_ABOUT_MAX + 4].seq);
}

static void
a_lost_connection_answers_these_too(void **state)
{
	const char ids[1][ID_MAX] = {"msg_01234567890123456789abcdef"};
	struct counted c = {0};
	struct found f = {0};
	struct answer a = {0};

	bus_count(one.bus, KEY, 1, 1000, on_count, &c);
	bus_find(one.bus, ids[0], on_find, &f);
	bus_about(one.bus, CNV, ids, 1, on_window, &a);
	kill_hub();
	run_until(&one.downs, 1);
	assert_int_equal(answers, 3);
	answers = 0;
	assert_int_equal(c.err, ERR_UNKNOWN_OUTCOME);
	assert_int_equal(f.err, ERR_UNKNOWN_OUTCOME);
	assert_int_equal(a.err, ERR_UNKNOWN_OUTCOME);
	assert_int_equal(bus_count(one.bus, KEY, 1, 1000, on_count, &c), ERR_UNAVAILABLE);
	assert_int_equal(bus_find(one.bus, ids[0], on_find, &f), ERR_UNAVAILABLE);
	assert_int_equal(bus_about(one.bus, CNV, ids, 1, on_window, &a), ERR_UNAVAILABLE);
	bus_announce(one.bus, "lost", 4);
	start_hub();
	join(&one);
	assert_true(count(&one, KEY, 1, 1000).count == 1); /* the new hub begins at 0 */
	assert_int_equal(one.announced, 0);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

static int
run(void)
{
	const struct CMUnitTest tests[] = {
	    TEST(announcements_reach_every_worker_in_order),
	    TEST(the_archiver_hears_no_announcement),
	    TEST(a_count_is_one_for_all_processes),
	    TEST(reading_makes_no_counter),
	    TEST(a_count_ends_with_its_window),
	    TEST(an_event_is_found_by_its_id),
	    TEST(what_is_about_a_message_is_found),
	    TEST(of_too_many_the_newest_are_given),
	    TEST(a_lost_connection_answers_these_too),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

int
main(int argc, char **argv)
{
	return bus_main(argc, argv, run);
}
