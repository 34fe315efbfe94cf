/* SPDX-License-Identifier: ISC */
/*
 * present: one message by its id alone, with all that became of it up to now, from the
 * recent window and the store together.  Thread: loop of a worker.
 */
#ifndef PALAVER_CHAT_PRESENT_H
#define PALAVER_CHAT_PRESENT_H

#include "chat/chat.h"
#include "model/message.h"

struct present {
	int err;               /* 0, ERR_NOT_FOUND, or retryable; then nothing else is set */
	struct event *message; /* borrowed: its message.created */
	struct message_state *state;
	struct event **edits; /* borrowed: its last message.updated, ascending */
	size_t edit_count;
	/* Borrowed: what is about it in the window, ascending, also edits. */
	struct event **recent;
	size_t recent_count;
	bool in_window, in_store;
};
typedef void (*present_cb)(void *arg, const struct present *p);

/* cb runs once, maybe at once. */
void present_find(struct chat *c, const char *message, present_cb cb, void *arg);

#endif
