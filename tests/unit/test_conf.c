/* SPDX-License-Identifier: ISC */
/* conf: errors by file and line, the example, the manual, reload. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include <sys/stat.h>

#include "lib/conf.h"
#include "lib/conf_table.h"

static char dir[64], path[96];

static const char *
source(const char *name)
{
	static char full[512];
	const char *top = getenv("srcdir");

	snprintf(full, sizeof(full), "%s/%s", top ? top : ".", name);
	return full;
}

static char *
read_all(const char *name)
{
	FILE *f = fopen(name, "r");
	struct buf b;
	size_t n;

	if (!f)
		fail_msg("cannot open %s", name);
	buf_init(&b);
	while ((n = fread(buf_reserve(&b, 4096), 1, 4096, f)) > 0)
		b.len += n;
	fclose(f);
	return buf_steal(&b);
}

static void
write_file(const char *name, const char *text)
{
	FILE *f = fopen(name, "w");

	assert_non_null(f);
	fputs(text, f);
	fclose(f);
}

static struct conf *
load(const char *text, char **error_r)
{
	write_file(path, text);
	return conf_load(path, error_r);
}

static void
each_error_names_its_place(void **state)
{
	static const struct {
		const char *text, *error;
	} cases[] = {
	    {"workers = x", ":1: workers: \"x\" is not a number"},
	    {"workers = 1.5", ":1: workers: \"1.5\" is not a whole number"},
	    {"workers = 64", ":1: workers: \"64\" is out of bounds; use 0 to 63"},
	    {"\n\nnope = 3", ":3: no such option 'nope'"},
	    {"log { nope = 3 }", ":1: no such option 'nope'"},
	    {"log {\n level = \"info\"\n",
		": a section is not closed; a \"}\" is missing at or before the end of the file"},
	    {"workers = 1 }", ":1: unexpected closing brace"},
	    {"log { level = loud }", ":1: log.level: \"loud\" is not one of error|warn|info|debug"},
	    {"bus = \"redis\"", ":1: bus: \"redis\" is not one of local"},
	    {"http {\n max_body = 1T\n}",
		":2: http.max_body: \"1T\" is not a size; units are K, M and G"},
	    {"http { max_body = 1 }", ":1: http.max_body: \"1\" is out of bounds; use 1K to 64M"},
	    {"drain_timeout = 5", ":1: drain_timeout: \"5\" needs a unit: ms, s, m, h or d"},
	    {"state_dir = \"\"", ":1: state_dir: must have 1 to 255 characters"},
	    {"state_dir = \"${PALAVER_UNSET}\"", ":1: ${PALAVER_UNSET}: the variable is not set; "
						 "set it, or write ${PALAVER_UNSET:-default}"},
	    {"listen { port = 70000 }", ":1: listen.port: \"70000\" is not a port; use 1 to 65535"},
	    {"workers = 1\n/* never closed\nworkers = 7\n",
		":2: a comment is not closed; a \"*/\" is missing"},
	    {"drain_timeout = -9223372036854775808d",
		":1: drain_timeout: \"-9223372036854775808d\" is too small"},
	    {"drain_timeout = 9223372036854775807d",
		":1: drain_timeout: \"9223372036854775807d\" is too large"},
	    {"listen { address = \"localhost\" }", ":1: listen.address: \"localhost\" is no "
						   "numeric IPv4 or IPv6 address and not \"*\""},
	    {"listen { port = 1 }\nlisten { port = 1 }",
		":2: listen: 127.0.0.1 port 1 is named twice"},
	};

	for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
		char *error = NULL, want[256];
		struct conf *c = load(cases[i].text, &error);

		snprintf(want, sizeof(want), "%s%s", path, cases[i].error);
		if (c || strcmp(error, want) != 0)
			fail_msg(
			    "%s\n got  %s\n want %s", cases[i].text, c ? "success" : error, want);
		free(error);
	}
}

static void
a_missing_file_is_said(void **state)
{
	char *error;

	assert_null(conf_load("/nonexistent/palaver.conf", &error));
	assert_string_equal(
	    error, "/nonexistent/palaver.conf: cannot be read: No such file or directory");
	free(error);
}

