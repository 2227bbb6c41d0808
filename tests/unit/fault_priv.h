/* SPDX-License-Identifier: Apache-2.0 */
/* Inside of the disk: fault_disk.c has what lies on it, fault_vfs.c is what SQLite sees. */
#ifndef SENNET_TESTS_UNIT_FAULT_PRIV_H
#define SENNET_TESTS_UNIT_FAULT_PRIV_H

#include <pthread.h>

#include <sqlite3.h>

#include "fault_vfs.h"

enum { BLOCK = 4096, FILES = 8, SHM_REGIONS = 16, SHM_LOCKS = 8, NAME_MAX_LEN = 200 };

/* A change that is not yet synced. */
struct change {
    struct change *next;
    int64_t at;
    size_t len; /* of data; of a truncation, the new length */
    bool truncate;
    uint8_t data[];
};

struct content {
    uint8_t *data;
    size_t len;
    size_t cap;
};

struct node {
    char name[NAME_MAX_LEN];
    bool exists;
    bool final;        /* on a disk after a crash: it will not crash again */
    bool durable_name; /* survives a power cut: the file was synced once */
    struct content now;
    struct content synced;
    struct change *changes;
    struct change **changes_end;
    /* Locks of the database file. */
    unsigned shared;
    const void *reserved;
    const void *exclusive;
    /* The wal-index. */
    void *shm[SHM_REGIONS];
    unsigned shm_users;
    unsigned shm_shared[SHM_LOCKS];
    bool shm_exclusive[SHM_LOCKS];
};

struct fault_disk {
    sqlite3_vfs vfs;
    pthread_mutex_t lock;
    struct node nodes[FILES];
    void (*hook)(void *arg, enum fault_call call, const char *file);
    void *hook_arg;
    unsigned fail_mask;
    uint64_t fail_in;
    uint64_t fail_n;
    int fail_rc;
    uint64_t failed;
    size_t capacity;
    unsigned sync_ms;
    struct fault_figures figures;
};

/* The hook, and whether the call is to fail; the lock is held afterwards. */
int fault_enter(struct fault_disk *d, enum fault_call call, const char *file);
int fault_leave(struct fault_disk *d, int rc);

/* Lock held, all of them. */
size_t fault_bytes(const struct fault_disk *d);
struct node *fault_find(struct fault_disk *d, const char *name);
struct node *fault_create(struct fault_disk *d, const char *name);
void fault_remove(struct node *n);
void fault_change(struct node *n, bool truncate, int64_t at, const void *data, size_t len);
void fault_synced(struct node *n);

#endif
