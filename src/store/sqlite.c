/* SPDX-License-Identifier: ISC */
/*
 * sqlite: opening, schema, statements and errors of the SQLite store.  Threads of the
 * store's pool; a handle belongs to one thread.
 *
 * WAL, so that readers never wait for the writer, and synchronous=FULL: a write that
 * returned is on the disk.  Several processes write; each waits up to sqlite_busy_ms for
 * another's transaction, which are all short.
 */
#include "store/sqlite.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <unistd.h>

#include "lib/log.h"
#include "model/error.h"

#define SCHEMA_VERSION 6

int sqlite_busy_ms = 5000;

/* One entry a version; a database of version n gets those from n on. */
static const char *const upgrades[SCHEMA_VERSION] = {
    "CREATE TABLE users (id TEXT PRIMARY KEY, username TEXT NOT NULL UNIQUE, name TEXT NOT NULL,"
    " password TEXT NOT NULL, locked INTEGER NOT NULL, created_ms INTEGER NOT NULL) WITHOUT ROWID;"
    "CREATE TABLE sessions (id TEXT PRIMARY KEY, user TEXT NOT NULL REFERENCES users (id),"
    " token_hash BLOB NOT NULL UNIQUE, created_ms INTEGER NOT NULL, expires_ms INTEGER NOT NULL)"
    " WITHOUT ROWID;"
    "CREATE INDEX sessions_user ON sessions (user);"
    "CREATE TABLE conversations (id TEXT PRIMARY KEY, type INTEGER NOT NULL, name TEXT NOT NULL,"
    " creator TEXT NOT NULL REFERENCES users (id), created_ms INTEGER NOT NULL, pair TEXT UNIQUE)"
    " WITHOUT ROWID;"
    "CREATE TABLE members (conversation TEXT NOT NULL REFERENCES conversations (id),"
    " user TEXT NOT NULL REFERENCES users (id), PRIMARY KEY (conversation, user)) WITHOUT ROWID;"
    "CREATE INDEX members_user ON members (user, conversation);"
    "CREATE TABLE events (conversation TEXT NOT NULL, seq INTEGER NOT NULL, id TEXT NOT NULL "
    "UNIQUE,"
    " sender TEXT NOT NULL, client_id TEXT NOT NULL, type INTEGER NOT NULL,"
    " created_ms INTEGER NOT NULL, digest BLOB NOT NULL, data TEXT NOT NULL,"
    " PRIMARY KEY (conversation, seq)) WITHOUT ROWID;"
    "CREATE UNIQUE INDEX events_client ON events (conversation, sender, client_id)"
    " WHERE client_id != '';",
    /* 2: accounts */
    "ALTER TABLE users ADD COLUMN avatar TEXT NOT NULL DEFAULT '';"
    "ALTER TABLE users ADD COLUMN bio TEXT NOT NULL DEFAULT '';"
    "ALTER TABLE users ADD COLUMN time_zone TEXT NOT NULL DEFAULT '';"
    "ALTER TABLE users ADD COLUMN deactivated_ms INTEGER NOT NULL DEFAULT 0;"
    "ALTER TABLE users ADD COLUMN last_seen_ms INTEGER NOT NULL DEFAULT 0;"
    "ALTER TABLE users ADD COLUMN version INTEGER NOT NULL DEFAULT 1;"
    "ALTER TABLE sessions ADD COLUMN used_ms INTEGER NOT NULL DEFAULT 0;"
    "ALTER TABLE sessions ADD COLUMN address TEXT NOT NULL DEFAULT '';"
    "ALTER TABLE sessions ADD COLUMN agent TEXT NOT NULL DEFAULT '';"
    "CREATE TABLE spent_tokens (token_hash BLOB PRIMARY KEY, session TEXT NOT NULL,"
    " spent_ms INTEGER NOT NULL) WITHOUT ROWID;"
    "CREATE INDEX spent_tokens_session ON spent_tokens (session);"
    "CREATE TABLE revocations (session TEXT PRIMARY KEY, user TEXT NOT NULL,"
    " until_ms INTEGER NOT NULL) WITHOUT ROWID;"
    "CREATE TABLE invitations (id TEXT PRIMARY KEY, code_hash BLOB NOT NULL UNIQUE,"
    " uses_left INTEGER NOT NULL, created_ms INTEGER NOT NULL, expires_ms INTEGER NOT NULL,"
    " note TEXT NOT NULL) WITHOUT ROWID;",
    /* 3: conversations */
    "ALTER TABLE conversations ADD COLUMN topic TEXT NOT NULL DEFAULT '';"
    "ALTER TABLE conversations ADD COLUMN archived INTEGER NOT NULL DEFAULT 0;"
    "ALTER TABLE conversations ADD COLUMN public INTEGER NOT NULL DEFAULT 0;"
    "ALTER TABLE conversations ADD COLUMN history INTEGER NOT NULL DEFAULT 0;"
    "ALTER TABLE conversations ADD COLUMN version INTEGER NOT NULL DEFAULT 1;"
    "ALTER TABLE members ADD COLUMN role INTEGER NOT NULL DEFAULT 1;"
    "ALTER TABLE members ADD COLUMN since INTEGER NOT NULL DEFAULT 0;"
    "ALTER TABLE members ADD COLUMN read INTEGER NOT NULL DEFAULT 0;"
    "ALTER TABLE members ADD COLUMN muted INTEGER NOT NULL DEFAULT 0;"
    "UPDATE members SET role = 3 WHERE EXISTS (SELECT 1 FROM conversations c WHERE"
    " c.id = conversation AND c.creator = user AND c.type != 1);"
    "CREATE INDEX conversations_public ON conversations (id) WHERE public;"
    "CREATE TABLE outbox (event TEXT PRIMARY KEY, created_ms INTEGER NOT NULL,"
    " packed BLOB NOT NULL) WITHOUT ROWID;",
    /* 4: messages: registers that an event wins by its seq (model/message.h) */
    "ALTER TABLE events ADD COLUMN ref TEXT NOT NULL DEFAULT '';"
    "CREATE INDEX events_ref ON events (ref, seq) WHERE ref != '';"
    "CREATE TABLE edits (message TEXT PRIMARY KEY, conversation TEXT NOT NULL,"
    " seq INTEGER NOT NULL) WITHOUT ROWID;"
    "CREATE TABLE deletions (message TEXT PRIMARY KEY, seq INTEGER NOT NULL,"
    " at_ms INTEGER NOT NULL, by TEXT NOT NULL) WITHOUT ROWID;"
    "CREATE TABLE reactions (message TEXT NOT NULL, user TEXT NOT NULL, emoji TEXT NOT NULL,"
    " seq INTEGER NOT NULL, present INTEGER NOT NULL, PRIMARY KEY (message, user, emoji))"
    " WITHOUT ROWID;"
    "CREATE TABLE mentions (user TEXT NOT NULL, conversation TEXT NOT NULL,"
    " seq INTEGER NOT NULL, message TEXT NOT NULL, PRIMARY KEY (user, conversation, seq))"
    " WITHOUT ROWID;"
    "CREATE INDEX mentions_message ON mentions (message);",
    /* 5: rotation and revocation.  Nothing is spent or revoked before. */
    "ALTER TABLE spent_tokens ADD COLUMN nonce BLOB NOT NULL DEFAULT x'';"
    "DROP INDEX spent_tokens_session;"
    "CREATE INDEX spent_tokens_session ON spent_tokens (session, spent_ms);"
    "ALTER TABLE revocations ADD COLUMN reason INTEGER NOT NULL DEFAULT 0;"
    "CREATE INDEX revocations_until ON revocations (until_ms);"
    "CREATE INDEX sessions_expires ON sessions (expires_ms, id);"
    "UPDATE sessions SET used_ms = created_ms WHERE used_ms = 0;",
    /* 6: files; state as of model/file.h */
    "CREATE TABLE files (id TEXT PRIMARY KEY, owner TEXT NOT NULL REFERENCES users (id),"
    " name TEXT NOT NULL, type TEXT NOT NULL, size INTEGER NOT NULL, created_ms INTEGER NOT NULL,"
    " state INTEGER NOT NULL DEFAULT 0, conversation TEXT NOT NULL DEFAULT '',"
    " client_id TEXT NOT NULL DEFAULT '', message TEXT NOT NULL DEFAULT '',"
    " claimed_ms INTEGER NOT NULL DEFAULT 0) WITHOUT ROWID;"
    "CREATE INDEX files_owner ON files (owner, size) WHERE state != 3;"
    "CREATE INDEX files_client ON files (owner, client_id) WHERE client_id != '';"
    "CREATE INDEX files_message ON files (message) WHERE message != '';"
    "CREATE INDEX files_loose ON files (created_ms) WHERE state = 0;"
    "CREATE INDEX files_claimed ON files (claimed_ms) WHERE state = 1;"
    "CREATE INDEX files_doomed ON files (id) WHERE state = 3;",
};

