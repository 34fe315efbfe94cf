/* SPDX-License-Identifier: ISC */
/*
 * user: accounts as data.  Pure; any thread.
 */
#include "model/user.h"

#include <string.h>

#include "lib/clock.h"
#include "lib/json.h"

static bool
username_char(char c, bool first)
{
	if ((c >= 'a' && c <= 'z') || (c >= '0' && c <= '9'))
		return true;
	return !first && (c == '.' || c == '_' || c == '-');
}

bool
username_normalize(char dst[USERNAME_MAX + 1], const char *src)
{
	size_t n = 0;

	for (; *src; src++, n++) {
		char c = *src >= 'A' && *src <= 'Z' ? (char)(*src - 'A' + 'a') : *src;

		if (n >= USERNAME_MAX || !username_char(c, n == 0))
			return false;
		dst[n] = c;
	}
	dst[n] = '\0';
	return n >= USERNAME_MIN;
}

#define ZONE_PARTS_MAX 3

bool
time_zone_shaped(const char *name)
{
	unsigned int parts = 0;

	if (strlen(name) > USER_ZONE_MAX)
		return false;
	for (;;) {
		size_t len = strspn(name, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
					  "0123456789_+-");

		if (!len || *name == '-' || ++parts > ZONE_PARTS_MAX)
			return false;
		name += len;
		if (!*name)
			return true;
		if (*name++ != '/')
			return false;
	}
}

static void
put_text(struct buf *b, const char *name, const char *text)
{
	buf_printf(b, ",\"%s\":", name);
	json_put_string(b, text, strlen(text));
}

/* 0: null. */
static void
put_time(struct buf *b, const char *name, int64_t ms)
{
	char when[CLOCK_TEXT_MAX];

	if (ms) {
		clock_format(ms, when);
		buf_printf(b, ",\"%s\":\"%s\"", name, when);
	} else {
		buf_printf(b, ",\"%s\":null", name);
	}
}

void
user_json(struct buf *b, const struct user *u, enum user_view view)
{
	buf_printf(b, "{\"id\":\"%s\",\"username\":\"%s\"", u->id, u->username);
	put_text(b, "name", u->name);
	put_text(b, "avatar", u->avatar);
	put_text(b, "bio", u->bio);
	put_text(b, "time_zone", u->time_zone);
	buf_printf(b, ",\"active\":%s", u->deactivated_ms ? "false" : "true");
	put_time(b, "created_at", u->created_ms);
	if (view != USER_PUBLIC)
		buf_printf(b, ",\"version\":%llu", (unsigned long long)u->version);
	if (view == USER_ADMIN) {
		buf_printf(b, ",\"locked\":%s", u->locked ? "true" : "false");
		put_time(b, "deactivated_at", u->deactivated_ms);
		put_time(b, "last_seen_at", u->last_seen_ms);
	}
	buf_putc(b, '}');
}

void
invitation_json(struct buf *b, const struct invitation *inv)
{
	buf_printf(
	    b, "{\"id\":\"%s\",\"uses_left\":%llu", inv->id, (unsigned long long)inv->uses_left);
	put_time(b, "created_at", inv->created_ms);
	put_time(b, "expires_at", inv->expires_ms);
	put_text(b, "note", inv->note);
	buf_putc(b, '}');
}

const char *
session_end_name(enum session_end why)
{
	static const char *const names[SESSION_END_COUNT] = {
	    "revoked", "logged_out", "password_changed", "token_reused", "locked", "deactivated"};

	return (unsigned int)why < SESSION_END_COUNT ? names[why] : names[SESSION_REVOKED];
}

void
session_json(struct buf *b, const struct session *s, bool current)
{
	buf_printf(b, "{\"id\":\"%s\"", s->id);
	put_time(b, "created_at", s->created_ms);
	put_time(b, "used_at", s->used_ms);
	put_text(b, "address", s->address);
	put_text(b, "agent", s->agent);
	buf_printf(b, ",\"current\":%s}", current ? "true" : "false");
}
