/* SPDX-License-Identifier: ISC */
/*
 * presence: /v1/presence.  Worker, loop thread.
 */
#include <string.h>

#include "api/api_int.h"

/* ?users=usr_a,usr_b */
void
api_get_presence(struct api_call *call)
{
	const char *query = http_query(call->req, "users"), *users[CHAT_PRESENCE_MAX];
	char ids[CHAT_PRESENCE_MAX][ID_MAX];
	size_t n = 0;

	if (!query || !*query) {
		api_fail(call, ERR_INVALID_FIELD, "/users", "required");
		return;
	}
	for (;;) {
		size_t len = strcspn(query, ",");

		if (n == CHAT_PRESENCE_MAX || len >= ID_MAX) {
			api_fail(call, ERR_INVALID_FIELD, "/users",
			    len >= ID_MAX ? "invalid" : "too_many");
			return;
		}
		memcpy(ids[n], query, len);
		ids[n][len] = '\0';
		users[n] = ids[n];
		n++;
		if (!query[len])
			break;
		query += len + 1;
	}
	chat_presence_get(call->api->chat, call->who.user, users, n, "/users", api_done, call);
}
