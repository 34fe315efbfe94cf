/* SPDX-License-Identifier: ISC */
/* sweep: what it asks of a store, what is removed and forgotten, and what waits. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include <fcntl.h>
#include <ftw.h>
#include <sys/stat.h>
#include <unistd.h>

#include "archiver/sweep.c"

#define KEEP_MS 5000
#define MANY    (2 * STORE_PAGE_MAX + 7)

/* ---- a store: of its one thread while a round is under way ---- */

static char doomed[MANY][ID_MAX];
static size_t doomed_count;
static int sweeps, claim_sweeps, forgets, sweep_err, forget_err;
static int64_t loose_before, claims_before;

static void *
open_handle(const char *where)
{
	return &doomed;
}

static void
close_handle(void *handle)
{
}

static void
store_sweep(void *handle, struct store_req *req)
{
	sweeps++;
	claim_sweeps += req->flag;
	*(req->flag ? &claims_before : &loose_before) = req->before_ms;
	for (size_t i = 0; !sweep_err && i < doomed_count && i < req->limit; i++)
		store_req_add_id(req, doomed[i]);
	req->err = sweep_err;
}

static void
store_forget(void *handle, struct store_req *req)
{
	forgets++;
	req->err = forget_err;
	for (size_t i = 0; !forget_err && i < req->id_count; i++)
		for (size_t j = 0; j < doomed_count; j++)
			if (strcmp(doomed[j], req->ids[i]) == 0)
				memmove(doomed[j], doomed[j + 1],
				    (--doomed_count - j) * sizeof(*doomed));
}

static const struct store_impl impl = {
    .name = "test",
    .open_handle = open_handle,
    .close_handle = close_handle,
    .ops = {[STORE_FILES_SWEEP] = store_sweep, [STORE_FILES_FORGET] = store_forget},
};

/* ---- what is on the disk ---- */

static char root[64];

/* Of the file, or of its folder. */
static const char *
path_of(const char *id, bool folder)
{
	static char path[160];
	size_t len = strlen(id);

	snprintf(
	    path, sizeof(path), "%s/files/%.2s/%.*s", root, id + len - 2, folder ? 0 : ID_MAX, id);
	return path;
}

static const char *
doom(bool with_bytes)
{
	char *id = doomed[doomed_count++];
	int fd;

	id_new(id, "fil");
	if (with_bytes) {
		mkdir(path_of(id, true), 0700);
		fd = open(path_of(id, false), O_WRONLY | O_CREAT, 0600);
		assert_true(fd >= 0);
		close(fd);
	}
	return id;
}

static int files;

static int
count_file(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
	files += type == FTW_F;
	return 0;
}

static int
file_count(void)
{
	files = 0;
	nftw(root, count_file, 8, FTW_PHYS);
	return files;
}

static int
remove_one(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
	return remove(path);
}

/* ---- rounds ---- */

static struct conf conf;
static struct child child = {.conf = &conf};
static struct store *store;
static struct sweep *sweep;

static void
look(struct ev_loop *l, ev_timer *w, int revents)
{
	if (!sweep->busy && !ev_is_pending(&sweep->timer))
		loop_stop();
}

static void
until_idle(void)
{
	ev_timer t;

	ev_timer_init(&t, look, 0.002, 0.002);
	ev_timer_start(loop_ev(), &t);
	loop_run();
	ev_timer_stop(loop_ev(), &t);
}

/* One round now. */
static void
run_round(void)
{
	ev_timer_stop(loop_ev(), &sweep->timer);
	begin_round(loop_ev(), &sweep->timer, 0);
	until_idle();
}

/* Until the round that is due has ended; how long that took. */
static int64_t
round_ms(void)
{
	int64_t began = clock_mono_ms();
	int before = sweeps;

	while (sweeps == before)
		until_idle();
	return clock_mono_ms() - began;
}

static int
setup(void **state)
{
	char dir[80];

	strcpy(root, "/tmp/palaver-sweep-XXXXXX");
	assert_non_null(mkdtemp(root));
	snprintf(dir, sizeof(dir), "%s/files", root);
	mkdir(dir, 0700);
	conf.state_dir = root;
	conf.files_keep = KEEP_MS;
	doomed_count = 0;
	sweeps = claim_sweeps = forgets = sweep_err = forget_err = 0;
	store = store_open(&impl, "", 1);
	sweep = sweep_new(&child, store);
	return 0;
}

static int
teardown(void **state)
{
	sweep_free(&sweep);
	store_close(&store);
	return nftw(root, remove_one, 8, FTW_PHYS | FTW_DEPTH);
}

static void
what_is_doomed_is_removed_and_then_forgotten(void **state)
{
	for (int i = 0; i < MANY; i++)
		doom(i % 3 != 0); /* a removal may have been done before, and not forgotten */
	run_round();
	assert_int_equal(doomed_count, 0);
	assert_int_equal(file_count(), 0);
	assert_int_equal(sweeps, 3); /* full pages are followed by another at once */
	assert_int_equal(forgets, 3);
	assert_int_equal(claim_sweeps, 0);
	assert_in_range(clock_wall_ms() - loose_before, KEEP_MS, KEEP_MS + 5000);
}

