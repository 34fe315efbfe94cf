/* SPDX-License-Identifier: ISC */
/*
 * crash_record: writes the trace.  The functions of libc that change files are defined here
 * and call the kernel themselves; the linker gives them to every library of the program.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "crash_int.h"
#include "lib/buf.h"

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
