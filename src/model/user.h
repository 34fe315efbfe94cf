/* SPDX-License-Identifier: ISC */
/*
 * user: an account, and session: one login of it (a refresh token).  Plain data.
 */
#ifndef PALAVER_MODEL_USER_H
#define PALAVER_MODEL_USER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "lib/buf.h"
#include "lib/id.h"

#define USERNAME_MIN     2
#define USERNAME_MAX     32  /* characters, all ASCII */
#define USER_NAME_MAX    128 /* bytes of the display name, UTF-8 */
#define PASSWORD_MIN     8
#define PASSWORD_MAX     128 /* bytes; crypt(3) takes less than 512 */
#define PASSWORD_HASH    160
#define TOKEN_HASH       32  /* SHA-256 */

struct user {
	char id[ID_MAX]; /* usr_.. */
	char username[USERNAME_MAX + 1]; /* [a-z0-9._-], begins with a letter or digit */
	char name[USER_NAME_MAX + 1];    /* shown to people */
	char password[PASSWORD_HASH];    /* crypt(5) text; never leaves the server */
	bool locked;
	int64_t created_ms;
};

struct session {
	char id[ID_MAX];   /* ses_.. */
	char user[ID_MAX];
	uint8_t token_hash[TOKEN_HASH]; /* of the refresh token */
	int64_t created_ms;
	int64_t expires_ms;
};

/* Lower-cases into dst and checks; false: not a username. */
bool username_normalize(char dst[USERNAME_MAX + 1], const char *src);

/* {"id","username","name","created_at"}; with admin also "locked". */
void user_json(struct buf *b, const struct user *u, bool admin);

#endif