static void
what_cannot_be_removed_is_not_forgotten(void **state)
{
	const char *id;

	doom(true);
	id = doom(false);
	mkdir(path_of(id, true), 0700);
	mkdir(path_of(id, false), 0700); /* unlink says EISDIR */
	doom(true);
	run_round();
	assert_int_equal(doomed_count, 1);
	assert_int_equal(file_count(), 0);
	run_round();
	assert_int_equal(doomed_count, 1);
	assert_int_equal(forgets, 1); /* none when there is nothing to forget */
	sweep_caught_up(sweep, clock_mono_ms());
	sweep->started_ms -= START_MS;
	run_round();
	assert_int_equal(claim_sweeps, 1); /* claims do not wait for it */
	assert_int_equal(rmdir(path_of(doomed[0], false)), 0);
	run_round();
	assert_int_equal(doomed_count, 0);
}

static void
a_store_that_fails_is_asked_again_in_the_next_round(void **state)
{
	doom(true);
	sweep_err = ERR_UNAVAILABLE;
	run_round();
	assert_int_equal(sweeps, 1);
	assert_int_equal(file_count(), 1);
	sweep_err = 0;
	forget_err = ERR_STORAGE_FULL;
	run_round();
	assert_int_equal(file_count(), 0);
	assert_int_equal(doomed_count, 1);
	forget_err = 0;
	run_round();
	assert_int_equal(doomed_count, 0);
}

static void
a_directory_that_cannot_be_opened_is_tried_again(void **state)
{
	char was[64];

	strcpy(was, root);
	strcat(root, "/missing");
	run_round();
	assert_false(sweep->busy);
	assert_null(sweep->content);
	strcpy(root, was);
	doom(true);
	run_round();
	assert_int_equal(doomed_count, 0);
}

static void
the_next_round_is_when_files_are_kept_no_longer_or_soon(void **state)
{
	conf.files_keep = 86400000;
	round_ms();
	assert_true(ev_timer_remaining(loop_ev(), &sweep->timer) > 55);
	conf.files_keep = 2000;
	sweep_reloaded(sweep);
	assert_in_range(round_ms(), 1500, 10000);
	doom(true);
	sweep_soon(sweep);
	assert_in_range(round_ms(), 300, 10000);
	assert_int_equal(doomed_count, 0);
	ev_timer_stop(loop_ev(), &sweep->timer);
	begin_round(loop_ev(), &sweep->timer, 0);
	sweep_soon(sweep); /* doomed after this round has asked */
	until_idle();
	assert_true(ev_timer_remaining(loop_ev(), &sweep->timer) <= SOON_S);
}

/* How often the store was asked with the flag in a round. */
static int
asked_for_claims(void)
{
	claim_sweeps = 0;
	run_round();
	return claim_sweeps;
}

static void
claims_wait_until_all_that_was_sent_is_archived(void **state)
{
	int64_t now = clock_mono_ms();

	sweep_caught_up(sweep, now);
	assert_int_equal(asked_for_claims(), 0); /* workers may be replaying */
	sweep->started_ms = now - START_MS;
	assert_int_equal(asked_for_claims(), 1);
	assert_in_range(
	    clock_wall_ms() - claims_before, KEEP_MS + CLAIM_MS, KEEP_MS + CLAIM_MS + 5000);
	sweep_caught_up(sweep, now - KEEP_MS - (CLAIM_MS - SEND_MS) + 4000);
	assert_int_equal(asked_for_claims(), 1);
	sweep_caught_up(sweep, now - KEEP_MS - (CLAIM_MS - SEND_MS) - 1);
	assert_int_equal(asked_for_claims(), 0); /* the journal was not read since */
	sweep->caught_up_ms = 0;
	assert_int_equal(asked_for_claims(), 0);
}

/* A claim of a moment ago may look a year old then. */
static void
claims_are_left_alone_when_the_date_has_jumped(void **state)
{
	int64_t now = clock_mono_ms();

	sweep->started_ms = now - START_MS;
	sweep_caught_up(sweep, now);
	sweep->date_ms -= 2 * JUMP_MS;
	assert_int_equal(asked_for_claims(), 0);
	sweep->started_ms = now - START_MS;
	assert_int_equal(asked_for_claims(), 0); /* the journal is to be read anew */
	sweep->started_ms = now;
	sweep_caught_up(sweep, now);
	assert_int_equal(asked_for_claims(), 0);
	sweep->started_ms = now - START_MS;
	sweep->loose_from_ms = 0;
	assert_int_equal(asked_for_claims(), 1);
}

static void
a_round_may_be_cut_short(void **state)
{
	for (int i = 0; i < STORE_PAGE_MAX; i++)
		doom(true);
	while (!sweep->open && !forgets)
		ev_run(loop_ev(), EVRUN_ONCE);
	assert_true(sweep->busy); /* teardown frees it */
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    TEST(what_is_doomed_is_removed_and_then_forgotten),
	    TEST(what_cannot_be_removed_is_not_forgotten),
	    TEST(a_store_that_fails_is_asked_again_in_the_next_round),
	    TEST(a_directory_that_cannot_be_opened_is_tried_again),
	    TEST(the_next_round_is_when_files_are_kept_no_longer_or_soon),
	    TEST(claims_wait_until_all_that_was_sent_is_archived),
	    TEST(claims_are_left_alone_when_the_date_has_jumped),
	    TEST(a_round_may_be_cut_short),
	};

	loop_init();
	cmocka_set_message_output(CM_OUTPUT_TAP);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
