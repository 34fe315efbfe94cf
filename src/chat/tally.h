/* SPDX-License-Identifier: ISC */
/*
 * tally: how many of something each user has under way at this worker, and no more than a
 * maximum.  Thread: loop of a worker.
 */
#ifndef PALAVER_CHAT_TALLY_H
#define PALAVER_CHAT_TALLY_H

struct tally; /* of one user; a list of them begins as NULL */

/* One more.  NULL: the user has max already. */
struct tally *tally_enter(struct tally **all, const char *user, unsigned int max);
void tally_leave(struct tally **all, struct tally **t); /* t may have NULL */

#endif
