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

static const char *
id_of(uint64_t seq)
{
	static char id[ID_MAX];

	snprintf(id, sizeof(id), "msg_%026llu", (unsigned long long)seq);
	return id;
}

static struct event *
make_edit(uint64_t of, uint64_t seq, const char *data)
{
	struct event *ev =
	    event_new_about(EVENT_MESSAGE_UPDATED, CNV, USR, "", id_of(of), data, strlen(data));
	struct event *n = event_numbered(ev, seq, 1);

	event_unref(&ev);
	return n;
}

static struct event *
make(uint64_t seq)
{
	struct event *ev = event_new(EVENT_MESSAGE_CREATED, CNV, USR, "", "{}", 2), *n;

	str_copy(ev->id, sizeof(ev->id), id_of(seq));
	n = event_numbered(ev, seq, 1);
	event_unref(&ev);
	return n;
}

/* ---- the store ---- */

static bool edit_in_store; /* an older edit of message 2, whose text is a */

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
	for (size_t i = 0; i < req->event_count; i++) {
		bool edited = edit_in_store && req->events[i]->seq == 2;
		struct message_state *s = edited ? message_state_new(id_of(2)) : NULL;

		if (s)
			s->edit = make_edit(2, 19, "{\"text\":\"a\"}");
		store_req_add_state(req, s);
	}
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

static bool edits_in_window;

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
	w.abouts = edits_in_window ? 3 : 0;
	cb(arg, &w);
	while (n)
		event_unref(&events[--n]);
	return 0;
}

/* Edits that are only in the window: of message 2 and of message 8, which has two. */
static size_t most_ids, abouts_asked;
static const struct {
	uint64_t of, seq;
	const char *data;
} edits[] = {{2, 20, "{\"text\":\"b\"}"}, {8, 21, "{\"text\":\"c\"}"}, {8, 22, "{\"text\":\"d\"}"}};

static int
read_about(struct bus *b, const char *conversation, const char (*ids)[ID_MAX], size_t count,
    bus_window_cb cb, void *arg)
{
	struct event *events[8];
	struct bus_window w = {.events = events, .more = most_ids && count > most_ids};

	abouts_asked++;
	for (size_t i = 0; !w.more && i < sizeof(edits) / sizeof(*edits); i++)
		for (size_t k = 0; k < count; k++)
			if (strcmp(ids[k], id_of(edits[i].of)) == 0)
				events[w.count++] =
				    make_edit(edits[i].of, edits[i].seq, edits[i].data);
	cb(arg, &w);
	while (w.count)
		event_unref(&events[--w.count]);
	return 0;
}

static const struct bus_ops bus_ops = {.name = "fake", .window = read_window, .about = read_about};
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
		n += (size_t)snprintf(got + n, sizeof(got) - n, "%llu%.*s ",
		    (unsigned long long)r->events[i]->seq, r->states[i] ? 1 : 0,
		    r->states[i] ? r->states[i]->edit->data + strlen("{'text':'") : "");
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
assert_between(uint64_t after, uint64_t before, size_t limit, const char *want)
{
	got[0] = '\0';
	range_before(chat, CNV, after, before, limit, on_range, NULL);
	while (!got[0])
		loop_run();
	assert_string_equal(got, want);
}

static void
assert_before(uint64_t before, size_t limit, const char *want)
{
	assert_between(0, before, limit, want);
}

static int
setup(void **state)
{
	static const struct key_set keys = {.count = 1};
	struct chat_opts o = {.hash_cost = 1, .hash_queue = 1, .keys = &keys};

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

/* A member who sees nothing up to a number is not told either that there is more before it. */
static void
nothing_up_to_the_lower_end_is_read(void **state)
{
	static const uint64_t stored[] = {10, 11, 12, END};
	static const uint64_t recent[] = {12, 13, 14, END};

	in_store = stored;
	in_window = recent;
	floor_seq = 12;
	assert_between(10, 0, 100, "11 12 13 14 end");
	assert_between(10, 0, 4, "11 12 13 14 end");
	assert_between(10, 0, 3, "12 13 14 more");
	assert_between(10, 13, 100, "11 12 end");
	assert_between(12, 0, 100, "13 14 end");
	assert_between(13, 0, 1, "14 end");
	assert_between(14, 0, 100, "end");
	assert_between(11, 11, 100, "end");
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

/* Whatever has reached the store, the newest text is shown; and asked for only if need be. */
static void
edits_that_are_only_in_the_window_are_seen(void **state)
{
	static const uint64_t stored[] = {1, 2, 3, 4, 5, END}, recent[] = {6, 7, 8, END};

	in_store = stored;
	in_window = recent;
	floor_seq = 5;
	edits_in_window = true;
	for (most_ids = 0; most_ids < 9; most_ids++) { /* however many fit into one answer */
		assert_after(0, 100, "1 2b 3 4 5 6 7 8d end");
		assert_before(0, 4, "5 6 7 8d more");
		assert_before(4, 2, "2b 3 more");
	}
	edit_in_store = true;
	assert_after(0, 3, "1 2b 3 more");
	edits_in_window = false;
	abouts_asked = 0;
	assert_after(0, 3, "1 2a 3 more");
	assert_int_equal(abouts_asked, 0);
	edit_in_store = false;
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test_setup_teardown(
		an_event_that_is_archived_early_hides_none, setup, teardown),
	    cmocka_unit_test_setup_teardown(nothing_up_to_the_lower_end_is_read, setup, teardown),
	    cmocka_unit_test_setup_teardown(pages_join_on, setup, teardown),
	    cmocka_unit_test_setup_teardown(
		a_quiet_conversation_comes_from_the_store, setup, teardown),
	    cmocka_unit_test_setup_teardown(
		edits_that_are_only_in_the_window_are_seen, setup, teardown),
	};

	cmocka_set_message_output(CM_OUTPUT_TAP);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
