/* SPDX-License-Identifier: ISC */
/*
 * worker: one of N processes that serve clients.
 */
#ifndef PALAVER_WORKER_WORKER_H
#define PALAVER_WORKER_WORKER_H

#include "lib/child.h"

int worker_main(struct child *ch); /* returns the exit status */

#endif
