/* SPDX-License-Identifier: ISC */
/*
 * crash_states: the way of a message through spool, hub log, journal position and store is
 * recorded, and then a crash at each of its writes and syncs is played: kill -9, which
 * leaves what was written, and a loss of power, which leaves what was synced and any part of
 * the rest (crash_disk.h).  From each state the server's own code recovers, the clients send
 * again what was not acknowledged, and then:
 * - each acknowledged message is in the store once, with the id and number it was acknowledged
 * with;
 * - each message that was sent again is there once, as it was acknowledged then;
 * - no number that was shown to a client has another message, though after a loss of power
 *   the clock may be an hour before or behind;
 * - after a kill -9 the numbers have no holes.
 *
 * CRASH_STATES (2,000): states at least; CRASH_SEED (1); CRASH_LOG: shows the logs.  The steps of
 * a message are those of chat/send.c and archiver.c; what is called is their journal, hub and
 * store.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "crash_disk.h"
#include "crash_server.h"
#include "lib/log.h"
#include "lib/loop.h"

#define STATES_A_MESSAGE 48 /* about: 12 ops, 4 states each */
#define PARTS            6
#define RESEND           12 /* acknowledged ones that are sent again all the same */

static unsigned int message_count = 1; /* in use */
static pid_t owner;                    /* of the directories; a part that fails is another */
static char root[PATH_SIZE], work[PATH_SIZE], boots[2][PATH_SIZE];

/* ---- the recorded run ---- */

static void
make_messages(uint64_t *state)
{
	for (unsigned int n = 0; n < MESSAGES; n++) {
		struct message *m = &messages[n];

		m->conv = (unsigned int)(disk_random(state) % CONVS);
		m->sender = (unsigned int)(disk_random(state) % SENDERS);
		snprintf(m->client_id, sizeof(m->client_id), "00000000-0000-4000-8000-%012u", n);
		m->sent_op = m->seen_op = m->acked_op = NEVER;
	}
}

/*
 * A few messages at once, in one slot; now and then one of before again, as by a client that
 * did not hear the answer.
 */
static void
burst(struct server *s, unsigned int *next, uint64_t *state)
{
	struct send *ops[8];
	size_t count = 0, want = 1 + disk_random(state) % 5;
	unsigned int slot = (unsigned int)(disk_random(state) % s->slots);

	if (*next > 10 && disk_random(state) % 3 == 0) {
		struct message *m = &messages[*next - 1 - disk_random(state) % 8];

		ops[count] = send_begin(s, slot, make_event(m), NULL);
		count += ops[count] != NULL;
	}
	while (want-- && *next < message_count) {
		messages[*next].sent_op = disk_ops();
		ops[count++] = send_begin(s, slot, make_event(&messages[(*next)++]), NULL);
	}
	number_all(s, ops, count);
	append_all(s, ops, count);
}

static void
record(uint64_t seed)
{
	struct server s;
	unsigned int next = 0, round = 0;

	make_messages(&seed);
	server_open(&s, root, SLOTS, boots[0]);
	disk_record(root);
	recording = true;
	while (next < message_count) {
		unsigned int slot = (unsigned int)(disk_random(&seed) % SLOTS);

		burst(&s, &next, &seed);
		if (disk_random(&seed) % 2)
			burst(&s, &next, &seed);
		wait_for_journal();
		if (disk_random(&seed) % 3 == 0)
			server_archive(&s, 1 + disk_random(&seed) % 20);
		if (++round % 9 == 0) { /* a worker is restarted, and lets go what is archived */
			journal_writer_close(&s.writers[slot]);
			open_writer(&s, slot);
		}
		if (round % 7 == 0) {
			window_trim(&s.window, clock_mono_ms() + 2 * WINDOW_KEEP_MS);
			assert_int_equal(hublog_compact(s.log, &s.window, &s.roster), 0);
		}
	}
	recording = false;
	disk_stop();
	server_close(&s);
}

/* ---- a state ---- */

static void
resend(struct server *s, size_t at, uint64_t *state)
{
	struct send *ops[MESSAGES];
	size_t count = 0, again = RESEND;

	for (unsigned int i = 0; i < message_count; i++) {
		struct message *m = &messages[i];

		m->again = m->sent_op <= at && m->acked_op > at;
		if (m->acked_op <= at && again && disk_random(state) % (MESSAGES / RESEND) == 0) {
			m->again = true;
			again--;
		}
		if (!m->again)
			continue;
		ops[count] = send_begin(
		    s, (unsigned int)(disk_random(state) % s->slots), make_event(m), NULL);
		count += ops[count] != NULL;
	}
	number_all(s, ops, count);
	append_all(s, ops, count);
	wait_for_journal();
}

static void
check_event(const struct event *ev, uint64_t last)
{
	struct message *m = message_of(ev);

	assert_true(ev->seq > last);
	m->found++;
	assert_string_equal(ev->client_id, m->client_id);
	if (m->again) {
		assert_string_equal(ev->id, m->again_id);
		assert_int_equal(ev->seq, m->again_seq);
	}
}

