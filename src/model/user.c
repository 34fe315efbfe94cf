/* SPDX-License-Identifier: ISC */
/*
 * user: accounts as data.  Pure; any thread.
 */
#include "model/user.h"

#include <string.h>

#include "lib/clock.h"
#include "lib/json.h"

static bool
username_char(char c, bool first)
{
	if ((c >= 'a' && c <= 'z') || (c >= '0' && c <= '9'))
		return true;
	return !first && (c == '.' || c == '_' || c == '-');
}

bool
username_normalize(char dst[USERNAME_MAX + 1], const char *src)
{
	size_t n = 0;

	for (; *src; src++, n++) {
		char c = *src >= 'A' && *src <= 'Z' ? (char)(*src - 'A' + 'a') : *src;

		if (n >= USERNAME_MAX || !username_char(c, n == 0))
			return false;
		dst[n] = c;
	}
	dst[n] = '\0';
	return n >= USERNAME_MIN;
}

void
user_json(struct buf *b, const struct user *u, bool admin)
{
	char when[CLOCK_TEXT_MAX];

	clock_format(u->created_ms, when);
	buf_printf(b, "{\"id\":\"%s\",\"username\":\"%s\",\"name\":", u->id, u->username);
	json_put_string(b, u->name, strlen(u->name));
	buf_printf(b, ",\"created_at\":\"%s\"", when);
	if (admin)
		buf_printf(b, ",\"locked\":%s", u->locked ? "true" : "false");
	buf_putc(b, '}');
}
