/* SPDX-License-Identifier: ISC */
/* content_help: for the tests of content: a directory of their own, and waiting for answers. */
#ifndef PALAVER_TESTS_CONTENT_HELP_H
#define PALAVER_TESTS_CONTENT_HELP_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include <dirent.h>
#include <fcntl.h>
#include <ftw.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#pragma GCC diagnostic ignored "-Wunused-function" /* not every file needs all of it */

#include "lib/id.h"
#include "lib/loop.h"
#include "model/error.h"
#include "store/content.h"

static char root[64], dir[96];
static char id[ID_MAX]; /* a new one for each test */
static struct content *content;

/* ---- waiting for answers ---- */

static int answers, last_err;
static struct buf got;

static void
answered(void *arg, int err)
{
	assert_ptr_equal(arg, &answers);
	answers++;
	last_err = err;
	loop_stop();
}

static void
read_some(void *arg, int err, const void *data, size_t len)
{
	buf_append(&got, data, len);
	answered(arg, err);
}

static void
never(void *arg, int err)
{
	fail_msg("called back after the close, err=%d", err);
}

static void
read_never(void *arg, int err, const void *data, size_t len)
{
	never(arg, err);
}

/* The err of the call, or else of its callback. */
static int
await(int err)
{
	int before = answers;

	if (err)
		return err;
	assert_int_equal(answers, before); /* later, not in the call */
	loop_run();
	assert_int_equal(answers, before + 1);
	return last_err;
}

static int
put(struct content_writer *w, const void *data, size_t len)
{
	struct buf b;
	int err;

	buf_init(&b);
	buf_append(&b, data, len);
	err = content_write(w, &b, answered, &answers);
	if (!err)
		assert_int_equal(b.len, 0);
	buf_fini(&b);
	return await(err);
}

static void
keep(const char *text)
{
	struct content_writer *w = content_create(content, id);

	assert_int_equal(put(w, text, strlen(text)), 0);
	assert_int_equal(await(content_commit(w, answered, &answers)), 0);
	content_writer_close(&w);
	assert_null(w);
}

static int
get(uint64_t offset, size_t len)
{
	struct content_reader *r = content_reader_open(content, id);
	int err;

	buf_clear(&got);
	err = await(content_read(r, offset, len, read_some, &answers));
	content_reader_close(&r);
	return err;
}

static int
forget(void)
{
	return await(content_remove(content, id, answered, &answers));
}

/* ---- what is on the disk ---- */

static int files;

static int
count_file(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
	files += type == FTW_F;
	if (type != FTW_NS) /* gone meanwhile */
		assert_int_equal(st->st_mode & 07777, type == FTW_F ? 0600 : 0700);
	return 0;
}

static int
file_count(void)
{
	files = 0;
	assert_int_equal(nftw(root, count_file, 8, FTW_PHYS), 0);
	return files;
}

static const char *
whole_path(void)
{
	static char path[192];

	snprintf(path, sizeof(path), "%s/%s/%s", dir, id + strlen(id) - 2, id);
	return path;
}

static void
write_file(const char *path)
{
	int fd = open(path, O_WRONLY | O_CREAT, 0600);

	assert_int_equal(write(fd, "text", 4), 4);
	close(fd);
}

static void
wake(struct ev_loop *l, ev_timer *w, int revents)
{
	loop_stop();
}

/*
 * Until as many are there: clean-ups call nobody back.  Twice in a row, because a walk may
 * miss what is renamed meanwhile.
 */
static void
settle(int want)
{
	int in_a_row = 0;
	ev_timer t;

	for (int i = 0; i < 2000 && in_a_row < 2; i++) {
		in_a_row = file_count() == want ? in_a_row + 1 : 0;
		ev_timer_init(&t, wake, 0.005, 0);
		ev_timer_start(loop_ev(), &t);
		loop_run();
		ev_timer_stop(loop_ev(), &t);
	}
	assert_int_equal(in_a_row, 2);
}

static int
remove_one(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
	return remove(path);
}

static int
setup(void **state)
{
	strcpy(root, "/tmp/palaver-content-XXXXXX");
	assert_non_null(mkdtemp(root));
	snprintf(dir, sizeof(dir), "%s/files", root);
	content = content_open(dir, 3, 32);
	assert_non_null(content);
	buf_init(&got);
	id_new(id, "fil");
	return 0;
}

static int
teardown(void **state)
{
	content_close(&content);
	buf_fini(&got);
	return nftw(root, remove_one, 8, FTW_PHYS | FTW_DEPTH);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

#endif
