/* SPDX-License-Identifier: ISC */
/*
 * The contract of store.h, run on every implementation.  Another implementation is one
 * more row of the table: the hooks are what the outside world does to a store, and a test
 * whose hook is NULL is skipped visibly.
 */
#include <fcntl.h>
#include <fts.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "lib/log.h"
#include "lib/loop.h"
#include "model/error.h"
#include "store/sqlite.h"
#include "store/store.h"

#define CONV     "cnv_01jx3kq5v8z6w9y2m4t7r0p1nb"
#define NOBODY   "usr_00000000000000000000000000"
#define THREADS  2
#define ROUNDS   20
#define BATCH    200
#define REQUESTS 100

struct implementation {
	const char *name;
	const struct store_impl *store;
	void (*full)(void *handle, bool on);   /* no more space for what this handle writes */
	void *(*lock)(const char *where);      /* somebody else writes and does not end */
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

static void
sqlite_damage(const char *where, bool all)
{
	uint8_t rubbish[4096];
	int fd = open(where, O_RDWR);
	off_t size = lseek(fd, 0, SEEK_END);

	memset(rubbish, 0xa5, sizeof(rubbish));
	for (off_t at = all ? 0 : 4096; at < size; at += 4096) /* the first page: the schema */
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
	req->session.created_ms = 10;
	req->session.expires_ms = expires_ms;
	return req;
}

static struct store_req *
make_token(enum store_op op, uint8_t token, int64_t now_ms)
{
	struct store_req *req = make(op, "", NULL);

	memset(req->session.token_hash, token, TOKEN_HASH);
	req->now_ms = now_ms;
	return req;
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

/* The text follows from the number. */
static struct event *
make_event(const char *conversation, uint64_t seq, const char *client_id)
{
	char data[64];
	int len = snprintf(data, sizeof(data), "{\"text\":\"%llu\"}", (unsigned long long)seq);
	struct event *plain = event_new(
	    EVENT_MESSAGE_CREATED, conversation, NOBODY, client_id, data, (size_t)len);
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

/* ---- users and sessions ---- */

static void
a_user_is_found_by_id_and_name(void **state)
{
	struct fixture *f = *state;
	struct store_req *req;
	char id[ID_MAX];

	add_user(f, "anna", id);
	reopen(f);
	req = must(f, make(STORE_USER_BY_ID, id, NULL));
	assert_int_equal(req->user_count, 1);
	assert_string_equal(req->users[0].username, "anna");
	assert_string_equal(req->users[0].password, "$y$secret");
	assert_int_equal(req->users[0].created_ms, 1234567890123);
	assert_false(req->users[0].locked);
	store_req_free(&req);
	req = must(f, make(STORE_USER_BY_USERNAME, "", "anna"));
	assert_string_equal(req->users[0].id, id);
	store_req_free(&req);
	assert_int_equal(run_free(f, make(STORE_USER_BY_ID, NOBODY, NULL)), ERR_NOT_FOUND);
	assert_int_equal(run_free(f, make(STORE_USER_BY_USERNAME, "", "ann")), ERR_NOT_FOUND);
}

static void
a_username_is_given_once(void **state)
{
	struct fixture *f = *state;
	struct store_req *req;
	char id[ID_MAX];

	add_user(f, "anna", id);
	assert_int_equal(run_free(f, make_user("anna", "Other")), ERR_USERNAME_TAKEN);
	req = must(f, make(STORE_USER_BY_USERNAME, "", "anna"));
	assert_string_equal(req->users[0].id, id);
	store_req_free(&req);
}

/* Expects exactly these usernames, separated by blanks. */
static void
check_list(const struct fixture *f, const char *prefix, const char *cursor, size_t limit,
    const char *expected)
{
	struct store_req *req = make(STORE_USER_LIST, "", prefix);
	struct buf b;

	buf_init(&b);
	req->cursor = xstrdup(cursor);
	req->limit = limit;
	must(f, req);
	for (size_t i = 0; i < req->user_count; i++)
		buf_printf(&b, "%s%s", i ? " " : "", req->users[i].username);
	assert_string_equal(buf_cstr(&b), expected);
	buf_fini(&b);
	store_req_free(&req);
}

static void
users_are_listed_by_prefix_in_pages(void **state)
{
	struct fixture *f = *state;

	assert_int_equal(run_free(f, make_user("carl", "Anton")), 0);
	assert_int_equal(run_free(f, make_user("anna", "Zoe")), 0);
	assert_int_equal(run_free(f, make_user("a_b", "Percent %")), 0);
	assert_int_equal(run_free(f, make_user("bob", "Bob")), 0);
	check_list(f, "", NULL, 10, "a_b anna bob carl");
	check_list(f, "", NULL, 2, "a_b anna");
	check_list(f, "", "anna", 2, "bob carl");
	check_list(f, "", "carl", 2, "");
	check_list(f, "AN", NULL, 10, "anna carl"); /* one by username, one by name */
	check_list(f, "an", "anna", 10, "carl");
	check_list(f, "a_", NULL, 10, "a_b"); /* no pattern */
	check_list(f, "%", NULL, 10, "");
	check_list(f, "anna'", NULL, 10, "");
}

static void
a_session_lives_until_it_expires_or_is_deleted(void **state)
{
	struct fixture *f = *state;
	struct store_req *req;
	char anna[ID_MAX];

	add_user(f, "anna", anna);
	assert_int_equal(run_free(f, make_session(NOBODY, 1, 100)), ERR_NOT_FOUND);
	assert_int_equal(run_free(f, make_session(anna, 1, 100)), 0);
	assert_int_equal(run_free(f, make_session(anna, 1, 100)), ERR_CONFLICT);
	reopen(f);
	req = must(f, make_token(STORE_SESSION_BY_TOKEN, 1, 99));
	assert_string_equal(req->session.user, anna);
	assert_int_equal(req->session.created_ms, 10);
	assert_int_equal(req->session.expires_ms, 100);
	assert_string_equal(req->users[0].username, "anna");
	store_req_free(&req);
	assert_int_equal(
	    run_free(f, make_token(STORE_SESSION_BY_TOKEN, 1, 100)), ERR_NOT_FOUND);
	assert_int_equal(run_free(f, make_token(STORE_SESSION_BY_TOKEN, 2, 0)), ERR_NOT_FOUND);
	assert_int_equal(run_free(f, make_token(STORE_SESSION_DELETE, 1, 0)), 0);
	assert_int_equal(run_free(f, make_token(STORE_SESSION_DELETE, 1, 0)), 0);
	assert_int_equal(run_free(f, make_token(STORE_SESSION_BY_TOKEN, 1, 0)), ERR_NOT_FOUND);
}

static void
password_and_lock_end_the_sessions_of_this_user_only(void **state)
{
	struct fixture *f = *state;
	struct store_req *req;
	char anna[ID_MAX], bob[ID_MAX];

	add_user(f, "anna", anna);
	add_user(f, "bob", bob);
	assert_int_equal(run_free(f, make_session(anna, 1, 100)), 0);
	assert_int_equal(run_free(f, make_session(bob, 2, 100)), 0);
	assert_int_equal(run_free(f, make(STORE_USER_SET_PASSWORD, anna, "$y$new")), 0);
	assert_int_equal(run_free(f, make_token(STORE_SESSION_BY_TOKEN, 1, 0)), ERR_NOT_FOUND);
	assert_int_equal(run_free(f, make_token(STORE_SESSION_BY_TOKEN, 2, 0)), 0);

	req = make(STORE_USER_SET_LOCKED, bob, NULL);
	req->flag = true;
	assert_int_equal(run_free(f, req), 0);
	assert_int_equal(run_free(f, make_token(STORE_SESSION_BY_TOKEN, 2, 0)), ERR_NOT_FOUND);
	req = must(f, make(STORE_USER_BY_ID, bob, NULL));
	assert_true(req->users[0].locked);
	store_req_free(&req);

	assert_int_equal(run_free(f, make_session(bob, 3, 100)), 0);
	assert_int_equal(run_free(f, make(STORE_USER_SET_LOCKED, bob, NULL)), 0); /* unlock */
	assert_int_equal(run_free(f, make_token(STORE_SESSION_BY_TOKEN, 3, 0)), 0);
	req = must(f, make(STORE_USER_BY_ID, anna, NULL));
	assert_string_equal(req->users[0].password, "$y$new");
	store_req_free(&req);
	assert_int_equal(
	    run_free(f, make(STORE_USER_SET_PASSWORD, NOBODY, "$y$")), ERR_NOT_FOUND);
	assert_int_equal(run_free(f, make(STORE_USER_SET_LOCKED, NOBODY, NULL)), ERR_NOT_FOUND);
}

/* ---- conversations ---- */

static void
a_pair_has_one_direct_conversation(void **state)
{
	struct fixture *f = *state;
	char a[ID_MAX], b[ID_MAX], id[ID_MAX];
	struct store_req *req;

	add_user(f, "anna", a);
	add_user(f, "bob", b);
	req = must(f, make_conversation(CONVERSATION_DIRECT, (const char *[]){a, b, NULL}));
	assert_false(req->flag);
	assert_int_equal(req->conversation_count, 1);
	assert_int_equal(req->conversations[0]->member_count, 2);
	assert_string_equal(req->conversations[0]->members[0].username, "anna");
	str_copy(id, sizeof(id), req->conversations[0]->id);
	assert_string_equal(id, req->conversation->id);
	store_req_free(&req);
	req = must(f, make_conversation(CONVERSATION_DIRECT, (const char *[]){b, a, NULL}));
	assert_true(req->flag);
	assert_string_equal(req->conversations[0]->id, id);
	store_req_free(&req);
	req = must(f, make_conversation(CONVERSATION_GROUP, (const char *[]){a, b, NULL}));
	assert_false(req->flag);
	store_req_free(&req);
	assert_int_equal(run_free(f, make_ids(STORE_MEMBERS_ADD, id, a, NULL)), ERR_FORBIDDEN);
	assert_int_equal(
	    run_free(f, make_conversation(CONVERSATION_DIRECT, (const char *[]){a, a, NULL})),
	    ERR_INVALID_FIELD);
	assert_int_equal(
	    run_free(f, make_conversation(CONVERSATION_DIRECT, (const char *[]){a, NULL})),
	    ERR_INVALID_FIELD);
}

static void
a_conversation_with_a_stranger_is_not_created(void **state)
{
	struct fixture *f = *state;
	struct store_req *req;
	char a[ID_MAX], id[ID_MAX];

	add_user(f, "anna", a);
	req = make_conversation(CONVERSATION_GROUP, (const char *[]){a, NOBODY, NULL});
	str_copy(id, sizeof(id), req->conversation->id);
	assert_int_equal(run(f, req), ERR_NOT_FOUND);
	assert_string_equal(req->text_out, NOBODY);
	store_req_free(&req);
	assert_int_equal(run_free(f, make(STORE_CONVERSATION_GET, id, NULL)), ERR_NOT_FOUND);
	assert_int_equal(run_free(f, make(STORE_MEMBER_CHECK, id, a)), ERR_NOT_FOUND);
	req = make_conversation(CONVERSATION_GROUP, (const char *[]){NOBODY, a, NULL});
	assert_int_equal(run(f, req), ERR_NOT_FOUND);
	assert_string_equal(req->text_out, NOBODY);
	store_req_free(&req);
	req = must(f, make_conversation(CONVERSATION_GROUP, (const char *[]){a, NULL}));
	str_copy(id, sizeof(id), req->conversation->id);
	store_req_free(&req);
	req = make_conversation(CONVERSATION_GROUP, (const char *[]){a, NULL});
	str_copy(req->conversation->id, ID_MAX, id);
	assert_int_equal(run_free(f, req), ERR_CONFLICT);
}

static void
members_are_added_all_or_none(void **state)
{
	struct fixture *f = *state;
	char a[ID_MAX], b[ID_MAX], c[ID_MAX], id[ID_MAX];
	struct store_req *req;

	add_user(f, "anna", a);
	add_user(f, "bob", b);
	add_user(f, "carl", c);
	req = must(f, make_conversation(CONVERSATION_GROUP, (const char *[]){a, NULL}));
	str_copy(id, sizeof(id), req->conversation->id);
	store_req_free(&req);

	req = make_ids(STORE_MEMBERS_ADD, id, b, NOBODY);
	assert_int_equal(run(f, req), ERR_NOT_FOUND);
	assert_int_equal(req->id_out_count, 0);
	store_req_free(&req);
	assert_int_equal(run_free(f, make(STORE_MEMBER_CHECK, id, b)), ERR_NOT_FOUND);
	req = must(f, make_ids(STORE_MEMBERS_ADD, id, a, c));
	assert_int_equal(req->id_out_count, 1);
	assert_string_equal(req->ids_out[0], c);
	store_req_free(&req);
	reopen(f);
	assert_int_equal(run_free(f, make(STORE_MEMBER_CHECK, id, c)), 0);
	req = must(f, make(STORE_CONVERSATION_GET, id, NULL));
	assert_int_equal(req->conversations[0]->type, CONVERSATION_GROUP);
	assert_string_equal(req->conversations[0]->name, "Tea");
	assert_string_equal(req->conversations[0]->creator, a);
	assert_int_equal(req->conversations[0]->created_ms, 77);
	assert_int_equal(req->conversations[0]->member_count, 2);
	assert_string_equal(req->conversations[0]->members[1].name, "carl");
	store_req_free(&req);
	assert_int_equal(run_free(f, make_ids(STORE_MEMBERS_ADD, CONV, a, NULL)), ERR_NOT_FOUND);
	assert_int_equal(run_free(f, make(STORE_CONVERSATION_GET, CONV, NULL)), ERR_NOT_FOUND);
}

static void
conversations_are_listed_in_pages(void **state)
{
	struct fixture *f = *state;
	char a[ID_MAX], b[ID_MAX], ids[5][ID_MAX];
	struct store_req *req;

	add_user(f, "anna", a);
	add_user(f, "bob", b);
	for (int i = 0; i < 5; i++) {
		req =
		    must(f, make_conversation(CONVERSATION_GROUP, (const char *[]){a, i ? NULL : b, NULL}));
		str_copy(ids[i], ID_MAX, req->conversation->id);
		store_req_free(&req);
	}
	for (size_t at = 0; at < 6; at += 2) {
		req = make(STORE_CONVERSATION_LIST, a, NULL);
		req->limit = 2;
		req->cursor = xstrdup(at ? ids[at - 1] : NULL);
		must(f, req);
		assert_int_equal(req->conversation_count, at == 4 ? 1 : 2);
		for (size_t i = 0; i < req->conversation_count; i++)
			assert_string_equal(req->conversations[i]->id, ids[at + i]);
		assert_string_equal(req->conversations[0]->members[0].username, "anna");
		store_req_free(&req);
	}
	req = must(f, make(STORE_CONVERSATION_IDS, a, NULL));
	assert_int_equal(req->id_out_count, 5);
	store_req_free(&req);
	req = must(f, make(STORE_CONVERSATION_IDS, b, NULL));
	assert_int_equal(req->id_out_count, 1);
	assert_string_equal(req->ids_out[0], ids[0]);
	store_req_free(&req);
	req = must(f, make(STORE_CONVERSATION_LIST, NOBODY, NULL));
	assert_int_equal(req->conversation_count, 0);
	store_req_free(&req);
}
