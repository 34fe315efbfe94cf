/* SPDX-License-Identifier: ISC */
/*
 * log: formats a line and gives it to stderr or syslog in one call.  Any process;
 * any thread (one write(2) a line, so lines do not mix).
 *
 * On stderr a line is "2026-11-24T09:28:35.123Z warn worker/2 event fields".  When
 * stderr is systemd's journal ($JOURNAL_STREAM names it) time and level are left
 * out and "<4>" stands in front, which the journal takes for the priority.
 */
#include "lib/log.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <syslog.h>
#include <unistd.h>

#include "lib/clock.h"
#include "lib/loop.h"

#define LINE_MAX_BYTES 2048
#define QUOTE_MAX      200
#define QUOTE_RING     8

static struct {
	const char *proc;
	int slot;
	enum log_target target;
	enum log_level level;
	int fd;
	bool journal;
} logger = {"palaver", -1, LOG_TO_STDERR, LOG_LVL_INFO, STDERR_FILENO, false};

static const char *const level_names[] = {"error", "warn", "info", "debug"};
static const int level_syslog[] = {LOG_ERR, LOG_WARNING, LOG_INFO, LOG_DEBUG};

/* $JOURNAL_STREAM is "device:inode" of the stderr that systemd made (systemd.exec(5)). */
static bool
stderr_is_journal(void)
{
	const char *stream = getenv("JOURNAL_STREAM");
	unsigned long long dev, ino;
	struct stat st;

	if (!stream || sscanf(stream, "%llu:%llu", &dev, &ino) != 2)
		return false;
	return fstat(STDERR_FILENO, &st) == 0 && st.st_dev == dev && st.st_ino == ino;
}

void
log_init(const char *proc, int slot, enum log_target target, enum log_level level)
{
	logger.proc = proc;
	logger.slot = slot;
	logger.target = target;
	logger.level = level;
	logger.journal = target == LOG_TO_STDERR && stderr_is_journal();
	if (target == LOG_TO_SYSLOG)
		openlog("palaverd", LOG_PID | LOG_NDELAY, LOG_DAEMON);
}

void
log_set_level(enum log_level level)
{
	logger.level = level;
}

void
log_set_fd(int fd)
{
	logger.fd = fd < 0 ? STDERR_FILENO : fd;
}

bool
log_enabled(enum log_level level)
{
	return level <= logger.level;
}

int
log_level_parse(const char *word)
{
	for (size_t i = 0; i < sizeof(level_names) / sizeof(*level_names); i++)
		if (strcmp(word, level_names[i]) == 0)
			return (int)i;
	return -1;
}

static int
line_head(char *line, size_t size, enum log_level level, const char *event)
{
	char when[CLOCK_TEXT_MAX], proc[64];

	if (logger.slot >= 0)
		snprintf(proc, sizeof(proc), "%s/%d", logger.proc, logger.slot);
	else
		snprintf(proc, sizeof(proc), "%s", logger.proc);
	if (logger.target == LOG_TO_SYSLOG)
		return snprintf(line, size, "%s %s ", proc, event);
	if (logger.journal)
		return snprintf(line, size, "<%d>%s %s ", level_syslog[level], proc, event);
	clock_format(clock_wall_ms(), when);
	return snprintf(
	    line, size, "%s %s %s[%d] %s ", when, level_names[level], proc, (int)getpid(), event);
}

__attribute__((format(printf, 3, 0))) static void
log_vmsg(enum log_level level, const char *event, const char *fmt, va_list ap)
{
	char line[LINE_MAX_BYTES];
	size_t len, room;
	int n;

	len = (size_t)line_head(line, sizeof(line) - 1, level, event);
	room = sizeof(line) - 1 - len;
	n = vsnprintf(line + len, room, fmt, ap);
	if (n > 0)
		len += (size_t)n < room ? (size_t)n : room - 1;
	for (size_t i = 0; i < len; i++)
		if ((unsigned char)line[i] < 0x20)
			line[i] = ' ';
	if (logger.target == LOG_TO_SYSLOG) {
		syslog(level_syslog[level], "%.*s", (int)len, line);
		return;
	}
	line[len++] = '\n';
	if (write(logger.fd, line, len) < 0) {
		/* Nowhere to say it. */
	}
}

void
log_msg(enum log_level level, const char *event, const char *fmt, ...)
{
	va_list ap;

	if (!log_enabled(level))
		return;
	va_start(ap, fmt);
	log_vmsg(level, event, fmt, ap);
	va_end(ap);
}

void
fatal(int sysexit, const char *event, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	log_vmsg(LOG_LVL_ERROR, event, fmt, ap);
	va_end(ap);
	exit(sysexit);
}

const char *
log_quote(const char *s)
{
	static _Thread_local char ring[QUOTE_RING][QUOTE_MAX + 8];
	static _Thread_local unsigned int next;
	char *out = ring[next++ % QUOTE_RING];
	size_t n = 0;

	out[n++] = '"';
	for (; *s && n < QUOTE_MAX; s++) {
		unsigned char c = (unsigned char)*s;

		if (c == '"' || c == '\\')
			out[n++] = '\\';
		out[n++] = c < 0x20 || c == 0x7f ? '?' : (char)c;
	}
	if (*s) {
		memcpy(out + n, "...", 3);
		n += 3;
	}
	out[n++] = '"';
	out[n] = '\0';
	return out;
}
