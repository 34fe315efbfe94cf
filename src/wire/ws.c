/* SPDX-License-Identifier: ISC */
/*
 * ws: the frame reader.  Loop thread.
 *
 * A frame that is wholly in what was read, and is a message of its own, is handed on
 * from there.  Everything else goes through `partial`, which holds the bytes of a
 * header that is not complete, the frame under way and the fragments so far.
 */
#include "wire/ws.h"

#include <openssl/evp.h>
#include <stdlib.h>
#include <string.h>

#include "lib/buf.h"
#include "lib/json.h"

#define HEADER_MAX  14
#define CONTROL_MAX 125

enum opcode {
	OP_CONTINUE = 0,
	OP_TEXT = 1,
	OP_BINARY = 2,
	OP_CLOSE = 8,
	OP_PING = 9,
	OP_PONG = 10
};

struct frame_head {
	bool fin;
	enum opcode op;
	uint64_t len;
	uint8_t mask[4];
};

struct ws_partial {
	uint8_t head[HEADER_MAX];
	size_t head_len; /* bytes of a header that is not complete */
	bool in_frame;
	struct frame_head f; /* in_frame */
	uint64_t left;       /* of its payload */
	struct buf message;  /* fragments so far */
	enum opcode op;      /* of the message; OP_CONTINUE: there is none */
	size_t control_len;
	uint8_t control[CONTROL_MAX];
};

struct feed {
	struct ws_reader *r;
	size_t max;
	const struct ws_handler *h;
	void *arg;
};

static struct ws_partial *
partial(struct feed *fd)
{
	if (!fd->r->partial)
		fd->r->partial = xcalloc(1, sizeof(*fd->r->partial));
	return fd->r->partial;
}

void
ws_reader_fini(struct ws_reader *r)
{
	if (r->partial)
		buf_fini(&r->partial->message);
	free(r->partial);
	r->partial = NULL;
}

/* pos: where in the frame's payload data begins. */
static void
unmask(uint8_t *data, size_t len, const uint8_t mask[4], uint64_t pos)
{
	uint8_t turned[8];
	uint64_t wide;
	size_t i = 0;

	for (size_t k = 0; k < 8; k++)
		turned[k] = mask[(pos + k) % 4];
	memcpy(&wide, turned, 8);
	for (; i + 8 <= len; i += 8) {
		uint64_t word;

		memcpy(&word, data + i, 8);
		word ^= wide;
		memcpy(data + i, &word, 8);
	}
	for (; i < len; i++)
		data[i] ^= turned[i % 8];
}

static bool
code_allowed(int code)
{
	return (code >= 1000 && code <= 1014 && code != 1004 && code != 1005 && code != 1006) ||
	       (code >= 3000 && code <= 4999);
}

/* Bytes of the header, 0: not complete, -1: refused. */
static int
read_head(const uint8_t *p, size_t len, struct frame_head *f)
{
	size_t need, at = 2;
	uint8_t n;

	if (len < 2)
		return 0;
	n = p[1] & 0x7f;
	f->fin = p[0] & 0x80;
	f->op = p[0] & 0x0f;
	if (p[0] & 0x70 || !(p[1] & 0x80) || (f->op > OP_BINARY && f->op < OP_CLOSE) ||
	    f->op > OP_PONG)
		return -1;
	if (f->op >= OP_CLOSE && (!f->fin || n > CONTROL_MAX))
		return -1;
	need = 2 + (n == 126 ? 2 : n == 127 ? 8 : 0) + 4;
	if (len < need)
		return 0;
	f->len = n;
	if (n >= 126) {
		f->len = 0;
		for (; at < need - 4; at++)
			f->len = f->len << 8 | p[at];
		if (f->len < 126 || (n == 127 && (f->len < 65536 || f->len >> 63)))
			return -1;
	}
	memcpy(f->mask, p + at, 4);
	return (int)need;
}

/* May this frame come now? */
static int
admit(struct feed *fd, const struct frame_head *f)
{
	struct ws_partial *p = fd->r->partial;
	bool open = p && p->op != OP_CONTINUE;
	uint64_t so_far = open ? p->message.len : 0;

	if (f->op >= OP_CLOSE)
		return 0;
	if (open != (f->op == OP_CONTINUE))
		return 1002;
	return f->len > fd->max || so_far + f->len > fd->max ? 1009 : 0;
}

static int
on_control(struct feed *fd, enum opcode op, const uint8_t *data, size_t len)
{
	int code = 0;

	if (op == OP_PONG)
		return 0;
	if (op == OP_PING)
		return fd->h->ping(fd->arg, data, len) ? 0 : -1;
	if (len == 1)
		return 1002;
	if (len) {
		code = data[0] << 8 | data[1];
		if (!code_allowed(code))
			return 1002;
		if (!utf8_valid(data + 2, len - 2))
			return 1007;
	}
	fd->h->close(fd->arg, code);
	return -1;
}

static int
on_message(struct feed *fd, enum opcode op, const uint8_t *data, size_t len)
{
	if (op == OP_TEXT && !utf8_valid(data, len))
		return 1007;
	return fd->h->message(fd->arg, (const char *)data, len, op == OP_BINARY) ? 0 : -1;
}

