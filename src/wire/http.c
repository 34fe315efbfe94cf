/* SPDX-License-Identifier: ISC */
/*
 * http: requests and answers on a connection.  Loop thread.
 *
 * A request keeps a copy of its head, in which field names and values are ended with a
 * NUL where they stand.  It is the connection's until it was answered or the client
 * went away.
 */
#include "wire/http.h"

#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "lib/id.h"
#include "lib/log.h"
#include "wire/http_int.h"

/* ---- life ---- */

/* Ends a span with a NUL: what follows it is white space, ":" or CR. */
static void
terminate(char *text, struct span s)
{
	text[s.at + s.len] = '\0';
}

struct http_req *
http_req_new(struct conn *c, const struct http_head *h, const char *text, size_t len)
{
	struct http_req *r = xcalloc(1, sizeof(*r));

	r->conn = c;
	r->method = h->method;
	r->websocket = h->websocket;
	r->expect_continue = h->expect_continue;
	r->length = (uint64_t)h->length > SIZE_MAX ? SIZE_MAX : (size_t)h->length;
	r->chunked = h->chunked;
	random_token(r->request_id, 12);
	r->text = xmalloc(len + 1);
	memcpy(r->text, text, len);
	r->text[len] = '\0';
	r->field_count = h->field_count;
	r->fields = xmalloc(h->field_count * sizeof(*r->fields) + 1);
	memcpy(r->fields, h->fields, h->field_count * sizeof(*r->fields));
	for (size_t i = 0; i < r->field_count; i++) {
		terminate(r->text, r->fields[i].name);
		terminate(r->text, r->fields[i].value);
	}
	r->query = r->text + h->query.at;
	r->query_len = h->query.len;
	r->raw_path = r->text + h->path.at;
	r->raw_path_len = h->path.len;
	r->path = xmalloc(h->path.len + 2);
	strcpy(r->path, "/"); /* of an absolute-form it may be empty */
	if (h->path.len && http_decode(r->path, r->raw_path, h->path.len, false) < 0) {
		free(r->path);
		r->path = NULL;
	}
	return r;
}

void
http_req_free(struct http_req *r)
{
	struct query_value *v, *next;

	if (!r)
		return;
	for (v = r->values; v; v = next) {
		next = v->next;
		free(v);
	}
	free(r->path);
	free(r->text);
	free(r->fields);
	buf_fini(&r->body);
	free(r);
}

void
http_req_gone(struct http_req *r)
{
	if (r->abort)
		r->abort(r->abort_arg);
	http_req_free(r);
}

/* ---- whom it is for ---- */

bool
http_is_rest(const struct http_req *r)
{
	const char *prefix = r->conn->wire->app.rest_prefix;

	return prefix && strncmp(r->path, prefix, strlen(prefix)) == 0;
}

void
http_req_complete(struct http_req *r)
{
	struct wire *w = r->conn->wire;

	if (r->sink) {
		http_body_go_on(r);
		return;
	}
	if (r->cancel && (w->draining || r->websocket))
		http_req_take_back(r);
	if (w->draining)
		http_reply(r, 503, "text/plain", "Retry-After: 1\r\n", "shutting down\n", 14);
	else if (origin_preflight(r, w))
		;
	else if (r->endpoint && r->websocket)
		eio_http_upgrade(r->endpoint, r);
	else if (r->endpoint)
		eio_http_request(r->endpoint, r);
	else if (http_is_rest(r))
		w->app.request(w->app.arg, r);
	else
		static_serve(r, w->web_root, http_header(r, "if-none-match"));
}

/* ---- writing ---- */

static const char *
reason_phrase(int status)
{
	static const struct {
		int status;
		const char *text;
	} phrases[] = {{200, "OK"}, {201, "Created"}, {204, "No Content"}, {206, "Partial Content"},
	    {304, "Not Modified"}, {400, "Bad Request"}, {401, "Unauthorized"}, {403, "Forbidden"},
	    {404, "Not Found"}, {405, "Method Not Allowed"}, {408, "Request Timeout"},
	    {409, "Conflict"}, {410, "Gone"}, {411, "Length Required"},
	    {412, "Precondition Failed"}, {413, "Content Too Large"}, {414, "URI Too Long"},
	    {416, "Range Not Satisfiable"}, {417, "Expectation Failed"},
	    {422, "Unprocessable Content"}, {426, "Upgrade Required"}, {429, "Too Many Requests"},
	    {431, "Request Header Fields Too Large"}, {500, "Internal Server Error"},
	    {501, "Not Implemented"}, {503, "Service Unavailable"},
	    {505, "HTTP Version Not Supported"}, {507, "Insufficient Storage"}};

	for (size_t i = 0; i < sizeof(phrases) / sizeof(*phrases); i++)
		if (phrases[i].status == status)
			return phrases[i].text;
	return "Status";
}

void
http_put_reply(struct conn *c, const struct http_req *r, int status, const char *type,
    const char *headers, const void *body, size_t len)
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
	if (c->tls && c->wire->opts.hsts)
		buf_printf(b, "Strict-Transport-Security: max-age=%lld\r\n",
		    (long long)(c->wire->opts.hsts / 1000));
	if (r) {
		buf_printf(b, "X-Request-Id: %s\r\n", r->request_id);
		origin_put_headers(b, c->wire, r);
	}
	if ((c->reply_ends || c->wire->draining) && !(headers && strstr(headers, "Connection:")))
		buf_puts(b, "Connection: close\r\n");
	if (headers)
		buf_puts(b, headers);
	buf_puts(b, "\r\n");
	if (body && (!r || r->method != HTTP_HEAD))
		buf_append(b, body, len);
}

