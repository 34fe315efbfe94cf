/* SPDX-License-Identifier: ISC */
/* loop, job, imsg: what runs on the loop, and when. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "lib/imsg.h"
#include "lib/job.h"
#include "lib/loop.h"
#include "lib/pack.h"

/* ---- end-of-turn tasks ---- */

static int runs;
static struct loop_task counting, again;

static void
count(void *arg)
{
	runs++;
}

static void
defer_other_then_stop(void *arg)
{
	loop_defer(&counting);
	loop_stop();
}

static void
a_task_runs_once_however_often_it_is_deferred(void **state)
{
	runs = 0;
	counting = (struct loop_task){.run = count};
	again = (struct loop_task){.run = defer_other_then_stop};
	loop_defer(&counting);
	loop_defer(&counting);
	loop_defer(&again);
	loop_run();
	assert_int_equal(runs, 2); /* once at first, once when the other task deferred it */
}

static void
a_cancelled_task_does_not_run(void **state)
{
	struct loop_task stop = {.run = defer_other_then_stop};

	runs = 0;
	counting = (struct loop_task){.run = count};
	loop_defer(&stop);
	loop_defer(&counting);
	loop_cancel(&counting);
	loop_run();
	assert_int_equal(runs, 1);
}

/* ---- jobs ---- */

struct sum {
	int in, out;
	int *left;
};

static void
square(void *ctx, void *arg)
{
	struct sum *s = arg;

	s->out = s->in * s->in + *(int *)ctx;
}

static void
squared(void *arg)
{
	struct sum *s = arg;

	if (--*s->left == 0)
		loop_stop();
}

static void *
make_ctx(void *arg)
{
	int *one = malloc(sizeof(*one));

	*one = 1;
	return one;
}

static void
jobs_run_once_and_call_back_on_the_loop(void **state)
{
	struct job_pool_opts opts = {.name = "test", .threads = 3, .queue = 1000,
	    .thread_init = make_ctx, .thread_fini = free};
	struct job_pool *p = job_pool_new(&opts);
	struct sum sums[500];
	int left = 500;

	for (int i = 0; i < 500; i++) {
		sums[i] = (struct sum){i, 0, &left};
		assert_int_equal(job_submit(p, square, squared, &sums[i]), 0);
	}
	loop_run();
	for (int i = 0; i < 500; i++)
		assert_int_equal(sums[i].out, i * i + 1);
	assert_int_equal(job_pool_waiting(p), 0);
	job_pool_free(&p);
}

static int gate[2];

static void
wait_for_gate(void *ctx, void *arg)
{
	char c;

	if (read(gate[0], &c, 1) != 1)
		abort();
}

static void
a_full_queue_refuses(void **state)
{
	struct job_pool_opts opts = {.name = "test", .threads = 1, .queue = 2};
	struct job_pool *p;
	struct sum s[4];
	int left, taken = 0;

	assert_int_equal(pipe(gate), 0);
	p = job_pool_new(&opts);
	for (int i = 0; i < 4; i++) {
		s[i] = (struct sum){0, 0, &left};
		if (job_submit(p, wait_for_gate, squared, &s[i]) == 0)
			taken++;
	}
	assert_in_range(taken, 2, 3); /* one may be on the thread already */
	left = taken;
	assert_int_equal(write(gate[1], "....", 4), 4);
	loop_run();
	assert_int_equal(left, 0);
	job_pool_free(&p);
	close(gate[0]);
	close(gate[1]);
}

/* ---- channels ---- */

struct side {
	struct imsg_chan *chan;
	int got, fds, closed;
	size_t bytes;
	int until; /* stops the loop after so many messages */
	ino_t inodes[3];
};

static void
on_message(void *arg, struct imsg *m)
{
	struct side *s = arg;
	struct stat st;

	assert_int_equal(m->id, s->got);
	assert_int_equal(m->type, 7);
	for (size_t i = 0; i < m->len; i++)
		assert_int_equal(m->data[i], (uint8_t)(m->id + i));
	if (m->fd >= 0) {
		assert_int_equal(fstat(m->fd, &st), 0);
		s->inodes[s->fds++] = st.st_ino;
	}
	s->bytes += m->len;
	if (++s->got == s->until)
		loop_stop();
}

