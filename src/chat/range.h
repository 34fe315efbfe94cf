/* SPDX-License-Identifier: ISC */
/*
 * range: reads events of a conversation from the recent window and the store
 * together, so that history never lags behind the archiver, and never shows a text that
 * an acknowledged edit or deletion has replaced.  Thread: loop.
 */
#ifndef PALAVER_CHAT_RANGE_H
#define PALAVER_CHAT_RANGE_H

#include "chat/chat.h"
#include "model/message.h"

struct range {
	int err; /* 0, or retryable */
	struct event **events; /* ascending; borrowed */
	/* Beside events: the present state of the message that each shows, or NULL. */
	struct message_state **states;
	size_t count;
	bool more; /* further ones on the far side */
};
typedef void (*range_cb)(void *arg, const struct range *r);

/* The oldest `limit` events after `after`; limit <= STORE_PAGE_MAX.  cb runs once, maybe at once. */
void range_after(struct chat *c, const char *conversation, uint64_t after, size_t limit,
    range_cb cb, void *arg);
/* The newest `limit` events after `after` and before `before` (0: no end). */
void range_before(struct chat *c, const char *conversation, uint64_t after, uint64_t before,
    size_t limit, range_cb cb, void *arg);

#endif