/* Numbers that were shown are never given to another message. */
static void
check_number(const struct event *ev, size_t at)
{
	for (unsigned int i = 0; i < message_count; i++) {
		const struct message *m = &messages[i];

		if (m->seen_op <= at && m->seq == ev->seq &&
		    !strcmp(conversations[m->conv], ev->conversation))
			assert_string_equal(m->id, ev->id);
	}
}

static void
check_conversation(struct server *s, unsigned int conv, size_t at, bool killed)
{
	uint64_t last = 0;
	bool more = true;

	while (more) {
		struct store_req *req = store_req_new(STORE_EVENTS, NULL, NULL);

		str_copy(req->id, sizeof(req->id), conversations[conv]);
		req->after = last;
		req->limit = STORE_PAGE_MAX;
		assert_int_equal(store_run(&store_sqlite, s->store, req), 0);
		for (size_t i = 0; i < req->event_count; i++) {
			check_event(req->events[i], last);
			check_number(req->events[i], at);
			if (killed && last)
				assert_int_equal(req->events[i]->seq, last + 1);
			last = req->events[i]->seq;
		}
		more = req->flag;
		store_req_free(&req);
	}
}

static void
check_state(struct server *s, size_t at, bool killed)
{
	for (unsigned int i = 0; i < message_count; i++)
		messages[i].found = 0;
	for (unsigned int c = 0; c < CONVS; c++)
		check_conversation(s, c, at, killed);
	for (unsigned int i = 0; i < message_count; i++) {
		struct message *m = &messages[i];

		if (m->acked_op <= at || m->again)
			assert_int_equal(m->found, 1);
		assert_true(m->found <= 1);
		if (m->acked_op > at || !m->again)
			continue;
		assert_string_equal(m->again_id, m->id);
		assert_int_equal(m->again_seq, m->seq);
	}
}

/* Nobody waits for anybody: archiver, replay and clients in any order. */
static void
recover(size_t at, bool killed, uint64_t *state)
{
	unsigned int slots = disk_random(state) % 4 ? SLOTS : 1;
	bool archive_first = disk_random(state) & 1, resend_first = disk_random(state) & 1;
	struct server s;

	wall_offset = killed ? 0 : ((time_t)(disk_random(state) % 3) - 1) * 3600;
	server_open(&s, work, slots, boots[!killed]);
	assert_int_equal(s.lifted, !killed);
	if (archive_first)
		server_archive(&s, 64);
	if (resend_first)
		resend(&s, at, state);
	server_replay(&s);
	if (!resend_first)
		resend(&s, at, state);
	server_archive(&s, 64);
	server_offer(&s);
	check_state(&s, at, killed);
	server_close(&s);
	wall_offset = 0;
}

/* ---- all of them ---- */

static int
compare_u32(const void *a, const void *b)
{
	uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;

	return x < y ? -1 : x > y;
}

static size_t
distinct(uint32_t *sums, size_t count)
{
	size_t n = 0;

	qsort(sums, count, sizeof(*sums), compare_u32);
	for (size_t i = 0; i < count; i++)
		n += i == 0 || sums[i] != sums[i - 1];
	return n;
}

static size_t
number_from(const char *name, size_t standard)
{
	const char *text = getenv(name);

	return text ? strtoul(text, NULL, 10) : standard;
}

/* Numbers states; the returned one says what was left of the disk. */
static bool
make_state(enum disk_op op, size_t i, uint64_t *rnd, uint32_t *sum_r)
{
	uint64_t zero = 0;
	bool kill = op != DISK_SYNC && (i == 0 || (i == 1 && op == DISK_WRITE));

	if (kill)
		*sum_r = disk_make_killed(work, i == 1, rnd);
	else
		*sum_r = disk_make_power(work, i == 0 ? &zero : rnd);
	return kill;
}

/* What the processes that share the states have done; in shared memory. */
struct part {
	size_t count, killed;
	uint32_t *sums; /* room for all states in each */
};

/* The states after every PARTS-th op, from `which` on. */
static void
play(struct part *p, unsigned int which, size_t each, size_t seed)
{
	size_t at = 0;
	enum disk_op op;

	snprintf(work + strlen(work), sizeof(work) - strlen(work), "%u", which);
	mkdir(work, 0700);
	disk_rewind();
	while (disk_step(&op)) {
		uint64_t rnd = seed * 1000003 + at;

		if (at++ % PARTS != which)
			continue;
		for (size_t i = 0; i < each; i++) {
			bool kill = make_state(op, i, &rnd, &p->sums[p->count]);

			p->count++;
			p->killed += kill;
			/* What is torn was not finished: the op has not happened. */
			recover(kill && i == 1 ? at - 1 : at, kill, &rnd);
		}
	}
}

