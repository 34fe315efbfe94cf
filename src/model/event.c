/* SPDX-License-Identifier: ISC */
/*
 * event: making, packing and printing events.  Pure; a reference count belongs to
 * one thread.
 *
 * Packed form (pack.h): u8 version 2, u8 type, str id, str conversation, str
 * sender, str client_id, str ref, 16 bytes digest, u64 seq, i64 created_ms, str data.
 * Version 1 had no ref; spools of that time are still read.
 */
#include "model/event.h"

#include <assert.h>
#include <json.h>
#include <openssl/evp.h>
#include <stdlib.h>
#include <string.h>

#include "lib/clock.h"
#include "lib/json.h"
#include "lib/log.h"

#define PACK_VERSION 2

/*
 * Of data that this server made: a conversation.created names up to CONVERSATION_MEMBERS_MAX
 * members with a few fields each.
 */
static const struct json_limits own_limits = {.depth = 16, .keys = 10000};

static const char *const type_names[EVENT_TYPE_COUNT] = {
    [EVENT_MESSAGE_CREATED] = "message.created",
    [EVENT_CONVERSATION_CREATED] = "conversation.created",
    [EVENT_MEMBER_JOINED] = "member.joined",
    [EVENT_MESSAGE_UPDATED] = "message.updated",
    [EVENT_MESSAGE_DELETED] = "message.deleted",
    [EVENT_REACTION_ADDED] = "reaction.added",
    [EVENT_REACTION_REMOVED] = "reaction.removed",
    [EVENT_MEMBER_LEFT] = "member.left",
    [EVENT_MEMBER_UPDATED] = "member.updated",
    [EVENT_CONVERSATION_UPDATED] = "conversation.updated",
};

const char *
event_type_name(enum event_type type)
{
	return (unsigned int)type < EVENT_TYPE_COUNT ? type_names[type] : NULL;
}

static struct event *
event_alloc(const char *data, size_t len)
{
	struct event *ev = xcalloc(1, sizeof(*ev));

	ev->refs = 1;
	ev->data = xmalloc(len + 1);
	memcpy(ev->data, data, len);
	ev->data[len] = '\0';
	ev->data_len = len;
	return ev;
}

static void
set_digest(struct event *ev)
{
	uint8_t type = (uint8_t)ev->type, sum[EVP_MAX_MD_SIZE];
	EVP_MD_CTX *md = EVP_MD_CTX_new();
	bool ok;

	ok = md && EVP_DigestInit_ex(md, EVP_sha256(), NULL) && EVP_DigestUpdate(md, &type, 1) &&
	     EVP_DigestUpdate(md, ev->data, ev->data_len) && EVP_DigestFinal_ex(md, sum, NULL);
	assert(ok); /* SHA-256 of memory fails only without memory */
	EVP_MD_CTX_free(md);
	memcpy(ev->digest, sum, EVENT_DIGEST);
}

struct event *
event_new(enum event_type type, const char *conversation, const char *sender, const char *client_id,
    const char *data, size_t data_len)
{
	struct event *ev = event_alloc(data, data_len);

	ev->type = type;
	id_new(ev->id, "msg");
	str_copy(ev->conversation, sizeof(ev->conversation), conversation);
	str_copy(ev->sender, sizeof(ev->sender), sender);
	str_copy(ev->client_id, sizeof(ev->client_id), client_id);
	set_digest(ev);
	return ev;
}

struct event *
event_new_about(enum event_type type, const char *conversation, const char *sender,
    const char *client_id, const char *ref, const char *data, size_t data_len)
{
	struct event *ev = event_new(type, conversation, sender, client_id, data, data_len);

	str_copy(ev->ref, sizeof(ev->ref), ref);
	return ev;
}

struct event *
event_ref(struct event *ev)
{
	ev->refs++;
	return ev;
}

void
event_unref(struct event **evp)
{
	struct event *ev = *evp;

	*evp = NULL;
	if (!ev || --ev->refs)
		return;
	free(ev->data);
	free(ev);
}

struct event *
event_numbered(const struct event *ev, uint64_t seq, int64_t created_ms)
{
	struct event *n = event_alloc(ev->data, ev->data_len);
	char *data = n->data;

	*n = *ev;
	n->refs = 1;
	n->data = data;
	n->seq = seq;
	n->created_ms = created_ms;
	return n;
}

void
event_pack(struct buf *b, const struct event *ev)
{
	pack_u8(b, PACK_VERSION);
	pack_u8(b, (uint8_t)ev->type);
	pack_str(b, ev->id);
	pack_str(b, ev->conversation);
	pack_str(b, ev->sender);
	pack_str(b, ev->client_id);
	pack_str(b, ev->ref);
	buf_append(b, ev->digest, EVENT_DIGEST);
	pack_u64(b, ev->seq);
	pack_i64(b, ev->created_ms);
	pack_bytes(b, ev->data, ev->data_len);
}

struct event *
event_unpack(struct unpack *u)
{
	struct event head = {.refs = 1}, *ev;
	uint8_t version = unpack_u8(u);
	const char *data;

	if (version < 1 || version > PACK_VERSION)
		u->bad = true;
	head.type = unpack_u8(u);
	unpack_strn(u, head.id, sizeof(head.id));
	unpack_strn(u, head.conversation, sizeof(head.conversation));
	unpack_strn(u, head.sender, sizeof(head.sender));
	unpack_strn(u, head.client_id, sizeof(head.client_id));
	if (version > 1)
		unpack_strn(u, head.ref, sizeof(head.ref));
	for (int i = 0; i < EVENT_DIGEST; i++)
		head.digest[i] = unpack_u8(u);
	head.seq = unpack_u64(u);
	head.created_ms = unpack_i64(u);
	data = unpack_bytes(u, &head.data_len);
	if (!event_type_name(head.type) || head.data_len > EVENT_DATA_MAX)
		u->bad = true;
	if (!unpack_ok(u))
		return NULL;
	ev = event_alloc(data, head.data_len);
	head.data = ev->data;
	*ev = head;
	return ev;
}

void
event_envelope(struct buf *b, const struct event *ev)
{
	char when[CLOCK_TEXT_MAX];

	clock_format(ev->created_ms, when);
	buf_printf(b,
	    "{\"id\":\"%s\",\"type\":\"%s\",\"conversation_id\":\"%s\",\"seq\":%llu,"
	    "\"created_at\":\"%s\",\"data\":",
	    ev->id, event_type_name(ev->type), ev->conversation, (unsigned long long)ev->seq, when);
	buf_append(b, ev->data, ev->data_len);
	buf_putc(b, '}');
}

struct json_object *
event_members(const struct event *ev, struct json_object **members_r)
{
	struct json_object *data;
	const char *why;

	data = json_parse(ev->data, ev->data_len, &own_limits, &why);
	if (data && json_object_object_get_ex(data, "members", members_r) &&
	    json_object_is_type(*members_r, json_type_array))
		return data;
	log_error("event.no_members", "msg=%s conv=%s", ev->id, ev->conversation);
	json_object_put(data);
	return NULL;
}

const char *
event_member(struct json_object *members, size_t i)
{
	const char *id = NULL;

	json_get_str(json_object_array_get_idx(members, i), "user_id", &id);
	return id;
}
