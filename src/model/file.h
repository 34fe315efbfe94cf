/* SPDX-License-Identifier: ISC */
/*
 * file: what is known about an uploaded file.  Plain data; its bytes are store/content.h's.
 *
 * A file belongs to one message, or to none yet:
 *	loose     uploaded; its owner may attach it to a message, or delete it
 *	claimed   a send that has it is under way: conversation, client_id and message are set
 *	attached  the message is in the archive
 *	doomed    its message was deleted, or nobody wanted it: its bytes are to be removed
 */
#ifndef PALAVER_MODEL_FILE_H
#define PALAVER_MODEL_FILE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "lib/buf.h"
#include "lib/id.h"

#define FILE_NAME_BYTES  255 /* UTF-8, as file systems have it */
#define FILE_TYPE_BYTES  127 /* RFC 6838, 4.2: two names of 127 at most; together is enough for all there are */
#define FILES_A_MESSAGE  10

enum file_state { FILE_LOOSE, FILE_CLAIMED, FILE_ATTACHED, FILE_DOOMED };

struct file {
	char id[ID_MAX]; /* fil_.. */
	char owner[ID_MAX];
	char name[FILE_NAME_BYTES + 1];
	char type[FILE_TYPE_BYTES + 1];
	int64_t size; /* bytes */
	int64_t created_ms;
	enum file_state state;
	char conversation[ID_MAX], message[ID_MAX]; /* "" while it is loose */
};

/* 1..FILE_NAME_BYTES bytes of UTF-8 without control characters and "/", neither "." nor "..". */
bool file_name_valid(const char *name);
/*
 * The type/subtype of a Content-Type (RFC 9110, 8.3) in lower case, without its parameters;
 * application/octet-stream for NULL or "".  false: it is none, or too long.
 */
bool file_type_parse(const char *text, char type_r[FILE_TYPE_BYTES + 1]);
/* {"id","name","type","size"}: what a message shows of it. */
void file_put_json(struct buf *b, const struct file *f);

#endif
