/* SPDX-License-Identifier: ISC */
/*
 * server: drives libwebsockets on our loop.  Loop thread.
 *
 * libwebsockets parses HTTP and WebSocket input; it never listens (Debian's build has
 * no SO_REUSEPORT) and never frames our output: frames come ready from frame.h and
 * everything that waits for a client leaves in one write at the end of the turn.
 * lws_write() with LWS_WRITE_HTTP sends the bytes as they are, keeps what the socket
 * does not take, and so keeps order with the pongs that libwebsockets sends itself.
 *
 * No timer of libwebsockets is used for a connection (they are linear lists);
 * deadlines are libev's.
 */
#include "wire/server.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sysexits.h>
#include <unistd.h>
#include <utlist.h>

#include "lib/log.h"
#include "wire/wire_int.h"

#define GATHER_MAX  (128 * 1024)
#define HEADER_DATA 8192

static uint8_t gather[GATHER_MAX];

/* ---- writing ---- */

void
conn_want_write(struct conn *c)
{
	if (c->wsi)
		lws_callback_on_writable(c->wsi);
}

/* A Close frame: with a status, or empty (the client sees 1005). */
static void
write_close_frame(struct conn *c)
{
	uint8_t frame[4] = {0x88, 0};
	size_t len = 2;

	if (c->close_code) {
		frame[1] = 2;
		frame[2] = (uint8_t)(c->close_code >> 8);
		frame[3] = (uint8_t)c->close_code;
		len = 4;
	}
	lws_write(c->wsi, frame, len, LWS_WRITE_HTTP);
}

/* Sends what waits; -1: the connection is to be closed (only from a callback of lws). */
static int
ws_write(struct conn *c, bool in_callback)
{
	size_t n, frames;

	if (c->abort || c->closing) {
		if (!in_callback) {
			conn_want_write(c);
			return 0;
		}
		if (c->abort)
			return -1;
	}
	while (c->session && !lws_partial_buffered(c->wsi)) {
		n = eio_gather(c->session, gather, sizeof(gather), &frames);
		if (!n)
			break;
		c->wire->stats.writes++;
		c->wire->stats.frames_out += frames;
		if (lws_write(c->wsi, gather, n, LWS_WRITE_HTTP) < 0) {
			c->abort = true;
			conn_want_write(c);
			return in_callback ? -1 : 0;
		}
	}
	if (lws_partial_buffered(c->wsi) || (c->session && eio_waiting(c->session))) {
		conn_want_write(c);
		return 0;
	}
	if (c->closing) {
		write_close_frame(c);
		return -1;
	}
	return 0;
}

void
conn_flush(void *arg)
{
	struct conn *c = arg;

	if (c->wsi && c->session)
		ws_write(c, false);
}

static void
transport_flush(void *conn)
{
	struct conn *c = conn;

	loop_defer(&c->flush);
}

static void
transport_close(void *conn, int code, bool now)
{
	struct conn *c = conn;

	c->closing = true;
	c->close_code = code;
	c->abort = c->abort || now;
	conn_want_write(c);
}

static const struct eio_transport ws_transport = {transport_flush, transport_close};

/* Ends a connection for a violation below Engine.IO; what waits goes out first. */
static int
ws_fail(struct conn *c, int code)
{
	c->wire->stats.protocol_errors++;
	c->close_code = code;
	write_close_frame(c);
	return -1;
}

static int
http_write(struct conn *c)
{
	if (!c->reply.len)
		return 0;
	if (lws_write(c->wsi, c->reply.data, c->reply.len, LWS_WRITE_HTTP) < 0)
		return -1;
	buf_fini(&c->reply);
	if (c->reply_ends || c->wire->draining)
		return -1;
	return lws_http_transaction_completed(c->wsi) ? -1 : 0;
}

/* ---- WebSocket ---- */

static int
ws_received(struct conn *c, const char *in, size_t len)
{
	bool last = lws_is_final_fragment(c->wsi) && lws_remaining_packet_payload(c->wsi) == 0;

	if (!c->session || c->closing)
		return 0;
	if (lws_is_first_fragment(c->wsi))
		c->message_binary = lws_frame_is_binary(c->wsi);
	if (c->message.len + len > c->wire->opts.max_payload)
		return ws_fail(c, 1009);
	if (!last) {
		buf_append(&c->message, in, len);
		return 0;
	}
	c->wire->stats.frames_in++;
	if (!c->message.len) {
		eio_input(c->session, in, len, c->message_binary);
		return 0;
	}
	buf_append(&c->message, in, len);
	eio_input(c->session, (const char *)c->message.data, c->message.len, c->message_binary);
	buf_fini(&c->message);
	return 0;
}

