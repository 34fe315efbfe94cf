/* SPDX-License-Identifier: ISC */
/*
 * admin: what palaverctl asks of a worker, by one table.  Loop thread.
 *
 * Request {"command":"user.add",..}; answer {"ok":true,"data":{..}} or
 * {"ok":false,"code":"..","error":"text","exit":sysexits code}.
 */
#include <stdlib.h>
#include <string.h>
#include <sysexits.h>

#include "api/fields.h"
#include "lib/json.h"
#include "lib/log.h"
#include "worker/worker_int.h"

struct admin_call {
	struct worker *worker;
	uint32_t id;
	struct json_object *body;
	/* Fields that several commands have, borrowed from the body; NULL: not given */
	const char *username, *password;
	const char *q, *target; /* "" if not given; the target is the body's "id" */
};

static int
exit_status(int err)
{
	switch (err) {
	case ERR_NOT_FOUND:
		return EX_NOUSER;
	case ERR_INVALID_FIELD:
	case ERR_BAD_REQUEST:
		return EX_DATAERR;
	case ERR_USERNAME_TAKEN:
		return EX_CANTCREAT;
	default:
		return error_retryable(err) ? EX_TEMPFAIL : EX_SOFTWARE;
	}
}

static void
put_error(struct buf *b, const struct chat_result *res)
{
	const char *title = error_title(res->err);
	char *text =
	    res->pointer && res->pointer[0]
		? xasprintf("%s: %s %s", title, res->pointer + 1, res->reason ? res->reason : "")
		: xstrdup(title);

	buf_printf(b, "{\"ok\":false,\"code\":\"%s\",\"error\":", error_code(res->err));
	json_put_string(b, text, strlen(text));
	buf_printf(b, ",\"exit\":%d}", exit_status(res->err));
	free(text);
}

static void
admin_done(void *arg, const struct chat_result *res)
{
	struct admin_call *call = arg;
	struct buf b;

	buf_init(&b);
	if (res->err) {
		put_error(&b, res);
	} else {
		buf_puts(&b, "{\"ok\":true,\"data\":");
		buf_append(&b, res->json, res->json_len);
		buf_putc(&b, '}');
	}
	imsg_send_buf(call->worker->child->chan, CHAN_CTL_REPLY, call->id, &b);
	buf_fini(&b);
	json_object_put(call->body);
	free(call);
}

/* ---- commands ---- */

static void
user_add(struct admin_call *call)
{
	struct chat_signup in = {
	    .username = call->username, .password = call->password, .by_admin = true};

	json_get_str(call->body, "name", &in.name);
	chat_signup(call->worker->chat, &in, admin_done, call);
}

static void
user_list(struct admin_call *call)
{
	chat_user_list(call->worker->chat, call->q, "", STORE_PAGE_MAX, true, admin_done, call);
}

static void
user_passwd(struct admin_call *call)
{
	chat_user_set_password(
	    call->worker->chat, call->username, call->password, admin_done, call);
}

static void
user_lock(struct admin_call *call)
{
	chat_user_set_locked(call->worker->chat, call->username, true, admin_done, call);
}

static void
user_unlock(struct admin_call *call)
{
	chat_user_set_locked(call->worker->chat, call->username, false, admin_done, call);
}

static void
user_show(struct admin_call *call)
{
	chat_user_show(call->worker->chat, call->username, admin_done, call);
}

/* palaverctl sends what was typed: a number is text.  -1: it is none. */
static int64_t
number(struct json_object *o, const char *key, int64_t fallback)
{
	const char *text = NULL;
	char *end;
	long long v;

	if (!json_get_str(o, key, &text) || !text)
		return fallback;
	v = strtoll(text, &end, 10);
	return *text < '0' || *text > '9' || *end ? -1 : v;
}

static void
invite_add(struct admin_call *call)
{
	struct chat_invite in = {.note = ""};

	in.uses = number(call->body, "uses", 1);
	in.days = number(call->body, "days", 7);
	json_get_str(call->body, "note", &in.note);
	chat_invitation_add(call->worker->chat, &in, admin_done, call);
}

static void
invite_list(struct admin_call *call)
{
	chat_invitation_list(call->worker->chat, "", STORE_PAGE_MAX, admin_done, call);
}

static void
invite_remove(struct admin_call *call)
{
	chat_invitation_remove(call->worker->chat, call->target, admin_done, call);
}

static void
conversation_list(struct admin_call *call)
{
	chat_channel_list(call->worker->chat, call->q, "", STORE_PAGE_MAX, true, admin_done, call);
}

static void
conversation_show(struct admin_call *call)
{
	chat_conversation_show(call->worker->chat, call->target, admin_done, call);
}

