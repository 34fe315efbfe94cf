/* SPDX-License-Identifier: ISC */
/*
 * The contract of store.h: what became of messages, whatever the order in which events
 * reach the store; and who has read how far.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "lib/log.h"
#include "lib/loop.h"
#include "model/error.h"
#include "store/sqlite.h"
#include "store/store.h"

#include "../lib/store_help.h"

#define SECRET "the secret text"

/* ---- events about one message ---- */

struct step {
	enum event_type type;
	const char *sender, *data;
};

#define ANN "usr_0000000000000000000000000a"
#define BOB "usr_0000000000000000000000000b"

/* Ascending by seq, from 1; the first is the message itself. */
static const struct step deleted_steps[] = {
    {EVENT_MESSAGE_CREATED, ANN, "{\"text\":\"" SECRET " 1\",\"mentions\":[\"" BOB "\"],\"files\":[{}]}"},
    {EVENT_MESSAGE_UPDATED, ANN, "{\"text\":\"" SECRET " 2\"}"},
    {EVENT_MESSAGE_UPDATED, ANN, "{\"text\":\"" SECRET " 3\",\"mentions\":[\"" BOB "\"]}"},
    {EVENT_REACTION_ADDED, BOB, "{\"emoji\":\"+\"}"},
    {EVENT_REACTION_REMOVED, BOB, "{\"emoji\":\"+\"}"},
    {EVENT_MESSAGE_DELETED, BOB, "{}"},
};
static const struct step edited_steps[] = {
    {EVENT_MESSAGE_CREATED, ANN, "{\"text\":\"" SECRET " 1\",\"mentions\":[\"" ANN "\"]}"},
    {EVENT_MESSAGE_UPDATED, ANN, "{\"text\":\"" SECRET " 2\"}"},
    {EVENT_REACTION_ADDED, BOB, "{\"emoji\":\"+\"}"},
    {EVENT_MESSAGE_UPDATED, ANN, "{\"text\":\"new\",\"mentions\":[\"" BOB "\"]}"},
    {EVENT_REACTION_REMOVED, BOB, "{\"emoji\":\"+\"}"},
    {EVENT_REACTION_ADDED, BOB, "{\"emoji\":\"-\"}"},
};
#define STEPS 6

static void
make_steps(const char *conversation, const struct step *steps, int count, struct event **events)
{
	char message[ID_MAX];

	for (int i = 0; i < count; i++) {
		struct event *plain = event_new_about(steps[i].type, conversation, steps[i].sender,
		    "", i ? message : "", steps[i].data, strlen(steps[i].data));

		if (!i)
			str_copy(message, sizeof(message), plain->id);
		events[i] = event_numbered(plain, (uint64_t)i + 1, (i + 1) * 1000);
		event_unref(&plain);
	}
}

/* Everything that is in the store of this conversation, but ids. */
static void
describe(const struct fixture *f, const char *conversation, struct buf *b)
{
	struct store_req *req = must(f, make(STORE_EVENTS, conversation, NULL));

	for (size_t i = 0; i < req->event_count; i++) {
		const struct event *ev = req->events[i];
		const struct message_state *s = req->states[i];

		buf_printf(b, "%llu %s %s\n", (unsigned long long)ev->seq,
		    event_type_name(ev->type), ev->data);
		if (s && s->edit)
			buf_printf(b, " edit %s\n", s->edit->data);
		if (s && s->deleted_seq)
			buf_printf(b, " deleted %llu %lld %s\n", (unsigned long long)s->deleted_seq,
			    (long long)s->deleted_ms, s->deleted_by);
		for (size_t k = 0; s && k < s->reaction_count; k++)
			buf_printf(b, " reaction %s %s %llu %d\n", s->reactions[k].user,
			    s->reactions[k].emoji, (unsigned long long)s->reactions[k].seq,
			    s->reactions[k].present);
	}
	store_req_free(&req);
}

/* ---- every order ---- */

struct orders {
	const struct fixture *f;
	const struct step *steps;
	struct buf first;
	int count;
	bool keep_edits, one_by_one;
};

