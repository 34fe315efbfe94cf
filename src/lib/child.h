/* SPDX-License-Identifier: ISC */
/*
 * child: what every child process of the master has in common: its channel on
 * descriptor 3, the configuration that comes over it, the end when the master is
 * gone.
 *
 * The master execs its own binary again with argv[0] "palaverd: worker 2" (which is
 * also the process title) and argv[1..] absent; the role and slot are read from it.
 * First message: CHAN_CONF.  Then, in any order, what the role needs.  The child
 * answers CHAN_READY when it serves.
 */
#ifndef PALAVER_LIB_CHILD_H
#define PALAVER_LIB_CHILD_H

#include <stdbool.h>
#include <stdint.h>

#include "lib/conf.h"
#include "lib/imsg.h"

#define CHILD_FD 3

enum chan_type {
	/* master -> child */
	CHAN_CONF = 1,   /* u32 slot, u32 workers now, str log target (stderr|syslog), conf_pack() */
	CHAN_RELOAD,     /* conf_pack(): use it from now on */
	CHAN_SECRET,     /* id: serial; keys_pack(): the keys of access tokens; worker only; again when
	                    they have changed */
	CHAN_TLS,        /* u32 index of the listen section, bytes certificates, bytes key, bytes
	                    ticket key; worker only; again when they have changed */
	CHAN_ADDRESSES,  /* fd: memory that the workers share for limits per address */
	CHAN_LISTENER,   /* fd: accept from it; u32 slot it belongs to (maybe a neighbour's), u32
	                    index of the listen section, str address */
	CHAN_UNLISTEN,   /* u32 slot: its own worker is back; close that listener */
	CHAN_HUB,        /* fd: your new connection to the hub.  To the hub: u32 peer (slot, or
	                    CHAN_PEER_ARCHIVER), fd of its end */
	CHAN_DRAIN,      /* finish what you have and exit 0 */
	CHAN_CTL,        /* id; bytes: JSON request of palaverctl for this process */
	/* child -> master */
	CHAN_READY = 64, /* serving */
	CHAN_CTL_REPLY,  /* id of the CHAN_CTL; bytes: JSON answer */
	CHAN_DRAINING,   /* nothing accepted any more */
	CHAN_SECRET_TAKEN /* id of the CHAN_SECRET: these keys are used from now on */
};
#define CHAN_PEER_ARCHIVER 0xffffU

struct child {
	const char *role; /* "worker", "archiver", "hub" */
	unsigned int slot;
	unsigned int workers;
	struct conf *conf;
	struct imsg_chan *chan;
	/* Gets every message but CHAN_CONF and CHAN_RELOAD; set before child_run. */
	void (*message)(struct child *ch, struct imsg *m);
	void (*reloaded)(struct child *ch); /* ch->conf is the new snapshot; may be NULL */
	void *arg;
};

/*
 * Reads argv[0]; false: this is not a child.  True: log, loop, channel and
 * configuration are there (waits for CHAN_CONF), the process is not dumpable, signals are
 * set up (TERM and INT ignored: the master says CHAN_DRAIN; HUP ignored).
 */
bool child_init(struct child *ch, int argc, char **argv);
void child_ready(struct child *ch);
/* Runs the loop until loop_stop(); the master's EOF exits at once. */
int child_run(struct child *ch);

#endif
