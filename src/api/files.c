/* SPDX-License-Identifier: ISC */
/*
 * files: /v1/files.  Worker, loop thread.
 *
 * An upload's body is the file; it goes to chat_upload_data() as it comes.  A download is
 * read piece by piece, the next when the client has taken the last.
 *
 * What users upload is served from the same origin as the page, so no browser may take it
 * for a part of the page: only pictures, sound, video and plain text have the type that the
 * uploader said, and are shown; everything else is octets, which no page can use as a script
 * or a style, to be saved; nothing is guessed, and all of it is in a sandbox without scripts.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "api/api_int.h"
#include "api/byte_range.h"

/* ---- uploading ---- */

static void
upload_more(void *arg)
{
	http_body_next(((struct api_call *)arg)->req);
}

static const struct chat_upload_ops upload_ops = {api_done, upload_more};

static void
upload_data(void *arg, struct buf *b)
{
	chat_upload_data(((struct api_call *)arg)->upload, b);
}

static void
upload_end(void *arg)
{
	chat_upload_end(((struct api_call *)arg)->upload);
}

static const struct http_sink upload_sink = {upload_data, upload_end};

void
api_post_files(struct api_call *call)
{
	struct chat *c = call->api->chat;
	const char *name = http_query(call->req, "name");
	struct http_req *r = call->req;
	struct chat_upload *u;

	if (!name) {
		api_fail(call, ERR_INVALID_FIELD, "/name", "required");
		return;
	}
	u = chat_upload_begin(
	    c, call->who.user, name, http_header(r, "content-type"), &upload_ops, call);
	if (!u)
		return;
	call->upload = u;
	http_body_to(r, chat_upload_max(c), &upload_sink);
}

/* ---- what is known of it ---- */

void
api_get_file(struct api_call *call)
{
	chat_file_get(call->api->chat, call->who.user, call->params[0], api_done, call);
}

void
api_delete_file(struct api_call *call)
{
	chat_file_delete(call->api->chat, call->who.user, call->params[0], api_done, call);
}

/* ---- downloading ---- */

struct download {
	struct api_call *call; /* until it is answered */
	struct content_reader *reader;
	struct http_stream *stream;
	struct file file;
	uint64_t at, end; /* what is still to be read */
	bool part;
};

static void
download_free(struct download *d)
{
	chat_file_close(&d->reader);
	if (d->call)
		api_free_call(d->call);
	free(d);
}

static void
download_closed(void *arg)
{
	download_free(arg);
}

static void
piece_read(void *arg, int err, const void *data, size_t len)
{
	struct download *d = arg;

	if (err || !len) {
		http_stream_fail(d->stream);
		return;
	}
	d->at += len;
	http_stream_put(d->stream, data, len);
}

static void
download_pull(void *arg, size_t max)
{
	struct download *d = arg;

	if (chat_file_read(d->reader, d->at, max, piece_read, d) < 0)
		http_stream_fail(d->stream);
}

static const struct http_source download_source = {download_pull, download_closed};

static bool
is_shown(const char *type)
{
	static const char *const shown[] = {
	    "image/png", "image/jpeg", "image/gif", "image/webp", "image/avif", "text/plain"};

	if (strncmp(type, "audio/", 6) == 0 || strncmp(type, "video/", 6) == 0)
		return !strchr(type, '+'); /* "video/x+xml" is XML */
	for (size_t i = 0; i < sizeof(shown) / sizeof(*shown); i++)
		if (strcmp(type, shown[i]) == 0)
			return true;
	return false;
}

