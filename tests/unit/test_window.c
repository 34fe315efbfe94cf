/* SPDX-License-Identifier: ISC */
/* window: numbers, order, duplicates, trimming, paging. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "hub/window.h"
#include "model/error.h"

#define CNV  "cnv_01234567890123456789abcdef"
#define USR  "usr_01234567890123456789abcdef"
#define WALL 1795512515000

static struct event *
message(const char *client_id, const char *data)
{
	return event_new(EVENT_MESSAGE_CREATED, CNV, USR, client_id, data, strlen(data));
}

/* Submits and returns the number; *duplicate_r and err may be looked at. */
static uint64_t
submit(struct window *w, const char *client_id, const char *data, int *err_r, bool *dup_r)
{
	struct event *ev = message(client_id, data);
	struct window_entry *e;
	struct window_conv *c;
	uint64_t seq;

	*err_r = window_submit(w, ev, WALL, 1000, &c, &e, dup_r);
	seq = *err_r ? 0 : e->ev->seq;
	event_unref(&ev);
	return seq;
}

static void
numbers_begin_at_the_time_and_count_by_one(void **state)
{
	struct window w = {0};
	bool dup;
	int err;

	assert_true(submit(&w, "a", "{}", &err, &dup) == WALL + 1);
	assert_true(submit(&w, "b", "{}", &err, &dup) == WALL + 2);
	assert_false(dup);
	assert_true(submit(&w, "a", "{}", &err, &dup) == WALL + 1);
	assert_true(dup);
	assert_true(submit(&w, "a", "{\"x\":1}", &err, &dup) == 0);
	assert_int_equal(err, ERR_ID_REUSED);
	/* Without a client id each event is itself. */
	assert_true(submit(&w, "", "{}", &err, &dup) == WALL + 3);
	assert_true(submit(&w, "", "{}", &err, &dup) == WALL + 4);
	window_fini(&w);
}

static void
what_is_taken_back_was_never_there(void **state)
{
	struct window w = {0};
	bool dup;
	int err;

	submit(&w, "a", "{}", &err, &dup);
	submit(&w, "b", "{}", &err, &dup);
	window_take_back(&w, window_find(&w, CNV));
	assert_true(submit(&w, "c", "{}", &err, &dup) == WALL + 2);
	assert_true(submit(&w, "b", "{}", &err, &dup) == WALL + 3);
	assert_false(dup);
	assert_int_equal(w.entry_count, 3);
	window_fini(&w);
}

static void
only_the_archived_front_is_trimmed(void **state)
{
	struct window w = {0};
	struct window_conv *c;
	char id[8];
	bool dup;
	int err;

	for (int i = 0; i < 10; i++) {
		snprintf(id, sizeof(id), "%d", i);
		submit(&w, id, "{}", &err, &dup);
	}
	c = window_find(&w, CNV);
	for (uint64_t s = WALL + 1; s <= WALL + 10; s++)
		if (s != WALL + 4)
			window_archived(&w, CNV, s, 2000);
	assert_int_equal(window_trim(&w, 2000 + WINDOW_KEEP_MS - 1), 0);
	assert_int_equal(window_trim(&w, 2000 + WINDOW_KEEP_MS), 3);
	assert_true(c->floor == WALL + 3);
	window_archived(&w, CNV, WALL + 4, 3000);
	assert_int_equal(window_trim(&w, 3000 + WINDOW_KEEP_MS), 7);
	assert_true(c->floor == WALL + 10 && c->head == WALL + 10);
	assert_int_equal(w.bytes, 0);
	/* The counter goes on; the client id is the store's affair now. */
	assert_true(submit(&w, "0", "{}", &err, &dup) == WALL + 11);
	window_fini(&w);
}

static void
pages_in_both_directions(void **state)
{
	struct window w = {0};
	struct event *ev[20];
	struct window_conv *c;
	char id[8];
	bool dup, more;
	int err;

	for (int i = 0; i < 10; i++) {
		snprintf(id, sizeof(id), "%d", i);
		submit(&w, id, "{}", &err, &dup);
	}
	c = window_find(&w, CNV);
	assert_int_equal(window_read(c, 0, 0, 20, ev, &more), 10);
	assert_false(more);
	assert_int_equal(window_read(c, WALL + 3, 0, 4, ev, &more), 4);
	assert_true(more && ev[0]->seq == WALL + 4 && ev[3]->seq == WALL + 7);
	assert_int_equal(window_read(c, WALL + 6, 0, 4, ev, &more), 4);
	assert_false(more);
	assert_int_equal(window_read(c, WALL + 10, 0, 4, ev, &more), 0);
	assert_int_equal(window_read(c, 0, WALL + 8, 3, ev, &more), 3);
	assert_true(more && ev[0]->seq == WALL + 5 && ev[2]->seq == WALL + 7);
	assert_int_equal(window_read(c, 0, WALL + 4, 3, ev, &more), 3);
	assert_false(more);
	assert_int_equal(window_read(c, 0, UINT64_C(1) << 53, 2, ev, &more), 2);
	assert_true(more && ev[1]->seq == WALL + 10);
	window_fini(&w);
}

