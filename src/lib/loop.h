/* SPDX-License-Identifier: ISC */
/*
 * loop: the one event loop of a process.
 *
 * It is libev's default loop; modules use ev_io, ev_timer and friends on
 * loop_ev() directly.  This header adds what libev lacks: work that is to run
 * once at the end of the present turn (so that everything a turn produced for
 * a peer leaves in one system call), and the clocks.
 * Everything here belongs to the loop's thread, except the clocks.
 */
#ifndef PALAVER_LIB_LOOP_H
#define PALAVER_LIB_LOOP_H

#include <ev.h>
#include <stdbool.h>
#include <stdint.h>

void loop_init(void); /* ends the process if there can be no loop */
struct ev_loop *loop_ev(void);
void loop_run(void);  /* until loop_stop() */
void loop_stop(void); /* the present turn is finished */

struct loop_task {
	void (*run)(void *arg);
	void *arg;
	bool queued;
	struct loop_task *prev, *next;
};

/*
 * Runs task->run(task->arg) once before the loop next sleeps.  Deferring a
 * queued task does nothing.  The task is the caller's and must be cancelled
 * before its memory goes away.  A task may defer others and itself: those run
 * in the same turn's following round, before the loop sleeps.
 */
void loop_defer(struct loop_task *task);
void loop_cancel(struct loop_task *task);

int64_t clock_mono_ms(void); /* never jumps; for deadlines; any thread */
int64_t clock_mono_us(void); /* the same in microseconds */
int64_t clock_wall_ms(void); /* since 1970 UTC; may jump; for people; any thread */

#endif
