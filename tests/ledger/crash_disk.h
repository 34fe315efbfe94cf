/* SPDX-License-Identifier: ISC */
/*
 * crash_disk: a disk that remembers.  While it records, every write, sync, rename and removal
 * of this process below one directory goes into a trace, the calls of libraries too (the
 * functions of libc are replaced in this program).  Afterwards the trace is gone through op
 * by op, and at each op the directory can be made anew as a crash there would leave it.
 *
 * What a sync promises: that the writes that had returned before it was called are on the
 * disk when it returns; of a directory the same for its names.  Nothing else is promised:
 * writes since then are there or not, whole or in part, in units of SECTOR bytes; of the
 * changes of names since then the first few are there, and the rest not.
 *
 * Recording: any thread.  The rest: one thread.
 */
#ifndef PALAVER_TESTS_CRASH_DISK_H
#define PALAVER_TESTS_CRASH_DISK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define SECTOR 512

/* What is in root now counts as synced. */
void disk_record(const char *root);
void disk_stop(void);
/* Ops so far; while recording, those below have happened. */
size_t disk_ops(void);

/* Before the first op. */
void disk_rewind(void);
enum disk_op { DISK_WRITE, DISK_SYNC, DISK_OTHER };

/* Applies the next one; false: there is none.  *op_r says what it was. */
bool disk_step(enum disk_op *op_r);

/* splitmix64 */
uint64_t disk_random(uint64_t *state);

/*
 * The files as they are after the op that was applied last, into dir, which is emptied.
 * The return value is a checksum over all of it.
 *
 * killed: what kill -9 leaves: everything; torn: of the last write only its beginning.
 * power: what a loss of power leaves; 0 in *state: nothing that was not synced.
 */
uint32_t disk_make_killed(const char *dir, bool torn, uint64_t *state);
uint32_t disk_make_power(const char *dir, uint64_t *state);

void disk_fini(void);

#endif
