/* SPDX-License-Identifier: ISC */
/*
 * guard: slows the guessing of passwords, without locking anybody out and without telling
 * which accounts exist.  Thread: loop of a worker.
 *
 * Failures are counted for each address (IPv6: /64) and each account, in windows of
 * accounts.lockout_window, over all workers (bus_count).  From the failure on that reaches the
 * limit, each is followed by a pause, of one second and then twice the last one.  An attempt in
 * a pause is answered ERR_RATE_LIMITED before its password is hashed; so is one that began
 * before the pause, whatever its password was: of many at once, no more get an answer.
 *
 * The pause of an account is a minute at most, and does not hold for an address where the
 * user has a live session: strangers cannot keep a user from logging in there.  The pause of
 * an address may be as long as the window.
 *
 * Where the bus does not answer nothing is slowed: logging in matters more.
 */
#ifndef PALAVER_CHAT_GUARD_H
#define PALAVER_CHAT_GUARD_H

#include <stdint.h>

struct chat;

#define GUARD_PAUSE_MS         1000
#define GUARD_ACCOUNT_PAUSE_MS 60000 /* at most */
#define GUARD_SIGNUP_WINDOW_MS 3600000

/* The pause after so many failures, in ms; 0: none.  limit 0: there is none.  Pure. */
int64_t guard_pause(uint64_t failures, uint64_t limit, int64_t longest);

struct guard_subject {
	const char *account; /* what is counted: a username, whether it exists or not, or a user id */
	const char *user;    /* id; "": there is no such user */
	const char *address; /* text; "": unknown, which is not limited and has no sessions */
};

/* err: 0, or an ERR_; retry_after: seconds, with ERR_RATE_LIMITED. */
typedef void (*guard_cb)(void *arg, int err, int64_t retry_after);

/*
 * Is it the password of this hash?  hash "": never, but it takes as long.  cb runs once, later or
 * at once: 0, ERR_BAD_CREDENTIALS, ERR_RATE_LIMITED, ERR_OVERLOADED.  password: at most
 * PASSWORD_MAX bytes.
 */
void guard_check_password(struct chat *c, const struct guard_subject *s, const char *password,
    const char *hash, guard_cb cb, void *arg);

/* May this address try to make an account?  0 or ERR_RATE_LIMITED. */
void guard_signup(struct chat *c, const char *address, guard_cb cb, void *arg);

#endif