static void
apply(const struct orders *o, struct event **events, const int *order)
{
	struct store_req *req = make(STORE_APPLY, "", NULL);

	req->flag = o->keep_edits;
	for (int i = 0; i < STEPS; i++) {
		store_req_add_event(req, event_ref(events[order[i]]));
		if (!o->one_by_one)
			continue;
		assert_int_equal(run_free(o->f, req), 0);
		req = make(STORE_APPLY, "", NULL);
		req->flag = o->keep_edits;
		store_req_add_event(req, event_ref(events[order[0]])); /* and one again */
	}
	assert_int_equal(run_free(o->f, req), 0);
}

static void
try_order(struct orders *o, const int *order)
{
	char conversation[ID_MAX];
	struct event *events[STEPS];
	struct buf b;

	buf_init(&b);
	id_new(conversation, "cnv");
	make_steps(conversation, o->steps, STEPS, events);
	apply(o, events, order);
	describe(o->f, conversation, o->count ? &b : &o->first);
	if (o->count++)
		assert_string_equal(buf_cstr(&b), buf_cstr(&o->first));
	for (int i = 0; i < STEPS; i++)
		event_unref(&events[i]);
	buf_fini(&b);
}

static void
permute(struct orders *o, int *order, int n)
{
	if (n == STEPS) {
		try_order(o, order);
		return;
	}
	for (int i = n; i < STEPS; i++) {
		int t = order[n];

		order[n] = order[i];
		order[i] = t;
		permute(o, order, n + 1);
		order[i] = order[n];
		order[n] = t;
	}
}

static void
try_every_order(struct orders *o)
{
	int order[STEPS] = {0, 1, 2, 3, 4, 5};

	permute(o, order, 0);
	assert_int_equal(o->count, 720);
}

static int
mentions_of(const struct fixture *f, const char *user)
{
	struct sqlite_handle *h = f->h;
	sqlite3_stmt *st;
	int n;

	assert_int_equal(sqlite3_prepare_v2(
			     h->db, "SELECT count(*) FROM mentions WHERE user = ?1", -1, &st, NULL),
	    SQLITE_OK);
	sqlite3_bind_text(st, 1, user, -1, SQLITE_STATIC);
	assert_int_equal(sqlite3_step(st), SQLITE_ROW);
	n = sqlite3_column_int(st, 0);
	sqlite3_finalize(st);
	return n;
}

static void
a_deleted_message_is_the_same_in_every_order(void **state)
{
	for (int keep = 0; keep < 2; keep++) {
		struct orders o = {.f = *state, .steps = deleted_steps, .keep_edits = keep};

		try_every_order(&o);
		assert_string_equal(buf_cstr(&o.first), "1 message.created {\"text\":\"\"}\n"
							" edit {\"text\":\"\"}\n"
							" deleted 6 6000 " BOB "\n"
							" reaction " BOB " + 5 0\n"
							"2 message.updated {\"text\":\"\"}\n"
							" edit {\"text\":\"\"}\n"
							" deleted 6 6000 " BOB "\n"
							" reaction " BOB " + 5 0\n"
							"3 message.updated {\"text\":\"\"}\n"
							" edit {\"text\":\"\"}\n"
							" deleted 6 6000 " BOB "\n"
							" reaction " BOB " + 5 0\n"
							"4 reaction.added {\"emoji\":\"+\"}\n"
							"5 reaction.removed {\"emoji\":\"+\"}\n"
							"6 message.deleted {}\n");
		buf_fini(&o.first);
	}
	assert_int_equal(mentions_of(*state, BOB), 0);
}

static void
an_edited_message_is_the_same_in_every_order(void **state)
{
	struct orders o = {.f = *state, .steps = edited_steps};
	const char *shown;

	try_every_order(&o);
	shown = buf_cstr(&o.first);
	assert_null(strstr(shown, SECRET));
	assert_non_null(strstr(shown, "1 message.created {\"text\":\"\"}\n"
				      " edit {\"text\":\"new\",\"mentions\":[\"" BOB "\"]}\n"
				      " reaction " BOB " + 5 0\n"
				      " reaction " BOB " - 6 1\n"));
	assert_non_null(strstr(shown, "2 message.updated {\"text\":\"\"}\n"));
	assert_int_equal(mentions_of(*state, BOB), 720);
	assert_int_equal(mentions_of(*state, ANN), 0);
	buf_fini(&o.first);
}

