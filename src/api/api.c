/* SPDX-License-Identifier: ISC */
/*
 * api: the route table, login check, and answers of REST.  Worker, loop thread.
 */
#include "api/api.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "api/api_int.h"
#include "api/problem.h"
#include "lib/json.h"
#include "lib/log.h"

enum route_flags {
	NEEDS_LOGIN = 1,
	TAKES_BODY = 2,
	NO_CONTENT = 4,
	LOGS_OUT = 8,
	MAY_HAVE_BODY = 16, /* but need not */
	READS = 32,         /* although it is no GET */
	STREAMS = 64        /* its handler runs before the body is read */
};

static void get_health(struct api_call *call);

static const struct route {
	enum http_method method;
	const char *path; /* {id} stands for one segment */
	api_handler handler;
	int flags;
} routes[] = {
    {HTTP_GET, "/v1/health", get_health, 0},
    {HTTP_POST, "/v1/auth/signup", api_post_signup, TAKES_BODY},
    {HTTP_POST, "/v1/auth/login", api_post_login, TAKES_BODY},
    {HTTP_POST, "/v1/auth/refresh", api_post_refresh, MAY_HAVE_BODY},
    {HTTP_POST, "/v1/auth/logout", api_post_logout, NO_CONTENT | LOGS_OUT | MAY_HAVE_BODY},
    {HTTP_GET, "/v1/users/me", api_get_me, NEEDS_LOGIN},
    {HTTP_PATCH, "/v1/users/me", api_patch_me, NEEDS_LOGIN | TAKES_BODY},
    {HTTP_DELETE, "/v1/users/me", api_delete_me, NEEDS_LOGIN | TAKES_BODY | NO_CONTENT | LOGS_OUT},
    {HTTP_PUT, "/v1/users/me/password", api_put_password, NEEDS_LOGIN | TAKES_BODY | NO_CONTENT},
    {HTTP_GET, "/v1/users/me/sessions", api_get_sessions, NEEDS_LOGIN},
    {HTTP_DELETE, "/v1/users/me/sessions", api_delete_sessions, NEEDS_LOGIN | NO_CONTENT},
    {HTTP_DELETE, "/v1/users/me/sessions/{id}", api_delete_session, NEEDS_LOGIN | NO_CONTENT},
    {HTTP_GET, "/v1/users", api_get_users, NEEDS_LOGIN},
    {HTTP_GET, "/v1/users/{id}", api_get_user, NEEDS_LOGIN},
    {HTTP_GET, "/v1/conversations", api_get_conversations, NEEDS_LOGIN},
    {HTTP_POST, "/v1/conversations", api_post_conversations, NEEDS_LOGIN | TAKES_BODY},
    {HTTP_GET, "/v1/conversations/{id}", api_get_conversation, NEEDS_LOGIN},
    {HTTP_PATCH, "/v1/conversations/{id}", api_patch_conversation, NEEDS_LOGIN | TAKES_BODY},
    {HTTP_GET, "/v1/conversations/{id}/members", api_get_members, NEEDS_LOGIN},
    {HTTP_POST, "/v1/conversations/{id}/members", api_post_members, NEEDS_LOGIN | TAKES_BODY},
    {HTTP_PATCH, "/v1/conversations/{id}/members/{user}", api_patch_member,
	NEEDS_LOGIN | TAKES_BODY},
    {HTTP_DELETE, "/v1/conversations/{id}/members/{user}", api_delete_member,
	NEEDS_LOGIN | NO_CONTENT},
    {HTTP_GET, "/v1/conversations/{id}/messages", api_get_messages, NEEDS_LOGIN},
    {HTTP_POST, "/v1/conversations/{id}/messages", api_post_messages, NEEDS_LOGIN | TAKES_BODY},
    {HTTP_GET, "/v1/presence", api_get_presence, NEEDS_LOGIN},
    {HTTP_PUT, "/v1/conversations/{id}/read", api_put_read, NEEDS_LOGIN | TAKES_BODY},
    {HTTP_GET, "/v1/messages/{id}", api_get_message, NEEDS_LOGIN},
    {HTTP_PATCH, "/v1/messages/{id}", api_patch_message, NEEDS_LOGIN | TAKES_BODY},
    {HTTP_DELETE, "/v1/messages/{id}", api_delete_message, NEEDS_LOGIN | MAY_HAVE_BODY},
    {HTTP_PUT, "/v1/messages/{id}/reactions/{emoji}", api_put_reaction,
	NEEDS_LOGIN | MAY_HAVE_BODY},
    {HTTP_DELETE, "/v1/messages/{id}/reactions/{emoji}", api_delete_reaction,
	NEEDS_LOGIN | MAY_HAVE_BODY},
    {HTTP_POST, "/v1/files", api_post_files, NEEDS_LOGIN | STREAMS},
    {HTTP_GET, "/v1/files/{id}", api_get_file, NEEDS_LOGIN},
    {HTTP_DELETE, "/v1/files/{id}", api_delete_file, NEEDS_LOGIN | NO_CONTENT},
    {HTTP_GET, "/v1/files/{id}/content", api_get_file_content, NEEDS_LOGIN},
    {HTTP_POST, "/v1/sync", api_post_sync, NEEDS_LOGIN | TAKES_BODY | READS},
};
#define ROUTES (sizeof(routes) / sizeof(*routes))

