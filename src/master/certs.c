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

static int
load_one(const struct conf_listen *l, struct certificate *c, char **error_r)
{
	struct tls_material m;
	const char *why;
	char *error;

	if (read_chain(l->certificate, &c->chain, error_r) < 0)
		return -1;
	if (conf_read_secret(l->key, PEM_MIN, PEM_MAX, &c->key, &error) < 0) {
		*error_r = xasprintf("listen.key: %s", error);
		free(error);
		return -1;
	}
	m = (struct tls_material){.chain = c->chain.data,
	    .chain_len = c->chain.len,
	    .key = c->key.data,
	    .key_len = c->key.len};
	why = tls_check(&m);
	if (why)
		*error_r = xasprintf("listen.certificate: %s: %s", l->certificate, why);
	return why ? -1 : 0;
}

void
certs_free(struct certificate certs[CONF_LISTEN_MAX])
{
	for (size_t i = 0; i < CONF_LISTEN_MAX; i++) {
		if (certs[i].key.len)
			explicit_bzero(certs[i].key.data, certs[i].key.len);
		buf_fini(&certs[i].chain);
		buf_fini(&certs[i].key);
	}
}

int
certs_load(const struct conf *c, struct certificate certs[CONF_LISTEN_MAX], char **error_r)
{
	memset(certs, 0, CONF_LISTEN_MAX * sizeof(*certs));
	for (size_t i = 0; i < c->listen_count; i++) {
		if (*c->listen[i].certificate && load_one(&c->listen[i], &certs[i], error_r) < 0) {
			certs_free(certs);
			return -1;
		}
	}
	return 0;
}

/* Before privileges are dropped: the files may be root's. */
void
setup_certificates(struct master *m)
{
	char *error;

	if (certs_load(m->conf, m->certificates, &error) < 0)
		fatal(EX_CONFIG, "setup.bad_certificate", "%s", error);
	random_bytes(m->ticket_key, sizeof(m->ticket_key));
}

int
certs_reload(struct master *m, char **error_r)
{
	struct certificate fresh[CONF_LISTEN_MAX];

	if (certs_load(m->conf, fresh, error_r) < 0)
		return -1;
	certs_free(m->certificates);
	memcpy(m->certificates, fresh, sizeof(fresh));
	random_bytes(m->ticket_key, sizeof(m->ticket_key));
	return 0;
}
