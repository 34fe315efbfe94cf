/* SPDX-License-Identifier: ISC */
/*
 * sio-testserver: a server on the wire layer alone, to run any client or suite against.
 *
 * The parent binds one listener a worker, starts the workers (this program again, named
 * "sio-testserver: worker N", channel on descriptor 3, listener on 4), starts one anew
 * when it died, passes on what workers tell each other, and numbers what is published.
 * It prints "listening 127.0.0.1:PORT" when all workers are there.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <netinet/in.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <sysexits.h>
#include <unistd.h>

#include "app.h"
#include "lib/imsg.h"
#include "lib/log.h"
#include "lib/loop.h"
#include "lib/pack.h"
#include "lib/tls.h"

#define WORKERS_MAX 64
#define BACKLOG     4096

enum msg {
	MSG_READY = 1, /* worker to parent */
	MSG_TELL,      /* id: slot, to it or from it */
	MSG_PUBLISH,   /* to the parent; to all with a u64 number in front */
	MSG_PEER       /* id: slot; u8 there */
};

struct options {
	int port, workers, max_connections;
	bool deny;
	const char *cert, *key;
	struct wire_opts wire;
};

static void
read_file(const char *path, struct buf *b)
{
	FILE *f = fopen(path, "re");

	if (!f)
		fatal(EX_NOINPUT, "testserver.no_file", "%s: %s", path, strerror(errno));
	b->len = fread(buf_reserve(b, 65536), 1, 65536, f);
	fclose(f);
}

/* ---- worker ---- */

struct worker {
	struct imsg_chan *chan;
	struct app *app;
	struct wire *wire;
};

static void
tell(void *arg, unsigned int slot, const void *data, size_t len)
{
	imsg_send(((struct worker *)arg)->chan, MSG_TELL, slot, -1, data, len);
}

static void
publish(void *arg, const struct buf *packed)
{
	imsg_send_buf(((struct worker *)arg)->chan, MSG_PUBLISH, 0, packed);
}

static void
from_parent(void *arg, struct imsg *m)
{
	struct worker *w = arg;
	struct unpack u;
	uint64_t number;

	if (m->type == MSG_TELL) {
		wire_told(w->wire, m->id, m->data, m->len);
	} else if (m->type == MSG_PEER) {
		wire_peer(w->wire, m->id, m->data[0] != 0);
	} else {
		unpack_init(&u, m->data, m->len);
		number = unpack_u64(&u);
		app_published(w->app, number, u.p, u.left);
	}
}

static void
parent_gone(void *arg)
{
	(void)arg;
	loop_stop();
}

static bool
use_tls(struct wire *w, const struct options *o)
{
	struct buf chain = {0}, key = {0};
	struct tls_material m = {0};
	const char *why;

	if (!o->cert || !o->key)
		return false;
	read_file(o->cert, &chain);
	read_file(o->key, &key);
	m.chain = chain.data;
	m.chain_len = chain.len;
	m.key = key.data;
	m.key_len = key.len;
	why = wire_tls(w, 0, &m);
	if (why)
		fatal(EX_CONFIG, "testserver.no_tls", "%s %s", o->cert, why);
	buf_fini(&chain);
	buf_fini(&key);
	return true;
}

static int
worker_main(const struct options *o, unsigned int slot)
{
	static const struct imsg_handler handler = {from_parent, parent_gone};
	struct worker w = {0};
	struct wire_app app = {
	    .sio = app_sio, .eio_path = "/engine.io/", .eio = &app_eio, .admit = app_admit};
	struct wire_opts opts = o->wire;

	prctl(PR_SET_PDEATHSIG, SIGKILL);
	log_init("sio-testserver", (int)slot, LOG_TO_STDERR,
	    getenv("TESTSERVER_DEBUG") ? LOG_LVL_DEBUG : LOG_LVL_WARN);
	loop_init();
	opts.slot = slot;
	w.chan = imsg_chan_new(3, &handler, &w);
	w.app = app_new(o->workers > 1 ? publish : NULL, &w);
	app_set_deny(w.app, o->deny);
	app.arg = w.app;
	if (o->workers > 1)
		app.peers = (struct wire_peers){tell, &w, (unsigned int)o->workers};
	w.wire = wire_new(&opts, &app);
	wire_listen(w.wire, 4, 0, use_tls(w.wire, o) ? 0 : WIRE_CLEAR);
	imsg_send(w.chan, MSG_READY, 0, -1, NULL, 0);
	loop_run();
	wire_free(&w.wire);
	app_free(&w.app);
	imsg_chan_free(&w.chan);
	return 0;
}