static void
values_units_and_origins(void **state)
{
	struct conf *c;
	char *error, want[128];

	setenv("PALAVER_TEST_DIR", "/srv/x", 1);
	c = load("# comment\nstate_dir = \"${PALAVER_TEST_DIR}/y\"\nchat { max_text = 2K }\n"
		 "accounts {\n access_ttl = 5m\n}\nlisten { address = \"::1\" port = 1 }\n"
		 "listen { port = 2 }\nrun_dir = \"${PALAVER_UNSET:-/d}\"\n",
	    &error);
	assert_non_null(c);
	assert_string_equal(c->state_dir, "/srv/x/y");
	assert_string_equal(c->run_dir, "/d");
	assert_int_equal(c->chat_max_text, 2048);
	assert_int_equal(c->accounts_access_ttl, 300000);
	assert_int_equal(c->listen_count, 2);
	assert_string_equal(c->listen[0].address, "::1");
	snprintf(want, sizeof(want), "%s:2", path);
	for (size_t i = 0; i < conf_row_count; i++) {
		if (strcmp(conf_rows[i].name, "state_dir") == 0)
			assert_string_equal(c->origins[i], want);
		if (strcmp(conf_rows[i].name, "workers") == 0)
			assert_string_equal(c->origins[i], "default");
	}
	conf_free(&c);
}

static void
conf_d_is_read_in_order_and_wins(void **state)
{
	char sub[128], file[160], *error;
	struct conf *c;

	snprintf(sub, sizeof(sub), "%s/conf.d", dir);
	mkdir(sub, 0700);
	snprintf(file, sizeof(file), "%s/20.conf", sub);
	write_file(file, "workers = 20");
	snprintf(file, sizeof(file), "%s/10.conf", sub);
	write_file(file, "workers = 10\nchat { rate = 7 }");
	c = load("workers = 5\nchat { rate = 1 }", &error);
	assert_non_null(c);
	assert_int_equal(c->workers, 20);
	assert_int_equal(c->chat_rate, 7);
	conf_free(&c);
	write_file(file, "\nworkers = zehn");
	assert_null(load("workers = 5", &error));
	assert_non_null(strstr(error, "10.conf:2: workers: \"zehn\" is not a number"));
	free(error);
	unlink(file);
	snprintf(file, sizeof(file), "%s/20.conf", sub);
	unlink(file);
	rmdir(sub);
}

static void
secrets_must_be_private(void **state)
{
	char *error;
	struct buf b;

	buf_init(&b);
	write_file(path, "0123456789abcdef\n");
	chmod(path, 0644);
	assert_int_equal(conf_read_secret(path, 8, 32, &b, &error), -1);
	assert_non_null(
	    strstr(error, "may be read or written by others (mode 0644); chmod 600 it"));
	free(error);
	chmod(path, 0600);
	assert_int_equal(conf_read_secret(path, 8, 32, &b, &error), 0);
	assert_int_equal(b.len, 16);
	buf_clear(&b);
	assert_int_equal(conf_read_secret(path, 17, 32, &b, &error), -1);
	assert_non_null(strstr(error, "holds 16 bytes; 17 to 32 are needed"));
	free(error);
	assert_int_equal(conf_read_secret(dir, 8, 32, &b, &error), -1);
	assert_non_null(strstr(error, "is not a regular file"));
	free(error);
	buf_fini(&b);
	unlink(path);
}

/* Takes one # from lines that are settings: "#name = ..", "#section {", "#}". */
static char *
uncomment(const char *text)
{
	struct buf b;

	buf_init(&b);
	for (const char *line = text; *line; line += strcspn(line, "\n"), line += *line == '\n')
		if (*line == '#' && line[1] != ' ' && line[1] != '\n')
			buf_printf(&b, "%.*s\n", (int)strcspn(line + 1, "\n"), line + 1);
	return buf_steal(&b);
}

