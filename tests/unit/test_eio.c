/* SPDX-License-Identifier: ISC */
/* eio: sessions on a transport that only keeps what it is told. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "lib/log.h"
#include "lib/loop.h"
#include "wire/eio.h"

#define MS   1000
#define UNIT 5 /* ms of what is called a millisecond below, so that a busy machine does no harm */

static const struct eio_opts opts = {.ping_interval = 100 * UNIT,
    .ping_timeout = 100 * UNIT,
    .max_payload = 1000,
    .max_queue = 500,
    .slot = 27};

/* ---- the transport and the layer above ---- */

struct peer {
	struct eio_session *s;
	int flushes, closes, closed; /* calls */
	int code;
	bool now, binary;
	char reason[32], got[64];
	int64_t opened_ms, closed_ms;
	ev_timer stop, stall;
};

static void
flush(void *conn)
{
	((struct peer *)conn)->flushes++;
}

static void
transport_close(void *conn, int code, bool now)
{
	struct peer *p = conn;

	p->closes++;
	p->code = code;
	p->now = now;
}

static void *
opened(void *arg, struct eio_session *s, const char *credential)
{
	return arg;
}

static void
message(void *arg, const char *data, size_t len, bool binary)
{
	struct peer *p = arg;

	snprintf(p->got, sizeof(p->got), "%.*s", (int)len, data);
	p->binary = binary;
}

static void
closed(void *arg, const char *reason)
{
	struct peer *p = arg;

	p->closed++;
	p->closed_ms = clock_mono_ms() - p->opened_ms;
	snprintf(p->reason, sizeof(p->reason), "%s", reason);
}

static const struct eio_transport transport = {.flush = flush, .close = transport_close};
static const struct eio_handler handler = {.open = opened, .message = message, .closed = closed};

/* The next bytes that wait. */
static size_t
take(struct peer *p, void *dst, size_t room)
{
	size_t frames;

	return eio_gather(p->s, dst, room, &frames);
}

static bool
took(struct peer *p, const char *payload)
{
	uint8_t bytes[512] = {0};
	size_t n = take(p, bytes, sizeof(bytes) - 1);

	return n == strlen(payload) + 2 && strcmp((char *)bytes + 2, payload) == 0;
}

static void
stop_loop(struct ev_loop *l, ev_timer *t, int revents)
{
	loop_stop();
}

/* Runs the loop until ms after the opening. */
static void
run_until(struct peer *p, int64_t ms)
{
	double in = (double)(p->opened_ms + ms * UNIT - clock_mono_ms()) / 1000.0;

	ev_now_update(loop_ev());
	ev_timer_init(&p->stop, stop_loop, in > 0 ? in : 0, 0);
	ev_timer_start(loop_ev(), &p->stop);
	loop_run();
}

static struct eio_server *
start(struct peer *p)
{
	struct eio_server *e = eio_server_new(&opts, &handler, p);
	uint8_t bytes[512];

	p->opened_ms = clock_mono_ms();
	p->s = eio_open(e, &transport, p, false, NULL);
	assert_true(take(p, bytes, sizeof(bytes)) > 0); /* OPEN */
	return e;
}

/* ---- tests ---- */

static void
the_first_packet(void **state)
{
	struct peer p = {0};
	struct eio_server *e = eio_server_new(&opts, &handler, &p), *none;
	char bytes[512] = {0}, want[256];

	p.s = eio_open(e, &transport, &p, false, NULL);
	assert_true(p.flushes > 0);
	assert_true(take(&p, bytes, sizeof(bytes)) > 4);
	snprintf(want, sizeof(want),
	    "0{\"sid\":\"%s\",\"upgrades\":[],\"pingInterval\":500,\"pingTimeout\":500,"
	    "\"maxPayload\":1000}",
	    eio_sid(p.s));
	assert_string_equal(bytes + (bytes[1] == 126 ? 4 : 2), want);
	assert_memory_equal(eio_sid(p.s), "BB", 2); /* slot 27 */
	assert_in_range(strlen(eio_sid(p.s)), 22, EIO_SID_MAX - 1);
	assert_int_equal(strspn(eio_sid(p.s), "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
					      "0123456789-_"),
	    strlen(eio_sid(p.s)));
	eio_server_free(&e);
	assert_int_equal(p.closed, 1);
	assert_string_equal(p.reason, "server shutting down");
	none = NULL;
	eio_server_free(&none);
}

