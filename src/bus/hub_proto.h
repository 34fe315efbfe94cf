/* SPDX-License-Identifier: ISC */
/*
 * hub_proto: the messages between a process and the hub, over imsg.  Both sides are
 * the same binary.  Fields in the order of pack.h calls; an id pairs request and
 * answer.  The hub answers in the order of the requests, and an event that it
 * published before an answer arrives before it.
 */
#ifndef PALAVER_BUS_HUB_PROTO_H
#define PALAVER_BUS_HUB_PROTO_H

enum hub_msg {
	/* to the hub */
	HUB_SUBMIT = 1,  /* id; event */
	HUB_WINDOW,      /* id; str conversation, u64 after, u64 before, u32 limit */
	HUB_SUBSCRIBE,   /* id; str conversation */
	HUB_UNSUBSCRIBE, /* str conversation */
	HUB_PRESENCE,    /* str user, u8 enum presence: of the sender's clients */
	HUB_CAST,        /* str conversation, str sender, bytes payload */
	HUB_ARCHIVED,    /* u32 count, count x (str conversation, u64 seq) */
	HUB_TELL,        /* id: slot of the worker it is for; the rest is between the two */
	HUB_ANNOUNCE,    /* anything, to all workers */
	HUB_COUNT,       /* id; str key, u64 add, i64 window_ms */
	HUB_FIND,        /* id; str event id */
	HUB_ABOUT,       /* id; str conversation, u32 count, count x str message id */
	HUB_CAST_MANY,   /* u32 count, count x str conversation, str sender, bytes payload */
	HUB_PRESENCE_TOLD, /* str user, u8 enum presence: as HUB_PRESENCE_CHANGED said */
	HUB_PRESENCE_GET,  /* id; u32 count, count x str user */
	/* from the hub */
	HUB_SUBMIT_RESULT = 64, /* id; i64 err, u8 duplicate, event if err is 0 */
	HUB_WINDOW_RESULT,      /* id; u64 head, u64 floor, u32 abouts, u8 more, u32 count,
	                           count x event; also the answer to HUB_ABOUT */
	HUB_SUBSCRIBE_RESULT,   /* id; u64 head */
	HUB_EVENT,              /* event */
	HUB_CASTED,             /* as HUB_CAST */
	HUB_TOLD,               /* id: slot of the worker it is from */
	HUB_PEER,               /* id: slot; u8 there */
	HUB_ANNOUNCED,          /* as HUB_ANNOUNCE */
	HUB_COUNT_RESULT,       /* id; u64 count, i64 left_ms */
	HUB_FIND_RESULT,        /* id; u8 found, event if it was */
	HUB_CASTED_MANY,        /* as HUB_CAST_MANY */
	HUB_PRESENCE_CHANGED,   /* str user, u8 enum presence, i64 wall ms when the last client went */
	HUB_PRESENCE_RESULT     /* id; u32 count, count x u8 enum presence */
};

#endif
