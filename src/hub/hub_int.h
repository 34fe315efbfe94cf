/* SPDX-License-Identifier: ISC */
/*
 * hub_int: what the files of hub/ share.  Not for other folders.  Hub, loop thread.
 *
 * A peer is a connected process, by its index; sets of peers are masks of one bit each.
 */
#ifndef PALAVER_HUB_HUB_INT_H
#define PALAVER_HUB_HUB_INT_H

#include <stdbool.h>
#include <stdint.h>
#include <uthash.h>

#include "bus/bus.h"
#include "bus/hub_proto.h"
#include "hub/count.h"
#include "hub/hub.h"
#include "hub/hublog.h"
#include "hub/roster.h"
#include "hub/window.h"
#include "lib/loop.h"

#define ARCHIVER_PEER 63 /* slots of workers are 0 to 62 */
#define PEERS         64

struct submit;
struct hub;

struct peer {
	struct hub *hub;
	unsigned int index;
	struct imsg_chan *chan; /* NULL: not connected */
};

struct hub {
	struct child *child;
	struct window window;
	struct hublog *log;
	struct peer peers[PEERS];
	struct roster roster;
	ev_timer look; /* at those of the roster who wait */
	struct counters counters;
	struct submit *batch;
	struct loop_task commit;
	ev_timer trim;
};

static inline uint64_t
peer_bit(const struct peer *p)
{
	return UINT64_C(1) << p->index;
}

/* peers.c: connections, and what goes between processes without being kept */
void hub_send(struct hub *h, uint64_t mask, enum hub_msg type, const void *data, size_t len);
void hub_on_peer(struct hub *h, struct imsg *m); /* CHAN_HUB of the master */
void hub_free_peers(struct hub *h);

/* submit.c: events and what became of them */
void hub_commit(void *arg); /* the task h->commit */
void hub_on_submit(struct peer *p, const struct imsg *m);
void hub_on_archived(struct peer *p, const struct imsg *m);
void hub_offer_again(struct hub *h, int64_t now);

/* presence.c: where users are online, and what others are told of it */
void hub_presence_open(struct hub *h); /* the log is open */
void hub_presence_close(struct hub *h);
uint64_t hub_peers_of_user(const struct hub *h, const char *user);
void hub_on_presence(struct peer *p, const struct imsg *m);
void hub_on_presence_told(struct peer *p, const struct imsg *m);
void hub_on_presence_get(struct peer *p, const struct imsg *m);
void hub_forget_users_of(struct hub *h, const struct peer *p);

/* query.c: reading the window */
void hub_on_window(struct peer *p, const struct imsg *m);
void hub_on_find(struct peer *p, const struct imsg *m);
void hub_on_about(struct peer *p, const struct imsg *m);

#endif
