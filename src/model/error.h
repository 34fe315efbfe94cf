/* SPDX-License-Identifier: ISC */
/*
 * error: the negative codes that functions return for what the outside world
 * did, from error.def.  A bool answers a question and never reports failure.
 */
#ifndef PALAVER_MODEL_ERROR_H
#define PALAVER_MODEL_ERROR_H

#include <stdbool.h>

enum error_index {
	ERROR_NONE,
#define ERROR(name, code, status, retry, title) ERROR_IX_##name,
#include "model/error.def"
#undef ERROR
	ERROR_COUNT
};

enum error {
#define ERROR(name, code, status, retry, title) ERR_##name = -ERROR_IX_##name,
#include "model/error.def"
#undef ERROR
};

/* err: 0 or any ERR_; anything else is treated as ERR_INTERNAL. */
const char *error_code(int err);   /* "ok" for 0 */
const char *error_title(int err);
int error_status(int err);         /* HTTP status; 200 for 0 */
bool error_retryable(int err);     /* the same request may succeed later */

#endif
