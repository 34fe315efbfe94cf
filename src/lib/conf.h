/* SPDX-License-Identifier: ISC */
/*
 * conf: palaver.conf, by libconfuse from the table conf.def.
 *
 * A snapshot is immutable.  The master loads it and sends it to the children,
 * who never read a file.  Thread: loop.
 */
#ifndef PALAVER_LIB_CONF_H
#define PALAVER_LIB_CONF_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include "lib/buf.h"
#include "lib/pack.h"

#define CONF_LISTEN_MAX 16

struct conf_listen {
	char *address; /* numeric IPv4 or IPv6, or "*" */
	int64_t port;  /* 0: any free one (tests) */
	char *certificate; /* PEM file; "": no TLS */
	char *key;         /* PEM file, a secret */
};

#define CONF_C_STR    char *
#define CONF_C_INT    int64_t
#define CONF_C_BOOL   bool
#define CONF_C_SIZE   int64_t
#define CONF_C_TIME   int64_t /* ms */
#define CONF_C_ENUM   char *
#define CONF_C_SECRET char *

struct conf {
#define CONF(kind, field, section, name, def, min, max, choices, reload, help) CONF_C_##kind field;
#include "lib/conf.def"
#undef CONF
	struct conf_listen listen[CONF_LISTEN_MAX]; /* `listen` sections; default one, 127.0.0.1:8080 */
	size_t listen_count;
	/* Where each value came from: "default" or file:line, in the order of the table. */
	char **origins;
};

/*
 * Loads path and then <dir of path>/conf.d/ *.conf in order of name (a later value
 * wins; listen sections add up).  NULL: refused, and *error_r (caller frees) is one
 * line "file:line: name: what is wrong, what to do".
 * path NULL: the defaults alone.
 */
struct conf *conf_load(const char *path, char **error_r);
void conf_free(struct conf **c);

/*
 * Reads a secret file: regular, not readable or writable by group or others, owned
 * by root or by the running user (root takes anybody's), min..max bytes.  A trailing newline is dropped.
 * -1 with *error_r ("path: what is wrong, what to do").
 */
int conf_read_secret(const char *path, size_t min, size_t max, struct buf *out, char **error_r);

/* All effective values with their origins, in the format of the file. */
void conf_dump(const struct conf *c, FILE *out);
/* The commented example that etc/palaver.conf must equal. */
void conf_example(FILE *out);

/*
 * What HUP makes of old and fresh: rows of class RESTART keep the old value.
 * Appends the names of the rows that want a restart to *kept (comma separated).
 * The result is a new snapshot.
 */
struct conf *conf_merge_reload(const struct conf *old, const struct conf *fresh, struct buf *kept);

void conf_pack(struct buf *b, const struct conf *c);
struct conf *conf_unpack(struct unpack *u); /* NULL: damaged */

#endif
