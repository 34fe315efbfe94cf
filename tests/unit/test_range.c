/* SPDX-License-Identifier: ISC */
/* range: the recent window and the store joined, whatever has reached the store. */
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
#include "chat/range.h"
#include "lib/loop.h"

#define CNV "cnv_01234567890123456789abcdef"
#define USR "usr_01234567890123456789abcdef"
#define END UINT64_MAX

/* What is where; lists end with END. */
static const uint64_t *in_store, *in_window;
static uint64_t floor_seq;

static struct event *
make(uint64_t seq)
{
	struct event *ev = event_new(EVENT_MESSAGE_CREATED, CNV, USR, "", "{}", 2), *n;

	n = event_numbered(ev, seq, 1);
	event_unref(&ev);
	return n;
}

/* ---- the store ---- */

static void
read_events(void *handle, struct store_req *req)
{
	size_t fits = 0, from = 0, n = 0;

	req->err = 0;
	while (in_store[n] != END)
		n++;
	for (size_t i = 0; i < n; i++)
		fits += in_store[i] > req->after && (!req->before || in_store[i] < req->before);
	req->flag = fits > req->limit;
	if (req->before && fits > req->limit)
		from = fits - req->limit;
	for (size_t i = 0, k = 0; i < n && req->event_count < req->limit; i++)
		if (in_store[i] > req->after && (!req->before || in_store[i] < req->before) &&
		    k++ >= from)
			store_req_add_event(req, make(in_store[i]));
}

static void *
open_handle(const char *where)
{
	return &floor_seq;
}

static void
close_handle(void *handle)
{
}

static const struct store_impl fake_store = {.name = "fake",
    .open_handle = open_handle,
    .close_handle = close_handle,
    .ops = {[STORE_EVENTS] = read_events}};

/* ---- the bus ---- */

static int
read_window(struct bus *b, const char *conversation, uint64_t after, uint64_t before, size_t limit,
    bus_window_cb cb, void *arg)
{
	struct event *events[64];
	struct bus_window w = {.floor = floor_seq, .events = events};
	size_t n = 0, from = 0;

	for (const uint64_t *s = in_window; *s != END; s++)
		if (*s > after && (!before || *s < before))
			events[n++] = make(*s);
	w.more = n > limit;
	w.count = n > limit ? limit : n;
	if (before && n > limit)
		from = n - limit;
	w.events = events + from;
	cb(arg, &w);
	while (n)
		event_unref(&events[--n]);
	return 0;
}

static const struct bus_ops bus_ops = {.name = "fake", .window = read_window};
static struct bus bus = {.ops = &bus_ops, .up = true};

/* ---- reading ---- */

static struct chat *chat;
static struct store *store;
static char got[256];

static void
on_range(void *arg, const struct range *r)
{
	size_t n = 0;

	assert_int_equal(r->err, 0);
	got[0] = '\0';
	for (size_t i = 0; i < r->count; i++)
		n += (size_t)snprintf(
		    got + n, sizeof(got) - n, "%llu ", (unsigned long long)r->events[i]->seq);
	snprintf(got + n, sizeof(got) - n, r->more ? "more" : "end");
	loop_stop();
}

static void
assert_after(uint64_t after, size_t limit, const char *want)
{
	got[0] = '\0';
	range_after(chat, CNV, after, limit, on_range, NULL);
	while (!got[0])
		loop_run();
	assert_string_equal(got, want);
}

static void
assert_before(uint64_t before, size_t limit, const char *want)
{
	got[0] = '\0';
	range_before(chat, CNV, before, limit, on_range, NULL);
	while (!got[0])
		loop_run();
	assert_string_equal(got, want);
}

static int
setup(void **state)
{
	static const uint8_t key[32];
	struct chat_opts o = {.hash_cost = 1, .hash_queue = 1, .key = key, .key_len = sizeof(key)};

	loop_init();
	store = store_open(&fake_store, "", 1);
	chat = chat_new(&o, store, NULL);
	chat_set_bus(chat, &bus);
	return 0;
}

static int
teardown(void **state)
{
	store_close(&store);
	chat_free(&chat);
	return 0;
}

/* Another worker's spool is archived later: 14 and 16 are in the store, 13 and 15 not yet. */
static void
an_event_that_is_archived_early_hides_none(void **state)
{
	static const uint64_t stored[] = {10, 11, 12, 14, 16, END};
	static const uint64_t recent[] = {12, 13, 14, 15, 16, END};

	in_store = stored;
	in_window = recent;
	floor_seq = 12;
	assert_after(0, 100, "10 11 12 13 14 15 16 end");
	assert_after(11, 100, "12 13 14 15 16 end");
	assert_after(12, 100, "13 14 15 16 end");
	assert_after(0, 3, "10 11 12 more");
	assert_after(0, 4, "10 11 12 13 more");
	assert_after(10, 3, "11 12 13 more");
	assert_before(0, 100, "10 11 12 13 14 15 16 end");
	assert_before(15, 3, "12 13 14 more");
	assert_before(14, 100, "10 11 12 13 end");
}

static void
pages_join_on(void **state)
{
	static const uint64_t stored[] = {1, 2, 3, 4, 5, 6, 7, END}, recent[] = {6, 7, 8, 9, END};

	in_store = stored;
	in_window = recent;
	floor_seq = 7;
	for (size_t limit = 1; limit < 12; limit++) {
		uint64_t last = 0;
		int pages = 0;

		do {
			char *at = got;

			got[0] = '\0';
			range_after(chat, CNV, last, limit, on_range, NULL);
			while (!got[0])
				loop_run();
			while (*at >= '0' && *at <= '9') {
				assert_int_equal(strtoull(at, &at, 10), last + 1);
				last++;
				at++;
			}
			assert_true(++pages < 20);
		} while (strstr(got, "more"));
		assert_int_equal(last, 9);
	}
}

/* The hub knows nothing of it: all is in the store. */
static void
a_quiet_conversation_comes_from_the_store(void **state)
{
	static const uint64_t stored[] = {1, 2, 3, END}, none[] = {END};

	in_store = stored;
	in_window = none;
	floor_seq = UINT64_C(1) << 53;
	assert_after(0, 2, "1 2 more");
	assert_after(2, 2, "3 end");
	assert_after(3, 2, "end");
	assert_before(0, 2, "2 3 more");
	assert_before(2, 2, "1 end");
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test_setup_teardown(
		an_event_that_is_archived_early_hides_none, setup, teardown),
	    cmocka_unit_test_setup_teardown(pages_join_on, setup, teardown),
	    cmocka_unit_test_setup_teardown(
		a_quiet_conversation_comes_from_the_store, setup, teardown),
	};

	cmocka_set_message_output(CM_OUTPUT_TAP);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
