/* SPDX-License-Identifier: ISC */
/*
 * crash_disk: see crash_disk.h.  The functions of libc that change files are defined here
 * and call the kernel themselves; the linker gives them to every library of the program.
 *
 * Invariants: an inode's `cache` is what a process would read, its `disk` what was synced;
 * both begin as the snapshot, and only disk_step() changes them.
 */
#include "crash_disk.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "lib/buf.h"
#include "lib/pack.h"

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

static struct {
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
} disk = {.lock = PTHREAD_MUTEX_INITIALIZER};

uint64_t
disk_random(uint64_t *state)
{
	uint64_t z = *state += 0x9e3779b97f4a7c15;

	z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9;
	z = (z ^ z >> 27) * 0x94d049bb133111eb;
	return z ^ z >> 31;
}

/* ---- contents and names ---- */

static void
content_size(struct content *c, size_t len)
{
	if (len > c->cap) {
		c->cap = len + len / 2;
		c->data = xrealloc(c->data, c->cap);
	}
	if (len > c->len)
		memset(c->data + c->len, 0, len - c->len);
	c->len = len;
}

static void
content_write(struct content *c, size_t offset, const uint8_t *data, size_t len)
{
	if (offset + len > c->len)
		content_size(c, offset + len);
	memcpy(c->data + offset, data, len);
}

static void
content_copy(struct content *to, const struct content *from)
{
	content_size(to, from->len);
	if (from->len)
		memcpy(to->data, from->data, from->len);
}

static void
content_apply(struct content *c, const struct op *op)
{
	if (op->type == OP_WRITE)
		content_write(c, op->offset, op->data, op->len);
	else if (op->type == OP_SIZE && (!op->grow || op->len > c->len))
		content_size(c, op->len);
}

static struct name *
name_find(struct names *n, const char *path)
{
	for (size_t i = 0; i < n->count; i++)
		if (n->list[i].used && strcmp(n->list[i].path, path) == 0)
			return &n->list[i];
	return NULL;
}

static void
name_set(struct names *n, const char *path, size_t inode)
{
	struct name *e = name_find(n, path);

	for (size_t i = 0; !e && i < n->count; i++)
		if (!n->list[i].used)
			e = &n->list[i];
	if (!e) {
		n->list = xrealloc(n->list, (n->count + 1) * sizeof(*n->list));
		e = &n->list[n->count++];
	}
	str_copy(e->path, sizeof(e->path), path);
	e->inode = inode;
	e->used = true;
}

static void
names_apply(struct names *n, const struct op *op)
{
	struct name *e = op->type == OP_NAME ? NULL : name_find(n, op->path);

	if (op->type == OP_NAME) {
		name_set(n, op->path, op->inode);
	} else if (e && op->type == OP_UNLINK) {
		e->used = false;
	} else if (e && op->type == OP_RENAME) {
		e->used = false;
		name_set(n, op->to, op->inode);
	}
}

static void
names_copy(struct names *to, const struct names *from)
{
	to->list = xrealloc(to->list, from->count * sizeof(*to->list) + 1);
	memcpy(to->list, from->list, from->count * sizeof(*to->list));
	to->count = from->count;
}

/* ---- recording ---- */

static bool
wanted(const char *path, char below[PATHS])
{
	size_t n = strlen(disk.root), len = strlen(path);

	if (strncmp(path, disk.root, n) != 0 || (path[n] != '/' && path[n] != '\0'))
		return false;
	snprintf(below, PATHS, "%s", path[n] ? path + n + 1 : "");
	return !(len > 4 && (!strcmp(path + len - 4, "-shm") || !strcmp(path + len - 4, "lock")));
}

static bool
path_of(int fd, char below[PATHS])
{
	char link[40], path[PATHS];
	ssize_t n;

	snprintf(link, sizeof(link), "/proc/self/fd/%d", fd);
	n = readlink(link, path, sizeof(path) - 1);
	if (n <= 0)
		return false;
	path[n] = '\0';
	return wanted(path, below);
}

