/* SPDX-License-Identifier: ISC */
/*
 * profile: users as others see them, and what a user changes of himself.  Worker, loop
 * thread.
 *
 * A profile is read, changed and written back at the version that was read; where another
 * change came between it is read again.  So two devices that change two fields both win.
 */
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "chat/chat_int.h"

#define UPDATE_TRIES 5
#define ZONEINFO     "/usr/share/zoneinfo"
#define ZONE_MAGIC   "TZif" /* RFC 9636, 3.1 */

struct profile_op {
	struct chat *chat;
	enum user_view view;
	struct user user; /* id, and what is to be written */
	uint64_t version; /* that the client knows; 0: any */
	unsigned int tries;
	char *name, *avatar, *bio, *time_zone; /* NULL: stays as it is */
	chat_done done;
	void *arg;
};

static struct profile_op *
op_new(struct chat *c, enum user_view view, chat_done done, void *arg)
{
	struct profile_op *op = xcalloc(1, sizeof(*op));

	op->chat = c;
	op->view = view;
	op->done = done;
	op->arg = arg;
	return op;
}

static void
op_free(struct profile_op *op)
{
	free(op->name);
	free(op->avatar);
	free(op->bio);
	free(op->time_zone);
	free(op);
}

static void
op_fail(struct profile_op *op, int err, const char *pointer, const char *reason)
{
	chat_answer_error(op->done, op->arg, err, pointer, reason);
	op_free(op);
}

static void
op_answer_user(struct profile_op *op, const struct user *u)
{
	struct chat_result res = {.version = op->view == USER_OWN ? u->version : 0};
	struct buf json;

	buf_init(&json);
	user_json(&json, u, op->view);
	res.json = (const char *)json.data;
	res.json_len = json.len;
	op->done(op->arg, &res);
	buf_fini(&json);
	op_free(op);
}

/* ---- reading ---- */

static void
user_got(struct store_req *req)
{
	struct profile_op *op = req->arg;

	if (req->err)
		op_fail(op, req->err, NULL, NULL);
	else
		op_answer_user(op, &req->users[0]);
	store_req_free(&req);
}

void
chat_user_get(struct chat *c, const char *user, bool own, chat_done done, void *arg)
{
	struct store_req *req;

	if (!id_valid(user, "usr")) {
		chat_answer_error(done, arg, ERR_NOT_FOUND, NULL, NULL);
		return;
	}
	req = store_req_new(
	    STORE_USER_BY_ID, user_got, op_new(c, own ? USER_OWN : USER_PUBLIC, done, arg));
	str_copy(req->id, sizeof(req->id), user);
	chat_store(c, req);
}

void
chat_user_show(struct chat *c, const char *username, chat_done done, void *arg)
{
	char name[USERNAME_MAX + 1];
	struct store_req *req;

	if (!username_normalize(name, username)) {
		chat_answer_error(done, arg, ERR_NOT_FOUND, "/username", "no_such_user");
		return;
	}
	req = store_req_new(STORE_USER_BY_USERNAME, user_got, op_new(c, USER_ADMIN, done, arg));
	req->text = xstrdup(name);
	chat_store(c, req);
}

static void
users_listed(struct store_req *req)
{
	struct profile_op *op = req->arg;
	size_t n = req->user_count;
	struct buf json;

	if (req->err) {
		op_fail(op, req->err, NULL, NULL);
		store_req_free(&req);
		return;
	}
	buf_init(&json);
	buf_puts(&json, op->view == USER_ADMIN ? "{\"users\":[" : "{\"items\":[");
	for (size_t i = 0; i < req->user_count; i++) {
		if (i)
			buf_putc(&json, ',');
		user_json(&json, &req->users[i], op->view);
	}
	chat_page_end(&json, n && n == req->limit ? req->users[n - 1].username : NULL);
	chat_answer_json(op->done, op->arg, false, &json);
	buf_fini(&json);
	op_free(op);
	store_req_free(&req);
}

void
chat_user_list(struct chat *c, const char *prefix, const char *cursor, size_t limit, bool admin,
    chat_done done, void *arg)
{
	struct store_req *req = store_req_new(
	    STORE_USER_LIST, users_listed, op_new(c, admin ? USER_ADMIN : USER_PUBLIC, done, arg));

	req->text = xstrdup(prefix);
	req->cursor = xstrdup(cursor);
	req->limit = limit;
	req->flag = admin;
	chat_store(c, req);
}

/* ---- checks ---- */