static void
the_example_equals_the_table(void **state)
{
	char *file = read_all(source("etc/palaver.conf")), *text = NULL, *plain, *error;
	struct conf *c, *defaults;
	size_t len;
	FILE *f = open_memstream(&text, &len);

	conf_example(f);
	fclose(f);
	assert_string_equal(file, text);
	plain = uncomment(file);
	c = load(plain, &error);
	if (!c)
		fail_msg("%s", error);
	defaults = conf_load(NULL, &error);
	for (size_t i = 0; i < conf_row_count; i++) {
		const struct conf_row *row = &conf_rows[i];
		const char *a = (char *)c + row->offset, *b = (char *)defaults + row->offset;

		assert_string_not_equal(c->origins[i], "default");
		if (strncmp(row->def, "@", 1) == 0)
			continue; /* replaced at installation */
		if (row->kind == CONF_KIND_STR || row->kind == CONF_KIND_ENUM ||
		    row->kind == CONF_KIND_SECRET)
			assert_string_equal(*(char *const *)a, *(char *const *)b);
		else if (row->kind != CONF_KIND_BOOL)
			assert_true(*(const int64_t *)a == *(const int64_t *)b);
	}
	assert_int_equal(c->listen_count, 2); /* the second shows TLS */
	assert_string_equal(c->listen[0].certificate, "");
	assert_string_equal(c->listen[1].certificate, "/etc/palaver/cert.pem");
	assert_int_equal(c->listen[0].port, defaults->listen[0].port);
	conf_free(&c);
	conf_free(&defaults);
	free(file);
	free(text);
	free(plain);
}

static void
the_manual_names_every_setting(void **state)
{
	char *man = read_all(source("man/palaver.conf.5"));

	for (size_t i = 0; i < conf_row_count; i++) {
		bool text = conf_rows[i].kind == CONF_KIND_STR ||
			    conf_rows[i].kind == CONF_KIND_ENUM ||
			    conf_rows[i].kind == CONF_KIND_SECRET;
		const char *quote = text ? "\\(dq" : "";
		char item[160];

		snprintf(item, sizeof(item), "\n.It Ic %s = %s%s%s\n", conf_rows[i].name, quote,
		    conf_rows[i].def, quote);
		if (!strstr(man, item))
			fail_msg("palaver.conf(5) lacks%s", item);
	}
	free(man);
}

static void
a_reload_keeps_what_wants_a_restart(void **state)
{
	struct conf *old, *fresh, *merged, *copy;
	struct buf kept, b;
	struct unpack u;
	char *error;

	old = load("workers = 1\nchat { rate = 1 }", &error);
	fresh = load("workers = 2\nchat { rate = 2 }\nlisten { port = 9 }", &error);
	buf_init(&kept);
	merged = conf_merge_reload(old, fresh, &kept);
	assert_string_equal(buf_cstr(&kept), "workers, listen");
	assert_int_equal(merged->workers, 1);
	assert_int_equal(merged->chat_rate, 2);
	assert_int_equal(merged->listen[0].port, 8080);
	buf_init(&b);
	conf_pack(&b, merged);
	unpack_init(&u, b.data, b.len);
	copy = conf_unpack(&u);
	assert_true(unpack_end(&u));
	assert_int_equal(copy->chat_rate, 2);
	assert_string_equal(copy->state_dir, merged->state_dir);
	unpack_init(&u, b.data, b.len - 1);
	assert_null(conf_unpack(&u));
	conf_free(&copy);
	conf_free(&old);
	conf_free(&fresh);
	conf_free(&merged);
	buf_fini(&kept);
	buf_fini(&b);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(each_error_names_its_place),
	    cmocka_unit_test(a_missing_file_is_said),
	    cmocka_unit_test(values_units_and_origins),
	    cmocka_unit_test(conf_d_is_read_in_order_and_wins),
	    cmocka_unit_test(secrets_must_be_private),
	    cmocka_unit_test(the_example_equals_the_table),
	    cmocka_unit_test(the_manual_names_every_setting),
	    cmocka_unit_test(a_reload_keeps_what_wants_a_restart),
	};
	int failed;

	strcpy(dir, "/tmp/palaver-conf-XXXXXX");
	if (!mkdtemp(dir))
		return 99;
	snprintf(path, sizeof(path), "%s/palaver.conf", dir);
	cmocka_set_message_output(CM_OUTPUT_TAP);
	failed = cmocka_run_group_tests(tests, NULL, NULL);
	unlink(path);
	rmdir(dir);
	return failed;
}
