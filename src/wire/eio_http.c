/* SPDX-License-Identifier: ISC */
/*
 * eio_http: Engine.IO's requests: the checks of the protocol's section 2, polling
 * requests to their session, here or on another worker, and WebSocket handshakes.
 * Loop thread.
 */
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "lib/log.h"
#include "lib/address.h"
#include "wire/wire_int.h"

#define TOO_MANY "too many new sessions from this address\n"

/* Escapes of letters count as the letters, one of "/" does not (RFC 3986, 2.2). */
static bool
path_begins(const char *path, size_t len, const char *prefix)
{
	char c[2];

	while (*prefix) {
		size_t n = len && *path == '%' ? 3 : 1;

		if (len < n || http_decode(c, path, n, false) != 1 || *c != *prefix ||
		    (n == 3 && *c == '/'))
			return false;
		prefix++;
		path += n;
		len -= n;
	}
	return true;
}

struct endpoint *
endpoint_of(struct wire *w, const char *path, size_t len)
{
	for (unsigned int i = 0; i < w->endpoint_count; i++)
		if (path_begins(path, len, w->endpoints[i].path))
			return &w->endpoints[i];
	return NULL;
}

/* ---- a polling request of this worker's connection ---- */

struct poll {
	struct eio_request base;
	struct http_req *r;
};

void
eio_http_answer(struct http_req *r, int status, const char *type, const void *body, size_t len)
{
	http_reply(r, status, type, status == 405 ? "Allow: GET, POST\r\n" : NULL, body, len);
}

static void
poll_answer(struct eio_request *rq, int status, const char *type, const void *body, size_t len)
{
	struct poll *p = (struct poll *)rq;
	struct http_req *r = p->r;

	free(p);
	eio_http_answer(r, status, type, body, len);
}

static void
poll_abort(void *arg)
{
	struct poll *p = arg;

	eio_request_gone(&p->base);
	free(p);
}

static void
poll_cancel(void *arg)
{
	struct poll *p = arg;

	eio_post_cancel(&p->base);
	free(p);
}

static struct poll *
poll_of(struct http_req *r)
{
	static const struct eio_request_ops ops = {poll_answer};
	struct poll *p = http_user(r);

	if (p)
		return p;
	p = xcalloc(1, sizeof(*p));
	p->base.ops = &ops;
	p->r = r;
	http_set_user(r, p);
	http_on_abort(r, poll_abort, p);
	http_on_cancel(r, poll_cancel);
	return p;
}

static void
answer_method(struct eio_request *rq)
{
	rq->ops->answer(rq, 405, NULL, NULL, 0);
}

void
endpoint_serve(struct endpoint *ep, enum poll_kind kind, const char *sid, struct eio_request *rq,
    const char *body, size_t len, bool octets)
{
	enum eio_error err;

	if (kind == POLL_GET) {
		eio_get(ep->eio, sid, rq);
	} else if (kind == POLL_POST) {
		eio_post(ep->eio, sid, rq, body, len, octets);
	} else {
		err = eio_check_polling(ep->eio, sid);
		if (err == EIO_UNKNOWN_SID)
			eio_answer_error(rq, err);
		else if (err == EIO_OK && kind == POLL_METHOD)
			answer_method(rq);
		else
			eio_answer_error(rq, EIO_BAD_REQUEST);
	}
}

/* ---- checks ---- */

static bool
is_ours(const struct endpoint *ep, int slot)
{
	return slot == (int)ep->wire->opts.slot || !ep->wire->relay;
}

/* The slot of a session id; -1: no worker has, or can have, such a session. */
static int
slot_of(const struct endpoint *ep, const char *sid)
{
	int slot = eio_sid_slot(sid);

	return ep->wire->relay && slot >= (int)ep->wire->app.peers.slots ? -1 : slot;
}

/* For handshakes: the text of the refusal, or NULL: welcome. */
static const char *
admission_fault(const struct wire *w, const struct http_req *r)
{
	if (!origin_allowed(w, r))
		return eio_error_text(EIO_FORBIDDEN);
	return w->app.admit ? w->app.admit(w->app.arg, r) : NULL;
}

static bool
revision_good(const struct http_req *r)
{
	const char *eio = http_query(r, "EIO");

	return eio && strcmp(eio, "4") == 0;
}

