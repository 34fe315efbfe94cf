/* SPDX-License-Identifier: ISC */
/*
 * store_help: what the test_store*.c share: the implementations that
 * they run on, a store for each test, and making requests.  Included once by each, after
 * cmocka.h.
 */
#ifndef PALAVER_TESTS_STORE_HELP_H
#define PALAVER_TESTS_STORE_HELP_H

#include <fcntl.h>
#include <fts.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "lib/log.h"
#include "lib/loop.h"
#include "model/error.h"
#include "store/sqlite.h"
#include "store/store.h"

#pragma GCC diagnostic ignored "-Wunused-function" /* not every file needs all of it */

#define CONV   "cnv_01jx3kq5v8z6w9y2m4t7r0p1nb"
#define NOBODY "usr_00000000000000000000000000"

struct implementation {
	const char *name;
	const struct store_impl *store;
	void (*full)(void *handle, bool on); /* no more space for what this handle writes */
	void *(*lock)(const char *where);    /* somebody else writes and does not end */
	void (*unlock)(void *lock);
	void (*damage)(const char *where, bool all); /* the data, or all of the file */
};

struct fixture {
	const struct implementation *im;
	char dir[64];
	char where[96];
	char log[96];
	int log_fd;
	void *h;
};

/* ---- what the outside world does: sqlite ---- */

static void
sqlite_run(sqlite3 *db, const char *sql)
{
	assert_int_equal(sqlite3_exec(db, sql, NULL, NULL, NULL), SQLITE_OK);
}

static void
sqlite_full(void *handle, bool on)
{
	struct sqlite_handle *h = handle;

	/* 1 is less than there are: SQLite takes the present number */
	sqlite_run(h->db, on ? "PRAGMA max_page_count=1" : "PRAGMA max_page_count=1000000");
}

static void *
sqlite_lock(const char *where)
{
	sqlite3 *db;

	assert_int_equal(sqlite3_open(where, &db), SQLITE_OK);
	sqlite_run(db, "BEGIN IMMEDIATE");
	return db;
}

static void
sqlite_unlock(void *lock)
{
	sqlite_run(lock, "ROLLBACK");
	sqlite3_close(lock);
}

/* The pages where tables and indexes begin, or all; without `all` the schema stays. */
static void
sqlite_damage(const char *where, bool all)
{
	uint8_t rubbish[4096];
	int fd = open(where, O_RDWR);
	off_t size = lseek(fd, 0, SEEK_END);
	sqlite3_stmt *st;
	sqlite3 *db;

	memset(rubbish, 0xa5, sizeof(rubbish));
	assert_int_equal(sqlite3_open(where, &db), SQLITE_OK);
	assert_int_equal(sqlite3_prepare_v2(db,
			     "SELECT rootpage FROM sqlite_schema WHERE rootpage > 0", -1, &st, NULL),
	    SQLITE_OK);
	while (!all && sqlite3_step(st) == SQLITE_ROW)
		assert_int_equal(pwrite(fd, rubbish, sizeof(rubbish),
				     4096 * (off_t)(sqlite3_column_int(st, 0) - 1)),
		    sizeof(rubbish));
	sqlite3_finalize(st);
	sqlite3_close(db);
	for (off_t at = 0; all && at < size; at += 4096)
		assert_int_equal(pwrite(fd, rubbish, sizeof(rubbish), at), sizeof(rubbish));
	close(fd);
}

static const struct implementation implementations[] = {
    {"sqlite", &store_sqlite, sqlite_full, sqlite_lock, sqlite_unlock, sqlite_damage},
};

/* ---- a store for each test ---- */

static void
remove_tree(const char *dir)
{
	char *const roots[] = {(char *)dir, NULL};
	FTS *tree = fts_open(roots, FTS_PHYSICAL | FTS_NOCHDIR, NULL);
	FTSENT *e;

	while ((e = fts_read(tree)))
		if (e->fts_info != FTS_D)
			remove(e->fts_path);
	fts_close(tree);
}

static int
setup(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));

	f->im = *state;
	strcpy(f->dir, "/tmp/palaver-store.XXXXXX");
	if (!mkdtemp(f->dir))
		return -1;
	snprintf(f->where, sizeof(f->where), "%s/store", f->dir);
	snprintf(f->log, sizeof(f->log), "%s/log", f->dir);
	f->log_fd = open(f->log, O_RDWR | O_CREAT | O_APPEND, 0600);
	log_set_fd(f->log_fd);
	*state = f;
	if (f->im->store->prepare(f->where))
		return -1;
	f->h = f->im->store->open_handle(f->where);
	return f->h ? 0 : -1;
}

