/* SPDX-License-Identifier: ISC */
/* message: events about a message folded in every order, and its JSON with that state. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "lib/buf.h"
#include "model/message.h"

#define CNV "cnv_01234567890123456789abcdef"
#define ANN "usr_0000000000000000000000000a"
#define BOB "usr_0000000000000000000000000b"
#define MSG "msg_01234567890123456789abcdef"

static struct event *
make(enum event_type type, const char *sender, uint64_t seq, const char *data)
{
	struct event *plain = event_new_about(
	    type, CNV, sender, "", type == EVENT_MESSAGE_CREATED ? "" : MSG, data, strlen(data));
	struct event *ev;

	if (type == EVENT_MESSAGE_CREATED)
		str_copy(plain->id, sizeof(plain->id), MSG);
	ev = event_numbered(plain, seq, (int64_t)seq * 1000);
	event_unref(&plain);
	return ev;
}

/* What folding these in this order gives, as the message's envelope and registers. */
static void
fold(struct buf *b, struct event *created, struct event *const *events, const int *order, int n)
{
	struct message_state *s = message_state_new(MSG);

	for (int i = 0; i < n; i++)
		message_state_fold(s, events[order[i]]);
	for (int i = 0; i < n; i += 2) /* some of them again */
		message_state_fold(s, events[order[i]]);
	message_envelope(b, created, s);
	for (size_t i = 0; i < s->reaction_count; i++)
		buf_printf(b, " %s %s %d", s->reactions[i].user, s->reactions[i].emoji,
		    s->reactions[i].present);
	message_state_free(&s);
}

/* Heap's algorithm, without recursion: calls check for every order of n. */
static void
every_order(int n, void (*check)(void *arg, const int *order), void *arg)
{
	int order[8] = {0}, c[8] = {0};

	for (int i = 0; i < n; i++)
		order[i] = i;
	check(arg, order);
	for (int i = 0; i < n;) {
		if (c[i] < i) {
			int k = i % 2 ? c[i] : 0, t = order[k];

			order[k] = order[i];
			order[i] = t;
			check(arg, order);
			c[i]++;
			i = 0;
		} else {
			c[i++] = 0;
		}
	}
}

struct folding {
	struct event *created, *events[6];
	struct buf first;
	int n, orders;
};

static void
same_as_the_first(void *arg, const int *order)
{
	struct folding *f = arg;
	struct buf b;

	buf_init(&b);
	fold(f->orders ? &b : &f->first, f->created, f->events, order, f->n);
	if (f->orders++)
		assert_string_equal(buf_cstr(&b), buf_cstr(&f->first));
	buf_fini(&b);
}

static void
folding_is_unordered(void **state)
{
	struct folding f = {.n = 6};

	f.created = make(EVENT_MESSAGE_CREATED, ANN, 1, "{\"text\":\"one\",\"mentions\":[\"x\"]}");
	f.events[0] = make(EVENT_MESSAGE_UPDATED, ANN, 2, "{\"text\":\"two\"}");
	f.events[1] = make(EVENT_REACTION_ADDED, BOB, 3, "{\"emoji\":\"+\"}");
	f.events[2] = make(EVENT_REACTION_ADDED, ANN, 4, "{\"emoji\":\"+\"}");
	f.events[3] =
	    make(EVENT_MESSAGE_UPDATED, ANN, 5, "{\"text\":\"three\",\"mentions\":[\"y\"]}");
	f.events[4] = make(EVENT_REACTION_REMOVED, BOB, 6, "{\"emoji\":\"+\"}");
	f.events[5] = make(EVENT_REACTION_ADDED, BOB, 7, "{\"emoji\":\"-\"}");
	every_order(f.n, same_as_the_first, &f);
	assert_int_equal(f.orders, 720);
	assert_non_null(strstr(buf_cstr(&f.first),
	    "\"data\":{\"text\":\"three\",\"mentions\":[\"y\"],\"edited_at\":\"1970-01-01T00:00:05."
	    "000Z\",\"reactions\":[{\"emoji\":\"+\",\"user_ids\":[\"" ANN
	    "\"]},{\"emoji\":\"-\",\"user_ids\":[\"" BOB "\"]}]}}"));

	event_unref(&f.events[5]);
	f.events[5] = make(EVENT_MESSAGE_DELETED, BOB, 4, "{}");
	f.orders = 0;
	buf_clear(&f.first);
	every_order(f.n, same_as_the_first, &f);
	assert_int_equal(f.orders, 720);
	assert_non_null(strstr(buf_cstr(&f.first),
	    "\"data\":{\"text\":\"\",\"deleted_at\":\"1970-01-01T00:00:04.000Z\"}}"));
	for (int i = 0; i < 6; i++)
		event_unref(&f.events[i]);
	event_unref(&f.created);
	buf_fini(&f.first);
}