/* The text of the protocol's section 2.3, or NULL: welcome. */
static const char *
handshake_fault(struct conn *c)
{
	char value[64], path[128];

	if (lws_hdr_copy(c->wsi, path, sizeof(path), WSI_TOKEN_GET_URI) < 0 ||
	    strncmp(path, c->wire->sio_path, strlen(c->wire->sio_path)) != 0)
		return "Not found";
	if (lws_hdr_copy(c->wsi, value, sizeof(value), WSI_TOKEN_VERSION) < 0 ||
	    strcmp(value, "13") != 0)
		return "Bad request";
	if (!http_query_of(c->wsi, "transport", value, sizeof(value)) ||
	    (strcmp(value, "websocket") != 0 && strcmp(value, "polling") != 0))
		return "Transport unknown";
	if (strcmp(value, "polling") == 0)
		return "Bad request";
	if (http_query_of(c->wsi, "sid", value, sizeof(value)) && *value)
		return "Session ID unknown";
	if (!http_query_of(c->wsi, "EIO", value, sizeof(value)) || strcmp(value, "4") != 0)
		return "Unsupported protocol version";
	return NULL;
}

static int
ws_admit(struct conn *c)
{
	const char *fault = c->wire->draining ? "Shutting down" : handshake_fault(c);
	char answer[256];
	int n;

	if (!fault)
		return 0;
	n = snprintf(answer, sizeof(answer),
	    "HTTP/1.1 %s\r\nConnection: close\r\nContent-Type: text/html\r\nContent-Length: "
	    "%zu\r\n\r\n%s",
	    c->wire->draining ? "503 Service Unavailable\r\nRetry-After: 1" : "400 Bad Request",
	    strlen(fault), fault);
	lws_write(c->wsi, (unsigned char *)answer, (size_t)n, LWS_WRITE_HTTP);
	c->wire->stats.protocol_errors++;
	return -1;
}

/* Anything but exactly "websocket" reaches code of lws that nobody should reach. */
static int
confirm_upgrade(struct lws *wsi)
{
	char value[32];

	if (lws_hdr_copy(wsi, value, sizeof(value), WSI_TOKEN_UPGRADE) < 0)
		return -1;
	return strcasecmp(value, "websocket") == 0 ? 0 : -1;
}

/* ---- HTTP ---- */

static int
http_began(struct conn *c, const char *uri)
{
	struct http_req *r;
	bool complete;

	c->reply_ends = false;
	r = http_req_begin(c, uri, &complete);
	if (!r)
		conn_want_write(c);
	else if (complete)
		http_req_complete(r);
	return 0;
}

static int
http_body_came(struct conn *c, const char *in, size_t len)
{
	struct http_req *r = c->req;

	if (r && !http_req_body(r, in, len)) {
		c->req = NULL;
		http_req_gone(r);
		conn_want_write(c);
	}
	return 0;
}

/* ---- the end of a connection ---- */

static void
conn_gone(struct conn *c)
{
	struct wire *w = c->wire;
	struct http_req *r = c->req;

	lws_set_opaque_user_data(c->wsi, NULL);
	c->wsi = NULL;
	c->req = NULL;
	if (r)
		http_req_gone(r);
	if (c->session)
		eio_transport_gone(c->session, "transport close");
	loop_cancel(&c->flush);
	DL_DELETE(w->conns, c);
	buf_fini(&c->reply);
	buf_fini(&c->message);
	free(c);
	w->stats.connections--;
	if (w->stats.connections < w->opts.max_connections && !w->draining)
		listeners_pause(w, false);
}

/* ---- callbacks of libwebsockets ---- */

static int
ws_callback(struct conn *c, enum lws_callback_reasons reason, void *in, size_t len)
{
	switch (reason) {
	case LWS_CALLBACK_FILTER_PROTOCOL_CONNECTION:
		return ws_admit(c);
	case LWS_CALLBACK_ESTABLISHED:
		c->session = eio_open(c->wire->eio, &ws_transport, c);
		return 0;
	case LWS_CALLBACK_RECEIVE:
		return ws_received(c, in, len);
	case LWS_CALLBACK_SERVER_WRITEABLE:
		return ws_write(c, true);
	default:
		return 0;
	}
}

static int
http_callback(struct conn *c, enum lws_callback_reasons reason, void *in, size_t len)
{
	switch (reason) {
	case LWS_CALLBACK_HTTP:
		return http_began(c, in);
	case LWS_CALLBACK_HTTP_BODY:
		return http_body_came(c, in, len);
	case LWS_CALLBACK_HTTP_BODY_COMPLETION:
		if (c->req)
			http_req_complete(c->req);
		return 0;
	case LWS_CALLBACK_HTTP_WRITEABLE:
		return http_write(c);
	default:
		return 0;
	}
}

static int
callback(struct lws *wsi, enum lws_callback_reasons reason, void *user, void *in, size_t len)
{
	struct conn *c = wsi ? lws_get_opaque_user_data(wsi) : NULL;

	switch (reason) {
	case LWS_CALLBACK_RAW_ADOPT:
	case LWS_CALLBACK_RAW_RX:
		return -1;
	case LWS_CALLBACK_HTTP_CONFIRM_UPGRADE:
		return confirm_upgrade(wsi);
	case LWS_CALLBACK_WSI_DESTROY:
		if (c)
			conn_gone(c);
		return 0;
	case LWS_CALLBACK_FILTER_PROTOCOL_CONNECTION:
	case LWS_CALLBACK_ESTABLISHED:
	case LWS_CALLBACK_RECEIVE:
	case LWS_CALLBACK_SERVER_WRITEABLE:
		return c ? ws_callback(c, reason, in, len) : -1;
	case LWS_CALLBACK_HTTP:
	case LWS_CALLBACK_HTTP_BODY:
	case LWS_CALLBACK_HTTP_BODY_COMPLETION:
	case LWS_CALLBACK_HTTP_WRITEABLE:
		return c ? http_callback(c, reason, in, len) : -1;
	default:
		return 0;
	}
}

