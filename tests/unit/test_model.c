/* SPDX-License-Identifier: ISC */
/* model: events packed and printed, usernames, the error table. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "lib/json.h"
#include "model/conversation.h"
#include "model/error.h"
#include "model/event.h"
#include "model/user.h"

#define CNV "cnv_01234567890123456789abcdef"
#define USR "usr_01234567890123456789abcdef"

static const char data[] = "{\"text\":\"h\\u00e9\"}";

static void
an_event_survives_packing_and_no_cut_does(void **state)
{
	struct event *ev, *n, *back;
	struct unpack u;
	struct buf b;

	ev = event_new(EVENT_MESSAGE_CREATED, CNV, USR, "client", data, strlen(data));
	n = event_numbered(ev, 42, 1795512515123);
	assert_string_equal(n->id, ev->id);
	assert_int_equal(ev->seq, 0);
	event_unref(&ev);
	assert_null(ev);
	buf_init(&b);
	event_pack(&b, n);
	unpack_init(&u, b.data, b.len);
	back = event_unpack(&u);
	assert_non_null(back);
	assert_true(unpack_end(&u));
	assert_string_equal(back->id, n->id);
	assert_string_equal(back->conversation, CNV);
	assert_string_equal(back->client_id, "client");
	assert_string_equal(back->data, data);
	assert_memory_equal(back->digest, n->digest, EVENT_DIGEST);
	assert_true(back->seq == 42 && back->created_ms == 1795512515123);
	for (size_t cut = 0; cut < b.len; cut++) {
		unpack_init(&u, b.data, cut);
		assert_null(event_unpack(&u));
	}
	event_unref(&back);
	event_unref(&n);
	buf_fini(&b);
}

static void
the_envelope_is_what_the_documentation_says(void **state)
{
	struct event *ev = event_new(EVENT_MESSAGE_CREATED, CNV, USR, "", data, strlen(data));
	struct event *n = event_numbered(ev, 7, 1795512515123);
	char want[400];
	struct buf b;

	buf_init(&b);
	event_envelope(&b, n);
	snprintf(want, sizeof(want),
	    "{\"id\":\"%s\",\"type\":\"message.created\",\"conversation_id\":\"" CNV
	    "\",\"seq\":7,\"created_at\":\"2026-11-24T09:28:35.123Z\",\"data\":%s}",
	    n->id, data);
	assert_string_equal(buf_cstr(&b), want);
	buf_fini(&b);
	event_unref(&n);
	event_unref(&ev);
}

static void
the_digest_is_of_type_and_data_only(void **state)
{
	struct event *a = event_new(EVENT_MESSAGE_CREATED, CNV, USR, "1", data, strlen(data));
	struct event *b = event_new(EVENT_MESSAGE_CREATED, CNV, USR, "2", data, strlen(data));
	struct event *c = event_new(EVENT_MEMBER_JOINED, CNV, USR, "1", data, strlen(data));
	struct event *d = event_new(EVENT_MESSAGE_CREATED, CNV, USR, "1", data, strlen(data) - 1);

	assert_memory_equal(a->digest, b->digest, EVENT_DIGEST);
	assert_memory_not_equal(a->digest, c->digest, EVENT_DIGEST);
	assert_memory_not_equal(a->digest, d->digest, EVENT_DIGEST);
	event_unref(&a);
	event_unref(&b);
	event_unref(&c);
	event_unref(&d);
}

static void
usernames(void **state)
{
	char u[USERNAME_MAX + 1];

	assert_true(username_normalize(u, "Ann.B-2_x"));
	assert_string_equal(u, "ann.b-2_x");
	assert_true(username_normalize(u, "0a"));
	assert_false(username_normalize(u, "a"));
	assert_false(username_normalize(u, ""));
	assert_false(username_normalize(u, ".ab"));
	assert_false(username_normalize(u, "a b"));
	assert_false(username_normalize(u, "a\xc3\xa9"));
	assert_true(username_normalize(u, "abcdefghijklmnopqrstuvwxyz012345"));
	assert_false(username_normalize(u, "abcdefghijklmnopqrstuvwxyz0123456"));
}

static void
time_zones_have_the_shape_of_iana_names(void **state)
{
	static const char *const good[] = {"UTC", "Europe/Vienna", "America/Argentina/Buenos_Aires",
	    "Etc/GMT+5", "Etc/GMT-14", "America/Port-au-Prince"};
	static const char *const bad[] = {"", "/", "Europe/", "/etc/passwd", "../UTC",
	    "Europe//Vienna", "a/b/c/d", "-x", "zone.tab", "Europe/Vi enna", "Europe/W\xc3\xaen"};

	for (size_t i = 0; i < sizeof(good) / sizeof(*good); i++)
		assert_true(time_zone_shaped(good[i]));
	for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++)
		assert_false(time_zone_shaped(bad[i]));
}

/* What is the user's own or the administrator's business stays theirs. */
static void
a_user_is_shown_by_who_looks(void **state)
{
	struct user u = {.id = USR, .username = "ann", .locked = true, .version = 7};
	struct buf b;

	buf_init(&b);
	user_json(&b, &u, USER_PUBLIC);
	assert_null(strstr(buf_cstr(&b), "version"));
	assert_null(strstr(buf_cstr(&b), "locked"));
	assert_null(strstr(buf_cstr(&b), "last_seen_at"));
	assert_non_null(strstr(buf_cstr(&b), "\"active\":true"));
	buf_clear(&b);
	user_json(&b, &u, USER_OWN);
	assert_non_null(strstr(buf_cstr(&b), "\"version\":7"));
	assert_null(strstr(buf_cstr(&b), "locked"));
	buf_clear(&b);
	u.deactivated_ms = 1;
	user_json(&b, &u, USER_ADMIN);
	assert_non_null(strstr(buf_cstr(&b), "\"locked\":true"));
	assert_non_null(strstr(buf_cstr(&b), "\"active\":false"));
	assert_non_null(strstr(buf_cstr(&b), "\"deactivated_at\":\"1970-01-01T00:00:00.001Z\""));
	assert_non_null(strstr(buf_cstr(&b), "\"last_seen_at\":null"));
	buf_fini(&b);
}

