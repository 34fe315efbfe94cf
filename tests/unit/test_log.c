/* SPDX-License-Identifier: ISC */
/* log, buf: one line an event, nothing that a client sends can break it. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "lib/buf.h"
#include "lib/log.h"

static int fds[2];

static char *
read_log(char *line, size_t size)
{
	ssize_t n = read(fds[0], line, size - 1);

	assert_true(n > 0);
	line[n] = '\0';
	return line;
}

static void
a_line_has_level_process_event_and_fields(void **state)
{
	char line[4096];

	log_init("worker", 2, LOG_TO_STDERR, LOG_LVL_INFO);
	log_set_fd(fds[1]);
	log_debug("not.seen", "x=%d", 1);
	log_warn("thing.happened", "count=%d", 3);
	read_log(line, sizeof(line));
	assert_non_null(strstr(line, " warn worker/2["));
	assert_non_null(strstr(line, "] thing.happened count=3\n"));
	assert_null(strstr(line, "not.seen"));
}

static void
a_newline_in_a_value_cannot_forge_a_line(void **state)
{
	char line[4096];

	log_info("evil", "name=%s raw=%s", log_quote("a\"\nb\\"), "x\ny");
	read_log(line, sizeof(line));
	assert_non_null(strstr(line, "name=\"a\\\"?b\\\\\" raw=x y\n"));
	assert_ptr_equal(strchr(line, '\n'), line + strlen(line) - 1);
}

static void
a_long_value_is_cut(void **state)
{
	char line[8192], *big = malloc(5001);

	memset(big, 'x', 5000);
	big[5000] = '\0';
	log_info("long", "v=%s", big);
	read_log(line, sizeof(line));
	assert_in_range(strlen(line), 1500, 2100);
	assert_in_range(strlen(log_quote(big)), 200, 210);
	free(big);
}

static void
buffers_grow_and_shrink(void **state)
{
	struct buf b;
	char *s;

	buf_init(&b);
	for (int i = 0; i < 1000; i++)
		buf_printf(&b, "%d,", i);
	assert_int_equal(b.len, 10 * 2 + 90 * 3 + 900 * 4);
	buf_drop(&b, 4);
	assert_memory_equal(b.data, "2,3,", 4);
	buf_drop(&b, b.len + 5);
	assert_int_equal(b.len, 0);
	s = xasprintf("%300d", 1);
	buf_printf(&b, "%s", s); /* longer than the first try */
	assert_string_equal(buf_cstr(&b), s);
	free(s);
	s = buf_steal(&b);
	assert_int_equal(strlen(s), 300);
	assert_null(b.data);
	free(s);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(a_line_has_level_process_event_and_fields),
	    cmocka_unit_test(a_newline_in_a_value_cannot_forge_a_line),
	    cmocka_unit_test(a_long_value_is_cut),
	    cmocka_unit_test(buffers_grow_and_shrink),
	};

	if (pipe(fds) < 0)
		return 99;
	cmocka_set_message_output(CM_OUTPUT_TAP);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
