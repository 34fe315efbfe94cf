/* SPDX-License-Identifier: ISC */
/*
 * sqlite_conversations: conversations and members.  Threads of the store's pool.
 *
 * A direct conversation has the ids of its pair, in order, in the unique column
 * `pair`: of two that are created at the same moment one wins, and both get it.
 */
#include <stdio.h>
#include <string.h>

#include "lib/log.h"
#include "model/error.h"
#include "store/sqlite.h"

#define PAIR_MAX (2 * ID_MAX)

static void
read_member(sqlite3_stmt *st, struct member *m)
{
	sqlite_text(st, 0, m->user, sizeof(m->user));
	sqlite_text(st, 1, m->username, sizeof(m->username));
	sqlite_text(st, 2, m->name, sizeof(m->name));
	m->role = (enum member_role)sqlite3_column_int(st, 3);
	m->since = (uint64_t)sqlite3_column_int64(st, 4);
}

static int
read_members(struct sqlite_handle *h, struct conversation *c)
{
	int err = 0;
	sqlite3_stmt *st = sqlite_stmt(h, SQL_MEMBERS_OF, &err);

	if (!st)
		return err;
	sqlite_bind(st, 1, c->id);
	while (sqlite_step(h, st, &err) == SQLITE_ROW)
		read_member(st, conversation_add_member(c, ""));
	return err;
}

static void
read_conversation(sqlite3_stmt *st, struct conversation *c)
{
	sqlite_text(st, 0, c->id, sizeof(c->id));
	c->type = (enum conversation_type)sqlite3_column_int(st, 1);
	sqlite_text(st, 2, c->name, sizeof(c->name));
	sqlite_text(st, 3, c->creator, sizeof(c->creator));
	c->created_ms = sqlite3_column_int64(st, 4);
	sqlite_text(st, 5, c->topic, sizeof(c->topic));
	c->archived = sqlite3_column_int(st, 6) != 0;
	c->is_public = sqlite3_column_int(st, 7) != 0;
	c->history = (enum conversation_history)sqlite3_column_int(st, 8);
	c->version = (uint64_t)sqlite3_column_int64(st, 9);
}

void
sqlite_add_conversation(struct sqlite_handle *h, struct store_req *req, const char *id)
{
	sqlite3_stmt *st = sqlite_stmt(h, SQL_CONV_BY_ID, &req->err);
	struct conversation *c;

	if (!st)
		return;
	sqlite_bind(st, 1, id);
	req->err = ERR_NOT_FOUND;
	if (sqlite_step(h, st, &req->err) != SQLITE_ROW)
		return;
	c = conversation_new();
	read_conversation(st, c);
	sqlite3_reset(st);
	req->err = read_members(h, c);
	store_req_add_conversation(req, c);
}

static const char *
make_pair(char pair[PAIR_MAX], const struct conversation *c)
{
	const char *a, *b;

	if (c->type != CONVERSATION_DIRECT || c->member_count != 2)
		return NULL;
	a = c->members[0].user;
	b = c->members[1].user;
	if (!strcmp(a, b))
		return NULL;
	snprintf(pair, PAIR_MAX, "%s %s", strcmp(a, b) < 0 ? a : b, strcmp(a, b) < 0 ? b : a);
	return pair;
}

/* 0 and *id_r, or ERR_NOT_FOUND. */
static int
find_pair(struct sqlite_handle *h, const char *pair, char id_r[ID_MAX])
{
	int err = 0;
	sqlite3_stmt *st = sqlite_stmt(h, SQL_CONV_BY_PAIR, &err);

	if (!st)
		return err;
	sqlite_bind(st, 1, pair);
	err = ERR_NOT_FOUND;
	if (sqlite_step(h, st, &err) != SQLITE_ROW)
		return err;
	sqlite_text(st, 0, id_r, ID_MAX);
	sqlite3_reset(st);
	return 0;
}

static int
insert_conversation(struct sqlite_handle *h, struct store_req *req, const char *pair)
{
	const struct conversation *c = req->conversation;
	int err = 0;
	sqlite3_stmt *st = sqlite_stmt(h, SQL_CONV_INSERT, &err);

	if (!st)
		return err;
	sqlite_bind(st, 1, c->id);
	sqlite3_bind_int(st, 2, (int)c->type);
	sqlite_bind(st, 3, c->name);
	sqlite_bind(st, 4, c->creator);
	sqlite3_bind_int64(st, 5, c->created_ms);
	if (pair)
		sqlite_bind(st, 6, pair);
	sqlite_bind(st, 7, c->topic);
	sqlite3_bind_int(st, 8, c->is_public);
	sqlite3_bind_int(st, 9, (int)c->history);
	err = sqlite_exec(h, st);
	if (err == ERR_NOT_FOUND)
		req->text_out = xstrdup(c->creator);
	for (size_t i = 0; !err && i < c->member_count; i++) {
		err = sqlite_put_member(h, c->id, &c->members[i]);
		if (err == ERR_NOT_FOUND)
			req->text_out = xstrdup(c->members[i].user);
	}
	return err;
}

