/* SPDX-License-Identifier: ISC */
/*
 * archiver: moves the journal into the store, in batches, idempotently.  Archiver
 * process, loop thread; the store's own thread does the writing.
 *
 * One batch is under way at a time:
 *	archive_next   reads events from the journal
 *	archive_apply  has the store write them; repeats with back-off until it did
 *	applied        only then commits the journal's position and tells the bus, which
 *	               may now trim its windows
 * Dying anywhere in between, the next archiver reads the batch again, and the store
 * drops what it has by id.
 *
 * The hub hands over again what it holds and nobody reported as archived (a report can
 * be lost when either of the two dies): such events arrive by on_event and are applied
 * like a batch of the journal, without a commit.
 *
 * Uploaded files that nobody wants are sweep.c's.
 */
#include "archiver/archiver.h"

#include <stdlib.h>
#include <string.h>
#include <sysexits.h>

#include "archiver/sweep.h"
#include "bus/bus.h"
#include "bus/local.h"
#include "journal/journal.h"
#include "lib/log.h"
#include "lib/loop.h"
#include "model/error.h"
#include "store/store.h"

#define BATCH       500
#define BACKOFF_MIN 0.1
#define BACKOFF_MAX 5.0

struct archiver {
	struct child *child;
	struct store *store;
	struct sweep *sweep;
	struct journal_reader *reader;
	struct bus *bus;
	struct event **again; /* handed over by the hub, waiting for their batch */
	size_t again_count;
	bool busy;   /* a batch is under way */
	bool commit; /* it came from the journal */
	bool draining;
	double backoff;
	struct store_req *waiting; /* to be repeated by the timer */
	ev_timer retry;
	uint64_t archived;
};

static void archive_next(struct archiver *a);
static void applied(struct store_req *req);

static void
archive_apply(struct archiver *a, struct store_req *req)
{
	int err = store_submit(a->store, req);

	if (err < 0) {
		req->err = err;
		applied(req);
	}
}

static void
retry(struct ev_loop *l, ev_timer *w, int revents)
{
	struct archiver *a = w->data;
	struct store_req *req = a->waiting;

	(void)l, (void)revents;
	a->waiting = NULL;
	if (req)
		archive_apply(a, req);
	else
		archive_next(a);
}

static void
retry_later(struct archiver *a, const char *event, int err)
{
	a->backoff = a->backoff * 2 < BACKOFF_MIN ? BACKOFF_MIN : a->backoff * 2;
	if (a->backoff > BACKOFF_MAX)
		a->backoff = BACKOFF_MAX;
	log_error(event, "err=%s retry_s=%.1f", error_code(err), a->backoff);
	ev_timer_stop(loop_ev(), &a->retry);
	ev_timer_set(&a->retry, a->backoff, 0);
	ev_timer_start(loop_ev(), &a->retry);
}

/* The request is kept: the same events are applied again. */
static struct store_req *
same_again(struct archiver *a, struct store_req *old)
{
	struct store_req *req = store_req_new(STORE_APPLY, applied, a);

	req->events = old->events;
	req->event_count = old->event_count;
	req->flag = old->flag;
	old->events = NULL;
	old->event_count = 0;
	store_req_free(&old);
	return req;
}

static bool
deletes_a_message(const struct store_req *req)
{
	for (size_t i = 0; i < req->event_count; i++)
		if (req->events[i]->type == EVENT_MESSAGE_DELETED)
			return true;
	return false;
}

static void
applied(struct store_req *req)
{
	struct archiver *a = req->arg;
	int err = req->err;

	if (err) {
		a->waiting = same_again(a, req);
		retry_later(a, "archiver.store_failed", err);
		return;
	}
	a->backoff = 0;
	a->archived += req->event_count;
	if (a->commit) {
		err = journal_commit(a->reader);
		if (err) /* harmless: they come again and are dropped by id */
			log_warn("archiver.commit_failed", "err=%s", error_code(err));
	}
	bus_archived(a->bus, req->events, req->event_count);
	if (deletes_a_message(req))
		sweep_soon(a->sweep); /* it may have had files */
	log_debug("archiver.batch", "events=%zu total=%llu", req->event_count,
	    (unsigned long long)a->archived);
	store_req_free(&req);
	a->busy = false;
	archive_next(a);
}

