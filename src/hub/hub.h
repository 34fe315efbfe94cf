/* SPDX-License-Identifier: ISC */
/*
 * hub: the process that is for one machine what Redis is for many: numbers, recent
 * windows, publish and subscribe, presence.
 */
#ifndef PALAVER_HUB_HUB_H
#define PALAVER_HUB_HUB_H

#include "lib/child.h"

int hub_main(struct child *ch); /* returns the exit status */

#endif
