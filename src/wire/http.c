/* SPDX-License-Identifier: ISC */
/*
 * http: requests and answers over a libwebsockets connection.  Loop thread.
 *
 * The headers that are needed are copied when a request begins, because
 * libwebsockets lets go of them.  Answers are written by the WRITEABLE callback, as
 * bytes that are complete with status line and headers.
 *
 * What libwebsockets lets pass and RFC 9112 does not is refused in guard().
 */
#include "wire/http.h"

#include <stdlib.h>
#include <string.h>

#include "lib/id.h"
#include "lib/log.h"
#include "wire/wire_int.h"

#define PATH_MAX_BYTES  1024
#define VALUE_MAX_BYTES 4096
#define QUERY_MAX       16
#define HEADER_COUNT    6

static const struct {
	const char *name;
	enum lws_token_indexes token;
} kept_headers[HEADER_COUNT] = {
    {"authorization", WSI_TOKEN_HTTP_AUTHORIZATION},
    {"cookie", WSI_TOKEN_HTTP_COOKIE},
    {"content-type", WSI_TOKEN_HTTP_CONTENT_TYPE},
    {"origin", WSI_TOKEN_ORIGIN},
    {"user-agent", WSI_TOKEN_HTTP_USER_AGENT},
    {"if-none-match", WSI_TOKEN_HTTP_IF_NONE_MATCH},
};

struct http_req {
	struct conn *conn; /* NULL: gone */
	enum http_method method;
	char path[PATH_MAX_BYTES];
	char request_id[20];
	char *headers[HEADER_COUNT];
	char *query[QUERY_MAX]; /* "name=value", decoded */
	size_t query_count;
	struct buf body;
	size_t length; /* that was announced */
	bool complete; /* handed over: libwebsockets tells of the end of an empty body, too */
	ev_timer deadline;
	void (*abort)(void *arg);
	void *abort_arg;
};

/* ---- reading ---- */

static char *
copy_header(struct lws *wsi, enum lws_token_indexes token)
{
	int len = lws_hdr_total_length(wsi, token);
	char *s;

	if (len <= 0 || len > VALUE_MAX_BYTES)
		return NULL;
	s = xmalloc((size_t)len + 1);
	if (lws_hdr_copy(wsi, s, len + 1, token) < 0)
		s[0] = '\0';
	return s;
}

bool
http_query_of(struct lws *wsi, const char *name, char *dst, size_t size)
{
	size_t n = strlen(name);
	char arg[512];
	bool found = false;

	for (int i = 0;
	     lws_hdr_copy_fragment(wsi, arg, sizeof(arg), WSI_TOKEN_HTTP_URI_ARGS, i) >= 0; i++) {
		if (strncmp(arg, name, n) != 0 || arg[n] != '=')
			continue;
		if (str_copy(dst, size, arg + n + 1))
			found = true; /* the last one wins */
	}
	return found;
}

static void
copy_query(struct http_req *r, struct lws *wsi)
{
	char arg[VALUE_MAX_BYTES];

	while (r->query_count < QUERY_MAX && lws_hdr_copy_fragment(wsi, arg, sizeof(arg),
						 WSI_TOKEN_HTTP_URI_ARGS, (int)r->query_count) >= 0)
		r->query[r->query_count++] = xstrdup(arg);
}

static bool
read_method(struct lws *wsi, enum http_method *m)
{
	static const enum http_method methods[] = {
	    [LWSHUMETH_GET] = HTTP_GET,
	    [LWSHUMETH_POST] = HTTP_POST,
	    [LWSHUMETH_OPTIONS] = HTTP_OPTIONS,
	    [LWSHUMETH_PUT] = HTTP_PUT,
	    [LWSHUMETH_PATCH] = HTTP_PATCH,
	    [LWSHUMETH_DELETE] = HTTP_DELETE,
	    [LWSHUMETH_CONNECT] = HTTP_GET,
	    [LWSHUMETH_HEAD] = HTTP_HEAD,
	};
	char *uri;
	int len, n = lws_http_get_uri_and_method(wsi, &uri, &len);

	if (n < 0 || n > LWSHUMETH_HEAD || n == LWSHUMETH_CONNECT)
		return false;
	*m = methods[n];
	return true;
}

