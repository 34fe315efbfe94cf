/* SPDX-License-Identifier: ISC */
/* bus: the rules of bus.h, for every implementation; local against a real hub process. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include <signal.h>
#include <sys/socket.h>
#include <sys/wait.h>

#include "bus/local.h"
#include "hub/hub.h"
#include "lib/child.h"
#include "lib/loop.h"
#include "model/error.h"

#define CNV  "cnv_01234567890123456789abcdef"
#define CNV2 "cnv_01234567890123456789abcdeg"
#define USR  "usr_01234567890123456789abcdef"
#define MAX  5000

static char dir[64], *self;
static pid_t hub;
static struct imsg_chan *to_hub;

/* One side: a bus, and all that it was told. */
struct side {
	struct bus *bus;
	unsigned int slot;
	uint64_t seqs[MAX];
	char ids[MAX][ID_MAX];
	int events, casts, ups, downs;
	int told, peer_ups, peer_downs;
	unsigned int next_told; /* messages count up from 0 */
	char cast[ID_MAX];
};
static struct side one = {.slot = 0}, two = {.slot = 1};

/* ---- the hub, in a process of its own: this program executed again ---- */

static void
hub_message(void *arg, struct imsg *m)
{
	struct child *ch = arg;

	ch->message(ch, m);
}

static void
hub_closed(void *arg)
{
	_exit(0);
}

static const struct imsg_handler hub_handler = {hub_message, hub_closed};

static int
run_hub(const char *state_dir)
{
	struct child ch = {.role = "hub"};
	char *error;

	loop_init();
	ch.conf = conf_load(NULL, &error);
	free(ch.conf->state_dir);
	ch.conf->state_dir = xstrdup(state_dir);
	ch.chan = imsg_chan_new(CHILD_FD, &hub_handler, &ch);
	return hub_main(&ch);
}

static void
ignore_message(void *arg, struct imsg *m)
{
}

static void
ignore_closed(void *arg)
{
	imsg_chan_free(&to_hub);
}

static const struct imsg_handler master_handler = {ignore_message, ignore_closed};

static void
start_hub(void)
{
	int sv[2];

	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, sv), 0);
	hub = fork();
	if (hub == 0) {
		dup2(sv[1], CHILD_FD);
		execl(self, self, "hub", dir, (char *)NULL);
		_exit(127);
	}
	close(sv[1]);
	to_hub = imsg_chan_new(sv[0], &master_handler, NULL);
}

static void
join(struct side *s)
{
	struct buf b;
	int sv[2];

	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, sv), 0);
	buf_init(&b);
	pack_u32(&b, s->slot);
	imsg_send(to_hub, CHAN_HUB, 0, sv[0], b.data, b.len);
	buf_fini(&b);
	bus_local_set_fd(s->bus, sv[1]);
}

static void
kill_hub(void)
{
	imsg_chan_free(&to_hub);
	kill(hub, SIGKILL);
	waitpid(hub, NULL, 0);
}

/* ---- what a side is told ---- */

static void
on_event(void *arg, struct event *ev)
{
	struct side *s = arg;

	assert_true(s->events < MAX);
	s->seqs[s->events] = ev->seq;
	strcpy(s->ids[s->events++], ev->id);
}

static void
on_cast(void *arg, const char *conversation, const char *sender, const char *payload, size_t len)
{
	struct side *s = arg;

	s->casts++;
	str_copy(s->cast, sizeof(s->cast), sender);
	assert_int_equal(len, 2);
	assert_memory_equal(payload, "hi", 2);
}

static void
on_state(void *arg, bool up)
{
	struct side *s = arg;

	if (up)
		s->ups++;
	else
		s->downs++;
}

static void
on_told(void *arg, unsigned int from, const void *data, size_t len)
{
	struct side *s = arg;
	unsigned int n;

	assert_int_equal(from, 1 - s->slot);
	assert_true(len >= sizeof(n));
	memcpy(&n, data, sizeof(n));
	assert_int_equal(n, s->next_told++);
	s->told++;
}

static void
on_peer(void *arg, unsigned int slot, bool up)
{
	struct side *s = arg;

	assert_int_equal(slot, 1 - s->slot);
	if (up)
		s->peer_ups++;
	else
		s->peer_downs++;
}