static void
edits_are_kept_where_that_is_wanted(void **state)
{
	struct orders o = {.f = *state, .steps = edited_steps, .keep_edits = true};
	const char *shown;

	try_every_order(&o);
	shown = buf_cstr(&o.first);
	assert_non_null(strstr(shown, "1 message.created {\"text\":\"" SECRET " 1\""));
	assert_non_null(strstr(shown, "2 message.updated {\"text\":\"" SECRET " 2\""));
	assert_non_null(strstr(shown, " edit {\"text\":\"new\""));
	buf_fini(&o.first);
}

/* Each in a transaction of its own, in a few orders: forward, backward, deletion first. */
static void
batches_of_one_give_the_same(void **state)
{
	static const int orders[][STEPS] = {
	    {0, 1, 2, 3, 4, 5}, {5, 4, 3, 2, 1, 0}, {5, 0, 2, 1, 4, 3}, {1, 5, 0, 4, 2, 3}};
	struct orders o = {.f = *state, .steps = deleted_steps, .one_by_one = true};

	for (size_t i = 0; i < sizeof(orders) / sizeof(*orders); i++)
		try_order(&o, orders[i]);
	assert_null(strstr(buf_cstr(&o.first), SECRET));
	buf_fini(&o.first);
}

/* ---- what is on the disk ---- */

static bool
file_has(const char *path, const char *text)
{
	FILE *file = fopen(path, "r");
	static char data[8 * 1024 * 1024];
	size_t n;

	if (!file)
		return false;
	n = fread(data, 1, sizeof(data), file);
	fclose(file);
	return memmem(data, n, text, strlen(text)) != NULL;
}

/* A text of many pages, which are free once it is deleted. */
static void
a_deleted_text_is_not_left_in_free_pages(void **state)
{
	struct fixture *f = *state;
	struct store_req *req = make(STORE_APPLY, "", NULL);
	struct event *plain, *gone;
	struct buf data;

	buf_init(&data);
	buf_puts(&data, "{\"text\":\"");
	for (int i = 0; i < 2000; i++)
		buf_puts(&data, SECRET);
	buf_puts(&data, "\"}");
	plain = event_new(EVENT_MESSAGE_CREATED, CONV, ANN, "", (const char *)data.data, data.len);
	gone = event_new_about(EVENT_MESSAGE_DELETED, CONV, ANN, "", plain->id, "{}", 2);
	store_req_add_event(req, event_numbered(plain, 1, 1));
	assert_int_equal(run_free(f, req), 0);
	reopen(f);
	assert_true(file_has(f->where, SECRET));
	req = make(STORE_APPLY, "", NULL);
	store_req_add_event(req, event_numbered(gone, 2, 2));
	assert_int_equal(run_free(f, req), 0);
	reopen(f); /* the last to close moves the write-ahead log into the file */
	assert_false(file_has(f->where, SECRET));
	buf_fini(&data);
	event_unref(&plain);
	event_unref(&gone);
}

static void
a_retry_is_recognised_after_the_text_is_gone(void **state)
{
	struct fixture *f = *state;
	struct event *plain = event_new(EVENT_MESSAGE_CREATED, CONV, ANN, "x",
	    deleted_steps[0].data, strlen(deleted_steps[0].data));
	struct event *gone =
	    event_new_about(EVENT_MESSAGE_DELETED, CONV, ANN, "", plain->id, "{}", 2);
	struct store_req *req = make(STORE_APPLY, "", NULL);

	store_req_add_event(req, event_numbered(plain, 1, 1));
	store_req_add_event(req, event_numbered(gone, 2, 2));
	assert_int_equal(run_free(f, req), 0);
	req = make(STORE_EVENT_BY_CLIENT_ID, CONV, "x");
	str_copy(req->user_id, ID_MAX, ANN);
	must(f, req);
	assert_string_equal(req->events[0]->data, "{\"text\":\"\"}");
	assert_memory_equal(req->events[0]->digest, plain->digest, EVENT_DIGEST);
	assert_int_equal(req->membership_count, 0);
	store_req_free(&req);
	event_unref(&plain);
	event_unref(&gone);
}

/* ---- one message ---- */

