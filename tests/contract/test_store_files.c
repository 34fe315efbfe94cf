/* SPDX-License-Identifier: ISC */
/* The contract of store.h: what is known about uploaded files, and what becomes of them. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "../lib/store_help.h"

struct world {
	char ann[ID_MAX], bob[ID_MAX];
};

static struct world
make_world(const struct fixture *f)
{
	struct world w;

	add_user(f, "ann", w.ann);
	add_user(f, "bob", w.bob);
	return w;
}

static struct store_req *
make_file(const char *owner, int64_t size, int64_t created_ms)
{
	struct store_req *req = make(STORE_FILE_CREATE, "", NULL);

	id_new(req->file.id, "fil");
	str_copy(req->file.owner, ID_MAX, owner);
	strcpy(req->file.name, "tea \xc3\xa9.png");
	strcpy(req->file.type, "image/png");
	req->file.size = size;
	req->file.created_ms = created_ms;
	return req;
}

static void
add_file(
    const struct fixture *f, const char *owner, int64_t size, int64_t created_ms, char id_r[ID_MAX])
{
	struct store_req *req = make_file(owner, size, created_ms);

	str_copy(id_r, ID_MAX, req->file.id);
	assert_int_equal(run_free(f, req), 0);
}

static void
add_two(const struct fixture *f, const struct world *w, char a_r[ID_MAX], char b_r[ID_MAX])
{
	add_file(f, w->ann, 1, 1, a_r);
	add_file(f, w->ann, 1, 1, b_r);
}

/* The state, or an error. */
static int
state_of(const struct fixture *f, const char *id)
{
	struct store_req *req = make(STORE_FILE_GET, id, NULL);
	int state = run(f, req) ? req->err : (int)req->files[0].state;

	store_req_free(&req);
	return state;
}

/* b may be NULL. */
static struct store_req *
make_claim(
    const char *owner, const char *client_id, const char *message, const char *a, const char *b)
{
	struct store_req *req = make_ids(STORE_FILES_CLAIM, CONV, a, b);

	str_copy(req->user_id, ID_MAX, owner);
	req->text = xstrdup(client_id);
	str_copy(req->message, ID_MAX, message);
	req->now_ms = 5000;
	return req;
}

static void
assert_claim(const struct fixture *f, struct store_req *req, int err, const char *text_out)
{
	assert_int_equal(run(f, req), err);
	assert_string_equal(req->text_out, text_out);
	assert_int_equal(req->file_count, err ? 0 : req->id_count);
	for (size_t i = 0; i < req->file_count; i++)
		assert_string_equal(req->files[i].id, req->ids[i]);
	store_req_free(&req);
}

static struct store_req *
make_sweep(int64_t before_ms, bool claimed)
{
	struct store_req *req = make(STORE_FILES_SWEEP, "", NULL);

	req->before_ms = before_ms;
	req->flag = claimed;
	return req;
}

static size_t
swept(const struct fixture *f, int64_t before_ms, bool claimed, const char *first)
{
	struct store_req *req = must(f, make_sweep(before_ms, claimed));
	size_t n = req->id_out_count;

	if (n)
		assert_string_equal(req->ids_out[0], first);
	store_req_free(&req);
	return n;
}

/* An event as it is archived; message: its own id, or whom it deletes. */
static struct event *
archived(enum event_type type, const char *message, uint64_t seq)
{
	const char *data =
	    type == EVENT_MESSAGE_CREATED ? "{\"text\":\"x\",\"files\":[{\"id\":\"f\"}]}" : "{}";
	struct event *plain = event_new_about(type, CONV, NOBODY, "",
	    type == EVENT_MESSAGE_CREATED ? "" : message, data, strlen(data));
	struct event *ev = event_numbered(plain, seq, 6000);

	if (type == EVENT_MESSAGE_CREATED)
		str_copy(ev->id, ID_MAX, message);
	event_unref(&plain);
	return ev;
}

static void
apply(const struct fixture *f, struct event *a, struct event *b)
{
	struct store_req *req = make(STORE_APPLY, "", NULL);

	store_req_add_event(req, a);
	if (b)
		store_req_add_event(req, b);
	assert_int_equal(run_free(f, req), 0);
}

/* ---- the tests ---- */

static void
a_file_is_read_as_it_was_written(void **state)
{
	const struct fixture *f = *state;
	struct world w = make_world(f);
	struct store_req *req = make_file(w.ann, 1234567890123, 77), *again;
	const struct file *got;

	must(f, req);
	again = must(f, make(STORE_FILE_GET, req->file.id, NULL));
	got = &again->files[0];
	assert_string_equal(got->id, req->file.id);
	assert_string_equal(got->owner, w.ann);
	assert_string_equal(got->name, "tea \xc3\xa9.png");
	assert_string_equal(got->type, "image/png");
	assert_int_equal(got->size, 1234567890123);
	assert_int_equal(got->created_ms, 77);
	assert_int_equal(got->state, FILE_LOOSE);
	assert_string_equal(got->message, "");
	store_req_free(&again);
	assert_int_equal(run(f, req), ERR_CONFLICT);
	store_req_free(&req);
	assert_int_equal(run_free(f, make_file(NOBODY, 1, 1)), ERR_NOT_FOUND);
	assert_int_equal(run_free(f, make(STORE_FILE_GET, "fil_x", NULL)), ERR_NOT_FOUND);
}