static const struct bus_handler handler = {
    .event = on_event, .cast = on_cast, .state = on_state, .told = on_told, .peer = on_peer};

static int
setup(void **state)
{
	char cmd[96];

	snprintf(cmd, sizeof(cmd), "rm -f %s/hub.log", dir);
	if (system(cmd) != 0)
		return -1;
	loop_init();
	start_hub();
	memset(&one, 0, sizeof(one));
	memset(&two, 0, sizeof(two));
	two.slot = 1;
	one.bus = bus_local_new(&handler, &one);
	two.bus = bus_local_new(&handler, &two);
	join(&one);
	join(&two);
	return 0;
}

static int
teardown(void **state)
{
	bus_close(&one.bus);
	bus_close(&two.bus);
	kill_hub();
	return 0;
}

/* Runs the loop until *count reaches want, 10 s at most. */
static void
run_until(const int *count, int want)
{
	int64_t end = clock_mono_ms() + 10000;

	while (*count < want) {
		if (clock_mono_ms() > end)
			fail_msg("waited in vain: %d of %d", *count, want);
		ev_run(loop_ev(), EVRUN_ONCE);
	}
}

/* ---- calls that remember their answer ---- */

struct answer {
	int err;
	bool duplicate;
	uint64_t seq, floor;
	char id[ID_MAX];
	size_t count;
	bool more;
	uint64_t first;
};
static int answers;

static void
on_submit(void *arg, const struct bus_submit_result *res)
{
	struct answer *a = arg;

	a->err = res->err;
	a->duplicate = res->duplicate;
	if (res->event) {
		a->seq = res->event->seq;
		strcpy(a->id, res->event->id);
	}
	answers++;
}

static void
on_subscribe(void *arg, int err, uint64_t head)
{
	struct answer *a = arg;

	a->err = err;
	a->seq = head;
	answers++;
}

static void
on_window(void *arg, const struct bus_window *w)
{
	struct answer *a = arg;

	a->err = w->err;
	a->seq = w->head;
	a->floor = w->floor;
	a->count = w->count;
	a->more = w->more;
	a->first = w->count ? w->events[0]->seq : 0;
	answers++;
}

static void
submit(struct side *s, const char *conv, const char *client_id, const char *data, struct answer *a)
{
	struct event *ev =
	    event_new(EVENT_MESSAGE_CREATED, conv, USR, client_id, data, strlen(data));

	memset(a, 0, sizeof(*a));
	assert_int_equal(bus_submit(s->bus, ev, on_submit, a), 0);
	event_unref(&ev);
}

static void
wait_answers(int n)
{
	run_until(&answers, n);
	answers = 0;
}

static uint64_t
subscribe(struct side *s, const char *conv)
{
	struct answer a = {0};

	assert_int_equal(bus_subscribe(s->bus, conv, on_subscribe, &a), 0);
	wait_answers(1);
	assert_int_equal(a.err, 0);
	return a.seq;
}

/* ---- rules ---- */

static void
numbers_have_no_hole_under_two_submitters(void **state)
{
	static struct answer a[400];
	char id[16];
	uint64_t lowest = UINT64_MAX;

	subscribe(&one, CNV);
	subscribe(&two, CNV);
	for (int i = 0; i < 400; i++) {
		snprintf(id, sizeof(id), "c%d", i);
		submit(i % 2 ? &one : &two, CNV, id, "{}", &a[i]);
	}
	wait_answers(400);
	run_until(&one.events, 400);
	run_until(&two.events, 400);
	for (int i = 0; i < 400; i++) {
		assert_int_equal(a[i].err, 0);
		lowest = a[i].seq < lowest ? a[i].seq : lowest;
	}
	for (int i = 0; i < 400; i++) {
		assert_true(one.seqs[i] == lowest + (uint64_t)i); /* in order, none twice */
		assert_true(two.seqs[i] == one.seqs[i]);
		assert_string_equal(two.ids[i], one.ids[i]);
	}
	assert_true(subscribe(&one, CNV) == lowest + 399);
}

