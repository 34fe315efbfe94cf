/* SPDX-License-Identifier: ISC */
/*
 * local_int: what the files of the local bus share.  Not for other folders.
 */
#ifndef PALAVER_BUS_LOCAL_INT_H
#define PALAVER_BUS_LOCAL_INT_H

#include <uthash.h>

#include "bus/hub_proto.h"
#include "bus/local.h"
#include "lib/imsg.h"

/* A request that waits for its answer. */
struct pending {
	uint32_t id;
	enum hub_msg request;
	union {
		bus_submit_cb submit;
		bus_window_cb window;
		bus_subscribe_cb subscribe;
		bus_count_cb count;
		bus_find_cb find;
		bus_presence_cb presence;
	} cb;
	void *arg;
	UT_hash_handle hh;
};

struct bus_local {
	struct bus bus;
	struct imsg_chan *chan;
	struct pending *pending;
	uint32_t last_id;
};

extern const struct bus_ops bus_local_ops; /* local_calls.c, but for close */
void bus_local_close(struct bus *bus);     /* local.c */

#endif
