/* SPDX-License-Identifier: ISC */
/*
 * sweep: rounds, each of one or two passes, each of pages:
 *	ask      the store dooms what is old enough and names what is doomed
 *	remove   the bytes of these files, jobs of content.h
 *	forget   the store forgets those whose bytes are gone
 * A full page is followed by another.  A store that fails ends the round, a file that cannot
 * be removed the pass; the next one meets the same files again, because they are doomed until
 * they are forgotten.
 *
 * The first pass is for files that were never sent.  The second is for those claimed by a
 * send that came to nothing, and must not take the file of a message that is on its way to
 * the archive, however long the hub or a worker has been away.  So a claim is left alone for
 * CLAIM_MS more than a loose file; the journal must have been read to its end SEND_MS or more
 * after it, when the reader had noticed its spool; and this process must have run for START_MS,
 * in which workers that were started with it replay what their predecessors left.
 * All that by the monotonic clock, because what was read does not change with the date; and
 * when the date jumps, START_MS and the reading of the journal begin anew, and loose files,
 * which may be of a moment ago, are left alone for as long or for files.keep.
 */
#include "archiver/sweep.h"

#include <stdlib.h>
#include <string.h>

#include "lib/log.h"
#include "lib/loop.h"
#include "model/error.h"
#include "store/content.h"

#define ROUND_S  60.0
#define SOON_S   0.5
#define CLAIM_MS (7 * 24 * 3600 * INT64_C(1000))
#define SEND_MS  20000
#define START_MS (3600 * INT64_C(1000))
#define JUMP_MS  10000 /* of the date, in one round */

/* A file of the page. */
struct doomed {
	struct sweep *sweep;
	char id[ID_MAX];
	bool removed;
};

struct sweep {
	const struct child *child;
	struct store *store;
	struct content *content; /* NULL: could not be opened, tried again in each round */
	ev_timer timer;
	int64_t started_ms;
	int64_t caught_up_ms;  /* monotonic; 0: never */
	int64_t loose_from_ms; /* monotonic: no loose file is doomed before */
	int64_t date_ms;       /* wall clock less the monotonic one, in the last round */
	bool busy;             /* a round is under way */
	bool again;            /* the next one soon */
	bool claimed;          /* the second pass */
	struct doomed page[STORE_PAGE_MAX];
	size_t count, open; /* of the page; of its removals */
	int err;            /* the first of its removals */
	bool said;          /* in this round */
	size_t total;
};

static void ask(struct sweep *s);

/* ---- rounds ---- */

static void
schedule(struct sweep *s, double after)
{
	ev_timer_stop(loop_ev(), &s->timer);
	ev_timer_set(&s->timer, after, 0);
	ev_timer_start(loop_ev(), &s->timer);
}

static double
interval(const struct sweep *s)
{
	double keep = (double)s->child->conf->files_keep / 1000;

	return keep < ROUND_S ? keep : ROUND_S;
}

static void
end_round(struct sweep *s)
{
	if (s->total)
		log_info("archiver.swept", "files=%zu", s->total);
	s->busy = false;
	schedule(s, s->again ? SOON_S : interval(s));
	s->again = false;
}

static void
give_up(struct sweep *s, const char *step, int err)
{
	log_error("archiver.sweep_failed", "step=%s err=%s", step, error_code(err));
	end_round(s);
}

static bool
may_take_claims(const struct sweep *s)
{
	int64_t now = clock_mono_ms(), keep = s->child->conf->files_keep;

	return s->caught_up_ms && now - s->started_ms >= START_MS &&
	       now - s->caught_up_ms <= keep + CLAIM_MS - SEND_MS;
}

static void
end_pass(struct sweep *s)
{
	if (s->claimed || !may_take_claims(s)) {
		end_round(s);
		return;
	}
	s->claimed = true;
	ask(s);
}

/* What was claimed a moment ago may look old now. */
static void
look_at_the_date(struct sweep *s)
{
	int64_t now = clock_mono_ms(), date_ms = clock_wall_ms() - now;

	if (llabs(date_ms - s->date_ms) > JUMP_MS) {
		s->started_ms = now;
		s->caught_up_ms = 0;
		s->loose_from_ms =
		    now +
		    (s->child->conf->files_keep < START_MS ? s->child->conf->files_keep : START_MS);
	}
	s->date_ms = date_ms;
}