static void
a_quota_is_of_all_files_of_one_user(void **state)
{
	const struct fixture *f = *state;
	struct world w = make_world(f);
	char first[ID_MAX];
	struct store_req *req;

	add_file(f, w.ann, 60, 1, first);
	req = make_file(w.ann, 41, 1);
	req->quota = 100;
	assert_int_equal(run_free(f, req), ERR_QUOTA);
	req = make_file(w.ann, 40, 1);
	req->quota = 100;
	assert_int_equal(run_free(f, req), 0);
	req = make_file(w.ann, 1, 1);
	req->quota = 100;
	assert_int_equal(run_free(f, req), ERR_QUOTA);
	req = make_file(w.bob, 100, 1);
	req->quota = 100;
	assert_int_equal(run_free(f, req), 0);
}

static void
a_claim_is_of_one_send(void **state)
{
	const struct fixture *f = *state;
	struct world w = make_world(f);
	char a[ID_MAX], b[ID_MAX], c[ID_MAX];
	struct store_req *req;

	add_two(f, &w, a, b);
	assert_claim(f, make_claim(w.ann, "c1", "msg_1", b, a), 0, "msg_1");
	req = must(f, make(STORE_FILE_GET, a, NULL));
	assert_int_equal(req->files[0].state, FILE_CLAIMED);
	assert_string_equal(req->files[0].conversation, CONV);
	assert_string_equal(req->files[0].message, "msg_1");
	store_req_free(&req);
	/* the retry has another id for its message: the first counts */
	assert_claim(f, make_claim(w.ann, "c1", "msg_2", b, a), 0, "msg_1");
	assert_claim(f, make_claim(w.ann, "c2", "msg_3", a, NULL), ERR_CONFLICT, a);
	assert_int_equal(state_of(f, a), FILE_CLAIMED);
	add_file(f, w.ann, 1, 1, c); /* which must not become a part of msg_1 */
	assert_claim(f, make_claim(w.ann, "c1", "msg_4", c, NULL), ERR_ID_REUSED, c);
	assert_int_equal(state_of(f, c), FILE_LOOSE);
}

static void
a_claim_takes_all_or_nothing(void **state)
{
	const struct fixture *f = *state;
	struct world w = make_world(f);
	char mine[ID_MAX], other[ID_MAX], taken[ID_MAX], doomed[ID_MAX];

	add_file(f, w.ann, 1, 1, mine);
	add_file(f, w.bob, 1, 1, other);
	add_file(f, w.ann, 1, 1, taken);
	add_file(f, w.ann, 1, 1, doomed);
	assert_claim(f, make_claim(w.ann, "c0", "msg_0", taken, NULL), 0, "msg_0");
	assert_claim(f, make_claim(w.ann, "c1", "msg_1", mine, other), ERR_NOT_FOUND, other);
	assert_claim(f, make_claim(w.ann, "c1", "msg_1", mine, taken), ERR_CONFLICT, taken);
	assert_claim(f, make_claim(w.ann, "c1", "msg_1", mine, "fil_no"), ERR_NOT_FOUND, "fil_no");
	assert_int_equal(run_free(f, make_sweep(2, false)), 0); /* all but taken are old */
	assert_int_equal(state_of(f, mine), ERR_NOT_FOUND);
	assert_claim(f, make_claim(w.ann, "c1", "msg_1", doomed, NULL), ERR_NOT_FOUND, doomed);
	assert_int_equal(state_of(f, taken), FILE_CLAIMED);
}

static void
only_a_loose_file_is_deleted_by_its_owner(void **state)
{
	const struct fixture *f = *state;
	struct world w = make_world(f);
	char a[ID_MAX], b[ID_MAX];
	struct store_req *req;

	add_two(f, &w, a, b);
	assert_claim(f, make_claim(w.ann, "c1", "msg_1", b, NULL), 0, "msg_1");
	req = make(STORE_FILE_DELETE, a, NULL);
	str_copy(req->user_id, ID_MAX, w.bob);
	assert_int_equal(run_free(f, req), ERR_NOT_FOUND);
	req = make(STORE_FILE_DELETE, b, NULL);
	str_copy(req->user_id, ID_MAX, w.ann);
	assert_int_equal(run_free(f, req), ERR_CONFLICT);
	req = make(STORE_FILE_DELETE, a, NULL);
	str_copy(req->user_id, ID_MAX, w.ann);
	assert_int_equal(run(f, req), 0);
	assert_int_equal(run_free(f, req), ERR_NOT_FOUND);
	assert_int_equal(state_of(f, a), ERR_NOT_FOUND);
	assert_int_equal(swept(f, 0, false, a), 1);
}

