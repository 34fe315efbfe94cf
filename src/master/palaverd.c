/* SPDX-License-Identifier: ISC */
/*
 * palaverd: the program: options, the choice between master and child, and the order
 * in which the master gets ready.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sysexits.h>
#include <systemd/sd-daemon.h>
#include <unistd.h>

#include "archiver/archiver.h"
#include "hub/hub.h"
#include "lib/address.h"
#include "lib/child.h"
#include "lib/log.h"
#include "lib/loop.h"
#include "master/master.h"
#include "worker/worker.h"

#define DEFAULT_CONF SYSCONFDIR "/palaver/palaver.conf"

static const char usage[] =
    "usage: palaverd [-f] [-c FILE]   run the server\n"
    "       palaverd -t [-c FILE]     test the configuration\n"
    "       palaverd -T [-c FILE]     print the effective values and where each came from\n"
    "       palaverd -V               print version, features and library versions\n"
    "  -c FILE  configuration (" DEFAULT_CONF ")\n"
    "  -f       stay in the foreground and log to standard error\n";

struct options {
	const char *conf_path;
	bool foreground, test, dump;
};

static int
child_main(struct child *ch)
{
	if (strcmp(ch->role, "hub") == 0)
		return hub_main(ch);
	if (strcmp(ch->role, "archiver") == 0)
		return archiver_main(ch);
	return worker_main(ch);
}

static void
parse_options(struct options *o, int argc, char **argv)
{
	int c;

	o->conf_path = DEFAULT_CONF;
	while ((c = getopt(argc, argv, "c:fhtTV")) != -1) {
		switch (c) {
		case 'c':
			o->conf_path = optarg;
			break;
		case 'f':
			o->foreground = true;
			break;
		case 't':
			o->test = true;
			break;
		case 'T':
			o->dump = true;
			break;
		case 'V':
			version_print();
			exit(EX_OK);
		case 'h':
			fputs(usage, stdout);
			exit(EX_OK);
		default:
			fputs(usage, stderr);
			exit(EX_USAGE);
		}
	}
	if (optind < argc) {
		fprintf(stderr, "palaverd: unexpected argument: %s\n%s", argv[optind], usage);
		exit(EX_USAGE);
	}
}

/* The file that HUP reads again must not depend on the working directory. */
static struct conf *
load_conf(const struct options *o, char **path_r)
{
	char *error;
	struct conf *c = conf_load(o->conf_path, &error);

	if (!c) {
		fprintf(stderr, "palaverd: %s\n", error);
		exit(EX_CONFIG);
	}
	*path_r = realpath(o->conf_path, NULL);
	return c;
}

static int
test_only(const struct options *o, const struct conf *c)
{
	struct certificate certs[CONF_LISTEN_MAX];
	struct key_set keys;
	char *error;
	int status;

	if (*c->accounts_key_file) {
		if (keys_load(c->accounts_key_file, &keys, &error)) {
			fprintf(stderr, "palaverd: accounts.key_file: %s\n", error);
			return EX_NOPERM;
		}
		explicit_bzero(&keys, sizeof(keys));
	}
	status = certs_load(c, certs, &error);
	if (status) {
		fprintf(stderr, "palaverd: %s\n", error);
		return status;
	}
	certs_free(certs);
	if (o->dump)
		conf_dump(c, stdout);
	else
		printf("%s: the configuration is fine\n", o->conf_path);
	return EX_OK;
}

static bool
log_to_syslog(const struct master *m)
{
	const char *target = m->conf->log_target;

	if (strcmp(target, "auto") == 0)
		return !m->foreground && !getenv("JOURNAL_STREAM");
	return strcmp(target, "syslog") == 0;
}

static void
master_prepare(struct master *m)
{
	long cores = sysconf(_SC_NPROCESSORS_ONLN);

	m->started_ms = clock_mono_ms();
	m->workers = (unsigned int)m->conf->workers;
	if (!m->workers)
		m->workers = cores < 1             ? 1
			     : cores > WORKERS_MAX ? WORKERS_MAX
						   : (unsigned int)cores;
	m->to_syslog = log_to_syslog(m);
	/* Until the tree is ready errors go to standard error, whatever the target. */
	log_init("master", -1, LOG_TO_STDERR, (enum log_level)log_level_parse(m->conf->log_level));
}

int
main(int argc, char **argv)
{
	struct master m = {.lock_fd = -1, .pid_fd = -1, .ready_fd = -1};
	struct options o = {0};
	struct child ch;
	int status;

	if (child_init(&ch, argc, argv))
		return child_main(&ch);
	parse_options(&o, argc, argv);
	m.conf = load_conf(&o, &m.conf_path);
	if (o.test || o.dump)
		return test_only(&o, m.conf);
	m.foreground = o.foreground || getenv("NOTIFY_SOCKET");
	if (!m.foreground)
		setup_daemon(&m);
	master_prepare(&m);
	/* What may need root, and what may be refused without having changed anything. */
	setup_given_keys(&m);
	setup_certificates(&m);
	listener_open_all(&m);
	setup_privileges(&m);
	setup_directories(&m);
	setup_lock(&m);
	setup_pid_file(&m);
	setup_own_keys(&m);
	setup_limits(&m);
	setup_addresses(&m);
	if (m.to_syslog)
		log_init("master", -1, LOG_TO_SYSLOG,
		    (enum log_level)log_level_parse(m.conf->log_level));
	loop_init();
	proc_init_all(&m);
	control_open(&m);
	status = master_run(&m);
	free(m.listeners);
	free(m.pid_path);
	free(m.conf_path);
	certs_free(m.certificates);
	address_table_close(&m.address_counts);
	conf_free(&m.conf);
	return status;
}
