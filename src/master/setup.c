/* SPDX-License-Identifier: ISC */
/*
 * setup: what must be right before the tree starts.  Master process, before the loop.
 * Every failure ends the process with one line that says what to do.
 *
 * The lock on state_dir is an flock whose descriptor all children inherit: it is held
 * until the last of them is gone, so a master that was killed cannot be succeeded
 * while its workers still write.
 */
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <pwd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/file.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <sysexits.h>
#include <time.h>
#include <unistd.h>

#include "lib/address.h"
#include "lib/id.h"
#include "lib/log.h"
#include "lib/loop.h"
#include "master/master.h"

#define LOCK_WAIT_MS  5000
#define LOCK_CHECK_MS 50
#define FD_RESERVE    200

/* Creates the directory for the target user if it is missing. */
static void
make_directory(const char *what, const char *path, mode_t mode, uid_t uid, gid_t gid)
{
	struct stat st;

	if (mkdir(path, mode) == 0) {
		if (geteuid() == 0 && chown(path, uid, gid) < 0)
			fatal(EX_CANTCREAT, "setup.chown", "%s=%s err=%s", what, path,
			    strerror(errno));
		return;
	}
	if (errno != EEXIST)
		fatal(EX_CANTCREAT, "setup.no_directory",
		    "%s=%s err=%s; create it: install -d -o %u %s", what, path, strerror(errno),
		    uid, path);
	if (stat(path, &st) < 0 || !S_ISDIR(st.st_mode))
		fatal(EX_CANTCREAT, "setup.no_directory", "%s=%s is not a directory", what, path);
}

static void
check_writable(const char *what, const char *path)
{
	struct passwd *pw;
	char *name;
	int err;

	if (access(path, W_OK | X_OK) == 0)
		return;
	err = errno;
	pw = getpwuid(geteuid());
	name = pw ? xstrdup(pw->pw_name) : xasprintf("%u", geteuid());
	fatal(EX_CANTCREAT, "setup.not_writable",
	    "%s=%s is not writable for user %s: %s; run: chown %s %s", what, path, name,
	    strerror(err), name, path);
}

static struct passwd *
target_user(const struct conf *c)
{
	struct passwd *pw;

	if (geteuid() != 0 || !*c->user)
		return NULL;
	pw = getpwnam(c->user);
	if (!pw)
		fatal(EX_NOUSER, "setup.no_user",
		    "user=%s does not exist (%s); create it: useradd --system %s, or set user in "
		    "the "
		    "configuration",
		    c->user, c->origins[0], c->user);
	return pw;
}

/* Creates the directories as root, becomes the user, and keeps no way back. */
void
setup_privileges(struct master *m)
{
	const struct conf *c = m->conf;
	struct passwd *pw = target_user(c);
	struct group *gr = NULL;
	gid_t gid;

	umask(077);
	prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
	if (!pw) {
		make_directory("state_dir", c->state_dir, 0700, geteuid(), getegid());
		make_directory("run_dir", c->run_dir, 0755, geteuid(), getegid());
		return;
	}
	if (*c->group && !(gr = getgrnam(c->group)))
		fatal(EX_NOUSER, "setup.no_group",
		    "group=%s does not exist; create it: groupadd %s", c->group, c->group);
	gid = gr ? gr->gr_gid : pw->pw_gid;
	make_directory("state_dir", c->state_dir, 0700, pw->pw_uid, gid);
	make_directory("run_dir", c->run_dir, 0755, pw->pw_uid, gid);
	if (initgroups(c->user, gid) < 0 || setgid(gid) < 0 || setuid(pw->pw_uid) < 0)
		fatal(EX_OSERR, "setup.privileges", "user=%s err=%s", c->user, strerror(errno));
}

void
setup_directories(struct master *m)
{
	char *spool = xasprintf("%s/spool", m->conf->state_dir);

	check_writable("state_dir", m->conf->state_dir);
	check_writable("run_dir", m->conf->run_dir);
	if (mkdir(spool, 0700) < 0 && errno != EEXIST)
		fatal(EX_CANTCREAT, "setup.no_spool", "dir=%s err=%s", spool, strerror(errno));
	free(spool);
}

static long
pid_in(int fd)
{
	char text[32] = "";

	if (pread(fd, text, sizeof(text) - 1, 0) <= 0)
		return 0;
	return atol(text);
}

static void
write_pid(int fd)
{
	char text[32];
	int n = snprintf(text, sizeof(text), "%ld\n", (long)getpid());

	if (ftruncate(fd, 0) < 0 || pwrite(fd, text, (size_t)n, 0) != n)
		log_warn("setup.pid_not_written", "err=%s", strerror(errno));
}

/* A lock is waited for a little: the children of a master that was killed are just leaving. */
static bool
lock_file(int fd)
{
	int64_t until = clock_mono_ms() + LOCK_WAIT_MS;

	while (flock(fd, LOCK_EX | LOCK_NB) < 0) {
		struct timespec ts = {0, LOCK_CHECK_MS * 1000000L};

		if (errno != EWOULDBLOCK || clock_mono_ms() > until)
			return false;
		nanosleep(&ts, NULL);
	}
	return true;
}

