/* SPDX-License-Identifier: ISC */
/*
 * id: opaque, time-sortable names with a typed prefix, e.g.
 * msg_01jx3kq5v8z6w9y2m4t7r0p1nb: 48 bits of milliseconds since 1970 and 80
 * random bits as 26 characters of Crockford's base 32 in lower case, so that
 * text order is time order.  Ids of one process are strictly increasing.
 */
#ifndef PALAVER_LIB_ID_H
#define PALAVER_LIB_ID_H

#include <stdbool.h>
#include <stddef.h>

#define ID_MAX  32 /* with prefix and NUL: "cnv_" + 26 + NUL = 31 */
#define ID_BODY 26

/* prefix: three letters.  Any thread. */
void id_new(char dst[ID_MAX], const char *prefix);
bool id_valid(const char *s, const char *prefix);
/* n random bytes from the kernel; ends the process if there are none.  Any thread. */
void random_bytes(void *dst, size_t n);
/* A random token: n bytes as URL-safe base64 without padding; dst holds 4*(n+2)/3 + 1. */
void random_token(char *dst, size_t n);
bool uuid_valid(const char *s); /* RFC 9562 text form, any version, either case */

#endif