static void
an_edit_shows_the_newest_text_too(void **state)
{
	struct event *older = make(EVENT_MESSAGE_UPDATED, ANN, 2, "{\"text\":\"two\"}");
	struct event *newer = make(EVENT_MESSAGE_UPDATED, ANN, 3, "{\"text\":\"three\"}");
	struct event *gone = make(EVENT_MESSAGE_DELETED, ANN, 4, "{\"message_id\":\"" MSG "\"}");
	struct message_state *s = message_state_new(MSG);
	struct buf b;

	buf_init(&b);
	message_state_fold(s, newer);
	message_envelope(&b, older, s);
	assert_non_null(strstr(buf_cstr(&b), "\"seq\":2,"));
	assert_non_null(strstr(buf_cstr(&b), "\"text\":\"three\""));
	message_state_fold(s, gone);
	buf_clear(&b);
	message_envelope(&b, older, s);
	assert_non_null(strstr(buf_cstr(&b), "\"text\":\"\""));
	assert_null(strstr(buf_cstr(&b), "edited_at"));
	buf_clear(&b);
	message_envelope(&b, gone, s); /* shows no text: as it is */
	assert_non_null(strstr(buf_cstr(&b), "\"data\":{\"message_id\":\"" MSG "\"}}"));
	buf_fini(&b);
	message_state_free(&s);
	event_unref(&older);
	event_unref(&newer);
	event_unref(&gone);
}

static void
a_deletion_takes_files_and_an_edit_leaves_them(void **state)
{
	struct event *ev =
	    make(EVENT_MESSAGE_CREATED, ANN, 1, "{\"text\":\"one\",\"files\":[{\"id\":\"x\"}]}");
	struct event *edit = make(EVENT_MESSAGE_UPDATED, ANN, 2, "{\"text\":\"two\"}");
	struct event *gone = make(EVENT_MESSAGE_DELETED, ANN, 3, "{}");
	struct message_state *s = message_state_new(MSG);
	struct buf b;

	buf_init(&b);
	message_state_fold(s, edit);
	message_envelope(&b, ev, s);
	assert_non_null(
	    strstr(buf_cstr(&b), "\"data\":{\"text\":\"two\",\"files\":[{\"id\":\"x\"}],"));
	message_state_fold(s, gone);
	buf_clear(&b);
	message_envelope(&b, ev, s);
	assert_null(strstr(buf_cstr(&b), "files"));
	buf_fini(&b);
	message_state_free(&s);
	event_unref(&ev);
	event_unref(&edit);
	event_unref(&gone);
}

static void
what_nothing_happened_to_is_as_it_was_written(void **state)
{
	struct event *ev = make(EVENT_MESSAGE_CREATED, ANN, 1, "{ \"text\":\"\\u00e9\" }");
	struct message_state *s = message_state_new(MSG);
	struct buf plain, shown;

	buf_init(&plain);
	buf_init(&shown);
	event_envelope(&plain, ev);
	message_envelope(&shown, ev, NULL);
	assert_string_equal(buf_cstr(&shown), buf_cstr(&plain));
	buf_clear(&shown);
	message_envelope(&shown, ev, s); /* no reactions: no member of that name */
	assert_null(strstr(buf_cstr(&shown), "reactions"));
	buf_fini(&plain);
	buf_fini(&shown);
	message_state_free(&s);
	event_unref(&ev);
}

static void
emoji_are_counted_and_checked(void **state)
{
	struct event *a = make(EVENT_REACTION_ADDED, ANN, 1, "{\"emoji\":\"+\"}");
	struct event *b = make(EVENT_REACTION_ADDED, BOB, 2, "{\"emoji\":\"+\"}");
	struct event *bad = make(EVENT_REACTION_ADDED, BOB, 3, "{\"emoji\":7}");
	struct message_state *s = message_state_new(MSG);
	char long_one[MESSAGE_EMOJI_MAX + 2];
	bool used;

	message_state_fold(s, a);
	message_state_fold(s, b);
	message_state_fold(s, bad);
	assert_int_equal(message_emoji_count(s, "+", &used), 1);
	assert_true(used);
	assert_int_equal(message_emoji_count(s, "-", &used), 1);
	assert_false(used);
	assert_non_null(message_reaction_find(s, BOB, "+"));
	assert_null(message_reaction_find(s, BOB, "-"));
	message_state_free(&s);
	event_unref(&a);
	event_unref(&b);
	event_unref(&bad);

	memset(long_one, 'x', sizeof(long_one) - 1);
	long_one[MESSAGE_EMOJI_MAX + 1] = '\0';
	assert_false(message_emoji_valid(long_one));
	assert_true(message_emoji_valid(long_one + 1));
	assert_true(message_emoji_valid("\xf0\x9f\x91\xa9\xe2\x80\x8d\xf0\x9f\x92\xbb"));
	assert_true(message_emoji_valid(":tada:"));
	assert_false(message_emoji_valid(""));
	assert_false(message_emoji_valid("a\nb"));
	assert_false(message_emoji_valid("\x7f"));
	assert_false(message_emoji_valid("\xc2\x85")); /* U+0085 */
	assert_true(message_emoji_valid("\xc2\xa9"));
	assert_false(message_emoji_valid("\xf0\x9f")); /* cut */
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(folding_is_unordered),
	    cmocka_unit_test(an_edit_shows_the_newest_text_too),
	    cmocka_unit_test(a_deletion_takes_files_and_an_edit_leaves_them),
	    cmocka_unit_test(what_nothing_happened_to_is_as_it_was_written),
	    cmocka_unit_test(emoji_are_counted_and_checked),
	};

	cmocka_set_message_output(CM_OUTPUT_TAP);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
