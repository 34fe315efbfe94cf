/* SPDX-License-Identifier: ISC */
/*
 * bus: live traffic between workers: number, deduplicate and publish an event in
 * one atomic step; the recent window of each conversation; subscriptions;
 * ephemeral casts.  "local" speaks to the hub of this machine, "redis" to Redis.
 *
 * All calls and callbacks run on the loop's thread.  Asynchronous calls follow
 * one rule: return < 0 and the callback never runs, return 0 and it runs exactly
 * once, later.  When the connection is lost every pending callback gets
 * ERR_UNKNOWN_OUTCOME: for submit that means it may or may not have happened,
 * and the same submit may be repeated because the client id makes it harmless.
 */
#ifndef PALAVER_BUS_BUS_H
#define PALAVER_BUS_BUS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "model/event.h"

#define BUS_WINDOW_PAGE 200  /* events in one window answer at most */
#define BUS_ABOUT_IDS   200  /* messages asked for in one bus_about at most */
#define BUS_ABOUT_MAX   1000 /* events in its answer at most */
#define BUS_KEY_MAX     80   /* bytes of a counter's key */

struct bus;

/* In the order of what is better.  OFFLINE: no client anywhere. */
enum presence { PRESENCE_OFFLINE, PRESENCE_AWAY, PRESENCE_ONLINE };

struct bus_submit_result {
	/*
	 * 0: numbered and published, or done before (duplicate).
	 * ERR_ID_REUSED: the client id was used for another body; nothing happened.
	 * ERR_STORAGE_FULL, ERR_UNAVAILABLE: nothing happened, retry later.
	 * ERR_UNKNOWN_OUTCOME: repeat it.
	 */
	int err;
	bool duplicate;
	struct event *event; /* borrowed; numbered; the first one if duplicate; NULL on error */
};
typedef void (*bus_submit_cb)(void *arg, const struct bus_submit_result *res);

struct bus_window {
	int err;       /* 0, ERR_UNKNOWN_OUTCOME, ERR_UNAVAILABLE */
	uint64_t head; /* the last number given in the conversation; 0: none known */
	/*
	 * Everything after this number is in the window, so what is at or below it is
	 * in the store (the window is trimmed only up to what is archived).
	 */
	uint64_t floor;
	struct event **events; /* borrowed; ascending */
	size_t count;
	bool more; /* there are further events on the far side of the page */
	/* Events with a ref in the whole window of the conversation; 0: bus_about finds nothing. */
	size_t abouts;
};
typedef void (*bus_window_cb)(void *arg, const struct bus_window *w);

/* err: 0, ERR_UNKNOWN_OUTCOME.  count: after adding; left_ms: until the window ends. */
typedef void (*bus_count_cb)(void *arg, int err, uint64_t count, int64_t left_ms);
/* err: 0, ERR_UNKNOWN_OUTCOME; states in the order of the question, borrowed. */
typedef void (*bus_presence_cb)(void *arg, int err, const enum presence *states, size_t count);
/* err: 0, ERR_NOT_FOUND, ERR_UNKNOWN_OUTCOME; ev is borrowed, NULL on an error. */
typedef void (*bus_find_cb)(void *arg, int err, struct event *ev);

/* head: the last number given, so everything later arrives by event(). */
typedef void (*bus_subscribe_cb)(void *arg, int err, uint64_t head);

/* What the bus tells its user.  event() of one conversation comes in order of seq. */
struct bus_handler {
	void (*event)(void *arg, struct event *ev); /* borrowed: take a reference to keep it */
	/* An ephemeral cast by sender in a conversation this process subscribed to. */
	void (*cast)(void *arg, const char *conversation, const char *sender, const char *payload,
	    size_t len);
	/*
	 * up: connected; all subscriptions and user registrations of this process are
	 * gone and are to be made anew.  Down: pending callbacks have run.
	 */
	void (*state)(void *arg, bool up);
	/* What another worker told this one; the messages of one worker come in order. */
	void (*told)(void *arg, unsigned int from, const void *data, size_t len);
	/*
	 * Another worker can be told something from now on, or is gone with all it had.
	 * After every state(up) each worker that is there is named again; what was told
	 * while the bus was down is lost.
	 */
	void (*peer)(void *arg, unsigned int slot, bool up);
	/* A bus_cast_many by sender; this process subscribed to at least one of them. */
	void (*cast_many)(void *arg, const char (*conversations)[ID_MAX], size_t count,
	    const char *sender, const char *payload, size_t len);
	/*
	 * The state of a user has changed, and this process is the one that tells those who
	 * share a conversation; then it calls bus_presence_told.  If the state changes again
	 * before that, it comes again, later.  left_ms: when the last client went (wall clock),
	 * of OFFLINE.
	 */
	void (*presence)(void *arg, const char *user, enum presence p, int64_t left_ms);
	/* What a worker, maybe this one, announced to all; those of one worker come in order. */
	void (*announced)(void *arg, const void *payload, size_t len);
};

