/* SPDX-License-Identifier: ISC */
/*
 * local: the bus of one machine, a channel to the hub process.
 */
#ifndef PALAVER_BUS_LOCAL_H
#define PALAVER_BUS_LOCAL_H

#include "bus/bus.h"

struct bus *bus_local_new(const struct bus_handler *h, void *arg);
/*
 * The master's news of a hub: a connected socket (takes it).  A connection that was
 * there before is dropped first, its pending callbacks run, then state(true).
 */
void bus_local_set_fd(struct bus *b, int fd);

#endif
