/* SPDX-License-Identifier: ISC */
/*
 * conversations: /v1/conversations.  Worker, loop thread.
 */
#include <stdlib.h>
#include <string.h>

#include "api/api_int.h"

/* ?public=true: those that everybody may join; else one's own. */
void
api_get_conversations(struct api_call *call)
{
	const char *public_text = http_query(call->req, "public");
	bool is_public = public_text && strcmp(public_text, "true") == 0;
	struct api_page page;

	if (public_text && !is_public && strcmp(public_text, "false") != 0) {
		api_fail(call, ERR_INVALID_FIELD, "/public", "invalid");
		return;
	}
	if (!api_page(call, &page))
		return;
	if (is_public)
		chat_channel_list(
		    call->api->chat, page.q, page.cursor, page.limit, false, api_done, call);
	else
		chat_conversation_list(
		    call->api->chat, call->who.user, page.cursor, page.limit, api_done, call);
}

void
api_post_conversations(struct api_call *call)
{
	const char **members;
	struct chat_create in = {0};
	struct json_object *list = NULL;
	const struct field fields[] = {
	    {"type", FIELD_STR, true, &in.type},
	    {"name", FIELD_STR, false, &in.name},
	    {"topic", FIELD_STR, false, &in.topic},
	    {"public", FIELD_BOOL, false, &in.is_public},
	    {"history", FIELD_STR, false, &in.history},
	    {"members", FIELD_STRS, true, &list},
	};

	if (!api_fields(call, fields, 6))
		return;
	members = fields_strings(list, &in.member_count);
	in.members = members;
	chat_conversation_create(call->api->chat, call->who.user, &in, api_done, call);
	free(members);
}

void
api_get_conversation(struct api_call *call)
{
	chat_conversation_get(call->api->chat, call->who.user, call->params[0], api_done, call);
}

/* Was the member given?  Then its value, which api_fields() has read. */
static const bool *
given(const struct api_call *call, const char *name, const bool *value)
{
	struct json_object *v = NULL;

	json_object_object_get_ex(call->body, name, &v);
	return v ? value : NULL;
}

void
api_patch_conversation(struct api_call *call)
{
	bool archived = false, is_public = false;
	struct chat_settings in = {0};
	const struct field fields[] = {
	    {"name", FIELD_STR, false, &in.name},
	    {"topic", FIELD_STR, false, &in.topic},
	    {"archived", FIELD_BOOL, false, &archived},
	    {"public", FIELD_BOOL, false, &is_public},
	    {"history", FIELD_STR, false, &in.history},
	};
	uint64_t version;

	if (!api_if_match(call, &version))
		return;
	if (!api_fields(call, fields, 5))
		return;
	in.archived = given(call, "archived", &archived);
	in.is_public = given(call, "public", &is_public);
	chat_conversation_change(
	    call->api->chat, call->who.user, call->params[0], &in, version, api_done, call);
}