/* The announced length; false: there is one and it is not one plain number. */
static bool
read_length(struct lws *wsi, size_t *length_r, bool *given_r)
{
	char text[32];
	int n = lws_hdr_total_length(wsi, WSI_TOKEN_HTTP_CONTENT_LENGTH);

	*length_r = 0;
	*given_r = n > 0;
	if (n <= 0)
		return true;
	if (n > 15 || lws_hdr_copy(wsi, text, sizeof(text), WSI_TOKEN_HTTP_CONTENT_LENGTH) < 0)
		return false;
	for (const char *p = text; *p; p++) {
		if (*p < '0' || *p > '9')
			return false; /* a second one arrives joined by a comma */
		*length_r = *length_r * 10 + (size_t)(*p - '0');
	}
	return true;
}

static void
refuse(struct conn *c, int status, const char *code)
{
	struct buf b;

	buf_init(&b);
	buf_printf(&b, "{\"type\":\"about:blank\",\"title\":\"%s\",\"status\":%d,\"code\":\"%s\"}",
	    status == 413 ? "The request is too large" : "The request is malformed", status, code);
	http_put_reply(c, status, "application/problem+json", NULL, NULL, b.data, b.len);
	c->reply_ends = true;
	c->wire->stats.protocol_errors++;
	buf_fini(&b);
}

/* false: refused, the answer is in place. */
static bool
guard(struct conn *c, size_t *length_r, bool *given_r, enum http_method *method_r)
{
	struct lws *wsi = c->wsi;

	if (lws_hdr_total_length(wsi, WSI_TOKEN_HTTP_TRANSFER_ENCODING) > 0)
		refuse(c, 411, "length_required");
	else if (!read_length(wsi, length_r, given_r))
		refuse(c, 400, "bad_content_length");
	else if (lws_hdr_total_length(wsi, WSI_TOKEN_HOST) <= 0)
		refuse(c, 400, "host_required");
	else if (!read_method(wsi, method_r))
		refuse(c, 405, "method_not_allowed");
	else if (*length_r > c->wire->opts.max_body)
		refuse(c, 413, "too_large");
	else
		return true;
	return false;
}

static void
body_late(struct ev_loop *l, ev_timer *t, int revents)
{
	struct http_req *r = t->data;
	struct conn *c = r->conn;

	if (!c)
		return;
	refuse(c, 408, "timeout");
	c->req = NULL;
	http_req_gone(r);
	conn_want_write(c);
}

struct http_req *
http_req_begin(struct conn *c, const char *uri, bool *complete_r)
{
	enum http_method method;
	struct http_req *r;
	size_t length;
	bool given;

	if (!guard(c, &length, &given, &method))
		return NULL;
	r = xcalloc(1, sizeof(*r));
	r->conn = c;
	r->method = method;
	r->length = length;
	random_token(r->request_id, 12);
	if (!str_copy(r->path, sizeof(r->path), uri)) {
		refuse(c, 414, "uri_too_long");
		free(r);
		return NULL;
	}
	for (size_t i = 0; i < HEADER_COUNT; i++)
		r->headers[i] = copy_header(c->wsi, kept_headers[i].token);
	copy_query(r, c->wsi);
	/* Without a length libwebsockets would wait for a body: answer, then close. */
	if (!given && (method == HTTP_POST || method == HTTP_PUT || method == HTTP_PATCH))
		c->reply_ends = true;
	*complete_r = length == 0;
	ev_timer_init(&r->deadline, body_late, (double)c->wire->opts.body_timeout / 1000.0, 0);
	r->deadline.data = r;
	if (length)
		ev_timer_start(loop_ev(), &r->deadline);
	c->req = r;
	return r;
}

bool
http_req_body(struct http_req *r, const void *data, size_t len)
{
	if (r->body.len + len > r->length) {
		refuse(r->conn, 400, "bad_content_length");
		return false;
	}
	buf_append(&r->body, data, len);
	return true;
}

void
http_req_complete(struct http_req *r)
{
	struct wire *w = r->conn->wire;
	const char *prefix = w->app.rest_prefix;

	if (r->complete)
		return;
	r->complete = true;
	ev_timer_stop(loop_ev(), &r->deadline);
	if (w->draining) {
		http_reply(r, 503, "text/plain", "Retry-After: 1\r\nConnection: close\r\n",
		    "shutting down\n", 14);
	} else if (strncmp(r->path, prefix, strlen(prefix)) == 0) {
		w->app.request(w->app.arg, r);
	} else if (strncmp(r->path, w->sio_path, strlen(w->sio_path)) == 0) {
		static const char unknown[] = "{\"code\":0,\"message\":\"Transport unknown\"}";

		/* Long-polling comes with a later release; protocol, section 2.3. */
		http_reply(r, 400, "application/json", NULL, unknown, sizeof(unknown) - 1);
	} else {
		static_serve(r, w->web_root, http_header(r, "if-none-match"));
	}
}

