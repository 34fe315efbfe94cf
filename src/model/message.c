/* SPDX-License-Identifier: ISC */
/*
 * message: see message.h.  Pure.
 */
#include "model/message.h"

#include <json.h>
#include <stdlib.h>
#include <string.h>

#include "lib/clock.h"
#include "lib/json.h"
#include "lib/log.h"

struct message_state *
message_state_new(const char *id)
{
	struct message_state *s = xcalloc(1, sizeof(*s));

	str_copy(s->id, sizeof(s->id), id);
	return s;
}

struct message_state *
message_state_copy(const struct message_state *s)
{
	struct message_state *n = xmalloc(sizeof(*n));
	size_t size = s->reaction_count * sizeof(*s->reactions);

	*n = *s;
	n->edit = s->edit ? event_ref(s->edit) : NULL;
	n->reactions = size ? xmalloc(size) : NULL;
	if (size)
		memcpy(n->reactions, s->reactions, size);
	return n;
}

void
message_state_free(struct message_state **sp)
{
	struct message_state *s = *sp;

	*sp = NULL;
	if (!s)
		return;
	event_unref(&s->edit);
	free(s->reactions);
	free(s);
}

/* The data of an event of our own; NULL (logged): it is no JSON object. */
static struct json_object *
parse_data(const struct event *ev)
{
	struct json_object *data;
	const char *why;

	data = json_parse(ev->data, ev->data_len, &json_default_limits, &why);
	if (json_object_is_type(data, json_type_object))
		return data;
	log_error("event.bad_data", "msg=%s conv=%s", ev->id, ev->conversation);
	json_object_put(data);
	return NULL;
}

/* ---- folding ---- */

const struct message_reaction *
message_reaction_find(const struct message_state *s, const char *user, const char *emoji)
{
	for (size_t i = 0; i < s->reaction_count; i++)
		if (!strcmp(s->reactions[i].user, user) && !strcmp(s->reactions[i].emoji, emoji))
			return &s->reactions[i];
	return NULL;
}

static void
remove_at(struct message_state *s, size_t i)
{
	s->reaction_count--;
	memmove(&s->reactions[i], &s->reactions[i + 1],
	    (s->reaction_count - i) * sizeof(*s->reactions));
}

void
message_state_push_reaction(struct message_state *s, const struct message_reaction *r)
{
	s->reactions = xrealloc(s->reactions, (s->reaction_count + 1) * sizeof(*s->reactions));
	s->reactions[s->reaction_count++] = *r;
}

static void
fold_reaction(struct message_state *s, const struct message_reaction *r)
{
	const struct message_reaction *old = message_reaction_find(s, r->user, r->emoji);
	size_t at;

	if (old && old->seq >= r->seq)
		return;
	if (old)
		remove_at(s, (size_t)(old - s->reactions));
	message_state_push_reaction(s, r);
	for (at = s->reaction_count - 1; at > 0 && s->reactions[at - 1].seq > r->seq; at--)
		s->reactions[at] = s->reactions[at - 1];
	s->reactions[at] = *r;
}

static void
fold_reaction_event(struct message_state *s, const struct event *ev)
{
	struct message_reaction r = {.seq = ev->seq, .present = ev->type == EVENT_REACTION_ADDED};
	struct json_object *data = parse_data(ev);
	const char *emoji = NULL;

	str_copy(r.user, sizeof(r.user), ev->sender);
	if (data && json_get_str(data, "emoji", &emoji) && emoji &&
	    str_copy(r.emoji, sizeof(r.emoji), emoji))
		fold_reaction(s, &r);
	json_object_put(data);
}

void
message_state_fold(struct message_state *s, struct event *ev)
{
	if (strcmp(ev->ref, s->id) != 0)
		return;
	switch (ev->type) {
	case EVENT_MESSAGE_UPDATED:
		if (s->edit && s->edit->seq >= ev->seq)
			return;
		event_unref(&s->edit);
		s->edit = event_ref(ev);
		return;
	case EVENT_MESSAGE_DELETED:
		if (s->deleted_seq && s->deleted_seq <= ev->seq)
			return;
		s->deleted_seq = ev->seq;
		s->deleted_ms = ev->created_ms;
		str_copy(s->deleted_by, sizeof(s->deleted_by), ev->sender);
		return;
	case EVENT_REACTION_ADDED:
	case EVENT_REACTION_REMOVED:
		fold_reaction_event(s, ev);
		return;
	default:
		return;
	}
}

/* ---- reactions ---- */

