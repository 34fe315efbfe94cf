/* SPDX-License-Identifier: ISC */
/*
 * conversations: /v1/conversations and their members.  Worker, loop thread.
 */
#include <stdlib.h>

#include "api/api_int.h"

void
api_get_conversations(struct api_call *call)
{
	const char *cursor = http_query(call->req, "cursor");
	size_t limit;

	if (api_limit(call, CHAT_PAGE, STORE_PAGE_MAX, &limit))
		chat_conversation_list(
		    call->api->chat, call->who.user, cursor ? cursor : "", limit, api_done, call);
}

void
api_post_conversations(struct api_call *call)
{
	const char *pointer, *reason, **members;
	struct chat_create in = {0};
	struct json_object *list = NULL;
	const struct field fields[] = {
	    {"type", FIELD_STR, true, &in.type},
	    {"name", FIELD_STR, false, &in.name},
	    {"members", FIELD_STRS, true, &list},
	};

	if (fields_read(call->body, fields, 3, &pointer, &reason)) {
		api_fail(call, ERR_INVALID_FIELD, pointer, reason);
		return;
	}
	members = fields_strings(list, &in.member_count);
	in.members = members;
	chat_conversation_create(call->api->chat, call->who.user, &in, api_done, call);
	free(members);
}

void
api_get_conversation(struct api_call *call)
{
	chat_conversation_get(call->api->chat, call->who.user, call->params[0], api_done, call);
}

void
api_post_members(struct api_call *call)
{
	const char *pointer, *reason, **users;
	struct json_object *list = NULL;
	const struct field fields[] = {{"user_ids", FIELD_STRS, true, &list}};
	size_t count;

	if (fields_read(call->body, fields, 1, &pointer, &reason)) {
		api_fail(call, ERR_INVALID_FIELD, pointer, reason);
		return;
	}
	users = fields_strings(list, &count);
	chat_members_add(
	    call->api->chat, call->who.user, call->params[0], users, count, api_done, call);
	free(users);
}
