/* SPDX-License-Identifier: ISC */
/*
 * keys: the keys of access tokens: read at the start, given to workers, rotated.  Master
 * process, loop thread.
 *
 * They are in state_dir/token.keys (format: lib/keys.h), mode 0600, unless the administrator
 * names a file (accounts.key_file), which is read only.
 *
 * A change of keys never makes a token that some worker does not know: every worker first
 * gets the new keys with the old signer and says so; when all have them, all are told to
 * sign with the first.  A worker that starts meanwhile gets what is the state then; one that
 * dies is waited for no longer.  The file is safe on disk before any worker has the key.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sysexits.h>
#include <unistd.h>

#include "lib/child.h"
#include "lib/clock.h"
#include "lib/log.h"
#include "lib/loop.h"
#include "master/master.h"

#define MARGIN_MS      120000 /* clocks, reloads: a key is kept so much longer than its tokens */
#define TAKE_TIMEOUT_S 8.0    /* palaverctl waits a little longer */

/* ---- files ---- */

int
keys_load(const char *path, struct key_set *set, char **error_r)
{
	char *why = NULL;
	struct buf text;
	struct stat st;
	int err;

	buf_init(&text);
	err = conf_read_secret(path, KEY_BYTES_MIN, KEYS_FILE_MAX, &text, error_r);
	if (!err && keys_parse(set, (const char *)text.data, text.len, &why)) {
		*error_r = xasprintf("%s: %s", path, why);
		err = -1;
	}
	if (!err && !set->keys[0].created_ms && stat(path, &st) == 0)
		set->keys[0].created_ms = (int64_t)st.st_mtime * 1000;
	if (text.data)
		explicit_bzero(text.data, text.len);
	buf_fini(&text);
	free(why);
	return err;
}

static int
write_all(int fd, const struct buf *text)
{
	if (fd < 0)
		return -1;
	if (write(fd, text->data, text->len) == (ssize_t)text->len && fsync(fd) == 0)
		return close(fd);
	close(fd);
	return -1;
}

