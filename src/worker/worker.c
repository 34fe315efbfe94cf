/* SPDX-License-Identifier: ISC */
/*
 * worker: wires the layers together in one process: store, journal, bus, chat, api,
 * wire.  Loop thread.
 *
 * Everything is opened when the secret has come, which the master sends right after
 * the configuration and before hub and listeners; so nothing is accepted before the
 * worker can serve it.
 */
#include "worker/worker.h"

#include <stdlib.h>
#include <string.h>
#include <sysexits.h>
#include <unistd.h>

#include "bus/local.h"
#include "lib/log.h"
#include "lib/loop.h"
#include "lib/tls.h"
#include "worker/worker_int.h"

#define STORE_THREADS 2
#define DRAIN_CHECK_S 0.02

static enum chat_signup_mode
signup_mode(const char *word)
{
	if (strcmp(word, "open") == 0)
		return SIGNUP_OPEN;
	return strcmp(word, "invite") == 0 ? SIGNUP_INVITE : SIGNUP_CLOSED;
}

static void
fill_chat_opts(struct chat_opts *o, const struct conf *c)
{
	memset(o, 0, sizeof(*o));
	o->max_text = (size_t)c->chat_max_text;
	o->presence_members = (size_t)c->chat_presence_members;
	o->rate = c->chat_rate;
	o->burst = c->chat_burst;
	o->keep_edits = c->chat_keep_edits;
	o->max_reactions = c->chat_max_reactions;
	o->file_max = (size_t)c->files_max_size;
	o->file_quota = c->files_quota;
	o->signup = signup_mode(c->accounts_signup);
	conversation_history_parse(c->chat_history, &o->history);
	o->access_ttl = c->accounts_access_ttl;
	o->refresh_ttl = c->accounts_refresh_ttl;
	o->refresh_grace = c->accounts_refresh_grace;
	o->lockout_window = c->accounts_lockout_window;
	o->lockout_address = (uint64_t)c->accounts_lockout_address;
	o->lockout_account = (uint64_t)c->accounts_lockout_account;
	o->signups_per_address = (uint64_t)c->accounts_signups_per_address;
	o->hash_cost = (int)c->accounts_hash_cost;
	o->hash_queue = (unsigned int)c->accounts_hash_queue;
	o->encoder = api_encoder;
}

static void
fill_wire_opts(struct wire_opts *o, const struct child *ch)
{
	const struct conf *c = ch->conf;

	memset(o, 0, sizeof(*o));
	o->ping_interval = c->socketio_ping_interval;
	o->ping_timeout = c->socketio_ping_timeout;
	o->upgrade_timeout = c->socketio_upgrade_timeout;
	o->connect_timeout = c->socketio_connect_timeout;
	o->max_payload = (size_t)c->socketio_max_payload;
	o->max_queue = (size_t)c->socketio_max_queue;
	o->max_packets = (unsigned int)c->socketio_max_packets;
	o->max_url = (size_t)c->http_max_url;
	o->max_head = (size_t)c->http_max_head;
	o->max_body = (size_t)c->http_max_body;
	o->head_timeout = c->http_head_timeout;
	o->body_timeout = c->http_body_timeout;
	o->idle_timeout = c->http_idle_timeout;
	o->write_timeout = c->http_write_timeout;
	o->origins = c->http_origins;
	o->origins_credentials = !strchr(c->http_origins, '*');
	o->max_connections = (size_t)c->http_max_connections;
	o->sio_path = "/socket.io/";
	o->web_root = c->http_web_root;
	o->slot = ch->slot;
	o->address_fd = -1;
	o->max_connections_per_address = (unsigned int)c->http_max_connections_per_address;
	o->sessions_per_address = (unsigned int)c->http_sessions_per_address;
	o->trusted_proxies = c->http_trusted_proxies;
	o->hsts = c->http_hsts;
	o->max_fields = (unsigned int)c->http_max_fields;
	o->json_depth = (unsigned int)c->http_json_depth;
	o->json_keys = (unsigned int)c->http_json_keys;
	o->max_attachments = (unsigned int)c->socketio_max_attachments;
}

static void
open_journal(struct worker *w, const struct conf *c)
{
	char *dir = xasprintf("%s/spool", c->state_dir);
	struct journal_opts opts = {.dir = dir,
	    .slot = w->child->slot,
	    .slots = w->child->workers,
	    .segment_size = (size_t)c->spool_segment};
	int err = journal_local_writer_open(&opts, &w->journal);

	if (err)
		fatal(EX_TEMPFAIL, "worker.no_journal", "dir=%s err=%s", log_quote(dir),
		    error_code(err));
	free(dir);
}

static void
open_content(struct worker *w, const struct conf *c)
{
	char *dir = xasprintf("%s/files", c->state_dir);

	w->content = content_open(dir, (int)w->child->slot, (int)w->child->workers);
	if (!w->content)
		fatal(EX_TEMPFAIL, "worker.no_files", "dir=%s", log_quote(dir));
	free(dir);
}

