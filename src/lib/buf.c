/* SPDX-License-Identifier: ISC */
/*
 * buf: growing byte buffers and shared blobs.  Any process and thread; one
 * buffer or blob belongs to one thread at a time.
 */
#include "lib/buf.h"

#include <stdarg.h>
#include <stdio.h>
#include <malloc.h>
#include <stdlib.h>
#include <string.h>

#include "lib/log.h"

#define BUF_FIRST 64

static void
out_of_memory(size_t size)
{
	fatal(71, "memory.exhausted",
	    "bytes=%zu; add memory or lower max_connections and max_queue", size);
}

void *
xmalloc(size_t size)
{
	void *p = malloc(size ? size : 1);

	if (!p)
		out_of_memory(size);
	return p;
}

void *
xcalloc(size_t n, size_t size)
{
	void *p = calloc(n ? n : 1, size ? size : 1);

	if (!p)
		out_of_memory(n * size);
	return p;
}

void *
xrealloc(void *old, size_t size)
{
	void *p = realloc(old, size ? size : 1);

	if (!p)
		out_of_memory(size);
	return p;
}

char *
xstrdup(const char *s)
{
	size_t len;
	char *p;

	if (!s)
		return NULL;
	len = strlen(s) + 1;
	p = xmalloc(len);
	memcpy(p, s, len);
	return p;
}

char *
xasprintf(const char *fmt, ...)
{
	va_list ap;
	char *s;
	int n;

	va_start(ap, fmt);
	n = vasprintf(&s, fmt, ap);
	va_end(ap);
	if (n < 0)
		out_of_memory(0);
	return s;
}

bool
str_copy(char *dst, size_t size, const char *src)
{
	size_t len = strlen(src);
	bool fits = len < size;

	if (!fits)
		len = size - 1;
	memcpy(dst, src, len);
	dst[len] = '\0';
	return fits;
}

void
buf_init(struct buf *b)
{
	memset(b, 0, sizeof(*b));
}

void
buf_fini(struct buf *b)
{
	free(b->data);
	buf_init(b);
}

void
buf_clear(struct buf *b)
{
	b->len = 0;
}

void *
buf_reserve(struct buf *b, size_t len)
{
	size_t want = b->len + len;

	if (want < len)
		out_of_memory(len);
	if (want > b->cap) {
		size_t cap = b->cap ? b->cap * 2 : BUF_FIRST;

		if (cap < want)
			cap = want;
		b->data = xrealloc(b->data, cap);
		b->cap = cap;
	}
	return b->data + b->len;
}

void
buf_append(struct buf *b, const void *data, size_t len)
{
	if (!len)
		return;
	memcpy(buf_reserve(b, len), data, len);
	b->len += len;
}

void
buf_puts(struct buf *b, const char *s)
{
	buf_append(b, s, strlen(s));
}

void
buf_putc(struct buf *b, char c)
{
	buf_append(b, &c, 1);
}

void
buf_printf(struct buf *b, const char *fmt, ...)
{
	va_list ap, again;
	int n;

	va_start(ap, fmt);
	va_copy(again, ap);
	n = vsnprintf(buf_reserve(b, 128), 128, fmt, ap);
	if (n >= 128)
		n = vsnprintf(buf_reserve(b, (size_t)n + 1), (size_t)n + 1, fmt, again);
	va_end(again);
	va_end(ap);
	if (n > 0)
		b->len += (size_t)n;
}

void
buf_drop(struct buf *b, size_t len)
{
	if (len >= b->len) {
		b->len = 0;
		return;
	}
	memmove(b->data, b->data + len, b->len - len);
	b->len -= len;
}

const char *
buf_cstr(struct buf *b)
{
	*(char *)buf_reserve(b, 1) = '\0';
	return (const char *)b->data;
}

char *
buf_steal(struct buf *b)
{
	char *s;

	buf_cstr(b);
	s = (char *)b->data;
	buf_init(b);
	return s;
}

struct blob *
blob_new(size_t len)
{
	struct blob *b = xmalloc(sizeof(*b) + len);

	b->refs = 1;
	b->len = len;
	return b;
}

struct blob *
blob_copy(const void *data, size_t len)
{
	struct blob *b = blob_new(len);

	if (len)
		memcpy(b->data, data, len);
	return b;
}

struct blob *
blob_ref(struct blob *b)
{
	b->refs++;
	return b;
}

void
blob_unref(struct blob **bp)
{
	struct blob *b = *bp;

	*bp = NULL;
	if (b && --b->refs == 0)
		free(b);
}

#ifdef __GLIBC__
void
memory_trim(void)
{
	malloc_trim(0);
}
#else
void
memory_trim(void)
{
}
#endif
