/* SPDX-License-Identifier: ISC */
/*
 * worker_int: what the files of worker/ share.
 */
#ifndef PALAVER_WORKER_WORKER_INT_H
#define PALAVER_WORKER_WORKER_INT_H

#include <ev.h>

#include "api/api.h"
#include "bus/bus.h"
#include "chat/chat.h"
#include "journal/journal.h"
#include "lib/child.h"
#include "store/store.h"
#include "wire/server.h"

struct worker {
	struct child *child;
	struct store *store;
	struct journal_writer *journal;
	struct content *content; /* of files */
	struct bus *bus;
	struct chat *chat;
	struct api *api;
	struct wire *wire;
	int address_fd; /* from the master, until the wire has it; -1 */
	ev_timer drain;
	int64_t drain_until; /* monotonic ms */
};

/* admin.c: a request of palaverctl; answers with CHAN_CTL_REPLY and the same id. */
void worker_admin(struct worker *w, uint32_t id, const char *json, size_t len);

#endif
