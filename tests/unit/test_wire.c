/* SPDX-License-Identifier: ISC */
/* wire: WebSocket, Engine.IO and Socket.IO as bytes. */
#include "../lib/wire_help.h"

static void
events_acks_and_attachments(void **state)
{
	int fd = joined();

	text(fd, "42[\"message\",1,\"\xc3\xa9\"]");
	assert_string_equal(next_packet(fd), "42[\"message-back\",1,\"\xc3\xa9\"]");
	text(fd, "420[\"message-with-ack\",{\"a\":1}]");
	assert_string_equal(next_packet(fd), "430[{\"a\":1}]");
	text(fd, "421[\"message-with-ack\"]");
	assert_string_equal(next_packet(fd), "431[]");
	text(fd, "452-[\"message\",{\"_placeholder\":true,\"num\":0},{\"_placeholder\":true,"
		 "\"num\":1}]");
	text(fd, "3"); /* heartbeats may come in between */
	ws_send(fd, 0x82, "\1\2\3", 3);
	ws_send(fd, 0x82, "\t", 1);
	assert_memory_equal(next_packet(fd), "452-[\"message-back\",", 19);
	assert_string_equal(next_packet(fd), "<010203>");
	assert_string_equal(next_packet(fd), "<09>");
	text(fd, "451-42[\"message-with-ack\",{\"_placeholder\":true,\"num\":0}]");
	ws_send(fd, 0x82, "\1", 1);
	assert_memory_equal(next_packet(fd), "461-42[", 7);
	assert_string_equal(next_packet(fd), "<01>");
	text(fd, "427[\"ask-me\",5]");
	assert_string_equal(next_packet(fd), "420[\"question\",5]");
	text(fd, "430[6]");
	assert_string_equal(next_packet(fd), "437[6]");
	text(fd, "42[\"unknown\",1]");
	text(fd, "42[\"message\",2]");
	assert_string_equal(next_packet(fd), "42[\"message-back\",2]");
	close(fd);
}

static void
frames_in_pieces_and_pings_of_the_websocket(void **state)
{
	char *big = malloc(MAX_PAYLOAD + 1), *first, *second;
	int fd = joined();
	bool pong_first;
	size_t n = (size_t)sprintf(big, "42[\"message\",\"");

	ws_send(fd, 0x01, "42[\"mes", 7);
	ws_send(fd, 0x89, "hi", 2);
	ws_send(fd, 0x00, "sage\",", 6);
	ws_send(fd, 0x80, "7]", 2);
	first = xstrdup(next_packet(fd)); /* a pong keeps no order with data */
	second = xstrdup(next_packet(fd));
	pong_first = strcmp(first, "pong hi") == 0;
	assert_string_equal(pong_first ? first : second, "pong hi");
	assert_string_equal(pong_first ? second : first, "42[\"message-back\",7]");
	free(first);
	free(second);
	memset(big + n, 'x', MAX_PAYLOAD - n);
	memcpy(big + MAX_PAYLOAD - 2, "\"]x", 3);
	ws_send(fd, 0x81, big, MAX_PAYLOAD);
	assert_memory_equal(next_packet(fd), "42[\"message-back\",\"xxx", 22);
	ws_send(fd, 0x81, big, MAX_PAYLOAD + 1);
	assert_string_equal(next_packet(fd), "closed 1009");
	close(fd);
	free(big);
}

static void
namespaces(void **state)
{
	int fd = joined();

	text(fd, "40/nope,");
	assert_string_equal(next_packet(fd), "44/nope,{\"message\":\"Invalid namespace\"}");
	text(fd, "40/denied,");
	assert_string_equal(
	    next_packet(fd), "44/denied,{\"message\":\"not authorized\",\"data\":{\"code\":401}}");
	text(fd, "41");
	text(fd, "42[\"message\",\"late\"]"); /* under way behind it: dropped */
	text(fd, "40");
	assert_memory_equal(next_packet(fd), "40{\"sid\":\"", 10);
	text(fd, "42[\"kick\",false]");
	assert_string_equal(next_packet(fd), "41");
	text(fd, "42[\"message\",\"late\"]");
	text(fd, "40");
	assert_memory_equal(next_packet(fd), "40{\"sid\":\"", 10);
	text(fd, "42[\"kick\",true]");
	assert_string_equal(next_packet(fd), "41");
	assert_string_equal(next_packet(fd), "closed 1005");
	close(fd);
}

static void
violations_close_the_connection(void **state)
{
	static const char *const packets[] = {"", "2", "2probe", "abc", "7", "4", "47", "40",
	    "42{}", "42[\"a\"", "42[\"connect\"]", "41/custom,", "42/custom,[\"a\"]", "44{}",
	    "451[\"a\"]", "450-[\"a\"]", "431{}", "42[1e]"};

	for (size_t i = 0; i < sizeof(packets) / sizeof(*packets); i++) {
		int fd = joined();
		const char *got;

		text(fd, packets[i]);
		got = next_packet(fd);
		if (strncmp(got, "closed", 6) != 0)
			fail_msg("\"%s\" answered %s", packets[i], got);
		close(fd);
	}
	for (int first = 0; first < 2; first++) { /* before CONNECT; an unannounced attachment */
		int fd = first ? joined() : ws_open("EIO=4&transport=websocket");

		if (first) {
			ws_send(fd, 0x82, "x", 1);
		} else {
			next(fd);
			text(fd, "42[\"a\"]");
		}
		assert_memory_equal(next_packet(fd), "closed", 6);
		close(fd);
	}
	assert_int_equal(kill(server, 0), 0);
}

