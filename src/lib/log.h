/* SPDX-License-Identifier: ISC */
/*
 * log: one line an event: an event word, then fields.
 *
 *	log_info("worker.ready", "slot=%u listeners=%u", slot, n);
 *
 * The event is module.word; fields are key=value, text that may hold blanks is
 * quoted with log_quote().  Process, slot and pid are added by the log itself.
 * Never log passwords, tokens or message bodies.  Any thread may log.
 */
#ifndef PALAVER_LIB_LOG_H
#define PALAVER_LIB_LOG_H

#include <stdbool.h>

enum log_level { LOG_LVL_ERROR, LOG_LVL_WARN, LOG_LVL_INFO, LOG_LVL_DEBUG };

enum log_target {
	LOG_TO_STDERR,  /* with time stamps, or <N> priorities under journald */
	LOG_TO_SYSLOG
};

/* proc: "master", "worker"; slot < 0: none.  Both are borrowed for good. */
void log_init(const char *proc, int slot, enum log_target target, enum log_level level);
void log_set_level(enum log_level level);
/* Sends the log to a file descriptor instead (tests); -1 returns to stderr. */
void log_set_fd(int fd);
bool log_enabled(enum log_level level);
/* "error", "warn", "info", "debug" to a level; < 0: unknown word. */
int log_level_parse(const char *word);

void log_msg(enum log_level level, const char *event, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));

#define log_error(event, ...) log_msg(LOG_LVL_ERROR, event, __VA_ARGS__)
#define log_warn(event, ...)  log_msg(LOG_LVL_WARN, event, __VA_ARGS__)
#define log_info(event, ...)  log_msg(LOG_LVL_INFO, event, __VA_ARGS__)
#define log_debug(event, ...)                                                                      \
	do {                                                                                       \
		if (log_enabled(LOG_LVL_DEBUG))                                                    \
			log_msg(LOG_LVL_DEBUG, event, __VA_ARGS__);                                \
	} while (0)

/*
 * What makes starting or going on impossible: logs at level error and exits
 * with the sysexits code.  The text says what to do.
 */
void fatal(int sysexit, const char *event, const char *fmt, ...)
    __attribute__((format(printf, 3, 4), noreturn));

/*
 * s in quotes with control characters, quotes and backslashes escaped, cut at
 * 200 bytes; valid until the eighth next call in the same thread.
 */
const char *log_quote(const char *s);

#endif
