/* SPDX-License-Identifier: ISC */
/* sio_packet: the packet tables of the protocol, appendix B. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "wire/sio_packet.h"

static int
decode(const char *text, struct sio_decoded *d)
{
	return sio_decode(text, strlen(text), d);
}

static void
accepted(void **state)
{
	static const struct {
		const char *text;
		enum sio_type type;
		const char *nsp;
		int64_t ack;
		unsigned int attachments;
		const char *json;
	} cases[] = {
	    {"0", SIO_CONNECT, "/", -1, 0, NULL},
	    {"0{\"token\":\"x\"}", SIO_CONNECT, "/", -1, 0, "{\"token\":\"x\"}"},
	    {"0/custom", SIO_CONNECT, "/custom", -1, 0, NULL},
	    {"0/custom,", SIO_CONNECT, "/custom", -1, 0, NULL},
	    {"0/custom,{}", SIO_CONNECT, "/custom", -1, 0, "{}"},
	    {"0/,", SIO_CONNECT, "/", -1, 0, NULL},
	    {"0/custom?token=1,", SIO_CONNECT, "/custom?token=1", -1, 0, NULL},
	    {"1", SIO_DISCONNECT, "/", -1, 0, NULL},
	    {"1/custom,", SIO_DISCONNECT, "/custom", -1, 0, NULL},
	    {"2[\"a\"]", SIO_EVENT, "/", -1, 0, "[\"a\"]"},
	    {"2[\"a\"] ", SIO_EVENT, "/", -1, 0, "[\"a\"]"},
	    {"2[1,2]", SIO_EVENT, "/", -1, 0, "[1,2]"},
	    {"2", SIO_EVENT, "/", -1, 0, NULL},
	    {"212", SIO_EVENT, "/", 12, 0, NULL},
	    {"20[\"a\"]", SIO_EVENT, "/", 0, 0, "[\"a\"]"},
	    {"207[\"a\"]", SIO_EVENT, "/", 7, 0, "[\"a\"]"},
	    {"2/chat,17[\"save\",{}]", SIO_EVENT, "/chat", 17, 0, "[\"save\",{}]"},
	    {"2[\"error\",1]", SIO_EVENT, "/", -1, 0, "[\"error\",1]"},
	    {"310[1]", SIO_ACK, "/", 10, 0, "[1]"},
	    {"3[1]", SIO_ACK, "/", -1, 0, "[1]"},
	    {"4{}", SIO_CONNECT_ERROR, "/", -1, 0, "{}"},
	    {"51-[\"a\",{\"_placeholder\":true,\"num\":0}]", SIO_BINARY_EVENT, "/", -1, 1,
		"[\"a\",{\"_placeholder\":true,\"num\":0}]"},
	    {"510-/c,3[\"a\"]", SIO_BINARY_EVENT, "/c", 3, 10, "[\"a\"]"},
	    {"61-10[1]", SIO_BINARY_ACK, "/", 10, 1, "[1]"},
	};

	for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
		struct sio_decoded d;

		if (decode(cases[i].text, &d) < 0)
			fail_msg("refused: %s", cases[i].text);
		assert_int_equal(d.type, cases[i].type);
		assert_string_equal(d.nsp, cases[i].nsp);
		assert_int_equal(d.ack, cases[i].ack);
		assert_int_equal(d.attachments, cases[i].attachments);
		assert_int_equal(d.json != NULL, cases[i].json != NULL);
		if (!d.json)
			continue;
		assert_true(d.json_len >= strlen(cases[i].json));
		assert_memory_equal(d.json, cases[i].json, strlen(cases[i].json));
	}
}

/* What the application is handed is what the client wrote. */
static void
names_and_arguments(void **state)
{
	static const struct {
		const char *text, *name, *args;
	} cases[] = {
	    {"2[\"a\"]", "a", ""},
	    {"2[ \"a\" , 1 , {\"x\" : 2} ] ", "a", "1 , {\"x\" : 2}"},
	    {"2[\"a,\\\"]b\",1.50]", "a,\"]b", "1.50"},
	    {"2[12,\"x\"]", "12", "\"x\""},
	    {"2[-1.5e3 ]", "-1.5e3", ""},
	    {"2[\"\\u00e9\",\"\\ud83d\"]", "\xc3\xa9", "\"\\ud83d\""},
	    {"2[\"\"]", "", ""},
	    {"31[]", NULL, ""},
	    {"31[ [1],2 ]", NULL, "[1],2"},
	};

	for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
		struct sio_decoded d;
		char *name;

		if (decode(cases[i].text, &d) < 0)
			fail_msg("refused: %s", cases[i].text);
		assert_int_equal(d.args_len, strlen(cases[i].args));
		assert_memory_equal(d.args, cases[i].args, d.args_len);
		if (!cases[i].name)
			continue;
		name = sio_name_text(d.name, d.name_len);
		assert_string_equal(name, cases[i].name);
		free(name);
	}
}

