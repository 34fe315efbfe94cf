/* SPDX-License-Identifier: ISC */
/*
 * presence: the processes where a user has clients.  Hub, loop thread.
 */
#include <stdlib.h>

#include "hub/hub_int.h"

struct hub_user {
	char id[ID_MAX];
	uint64_t peers;
	UT_hash_handle hh;
};

uint64_t
hub_peers_of_user(struct hub *h, const char *user)
{
	struct hub_user *u;

	HASH_FIND_STR(h->users, user, u);
	return u ? u->peers : 0;
}

static void
set_online(struct hub *h, const char *id, uint64_t bit, bool online)
{
	struct hub_user *u;

	HASH_FIND_STR(h->users, id, u);
	if (!u && online) {
		u = xcalloc(1, sizeof(*u));
		str_copy(u->id, sizeof(u->id), id);
		HASH_ADD_STR(h->users, id, u);
	}
	if (!u)
		return;
	u->peers = online ? u->peers | bit : u->peers & ~bit;
	if (u->peers)
		return;
	HASH_DEL(h->users, u);
	free(u);
}

void
hub_on_user(struct peer *p, const struct imsg *m)
{
	char id[ID_MAX];
	struct unpack u;
	bool online;

	unpack_init(&u, m->data, m->len);
	unpack_strn(&u, id, sizeof(id));
	online = unpack_u8(&u) != 0;
	if (unpack_end(&u))
		set_online(p->hub, id, peer_bit(p), online);
}

void
hub_forget_users_of(struct hub *h, const struct peer *p)
{
	struct hub_user *u, *tmp;

	HASH_ITER (hh, h->users, u, tmp)
		set_online(h, u->id, peer_bit(p), false);
}

void
hub_free_users(struct hub *h)
{
	struct hub_user *u, *tmp;

	HASH_ITER (hh, h->users, u, tmp) {
		HASH_DEL(h->users, u);
		free(u);
	}
}