static bool
path_at(int dir, const char *name, char below[PATHS])
{
	char path[2 * PATHS], base[PATHS];

	if (name[0] == '/' || dir == AT_FDCWD)
		return wanted(name, below);
	if (!path_of(dir, base))
		return false;
	if (snprintf(path, sizeof(path), "%s/%s%s%s", disk.root, base, base[0] ? "/" : "", name) >=
	    (int)sizeof(path))
		abort();
	return wanted(path, below);
}

static struct op *
op_new(enum op_type type, const char *path)
{
	struct op *op;

	if (disk.count == disk.cap) {
		disk.cap = disk.cap ? 2 * disk.cap : 1024;
		disk.ops = xrealloc(disk.ops, disk.cap * sizeof(*disk.ops));
	}
	op = &disk.ops[disk.count++];
	memset(op, 0, sizeof(*op));
	op->type = type;
	str_copy(op->path, sizeof(op->path), path);
	return op;
}

static size_t
inode_new(ino_t number)
{
	if (disk.inode_count == MAX_INODES)
		abort();
	disk.inodes[disk.inode_count].number = number;
	return disk.inode_count++;
}

/* Of an open file; one that is new gets its name in the trace. */
static size_t
inode_of(int fd, const char *path)
{
	struct stat st;
	struct op *op;
	size_t i;

	if (fstat(fd, &st) < 0)
		abort();
	for (i = 0; i < disk.inode_count; i++)
		if (disk.inodes[i].number == st.st_ino)
			return i;
	i = inode_new(st.st_ino);
	op = op_new(OP_NAME, path);
	op->inode = i;
	names_apply(&disk.now, op);
	return i;
}

static void
forget_name(const char *path)
{
	struct name *e = name_find(&disk.now, path);

	if (e)
		disk.inodes[e->inode].number = 0;
}

static bool
begin(int fd, char path[PATHS])
{
	if (!disk.on || !path_of(fd, path))
		return false;
	pthread_mutex_lock(&disk.lock);
	return true;
}

static void
note_write(int fd, const void *data, size_t len, off_t offset)
{
	char path[PATHS];
	size_t inode;
	struct op *op;

	if (!begin(fd, path))
		return;
	inode = inode_of(fd, path);
	op = op_new(OP_WRITE, path);
	op->inode = inode;
	op->offset = (size_t)offset;
	op->len = len;
	op->data = xmalloc(len);
	memcpy(op->data, data, len);
	pthread_mutex_unlock(&disk.lock);
}

static void
note_size(int fd, off_t len, bool grow)
{
	char path[PATHS];
	size_t inode;
	struct op *op;

	if (!begin(fd, path))
		return;
	inode = inode_of(fd, path);
	op = op_new(OP_SIZE, path);
	op->inode = inode;
	op->len = (size_t)len;
	op->grow = grow;
	pthread_mutex_unlock(&disk.lock);
}

static void
note_sync(int fd, size_t covers)
{
	char path[PATHS];
	struct stat st;
	struct op *op;
	size_t inode;

	if (!begin(fd, path))
		return;
	if (fstat(fd, &st) == 0 && S_ISDIR(st.st_mode)) {
		op = op_new(OP_SYNC_DIR, path);
	} else {
		inode = inode_of(fd, path);
		op = op_new(OP_SYNC, path);
		op->inode = inode;
	}
	op->covers = covers;
	pthread_mutex_unlock(&disk.lock);
}

size_t
disk_ops(void)
{
	size_t n;

	pthread_mutex_lock(&disk.lock);
	n = disk.count;
	pthread_mutex_unlock(&disk.lock);
	return n;
}

ssize_t
pwrite(int fd, const void *data, size_t len, off_t offset)
{
	ssize_t n = syscall(SYS_pwrite64, fd, data, len, offset);

	if (n > 0)
		note_write(fd, data, (size_t)n, offset);
	return n;
}