/* In the order in which sqlite_read_user() takes them. */
#define USER_COLUMNS                                                                               \
	"id, username, name, password, locked, created_ms, avatar, bio, time_zone,"                \
	" deactivated_ms, last_seen_ms, version"

#define SESSION_COLUMNS "id, user, token_hash, created_ms, used_ms, expires_ms, address, agent"

#define FILE_COLUMNS "id, owner, name, type, size, created_ms, state, conversation, message"

static const char *const statements[SQL_COUNT] = {
#define SQL(name, text) [SQL_##name] = text,
#include "store/sqlite.def"
#undef SQL
};

/* ---- errors ---- */

static int
error_of(int code, int sys)
{
	switch (code & 0xff) {
	case SQLITE_FULL:
		return ERR_STORAGE_FULL;
	case SQLITE_IOERR:
	case SQLITE_CANTOPEN: /* the -wal and -shm files may be what there is no space for */
		return sys == ENOSPC || sys == EDQUOT ? ERR_STORAGE_FULL : ERR_UNAVAILABLE;
	case SQLITE_BUSY:
	case SQLITE_LOCKED:
	case SQLITE_READONLY:
	case SQLITE_PROTOCOL:
		return ERR_UNAVAILABLE;
	case SQLITE_CORRUPT:
	case SQLITE_NOTADB:
		return ERR_DAMAGED;
	}
	return ERR_INTERNAL;
}