struct bus_ops {
	const char *name;
	void (*close)(struct bus *b);
	int (*submit)(struct bus *b, const struct event *ev, bus_submit_cb cb, void *arg);
	int (*window)(struct bus *b, const char *conversation, uint64_t after, uint64_t before,
	    size_t limit, bus_window_cb cb, void *arg);
	int (*subscribe)(struct bus *b, const char *conversation, bus_subscribe_cb cb, void *arg);
	void (*unsubscribe)(struct bus *b, const char *conversation);
	void (*cast)(struct bus *b, const char *conversation, const char *sender,
	    const char *payload, size_t len);
	int (*archived)(struct bus *b, struct event *const *events, size_t count);
	void (*tell)(struct bus *b, unsigned int slot, const void *data, size_t len);
	void (*announce)(struct bus *b, const void *payload, size_t len);
	int (*count)(struct bus *b, const char *key, uint64_t add, int64_t window_ms,
	    bus_count_cb cb, void *arg);
	int (*find)(struct bus *b, const char *event_id, bus_find_cb cb, void *arg);
	int (*about)(struct bus *b, const char *conversation, const char (*ids)[ID_MAX],
	    size_t count, bus_window_cb cb, void *arg);
	void (*cast_many)(struct bus *b, const char (*conversations)[ID_MAX], size_t count,
	    const char *sender, const char *payload, size_t len);
	void (*presence_set)(struct bus *b, const char *user, enum presence p);
	void (*presence_told)(struct bus *b, const char *user, enum presence p);
	int (*presence_get)(struct bus *b, const char (*users)[ID_MAX], size_t count,
	    bus_presence_cb cb, void *arg);
};

/* The implementations embed this as their first member. */
struct bus {
	const struct bus_ops *ops;
	struct bus_handler handler;
	void *arg;
	bool up;
};

void bus_close(struct bus **b); /* pending callbacks do not run */
bool bus_is_up(const struct bus *b);

/*
 * One atomic step: a client id seen before (same conversation and sender)
 * returns the first result; else the next seq, into the window, published to
 * every process that subscribed to the conversation, and, for
 * conversation.created and member.joined, to every process where a user named
 * in data.members[].user_id has clients.  The submitter gets event() as well, if it
 * subscribed; before or after the callback.
 * ev is borrowed and not numbered; it may be freed after the call.
 */
int bus_submit(struct bus *b, const struct event *ev, bus_submit_cb cb, void *arg);

/*
 * Events of the window with after < seq < before (before 0: no end), ascending:
 * with before the newest `limit` of them, else the oldest.  limit <= BUS_WINDOW_PAGE.
 */
int bus_window(struct bus *b, const char *conversation, uint64_t after, uint64_t before,
    size_t limit, bus_window_cb cb, void *arg);

int bus_subscribe(struct bus *b, const char *conversation, bus_subscribe_cb cb, void *arg);
void bus_unsubscribe(struct bus *b, const char *conversation);
/* Ephemeral: to every subscribed process, no number, no retry, lost while down. */
void bus_cast(
    struct bus *b, const char *conversation, const char *sender, const char *payload, size_t len);
/*
 * The same to whoever subscribed to at least one of these conversations, once to each
 * process: for what is to reach a client once, however many of them it is in.
 */
void bus_cast_many(struct bus *b, const char (*conversations)[ID_MAX], size_t count,
    const char *sender, const char *payload, size_t len);
/* By the archiver: these are in the store, durably; the window may be trimmed. */
int bus_archived(struct bus *b, struct event *const *events, size_t count);

/*
 * To the worker of this slot; told() there.  No answer, no retry: lost while the bus or
 * that worker is down (then peer() says so).
 */
void bus_tell(struct bus *b, unsigned int slot, const void *data, size_t len);
/*
 * To every worker, this one too: announced().  No answer, no retry: who is not connected
 * at this moment never hears of it, so what must not be missed is in the store as well
 * and is read again at state(up).
 */
void bus_announce(struct bus *b, const void *payload, size_t len);

/*
 * Counts key up by add (0: only reads) within a window of window_ms that begins with its
 * first count; then it begins at 0 again.  One count for all processes.  It is a limit,
 * not a record: all counts are forgotten when the hub restarts, and of more than
 * BUS_COUNTERS_MAX keys the one that was counted longest ago is forgotten.
 */
#define BUS_COUNTERS_MAX 65536
int bus_count(struct bus *b, const char *key, uint64_t add, int64_t window_ms, bus_count_cb cb,
    void *arg);

/*
 * The event with this id in the window of whatever conversation.  ERR_NOT_FOUND: it is in
 * the store, or nowhere; ask the bus first and the store second, because what is trimmed
 * from the window between the two is in the store.
 */
int bus_find(struct bus *b, const char *event_id, bus_find_cb cb, void *arg);

/*
 * The events of the conversation's window whose ref is one of ids (count <=
 * BUS_ABOUT_IDS), ascending by seq.  Of more than BUS_ABOUT_MAX the newest, and more is
 * set.  Also here: the bus first, then the store.
 */
int bus_about(struct bus *b, const char *conversation, const char (*ids)[ID_MAX], size_t count,
    bus_window_cb cb, void *arg);

/*
 * Presence.  Each process says what its own clients make of a user: the best state of
 * them, OFFLINE when none is left; after state(up) it says so again of all.  The state of
 * the user is the best of all processes; each change of it is told by one process that the
 * bus chooses (presence()).  What is better is told at once.  Offline is told after conf
 * presence.offline_delay without any client anywhere, also when it was a process that died
 * or the hub: this too keeps what was told.  A client that is at another process within
 * that time changes nothing.
 */
void bus_presence_set(struct bus *b, const char *user, enum presence p);
void bus_presence_told(struct bus *b, const char *user, enum presence p);
/* What was told of these users (count <= BUS_USERS_MAX). */
#define BUS_USERS_MAX 100
int bus_presence_get(struct bus *b, const char (*users)[ID_MAX], size_t count,
    bus_presence_cb cb, void *arg);

#endif
