/* SPDX-License-Identifier: ISC */
/*
 * origin: which web pages may talk to this server, and the CORS headers that tell their
 * browsers (protocol, section 9.1; the Fetch standard); whose requests may act with the
 * rights of a cookie; and the cookie's value.  Loop thread.
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
in_list(const char *list, const char *origin)
{
	size_t n = strlen(origin);

	while (*list) {
		size_t len;

		list += strspn(list, " \t\n");
		len = strcspn(list, " \t\n");
		if (len && len == n && strncasecmp(list, origin, n) == 0)
			return true;
		list += len;
	}
	return false;
}

static bool
any(const struct wire *w)
{
	return in_list(w->origins, "*");
}

static bool
listed(const char *list, const char *origin)
{
	return in_list(list, "*") || in_list(list, origin);
}

bool
origin_allowed(const struct wire *w, const struct http_req *r)
{
	const char *origin = http_header(r, "origin");

	return !origin || !w->origins || own(origin, http_header(r, "host")) ||
	       listed(w->origins, origin);
}

/* The length of an authority without the port that its scheme has anyway (RFC 6454, 6.1). */
static size_t
authority_len(const char *text, bool secure)
{
	const char *port = secure ? ":443" : ":80";
	size_t len = strlen(text), n = strlen(port);

	return len > n && strcmp(text + len - n, port) == 0 ? len - n : len;
}

bool
origin_trusted(const struct wire *w, const struct http_req *r, bool secure)
{
	const char *origin = http_header(r, "origin"), *host = http_header(r, "host");
	const char *scheme = secure ? "https://" : "http://", *authority;
	size_t len;

	if (!origin)
		return false;
	if (w->origins && strcmp(origin, "*") != 0 && strcmp(origin, "null") != 0 &&
	    in_list(w->origins, origin))
		return true;
	if (!host || strncasecmp(origin, scheme, strlen(scheme)) != 0)
		return false;
	authority = origin + strlen(scheme);
	len = authority_len(authority, secure);
	return len == authority_len(host, secure) && strncasecmp(authority, host, len) == 0;
}

bool
cookie_value(const char *header, const char *prefix, const char *name, char *dst, size_t size)
{
	size_t prefix_len = strlen(prefix), name_len = strlen(name);

	for (const char *p = header; p && *p;) {
		size_t len;

		p += strspn(p, "; \t");
		len = strcspn(p, ";");
		if (strncmp(p, prefix, prefix_len) == 0 &&
		    strncmp(p + prefix_len, name, name_len) == 0 &&
		    p[prefix_len + name_len] == '=') {
			p += prefix_len + name_len + 1;
			len = strcspn(p, "; \t");
			if (!len || len >= size)
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
