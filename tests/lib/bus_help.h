/* SPDX-License-Identifier: ISC */
/*
 * bus_help: what the contract tests of the bus share: a real hub in a process of its own
 * (the test program executed again), two sides of a bus, calls that remember their answer.
 * Included once by each, after cmocka.h.
 */
#ifndef PALAVER_TESTS_BUS_HELP_H
#define PALAVER_TESTS_BUS_HELP_H

#include <signal.h>
#include <sys/socket.h>
#include <sys/wait.h>

#include "bus/local.h"
#include "hub/hub.h"
#include "lib/child.h"
#include "lib/loop.h"
#include "model/error.h"

#pragma GCC diagnostic ignored "-Wunused-function" /* not every file needs all of it */

#define CNV  "cnv_01234567890123456789abcdef"
#define CNV2 "cnv_01234567890123456789abcdeg"
#define USR  "usr_01234567890123456789abcdef"
#define MAX  5000
#define OFFLINE_DELAY 300 /* ms */

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
	int cast_manys;
	size_t cast_ids; /* conversations in the last of them */
	int presences;
	char presence[160]; /* "user state" of all of them, in order */
	int64_t left_ms;    /* of the last */
	bool tells_nobody;  /* does not confirm */
	int announced;
	char announcements[8][16]; /* the first ones, as text */
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
	ch.conf->presence_offline_delay = OFFLINE_DELAY;
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

static void
on_announced(void *arg, const void *payload, size_t len)
{
	struct side *s = arg;

	if (s->announced < 8)
		snprintf(s->announcements[s->announced], 16, "%.*s", (int)len,
		    (const char *)payload);
	s->announced++;
}

static void
on_cast_many(void *arg, const char (*conversations)[ID_MAX], size_t count, const char *sender,
    const char *payload, size_t len)
{
	struct side *s = arg;

	s->cast_manys++;
	s->cast_ids = count;
	str_copy(s->cast, sizeof(s->cast), sender);
	assert_int_equal(len, 2);
	assert_memory_equal(payload, "hi", 2);
}

static void
on_presence(void *arg, const char *user, enum presence p, int64_t left_ms)
{
	static const char *const names[] = {"offline", "away", "online"};
	struct side *s = arg;
	size_t len = strlen(s->presence);

	s->presences++;
	snprintf(s->presence + len, sizeof(s->presence) - len, "%s%s %s", len ? ", " : "", user,
	    names[p]);
	s->left_ms = left_ms;
	if (!s->tells_nobody)
		bus_presence_told(s->bus, user, p);
}

static const struct bus_handler handler = {.event = on_event,
    .cast = on_cast,
    .state = on_state,
    .told = on_told,
    .peer = on_peer,
    .announced = on_announced,
    .cast_many = on_cast_many,
    .presence = on_presence};

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
	uint64_t first, last;
	size_t abouts;
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
	a->last = w->count ? w->events[w->count - 1]->seq : 0;
	a->abouts = w->abouts;
	for (size_t i = 1; i < w->count; i++)
		assert_true(w->events[i - 1]->seq < w->events[i]->seq);
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

/* Runs the tests, or the hub if that is what this process was executed for. */
static int
bus_main(int argc, char **argv, int (*run)(void))
{
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
	failed = run();
	snprintf(cmd, sizeof(cmd), "rm -rf %s", dir);
	return system(cmd) != 0 ? 99 : failed;
}

#endif