static void
on_closed(void *arg)
{
	struct side *s = arg;

	s->closed++;
	imsg_chan_free(&s->chan);
	loop_stop();
}

static const struct imsg_handler handler = {on_message, on_closed};

static void
send_pattern(struct imsg_chan *c, uint32_t id, size_t len, int fd)
{
	uint8_t *p = malloc(len + 1);

	for (size_t i = 0; i < len; i++)
		p[i] = (uint8_t)(id + i);
	imsg_send(c, 7, id, fd, p, len);
	free(p);
}

static void
messages_and_descriptors_arrive_in_order(void **state)
{
	struct side a = {0}, b = {.until = 60};
	ino_t sent[3];
	struct stat st;
	int sv[2], n = 0;
	size_t bytes = 0;

	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, sv), 0);
	a.chan = imsg_chan_new(sv[0], &handler, &a);
	b.chan = imsg_chan_new(sv[1], &handler, &b);
	for (uint32_t i = 0; i < 60; i++) {
		size_t len = i % 7 == 3 ? 300000 : i * 10; /* more than the socket holds */
		int fd = -1;

		if (i % 20 == 10) {
			FILE *f = tmpfile();

			fd = dup(fileno(f));
			fclose(f);
			fstat(fd, &st);
			sent[n++] = st.st_ino;
		}
		send_pattern(a.chan, i, len, fd);
		bytes += len;
	}
	loop_run();
	assert_int_equal(b.got, 60);
	assert_int_equal(b.bytes, bytes);
	assert_int_equal(b.fds, 3);
	for (int i = 0; i < 3; i++)
		assert_true(b.inodes[i] == sent[i]);
	imsg_chan_free(&a.chan);
	loop_run(); /* b sees the end */
	assert_int_equal(b.closed, 1);
	assert_null(b.chan);
}

static void
rubbish_ends_the_channel(void **state)
{
	uint8_t junk[32];
	struct side b = {0};
	int sv[2];

	memset(junk, 0xff, sizeof(junk));
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, sv), 0);
	b.chan = imsg_chan_new(sv[1], &handler, &b);
	assert_int_equal(write(sv[0], junk, sizeof(junk)), sizeof(junk));
	loop_run();
	assert_int_equal(b.closed, 1);
	assert_int_equal(b.got, 0);
	close(sv[0]);
}

static void
flush_sends_without_the_loop(void **state)
{
	struct side a = {0}, b = {.until = 3};
	int sv[2];

	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, sv), 0);
	a.chan = imsg_chan_new(sv[0], &handler, &a);
	for (uint32_t i = 0; i < 3; i++)
		send_pattern(a.chan, i, 100, -1);
	assert_int_equal(imsg_pending(a.chan), 3 * 116);
	imsg_flush(a.chan, 1000);
	assert_int_equal(imsg_pending(a.chan), 0);
	imsg_chan_free(&a.chan);
	b.chan = imsg_chan_new(sv[1], &handler, &b);
	loop_run();
	assert_int_equal(b.got, 3);
	if (b.chan)
		imsg_chan_free(&b.chan);
}

static int
setup(void **state)
{
	loop_init();
	return 0;
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(a_task_runs_once_however_often_it_is_deferred),
	    cmocka_unit_test(a_cancelled_task_does_not_run),
	    cmocka_unit_test(jobs_run_once_and_call_back_on_the_loop),
	    cmocka_unit_test(a_full_queue_refuses),
	    cmocka_unit_test(messages_and_descriptors_arrive_in_order),
	    cmocka_unit_test(rubbish_ends_the_channel),
	    cmocka_unit_test(flush_sends_without_the_loop),
	};

	cmocka_set_message_output(CM_OUTPUT_TAP);
	return cmocka_run_group_tests(tests, setup, NULL);
}