static void
a_client_id_makes_one_event(void **state)
{
	struct answer first, again, other;

	submit(&one, CNV, "x", "{}", &first);
	submit(&two, CNV, "x", "{}", &again);
	submit(&two, CNV, "x", "{\"other\":1}", &other);
	wait_answers(3);
	if (first.duplicate) { /* the hub may have heard the second one first */
		struct answer t = first;

		first = again;
		again = t;
	}
	assert_int_equal(first.err, 0);
	assert_false(first.duplicate);
	assert_true(again.duplicate);
	assert_true(again.seq == first.seq);
	assert_string_equal(again.id, first.id);
	assert_int_equal(other.err, ERR_ID_REUSED);
}

static void
unsubscribed_is_not_told(void **state)
{
	struct answer a;

	subscribe(&one, CNV);
	subscribe(&two, CNV);
	bus_unsubscribe(two.bus, CNV);
	subscribe(&two, CNV2); /* its answer comes after the unsubscribing */
	submit(&one, CNV, "a", "{}", &a);
	wait_answers(1);
	submit(&two, CNV2, "b", "{}", &a);
	wait_answers(1);
	run_until(&two.events, 1);
	run_until(&one.events, 1);
	assert_int_equal(two.events, 1);
	assert_string_equal(two.ids[0], a.id);
}

static void
windows_page_and_know_their_floor(void **state)
{
	struct answer a[10], w = {0};
	uint64_t base;
	char id[8];

	for (int i = 0; i < 10; i++) {
		snprintf(id, sizeof(id), "%d", i);
		submit(&one, CNV, id, "{}", &a[i]);
	}
	wait_answers(10);
	base = a[0].seq;
	bus_window(one.bus, CNV, base + 2, 0, 4, on_window, &w);
	wait_answers(1);
	assert_true(w.count == 4 && w.first == base + 3 && w.more && w.seq == base + 9);
	assert_true(w.floor == base - 1);
	bus_window(one.bus, CNV, 0, base + 5, 3, on_window, &w);
	wait_answers(1);
	assert_true(w.count == 3 && w.first == base + 2 && w.more);
	bus_window(one.bus, CNV2, 5, 0, 3, on_window, &w);
	wait_answers(1);
	assert_true(w.count == 0 && w.seq == 0 && w.floor > 5); /* unknown: ask the store */
}

static void
new_members_hear_of_their_conversation(void **state)
{
	static const char data[] = "{\"members\":[{\"user_id\":\"" USR "\"}]}";
	struct event *ev;
	struct answer a = {0};

	bus_user_online(two.bus, USR, true);
	subscribe(&two, CNV2);
	ev = event_new(EVENT_CONVERSATION_CREATED, CNV, USR, "", data, strlen(data));
	bus_submit(one.bus, ev, on_submit, &a);
	wait_answers(1);
	run_until(&two.events, 1);
	assert_string_equal(two.ids[0], ev->id);
	assert_int_equal(one.events, 0);
	event_unref(&ev);
}

static void
casts_reach_subscribers(void **state)
{
	subscribe(&one, CNV);
	subscribe(&two, CNV);
	bus_cast(one.bus, CNV, USR, "hi", 2);
	run_until(&two.casts, 1);
	run_until(&one.casts, 1);
	assert_string_equal(two.cast, USR);
}

static void
a_lost_connection_answers_everybody_once(void **state)
{
	static struct answer a[50];

	for (int i = 0; i < 50; i++)
		submit(&one, CNV, "", "{}", &a[i]);
	kill_hub();
	run_until(&one.downs, 1);
	assert_int_equal(answers, 50); /* all of them before state(false) */
	answers = 0;
	assert_int_equal(bus_subscribe(one.bus, CNV, on_subscribe, &a[0]), ERR_UNAVAILABLE);
	assert_false(bus_is_up(one.bus));
	start_hub();
	join(&one);
	assert_int_equal(one.ups, 2);
	submit(&one, CNV, "", "{}", &a[0]);
	wait_answers(1);
	assert_int_equal(a[0].err, 0);
}