static bool
is_octets(const struct http_req *r)
{
	const char *type = http_header(r, "content-type");

	return type && strncasecmp(type, "application/octet-stream", 24) == 0;
}

void
eio_http_error(struct http_req *r, enum eio_error e, const char *text)
{
	struct buf b;

	buf_init(&b);
	buf_printf(&b, "{\"code\":%d,\"message\":\"%s\"}", (int)e, text ? text : eio_error_text(e));
	http_reply(r, e == EIO_FORBIDDEN ? 403 : 400, "application/json", NULL, b.data, b.len);
	buf_fini(&b);
}

static void
refuse(struct http_req *r, enum eio_error e, const char *text)
{
	http_conn(r)->wire->stats.protocol_errors++;
	eio_http_error(r, e, text);
}

/* Has this address begun too many sessions of late? */
static bool
too_many(const struct wire *w, const struct http_req *r)
{
	struct in6_addr a;

	if (!http_address_known(r))
		return false;
	http_client_address(r, &a);
	if (address_session(w->addresses, &a, w->opts.sessions_per_address))
		return false;
	http_conn(r)->wire->stats.refused_address++;
	return true;
}

#define CREDENTIAL_MAX 1024

/*
 * The cookie that tells who opens a session, if the request may use it.  Browsers name the
 * page's origin in every WebSocket handshake and every request to another origin.  A GET
 * of a page of ours has none; one that another page forged gets no cookie (SameSite), and
 * could not read the session id that it needs to go on.
 */
static const char *
credential_of(
    const struct wire *w, const struct http_req *r, bool websocket, char dst[CREDENTIAL_MAX])
{
	bool trusted = http_header(r, "origin") ? http_origin_allowed(r) : !websocket;

	if (!w->app.cookie || !trusted || !http_cookie(r, w->app.cookie, dst, CREDENTIAL_MAX))
		return NULL;
	return dst;
}

static void
handshake(struct endpoint *ep, struct http_req *r, bool polling)
{
	char credential[CREDENTIAL_MAX];
	const char *fault;

	if (http_method(r) != HTTP_GET)
		refuse(r, EIO_BAD_METHOD, NULL);
	else if (!polling)
		refuse(r, EIO_BAD_REQUEST, NULL);
	else if ((fault = admission_fault(ep->wire, r)) != NULL)
		refuse(r, EIO_FORBIDDEN, fault);
	else if (!revision_good(r))
		refuse(r, EIO_UNSUPPORTED_VERSION, NULL);
	else if (too_many(ep->wire, r))
		http_reply(r, 429, "text/plain", "Retry-After: 1\r\n", TOO_MANY, strlen(TOO_MANY));
	else
		eio_open_polling(
		    ep->eio, &poll_of(r)->base, credential_of(ep->wire, r, false, credential));
}

static enum poll_kind
kind_of(const struct http_req *r, bool polling)
{
	if (!polling || !revision_good(r))
		return POLL_MISMATCH;
	if (http_method(r) == HTTP_GET)
		return POLL_GET;
	return http_method(r) == HTTP_POST ? POLL_POST : POLL_METHOD;
}

void
eio_http_request(struct endpoint *ep, struct http_req *r)
{
	const char *transport = http_query(r, "transport"), *sid = http_query(r, "sid");
	bool polling = transport && strcmp(transport, "polling") == 0, octets = is_octets(r);
	enum poll_kind kind;
	const char *body;
	size_t len;
	int slot;

	if (!polling && (!transport || strcmp(transport, "websocket") != 0)) {
		refuse(r, EIO_UNKNOWN_TRANSPORT, NULL);
		return;
	}
	if (!sid || !*sid) {
		handshake(ep, r, polling);
		return;
	}
	slot = slot_of(ep, sid);
	if (slot < 0) {
		refuse(r, EIO_UNKNOWN_SID, NULL);
		return;
	}
	kind = kind_of(r, polling);
	body = http_body(r, &len);
	if (is_ours(ep, slot))
		endpoint_serve(ep, kind, sid, &poll_of(r)->base, body ? body : "", len, octets);
	else
		relay_request(ep->wire->relay, ep, (unsigned int)slot, sid, r, kind, octets);
}

