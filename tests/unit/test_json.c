/* SPDX-License-Identifier: ISC */
/* json: what is JSON, what is not, and what is refused all the same. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "lib/json.h"

static const char *
scan(const char *text)
{
	return json_scan(text, strlen(text), &json_default_limits, NULL);
}

static void
valid(void **state)
{
	static const char *const good[] = {"{}", "[]", "0", "-0", "1.5e+3", "\"\"", "true", "null",
	    " [1, 2 ,{\"a\" : [ ] }]\n", "\"\\u00e9\\ud83d\\ude00\"", "\"h\xc3\xa9\"",
	    "9007199254740992", "-9007199254740992", "{\"a\":1,\"a\":2}",
	    "\"\\\"\\\\\\/\\b\\f\\n\\r\\t\"", "[[[[[[[[[[[[[[[[1]]]]]]]]]]]]]]]]", "1e400",
	    "{\"__proto__\":1}"};

	for (size_t i = 0; i < sizeof(good) / sizeof(*good); i++)
		if (scan(good[i]))
			fail_msg("%s: %s", good[i], scan(good[i]));
}

static void
invalid(void **state)
{
	static const struct {
		const char *text, *why;
	} bad[] = {
	    {"", "unexpected end"},
	    {"  ", "unexpected end"},
	    {"{", "expected a key"},
	    {"[1,]", "unexpected character"},
	    {"[1 2]", "expected ',' or the end of the list"},
	    {"{\"a\"}", "expected ':'"},
	    {"{'a':1}", "expected a key"},
	    {"{\"a\":1,}", "expected a key"},
	    {"01", "number with a leading zero"},
	    {"-", "bad number"},
	    {"1.", "bad number"},
	    {"1e", "bad number"},
	    {"+1", "unexpected character"},
	    {"NaN", "unexpected character"},
	    {"Infinity", "unexpected character"},
	    {"nul", "unexpected character"},
	    {"\"a", "unterminated string"},
	    {"\"a\nb\"", "control character in a string"},
	    {"\"\\x\"", "bad escape"},
	    {"\"\\u12\"", "bad \\u escape"},
	    {"\"\\u0000\"", "\\u0000 is not accepted"},
	    {"\"\\ud800\"", "lone surrogate"},
	    {"\"\\ud800\\u0041\"", "lone surrogate"},
	    {"\"\\udc00\"", "lone surrogate"},
	    {"\"\xff\"", "invalid UTF-8"},
	    {"\"\xc0\x80\"", "invalid UTF-8"},
	    {"\"\xed\xa0\x80\"", "invalid UTF-8"},
	    {"\"\xf5\x80\x80\x80\"", "invalid UTF-8"},
	    {"\"\xe2\x82\"", "invalid UTF-8"},
	    {"9007199254740993", "integer beyond 2^53"},
	    {"99999999999999999999", "integer beyond 2^53"},
	    {"{}x", "text after the value"},
	    {"[[[[[[[[[[[[[[[[[1]]]]]]]]]]]]]]]]]", "nested too deeply"},
	    {"/* c */1", "unexpected character"},
	};

	for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++) {
		const char *why = scan(bad[i].text);

		if (!why || strcmp(why, bad[i].why) != 0)
			fail_msg(
			    "%s: got %s, wanted %s", bad[i].text, why ? why : "valid", bad[i].why);
	}
}

static void
every_cut_is_invalid_and_no_byte_crashes(void **state)
{
	static const char text[] =
	    "{\"a\":[1,-2.5e3,\"x\\u00e9\\ud83d\\ude00\",true,false,null,{}]}";
	char copy[sizeof(text)];

	for (size_t cut = 0; cut < sizeof(text) - 1; cut++)
		assert_non_null(json_scan(text, cut, &json_default_limits, NULL));
	for (size_t i = 0; i < sizeof(text) - 1; i++) {
		for (int c = 0; c < 256; c++) {
			struct json_object *o;
			const char *why;

			memcpy(copy, text, sizeof(text));
			copy[i] = (char)c;
			/* What the scan lets through json-c must take, too. */
			o = json_parse(copy, sizeof(text) - 1, &json_default_limits, &why);
			if (!json_scan(copy, sizeof(text) - 1, &json_default_limits, NULL))
				assert_non_null(o);
			json_object_put(o);
		}
	}
}

static void
limits_of_keys(void **state)
{
	struct json_limits limits = {.depth = 4, .keys = 2};

	assert_null(json_scan("[{\"a\":1},{\"b\":1}]", 17, &limits, NULL));
	assert_string_equal(
	    json_scan("{\"a\":1,\"b\":1,\"c\":1}", 19, &limits, NULL), "too many keys");
}

static void
strings_round_trip(void **state)
{
	static const char in[] = "a\"\\/\b\f\n\r\t\x01\x1f é 😀 </script>";
	struct json_object *o;
	const char *why;
	struct buf b;

	buf_init(&b);
	json_put_string(&b, in, strlen(in));
	o = json_parse((char *)b.data, b.len, &json_default_limits, &why);
	assert_non_null(o);
	assert_string_equal(json_object_get_string(o), in);
	json_object_put(o);
	buf_fini(&b);
}

static void
typed_members(void **state)
{
	const char *why, *s = "unset";
	struct json_object *o;
	int64_t n = -1;
	bool flag = true;

	o = json_parse(
	    "{\"s\":\"x\",\"n\":5,\"b\":false,\"z\":null}", 34, &json_default_limits, &why);
	assert_true(
	    json_get_str(o, "s", &s) && json_get_int(o, "n", &n) && json_get_bool(o, "b", &flag));
	assert_string_equal(s, "x");
	assert_true(n == 5 && !flag);
	assert_true(json_get_str(o, "missing", &s) && json_get_str(o, "z", &s));
	assert_false(json_get_str(o, "n", &s));
	assert_false(json_get_int(o, "s", &n));
	assert_false(json_get_bool(o, "n", &flag));
	json_object_put(o);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(valid),
	    cmocka_unit_test(invalid),
	    cmocka_unit_test(every_cut_is_invalid_and_no_byte_crashes),
	    cmocka_unit_test(limits_of_keys),
	    cmocka_unit_test(strings_round_trip),
	    cmocka_unit_test(typed_members),
	};

	cmocka_set_message_output(CM_OUTPUT_TAP);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
