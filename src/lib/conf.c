/* SPDX-License-Identifier: ISC */
/*
 * conf: reading palaver.conf into a snapshot.  Loop thread.
 *
 * libconfuse parses the text; every value is taken as a string and is checked here
 * against its row of conf.def, so that all errors look alike.  What libconfuse does
 * not do by itself:
 * - a missing closing brace passes: the text with one more brace must not parse;
 * - conf.d is parsed with the same cfg_t, file by file, and its values win;
 * - the place of each value is noted by a validator, which runs while it is parsed.
 *
 * A failed parse leaves its first message in parse_error (libconfuse has one error
 * callback without an argument).
 */
#include "lib/conf.h"

#include <arpa/inet.h>
#include <confuse.h>
#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <glob.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>
#include <unistd.h>

#include "lib/conf_table.h"
#include "lib/log.h"

#define SECTIONS_MAX 16
#define FILE_MAX     (1024 * 1024)
#define PORT_DEFAULT 8080

static char *parse_error;         /* first message of this parse */
static const char *current_file;  /* the file being parsed */
static struct conf *being_filled; /* whose origins the validator notes */

__attribute__((format(printf, 2, 0))) static void
keep_error(cfg_t *cfg, const char *fmt, va_list ap)
{
	char text[512];

	if (parse_error)
		return;
	vsnprintf(text, sizeof(text), fmt, ap);
	parse_error = cfg && cfg->line > 0 ? xasprintf("%s:%d: %s", current_file, cfg->line, text)
					   : xasprintf("%s: %s", current_file, text);
}

/* ---- one value ---- */

static const struct {
	const char *unit;
	int64_t factor;
	enum conf_kind kind;
} units[] = {
    {"", 1, CONF_KIND_SIZE},
    {"K", 1024, CONF_KIND_SIZE},
    {"M", 1024 * 1024, CONF_KIND_SIZE},
    {"G", 1024 * 1024 * 1024, CONF_KIND_SIZE},
    {"ms", 1, CONF_KIND_TIME},
    {"s", 1000, CONF_KIND_TIME},
    {"m", 60000, CONF_KIND_TIME},
    {"h", 3600000, CONF_KIND_TIME},
    {"d", 86400000, CONF_KIND_TIME},
    {"", 1, CONF_KIND_INT},
};

/* NULL: fine, else what is wrong with it. */
static const char *
parse_number(enum conf_kind kind, const char *text, int64_t *v_r)
{
	const char *digits = text + (*text == '-');
	char *end;

	errno = 0;
	*v_r = strtoll(text, &end, 10);
	if (!isdigit((unsigned char)*digits) || errno)
		return "is not a number";
	for (size_t i = 0; i < sizeof(units) / sizeof(*units); i++) {
		if (units[i].kind != kind || strcasecmp(units[i].unit, end) != 0)
			continue;
		if (*v_r > INT64_MAX / units[i].factor)
			return "is too large";
		if (*v_r < INT64_MIN / units[i].factor)
			return "is too small";
		*v_r *= units[i].factor;
		return NULL;
	}
	return kind == CONF_KIND_TIME   ? "needs a unit: ms, s, m, h or d"
	       : kind == CONF_KIND_SIZE ? "is not a size; units are K, M and G"
					: "is not a whole number";
}

static bool
is_choice(const char *choices, const char *word)
{
	size_t len = strlen(word);

	for (const char *p = choices; *p; p += strcspn(p, "|"), p += *p == '|')
		if (strcspn(p, "|") == len && strncmp(p, word, len) == 0)
			return true;
	return false;
}

static bool
parse_bool(const char *text, bool *r)
{
	static const char *const yes[] = {"true", "yes", "on"}, *const no[] = {
								    "false", "no", "off"};

	for (int i = 0; i < 3; i++) {
		if (strcasecmp(text, yes[i]) == 0 || strcasecmp(text, no[i]) == 0) {
			*r = strcasecmp(text, yes[i]) == 0;
			return true;
		}
	}
	return false;
}

