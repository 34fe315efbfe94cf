/* SPDX-License-Identifier: ISC */
/*
 * error: the table of error.def.  Pure; any thread.
 */
#include "model/error.h"

static const struct {
	const char *code, *title;
	int status;
	bool retryable;
} errors[ERROR_COUNT] = {
    [ERROR_NONE] = {"ok", "Success", 200, false},
#define ERROR(name, code, status, retry, title) [ERROR_IX_##name] = {code, title, status, retry},
#include "model/error.def"
#undef ERROR
};

static int
row(int err)
{
	return err > 0 || err <= -ERROR_COUNT ? ERROR_IX_INTERNAL : -err;
}

const char *
error_code(int err)
{
	return errors[row(err)].code;
}

const char *
error_title(int err)
{
	return errors[row(err)].title;
}

int
error_status(int err)
{
	return errors[row(err)].status;
}

bool
error_retryable(int err)
{
	return errors[row(err)].retryable;
}