static void
names_are_escaped_in_json(void **state)
{
	struct conversation *c = conversation_new();
	struct user u = {.id = USR, .username = "ann", .name = "A\"\\\n\x01</script>"};
	struct json_object *o;
	const char *why, *name;
	struct buf b;

	buf_init(&b);
	user_json(&b, &u, true);
	o = json_parse((char *)b.data, b.len, &json_default_limits, &why);
	assert_non_null(o);
	assert_true(json_get_str(o, "name", &name));
	assert_string_equal(name, u.name);
	json_object_put(o);
	buf_clear(&b);
	c->type = CONVERSATION_GROUP;
	str_copy(c->name, sizeof(c->name), u.name);
	str_copy(conversation_add_member(c, USR)->name, 128, u.name);
	conversation_json(&b, c);
	o = json_parse((char *)b.data, b.len, &json_default_limits, &why);
	assert_non_null(o);
	json_object_put(o);
	conversation_free(&c);
	buf_fini(&b);
}

static void
every_error_has_a_row(void **state)
{
	for (int err = 0; err > -ERROR_COUNT; err--) {
		assert_non_null(error_code(err));
		assert_in_range(error_status(err), 200, 599);
		if (error_retryable(err))
			assert_true(error_status(err) == 429 || error_status(err) == 503);
	}
	assert_string_equal(error_code(ERR_STORAGE_FULL), "storage_full");
	assert_string_equal(error_code(5), "internal");
	assert_string_equal(error_code(-ERROR_COUNT), "internal");
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(an_event_survives_packing_and_no_cut_does),
	    cmocka_unit_test(the_envelope_is_what_the_documentation_says),
	    cmocka_unit_test(the_digest_is_of_type_and_data_only),
	    cmocka_unit_test(usernames),
	    cmocka_unit_test(time_zones_have_the_shape_of_iana_names),
	    cmocka_unit_test(a_user_is_shown_by_who_looks),
	    cmocka_unit_test(names_are_escaped_in_json),
	    cmocka_unit_test(every_error_has_a_row),
	};

	cmocka_set_message_output(CM_OUTPUT_TAP);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