/* Is there such a zone on this machine?  Where it has no database the shape is enough. */
static bool
time_zone_known(const char *zone)
{
	char *path, magic[sizeof(ZONE_MAGIC) - 1];
	ssize_t n = -1;
	int fd;

	if (access(ZONEINFO, X_OK) < 0)
		return true;
	path = xasprintf(ZONEINFO "/%s", zone);
	fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
	free(path);
	if (fd < 0)
		return false;
	n = read(fd, magic, sizeof(magic));
	close(fd);
	return n == sizeof(magic) && memcmp(magic, ZONE_MAGIC, sizeof(magic)) == 0;
}

/* The database comes in three more copies below these names, which are no names of zones. */
static bool
time_zone_valid(const char *zone)
{
	static const char *const copies[] = {"posix/", "right/", "posixrules", "localtime"};

	if (!*zone)
		return true;
	for (size_t i = 0; i < sizeof(copies) / sizeof(*copies); i++)
		if (strncmp(zone, copies[i], strlen(copies[i])) == 0)
			return false;
	return time_zone_shaped(zone) && time_zone_known(zone);
}

/*
 * A web address, or an id or path without a scheme: other people's browsers are given it, so
 * nothing that they would run.
 */
static bool
avatar_valid(const char *avatar)
{
	for (const char *p = avatar; *p; p++)
		if (*p <= ' ' || *p > '~' || strchr("\"'<>\\`", *p))
			return false;
	return !strchr(avatar, ':') || strncmp(avatar, "https://", 8) == 0 ||
	       strncmp(avatar, "http://", 7) == 0;
}

static const char *
profile_fault(const struct chat_profile *in, const char **reason_r)
{
	*reason_r = "empty";
	if (in->name && !*in->name)
		return "/name";
	*reason_r = "too_long";
	if (in->name && strlen(in->name) > USER_NAME_MAX)
		return "/name";
	if (in->avatar && strlen(in->avatar) > USER_AVATAR_MAX)
		return "/avatar";
	if (in->bio && strlen(in->bio) > USER_BIO_MAX)
		return "/bio";
	*reason_r = "invalid";
	if (in->avatar && !avatar_valid(in->avatar))
		return "/avatar";
	if (in->time_zone && !time_zone_valid(in->time_zone))
		return "/time_zone";
	return NULL;
}

/* ---- changing ---- */

static void profile_read(struct profile_op *op);

static void
profile_written(struct store_req *req)
{
	struct profile_op *op = req->arg;

	if (req->err == ERR_CONFLICT && ++op->tries < UPDATE_TRIES)
		profile_read(op);
	else if (req->err)
		op_fail(op, req->err, NULL, NULL);
	else
		op_answer_user(op, &req->users[0]);
	store_req_free(&req);
}

static void
take(char *dst, size_t size, const char *text)
{
	if (text)
		str_copy(dst, size, text);
}

static void
profile_write(struct profile_op *op)
{
	struct store_req *req = store_req_new(STORE_USER_UPDATE, profile_written, op);
	struct user *u = &op->user;

	take(u->name, sizeof(u->name), op->name);
	take(u->avatar, sizeof(u->avatar), op->avatar);
	take(u->bio, sizeof(u->bio), op->bio);
	take(u->time_zone, sizeof(u->time_zone), op->time_zone);
	req->user = *u;
	req->after = u->version;
	chat_store(op->chat, req);
}

static void
profile_got(struct store_req *req)
{
	struct profile_op *op = req->arg;

	if (req->err) {
		op_fail(op, req->err, NULL, NULL);
	} else if (op->version && op->version != req->users[0].version) {
		op_fail(op, ERR_PRECONDITION_FAILED, NULL, NULL);
	} else {
		op->user = req->users[0];
		profile_write(op);
	}
	store_req_free(&req);
}

static void
profile_read(struct profile_op *op)
{
	struct store_req *req = store_req_new(STORE_USER_BY_ID, profile_got, op);

	str_copy(req->id, sizeof(req->id), op->user.id);
	chat_store(op->chat, req);
}

void
chat_user_update(struct chat *c, const char *user, const struct chat_profile *in, uint64_t version,
    chat_done done, void *arg)
{
	const char *reason, *pointer = profile_fault(in, &reason);
	struct profile_op *op;

	if (pointer) {
		chat_answer_error(done, arg, ERR_INVALID_FIELD, pointer, reason);
		return;
	}
	op = op_new(c, USER_OWN, done, arg);
	str_copy(op->user.id, sizeof(op->user.id), user);
	op->version = version;
	op->name = xstrdup(in->name);
	op->avatar = xstrdup(in->avatar);
	op->bio = xstrdup(in->bio);
	op->time_zone = xstrdup(in->time_zone);
	profile_read(op);
}
