/* SPDX-License-Identifier: ISC */
/*
 * Tests of lib/ctlsock: the server runs on the loop of the main thread, the client blocks
 * in a thread of its own (or a process, where another user is needed).
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <errno.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "lib/ctlsock.h"
#include "lib/loop.h"

static char dir[64], path[96];
static struct ctlsock *server;
static struct ctlsock_peer *held; /* of a "hold" request: not answered yet */
static unsigned int requests;

static void
on_request(void *arg, struct ctlsock_peer *peer, const char *line, size_t len)
{
	requests++;
	assert_int_equal(strlen(line), len);
	if (strcmp(line, "\"hold\"") == 0)
		held = peer;
	else
		ctlsock_reply(peer, line, len);
}

static int
setup(void **state)
{
	strcpy(dir, "/tmp/palaver-ctlsock-XXXXXX");
	if (!mkdtemp(dir))
		return -1;
	snprintf(path, sizeof(path), "%s/s", dir);
	requests = 0;
	held = NULL;
	server = ctlsock_listen(path, on_request, NULL);
	return server ? 0 : -1;
}

static int
teardown(void **state)
{
	ctlsock_close(&server);
	return rmdir(dir); /* fails if the socket was left behind */
}

/* ---- a client thread; the loop runs until it has returned ---- */

static ev_async finished;

struct client {
	void (*run)(void);
};

static void
on_finished(struct ev_loop *l, ev_async *w, int revents)
{
	loop_stop();
}

static void *
client_thread(void *arg)
{
	struct client *c = arg;

	c->run();
	ev_async_send(loop_ev(), &finished);
	return NULL;
}

static void
serve(void (*run)(void))
{
	struct client c = {run};
	pthread_t t;

	ev_async_init(&finished, on_finished);
	ev_async_start(loop_ev(), &finished);
	assert_int_equal(pthread_create(&t, NULL, client_thread, &c), 0);
	loop_run();
	pthread_join(t, NULL);
	ev_async_stop(loop_ev(), &finished);
}

/* What the thread found out; looked at after serve(). */
static int result, result_errno;
static struct buf answer;

static void
call_twice(void)
{
	int fd = ctlsock_connect(path);

	result = ctlsock_call(fd, "{\"a\":1}", 7, 5000, &answer);
	buf_fini(&answer);
	result |= ctlsock_call(fd, "{\"b\":2}", 7, 5000, &answer);
	close(fd);
}

static void
test_calls_on_one_connection(void **state)
{
	serve(call_twice);
	assert_int_equal(result, 0);
	assert_string_equal(buf_cstr(&answer), "{\"b\":2}");
	assert_int_equal(requests, 2);
	buf_fini(&answer);
}

#define MANY 60000

static void
send_many_lines(void)
{
	int fd = ctlsock_connect(path);
	char *lines = malloc(MANY), got[4096];
	ssize_t n = 0;

	memset(lines, '\n', MANY);
	result = 0;
	if (send(fd, lines, MANY, MSG_NOSIGNAL) == MANY)
		while (result < MANY && (n = recv(fd, got, sizeof(got), 0)) > 0)
			result += (int)n;
	free(lines);
	close(fd);
}

/* Each answer used to call the next request from inside: the stack overflowed. */
static void
test_many_lines_at_once_do_not_nest(void **state)
{
	serve(send_many_lines);
	assert_int_equal(result, MANY);
	assert_int_equal(requests, MANY);
}

static void
call_too_long(void)
{
	size_t len = CTLSOCK_LINE_MAX + 200000;
	char *line = malloc(len);
	int fd = ctlsock_connect(path);

	memset(line, 'x', len);
	result = ctlsock_call(fd, line, len, 5000, &answer);
	result_errno = errno;
	free(line);
	close(fd);
}

static void
test_too_long_a_line_ends_the_connection(void **state)
{
	serve(call_too_long);
	assert_int_equal(result, -1);
	assert_int_equal(result_errno, ECONNRESET);
	assert_int_equal(requests, 0);
	buf_fini(&answer);
}

static void
call_without_answer(void)
{
	int fd = ctlsock_connect(path);

	result = ctlsock_call(fd, "\"hold\"", 6, 100, &answer);
	result_errno = errno;
	close(fd);
}

static void
test_client_times_out_and_late_answer_is_harmless(void **state)
{
	serve(call_without_answer);
	assert_int_equal(result, -1);
	assert_int_equal(result_errno, ETIMEDOUT);
	assert_non_null(held);
	ctlsock_reply(held, "{}", 2);
	buf_fini(&answer);
}

static void
test_answer_after_the_socket_was_closed(void **state)
{
	serve(call_without_answer);
	ctlsock_close(&server);
	assert_int_equal(access(path, F_OK), -1);
	ctlsock_reply(held, "{}", 2);
	buf_fini(&answer);
}

static void
call_as_nobody(void)
{
	pid_t pid = fork();
	int status = 0;

	if (pid == 0) {
		struct buf b = {0};
		int fd;

		if (setgid(65534) < 0 || setuid(65534) < 0 || (fd = ctlsock_connect(path)) < 0)
			_exit(1);
		if (ctlsock_call(fd, "{}", 2, 5000, &b) < 0)
			_exit(2);
		_exit(strstr(buf_cstr(&b), "\"forbidden\"") ? 0 : 3);
	}
	waitpid(pid, &status, 0);
	result = status;
}

static void
test_another_user_is_refused(void **state)
{
	if (geteuid() != 0)
		skip();
	/* Past the file modes, so that SO_PEERCRED alone decides. */
	assert_int_equal(chmod(dir, 0755), 0);
	assert_int_equal(chmod(path, 0666), 0);
	serve(call_as_nobody);
	assert_int_equal(result, 0);
	assert_int_equal(requests, 0);
}

static void
test_nobody_there(void **state)
{
	assert_int_equal(ctlsock_connect("/nonexistent/socket"), -1);
	assert_int_equal(errno, ENOENT);
}

static void
test_socket_is_for_owner_and_group(void **state)
{
	struct stat st;

	assert_int_equal(stat(path, &st), 0);
	assert_int_equal(st.st_mode & 0777, 0660);
}

int
main(void)
{
#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
	const struct CMUnitTest tests[] = {
	    T(test_calls_on_one_connection),
	    T(test_many_lines_at_once_do_not_nest),
	    T(test_too_long_a_line_ends_the_connection),
	    T(test_client_times_out_and_late_answer_is_harmless),
	    T(test_answer_after_the_socket_was_closed),
	    T(test_another_user_is_refused),
	    T(test_nobody_there),
	    T(test_socket_is_for_owner_and_group),
	};

	cmocka_set_message_output(CM_OUTPUT_TAP);
	loop_init();
	return cmocka_run_group_tests(tests, NULL, NULL);
}