/* Only what would reach a session as a POST; everything else is checked when it is complete. */
void
eio_http_body_begins(struct endpoint *ep, struct http_req *r)
{
	const char *transport = http_query(r, "transport"), *sid = http_query(r, "sid");
	int slot;

	if (!sid || !transport || strcmp(transport, "polling") != 0 || is_octets(r) ||
	    http_method(r) != HTTP_POST || !revision_good(r))
		return;
	slot = slot_of(ep, sid);
	if (slot < 0)
		return;
	if (is_ours(ep, slot))
		eio_post_begin(ep->eio, sid, &poll_of(r)->base);
	else
		relay_post_begin(ep->wire->relay, ep, (unsigned int)slot, sid, r);
}

/* ---- WebSocket handshakes ---- */

struct upgrade {
	struct eio_candidate base;
	struct conn *c;
	struct endpoint *ep;
	struct relay_link *link; /* NULL: the session is here */
	char *headers;           /* of the 101, while it is not sent */
};

static void
upgrade_free(struct upgrade *u, bool tell)
{
	u->c->upgrade = NULL;
	relay_link_free(&u->link, tell);
	free(u->headers);
	free(u);
}

/* Plain HTTP instead of 101, then the end (section 2.3). */
static void
refuse_upgrade(struct http_req *r, int status, const char *text)
{
	struct conn *c = http_conn(r);

	c->wire->stats.protocol_errors++;
	c->reply_ends = true;
	http_reply(r, status, "text/html",
	    status == 426   ? "Sec-WebSocket-Version: 13\r\nUpgrade: websocket\r\nConnection: "
			      "Upgrade, close\r\n"
	    : status == 429 ? "Retry-After: 1\r\n"
			    : NULL,
	    text, strlen(text));
}

static bool
header_is(const struct http_req *r, const char *name, const char *value)
{
	const char *got = http_header(r, name);

	return got && strcasecmp(got, value) == 0;
}

/* What has nothing to do with a session; 0, or the status of the refusal. */
static int
handshake_fault(const struct http_req *r, const char **text_r)
{
	const char *transport = http_query(r, "transport");
	size_t len;

	*text_r = "Bad request";
	if (http_method(r) != HTTP_GET || http_body(r, &len) ||
	    http_header(r, "transfer-encoding") || http_header_count(r, "sec-websocket-key") != 1 ||
	    http_header_count(r, "sec-websocket-version") > 1)
		return 400;
	if (!header_is(r, "sec-websocket-version", "13"))
		return 426;
	*text_r = eio_error_text(EIO_UNKNOWN_TRANSPORT);
	if (!transport ||
	    (strcmp(transport, "websocket") != 0 && strcmp(transport, "polling") != 0))
		return 400;
	*text_r = eio_error_text(EIO_BAD_REQUEST);
	return strcmp(transport, "polling") == 0 ? 400 : 0;
}

static char *
accept_headers(const struct http_req *r)
{
	const char *key = http_header(r, "sec-websocket-key");
	char accept[WS_ACCEPT_MAX];
	struct buf b;

	if (!key || !ws_accept_key(key, strlen(key), accept))
		return NULL;
	buf_init(&b);
	buf_printf(&b,
	    "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
	    "Sec-WebSocket-Accept: %s\r\n",
	    accept);
	origin_put_headers(&b, http_conn(r)->wire, r);
	buf_puts(&b, "\r\n");
	return buf_steal(&b);
}

static void
open_on_ws(struct endpoint *ep, struct http_req *r, const char *headers)
{
	struct conn *c = http_conn(r);
	bool b64 = http_query(r, "b64") != NULL;
	char credential[CREDENTIAL_MAX];
	const char *known = credential_of(ep->wire, r, true, credential);

	conn_become_ws(c, headers);
	c->session = eio_open(ep->eio, &conn_transport, c, b64, known);
}

static void
on_cut(struct eio_candidate *base)
{
	upgrade_cut((struct upgrade *)base);
}

static void
on_upgraded(struct eio_candidate *base, struct eio_session *s)
{
	struct upgrade *u = (struct upgrade *)base;

	u->c->session = s;
	upgrade_free(u, false);
}

