/* SPDX-License-Identifier: ISC */
/*
 * conf_table: the rows of conf.def as data, for conf*.c alone.
 */
#ifndef PALAVER_LIB_CONF_TABLE_H
#define PALAVER_LIB_CONF_TABLE_H

#include "lib/conf.h"

enum conf_kind {
	CONF_KIND_STR,
	CONF_KIND_INT,
	CONF_KIND_BOOL,
	CONF_KIND_SIZE,
	CONF_KIND_TIME,
	CONF_KIND_ENUM,
	CONF_KIND_SECRET
};

enum conf_reload { CONF_RELOAD, CONF_RESTART };

struct conf_row {
	enum conf_kind kind;
	size_t offset; /* of the field in struct conf */
	const char *section, *name, *def;
	int64_t min, max;
	const char *choices;
	enum conf_reload reload;
	const char *help;
};

extern const struct conf_row conf_rows[];
extern const size_t conf_row_count;

char *conf_default_text(const struct conf_row *row); /* placeholders replaced; caller frees */
char *conf_bounds_error(const struct conf_row *row, const char *text); /* caller frees */
void conf_clear(struct conf *c); /* frees what a snapshot holds, not itself */

#endif