static void
stall(struct ev_loop *l, ev_timer *t, int revents)
{
	usleep(80 * UNIT * MS);
}

/* The PING leaves at 150 instead of 100; its deadline stays at 200. */
static void
a_late_ping_does_not_move_its_deadline(void **state)
{
	struct peer p = {0};
	struct eio_server *e = start(&p);

	ev_timer_init(&p.stall, stall, 0.070 * UNIT, 0);
	ev_timer_start(loop_ev(), &p.stall);
	run_until(&p, 160);
	assert_true(took(&p, "2"));
	assert_int_equal(p.closed, 0);
	run_until(&p, 245);
	assert_int_equal(p.closed, 1);
	assert_string_equal(p.reason, "ping timeout");
	assert_in_range(p.closed_ms, 200 * UNIT - 1, 240 * UNIT);
	eio_transport_gone(p.s, "transport close");
	assert_int_equal(eio_session_count(e), 0);
	eio_server_free(&e);
}

static void
a_pong_begins_a_new_interval(void **state)
{
	struct peer p = {0};
	struct eio_server *e = start(&p);

	run_until(&p, 50);
	eio_input(p.s, "3", 1, false); /* unasked: counts, too */
	run_until(&p, 130);
	assert_false(eio_waiting(p.s));
	run_until(&p, 180);
	assert_true(took(&p, "2")); /* at 150 */
	eio_input(p.s, "3", 1, false);
	run_until(&p, 265); /* the deadline of 250 is off */
	assert_int_equal(p.closed, 0);
	assert_false(eio_waiting(p.s));
	run_until(&p, 310);
	assert_true(took(&p, "2")); /* at 280 */
	eio_server_free(&e);
	assert_int_equal(p.closed, 1);
}

/* The client watches by what it was told in the first packet. */
static void
a_reload_changes_no_session_that_is_open(void **state)
{
	struct peer p = {0};
	struct eio_server *e = start(&p);
	struct eio_opts slower = opts;

	slower.ping_interval = slower.ping_timeout = 100000;
	eio_server_reconfigure(e, &slower);
	run_until(&p, 130);
	assert_true(took(&p, "2"));
	eio_input(p.s, "3", 1, false);
	run_until(&p, 260);
	assert_true(took(&p, "2"));
	run_until(&p, 370);
	assert_int_equal(p.closed, 1);
	eio_transport_gone(p.s, "transport close");
	eio_server_free(&e);
}

static void
packets_of_clients(void **state)
{
	static const struct {
		const char *text, *reason, *got;
		int code;
	} cases[] = {
	    {"4hello", NULL, "hello", 0},
	    {"4", NULL, "", 0},
	    {"4\xc3\xa9", NULL, "\xc3\xa9", 0},
	    {"3", NULL, NULL, 0},
	    {"0", NULL, NULL, 0},
	    {"5", NULL, NULL, 0},
	    {"6", NULL, NULL, 0},
	    {"1", "transport close", NULL, 0},
	    {"", "parse error", NULL, 0},
	    {"2", "parse error", NULL, 0},
	    {"2probe", "parse error", NULL, 0},
	    {"abc", "parse error", NULL, 0},
	    {"7", "parse error", NULL, 0},
	    {"baGk=", NULL, "hi", 0},
	    {"baGk", NULL, "hi", 0},
	    {"b!", "parse error", NULL, 0},
	};

	for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
		struct peer p = {.got = "-"};
		struct eio_server *e = start(&p);

		eio_input(p.s, cases[i].text, strlen(cases[i].text), false);
		assert_string_equal(p.got, cases[i].got ? cases[i].got : "-");
		assert_int_equal(p.closed, 0); /* never from inside */
		run_until(&p, 0);
		assert_int_equal(p.closed, cases[i].reason != NULL);
		assert_int_equal(p.closes, cases[i].reason != NULL);
		assert_string_equal(p.reason, cases[i].reason ? cases[i].reason : "");
		assert_int_equal(p.code, cases[i].code);
		eio_input(p.s, "bin", 3, true);
		assert_string_equal(
		    p.got, cases[i].reason ? "-" : "bin"); /* closing: nothing comes through */
		eio_transport_gone(p.s, "transport close");
		eio_server_free(&e);
		assert_int_equal(p.closed, 1);
	}
}