static void
begin_upgrade(struct endpoint *ep, struct http_req *r, const char *sid, int slot, char *headers)
{
	static const struct eio_candidate_ops ops = {on_cut, on_upgraded, NULL};
	struct upgrade *u = xcalloc(1, sizeof(*u));
	struct conn *c = http_conn(r);

	u->base.ops = &ops;
	u->base.transport = &conn_transport;
	u->base.conn = c;
	u->c = c;
	u->ep = ep;
	u->headers = headers;
	c->upgrade = u;
	if (is_ours(ep, slot)) {
		upgrade_decided(u, eio_candidate_add(ep->eio, sid, &u->base));
		return;
	}
	if (relay_is_down(ep->wire->relay, (unsigned int)slot)) {
		upgrade_decided(u, EIO_UNKNOWN_SID);
		return;
	}
	conn_wait_for_decision(c);
	u->link = relay_link_new(ep->wire->relay, ep, (unsigned int)slot, sid, u);
}

void
eio_http_upgrade(struct endpoint *ep, struct http_req *r)
{
	const char *sid = http_query(r, "sid"), *text;
	int status = handshake_fault(r, &text), slot = 0;
	char *headers = NULL;

	if (!status && sid && *sid) {
		slot = slot_of(ep, sid);
		if (slot < 0) {
			status = 400;
			text = eio_error_text(EIO_UNKNOWN_SID);
		}
	} else if (!status && (text = admission_fault(ep->wire, r)) != NULL) {
		status = 403;
	}
	if (!status && !revision_good(r)) {
		status = 400;
		text = eio_error_text(EIO_UNSUPPORTED_VERSION);
	}
	if (!status && !(headers = accept_headers(r))) {
		status = 400;
		text = eio_error_text(EIO_BAD_REQUEST);
	}
	if (!status && !(sid && *sid) && too_many(ep->wire, r)) {
		status = 429;
		text = TOO_MANY;
	}
	if (status) {
		free(headers);
		refuse_upgrade(r, status, text);
	} else if (sid && *sid) {
		begin_upgrade(ep, r, sid, slot, headers);
	} else {
		open_on_ws(ep, r, headers);
		free(headers);
	}
}

/* ---- a WebSocket that is to become a session's transport ---- */

void
upgrade_decided(struct upgrade *u, enum eio_error err)
{
	struct conn *c = u->c;

	if (err != EIO_OK) {
		upgrade_free(u, false);
		refuse_upgrade(c->req, 400, eio_error_text(err));
		return;
	}
	conn_become_ws(c, u->headers);
	free(u->headers);
	u->headers = NULL;
}

void
upgrade_cut(struct upgrade *u)
{
	struct conn *c = u->c;

	u->base.session = NULL;
	upgrade_free(u, false);
	if (c->state == CONN_WS)
		conn_close_ws(c, 0);
	else
		refuse_upgrade(c->req, 400, eio_error_text(EIO_UNKNOWN_SID));
}

void
upgrade_state(struct upgrade *u, const void *state, size_t len)
{
	struct endpoint *ep = u->ep;
	struct conn *c = u->c;

	upgrade_free(u, false);
	c->wire->stats.moved_in++;
	c->session = eio_arrive(ep->eio, &conn_transport, c, state, len);
	if (!c->session)
		conn_close_ws(c, 0);
}

void
upgrade_gone(struct conn *c)
{
	struct upgrade *u = c->upgrade;

	if (!u)
		return;
	eio_candidate_gone(&u->base);
	upgrade_free(u, true);
}

static void
take(struct upgrade *u)
{
	if (!u->link) {
		eio_candidate_upgrade(&u->base);
		return;
	}
	conn_stop_reading(u->c);
	relay_link_take(u->link);
}

bool
upgrade_input(struct conn *c, const char *data, size_t len, bool binary)
{
	struct upgrade *u = c->upgrade;

	if (!u)
		return false;
	if (!binary && len == 6 && memcmp(data, "2probe", 6) == 0) {
		conn_send_text(c, "3probe");
		if (u->link)
			relay_link_probe(u->link);
		else
			eio_candidate_probe(&u->base);
		return true;
	}
	if (!binary && len == 1 && *data == '5') {
		take(u);
		return !c->stopped && !c->closing;
	}
	c->wire->stats.protocol_errors++;
	upgrade_gone(c);
	conn_close_ws(c, 0);
	return false;
}
