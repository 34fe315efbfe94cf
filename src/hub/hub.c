/* SPDX-License-Identifier: ISC */
/*
 * hub: serves workers and archiver over one channel each.  Hub, loop thread.
 *
 *	peers.c     who is connected, what they ask, casts
 *	submit.c    numbers, publishing, the archiver
 *	query.c     reading the window
 *	presence.c  who is online; roster.c: the rules
 *	count.c     counters
 *	window.c    the recent events, in memory; hublog.c: on disk
 */
#include <stdlib.h>
#include <sysexits.h>

#include "hub/hub_int.h"
#include "lib/log.h"

#define TRIM_S      5.0
#define COMPACT_MIN (16 * 1024 * 1024)
#define BOOT_ID     "/proc/sys/kernel/random/boot_id"

static void
trim(struct ev_loop *l, ev_timer *t, int revents)
{
	struct hub *h = t->data;
	int64_t now = clock_mono_ms();

	window_trim(&h->window, now);
	counters_expire(&h->counters, now);
	hub_offer_again(h, now);
	if (hublog_compact(h->log, &h->window, &h->roster))
		log_warn("hub.log_grows", "the next try is in %.0f s", TRIM_S);
}

/* ---- life ---- */

static void
hub_open(struct hub *h)
{
	char *path = xasprintf("%s/hub.log", h->child->conf->state_dir);
	char *spool = xasprintf("%s/spool", h->child->conf->state_dir);
	struct hublog_opts opts = {
	    .path = path, .boot_id_path = BOOT_ID, .compact_min = COMPACT_MIN, .spool = spool};
	bool lift;

	if (hublog_open(&opts, &h->window, &h->roster, &h->log, &lift))
		fatal(EX_CANTCREAT, "hub.no_log", "file=%s; free some space in state_dir", path);
	log_info("hub.loaded", "conversations=%u events=%zu users=%u lifted=%d",
	    HASH_COUNT(h->window.convs), h->window.entry_count, HASH_COUNT(h->roster.users), lift);
	free(path);
	free(spool);
	h->commit.run = hub_commit;
	h->commit.arg = h;
	ev_timer_init(&h->trim, trim, TRIM_S, TRIM_S);
	h->trim.data = h;
	ev_timer_start(loop_ev(), &h->trim);
	hub_presence_open(h);
}

static void
on_master(struct child *ch, struct imsg *m)
{
	if (m->type == CHAN_HUB)
		hub_on_peer(ch->arg, m);
	else if (m->type == CHAN_DRAIN)
		loop_stop();
	else
		log_warn("hub.unknown_message", "type=%u", m->type);
}

int
hub_main(struct child *ch)
{
	struct hub *h = xcalloc(1, sizeof(*h));
	int status;

	h->child = ch;
	ch->message = on_master;
	ch->arg = h;
	hub_open(h);
	child_ready(ch);
	status = child_run(ch);
	ev_timer_stop(loop_ev(), &h->trim);
	hub_free_peers(h);
	hub_presence_close(h);
	counters_fini(&h->counters);
	window_fini(&h->window);
	hublog_close(&h->log);
	free(h);
	return status;
}
