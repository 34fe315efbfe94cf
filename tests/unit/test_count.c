/* SPDX-License-Identifier: ISC */
/* count: windows of time, the full table. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "hub/count.h"

static uint64_t
up(struct counters *cs, const char *key, uint64_t add, int64_t now)
{
	return count_up(cs, key, add, 1000, now).count;
}

static void
a_window_begins_with_its_first_count(void **state)
{
	struct counters cs = {0};
	struct count_result r;

	assert_true(up(&cs, "a", 1, 5000) == 1);
	assert_true(up(&cs, "a", 1, 5999) == 2);
	r = count_up(&cs, "a", 0, 77, 5999); /* the length is that of the first call */
	assert_true(r.count == 2 && r.left_ms == 1);
	assert_true(up(&cs, "a", 0, 6000) == 0);
	assert_true(up(&cs, "a", 3, 6000) == 3);
	assert_true(up(&cs, "b", 1, 6000) == 1);
	counters_fini(&cs);
}

static void
reading_keeps_nothing(void **state)
{
	struct counters cs = {0};

	assert_true(up(&cs, "a", 0, 1) == 0);
	assert_null(cs.by_key);
	counters_fini(&cs);
}

static void
a_count_does_not_run_over(void **state)
{
	struct counters cs = {0};

	up(&cs, "a", UINT64_MAX - 1, 1);
	assert_true(up(&cs, "a", 5, 1) == UINT64_MAX);
	counters_fini(&cs);
}

static void
what_has_ended_leaves_memory(void **state)
{
	struct counters cs = {0};

	up(&cs, "a", 1, 0);
	up(&cs, "b", 1, 500);
	counters_expire(&cs, 999);
	assert_true(up(&cs, "a", 0, 999) == 1);
	counters_expire(&cs, 1000);
	assert_true(up(&cs, "b", 0, 1000) == 1);
	counters_expire(&cs, 1500);
	assert_null(cs.by_key);
	assert_null(cs.recent);
	counters_fini(&cs);
}

/* One that is under attack is counted all the time: many other keys do not push it out. */
static void
a_full_table_forgets_who_was_counted_longest_ago(void **state)
{
	struct counters cs = {.max = 3};
	char key[16];

	up(&cs, "old", 1, 0);
	up(&cs, "attacked", 1, 0);
	for (int i = 0; i < 100; i++) {
		snprintf(key, sizeof(key), "k%d", i);
		up(&cs, key, 1, 1);
		up(&cs, "attacked", 1, 1);
	}
	assert_true(up(&cs, "attacked", 0, 1) == 101);
	assert_true(up(&cs, "old", 0, 1) == 0);
	assert_true(up(&cs, "k99", 0, 1) == 1);
	assert_true(up(&cs, "k97", 0, 1) == 0);
	counters_fini(&cs);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(a_window_begins_with_its_first_count),
	    cmocka_unit_test(reading_keeps_nothing),
	    cmocka_unit_test(a_count_does_not_run_over),
	    cmocka_unit_test(what_has_ended_leaves_memory),
	    cmocka_unit_test(a_full_table_forgets_who_was_counted_longest_ago),
	};

	cmocka_set_message_output(CM_OUTPUT_TAP);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
