/* SPDX-License-Identifier: ISC */
/*
 * users: /v1/users.  Worker, loop thread.
 */
#include "api/api_int.h"

void
api_get_me(struct api_call *call)
{
	chat_user_get(call->api->chat, call->who.user, true, api_done, call);
}

void
api_get_user(struct api_call *call)
{
	chat_user_get(call->api->chat, call->params[0], false, api_done, call);
}

void
api_get_users(struct api_call *call)
{
	struct api_page page;

	if (api_page(call, &page))
		chat_user_list(
		    call->api->chat, page.q, page.cursor, page.limit, false, api_done, call);
}

void
api_patch_me(struct api_call *call)
{
	struct chat_profile in = {0};
	const struct field fields[] = {
	    {"name", FIELD_STR, false, &in.name},
	    {"avatar", FIELD_STR, false, &in.avatar},
	    {"bio", FIELD_STR, false, &in.bio},
	    {"time_zone", FIELD_STR, false, &in.time_zone},
	};
	uint64_t version;

	if (!api_if_match(call, &version))
		return;
	if (api_fields(call, fields, 4))
		chat_user_update(call->api->chat, call->who.user, &in, version, api_done, call);
}

void
api_delete_me(struct api_call *call)
{
	const char *password;
	const struct field fields[] = {{"password", FIELD_STR, true, &password}};

	if (api_fields(call, fields, 1))
		chat_user_deactivate(call->api->chat, call->who.user, password, api_done, call);
}
