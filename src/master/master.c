/* SPDX-License-Identifier: ISC */
/*
 * master: the life of the tree.  Master process, loop thread.
 *
 * Signals only start what the loop does: TERM and INT stop, HUP reloads.
 * Stopping goes workers, then archiver, then hub, each told to finish what it has; a
 * second TERM or the deadline kills the rest.
 */
#include "master/master.h"

#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <sysexits.h>
#include <systemd/sd-daemon.h>
#include <unistd.h>

#include "lib/log.h"
#include "lib/loop.h"

#define DRAIN_MARGIN_MS 5000 /* for the archiver and the hub after the workers */

void
master_child_ready(struct master *m, struct proc *p)
{
	if (m->announced || m->stopping)
		return;
	for (size_t i = 0; i < m->proc_count; i++)
		if (m->procs[i].state != PROC_READY)
			return;
	m->announced = true;
	log_info("master.ready", "workers=%u address=%s startup_ms=%lld", m->workers,
	    m->addresses[0], (long long)(clock_mono_ms() - m->started_ms));
	sd_notifyf(0, "READY=1\nSTATUS=Serving on %s with %u workers", m->addresses[0], m->workers);
	setup_report(m, 0);
}

static void
stop_next(struct master *m)
{
	static const enum proc_role order[] = {PROC_WORKER, PROC_ARCHIVER, PROC_HUB};

	for (size_t i = 0; i < 3; i++) {
		if (!proc_role_gone(m, order[i])) {
			proc_drain_role(m, order[i]);
			return;
		}
	}
	loop_stop();
}

/* During the first start a child that knows why it cannot run decides for the tree. */
void
master_child_gone(struct master *m, struct proc *p, int status)
{
	if (m->stopping) {
		stop_next(m);
		return;
	}
	if (m->announced || p->was_ready || !WIFEXITED(status) || WEXITSTATUS(status) < EX__BASE)
		return;
	log_error("master.start_failed", "role=%s slot=%u status=%d", proc_role_name(p->role),
	    p->slot, WEXITSTATUS(status));
	m->exit_status = WEXITSTATUS(status);
	master_stop(m);
}

static void
drain_over(struct ev_loop *l, ev_timer *t, int revents)
{
	log_warn("master.drain_timeout", "killing what is left");
	proc_kill_all(t->data, SIGKILL);
}

void
master_stop(struct master *m)
{
	if (m->stopping) {
		proc_kill_all(m, SIGKILL);
		return;
	}
	m->stopping = true;
	log_info("master.stopping", "status=%d", m->exit_status);
	sd_notify(0, "STOPPING=1");
	ev_timer_init(
	    &m->drain, drain_over, (double)(m->conf->drain_timeout + DRAIN_MARGIN_MS) / 1000.0, 0);
	m->drain.data = m;
	ev_timer_start(loop_ev(), &m->drain);
	stop_next(m);
}

int
master_reload(struct master *m, char **text_r, char **errors_r)
{
	struct conf *fresh, *merged;
	struct buf kept, errors;
	char *error;

	*errors_r = NULL;
	fresh = conf_load(m->conf_path, &error);
	if (!fresh) {
		log_error("master.reload_failed", "%s; the old configuration stays", error);
		*text_r = error;
		return -1;
	}
	buf_init(&kept);
	merged = conf_merge_reload(m->conf, fresh, &kept);
	conf_free(&m->conf);
	conf_free(&fresh);
	m->conf = merged;
	log_set_level((enum log_level)log_level_parse(m->conf->log_level));
	buf_init(&errors);
	certs_reload(m, &errors);
	keys_reload(m, &errors);
	proc_reload_all(m);
	log_info("master.reloaded", "wants_restart=%s", log_quote(buf_cstr(&kept)));
	*text_r = buf_steal(&kept);
	if (errors.len)
		*errors_r = buf_steal(&errors);
	buf_fini(&errors);
	return 0;
}

/* ---- signals ---- */

static void
on_stop_signal(struct ev_loop *l, ev_signal *w, int revents)
{
	log_info("master.signal", "signal=%d", w->signum);
	master_stop(w->data);
}

static void
on_hup(struct ev_loop *l, ev_signal *w, int revents)
{
	char *text, *errors;

	/* systemd 252 has no Type=notify-reload; it ignores MONOTONIC_USEC's absence. */
	sd_notify(0, "RELOADING=1");
	master_reload(w->data, &text, &errors);
	sd_notify(0, "READY=1");
	free(text);
	free(errors);
}

static void
watch_signal(
    struct master *m, ev_signal *w, int signum, void (*cb)(struct ev_loop *, ev_signal *, int))
{
	ev_signal_init(w, cb, signum);
	w->data = m;
	ev_signal_start(loop_ev(), w);
}

int
master_run(struct master *m)
{
	signal(SIGPIPE, SIG_IGN);
	watch_signal(m, &m->sig_term, SIGTERM, on_stop_signal);
	watch_signal(m, &m->sig_int, SIGINT, on_stop_signal);
	watch_signal(m, &m->sig_hup, SIGHUP, on_hup);
	proc_start_all(m);
	loop_run();
	control_close(m);
	setup_report(m, m->exit_status);
	unlink(m->pid_path);
	log_info("master.stopped", "status=%d", m->exit_status);
	return m->exit_status;
}
