/* SPDX-License-Identifier: ISC */
/*
 * output: see output.h.  Text that users chose is printed without control characters:
 * a display name must not steer the administrator's terminal.
 */
#include "ctl/output.h"

#include <inttypes.h>
#include <stdio.h>

#include "lib/json.h"

static const char *
str(struct json_object *o, const char *key)
{
	const char *s = "";

	json_get_str(o, key, &s);
	return s;
}

static int64_t
num(struct json_object *o, const char *key)
{
	int64_t v = 0;

	json_get_int(o, key, &v);
	return v;
}

static struct json_object *
list(struct json_object *o, const char *key)
{
	struct json_object *l = NULL;

	json_object_object_get_ex(o, key, &l);
	return json_object_is_type(l, json_type_array) ? l : NULL;
}

static void
print_safe(const char *s)
{
	for (; *s; s++)
		putchar((unsigned char)*s < 0x20 || *s == 0x7f ? '?' : *s);
}

static void
print_row(int width, const char *name, const char *value)
{
	printf("%-*s  ", width, name);
	print_safe(*value ? value : "-");
	putchar('\n');
}

static void
print_age(int64_t ms)
{
	int64_t s = ms / 1000;

	if (s < 60)
		printf("%" PRId64 "s", s);
	else if (s < 3600)
		printf("%" PRId64 "m%02" PRId64 "s", s / 60, s % 60);
	else if (s < 86400)
		printf("%" PRId64 "h%02" PRId64 "m", s / 3600, s / 60 % 60);
	else
		printf("%" PRId64 "d%02" PRId64 "h", s / 86400, s / 3600 % 24);
}

void
output_status(struct json_object *data)
{
	struct json_object *l = list(data, "listen"), *p = list(data, "processes");

	printf("palaverd %s, %s, up ", str(data, "version"), str(data, "state"));
	print_age(num(data, "uptime_ms"));
	printf("\nlistens on");
	for (size_t i = 0; l && i < json_object_array_length(l); i++)
		printf(" %s", json_object_get_string(json_object_array_get_idx(l, i)));
	printf(
	    "\n\n%-9s %4s %8s  %-9s %8s  %s\n", "ROLE", "SLOT", "PID", "STATE", "RESTARTS", "UP");
	for (size_t i = 0; p && i < json_object_array_length(p); i++) {
		struct json_object *o = json_object_array_get_idx(p, i);

		printf("%-9s %4" PRId64 " %8" PRId64 "  %-9s %8" PRId64 "  ", str(o, "role"),
		    num(o, "slot"), num(o, "pid"), str(o, "state"), num(o, "restarts"));
		print_age(num(o, "uptime_ms"));
		putchar('\n');
	}
}

void
output_pong(struct json_object *data)
{
	puts("palaverd is there");
}

void
output_text(struct json_object *data)
{
	fputs(str(data, "text"), stdout);
}

void
output_reload(struct json_object *data)
{
	const char *kept = str(data, "wants_restart");

	puts("reloaded");
	if (*kept)
		printf("these changes want a restart: %s\n", kept);
	if (json_object_object_get_ex(data, "not_taken", NULL))
		printf("the old certificate stays: %s\n", str(data, "not_taken"));
}

void
output_stats(struct json_object *data)
{
	struct json_object *workers = list(data, "workers");

	printf("%-18s %zu\n", "workers", workers ? json_object_array_length(workers) : 0);
	json_object_object_foreach(data, key, value)
	{
		if (json_object_is_type(value, json_type_int))
			printf("%-18s %" PRId64 "\n", key, json_object_get_int64(value));
	}
}

void
output_users(struct json_object *data)
{
	struct json_object *l = list(data, "users");

	printf("%-32s  %-6s  %-24s  %s\n", "USERNAME", "LOCKED", "CREATED", "NAME");
	for (size_t i = 0; l && i < json_object_array_length(l); i++) {
		struct json_object *u = json_object_array_get_idx(l, i);
		bool locked = false;

		json_get_bool(u, "locked", &locked);
		printf("%-32s  %-6s  %-24s  ", str(u, "username"), locked ? "yes" : "no",
		    str(u, "created_at"));
		print_safe(str(u, "name"));
		putchar('\n');
	}
	if (*str(data, "next_cursor"))
		puts("... and more; give a prefix to narrow the list");
}

void
output_user(struct json_object *data)
{
	static const char *const rows[] = {"id", "username", "name", "avatar", "bio", "time_zone",
	    "created_at", "last_seen_at", "deactivated_at"};
	bool locked = false;

	for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++)
		print_row(14, rows[i], str(data, rows[i]));
	json_get_bool(data, "locked", &locked);
	print_row(14, "locked", locked ? "yes" : "no");
}

void
output_invited(struct json_object *data)
{
	struct json_object *inv = NULL;

	json_object_object_get_ex(data, "invitation", &inv);
	printf("code %s, good for %" PRId64 " until %s (%s)\n", str(data, "code"),
	    num(inv, "uses_left"), str(inv, "expires_at"), str(inv, "id"));
}

void
output_invitations(struct json_object *data)
{
	struct json_object *l = list(data, "invitations");

	printf("%-30s  %9s  %-24s  %s\n", "ID", "USES LEFT", "EXPIRES", "NOTE");
	for (size_t i = 0; l && i < json_object_array_length(l); i++) {
		struct json_object *inv = json_object_array_get_idx(l, i);

		printf("%-30s  %9" PRId64 "  %-24s  ", str(inv, "id"), num(inv, "uses_left"),
		    str(inv, "expires_at"));
		print_safe(str(inv, "note"));
		putchar('\n');
	}
	if (*str(data, "next_cursor"))
		puts("... and more");
}

