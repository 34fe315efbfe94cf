/* SPDX-License-Identifier: ISC */
/*
 * job: a pool of threads in front of one queue.  The loop thread submits and runs
 * done(); pool threads run work().
 *
 * Invariant: a job is on exactly one of: waiting list, a thread, finished list.
 * Both lists are under one lock; the finished list is announced by ev_async.
 */
#include "lib/job.h"

#include <pthread.h>
#include <signal.h>
#include <stdbool.h>
#include <stdlib.h>
#include <utlist.h>

#include "lib/buf.h"
#include "lib/log.h"
#include "lib/loop.h"

struct job {
	job_work_cb work;
	job_done_cb done;
	void *arg;
	struct job *prev, *next;
};

struct job_pool {
	struct job_pool_opts opts;
	char name[16];
	pthread_t *threads;
	pthread_mutex_t lock;
	pthread_cond_t wake;
	struct job *waiting, *finished; /* under lock */
	unsigned int waiting_count;     /* under lock */
	bool stop;                      /* under lock */
	size_t unfinished;              /* loop thread: submitted, done() not run */
	ev_async finished_async;
};

static struct job *
next_job(struct job_pool *p)
{
	struct job *j = NULL;

	pthread_mutex_lock(&p->lock);
	while (!p->waiting && !p->stop)
		pthread_cond_wait(&p->wake, &p->lock);
	if (!p->stop) {
		j = p->waiting;
		DL_DELETE(p->waiting, j);
		p->waiting_count--;
	}
	pthread_mutex_unlock(&p->lock);
	return j;
}

static void *
thread_main(void *arg)
{
	struct job_pool *p = arg;
	void *ctx = NULL;
	struct job *j;

	pthread_setname_np(pthread_self(), p->name);
	while ((j = next_job(p))) {
		if (!ctx && p->opts.thread_init)
			ctx = p->opts.thread_init(p->opts.arg);
		j->work(ctx, j->arg);
		pthread_mutex_lock(&p->lock);
		DL_APPEND(p->finished, j);
		pthread_mutex_unlock(&p->lock);
		ev_async_send(loop_ev(), &p->finished_async);
	}
	if (ctx && p->opts.thread_fini)
		p->opts.thread_fini(ctx);
	return NULL;
}

static void
run_finished(struct ev_loop *l, ev_async *w, int revents)
{
	struct job_pool *p = w->data;
	struct job *list, *j, *tmp;

	(void)l, (void)revents;
	pthread_mutex_lock(&p->lock);
	list = p->finished;
	p->finished = NULL;
	pthread_mutex_unlock(&p->lock);
	DL_FOREACH_SAFE (list, j, tmp) {
		p->unfinished--;
		j->done(j->arg);
		free(j);
	}
}

/* Signals are the loop thread's affair. */
static void
start_thread(struct job_pool *p, unsigned int i)
{
	sigset_t all, old;
	int err;

	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &old);
	err = pthread_create(&p->threads[i], NULL, thread_main, p);
	pthread_sigmask(SIG_SETMASK, &old, NULL);
	if (err)
		fatal(71, "job.no_thread",
		    "pool=%s err=%d; raise the limit on processes (ulimit -u)", p->name, err);
}

struct job_pool *
job_pool_new(const struct job_pool_opts *opts)
{
	struct job_pool *p = xcalloc(1, sizeof(*p));

	p->opts = *opts;
	str_copy(p->name, sizeof(p->name), opts->name);
	pthread_mutex_init(&p->lock, NULL);
	pthread_cond_init(&p->wake, NULL);
	ev_async_init(&p->finished_async, run_finished);
	p->finished_async.data = p;
	ev_async_start(loop_ev(), &p->finished_async);
	p->threads = xcalloc(opts->threads, sizeof(*p->threads));
	for (unsigned int i = 0; i < opts->threads; i++)
		start_thread(p, i);
	return p;
}

void
job_pool_free(struct job_pool **pp)
{
	struct job_pool *p = *pp;
	struct job *j, *tmp;

	*pp = NULL;
	if (!p)
		return;
	pthread_mutex_lock(&p->lock);
	p->stop = true;
	pthread_cond_broadcast(&p->wake);
	pthread_mutex_unlock(&p->lock);
	for (unsigned int i = 0; i < p->opts.threads; i++)
		pthread_join(p->threads[i], NULL);
	ev_async_stop(loop_ev(), &p->finished_async);
	DL_CONCAT(p->waiting, p->finished);
	DL_FOREACH_SAFE (p->waiting, j, tmp)
		free(j);
	pthread_cond_destroy(&p->wake);
	pthread_mutex_destroy(&p->lock);
	free(p->threads);
	free(p);
}

int
job_submit(struct job_pool *p, job_work_cb work, job_done_cb done, void *arg)
{
	struct job *j = xcalloc(1, sizeof(*j));
	bool full;

	j->work = work;
	j->done = done;
	j->arg = arg;
	pthread_mutex_lock(&p->lock);
	full = p->waiting_count >= p->opts.queue;
	if (!full) {
		DL_APPEND(p->waiting, j);
		p->waiting_count++;
		pthread_cond_signal(&p->wake);
	}
	pthread_mutex_unlock(&p->lock);
	if (full) {
		free(j);
		return -1;
	}
	p->unfinished++;
	return 0;
}

size_t
job_pool_waiting(const struct job_pool *p)
{
	return p->unfinished;
}
