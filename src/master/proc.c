/* SPDX-License-Identifier: ISC */
/*
 * proc: starting, watching and restarting the children.  Master process, loop thread.
 *
 * A child is this same binary, executed again from /proc/self/exe (so old and new
 * never mix when the file was replaced), with its channel on descriptor 3 and
 * "palaverd: ROLE SLOT" as argv[0].  All other descriptors but stderr and the state
 * lock are close-on-exec.
 *
 * Restart: at once if it lived HEALTHY_MS, else after 1 s, doubled up to 60 s.  While a
 * worker's slot waits, a neighbour accepts from its listeners.
 */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <sysexits.h>
#include <unistd.h>

#include "lib/address.h"
#include "lib/child.h"
#include "lib/log.h"
#include "lib/loop.h"
#include "master/master.h"

#define HEALTHY_MS     10000
#define BACKOFF_MIN_MS 1000
#define BACKOFF_MAX_MS 60000

static void proc_start(struct proc *p);
static void proc_gone(struct proc *p, int status);

const char *
proc_role_name(enum proc_role role)
{
	static const char *const names[] = {"hub", "archiver", "worker"};

	return names[role];
}

const char *
proc_state_name(enum proc_state state)
{
	static const char *const names[] = {"down", "starting", "ready", "draining"};

	return names[state];
}

bool
proc_can_be_asked(const struct proc *p)
{
	/* one that has just died has no channel before SIGCHLD */
	return p->role == PROC_WORKER && p->state == PROC_READY && p->chan;
}

struct proc *
proc_any_worker(struct master *m)
{
	for (size_t i = 0; i < m->proc_count; i++)
		if (proc_can_be_asked(&m->procs[i]))
			return &m->procs[i];
	return NULL;
}

/* ---- what a child needs ---- */

static void
send_conf(struct proc *p)
{
	struct master *m = p->master;
	struct buf b;

	buf_init(&b);
	pack_u32(&b, p->slot);
	pack_u32(&b, m->workers);
	pack_str(&b, m->to_syslog ? "syslog" : "stderr");
	conf_pack(&b, m->conf);
	imsg_send_buf(p->chan, CHAN_CONF, 0, &b);
	buf_fini(&b);
}

static void
send_certificates(struct proc *p)
{
	struct master *m = p->master;

	for (size_t i = 0; i < m->conf->listen_count; i++) {
		const struct certificate *c = &m->certificates[i];
		struct buf b;

		if (!c->chain.len)
			continue;
		buf_init(&b);
		pack_u32(&b, (uint32_t)i);
		pack_bytes(&b, c->chain.data, c->chain.len);
		pack_bytes(&b, c->key.data, c->key.len);
		pack_bytes(&b, m->ticket_key, sizeof(m->ticket_key));
		imsg_send_buf(p->chan, CHAN_TLS, 0, &b);
		explicit_bzero(b.data, b.len);
		buf_fini(&b);
	}
}

static void
send_addresses(struct proc *p)
{
	int fd = fcntl(p->master->addresses_fd, F_DUPFD_CLOEXEC, 0);

	if (fd >= 0)
		imsg_send(p->chan, CHAN_ADDRESSES, 0, fd, NULL, 0);
}

/* Lets `to` accept from the listeners of a slot, its own or a neighbour's. */
static void
send_listeners(struct proc *to, unsigned int slot)
{
	struct master *m = to->master;

	for (size_t i = 0; i < m->conf->listen_count; i++) {
		int fd = fcntl(m->listeners[slot].fds[i], F_DUPFD_CLOEXEC, 0);
		struct buf b;

		if (fd < 0) {
			log_error("proc.no_descriptor", "err=%s", strerror(errno));
			continue;
		}
		buf_init(&b);
		pack_u32(&b, slot);
		pack_u32(&b, (uint32_t)i);
		pack_str(&b, m->addresses[i]);
		imsg_send(to->chan, CHAN_LISTENER, 0, fd, b.data, b.len);
		buf_fini(&b);
	}
}

/* A new pair of sockets between the hub and p. */
static void
connect_to_hub(struct proc *p)
{
	struct proc *hub = &p->master->procs[0];
	uint32_t peer = p->role == PROC_WORKER ? p->slot : CHAN_PEER_ARCHIVER;
	struct buf b;
	int sv[2];

	if (!hub->chan || !p->chan)
		return; /* whoever comes later makes the connection */
	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, sv) < 0) {
		log_error("proc.no_socketpair", "err=%s", strerror(errno));
		return;
	}
	buf_init(&b);
	pack_u32(&b, peer);
	imsg_send(hub->chan, CHAN_HUB, 0, sv[0], b.data, b.len);
	imsg_send(p->chan, CHAN_HUB, 0, sv[1], NULL, 0);
	buf_fini(&b);
}