static void
begin_round(struct ev_loop *l, ev_timer *w, int revents)
{
	struct sweep *s = w->data;

	(void)l, (void)revents;
	look_at_the_date(s);
	s->busy = true;
	s->claimed = false;
	s->said = false;
	s->total = 0;
	if (!s->content) {
		char *dir = xasprintf("%s/files", s->child->conf->state_dir);

		s->content = content_open(dir, -1, 0);
		free(dir);
	}
	if (s->content)
		ask(s);
	else
		end_round(s); /* logged */
}

/* ---- a page ---- */

/* One file that stays must not keep the second pass from its own. */
static void
remove_failed(struct sweep *s)
{
	if (!s->said)
		log_error("archiver.sweep_failed", "step=remove err=%s", error_code(s->err));
	s->said = true;
	end_pass(s);
}

static void
forgotten(struct store_req *req)
{
	struct sweep *s = req->arg;
	int err = req->err;

	if (!err)
		s->total += req->id_count;
	store_req_free(&req);
	if (err)
		give_up(s, "forget", err);
	else if (s->err)
		remove_failed(s);
	else if (s->count == STORE_PAGE_MAX)
		ask(s);
	else
		end_pass(s);
}

static void
forget(struct sweep *s)
{
	struct store_req *req = store_req_new(STORE_FILES_FORGET, forgotten, s);
	int err;

	req->ids = xcalloc(s->count, sizeof(*req->ids));
	for (size_t i = 0; i < s->count; i++)
		if (s->page[i].removed)
			str_copy(req->ids[req->id_count++], ID_MAX, s->page[i].id);
	if (!req->id_count) {
		store_req_free(&req);
		remove_failed(s);
		return;
	}
	err = store_submit(s->store, req);
	if (err) {
		store_req_free(&req);
		give_up(s, "forget", err);
	}
}

static void
removed(void *arg, int err)
{
	struct doomed *d = arg;
	struct sweep *s = d->sweep;

	d->removed = !err;
	if (err && !s->err)
		s->err = err;
	if (--s->open == 0)
		forget(s);
}

static void
remove_page(struct sweep *s)
{
	s->err = 0;
	s->open = s->count;
	for (size_t i = 0, count = s->count; i < count; i++) {
		struct doomed *d = &s->page[i];
		int err = content_remove(s->content, d->id, removed, d);

		if (err)
			removed(d, err);
	}
}

static void
asked(struct store_req *req)
{
	struct sweep *s = req->arg;
	int err = req->err;

	s->count = 0;
	for (size_t i = 0; !err && i < req->id_out_count && i < STORE_PAGE_MAX; i++) {
		struct doomed *d = &s->page[s->count++];

		d->sweep = s;
		d->removed = false;
		str_copy(d->id, sizeof(d->id), req->ids_out[i]);
	}
	store_req_free(&req);
	if (err)
		give_up(s, "ask", err);
	else if (s->count)
		remove_page(s);
	else
		end_pass(s);
}

static void
ask(struct sweep *s)
{
	struct store_req *req = store_req_new(STORE_FILES_SWEEP, asked, s);
	int err;

	req->before_ms = clock_wall_ms() - s->child->conf->files_keep - (s->claimed ? CLAIM_MS : 0);
	if (clock_mono_ms() < s->loose_from_ms)
		req->before_ms = 0; /* only what is doomed already */
	req->flag = s->claimed;
	req->limit = STORE_PAGE_MAX;
	err = store_submit(s->store, req);
	if (err) {
		store_req_free(&req);
		give_up(s, "ask", err);
	}
}

/* ---- the archiver's side ---- */

struct sweep *
sweep_new(const struct child *ch, struct store *store)
{
	struct sweep *s = xcalloc(1, sizeof(*s));

	s->child = ch;
	s->store = store;
	s->started_ms = clock_mono_ms();
	s->date_ms = clock_wall_ms() - s->started_ms;
	ev_init(&s->timer, begin_round);
	s->timer.data = s;
	schedule(s, 0);
	return s;
}

void
sweep_free(struct sweep **sp)
{
	struct sweep *s = *sp;

	*sp = NULL;
	if (!s)
		return;
	ev_timer_stop(loop_ev(), &s->timer);
	content_close(&s->content);
	free(s);
}

void
sweep_soon(struct sweep *s)
{
	if (s->busy)
		s->again = true;
	else if (ev_timer_remaining(loop_ev(), &s->timer) > SOON_S)
		schedule(s, SOON_S);
}

void
sweep_reloaded(struct sweep *s)
{
	if (!s->busy && ev_timer_remaining(loop_ev(), &s->timer) > interval(s))
		schedule(s, interval(s));
}

void
sweep_caught_up(struct sweep *s, int64_t mono_ms)
{
	s->caught_up_ms = mono_ms;
}
