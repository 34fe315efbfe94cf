/* SPDX-License-Identifier: ISC */
/* rate: bursts, the rate over time, what is remembered of whom. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

#include "chat/rate.c" /* to count the buckets */

static const struct rate_limit limit = {.rate = 10, .burst = 3};

static int64_t
take(struct rates *r, const char *user, int64_t now)
{
	return rate_take(r, user, &limit, now);
}

/* Takes until there is none, and returns how many there were. */
static int
take_all(struct rates *r, const char *user, int64_t now)
{
	int n = 0;

	while (take(r, user, now) == 0)
		n++;
	return n;
}

static void
a_burst_and_then_the_rate(void **state)
{
	struct rates r = {0};

	assert_int_equal(take_all(&r, "a", 1000), 3);
	assert_int_equal(take(&r, "a", 1000), 100);
	assert_int_equal(take(&r, "a", 1060), 40);
	assert_int_equal(take(&r, "a", 1099), 1);
	assert_int_equal(take(&r, "a", 1100), 0);
	assert_int_equal(take(&r, "a", 1100), 100);
	assert_int_equal(take_all(&r, "a", 1320), 2);
	assert_int_equal(take_all(&r, "a", 100000), 3); /* never more than the burst */
	rates_fini(&r);
}

/* After the time that a refusal names there is a token. */
static void
who_waits_as_told_is_served(void **state)
{
	for (int64_t rate = 1; rate <= 1000; rate = rate * 3 + 1) {
		const struct rate_limit l = {.rate = rate, .burst = 1};
		struct rates r = {0};
		int64_t now = 12345;

		assert_int_equal(rate_take(&r, "a", &l, now), 0);
		for (int i = 0; i < 20; i++) {
			now += rate_take(&r, "a", &l, now);
			assert_int_equal(rate_take(&r, "a", &l, now), 0);
		}
		rates_fini(&r);
	}
}

static void
users_have_their_own(void **state)
{
	struct rates r = {0};

	assert_int_equal(take_all(&r, "a", 1000), 3);
	assert_int_equal(take_all(&r, "b", 1000), 3);
	rates_fini(&r);
}

static void
a_full_one_is_forgotten(void **state)
{
	struct rates r = {0};
	char user[16];

	for (int i = 0; i < 1000; i++) {
		snprintf(user, sizeof(user), "u%d", i);
		take(&r, user, 1000);
	}
	assert_int_equal(HASH_COUNT(r.by_user), 1000);
	for (int i = 0; i < 1000; i++)
		take(&r, "a", 2000);
	assert_int_equal(HASH_COUNT(r.by_user), 1);
	rates_fini(&r);
}

static void
a_full_table_forgets_who_wrote_longest_ago(void **state)
{
	struct rates r = {.max = 2};

	take_all(&r, "old", 1000);
	take_all(&r, "busy", 1001);
	for (int i = 0; i < 10; i++) {
		char user[16];

		snprintf(user, sizeof(user), "u%d", i);
		take(&r, user, 1002);
		assert_true(take(&r, "busy", 1002) > 0);
	}
	assert_int_equal(rate_left(&r, "old", &limit, 1002), 3);
	rates_fini(&r);
}

static void
who_comes_from_another_worker_brings_his_rest(void **state)
{
	struct rates r = {0};

	assert_int_equal(rate_left(&r, "a", &limit, 1000), 3);
	rate_lower(&r, "a", &limit, 1, 1000);
	assert_int_equal(rate_left(&r, "a", &limit, 1000), 1);
	rate_lower(&r, "a", &limit, 2, 1000); /* it is not raised */
	assert_int_equal(take_all(&r, "a", 1000), 1);
	rates_fini(&r);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(a_burst_and_then_the_rate),
	    cmocka_unit_test(who_waits_as_told_is_served),
	    cmocka_unit_test(users_have_their_own),
	    cmocka_unit_test(a_full_one_is_forgotten),
	    cmocka_unit_test(a_full_table_forgets_who_wrote_longest_ago),
	    cmocka_unit_test(who_comes_from_another_worker_brings_his_rest),
	};

	cmocka_set_message_output(CM_OUTPUT_TAP);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