/* What is special about it, as words. */
static void
print_marks(struct json_object *conversation)
{
	bool archived = false, is_public = false;

	json_get_bool(conversation, "archived", &archived);
	json_get_bool(conversation, "public", &is_public);
	printf("%s%s%s",
	    is_public  ? "public"
	    : archived ? ""
		       : "-",
	    is_public && archived ? "," : "", archived ? "archived" : "");
}

void
output_conversations(struct json_object *data)
{
	struct json_object *l = list(data, "conversations");

	printf("%-30s  %-7s  %7s  %-15s  %s\n", "ID", "TYPE", "MEMBERS", "CREATED", "NAME");
	for (size_t i = 0; l && i < json_object_array_length(l); i++) {
		struct json_object *c = json_object_array_get_idx(l, i);

		printf("%-30s  %-7s  %7" PRId64 "  %-15.10s  ", str(c, "id"), str(c, "type"),
		    num(c, "member_count"), str(c, "created_at"));
		print_safe(str(c, "name"));
		printf("  (");
		print_marks(c);
		puts(")");
	}
	if (*str(data, "next_cursor"))
		puts("... and more; give the beginning of a name to narrow the list");
}

void
output_conversation(struct json_object *data)
{
	static const char *const rows[] = {
	    "id", "type", "name", "topic", "creator_id", "created_at", "history"};
	struct json_object *l = list(data, "members");
	size_t count = l ? json_object_array_length(l) : 0;

	for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++)
		print_row(14, rows[i], str(data, rows[i]));
	printf("%-14s  ", "state");
	print_marks(data);
	printf("\n%-14s  %" PRId64 "\n%-14s  %zu\n", "version", num(data, "version"), "members",
	    count);
	for (size_t i = 0; i < count; i++) {
		struct json_object *m = json_object_array_get_idx(l, i);

		printf("  %-6s  %-30s  %-32s  ", str(m, "role"), str(m, "user_id"),
		    str(m, "username"));
		print_safe(str(m, "name"));
		putchar('\n');
	}
}

/* Each emoji and how many users gave it. */
static void
print_reactions(struct json_object *message)
{
	struct json_object *l = list(message, "reactions");
	size_t count = l ? json_object_array_length(l) : 0;

	printf("%-18s  %s", "reactions", count ? "" : "-");
	for (size_t i = 0; i < count; i++) {
		struct json_object *r = json_object_array_get_idx(l, i);

		print_safe(str(r, "emoji"));
		printf(" %zu%s", json_object_array_length(list(r, "user_ids")),
		    i + 1 < count ? ", " : "");
	}
	putchar('\n');
}

void
output_message(struct json_object *data)
{
	static const char *const rows[] = {
	    "client_msg_id", "text", "reply_to", "edited_at", "deleted_at"};
	bool in_window = false, in_store = false;
	struct json_object *event = NULL, *message = NULL;

	json_object_object_get_ex(data, "event", &event);
	json_object_object_get_ex(event, "data", &message);
	json_get_bool(data, "in_window", &in_window);
	json_get_bool(data, "in_store", &in_store);
	print_row(18, "id", str(event, "id"));
	print_row(18, "conversation_id", str(event, "conversation_id"));
	print_row(18, "sender_id", str(data, "sender_id"));
	printf("%-18s  %" PRId64 "\n", "seq", num(event, "seq"));
	print_row(18, "created_at", str(event, "created_at"));
	for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++)
		print_row(18, rows[i], str(message, rows[i]));
	print_row(18, "deleted_by", str(data, "deleted_by"));
	print_reactions(message);
	printf("%-18s  %" PRId64 "\n", "edits", num(data, "edits"));
	printf("%-18s  %s%s%s\n", "where", in_window ? "recent window" : "",
	    in_window && in_store ? ", " : "", in_store ? "archive" : "");
	printf("%-18s  %" PRId64 "\n", "changes in window", num(data, "changes_in_window"));
}

void
output_user_added(struct json_object *data)
{
	struct json_object *u = NULL;

	json_object_object_get_ex(data, "user", &u);
	printf("added %s (%s)\n", str(u, "username"), str(u, "id"));
}

void
output_sessions(struct json_object *data)
{
	struct json_object *l = list(data, "items");

	printf("%-30s  %-24s  %-24s  %-15s  %s\n", "ID", "CREATED", "USED", "ADDRESS", "AGENT");
	for (size_t i = 0; l && i < json_object_array_length(l); i++) {
		struct json_object *s = json_object_array_get_idx(l, i);

		printf("%-30s  %-24s  %-24s  %-15s  ", str(s, "id"), str(s, "created_at"),
		    str(s, "used_at"), str(s, "address"));
		print_safe(str(s, "agent"));
		putchar('\n');
	}
}

void
output_ended(struct json_object *data)
{
	int64_t n = num(data, "ended");

	printf("ended %" PRId64 " login%s\n", n, n == 1 ? "" : "s");
}

void
output_key(struct json_object *data)
{
	printf("key %s signs from now on\n", str(data, "id"));
}

void
output_keys(struct json_object *data)
{
	struct json_object *l = list(data, "keys");

	printf("%-32s  %-24s  %s\n", "ID", "CREATED", "USE");
	for (size_t i = 0; l && i < json_object_array_length(l); i++) {
		struct json_object *k = json_object_array_get_idx(l, i);
		bool signs = false;

		json_get_bool(k, "signs", &signs);
		printf("%-32s  %-24s  %s\n", str(k, "id"), str(k, "created_at"),
		    signs ? "signs" : "verifies");
	}
}

void
output_done(struct json_object *data)
{
	puts("done");
}

void
output_shutdown(struct json_object *data)
{
	printf("palaverd (pid %" PRId64 ") is stopping\n", num(data, "pid"));
}
