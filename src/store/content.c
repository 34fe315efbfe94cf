/* SPDX-License-Identifier: ISC */
/*
 * content: files below a directory, by jobs on a pool of two threads.  The layout and who
 * may call what are in content.h.
 *
 * A handle is a writer, a reader, or one removal.  Invariants:
 * - it is on the list of its content from its making until it is freed or the content is
 *   closed, and at most one job has it;
 * - while it is busy, what is marked so belongs to the job, else to the loop: no locks;
 * - a file that nobody was told of has no name in the end: a commit whose caller has gone
 *   before he could hear of it is taken back;
 * - a file is open only within a job: slow clients must not be able to hold descriptors, of
 *   which a process has few more than connections.  (An error of writing back that came
 *   while nobody had it open is told to the next who opens it, and so to the fsync.)
 */
#include "store/content.h"

#include <assert.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <utlist.h>

#include "lib/id.h"
#include "lib/job.h"
#include "lib/log.h"
#include "model/error.h"

#define THREADS   2
#define QUEUE_MAX 1000 /* queued or running, beyond which nothing new is begun */

/* Which name the file of a writer has. */
enum place { NOWHERE, IN_NEW, UNDER_NAME };

struct handle {
	struct content *c; /* NULL: was closed */
	char id[ID_MAX];   /* "": was none */
	/* the job's while busy */
	enum place place;
	struct buf piece; /* to be written, or what was read */
	uint64_t offset;
	size_t len;
	int err;
	int (*work)(struct handle *h);
	/* the loop's */
	bool busy, closed;
	bool begun;  /* what was begun is not refused half-way */
	bool once;   /* a removal: nobody has a handle to close */
	bool failed; /* a writer: can only be closed */
	bool told;   /* its commit is known to the caller */
	content_done done;
	content_read_cb got;
	void *arg;
	struct handle *prev, *next;
};

struct content_writer {
	struct handle h;
};

struct content_reader {
	struct handle h;
};

struct content {
	char *dir; /* as all of this but the list: not changed while there are jobs */
	char *new; /* <dir>/new.<slot>; NULL: only removes */
	struct job_pool *pool;
	struct handle *handles;
};

/* ---- on a pool thread ---- */

static int
failed(const char *step, const char *path)
{
	int err = errno;

	log_error("content.failed", "step=%s path=%s err=%s", step, log_quote(path),
	    log_quote(strerror(err)));
	return err == ENOSPC || err == EDQUOT ? ERR_STORAGE_FULL : ERR_UNAVAILABLE;
}

static char *
new_path(const struct handle *h)
{
	return xasprintf("%s/%s", h->c->new, h->id);
}

static char *
folder_path(const struct handle *h)
{
	return xasprintf("%s/%s", h->c->dir, h->id + strlen(h->id) - 2);
}

static char *
whole_path(const struct handle *h)
{
	return xasprintf("%s/%s/%s", h->c->dir, h->id + strlen(h->id) - 2, h->id);
}

static int
sync_path(const char *path, int mode)
{
	int fd = open(path, mode | O_CLOEXEC), err;

	if (fd < 0)
		return -1;
	err = fsync(fd) < 0 ? errno : 0;
	close(fd);
	errno = err;
	return err ? -1 : 0;
}

static int
write_all(int fd, const struct buf *b)
{
	for (size_t at = 0; at < b->len;) {
		ssize_t n = write(fd, b->data + at, b->len - at);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -1;
		at += (size_t)n;
	}
	return 0;
}

static int
write_piece(struct handle *h)
{
	char *path = new_path(h);
	int mode = h->place == NOWHERE ? O_CREAT | O_EXCL : O_APPEND, err = 0;
	int fd = open(path, O_WRONLY | O_CLOEXEC | mode, 0600);

	if (fd >= 0)
		h->place = IN_NEW;
	if (fd < 0)
		err = failed("open", path);
	else if (write_all(fd, &h->piece) < 0)
		err = failed("write", path);
	if (fd >= 0)
		close(fd);
	free(path);
	return err;
}

/*
 * The folder is synced into dir each time, not only by who made it: another worker may
 * have made it a moment ago and not be as far, or may have died before it was.
 */
static int
give_name(struct handle *h)
{
	char *from = new_path(h), *folder = folder_path(h), *to = whole_path(h);
	int err = 0;

	if (mkdir(folder, 0700) < 0 && errno != EEXIST)
		err = failed("mkdir", folder);
	else if (sync_path(h->c->dir, O_RDONLY) < 0)
		err = failed("sync", h->c->dir);
	else if (rename(from, to) < 0)
		err = failed("rename", to);
	else
		h->place = UNDER_NAME;
	if (!err && sync_path(folder, O_RDONLY) < 0)
		err = failed("sync", folder);
	free(from);
	free(folder);
	free(to);
	return err;
}

static int
sync_file(struct handle *h)
{
	char *path = new_path(h);
	int err = sync_path(path, O_WRONLY) < 0 ? failed("sync", path) : 0;

	free(path);
	return err;
}

