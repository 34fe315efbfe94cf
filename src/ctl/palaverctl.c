/* SPDX-License-Identifier: ISC */
/*
 * palaverctl: the administrator's command.  One table of commands; each becomes one
 * request to the running palaverd over its control socket.
 */
#include "config.h"

#include <errno.h>
#include <json.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sysexits.h>
#include <termios.h>
#include <unistd.h>

#include "ctl/output.h"
#include "lib/buf.h"
#include "lib/conf.h"
#include "lib/ctlsock.h"
#include "lib/json.h"

#define DEFAULT_CONF SYSCONFDIR "/palaver/palaver.conf"
#define TIMEOUT_MS   15000
#define PASSWORD_MAX 256

static const char usage_head[] =
    "usage: palaverctl [--json] [-c FILE] [-s SOCKET] COMMAND\n"
    "  -c FILE    configuration that names run_dir (" DEFAULT_CONF ")\n"
    "  -s SOCKET  control socket (run_dir/palaverd.sock)\n"
    "  --json     print the server's answer as JSON\n"
    "commands:\n";

enum password_need { NO_PASSWORD, NEW_PASSWORD };

static const struct command {
	const char *words[2]; /* second NULL: one word */
	int min_args, max_args;
	const char *arg_names[2]; /* fields of the request */
	const char *options[2];   /* "uses": --uses VALUE is one, too */
	enum password_need password;
	const char *request;
	void (*print)(struct json_object *data);
	const char *help;
} commands[] = {
    {{"status", NULL}, 0, 0, {NULL, NULL}, {NULL}, NO_PASSWORD, "status", output_status,
	"status                    processes, their state and age"},
    {{"ping", NULL}, 0, 0, {NULL, NULL}, {NULL}, NO_PASSWORD, "ping", output_pong,
	"ping                      is the server there?"},
    {{"conf", NULL}, 0, 0, {NULL, NULL}, {NULL}, NO_PASSWORD, "conf", output_text,
	"conf                      effective settings and where each came from"},
    {{"reload", NULL}, 0, 0, {NULL, NULL}, {NULL}, NO_PASSWORD, "reload", output_reload,
	"reload                    read the configuration again"},
    {{"stats", NULL}, 0, 0, {NULL, NULL}, {NULL}, NO_PASSWORD, "stats", output_stats,
	"stats                     counters of all workers together"},
    {{"user", "list"}, 0, 1, {"q", NULL}, {NULL}, NO_PASSWORD, "user.list", output_users,
	"user list [PREFIX]        accounts"},
    {{"user", "add"}, 1, 2, {"username", "name"}, {NULL}, NEW_PASSWORD, "user.add",
	output_user_added, "user add USERNAME [NAME]  new account; asks for the password"},
    {{"user", "passwd"}, 1, 1, {"username", NULL}, {NULL}, NEW_PASSWORD, "user.passwd", output_done,
	"user passwd USERNAME      new password; ends the user's logins"},
    {{"user", "lock"}, 1, 1, {"username", NULL}, {NULL}, NO_PASSWORD, "user.lock", output_done,
	"user lock USERNAME        forbid logging in; ends the user's logins"},
    {{"user", "unlock"}, 1, 1, {"username", NULL}, {NULL}, NO_PASSWORD, "user.unlock", output_done,
	"user unlock USERNAME      allow it again, also to who has deactivated himself"},
    {{"user", "show"}, 1, 1, {"username", NULL}, {NULL}, NO_PASSWORD, "user.show", output_user,
	"user show USERNAME        one account"},
    {{"user", "revoke"}, 1, 1, {"username", NULL}, {NULL}, NO_PASSWORD, "user.revoke", output_ended,
	"user revoke USERNAME      end all the user's logins"},
    {{"session", "list"}, 1, 1, {"username", NULL}, {NULL}, NO_PASSWORD, "session.list",
	output_sessions, "session list USERNAME     the user's logins"},
    {{"session", "kill"}, 1, 1, {"id", NULL}, {NULL}, NO_PASSWORD, "session.kill", output_ended,
	"session kill ID           end one login"},
    {{"kick", NULL}, 1, 1, {"username", NULL}, {NULL}, NO_PASSWORD, "kick", output_done,
	"kick USERNAME             cut the user's connections; the logins stay"},
    {{"key", "rotate"}, 0, 0, {NULL, NULL}, {NULL}, NO_PASSWORD, "key.rotate", output_key,
	"key rotate                a new key signs access tokens; the old ones stay good"},
    {{"key", "list"}, 0, 0, {NULL, NULL}, {NULL}, NO_PASSWORD, "key.list", output_keys,
	"key list                  the keys' ids, without the keys"},
    {{"invite", "add"}, 0, 1, {"note", NULL}, {"uses", "days"}, NO_PASSWORD, "invite.add",
	output_invited,
	"invite add [--uses N] [--days N] [NOTE]\n"
	"                            a code for signing up; for one account within 7 days"},
    {{"invite", "list"}, 0, 0, {NULL, NULL}, {NULL}, NO_PASSWORD, "invite.list", output_invitations,
	"invite list               invitations, without their codes"},
    {{"invite", "remove"}, 1, 1, {"id", NULL}, {NULL}, NO_PASSWORD, "invite.remove", output_done,
	"invite remove ID          withdraw one"},
    {{"conversation", "list"}, 0, 1, {"q", NULL}, {NULL}, NO_PASSWORD, "conversation.list",
	output_conversations,
	"conversation list [PREFIX]  conversations, by the beginning of the name"},
    {{"conversation", "show"}, 1, 1, {"id", NULL}, {NULL}, NO_PASSWORD, "conversation.show",
	output_conversation, "conversation show ID      one conversation and its members"},
    {{"message", "show"}, 1, 1, {"id", NULL}, {NULL}, NO_PASSWORD, "message.show", output_message,
	"message show ID           one message: its present state, and where it is"},
    {{"shutdown", NULL}, 0, 0, {NULL, NULL}, {NULL}, NO_PASSWORD, "shutdown", output_shutdown,
	"shutdown                  finish what was accepted and stop"},
};
#define COMMANDS (sizeof(commands) / sizeof(*commands))