static void
refused(void **state)
{
	static const char *const cases[] = {"", "7", "9", "abc", " 2[\"a\"]", "0[]", "0\"x\"", "0{",
	    "0null", "1{}", "2[]", "2{}", "2\"a\"", "2null", "2[null]", "2[true]", "2[{}]",
	    "2[\"a\"", "2[\"a\"]x", "2[\"connect\"]", "2[\"connect_error\"]", "2[\"disconnect\"]",
	    "2[\"disconnecting\"]", "2[\"newListener\"]", "2[\"removeListener\"]", "2abc[\"a\"]",
	    "2-1[\"a\"]", "21.5[\"a\"]", "21234567890123456[\"a\"]", "31{}", "4[]", "50-[\"a\"]",
	    "51[\"a\"]", "5-[\"a\"]", "5a-[\"a\"]", "51.5-[\"a\"]", "5-1-[\"a\"]", "5", "51-",
	    "511-[\"a\"]", "599999999999-[\"a\"]", "2[\"\xff\"]", "2[\"a\",NaN]", "2['a']"};

	for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
		struct sio_decoded d;

		if (decode(cases[i], &d) == 0)
			fail_msg("accepted: %s", cases[i]);
	}
}

static void
placeholders(void **state)
{
	static const struct {
		const char *text;
		unsigned int count;
		bool valid;
	} cases[] = {
	    {"51-[\"a\",{\"_placeholder\":true,\"num\":0}]", 1, true},
	    {"51-[\"a\",{\"x\":[{\"_placeholder\":true,\"num\":0}]}]", 1, true},
	    {"51-[\"a\",1]", 1, true},
	    {"51-[\"a\",{\"_placeholder\":false,\"num\":9}]", 1, true},
	    {"51-[\"a\",{\"_placeholder\":true,\"num\":1}]", 1, false},
	    {"51-[\"a\",{\"_placeholder\":true,\"num\":-1}]", 1, false},
	    {"51-[\"a\",{\"_placeholder\":true,\"num\":\"0\"}]", 1, false},
	    {"51-[\"a\",{\"_placeholder\":true}]", 1, false},
	};

	for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
		struct sio_decoded d;

		struct json_object *json;
		const char *why;

		assert_int_equal(decode(cases[i].text, &d), 0);
		json = json_parse(d.json, d.json_len, &sio_json_limits, &why);
		assert_int_equal(sio_placeholders_valid(json, cases[i].count), cases[i].valid);
		json_object_put(json);
	}
}

/* The payload of frame i, without its WebSocket header. */
static void
assert_frame(const struct sio_packet *p, unsigned int i, const char *want, size_t len)
{
	assert_true(i < p->count);
	assert_int_equal(p->frames[i]->len - p->frames[i]->header, len);
	assert_memory_equal(p->frames[i]->data + p->frames[i]->header, want, len);
}

static void
encoded(void **state)
{
	static const struct sio_attachment att[] = {{(const uint8_t *)"\1\2", 2}, {NULL, 0}};
	struct sio_packet *p;

	p = sio_event_new("/", "message", "1,\"x\"", 5, NULL, 0);
	assert_frame(p, 0, "42[\"message\",1,\"x\"]", 19);
	assert_int_equal(p->frames[0]->data[0], 0x81);
	sio_packet_unref(&p);
	p = sio_event_new("/chat", "a\"b", "", 0, NULL, 0);
	assert_frame(p, 0, "42/chat,[\"a\\\"b\"]", 16);
	sio_packet_unref(&p);
	p = sio_packet_new(&(struct sio_parts){.type = SIO_ACK, .nsp = "/c", .args = ""}, NULL);
	assert_frame(p, 0, "43/c,0[]", 8);
	sio_packet_unref(&p);
	p = sio_packet_new(&(struct sio_parts){.type = SIO_ACK,
			       .nsp = "/",
			       .ack = 17,
			       .args = "{}",
			       .args_len = 2,
			       .attachments = 2},
	    att);
	assert_int_equal(p->count, 3);
	assert_frame(p, 0, "462-17[{}]", 10);
	assert_frame(p, 1, "\1\2", 2);
	assert_int_equal(p->frames[1]->data[0], 0x82);
	assert_frame(p, 2, "", 0);
	sio_packet_unref(&p);
}

static void
frame_headers(void **state)
{
	static const struct {
		size_t len;
		unsigned int header;
		unsigned char second;
	} cases[] = {{0, 2, 0}, {125, 2, 125}, {126, 4, 126}, {65535, 4, 126}, {65536, 10, 127}};
	char *payload = calloc(1, 70000);

	for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
		struct frame *f = frame_new(payload, cases[i].len, false);

		assert_int_equal(f->header, cases[i].header);
		assert_int_equal(f->data[1], cases[i].second);
		if (f->header == 4)
			assert_int_equal(f->data[2] << 8 | f->data[3], cases[i].len);
		if (f->header == 10)
			assert_int_equal(
			    f->data[7] << 16 | f->data[8] << 8 | f->data[9], cases[i].len);
		frame_unref(&f);
	}
	free(payload);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(accepted),
	    cmocka_unit_test(names_and_arguments),
	    cmocka_unit_test(refused),
	    cmocka_unit_test(placeholders),
	    cmocka_unit_test(encoded),
	    cmocka_unit_test(frame_headers),
	};

	cmocka_set_message_output(CM_OUTPUT_TAP);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