const char *
api_route(unsigned int i)
{
	static char text[96];

	if (i >= ROUTES)
		return NULL;
	snprintf(text, sizeof(text), "%s %s", http_method_name(routes[i].method), routes[i].path);
	return text;
}

static void
get_health(struct api_call *call)
{
	struct chat_result res = {.json = "{\"status\":\"ok\"}", .json_len = 15};

	api_done(call, &res);
}

/* ---- answers ---- */

#define ETAG_MAX 24

/* A strong tag (RFC 9110, 8.8.3): the version counts every change of what is shown. */
static void
etag(char dst[ETAG_MAX], uint64_t version)
{
	snprintf(dst, ETAG_MAX, "\"%llu\"", (unsigned long long)version);
}

/* RFC 9110, 13.1.2: tags are compared weakly. */
bool
api_client_has(const struct http_req *r, const char *tag)
{
	const char *list = http_header(r, "if-none-match");
	size_t n = strlen(tag);

	if (!list || !api_is_safe(r))
		return false;
	while (*list) {
		list += strspn(list, " \t,");
		if (*list == '*')
			return true;
		if (strncmp(list, "W/", 2) == 0)
			list += 2;
		if (strncmp(list, tag, n) == 0 && (!list[n] || strchr(" \t,", list[n])))
			return true;
		list += strcspn(list, ",");
	}
	return false;
}

bool
api_if_match(struct api_call *call, uint64_t *version_r)
{
	const char *tag = http_header(call->req, "if-match");
	char *end = NULL;

	*version_r = 0;
	if (!tag || strcmp(tag, "*") == 0)
		return true;
	if (tag[0] == '"' && tag[1] >= '1' && tag[1] <= '9')
		*version_r = strtoull(tag + 1, &end, 10);
	if (end && strcmp(end, "\"") == 0)
		return true;
	api_fail(call, ERR_PRECONDITION_FAILED, NULL, NULL);
	return false;
}

static void
reply_problem(struct api_call *call, const struct chat_result *res)
{
	int64_t retry = problem_retry_after(res);
	struct buf headers, json;

	buf_init(&headers);
	if (retry)
		buf_printf(&headers, "Retry-After: %lld\r\n", (long long)retry);
	buf_puts(&headers, call->header);
	if (call->cookies && (res->err == ERR_UNAUTHORIZED || res->err == ERR_TOKEN_REUSED))
		api_clear_cookies(&headers, call->req);
	buf_init(&json);
	problem_json(&json, res, http_request_id(call->req));
	http_reply(call->req, error_status(res->err), "application/problem+json",
	    buf_cstr(&headers), json.data, json.len);
	buf_fini(&json);
	buf_fini(&headers);
}

