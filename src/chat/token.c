/* SPDX-License-Identifier: ISC */
/*
 * token: JWT by OpenSSL and json-c.  Pure; any thread.
 *
 * The header is {"alg":"HS256","kid":"ID","typ":"JWT"}, these bytes and no others.  It is
 * compared as text with that of each key, so a token chooses its key and nothing else.
 */
#include "chat/token.h"

#include <assert.h>
#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <string.h>

#include "lib/json.h"
#include "model/error.h"

#define MAC_LEN     32
#define MAC_TEXT    43 /* base64url without padding */
#define PAYLOAD_MAX 512
#define TOKEN_MAX   1024

#define HEADER_MAX 128 /* base64url, with the dot and NUL */

/* Base64url without padding; dst holds 4 * ((len + 2) / 3) + 1. */
static size_t
base64url(char *dst, const uint8_t *src, size_t len)
{
	size_t n = (size_t)EVP_EncodeBlock((unsigned char *)dst, src, (int)len);

	while (n && dst[n - 1] == '=')
		n--;
	dst[n] = '\0';
	for (size_t i = 0; i < n; i++)
		dst[i] = dst[i] == '+' ? '-' : dst[i] == '/' ? '_' : dst[i];
	return n;
}

/* Returns the length, or -1: not base64url. */
static int
base64url_decode(uint8_t *dst, const char *src, size_t len)
{
	char padded[TOKEN_MAX + 4];
	size_t n, pad = (4 - len % 4) % 4;
	int got;

	if (len > TOKEN_MAX || pad == 3)
		return -1;
	for (n = 0; n < len; n++) {
		if (src[n] == '+' || src[n] == '/' || src[n] == '=')
			return -1;
		padded[n] = src[n] == '-' ? '+' : src[n] == '_' ? '/' : src[n];
	}
	memset(padded + n, '=', pad);
	got = EVP_DecodeBlock(dst, (unsigned char *)padded, (int)(len + pad));
	return got < 0 ? -1 : got - (int)pad;
}

static void
mac_text(char dst[MAC_TEXT + 2], const char *text, size_t len, const void *key, size_t key_len)
{
	uint8_t mac[EVP_MAX_MD_SIZE];
	unsigned int n = 0;

	/* A NULL result means no memory or a broken library, nothing a caller did. */
	if (!HMAC(EVP_sha256(), key, (int)key_len, (const uint8_t *)text, len, mac, &n))
		n = 0;
	assert(n == MAC_LEN);
	base64url(dst, mac, n);
}

/* With the dot; returns the length. */
static size_t
header_text(char dst[HEADER_MAX], const struct key *k)
{
	char json[48 + KEY_ID_MAX];
	int n = snprintf(
	    json, sizeof(json), "{\"alg\":\"HS256\",\"kid\":\"%s\",\"typ\":\"JWT\"}", k->id);
	size_t len = base64url(dst, (const uint8_t *)json, (size_t)n);

	strcpy(dst + len, ".");
	return len + 1;
}

void
token_sign(struct buf *b, const struct token_claims *c, const struct key_set *keys)
{
	char payload[PAYLOAD_MAX], encoded[PAYLOAD_MAX * 2], mac[MAC_TEXT + 2], header[HEADER_MAX];
	const struct key *k = &keys->keys[keys->signer];
	size_t start = b->len;
	int n;

	n = snprintf(payload, sizeof(payload),
	    "{\"sub\":\"%s\",\"sid\":\"%s\",\"iat\":%lld,\"exp\":%lld}", c->user, c->session,
	    (long long)(c->issued_ms / 1000), (long long)(c->expires_ms / 1000));
	buf_append(b, header, header_text(header, k));
	buf_append(b, encoded, base64url(encoded, (uint8_t *)payload, (size_t)n));
	mac_text(mac, (char *)b->data + start, b->len - start, k->data, k->len);
	buf_putc(b, '.');
	buf_puts(b, mac);
}

static int
read_claims(const char *payload, size_t len, int64_t now_ms, struct token_claims *r)
{
	const char *why, *sub = NULL, *sid = NULL;
	int64_t iat = 0, expires = 0;
	uint8_t text[TOKEN_MAX + 4];
	struct json_object *o;
	int n, err = ERR_UNAUTHORIZED;

	n = base64url_decode(text, payload, len);
	if (n <= 0)
		return err;
	o = json_parse((char *)text, (size_t)n, &json_default_limits, &why);
	if (o && json_object_is_type(o, json_type_object) && json_get_str(o, "sub", &sub) &&
	    json_get_str(o, "sid", &sid) && json_get_int(o, "iat", &iat) &&
	    json_get_int(o, "exp", &expires) && sub && sid && id_valid(sub, "usr") &&
	    id_valid(sid, "ses") && expires * 1000 > now_ms) {
		str_copy(r->user, sizeof(r->user), sub);
		str_copy(r->session, sizeof(r->session), sid);
		r->issued_ms = iat * 1000;
		r->expires_ms = expires * 1000;
		err = 0;
	}
	json_object_put(o);
	return err;
}

/* The key whose header the token has, and the header's length; NULL: none's. */
static const struct key *
key_of(const char *token, const struct key_set *keys, size_t *head_r)
{
	char header[HEADER_MAX];

	for (size_t i = 0; i < keys->count; i++) {
		*head_r = header_text(header, &keys->keys[i]);
		if (strncmp(token, header, *head_r) == 0)
			return &keys->keys[i];
	}
	return NULL;
}

int
token_verify(const char *token, const struct key_set *keys, int64_t now_ms, struct token_claims *r)
{
	size_t head;
	char mac[MAC_TEXT + 2];
	const struct key *k;
	const char *dot;

	if (strlen(token) > TOKEN_MAX)
		return ERR_UNAUTHORIZED;
	k = key_of(token, keys, &head);
	dot = k ? strchr(token + head, '.') : NULL;
	if (!dot || strlen(dot + 1) != MAC_TEXT)
		return ERR_UNAUTHORIZED;
	mac_text(mac, token, (size_t)(dot - token), k->data, k->len);
	if (CRYPTO_memcmp(mac, dot + 1, MAC_TEXT) != 0)
		return ERR_UNAUTHORIZED;
	return read_claims(token + head, (size_t)(dot - token) - head, now_ms, r);
}

void
token_successor(char dst[REFRESH_TEXT], const char *refresh_token, const uint8_t nonce[TOKEN_HASH])
{
	mac_text(dst, refresh_token, strlen(refresh_token), nonce, TOKEN_HASH);
}

void
token_hash(uint8_t dst[TOKEN_HASH], const char *refresh_token)
{
	unsigned int n = 0;

	if (!EVP_Digest(refresh_token, strlen(refresh_token), dst, &n, EVP_sha256(), NULL))
		n = 0;
	assert(n == TOKEN_HASH);
}
