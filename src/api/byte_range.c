/* SPDX-License-Identifier: ISC */
/*
 * byte_range: see byte_range.h.  Pure.
 */
#include "api/byte_range.h"

#include <stdlib.h>
#include <string.h>
#include <strings.h>

/* false: there are no digits.  What is too large is the largest that there is. */
static bool
number(const char **p, uint64_t *v_r)
{
	char *end;

	if (**p < '0' || **p > '9')
		return false;
	*v_r = strtoull(*p, &end, 10);
	*p = end;
	return true;
}

bool
byte_range_parse(const char *text, uint64_t size, uint64_t *at_r, uint64_t *end_r)
{
	uint64_t first = 0, last = 0;
	bool has_first, has_last;

	*at_r = 0;
	*end_r = size;
	if (!text || strncasecmp(text, "bytes=", 6) != 0)
		return true;
	text += 6;
	has_first = number(&text, &first);
	if (*text++ != '-')
		return true;
	has_last = number(&text, &last);
	if (*text || (!has_first && !has_last) || (has_first && has_last && last < first))
		return true;
	if (!has_first) { /* the last bytes, so many */
		*at_r = last < size ? size - last : 0;
		return last > 0 && size > 0;
	}
	if (first >= size)
		return false;
	*at_r = first;
	if (has_last && last < size - 1)
		*end_r = last + 1;
	return true;
}
