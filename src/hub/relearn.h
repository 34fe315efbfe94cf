/* SPDX-License-Identifier: ISC */
/* relearn: what was numbered, out of the spools, when the hub's log may lack it. */
#ifndef PALAVER_HUB_RELEARN_H
#define PALAVER_HUB_RELEARN_H

#include "hub/window.h"

/*
 * Loads into w the events of all spools below the directory that are newer than what w has.
 * 0 or ERR_UNAVAILABLE (logged): something could not be read, the rest is there.
 */
int hub_relearn(const char *spool, struct window *w);

#endif