/* ---- parent ---- */

struct child {
	unsigned int slot;
	pid_t pid;
	int listener;
	bool ready;
	struct imsg_chan *chan;
	ev_child watch;
};

static struct {
	char **argv;
	int workers, port;
	struct child children[WORKERS_MAX];
	uint64_t number;
	bool announced;
} parent;

static void spawn(struct child *c);

static void
say_peer(struct child *to, unsigned int slot, bool there)
{
	uint8_t up = there;

	if (to->ready && to->slot != slot)
		imsg_send(to->chan, MSG_PEER, slot, -1, &up, 1);
}

static void
ready(struct child *c)
{
	c->ready = true;
	for (int i = 0; i < parent.workers; i++) {
		say_peer(&parent.children[i], c->slot, true);
		if (parent.children[i].ready)
			say_peer(c, (unsigned int)i, true);
	}
	for (int i = 0; i < parent.workers; i++)
		if (!parent.children[i].ready)
			return;
	if (!parent.announced) {
		printf("listening 127.0.0.1:%d\n", parent.port);
		fflush(stdout);
	}
	parent.announced = true;
}

static void
from_worker(void *arg, struct imsg *m)
{
	struct child *c = arg;
	struct buf b;

	if (m->type == MSG_READY) {
		ready(c);
	} else if (m->type == MSG_TELL && m->id < (uint32_t)parent.workers) {
		if (parent.children[m->id].ready)
			imsg_send(
			    parent.children[m->id].chan, MSG_TELL, c->slot, -1, m->data, m->len);
	} else if (m->type == MSG_PUBLISH) {
		buf_init(&b);
		pack_u64(&b, ++parent.number);
		buf_append(&b, m->data, m->len);
		for (int i = 0; i < parent.workers; i++)
			if (parent.children[i].ready)
				imsg_send_buf(parent.children[i].chan, MSG_PUBLISH, 0, &b);
		buf_fini(&b);
	}
}

static void
worker_gone(void *arg)
{
	struct child *c = arg;

	c->ready = false;
	imsg_chan_free(&c->chan);
	for (int i = 0; i < parent.workers; i++)
		say_peer(&parent.children[i], c->slot, false);
}

static void
died(struct ev_loop *l, ev_child *w, int revents)
{
	struct child *c = w->data;

	(void)revents;
	ev_child_stop(l, w);
	if (c->chan)
		worker_gone(c);
	fprintf(stderr, "worker %u ended: status %d\n", c->slot, w->rstatus);
	spawn(c);
}

static void
spawn(struct child *c)
{
	static const struct imsg_handler handler = {from_worker, worker_gone};
	int pair[2];

	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) < 0)
		exit(1);
	c->pid = fork();
	if (c->pid < 0)
		exit(1);
	if (c->pid == 0) {
		char name[64];
		int listener = fcntl(c->listener, F_DUPFD, 10), chan = fcntl(pair[1], F_DUPFD, 10);

		snprintf(name, sizeof(name), "sio-testserver: worker %u", c->slot);
		parent.argv[0] = name;
		dup2(chan, 3);
		dup2(listener, 4);
		close(chan);
		close(listener);
		execv("/proc/self/exe", parent.argv);
		_exit(127);
	}
	close(pair[1]);
	c->chan = imsg_chan_new(pair[0], &handler, c);
	ev_child_init(&c->watch, died, c->pid, 0);
	c->watch.data = c;
	ev_child_start(loop_ev(), &c->watch);
}

static int
bind_listener(int port)
{
	struct sockaddr_in in = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0), on = 1;

	in.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	setsockopt(fd, SOL_SOCKET, SO_REUSEPORT, &on, sizeof(on));
	setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
	if (bind(fd, (struct sockaddr *)&in, sizeof(in)) < 0 || listen(fd, BACKLOG) < 0) {
		fprintf(stderr, "sio-testserver: port %d: %s\n", port, strerror(errno));
		exit(1);
	}
	return fd;
}

static void
stop(struct ev_loop *l, ev_signal *s, int revents)
{
	(void)l, (void)s, (void)revents;
	loop_stop();
}

