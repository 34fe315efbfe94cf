/* SPDX-License-Identifier: ISC */
/*
 * load_acks: `message-with-ack` and its answers; `acks` keeps one in flight for each
 * client, `rate` sends at scheduled times, the clients taking turns.
 *
 * A client's ack ids go up by one (closed loop) or by the number of clients (open loop: the
 * id is the number of the message).  Its acks must come in order, with the arguments that
 * were sent.
 */
#include "load_run.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct acks {
	struct run run;
	uint64_t answered; /* all, the drain's too */
	uint64_t sent;
	char text[65536]; /* the argument, quoted, and `]` */
	size_t text_len;
};

static void
send_message(struct acks *a, struct conn *c, uint64_t id)
{
	char text[65536 + 64];
	int n = snprintf(text, 64, "42%llu[\"message-with-ack\",", (unsigned long long)id);

	memcpy(text + n, a->text, a->text_len);
	a->sent++;
	conn_send_text(&a->run.pool, c, text, n + a->text_len);
}

/* Parses `43<id>[`; returns the length of it, 0: that is not it. */
static size_t
parse_head(const char *text, size_t len, uint64_t *id_r)
{
	size_t i = 2;

	if (len < 4 || memcmp(text, "43", 2) != 0)
		return 0;
	for (*id_r = 0; i < len && text[i] >= '0' && text[i] <= '9'; i++)
		*id_r = *id_r * 10 + (uint64_t)(text[i] - '0');
	return i < len && text[i] == '[' ? i + 1 : 0;
}

static void
on_packet(struct pool *p, struct conn *c, const char *text, size_t len)
{
	struct acks *a = p->arg;
	struct run *r = &a->run;
	uint64_t id;
	size_t head = parse_head(text, len, &id);

	if (head == 0)
		return; /* `auth` */
	if (id != c->seq || len - head != a->text_len ||
	    memcmp(text + head, a->text, a->text_len) != 0) {
		r->errors++;
		return;
	}
	a->answered++;
	r->ops++;
	if (r->latency != NULL) {
		c->seq += r->options->n;
		if (id >= r->first)
			hist_add(r->latency, load_now() - run_due(r, id));
	} else {
		c->seq++;
		if (r->after.at == 0)
			send_message(a, c, c->seq);
	}
}

static void
send_scheduled(struct run *r)
{
	const struct options *o = r->options;
	struct conn *c = &r->pool.conns[o->idle + r->scheduled % o->n];

	send_message((struct acks *)r, c, r->scheduled);
}

static bool
all_answered(const struct run *r)
{
	const struct acks *a = (const struct acks *)r;

	return a->answered == a->sent;
}

static void
make_text(struct acks *a, uint32_t size)
{
	size_t n = 0;

	a->text[n++] = '"';
	for (uint32_t i = 0; i < size; i++)
		a->text[n++] = (char)('a' + i % 26);
	a->text[n++] = '"';
	a->text[n++] = ']';
	a->text_len = n;
}

int
scenario_acks(const struct options *o)
{
	struct acks *a = calloc(1, sizeof *a);
	struct run *r = &a->run;
	int status = 1;

	if (a == NULL)
		load_die("out of memory");
	r->send = send_scheduled;
	r->settled = all_answered;
	make_text(a, o->size);
	if (!run_open(r, o, o->n))
		goto out;
	r->pool.packet = on_packet;
	if (o->rate > 0)
		r->latency = hist_new();
	for (uint32_t i = 0; i < o->n; i++) {
		struct conn *c = &r->pool.conns[o->idle + i];

		if (o->rate > 0)
			c->seq = i;
		else
			send_message(a, c, 0);
	}
	run_measure(r);
	status = run_report(r);
out:
	free(a);
	return status;
}
