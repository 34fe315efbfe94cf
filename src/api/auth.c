/* SPDX-License-Identifier: ISC */
/*
 * auth: /v1/auth: sign-up, login, refresh, logout.  Worker, loop thread.
 */
#include <stdlib.h>
#include <string.h>

#include "api/api_int.h"

#define COOKIE     "palaver_refresh="
#define COOKIE_MAX 128

/* The refresh token of the Cookie header (RFC 6265, 4.2); false: none. */
static bool
refresh_cookie(const struct api_call *call, char dst[COOKIE_MAX])
{
	const char *p = http_header(call->req, "cookie");

	while (p && *p) {
		size_t len;

		p += strspn(p, "; ");
		len = strcspn(p, ";");
		if (strncmp(p, COOKIE, sizeof(COOKIE) - 1) == 0) {
			p += sizeof(COOKIE) - 1;
			len -= sizeof(COOKIE) - 1;
			if (!len || len >= COOKIE_MAX)
				return false;
			memcpy(dst, p, len);
			dst[len] = '\0';
			return true;
		}
		p += len;
	}
	return false;
}

void
api_post_signup(struct api_call *call)
{
	const char *pointer, *reason;
	struct chat_signup in = {0};
	const struct field fields[] = {
	    {"username", FIELD_STR, true, &in.username},
	    {"password", FIELD_STR, true, &in.password},
	    {"name", FIELD_STR, false, &in.name},
	    {"invitation", FIELD_STR, false, &in.invitation},
	};

	if (fields_read(call->body, fields, 4, &pointer, &reason))
		api_fail(call, ERR_INVALID_FIELD, pointer, reason);
	else
		chat_signup(call->api->chat, &in, api_done, call);
}

void
api_post_login(struct api_call *call)
{
	const char *pointer, *reason, *username, *password;
	const struct field fields[] = {
	    {"username", FIELD_STR, true, &username},
	    {"password", FIELD_STR, true, &password},
	};

	if (fields_read(call->body, fields, 2, &pointer, &reason))
		api_fail(call, ERR_INVALID_FIELD, pointer, reason);
	else
		chat_login(call->api->chat, username, password, api_done, call);
}

void
api_post_refresh(struct api_call *call)
{
	char token[COOKIE_MAX];

	if (refresh_cookie(call, token))
		chat_refresh(call->api->chat, token, api_done, call);
	else
		api_fail(call, ERR_UNAUTHORIZED, NULL, NULL);
}

void
api_post_logout(struct api_call *call)
{
	char token[COOKIE_MAX];

	if (refresh_cookie(call, token))
		chat_logout(call->api->chat, token, api_done, call);
	else
		api_fail(call, ERR_UNAUTHORIZED, NULL, NULL);
}
