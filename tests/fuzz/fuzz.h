/* SPDX-License-Identifier: ISC */
/*
 * fuzz: what the fuzz targets share.  A target takes its settings from the first bytes of
 * the input, and what must hold is an assert: a finding is an abort or a sanitizer's report.
 */
#ifndef PALAVER_TESTS_FUZZ_H
#define PALAVER_TESTS_FUZZ_H

#include <assert.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* A copy that ends where it ends, so that AddressSanitizer sees a read beyond it. */
static inline void *
fuzz_copy(const void *data, size_t len)
{
	void *p = malloc(len + !len);

	assert(p);
	if (len)
		memcpy(p, data, len);
	return p;
}

#endif
