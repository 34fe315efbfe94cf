/* SPDX-License-Identifier: ISC */
/*
 * job: a small thread pool for what can only block.
 *
 * The loop thread submits; a pool thread runs work(); the loop thread then runs
 * done().  A job carries copies: work() touches nothing that the loop owns.
 */
#ifndef PALAVER_LIB_JOB_H
#define PALAVER_LIB_JOB_H

#include <stddef.h>

struct job_pool;

struct job_pool_opts {
	const char *name;     /* thread name, <= 15 characters */
	unsigned int threads; /* >= 1 */
	unsigned int queue;   /* jobs waiting at most; the submit after that is refused */
	/*
	 * Optional: made by each thread before its first job, handed to every work().
	 * thread_init may return NULL; it is then called again before the next job.
	 */
	void *(*thread_init)(void *arg);
	void (*thread_fini)(void *ctx);
	void *arg;
};

struct job_pool *job_pool_new(const struct job_pool_opts *opts);
/* Waits for running jobs; those still queued are not run, their done() is not called. */
void job_pool_free(struct job_pool **pool);

typedef void (*job_work_cb)(void *ctx, void *arg); /* pool thread */
typedef void (*job_done_cb)(void *arg);            /* loop thread */

/*
 * 0: work runs once on some thread, then done once on the loop, in that order.
 * -1: the queue is full and neither runs.
 */
int job_submit(struct job_pool *pool, job_work_cb work, job_done_cb done, void *arg);
size_t job_pool_waiting(const struct job_pool *pool); /* queued or running; loop thread */

#endif