/* NULL, or what is wrong and what to do (the caller frees). */
static char *
set_value(struct conf *c, const struct conf_row *row, const char *text)
{
	void *field = (char *)c + row->offset;
	const char *why;
	int64_t v;

	switch (row->kind) {
	case CONF_KIND_INT:
	case CONF_KIND_SIZE:
	case CONF_KIND_TIME:
		why = parse_number(row->kind, text, &v);
		if (why)
			return xasprintf("\"%s\" %s", text, why);
		if (v < row->min || v > row->max)
			return conf_bounds_error(row, text);
		*(int64_t *)field = v;
		return NULL;
	case CONF_KIND_BOOL:
		return parse_bool(text, field) ? NULL : xasprintf("\"%s\" is not yes or no", text);
	case CONF_KIND_ENUM:
		if (!is_choice(row->choices, text))
			return xasprintf("\"%s\" is not one of %s", text, row->choices);
		break;
	case CONF_KIND_STR:
	case CONF_KIND_SECRET:
		if ((int64_t)strlen(text) < row->min || (int64_t)strlen(text) > row->max)
			return xasprintf("must have %lld to %lld characters", (long long)row->min,
			    (long long)row->max);
		break;
	}
	free(*(char **)field);
	*(char **)field = xstrdup(text);
	return NULL;
}

/* ---- libconfuse ---- */

static const struct conf_row *
find_row(const char *section, const char *name)
{
	for (size_t i = 0; i < conf_row_count; i++)
		if (strcmp(conf_rows[i].section, section) == 0 &&
		    strcmp(conf_rows[i].name, name) == 0)
			return &conf_rows[i];
	return NULL;
}

/* Runs while a value is parsed: the only moment at which its line is known. */
static int
on_value(cfg_t *cfg, cfg_opt_t *opt)
{
	const char *section = strcmp(cfg->name, "root") == 0 ? "" : cfg->name;
	const struct conf_row *row = find_row(section, opt->name);
	char *why;

	if (!row)
		return 0;
	why = set_value(being_filled, row, cfg_opt_getnstr(opt, cfg_opt_size(opt) - 1));
	if (why) {
		cfg_error(cfg, "%s%s%s: %s", section, *section ? "." : "", opt->name, why);
		free(why);
		return -1;
	}
	free(being_filled->origins[row - conf_rows]);
	being_filled->origins[row - conf_rows] = xasprintf("%s:%d", current_file, cfg->line);
	return 0;
}

static bool
address_valid(const char *text)
{
	struct in6_addr any;

	return strcmp(text, "*") == 0 || inet_pton(AF_INET, text, &any) == 1 ||
	       inet_pton(AF_INET6, text, &any) == 1;
}

static int
on_listen(cfg_t *cfg, cfg_opt_t *opt)
{
	cfg_t *sec = cfg_opt_getnsec(opt, cfg_opt_size(opt) - 1);
	const char *port = cfg_getstr(sec, "port");
	struct conf *c = being_filled;
	int64_t v;

	if (c->listen_count == CONF_LISTEN_MAX) {
		cfg_error(cfg, "listen: more than %d sections", CONF_LISTEN_MAX);
		return -1;
	}
	if (parse_number(CONF_KIND_INT, port, &v) || v < 0 || v > 65535) {
		cfg_error(cfg, "listen.port: \"%s\" is not a port; use 1 to 65535", port);
		return -1;
	}
	for (size_t i = 0; v && i < c->listen_count; i++) {
		if (c->listen[i].port == v &&
		    strcmp(c->listen[i].address, cfg_getstr(sec, "address")) == 0) {
			cfg_error(cfg, "listen: %s port %lld is named twice", c->listen[i].address,
			    (long long)v);
			return -1;
		}
	}
	if (!address_valid(cfg_getstr(sec, "address"))) {
		cfg_error(cfg,
		    "listen.address: \"%s\" is no numeric IPv4 or IPv6 address and not \"*\"",
		    cfg_getstr(sec, "address"));
		return -1;
	}
	if (!*cfg_getstr(sec, "certificate") != !*cfg_getstr(sec, "key")) {
		cfg_error(cfg, "listen: certificate and key belong together; %s is missing",
		    *cfg_getstr(sec, "key") ? "certificate" : "key");
		return -1;
	}
	c->listen[c->listen_count].address = xstrdup(cfg_getstr(sec, "address"));
	c->listen[c->listen_count].certificate = xstrdup(cfg_getstr(sec, "certificate"));
	c->listen[c->listen_count].key = xstrdup(cfg_getstr(sec, "key"));
	c->listen[c->listen_count++].port = v;
	return 0;
}