static void
a_message_is_read_with_its_edits(void **state)
{
	struct fixture *f = *state;
	struct event *events[STEPS];
	struct store_req *req = make(STORE_APPLY, "", NULL);
	char id[ID_MAX];

	make_steps(CONV, edited_steps, STEPS, events);
	str_copy(id, sizeof(id), events[0]->id);
	for (int i = 0; i < STEPS; i++)
		store_req_add_event(req, event_ref(events[i]));
	req->flag = true;
	assert_int_equal(run_free(f, req), 0);
	req = must(f, make(STORE_MESSAGE_GET, id, NULL));
	assert_int_equal(req->event_count, 3);
	assert_int_equal(req->state_count, 1);
	assert_string_equal(req->events[0]->id, id);
	assert_int_equal(req->events[1]->seq, 2);
	assert_string_equal(req->events[2]->ref, id);
	assert_int_equal(req->events[2]->seq, 4);
	assert_int_equal(req->states[0]->edit->seq, 4);
	assert_int_equal(req->states[0]->reaction_count, 2);
	store_req_free(&req);
	assert_int_equal(run_free(f, make(STORE_MESSAGE_GET, events[1]->id, NULL)), ERR_NOT_FOUND);
	assert_int_equal(run_free(f, make(STORE_MESSAGE_GET, "", NULL)), ERR_NOT_FOUND);
	for (int i = 0; i < STEPS; i++)
		event_unref(&events[i]);
}

static void
a_message_that_nothing_happened_to_has_no_state(void **state)
{
	struct fixture *f = *state;
	struct store_req *req;

	assert_int_equal(run_free(f, make_apply(CONV, 1, 3)), 0);
	req = must(f, make(STORE_EVENTS, CONV, NULL));
	assert_int_equal(req->state_count, 3);
	for (int i = 0; i < 3; i++)
		assert_null(req->states[i]);
	store_req_free(&req);
}

/* ---- who has read how far ---- */

static void
put_read(const struct fixture *f, const char *conversation, const char *user, uint64_t seq)
{
	struct store_req *req = make(STORE_READS_PUT, "", NULL);

	req->reads = xcalloc(2, sizeof(*req->reads));
	str_copy(req->reads[0].conversation, ID_MAX, conversation);
	str_copy(req->reads[0].user, ID_MAX, user);
	req->reads[0].seq = seq;
	req->reads[1] = req->reads[0]; /* one who is no member harms nobody */
	str_copy(req->reads[1].user, ID_MAX, NOBODY);
	req->read_count = 2;
	assert_int_equal(run_free(f, req), 0);
}

static struct membership
membership_of(const struct fixture *f, const char *user)
{
	struct store_req *req = make(STORE_CONVERSATION_LIST, user, NULL);
	struct membership m;

	req->cursor = xstrdup("");
	must(f, req);
	assert_int_equal(req->membership_count, 1);
	m = req->memberships[0];
	assert_string_equal(m.conversation, req->conversations[0]->id);
	store_req_free(&req);
	return m;
}

struct people {
	char ann[ID_MAX], bob[ID_MAX], conversation[ID_MAX];
};

static void
make_people(const struct fixture *f, struct people *p)
{
	struct store_req *req;

	add_user(f, "ann", p->ann);
	add_user(f, "bob", p->bob);
	req =
	    must(f, make_conversation(CONVERSATION_GROUP, (const char *[]){p->ann, p->bob, NULL}));
	str_copy(p->conversation, ID_MAX, req->conversation->id);
	store_req_free(&req);
}

static void
say(const struct fixture *f, const struct people *p, const char *sender, const char *mention,
    uint64_t seq, bool deleted)
{
	struct store_req *req = make(STORE_APPLY, "", NULL);
	char *data = mention ? xasprintf("{\"text\":\"x\",\"mentions\":[\"%s\"]}", mention)
			     : xstrdup("{\"text\":\"x\"}");
	struct event *ev =
	    event_new(EVENT_MESSAGE_CREATED, p->conversation, sender, "", data, strlen(data));
	struct event *gone =
	    event_new_about(EVENT_MESSAGE_DELETED, p->conversation, sender, "", ev->id, "{}", 2);

	store_req_add_event(req, event_numbered(ev, seq, 1));
	if (deleted)
		store_req_add_event(req, event_numbered(gone, seq + 1, 1));
	assert_int_equal(run_free(f, req), 0);
	event_unref(&ev);
	event_unref(&gone);
	free(data);
}