/* ---- the bus: events are chat's, what workers tell each other is wire's ---- */

static void
on_bus_event(void *arg, struct event *ev)
{
	chat_bus_handler.event(((struct worker *)arg)->chat, ev);
}

static void
on_bus_cast(
    void *arg, const char *conversation, const char *sender, const char *payload, size_t len)
{
	chat_bus_handler.cast(((struct worker *)arg)->chat, conversation, sender, payload, len);
}

static void
on_bus_state(void *arg, bool up)
{
	struct worker *w = arg;

	chat_bus_handler.state(w->chat, up);
	if (!up && w->wire)
		wire_peers_lost(w->wire);
}

static void
on_bus_told(void *arg, unsigned int from, const void *data, size_t len)
{
	wire_told(((struct worker *)arg)->wire, from, data, len);
}

static void
on_bus_peer(void *arg, unsigned int slot, bool up)
{
	wire_peer(((struct worker *)arg)->wire, slot, up);
}

static void
on_bus_announced(void *arg, const void *payload, size_t len)
{
	chat_bus_handler.announced(((struct worker *)arg)->chat, payload, len);
}

static void
on_bus_cast_many(void *arg, const char (*conversations)[ID_MAX], size_t count, const char *sender,
    const char *payload, size_t len)
{
	chat_bus_handler.cast_many(
	    ((struct worker *)arg)->chat, conversations, count, sender, payload, len);
}

static void
on_bus_presence(void *arg, const char *user, enum presence p, int64_t left_ms)
{
	chat_bus_handler.presence(((struct worker *)arg)->chat, user, p, left_ms);
}

static const struct bus_handler bus_handler = {
    .event = on_bus_event,
    .cast = on_bus_cast,
    .cast_many = on_bus_cast_many,
    .state = on_bus_state,
    .told = on_bus_told,
    .peer = on_bus_peer,
    .announced = on_bus_announced,
    .presence = on_bus_presence,
};

static void
tell_peer(void *arg, unsigned int slot, const void *data, size_t len)
{
	bus_tell(((struct worker *)arg)->bus, slot, data, len);
}

/* Here and now, on the loop's thread: nobody is let in before they are known. */
static void
load_revocations(struct worker *w, const char *path)
{
	struct store_req *req = store_req_new(STORE_REVOCATIONS, NULL, NULL);
	void *handle = store_sqlite.open_handle(path);
	int err = ERR_UNAVAILABLE;

	req->now_ms = clock_wall_ms();
	if (handle) {
		err = store_run(&store_sqlite, handle, req);
		store_sqlite.close_handle(handle);
	}
	if (err)
		fatal(EX_TEMPFAIL, "worker.no_revocations", "path=%s err=%s", log_quote(path),
		    error_code(err));
	chat_take_revocations(w->chat, req);
	store_req_free(&req);
}

static void
worker_start(struct worker *w, const struct key_set *keys)
{
	const struct conf *c = w->child->conf;
	char *path = xasprintf("%s/palaver.db", c->state_dir);
	struct wire_app app = {.sio = api_sio_app,
	    .cookie = API_COOKIE,
	    .rest_prefix = API_PREFIX,
	    .request = api_request,
	    .begin = api_begin};
	struct chat_opts chat_opts;
	struct wire_opts wire_opts;
	int err = store_sqlite.prepare(path);

	if (err)
		fatal(EX_TEMPFAIL, "worker.no_store", "path=%s err=%s", log_quote(path),
		    error_code(err));
	w->store = store_open(&store_sqlite, path, STORE_THREADS);
	open_journal(w, c);
	open_content(w, c);
	fill_chat_opts(&chat_opts, c);
	chat_opts.keys = keys;
	w->chat = chat_new(&chat_opts, w->store, w->journal);
	w->bus = bus_local_new(&bus_handler, w);
	chat_set_bus(w->chat, w->bus);
	chat_set_content(w->chat, w->content);
	w->api = api_new(w->chat);
	app.arg = w->api;
	app.peers = (struct wire_peers){tell_peer, w, w->child->workers};
	api_json_limits(w->api, (unsigned int)c->http_json_depth, (unsigned int)c->http_json_keys);
	fill_wire_opts(&wire_opts, w->child);
	wire_opts.address_fd = w->address_fd;
	w->wire = wire_new(&wire_opts, &app);
	if (w->address_fd >= 0)
		close(w->address_fd);
	w->address_fd = -1;
	load_revocations(w, path);
	free(path);
	chat_replay(w->chat);
	child_ready(w->child);
}

/* With the first keys the worker opens everything. */
static void
on_secret(struct worker *w, const struct imsg *m)
{
	struct key_set keys;
	struct unpack u;

	unpack_init(&u, m->data, m->len);
	if (!keys_unpack(&u, &keys))
		fatal(EX_SOFTWARE, "worker.bad_keys", "the master's keys are damaged");
	if (w->chat)
		chat_set_keys(w->chat, &keys);
	else
		worker_start(w, &keys);
	explicit_bzero(&keys, sizeof(keys));
	imsg_send(w->child->chan, CHAN_SECRET_TAKEN, m->id, -1, NULL, 0);
}

