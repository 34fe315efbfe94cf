/* SPDX-License-Identifier: ISC */
/*
 * identity: whose request it is, by an access token in the header Authorization or in a
 * cookie, and the cookies themselves.  Worker, loop thread.
 *
 * A browser adds cookies to whatever a page makes it send, also to what another site's page
 * forged.  So what they stand for in a request that may change something counts only with
 * a header that such a page cannot set and an Origin that is ours; SameSite is the second
 * wall.  A token in Authorization is put there by the client's own code and needs neither.
 */
#include <string.h>
#include <strings.h>

#include "api/api_int.h"

#define REFRESH_COOKIE "palaver_refresh"
#define CSRF_HEADER    "x-palaver-csrf"
#define COOKIE_MAX     1024

int
api_identify(struct api *api, const char *token, const char *cookie, struct chat_identity *who)
{
	if (!token)
		token = cookie;
	return token ? chat_identify(api->chat, token, who) : ERR_UNAUTHORIZED;
}

bool
api_is_safe(const struct http_req *r)
{
	return http_method(r) == HTTP_GET || http_method(r) == HTTP_HEAD;
}

int
api_check_csrf(const struct http_req *r)
{
	const char *header = http_header(r, CSRF_HEADER);

	if (api_is_safe(r))
		return 0;
	return header && strcmp(header, "1") == 0 && http_origin_allowed(r) ? 0 : ERR_CSRF;
}

int
api_check_login(struct api_call *call)
{
	const char *h = http_header(call->req, "authorization"), *cookie = NULL;
	char value[COOKIE_MAX];
	int err;

	if (h && strncasecmp(h, "Bearer ", 7) != 0)
		return ERR_UNAUTHORIZED;
	if (!h && http_cookie(call->req, API_COOKIE, value, sizeof(value)))
		cookie = value;
	err = cookie ? api_check_csrf(call->req) : 0;
	return err ? err : api_identify(call->api, h ? h + 7 : NULL, cookie, &call->who);
}

bool
api_refresh_cookie(const struct api_call *call, char *dst, size_t size)
{
	return http_cookie(call->req, REFRESH_COOKIE, dst, size);
}

/* RFC 6265, 4.1; over https with the prefix that no other host can use (6265bis, 4.1.3.2). */
static void
put_cookie(struct buf *headers, const struct http_req *r, const char *name, const char *value,
    int64_t ttl_ms)
{
	bool secure = http_is_secure(r);

	buf_printf(headers,
	    "Set-Cookie: %s%s=%s; Path=/; Max-Age=%lld;%s HttpOnly; SameSite=Lax\r\n",
	    secure ? HTTP_COOKIE_PREFIX : "", name, value, (long long)((ttl_ms + 999) / 1000),
	    secure ? " Secure;" : "");
}

void
api_put_cookies(struct buf *headers, const struct http_req *r, const struct chat_result *res)
{
	if (res->access_token)
		put_cookie(headers, r, API_COOKIE, res->access_token, res->access_ttl);
	if (res->refresh_token)
		put_cookie(headers, r, REFRESH_COOKIE, res->refresh_token, res->refresh_ttl);
}

void
api_clear_cookies(struct buf *headers, const struct http_req *r)
{
	if (!http_header(r, "cookie"))
		return;
	put_cookie(headers, r, API_COOKIE, "", 0);
	put_cookie(headers, r, REFRESH_COOKIE, "", 0);
}
