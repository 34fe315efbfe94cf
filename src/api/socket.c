/* SPDX-License-Identifier: ISC */
/*
 * socket: the events of the namespace "/".  Worker, loop thread.
 *
 * Every request has an ack with one argument: {"data":{..}} or {"error":{..}}, the
 * latter a problem object as in REST.  An api_socket outlives its sio_socket while
 * calls are under way; `s` is NULL then and their answers are dropped.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "api/problem.h"
#include "api/socket_int.h"
#include "lib/json.h"
#include "lib/log.h"
#include "lib/loop.h"

#define NAMESPACE "/"

/* ---- encoding for many ---- */

static void *
encode(const char *name, const char *json, size_t len)
{
	return sio_event_new(NAMESPACE, name, json, len, NULL, 0);
}

static void
release(void *encoded)
{
	struct sio_packet *p = encoded;

	sio_packet_unref(&p);
}

const struct chat_encoder api_encoder = {encode, release};

/* ---- answers ---- */

static void
put_problem(struct buf *b, const struct chat_result *res)
{
	char request_id[16];

	random_token(request_id, 9);
	problem_json(b, res, request_id);
}

static void
socket_release(struct api_socket *as)
{
	if (!as->s && !as->calls)
		free(as);
}

void
socket_done(void *arg, const struct chat_result *res)
{
	struct socket_call *call = arg;
	struct api_socket *as = call->socket;
	struct buf b;

	if (as->s && call->ack != SIO_NO_ACK) {
		buf_init(&b);
		buf_puts(&b, res->err ? "{\"error\":" : "{\"data\":");
		if (res->err)
			put_problem(&b, res);
		else
			buf_append(&b, res->json, res->json_len);
		buf_putc(&b, '}');
		sio_ack(as->s, call->ack, (const char *)b.data, b.len, NULL, 0);
		buf_fini(&b);
	}
	free(call);
	if (--as->calls == 0 && as->s)
		sio_idle(as->s);
	socket_release(as);
}

/* ---- events ---- */

bool
socket_fields(
    struct socket_call *call, struct json_object *body, const struct field *fields, size_t count)
{
	return api_read_fields(body, fields, count, socket_done, call);
}

static void
sync_streams(struct socket_call *call, struct json_object *body)
{
	struct api_socket *as = call->socket;

	api_sync(as->api->chat, client_user(as->client), body, socket_done, call);
}

static void
typing_set(struct socket_call *call, struct json_object *body)
{
	struct api_socket *as = call->socket;
	const char *conversation;
	bool typing;
	const struct field fields[] = {
	    {"conversation_id", FIELD_STR, true, &conversation},
	    {"typing", FIELD_BOOL, true, &typing},
	};

	if (socket_fields(call, body, fields, 2))
		chat_typing(as->api->chat, as->client, conversation, typing, socket_done, call);
}

static void
presence_set(struct socket_call *call, struct json_object *body)
{
	struct api_socket *as = call->socket;
	struct chat_result ok = {.json = "{}", .json_len = 2};
	const char *status;
	const struct field fields[] = {{"status", FIELD_STR, true, &status}};

	if (!socket_fields(call, body, fields, 1))
		return;
	if (chat_presence_set(as->api->chat, as->client, status))
		chat_answer_error(socket_done, call, ERR_INVALID_FIELD, "/status", "invalid");
	else
		socket_done(call, &ok);
}

static void
presence_get(struct socket_call *call, struct json_object *body)
{
	struct api_socket *as = call->socket;
	const char **users;
	struct json_object *ids = NULL;
	const struct field fields[] = {{"user_ids", FIELD_STRS, true, &ids}};
	size_t count;

	if (!socket_fields(call, body, fields, 1))
		return;
	users = fields_strings(ids, &count);
	chat_presence_get(
	    as->api->chat, client_user(as->client), users, count, "/user_ids", socket_done, call);
	free(users);
}

