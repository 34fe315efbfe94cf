/* SPDX-License-Identifier: ISC */
/*
 * auth: /v1/auth: sign-up, login, refresh, logout.  Worker, loop thread.
 */
#include <stdlib.h>
#include <string.h>

#include "api/api_int.h"

#define TOKEN_MAX 128 /* of a refresh token */

/* address is the memory of from->address. */
static void
read_origin(struct api_call *call, struct chat_origin *from, char address[HTTP_ADDRESS_MAX])
{
	http_address(call->req, address);
	from->limited = http_address_known(call->req);
	from->address = address;
	from->agent = http_header(call->req, "user-agent");
}

/* Adds the tokens to the answer; in cookies no script can read them. */
static void
login_done(void *arg, const struct chat_result *res)
{
	struct chat_result with = *res;
	struct buf json;

	if (res->err || ((struct api_call *)arg)->cookies) {
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

/* The refresh token of the body, or else of the cookie; false: the call was answered. */
static bool
given_token(struct api_call *call, char token[TOKEN_MAX])
{
	const char *text = NULL;
	const struct field fields[] = {{"refresh_token", FIELD_STR, false, &text}};
	int err = ERR_UNAUTHORIZED;

	if (!api_fields(call, fields, 1))
		return false;
	if (text) {
		err = str_copy(token, TOKEN_MAX, text) ? 0 : ERR_UNAUTHORIZED;
	} else if (api_refresh_cookie(call, token, TOKEN_MAX)) {
		err = api_check_csrf(call->req);
		call->cookies = !err;
	}
	if (err)
		api_fail(call, err, NULL, NULL);
	return !err;
}

/*
 * Who asks for cookies proves that no other site's page does: it could log its visitor in to
 * an account of its own.  false: the call was answered.
 */
static bool
may_have_cookies(struct api_call *call)
{
	int err = call->cookies ? api_check_csrf(call->req) : 0;

	if (err)
		api_fail(call, err, NULL, NULL);
	return !err;
}

void
api_post_signup(struct api_call *call)
{
	char address[HTTP_ADDRESS_MAX];
	struct chat_origin from;
	struct chat_signup in = {.from = &from};
	const struct field fields[] = {
	    {"username", FIELD_STR, true, &in.username},
	    {"password", FIELD_STR, true, &in.password},
	    {"name", FIELD_STR, false, &in.name},
	    {"invitation", FIELD_STR, false, &in.invitation},
	    {"cookies", FIELD_BOOL, false, &call->cookies},
	};

	read_origin(call, &from, address);
	if (api_fields(call, fields, 5) && may_have_cookies(call))
		chat_signup(call->api->chat, &in, login_done, call);
}

void
api_post_login(struct api_call *call)
{
	const char *username, *password;
	char address[HTTP_ADDRESS_MAX];
	struct chat_origin from;
	const struct field fields[] = {
	    {"username", FIELD_STR, true, &username},
	    {"password", FIELD_STR, true, &password},
	    {"cookies", FIELD_BOOL, false, &call->cookies},
	};

	read_origin(call, &from, address);
	if (api_fields(call, fields, 3) && may_have_cookies(call))
		chat_login(call->api->chat, username, password, &from, login_done, call);
}

void
api_post_refresh(struct api_call *call)
{
	char token[TOKEN_MAX], address[HTTP_ADDRESS_MAX];
	struct chat_origin from;

	read_origin(call, &from, address);
	if (given_token(call, token))
		chat_refresh(call->api->chat, token, &from, login_done, call);
}

void
api_post_logout(struct api_call *call)
{
	char token[TOKEN_MAX];

	if (given_token(call, token))
		chat_logout(call->api->chat, token, api_done, call);
}