ssize_t
pwrite64(int fd, const void *data, size_t len, off_t offset)
{
	return pwrite(fd, data, len, offset);
}

ssize_t
write(int fd, const void *data, size_t len)
{
	ssize_t n = syscall(SYS_write, fd, data, len);

	if (n > 0 && disk.on) /* the position is behind what was written, O_APPEND or not */
		note_write(fd, data, (size_t)n, lseek(fd, 0, SEEK_CUR) - n);
	return n;
}

int
ftruncate(int fd, off_t len)
{
	int rc = (int)syscall(SYS_ftruncate, fd, len);

	if (rc == 0)
		note_size(fd, len, false);
	return rc;
}

int
ftruncate64(int fd, off_t len)
{
	return ftruncate(fd, len);
}

int
posix_fallocate(int fd, off_t offset, off_t len)
{
	if (syscall(SYS_fallocate, fd, 0, offset, len) < 0)
		return errno;
	note_size(fd, offset + len, true);
	return 0;
}

int
posix_fallocate64(int fd, off_t offset, off_t len)
{
	return posix_fallocate(fd, offset, len);
}

int
fdatasync(int fd)
{
	size_t covers = disk_ops();
	int rc = (int)syscall(SYS_fdatasync, fd);

	if (rc == 0)
		note_sync(fd, covers);
	return rc;
}

int
fsync(int fd)
{
	size_t covers = disk_ops();
	int rc = (int)syscall(SYS_fsync, fd);

	if (rc == 0)
		note_sync(fd, covers);
	return rc;
}

int
renameat(int from_dir, const char *from, int to_dir, const char *to)
{
	char path[PATHS], target[PATHS];
	int rc = (int)syscall(SYS_renameat, from_dir, from, to_dir, to);
	struct name *e;
	struct op *op;

	if (rc < 0 || !disk.on || !path_at(from_dir, from, path) || !path_at(to_dir, to, target))
		return rc;
	pthread_mutex_lock(&disk.lock);
	e = name_find(&disk.now, path);
	if (e) {
		forget_name(target);
		op = op_new(OP_RENAME, path);
		op->inode = e->inode;
		str_copy(op->to, sizeof(op->to), target);
		names_apply(&disk.now, op);
	}
	pthread_mutex_unlock(&disk.lock);
	return rc;
}

int
rename(const char *from, const char *to)
{
	return renameat(AT_FDCWD, from, AT_FDCWD, to);
}

int
unlinkat(int dir, const char *name, int flags)
{
	char path[PATHS];
	int rc = (int)syscall(SYS_unlinkat, dir, name, flags);

	if (rc < 0 || !disk.on || !path_at(dir, name, path))
		return rc;
	pthread_mutex_lock(&disk.lock);
	if (name_find(&disk.now, path)) {
		forget_name(path);
		names_apply(&disk.now, op_new(OP_UNLINK, path));
	}
	pthread_mutex_unlock(&disk.lock);
	return rc;
}

int
unlink(const char *path)
{
	return unlinkat(AT_FDCWD, path, 0);
}

/* ---- the snapshot ---- */

static void
snapshot_file(const char *path, const char *below, const struct stat *st)
{
	size_t i = inode_new(st->st_ino);
	struct content *c = &disk.inodes[i].first;
	int fd = open(path, O_RDONLY | O_CLOEXEC);

	content_size(c, (size_t)st->st_size);
	if (fd < 0 || read(fd, c->data, c->len) != (ssize_t)c->len)
		abort();
	close(fd);
	name_set(&disk.first, below, i);
}

static void
snapshot(const char *dir)
{
	char path[2 * PATHS], below[PATHS];
	DIR *d = opendir(dir);
	struct dirent *e;
	struct stat st;

	while (d && (e = readdir(d))) {
		snprintf(path, sizeof(path), "%s/%s", dir, e->d_name);
		if (e->d_name[0] == '.' || stat(path, &st) < 0)
			continue;
		if (S_ISDIR(st.st_mode))
			snapshot(path);
		else if (wanted(path, below))
			snapshot_file(path, below, &st);
	}
	closedir(d);
}

