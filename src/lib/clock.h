/* SPDX-License-Identifier: ISC */
/*
 * clock: time as text.  RFC 3339, UTC, with milliseconds:
 * 2026-11-24T09:28:35.123Z.  The clocks themselves are in loop.h.
 */
#ifndef PALAVER_LIB_CLOCK_H
#define PALAVER_LIB_CLOCK_H

#include <stdint.h>

#define CLOCK_TEXT_MAX 32

void clock_format(int64_t wall_ms, char dst[CLOCK_TEXT_MAX]);

#endif
