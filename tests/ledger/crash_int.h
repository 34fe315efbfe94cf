/* SPDX-License-Identifier: ISC */
/*
 * crash_int: the trace, shared by crash_record.c, which writes it, and crash_disk.c, which
 * goes through it.
 *
 * Invariants: an inode's `cache` is what a process would read, its `disk` what was synced;
 * both begin as the snapshot `first`, and only disk_step() changes them.
 */
#ifndef PALAVER_TESTS_CRASH_INT_H
#define PALAVER_TESTS_CRASH_INT_H

#include <pthread.h>
#include <sys/types.h>

#include "crash_disk.h"

#define PATHS      256 /* bytes of a path */
#define MAX_INODES 4096

enum op_type { OP_WRITE, OP_SIZE, OP_SYNC, OP_SYNC_DIR, OP_NAME, OP_RENAME, OP_UNLINK };

struct op {
	enum op_type type;
	size_t inode;
	size_t offset, len; /* WRITE; SIZE: the new size in len */
	bool grow;          /* SIZE: never smaller than it is */
	size_t covers;      /* SYNC: ops before this one */
	uint8_t *data;      /* WRITE */
	char path[PATHS];   /* below root; SYNC_DIR: of the directory */
	char to[PATHS];     /* RENAME */
};

struct content {
	uint8_t *data;
	size_t len, cap;
};

struct inode {
	ino_t number; /* while recording; 0: has no name any more */
	struct content first, cache, disk;
};

struct name {
	char path[PATHS];
	size_t inode;
	bool used;
};

struct names {
	struct name *list;
	size_t count;
};

struct disk {
	pthread_mutex_t lock;
	bool on;
	char root[PATHS];
	struct op *ops;
	size_t count, cap;
	struct inode inodes[MAX_INODES];
	size_t inode_count, snapshot_count;
	struct names now;            /* while recording, and then after `at` */
	struct names first, durable; /* of the snapshot; synced */
	size_t at;                   /* ops applied */
	size_t *pending;             /* ops applied and not synced, ascending */
	size_t pending_count;
};

extern struct disk disk;

void content_size(struct content *c, size_t len); /* grows with zeros */
struct name *name_find(struct names *n, const char *path);
void name_set(struct names *n, const char *path, size_t inode);
void names_apply(struct names *n, const struct op *op);
void names_copy(struct names *to, const struct names *from);

#endif