static void
archive_batch(struct archiver *a, struct event **events, size_t count, bool commit)
{
	struct store_req *req = store_req_new(STORE_APPLY, applied, a);

	req->events = events;
	req->event_count = count;
	req->flag = a->child->conf->chat_keep_edits;
	a->busy = true;
	a->commit = commit;
	archive_apply(a, req);
}

static void
archive_next(struct archiver *a)
{
	int64_t began = clock_mono_ms();
	struct event **events;
	size_t count = 0;
	int err;

	if (a->busy)
		return;
	if (a->again_count) {
		events = a->again;
		count = a->again_count;
		a->again = NULL;
		a->again_count = 0;
		archive_batch(a, events, count, false);
		return;
	}
	events = xcalloc(BATCH, sizeof(struct event *));
	err = journal_read(a->reader, events, BATCH, &count);
	if (!err && count) {
		archive_batch(a, events, count, true);
		return;
	}
	free(events);
	if (err) {
		retry_later(a, "archiver.read_failed", err);
		return;
	}
	sweep_caught_up(a->sweep, began);
	if (a->draining)
		loop_stop();
}

static void
on_wake(void *arg)
{
	archive_next(arg);
}

/* ---- bus ---- */

static void
on_event(void *arg, struct event *ev)
{
	struct archiver *a = arg;

	if (a->again_count >= STORE_BATCH_MAX)
		return; /* the hub will offer it again */
	a->again = xrealloc(a->again, (a->again_count + 1) * sizeof(struct event *));
	a->again[a->again_count++] = event_ref(ev);
	archive_next(a);
}

static void
on_cast(void *arg, const char *conversation, const char *sender, const char *payload, size_t len)
{
}

static void
on_state(void *arg, bool up)
{
	log_info(up ? "bus.up" : "bus.down", "archived=%llu",
	    (unsigned long long)((struct archiver *)arg)->archived);
}

static const struct bus_handler bus_handler = {
    .event = on_event, .cast = on_cast, .state = on_state};

/* ---- life ---- */

static void
archiver_start(struct archiver *a)
{
	const struct conf *c = a->child->conf;
	char *path = xasprintf("%s/palaver.db", c->state_dir);
	char *dir = xasprintf("%s/spool", c->state_dir);
	struct journal_opts opts = {
	    .dir = dir, .slots = a->child->workers, .segment_size = (size_t)c->spool_segment};
	int err = store_sqlite.prepare(path);

	if (err)
		fatal(EX_TEMPFAIL, "archiver.no_store", "path=%s err=%s", log_quote(path),
		    error_code(err));
	a->store = store_open(&store_sqlite, path, 1);
	a->sweep = sweep_new(a->child, a->store);
	a->bus = bus_local_new(&bus_handler, a);
	err = journal_local_reader_open(&opts, on_wake, a, &a->reader);
	if (err)
		fatal(EX_TEMPFAIL, "archiver.no_journal", "dir=%s err=%s", log_quote(dir),
		    error_code(err));
	free(path);
	free(dir);
	child_ready(a->child);
}

/* Workers are gone by now; what they left is archived first, if the store is well. */
static void
drain(struct archiver *a)
{
	a->draining = true;
	if (a->waiting || a->backoff > 0)
		loop_stop();
	else
		archive_next(a);
}

static void
on_message(struct child *ch, struct imsg *m)
{
	struct archiver *a = ch->arg;

	if (m->type == CHAN_HUB) {
		bus_local_set_fd(a->bus, m->fd);
		m->fd = -1;
	} else if (m->type == CHAN_DRAIN) {
		drain(a);
	} else {
		log_warn("archiver.unknown_message", "type=%u", m->type);
	}
}

static void
on_reloaded(struct child *ch)
{
	sweep_reloaded(((struct archiver *)ch->arg)->sweep);
}

int
archiver_main(struct child *ch)
{
	struct archiver a = {.child = ch};
	int status;

	ch->message = on_message;
	ch->arg = &a;
	ev_init(&a.retry, retry);
	a.retry.data = &a;
	archiver_start(&a);
	ch->reloaded = on_reloaded;
	status = child_run(ch);
	ev_timer_stop(loop_ev(), &a.retry);
	journal_reader_close(&a.reader);
	bus_close(&a.bus);
	sweep_free(&a.sweep);
	store_close(&a.store);
	store_req_free(&a.waiting);
	for (size_t i = 0; i < a.again_count; i++)
		event_unref(&a.again[i]);
	free(a.again);
	return status;
}
