/* SPDX-License-Identifier: ISC */
/*
 * roster: who is online, from what each process says of its own clients, and when a change
 * is to be told.  Pure: no I/O, the time is given.  Thread: loop of the hub.
 *
 * A user's state is the best that any process reports.  What is better than what others
 * believe is due at once.  What is worse waits, and is forgotten if it gets better again:
 *	away, as a process reports it                 ROSTER_AWAY_MS
 *	whatever follows from a process reporting
 *	offline, or from the end of a process         delay_ms
 * so neither a client that moves between processes, nor one that reconnects, nor a process
 * that is replaced makes anybody's state flap.
 *
 * A change that is due is handed to one process, the teller, and is told when that one has
 * confirmed; if it goes first, the change is due again.
 */
#ifndef PALAVER_HUB_ROSTER_H
#define PALAVER_HUB_ROSTER_H

#include <stdbool.h>
#include <stdint.h>
#include <uthash.h>

#include "bus/bus.h"
#include "lib/id.h"

#define ROSTER_AWAY_MS 1000

struct roster_user {
	char id[ID_MAX];
	uint64_t online, away; /* the processes that say so, a bit each */
	enum presence told;    /* what others know */
	enum presence telling; /* what the teller is about to tell them */
	uint64_t teller;       /* its bit; 0: nobody */
	int64_t due_ms;        /* monotonic, when a change is to be told; 0: none waits */
	int64_t gone_ms;       /* wall clock, when the last client went; 0: one is there */
	UT_hash_handle hh;
	struct roster_user *prev, *next; /* of those with due_ms */
};

struct roster {
	struct roster_user *users;
	struct roster_user *waiting;
};

/* The times at which something happens. */
struct roster_time {
	int64_t delay_ms;         /* conf presence.offline_delay */
	int64_t mono_ms, wall_ms; /* now */
};

void roster_fini(struct roster *r);
struct roster_user *roster_find(const struct roster *r, const char *user);
/* What others believe, or will in a moment; OFFLINE also for whom nobody knows. */
enum presence roster_believed(const struct roster_user *u);

/* What a log says: this is what others know of the user; gone_ms as above. */
void roster_load(struct roster *r, const char *user, enum presence told, int64_t gone_ms);
/* After loading: who does not come back is offline since left_ms, where nothing says when. */
void roster_start(struct roster *r, const struct roster_time *t, int64_t left_ms);

/*
 * A process says what its clients make of the user.  Returns the user, who may have a change
 * that is due now; NULL: there is nothing to know any more.
 */
struct roster_user *roster_set(struct roster *r, const char *user, uint64_t bit,
    enum presence state, const struct roster_time *t);
/* A process has gone, with all it said and all it was to tell. */
void roster_drop_peer(struct roster *r, uint64_t bit, const struct roster_time *t);

bool roster_is_due(const struct roster_user *u, int64_t mono_ms);
/* Calls due() for each user with a change that is due; it hands it over or leaves it. */
void roster_each_due(struct roster *r, int64_t mono_ms,
    void (*due)(void *arg, struct roster_user *u), void *arg);
/* The change is handed to this process; u->telling is set. */
void roster_hand_over(struct roster *r, struct roster_user *u, uint64_t teller);
/*
 * The teller has told others of this state.  Returns the user, if that was awaited: now it
 * is what others know.  One who is offline is then forgotten, by roster_forget().
 */
struct roster_user *roster_confirm(struct roster *r, const char *user, uint64_t teller,
    enum presence state);
void roster_forget(struct roster *r, struct roster_user *u); /* if nothing is left to know */

#endif
