/* SPDX-License-Identifier: ISC */
/*
 * archiver: the process that moves the journal into the store.
 */
#ifndef PALAVER_ARCHIVER_ARCHIVER_H
#define PALAVER_ARCHIVER_ARCHIVER_H

#include "lib/child.h"

int archiver_main(struct child *ch); /* returns the exit status */

#endif
