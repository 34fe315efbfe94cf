/* SPDX-License-Identifier: ISC */
/*
 * load_fanout: one room, one sender outside it; `fanout` keeps messages in flight,
 * `rate-fanout` sends at scheduled times.
 *
 * A message is `["to-room","bench",TEXT]`, where TEXT begins with its number in eight digits.
 * Every member must get every message, whole and in order: the number and the length of
 * each delivery are checked, and all bytes of each 64th.
 */
#include "load_run.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define RING   4096
#define DIGITS 8

static const char call[] = "42[\"to-room\",\"bench\",\"";
static const char event[] = "42[\"room-msg\",\"bench\",\"";
static const char join[] = "420[\"join\",\"bench\"]";
static const char joined[] = "430[\"joined\"]";

struct fanout {
	struct run run;
	struct conn *sender;
	uint64_t sent, done;
	uint32_t in_room;
	uint32_t got[RING]; /* members that have message number modulo RING */
	char text[65536];   /* of a call; its tail is that of an event too */
	size_t text_len;
	char frames[65536 * 2];
	size_t frames_len;
};

static void
put_number(char *at, uint64_t k)
{
	for (int i = DIGITS; i-- > 0; k /= 10)
		at[i] = (char)('0' + k % 10);
}

static uint64_t
get_number(const char *at)
{
	uint64_t k = 0;

	for (int i = 0; i < DIGITS; i++)
		k = k * 10 + (uint64_t)(at[i] - '0');
	return k;
}

static void
flush(struct fanout *f)
{
	if (f->frames_len > 0)
		conn_send(&f->run.pool, f->sender, f->frames, f->frames_len);
	f->frames_len = 0;
}

/* Puts the next message to the frames to be sent. */
static void
put_message(struct fanout *f)
{
	if (f->frames_len + FRAME_HEAD + f->text_len > sizeof f->frames)
		flush(f);
	if (f->sent - f->done >= RING)
		load_die("more than %d messages under way", RING);
	put_number(f->text + sizeof call - 1, f->sent);
	f->got[f->sent % RING] = 0;
	f->sent++;
	f->frames_len += conn_frame(f->frames + f->frames_len, f->text, f->text_len);
}

static bool
is_right(const struct fanout *f, const struct conn *c, const char *text, size_t len)
{
	const size_t head = sizeof event - 1 + DIGITS, call_head = sizeof call - 1 + DIGITS;

	if (len - head != f->text_len - call_head || get_number(text + head - DIGITS) != c->seq)
		return false;
	return c->seq % 64 != 0 || memcmp(text + head, f->text + call_head, len - head) == 0;
}

static void
on_packet(struct pool *p, struct conn *c, const char *text, size_t len)
{
	struct fanout *f = p->arg;
	struct run *r = &f->run;

	if (len < sizeof event - 1 + DIGITS || memcmp(text, event, sizeof event - 1) != 0) {
		if (len == sizeof joined - 1 && memcmp(text, joined, len) == 0)
			f->in_room++;
		return;
	}
	if (c == f->sender || !is_right(f, c, text, len)) {
		r->errors++;
		return;
	}
	r->ops++;
	if (r->latency != NULL && c->seq >= r->first)
		hist_add(r->latency, load_now() - run_due(r, c->seq));
	if (++f->got[c->seq++ % RING] < r->options->n)
		return;
	f->done++;
	if (r->latency == NULL && r->after.at == 0)
		put_message(f);
}

static void
send_scheduled(struct run *r)
{
	struct fanout *f = (struct fanout *)r;

	put_message(f);
	flush(f);
}

static bool
all_in_room(const struct run *r)
{
	return ((const struct fanout *)r)->in_room == r->options->n;
}

static bool
all_done(const struct run *r)
{
	const struct fanout *f = (const struct fanout *)r;

	return f->done == f->sent;
}

static void
make_text(struct fanout *f, uint32_t size)
{
	int n = snprintf(f->text, sizeof f->text, "%s", call);

	for (uint32_t i = 0; i < size; i++)
		f->text[n++] = (char)(i < DIGITS ? '0' : 'a' + i % 26);
	f->text[n++] = '"';
	f->text[n++] = ']';
	f->text_len = n;
}

/* What became free while a turn was handled is sent after it. */
static void
turn_end(struct pool *p)
{
	flush(p->arg);
}

int
scenario_fanout(const struct options *o)
{
	struct fanout *f = calloc(1, sizeof *f);
	struct run *r = &f->run;
	int status = 1;

	if (f == NULL)
		load_die("out of memory");
	r->send = send_scheduled;
	r->settled = all_done;
	make_text(f, o->size < DIGITS ? DIGITS : o->size);
	if (!run_open(r, o, o->n + 1))
		goto out;
	r->pool.packet = on_packet;
	r->pool.turn_end = turn_end;
	f->sender = &r->pool.conns[o->idle + o->n];
	for (uint32_t i = 0; i < o->n; i++)
		conn_send_text(&r->pool, &r->pool.conns[o->idle + i], join, sizeof join - 1);
	if (!run_until(r, all_in_room)) {
		fprintf(stderr, "load: %u of %u are in the room\n", f->in_room, o->n);
		goto out;
	}
	if (o->rate > 0)
		r->latency = hist_new();
	for (uint32_t i = 0; o->rate == 0 && i < o->in_flight; i++)
		put_message(f);
	flush(f);
	run_measure(r);
	status = run_report(r);
out:
	free(f);
	return status;
}
