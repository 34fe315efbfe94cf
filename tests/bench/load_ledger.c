/* SPDX-License-Identifier: ISC */
/*
 * load_ledger: sends messages while somebody kills the server, and writes down what it sent
 * and every acknowledgement, for tests/ledger/check.mjs.
 *
 * Messages are sent at scheduled times, each by a random client into one of its conversations,
 * with a client_msg_id of its own.  What got no answer before its connection went, none within
 * RETRY_NS, or one that says "later" is sent again with the same id, until it is acknowledged
 * or refused.  Connections that were lost are opened again.  Of --careless in a hundred the
 * client does not care: it sends once and forgets; they may be lost, but not half.
 *
 * --plan names a file with one line a client: its user's id, then its conversations' ids, all
 * separated by blanks; the clients' tokens are in the file of --auth.  --out gets lines of
 * fields separated by tabs; `op` counts from 0, times are ms since 1970:
 *	S op user conversation client_msg_id ms text	sent for the first time
 *	A op id seq duplicate ms			acknowledged; each answer has a line
 *	R op status code				refused for good
 *	G op						forgotten, without an answer
 *	V conversation seq id				seen live by at least one client
 *	F text						what no client should ever see
 *
 * Invariants: an op is on `pending` from its first sending until its answer; its ack id is its
 * number, on whatever connection, so that late answers are told apart and written down too.
 */
#include "load_conn.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define TICK_NS     (20 * SECOND / 1000)
#define RETRY_NS    (8 * SECOND)
#define LATER_NS    (SECOND / 5)
#define REOPEN_NS   (SECOND / 10)
#define GRACE_NS    (150 * SECOND) /* after the last message, for the last answers */
#define JOIN_NS     (10 * SECOND)
#define PENDING_MAX 4000
#define ROOM_MAX    64 /* conversations of a client */
#define ID_SIZE     40
#define UUID_SIZE   37

struct op {
	uint32_t client, room;
	uint32_t number;
	bool done, careless;
	uint64_t at;  /* of the last sending; 0: not yet */
	uint64_t due; /* not to be sent before */
	char uuid[UUID_SIZE];
	struct op *prev, *next; /* of `pending` */
};

struct member {
	char user[ID_SIZE];
	uint32_t rooms[ROOM_MAX];
	uint64_t last[ROOM_MAX]; /* of this connection: the last number seen; 0: none */
	uint32_t n_rooms;
	bool joined;
	uint64_t joined_at, reopen_at;
};

struct seen {
	uint64_t seq; /* 0: empty */
	uint32_t room;
	char id[ID_SIZE];
};

struct ledger {
	struct pool pool;
	const struct options *options;
	struct member *members;
	char (*rooms)[ID_SIZE];
	uint32_t n_rooms;
	struct op *ops, pending;
	uint32_t total, sent, under_way;
	uint64_t acked, refused, resent, faults, reopened, forgotten;
	struct seen *seen; /* open addressing, a power of two */
	size_t seen_size, seen_count;
	uint64_t state; /* of the random numbers */
	uint64_t start, next_tick;
	struct hist *waits; /* from a message's time to its first acknowledgement */
	FILE *out;
};

/* splitmix64 */
static uint64_t
random_next(struct ledger *l)
{
	uint64_t z = l->state += 0x9e3779b97f4a7c15;

	z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9;
	z = (z ^ z >> 27) * 0x94d049bb133111eb;
	return z ^ z >> 31;
}

static unsigned long long
wall_ms(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_REALTIME, &ts);
	return (unsigned long long)ts.tv_sec * 1000 + (unsigned long long)ts.tv_nsec / 1000000;
}

/* ---- the plan ---- */

static uint32_t
room_index(struct ledger *l, const char *id)
{
	for (uint32_t i = 0; i < l->n_rooms; i++)
		if (strcmp(l->rooms[i], id) == 0)
			return i;
	l->rooms = realloc(l->rooms, (l->n_rooms + 1) * sizeof *l->rooms);
	if (l->rooms == NULL || strlen(id) >= ID_SIZE)
		load_die("no memory, or too long an id: %s", id);
	snprintf(l->rooms[l->n_rooms], ID_SIZE, "%s", id);
	return l->n_rooms++;
}

static void
read_member(struct ledger *l, struct member *m, char *line)
{
	char *word, *rest = NULL;

	word = strtok_r(line, " \n", &rest);
	if (word == NULL || strlen(word) >= ID_SIZE)
		load_die("--plan: a line without a user");
	snprintf(m->user, sizeof m->user, "%s", word);
	while ((word = strtok_r(NULL, " \n", &rest)) != NULL) {
		if (m->n_rooms == ROOM_MAX)
			load_die("--plan: more than %d conversations of a client", ROOM_MAX);
		m->rooms[m->n_rooms++] = room_index(l, word);
	}
	if (m->n_rooms == 0)
		load_die("--plan: %s has no conversation", m->user);
}