void
setup_lock(struct master *m)
{
	char *path = xasprintf("%s/palaverd.lock", m->conf->state_dir);

	m->lock_fd = open(path, O_RDWR | O_CREAT, 0600); /* not close-on-exec: see above */
	if (m->lock_fd < 0)
		fatal(EX_CANTCREAT, "setup.no_lock", "file=%s err=%s", path, strerror(errno));
	if (!lock_file(m->lock_fd))
		fatal(EX_TEMPFAIL, "setup.locked",
		    "another palaverd (pid %ld) uses state_dir %s; stop it first: palaverctl "
		    "shutdown",
		    pid_in(m->lock_fd), m->conf->state_dir);
	write_pid(m->lock_fd);
	free(path);
}

void
setup_pid_file(struct master *m)
{
	m->pid_path = xasprintf("%s/palaverd.pid", m->conf->run_dir);
	m->pid_fd = open(m->pid_path, O_RDWR | O_CREAT | O_CLOEXEC, 0644);
	if (m->pid_fd < 0)
		fatal(EX_CANTCREAT, "setup.no_pid_file", "file=%s err=%s", m->pid_path,
		    strerror(errno));
	if (flock(m->pid_fd, LOCK_EX | LOCK_NB) < 0)
		fatal(EX_TEMPFAIL, "setup.locked",
		    "another palaverd (pid %ld) uses run_dir %s; stop it first, or set another "
		    "run_dir",
		    pid_in(m->pid_fd), m->conf->run_dir);
	write_pid(m->pid_fd);
}

/*
 * As many descriptors as a worker needs and no more: libwebsockets walks a table as
 * long as the limit.
 */
void
setup_limits(struct master *m)
{
	rlim_t want = (rlim_t)m->conf->http_max_connections + FD_RESERVE;
	struct rlimit rl;

	if (getrlimit(RLIMIT_NOFILE, &rl) < 0)
		return;
	if (rl.rlim_max < want) {
		log_warn("setup.few_descriptors",
		    "limit=%llu wanted=%llu; raise LimitNOFILE or lower http.max_connections",
		    (unsigned long long)rl.rlim_max, (unsigned long long)want);
		want = rl.rlim_max;
	}
	rl.rlim_cur = want;
	if (setrlimit(RLIMIT_NOFILE, &rl) < 0)
		log_warn("setup.limits", "err=%s", strerror(errno));
}

/* ---- daemon ---- */

/* However the daemon ends before it is ready, the waiting parent learns the status. */
static void
report_exit(int status, void *m)
{
	setup_report(m, status);
}

void
setup_daemon(struct master *m)
{
	int fds[2], null;
	char status = EX_SOFTWARE;
	pid_t pid;

	if (pipe2(fds, O_CLOEXEC) < 0 || (pid = fork()) < 0)
		fatal(EX_OSERR, "setup.no_fork", "err=%s", strerror(errno));
	if (pid > 0) { /* errors were written to the terminal by the daemon itself */
		close(fds[1]);
		waitpid(pid, NULL, 0); /* the one in the middle */
		if (read(fds[0], &status, 1) < 0)
			status = EX_OSERR;
		_exit(status);
	}
	close(fds[0]);
	m->ready_fd = fds[1];
	on_exit(report_exit, m);
	setsid();
	pid = fork();
	if (pid < 0)
		fatal(EX_OSERR, "setup.no_fork", "err=%s", strerror(errno));
	if (pid > 0)
		_exit(0);
	if (chdir("/") < 0)
		log_warn("setup.chdir", "err=%s", strerror(errno));
	null = open("/dev/null", O_RDWR | O_CLOEXEC);
	dup2(null, STDIN_FILENO);
	dup2(null, STDOUT_FILENO);
}

/* Also lets go of the terminal, which until now took the errors. */
void
setup_report(struct master *m, int status)
{
	char byte = (char)status;
	int null;

	if (m->ready_fd < 0)
		return;
	if (status && m->procs && m->to_syslog) /* else the reason stands above */
		dprintf(STDERR_FILENO, "palaverd: did not start; the system log says why\n");
	if (write(m->ready_fd, &byte, 1) < 0)
		log_warn("setup.report", "err=%s", strerror(errno));
	close(m->ready_fd);
	m->ready_fd = -1;
	if (!m->to_syslog)
		return;
	null = open("/dev/null", O_RDWR | O_CLOEXEC);
	dup2(null, STDERR_FILENO);
	close(null);
}

/* Memory that the workers share, see lib/address.h. */
void
setup_addresses(struct master *m)
{
	m->addresses_fd = memfd_create("palaver-addresses", MFD_CLOEXEC);
	if (m->addresses_fd < 0 || ftruncate(m->addresses_fd, (off_t)address_table_size()) < 0)
		fatal(EX_OSERR, "setup.no_memory", "shared memory: %s", strerror(errno));
	m->address_counts = address_table_open(m->addresses_fd, 0);
}