static void
a_lift_never_goes_down(void **state)
{
	struct window w = {0};
	bool dup;
	int err;

	submit(&w, "a", "{}", &err, &dup);
	window_lift(&w, WALL - 5, 0);
	assert_true(submit(&w, "b", "{}", &err, &dup) == WALL + 2);
	window_lift(&w, WALL + 1000, 5);
	assert_true(submit(&w, "c", "{}", &err, &dup) == WALL + 1001);
	window_lift(&w, WALL - 5, 1000); /* the clock went back */
	assert_true(submit(&w, "d", "{}", &err, &dup) == WALL + 2002);
	window_fini(&w);
}

/* Submits one about ref; returns its number. */
static uint64_t
submit_about(struct window *w, const char *ref)
{
	struct event *ev = event_new_about(EVENT_REACTION_ADDED, CNV, USR, "", ref, "{}", 2);
	struct window_entry *e;
	struct window_conv *c;
	uint64_t seq;
	bool dup;

	assert_int_equal(window_submit(w, ev, WALL, 1000, &c, &e, &dup), 0);
	seq = e->ev->seq;
	event_unref(&ev);
	return seq;
}

static void
events_are_found_by_what_they_are_about(void **state)
{
	const char ids[3][ID_MAX] = {"msg_b", "msg_a", "msg_b"};
	struct window w = {0};
	struct window_conv *c;
	struct event *ev[5];
	bool more;

	submit_about(&w, "msg_a");
	submit_about(&w, "msg_b");
	submit_about(&w, "msg_c");
	submit_about(&w, "msg_a");
	c = window_find(&w, CNV);
	assert_int_equal(c->about_count, 4);
	assert_int_equal(window_about(c, ids, 3, 5, ev, &more), 3);
	assert_true(ev[0]->seq == WALL + 1 && ev[1]->seq == WALL + 2 && ev[2]->seq == WALL + 4);
	assert_false(more);
	assert_int_equal(window_about(c, ids, 3, 2, ev, &more), 2);
	assert_true(more && ev[0]->seq == WALL + 2 && ev[1]->seq == WALL + 4);
	assert_ptr_equal(window_find_event(&w, ev[0]->id), ev[0]);
	assert_null(window_find_event(&w, "msg_b"));
	window_fini(&w);
}

/* Taken back or trimmed, an event leaves both indexes. */
static void
the_indexes_lose_what_the_window_loses(void **state)
{
	const char ids[1][ID_MAX] = {"msg_a"};
	char first[ID_MAX], last[ID_MAX];
	struct window w = {0};
	struct window_conv *c;
	struct event *ev[5];
	bool more;

	submit_about(&w, "msg_a");
	submit_about(&w, "msg_a");
	c = window_find(&w, CNV);
	strcpy(first, c->entries->ev->id);
	strcpy(last, c->entries->next->ev->id);
	window_take_back(&w, c);
	assert_null(window_find_event(&w, last));
	assert_int_equal(window_about(c, ids, 1, 5, ev, &more), 1);
	window_archived(&w, CNV, WALL + 1, 0);
	window_trim(&w, WINDOW_KEEP_MS);
	assert_null(window_find_event(&w, first));
	assert_int_equal(window_about(c, ids, 1, 5, ev, &more), 0);
	assert_true(c->about_count == 0 && !c->abouts && !w.by_id);
	window_fini(&w);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(numbers_begin_at_the_time_and_count_by_one),
	    cmocka_unit_test(what_is_taken_back_was_never_there),
	    cmocka_unit_test(only_the_archived_front_is_trimmed),
	    cmocka_unit_test(pages_in_both_directions),
	    cmocka_unit_test(a_lift_never_goes_down),
	    cmocka_unit_test(events_are_found_by_what_they_are_about),
	    cmocka_unit_test(the_indexes_lose_what_the_window_loses),
	};

	cmocka_set_message_output(CM_OUTPUT_TAP);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