static void
read_plan(struct ledger *l, const char *path)
{
	FILE *f = fopen(path, "r");
	char *line = NULL;
	size_t size = 0;

	if (f == NULL)
		load_die("cannot read %s", path);
	for (uint32_t i = 0; i < l->options->n; i++) {
		if (getline(&line, &size, f) <= 0)
			load_die("%s: fewer lines than clients", path);
		read_member(l, &l->members[i], line);
	}
	free(line);
	fclose(f);
}

/* ---- sending ---- */

/* When message number `n` is due. */
static uint64_t
op_time(const struct ledger *l, uint32_t n)
{
	return l->start + (uint64_t)((double)n * (double)SECOND / l->options->rate);
}

static void
op_text(const struct op *op, char *text, size_t size)
{
	snprintf(text, size, "client %u says %u %.*s", op->client, op->number,
	    (int)(op->number * 7 % 120),
	    "abcdefghijklmnopqrstuvwxyz abcdefghijklmnopqrstuvwxyz abcdefghijklmnopqrstuvwxyz "
	    "abcdefghijklmnopqrstuvwxyz abcdefghijklmnopqrstuvwxyz");
}

static void
op_send(struct ledger *l, struct op *op, uint64_t now)
{
	struct conn *c = &l->pool.conns[op->client];
	char text[256], packet[640];
	int n;

	op_text(op, text, sizeof text);
	if (op->at == 0)
		fprintf(l->out, "S\t%u\t%s\t%s\t%s\t%llu\t%s\n", op->number,
		    l->members[op->client].user, l->rooms[op->room], op->uuid, wall_ms(), text);
	else
		l->resent++;
	op->at = now;
	n = snprintf(packet, sizeof packet,
	    "42%u[\"message.send\",{\"conversation_id\":\"%s\",\"client_msg_id\":\"%s\","
	    "\"text\":\"%s\"}]",
	    op->number, l->rooms[op->room], op->uuid, text);
	conn_send_text(&l->pool, c, packet, (size_t)n);
}

static void
make_uuid(struct ledger *l, char uuid[UUID_SIZE])
{
	uint64_t a = random_next(l), b = random_next(l);

	snprintf(uuid, UUID_SIZE, "%08x-%04x-4%03x-8%03x-%012llx", (unsigned)(a >> 32),
	    (unsigned)(a >> 16) & 0xffff, (unsigned)a & 0xfff, (unsigned)(b >> 48) & 0xfff,
	    (unsigned long long)(b & 0xffffffffffff));
}

static void
op_start(struct ledger *l)
{
	struct op *op = &l->ops[l->sent];
	struct member *m;

	op->number = l->sent++;
	op->client = (uint32_t)(random_next(l) % l->options->n);
	m = &l->members[op->client];
	op->room = m->rooms[random_next(l) % m->n_rooms];
	make_uuid(l, op->uuid);
	op->careless = random_next(l) % 100 < l->options->careless;
	op->next = &l->pending;
	op->prev = l->pending.prev;
	op->prev->next = op->next->prev = op;
	l->under_way++;
	if (m->joined && l->pool.conns[op->client].state == CONN_JOINED)
		op_send(l, op, load_now());
}

static void
op_end(struct ledger *l, struct op *op)
{
	if (op->done)
		return;
	op->done = true;
	op->prev->next = op->next;
	op->next->prev = op->prev;
	l->under_way--;
}

/* ---- what comes ---- */

/* The text after `"name":` in a compact object, up to what ends it; false: not there. */
static bool
find_field(const char *text, size_t len, const char *name, char *value, size_t size)
{
	char key[32];
	int n = snprintf(key, sizeof key, "\"%s\":", name);
	const char *p = memmem(text, len, key, (size_t)n), *end = text + len;
	size_t i = 0;

	if (p == NULL)
		return false;
	p += n;
	if (p < end && *p == '"')
		p++;
	while (p < end && i + 1 < size && *p != '"' && *p != ',' && *p != '}')
		value[i++] = *p++;
	value[i] = '\0';
	return i > 0;
}

static void
fault(struct ledger *l, const char *what, const char *room, const char *seq, const char *id)
{
	fprintf(l->out, "F\t%s: %s of %s is %s\n", what, seq, room, id);
	l->faults++;
}

