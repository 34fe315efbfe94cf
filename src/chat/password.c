/* SPDX-License-Identifier: ISC */
/*
 * password: see password.h.  Submitted and answered on the loop thread, hashed on
 * the pool's one thread.  Passwords are wiped before their memory is freed.
 */
#include "chat/password.h"

#include <crypt.h>
#include <stdlib.h>
#include <string.h>

#include "lib/buf.h"
#include "lib/job.h"
#include "lib/log.h"
#include "model/error.h"
#include "model/user.h"

struct password_pool {
	struct job_pool *jobs;
	uint64_t hashes;
};

struct password_job {
	char password[PASSWORD_MAX + 1];
	char setting[PASSWORD_HASH]; /* the hash to compare with, or "" */
	int cost;
	char hash[PASSWORD_HASH]; /* "" on failure */
	bool matches;
	password_hash_cb hash_cb;
	password_check_cb check_cb;
	void *arg;
};

/* crypt_data is 32 KiB: not for a thread's stack. */
static void *
thread_init(void *arg)
{
	(void)arg;
	return xcalloc(1, sizeof(struct crypt_data));
}

static void
thread_fini(void *ctx)
{
	explicit_bzero(ctx, sizeof(struct crypt_data));
	free(ctx);
}

static bool
equal_slow(const char *a, const char *b)
{
	size_t la = strlen(a), lb = strlen(b);
	unsigned char diff = la != lb;

	for (size_t i = 0; i < la && i < lb; i++)
		diff |= (unsigned char)(a[i] ^ b[i]);
	return diff == 0;
}

/* A failure of crypt(3) is NULL or a text that begins with '*'. */
static void
work(void *ctx, void *arg)
{
	struct password_job *j = arg;
	bool against = j->setting[0] != '\0';
	char salt[CRYPT_GENSALT_OUTPUT_SIZE];
	const char *setting = j->setting, *out;

	if (!against) {
		setting =
		    crypt_gensalt_rn("$y$", (unsigned long)j->cost, NULL, 0, salt, sizeof(salt));
		if (!setting)
			return;
	}
	out = crypt_r(j->password, setting, ctx);
	if (!out || *out == '*')
		return;
	if (!str_copy(j->hash, sizeof(j->hash), out))
		j->hash[0] = '\0';
	j->matches = against && equal_slow(j->hash, j->setting);
}

static void
done(void *arg)
{
	struct password_job *j = arg;

	explicit_bzero(j->password, sizeof(j->password));
	if (!j->hash[0])
		log_error("password.failed", "hint=%s", log_quote("crypt(3) has no yescrypt here"));
	if (j->hash_cb)
		j->hash_cb(j->arg, j->hash[0] ? j->hash : NULL);
	else
		j->check_cb(j->arg, j->matches);
	free(j);
}

struct password_pool *
password_pool_new(unsigned int queue)
{
	struct password_pool *p = xcalloc(1, sizeof(*p));
	struct job_pool_opts opts = {.name = "password",
	    .threads = 1,
	    .queue = queue,
	    .thread_init = thread_init,
	    .thread_fini = thread_fini};

	p->jobs = job_pool_new(&opts);
	return p;
}

void
password_pool_free(struct password_pool **pp)
{
	struct password_pool *p = *pp;

	*pp = NULL;
	if (!p)
		return;
	job_pool_free(&p->jobs);
	free(p);
}

uint64_t
password_pool_hashes(const struct password_pool *p)
{
	return p->hashes;
}

static int
submit(struct password_pool *p, const struct password_job *from, const char *password)
{
	struct password_job *j = xcalloc(1, sizeof(*j));

	*j = *from;
	str_copy(j->password, sizeof(j->password), password);
	if (job_submit(p->jobs, work, done, j) == 0) {
		p->hashes++;
		return 0;
	}
	explicit_bzero(j->password, sizeof(j->password));
	free(j);
	return ERR_OVERLOADED;
}

int
password_hash(
    struct password_pool *p, const char *password, int cost, password_hash_cb cb, void *arg)
{
	struct password_job j = {.cost = cost, .hash_cb = cb, .arg = arg};

	return submit(p, &j, password);
}

int
password_check(struct password_pool *p, const char *password, const char *hash, int cost,
    password_check_cb cb, void *arg)
{
	struct password_job j = {.cost = cost, .check_cb = cb, .arg = arg};

	str_copy(j.setting, sizeof(j.setting), hash);
	return submit(p, &j, password);
}
