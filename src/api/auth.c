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

/* address is the memory of from->address. */
static void
read_origin(struct api_call *call, struct chat_origin *from, char address[HTTP_ADDRESS_MAX])
{
	http_address(call->req, address);
	from->address = address;
	from->agent = http_header(call->req, "user-agent");
}

/* Adds the tokens to the answer. */
static void
login_done(void *arg, const struct chat_result *res)
{
	struct chat_result with = *res;
	struct buf json;

	if (res->err) {
		api_done(arg, res);
		return;
	}
	buf_init(&json);
	buf_append(&json, res->json, res->json_len - 1);
	buf_printf(&json, ",\"access_token\":\"%s\",\"token_type\":\"Bearer\"", res->access_token);
	if (res->refresh_token)
		buf_printf(&json, ",\"refresh_token\":\"%s\"", res->refresh_token);
	buf_putc(&json, '}');
	with.json = (const char *)json.data;
	with.json_len = json.len;
	api_done(arg, &with);
	explicit_bzero(json.data, json.len);
	buf_fini(&json);
}

/* The refresh token of the body, or else of the cookie. */
static bool
given_token(struct api_call *call, char token[COOKIE_MAX])
{
	const char *pointer, *reason, *text = NULL;
	const struct field fields[] = {{"refresh_token", FIELD_STR, false, &text}};

	if (fields_read(call->body, fields, 1, &pointer, &reason)) {
		api_fail(call, ERR_INVALID_FIELD, pointer, reason);
		return false;
	}
	if (text ? str_copy(token, COOKIE_MAX, text) : refresh_cookie(call, token))
		return true;
	api_fail(call, ERR_UNAUTHORIZED, NULL, NULL);
	return false;
}

void
api_post_signup(struct api_call *call)
{
	const char *pointer, *reason;
	char address[HTTP_ADDRESS_MAX];
	struct chat_origin from;
	struct chat_signup in = {.from = &from};
	const struct field fields[] = {
	    {"username", FIELD_STR, true, &in.username},
	    {"password", FIELD_STR, true, &in.password},
	    {"name", FIELD_STR, false, &in.name},
	    {"invitation", FIELD_STR, false, &in.invitation},
	};

	read_origin(call, &from, address);
	if (fields_read(call->body, fields, 4, &pointer, &reason))
		api_fail(call, ERR_INVALID_FIELD, pointer, reason);
	else
		chat_signup(call->api->chat, &in, login_done, call);
}

void
api_post_login(struct api_call *call)
{
	const char *pointer, *reason, *username, *password;
	char address[HTTP_ADDRESS_MAX];
	struct chat_origin from;
	const struct field fields[] = {
	    {"username", FIELD_STR, true, &username},
	    {"password", FIELD_STR, true, &password},
	};

	read_origin(call, &from, address);
	if (fields_read(call->body, fields, 2, &pointer, &reason))
		api_fail(call, ERR_INVALID_FIELD, pointer, reason);
	else
		chat_login(call->api->chat, username, password, &from, login_done, call);
}

void
api_post_refresh(struct api_call *call)
{
	char token[COOKIE_MAX], address[HTTP_ADDRESS_MAX];
	struct chat_origin from;

	read_origin(call, &from, address);
	if (given_token(call, token))
		chat_refresh(call->api->chat, token, &from, login_done, call);
}

void
api_post_logout(struct api_call *call)
{
	char token[COOKIE_MAX];

	if (given_token(call, token))
		chat_logout(call->api->chat, token, api_done, call);
}
