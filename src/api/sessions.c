/* SPDX-License-Identifier: ISC */
/*
 * sessions: /v1/users/me/sessions and /v1/users/me/password: a user's own logins.
 * Worker, loop thread.
 */
#include "api/api_int.h"

void
api_get_sessions(struct api_call *call)
{
	chat_session_list(call->api->chat, &call->who, api_done, call);
}

void
api_delete_sessions(struct api_call *call)
{
	chat_session_end_others(call->api->chat, &call->who, api_done, call);
}

void
api_delete_session(struct api_call *call)
{
	chat_session_end(call->api->chat, &call->who, call->params[0], api_done, call);
}

void
api_put_password(struct api_call *call)
{
	const char *current, *fresh;
	const struct field fields[] = {
	    {"current_password", FIELD_STR, true, &current},
	    {"new_password", FIELD_STR, true, &fresh},
	};

	if (api_fields(call, fields, 2))
		chat_password_change(call->api->chat, &call->who, current, fresh, api_done, call);
}
