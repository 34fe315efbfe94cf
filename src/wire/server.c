/* SPDX-License-Identifier: ISC */
/*
 * server: a wire's life: libwebsockets' context on our loop, the endpoints, options,
 * draining.  Loop thread.  See conn.c for what happens on a connection.
 */
#include "wire/server.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sysexits.h>
#include <utlist.h>

#include "lib/log.h"
#include "lib/address.h"
#include "wire/sio_packet.h"
#include "lib/tls.h"
#include "wire/wire_int.h"

#define READ_BUFFER 16384 /* bytes of one read; one a process */

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
	/* Without a policy of zeros each connection could get a validity timer of lws. */
	static const lws_retry_bo_t no_validity = {
	    .secs_since_valid_ping = 0, .secs_since_valid_hangup = 0};
	void *loops[1] = {loop_ev()};
	struct lws_context_creation_info info;

	lws_set_log_level(LLL_ERR | LLL_WARN, emit_log);
	memset(&info, 0, sizeof(info));
	info.port = CONTEXT_PORT_NO_LISTEN;
	info.protocols = conn_protocols;
	info.foreign_loops = loops;
	info.options = LWS_SERVER_OPTION_LIBEV | LWS_SERVER_OPTION_DISABLE_IPV6 |
		       LWS_SERVER_OPTION_DO_SSL_GLOBAL_INIT;
	info.alpn = "http/1.1";
	info.retry_and_idle_policy = &no_validity;
	info.pt_serv_buf_size = READ_BUFFER;
	info.timeout_secs = (unsigned int)(w->opts.head_timeout / 1000 + 1); /* of TLS handshakes */
	info.max_http_header_pool = 1; /* HTTP is read by ourselves */
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
	e->upgrade_timeout = o->upgrade_timeout;
	e->max_payload = o->max_payload;
	e->max_queue = o->max_queue;
	e->max_packets = o->max_packets;
	e->slot = o->slot;
}

static void
add_endpoint(struct wire *w, const char *path, const struct eio_handler *h, void *arg)
{
	struct endpoint *ep = &w->endpoints[w->endpoint_count];
	struct eio_opts eio;

	fill_eio_opts(&eio, &w->opts);
	ep->wire = w;
	ep->index = w->endpoint_count++;
	ep->path = xstrdup(path);
	ep->eio = eio_server_new(&eio, h, arg);
	eio_on_foreign_end(ep->eio, relay_ended, ep);
}

static void
take_opts(struct wire *w, const struct wire_opts *o)
{
	w->opts = *o;
	free(w->origins);
	w->origins = xstrdup(o->origins);
	w->opts.origins = w->origins;
	free(w->proxies);
	w->proxies = xstrdup(o->trusted_proxies);
	w->opts.trusted_proxies = w->proxies;
	sio_packet_limits(o->json_depth, o->json_keys, o->max_attachments);
}

struct wire *
wire_new(const struct wire_opts *opts, const struct wire_app *app)
{
	struct wire *w = xcalloc(1, sizeof(*w));

	take_opts(w, opts);
	w->app = *app;
	w->web_root = xstrdup(opts->web_root);
	w->sio = sio_server_new(&w->app.sio, app->arg, opts->connect_timeout, opts->max_payload);
	add_endpoint(w, opts->sio_path, &sio_eio_handler, w->sio);
	if (app->eio_path)
		add_endpoint(w, app->eio_path, app->eio, app->arg);
	if (app->peers.tell)
		w->relay = relay_new(w);
	w->addresses = address_table_open(opts->address_fd, opts->slot);
	conn_trim_init(w);
	make_context(w);
	return w;
}

/* ---- TLS ---- */

/* Libwebsockets shows the context of a vhost that is being made; it has no certificate yet. */
void
wire_tls_context(void *tls_vhost, void *ssl_ctx)
{
	struct tls_vhost *t = tls_vhost;

	if (t)
		t->ctx = ssl_ctx;
}

static struct tls_vhost *
make_tls_vhost(struct wire *w, unsigned int index)
{
	struct tls_vhost *t = xcalloc(1, sizeof(*t));
	struct lws_context_creation_info info;
	char name[16];

	snprintf(name, sizeof(name), "tls%u", index);
	memset(&info, 0, sizeof(info));
	info.port = CONTEXT_PORT_NO_LISTEN_SERVER;
	info.vhost_name = name;
	info.protocols = conn_protocols;
	info.options = LWS_SERVER_OPTION_DO_SSL_GLOBAL_INIT |
		       LWS_SERVER_OPTION_CREATE_VHOST_SSL_CTX | LWS_SERVER_OPTION_DISABLE_IPV6;
	info.alpn = "http/1.1";
	info.user = t;
	t->vhost = lws_create_vhost(w->lws, &info);
	if (!t->vhost || !t->ctx) {
		free(t);
		return NULL;
	}
	tls_defaults(t->ctx);
	return t;
}

const char *
wire_tls(struct wire *w, unsigned int index, const struct tls_material *m)
{
	const char *why = tls_check(m);

	if (why || index >= WIRE_TLS_MAX)
		return why ? why : "has too high an index";
	if (!w->tls[index])
		w->tls[index] = make_tls_vhost(w, index);
	if (!w->tls[index])
		return "found no TLS in libwebsockets";
	return tls_use(w->tls[index]->ctx, m);
}

void
wire_reconfigure(struct wire *w, const struct wire_opts *o)
{
	struct wire_opts fixed = w->opts;
	struct eio_opts eio;

	take_opts(w, o);
	w->opts.max_connections = fixed.max_connections;
	w->opts.slot = fixed.slot;
	w->opts.address_fd = -1;
	fill_eio_opts(&eio, &w->opts);
	for (unsigned int i = 0; i < w->endpoint_count; i++)
		eio_server_reconfigure(w->endpoints[i].eio, &eio);
	sio_server_reconfigure(w->sio, o->connect_timeout, o->max_payload);
}

void
wire_told(struct wire *w, unsigned int from, const void *data, size_t len)
{
	if (w->relay)
		relay_told(w->relay, from, data, len);
}

void
wire_peer(struct wire *w, unsigned int slot, bool up)
{
	if (w->relay)
		relay_peer(w->relay, slot, up);
}

void
wire_peers_lost(struct wire *w)
{
	if (w->relay)
		relay_peers_lost(w->relay);
}

void
wire_drain(struct wire *w)
{
	struct conn *c;

	w->draining = true;
	listeners_close(w);
	if (w->relay)
		relay_take_nothing(w->relay);
	for (unsigned int i = 0; i < w->endpoint_count; i++)
		eio_close_all(w->endpoints[i].eio, "server shutting down", 1001);
	DL_FOREACH (w->conns, c)
		if (c->state == CONN_HEAD && !c->in.len) /* idle: it sees the end at once */
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
	for (unsigned int i = 0; i < w->endpoint_count; i++) {
		st->sessions += eio_session_count(w->endpoints[i].eio);
		st->slow_closed += eio_slow_count(w->endpoints[i].eio);
	}
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
	ev_timer_stop(loop_ev(), &w->trim);
	ev_timer_stop(loop_ev(), &w->rest);
	for (unsigned int i = 0; i < w->endpoint_count; i++) {
		eio_server_free(&w->endpoints[i].eio);
		free(w->endpoints[i].path);
	}
	sio_server_free(&w->sio);
	relay_free(&w->relay);
	for (int i = 0; i < WIRE_TLS_MAX; i++)
		free(w->tls[i]);
	address_table_close(&w->addresses);
	free(w->origins);
	free(w->proxies);
	free(w->web_root);
	free(w);
}