struct schema {
	cfg_opt_t *top;
	cfg_opt_t *sections[SECTIONS_MAX];
	size_t section_count;
	cfg_t *cfg;
};

static void
add_opt(cfg_opt_t **opts, size_t *n, cfg_opt_t opt)
{
	*opts = xrealloc(*opts, (*n + 2) * sizeof(cfg_opt_t));
	(*opts)[(*n)++] = opt;
	(*opts)[*n] = (cfg_opt_t)CFG_END();
}

/* The rows of one section as libconfuse options. */
static cfg_opt_t *
section_opts(const char *section, size_t *n)
{
	cfg_opt_t *opts = NULL;

	for (size_t i = 0; i < conf_row_count; i++)
		if (strcmp(conf_rows[i].section, section) == 0)
			add_opt(
			    &opts, n, (cfg_opt_t)CFG_STR(conf_rows[i].name, NULL, CFGF_NODEFAULT));
	return opts;
}

static void
schema_init(struct schema *s)
{
	static cfg_opt_t listen_opts[] = {CFG_STR("address", "127.0.0.1", CFGF_NONE),
	    CFG_STR("port", "8080", CFGF_NONE), CFG_STR("certificate", "", CFGF_NONE),
	    CFG_STR("key", "", CFGF_NONE), CFG_END()};
	size_t top = 0;

	memset(s, 0, sizeof(*s));
	s->top = section_opts("", &top);
	for (size_t i = 0; i < conf_row_count; i++) {
		const char *name = conf_rows[i].section;
		size_t n = 0;

		if (!*name || (i && strcmp(conf_rows[i - 1].section, name) == 0))
			continue;
		s->sections[s->section_count] = section_opts(name, &n);
		add_opt(&s->top, &top,
		    (cfg_opt_t)CFG_SEC((char *)name, s->sections[s->section_count++], CFGF_NONE));
	}
	add_opt(&s->top, &top, (cfg_opt_t)CFG_SEC("listen", listen_opts, CFGF_MULTI));
	s->cfg = cfg_init(s->top, CFGF_NONE);
	cfg_set_error_function(s->cfg, keep_error);
	for (size_t i = 0; i < conf_row_count; i++) {
		char *path = *conf_rows[i].section
				 ? xasprintf("%s|%s", conf_rows[i].section, conf_rows[i].name)
				 : xstrdup(conf_rows[i].name);

		cfg_set_validate_func(s->cfg, path, on_value);
		free(path);
	}
	cfg_set_validate_func(s->cfg, "listen", on_listen);
}

static void
schema_fini(struct schema *s)
{
	cfg_free(s->cfg);
	free(s->top);
	for (size_t i = 0; i < s->section_count; i++)
		free(s->sections[i]);
}

/* ---- files ---- */