static void
on_answer(struct ledger *l, uint32_t number, const char *text, size_t len)
{
	struct op *op = &l->ops[number];
	char id[ID_SIZE], seq[24], status[8] = "", code[40] = "", dup[8] = "";

	if (len > 9 && memcmp(text, "{\"data\":{", 9) == 0) {
		if (!find_field(text, len, "id", id, sizeof id) ||
		    !find_field(text, len, "seq", seq, sizeof seq))
			load_die("not an acknowledgement: %.*s", (int)len, text);
		find_field(text, len, "duplicate", dup, sizeof dup);
		fprintf(l->out, "A\t%u\t%s\t%s\t%s\t%llu\n", number, id, seq, dup, wall_ms());
		l->acked += !op->done;
		if (!op->done)
			hist_add(l->waits, load_now() - op_time(l, number));
		op_end(l, op);
		return;
	}
	find_field(text, len, "status", status, sizeof status);
	find_field(text, len, "code", code, sizeof code);
	if (strcmp(status, "503") == 0 || strcmp(status, "429") == 0) {
		op->due = load_now() + LATER_NS;
		return;
	}
	fprintf(l->out, "R\t%u\t%s\t%s\n", number, status, code);
	l->refused += !op->done;
	op_end(l, op);
}

static struct seen *
seen_slot(struct ledger *l, uint32_t room, uint64_t seq)
{
	size_t i = (size_t)((seq * 0x9e3779b97f4a7c15 + room) >> 16) & (l->seen_size - 1);

	while (l->seen[i].seq != 0 && (l->seen[i].seq != seq || l->seen[i].room != room))
		i = (i + 1) & (l->seen_size - 1);
	return &l->seen[i];
}

static void
seen_grow(struct ledger *l)
{
	struct seen *old = l->seen;
	size_t size = l->seen_size;

	l->seen_size = size ? 2 * size : 1 << 14;
	l->seen = calloc(l->seen_size, sizeof *l->seen);
	if (l->seen == NULL)
		load_die("out of memory");
	for (size_t i = 0; i < size; i++)
		if (old[i].seq != 0)
			*seen_slot(l, old[i].room, old[i].seq) = old[i];
	free(old);
}

/* One conversation's numbers go up on a connection, and a number names one event for all. */
static void
on_event(struct ledger *l, struct member *m, const char *text, size_t len)
{
	char room[ID_SIZE], seq[24], id[ID_SIZE];
	uint32_t k = 0;
	uint64_t number;
	struct seen *s;

	if (!find_field(text, len, "conversation_id", room, sizeof room) ||
	    !find_field(text, len, "seq", seq, sizeof seq) ||
	    !find_field(text, len, "id", id, sizeof id))
		return; /* not a numbered event */
	while (k < m->n_rooms && strcmp(l->rooms[m->rooms[k]], room) != 0)
		k++;
	if (k == m->n_rooms)
		return;
	number = strtoull(seq, NULL, 10);
	if (number <= m->last[k])
		fault(l, "out of order or doubled on one connection", room, seq, id);
	m->last[k] = number;
	if (4 * (l->seen_count + 1) > 3 * l->seen_size)
		seen_grow(l);
	s = seen_slot(l, m->rooms[k], number);
	if (s->seq == 0) {
		s->seq = number;
		s->room = m->rooms[k];
		snprintf(s->id, sizeof s->id, "%s", id);
		l->seen_count++;
	} else if (strcmp(s->id, id) != 0) {
		fault(l, "a number with two events", room, seq, id);
	}
}

static void
on_packet(struct pool *p, struct conn *c, const char *text, size_t len)
{
	struct ledger *l = p->arg;
	uint64_t number = 0;
	size_t i = 2;

	if (len > 2 && memcmp(text, "42", 2) == 0) {
		on_event(l, &l->members[c - p->conns], text, len);
		return;
	}
	if (len < 4 || memcmp(text, "43", 2) != 0)
		return;
	for (; i < len && text[i] >= '0' && text[i] <= '9'; i++)
		number = number * 10 + (uint64_t)(text[i] - '0');
	if (i == len || text[i] != '[' || number >= l->sent)
		load_die("not an answer: %.*s", (int)len, text);
	on_answer(l, (uint32_t)number, text + i + 1, len - i - 1);
}

/* ---- time ---- */

static void
watch_connections(struct ledger *l, uint64_t now)
{
	for (uint32_t i = 0; i < l->options->n; i++) {
		struct member *m = &l->members[i];
		uint8_t state = l->pool.conns[i].state;

		if (state == CONN_JOINED && !m->joined) {
			m->joined = true;
			m->joined_at = now;
			m->reopen_at = 0;
		} else if (state == CONN_UNUSED && m->reopen_at == 0) {
			m->joined = false;
			m->reopen_at = now + REOPEN_NS + random_next(l) % REOPEN_NS;
			memset(m->last, 0, sizeof m->last);
		} else if (state == CONN_UNUSED && now >= m->reopen_at) {
			m->reopen_at = 0;
			l->reopened++;
			pool_start(&l->pool, i);
		}
	}
}

