/* SPDX-License-Identifier: ISC */
/*
 * loop: libev's default loop with end-of-turn tasks.  One a process, loop thread.
 *
 * Deferred tasks run from an ev_prepare of the lowest priority, which is the last
 * thing before libev sleeps.  Tasks that come up while tasks run are run in the
 * same pass.
 */
#include "lib/loop.h"

#include <utlist.h>

#include "lib/log.h"

static struct ev_loop *ev;
static ev_prepare before_sleep;
static struct loop_task *tasks;

static void
run_tasks(struct ev_loop *l, ev_prepare *w, int revents)
{
	(void)l, (void)w, (void)revents;
	while (tasks) {
		struct loop_task *t = tasks;

		DL_DELETE(tasks, t);
		t->queued = false;
		t->run(t->arg);
	}
}

void
loop_init(void)
{
	if (ev)
		return;
	ev = ev_default_loop(EVFLAG_NOENV);
	if (!ev)
		fatal(71, "loop.failed", "libev has no usable back end (epoll); check ulimit -n");
	ev_prepare_init(&before_sleep, run_tasks);
	ev_set_priority(&before_sleep, EV_MINPRI);
	ev_prepare_start(ev, &before_sleep);
	ev_unref(ev); /* does not keep the loop alive */
}

struct ev_loop *
loop_ev(void)
{
	return ev;
}

void
loop_run(void)
{
	ev_run(ev, 0);
	run_tasks(ev, NULL, 0);
}

void
loop_stop(void)
{
	ev_break(ev, EVBREAK_ALL);
}

void
loop_defer(struct loop_task *task)
{
	if (task->queued)
		return;
	task->queued = true;
	DL_APPEND(tasks, task);
}

void
loop_cancel(struct loop_task *task)
{
	if (!task->queued)
		return;
	DL_DELETE(tasks, task);
	task->queued = false;
}