/* NULL with *error_r set.  A NUL byte would end the text early and hide the rest. */
static char *
read_file(const char *path, char **error_r)
{
	struct buf b;
	ssize_t n = 0;
	int fd = open(path, O_RDONLY | O_CLOEXEC);

	if (fd < 0) {
		*error_r = xasprintf("%s: cannot be read: %s", path, strerror(errno));
		return NULL;
	}
	buf_init(&b);
	while (b.len < FILE_MAX && (n = read(fd, buf_reserve(&b, 65536), 65536)) > 0)
		b.len += (size_t)n;
	if (n < 0)
		*error_r = xasprintf("%s: cannot be read: %s", path, strerror(errno));
	else if (b.len >= FILE_MAX)
		*error_r = xasprintf("%s: larger than 1 MiB; this is no configuration file", path);
	else if (b.len && memchr(b.data, '\0', b.len))
		*error_r = xasprintf("%s: holds a NUL byte; this is no text file", path);
	close(fd);
	if (!*error_r)
		return buf_steal(&b);
	buf_fini(&b);
	return NULL;
}

/* The end of a quoted string that begins at p. */
static char *
skip_quoted(char *p)
{
	char quote = *p++;

	while (*p && *p != quote)
		p += *p == '\\' && p[1] ? 2 : 1;
	return *p ? p + 1 : p;
}

/*
 * Overwrites comments with blanks, newlines stay: libconfuse 3.3 counts three lines for
 * each line comment, and its line numbers would be wrong after the first.
 * NULL, or where a block comment begins that does not end and would hide the rest.
 */
static const char *
blank_comments(char *p)
{
	while (*p) {
		const char *from = p;
		bool line = *p == '#' || (p[0] == '/' && p[1] == '/');

		if (*p == '"' || *p == '\'') {
			p = skip_quoted(p);
		} else if (line) {
			while (*p && *p != '\n')
				*p++ = ' ';
		} else if (p[0] == '/' && p[1] == '*') {
			while (*p && !(p[0] == '*' && p[1] == '/')) {
				*p = *p == '\n' ? '\n' : ' ';
				p++;
			}
			if (!*p)
				return from;
			*p++ = ' ';
			*p++ = ' ';
		} else {
			p++;
		}
	}
	return NULL;
}

static char *
unclosed_comment(const char *path, const char *text, const char *at)
{
	int line = 1;

	for (; text < at; text++)
		line += *text == '\n';
	return xasprintf("%s:%d: a comment is not closed; a \"*/\" is missing", path, line);
}

/* The first ${VAR} without default whose variable is not set; libconfuse takes it for "". */
static char *
unset_variable(const char *path, const char *text)
{
	int line = 1;

	for (const char *p = text; *p; p++) {
		char name[128];
		size_t n;

		line += *p == '\n';
		if (p[0] != '$' || p[1] != '{')
			continue;
		n = strcspn(p + 2, ":}\n");
		if (p[2 + n] != '}' || n >= sizeof(name))
			continue;
		memcpy(name, p + 2, n);
		name[n] = '\0';
		if (!getenv(name))
			return xasprintf("%s:%d: ${%s}: the variable is not set; set it, or write "
					 "${%s:-default}",
			    path, line, name, name);
	}
	return NULL;
}

static int
parse_text(cfg_t *cfg, const char *text)
{
	int rc = cfg_parse_buf(cfg, text);

	if (rc != CFG_SUCCESS && !parse_error)
		parse_error = xasprintf("%s: cannot be parsed", current_file);
	return rc == CFG_SUCCESS ? 0 : -1;
}

/* A file that is complete does not take one more closing brace. */
static int
check_braces(const char *text)
{
	char *more = xasprintf("%s\n}\n", text);
	struct conf *real = being_filled;
	struct conf scratch = {0};
	struct schema s;
	bool open;

	scratch.origins = xcalloc(conf_row_count, sizeof(char *));
	being_filled = &scratch;
	schema_init(&s);
	open = cfg_parse_buf(s.cfg, more) == CFG_SUCCESS;
	schema_fini(&s);
	conf_clear(&scratch);
	being_filled = real;
	free(more);
	free(parse_error);
	parse_error = NULL;
	if (open)
		parse_error =
		    xasprintf("%s: a section is not closed; a \"}\" is missing at or before "
			      "the end of the file",
			current_file);
	return open ? -1 : 0;
}