/* A broken constraint is an answer, and the caller's to judge; the rest is logged here. */
static int
map_error(struct sqlite_handle *h)
{
	int code = sqlite3_extended_errcode(h->db), err;
	const char *file;

	if (code == SQLITE_CONSTRAINT_FOREIGNKEY)
		return ERR_NOT_FOUND;
	if ((code & 0xff) == SQLITE_CONSTRAINT)
		return ERR_CONFLICT;
	err = error_of(code, sqlite3_system_errno(h->db));
	if (err != ERR_DAMAGED) {
		log_error("store.error", "code=%d err=%s", code, log_quote(sqlite3_errmsg(h->db)));
		return err;
	}
	file = sqlite3_db_filename(h->db, "main");
	log_error("store.damaged", "file=%s err=%s hint=%s", log_quote(file ? file : ""),
	    log_quote(sqlite3_errmsg(h->db)),
	    log_quote("stop the server, keep a copy of the file, then try .recover of sqlite3(1), "
		      "or bring a backup back"));
	return err;
}

/* ---- statements ---- */

sqlite3_stmt *
sqlite_stmt(struct sqlite_handle *h, enum sql_id id, int *err_r)
{
	sqlite3_stmt **st = &h->stmts[id];

	if (!*st && sqlite3_prepare_v3(h->db, statements[id], -1, SQLITE_PREPARE_PERSISTENT, st,
			NULL) != SQLITE_OK) {
		*err_r = map_error(h);
		return NULL;
	}
	sqlite3_reset(*st);
	sqlite3_clear_bindings(*st);
	return *st;
}

int
sqlite_step(struct sqlite_handle *h, sqlite3_stmt *st, int *err_r)
{
	int rc = sqlite3_step(st);

	if (rc == SQLITE_ROW)
		return rc;
	if (rc != SQLITE_DONE)
		*err_r = map_error(h);
	sqlite3_reset(st);
	return rc;
}

int
sqlite_exec(struct sqlite_handle *h, sqlite3_stmt *st)
{
	int err = 0;

	while (sqlite_step(h, st, &err) == SQLITE_ROW)
		;
	return err;
}

static int
exec_id(struct sqlite_handle *h, enum sql_id id)
{
	int err = 0;
	sqlite3_stmt *st = sqlite_stmt(h, id, &err);

	return st ? sqlite_exec(h, st) : err;
}

int
sqlite_begin(struct sqlite_handle *h)
{
	return exec_id(h, SQL_BEGIN);
}

int
sqlite_commit(struct sqlite_handle *h)
{
	int err = exec_id(h, SQL_COMMIT);

	if (err)
		sqlite_rollback(h);
	return err;
}

void
sqlite_rollback(struct sqlite_handle *h)
{
	if (!sqlite3_get_autocommit(h->db))
		exec_id(h, SQL_ROLLBACK);
}

