/* SPDX-License-Identifier: ISC */
/*
 * child: start of every child process.  Loop thread.
 *
 * The role is argv[0]: "palaverd: worker 2", "palaverd: hub".  That is the process
 * title, too; the command's short name (comm) is set to match, for top and pkill.
 */
#include "lib/child.h"

#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sysexits.h>
#include <unistd.h>

#include "lib/log.h"
#include "lib/loop.h"

#define TITLE "palaverd: "

/* Whoever started the daemon may wait for the end of its standard error. */
static void
leave_terminal(void)
{
	int null = open("/dev/null", O_RDWR | O_CLOEXEC);

	dup2(null, STDERR_FILENO);
	close(null);
}

/*
 * The first message is read before there is a channel: what follows it then finds the
 * role's own handler in place.
 */
static void
read_conf(struct child *ch)
{
	struct unpack u;
	struct buf b;
	char *target;

	buf_init(&b);
	if (imsg_read_first(CHILD_FD, CHAN_CONF, &b) < 0)
		fatal(
		    EX_UNAVAILABLE, "child.no_conf", "the master is gone or sent no configuration");
	unpack_init(&u, b.data, b.len);
	ch->slot = unpack_u32(&u);
	ch->workers = unpack_u32(&u);
	target = unpack_str(&u);
	ch->conf = conf_unpack(&u);
	if (!ch->conf || !unpack_end(&u))
		fatal(EX_PROTOCOL, "child.bad_conf", "the master sent no valid configuration");
	log_init(ch->role, strcmp(ch->role, "worker") == 0 ? (int)ch->slot : -1,
	    strcmp(target, "syslog") == 0 ? LOG_TO_SYSLOG : LOG_TO_STDERR,
	    (enum log_level)log_level_parse(ch->conf->log_level));
	if (strcmp(target, "syslog") == 0)
		leave_terminal();
	free(target);
	buf_fini(&b);
}

static void
take_reload(struct child *ch, const struct imsg *m)
{
	struct unpack u;
	struct conf *fresh;

	unpack_init(&u, m->data, m->len);
	fresh = conf_unpack(&u);
	if (!fresh) {
		log_error("child.bad_reload", "the old configuration stays");
		return;
	}
	conf_free(&ch->conf);
	ch->conf = fresh;
	log_set_level((enum log_level)log_level_parse(fresh->log_level));
	if (ch->reloaded)
		ch->reloaded(ch);
}

static void
on_message(void *arg, struct imsg *m)
{
	struct child *ch = arg;

	if (m->type == CHAN_RELOAD)
		take_reload(ch, m);
	else
		ch->message(ch, m);
}

/*
 * The master is gone: so is everything that would restart, reload or stop this
 * process.  What was accepted is in the spool.
 */
static void
on_closed(void *arg)
{
	log_warn("child.orphaned", "the master is gone");
	_exit(EX_UNAVAILABLE);
}

static const struct imsg_handler handler = {on_message, on_closed};

static bool
read_role(struct child *ch, const char *title)
{
	static const char *const roles[] = {"worker", "archiver", "hub"};

	if (strncmp(title, TITLE, sizeof(TITLE) - 1) != 0)
		return false;
	title += sizeof(TITLE) - 1;
	for (size_t i = 0; i < sizeof(roles) / sizeof(*roles); i++) {
		if (strncmp(title, roles[i], strlen(roles[i])) == 0) {
			ch->role = roles[i];
			return true;
		}
	}
	return false;
}

static void
set_signals(void)
{
	signal(SIGTERM, SIG_IGN);
	signal(SIGINT, SIG_IGN);
	signal(SIGHUP, SIG_IGN);
	signal(SIGUSR2, SIG_IGN);
	signal(SIGPIPE, SIG_IGN);
}

bool
child_init(struct child *ch, int argc, char **argv)
{
	char comm[16];

	memset(ch, 0, sizeof(*ch));
	if (argc != 1 || !read_role(ch, argv[0]))
		return false;
	log_init(ch->role, -1, LOG_TO_STDERR, LOG_LVL_INFO);
	set_signals();
	prctl(PR_SET_DUMPABLE, 0);
	snprintf(comm, sizeof(comm), "palaver-%s", ch->role);
	prctl(PR_SET_NAME, comm);
	loop_init();
	read_conf(ch);
	ch->chan = imsg_chan_new(CHILD_FD, &handler, ch);
	return true;
}

void
child_ready(struct child *ch)
{
	imsg_send(ch->chan, CHAN_READY, 0, -1, NULL, 0);
}

int
child_run(struct child *ch)
{
	loop_run();
	imsg_flush(ch->chan, 1000);
	imsg_chan_free(&ch->chan);
	conf_free(&ch->conf);
	return 0;
}