/* Each part in a process: they mostly wait for the kernel to end their inotify watches. */
static void
play_all(struct part *parts, size_t each, size_t seed)
{
	pid_t pids[PARTS];
	int status, failed = 0;

	for (unsigned int i = 0; i < PARTS; i++) {
		pids[i] = fork();
		assert_true(pids[i] >= 0);
		if (pids[i] > 0)
			continue;
		ev_loop_fork(loop_ev());
		play(&parts[i], i, each, seed);
		_exit(0);
	}
	for (unsigned int i = 0; i < PARTS; i++)
		failed += waitpid(pids[i], &status, 0) != pids[i] || status != 0;
	assert_int_equal(failed, 0);
}

static void *
shared(size_t size)
{
	void *p = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);

	assert_true(p != MAP_FAILED);
	return p;
}

static void
every_crash_is_recovered_from(void **state)
{
	size_t want = number_from("CRASH_STATES", 2000), seed = number_from("CRASH_SEED", 1);
	size_t count = 0, killed = 0, each, room;
	struct part *parts = shared(PARTS * sizeof(*parts));
	uint32_t *sums;

	message_count = (unsigned int)(want / STATES_A_MESSAGE);
	message_count = message_count < 40         ? 40
			: message_count > MESSAGES ? MESSAGES
						   : message_count;
	record(seed);
	each = want / disk_ops() + 1;
	room = disk_ops() * each;
	sums = shared(PARTS * room * sizeof(*sums));
	for (unsigned int i = 0; i < PARTS; i++)
		parts[i].sums = sums + i * room;
	play_all(parts, each, seed);
	for (unsigned int i = 0; i < PARTS; i++) {
		memmove(sums + count, parts[i].sums, parts[i].count * sizeof(*sums));
		count += parts[i].count;
		killed += parts[i].killed;
	}
	print_message("%zu ops recorded; %zu states recovered from, %zu of them different; "
		      "%zu by kill -9, %zu by loss of power\n",
	    disk_ops(), count, distinct(sums, count), killed, count - killed);
	assert_true(count >= want);
	munmap(sums, PARTS * room * sizeof(*sums));
	munmap(parts, PARTS * sizeof(*parts));
	disk_fini();
}

/*
 * Before, the hub knew no client id after a loss of power, and the archive not yet: a client
 * that had not heard its acknowledgement got a second message for the same id.
 */
static void
a_repetition_after_a_power_loss_makes_no_second_message(void **state)
{
	char log[PATH_SIZE + 20];
	uint64_t seed = 1;
	struct server s;
	struct send *op;

	make_messages(&seed);
	server_open(&s, root, SLOTS, boots[0]);
	recording = true; /* its id and number are kept */
	op = send_begin(&s, 0, make_event(&messages[0]), NULL);
	number_all(&s, &op, 1);
	append_all(&s, &op, 1);
	wait_for_journal();
	recording = false;
	server_close(&s);
	snprintf(log, sizeof(log), "%s/hub.log", root);
	assert_int_equal(unlink(log), 0);

	server_open(&s, root, SLOTS, boots[1]);
	op = send_begin(&s, 1, make_event(&messages[0]), NULL);
	assert_non_null(op); /* it is not archived yet */
	number_all(&s, &op, 1);
	append_all(&s, &op, 1);
	wait_for_journal();
	server_archive(&s, 64);
	assert_string_equal(messages[0].again_id, messages[0].id);
	assert_int_equal(messages[0].again_seq, messages[0].seq);
	server_close(&s);
}

/* ---- life ---- */

static void
write_boot(char *path, const char *id)
{
	FILE *f = fopen(path, "w");

	assert_non_null(f);
	fprintf(f, "%s\n", id);
	fclose(f);
}

static int
setup(void **state)
{
	static char base[PATH_SIZE / 2];

	owner = getpid();
	memset(messages, 0, sizeof(messages));
	snprintf(base, sizeof(base), "%s/palaver-crash.XXXXXX",
	    access("/dev/shm", W_OK) == 0 ? "/dev/shm" : "/tmp");
	if (!mkdtemp(base))
		return -1;
	*state = base;
	snprintf(root, sizeof(root), "%s/recorded", base);
	snprintf(work, sizeof(work), "%s/state", base);
	mkdir(root, 0700);
	mkdir(work, 0700);
	snprintf(boots[0], sizeof(boots[0]), "%s/boot", base);
	snprintf(boots[1], sizeof(boots[1]), "%s/next-boot", base);
	write_boot(boots[0], "11111111-1111-1111-1111-111111111111");
	write_boot(boots[1], "22222222-2222-2222-2222-222222222222");
	return 0;
}

static int
teardown(void **state)
{
	char command[PATH_SIZE + 20];

	if (getpid() != owner)
		return 0;
	snprintf(command, sizeof(command), "rm -rf '%s'", (const char *)*state);
	return system(command);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test_setup_teardown(
		a_repetition_after_a_power_loss_makes_no_second_message, setup, teardown),
	    cmocka_unit_test_setup_teardown(every_crash_is_recovered_from, setup, teardown),
	};

	cmocka_set_message_output(CM_OUTPUT_TAP);
	if (!getenv("CRASH_LOG"))
		log_set_fd(open("/dev/null", O_WRONLY | O_CLOEXEC));
	loop_init();
	return cmocka_run_group_tests(tests, NULL, NULL);
}
