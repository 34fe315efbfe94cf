/* SPDX-License-Identifier: ISC */
/*
 * buf: a growing byte buffer, and blob: an immutable, reference-counted piece
 * of bytes that is made once however many places send it.
 *
 * Memory that cannot be had ends the process (see xmalloc), so nothing here
 * returns an error.  A blob belongs to one thread: its count is not atomic.
 */
#ifndef PALAVER_LIB_BUF_H
#define PALAVER_LIB_BUF_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct buf {
	uint8_t *data;
	size_t len;
	size_t cap;
};

void buf_init(struct buf *b);
void buf_fini(struct buf *b);
void buf_clear(struct buf *b); /* length 0, keeps the memory */
void buf_append(struct buf *b, const void *data, size_t len);
void buf_puts(struct buf *b, const char *s);
void buf_putc(struct buf *b, char c);
void buf_printf(struct buf *b, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
/* Makes room for len more bytes and returns where they go; b->len is unchanged. */
void *buf_reserve(struct buf *b, size_t len);
void buf_drop(struct buf *b, size_t len); /* removes len bytes at the front */
/* Ends the contents with a NUL that is not counted and returns them; still b's. */
const char *buf_cstr(struct buf *b);
/* Gives the NUL-terminated contents away (caller frees) and empties b. */
char *buf_steal(struct buf *b);

struct blob {
	unsigned int refs;
	size_t len;
	uint8_t data[];
};

struct blob *blob_new(size_t len);                     /* one reference, contents undefined */
struct blob *blob_copy(const void *data, size_t len);  /* one reference */
struct blob *blob_ref(struct blob *b);
void blob_unref(struct blob **b); /* drops one reference, stores NULL */

/* malloc and friends that end the process with a message instead of failing. */
void *xmalloc(size_t size);
void *xcalloc(size_t n, size_t size);
void *xrealloc(void *p, size_t size);
char *xstrdup(const char *s); /* NULL gives NULL */
char *xasprintf(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
/* Gives memory that is free back to the system; takes milliseconds. */
void memory_trim(void);
/* Copies src, cut to size - 1 bytes; returns true if all of it fitted. */
bool str_copy(char *dst, size_t size, const char *src);

#endif
