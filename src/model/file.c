/* SPDX-License-Identifier: ISC */
/*
 * file: see file.h.  Pure.
 */
#include "model/file.h"

#include <string.h>

#include "lib/json.h"

bool
file_name_valid(const char *name)
{
	size_t len = strlen(name);

	return len && len <= FILE_NAME_BYTES && utf8_printable(name) && !strchr(name, '/') &&
	       strcmp(name, ".") != 0 && strcmp(name, "..") != 0;
}

/* RFC 9110, 5.6.2 */
static size_t
token_len(const char *s)
{
	return strspn(s, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"
			 "!#$%&'*+-.^_`|~");
}

bool
file_type_parse(const char *text, char type_r[FILE_TYPE_BYTES + 1])
{
	size_t first, len;

	if (!text || !*text)
		text = "application/octet-stream";
	first = token_len(text);
	if (!first || text[first] != '/')
		return false;
	len = first + 1 + token_len(text + first + 1);
	if (len == first + 1 || len > FILE_TYPE_BYTES || (text[len] && !strchr("; \t", text[len])))
		return false;
	for (size_t i = 0; i < len; i++)
		type_r[i] = text[i] >= 'A' && text[i] <= 'Z' ? (char)(text[i] | 0x20) : text[i];
	type_r[len] = '\0';
	return true;
}

void
file_put_json(struct buf *b, const struct file *f)
{
	buf_printf(b, "{\"id\":\"%s\",\"name\":", f->id);
	json_put_string(b, f->name, strlen(f->name));
	buf_puts(b, ",\"type\":");
	json_put_string(b, f->type, strlen(f->type));
	buf_printf(b, ",\"size\":%lld}", (long long)f->size);
}