static void
heartbeat_and_connect_timeout(void **state)
{
	int fd = ws_open("EIO=4&transport=websocket");
	int64_t from = clock_mono_ms(), took;

	next(fd);
	assert_string_equal(next(fd), "2");
	took = clock_mono_ms() - from;
	assert_in_range(took, 280, 400);
	assert_string_equal(next(fd), "closed 1005"); /* no PONG */
	took = clock_mono_ms() - from;
	assert_in_range(took, 480, 620);
	close(fd);
	fd = ws_open("EIO=4&transport=websocket");
	from = clock_mono_ms();
	next(fd);
	assert_string_equal(next_packet(fd), "closed 1005"); /* never joined */
	took = clock_mono_ms() - from;
	assert_in_range(took, 950, 1150);
	close(fd);
}

static void
a_slow_reader_is_closed_and_others_are_served(void **state)
{
	char big[1100] = "42[\"flood\",\"";
	int slow = joined(), fine = joined();

	memset(big + strlen(big), 'x', 1000);
	strcat(big, "\"]");
	text(slow, big);
	for (int i = 0; i < 3; i++) {
		text(fine, "42[\"message\",1]");
		assert_string_equal(next_packet(fine), "42[\"message-back\",1]");
	}
	for (;;) { /* what was under way, then the end */
		char bytes[4096];
		struct pollfd pfd = {slow, POLLIN, 0};

		assert_int_equal(poll(&pfd, 1, 3000), 1);
		if (recv(slow, bytes, sizeof(bytes), 0) <= 0)
			break;
	}
	close(slow);
	close(fine);
}

/* The queue of 300 kB is full at once; the client never reads, so it never is writable. */
static void
a_reader_that_never_reads_is_cut_all_the_same(void **state)
{
	char big[1100] = "42[\"flood\",\"";
	int fd = joined();

	memset(big + strlen(big), 'x', 1000);
	strcat(big, "\"]");
	text(fd, big);
	assert_closed(fd);
}

static void
what_arrives_in_one_read_is_answered_without_delay(void **state)
{
	uint8_t burst[40 * 32];
	size_t n = 0;
	int fd = joined();
	char want[64];

	for (int i = 0; i < 40; i++) {
		char packet[32];
		int len = snprintf(packet, sizeof(packet), "42[\"message\",%d]", i);

		burst[n++] = 0x81;
		burst[n++] = (uint8_t)(0x80 | len);
		memset(burst + n, 0, 4); /* a mask of zeros */
		memcpy(burst + n + 4, packet, (size_t)len);
		n += 4 + (size_t)len;
	}
	assert_int_equal(send(fd, burst, n, MSG_NOSIGNAL), n);
	for (int i = 0; i < 40; i++) {
		snprintf(want, sizeof(want), "42[\"message-back\",%d]", i);
		assert_string_equal(next_packet(fd), want);
	}
	close(fd);
}

static void
text_that_is_not_utf8_is_closed_with_1007(void **state)
{
	int fd = joined();

	text(fd, "42[\"message\",\"\xff\"]");
	assert_string_equal(next_packet(fd), "closed 1007");
	close(fd);
	fd = joined();
	ws_send(fd, 0x01, "42[\"message\",\"\xc3", 15); /* a character across two frames is fine */
	ws_send(fd, 0x80, "\xa9\"]", 3);
	assert_string_equal(next_packet(fd), "42[\"message-back\",\"\xc3\xa9\"]");
	close(fd);
}

/* The last test: the server is gone after it. */
static void
drain_says_1001_after_what_waits_and_lets_requests_end(void **state)
{
	int ws = joined(), idle = dial(), busy = dial(), status = -1;

	say(busy, "POST /v1/x HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\nhe");
	say(idle, "GET /v1/x?q=a HTTP/1.1\r\nHost: x\r\n\r\n");
	assert_non_null(strstr(answer_of(idle), "\r\n\r\na"));
	text(ws, "42[\"message\",1]");
	assert_string_equal(next_packet(ws), "42[\"message-back\",1]");
	assert_int_equal(kill(server, SIGTERM), 0);
	assert_string_equal(next_packet(ws), "closed 1001");
	assert_string_equal(answer_of(idle), "");
	say(busy, "llo");
	assert_memory_equal(answer_of(busy), "HTTP/1.1 503", 12);
	assert_string_equal(answer_of(busy), "");
	close(ws);
	close(idle);
	close(busy);
	assert_int_equal(waitpid(server, &status, 0), server);
	server = 0;
	assert_int_equal(status, 0);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(events_acks_and_attachments),
	    cmocka_unit_test(frames_in_pieces_and_pings_of_the_websocket),
	    cmocka_unit_test(namespaces),
	    cmocka_unit_test(violations_close_the_connection),
	    cmocka_unit_test(heartbeat_and_connect_timeout),
	    cmocka_unit_test(a_slow_reader_is_closed_and_others_are_served),
	    cmocka_unit_test(a_reader_that_never_reads_is_cut_all_the_same),
	    cmocka_unit_test(what_arrives_in_one_read_is_answered_without_delay),
	    cmocka_unit_test(text_that_is_not_utf8_is_closed_with_1007),
	    cmocka_unit_test(drain_says_1001_after_what_waits_and_lets_requests_end),
	};

	cmocka_set_message_output(CM_OUTPUT_TAP);
	return cmocka_run_group_tests(tests, start, stop);
}