static int
commit(struct handle *h)
{
	int err = h->place == NOWHERE ? write_piece(h) : 0;

	if (!err)
		err = sync_file(h);
	return err ? err : give_name(h);
}

static int
read_at(struct handle *h, int fd, const char *path)
{
	buf_reserve(&h->piece, h->len);
	while (h->piece.len < h->len) {
		ssize_t n = pread(fd, h->piece.data + h->piece.len, h->len - h->piece.len,
		    (off_t)(h->offset + h->piece.len));

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return failed("read", path);
		if (n == 0)
			break;
		h->piece.len += (size_t)n;
	}
	return 0;
}

static int
read_piece(struct handle *h)
{
	char *path;
	int fd, err = 0;

	if (!*h->id)
		return ERR_NOT_FOUND;
	path = whole_path(h);
	fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
	if (fd < 0)
		err = errno == ENOENT ? ERR_NOT_FOUND : failed("open", path);
	else if (h->offset <= (uint64_t)INT64_MAX - h->len) /* no file is longer */
		err = read_at(h, fd, path);
	if (fd >= 0)
		close(fd);
	free(path);
	return err;
}

/* Synced also where there is nothing: a removal before this one may not have been. */
static int
remove_whole(struct handle *h)
{
	char *path, *folder;
	int err = 0;

	if (!*h->id)
		return ERR_NOT_FOUND;
	path = whole_path(h);
	folder = folder_path(h);
	if (unlink(path) < 0 && errno != ENOENT)
		err = failed("remove", path);
	else if (sync_path(folder, O_RDONLY) < 0 && errno != ENOENT)
		err = failed("sync", folder);
	free(path);
	free(folder);
	return err;
}

/* Leaves of a handle what is to stay.  Also on the loop, when the pool has gone. */
static int
clean_up(struct handle *h)
{
	char *path = h->place == NOWHERE || h->told ? NULL
		     : h->place == IN_NEW           ? new_path(h)
						    : whole_path(h);

	if (path && unlink(path) < 0 && errno != ENOENT)
		failed("clean_up", path);
	free(path);
	h->place = NOWHERE;
	return 0;
}

static void
run(void *ctx, void *arg)
{
	struct handle *h = arg;

	(void)ctx;
	h->err = h->work(h);
}

/* ---- on the loop ---- */

static void finished(void *arg);

static struct handle *
handle_init(struct handle *h, struct content *c, const char *id)
{
	h->c = c;
	if (id_valid(id, "fil"))
		str_copy(h->id, sizeof(h->id), id);
	buf_init(&h->piece);
	DL_APPEND(c->handles, h);
	return h;
}

static void
handle_free(struct handle *h)
{
	if (h->c)
		DL_DELETE(h->c->handles, h);
	buf_fini(&h->piece);
	free(h); /* the first member of what was allocated */
}

/* Not refused: the pool's own queue has no end. */
static void
start(struct handle *h, int (*work)(struct handle *h))
{
	int err;

	h->work = work;
	h->busy = true;
	err = job_submit(h->c->pool, run, finished, h);
	assert(!err);
}

static int
submit(struct handle *h, int (*work)(struct handle *h), content_done done, void *arg)
{
	assert(!h->busy && !h->failed && !h->told);
	if (!h->c)
		return ERR_UNAVAILABLE;
	if (!h->begun && job_pool_waiting(h->c->pool) >= QUEUE_MAX)
		return ERR_OVERLOADED;
	h->begun = true;
	h->done = done;
	h->arg = arg;
	start(h, work);
	return 0;
}

/* Frees it, now or when its last job is done. */
static void
handle_close(struct handle *h)
{
	h->closed = true;
	if (h->busy)
		return;
	if (h->c && h->place != NOWHERE && !h->told)
		start(h, clean_up);
	else
		handle_free(h);
}

static void
finished(void *arg)
{
	struct handle *h = arg;
	struct handle was = *h; /* the callback may close it */

	h->busy = false;
	if (h->closed) {
		handle_close(h);
		return;
	}
	buf_init(&h->piece);
	h->failed = h->err && !h->got;
	h->told = !h->err && h->place == UNDER_NAME;
	if (h->once)
		handle_close(h);
	if (was.got)
		was.got(was.arg, was.err, was.piece.data, was.err ? 0 : was.piece.len);
	else
		was.done(was.arg, was.err);
	buf_fini(&was.piece);
}

/* ---- life ---- */

static bool
make_dir(const char *path)
{
	if (mkdir(path, 0700) == 0 || errno == EEXIST)
		return true;
	log_error("content.open_failed",
	    "path=%s err=%s; the user of the server must be able to make it", log_quote(path),
	    log_quote(strerror(errno)));
	return false;
}

/*
 * Its name is to be as durable as what will be in it, whoever made it.  If it was there, its
 * parent may be out of reach (a link to another disk), and is its owner's affair.
 */
