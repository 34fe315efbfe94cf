/* SPDX-License-Identifier: ISC */
/*
 * crash_server: one process that goes the way of a message: the steps are those of
 * chat/send.c, hub/submit.c and archiver.c, in that order; what they call is the server's own
 * journal, hub log, window and store.  Failures end the test.  One thread.
 */
#ifndef PALAVER_TESTS_CRASH_SERVER_H
#define PALAVER_TESTS_CRASH_SERVER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <time.h>

#include "hub/hublog.h"
#include "journal/journal.h"
#include "store/sqlite.h"
#include "store/store.h"

#define CONVS     3
#define SENDERS   4
#define SLOTS     2
#define MESSAGES  240 /* at most */
#define NEVER     SIZE_MAX
#define PATH_SIZE 200

struct message {
	unsigned int conv, sender;
	char client_id[37];
	char id[ID_MAX]; /* as numbered first */
	uint64_t seq;
	size_t sent_op, seen_op, acked_op; /* ops that were done then; NEVER */
	/* in a recovered state: */
	bool again;
	char again_id[ID_MAX];
	uint64_t again_seq;
	unsigned int found;
};

struct server {
	char dir[PATH_SIZE], db[PATH_SIZE + 20];
	unsigned int slots;
	struct journal_writer *writers[SLOTS];
	struct journal_reader *reader;
	struct window window;
	struct roster roster;
	struct hublog *log;
	void *store;
	bool lifted;
};

/* One message on its way. */
struct send {
	struct message *m;
	struct server *s;
	struct event *ev, *numbered;
	unsigned int slot;
	uint64_t ticket;
};

extern struct message messages[MESSAGES];
extern const char *const conversations[CONVS];
/* While it is set, ids, numbers and times of acknowledgements are kept in messages[]. */
extern bool recording;
/* s; a machine that lost its power may have lost the time */
extern time_t wall_offset;

void server_open(struct server *s, const char *dir, unsigned int slots, const char *boot);
void server_close(struct server *s);
void open_writer(struct server *s, unsigned int slot);

struct event *make_event(const struct message *m);
struct message *message_of(const struct event *ev);

/*
 * Look-up and intake, or with a ticket a replay; takes ev.  NULL: it was in the store, and is
 * acknowledged.
 */
struct send *send_begin(
    struct server *s, unsigned int slot, struct event *ev, const uint64_t *ticket);
/* The hub's turn. */
void number_all(struct server *s, struct send **ops, size_t count);
/* Each ends, acknowledged, in wait_for_journal(). */
void append_all(struct server *s, struct send **ops, size_t count);
void wait_for_journal(void);

void server_replay(struct server *s);
void server_archive(struct server *s, size_t batch); /* until the journal has no more */
void server_offer(struct server *s); /* what the window has and nobody reported */

#endif
