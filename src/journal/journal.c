/* SPDX-License-Identifier: ISC */
/*
 * journal: hands each call to the implementation behind the handle.
 * Worker and archiver, loop thread.
 */
#include "journal/journal.h"

void
journal_writer_close(struct journal_writer **wp)
{
	struct journal_writer *w = *wp;

	*wp = NULL;
	if (w)
		w->ops->close(w);
}

int
journal_intake(struct journal_writer *w, const struct event *ev, uint64_t *ticket_r)
{
	return w->ops->intake(w, ev, ticket_r);
}

int
journal_append(struct journal_writer *w, uint64_t ticket, const struct event *ev,
    journal_append_cb cb, void *arg)
{
	return w->ops->append(w, ticket, ev, cb, arg);
}

int
journal_done(struct journal_writer *w, uint64_t ticket)
{
	return w->ops->done(w, ticket);
}

int
journal_replay(struct journal_writer *w, journal_replay_cb cb, void *arg)
{
	return w->ops->replay(w, cb, arg);
}

void
journal_writer_stats(const struct journal_writer *w, struct journal_writer_stats *st)
{
	w->ops->stats(w, st);
}

void
journal_reader_close(struct journal_reader **rp)
{
	struct journal_reader *r = *rp;

	*rp = NULL;
	if (r)
		r->ops->close(r);
}

int
journal_read(struct journal_reader *r, struct event **events, size_t max, size_t *count_r)
{
	return r->ops->read(r, events, max, count_r);
}

int
journal_commit(struct journal_reader *r)
{
	return r->ops->commit(r);
}

void
journal_reader_stats(const struct journal_reader *r, struct journal_reader_stats *st)
{
	r->ops->stats(r, st);
}
