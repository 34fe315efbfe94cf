/* SPDX-License-Identifier: ISC */
/*
 * load_auth: the CONNECT packets of clients that log in, made once for each token.
 *
 * A token is put between quotes as it is, so what JSON would want escaped is refused.
 */
#include "load.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct auth {
	char **packets;
	uint32_t n;
};

static char *
make_packet(const char *token)
{
	char *packet;

	for (const char *t = token; *t != '\0'; t++)
		if (*t <= ' ' || *t > '~' || *t == '"' || *t == '\\')
			load_die("not a token: %s", token);
	if (asprintf(&packet, "40{\"token\":\"%s\"}", token) < 0)
		load_die("out of memory");
	return packet;
}

static void
add_packet(struct auth *a, char *packet)
{
	a->packets = realloc(a->packets, (a->n + 1) * sizeof *a->packets);
	if (a->packets == NULL)
		load_die("out of memory");
	a->packets[a->n++] = packet;
}

struct auth *
auth_read(const char *path)
{
	struct auth *a = calloc(1, sizeof *a);
	FILE *f = fopen(path, "r");
	char *line = NULL;
	size_t size = 0;

	if (a == NULL)
		load_die("out of memory");
	if (f == NULL)
		load_die("%s: %s", path, strerror(errno));
	while (getline(&line, &size, f) > 0) {
		line[strcspn(line, "\n")] = '\0';
		add_packet(a, make_packet(line));
	}
	if (ferror(f) || a->n == 0)
		load_die("%s: no tokens", path);
	free(line);
	fclose(f);
	return a;
}

const char *
auth_packet(const struct auth *a, uint32_t index)
{
	return a->packets[index % a->n];
}

void
auth_free(struct auth **ap)
{
	struct auth *a = *ap;

	*ap = NULL;
	if (a == NULL)
		return;
	for (uint32_t i = 0; i < a->n; i++)
		free(a->packets[i]);
	free(a->packets);
	free(a);
}