static bool
make_root(const char *dir)
{
	char *parent = xasprintf("%s/..", dir);
	bool made = mkdir(dir, 0700) == 0;
	bool ok = made || make_dir(dir);

	if (ok && sync_path(parent, O_RDONLY) < 0 && made) {
		ok = false;
		log_error("content.open_failed",
		    "path=%s err=%s; its directory cannot be synced, check the disk",
		    log_quote(dir), log_quote(strerror(errno)));
	}
	free(parent);
	return ok;
}

static bool
empty_dir(const char *path)
{
	DIR *d = opendir(path);
	struct dirent *e;

	if (!d) {
		log_error("content.open_failed",
		    "path=%s err=%s; the user of the server must be able to read it",
		    log_quote(path), log_quote(strerror(errno)));
		return false;
	}
	while ((e = readdir(d)))
		if (strcmp(e->d_name, ".") != 0 && strcmp(e->d_name, "..") != 0 &&
		    unlinkat(dirfd(d), e->d_name, 0) < 0)
			log_warn("content.left_over", "path=%s name=%s err=%s", log_quote(path),
			    log_quote(e->d_name), log_quote(strerror(errno)));
	closedir(d);
	return true;
}

/* Those that slots 0 to slots - 1 do not empty themselves; each is left to one of them. */
static bool
empty_left_slots(const char *dir, int slot, int slots)
{
	DIR *d = opendir(dir);
	struct dirent *e;
	int n, end;

	while (d && (e = readdir(d))) {
		char *path;
		bool ours = sscanf(e->d_name, "new.%d%n", &n, &end) == 1 && !e->d_name[end] &&
			    n >= slots && n % slots == slot;

		if (!ours)
			continue;
		path = xasprintf("%s/%s", dir, e->d_name);
		if (empty_dir(path) && rmdir(path) < 0)
			log_warn("content.left_over", "path=%s err=%s", log_quote(path),
			    log_quote(strerror(errno)));
		free(path);
	}
	if (d)
		closedir(d);
	return d != NULL;
}

struct content *
content_open(const char *dir, int slot, int slots)
{
	struct job_pool_opts opts = {.name = "content", .threads = THREADS, .queue = UINT_MAX};
	char *new = slot < 0 ? NULL : xasprintf("%s/new.%d", dir, slot);
	struct content *c;

	if (!make_root(dir) ||
	    (new && (!make_dir(new) || !empty_dir(new) || !empty_left_slots(dir, slot, slots)))) {
		free(new);
		return NULL;
	}
	c = xcalloc(1, sizeof(*c));
	c->dir = xstrdup(dir);
	c->new = new;
	c->pool = job_pool_new(&opts);
	return c;
}

void
content_close(struct content **cp)
{
	struct content *c = *cp;
	struct handle *h, *tmp;

	*cp = NULL;
	if (!c)
		return;
	job_pool_free(&c->pool);
	DL_FOREACH_SAFE (c->handles, h, tmp) {
		h->busy = false;
		clean_up(h);
		DL_DELETE(c->handles, h);
		h->c = NULL;
		if (h->closed || h->once)
			handle_free(h);
	}
	free(c->dir);
	free(c->new);
	free(c);
}

/* ---- the interface ---- */

struct content_writer *
content_create(struct content *c, const char *id)
{
	struct content_writer *w = xcalloc(1, sizeof(*w));

	assert(c->new &&id_valid(id, "fil"));
	handle_init(&w->h, c, id);
	return w;
}

int
content_write(struct content_writer *w, struct buf *b, content_done done, void *arg)
{
	struct buf piece = w->h.piece;
	int err;

	assert(!w->h.busy);
	w->h.piece = *b; /* before the job has it */
	err = submit(&w->h, write_piece, done, arg);
	if (err)
		w->h.piece = piece;
	else
		buf_init(b);
	return err;
}

int
content_commit(struct content_writer *w, content_done done, void *arg)
{
	return submit(&w->h, commit, done, arg);
}

void
content_writer_close(struct content_writer **wp)
{
	if (*wp)
		handle_close(&(*wp)->h);
	*wp = NULL;
}

struct content_reader *
content_reader_open(struct content *c, const char *id)
{
	struct content_reader *r = xcalloc(1, sizeof(*r));

	handle_init(&r->h, c, id);
	return r;
}

int
content_read(struct content_reader *r, uint64_t offset, size_t len, content_read_cb cb, void *arg)
{
	assert(!r->h.busy && len <= CONTENT_READ_MAX);
	r->h.offset = offset;
	r->h.len = len;
	r->h.got = cb;
	return submit(&r->h, read_piece, NULL, arg);
}

void
content_reader_close(struct content_reader **rp)
{
	if (*rp)
		handle_close(&(*rp)->h);
	*rp = NULL;
}

int
content_remove(struct content *c, const char *id, content_done done, void *arg)
{
	struct handle *h = handle_init(xcalloc(1, sizeof(*h)), c, id);
	int err;

	h->once = true;
	err = submit(h, remove_whole, done, arg);
	if (err)
		handle_free(h);
	return err;
}
