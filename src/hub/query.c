/* SPDX-License-Identifier: ISC */
/*
 * query: answers of what is in the window.  Hub, loop thread.
 */
#include "hub/hub_int.h"
#include "lib/log.h"

/* c may be NULL: nothing is known of the conversation, so all of it is in the store. */
static void
answer_events(struct peer *p, uint32_t id, const struct window_conv *c, struct event **events,
    size_t count, bool more)
{
	struct buf b;

	buf_init(&b);
	pack_u64(&b, c ? c->head : 0);
	pack_u64(&b, c ? c->floor : UINT64_C(1) << 53);
	pack_u32(&b, c ? (uint32_t)c->about_count : 0);
	pack_u8(&b, more);
	pack_u32(&b, (uint32_t)count);
	for (size_t i = 0; i < count; i++)
		event_pack(&b, events[i]);
	imsg_send_buf(p->chan, HUB_WINDOW_RESULT, id, &b);
	buf_fini(&b);
}

void
hub_on_window(struct peer *p, const struct imsg *m)
{
	struct event *events[BUS_WINDOW_PAGE];
	const struct window_conv *c;
	uint64_t after, before;
	char id[ID_MAX];
	struct unpack u;
	size_t limit, n = 0;
	bool more = false;

	unpack_init(&u, m->data, m->len);
	unpack_strn(&u, id, sizeof(id));
	after = unpack_u64(&u);
	before = unpack_u64(&u);
	limit = unpack_u32(&u);
	if (!unpack_end(&u)) {
		log_error("hub.bad_window", "peer=%u", p->index);
		return;
	}
	if (limit > BUS_WINDOW_PAGE)
		limit = BUS_WINDOW_PAGE;
	c = window_find(&p->hub->window, id);
	if (c)
		n = window_read(c, after, before, limit, events, &more);
	answer_events(p, m->id, c, events, n, more);
}

void
hub_on_about(struct peer *p, const struct imsg *m)
{
	char id[ID_MAX], refs[BUS_ABOUT_IDS][ID_MAX];
	struct event *events[BUS_ABOUT_MAX];
	const struct window_conv *c;
	struct unpack u;
	uint32_t count;
	size_t n = 0;
	bool more = false;

	unpack_init(&u, m->data, m->len);
	unpack_strn(&u, id, sizeof(id));
	count = unpack_u32(&u);
	for (size_t i = 0; i < count && i < BUS_ABOUT_IDS; i++)
		unpack_strn(&u, refs[i], sizeof(refs[i]));
	if (!unpack_end(&u)) {
		log_error("hub.bad_about", "peer=%u", p->index);
		return;
	}
	c = window_find(&p->hub->window, id);
	if (c)
		n = window_about(
		    c, (const char(*)[ID_MAX])refs, count, BUS_ABOUT_MAX, events, &more);
	answer_events(p, m->id, c, events, n, more);
}

void
hub_on_find(struct peer *p, const struct imsg *m)
{
	const struct event *ev;
	char id[ID_MAX];
	struct unpack u;
	struct buf b;

	unpack_init(&u, m->data, m->len);
	unpack_strn(&u, id, sizeof(id));
	if (!unpack_end(&u)) {
		log_error("hub.bad_find", "peer=%u", p->index);
		return;
	}
	ev = window_find_event(&p->hub->window, id);
	buf_init(&b);
	pack_u8(&b, ev != NULL);
	if (ev)
		event_pack(&b, ev);
	imsg_send_buf(p->chan, HUB_FIND_RESULT, m->id, &b);
	buf_fini(&b);
}