void
sqlite_finish(struct sqlite_handle *h, struct store_req *req, int err)
{
	if (!err)
		err = sqlite_commit(h);
	else
		sqlite_rollback(h);
	if (err)
		req->revocation_count = 0;
	req->err = err;
}

int
sqlite_run_with(struct sqlite_handle *h, enum sql_id id, const char *text)
{
	int err = 0;
	sqlite3_stmt *st = sqlite_stmt(h, id, &err);

	if (!st)
		return err;
	sqlite_bind(st, 1, text);
	return sqlite_exec(h, st);
}

int
sqlite_exec_some(struct sqlite_handle *h, sqlite3_stmt *st, int none)
{
	int err = sqlite_exec(h, st);

	return !err && sqlite3_changes(h->db) == 0 ? none : err;
}

void
sqlite_bind(sqlite3_stmt *st, int i, const char *text)
{
	sqlite3_bind_text(st, i, text ? text : "", -1, SQLITE_STATIC);
}

void
sqlite_text(sqlite3_stmt *st, int col, char *dst, size_t size)
{
	const char *text = (const char *)sqlite3_column_text(st, col);

	str_copy(dst, size, text ? text : "");
}

/* ---- handles ---- */

static void
close_handle(void *arg)
{
	struct sqlite_handle *h = arg;

	for (int i = 0; i < SQL_COUNT; i++)
		sqlite3_finalize(h->stmts[i]);
	sqlite3_close(h->db);
	free(h);
}

static int
run_text(struct sqlite_handle *h, const char *sql)
{
	return sqlite3_exec(h->db, sql, NULL, NULL, NULL) == SQLITE_OK ? 0 : map_error(h);
}

/* create: SQLITE_OPEN_CREATE or 0. */
static struct sqlite_handle *
open_file(const char *where, int create, int *err_r)
{
	struct sqlite_handle *h = xcalloc(1, sizeof(*h));

	*err_r = 0;
	if (sqlite3_open_v2(where, &h->db,
		SQLITE_OPEN_READWRITE | SQLITE_OPEN_NOMUTEX | SQLITE_OPEN_EXRESCODE | create,
		NULL) != SQLITE_OK) {
		*err_r = h->db ? map_error(h) : ERR_UNAVAILABLE;
	} else {
		sqlite3_busy_timeout(h->db, sqlite_busy_ms);
		*err_r = run_text(h, "PRAGMA synchronous=FULL; PRAGMA foreign_keys=ON;"
				     "PRAGMA cache_size=-8000; PRAGMA wal_autocheckpoint=1000;"
				     "PRAGMA trusted_schema=OFF;"
				     /* what is deleted is overwritten, not only let go */
				     "PRAGMA secure_delete=ON");
	}
	if (!*err_r)
		return h;
	log_error("store.not_opened", "file=%s err=%s", log_quote(where), error_code(*err_r));
	close_handle(h);
	return NULL;
}

static void *
open_handle(const char *where)
{
	int err;

	return open_file(where, 0, &err); /* a file that vanished must not come back empty */
}

static int
user_version(struct sqlite_handle *h, int *version_r)
{
	sqlite3_stmt *st = NULL;
	int err = 0;

	*version_r = -1;
	if (sqlite3_prepare_v2(h->db, "PRAGMA user_version", -1, &st, NULL) != SQLITE_OK ||
	    sqlite3_step(st) != SQLITE_ROW)
		err = map_error(h);
	else
		*version_r = sqlite3_column_int(st, 0);
	sqlite3_finalize(st);
	return err;
}

/* Under the write lock: of several processes that start together one does the work. */
static int
upgrade(struct sqlite_handle *h)
{
	char pragma[48];
	int version, err = sqlite_begin(h);

	if (!err)
		err = user_version(h, &version);
	if (!err && version > SCHEMA_VERSION) {
		log_error("store.too_new",
		    "version=%d known=%d; this database was written by a newer "
		    "palaverd: install that one",
		    version, SCHEMA_VERSION);
		err = ERR_UNAVAILABLE;
	}
	for (; !err && version < SCHEMA_VERSION; version++) {
		log_info("store.upgrade", "from=%d", version);
		err = run_text(h, upgrades[version]);
	}
	snprintf(pragma, sizeof(pragma), "PRAGMA user_version=%d", SCHEMA_VERSION);
	if (!err)
		err = run_text(h, pragma);
	if (!err)
		return sqlite_commit(h);
	sqlite_rollback(h);
	return err;
}