static void
reply_success(struct api_call *call, const struct chat_result *res)
{
	char tag[ETAG_MAX] = "";
	struct buf headers;

	buf_init(&headers);
	if (call->cookies)
		api_put_cookies(&headers, call->req, res);
	if (res->version) {
		etag(tag, res->version);
		buf_printf(&headers, "ETag: %s\r\nCache-Control: private, no-cache\r\n", tag);
	}
	if (call->logs_out)
		api_clear_cookies(&headers, call->req);
	if (call->no_content) {
		http_reply(call->req, 204, NULL, buf_cstr(&headers), NULL, 0);
	} else if (*tag && api_client_has(call->req, tag)) {
		http_reply(call->req, 304, NULL, buf_cstr(&headers), NULL, 0);
	} else {
		http_reply(call->req, res->created ? 201 : 200, "application/json; charset=utf-8",
		    buf_cstr(&headers), res->json, res->json_len);
	}
	buf_fini(&headers);
}

void
api_done(void *arg, const struct chat_result *res)
{
	struct api_call *call = arg;

	if (call->req && res->err)
		reply_problem(call, res);
	else if (call->req)
		reply_success(call, res);
	api_free_call(call);
}

void
api_free_call(struct api_call *call)
{
	json_object_put(call->body);
	free(call);
}

void
api_fail(struct api_call *call, int err, const char *pointer, const char *reason)
{
	chat_answer_error(api_done, call, err, pointer, reason);
}

static void
aborted(void *arg)
{
	struct api_call *call = arg;

	call->req = NULL;
	if (call->upload) { /* it answers nobody any more */
		chat_upload_abort(call->upload);
		api_free_call(call);
	}
}

bool
api_read_fields(
    struct json_object *body, const struct field *fields, size_t count, chat_done done, void *arg)
{
	const char *pointer, *reason;

	if (!fields_read(body, fields, count, &pointer, &reason))
		return true;
	chat_answer_error(done, arg, ERR_INVALID_FIELD, pointer, reason);
	return false;
}

bool
api_fields(struct api_call *call, const struct field *fields, size_t count)
{
	return api_read_fields(call->body, fields, count, api_done, call);
}

bool
api_limit(struct api_call *call, size_t fallback, size_t max, size_t *limit_r)
{
	const char *text = http_query(call->req, "limit");
	char *end;
	unsigned long v;

	*limit_r = fallback;
	if (!text)
		return true;
	v = strtoul(text, &end, 10);
	if (*text < '0' || *text > '9' || *end || v < 1 || v > max) {
		api_fail(call, ERR_INVALID_FIELD, "/limit", "out_of_range");
		return false;
	}
	*limit_r = v;
	return true;
}

/* false: it has a bad escape, and the call was answered with that. */
static bool
text_param(struct api_call *call, const char *name, const char *pointer, const char **text_r)
{
	const char *text = http_query(call->req, name);

	*text_r = text ? text : "";
	if (strcmp(*text_r, HTTP_MALFORMED) != 0)
		return true;
	api_fail(call, ERR_INVALID_FIELD, pointer, "malformed");
	return false;
}

bool
api_page(struct api_call *call, struct api_page *page)
{
	return text_param(call, "q", "/q", &page->q) &&
	       text_param(call, "cursor", "/cursor", &page->cursor) &&
	       api_limit(call, CHAT_PAGE, STORE_PAGE_MAX, &page->limit);
}

/* ---- requests ---- */

/* Compares segment by segment; {id} takes one segment into params, {emoji} a longer one. */
static bool
path_matches(const char *pattern, const char *path, char params[API_PARAMS][API_PARAM_MAX])
{
	int n = 0;

	while (*pattern) {
		size_t len, max;

		if (*pattern != '{') {
			if (*pattern++ != *path++)
				return false;
			continue;
		}
		len = strcspn(path, "/");
		max = strncmp(pattern, "{emoji}", 7) == 0 ? API_PARAM_MAX : ID_MAX;
		if (!len || len >= max || n == API_PARAMS)
			return false;
		memcpy(params[n], path, len);
		params[n++][len] = '\0';
		path += len;
		pattern += strcspn(pattern, "}") + 1;
	}
	return *path == '\0';
}

