/* SPDX-License-Identifier: ISC */
/*
 * static: the files below web_root.  Loop thread.
 *
 * The path is opened one segment at a time below a directory descriptor, without
 * following links and without "..", so nothing outside can be reached.  Files are
 * small and in the page cache; they are read whole, up to FILE_MAX.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>
#include <unistd.h>

#include "wire/wire_int.h"

#define FILE_MAX (16 * 1024 * 1024)

static const char page_policy[] =
    "Content-Security-Policy: default-src 'self'; connect-src 'self' ws: wss:; "
    "frame-ancestors 'none'; base-uri 'none'\r\nReferrer-Policy: no-referrer\r\n";

static const struct {
	const char *suffix, *type;
} types[] = {
    {".html", "text/html; charset=utf-8"},
    {".js", "text/javascript; charset=utf-8"},
    {".css", "text/css; charset=utf-8"},
    {".json", "application/json; charset=utf-8"},
    {".webmanifest", "application/manifest+json"},
    {".svg", "image/svg+xml"},
    {".png", "image/png"},
    {".ico", "image/x-icon"},
    {".woff2", "font/woff2"},
    {".txt", "text/plain; charset=utf-8"},
    {".map", "application/json"},
};

static const char *
type_of(const char *path)
{
	size_t len = strlen(path);

	for (size_t i = 0; i < sizeof(types) / sizeof(*types); i++) {
		size_t n = strlen(types[i].suffix);

		if (len > n && strcasecmp(path + len - n, types[i].suffix) == 0)
			return types[i].type;
	}
	return "application/octet-stream";
}

/* A descriptor of the file, or -1. */
static int
open_below(const char *root, const char *path)
{
	int dir = open(root, O_PATH | O_DIRECTORY | O_CLOEXEC), next;

	while (dir >= 0) {
		size_t len;
		char name[256];
		bool last;

		path += strspn(path, "/");
		len = strcspn(path, "/");
		last = path[len] == '\0';
		if (!len || len >= sizeof(name) || path[0] == '.') { /* also "." and ".." */
			close(dir);
			return -1;
		}
		memcpy(name, path, len);
		name[len] = '\0';
		next = openat(dir, name,
		    O_CLOEXEC | O_NOFOLLOW | (last ? O_RDONLY | O_NONBLOCK : O_PATH | O_DIRECTORY));
		close(dir);
		if (last)
			return next;
		dir = next;
		path += len;
	}
	return -1;
}

static bool
read_whole(int fd, size_t size, struct buf *b)
{
	while (b->len < size) {
		ssize_t n = read(fd, buf_reserve(b, size - b->len), size - b->len);

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return false;
		b->len += (size_t)n;
	}
	return true;
}

static void
send_file(struct http_req *r, int fd, const struct stat *st, const char *path, const char *known)
{
	char etag[64], headers[512];
	struct buf b;

	snprintf(etag, sizeof(etag), "\"%llx-%llx\"", (unsigned long long)st->st_mtime,
	    (unsigned long long)st->st_size);
	snprintf(headers, sizeof(headers), "ETag: %s\r\nCache-Control: no-cache\r\n%s", etag,
	    page_policy);
	if (known && strstr(known, etag)) {
		http_reply(r, 304, NULL, headers, NULL, 0);
		return;
	}
	buf_init(&b);
	if (read_whole(fd, (size_t)st->st_size, &b))
		http_reply(r, 200, type_of(path), headers, b.data, b.len);
	else
		http_reply(r, 500, "text/plain", NULL, "cannot be read\n", 15);
	buf_fini(&b);
}

void
static_serve(struct http_req *r, const char *root, const char *known)
{
	char path[2048];
	struct stat st;
	int fd = -1;

	if (http_method(r) != HTTP_GET && http_method(r) != HTTP_HEAD) {
		http_reply(
		    r, 405, "text/plain", "Allow: GET, HEAD\r\n", "method not allowed\n", 19);
		return;
	}
	str_copy(path, sizeof(path), http_path(r));
	if (path[strlen(path) - 1] == '/')
		strncat(path, "index.html", sizeof(path) - strlen(path) - 1);
	if (root && *root)
		fd = open_below(root, path);
	if (fd >= 0 && fstat(fd, &st) == 0 && S_ISREG(st.st_mode) && st.st_size <= FILE_MAX)
		send_file(r, fd, &st, path, known);
	else
		http_reply(r, 404, "text/plain", NULL, "not found\n", 10);
	if (fd >= 0)
		close(fd);
}