static int
parent_main(const struct options *o, char **argv)
{
	struct sockaddr_in in;
	socklen_t len = sizeof(in);
	ev_signal term, interrupt;

	log_init("sio-testserver", -1, LOG_TO_STDERR, LOG_LVL_WARN);
	loop_init();
	parent.argv = argv;
	parent.workers = o->workers;
	parent.port = o->port;
	for (int i = 0; i < o->workers; i++) {
		struct child *c = &parent.children[i];

		c->slot = (unsigned int)i;
		c->listener = bind_listener(parent.port);
		if (getsockname(c->listener, (struct sockaddr *)&in, &len) == 0)
			parent.port = ntohs(in.sin_port);
	}
	for (int i = 0; i < o->workers; i++)
		spawn(&parent.children[i]);
	ev_signal_init(&term, stop, SIGTERM);
	ev_signal_start(loop_ev(), &term);
	ev_signal_init(&interrupt, stop, SIGINT);
	ev_signal_start(loop_ev(), &interrupt);
	loop_run();
	for (int i = 0; i < o->workers; i++) {
		struct child *c = &parent.children[i];

		imsg_chan_free(&c->chan); /* the worker leaves */
		waitpid(c->pid, NULL, 0);
	}
	return 0;
}

/* ---- options ---- */

static void
usage(void)
{
	fputs("usage: sio-testserver [--port N] [--workers N] [--ping-interval MS]\n"
	      "       [--ping-timeout MS] [--max-payload BYTES] [--upgrade-timeout MS]\n"
	      "       [--connect-timeout MS] [--max-connections N] [--cors] [--deny]\n"
	      "       [--tls-cert FILE --tls-key FILE]\n",
	    stderr);
	exit(2);
}

static long long
number_of(const char *text, long long max)
{
	char *end;
	long long v = strtoll(text, &end, 10);

	if (*end || end == text || v < 0 || v > max)
		usage();
	return v;
}

static void
read_options(struct options *o, int argc, char **argv)
{
	static const struct option longs[] = {{"port", 1, NULL, 'p'}, {"workers", 1, NULL, 'w'},
	    {"ping-interval", 1, NULL, 'i'}, {"ping-timeout", 1, NULL, 't'},
	    {"max-payload", 1, NULL, 'm'}, {"upgrade-timeout", 1, NULL, 'u'},
	    {"connect-timeout", 1, NULL, 'c'}, {"max-connections", 1, NULL, 'n'},
	    {"tls-cert", 1, NULL, 'e'}, {"tls-key", 1, NULL, 'k'}, {"cors", 0, NULL, 'C'},
	    {"deny", 0, NULL, 'D'}, {NULL, 0, NULL, 0}};
	int c;

	while ((c = getopt_long(argc, argv, "", longs, NULL)) != -1) {
		switch (c) {
		case 'p':
			o->port = (int)number_of(optarg, 65535);
			break;
		case 'w':
			o->workers = (int)number_of(optarg, WORKERS_MAX);
			break;
		case 'i':
			o->wire.ping_interval = number_of(optarg, 86400000);
			break;
		case 't':
			o->wire.ping_timeout = number_of(optarg, 86400000);
			break;
		case 'm':
			o->wire.max_payload = (size_t)number_of(optarg, 1 << 30);
			break;
		case 'u':
			o->wire.upgrade_timeout = number_of(optarg, 86400000);
			break;
		case 'c':
			o->wire.connect_timeout = number_of(optarg, 86400000);
			break;
		case 'n':
			o->wire.max_connections = (size_t)number_of(optarg, 1000000);
			break;
		case 'C':
			o->wire.origins = "*";
			o->wire.origins_credentials = true;
			break;
		case 'e':
			o->cert = optarg;
			break;
		case 'k':
			o->key = optarg;
			break;
		case 'D':
			o->deny = true;
			break;
		default:
			usage();
		}
	}
	if (optind != argc || o->workers < 1)
		usage();
}

int
main(int argc, char **argv)
{
	struct options o = {.workers = 1,
	    .wire = {.ping_interval = 25000,
		.ping_timeout = 20000,
		.upgrade_timeout = 10000,
		.connect_timeout = 45000,
		.max_payload = 1000000,
		.max_packets = 1000,
		.max_queue = 16 * 1024 * 1024,
		.max_url = 8192,
		.max_head = 16384,
		.max_fields = 64,
		.json_depth = 32,
		.json_keys = 10000,
		.max_attachments = SIO_ATTACHMENTS_MAX,
		.address_fd = -1,
		.max_body = 1000000,
		.head_timeout = 10000,
		.body_timeout = 20000,
		.idle_timeout = 60000,
		.write_timeout = 30000,
		.max_connections = 18000,
		.sio_path = "/socket.io/"}};
	unsigned int slot;

	read_options(&o, argc, argv);
	signal(SIGPIPE, SIG_IGN);
	if (sscanf(argv[0], "sio-testserver: worker %u", &slot) == 1)
		return worker_main(&o, slot);
	return parent_main(&o, argv);
}