static const struct route *
find_route(struct api_call *call, int *err_r)
{
	const char *path = http_path(call->req);

	*err_r = ERR_NOT_FOUND;
	for (size_t i = 0; i < ROUTES; i++) {
		if (!path_matches(routes[i].path, path, call->params))
			continue;
		if (routes[i].method == http_method(call->req) ||
		    (routes[i].method == HTTP_GET && api_is_safe(call->req)))
			return &routes[i];
		*err_r = ERR_METHOD_NOT_ALLOWED;
	}
	return NULL;
}

static bool
takes_body(const struct api_call *call, const struct route *route)
{
	size_t len = 0;

	if (route->flags & MAY_HAVE_BODY)
		return http_body(call->req, &len) && len;
	return route->flags & TAKES_BODY;
}

/* Does it count against the user's rate? */
static bool
writes(const struct api_call *call, const struct route *route)
{
	return route->flags & NEEDS_LOGIN && !(route->flags & READS) && !api_is_safe(call->req);
}

static int
read_body(struct api_call *call, const char **why_r)
{
	size_t len;
	const char *body = http_body(call->req, &len);

	*why_r = "body_required";
	if (!body || !len)
		return ERR_BAD_REQUEST;
	call->body = json_parse(body, len, &call->api->json, why_r);
	if (!call->body) {
		*why_r = "invalid_json";
		return ERR_BAD_REQUEST;
	}
	*why_r = "not_an_object";
	return json_object_is_type(call->body, json_type_object) ? 0 : ERR_BAD_REQUEST;
}

static struct api_call *
call_new(struct api *a, struct http_req *r)
{
	struct api_call *call = xcalloc(1, sizeof(*call));

	call->api = a;
	call->req = r;
	http_on_abort(r, aborted, call);
	return call;
}

/* Who it is, what the body says, and whether the user may write now. */
static void
call_handler(struct api_call *call, const struct route *route)
{
	const char *why = NULL;
	int64_t retry;
	int err = route->flags & NEEDS_LOGIN ? api_check_login(call) : 0;

	if (!err && takes_body(call, route))
		err = read_body(call, &why);
	if (err) {
		api_fail(call, err, why ? "" : NULL, why);
		return;
	}
	if (writes(call, route) && !chat_write_allowed(call->api->chat, call->who.user, &retry)) {
		struct chat_result res = {.err = ERR_RATE_LIMITED, .retry_after = retry};

		api_done(call, &res);
		return;
	}
	call->no_content = route->flags & NO_CONTENT;
	call->logs_out = route->flags & LOGS_OUT;
	route->handler(call);
}

void
api_request(void *arg, struct http_req *r)
{
	struct api_call *call = call_new(arg, r);
	int err;
	const struct route *route = find_route(call, &err);

	if (route)
		call_handler(call, route);
	else
		api_fail(call, err, NULL, NULL);
}

void
api_begin(void *arg, struct http_req *r)
{
	for (size_t i = 0; i < ROUTES; i++)
		if (routes[i].flags & STREAMS && routes[i].method == http_method(r) &&
		    strcmp(routes[i].path, http_path(r)) == 0) {
			call_handler(call_new(arg, r), &routes[i]);
			return;
		}
}

struct api *
api_new(struct chat *chat)
{
	struct api *a = xcalloc(1, sizeof(*a));

	a->chat = chat;
	a->json = json_default_limits;
	return a;
}

void
api_json_limits(struct api *a, unsigned int depth, unsigned int keys)
{
	a->json = (struct json_limits){.depth = depth, .keys = keys};
}

void
api_free(struct api **a)
{
	free(*a);
	*a = NULL;
}
