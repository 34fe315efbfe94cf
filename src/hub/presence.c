/* SPDX-License-Identifier: ISC */
/*
 * presence: what processes say of their users, and who is to tell others.  Hub, loop
 * thread.
 *
 * The teller of a user is always the same one as long as the same workers are connected
 * (the one with the greatest hash), so that changes are told in the order in which they
 * happened.
 *
 * What others know of a user is in the hub's log: a new hub waits for those who were online
 * and says offline of the ones who do not come back.
 */
#include <string.h>

#include "hub/hub_int.h"
#include "lib/conf.h"
#include "lib/log.h"

#define LOOK_S 0.25 /* how often those are looked at who wait */

static struct roster_time
time_now(const struct hub *h)
{
	return (struct roster_time){.delay_ms = h->child->conf->presence_offline_delay,
	    .mono_ms = clock_mono_ms(),
	    .wall_ms = clock_wall_ms()};
}

static struct peer *
choose_teller(struct hub *h, const char *user)
{
	struct peer *best = NULL;
	uint32_t best_hash = 0;

	for (unsigned int i = 0; i < ARCHIVER_PEER; i++) {
		uint32_t hash = crc32c(i, user, strlen(user));

		if (h->peers[i].chan && (!best || hash > best_hash)) {
			best = &h->peers[i];
			best_hash = hash;
		}
	}
	return best;
}

/* Where no worker is connected it stays due. */
static void
tell(void *arg, struct roster_user *u)
{
	struct hub *h = arg;
	struct peer *p = choose_teller(h, u->id);
	struct buf b;

	if (!p)
		return;
	roster_hand_over(&h->roster, u, peer_bit(p));
	buf_init(&b);
	pack_str(&b, u->id);
	pack_u8(&b, (uint8_t)u->telling);
	pack_i64(&b, u->gone_ms);
	imsg_send_buf(p->chan, HUB_PRESENCE_CHANGED, 0, &b);
	buf_fini(&b);
}

static void
look(struct ev_loop *l, ev_timer *t, int revents)
{
	struct hub *h = t->data;

	(void)revents;
	roster_each_due(&h->roster, clock_mono_ms(), tell, h);
	if (!h->roster.waiting)
		ev_timer_stop(l, t);
}

static void
look_later(struct hub *h)
{
	if (h->roster.waiting && !ev_is_active(&h->look))
		ev_timer_start(loop_ev(), &h->look);
}

/* Its place in the log, which is written at the end of the turn. */
static void
note(struct hub *h, const struct roster_user *u)
{
	hublog_presence(h->log, u);
	loop_defer(&h->commit);
}

void
hub_on_presence(struct peer *p, const struct imsg *m)
{
	struct hub *h = p->hub;
	struct roster_time t = time_now(h);
	struct roster_user *u;
	enum presence state;
	char id[ID_MAX];
	struct unpack un;
	int64_t gone_ms;

	unpack_init(&un, m->data, m->len);
	unpack_strn(&un, id, sizeof(id));
	state = unpack_u8(&un);
	if (!unpack_end(&un) || state > PRESENCE_ONLINE) {
		log_error("hub.bad_presence", "peer=%u", p->index);
		return;
	}
	u = roster_find(&h->roster, id);
	gone_ms = u ? u->gone_ms : 0;
	u = roster_set(&h->roster, id, peer_bit(p), state, &t);
	if (u && u->told != PRESENCE_OFFLINE && u->gone_ms != gone_ms)
		note(h, u);
	if (u && roster_is_due(u, t.mono_ms))
		tell(h, u);
	look_later(h);
}

void
hub_on_presence_told(struct peer *p, const struct imsg *m)
{
	struct roster_user *u;
	enum presence state;
	char id[ID_MAX];
	struct unpack un;

	unpack_init(&un, m->data, m->len);
	unpack_strn(&un, id, sizeof(id));
	state = unpack_u8(&un);
	u = unpack_end(&un) ? roster_confirm(&p->hub->roster, id, peer_bit(p), state) : NULL;
	if (!u)
		return; /* it has changed again meanwhile */
	note(p->hub, u);
	roster_forget(&p->hub->roster, u);
}

void
hub_on_presence_get(struct peer *p, const struct imsg *m)
{
	char id[ID_MAX];
	struct unpack un;
	uint32_t count;
	struct buf b;

	buf_init(&b);
	unpack_init(&un, m->data, m->len);
	count = unpack_u32(&un);
	pack_u32(&b, count);
	for (uint32_t i = 0; i < count && unpack_ok(&un); i++) {
		unpack_strn(&un, id, sizeof(id));
		pack_u8(&b, (uint8_t)roster_believed(roster_find(&p->hub->roster, id)));
	}
	if (unpack_end(&un))
		imsg_send_buf(p->chan, HUB_PRESENCE_RESULT, m->id, &b);
	else
		log_error("hub.bad_presence_get", "peer=%u", p->index);
	buf_fini(&b);
}

uint64_t
hub_peers_of_user(const struct hub *h, const char *user)
{
	const struct roster_user *u = roster_find(&h->roster, user);

	return u ? u->online | u->away : 0;
}

void
hub_forget_users_of(struct hub *h, const struct peer *p)
{
	struct roster_time t = time_now(h);

	roster_drop_peer(&h->roster, peer_bit(p), &t);
	look_later(h);
}

void
hub_presence_open(struct hub *h)
{
	struct roster_time t = time_now(h);

	ev_timer_init(&h->look, look, LOOK_S, LOOK_S);
	h->look.data = h;
	roster_start(&h->roster, &t, hublog_written_ms(h->log));
	look_later(h);
}

void
hub_presence_close(struct hub *h)
{
	ev_timer_stop(loop_ev(), &h->look);
	roster_fini(&h->roster);
}
