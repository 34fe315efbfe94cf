/* SPDX-License-Identifier: ISC */
/*
 * master: the process that owns the tree: configuration, listeners, children, control
 * socket.  It touches no client data and opens no back end.
 */
#ifndef PALAVER_MASTER_MASTER_H
#define PALAVER_MASTER_MASTER_H

#include <ev.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "lib/buf.h"
#include "lib/conf.h"
#include "lib/ctlsock.h"
#include "lib/imsg.h"
#include "lib/keys.h"

#define WORKERS_MAX 63

enum proc_role { PROC_HUB, PROC_ARCHIVER, PROC_WORKER };
enum proc_state { PROC_DOWN, PROC_STARTING, PROC_READY, PROC_DRAINING };

struct master;

/* One place in the tree; the process in it changes, the generation counts them. */
struct proc {
	struct master *master;
	enum proc_role role;
	unsigned int slot; /* of workers */
	pid_t pid;         /* 0: none */
	unsigned int generation;
	enum proc_state state;
	bool was_ready; /* ever */
	unsigned int restarts;
	int64_t started_ms; /* monotonic */
	int64_t backoff_ms; /* before the next start */
	ev_timer restart;
	ev_child watch;
	struct imsg_chan *chan;
	uint32_t keys_serial;    /* what it has said to have */
	struct proc *served_by; /* a neighbour that has this slot's listeners */
};

/* Listening sockets of one worker slot, one a listen section; kept for good. */
struct listener {
	int fds[CONF_LISTEN_MAX];
};

struct certificate { /* of one listen section; empty: no TLS */
	struct buf chain, key;
};

struct master {
	struct conf *conf;
	char *conf_path;
	bool foreground;
	bool to_syslog;
	int64_t started_ms; /* monotonic */
	unsigned int workers;
	struct proc *procs; /* hub, archiver, workers */
	size_t proc_count;
	struct listener *listeners;          /* one a worker slot */
	char addresses[CONF_LISTEN_MAX][80]; /* "127.0.0.1:8080", as bound */
	struct key_set keys;   /* of access tokens; the rest of them is keys.c's */
	uint32_t keys_serial;  /* counts what was sent to workers */
	bool keys_pending;     /* not all workers have the new ones */
	ev_timer keys_timeout;
	struct ctlsock_peer *keys_peer; /* waits for it; NULL */
	struct certificate certificates[CONF_LISTEN_MAX];
	uint8_t ticket_key[80]; /* TLS_TICKET_KEY */
	int addresses_fd;       /* memory for limits per address */
	struct address_table *address_counts;
	struct ctlsock *control;
	struct control_call *calls; /* forwarded to a worker, not answered yet */
	int lock_fd, pid_fd;
	char *pid_path;
	int ready_fd; /* daemon mode: the waiting parent reads a byte here; -1 */
	bool announced, stopping;
	int exit_status;
	ev_signal sig_term, sig_int, sig_hup;
	ev_timer drain;
};

/* setup.c: everything that may fail before the tree is started; ends the process with a hint. */
void setup_privileges(struct master *m);
void setup_directories(struct master *m);
void setup_lock(struct master *m);
void setup_pid_file(struct master *m);
void setup_limits(struct master *m);
void setup_addresses(struct master *m);
/* The parent waits for the tree and exits; returns in the daemon. */
void setup_daemon(struct master *m);
void setup_report(struct master *m, int status); /* tells the waiting parent */

/* listener.c */
void listener_open_all(struct master *m);

/* certs.c */
/* Reads and checks all; 0, or an exit status and *error_r "listen.key: path: what is wrong". */
int certs_load(const struct conf *c, struct certificate certs[CONF_LISTEN_MAX], char **error_r);
void certs_free(struct certificate certs[CONF_LISTEN_MAX]);
void setup_certificates(struct master *m);
/* On a reload: new contents of the files; errors is added to: of those that keep the old. */
void certs_reload(struct master *m, struct buf *errors);

/* keys.c */
/* The administrator's keys: read before privileges are dropped, the file may be root's. */
void setup_given_keys(struct master *m);
void setup_own_keys(struct master *m); /* or our own, made at the first start */
/* 0, or -1 with *error_r "path: what is wrong" (caller frees). */
int keys_load(const char *path, struct key_set *set, char **error_r);
void keys_send(struct proc *p);
void keys_taken(struct proc *p, uint32_t serial);
void keys_worker_gone(struct master *m);
void keys_rotate_now(struct master *m, struct ctlsock_peer *peer); /* answers later */
void keys_list(struct master *m, struct ctlsock_peer *peer);
/* On a reload: what accounts.key_file has now; errors is added to. */
void keys_reload(struct master *m, struct buf *errors);

/* proc.c */
void proc_init_all(struct master *m);
void proc_start_all(struct master *m);
void proc_drain_role(struct master *m, enum proc_role role);
void proc_kill_all(struct master *m, int sig);
bool proc_role_gone(const struct master *m, enum proc_role role);
const char *proc_role_name(enum proc_role role);
const char *proc_state_name(enum proc_state state);
void proc_reload_all(struct master *m);
bool proc_can_be_asked(const struct proc *p);     /* a worker that answers palaverctl */
struct proc *proc_any_worker(struct master *m); /* the lowest that is ready; NULL */

/* master.c */
int master_run(struct master *m); /* returns the exit status */
void master_child_ready(struct master *m, struct proc *p);
void master_child_gone(struct master *m, struct proc *p, int status);
/*
 * Reads the configuration again.  0, or -1 with *text_r; also set to what wants a restart.
 * *errors_r: of files whose old contents stay, or NULL.
 */
int master_reload(struct master *m, char **text_r, char **errors_r);
void master_stop(struct master *m);

/* control.c */
void control_open(struct master *m);
void control_reply_error(struct ctlsock_peer *peer, const char *code, const char *text, int status);
void control_reply_data(struct ctlsock_peer *peer, struct buf *data); /* a JSON object */
void control_reply_from_worker(struct master *m, const struct imsg *msg);
void control_worker_gone(struct master *m, const struct proc *p);
void control_close(struct master *m);

/* version.c */
void version_print(void);

#endif
