/* SPDX-License-Identifier: ISC */
/* relearn: what was numbered, out of the spools, when the hub's log may lack it. */
#ifndef PALAVER_HUB_RELEARN_H
#define PALAVER_HUB_RELEARN_H

#include "hub/window.h"

/*
 * Loads into w the events of all spools below the directory that are newer than what w has.
 * What could not be read is logged, and the rest is there.
 */
void hub_relearn(const char *spool, struct window *w);

#endif