static void
req_free(struct http_req *r)
{
	ev_timer_stop(loop_ev(), &r->deadline);
	for (size_t i = 0; i < HEADER_COUNT; i++)
		free(r->headers[i]);
	for (size_t i = 0; i < r->query_count; i++)
		free(r->query[i]);
	buf_fini(&r->body);
	free(r);
}

void
http_req_gone(struct http_req *r)
{
	if (r->abort)
		r->abort(r->abort_arg);
	req_free(r);
}

/* ---- writing ---- */

static const char *
reason_phrase(int status)
{
	static const struct {
		int status;
		const char *text;
	} phrases[] = {{200, "OK"}, {201, "Created"}, {204, "No Content"}, {304, "Not Modified"},
	    {400, "Bad Request"}, {401, "Unauthorized"}, {403, "Forbidden"}, {404, "Not Found"},
	    {405, "Method Not Allowed"}, {408, "Request Timeout"}, {409, "Conflict"},
	    {411, "Length Required"}, {413, "Content Too Large"}, {414, "URI Too Long"},
	    {422, "Unprocessable Content"}, {429, "Too Many Requests"},
	    {500, "Internal Server Error"}, {503, "Service Unavailable"}};

	for (size_t i = 0; i < sizeof(phrases) / sizeof(*phrases); i++)
		if (phrases[i].status == status)
			return phrases[i].text;
	return "Status";
}

void
http_put_reply(struct conn *c, int status, const char *type, const char *headers,
    const char *request_id, const void *body, size_t len)
{
	struct buf *b = &c->reply;

	buf_clear(b);
	buf_printf(b, "HTTP/1.1 %d %s\r\n", status, reason_phrase(status));
	if (type)
		buf_printf(b, "Content-Type: %s\r\n", type);
	if (status != 204 && status != 304)
		buf_printf(b, "Content-Length: %zu\r\n", len);
	if (!headers || !strstr(headers, "Cache-Control:"))
		buf_puts(b, "Cache-Control: no-store\r\n");
	buf_puts(b, "X-Content-Type-Options: nosniff\r\n");
	if (request_id)
		buf_printf(b, "X-Request-Id: %s\r\n", request_id);
	if (c->reply_ends)
		buf_puts(b, "Connection: close\r\n");
	if (headers)
		buf_puts(b, headers);
	buf_puts(b, "\r\n");
	if (!c->req || c->req->method != HTTP_HEAD)
		buf_append(b, body, len);
}

void
http_reply(struct http_req *r, int status, const char *type, const char *headers, const void *body,
    size_t len)
{
	struct conn *c = r->conn;

	http_put_reply(c, status, type, headers, r->request_id, body, len);
	log_debug("http.request", "method=%s path=%s status=%d request_id=%s",
	    http_method_name(r->method), log_quote(r->path), status, r->request_id);
	c->req = NULL;
	req_free(r);
	conn_want_write(c);
}

void
http_on_abort(struct http_req *r, void (*abort)(void *arg), void *arg)
{
	r->abort = abort;
	r->abort_arg = arg;
}

/* ---- for the application ---- */

enum http_method
http_method(const struct http_req *r)
{
	return r->method;
}

const char *
http_method_name(enum http_method m)
{
	static const char *const names[] = {
	    "GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"};

	return names[m];
}

const char *
http_path(const struct http_req *r)
{
	return r->path;
}

const char *
http_query(const struct http_req *r, const char *name)
{
	size_t n = strlen(name);

	for (size_t i = r->query_count; i-- > 0;)
		if (strncmp(r->query[i], name, n) == 0 && r->query[i][n] == '=')
			return r->query[i] + n + 1;
	return NULL;
}

const char *
http_header(const struct http_req *r, const char *name)
{
	for (size_t i = 0; i < HEADER_COUNT; i++)
		if (strcmp(kept_headers[i].name, name) == 0)
			return r->headers[i];
	return NULL;
}

const char *
http_body(const struct http_req *r, size_t *len_r)
{
	*len_r = r->body.len;
	return r->body.len ? (const char *)r->body.data : NULL;
}

const char *
http_address(const struct http_req *r)
{
	return r->conn->address;
}

const char *
http_request_id(const struct http_req *r)
{
	return r->request_id;
}