static int
prepare_locked(const char *where)
{
	struct sqlite_handle *h;
	int version, err;

	h = open_file(where, SQLITE_OPEN_CREATE, &err);
	if (!h)
		return err;
	err = run_text(h, "PRAGMA journal_mode=WAL"); /* stays in the file */
	if (!err)
		err = user_version(h, &version);
	if (!err && version != SCHEMA_VERSION)
		err = upgrade(h);
	close_handle(h);
	return err;
}

/* One process at a time: the change to WAL does not wait for a lock, it fails. */
static int
prepare(const char *where)
{
	char *path = xasprintf("%s.lock", where);
	int err, fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);

	if (fd < 0 || flock(fd, LOCK_EX) < 0) {
		err = errno == ENOSPC ? ERR_STORAGE_FULL : ERR_UNAVAILABLE;
		log_error("store.no_lock", "file=%s err=%s", log_quote(path), strerror(errno));
	} else {
		err = prepare_locked(where);
	}
	if (fd >= 0)
		close(fd);
	free(path);
	return err;
}

const struct store_impl store_sqlite = {
    .name = "sqlite",
    .open_handle = open_handle,
    .close_handle = close_handle,
    .prepare = prepare,
    .ops =
	{
	    [STORE_USER_CREATE] = sqlite_user_create,
	    [STORE_USER_BY_ID] = sqlite_user_by_id,
	    [STORE_USERS_BY_ID] = sqlite_users_by_id,
	    [STORE_USER_BY_USERNAME] = sqlite_user_by_username,
	    [STORE_USER_LIST] = sqlite_user_list,
	    [STORE_USER_SET_PASSWORD] = sqlite_user_set_password,
	    [STORE_USER_SET_LOCKED] = sqlite_user_set_locked,
	    [STORE_USER_UPDATE] = sqlite_user_update,
	    [STORE_USER_DEACTIVATE] = sqlite_user_deactivate,
	    [STORE_INVITATION_CREATE] = sqlite_invitation_create,
	    [STORE_INVITATION_LIST] = sqlite_invitation_list,
	    [STORE_INVITATION_DELETE] = sqlite_invitation_delete,
	    [STORE_SESSION_CREATE] = sqlite_session_create,
	    [STORE_SESSION_ROTATE] = sqlite_session_rotate,
	    [STORE_SESSION_LOGOUT] = sqlite_session_logout,
	    [STORE_SESSION_LIST] = sqlite_session_list,
	    [STORE_SESSION_REVOKE] = sqlite_session_revoke,
	    [STORE_REVOCATIONS] = sqlite_revocations,
	    [STORE_CONVERSATION_CREATE] = sqlite_conversation_create,
	    [STORE_CONVERSATION_GET] = sqlite_conversation_get,
	    [STORE_CONVERSATION_LIST] = sqlite_conversation_list,
	    [STORE_CONVERSATION_CHANGE] = sqlite_conversation_change,
	    [STORE_CHANNEL_LIST] = sqlite_channel_list,
	    [STORE_MEMBERSHIPS] = sqlite_memberships,
	    [STORE_MEMBERS_LIST] = sqlite_members_list,
	    [STORE_MEMBER_CHECK] = sqlite_member_check,
	    [STORE_EVENT_BY_CLIENT_ID] = sqlite_event_by_client_id,
	    [STORE_EVENTS] = sqlite_events,
	    [STORE_APPLY] = sqlite_apply,
	    [STORE_OUTBOX_LIST] = sqlite_outbox_list,
	    [STORE_USERS_SEEN] = sqlite_users_seen,
	    [STORE_USERS_SHARED] = sqlite_users_shared,
	    [STORE_PRESENCE_CONVERSATIONS] = sqlite_presence_conversations,
	    [STORE_MESSAGE_GET] = sqlite_message_get,
	    [STORE_READS_PUT] = sqlite_reads_put,
	    [STORE_MEMBER_MUTE] = sqlite_member_mute,
	    [STORE_FILE_CREATE] = sqlite_file_create,
	    [STORE_FILE_GET] = sqlite_file_get,
	    [STORE_FILES_CLAIM] = sqlite_files_claim,
	    [STORE_FILE_DELETE] = sqlite_file_delete,
	    [STORE_FILES_SWEEP] = sqlite_files_sweep,
	    [STORE_FILES_FORGET] = sqlite_files_forget,
	},
};
