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

#define USERNAME_MIN        2
#define USERNAME_MAX        32  /* characters, all ASCII */
#define USER_NAME_MAX       128 /* bytes of the display name, UTF-8 */
#define PASSWORD_MIN        8
#define PASSWORD_MAX        128 /* bytes; crypt(3) takes less than 512 */
#define PASSWORD_HASH       160
#define TOKEN_HASH          32  /* SHA-256 */
#define USER_AVATAR_MAX     512 /* bytes */
#define USER_BIO_MAX        1024
#define USER_ZONE_MAX       64
#define SESSION_ADDRESS_MAX 48
#define SESSION_AGENT_MAX   200

struct user {
	char id[ID_MAX];                 /* usr_.. */
	char username[USERNAME_MAX + 1]; /* [a-z0-9._-], begins with a letter or digit */
	char name[USER_NAME_MAX + 1];    /* shown to people */
	char password[PASSWORD_HASH];    /* crypt(5) text; never leaves the server */
	bool locked;
	int64_t created_ms;
	char avatar[USER_AVATAR_MAX + 1]; /* a URL or a file id; the server does not read it */
	char bio[USER_BIO_MAX + 1];
	char time_zone[USER_ZONE_MAX + 1]; /* of the IANA database: "Europe/Vienna" */
	int64_t deactivated_ms;            /* 0: active */
	int64_t last_seen_ms;              /* when the last device went; 0: never */
	uint64_t version;                  /* of the profile; from 1 */
};

/*
 * One login.  Each use of its refresh token gives a new one; a token that comes a second
 * time is in foreign hands and ends the session (the exact rule: chat/session.c).
 */
struct session {
	char id[ID_MAX]; /* ses_.. */
	char user[ID_MAX];
	uint8_t token_hash[TOKEN_HASH]; /* of the refresh token */
	int64_t created_ms;
	int64_t used_ms; /* last login or refresh */
	int64_t expires_ms;
	char address[SESSION_ADDRESS_MAX]; /* of the last use, as text */
	char agent[SESSION_AGENT_MAX + 1]; /* User-Agent of the last use */
};

#define INVITATION_NOTE_MAX 128 /* bytes */

/* A right to sign up, for whoever has its code.  The server keeps the code's hash alone. */
struct invitation {
	char id[ID_MAX]; /* inv_.. */
	uint8_t code_hash[TOKEN_HASH];
	uint64_t uses_left;
	int64_t created_ms, expires_ms;
	char note[INVITATION_NOTE_MAX + 1]; /* the administrator's own words */
};

/* Why a session ended, as clients are told.  The numbers are stored: append only. */
enum session_end {
	SESSION_REVOKED,
	SESSION_LOGGED_OUT,
	SESSION_PASSWORD_CHANGED,
	SESSION_TOKEN_REUSED,
	SESSION_USER_LOCKED,
	SESSION_USER_DEACTIVATED,
	SESSION_END_COUNT
};
const char *session_end_name(enum session_end why); /* "revoked", ..; of an unknown one, too */

/* A session that has ended while its access tokens may be good yet. */
struct revocation {
	char session[ID_MAX];
	char user[ID_MAX];
	int64_t until_ms; /* wall clock: all its access tokens have expired by then */
	enum session_end why;
};

/* {"id","created_at","used_at","address","agent","current"} */
void session_json(struct buf *b, const struct session *s, bool current);

/* Lower-cases into dst and checks; false: not a username. */
bool username_normalize(char dst[USERNAME_MAX + 1], const char *src);

/*
 * Has the text the shape of a name of the IANA time zone database ("Europe/Vienna", "UTC")?
 * Whether there is such a zone is not known here.
 */
bool time_zone_shaped(const char *name);

enum user_view {
	USER_PUBLIC, /* for every user */
	USER_ADMIN,  /* for palaverctl */
	USER_OWN     /* for the user */
};
/*
 * {"id","username","name","avatar","bio","time_zone","active","created_at"}; for the user and
 * the administrator also "version"; for the administrator also "locked", "deactivated_at",
 * "last_seen_at" (both may be null).
 */
void user_json(struct buf *b, const struct user *u, enum user_view view);

/* {"id","uses_left","created_at","expires_at","note"} */
void invitation_json(struct buf *b, const struct invitation *inv);

#endif
