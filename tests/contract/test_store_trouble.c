/* SPDX-License-Identifier: ISC */
/*
 * The contract of store.h, run on every implementation: several at the same moment, a
 * back end in trouble, and answers on the loop.  What the outside world does to a store is
 * a hook of the table in store_help.h; a test whose hook is NULL is skipped visibly.
 */
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

#include "../lib/store_help.h"

#define THREADS   2
#define PROCESSES 4
#define ROUNDS    20
#define BATCH     200
#define REQUESTS  100

/* ---- two at the same moment ---- */

struct racer {
	const struct fixture *f;
	pthread_barrier_t *start;
	pthread_t thread;
	char a[ID_MAX], b[ID_MAX]; /* the pair, each racer's in its own order */
	char id[ROUNDS][ID_MAX];
	int created, taken, failed;
};

static void
race_once(struct racer *r, void *h, int round)
{
	const struct store_impl *store = r->f->im->store;
	struct store_req *req;
	char name[16], other[ID_MAX];
	int err;

	snprintf(name, sizeof(name), "user%d", round);
	pthread_barrier_wait(r->start);
	req = make_user(name, name);
	err = store_run(store, h, req);
	r->failed += err && err != ERR_USERNAME_TAKEN;
	r->taken += err == ERR_USERNAME_TAKEN;
	store_req_free(&req);

	req = make(STORE_USER_BY_USERNAME, "", name);
	r->failed += store_run(store, h, req) != 0;
	str_copy(other, sizeof(other), req->user_count ? req->users[0].id : "");
	store_req_free(&req);

	pthread_barrier_wait(r->start);
	req = make_conversation(CONVERSATION_DIRECT,
	    (const char *[]){r->a[0] ? r->a : other, r->a[0] ? other : r->b, NULL});
	if (store_run(store, h, req))
		r->failed++;
	else
		str_copy(r->id[round], ID_MAX, req->conversations[0]->id);
	r->created += !req->err && !req->flag;
	store_req_free(&req);
}

static void *
race(void *arg)
{
	struct racer *r = arg;
	void *h = r->f->im->store->open_handle(r->f->where);

	for (int round = 0; round < ROUNDS; round++)
		race_once(r, h, round);
	r->f->im->store->close_handle(h);
	return NULL;
}

static void
names_and_pairs_are_unique_between_handles(void **state)
{
	struct fixture *f = *state;
	struct racer r[THREADS];
	pthread_barrier_t start;
	char anna[ID_MAX];

	add_user(f, "anna", anna);
	memset(r, 0, sizeof(r));
	pthread_barrier_init(&start, NULL, THREADS);
	for (int i = 0; i < THREADS; i++) {
		r[i].f = f;
		r[i].start = &start;
		str_copy(i % 2 ? r[i].a : r[i].b, ID_MAX, anna);
		assert_int_equal(pthread_create(&r[i].thread, NULL, race, &r[i]), 0);
	}
	for (int i = 0; i < THREADS; i++)
		pthread_join(r[i].thread, NULL);
	pthread_barrier_destroy(&start);
	assert_int_equal(r[0].failed + r[1].failed, 0);
	assert_int_equal(r[0].taken + r[1].taken, ROUNDS);
	assert_int_equal(r[0].created + r[1].created, ROUNDS);
	for (int round = 0; round < ROUNDS; round++)
		assert_string_equal(r[0].id[round], r[1].id[round]);
}

static void
processes_may_start_together(void **state)
{
	struct fixture *f = *state;
	char where[sizeof(f->where) + 8], byte;
	pid_t pids[PROCESSES];
	int gate[2], status;

	snprintf(where, sizeof(where), "%s.new", f->where);
	assert_int_equal(pipe(gate), 0);
	for (int i = 0; i < PROCESSES; i++) {
		pids[i] = fork();
		assert_true(pids[i] >= 0);
		if (pids[i] == 0) {
			close(gate[1]);
			if (read(gate[0], &byte, 1) != 0) /* until all have been started */
				_exit(2);
			_exit(f->im->store->prepare(where) ? 1 : 0);
		}
	}
	close(gate[0]);
	close(gate[1]);
	for (int i = 0; i < PROCESSES; i++) {
		assert_int_equal(waitpid(pids[i], &status, 0), pids[i]);
		assert_int_equal(status, 0);
	}
	f->im->store->close_handle(f->h);
	f->h = f->im->store->open_handle(where);
	assert_non_null(f->h);
	assert_int_equal(run_free(f, make_apply(CONV, 1, 1)), 0);
	assert_int_equal(f->im->store->prepare(where), 0); /* and once more changes nothing */
	check_page(f, 0, 0, 10, 1, 1, false);
}

/* ---- a back end in trouble ---- */

/* Not skip(): cmocka says "not ok # SKIP", which Automake counts as a failure. */
static bool
skipped(bool has_hook, const char *hook)
{
	if (!has_hook)
		print_message("# SKIP the implementation has no hook `%s`\n", hook);
	return !has_hook;
}