static void
introduce(struct proc *p)
{
	struct master *m = p->master;

	send_conf(p);
	if (p->role == PROC_WORKER) {
		send_addresses(p); /* before the secret, with which the worker opens */
		keys_send(p);
		send_certificates(p);
	}
	if (p->role == PROC_HUB)
		for (size_t i = 1; i < m->proc_count; i++)
			connect_to_hub(&m->procs[i]);
	else
		connect_to_hub(p);
	if (p->role == PROC_WORKER)
		send_listeners(p, p->slot);
}

/* ---- neighbours ---- */

static void
serve_by_neighbour(struct proc *p)
{
	struct proc *n;

	if (p->role != PROC_WORKER || p->served_by || p->master->stopping)
		return;
	n = proc_any_worker(p->master);
	if (!n)
		return;
	log_info("proc.lent", "slot=%u to=%u", p->slot, n->slot);
	send_listeners(n, p->slot);
	p->served_by = n;
}

static void
take_back(struct proc *p)
{
	struct buf b;

	if (!p->served_by)
		return;
	buf_init(&b);
	pack_u32(&b, p->slot);
	if (p->served_by->chan)
		imsg_send_buf(p->served_by->chan, CHAN_UNLISTEN, 0, &b);
	buf_fini(&b);
	p->served_by = NULL;
}

/* The neighbour itself died: what it had lent from others is nobody's now. */
static void
pass_on(struct proc *dead)
{
	struct master *m = dead->master;

	for (size_t i = 0; i < m->proc_count; i++) {
		if (m->procs[i].served_by != dead)
			continue;
		m->procs[i].served_by = NULL;
		serve_by_neighbour(&m->procs[i]);
	}
}

/* ---- channel ---- */

static void
on_message(void *arg, struct imsg *msg)
{
	struct proc *p = arg;

	switch (msg->type) {
	case CHAN_READY:
		p->state = PROC_READY;
		p->was_ready = true;
		log_info("proc.ready", "role=%s slot=%u pid=%d", proc_role_name(p->role), p->slot,
		    (int)p->pid);
		take_back(p);
		master_child_ready(p->master, p);
		break;
	case CHAN_CTL_REPLY:
		control_reply_from_worker(p->master, msg);
		break;
	case CHAN_SECRET_TAKEN:
		keys_taken(p, msg->id);
		break;
	case CHAN_DRAINING:
		break;
	default:
		log_warn("proc.unknown_message", "type=%u pid=%d", msg->type, (int)p->pid);
	}
}

/* It is dying; SIGCHLD says the rest. */
static void
on_closed(void *arg)
{
	struct proc *p = arg;

	imsg_chan_free(&p->chan);
}

static const struct imsg_handler handler = {on_message, on_closed};

/* ---- start ---- */

static void
child_exec(const struct proc *p, int fd)
{
	char title[64];
	char *argv[] = {title, NULL};
	sigset_t none;

	snprintf(title, sizeof(title), p->role == PROC_WORKER ? "palaverd: %s %u" : "palaverd: %s",
	    proc_role_name(p->role), p->slot);
	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
	if (fd == CHILD_FD)
		fcntl(fd, F_SETFD, 0);
	else
		dup2(fd, CHILD_FD);
	execv("/proc/self/exe", argv);
	fatal(EX_OSERR, "proc.no_exec", "err=%s; is /proc mounted?", strerror(errno));
}

/* libev's default loop reaps; this is how it tells. */
static void
reaped(struct ev_loop *l, ev_child *w, int revents)
{
	ev_child_stop(l, w);
	proc_gone(w->data, w->rstatus);
}

static void
proc_start(struct proc *p)
{
	int sv[2];

	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, sv) < 0)
		fatal(EX_OSERR, "proc.no_socketpair", "err=%s", strerror(errno));
	p->pid = fork();
	if (p->pid < 0)
		fatal(EX_OSERR, "proc.no_fork", "err=%s; raise TasksMax or ulimit -u",
		    strerror(errno));
	if (p->pid == 0)
		child_exec(p, sv[1]);
	close(sv[1]);
	ev_child_init(&p->watch, reaped, p->pid, 0);
	p->watch.data = p;
	ev_child_start(loop_ev(), &p->watch);
	p->generation++;
	p->keys_serial = 0;
	p->state = PROC_STARTING;
	p->started_ms = clock_mono_ms();
	p->chan = imsg_chan_new(sv[0], &handler, p);
	log_info("proc.start", "role=%s slot=%u pid=%d generation=%u", proc_role_name(p->role),
	    p->slot, (int)p->pid, p->generation);
	introduce(p);
}