/* A whole frame is in p->message or p->control. */
static int
end_of_frame(struct feed *fd)
{
	struct ws_partial *p = fd->r->partial;
	struct buf message;
	enum opcode op = p->op;
	int err = 0;

	p->in_frame = false;
	if (p->f.op >= OP_CLOSE)
		err = on_control(fd, p->f.op, p->control, p->control_len);
	else if (p->f.fin) {
		message = p->message;
		buf_init(&p->message);
		p->op = OP_CONTINUE;
		/* of no bytes, it has no memory */
		err = on_message(
		    fd, op, message.len ? message.data : (const uint8_t *)"", message.len);
		buf_fini(&message);
	}
	if (!err && p->op == OP_CONTINUE)
		ws_reader_fini(fd->r);
	return err;
}

static void
begin_frame(struct feed *fd, const struct frame_head *f)
{
	struct ws_partial *p = partial(fd);

	p->in_frame = true;
	p->f = *f;
	p->left = f->len;
	p->head_len = 0;
	p->control_len = 0;
	if (f->op == OP_TEXT || f->op == OP_BINARY)
		p->op = f->op;
}

/* Payload of the frame under way; the number of bytes taken. */
static size_t
take_payload(struct feed *fd, uint8_t *data, size_t len)
{
	struct ws_partial *p = fd->r->partial;
	size_t n = len < p->left ? len : (size_t)p->left;

	unmask(data, n, p->f.mask, p->f.len - p->left);
	p->left -= n;
	if (p->f.op >= OP_CLOSE) {
		memcpy(p->control + p->control_len, data, n);
		p->control_len += n;
	} else {
		buf_append(&p->message, data, n);
	}
	return n;
}

/* A header, perhaps begun by an earlier read.  Bytes taken, or -code. */
static long
take_head(struct feed *fd, uint8_t *data, size_t len)
{
	struct ws_partial *p = fd->r->partial;
	size_t old = p ? p->head_len : 0, n = len;
	uint8_t joined[HEADER_MAX];
	const uint8_t *at = data;
	struct frame_head f;
	int size, err;

	if (old) {
		n = len < HEADER_MAX - old ? len : HEADER_MAX - old;
		memcpy(joined, p->head, old);
		memcpy(joined + old, data, n);
		at = joined;
	}
	size = read_head(at, old + n, &f);
	if (size < 0)
		return -1002;
	if (size == 0) {
		p = partial(fd);
		memcpy(p->head, at, old + n);
		p->head_len = old + n;
		return (long)n;
	}
	err = admit(fd, &f);
	if (err)
		return -err;
	begin_frame(fd, &f);
	return size - (long)old;
}

/* The usual case: a whole message in one frame, wholly here.  Bytes, 0: it is not. */
static size_t
whole_frame(struct feed *fd, uint8_t *data, size_t len, int *err_r)
{
	struct frame_head f;
	int size = read_head(data, len, &f);

	*err_r = 0;
	if (fd->r->partial || size <= 0 || !f.fin || (f.op != OP_TEXT && f.op != OP_BINARY) ||
	    f.len > fd->max || f.len > len - (size_t)size)
		return 0;
	unmask(data + size, (size_t)f.len, f.mask, 0);
	*err_r = on_message(fd, f.op, data + size, (size_t)f.len);
	return (size_t)size + (size_t)f.len;
}

int
ws_feed(struct ws_reader *r, uint8_t *data, size_t len, size_t max_message, size_t *used_r,
    const struct ws_handler *h, void *arg)
{
	struct feed fd = {r, max_message, h, arg};
	int err = 0;

	*used_r = 0;
	while (len && !err) {
		size_t n = whole_frame(&fd, data, len, &err);

		if (!n && !err) {
			if (r->partial && r->partial->in_frame) {
				n = take_payload(&fd, data, len);
			} else {
				long took = take_head(&fd, data, len);

				if (took < 0)
					return (int)-took;
				n = (size_t)took;
			}
			if (r->partial->in_frame && r->partial->left == 0)
				err = end_of_frame(&fd);
		}
		data += n;
		len -= n;
		*used_r += n;
	}
	return err > 0 ? err : 0;
}

/* ---- handshake ---- */

bool
ws_accept_key(const char *key, size_t len, char dst[WS_ACCEPT_MAX])
{
	static const char guid[] = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11";
	unsigned char decoded[24], digest[EVP_MAX_MD_SIZE];
	char joined[24 + sizeof(guid)];
	unsigned int n;

	/* OpenSSL takes "=" anywhere. */
	if (len != 24 || key[22] != '=' || key[23] != '=' || memchr(key, '=', 22) ||
	    EVP_DecodeBlock(decoded, (const unsigned char *)key, 24) != 18)
		return false;
	memcpy(joined, key, 24);
	memcpy(joined + 24, guid, sizeof(guid));
	if (!EVP_Digest(joined, 24 + sizeof(guid) - 1, digest, &n, EVP_sha1(), NULL) || n != 20)
		return false;
	EVP_EncodeBlock((unsigned char *)dst, digest, 20);
	return true;
}
