/* SPDX-License-Identifier: ISC */
/* crash_server: see crash_server.h. */
#include "crash_server.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cmocka.h>

#include "crash_disk.h"
#include "lib/log.h"
#include "lib/loop.h"
#include "model/error.h"

#define SEGMENT 8192
#define COMPACT (24 * 1024)

struct message messages[MESSAGES];
bool recording;
const char *const conversations[CONVS] = {"cnv_00000000000000000000000001",
    "cnv_00000000000000000000000002", "cnv_00000000000000000000000003"};

static int left; /* appends that are not durable yet */

time_t wall_offset;

int
clock_gettime(clockid_t clock, struct timespec *ts)
{
	int rc = (int)syscall(SYS_clock_gettime, clock, ts);

	if (rc == 0 && clock == CLOCK_REALTIME)
		ts->tv_sec += wall_offset;
	return rc;
}

/* ---- a server ---- */

static void
too_late(struct ev_loop *loop, ev_timer *t, int revents)
{
	fprintf(stderr, "nothing happened for 20 s\n");
	abort();
}

void
wait_for_journal(void)
{
	ev_timer guard;

	ev_timer_init(&guard, too_late, 20, 0);
	ev_timer_start(loop_ev(), &guard);
	while (left)
		loop_run();
	ev_timer_stop(loop_ev(), &guard);
}

static void
woken(void *arg)
{
}

void
open_writer(struct server *s, unsigned int slot)
{
	char spool[PATH_SIZE + 20];
	struct journal_opts o = {
	    .dir = spool, .slot = slot, .slots = s->slots, .segment_size = SEGMENT};

	snprintf(spool, sizeof(spool), "%s/spool", s->dir);
	assert_int_equal(journal_local_writer_open(&o, &s->writers[slot]), 0);
}

void
server_open(struct server *s, const char *dir, unsigned int slots, const char *boot)
{
	char spool[PATH_SIZE + 20], hub[PATH_SIZE + 20];
	struct journal_opts reader = {.dir = spool, .slots = slots, .segment_size = SEGMENT};
	struct hublog_opts o = {
	    .path = hub, .boot_id_path = boot, .compact_min = COMPACT, .spool = spool};

	memset(s, 0, sizeof(*s));
	snprintf(s->dir, sizeof(s->dir), "%s", dir);
	snprintf(spool, sizeof(spool), "%s/spool", dir);
	snprintf(hub, sizeof(hub), "%s/hub.log", dir);
	snprintf(s->db, sizeof(s->db), "%s/palaver.db", dir);
	s->slots = slots;
	assert_int_equal(hublog_open(&o, &s->window, &s->roster, &s->log, &s->lifted), 0);
	assert_int_equal(store_sqlite.prepare(s->db), 0);
	s->store = store_sqlite.open_handle(s->db);
	assert_non_null(s->store);
	sqlite3_wal_autocheckpoint(((struct sqlite_handle *)s->store)->db, 30);
	for (unsigned int i = 0; i < slots; i++)
		open_writer(s, i);
	assert_int_equal(journal_local_reader_open(&reader, woken, NULL, &s->reader), 0);
}

void
server_close(struct server *s)
{
	for (unsigned int i = 0; i < s->slots; i++)
		journal_writer_close(&s->writers[i]);
	journal_reader_close(&s->reader);
	store_sqlite.close_handle(s->store);
	hublog_close(&s->log);
	window_fini(&s->window);
	roster_fini(&s->roster);
}

/* ---- a send, as in chat/send.c ---- */

static void
remember(struct message *m, const struct event *ev)
{
	if (recording && !m->seq) {
		str_copy(m->id, sizeof(m->id), ev->id);
		m->seq = ev->seq;
	} else if (recording) {
		assert_string_equal(m->id, ev->id);
		assert_int_equal(m->seq, ev->seq);
	}
}

static void
acknowledge(struct message *m, const struct event *ev)
{
	remember(m, ev);
	if (recording && m->acked_op == NEVER)
		m->acked_op = disk_ops();
	if (!recording) {
		str_copy(m->again_id, sizeof(m->again_id), ev->id);
		m->again_seq = ev->seq;
	}
}

static struct event *
look_up(struct server *s, const struct event *ev)
{
	struct store_req *req = store_req_new(STORE_EVENT_BY_CLIENT_ID, NULL, NULL);
	struct event *found = NULL;
	int err;

	str_copy(req->id, sizeof(req->id), ev->conversation);
	str_copy(req->user_id, sizeof(req->user_id), ev->sender);
	req->text = xstrdup(ev->client_id);
	err = store_run(&store_sqlite, s->store, req);
	assert_true(err == 0 || err == ERR_NOT_FOUND);
	if (!err)
		found = event_ref(req->events[0]);
	store_req_free(&req);
	return found;
}

struct message *
message_of(const struct event *ev)
{
	unsigned int n = MESSAGES;

	assert_int_equal(sscanf(ev->data, "{\"text\":\"%u ", &n), 1);
	assert_true(n < MESSAGES);
	return &messages[n];
}