static const struct socket_event {
	const char *name;
	void (*handler)(struct socket_call *call, struct json_object *body);
	bool reads; /* is not counted by chat_write_allowed(); what is unknown is */
} events[] = {
    {"message.send", socket_message_send, false},
    {"message.edit", socket_message_edit, false},
    {"message.delete", socket_message_delete, false},
    {"reaction.add", socket_reaction_add, false},
    {"reaction.remove", socket_reaction_remove, false},
    {"read.set", socket_read_set, false},
    {"sync", sync_streams, true},
    {"typing.set", typing_set, false},
    {"presence.set", presence_set, false},
    {"presence.get", presence_get, true},
};
#define EVENTS (sizeof(events) / sizeof(*events))

const char *
api_event(unsigned int i)
{
	return i < EVENTS ? events[i].name : NULL;
}

static const struct socket_event *
find_event(const char *name)
{
	for (size_t i = 0; i < EVENTS; i++)
		if (strcmp(events[i].name, name) == 0)
			return &events[i];
	return NULL;
}

static void
on_event(
    void *arg, struct sio_socket *s, const char *name, const struct sio_args *args, int64_t ack)
{
	struct api_socket *as = sio_user(s);
	struct socket_call *call = xcalloc(1, sizeof(*call));
	struct json_object *body = json_object_array_get_idx(sio_args_json(args), 0);
	const struct socket_event *event = find_event(name);
	struct chat_result limited = {.err = ERR_RATE_LIMITED};

	(void)arg;
	call->socket = as;
	call->ack = ack;
	as->calls++;
	if (as->ended) { /* what it sent before it learned of the end */
		chat_answer_error(socket_done, call, ERR_UNAUTHORIZED, NULL, NULL);
		return;
	}
	if (!json_object_is_type(body, json_type_object)) {
		chat_answer_error(socket_done, call, ERR_BAD_REQUEST, "", "not_an_object");
		return;
	}
	if (!(event && event->reads) &&
	    !chat_write_allowed(as->api->chat, client_user(as->client), &limited.retry_after)) {
		socket_done(call, &limited);
		return;
	}
	if (event)
		event->handler(call, body);
	else
		chat_answer_error(socket_done, call, ERR_UNKNOWN_EVENT, NULL, NULL);
}

/* ---- joining and leaving ---- */

static void
peer_send(void *peer, void *encoded)
{
	struct api_socket *as = peer;

	if (!as->ended)
		sio_send(as->s, encoded);
}

static void
refuse(struct sio_socket *s, int err)
{
	struct chat_result res = {.err = err};
	struct buf b;

	buf_init(&b);
	put_problem(&b, &res);
	sio_refuse(s, error_code(err), buf_cstr(&b));
	buf_fini(&b);
}

/*
 * A client does not come back by itself after a CONNECT_ERROR (protocol, section 15),
 * so what may be better in a second closes the connection instead.
 */
static void
peer_ready(void *peer, int err)
{
	struct api_socket *as = peer;

	if (as->ended)
		return;
	as->joined = !err;
	if (!err && as->arriving)
		sio_resume(as->s);
	else if (!err)
		sio_accept(as->s);
	else if (as->arriving || error_retryable(err))
		sio_disconnect(as->s, true);
	else
		refuse(as->s, err);
}

/*
 * The close comes a moment after session.ended: socket.io-client drops events that come
 * in one polling answer with the end of the connection.
 */
#define END_DELAY_S 0.2

struct ending {
	struct api_socket *socket;
	ev_timer timer;
};

static void
ending_stop(struct api_socket *as)
{
	if (!as->ending)
		return;
	ev_timer_stop(loop_ev(), &as->ending->timer);
	free(as->ending);
	as->ending = NULL;
}

static void
ending_due(struct ev_loop *l, ev_timer *t, int revents)
{
	struct api_socket *as = ((struct ending *)t->data)->socket;

	(void)l, (void)revents;
	ending_stop(as);
	sio_disconnect(as->s, true);
}