/* ---- life ---- */

static void
emit_log(int level, const char *line)
{
	char text[256];

	str_copy(text, sizeof(text), line);
	text[strcspn(text, "\n")] = '\0';
	log_msg(level & LLL_ERR ? LOG_LVL_WARN : LOG_LVL_DEBUG, "lws", "text=%s", log_quote(text));
}

static void
make_context(struct wire *w)
{
	static const struct lws_protocols protocols[] = {
	    {.name = "palaver", .callback = callback, .rx_buffer_size = 512}, {.name = NULL}};
	/* Without a policy of zeros each WebSocket gets a validity timer of lws. */
	static const lws_retry_bo_t no_validity = {
	    .secs_since_valid_ping = 0, .secs_since_valid_hangup = 0};
	void *loops[1] = {loop_ev()};
	struct lws_context_creation_info info;

	lws_set_log_level(LLL_ERR | LLL_WARN, emit_log);
	memset(&info, 0, sizeof(info));
	info.port = CONTEXT_PORT_NO_LISTEN;
	info.protocols = protocols;
	info.foreign_loops = loops;
	info.options = LWS_SERVER_OPTION_LIBEV | LWS_SERVER_OPTION_DISABLE_IPV6;
	info.alpn = "http/1.1";
	info.retry_and_idle_policy = &no_validity;
	info.max_http_header_data = HEADER_DATA;
	info.max_http_header_pool = (unsigned short)w->opts.max_connections;
	info.timeout_secs = 10;
	info.keepalive_timeout = 60;
	info.gid = (gid_t)-1;
	info.uid = (uid_t)-1;
	w->lws = lws_create_context(&info);
	if (w->lws)
		w->vhost = lws_get_vhost_by_name(w->lws, "default");
	if (!w->vhost)
		fatal(EX_UNAVAILABLE, "wire.no_lws",
		    "libwebsockets does not start; is its libev plug-in installed (Debian: "
		    "libwebsockets-evlib-ev)?");
}

static void
fill_eio_opts(struct eio_opts *e, const struct wire_opts *o)
{
	e->ping_interval = o->ping_interval;
	e->ping_timeout = o->ping_timeout;
	e->max_payload = o->max_payload;
	e->max_queue = o->max_queue;
	e->slot = o->slot;
}

struct wire *
wire_new(const struct wire_opts *opts, const struct wire_app *app)
{
	struct wire *w = xcalloc(1, sizeof(*w));
	struct eio_opts eio;

	w->opts = *opts;
	w->app = *app;
	w->sio_path = xstrdup(opts->sio_path);
	w->web_root = xstrdup(opts->web_root);
	fill_eio_opts(&eio, opts);
	w->sio = sio_server_new(&w->app.sio, app->arg, opts->connect_timeout);
	w->eio = eio_server_new(&eio, &sio_eio_handler, w->sio);
	make_context(w);
	return w;
}

void
wire_reconfigure(struct wire *w, const struct wire_opts *o)
{
	struct eio_opts eio;
	struct wire_opts fixed = w->opts;

	w->opts = *o;
	w->opts.max_connections = fixed.max_connections;
	w->opts.slot = fixed.slot;
	fill_eio_opts(&eio, &w->opts);
	eio_server_reconfigure(w->eio, &eio);
	sio_server_reconfigure(w->sio, o->connect_timeout);
}

void
wire_drain(struct wire *w)
{
	struct conn *c;

	w->draining = true;
	listeners_close(w);
	eio_close_all(w->eio, "server shutting down", 1001);
	DL_FOREACH (w->conns, c)
		if (!c->session && !c->req && !c->reply.len) /* idle: lws sees the end at once */
			shutdown(lws_get_socket_fd(c->wsi), SHUT_RDWR);
}

size_t
wire_connections(const struct wire *w)
{
	return w->stats.connections;
}

void
wire_stats(const struct wire *w, struct wire_stats *st)
{
	*st = w->stats;
	st->sessions = eio_session_count(w->eio);
	st->slow_closed = eio_slow_count(w->eio);
	st->protocol_errors += sio_server_errors(w->sio);
}

void
wire_free(struct wire **wp)
{
	struct wire *w = *wp;

	*wp = NULL;
	if (!w)
		return;
	w->draining = true;
	listeners_close(w);
	lws_context_destroy(w->lws);
	eio_server_free(&w->eio);
	sio_server_free(&w->sio);
	free(w->sio_path);
	free(w->web_root);
	free(w);
}
