/* SPDX-License-Identifier: ISC */
/*
 * tls: certificates for libwebsockets' vhosts.  Thread: loop.
 *
 * TLS 1.2 with forward secrecy and AEAD, and 1.3; no renegotiation, no compression; no
 * session cache, but tickets, whose key all workers share.  Buffers are released while
 * a connection is idle.
 */
#ifndef PALAVER_LIB_TLS_H
#define PALAVER_LIB_TLS_H

#include <openssl/ssl.h>
#include <stddef.h>

#define TLS_TICKET_KEY 80 /* bytes, as OpenSSL takes them */

struct tls_material {
	const void *chain; /* PEM: the certificate, then those that vouch for it */
	size_t chain_len;
	const void *key; /* PEM, without a passphrase */
	size_t key_len;
	const void *tickets; /* TLS_TICKET_KEY bytes, or NULL: none */
};

/* Does the key fit the certificate?  NULL: yes, else what is wrong. */
const char *tls_check(const struct tls_material *m);
/* Puts it into a context, new or in use; connections that are open keep what they have. */
const char *tls_use(SSL_CTX *ctx, const struct tls_material *m);
void tls_defaults(SSL_CTX *ctx);

#endif
