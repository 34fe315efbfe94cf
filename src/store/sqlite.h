/* SPDX-License-Identifier: ISC */
/*
 * sqlite: what the files of the SQLite store share.
 */
#ifndef PALAVER_STORE_SQLITE_H
#define PALAVER_STORE_SQLITE_H

#include <sqlite3.h>
#include <stdbool.h>

#include "store/store.h"

enum sql_id {
#define SQL(name, text) SQL_##name,
#include "store/sqlite.def"
#undef SQL
	SQL_COUNT
};

/* One a thread. */
struct sqlite_handle {
	sqlite3 *db;
	sqlite3_stmt *stmts[SQL_COUNT]; /* prepared at first use */
};

/* How long a write waits for another process's; tests shorten it before a handle is opened. */
extern int sqlite_busy_ms;

/* A statement ready for binding from 1 on; NULL: *err_r is set. */
sqlite3_stmt *sqlite_stmt(struct sqlite_handle *h, enum sql_id id, int *err_r);
/*
 * Steps: SQLITE_ROW or SQLITE_DONE; else *err_r is set (and logged), and the statement is
 * reset.
 */
int sqlite_step(struct sqlite_handle *h, sqlite3_stmt *st, int *err_r);
/*
 * Runs to the end and resets.  0 or ERR_; not logged: ERR_CONFLICT: a uniqueness rule was
 * broken, ERR_NOT_FOUND: a row that this one refers to is missing.
 */
int sqlite_exec(struct sqlite_handle *h, sqlite3_stmt *st);
int sqlite_begin(struct sqlite_handle *h); /* IMMEDIATE: the write lock now, not half-way */
int sqlite_commit(struct sqlite_handle *h);
void sqlite_rollback(struct sqlite_handle *h);
/* Ends the transaction and sets req->err: what failed changes nothing and ends no session. */
void sqlite_finish(struct sqlite_handle *h, struct store_req *req, int err);
int sqlite_run_with(struct sqlite_handle *h, enum sql_id id, const char *text); /* its one argument */
/* As sqlite_exec(); none: it changed no row. */
int sqlite_exec_some(struct sqlite_handle *h, sqlite3_stmt *st, int none);

void sqlite_bind(sqlite3_stmt *st, int i, const char *text);         /* borrowed until the reset */
void sqlite_text(sqlite3_stmt *st, int col, char *dst, size_t size); /* cut if it is too long */

/* sqlite_people.c */
void sqlite_user_create(void *h, struct store_req *req);
void sqlite_user_by_id(void *h, struct store_req *req);
void sqlite_users_by_id(void *h, struct store_req *req);
void sqlite_user_by_username(void *h, struct store_req *req);
void sqlite_user_list(void *h, struct store_req *req);
void sqlite_user_set_password(void *h, struct store_req *req);
void sqlite_user_set_locked(void *h, struct store_req *req);
/* By USER_COLUMNS. */
void sqlite_read_user(sqlite3_stmt *st, struct user *u);
/* Runs an update of the user req->id and, with end, ends the sessions but req->session_id. */
void sqlite_update_user(struct sqlite_handle *h, struct store_req *req, sqlite3_stmt *st, bool end);

/* sqlite_sessions.c */
/* Ends all sessions of the user but keep, within the caller's transaction. */
int sqlite_sessions_end(struct sqlite_handle *h, struct store_req *req, const char *user,
    const char *keep);
void sqlite_session_create(void *h, struct store_req *req);
void sqlite_session_rotate(void *h, struct store_req *req);
void sqlite_session_logout(void *h, struct store_req *req);
void sqlite_session_list(void *h, struct store_req *req);
void sqlite_session_revoke(void *h, struct store_req *req);
void sqlite_revocations(void *h, struct store_req *req);

/* sqlite_accounts.c */
void sqlite_user_update(void *h, struct store_req *req);
void sqlite_user_deactivate(void *h, struct store_req *req);
void sqlite_invitation_create(void *h, struct store_req *req);
void sqlite_invitation_list(void *h, struct store_req *req);
void sqlite_invitation_delete(void *h, struct store_req *req);
/* One use of req's invitation, within the caller's transaction; ERR_INVITATION. */
int sqlite_invitation_use(struct sqlite_handle *h, const struct store_req *req);

/* sqlite_conversations.c */
void sqlite_conversation_create(void *h, struct store_req *req);
void sqlite_conversation_get(void *h, struct store_req *req);
void sqlite_conversation_list(void *h, struct store_req *req);
void sqlite_memberships(void *h, struct store_req *req);
void sqlite_members_list(void *h, struct store_req *req);
void sqlite_channel_list(void *h, struct store_req *req);
void sqlite_member_check(void *h, struct store_req *req);
/* Reads one with its members into req's conversations, or sets req->err. */
void sqlite_add_conversation(struct sqlite_handle *h, struct store_req *req, const char *id);
/* 0, ERR_NOT_FOUND: is no member (nothing is added). */
int sqlite_add_membership(
    struct sqlite_handle *h, struct store_req *req, const char *conversation, const char *user);
/* Adds the first column of each row to ids_out. */
int sqlite_read_ids(struct sqlite_handle *h, struct store_req *req, sqlite3_stmt *st);

/* sqlite_changes.c */
/* New, or in another role.  ERR_NOT_FOUND: not a user. */
int sqlite_put_member(struct sqlite_handle *h, const char *conversation, const struct member *m);
void sqlite_conversation_change(void *h, struct store_req *req);
void sqlite_outbox_list(void *h, struct store_req *req);
/* Puts or takes away within the caller's transaction. */
int sqlite_outbox_put(struct sqlite_handle *h, const struct store_req *req);
int sqlite_outbox_delete(struct sqlite_handle *h, const struct event *ev);

/* sqlite_messages.c */
void sqlite_message_get(void *h, struct store_req *req);
void sqlite_reads_put(void *h, struct store_req *req);
void sqlite_member_mute(void *h, struct store_req *req);
/* Fills last, unread and mentions of a membership of this user. */
int sqlite_count_unread(struct sqlite_handle *h, const char *user, struct membership *m);
/* ev was just inserted: keeps the registers, takes out text that nobody may read any more. */
int sqlite_apply_state(struct sqlite_handle *h, const struct event *ev, bool keep_edits);
/* Adds the state of the message that each of req->events shows. */
int sqlite_add_states(struct sqlite_handle *h, struct store_req *req);

/* sqlite_files.c */
void sqlite_file_create(void *h, struct store_req *req);
void sqlite_file_get(void *h, struct store_req *req);
void sqlite_file_delete(void *h, struct store_req *req);
void sqlite_files_claim(void *h, struct store_req *req);
void sqlite_files_sweep(void *h, struct store_req *req);
void sqlite_files_forget(void *h, struct store_req *req);
/* ev was just inserted: what it makes of the files of the message, which is deleted or not. */
int sqlite_files_settle(struct sqlite_handle *h, const struct event *ev, const char *message,
    bool deleted);

/* sqlite_events.c */
struct event *sqlite_read_event(sqlite3_stmt *st);
/* A number as SQLite takes it: what a client asks for may be beyond 2^63. */
sqlite3_int64 sqlite_seq(uint64_t seq);
void sqlite_reverse(struct event **events, size_t n);
void sqlite_event_by_client_id(void *h, struct store_req *req);
void sqlite_events(void *h, struct store_req *req);
void sqlite_apply(void *h, struct store_req *req);

/* sqlite_presence.c */
void sqlite_users_seen(void *h, struct store_req *req);
void sqlite_users_shared(void *h, struct store_req *req);
void sqlite_presence_conversations(void *h, struct store_req *req);

#endif
