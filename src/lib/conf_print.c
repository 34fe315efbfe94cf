/* SPDX-License-Identifier: ISC */
/*
 * conf_print: the table itself, and snapshots as text and as bytes.  Loop thread.
 *
 * Packed: for each row of the table in order its value (str, or i64, or u8 for BOOL)
 * and its origin; then u32 number of listen sections, each str address, i64 port, str
 * certificate, str key.
 * Master and children are the same binary, so the order is the same.
 */
#include <inttypes.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include "lib/conf.h"
#include "lib/conf_table.h"

const struct conf_row conf_rows[] = {
#define CONF(kind, field, section, name, def, min, max, choices, reload, help)                     \
	{CONF_KIND_##kind, offsetof(struct conf, field), section, name, def, min, max, choices,    \
	    CONF_##reload, help},
#include "lib/conf.def"
#undef CONF
};
const size_t conf_row_count = sizeof(conf_rows) / sizeof(*conf_rows);

static bool
is_text(const struct conf_row *row)
{
	return row->kind == CONF_KIND_STR || row->kind == CONF_KIND_ENUM ||
	       row->kind == CONF_KIND_SECRET;
}

char *
conf_default_text(const struct conf_row *row)
{
	static const char mark[] = "@pkgdatadir@";

	if (strncmp(row->def, mark, sizeof(mark) - 1) == 0)
		return xasprintf("%s%s", PKGDATADIR, row->def + sizeof(mark) - 1);
	return xstrdup(row->def);
}

/* The largest unit that divides the value. */
static void
put_number(struct buf *b, const struct conf_row *row, int64_t v)
{
	static const struct {
		int64_t factor;
		const char *unit;
	} times[] = {{86400000, "d"}, {3600000, "h"}, {60000, "m"}, {1000, "s"}, {1, "ms"}},
	  sizes[] = {{1 << 30, "G"}, {1 << 20, "M"}, {1 << 10, "K"}, {1, ""}};

	if (row->kind == CONF_KIND_TIME) {
		for (size_t i = 0; i < 5; i++) {
			if (v % times[i].factor == 0 && (v || i == 3)) {
				buf_printf(b, "%" PRId64 "%s", v / times[i].factor, times[i].unit);
				return;
			}
		}
	} else if (row->kind == CONF_KIND_SIZE) {
		for (size_t i = 0; i < 4; i++) {
			if (v % sizes[i].factor == 0 && (v || i == 3)) {
				buf_printf(b, "%" PRId64 "%s", v / sizes[i].factor, sizes[i].unit);
				return;
			}
		}
	}
	buf_printf(b, "%" PRId64, v);
}

char *
conf_bounds_error(const struct conf_row *row, const char *text)
{
	struct buf b;

	buf_init(&b);
	buf_printf(&b, "\"%s\" is out of bounds; use ", text);
	put_number(&b, row, row->min);
	buf_puts(&b, " to ");
	put_number(&b, row, row->max);
	return buf_steal(&b);
}

static void
put_value(struct buf *b, const struct conf *c, const struct conf_row *row)
{
	const void *field = (const char *)c + row->offset;

	if (is_text(row)) {
		buf_putc(b, '"');
		for (const char *s = *(char *const *)field; *s; s++) {
			if (*s == '"' || *s == '\\')
				buf_putc(b, '\\');
			buf_putc(b, *s);
		}
		buf_putc(b, '"');
	} else if (row->kind == CONF_KIND_BOOL) {
		buf_puts(b, *(const bool *)field ? "yes" : "no");
	} else {
		put_number(b, row, *(const int64_t *)field);
	}
}

/* Opens and closes sections as the rows go by; returns the indent of the row. */
static const char *
print_section(FILE *out, const struct conf_row *row, const struct conf_row *before, bool comment)
{
	const char *was = before ? before->section : "", *is = row ? row->section : "";

	if (strcmp(was, is) != 0) {
		if (*was)
			fprintf(out, "%s}\n", comment ? "#" : "");
		if (*is)
			fprintf(out, "\n%s%s {\n", comment ? "#" : "", is);
	}
	return *is ? "\t" : "";
}

void
conf_dump(const struct conf *c, FILE *out)
{
	const struct conf_row *before = NULL;
	struct buf b;

	buf_init(&b);
	for (size_t i = 0; i < conf_row_count; before = &conf_rows[i++]) {
		const char *indent = print_section(out, &conf_rows[i], before, false);

		buf_clear(&b);
		put_value(&b, c, &conf_rows[i]);
		fprintf(out, "%s%s = %s  # %s\n", indent, conf_rows[i].name, buf_cstr(&b),
		    c->origins[i]);
	}
	print_section(out, NULL, before, false);
	for (size_t i = 0; i < c->listen_count; i++) {
		const struct conf_listen *l = &c->listen[i];

		fprintf(out, "\nlisten {\n\taddress = \"%s\"\n\tport = %" PRId64 "\n", l->address,
		    l->port);
		if (*l->certificate)
			fprintf(out, "\tcertificate = \"%s\"\n\tkey = \"%s\"\n", l->certificate,
			    l->key);
		fputs("}\n", out);
	}
	buf_fini(&b);
}

static void
print_bounds(FILE *out, const char *indent, const struct conf_row *row)
{
	const char *when = row->reload == CONF_RELOAD ? "reload" : "restart";
	struct buf b;

	buf_init(&b);
	if (row->kind == CONF_KIND_ENUM) {
		buf_printf(&b, "one of %s", row->choices);
	} else if (row->kind == CONF_KIND_BOOL) {
		buf_puts(&b, "yes or no");
	} else if (is_text(row)) {
		buf_puts(&b, row->kind == CONF_KIND_SECRET ? "path of a file of mode 600" : "text");
	} else {
		put_number(&b, row, row->min);
		buf_puts(&b, " to ");
		put_number(&b, row, row->max);
	}
	fprintf(out, "%s# %s; a change needs a %s.\n", indent, buf_cstr(&b), when);
	buf_fini(&b);
}

void
conf_example(FILE *out)
{
	const struct conf_row *before = NULL;

	fputs("# palaver.conf: every setting with its default.  See palaver.conf(5).\n"
	      "#\n"
	      "# Remove the # in front of a line to change it (and in front of the line that\n"
	      "# opens its section and of the } that closes it).  Check with: palaverd -t\n"
	      "# A reload is `palaverctl reload`.  Files conf.d/*.conf beside this one are read\n"
	      "# after it.\n\n",
	    out);
	for (size_t i = 0; i < conf_row_count; before = &conf_rows[i++]) {
		const struct conf_row *row = &conf_rows[i];
		const char *indent = print_section(out, row, before, true);
		bool quote = is_text(row);

		fprintf(out, "%s# %s\n", indent, row->help);
		print_bounds(out, indent, row);
		fprintf(out, "#%s%s = %s%s%s\n", indent, row->name, quote ? "\"" : "", row->def,
		    quote ? "\"" : "");
	}
	print_section(out, NULL, before, true);
	fputs(
	    "\n# Where to listen; the section may be given several times.  address is numeric, or\n"
	    "# \"*\" for every address of this machine.  A change needs a restart.\n"
	    "#listen {\n#\taddress = \"127.0.0.1\"\n#\tport = 8080\n#}\n"
	    "# With TLS: PEM files; the certificate is followed by those that vouch for it, the "
	    "key\n"
	    "# must not be readable by others.  A reload takes new contents.\n"
	    "#listen {\n#\taddress = \"*\"\n#\tport = 8443\n"
	    "#\tcertificate = \"/etc/palaver/cert.pem\"\n#\tkey = \"/etc/palaver/key.pem\"\n#}\n",
	    out);
}

static void
listen_clear(struct conf_listen *l)
{
	free(l->address);
	free(l->certificate);
	free(l->key);
}

void
conf_clear(struct conf *c)
{
	for (size_t i = 0; i < conf_row_count; i++) {
		if (is_text(&conf_rows[i]))
			free(*(char **)((char *)c + conf_rows[i].offset));
		free(c->origins[i]);
	}
	for (size_t i = 0; i < c->listen_count; i++)
		listen_clear(&c->listen[i]);
	free(c->origins);
}

void
conf_free(struct conf **cp)
{
	if (*cp) {
		conf_clear(*cp);
		free(*cp);
	}
	*cp = NULL;
}

void
conf_pack(struct buf *b, const struct conf *c)
{
	for (size_t i = 0; i < conf_row_count; i++) {
		const void *field = (const char *)c + conf_rows[i].offset;

		if (is_text(&conf_rows[i]))
			pack_str(b, *(char *const *)field);
		else if (conf_rows[i].kind == CONF_KIND_BOOL)
			pack_u8(b, *(const bool *)field);
		else
			pack_i64(b, *(const int64_t *)field);
		pack_str(b, c->origins[i]);
	}
	pack_u32(b, (uint32_t)c->listen_count);
	for (size_t i = 0; i < c->listen_count; i++) {
		pack_str(b, c->listen[i].address);
		pack_i64(b, c->listen[i].port);
		pack_str(b, c->listen[i].certificate);
		pack_str(b, c->listen[i].key);
	}
}

struct conf *
conf_unpack(struct unpack *u)
{
	struct conf *c = xcalloc(1, sizeof(*c));
	uint32_t n;

	c->origins = xcalloc(conf_row_count, sizeof(char *));
	for (size_t i = 0; i < conf_row_count; i++) {
		void *field = (char *)c + conf_rows[i].offset;

		if (is_text(&conf_rows[i]))
			*(char **)field = unpack_str(u);
		else if (conf_rows[i].kind == CONF_KIND_BOOL)
			*(bool *)field = unpack_u8(u) != 0;
		else
			*(int64_t *)field = unpack_i64(u);
		c->origins[i] = unpack_str(u);
	}
	n = unpack_u32(u);
	for (uint32_t i = 0; i < n && i < CONF_LISTEN_MAX; i++) {
		c->listen[i].address = unpack_str(u);
		c->listen[i].port = unpack_i64(u);
		c->listen[i].certificate = unpack_str(u);
		c->listen[i].key = unpack_str(u);
		c->listen_count++;
	}
	if (!unpack_ok(u) || n > CONF_LISTEN_MAX)
		conf_free(&c);
	return c;
}

static struct conf *
conf_copy(const struct conf *c)
{
	struct unpack u;
	struct conf *copy;
	struct buf b;

	buf_init(&b);
	conf_pack(&b, c);
	unpack_init(&u, b.data, b.len);
	copy = conf_unpack(&u);
	buf_fini(&b);
	return copy;
}

static bool
same_value(const struct conf_row *row, const struct conf *a, const struct conf *b)
{
	struct buf x, y;
	bool same;

	buf_init(&x);
	buf_init(&y);
	put_value(&x, a, row);
	put_value(&y, b, row);
	same = strcmp(buf_cstr(&x), buf_cstr(&y)) == 0;
	buf_fini(&x);
	buf_fini(&y);
	return same;
}

static bool
same_listen(const struct conf *a, const struct conf *b)
{
	if (a->listen_count != b->listen_count)
		return false;
	for (size_t i = 0; i < a->listen_count; i++)
		if (a->listen[i].port != b->listen[i].port ||
		    strcmp(a->listen[i].address, b->listen[i].address) != 0 ||
		    strcmp(a->listen[i].certificate, b->listen[i].certificate) != 0 ||
		    strcmp(a->listen[i].key, b->listen[i].key) != 0)
			return false;
	return true;
}

struct conf *
conf_merge_reload(const struct conf *old, const struct conf *fresh, struct buf *kept)
{
	struct conf *c = conf_copy(old), *f = conf_copy(fresh);

	for (size_t i = 0; i < conf_row_count; i++) {
		const struct conf_row *row = &conf_rows[i];
		char tmp[sizeof(int64_t)], *a = (char *)c + row->offset,
					   *b = (char *)f + row->offset;
		size_t size = is_text(row)                  ? sizeof(char *)
			      : row->kind == CONF_KIND_BOOL ? sizeof(bool)
							    : sizeof(int64_t);
		char *origin = c->origins[i];

		if (row->reload == CONF_RESTART) {
			if (!same_value(row, old, fresh))
				buf_printf(kept, "%s%s%s%s", kept->len ? ", " : "", row->section,
				    *row->section ? "." : "", row->name);
			continue;
		}
		memcpy(tmp, a, size); /* swapped, so that each copy frees what it holds */
		memcpy(a, b, size);
		memcpy(b, tmp, size);
		c->origins[i] = f->origins[i];
		f->origins[i] = origin;
	}
	if (!same_listen(old, fresh))
		buf_printf(kept, "%slisten", kept->len ? ", " : "");
	conf_free(&f);
	return c;
}
