/* SPDX-License-Identifier: ISC */
/*
 * origin: which web pages may talk to this server, and the CORS headers that tell their
 * browsers (protocol, section 9.1; the Fetch standard).  Loop thread.
 *
 * Programs send no Origin and are let pass: this protects people's browsers, not us.
 */
#include <string.h>
#include <strings.h>

#include "wire/wire_int.h"

/* Is the page from this server itself?  The scheme is not known behind a proxy. */
static bool
own(const char *origin, const char *host)
{
	const char *authority = strstr(origin, "://");

	return authority && host && strcasecmp(authority + 3, host) == 0;
}

static bool
listed(const char *list, const char *origin)
{
	size_t n = strlen(origin);

	while (*list) {
		size_t len;

		list += strspn(list, " \t\n");
		len = strcspn(list, " \t\n");
		if (len == n && strncasecmp(list, origin, n) == 0)
			return true;
		if (len == 1 && *list == '*')
			return true;
		list += len;
	}
	return false;
}

static bool
any(const struct wire *w)
{
	return listed(w->origins, "*");
}

bool
origin_allowed(const struct wire *w, const struct http_req *r)
{
	const char *origin = http_header(r, "origin");

	return !origin || !w->origins || own(origin, http_header(r, "host")) ||
	       listed(w->origins, origin);
}

void
origin_put_headers(struct buf *b, const struct wire *w, const struct http_req *r)
{
	const char *origin = http_header(r, "origin");
	bool star = w->origins && any(w) && !w->opts.origins_credentials;

	if (!w->origins || !*w->origins)
		return;
	if (star) {
		buf_puts(b, "Access-Control-Allow-Origin: *\r\n");
		return;
	}
	buf_puts(b, "Vary: Origin\r\n");
	if (!origin || !listed(w->origins, origin))
		return;
	buf_printf(b, "Access-Control-Allow-Origin: %s\r\n", origin);
	if (w->opts.origins_credentials)
		buf_puts(b, "Access-Control-Allow-Credentials: true\r\n");
}

bool
origin_preflight(struct http_req *r, const struct wire *w)
{
	const char *wanted = http_header(r, "access-control-request-headers");
	struct buf b;

	if (http_method(r) != HTTP_OPTIONS || !w->origins || !*w->origins ||
	    !http_header(r, "origin") || !origin_allowed(w, r))
		return false;
	buf_init(&b);
	buf_puts(&b, "Access-Control-Allow-Methods: GET,HEAD,PUT,PATCH,POST,DELETE\r\n"
		     "Access-Control-Max-Age: 600\r\n");
	if (wanted)
		buf_printf(&b,
		    "Access-Control-Allow-Headers: %s\r\nVary: Access-Control-Request-Headers\r\n",
		    wanted);
	http_reply(r, 204, NULL, buf_cstr(&b), NULL, 0);
	buf_fini(&b);
	return true;
}