#define OPTIONS_MAX 4

struct options {
	const char *conf_path, *socket;
	bool json;
	const char *values[OPTIONS_MAX][2]; /* of the command's own options: name and value */
	int value_count;
};

static void
usage(FILE *out)
{
	fputs(usage_head, out);
	for (size_t i = 0; i < COMMANDS; i++)
		fprintf(out, "  %s\n", commands[i].help);
}

static void
usage_error(const char *what, const char *word)
{
	fprintf(stderr, "palaverctl: %s%s\n", what, word);
	usage(stderr);
	exit(EX_USAGE);
}

/* Options stand before the command; --json may stand anywhere. */
static int
parse_options(struct options *o, int argc, char **argv)
{
	int c, n = 1;

	for (int i = 1; i < argc; i++) {
		if (strcmp(argv[i], "--json") == 0)
			o->json = true;
		else
			argv[n++] = argv[i];
	}
	argv[n] = NULL;
	while ((c = getopt(n, argv, "+c:s:hV")) != -1) {
		switch (c) {
		case 'c':
			o->conf_path = optarg;
			break;
		case 's':
			o->socket = optarg;
			break;
		case 'V':
			printf("palaverctl %s\n", PACKAGE_VERSION);
			exit(EX_OK);
		case 'h':
			usage(stdout);
			exit(EX_OK);
		default:
			usage(stderr);
			exit(EX_USAGE);
		}
	}
	return n;
}

static bool
is_option(const struct command *c, const char *name)
{
	for (int k = 0; k < 2; k++)
		if (c->options[k] && strcmp(c->options[k], name) == 0)
			return true;
	return false;
}

/* Takes the command's own options and their values out of args; the number of the others. */
static int
take_options(const struct command *c, struct options *o, char **args, int count)
{
	int n = 0;

	for (int i = 0; i < count; i++) {
		if (strncmp(args[i], "--", 2) != 0) {
			args[n++] = args[i];
			continue;
		}
		if (!is_option(c, args[i] + 2) || o->value_count == OPTIONS_MAX)
			usage_error("unknown option: ", args[i]);
		if (i + 1 == count)
			usage_error("a value is missing after ", args[i]);
		o->values[o->value_count][0] = args[i] + 2;
		o->values[o->value_count++][1] = args[i + 1];
		i++;
	}
	return n;
}

static const struct command *
find_command(struct options *o, char **words, int *count, int *args_at)
{
	int args;

	if (*count == 0)
		usage_error("a command is missing", "");
	for (size_t i = 0; i < COMMANDS; i++) {
		const struct command *c = &commands[i];

		if (strcmp(c->words[0], words[0]) != 0)
			continue;
		if (c->words[1] && (*count < 2 || strcmp(c->words[1], words[1]) != 0))
			continue;
		*args_at = c->words[1] ? 2 : 1;
		args = take_options(c, o, words + *args_at, *count - *args_at);
		if (args < c->min_args)
			usage_error("an argument is missing: ", c->help);
		if (args > c->max_args)
			usage_error("too many arguments: ", c->help);
		*count = args;
		return c;
	}
	usage_error("unknown command: ", words[0]);
	return NULL;
}

/* ---- passwords: never from the command line, where everybody sees them ---- */

static void
read_line(FILE *in, char *dst, size_t size)
{
	if (!fgets(dst, (int)size, in)) {
		fputs("palaverctl: no password was given\n", stderr);
		exit(EX_DATAERR);
	}
	dst[strcspn(dst, "\n")] = '\0';
}