void
sqlite_conversation_create(void *handle, struct store_req *req)
{
	struct sqlite_handle *h = handle;
	char pair_text[PAIR_MAX], id[ID_MAX];
	const char *pair = make_pair(pair_text, req->conversation);

	if (req->conversation->type == CONVERSATION_DIRECT && !pair) {
		req->err = ERR_INVALID_FIELD;
		return;
	}
	str_copy(id, sizeof(id), req->conversation->id);
	req->flag = false;
	req->err = sqlite_begin(h); /* with the write lock nobody creates the pair in between */
	if (req->err)
		return;
	req->err = pair ? find_pair(h, pair, id) : ERR_NOT_FOUND;
	if (!req->err)
		req->flag = true;
	else if (req->err == ERR_NOT_FOUND)
		req->err = insert_conversation(h, req, pair);
	if (!req->err && !req->flag)
		req->err = sqlite_outbox_put(h, req);
	if (!req->err) /* before the commit: after it there must be nothing left to fail */
		sqlite_add_conversation(h, req, id);
	sqlite_finish(h, req, req->err);
}

void
sqlite_conversation_get(void *h, struct store_req *req)
{
	sqlite_add_conversation(h, req, req->id);
}

int
sqlite_read_ids(struct sqlite_handle *h, struct store_req *req, sqlite3_stmt *st)
{
	int err = 0;

	while (sqlite_step(h, st, &err) == SQLITE_ROW) {
		char id[ID_MAX];

		sqlite_text(st, 0, id, sizeof(id));
		store_req_add_id(req, id);
	}
	return err;
}

void
sqlite_conversation_list(void *h, struct store_req *req)
{
	sqlite3_stmt *st = sqlite_stmt(h, SQL_CONV_LIST, &req->err);

	if (!st)
		return;
	sqlite_bind(st, 1, req->id);
	sqlite_bind(st, 2, req->cursor);
	sqlite3_bind_int64(st, 3, (sqlite3_int64)req->limit);
	req->err = sqlite_read_ids(h, req, st);
	for (size_t i = 0; !req->err && i < req->id_out_count; i++) {
		sqlite_add_conversation(h, req, req->ids_out[i]);
		if (!req->err)
			req->err = sqlite_add_membership(h, req, req->ids_out[i], req->id);
		if (!req->err)
			req->err = sqlite_count_unread(h, req->id, &req->memberships[i]);
	}
}

static void
read_membership(sqlite3_stmt *st, struct membership *m)
{
	sqlite_text(st, 0, m->conversation, sizeof(m->conversation));
	m->type = (enum conversation_type)sqlite3_column_int(st, 1);
	m->role = (enum member_role)sqlite3_column_int(st, 2);
	m->archived = sqlite3_column_int(st, 3) != 0;
	m->muted = sqlite3_column_int(st, 4) != 0;
	m->since = (uint64_t)sqlite3_column_int64(st, 5);
	m->read = (uint64_t)sqlite3_column_int64(st, 6);
}

void
sqlite_memberships(void *h, struct store_req *req)
{
	sqlite3_stmt *st = sqlite_stmt(h, SQL_MEMBERSHIPS, &req->err);

	if (!st)
		return;
	sqlite_bind(st, 1, req->id);
	req->err = 0;
	while (sqlite_step(h, st, &req->err) == SQLITE_ROW)
		read_membership(st, store_req_add_membership(req));
}

void
sqlite_channel_list(void *h, struct store_req *req)
{
	sqlite3_stmt *st =
	    sqlite_stmt(h, req->flag ? SQL_CONV_LIST_ALL : SQL_CHANNEL_LIST, &req->err);

	if (!st)
		return;
	sqlite_bind(st, 1, req->text);
	sqlite_bind(st, 2, req->cursor);
	sqlite3_bind_int64(st, 3, (sqlite3_int64)req->limit);
	req->err = 0;
	while (sqlite_step(h, st, &req->err) == SQLITE_ROW) {
		struct conversation *c = conversation_new();

		read_conversation(st, c);
		c->member_total = (size_t)sqlite3_column_int64(st, 10);
		store_req_add_conversation(req, c);
	}
}

/* ERR_NOT_FOUND: there is no such conversation. */
static int
conversation_there(struct sqlite_handle *h, const char *id)
{
	int err = 0;
	sqlite3_stmt *st = sqlite_stmt(h, SQL_CONV_BY_ID, &err);

	if (!st)
		return err;
	sqlite_bind(st, 1, id);
	err = ERR_NOT_FOUND;
	if (sqlite_step(h, st, &err) == SQLITE_ROW) {
		err = 0;
		sqlite3_reset(st);
	}
	return err;
}

void
sqlite_members_list(void *h, struct store_req *req)
{
	sqlite3_stmt *st = sqlite_stmt(h, SQL_MEMBERS_PAGE, &req->err);

	if (!st)
		return;
	req->err = conversation_there(h, req->id);
	if (req->err)
		return;
	sqlite_bind(st, 1, req->id);
	sqlite_bind(st, 2, req->cursor);
	sqlite3_bind_int64(st, 3, (sqlite3_int64)req->limit);
	while (sqlite_step(h, st, &req->err) == SQLITE_ROW)
		read_member(st, store_req_add_member(req));
}

int
sqlite_add_membership(
    struct sqlite_handle *h, struct store_req *req, const char *conversation, const char *user)
{
	int err = 0;
	sqlite3_stmt *st = sqlite_stmt(h, SQL_MEMBER_CHECK, &err);

	if (!st)
		return err;
	sqlite_bind(st, 1, conversation);
	sqlite_bind(st, 2, user);
	err = ERR_NOT_FOUND;
	if (sqlite_step(h, st, &err) != SQLITE_ROW)
		return err;
	read_membership(st, store_req_add_membership(req));
	sqlite3_reset(st);
	return 0;
}

void
sqlite_member_check(void *h, struct store_req *req)
{
	req->err = sqlite_add_membership(h, req, req->id, req->text);
}