static void
send_ended(struct api_socket *as, const char *reason)
{
	char json[64];
	int len = snprintf(json, sizeof(json), "{\"reason\":\"%s\"}", reason);
	void *event = encode("session.ended", json, (size_t)len);

	sio_send(as->s, event);
	release(event);
	as->ending = xcalloc(1, sizeof(*as->ending));
	as->ending->socket = as;
	ev_timer_init(&as->ending->timer, ending_due, END_DELAY_S, 0);
	as->ending->timer.data = as->ending;
	ev_timer_start(loop_ev(), &as->ending->timer);
}

static void
peer_end(void *peer, const char *reason)
{
	struct api_socket *as = peer;

	if (as->ended)
		return;
	as->ended = true;
	if (!as->joined && !as->arriving)
		refuse(as->s, ERR_UNAUTHORIZED);
	else if (reason)
		send_ended(as, reason);
	else
		sio_disconnect(as->s, true);
}

static const struct peer_ops peer_ops = {peer_send, peer_ready, peer_end};

/* The token that the client's code gave, or else the cookie of the session's first request. */
static int
identify(struct api *api, struct sio_socket *s, struct json_object *auth, struct chat_identity *who)
{
	struct json_object *given = NULL;

	if (json_object_object_get_ex(auth, "token", &given) && given &&
	    !json_object_is_type(given, json_type_string))
		return ERR_UNAUTHORIZED;
	return api_identify(
	    api, given ? json_object_get_string(given) : NULL, sio_credential(s), who);
}

static void
on_connect(void *arg, struct sio_socket *s, struct json_object *auth)
{
	struct api *api = arg;
	struct chat_identity who;
	struct api_socket *as;
	int err = identify(api, s, auth, &who);

	if (err) {
		sio_set_user(s, NULL);
		refuse(s, err);
		return;
	}
	as = xcalloc(1, sizeof(*as));
	as->api = api;
	as->s = s;
	sio_set_user(s, as);
	as->client = client_open(api->chat, &who, &peer_ops, as);
	log_debug("socket.open", "sid=%s uid=%s", sio_id(s), who.user);
}

static void
on_disconnect(void *arg, struct sio_socket *s, const char *reason)
{
	struct api_socket *as = sio_user(s);

	(void)arg;
	if (!as) /* was refused */
		return;
	log_debug("socket.closed", "sid=%s uid=%s reason=%s", sio_id(s), client_user(as->client),
	    log_quote(reason));
	client_close(&as->client);
	ending_stop(as);
	as->s = NULL;
	socket_release(as);
}

static bool
namespace_known(void *arg, const char *nsp)
{
	(void)arg;
	return strcmp(nsp, NAMESPACE) == 0;
}

/* ---- moving to another worker ---- */

/* Acks are owed by this worker, so the socket stays until they are given. */
static bool
on_busy(void *arg, struct sio_socket *s)
{
	const struct api_socket *as = sio_user(s);

	(void)arg;
	return as && as->calls;
}

static void
on_leave(void *arg, struct sio_socket *s, struct buf *state)
{
	struct api_socket *as = sio_user(s);

	(void)arg;
	log_debug("socket.leaves", "sid=%s uid=%s", sio_id(s), client_user(as->client));
	client_leave(&as->client, state);
	ending_stop(as);
	as->s = NULL;
	socket_release(as);
}

static void
on_arrive(void *arg, struct sio_socket *s, const void *state, size_t len)
{
	struct api *api = arg;
	struct api_socket *as = xcalloc(1, sizeof(*as));

	as->api = api;
	as->s = s;
	as->arriving = true;
	as->client = client_arrive(api->chat, state, len, &peer_ops, as);
	if (!as->client) {
		log_error("socket.bad_state", "sid=%s", sio_id(s));
		free(as);
		sio_set_user(s, NULL);
		sio_disconnect(s, true);
		return;
	}
	sio_set_user(s, as);
	log_debug("socket.arrives", "sid=%s uid=%s", sio_id(s), client_user(as->client));
}

/* This server asks its clients nothing. */
static void
on_answer(void *arg, struct sio_socket *s, int64_t value, const struct sio_args *args)
{
	(void)arg, (void)s, (void)value, (void)args;
}

const struct sio_app api_sio_app = {
    namespace_known, on_connect, on_event, on_disconnect, on_answer, on_busy, on_leave, on_arrive};