static void
ask(const char *prompt, char *dst, size_t size)
{
	struct termios old, quiet;

	fputs(prompt, stderr);
	tcgetattr(STDIN_FILENO, &old);
	quiet = old;
	quiet.c_lflag &= ~(tcflag_t)ECHO;
	tcsetattr(STDIN_FILENO, TCSAFLUSH, &quiet);
	read_line(stdin, dst, size);
	tcsetattr(STDIN_FILENO, TCSAFLUSH, &old);
	fputc('\n', stderr);
}

static void
get_password(char dst[PASSWORD_MAX])
{
	char again[PASSWORD_MAX];

	if (!isatty(STDIN_FILENO)) {
		read_line(stdin, dst, PASSWORD_MAX);
		return;
	}
	ask("Password: ", dst, PASSWORD_MAX);
	ask("Again: ", again, PASSWORD_MAX);
	if (strcmp(dst, again) != 0) {
		fputs("palaverctl: the two passwords differ; nothing was changed\n", stderr);
		exit(EX_DATAERR);
	}
	explicit_bzero(again, sizeof(again));
}

/* ---- request and answer ---- */

static void
put_field(struct buf *b, const char *name, const char *value)
{
	if (!utf8_valid(value, strlen(value))) {
		fprintf(stderr, "palaverctl: %s is not valid UTF-8\n", name);
		exit(EX_DATAERR);
	}
	buf_printf(b, ",\"%s\":", name);
	json_put_string(b, value, strlen(value));
}

static void
make_request(
    struct buf *b, const struct command *c, const struct options *o, char **args, int count)
{
	char password[PASSWORD_MAX];

	buf_printf(b, "{\"command\":\"%s\"", c->request);
	for (int i = 0; i < count; i++)
		put_field(b, c->arg_names[i], args[i]);
	for (int i = 0; i < o->value_count; i++)
		put_field(b, o->values[i][0], o->values[i][1]);
	if (c->password == NEW_PASSWORD) {
		get_password(password);
		put_field(b, "password", password);
		explicit_bzero(password, sizeof(password));
	}
	buf_putc(b, '}');
}

static char *
socket_path(const struct options *o)
{
	const char *path = o->conf_path ? o->conf_path : DEFAULT_CONF;
	struct conf *c;
	char *error, *result;

	if (o->socket)
		return xstrdup(o->socket);
	/* A machine without the file runs with the defaults, if it runs at all. */
	c = conf_load(!o->conf_path && access(path, F_OK) < 0 ? NULL : path, &error);
	if (!c) {
		fprintf(stderr, "palaverctl: %s; mend it, or name the socket with -s\n", error);
		exit(EX_CONFIG);
	}
	result = xasprintf("%s/palaverd.sock", c->run_dir);
	conf_free(&c);
	return result;
}

static int
connect_or_explain(const char *path)
{
	int fd = ctlsock_connect(path), err = errno;

	if (fd >= 0)
		return fd;
	if (err == ENOENT || err == ECONNREFUSED)
		fprintf(stderr,
		    "palaverctl: palaverd is not running (nobody answers at %s); start it with: "
		    "systemctl start palaver, or palaverd -f\n",
		    path);
	else
		fprintf(stderr, "palaverctl: cannot connect to %s: %s\n", path, strerror(err));
	exit(err == EACCES ? EX_NOPERM : EX_UNAVAILABLE);
}

static struct json_object *
call(const struct options *o, const struct buf *request, struct buf *answer)
{
	char *path = socket_path(o);
	int fd = connect_or_explain(path);
	struct json_object *json;

	if (ctlsock_call(fd, (const char *)request->data, request->len, TIMEOUT_MS, answer) < 0) {
		fprintf(stderr, "palaverctl: no answer from palaverd: %s\n", strerror(errno));
		exit(EX_TEMPFAIL);
	}
	json = json_tokener_parse(buf_cstr(answer));
	if (!json) {
		fputs(
		    "palaverctl: palaverd's answer is not JSON; do the versions match?\n", stderr);
		exit(EX_PROTOCOL);
	}
	close(fd);
	free(path);
	return json;
}

int
main(int argc, char **argv)
{
	struct options o = {0};
	struct json_object *answer, *data = NULL;
	struct buf request = {0}, text = {0};
	const struct command *c;
	const char *error = "unknown error";
	int64_t status = EX_SOFTWARE;
	int n, args_at = 0;
	bool ok = false;

	n = parse_options(&o, argc, argv) - optind;
	c = find_command(&o, argv + optind, &n, &args_at);
	make_request(&request, c, &o, argv + optind + args_at, n);
	answer = call(&o, &request, &text);
	explicit_bzero(request.data, request.len);
	json_get_bool(answer, "ok", &ok);
	json_object_object_get_ex(answer, "data", &data);
	if (o.json)
		puts(buf_cstr(&text));
	else if (ok)
		c->print(data);
	if (!ok) {
		json_get_str(answer, "error", &error);
		json_get_int(answer, "exit", &status);
		if (!o.json)
			fprintf(stderr, "palaverctl: %s\n", error);
	}
	json_object_put(answer);
	buf_fini(&request);
	buf_fini(&text);
	return ok ? EX_OK : (int)status;
}