struct event *
make_event(const struct message *m)
{
	char data[400], sender[ID_MAX];
	unsigned int n = (unsigned int)(m - messages);
	int len =
	    snprintf(data, sizeof(data), "{\"text\":\"%u %0*d\"}", n, 1 + (int)(n * 37 % 250), 0);

	snprintf(sender, sizeof(sender), "usr_%026u", m->sender);
	return event_new(
	    EVENT_MESSAGE_CREATED, conversations[m->conv], sender, m->client_id, data, (size_t)len);
}

static void
send_end(struct send *op)
{
	event_unref(&op->ev);
	event_unref(&op->numbered);
	free(op);
}

struct send *
send_begin(struct server *s, unsigned int slot, struct event *ev, const uint64_t *ticket)
{
	struct send *op = xcalloc(1, sizeof(*op));
	struct event *first = look_up(s, ev);

	*op = (struct send){.m = message_of(ev), .s = s, .ev = ev, .slot = slot};
	if (ticket)
		op->ticket = *ticket;
	else if (!first)
		assert_int_equal(journal_intake(s->writers[slot], ev, &op->ticket), 0);
	if (!first)
		return op;
	if (ticket)
		assert_int_equal(journal_done(s->writers[slot], *ticket), 0);
	acknowledge(op->m, first);
	event_unref(&first);
	send_end(op);
	return NULL;
}

/* The hub's turn: commit_batch() of hub.c. */
void
number_all(struct server *s, struct send **ops, size_t count)
{
	for (size_t i = 0; i < count; i++) {
		struct window_conv *c;
		struct window_entry *e;
		bool duplicate;

		assert_int_equal(window_submit(&s->window, ops[i]->ev, clock_wall_ms(),
				     clock_mono_ms(), &c, &e, &duplicate),
		    0);
		ops[i]->numbered = event_ref(e->ev);
		if (!duplicate)
			hublog_event(s->log, e->ev);
	}
	assert_int_equal(hublog_write(s->log), 0);
	for (size_t i = 0; i < count; i++) {
		remember(ops[i]->m, ops[i]->numbered);
		if (recording && ops[i]->m->seen_op == NEVER)
			ops[i]->m->seen_op = disk_ops();
	}
}

static void
appended(void *arg, int err, enum journal_durable how)
{
	struct send *op = arg;

	assert_int_equal(err, 0);
	acknowledge(op->m, op->numbered);
	send_end(op);
	if (--left == 0)
		loop_stop();
}

void
append_all(struct server *s, struct send **ops, size_t count)
{
	for (size_t i = 0; i < count; i++) {
		left++;
		assert_int_equal(journal_append(s->writers[ops[i]->slot], ops[i]->ticket,
				     ops[i]->numbered, appended, ops[i]),
		    0);
	}
}

/* ---- replay and archive ---- */

struct replayed {
	struct server *s;
	unsigned int slot;
	struct send *ops[MESSAGES];
	size_t count;
};

static void
replay_one(void *arg, uint64_t ticket, struct event *ev)
{
	struct replayed *r = arg;
	struct send *op = send_begin(r->s, r->slot, event_ref(ev), &ticket);

	if (op)
		r->ops[r->count++] = op;
}

void
server_replay(struct server *s)
{
	for (unsigned int slot = 0; slot < s->slots; slot++) {
		struct replayed r = {.s = s, .slot = slot};

		assert_int_equal(journal_replay(s->writers[slot], replay_one, &r), 0);
		number_all(s, r.ops, r.count);
		append_all(s, r.ops, r.count);
		wait_for_journal();
	}
}

/* Nothing may be left out: that would be a promise broken. */
static void
apply(struct server *s, struct event **events, size_t count)
{
	struct store_req *req = store_req_new(STORE_APPLY, NULL, NULL);

	req->events = xcalloc(count, sizeof(struct event *));
	req->event_count = count;
	for (size_t i = 0; i < count; i++)
		req->events[i] = event_ref(events[i]);
	assert_int_equal(store_run(&store_sqlite, s->store, req), 0);
	assert_int_equal(req->id_out_count, 0);
	store_req_free(&req);
}

static void
archived(struct server *s, struct event **events, size_t count)
{
	for (size_t i = 0; i < count; i++) {
		window_archived(
		    &s->window, events[i]->conversation, events[i]->seq, clock_mono_ms());
		hublog_archived(s->log, events[i]->conversation, events[i]->seq);
	}
	assert_int_equal(hublog_write(s->log), 0);
}

void
server_archive(struct server *s, size_t batch)
{
	struct event *events[64];
	size_t count;

	for (;;) {
		assert_int_equal(journal_read(s->reader, events, batch, &count), 0);
		if (!count)
			return;
		apply(s, events, count);
		assert_int_equal(journal_commit(s->reader), 0);
		archived(s, events, count);
		for (size_t i = 0; i < count; i++)
			event_unref(&events[i]);
	}
}

/* offer_again() of hub.c: what the window has and nobody reported. */
void
server_offer(struct server *s)
{
	struct window_conv *c, *tmp;
	struct window_entry *e;

	HASH_ITER (hh, s->window.convs, c, tmp)
		for (e = c->entries; e; e = e->next)
			if (!e->archived)
				apply(s, &e->ev, 1);
}
