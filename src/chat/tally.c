/* SPDX-License-Identifier: ISC */
/*
 * tally: see tally.h.  Worker, loop thread.
 */
#include "chat/tally.h"

#include <stdlib.h>
#include <uthash.h>

#include "lib/buf.h"
#include "lib/id.h"

struct tally {
	char user[ID_MAX];
	unsigned int count;
	UT_hash_handle hh;
};

struct tally *
tally_enter(struct tally **all, const char *user, unsigned int max)
{
	struct tally *t;

	HASH_FIND_STR(*all, user, t);
	if (t && t->count >= max)
		return NULL;
	if (!t) {
		t = xcalloc(1, sizeof(*t));
		str_copy(t->user, sizeof(t->user), user);
		HASH_ADD_STR(*all, user, t);
	}
	t->count++;
	return t;
}

void
tally_leave(struct tally **all, struct tally **tp)
{
	struct tally *t = *tp;

	*tp = NULL;
	if (!t || --t->count)
		return;
	HASH_DEL(*all, t);
	free(t);
}