/* The head is in the connection's reply, and what is small with it; r is gone. */
static void
answered(struct http_req *r, int status)
{
	struct conn *c = r->conn;

	log_debug("http.request", "method=%s path=%s status=%d request_id=%s",
	    http_method_name(r->method), log_quote(r->path), status, r->request_id);
	c->req = NULL;
	http_req_free(r);
	conn_answered(c);
}

void
http_reply(struct http_req *r, int status, const char *type, const char *headers, const void *body,
    size_t len)
{
	if (!r->whole) /* the rest of the body is not wanted */
		r->conn->reply_ends = true;
	http_put_reply(r->conn, r, status, type, headers, body, len);
	answered(r, status);
}

struct http_stream *
http_reply_stream(struct http_req *r, int status, const char *type, const char *headers, size_t len,
    const struct http_source *source, void *arg)
{
	struct conn *c = r->conn;

	http_put_reply(c, r, status, type, headers, NULL, len);
	c->stream = http_stream_new(c, len, source, arg);
	answered(r, status);
	return c->stream;
}

void
http_refuse(struct conn *c, int status, const char *code)
{
	struct http_req *r = c->req;
	struct buf b;

	buf_init(&b);
	buf_printf(&b, "{\"type\":\"about:blank\",\"title\":\"%s\",\"status\":%d,\"code\":\"%s\"}",
	    reason_phrase(status), status, code);
	c->wire->stats.protocol_errors++;
	c->reply_ends = true;
	http_put_reply(c, r, status, "application/problem+json", NULL, b.data, b.len);
	buf_fini(&b);
	c->req = NULL;
	if (r)
		http_req_gone(r);
	conn_answered(c);
}

void
http_on_abort(struct http_req *r, void (*abort)(void *arg), void *arg)
{
	r->abort = abort;
	r->abort_arg = arg;
}

void
http_on_cancel(struct http_req *r, void (*cancel)(void *arg))
{
	r->cancel = cancel;
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

/* What was asked for is kept, so that it lives as long as the request. */
const char *
http_query(const struct http_req *cr, const char *name)
{
	struct http_req *r = (struct http_req *)cr;
	struct query_value *v;

	for (v = r->values; v; v = v->next)
		if (strcmp(v->name, name) == 0)
			return v->value;
	v = xmalloc(sizeof(*v) + r->query_len + sizeof(HTTP_MALFORMED));
	switch (http_query_get(r->query, r->query_len, name, v->value)) {
	case HTTP_QUERY_GOOD:
		break;
	case HTTP_QUERY_MALFORMED:
		strcpy(v->value, HTTP_MALFORMED);
		break;
	case HTTP_QUERY_ABSENT:
		free(v);
		return NULL;
	}
	v->name = name;
	v->next = r->values;
	r->values = v;
	return v->value;
}

const char *
http_header(const struct http_req *r, const char *name)
{
	for (size_t i = 0; i < r->field_count; i++)
		if (strcasecmp(r->text + r->fields[i].name.at, name) == 0)
			return r->text + r->fields[i].value.at;
	return NULL;
}

const char *
http_body(const struct http_req *r, size_t *len_r)
{
	*len_r = r->body.len;
	return r->body.len ? (const char *)r->body.data : NULL;
}

void
http_address(const struct http_req *r, char dst[HTTP_ADDRESS_MAX])
{
	struct in6_addr a;

	http_client_address(r, &a);
	address_text(&a, dst);
}

bool
http_address_known(const struct http_req *r)
{
	return !r->conn->proxy || http_header(r, "x-forwarded-for");
}

/* A proxy may add a field of its own to one that the client has sent: the last counts. */
const char *
http_proxy_says(const struct http_req *r, const char *name)
{
	const char *list = NULL, *last;

	for (size_t i = 0; r->conn->proxy && i < r->field_count; i++)
		if (strcasecmp(r->text + r->fields[i].name.at, name) == 0)
			list = r->text + r->fields[i].value.at;
	if (!list)
		return NULL;
	last = strrchr(list, ',');
	last = last ? last + 1 : list;
	return last + strspn(last, " \t");
}

bool
http_is_secure(const struct http_req *r)
{
	const char *proto;

	if (r->conn->tls)
		return true;
	proto = http_proxy_says(r, "x-forwarded-proto");
	return proto && strcasecmp(proto, "https") == 0;
}

bool
http_origin_allowed(const struct http_req *r)
{
	return origin_trusted(r->conn->wire, r, http_is_secure(r));
}

bool
http_cookie(const struct http_req *r, const char *name, char *dst, size_t size)
{
	return cookie_value(
	    http_header(r, "cookie"), http_is_secure(r) ? HTTP_COOKIE_PREFIX : "", name, dst, size);
}

const char *
http_request_id(const struct http_req *r)
{
	return r->request_id;
}

/* ---- for wire ---- */

unsigned int
http_header_count(const struct http_req *r, const char *name)
{
	unsigned int n = 0;

	for (size_t i = 0; i < r->field_count; i++)
		n += strcasecmp(r->text + r->fields[i].name.at, name) == 0;
	return n;
}

struct conn *
http_conn(const struct http_req *r)
{
	return r->conn;
}

void
http_set_user(struct http_req *r, void *user)
{
	r->user = user;
}

void *
http_user(const struct http_req *r)
{
	return r->user;
}
