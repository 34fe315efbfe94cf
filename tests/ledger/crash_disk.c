/* SPDX-License-Identifier: ISC */
/*
 * crash_disk: goes through a trace and makes the files as a crash leaves them.  See
 * crash_disk.h and crash_int.h.
 */
#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "crash_int.h"
#include "lib/buf.h"
#include "lib/pack.h"

struct disk disk = {.lock = PTHREAD_MUTEX_INITIALIZER};

uint64_t
disk_random(uint64_t *state)
{
	uint64_t z = *state += 0x9e3779b97f4a7c15;

	z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9;
	z = (z ^ z >> 27) * 0x94d049bb133111eb;
	return z ^ z >> 31;
}

/* ---- contents and names ---- */

void
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

struct name *
name_find(struct names *n, const char *path)
{
	for (size_t i = 0; i < n->count; i++)
		if (n->list[i].used && strcmp(n->list[i].path, path) == 0)
			return &n->list[i];
	return NULL;
}

void
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

void
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

void
names_copy(struct names *to, const struct names *from)
{
	to->list = xrealloc(to->list, from->count * sizeof(*to->list) + 1);
	memcpy(to->list, from->list, from->count * sizeof(*to->list));
	to->count = from->count;
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
