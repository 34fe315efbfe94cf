/* SPDX-License-Identifier: ISC */
/*
 * conn_ws: a connection that is a WebSocket: what is read from it.  Loop thread.
 */
#include <string.h>

#include "wire/wire_int.h"

#define PONGS_MAX 4096 /* bytes of pongs that may wait for a client */

static bool
on_message(void *arg, const char *data, size_t len, bool binary)
{
	struct conn *c = arg;

	c->wire->stats.frames_in++;
	if (!c->session)
		return upgrade_input(c, data, len, binary);
	eio_input(c->session, data, len, binary);
	return !c->closing;
}

static bool
on_ping(void *arg, const uint8_t *data, size_t len)
{
	struct conn *c = arg;

	if (c->control.len + len + 2 > PONGS_MAX)
		return true; /* only the latest must be answered (RFC 6455, 5.5.3) */
	buf_putc(&c->control, (char)0x8a);
	buf_putc(&c->control, (char)len);
	buf_append(&c->control, data, len);
	loop_defer(&c->flush);
	return true;
}

static bool
on_close(void *arg, int code)
{
	struct conn *c = arg;

	if (c->session && eio_mid_frame(c->session))
		c->abort = true; /* no Close frame can be written any more */
	conn_close_ws(c, code);
	if (c->session)
		eio_transport_gone(c->session, "transport close");
	c->session = NULL;
	upgrade_gone(c);
	return false;
}

/* A violation below Engine.IO. */
static int
ws_fail(struct conn *c, int code)
{
	c->wire->stats.protocol_errors++;
	c->close_code = code;
	conn_write_close(c);
	return -1;
}

int
conn_read_ws(struct conn *c, uint8_t *data, size_t len)
{
	static const struct ws_handler handler = {on_message, on_ping, on_close};
	size_t used = 0;
	int code;

	if (c->closing)
		return 0;
	if (!c->stopped) {
		code =
		    ws_feed(&c->reader, data, len, c->wire->opts.max_payload, &used, &handler, c);
		if (code)
			return ws_fail(c, code);
	}
	if (c->stopped && used < len)
		buf_append(&c->in, data + used, len - used);
	return 0;
}

void
conn_wait_for_decision(struct conn *c)
{
	c->state = CONN_SHAKING;
	conn_deadline(c, c->wire->opts.upgrade_timeout);
}

void
conn_become_ws(struct conn *c, const char *headers)
{
	conn_deadline(c, -1);
	c->state = CONN_WS;
	http_req_free(c->req);
	c->req = NULL;
	buf_puts(&c->control, headers);
	loop_defer(&c->flush);
}

void
conn_stop_reading(struct conn *c)
{
	c->stopped = true; /* what this read has brought already waits in `in` */
	lws_rx_flow_control(c->wsi, 0);
}

void
conn_resume_reading(struct conn *c)
{
	struct buf rest = c->in;

	if (c->stopped)
		lws_rx_flow_control(c->wsi, c->held ? 0 : 1);
	c->resuming = c->stopped = false;
	buf_init(&c->in);
	if (rest.len && conn_read_ws(c, rest.data, rest.len) < 0)
		conn_abort(c);
	buf_fini(&rest);
}
