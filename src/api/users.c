/* SPDX-License-Identifier: ISC */
/*
 * users: /v1/users.  Worker, loop thread.
 */
#include "api/api_int.h"

void
api_get_me(struct api_call *call)
{
	chat_user_get(call->api->chat, call->who.user, api_done, call);
}

void
api_get_user(struct api_call *call)
{
	chat_user_get(call->api->chat, call->params[0], api_done, call);
}

void
api_get_users(struct api_call *call)
{
	const char *q = http_query(call->req, "q"), *cursor = http_query(call->req, "cursor");
	size_t limit;

	if (api_limit(call, CHAT_PAGE, STORE_PAGE_MAX, &limit))
		chat_user_list(call->api->chat, q ? q : "", cursor ? cursor : "", limit, false,
		    api_done, call);
}