/* Over many kills: no number for two messages, no message with two numbers. */
static void
numbers_survive_kill_9(void **state)
{
	static char id_of[200][ID_MAX];
	uint64_t base = 0;
	int sent = 0;

	for (int round = 0; round < 25; round++) {
		struct answer a[4];

		subscribe(&one, CNV);
		for (int i = 0; i < 4; i++) {
			char id[16];

			snprintf(id, sizeof(id), "r%d", sent + i);
			submit(&one, CNV, id, "{}", &a[i]);
		}
		for (int turns = round % 5; turns > 0; turns--)
			ev_run(loop_ev(), EVRUN_NOWAIT);
		kill_hub();
		run_until(&one.downs, round + 1);
		answers = 0;
		start_hub();
		join(&one);
		subscribe(&one, CNV);
		for (int i = 0; i < 4; i++) {
			char id[16];
			struct answer again;

			snprintf(id, sizeof(id), "r%d", sent + i);
			submit(&one, CNV, id, "{}", &again);
			wait_answers(1);
			assert_int_equal(again.err, 0);
			if (!base)
				base = again.seq;
			assert_true(again.seq == base + (uint64_t)(sent + i));
			if (!a[i].err && a[i].seq)
				assert_string_equal(again.id, a[i].id);
			strcpy(id_of[sent + i], again.id);
		}
		sent += 4;
	}
	for (int i = 0; i < one.events; i++)
		assert_string_equal(one.ids[i], id_of[one.seqs[i] - base]);
}

static void
tell(struct side *s, unsigned int slot, unsigned int n, size_t len)
{
	uint8_t *data = xcalloc(1, len);

	memcpy(data, &n, sizeof(n));
	bus_tell(s->bus, slot, data, len);
	free(data);
}

static void
workers_tell_each_other_in_order(void **state)
{
	run_until(&one.peer_ups, 1);
	run_until(&two.peer_ups, 1);
	for (unsigned int i = 0; i < 100; i++) {
		tell(&one, 1, i, 4 + i * 1000);
		tell(&two, 0, i, 4);
	}
	run_until(&one.told, 100);
	run_until(&two.told, 100);
	tell(&one, 7, 0, 4); /* nobody */
	tell(&one, 1, 100, 4);
	run_until(&two.told, 101);
	assert_int_equal(one.told, 100);
	assert_int_equal(one.peer_downs + two.peer_downs, 0);
}

/* Who is gone is named; after a new hub those that are there are named again. */
static void
workers_hear_who_is_there(void **state)
{
	run_until(&one.peer_ups, 1);
	run_until(&two.peer_ups, 1);
	bus_close(&two.bus);
	run_until(&one.peer_downs, 1);
	two.bus = bus_local_new(&handler, &two);
	join(&two);
	run_until(&one.peer_ups, 2);
	run_until(&two.peer_ups, 2);
	kill_hub();
	run_until(&one.downs, 1);
	start_hub();
	join(&one);
	join(&two);
	run_until(&one.peer_ups, 3);
	run_until(&two.peer_ups, 3);
	tell(&two, 0, 0, 4);
	run_until(&one.told, 1);
}

int
main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test_setup_teardown(
		numbers_have_no_hole_under_two_submitters, setup, teardown),
	    cmocka_unit_test_setup_teardown(a_client_id_makes_one_event, setup, teardown),
	    cmocka_unit_test_setup_teardown(unsubscribed_is_not_told, setup, teardown),
	    cmocka_unit_test_setup_teardown(windows_page_and_know_their_floor, setup, teardown),
	    cmocka_unit_test_setup_teardown(
		new_members_hear_of_their_conversation, setup, teardown),
	    cmocka_unit_test_setup_teardown(casts_reach_subscribers, setup, teardown),
	    cmocka_unit_test_setup_teardown(
		a_lost_connection_answers_everybody_once, setup, teardown),
	    cmocka_unit_test_setup_teardown(numbers_survive_kill_9, setup, teardown),
	    cmocka_unit_test_setup_teardown(workers_tell_each_other_in_order, setup, teardown),
	    cmocka_unit_test_setup_teardown(workers_hear_who_is_there, setup, teardown),
	};
	char cmd[80];
	int failed;

	if (argc == 3 && strcmp(argv[1], "hub") == 0)
		return run_hub(argv[2]);
	self = "/proc/self/exe";
	signal(SIGPIPE, SIG_IGN);
	strcpy(dir, "/tmp/palaver-bus-XXXXXX");
	if (!mkdtemp(dir))
		return 99;
	cmocka_set_message_output(CM_OUTPUT_TAP);
	failed = cmocka_run_group_tests(tests, NULL, NULL);
	snprintf(cmd, sizeof(cmd), "rm -rf %s", dir);
	return system(cmd) != 0 ? 99 : failed;
}