static void
restart_due(struct ev_loop *l, ev_timer *t, int revents)
{
	struct proc *p = t->data;

	if (!p->master->stopping)
		proc_start(p);
}

static void
proc_init(struct master *m, enum proc_role role, unsigned int slot)
{
	struct proc *p = &m->procs[m->proc_count++];

	p->master = m;
	p->role = role;
	p->slot = slot;
	ev_init(&p->restart, restart_due);
	p->restart.data = p;
}

void
proc_init_all(struct master *m)
{
	m->procs = xcalloc(2 + m->workers, sizeof(*m->procs));
	proc_init(m, PROC_HUB, 0);
	proc_init(m, PROC_ARCHIVER, 0);
	for (unsigned int i = 0; i < m->workers; i++)
		proc_init(m, PROC_WORKER, i);
}

void
proc_start_all(struct master *m)
{
	for (size_t i = 0; i < m->proc_count; i++)
		proc_start(&m->procs[i]);
}

/* ---- end ---- */

static void
log_exit(const struct proc *p, int status, int64_t lived)
{
	if (WIFSIGNALED(status))
		log_warn("proc.killed", "role=%s slot=%u pid=%d signal=%d lived_ms=%lld",
		    proc_role_name(p->role), p->slot, (int)p->pid, WTERMSIG(status),
		    (long long)lived);
	else
		log_info("proc.exit", "role=%s slot=%u pid=%d status=%d lived_ms=%lld",
		    proc_role_name(p->role), p->slot, (int)p->pid, WEXITSTATUS(status),
		    (long long)lived);
}

static void
schedule_restart(struct proc *p, int64_t lived)
{
	if (p->was_ready && lived >= HEALTHY_MS)
		p->backoff_ms = 0;
	p->restarts++;
	if (!p->backoff_ms && lived >= HEALTHY_MS) {
		proc_start(p);
		return;
	}
	p->backoff_ms = p->backoff_ms ? p->backoff_ms * 2 : BACKOFF_MIN_MS;
	if (p->backoff_ms > BACKOFF_MAX_MS)
		p->backoff_ms = BACKOFF_MAX_MS;
	log_info("proc.backoff", "role=%s slot=%u wait_ms=%lld", proc_role_name(p->role), p->slot,
	    (long long)p->backoff_ms);
	ev_timer_stop(loop_ev(), &p->restart);
	ev_timer_set(&p->restart, (double)p->backoff_ms / 1000.0, 0);
	ev_timer_start(loop_ev(), &p->restart);
	serve_by_neighbour(p);
}

static void
proc_gone(struct proc *p, int status)
{
	int64_t lived = clock_mono_ms() - p->started_ms;

	log_exit(p, status, lived);
	imsg_chan_free(&p->chan);
	control_worker_gone(p->master, p);
	keys_worker_gone(p->master);
	p->pid = 0;
	p->state = PROC_DOWN;
	if (p->role == PROC_WORKER)
		address_table_clear(p->master->address_counts, p->slot);
	pass_on(p);
	master_child_gone(p->master, p, status);
	if (!p->master->stopping)
		schedule_restart(p, lived);
}

void
proc_drain_role(struct master *m, enum proc_role role)
{
	for (size_t i = 0; i < m->proc_count; i++) {
		struct proc *p = &m->procs[i];

		ev_timer_stop(loop_ev(), &p->restart);
		if (p->role != role || !p->chan || p->state == PROC_DRAINING)
			continue;
		p->state = PROC_DRAINING;
		imsg_send(p->chan, CHAN_DRAIN, 0, -1, NULL, 0);
	}
}

bool
proc_role_gone(const struct master *m, enum proc_role role)
{
	for (size_t i = 0; i < m->proc_count; i++)
		if (m->procs[i].role == role && m->procs[i].pid)
			return false;
	return true;
}

void
proc_kill_all(struct master *m, int sig)
{
	for (size_t i = 0; i < m->proc_count; i++)
		if (m->procs[i].pid)
			kill(m->procs[i].pid, sig);
}

void
proc_reload_all(struct master *m)
{
	struct buf b;

	buf_init(&b);
	conf_pack(&b, m->conf);
	for (size_t i = 0; i < m->proc_count; i++) {
		if (!m->procs[i].chan)
			continue;
		imsg_send_buf(m->procs[i].chan, CHAN_RELOAD, 0, &b);
		if (m->procs[i].role == PROC_WORKER)
			send_certificates(&m->procs[i]);
	}
	buf_fini(&b);
}