static int
parse_file(cfg_t *cfg, const char *path)
{
	char *text = read_file(path, &parse_error);
	const char *open;
	int err = -1;

	current_file = path;
	if (text) {
		open = blank_comments(text);
		parse_error =
		    open ? unclosed_comment(path, text, open) : unset_variable(path, text);
	}
	if (text && !parse_error && parse_text(cfg, text) == 0 && check_braces(text) == 0)
		err = 0;
	free(text);
	return err;
}

/* The files of conf.d beside path, in the order of their names. */
static int
parse_conf_d(cfg_t *cfg, const char *path)
{
	const char *slash = strrchr(path, '/');
	char *pattern = slash ? xasprintf("%.*s/conf.d/*.conf", (int)(slash - path), path)
			      : xstrdup("conf.d/*.conf");
	glob_t g = {0};
	int err = 0;

	if (glob(pattern, 0, NULL, &g) == 0)
		for (size_t i = 0; !err && i < g.gl_pathc; i++)
			err = parse_file(cfg, g.gl_pathv[i]);
	globfree(&g);
	free(pattern);
	return err;
}

/* ---- snapshots ---- */

static struct conf *
conf_defaults(void)
{
	struct conf *c = xcalloc(1, sizeof(*c));

	c->origins = xcalloc(conf_row_count, sizeof(char *));
	for (size_t i = 0; i < conf_row_count; i++) {
		char *text = conf_default_text(&conf_rows[i]);
		char *why = set_value(c, &conf_rows[i], text);

		if (why)
			fatal(70, "conf.bad_default", "name=%s why=%s", conf_rows[i].name, why);
		c->origins[i] = xstrdup("default");
		free(text);
	}
	return c;
}

struct conf *
conf_load(const char *path, char **error_r)
{
	struct conf *c = conf_defaults();
	struct schema s;
	int err = 0;

	*error_r = NULL;
	parse_error = NULL;
	being_filled = c;
	if (path) {
		schema_init(&s);
		err = parse_file(s.cfg, path);
		if (!err)
			err = parse_conf_d(s.cfg, path);
		schema_fini(&s);
	}
	being_filled = NULL;
	if (err) {
		*error_r = parse_error;
		parse_error = NULL;
		conf_free(&c);
		return NULL;
	}
	if (!c->listen_count) {
		c->listen[0].address = xstrdup("127.0.0.1");
		c->listen[0].certificate = xstrdup("");
		c->listen[0].key = xstrdup("");
		c->listen[0].port = PORT_DEFAULT;
		c->listen_count = 1;
	}
	return c;
}

int
conf_read_secret(const char *path, size_t min, size_t max, struct buf *out, char **error_r)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
	struct stat st;
	ssize_t n;

	*error_r = NULL;
	if (fd < 0 || fstat(fd, &st) < 0)
		*error_r = xasprintf("%s: cannot be read: %s", path, strerror(errno));
	else if (!S_ISREG(st.st_mode))
		*error_r = xasprintf("%s: is not a regular file", path);
	else if (st.st_mode & 077)
		*error_r =
		    xasprintf("%s: may be read or written by others (mode %04o); chmod 600 it",
			path, st.st_mode & 07777);
	else if (st.st_uid != 0 && st.st_uid != geteuid() && geteuid() != 0)
		*error_r = xasprintf("%s: belongs to user %u; chown it to root or to the user that "
				     "starts palaverd",
		    path, st.st_uid);
	if (!*error_r) {
		n = read(fd, buf_reserve(out, max + 2), max + 2);
		if (n > 0)
			out->len += (size_t)n;
		if (out->len && out->data[out->len - 1] == '\n')
			out->len--;
		if (out->len < min || out->len > max)
			*error_r = xasprintf(
			    "%s: holds %zu bytes; %zu to %zu are needed", path, out->len, min, max);
	}
	if (fd >= 0)
		close(fd);
	return *error_r ? -1 : 0;
}