static void
message_show(struct admin_call *call)
{
	chat_message_show(call->worker->chat, call->target, admin_done, call);
}

static void
stats(struct admin_call *call)
{
	struct journal_writer_stats js;
	struct chat_stats cs;
	struct wire_stats ws;
	struct buf b;

	chat_stats(call->worker->chat, &cs);
	wire_stats(call->worker->wire, &ws);
	journal_writer_stats(call->worker->journal, &js);
	buf_init(&b);
#define PUT(set, name) buf_printf(&b, ",\"" #name "\":%llu", (unsigned long long)(set).name)
	buf_printf(&b, "{\"slot\":%u", call->worker->child->slot);
	PUT(cs, clients), PUT(cs, rooms), PUT(cs, sent), PUT(cs, acknowledged);
	PUT(cs, duplicates), PUT(cs, refused), PUT(cs, replayed), PUT(cs, delivered);
	PUT(cs, gaps), PUT(cs, hashes), PUT(cs, slowed), PUT(ws, connections), PUT(ws, sessions),
	    PUT(ws, accepted);
	PUT(ws, frames_in), PUT(ws, frames_out), PUT(ws, writes), PUT(ws, slow_closed);
	PUT(ws, protocol_errors), PUT(ws, relayed), PUT(ws, moved_in), PUT(ws, moved_out);
	PUT(ws, refused_address), PUT(js, intakes), PUT(js, appends), PUT(js, syncs);
	PUT(js, open_tickets), PUT(js, damaged_records), PUT(js, segments);
#undef PUT
	buf_putc(&b, '}');
	chat_answer_json(admin_done, call, false, &b);
	buf_fini(&b);
}

static void
user_revoke(struct admin_call *call)
{
	chat_user_revoke(call->worker->chat, call->username, admin_done, call);
}

static void
session_list(struct admin_call *call)
{
	chat_user_sessions(call->worker->chat, call->username, admin_done, call);
}

static void
session_kill(struct admin_call *call)
{
	chat_session_kill(call->worker->chat, call->target, admin_done, call);
}

static void
kick(struct admin_call *call)
{
	chat_user_kick(call->worker->chat, call->username, admin_done, call);
}

static const struct admin_command {
	const char *name;
	bool username, password; /* needed */
	void (*run)(struct admin_call *call);
} commands[] = {
    {"user.add", true, true, user_add},
    {"user.list", false, false, user_list},
    {"user.passwd", true, true, user_passwd},
    {"user.lock", true, false, user_lock},
    {"user.unlock", true, false, user_unlock},
    {"user.show", true, false, user_show},
    {"invite.add", false, false, invite_add},
    {"invite.list", false, false, invite_list},
    {"invite.remove", false, false, invite_remove},
    {"conversation.list", false, false, conversation_list},
    {"conversation.show", false, false, conversation_show},
    {"message.show", false, false, message_show},
    {"user.revoke", true, false, user_revoke},
    {"session.list", true, false, session_list},
    {"session.kill", false, false, session_kill},
    {"kick", true, false, kick},
    {"stats", false, false, stats},
};

static void
run(struct admin_call *call, const char *name)
{
	const char *pointer, *reason;

	for (size_t i = 0; i < sizeof(commands) / sizeof(*commands); i++) {
		const struct admin_command *c = &commands[i];
		const struct field fields[] = {
		    {"username", FIELD_STR, c->username, &call->username},
		    {"password", FIELD_STR, c->password, &call->password},
		    {"q", FIELD_STR, false, &call->q},
		    {"id", FIELD_STR, false, &call->target},
		};

		if (strcmp(c->name, name) != 0)
			continue;
		if (fields_read(call->body, fields, 4, &pointer, &reason)) {
			chat_answer_error(admin_done, call, ERR_INVALID_FIELD, pointer, reason);
			return;
		}
		log_info("admin.command", "command=%s user=%s", name,
		    log_quote(call->username ? call->username : ""));
		c->run(call);
		return;
	}
	chat_answer_error(admin_done, call, ERR_BAD_REQUEST, "/command", "unknown");
}

void
worker_admin(struct worker *w, uint32_t id, const char *json, size_t len)
{
	struct admin_call *call = xcalloc(1, sizeof(*call));
	const char *why, *name = NULL;

	call->worker = w;
	call->id = id;
	call->q = call->target = "";
	call->body = json_parse(json, len, &json_default_limits, &why);
	if (!json_object_is_type(call->body, json_type_object) ||
	    !json_get_str(call->body, "command", &name) || !name)
		chat_answer_error(admin_done, call, ERR_BAD_REQUEST, "/command", "required");
	else
		run(call, name);
}
