/* SPDX-License-Identifier: ISC */
/*
 * room_int: what room.c, attachment.c and membership.c share.  See room.c for the states.
 */
#ifndef PALAVER_CHAT_ROOM_INT_H
#define PALAVER_CHAT_ROOM_INT_H

#include "chat/chat_int.h"

enum room_state { ROOM_DOWN, ROOM_SUBSCRIBING, ROOM_CATCHING_UP, ROOM_LIVE };

struct pending_event {
	struct event *ev;
	struct pending_event *prev, *next;
};

struct room {
	char id[ID_MAX];
	struct chat *chat;
	enum room_state state;
	bool known; /* last means something */
	uint64_t last;
	unsigned int calls; /* bus callbacks that will come; the room stays until then */
	struct attachment *members;
	struct pending_event *pending; /* in order of arrival, which is order of seq */
	UT_hash_handle hh;
};

/* room.c */
/* Finds or makes it; seen: 0, or everything up to this number needs no delivery here. */
struct room *room_get(struct chat *c, const char *id, uint64_t seen);
void room_subscribe(struct room *r);
/* Frees the room if nobody is in it and nothing will call back. */
void room_release(struct room *r);
void room_retry_later(struct chat *c);

/* attachment.c */
/* The room is live: what it delivered before this client came is read for it alone. */
void attachment_catch_up(struct attachment *a);

/* membership.c */
/* Before delivery: clients of users whom the event makes members join the room. */
void membership_joined(struct chat *c, const struct event *ev);
/* After delivery: clients of users who are members no more leave the room. */
void membership_left(struct chat *c, const struct event *ev);
/* The same for one client that is behind the others; true: it has left, a is gone. */
bool membership_left_one(struct attachment *a, const struct event *ev);
/* Events were missed here: the store is asked about this client's user, or everybody's. */
void membership_check_one(struct attachment *a);
void membership_check_all(struct room *r);

#endif
