/* SPDX-License-Identifier: ISC */
/*
 * problem: errors as RFC 9457 problem objects, the same for REST and sockets.
 */
#ifndef PALAVER_API_PROBLEM_H
#define PALAVER_API_PROBLEM_H

#include "chat/chat.h"
#include "lib/buf.h"

/* Seconds a client should wait before it tries again; 0: trying again does not help. */
int64_t problem_retry_after(const struct chat_result *res);

/*
 * Appends {"type":"about:blank","title","status","code","request_id",
 * "errors":[{"pointer","code"}],"retry_after"}.
 */
void problem_json(struct buf *b, const struct chat_result *res, const char *request_id);

#endif