static void
unread_counts_what_others_wrote_and_did_not_delete(void **state)
{
	struct fixture *f = *state;
	struct membership m;
	struct people p;

	make_people(f, &p);
	say(f, &p, p.ann, NULL, 11, false);
	say(f, &p, p.bob, p.ann, 12, false);
	say(f, &p, p.ann, p.bob, 13, false);
	say(f, &p, p.ann, p.bob, 14, true); /* and 15 */
	say(f, &p, p.ann, p.ann, 16, false);
	m = membership_of(f, p.bob);
	assert_true(m.last == 16 && m.read == 0);
	assert_int_equal(m.unread, 3);
	assert_int_equal(m.mentions, 1);
	put_read(f, p.conversation, p.bob, 12);
	m = membership_of(f, p.bob);
	assert_int_equal(m.read, 12);
	assert_int_equal(m.unread, 2);
	assert_int_equal(m.mentions, 1);
	put_read(f, p.conversation, p.bob, 11); /* never back */
	m = membership_of(f, p.bob);
	assert_int_equal(m.read, 12);
	put_read(f, p.conversation, p.bob, 13);
	m = membership_of(f, p.bob);
	assert_int_equal(m.unread, 1);
	assert_int_equal(m.mentions, 0);
	m = membership_of(f, p.ann);
	assert_int_equal(m.unread, 1);
	assert_int_equal(m.mentions, 1);
}

static void
unread_stops_at_its_maximum(void **state)
{
	struct fixture *f = *state;
	struct membership m;
	struct people p;

	make_people(f, &p);
	assert_int_equal(run_free(f, make_apply(p.conversation, 1, UNREAD_MAX)), 0);
	m = membership_of(f, p.bob);
	assert_int_equal(m.unread, UNREAD_MAX);
	assert_int_equal(
	    run_free(f, make_apply(p.conversation, UNREAD_MAX + 1, UNREAD_MAX + 9)), 0);
	m = membership_of(f, p.bob);
	assert_int_equal(m.unread, UNREAD_MAX);
	assert_int_equal(m.last, UNREAD_MAX + 9);
}

static void
muting_is_of_one_member(void **state)
{
	struct fixture *f = *state;
	struct store_req *req;
	struct people p;

	make_people(f, &p);
	req = make(STORE_MEMBER_MUTE, p.conversation, NULL);
	str_copy(req->user_id, ID_MAX, p.ann);
	req->flag = true;
	assert_int_equal(run_free(f, req), 0);
	reopen(f);
	assert_true(membership_of(f, p.ann).muted);
	assert_false(membership_of(f, p.bob).muted);
	req = make(STORE_MEMBER_MUTE, p.conversation, NULL);
	str_copy(req->user_id, ID_MAX, NOBODY);
	assert_int_equal(run_free(f, req), ERR_NOT_FOUND);
}

static void
the_sender_of_a_client_id_is_known_as_member(void **state)
{
	struct fixture *f = *state;
	struct store_req *req;
	struct people p;

	make_people(f, &p);
	req = make(STORE_EVENT_BY_CLIENT_ID, p.conversation, "x");
	str_copy(req->user_id, ID_MAX, p.ann);
	assert_int_equal(run(f, req), ERR_NOT_FOUND);
	assert_int_equal(req->membership_count, 1);
	assert_int_equal(req->memberships[0].role, ROLE_MEMBER);
	assert_false(req->memberships[0].archived);
	store_req_free(&req);
}

int
main(void)
{
	struct CMUnitTest tests[] = {
	    TEST(a_deleted_message_is_the_same_in_every_order),
	    TEST(an_edited_message_is_the_same_in_every_order),
	    TEST(edits_are_kept_where_that_is_wanted),
	    TEST(batches_of_one_give_the_same),
	    TEST(a_deleted_text_is_not_left_in_free_pages),
	    TEST(a_retry_is_recognised_after_the_text_is_gone),
	    TEST(a_message_is_read_with_its_edits),
	    TEST(a_message_that_nothing_happened_to_has_no_state),
	    TEST(unread_counts_what_others_wrote_and_did_not_delete),
	    TEST(unread_stops_at_its_maximum),
	    TEST(muting_is_of_one_member),
	    TEST(the_sender_of_a_client_id_is_known_as_member),
	};

	return run_on_each(tests, sizeof(tests) / sizeof(*tests));
}