void
disk_record(const char *root)
{
	str_copy(disk.root, sizeof(disk.root), root);
	snapshot(root);
	disk.snapshot_count = disk.inode_count;
	names_copy(&disk.now, &disk.first);
	disk.on = true;
}

void
disk_stop(void)
{
	disk.on = false;
	disk.pending = xcalloc(disk.count + 1, sizeof(*disk.pending));
}

/* ---- going through the trace ---- */

void
disk_rewind(void)
{
	for (size_t i = 0; i < disk.inode_count; i++) {
		content_copy(&disk.inodes[i].cache, &disk.inodes[i].first);
		content_copy(&disk.inodes[i].disk, &disk.inodes[i].first);
	}
	names_copy(&disk.now, &disk.first);
	names_copy(&disk.durable, &disk.first);
	disk.at = disk.pending_count = 0;
}

static bool
is_name_op(const struct op *op)
{
	return op->type == OP_NAME || op->type == OP_RENAME || op->type == OP_UNLINK;
}

static bool
in_dir(const char *path, const char *dir)
{
	const char *slash = strrchr(path, '/');
	size_t n = slash ? (size_t)(slash - path) : 0;

	return strlen(dir) == n && strncmp(path, dir, n) == 0;
}

/* Makes durable what the sync covers. */
static void
settle(const struct op *sync)
{
	size_t kept = 0;

	for (size_t i = 0; i < disk.pending_count; i++) {
		const struct op *op = &disk.ops[disk.pending[i]];
		bool now = disk.pending[i] < sync->covers;

		if (sync->type == OP_SYNC)
			now = now && !is_name_op(op) && op->inode == sync->inode;
		else
			now = now && is_name_op(op) && in_dir(op->path, sync->path);
		if (!now)
			disk.pending[kept++] = disk.pending[i];
		else if (sync->type == OP_SYNC)
			content_apply(&disk.inodes[op->inode].disk, op);
		else
			names_apply(&disk.durable, op);
	}
	disk.pending_count = kept;
}

bool
disk_step(enum disk_op *op_r)
{
	const struct op *op;

	if (disk.at == disk.count)
		return false;
	op = &disk.ops[disk.at];
	*op_r = op->type == OP_WRITE ? DISK_WRITE : DISK_OTHER;
	if (op->type == OP_SYNC || op->type == OP_SYNC_DIR) {
		*op_r = DISK_SYNC;
		settle(op);
	} else {
		if (is_name_op(op))
			names_apply(&disk.now, op);
		else
			content_apply(&disk.inodes[op->inode].cache, op);
		disk.pending[disk.pending_count++] = disk.at;
	}
	disk.at++;
	return true;
}

/* ---- making states ---- */

static void
empty_dir(const char *dir)
{
	char path[2 * PATHS];
	DIR *d = opendir(dir);
	struct dirent *e;

	while (d && (e = readdir(d))) {
		if (!strcmp(e->d_name, ".") || !strcmp(e->d_name, ".."))
			continue;
		snprintf(path, sizeof(path), "%s/%s", dir, e->d_name);
		if (e->d_type == DT_DIR)
			empty_dir(path);
		else
			unlink(path);
	}
	closedir(d);
}

static uint32_t
put_file(const char *dir, const char *below, const struct content *c, uint32_t crc)
{
	char path[2 * PATHS];
	int fd;

	snprintf(path, sizeof(path), "%s/%s", dir, below);
	for (char *p = path + strlen(dir) + 1; (p = strchr(p, '/')); *p++ = '/') {
		*p = '\0';
		mkdir(path, 0700);
	}
	fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	if (fd < 0 || write(fd, c->data, c->len) != (ssize_t)c->len)
		abort();
	close(fd);
	crc = crc32c(crc, below, strlen(below));
	return crc32c(crc, c->data, c->len);
}

