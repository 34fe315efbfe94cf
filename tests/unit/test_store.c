/* SPDX-License-Identifier: ISC */
/*
 * What store.c does around an implementation: a back end that is gone, a queue that is
 * full, a store that is closed.  The implementation here blocks until it is told to go on.
 */
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "lib/log.h"
#include "lib/loop.h"
#include "model/error.h"
#include "store/store.h"

#define MANY 1000000 /* more than any queue takes */

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t changed = PTHREAD_COND_INITIALIZER;
static bool available, may_run;     /* under lock */
static int running, opened, closed; /* under lock */
static int answers, last_err;       /* loop thread */

static void *
open_handle(const char *where)
{
	bool ok;

	pthread_mutex_lock(&lock);
	ok = available && !strcmp(where, "somewhere");
	opened += ok;
	pthread_mutex_unlock(&lock);
	return ok ? &opened : NULL;
}

static void
close_handle(void *handle)
{
	pthread_mutex_lock(&lock);
	closed += handle == &opened;
	pthread_mutex_unlock(&lock);
}

static void
run_request(void *handle, struct store_req *req)
{
	pthread_mutex_lock(&lock);
	running++;
	pthread_cond_broadcast(&changed);
	while (!may_run)
		pthread_cond_wait(&changed, &lock);
	running--;
	pthread_mutex_unlock(&lock);
	req->err = 0;
}

static void
forget_to_answer(void *handle, struct store_req *req)
{
}

static const struct store_impl impl = {
    .name = "test",
    .open_handle = open_handle,
    .close_handle = close_handle,
    .ops = {[STORE_USER_BY_ID] = run_request, [STORE_USER_LIST] = forget_to_answer},
};

static void
set(bool *what, bool value)
{
	pthread_mutex_lock(&lock);
	*what = value;
	pthread_cond_broadcast(&changed);
	pthread_mutex_unlock(&lock);
}

static void
wait_until_running(int n)
{
	pthread_mutex_lock(&lock);
	while (running < n)
		pthread_cond_wait(&changed, &lock);
	pthread_mutex_unlock(&lock);
}

static void
answered(struct store_req *req)
{
	answers++;
	last_err = req->err;
	store_req_free(&req);
	loop_stop();
}

static int
submit(struct store *s)
{
	struct store_req *req = store_req_new(STORE_USER_BY_ID, answered, NULL);
	int err;

	req->text = xstrdup("freed with the request");
	err = store_submit(s, req);
	if (err)
		store_req_free(&req);
	return err;
}

static int
setup(void **state)
{
	available = may_run = true;
	running = opened = closed = answers = last_err = 0;
	return 0;
}

static void
a_back_end_that_is_gone_is_tried_again_with_the_next_request(void **state)
{
	struct store *s = store_open(&impl, "somewhere", 1);

	set(&available, false);
	for (int i = 1; i <= 2; i++) {
		assert_int_equal(submit(s), 0);
		loop_run();
		assert_int_equal(answers, i);
		assert_int_equal(last_err, ERR_UNAVAILABLE);
	}
	set(&available, true);
	for (int i = 3; i <= 4; i++) {
		assert_int_equal(submit(s), 0);
		loop_run();
		assert_int_equal(answers, i);
		assert_int_equal(last_err, 0);
	}
	store_close(&s);
	assert_null(s);
	assert_int_equal(opened, 1);
	assert_int_equal(closed, 1);
}

static void *
let_run_when_asked(void *arg)
{
	set(&may_run, true);
	return NULL;
}

static void
closing_waits_for_the_running_and_frees_the_waiting(void **state)
{
	struct store *s = store_open(&impl, "somewhere", 2);
	pthread_t helper;

	set(&may_run, false);
	for (int i = 0; i < 10; i++)
		assert_int_equal(submit(s), 0);
	wait_until_running(2);
	assert_int_equal(pthread_create(&helper, NULL, let_run_when_asked, NULL), 0);
	store_close(&s); /* what is not freed here the leak checker finds */
	pthread_join(helper, NULL);
	assert_int_equal(running, 0);
	assert_int_equal(answers, 0);
	assert_int_equal(closed, 2);
	store_close(&s); /* closed already */
}

static void
a_full_queue_refuses_and_leaves_the_request_to_the_caller(void **state)
{
	struct store *s = store_open(&impl, "somewhere", 1);
	int taken = 0, err = 0;

	set(&may_run, false);
	while (taken < MANY && !(err = submit(s)))
		taken++;
	assert_int_equal(err, ERR_OVERLOADED);
	assert_true(taken > 1000);
	set(&may_run, true);
	while (answers < taken)
		loop_run();
	assert_int_equal(submit(s), 0);
	loop_run();
	assert_int_equal(answers, taken + 1);
	store_close(&s);
}

static void
a_request_nobody_answered_is_an_internal_error(void **state)
{
	struct store_req *req = store_req_new(STORE_USER_LIST, NULL, NULL);

	assert_int_equal(store_run(&impl, NULL, req), ERR_INTERNAL);
	store_req_free(&req);
	assert_null(req);
	store_req_free(&req);
}

static void
outputs_grow_and_keep_what_is_there(void **state)
{
	struct store_req *req = store_req_new(STORE_USER_LIST, NULL, NULL);
	char id[ID_MAX];

	for (int i = 0; i < 1000; i++) {
		snprintf(id, sizeof(id), "usr_%d", i);
		str_copy(store_req_add_user(req)->id, ID_MAX, id);
		store_req_add_id(req, id);
		store_req_add_event(
		    req, event_new(EVENT_MESSAGE_CREATED, "cnv_1", id, "", "{}", 2));
		store_req_add_conversation(req, conversation_new());
	}
	assert_int_equal(req->user_count, 1000);
	assert_int_equal(req->conversation_count, 1000);
	for (int i = 0; i < 1000; i++) {
		snprintf(id, sizeof(id), "usr_%d", i);
		assert_string_equal(req->users[i].id, id);
		assert_string_equal(req->users[i].username, "");
		assert_string_equal(req->ids_out[i], id);
		assert_string_equal(req->events[i]->sender, id);
	}
	store_req_free(&req);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test_setup(
		a_back_end_that_is_gone_is_tried_again_with_the_next_request, setup),
	    cmocka_unit_test_setup(closing_waits_for_the_running_and_frees_the_waiting, setup),
	    cmocka_unit_test_setup(
		a_full_queue_refuses_and_leaves_the_request_to_the_caller, setup),
	    cmocka_unit_test_setup(a_request_nobody_answered_is_an_internal_error, setup),
	    cmocka_unit_test_setup(outputs_grow_and_keep_what_is_there, setup),
	};

	loop_init();
	log_init("test", -1, LOG_TO_STDERR, LOG_LVL_ERROR);
	cmocka_set_message_output(CM_OUTPUT_TAP);
	return cmocka_run_group_tests_name("store", tests, NULL, NULL);
}
