/* SPDX-License-Identifier: ISC */
/*
 * token: access tokens, JWT (RFC 7519) signed with HS256 (RFC 7518, 3.2), and the
 * hash under which refresh tokens are stored.  Pure; any thread.
 */
#ifndef PALAVER_CHAT_TOKEN_H
#define PALAVER_CHAT_TOKEN_H

#include <stdint.h>

#include "lib/buf.h"
#include "lib/id.h"
#include "lib/keys.h"
#include "model/user.h"

struct token_claims {
	char user[ID_MAX];    /* sub */
	char session[ID_MAX]; /* sid */
	int64_t issued_ms;    /* iat, whole seconds on the wire */
	int64_t expires_ms;   /* exp */
};

/* Appends the token, by the key that signs. */
void token_sign(struct buf *b, const struct token_claims *claims, const struct key_set *keys);
/*
 * 0 or ERR_UNAUTHORIZED: not exactly the header that one of the keys gives its tokens, a
 * wrong signature, expired at now_ms, or claims that are missing.  No other algorithm than
 * HS256 is ever accepted.
 */
int token_verify(const char *token, const struct key_set *keys, int64_t now_ms,
    struct token_claims *claims_r);

#define REFRESH_TEXT 48 /* a refresh token: 43 characters of base64url and NUL */

/* The token that takes the place of this one; nobody derives it without the nonce. */
void token_successor(char dst[REFRESH_TEXT], const char *refresh_token,
    const uint8_t nonce[TOKEN_HASH]);
void token_hash(uint8_t dst[TOKEN_HASH], const char *refresh_token); /* SHA-256 */

#endif
