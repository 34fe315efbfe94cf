/* SPDX-License-Identifier: ISC */
/*
 * members: /v1/conversations/{id}/members.  Worker, loop thread.
 */
#include <stdlib.h>
#include <string.h>

#include "api/api_int.h"

void
api_get_members(struct api_call *call)
{
	struct api_page page;

	if (api_page(call, &page))
		chat_members_list(call->api->chat, call->who.user, call->params[0], page.cursor,
		    page.limit, api_done, call);
}

void
api_post_members(struct api_call *call)
{
	const char *role = NULL, **users;
	struct json_object *list = NULL;
	const struct field fields[] = {
	    {"user_ids", FIELD_STRS, true, &list},
	    {"role", FIELD_STR, false, &role},
	};
	size_t count;

	if (!api_fields(call, fields, 2))
		return;
	users = fields_strings(list, &count);
	chat_members_add(
	    call->api->chat, call->who.user, call->params[0], users, count, role, api_done, call);
	free(users);
}

/* "me" stands for who asks. */
static const char *
target(const struct api_call *call)
{
	return strcmp(call->params[1], "me") == 0 ? call->who.user : call->params[1];
}

/* {muted}: everybody's own, and of no other member. */
static void
mute(struct api_call *call)
{
	const char *role = NULL;
	bool muted = false;
	const struct field fields[] = {
	    {"muted", FIELD_BOOL, true, &muted},
	    {"role", FIELD_STR, false, &role},
	};

	if (!api_fields(call, fields, 2))
		return;
	if (role)
		api_fail(call, ERR_INVALID_FIELD, "/role", "exclusive");
	else if (strcmp(target(call), call->who.user) != 0)
		api_fail(call, ERR_FORBIDDEN, NULL, NULL);
	else
		chat_mute(call->api->chat, call->who.user, call->params[0], muted, api_done, call);
}

void
api_patch_member(struct api_call *call)
{
	const char *role;
	const struct field fields[] = {{"role", FIELD_STR, true, &role}};

	if (json_object_object_get_ex(call->body, "muted", NULL))
		mute(call);
	else if (api_fields(call, fields, 1))
		chat_member_set_role(call->api->chat, call->who.user, call->params[0], target(call),
		    role, api_done, call);
}

void
api_delete_member(struct api_call *call)
{
	chat_member_remove(call->api->chat, call->who.user, call->params[0], target(call),
	    http_query(call->req, "successor"), api_done, call);
}
