/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A disk in memory for SQLite, which fails, and which a crash leaves as a real one would: what was
 * written since the last sync may be there, or not, or partly, in any order; and the blocks of flash
 * that a torn write touched hold rubbish, also where something else was before.
 */
#ifndef SENNET_TESTS_UNIT_FAULT_VFS_H
#define SENNET_TESTS_UNIT_FAULT_VFS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/rng.h"

enum fault_call { FAULT_READ, FAULT_WRITE, FAULT_SYNC, FAULT_TRUNCATE, FAULT_DELETE, FAULT_OPEN };

enum fault_crash {
    FAULT_KILLED,    /* the process: all that was written stays */
    FAULT_POWER_CUT, /* only what was synced is sure */
};

struct fault_disk;

/* Registers a VFS of that name, which must live as long as the disk. Directories are ignored. */
struct fault_disk *fault_disk_new(const char *name);
/* Nothing may be open on it. */
void fault_disk_free(struct fault_disk *d);

/* Called before each call that changes something (all but FAULT_READ and FAULT_OPEN), with the name
 * of the file, without any lock of the disk's. */
void fault_disk_hook(struct fault_disk *d,
                     void (*hook)(void *arg, enum fault_call call, const char *file), void *arg);

/* What a crash at this moment may leave, as another disk (that can't crash again). */
struct fault_disk *fault_disk_crash(struct fault_disk *d, const char *name, enum fault_crash how,
                                    struct rng *rng);

/* From the call of number `first` (from now on, 1: the next) on, `n` calls of the kinds in `mask`
 * (1 << enum fault_call) fail with that code of SQLite. */
void fault_disk_fail(struct fault_disk *d, unsigned mask, uint64_t first, uint64_t n, int rc);
void fault_disk_heal(struct fault_disk *d);
/* How many have failed since fault_disk_fail(). */
uint64_t fault_disk_failed(struct fault_disk *d);

/* Octets that all files together may have; SQLITE_FULL beyond. */
void fault_disk_capacity(struct fault_disk *d, size_t bytes);
/* Each sync takes so long. */
void fault_disk_sync_ms(struct fault_disk *d, unsigned ms);

/* All files are gone; what is open reads as empty. */
void fault_disk_wipe(struct fault_disk *d);

struct fault_figures {
    uint64_t writes;
    uint64_t written; /* octets */
    uint64_t syncs;
    size_t bytes; /* of all files */
};

struct fault_figures fault_disk_figures(struct fault_disk *d);

/* Direct access to a file, for spoiling it; NULL when there is none of that name (its end). */
uint8_t *fault_disk_file(struct fault_disk *d, const char *suffix, size_t *len);

#endif
