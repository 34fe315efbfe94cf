/* SPDX-License-Identifier: ISC */
/*
 * byte_range: the header Range of a request (RFC 9110, 14.2), one range of bytes.  Pure.
 */
#ifndef PALAVER_API_BYTE_RANGE_H
#define PALAVER_API_BYTE_RANGE_H

#include <stdbool.h>
#include <stdint.h>

/*
 * The bytes at..end - 1 of `size` that are wanted: all of them where text is NULL, malformed, has
 * several ranges or another unit, as the RFC allows.  false: unsatisfiable, 416.
 */
bool byte_range_parse(const char *text, uint64_t size, uint64_t *at_r, uint64_t *end_r);

#endif
