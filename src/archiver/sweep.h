/* SPDX-License-Identifier: ISC */
/*
 * sweep: removes the bytes of uploaded files that nobody wants, and then what the store
 * knows of them.  Archiver process, loop thread.
 */
#ifndef PALAVER_ARCHIVER_SWEEP_H
#define PALAVER_ARCHIVER_SWEEP_H

#include <stdint.h>

#include "lib/child.h"
#include "store/store.h"

struct sweep;

/* Both are borrowed; the first round is soon. */
struct sweep *sweep_new(const struct child *ch, struct store *store);
/* Before the store is closed, after which no request comes back any more. */
void sweep_free(struct sweep **s);
void sweep_soon(struct sweep *s);     /* files have been doomed: within a second */
void sweep_reloaded(struct sweep *s); /* the child has another configuration */
/* At mono_ms the journal had no event that the store had not. */
void sweep_caught_up(struct sweep *s, int64_t mono_ms);

#endif