static void
tick(struct ledger *l, uint64_t now)
{
	struct op *op, *next;

	l->next_tick = now + TICK_NS;
	watch_connections(l, now);
	for (op = l->pending.next; op != &l->pending; op = next) {
		struct member *m = &l->members[op->client];
		bool unanswered = op->at < m->joined_at || now - op->at >= RETRY_NS;

		next = op->next;
		if (op->careless && op->at != 0 && (!m->joined || op->due || unanswered)) {
			fprintf(l->out, "G\t%u\n", op->number);
			l->forgotten++;
			op_end(l, op);
			continue;
		}
		if (!m->joined || l->pool.conns[op->client].state != CONN_JOINED)
			continue;
		if (op->due ? now >= op->due : unanswered) {
			op->due = 0;
			op_send(l, op, now);
		}
	}
}

/* The schedule begins when all have joined, or have had their time to. */
static void
join_all(struct ledger *l)
{
	uint64_t end = load_now() + JOIN_NS, now;

	while ((now = load_now()) < end && l->pool.joined < l->options->n) {
		if (now >= l->next_tick)
			tick(l, now);
		pool_turn(&l->pool, SECOND / 500);
	}
}

/* Until the next message or tick, whichever comes first. */
static uint64_t
time_to_wait(const struct ledger *l, uint64_t now)
{
	uint64_t next = l->next_tick;

	if (l->sent < l->total && l->under_way < PENDING_MAX && op_time(l, l->sent) < next)
		next = op_time(l, l->sent);
	return next > now ? next - now : 0;
}

static void
run(struct ledger *l)
{
	uint64_t now = load_now(), end;

	l->start = now;
	end = now + (uint64_t)(l->options->seconds * (double)SECOND) + GRACE_NS;
	while ((now = load_now()) < end && (l->sent < l->total || l->under_way > 0)) {
		while (
		    l->sent < l->total && l->under_way < PENDING_MAX && now >= op_time(l, l->sent))
			op_start(l);
		if (now >= l->next_tick)
			tick(l, now);
		pool_turn(&l->pool, time_to_wait(l, now));
	}
}

/* ---- life ---- */

static void
ledger_report(struct ledger *l)
{
	for (size_t i = 0; i < l->seen_size; i++)
		if (l->seen[i].seq != 0)
			fprintf(l->out, "V\t%s\t%llu\t%s\n", l->rooms[l->seen[i].room],
			    (unsigned long long)l->seen[i].seq, l->seen[i].id);
	if (fflush(l->out) != 0 || ferror(l->out))
		load_die("cannot write the ledger");
	printf("{\"scenario\":\"ledger\",\"sent\":%u,\"acknowledged\":%llu,\"refused\":%llu,"
	       "\"unknown\":%u,\"forgotten\":%llu,\"resent\":%llu,\"reopened\":%llu,\"seen\":%zu,"
	       "\"faults\":%llu,\"p50_us\":%.1f,\"p99_us\":%.1f,\"p999_us\":%.1f}\n",
	    l->sent, (unsigned long long)l->acked, (unsigned long long)l->refused, l->under_way,
	    (unsigned long long)l->forgotten, (unsigned long long)l->resent,
	    (unsigned long long)l->reopened, l->seen_count, (unsigned long long)l->faults,
	    (double)hist_quantile(l->waits, 0.5) / 1000,
	    (double)hist_quantile(l->waits, 0.99) / 1000,
	    (double)hist_quantile(l->waits, 0.999) / 1000);
}

int
scenario_ledger(const struct options *o)
{
	struct ledger l = {.options = o, .state = (uint64_t)o->seed};

	if (o->plan == NULL || o->out == NULL || o->auth == NULL)
		load_die("ledger needs --plan, --auth and --out");
	l.total = (uint32_t)(o->rate * o->seconds);
	l.members = calloc(o->n, sizeof *l.members);
	l.ops = calloc(l.total, sizeof *l.ops);
	l.out = fopen(o->out, "w");
	if (l.members == NULL || l.ops == NULL || l.out == NULL)
		load_die("no memory, or cannot write %s", o->out);
	l.pending.next = l.pending.prev = &l.pending;
	l.waits = hist_new();
	seen_grow(&l);
	read_plan(&l, o->plan);
	pool_init(&l.pool, o, o->n);
	l.pool.arg = &l;
	l.pool.packet = on_packet;
	join_all(&l);
	run(&l);
	ledger_report(&l);
	fclose(l.out);
	pool_fini(&l.pool);
	hist_free(&l.waits);
	free(l.seen);
	free(l.rooms);
	free(l.ops);
	free(l.members);
	return l.faults > 0;
}
