/* SPDX-License-Identifier: ISC */
/*
 * spool_help: what the tests of the spool files share: a directory of their own and
 * its one slot, 0.  Included once by each, after cmocka.h.
 */
#ifndef PALAVER_TESTS_SPOOL_HELP_H
#define PALAVER_TESTS_SPOOL_HELP_H

#include <fcntl.h>
#include <sys/mount.h>
#include <unistd.h>

#include "journal/spool.h"
#include "lib/log.h"

#include "journal_help.h"

#define SEGMENT (256 * 1024)

static char dir[64];
static struct journal_opts opts;

static int
setup(void **state)
{
	strcpy(dir, "/tmp/palaver-spool.XXXXXX");
	opts = (struct journal_opts){.dir = dir, .slots = 1, .segment_size = SEGMENT};
	return mkdtemp(dir) ? 0 : -1;
}

static int
teardown(void **state)
{
	spool_sync = fdatasync;
	log_set_fd(-1);
	umount(dir); /* if the test of the full disk left it */
	remove_tree(dir);
	return 0;
}

static struct journal_writer *
writer(void)
{
	struct journal_writer *w;

	assert_int_equal(journal_local_writer_open(&opts, &w), 0);
	return w;
}

static struct journal_reader *
reader(void)
{
	struct journal_reader *r;

	assert_int_equal(journal_local_reader_open(&opts, woken, NULL, &r), 0);
	return r;
}

static int
slot_dir(void)
{
	char path[100];
	int fd;

	snprintf(path, sizeof(path), "%s/0", dir);
	fd = open(path, O_RDONLY | O_DIRECTORY);
	assert_true(fd >= 0);
	return fd;
}

static void
flip_file(const char *name, off_t offset)
{
	int d = slot_dir(), fd = openat(d, name, O_RDWR);
	uint8_t b;

	assert_int_equal(pread(fd, &b, 1, offset), 1);
	b ^= 0xff;
	assert_int_equal(pwrite(fd, &b, 1, offset), 1);
	close(fd);
	close(d);
}

static bool
slot_has(const char *name)
{
	int d = slot_dir(), rc = faccessat(d, name, F_OK, 0);

	close(d);
	return rc == 0;
}

#endif