/* Is this the first of the present reactions with its emoji? */
static bool
first_of_emoji(const struct message_state *s, size_t i)
{
	if (!s->reactions[i].present)
		return false;
	for (size_t k = 0; k < i; k++)
		if (s->reactions[k].present &&
		    !strcmp(s->reactions[k].emoji, s->reactions[i].emoji))
			return false;
	return true;
}

static bool
has_reactions(const struct message_state *s)
{
	for (size_t i = 0; i < s->reaction_count; i++)
		if (s->reactions[i].present)
			return true;
	return false;
}

size_t
message_emoji_count(const struct message_state *s, const char *emoji, bool *used_r)
{
	size_t n = 0;

	*used_r = false;
	for (size_t i = 0; i < s->reaction_count; i++) {
		if (!first_of_emoji(s, i))
			continue;
		n++;
		if (!strcmp(s->reactions[i].emoji, emoji))
			*used_r = true;
	}
	return n;
}

bool
message_emoji_valid(const char *emoji)
{
	size_t len = strlen(emoji);

	return len && len <= MESSAGE_EMOJI_MAX && utf8_printable(emoji);
}

void
message_reactions_json(struct buf *b, const struct message_state *s)
{
	bool first = true;

	buf_putc(b, '[');
	for (size_t i = 0; i < s->reaction_count; i++) {
		const char *emoji = s->reactions[i].emoji;

		if (!first_of_emoji(s, i))
			continue;
		buf_puts(b, first ? "{\"emoji\":" : ",{\"emoji\":");
		first = false;
		json_put_string(b, emoji, strlen(emoji));
		buf_printf(b, ",\"user_ids\":[\"%s\"", s->reactions[i].user);
		for (size_t k = i + 1; k < s->reaction_count; k++)
			if (s->reactions[k].present && !strcmp(s->reactions[k].emoji, emoji))
				buf_printf(b, ",\"%s\"", s->reactions[k].user);
		buf_puts(b, "]}");
	}
	buf_putc(b, ']');
}

/* ---- the present data ---- */

const char *
message_shown_by(const struct event *ev)
{
	if (ev->type == EVENT_MESSAGE_CREATED)
		return ev->id;
	return ev->type == EVENT_MESSAGE_UPDATED ? ev->ref : NULL;
}

static void
put_time(struct json_object *data, const char *name, int64_t ms)
{
	char when[CLOCK_TEXT_MAX];

	clock_format(ms, when);
	json_object_object_add(data, name, json_object_new_string(when));
}

/* Text and mentions as the newest edit says; mentions that it does not name are gone. */
static void
lay_over_edit(struct json_object *data, const struct event *edit)
{
	struct json_object *newest = parse_data(edit), *text = NULL, *mentions = NULL;

	json_object_object_del(data, "mentions");
	if (newest && json_object_object_get_ex(newest, "text", &text))
		json_object_object_add(data, "text", json_object_get(text));
	if (newest && json_object_object_get_ex(newest, "mentions", &mentions))
		json_object_object_add(data, "mentions", json_object_get(mentions));
	json_object_put(newest);
}

static void
lay_over_deletion(struct json_object *data)
{
	json_object_object_del(data, "mentions");
	json_object_object_del(data, "files");
	json_object_object_add(data, "text", json_object_new_string(""));
}

/* The opening of the envelope is that of event.c; only the data differs. */
static void
put_envelope(struct buf *b, const struct event *ev, const struct buf *data)
{
	struct event shown = *ev;

	shown.data = (char *)data->data;
	shown.data_len = data->len;
	event_envelope(b, &shown);
}

void
message_envelope(struct buf *b, const struct event *ev, const struct message_state *s)
{
	bool created = ev->type == EVENT_MESSAGE_CREATED;
	struct json_object *data = NULL;
	struct buf text;

	if (s && message_shown_by(ev))
		data = parse_data(ev);
	if (!data) {
		event_envelope(b, ev);
		return;
	}
	if (s->deleted_seq)
		lay_over_deletion(data);
	else if (s->edit)
		lay_over_edit(data, s->edit);
	if (created && s->deleted_seq)
		put_time(data, "deleted_at", s->deleted_ms);
	else if (created && s->edit)
		put_time(data, "edited_at", s->edit->created_ms);
	buf_init(&text);
	json_put(&text, data);
	if (created && !s->deleted_seq && has_reactions(s)) {
		text.len--; /* the closing brace */
		buf_puts(&text, ",\"reactions\":");
		message_reactions_json(&text, s);
		buf_putc(&text, '}');
	}
	put_envelope(b, ev, &text);
	buf_fini(&text);
	json_object_put(data);
}