static void
a_full_disk_is_named_and_changes_nothing(void **state)
{
	struct fixture *f = *state;
	struct store_req *req;
	char anna[ID_MAX];

	if (skipped(f->im->full != NULL, "full"))
		return;
	req = make_apply(CONV, 1, 3 * BATCH);
	add_user(f, "anna", anna);
	f->im->full(f->h, true);
	assert_int_equal(run(f, req), ERR_STORAGE_FULL);
	check_page(f, 0, 0, 10, 1, 0, false);
	assert_int_equal(run_free(f, make(STORE_USER_BY_ID, anna, NULL)), 0);
	f->im->full(f->h, false);
	assert_int_equal(run(f, req), 0); /* the same request again */
	store_req_free(&req);
	check_page(f, 3 * BATCH - 2, 0, 10, 3 * BATCH - 1, 3 * BATCH, false);
}

static void
a_locked_store_is_unavailable_for_writing_only(void **state)
{
	struct fixture *f = *state;
	struct store_req *req;
	char anna[ID_MAX];
	void *lock;
	int64_t start;

	if (skipped(f->im->lock != NULL, "lock"))
		return;
	req = make_apply(CONV, 1, 3);
	add_user(f, "anna", anna);
	sqlite_busy_ms = 50;
	reopen(f);
	sqlite_busy_ms = 5000;
	lock = f->im->lock(f->where);
	start = clock_mono_ms();
	assert_int_equal(run(f, req), ERR_UNAVAILABLE);
	assert_true(clock_mono_ms() - start >= 40);
	assert_int_equal(run_free(f, make_user("bob", "Bob")), ERR_UNAVAILABLE);
	assert_int_equal(run_free(f, make(STORE_USER_SET_PASSWORD, anna, "x")), ERR_UNAVAILABLE);
	assert_int_equal(run_free(f, make_session(anna, 1, 100)), ERR_UNAVAILABLE);
	assert_int_equal(
	    run_free(f, make_conversation(CONVERSATION_GROUP, (const char *[]){anna, NULL})),
	    ERR_UNAVAILABLE);
	assert_int_equal(run_free(f, make_change(CONV, 1)), ERR_UNAVAILABLE);
	assert_int_equal(run_free(f, make(STORE_USER_BY_ID, anna, NULL)), 0);
	f->im->unlock(lock);
	assert_int_equal(run(f, req), 0);
	store_req_free(&req);
	check_page(f, 0, 0, 10, 1, 3, false);
}

static void
damaged_data_is_an_error_and_not_a_crash(void **state)
{
	struct fixture *f = *state;

	if (skipped(f->im->damage != NULL, "damage"))
		return;
	assert_int_equal(run_free(f, make_apply(CONV, 1, BATCH)), 0);
	f->im->store->close_handle(f->h);
	f->h = NULL;
	f->im->damage(f->where, false);
	f->h = f->im->store->open_handle(f->where);
	assert_non_null(f->h);
	assert_int_equal(run_free(f, make(STORE_EVENTS, CONV, NULL)), ERR_DAMAGED);
	assert_int_equal(run_free(f, make_apply(CONV, 1, BATCH)), ERR_DAMAGED);
	assert_int_equal(run_free(f, make_user("anna", "Anna")), ERR_DAMAGED);
	assert_true(logged(f, "store.damaged"));
	f->im->store->close_handle(f->h);
	f->im->damage(f->where, true);
	f->h = f->im->store->open_handle(f->where);
	assert_null(f->h);
	assert_int_equal(f->im->store->prepare(f->where), ERR_DAMAGED);
}

/* ---- on the loop ---- */

struct answers {
	int left;
	int runs[REQUESTS];
	int errs[REQUESTS];
	pthread_t loop;
	bool elsewhere;
};

struct ticket {
	struct answers *answers;
	int n;
};

static void
answered(struct store_req *req)
{
	struct ticket *t = req->arg;
	struct answers *a = t->answers;

	a->runs[t->n]++;
	a->errs[t->n] = req->err;
	a->elsewhere |= !pthread_equal(pthread_self(), a->loop);
	store_req_free(&req);
	if (--a->left == 0)
		loop_stop();
}

static void
each_request_is_answered_once_on_the_loop(void **state)
{
	struct fixture *f = *state;
	struct store *s = store_open(f->im->store, f->where, THREADS);
	struct answers a = {.left = REQUESTS, .loop = pthread_self()};
	struct ticket tickets[REQUESTS];
	struct store_req *req;
	char name[16];

	for (int i = 0; i < REQUESTS; i++) {
		tickets[i] = (struct ticket){&a, i};
		snprintf(name, sizeof(name), "user%d", i / 2); /* each twice */
		req = make_user(name, name);
		req->done = answered;
		req->arg = &tickets[i];
		assert_int_equal(store_submit(s, req), 0);
	}
	assert_int_equal(a.left, REQUESTS); /* later, not now */
	loop_run();
	store_close(&s);
	assert_null(s);
	assert_false(a.elsewhere);
	for (int i = 0; i < REQUESTS; i++)
		assert_int_equal(a.runs[i], 1);
	for (int i = 0; i < REQUESTS; i += 2)
		assert_int_equal(a.errs[i] + a.errs[i + 1], ERR_USERNAME_TAKEN); /* one of two */
}

int
main(void)
{
	struct CMUnitTest tests[] = {
	    TEST(names_and_pairs_are_unique_between_handles),
	    TEST(processes_may_start_together),
	    TEST(a_full_disk_is_named_and_changes_nothing),
	    TEST(a_locked_store_is_unavailable_for_writing_only),
	    TEST(damaged_data_is_an_error_and_not_a_crash),
	    TEST(each_request_is_answered_once_on_the_loop),
	};

	return run_on_each(tests, sizeof(tests) / sizeof(*tests));
}
