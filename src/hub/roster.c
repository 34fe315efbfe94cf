/* SPDX-License-Identifier: ISC */
/*
 * roster: see roster.h.  Hub, loop thread.
 *
 * Invariants: a user is in `waiting` exactly while due_ms is not 0; one of whom nothing is
 * to be known (no client, told offline, nothing under way) is not in `users`.
 */
#include "hub/roster.h"

#include <stdlib.h>
#include <utlist.h>

#include "lib/buf.h"

struct roster_user *
roster_find(const struct roster *r, const char *user)
{
	struct roster_user *u;

	HASH_FIND_STR(r->users, user, u);
	return u;
}

static struct roster_user *
get(struct roster *r, const char *user)
{
	struct roster_user *u = roster_find(r, user);

	if (u)
		return u;
	u = xcalloc(1, sizeof(*u));
	str_copy(u->id, sizeof(u->id), user);
	HASH_ADD_STR(r->users, id, u);
	return u;
}

static enum presence
state_of(const struct roster_user *u)
{
	if (u->online)
		return PRESENCE_ONLINE;
	return u->away ? PRESENCE_AWAY : PRESENCE_OFFLINE;
}

enum presence
roster_believed(const struct roster_user *u)
{
	if (!u)
		return PRESENCE_OFFLINE;
	return u->teller ? u->telling : u->told;
}

static void
set_due(struct roster *r, struct roster_user *u, int64_t due_ms)
{
	if (!u->due_ms && due_ms)
		DL_APPEND(r->waiting, u);
	if (u->due_ms && !due_ms)
		DL_DELETE(r->waiting, u);
	u->due_ms = due_ms;
}

/* Something changed; what is worse than believed waits for at least wait_ms. */
static void
reconsider(struct roster *r, struct roster_user *u, int64_t wait_ms, const struct roster_time *t)
{
	enum presence state = state_of(u), believed = roster_believed(u);
	int64_t due = t->mono_ms + wait_ms;

	if (state != PRESENCE_OFFLINE)
		u->gone_ms = 0;
	else if (!u->gone_ms)
		u->gone_ms = t->wall_ms;
	if (state == believed)
		set_due(r, u, 0);
	else if (state > believed)
		set_due(r, u, t->mono_ms);
	else if (due > u->due_ms)
		set_due(r, u, due);
}

void
roster_forget(struct roster *r, struct roster_user *u)
{
	if (u->online || u->away || u->teller || u->told != PRESENCE_OFFLINE)
		return;
	set_due(r, u, 0);
	HASH_DEL(r->users, u);
	free(u);
}

void
roster_load(struct roster *r, const char *user, enum presence told, int64_t gone_ms)
{
	struct roster_user *u = get(r, user);

	u->told = told;
	u->gone_ms = gone_ms;
	roster_forget(r, u);
}

void
roster_start(struct roster *r, const struct roster_time *t, int64_t left_ms)
{
	struct roster_user *u, *tmp;

	HASH_ITER (hh, r->users, u, tmp) {
		if (!u->gone_ms)
			u->gone_ms = left_ms;
		reconsider(r, u, t->delay_ms, t);
	}
}

struct roster_user *
roster_set(struct roster *r, const char *user, uint64_t bit, enum presence state,
    const struct roster_time *t)
{
	struct roster_user *u = get(r, user);

	u->online &= ~bit;
	u->away &= ~bit;
	if (state == PRESENCE_ONLINE)
		u->online |= bit;
	if (state == PRESENCE_AWAY)
		u->away |= bit;
	reconsider(r, u, state == PRESENCE_OFFLINE ? t->delay_ms : ROSTER_AWAY_MS, t);
	roster_forget(r, u);
	return roster_find(r, user);
}

void
roster_drop_peer(struct roster *r, uint64_t bit, const struct roster_time *t)
{
	struct roster_user *u, *tmp;

	HASH_ITER (hh, r->users, u, tmp) {
		bool had = (u->online | u->away) & bit, untold = u->teller & bit;

		u->online &= ~bit;
		u->away &= ~bit;
		if (untold)
			u->teller = 0;
		if (had || untold)
			reconsider(r, u, had ? t->delay_ms : 0, t);
		roster_forget(r, u);
	}
}

bool
roster_is_due(const struct roster_user *u, int64_t mono_ms)
{
	return u->due_ms && u->due_ms <= mono_ms;
}

void
roster_each_due(
    struct roster *r, int64_t mono_ms, void (*due)(void *arg, struct roster_user *u), void *arg)
{
	struct roster_user *u, *tmp;

	DL_FOREACH_SAFE (r->waiting, u, tmp)
		if (roster_is_due(u, mono_ms))
			due(arg, u);
}

void
roster_hand_over(struct roster *r, struct roster_user *u, uint64_t teller)
{
	u->telling = state_of(u);
	u->teller = teller;
	set_due(r, u, 0);
}

struct roster_user *
roster_confirm(struct roster *r, const char *user, uint64_t teller, enum presence state)
{
	struct roster_user *u = roster_find(r, user);

	if (!u || u->teller != teller || u->telling != state)
		return NULL;
	u->told = state;
	u->teller = 0;
	return u;
}

void
roster_fini(struct roster *r)
{
	struct roster_user *u, *tmp;

	HASH_ITER (hh, r->users, u, tmp) {
		HASH_DEL(r->users, u);
		free(u);
	}
	r->waiting = NULL;
}
