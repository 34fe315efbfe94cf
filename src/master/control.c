/* SPDX-License-Identifier: ISC */
/*
 * control: the requests of palaverctl, by one table.  Master process, loop thread.
 *
 * What only a worker can do (users, messages) is forwarded to the lowest ready one
 * and its answer passed on; if it dies or takes too long, the answer says so.  Statistics
 * are asked of all ready workers and added up; who does not answer is left out.
 */
#include "config.h"

#include <errno.h>
#include <inttypes.h>
#include <json.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sysexits.h>
#include <unistd.h>
#include <utlist.h>

#include "lib/child.h"
#include "lib/json.h"
#include "lib/log.h"
#include "lib/loop.h"
#include "master/master.h"

#define FORWARD_TIMEOUT_S 10.0

/* The statistics of several workers, until each has answered or failed. */
struct gathering {
	struct ctlsock_peer *peer;
	unsigned int waiting;
	struct json_object *total, *workers;
};

struct control_call {
	struct master *master;
	struct ctlsock_peer *peer;   /* of a call that is passed on */
	struct gathering *gathering; /* of one that is gathered; else NULL */
	struct proc *worker;
	unsigned int generation; /* of the worker: an answer of an earlier one is not ours */
	uint32_t id;
	ev_timer timeout;
	struct control_call *prev, *next;
};

void
control_reply_error(struct ctlsock_peer *peer, const char *code, const char *text, int status)
{
	struct buf b;

	buf_init(&b);
	buf_printf(&b, "{\"ok\":false,\"code\":\"%s\",\"error\":", code);
	json_put_string(&b, text, strlen(text));
	buf_printf(&b, ",\"exit\":%d}", status);
	ctlsock_reply(peer, (const char *)b.data, b.len);
	buf_fini(&b);
}

void
control_reply_data(struct ctlsock_peer *peer, struct buf *data)
{
	struct buf b;

	buf_init(&b);
	buf_printf(&b, "{\"ok\":true,\"data\":%s}", buf_cstr(data));
	ctlsock_reply(peer, (const char *)b.data, b.len);
	buf_fini(&b);
}

/* ---- answered by the master ---- */

static void
put_process(struct buf *b, const struct proc *p, int64_t now)
{
	buf_printf(b,
	    ",{\"role\":\"%s\",\"slot\":%u,\"pid\":%d,\"state\":\"%s\",\"uptime_ms\":%" PRId64
	    ",\"restarts\":%u}",
	    proc_role_name(p->role), p->slot, (int)p->pid, proc_state_name(p->state),
	    p->pid ? now - p->started_ms : 0, p->restarts);
}

static void
do_status(struct master *m, struct ctlsock_peer *peer)
{
	int64_t now = clock_mono_ms();
	struct buf b;

	buf_init(&b);
	buf_printf(&b, "{\"version\":\"%s\",\"pid\":%d,\"uptime_ms\":%" PRId64 ",\"state\":\"%s\"",
	    PACKAGE_VERSION, (int)getpid(), now - m->started_ms,
	    m->stopping    ? "stopping"
	    : m->announced ? "ready"
			   : "starting");
	buf_puts(&b, ",\"listen\":[");
	for (size_t i = 0; i < m->conf->listen_count; i++)
		buf_printf(&b, "%s\"%s\"", i ? "," : "", m->addresses[i]);
	buf_printf(&b,
	    "],\"processes\":[{\"role\":\"master\",\"slot\":0,\"pid\":%d,\"state\":\"ready\","
	    "\"uptime_ms\":%" PRId64 ",\"restarts\":0}",
	    (int)getpid(), now - m->started_ms);
	for (size_t i = 0; i < m->proc_count; i++)
		put_process(&b, &m->procs[i], now);
	buf_puts(&b, "]}");
	control_reply_data(peer, &b);
	buf_fini(&b);
}

static void
do_ping(struct master *m, struct ctlsock_peer *peer)
{
	struct buf b;

	buf_init(&b);
	buf_puts(&b, "{\"pong\":true}");
	control_reply_data(peer, &b);
	buf_fini(&b);
}