/* Whatever the room, the bytes are those of the frames one after the other. */
static void
frames_leave_in_pieces_of_any_size(void **state)
{
	for (size_t room = 1; room < 40; room++) {
		struct peer p = {0};
		struct eio_server *e = start(&p);
		uint8_t want[512], got[512];
		size_t want_len = 0, got_len = 0, frames = 0, n, one;

		for (size_t i = 0; i < 9; i++) { /* more than the ring begins with */
			struct frame *f = frame_new("4abcdefghijkl", 1 + i, i % 2);

			memcpy(want + want_len, f->data, f->len);
			want_len += f->len;
			eio_send(p.s, f);
			frame_unref(&f);
		}
		while ((n = eio_gather(p.s, got + got_len, room, &one)) > 0) {
			got_len += n;
			frames += one;
		}
		assert_int_equal(frames, 9);
		assert_int_equal(got_len, want_len);
		assert_memory_equal(got, want, want_len);
		assert_false(eio_waiting(p.s));
		eio_server_free(&e);
	}
}

static void
send_filler(struct peer *p)
{
	char bytes[98] = {0};
	struct frame *f = frame_new(bytes, sizeof(bytes), true);

	eio_send(p->s, f);
	frame_unref(&f);
}

static void
the_queue_is_bounded(void **state)
{
	struct peer p = {0};
	struct eio_server *e = start(&p);

	for (int i = 0; i < 20; i++) /* 2,000 bytes: four times what is allowed */
		send_filler(&p);
	run_until(&p, 0);
	assert_int_equal(p.closed, 0);
	send_filler(&p);
	assert_int_equal(eio_slow_count(e), 1);
	assert_int_equal(p.closed, 0);
	run_until(&p, 0);
	assert_int_equal(p.closed, 1);
	assert_string_equal(p.reason, "transport error");
	assert_true(p.now);
	assert_false(eio_waiting(p.s));
	eio_transport_gone(p.s, "transport close");
	assert_int_equal(p.closed, 1);
	eio_server_free(&e);
}

/* What is queued goes out first, but not for ever. */
static void
an_orderly_close_waits_for_the_reader_but_not_for_ever(void **state)
{
	struct peer p = {0};
	struct eio_server *e = start(&p);

	send_filler(&p);
	eio_close(p.s, "forced close", 1001);
	eio_close(p.s, "another", 0);
	send_filler(&p); /* too late: dropped */
	run_until(&p, 0);
	assert_string_equal(p.reason, "forced close");
	assert_int_equal(p.code, 1001);
	assert_false(p.now);
	assert_true(eio_waiting(p.s));
	run_until(&p, 80);
	assert_int_equal(p.closes, 1);
	run_until(&p, 160);
	assert_int_equal(p.closes, 2);
	assert_true(p.now);
	assert_false(eio_waiting(p.s));
	eio_transport_gone(p.s, "transport close");
	assert_int_equal(eio_session_count(e), 0);
	eio_server_free(&e);
	assert_int_equal(p.closed, 1);
}

static void
the_loss_of_the_transport(void **state)
{
	struct peer p = {0};
	struct eio_server *e = start(&p);

	eio_transport_gone(p.s, "transport close");
	send_filler(&p); /* nobody to send to */
	assert_int_equal(p.closed, 0);
	run_until(&p, 0);
	assert_int_equal(p.closed, 1);
	assert_int_equal(p.closes, 0);
	assert_string_equal(p.reason, "transport close");
	assert_int_equal(eio_session_count(e), 0);
	eio_server_free(&e);
}

static int
setup(void **state)
{
	log_init("test", -1, LOG_TO_STDERR, LOG_LVL_ERROR);
	loop_init();
	return 0;
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(the_first_packet),
	    cmocka_unit_test(a_late_ping_does_not_move_its_deadline),
	    cmocka_unit_test(a_pong_begins_a_new_interval),
	    cmocka_unit_test(a_reload_changes_no_session_that_is_open),
	    cmocka_unit_test(packets_of_clients),
	    cmocka_unit_test(frames_leave_in_pieces_of_any_size),
	    cmocka_unit_test(the_queue_is_bounded),
	    cmocka_unit_test(an_orderly_close_waits_for_the_reader_but_not_for_ever),
	    cmocka_unit_test(the_loss_of_the_transport),
	};

	cmocka_set_message_output(CM_OUTPUT_TAP);
	return cmocka_run_group_tests(tests, setup, NULL);
}