/* RFC 6266; the name as RFC 8187 has it, and for who does not know that what ASCII is in it. */
static void
put_disposition(struct buf *b, const struct file *f)
{
	static const char plain[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789"
				    "!#$&+-.^_`|~";

	buf_printf(
	    b, "Content-Disposition: %s; filename=\"", is_shown(f->type) ? "inline" : "attachment");
	for (const char *p = f->name; *p; p++)
		buf_putc(b, *p == '"' || *p == '\\' || (uint8_t)*p >= 0x7f ? '_' : *p);
	buf_puts(b, "\"; filename*=UTF-8''");
	for (const char *p = f->name; *p; p++) {
		if (strchr(plain, *p))
			buf_putc(b, *p);
		else
			buf_printf(b, "%%%02X", (uint8_t)*p);
	}
	buf_puts(b, "\r\n");
}

static void
put_headers(struct buf *b, const struct file *f)
{
	buf_printf(b,
	    "ETag: \"%s\"\r\nCache-Control: private, no-cache\r\nAccept-Ranges: bytes\r\n", f->id);
	buf_puts(b, "Content-Security-Policy: default-src 'none'; sandbox\r\n");
	put_disposition(b, f);
}

/* Its first piece is there, so what follows can be promised; data NULL: it is empty. */
static void
answer_content(struct download *d, const void *data, size_t len)
{
	struct http_req *r = d->call->req;
	const char *type = d->file.type;
	size_t size = (size_t)(d->end - d->at);
	const int status = d->part ? 206 : 200;
	struct buf headers;

	buf_init(&headers);
	put_headers(&headers, &d->file);
	if (d->part)
		buf_printf(&headers, "Content-Range: bytes %llu-%llu/%lld\r\n",
		    (unsigned long long)d->at, (unsigned long long)d->end - 1,
		    (long long)d->file.size);
	if (!is_shown(type))
		type = "application/octet-stream";
	else if (strcmp(type, "text/plain") == 0)
		type = "text/plain; charset=utf-8";
	api_free_call(d->call);
	d->call = NULL;
	d->at += len;
	if (http_method(r) == HTTP_HEAD) {
		http_reply(r, status, type, buf_cstr(&headers), NULL, size);
		download_free(d);
	} else {
		d->stream = http_reply_stream(
		    r, status, type, buf_cstr(&headers), size, &download_source, d);
	}
	buf_fini(&headers);
	if (len && d->stream)
		http_stream_put(d->stream, data, len);
}

static void
first_read(void *arg, int err, const void *data, size_t len)
{
	struct download *d = arg;

	if (d->call->req && !err && len) {
		answer_content(d, data, len);
		return;
	}
	if (d->call->req) {
		api_fail(d->call, err ? err : ERR_DAMAGED, NULL, NULL);
		d->call = NULL;
	}
	download_free(d);
}

static void
not_modified(struct api_call *call, const struct file *f)
{
	struct buf headers;

	buf_init(&headers);
	put_headers(&headers, f);
	http_reply(call->req, 304, NULL, buf_cstr(&headers), NULL, 0);
	buf_fini(&headers);
	api_free_call(call);
}

static void
download(struct api_call *call, const struct file *f, uint64_t at, uint64_t end)
{
	struct download *d = xcalloc(1, sizeof(*d));
	int err = 0;

	d->call = call;
	d->file = *f;
	d->at = at;
	d->end = end;
	d->part = end - at < (uint64_t)f->size;
	d->reader = chat_file_open(call->api->chat, f->id);
	if (at == end || http_method(call->req) == HTTP_HEAD)
		answer_content(d, NULL, 0);
	else
		err = chat_file_read(d->reader, at,
		    end - at < HTTP_PIECE ? (size_t)(end - at) : HTTP_PIECE, first_read, d);
	if (err < 0) {
		api_fail(call, err, NULL, NULL);
		d->call = NULL;
		download_free(d);
	}
}

static void
content_found(void *arg, int err, const struct file *f)
{
	struct api_call *call = arg;
	const char *condition, *range;
	uint64_t at, end;
	char tag[ID_MAX + 2];

	if (err || !call->req) {
		api_fail(call, err, NULL, NULL);
		return;
	}
	snprintf(tag, sizeof(tag), "\"%s\"", f->id);
	if (api_client_has(call->req, tag)) {
		not_modified(call, f);
		return;
	}
	condition = http_header(call->req, "if-range");
	range = !condition || strcmp(condition, tag) == 0 ? http_header(call->req, "range") : NULL;
	if (http_method(call->req) == HTTP_HEAD) /* RFC 9110, 14.2: of GET alone */
		range = NULL;
	if (byte_range_parse(range, (uint64_t)f->size, &at, &end)) {
		download(call, f, at, end);
		return;
	}
	snprintf(call->header, sizeof(call->header), "Content-Range: bytes */%lld\r\n",
	    (long long)f->size);
	api_fail(call, ERR_RANGE, NULL, NULL);
}

void
api_get_file_content(struct api_call *call)
{
	chat_file_find(call->api->chat, call->who.user, call->params[0], content_found, call);
}