static void
do_conf(struct master *m, struct ctlsock_peer *peer)
{
	char *text = NULL;
	size_t len = 0;
	FILE *f = open_memstream(&text, &len);
	struct buf b;

	if (!f) {
		control_reply_error(peer, "internal", strerror(errno), EX_OSERR);
		return;
	}
	conf_dump(m->conf, f);
	fclose(f);
	buf_init(&b);
	buf_puts(&b, "{\"text\":");
	json_put_string(&b, text, len);
	buf_putc(&b, '}');
	control_reply_data(peer, &b);
	buf_fini(&b);
	free(text);
}

static void
do_reload(struct master *m, struct ctlsock_peer *peer)
{
	char *text, *errors;
	struct buf b;

	if (master_reload(m, &text, &errors) < 0) {
		control_reply_error(peer, "bad_configuration", text, EX_CONFIG);
	} else {
		buf_init(&b);
		buf_puts(&b, "{\"wants_restart\":");
		json_put_string(&b, text, strlen(text));
		if (errors) {
			buf_puts(&b, ",\"not_taken\":");
			json_put_string(&b, errors, strlen(errors));
		}
		buf_putc(&b, '}');
		control_reply_data(peer, &b);
		buf_fini(&b);
	}
	free(text);
	free(errors);
}

static void
do_shutdown(struct master *m, struct ctlsock_peer *peer)
{
	struct buf b;

	buf_init(&b);
	buf_printf(&b, "{\"pid\":%d}", (int)getpid());
	control_reply_data(peer, &b);
	buf_fini(&b);
	if (!m->stopping)
		master_stop(m);
}

static void do_stats(struct master *m, struct ctlsock_peer *peer);

static const struct command {
	const char *name;
	void (*run)(struct master *m, struct ctlsock_peer *peer);
} commands[] = {
    {"status", do_status},
    {"ping", do_ping},
    {"conf", do_conf},
    {"reload", do_reload},
    {"key.rotate", keys_rotate_now},
    {"key.list", keys_list},
    {"stats", do_stats},
    {"shutdown", do_shutdown},
};

/* ---- answered by a worker ---- */

static void
call_free(struct control_call *c)
{
	ev_timer_stop(loop_ev(), &c->timeout);
	DL_DELETE(c->master->calls, c);
	free(c);
}

/* What can be added is added; the slot is the worker's name. */
static void
add_up(struct json_object *total, struct json_object *one)
{
	json_object_object_foreach(one, key, value)
	{
		struct json_object *sum;

		if (!json_object_is_type(value, json_type_int) || strcmp(key, "slot") == 0)
			continue;
		if (json_object_object_get_ex(total, key, &sum))
			json_object_int_inc(sum, json_object_get_int64(value));
		else
			json_object_object_add(
			    total, key, json_object_new_int64(json_object_get_int64(value)));
	}
}

static void
gather(struct gathering *g, const char *json, size_t len)
{
	struct json_object *answer = NULL, *data;
	const char *why;
	struct buf b;

	if (json)
		answer = json_parse(json, len, &json_default_limits, &why);
	if (answer && json_object_object_get_ex(answer, "data", &data)) {
		add_up(g->total, data);
		json_object_array_add(g->workers, json_object_get(data));
	}
	json_object_put(answer);
	if (--g->waiting)
		return;
	if (json_object_array_length(g->workers)) {
		json_object_object_add(g->total, "workers", json_object_get(g->workers));
		buf_init(&b);
		buf_puts(&b, json_object_to_json_string_ext(g->total, JSON_C_TO_STRING_PLAIN));
		control_reply_data(g->peer, &b);
		buf_fini(&b);
	} else {
		control_reply_error(g->peer, "unavailable",
		    "no worker answered; see palaverctl status", EX_TEMPFAIL);
	}
	json_object_put(g->total);
	json_object_put(g->workers);
	free(g);
}

static void
call_failed(struct control_call *c, const char *code, const char *text)
{
	if (c->gathering)
		gather(c->gathering, NULL, 0);
	else
		control_reply_error(c->peer, code, text, EX_TEMPFAIL);
	call_free(c);
}

