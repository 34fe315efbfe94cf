/* SPDX-License-Identifier: ISC */
/*
 * store: asynchronous requests over a blocking implementation.  Submitted and answered
 * on the loop thread, run on the store's own threads, each with a handle of its own.
 *
 * Invariant: a request that was taken is on the list of its store until its done() runs
 * or the store is closed; the list is the loop thread's.
 */
#include "store/store.h"

#include <stdlib.h>
#include <string.h>
#include <utlist.h>

#include "lib/job.h"
#include "lib/log.h"
#include "model/error.h"

#define QUEUE_MAX 20000

struct pending {
	struct store_req *req;
	struct pending *prev, *next;
};

struct store {
	const struct store_impl *impl;
	char *where;
	struct job_pool *pool;
	struct pending *pending;
};

struct store_req *
store_req_new(enum store_op op, void (*done)(struct store_req *), void *arg)
{
	struct store_req *req = xcalloc(1, sizeof(*req));

	req->op = op;
	req->done = done;
	req->arg = arg;
	return req;
}

void
store_req_free(struct store_req **rp)
{
	struct store_req *req = *rp;

	*rp = NULL;
	if (!req)
		return;
	free(req->text);
	free(req->cursor);
	conversation_free(&req->conversation);
	free(req->ids);
	for (size_t i = 0; i < req->event_count; i++)
		event_unref(&req->events[i]);
	free(req->events);
	free(req->text_out);
	free(req->users);
	free(req->sessions);
	free(req->revocations);
	free(req->invitations);
	for (size_t i = 0; i < req->conversation_count; i++)
		conversation_free(&req->conversations[i]);
	free(req->conversations);
	free(req->ids_out);
	free(req->memberships);
	free(req->reads);
	for (size_t i = 0; i < req->state_count; i++)
		message_state_free(&req->states[i]);
	free(req->states);
	free(req->members);
	free(req->files);
	free(req);
}

/* Room for one more element, which is all zero; doubles, so that long lists cost no copies. */
static void *
grow(void *array, size_t count, size_t size)
{
	if (!count || !(count & (count - 1)))
		array = xrealloc(array, (count ? count * 2 : 1) * size);
	memset((char *)array + count * size, 0, size);
	return array;
}

struct user *
store_req_add_user(struct store_req *req)
{
	req->users = grow(req->users, req->user_count, sizeof(*req->users));
	return &req->users[req->user_count++];
}

struct session *
store_req_add_session(struct store_req *req)
{
	req->sessions = grow(req->sessions, req->session_count, sizeof(*req->sessions));
	return &req->sessions[req->session_count++];
}

struct revocation *
store_req_add_revocation(struct store_req *req)
{
	req->revocations = grow(req->revocations, req->revocation_count, sizeof(*req->revocations));
	return &req->revocations[req->revocation_count++];
}

struct invitation *
store_req_add_invitation(struct store_req *req)
{
	req->invitations = grow(req->invitations, req->invitation_count, sizeof(*req->invitations));
	return &req->invitations[req->invitation_count++];
}

void
store_req_add_event(struct store_req *req, struct event *ev)
{
	req->events = grow(req->events, req->event_count, sizeof(*req->events));
	req->events[req->event_count++] = ev;
}

void
store_req_add_conversation(struct store_req *req, struct conversation *c)
{
	req->conversations =
	    grow(req->conversations, req->conversation_count, sizeof(*req->conversations));
	req->conversations[req->conversation_count++] = c;
}

void
store_req_add_id(struct store_req *req, const char *id)
{
	req->ids_out = grow(req->ids_out, req->id_out_count, sizeof(*req->ids_out));
	str_copy(req->ids_out[req->id_out_count++], ID_MAX, id);
}

struct membership *
store_req_add_membership(struct store_req *req)
{
	req->memberships = grow(req->memberships, req->membership_count, sizeof(*req->memberships));
	return &req->memberships[req->membership_count++];
}

void
store_req_add_state(struct store_req *req, struct message_state *s)
{
	req->states = grow(req->states, req->state_count, sizeof(*req->states));
	req->states[req->state_count++] = s;
}

struct member *
store_req_add_member(struct store_req *req)
{
	req->members = grow(req->members, req->member_count, sizeof(*req->members));
	return &req->members[req->member_count++];
}

struct file *
store_req_add_file(struct store_req *req)
{
	req->files = grow(req->files, req->file_count, sizeof(*req->files));
	return &req->files[req->file_count++];
}

static void *
thread_open(void *arg)
{
	struct store *s = arg;

	return s->impl->open_handle(s->where);
}

static void
work(void *handle, void *arg)
{
	struct store_req *req = ((struct pending *)arg)->req;

	if (handle)
		store_run(req->store->impl, handle, req);
	else
		req->err = ERR_UNAVAILABLE;
}

static void
done(void *arg)
{
	struct pending *p = arg;
	struct store_req *req = p->req;

	DL_DELETE(req->store->pending, p);
	free(p);
	req->done(req);
}

struct store *
store_open(const struct store_impl *impl, const char *where, unsigned int threads)
{
	struct store *s = xcalloc(1, sizeof(*s));
	struct job_pool_opts opts = {.name = "store",
	    .threads = threads,
	    .queue = QUEUE_MAX,
	    .thread_init = thread_open,
	    .thread_fini = impl->close_handle,
	    .arg = s};

	s->impl = impl;
	s->where = xstrdup(where);
	s->pool = job_pool_new(&opts);
	return s;
}

void
store_close(struct store **sp)
{
	struct store *s = *sp;
	struct pending *p, *tmp;

	*sp = NULL;
	if (!s)
		return;
	job_pool_free(&s->pool);
	DL_FOREACH_SAFE (s->pending, p, tmp) {
		store_req_free(&p->req);
		free(p);
	}
	free(s->where);
	free(s);
}

int
store_submit(struct store *s, struct store_req *req)
{
	struct pending *p = xcalloc(1, sizeof(*p));

	req->store = s;
	p->req = req;
	if (job_submit(s->pool, work, done, p) < 0) {
		free(p);
		return ERR_OVERLOADED;
	}
	DL_APPEND(s->pending, p);
	return 0;
}

int
store_run(const struct store_impl *impl, void *handle, struct store_req *req)
{
	req->err = ERR_INTERNAL; /* until the implementation says otherwise */
	impl->ops[req->op](handle, req);
	return req->err;
}