/* The master has checked it. */
static void
on_tls(struct worker *w, const struct imsg *m)
{
	struct tls_material t;
	const char *why = "damaged message";
	struct unpack u;
	uint32_t index;
	size_t len;

	unpack_init(&u, m->data, m->len);
	index = unpack_u32(&u);
	t.chain = unpack_bytes(&u, &t.chain_len);
	t.key = unpack_bytes(&u, &t.key_len);
	t.tickets = unpack_bytes(&u, &len);
	if (unpack_end(&u) && len == TLS_TICKET_KEY)
		why = wire_tls(w->wire, index, &t);
	if (why)
		fatal(EX_SOFTWARE, "worker.no_tls", "listen section %u: the certificate %s", index,
		    why);
}

static void
on_listener(struct worker *w, struct imsg *m)
{
	struct unpack u;
	uint32_t slot, index;
	bool tls;

	unpack_init(&u, m->data, m->len);
	slot = unpack_u32(&u);
	if (m->type == CHAN_UNLISTEN) {
		wire_unlisten(w->wire, slot);
		return;
	}
	index = unpack_u32(&u);
	if (!unpack_ok(&u) || index >= w->child->conf->listen_count)
		return;
	tls = *w->child->conf->listen[index].certificate;
	wire_listen(w->wire, m->fd, slot, tls ? (int)index : WIRE_CLEAR);
	m->fd = -1;
}

/* ---- leaving ---- */

static void
drain_check(struct ev_loop *l, ev_timer *t, int revents)
{
	struct worker *w = t->data;
	size_t open = wire_connections(w->wire), sends = chat_in_flight(w->chat);

	(void)l, (void)revents;
	if ((open || sends) && clock_mono_ms() < w->drain_until)
		return;
	log_info("worker.drained", "connections=%zu sends=%zu", open, sends);
	loop_stop();
}

static void
drain(struct worker *w)
{
	if (!w->wire) {
		loop_stop();
		return;
	}
	if (ev_is_active(&w->drain))
		return;
	wire_drain(w->wire);
	imsg_send(w->child->chan, CHAN_DRAINING, 0, -1, NULL, 0);
	w->drain_until = clock_mono_ms() + w->child->conf->drain_timeout;
	ev_timer_init(&w->drain, drain_check, 0, DRAIN_CHECK_S);
	w->drain.data = w;
	ev_timer_start(loop_ev(), &w->drain);
}

/* Sends that are still under way stay in the spool and are replayed. */
static void
worker_stop(struct worker *w)
{
	ev_timer_stop(loop_ev(), &w->drain);
	wire_free(&w->wire);
	api_free(&w->api);
	if (w->bus)
		bus_close(&w->bus);
	store_close(&w->store);
	if (w->journal)
		journal_writer_close(&w->journal);
	chat_free(&w->chat);
	content_close(&w->content);
}

static void
on_message(struct child *ch, struct imsg *m)
{
	struct worker *w = ch->arg;

	if (!w->chat && m->type != CHAN_SECRET && m->type != CHAN_DRAIN &&
	    m->type != CHAN_ADDRESSES) {
		log_error("worker.early_message", "type=%u", m->type);
		return;
	}
	switch (m->type) {
	case CHAN_SECRET:
		on_secret(w, m);
		break;
	case CHAN_ADDRESSES:
		w->address_fd = m->fd;
		m->fd = -1;
		break;
	case CHAN_TLS:
		on_tls(w, m);
		break;
	case CHAN_HUB:
		bus_local_set_fd(w->bus, m->fd);
		m->fd = -1;
		break;
	case CHAN_LISTENER:
	case CHAN_UNLISTEN:
		on_listener(w, m);
		break;
	case CHAN_CTL:
		worker_admin(w, m->id, (const char *)m->data, m->len);
		break;
	case CHAN_DRAIN:
		drain(w);
		break;
	default:
		log_warn("worker.unknown_message", "type=%u", m->type);
	}
}

static void
reloaded(struct child *ch)
{
	struct worker *w = ch->arg;
	struct chat_opts chat_opts;
	struct wire_opts wire_opts;

	if (!w->chat)
		return;
	fill_chat_opts(&chat_opts, ch->conf);
	chat_reconfigure(w->chat, &chat_opts);
	api_json_limits(w->api, (unsigned int)ch->conf->http_json_depth,
	    (unsigned int)ch->conf->http_json_keys);
	fill_wire_opts(&wire_opts, ch);
	wire_reconfigure(w->wire, &wire_opts);
}

int
worker_main(struct child *ch)
{
	struct worker w = {.child = ch, .address_fd = -1};
	int status;

	ch->message = on_message;
	ch->reloaded = reloaded;
	ch->arg = &w;
	status = child_run(ch);
	worker_stop(&w);
	return status;
}