static void
call_timeout(struct ev_loop *l, ev_timer *t, int revents)
{
	call_failed(t->data, "timeout", "the worker did not answer in time; try again");
}

static struct control_call *
ask(struct proc *w, const char *line, size_t len)
{
	static uint32_t next_id;
	struct master *m = w->master;
	struct control_call *c = xcalloc(1, sizeof(*c));

	c->master = m;
	c->worker = w;
	c->generation = w->generation;
	c->id = ++next_id;
	ev_timer_init(&c->timeout, call_timeout, FORWARD_TIMEOUT_S, 0);
	c->timeout.data = c;
	ev_timer_start(loop_ev(), &c->timeout);
	DL_APPEND(m->calls, c);
	imsg_send(w->chan, CHAN_CTL, c->id, -1, line, len);
	return c;
}

static void
no_worker(struct ctlsock_peer *peer)
{
	control_reply_error(
	    peer, "unavailable", "no worker is ready; see palaverctl status", EX_TEMPFAIL);
}

static void
forward(struct master *m, struct ctlsock_peer *peer, const char *line, size_t len)
{
	struct proc *w = proc_any_worker(m);

	if (w)
		ask(w, line, len)->peer = peer;
	else
		no_worker(peer);
}

static void
do_stats(struct master *m, struct ctlsock_peer *peer)
{
	static const char line[] = "{\"command\":\"stats\"}";
	struct gathering *g;

	if (!proc_any_worker(m)) {
		no_worker(peer);
		return;
	}
	g = xcalloc(1, sizeof(*g));
	g->peer = peer;
	g->total = json_object_new_object();
	g->workers = json_object_new_array();
	for (size_t i = 0; i < m->proc_count; i++) {
		if (!proc_can_be_asked(&m->procs[i]))
			continue;
		g->waiting++;
		ask(&m->procs[i], line, sizeof(line) - 1)->gathering = g;
	}
}

void
control_reply_from_worker(struct master *m, const struct imsg *msg)
{
	struct control_call *c;

	DL_FOREACH (m->calls, c) {
		if (c->id != msg->id || c->generation != c->worker->generation)
			continue;
		if (c->gathering)
			gather(c->gathering, (const char *)msg->data, msg->len);
		else
			ctlsock_reply(c->peer, (const char *)msg->data, msg->len);
		call_free(c);
		return;
	}
}

void
control_worker_gone(struct master *m, const struct proc *p)
{
	struct control_call *c, *tmp;

	DL_FOREACH_SAFE (m->calls, c, tmp)
		if (c->worker == p)
			call_failed(c, "unknown_outcome",
			    "the worker died; it is not known whether this was done");
}

/* ---- requests ---- */

static void
on_request(void *arg, struct ctlsock_peer *peer, const char *line, size_t len)
{
	struct master *m = arg;
	const char *why, *name = NULL;
	struct json_object *o = json_parse(line, len, &json_default_limits, &why);

	if (!o || !json_get_str(o, "command", &name) || !name) {
		control_reply_error(
		    peer, "bad_request", "a request is {\"command\":\"..\"}", EX_USAGE);
		json_object_put(o);
		return;
	}
	for (size_t i = 0; i < sizeof(commands) / sizeof(*commands); i++) {
		if (strcmp(commands[i].name, name) == 0) {
			json_object_put(o);
			commands[i].run(m, peer);
			return;
		}
	}
	forward(m, peer, line, len);
	json_object_put(o);
}

void
control_open(struct master *m)
{
	char *path = xasprintf("%s/palaverd.sock", m->conf->run_dir);

	m->control = ctlsock_listen(path, on_request, m);
	if (!m->control)
		fatal(EX_CANTCREAT, "control.failed",
		    "socket=%s err=%s; is run_dir writable and its path short?", path,
		    strerror(errno));
	free(path);
}

void
control_close(struct master *m)
{
	struct control_call *c, *tmp;

	DL_FOREACH_SAFE (m->calls, c, tmp)
		call_failed(c, "shutting_down", "the server is shutting down");
	ctlsock_close(&m->control);
}
