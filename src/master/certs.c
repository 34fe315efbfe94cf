/* SPDX-License-Identifier: ISC */
/*
 * certs: certificates and keys of the listen sections, read by the master and handed
 * to the workers.  Master process.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sysexits.h>

#include "lib/id.h"
#include "lib/log.h"
#include "lib/tls.h"
#include "master/master.h"

#define PEM_MIN 32
#define PEM_MAX (256 * 1024)

static int
read_chain(const char *path, struct buf *out, char **error_r)
{
	FILE *f = fopen(path, "re");
	size_t n;

	if (!f) {
		*error_r =
		    xasprintf("listen.certificate: %s: cannot be read: %s", path, strerror(errno));
		return -1;
	}
	n = fread(buf_reserve(out, PEM_MAX + 1), 1, PEM_MAX + 1, f);
	out->len = n;
	fclose(f);
	if (n <= PEM_MAX)
		return 0;
	*error_r = xasprintf("listen.certificate: %s: is larger than %d bytes", path, PEM_MAX);
	return -1;
}

/* 0 or an exit status. */
static int
load_one(const struct conf_listen *l, struct certificate *c, char **error_r)
{
	struct tls_material m;
	const char *why;
	char *error;

	if (read_chain(l->certificate, &c->chain, error_r) < 0)
		return EX_CONFIG;
	if (conf_read_secret(l->key, PEM_MIN, PEM_MAX, &c->key, &error) < 0) {
		*error_r = xasprintf("listen.key: %s", error);
		free(error);
		return EX_NOPERM;
	}
	m = (struct tls_material){.chain = c->chain.data,
	    .chain_len = c->chain.len,
	    .key = c->key.data,
	    .key_len = c->key.len};
	why = tls_check(&m);
	if (why)
		*error_r = xasprintf("listen.certificate: %s: %s", l->certificate, why);
	return why ? EX_CONFIG : 0;
}

static void
certificate_free(struct certificate *c)
{
	if (c->key.len)
		explicit_bzero(c->key.data, c->key.len);
	buf_fini(&c->chain);
	buf_fini(&c->key);
}

void
certs_free(struct certificate certs[CONF_LISTEN_MAX])
{
	for (size_t i = 0; i < CONF_LISTEN_MAX; i++)
		certificate_free(&certs[i]);
}

int
certs_load(const struct conf *c, struct certificate certs[CONF_LISTEN_MAX], char **error_r)
{
	int status = 0;

	memset(certs, 0, CONF_LISTEN_MAX * sizeof(*certs));
	for (size_t i = 0; i < c->listen_count && !status; i++)
		if (*c->listen[i].certificate)
			status = load_one(&c->listen[i], &certs[i], error_r);
	if (status)
		certs_free(certs);
	return status;
}

/* Before privileges are dropped: the files may be root's. */
void
setup_certificates(struct master *m)
{
	char *error;
	int status = certs_load(m->conf, m->certificates, &error);

	if (status)
		fatal(status, "setup.bad_certificate", "%s", error);
	random_bytes(m->ticket_key, sizeof(m->ticket_key));
}

void
certs_reload(struct master *m, struct buf *errors)
{
	for (size_t i = 0; i < m->conf->listen_count; i++) {
		struct certificate fresh;
		char *error;

		if (!*m->conf->listen[i].certificate)
			continue;
		buf_init(&fresh.chain);
		buf_init(&fresh.key);
		if (load_one(&m->conf->listen[i], &fresh, &error)) {
			log_error(
			    "master.certificate_kept", "%s; the old certificate stays", error);
			buf_printf(errors, "%s%s", errors->len ? "; " : "", error);
			free(error);
			certificate_free(&fresh);
		} else {
			certificate_free(&m->certificates[i]);
			m->certificates[i] = fresh;
		}
	}
	random_bytes(m->ticket_key, sizeof(m->ticket_key));
}