static void
the_message_attaches_what_was_claimed(void **state)
{
	const struct fixture *f = *state;
	struct world w = make_world(f);
	char a[ID_MAX];

	add_file(f, w.ann, 1, 1, a);
	assert_claim(f, make_claim(w.ann, "c1", "msg_1", a, NULL), 0, "msg_1");
	apply(f, archived(EVENT_MESSAGE_CREATED, "msg_1", 1), NULL);
	assert_int_equal(state_of(f, a), FILE_ATTACHED);
	assert_claim(f, make_claim(w.ann, "c1", "msg_2", a, NULL), 0, "msg_1"); /* a late retry */
	assert_int_equal(state_of(f, a), FILE_ATTACHED);
	assert_int_equal(swept(f, 1000000, true, NULL), 0);
}

static void
a_deletion_dooms_the_files_of_its_message(void **state)
{
	const struct fixture *f = *state;
	struct world w = make_world(f);

	for (int order = 0; order < 3; order++) {
		char a[ID_MAX], message[ID_MAX];
		struct event *created, *deleted;

		id_new(message, "msg");
		add_file(f, w.ann, 1, 1, a);
		assert_claim(f, make_claim(w.ann, message, message, a, NULL), 0, message);
		created = archived(EVENT_MESSAGE_CREATED, message, (uint64_t)order * 2 + 1);
		deleted = archived(EVENT_MESSAGE_DELETED, message, (uint64_t)order * 2 + 2);
		if (order == 2) {
			apply(f, created, NULL);
			apply(f, deleted, NULL);
		} else {
			apply(f, order ? created : deleted, order ? deleted : created);
		}
		assert_int_equal(state_of(f, a), ERR_NOT_FOUND);
	}
	assert_int_equal(run_free(f, make_sweep(0, false)), 0);
}

static void
a_sweep_takes_what_nobody_wants(void **state)
{
	const struct fixture *f = *state;
	struct world w = make_world(f);
	char old[ID_MAX], young[ID_MAX], claimed[ID_MAX];
	struct store_req *req;

	add_file(f, w.ann, 1, 999, old);
	add_file(f, w.ann, 1, 1000, young);
	add_file(f, w.ann, 1, 1, claimed);
	assert_claim(f, make_claim(w.ann, "c1", "msg_1", claimed, NULL), 0, "msg_1"); /* at 5000 */
	assert_int_equal(swept(f, 1000, true, old), 1);
	assert_int_equal(state_of(f, young), FILE_LOOSE);
	assert_int_equal(state_of(f, claimed), FILE_CLAIMED);
	req = make_ids(STORE_FILES_FORGET, "", old, young);
	assert_int_equal(run_free(f, req), 0);
	assert_int_equal(state_of(f, young), FILE_LOOSE);
	assert_int_equal(swept(f, 1000, true, NULL), 0);
	assert_int_equal(
	    swept(f, 5001, false, young), 1); /* what is acknowledged may not be there yet */
	assert_int_equal(state_of(f, claimed), FILE_CLAIMED);
	assert_int_equal(swept(f, 5001, true, young), 2);
	assert_int_equal(state_of(f, claimed), ERR_NOT_FOUND);
	req = make_sweep(5001, true);
	req->limit = 1;
	must(f, req);
	assert_int_equal(req->id_out_count, 1);
	store_req_free(&req);
}

static void
the_space_of_a_doomed_file_does_not_count(void **state)
{
	const struct fixture *f = *state;
	struct world w = make_world(f);
	char a[ID_MAX];
	struct store_req *req;

	add_file(f, w.ann, 100, 1, a);
	assert_int_equal(swept(f, 2, false, a), 1);
	req = make_file(w.ann, 100, 1);
	req->quota = 100;
	assert_int_equal(run_free(f, req), 0);
}

int
main(void)
{
	struct CMUnitTest tests[] = {
	    TEST(a_file_is_read_as_it_was_written),
	    TEST(a_quota_is_of_all_files_of_one_user),
	    TEST(a_claim_is_of_one_send),
	    TEST(a_claim_takes_all_or_nothing),
	    TEST(only_a_loose_file_is_deleted_by_its_owner),
	    TEST(the_message_attaches_what_was_claimed),
	    TEST(a_deletion_dooms_the_files_of_its_message),
	    TEST(a_sweep_takes_what_nobody_wants),
	    TEST(the_space_of_a_doomed_file_does_not_count),
	};

	return run_on_each(tests, sizeof(tests) / sizeof(*tests));
}
