/* SPDX-License-Identifier: ISC */
/*
 * api_int: what the files of api/ share.  Not for other folders.
 */
#ifndef PALAVER_API_API_INT_H
#define PALAVER_API_API_INT_H

#include <json.h>
#include <stdbool.h>

#include "api/api.h"
#include "api/fields.h"
#include "lib/json.h"

#define API_PARAMS 2
#define API_PARAM_MAX 256 /* ids are shorter than ID_MAX; an emoji need not be */

struct api {
	struct chat *chat;
	struct json_limits json;
};

/* One REST request under way; freed by api_done. */
struct api_call {
	struct api *api;
	struct http_req *req; /* NULL: the client went away */
	struct chat_identity who; /* of routes that need a login */
	struct json_object *body; /* an object, or NULL */
	char params[API_PARAMS][API_PARAM_MAX]; /* {id} of the path */
	struct chat_upload *upload; /* of POST /v1/files, under way */
	char header[64];  /* a line for the head of an error, or "" */
	bool no_content;  /* success is 204 */
	bool logs_out;    /* success takes the cookies away */
	bool cookies;     /* the tokens of the answer go into cookies, not into its body */
};

/* Its client has this version (If-None-Match) already. */
bool api_client_has(const struct http_req *r, const char *tag);
/* A chat_done: answers the request and frees the call.  Every handler ends in it, once. */
void api_done(void *call, const struct chat_result *res);
void api_free_call(struct api_call *call); /* of one that is answered otherwise */
void api_fail(struct api_call *call, int err, const char *pointer, const char *reason);

/* false: a field is at fault, and done was called with that. */
bool api_read_fields(struct json_object *body, const struct field *fields, size_t count,
    chat_done done, void *arg);
bool api_fields(struct api_call *call, const struct field *fields, size_t count);

/*
 * ?limit= within 1..max.  false: the call was answered with an error (an oversized
 * limit is never cut silently).
 */
bool api_limit(struct api_call *call, size_t fallback, size_t max, size_t *limit_r);

/* What lists take: ?q= and ?cursor=, "" if they are absent, and ?limit= as of api_limit(). */
struct api_page {
	const char *q, *cursor;
	size_t limit;
};
/* false: the call was answered with an error. */
bool api_page(struct api_call *call, struct api_page *page);

/*
 * The version that If-Match asks for; 0: any, for the field is absent or "*".  One entity tag
 * is taken, not a list.  false: the call was answered, the tag is none that we give.
 */
bool api_if_match(struct api_call *call, uint64_t *version_r);

/* ---- identity.c ---- */

/*
 * Who it is, for REST and sockets: by the token that the client's code gave or, if it gave none,
 * by the cookie, which the caller found good for this request.  Both may be NULL.  0 or
 * ERR_UNAUTHORIZED.
 */
int api_identify(
    struct api *api, const char *token, const char *cookie, struct chat_identity *who);
/* Fills in call->who.  0, ERR_UNAUTHORIZED or ERR_CSRF. */
int api_check_login(struct api_call *call);
/* RFC 9110, 9.2.1: GET, or HEAD, which is answered as GET but without the body. */
bool api_is_safe(const struct http_req *r);
/* For what acts by a cookie, or sets one.  0 or ERR_CSRF. */
int api_check_csrf(const struct http_req *r);
bool api_refresh_cookie(const struct api_call *call, char *dst, size_t size);
/* Append header lines. */
void api_put_cookies(struct buf *headers, const struct http_req *r, const struct chat_result *res);
void api_clear_cookies(struct buf *headers, const struct http_req *r); /* if there may be any */

/* ---- messages.c: shared by REST and sockets ---- */

/* conversation, message: of the path; NULL: the body names it. */
void api_send_message(struct chat *c, const char *user, const char *conversation,
    struct json_object *body, chat_done done, void *arg);
void api_edit_message(struct chat *c, const char *user, const char *message,
    struct json_object *body, chat_done done, void *arg);
void api_sync(
    struct chat *c, const char *user, struct json_object *body, chat_done done, void *arg);

typedef void (*api_handler)(struct api_call *call);
/* auth.c */
void api_post_signup(struct api_call *call);
void api_post_login(struct api_call *call);
void api_post_refresh(struct api_call *call);
void api_post_logout(struct api_call *call);
/* sessions.c */
void api_get_sessions(struct api_call *call);
void api_delete_sessions(struct api_call *call);
void api_delete_session(struct api_call *call);
void api_put_password(struct api_call *call);
/* users.c */
void api_get_me(struct api_call *call);
void api_patch_me(struct api_call *call);
void api_delete_me(struct api_call *call);
void api_get_users(struct api_call *call);
void api_get_user(struct api_call *call);
/* conversations.c */
void api_get_conversations(struct api_call *call);
void api_post_conversations(struct api_call *call);
void api_get_conversation(struct api_call *call);
void api_patch_conversation(struct api_call *call);
/* members.c */
void api_get_members(struct api_call *call);
void api_post_members(struct api_call *call);
void api_patch_member(struct api_call *call);
void api_delete_member(struct api_call *call);
/* presence.c */
void api_get_presence(struct api_call *call);
/* messages.c */
void api_get_messages(struct api_call *call);
void api_post_messages(struct api_call *call);
void api_post_sync(struct api_call *call);
void api_get_message(struct api_call *call);
void api_put_read(struct api_call *call);
void api_patch_message(struct api_call *call);
void api_delete_message(struct api_call *call);
void api_put_reaction(struct api_call *call);
void api_delete_reaction(struct api_call *call);
/* files.c */
void api_post_files(struct api_call *call); /* before the body is read */
void api_get_file(struct api_call *call);
void api_delete_file(struct api_call *call);
void api_get_file_content(struct api_call *call);

#endif
