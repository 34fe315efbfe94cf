/* SPDX-License-Identifier: ISC */
/*
 * typing: who is writing in a conversation.  Worker, loop thread.
 */
#include "chat/chat_int.h"

void
typing_cast(struct chat *c, const char *conversation, const char *sender, struct unpack *u)
{
	char id[1][ID_MAX];
	struct buf json;
	bool typing;

	typing = unpack_u8(u) != 0;
	if (!unpack_end(u))
		return;
	str_copy(id[0], ID_MAX, conversation);
	buf_init(&json);
	buf_printf(&json, "{\"conversation_id\":\"%s\",\"user_id\":\"%s\"}", conversation, sender);
	room_send_once(c, (const char(*)[ID_MAX])id, 1,
	    typing ? "typing.started" : "typing.stopped", (const char *)json.data, json.len,
	    sender);
	buf_fini(&json);
}

int
chat_typing(struct chat *c, struct client *cl, const char *conversation, bool typing)
{
	struct buf b;

	if (!client_attachment(cl, conversation))
		return ERR_NOT_FOUND;
	buf_init(&b);
	pack_u8(&b, typing);
	chat_cast(c, conversation, cl->user->id, CAST_TYPING, &b);
	buf_fini(&b);
	return 0;
}
