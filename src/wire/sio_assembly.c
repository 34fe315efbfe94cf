/* SPDX-License-Identifier: ISC */
/*
 * sio_assembly: a binary packet that waits for its attachments.  Loop thread.
 */
#include <stdlib.h>
#include <string.h>

#include "wire/sio_int.h"

void
sio_assembly_free(struct sio_assembly **ap)
{
	struct sio_assembly *a = *ap;

	*ap = NULL;
	if (!a)
		return;
	for (unsigned int i = 0; i < a->count; i++)
		free((void *)a->attachments[i].data);
	free(a->text);
	free(a);
}

struct sio_assembly *
sio_assembly_new(const char *text, size_t len)
{
	struct sio_assembly *a = xcalloc(1, sizeof(*a));

	a->text = xmalloc(len);
	memcpy(a->text, text, len);
	a->len = len;
	return a;
}

void
sio_assembly_add(struct sio_assembly *a, const void *data, size_t len)
{
	uint8_t *copy = xmalloc(len);

	if (len)
		memcpy(copy, data, len);
	a->size += len;
	a->attachments[a->count++] = (struct sio_attachment){copy, len};
}
