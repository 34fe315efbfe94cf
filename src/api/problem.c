/* SPDX-License-Identifier: ISC */
/*
 * problem: see problem.h.  Pure.
 */
#include "api/problem.h"

#include <string.h>

#include "lib/json.h"

#define RETRY_DEFAULT_S 1

int64_t
problem_retry_after(const struct chat_result *res)
{
	if (!error_retryable(res->err))
		return 0;
	return res->retry_after ? res->retry_after : RETRY_DEFAULT_S;
}

void
problem_json(struct buf *b, const struct chat_result *res, const char *request_id)
{
	const char *title = error_title(res->err);
	int64_t retry = problem_retry_after(res);

	buf_puts(b, "{\"type\":\"about:blank\",\"title\":");
	json_put_string(b, title, strlen(title));
	buf_printf(b, ",\"status\":%d,\"code\":\"%s\",\"request_id\":", error_status(res->err),
	    error_code(res->err));
	json_put_string(b, request_id, strlen(request_id));
	if (res->pointer)
		buf_printf(b, ",\"errors\":[{\"pointer\":\"%s\",\"code\":\"%s\"}]", res->pointer,
		    res->reason ? res->reason : "invalid");
	if (retry)
		buf_printf(b, ",\"retry_after\":%lld", (long long)retry);
	buf_putc(b, '}');
}
