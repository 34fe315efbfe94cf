/* SPDX-License-Identifier: ISC */
/*
 * password: yescrypt hashing on a thread of its own with a bounded queue.  A hash
 * takes about 0.1 s at the default cost, so logins beyond what the thread can do
 * are refused instead of piling up.  Thread: loop.
 */
#ifndef PALAVER_CHAT_PASSWORD_H
#define PALAVER_CHAT_PASSWORD_H

#include <stdbool.h>
#include <stdint.h>

struct password_pool;

struct password_pool *password_pool_new(unsigned int queue);
void password_pool_free(struct password_pool **p); /* waiting ones do not call back */

uint64_t password_pool_hashes(const struct password_pool *p); /* so many were begun */

/* hash: crypt(5) text, or NULL if hashing failed.  Valid during the call. */
typedef void (*password_hash_cb)(void *arg, const char *hash);
typedef void (*password_check_cb)(void *arg, bool matches);

/* 0, or ERR_OVERLOADED and cb never runs.  cost: yescrypt, 1 to 11. */
int password_hash(struct password_pool *p, const char *password, int cost, password_hash_cb cb,
    void *arg);
/*
 * hash "" stands for "there is no such user": takes as long as a real check at
 * `cost` and never matches, so that the time tells nobody which names exist.
 */
int password_check(struct password_pool *p, const char *password, const char *hash, int cost,
    password_check_cb cb, void *arg);

#endif