static int
teardown(void **state)
{
	struct fixture *f = *state;

	if (f->h)
		f->im->store->close_handle(f->h);
	log_set_fd(-1);
	close(f->log_fd);
	remove_tree(f->dir);
	free(f);
	return 0;
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

/* The whole of a main(): every test on every implementation; what it returns. */
static int
run_on_each(struct CMUnitTest *tests, size_t count)
{
	int bad = 0;

	loop_init();
	log_init("test", -1, LOG_TO_STDERR, LOG_LVL_ERROR);
	cmocka_set_message_output(CM_OUTPUT_TAP);
	for (size_t i = 0; i < sizeof(implementations) / sizeof(*implementations); i++) {
		for (size_t k = 0; k < count; k++)
			tests[k].initial_state = (void *)&implementations[i];
		bad += _cmocka_run_group_tests(
		    implementations[i].name, tests, count, NULL, NULL);
	}
	return bad;
}

static void
reopen(struct fixture *f)
{
	f->im->store->close_handle(f->h);
	f->h = f->im->store->open_handle(f->where);
	assert_non_null(f->h);
}

static bool
logged(const struct fixture *f, const char *word)
{
	static char text[64 * 1024];
	ssize_t n = pread(f->log_fd, text, sizeof(text) - 1, 0);

	assert_true(n >= 0);
	text[n] = '\0';
	return strstr(text, word) != NULL;
}

/* ---- requests ---- */

static struct store_req *
make(enum store_op op, const char *id, const char *text)
{
	struct store_req *req = store_req_new(op, NULL, NULL);

	str_copy(req->id, sizeof(req->id), id);
	req->text = xstrdup(text);
	req->limit = STORE_PAGE_MAX;
	return req;
}

static int
run(const struct fixture *f, struct store_req *req)
{
	return store_run(f->im->store, f->h, req);
}

static int
run_free(const struct fixture *f, struct store_req *req)
{
	int err = run(f, req);

	store_req_free(&req);
	return err;
}

static struct store_req *
must(const struct fixture *f, struct store_req *req)
{
	assert_int_equal(run(f, req), 0);
	return req;
}

static struct store_req *
make_user(const char *username, const char *name)
{
	struct store_req *req = make(STORE_USER_CREATE, "", NULL);

	id_new(req->user.id, "usr");
	str_copy(req->user.username, sizeof(req->user.username), username);
	str_copy(req->user.name, sizeof(req->user.name), name);
	str_copy(req->user.password, sizeof(req->user.password), "$y$secret");
	req->user.created_ms = 1234567890123;
	return req;
}

static void
add_user(const struct fixture *f, const char *username, char id_r[ID_MAX])
{
	struct store_req *req = make_user(username, username);

	str_copy(id_r, ID_MAX, req->user.id);
	assert_int_equal(run_free(f, req), 0);
}

static struct store_req *
make_session(const char *user, uint8_t token, int64_t expires_ms)
{
	struct store_req *req = make(STORE_SESSION_CREATE, "", NULL);

	id_new(req->session.id, "ses");
	str_copy(req->session.user, ID_MAX, user);
	memset(req->session.token_hash, token, TOKEN_HASH);
	req->session.created_ms = req->session.used_ms = 10;
	req->session.expires_ms = expires_ms;
	str_copy(req->session.address, SESSION_ADDRESS_MAX, "192.0.2.1");
	str_copy(req->session.agent, SESSION_AGENT_MAX, "test/1");
	return req;
}

/* How many sessions the user has at now_ms. */
static size_t
count_sessions(const struct fixture *f, const char *user, int64_t now_ms)
{
	struct store_req *req = make(STORE_SESSION_LIST, user, NULL);
	size_t n;

	req->now_ms = now_ms;
	n = must(f, req)->session_count;
	store_req_free(&req);
	return n;
}

/* The first of the members, which NULL ends, is the creator. */
static struct store_req *
make_conversation(enum conversation_type type, const char *const *members)
{
	struct store_req *req = make(STORE_CONVERSATION_CREATE, "", NULL);
	struct conversation *c = conversation_new();

	req->conversation = c;
	id_new(c->id, "cnv");
	c->type = type;
	c->created_ms = 77;
	str_copy(c->creator, sizeof(c->creator), members[0]);
	str_copy(c->name, sizeof(c->name), type == CONVERSATION_GROUP ? "Tea" : "");
	for (; *members; members++)
		conversation_add_member(c, *members);
	return req;
}

static struct store_req *
make_ids(enum store_op op, const char *id, const char *a, const char *b)
{
	struct store_req *req = make(op, id, NULL);

	req->ids = xcalloc(2, sizeof(*req->ids));
	str_copy(req->ids[req->id_count++], ID_MAX, a);
	if (b)
		str_copy(req->ids[req->id_count++], ID_MAX, b);
	return req;
}

/* Changes the conversation at this version to one with the name "Coffee" and no more. */
static struct store_req *
make_change(const char *id, uint64_t version)
{
	struct store_req *req = make(STORE_CONVERSATION_CHANGE, id, NULL);

	req->conversation = conversation_new();
	req->after = version;
	req->now_ms = 1000;
	str_copy(req->conversation->name, sizeof(req->conversation->name), "Coffee");
	return req;
}

/* The text follows from the number. */
static struct event *
make_event(const char *conversation, uint64_t seq, const char *client_id)
{
	char data[64];
	int len = snprintf(data, sizeof(data), "{\"text\":\"%llu\"}", (unsigned long long)seq);
	struct event *plain =
	    event_new(EVENT_MESSAGE_CREATED, conversation, NOBODY, client_id, data, (size_t)len);
	struct event *ev = event_numbered(plain, seq, 5000 + (int64_t)seq);

	event_unref(&plain);
	return ev;
}

static struct store_req *
make_apply(const char *conversation, uint64_t first, uint64_t last)
{
	struct store_req *req = make(STORE_APPLY, "", NULL);

	for (uint64_t seq = first; seq <= last; seq++)
		store_req_add_event(req, make_event(conversation, seq, ""));
	return req;
}

/* Compares the page with what is expected: first..last, and whether there is more. */
static void
check_page(const struct fixture *f, uint64_t after, uint64_t before, size_t limit, uint64_t first,
    uint64_t last, bool more)
{
	struct store_req *req = make(STORE_EVENTS, CONV, NULL);

	req->after = after;
	req->before = before;
	req->limit = limit;
	must(f, req);
	assert_int_equal(req->event_count, last + 1 - first);
	for (size_t i = 0; i < req->event_count; i++)
		assert_int_equal(req->events[i]->seq, first + i);
	assert_int_equal(req->flag, more);
	store_req_free(&req);
}

#endif
