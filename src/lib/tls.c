/* SPDX-License-Identifier: ISC */
/*
 * tls: PEM to OpenSSL's context.  Loop thread; also the master, to check.
 */
#include "lib/tls.h"

#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/x509.h>

static const char ciphers[] = "ECDHE+AESGCM:ECDHE+CHACHA20";

struct parsed {
	X509 *leaf;
	STACK_OF(X509) * chain;
	EVP_PKEY *key;
};

static void
parsed_fini(struct parsed *p)
{
	X509_free(p->leaf);
	sk_X509_pop_free(p->chain, X509_free);
	EVP_PKEY_free(p->key);
	ERR_clear_error();
}

/* Never asks a terminal. */
static int
no_passphrase(char *buf, int size, int rwflag, void *arg)
{
	(void)buf, (void)size, (void)rwflag, (void)arg;
	return 0;
}

static const char *
parse_chain(struct parsed *p, const struct tls_material *m)
{
	BIO *bio = BIO_new_mem_buf(m->chain, (int)m->chain_len);
	X509 *next;

	p->chain = sk_X509_new_null();
	p->leaf = PEM_read_bio_X509_AUX(bio, NULL, no_passphrase, NULL);
	while (p->leaf && (next = PEM_read_bio_X509(bio, NULL, no_passphrase, NULL)) != NULL)
		sk_X509_push(p->chain, next);
	BIO_free(bio);
	return p->leaf ? NULL : "holds no certificate in PEM";
}

static const char *
parse(struct parsed *p, const struct tls_material *m)
{
	const char *why = parse_chain(p, m);
	BIO *bio;

	if (why)
		return why;
	bio = BIO_new_mem_buf(m->key, (int)m->key_len);
	p->key = PEM_read_bio_PrivateKey(bio, NULL, no_passphrase, NULL);
	BIO_free(bio);
	if (!p->key)
		return "its key file holds no private key in PEM, or one with a passphrase";
	if (X509_check_private_key(p->leaf, p->key) != 1)
		return "is not for this key";
	if (X509_cmp_current_time(X509_get0_notAfter(p->leaf)) < 0)
		return "has expired";
	return NULL;
}

const char *
tls_check(const struct tls_material *m)
{
	struct parsed p = {0};
	const char *why = parse(&p, m);

	parsed_fini(&p);
	return why;
}

const char *
tls_use(SSL_CTX *ctx, const struct tls_material *m)
{
	struct parsed p = {0};
	const char *why = parse(&p, m);

	if (!why && SSL_CTX_use_cert_and_key(ctx, p.leaf, p.key, p.chain, 1) != 1)
		why = "is not taken by OpenSSL (too short a key?)";
	if (!why && m->tickets)
		SSL_CTX_set_tlsext_ticket_keys(ctx, (void *)m->tickets, TLS_TICKET_KEY);
	parsed_fini(&p);
	return why;
}

void
tls_defaults(SSL_CTX *ctx)
{
	SSL_CTX_set_min_proto_version(ctx, TLS1_2_VERSION);
	SSL_CTX_set_cipher_list(ctx, ciphers);
	SSL_CTX_set_options(ctx, SSL_OP_NO_RENEGOTIATION | SSL_OP_NO_COMPRESSION |
				     SSL_OP_CIPHER_SERVER_PREFERENCE | SSL_OP_PRIORITIZE_CHACHA);
	SSL_CTX_set_mode(ctx, SSL_MODE_RELEASE_BUFFERS);
	SSL_CTX_set_session_cache_mode(ctx, SSL_SESS_CACHE_OFF);
	SSL_CTX_set_num_tickets(ctx, 1);
}