/* A crash leaves the old file or the new one.  -1 with errno. */
static int
save(const struct master *m, const struct key_set *set)
{
	char *path = xasprintf("%s/token.keys", m->conf->state_dir);
	char *fresh = xasprintf("%s/token.keys.new", m->conf->state_dir);
	int err, saved_errno, dir;
	struct buf text;

	buf_init(&text);
	keys_format(&text, set);
	err = write_all(
	    open(fresh, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0600), &text);
	if (!err)
		err = rename(fresh, path);
	if (!err) {
		dir = open(m->conf->state_dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
		err = dir < 0 ? -1 : fsync(dir);
		if (dir >= 0)
			close(dir);
	}
	saved_errno = errno;
	explicit_bzero(text.data, text.len);
	buf_fini(&text);
	free(fresh);
	free(path);
	errno = saved_errno;
	return err;
}

static void
load_or_die(struct master *m, const char *path, const char *what)
{
	char *error;

	if (keys_load(path, &m->keys, &error))
		fatal(EX_NOPERM, "setup.bad_secret", "%s: %s", what, error);
}

void
setup_given_keys(struct master *m)
{
	if (*m->conf->accounts_key_file)
		load_or_die(m, m->conf->accounts_key_file, "accounts.key_file");
}

/* Palaver before 0.1.0 had one key in token.key, which is taken over. */
void
setup_own_keys(struct master *m)
{
	char *own, *before;

	if (m->keys.count)
		return;
	own = xasprintf("%s/token.keys", m->conf->state_dir);
	before = xasprintf("%s/token.key", m->conf->state_dir);
	if (access(own, F_OK) == 0) {
		load_or_die(m, own, "token.keys");
	} else {
		if (access(before, F_OK) == 0)
			load_or_die(m, before, "token.key");
		else
			keys_rotate(&m->keys, clock_wall_ms(), 0);
		if (save(m, &m->keys))
			fatal(EX_CANTCREAT, "setup.no_key", "file=%s err=%s", own, strerror(errno));
	}
	unlink(before); /* its key is in the other now */
	free(own);
	free(before);
}

/* ---- to workers ---- */

void
keys_send(struct proc *p)
{
	struct master *m = p->master;
	struct buf b;

	buf_init(&b);
	keys_pack(&b, &m->keys);
	imsg_send_buf(p->chan, CHAN_SECRET, m->keys_serial, &b);
	explicit_bzero(b.data, b.len);
	buf_fini(&b);
}

static void
send_to_all(struct master *m)
{
	m->keys_serial++;
	for (size_t i = 0; i < m->proc_count; i++)
		if (m->procs[i].role == PROC_WORKER && m->procs[i].chan)
			keys_send(&m->procs[i]);
}

static const struct proc *
first_without(const struct master *m)
{
	for (size_t i = 0; i < m->proc_count; i++) {
		const struct proc *p = &m->procs[i];

		if (p->role == PROC_WORKER && p->chan && p->keys_serial != m->keys_serial)
			return p;
	}
	return NULL;
}

static void
answer(struct master *m, const char *error)
{
	struct buf b;

	if (!m->keys_peer)
		return;
	buf_init(&b);
	if (error) {
		control_reply_error(m->keys_peer, "timeout", error, EX_TEMPFAIL);
	} else {
		buf_printf(&b, "{\"id\":\"%s\"}", m->keys.keys[0].id);
		control_reply_data(m->keys_peer, &b);
	}
	buf_fini(&b);
	m->keys_peer = NULL;
}

/* The second step, when the first is done everywhere. */
static void
go_on(struct master *m)
{
	if (!m->keys_pending || first_without(m))
		return;
	m->keys_pending = false;
	ev_timer_stop(loop_ev(), &m->keys_timeout);
	m->keys.signer = 0;
	send_to_all(m);
	log_info("keys.rotated", "kid=%s keys=%zu", m->keys.keys[0].id, m->keys.count);
	answer(m, NULL);
}

static void
late(struct ev_loop *l, ev_timer *t, int revents)
{
	struct master *m = t->data;
	const struct proc *p = first_without(m);
	char text[120];

	(void)l, (void)revents;
	snprintf(text, sizeof(text),
	    "worker %u does not take the new key; it signs as soon as all have it",
	    p ? p->slot : 0);
	log_warn("keys.late", "%s", text);
	answer(m, text);
}

/* The new keys are in m->keys already, with the signer of before. */
static void
distribute(struct master *m)
{
	m->keys_pending = true;
	ev_timer_stop(loop_ev(), &m->keys_timeout);
	ev_timer_init(&m->keys_timeout, late, TAKE_TIMEOUT_S, 0);
	m->keys_timeout.data = m;
	ev_timer_start(loop_ev(), &m->keys_timeout);
	send_to_all(m);
	go_on(m);
}

void
keys_taken(struct proc *p, uint32_t serial)
{
	p->keys_serial = serial;
	go_on(p->master);
}

void
keys_worker_gone(struct master *m)
{
	go_on(m);
}

/* ---- palaverctl, reload ---- */

void
keys_rotate_now(struct master *m, struct ctlsock_peer *peer)
{
	struct key_set fresh = m->keys;
	char *text = NULL;

	if (*m->conf->accounts_key_file) {
		control_reply_error(peer, "given_keys",
		    "the keys are in accounts.key_file: put a new line first there, then "
		    "palaverctl reload",
		    EX_UNAVAILABLE);
	} else if (m->keys_pending) {
		control_reply_error(peer, "busy", "a rotation is under way", EX_TEMPFAIL);
	} else if (keys_rotate(&fresh, clock_wall_ms(), m->conf->accounts_access_ttl + MARGIN_MS)) {
		control_reply_error(peer, "too_often",
		    "too many keys are in use; try again after accounts.access_ttl", EX_TEMPFAIL);
	} else if (save(m, &fresh)) {
		text = xasprintf(
		    "token.keys cannot be written: %s; nothing has changed", strerror(errno));
		log_error("keys.not_saved", "err=%s", strerror(errno));
		control_reply_error(peer, "not_saved", text, EX_CANTCREAT);
	} else {
		m->keys = fresh;
		m->keys.signer = 1;
		m->keys_peer = peer;
		distribute(m);
	}
	free(text);
	explicit_bzero(&fresh, sizeof(fresh));
}

void
keys_list(struct master *m, struct ctlsock_peer *peer)
{
	char created[CLOCK_TEXT_MAX];
	struct buf b;

	buf_init(&b);
	buf_puts(&b, "{\"keys\":[");
	for (size_t i = 0; i < m->keys.count; i++) {
		clock_format(m->keys.keys[i].created_ms, created);
		buf_printf(&b, "%s{\"id\":\"%s\",\"created_at\":\"%s\",\"signs\":%s}", i ? "," : "",
		    m->keys.keys[i].id, created, i == m->keys.signer ? "true" : "false");
	}
	buf_puts(&b, "]}");
	control_reply_data(peer, &b);
	buf_fini(&b);
}

static bool
same_keys(const struct key_set *a, const struct key_set *b)
{
	if (a->count != b->count)
		return false;
	for (size_t i = 0; i < a->count; i++) {
		const struct key *x = &a->keys[i], *y = &b->keys[i];

		if (strcmp(x->id, y->id) != 0 || x->len != y->len ||
		    memcmp(x->data, y->data, x->len) != 0)
			return false;
	}
	return true;
}

void
keys_reload(struct master *m, struct buf *errors)
{
	struct key_set fresh;
	char *error;
	int old;

	if (!*m->conf->accounts_key_file)
		return;
	if (keys_load(m->conf->accounts_key_file, &fresh, &error)) {
		log_error("keys.kept", "%s; the old keys stay", error);
		buf_printf(errors, "%s%s", errors->len ? "; " : "", error);
		free(error);
	} else if (!same_keys(&fresh, &m->keys)) {
		old = keys_find(&fresh, m->keys.keys[m->keys.signer].id);
		fresh.signer = old < 0 ? 0 : (size_t)old;
		m->keys = fresh;
		distribute(m);
	}
	explicit_bzero(&fresh, sizeof(fresh));
}