uint32_t
disk_make_killed(const char *dir, bool torn, uint64_t *state)
{
	const struct op *last = disk.at ? &disk.ops[disk.at - 1] : NULL;
	struct content part = {0};
	uint32_t crc = 0;

	empty_dir(dir);
	torn = torn && last && last->type == OP_WRITE;
	if (torn) { /* what is before the last op, and its first bytes */
		struct inode *ino = &disk.inodes[last->inode];

		content_copy(&part, &ino->disk);
		for (size_t i = 0; i + 1 < disk.pending_count; i++)
			if (!is_name_op(&disk.ops[disk.pending[i]]) &&
			    disk.ops[disk.pending[i]].inode == last->inode)
				content_apply(&part, &disk.ops[disk.pending[i]]);
		content_write(&part, last->offset, last->data, disk_random(state) % last->len);
	}
	for (size_t i = 0; i < disk.now.count; i++) {
		const struct name *n = &disk.now.list[i];
		bool this_one = torn && n->inode == last->inode;

		if (n->used)
			crc = put_file(
			    dir, n->path, this_one ? &part : &disk.inodes[n->inode].cache, crc);
	}
	free(part.data);
	return crc;
}

/* A write of which every sector is there or not. */
static void
apply_torn(struct content *c, const struct op *op, uint64_t *state)
{
	size_t at = op->offset, end = op->offset + op->len;

	while (at < end) {
		size_t next = (at / SECTOR + 1) * SECTOR, stop = next < end ? next : end;

		if (disk_random(state) & 1)
			content_write(c, at, op->data + (at - op->offset), stop - at);
		at = stop;
	}
}

/* Of what was not synced: each change whole, in part, or not at all. */
static void
apply_some(struct content *c, size_t inode, uint64_t *state)
{
	uint64_t lean = disk_random(state) % 3; /* mostly lost, mostly there, or mixed */

	for (size_t i = 0; i < disk.pending_count; i++) {
		const struct op *op = &disk.ops[disk.pending[i]];
		uint64_t fate = disk_random(state) % 6;

		if (is_name_op(op) || op->inode != inode)
			continue;
		if (fate == 0 && op->type == OP_WRITE)
			apply_torn(c, op, state);
		else if (fate >= (lean == 0 ? 5U : lean == 1 ? 2U : 3U))
			content_apply(c, op);
	}
}

uint32_t
disk_make_power(const char *dir, uint64_t *state)
{
	struct names names = {0};
	size_t changes = 0, keep;
	uint32_t crc = 0;

	empty_dir(dir);
	for (size_t i = 0; i < disk.pending_count; i++)
		changes += is_name_op(&disk.ops[disk.pending[i]]);
	keep = *state ? disk_random(state) % (changes + 1) : 0;
	names_copy(&names, &disk.durable);
	for (size_t i = 0; i < disk.pending_count && keep; i++)
		if (is_name_op(&disk.ops[disk.pending[i]])) {
			names_apply(&names, &disk.ops[disk.pending[i]]);
			keep--;
		}
	for (size_t i = 0; i < names.count; i++) {
		struct content c = {0};

		if (!names.list[i].used)
			continue;
		content_copy(&c, &disk.inodes[names.list[i].inode].disk);
		if (*state)
			apply_some(&c, names.list[i].inode, state);
		crc = put_file(dir, names.list[i].path, &c, crc);
		free(c.data);
	}
	free(names.list);
	return crc;
}

void
disk_fini(void)
{
	for (size_t i = 0; i < disk.count; i++)
		free(disk.ops[i].data);
	for (size_t i = 0; i < disk.inode_count; i++) {
		free(disk.inodes[i].first.data);
		free(disk.inodes[i].cache.data);
		free(disk.inodes[i].disk.data);
	}
	free(disk.ops);
	free(disk.now.list);
	free(disk.first.list);
	free(disk.durable.list);
	free(disk.pending);
}
