/* SPDX-License-Identifier: Apache-2.0 */
#include <assert.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "fault_priv.h"

struct file {
    sqlite3_file base;
    struct fault_disk *disk;
    struct node *node;
    int level;
    bool psow;
    unsigned shm_shared; /* bits of the locks held */
    unsigned shm_exclusive;
    bool has_shm;
};

/* ---- a file ---------------------------------------------------------------------------------- */

static struct file *file_of(sqlite3_file *f)
{
    return (struct file *)f;
}

static int x_read(sqlite3_file *base, void *out, int amount, sqlite3_int64 at)
{
    struct file *const f = file_of(base);
    const struct content *const c = &f->node->now;
    int rc = fault_enter(f->disk, FAULT_READ, f->node->name);
    if (rc != SQLITE_OK)
        return fault_leave(f->disk, rc);
    const size_t there = (size_t)at < c->len ? c->len - (size_t)at : 0;
    const size_t n = there < (size_t)amount ? there : (size_t)amount;
    if (n > 0)
        memcpy(out, c->data + at, n);
    memset((uint8_t *)out + n, 0, (size_t)amount - n);
    return fault_leave(f->disk, n == (size_t)amount ? SQLITE_OK : SQLITE_IOERR_SHORT_READ);
}

static int x_write(sqlite3_file *base, const void *data, int amount, sqlite3_int64 at)
{
    struct file *const f = file_of(base);
    struct fault_disk *const d = f->disk;
    const int rc = fault_enter(d, FAULT_WRITE, f->node->name);
    if (rc != SQLITE_OK)
        return fault_leave(d, rc);
    const size_t end = (size_t)at + (size_t)amount;
    if (end > f->node->now.len && fault_bytes(d) + end - f->node->now.len > d->capacity)
        return fault_leave(d, SQLITE_FULL);
    fault_change(f->node, false, at, data, (size_t)amount);
    d->figures.writes++;
    d->figures.written += (uint64_t)amount;
    return fault_leave(d, SQLITE_OK);
}

static int x_truncate(sqlite3_file *base, sqlite3_int64 len)
{
    struct file *const f = file_of(base);
    const int rc = fault_enter(f->disk, FAULT_TRUNCATE, f->node->name);
    if (rc == SQLITE_OK)
        fault_change(f->node, true, 0, NULL, (size_t)len);
    return fault_leave(f->disk, rc);
}

static int x_sync(sqlite3_file *base, int flags)
{
    (void)flags;
    struct file *const f = file_of(base);
    const int rc = fault_enter(f->disk, FAULT_SYNC, f->node->name);
    const unsigned ms = f->disk->sync_ms;
    if (rc == SQLITE_OK) {
        fault_synced(f->node);
        f->disk->figures.syncs++;
    }
    fault_leave(f->disk, rc);
    if (ms > 0)
        nanosleep(&(struct timespec){.tv_sec = ms / 1000, .tv_nsec = ms % 1000 * 1000000L}, NULL);
    return rc;
}

static int x_file_size(sqlite3_file *base, sqlite3_int64 *out)
{
    struct file *const f = file_of(base);
    pthread_mutex_lock(&f->disk->lock);
    *out = (sqlite3_int64)f->node->now.len;
    return fault_leave(f->disk, SQLITE_OK);
}

/* SQLite goes up one level at a time, PENDING by itself. */
static int x_lock(sqlite3_file *base, int level)
{
    struct file *const f = file_of(base);
    struct node *const n = f->node;
    int rc = SQLITE_OK;
    pthread_mutex_lock(&f->disk->lock);
    if (level <= f->level)
        return fault_leave(f->disk, SQLITE_OK);
    if (n->exclusive != NULL && n->exclusive != f)
        rc = SQLITE_BUSY;
    else if (level == SQLITE_LOCK_SHARED)
        n->shared++;
    else if (n->reserved != NULL && n->reserved != f)
        rc = SQLITE_BUSY;
    else if (level == SQLITE_LOCK_EXCLUSIVE && n->shared > 1)
        rc = SQLITE_BUSY;
    else
        n->reserved = f;
    if (rc == SQLITE_OK && level == SQLITE_LOCK_EXCLUSIVE)
        n->exclusive = f;
    if (rc == SQLITE_OK)
        f->level = level;
    return fault_leave(f->disk, rc);
}

static int x_unlock(sqlite3_file *base, int level)
{
    struct file *const f = file_of(base);
    struct node *const n = f->node;
    pthread_mutex_lock(&f->disk->lock);
    if (f->level > level) {
        if (n->reserved == f)
            n->reserved = NULL;
        if (n->exclusive == f)
            n->exclusive = NULL;
        if (level == SQLITE_LOCK_NONE)
            n->shared--;
        f->level = level;
    }
    return fault_leave(f->disk, SQLITE_OK);
}

static int x_check_reserved(sqlite3_file *base, int *out)
{
    struct file *const f = file_of(base);
    pthread_mutex_lock(&f->disk->lock);
    *out = f->node->reserved != NULL;
    return fault_leave(f->disk, SQLITE_OK);
}

static int x_file_control(sqlite3_file *base, int op, void *arg)
{
    (void)base, (void)op, (void)arg;
    return SQLITE_NOTFOUND;
}

static int x_sector_size(sqlite3_file *base)
{
    (void)base;
    return BLOCK;
}

static int x_characteristics(sqlite3_file *base)
{
    return file_of(base)->psow ? SQLITE_IOCAP_POWERSAFE_OVERWRITE : 0;
}

/* ---- the wal-index --------------------------------------------------------------------------- */

static int x_shm_map(sqlite3_file *base, int region, int size, int extend, volatile void **out)
{
    struct file *const f = file_of(base);
    struct node *const n = f->node;
    pthread_mutex_lock(&f->disk->lock);
    if (!f->has_shm) {
        f->has_shm = true;
        n->shm_users++;
    }
    assert(region < SHM_REGIONS);
    if (n->shm[region] == NULL && extend)
        n->shm[region] = calloc(1, (size_t)size);
    *out = n->shm[region];
    return fault_leave(f->disk, SQLITE_OK);
}

static int x_shm_lock(sqlite3_file *base, int offset, int count, int flags)
{
    struct file *const f = file_of(base);
    struct node *const n = f->node;
    const unsigned bits = ((1U << count) - 1) << offset;
    pthread_mutex_lock(&f->disk->lock);
    for (int i = offset; i < offset + count; i++) {
        const unsigned bit = 1U << i;
        if ((flags & SQLITE_SHM_UNLOCK) != 0) {
            n->shm_shared[i] -= (f->shm_shared & bit) != 0 ? 1 : 0;
            n->shm_exclusive[i] = n->shm_exclusive[i] && (f->shm_exclusive & bit) == 0;
        } else if ((flags & SQLITE_SHM_SHARED) != 0) {
            if (n->shm_exclusive[i] && (f->shm_exclusive & bit) == 0)
                return fault_leave(f->disk, SQLITE_BUSY);
        } else if (n->shm_exclusive[i] ||
                   n->shm_shared[i] > ((f->shm_shared & bit) != 0 ? 1U : 0U)) {
            return fault_leave(f->disk, SQLITE_BUSY);
        }
    }
    if ((flags & SQLITE_SHM_UNLOCK) != 0) {
        f->shm_shared &= ~bits;
        f->shm_exclusive &= ~bits;
    } else if ((flags & SQLITE_SHM_SHARED) != 0) {
        if ((f->shm_shared & bits) == 0)
            n->shm_shared[offset]++;
        f->shm_shared |= bits;
    } else {
        for (int i = offset; i < offset + count; i++)
            n->shm_exclusive[i] = true;
        f->shm_exclusive |= bits;
    }
    return fault_leave(f->disk, SQLITE_OK);
}

static void x_shm_barrier(sqlite3_file *base)
{
    struct file *const f = file_of(base);
    pthread_mutex_lock(&f->disk->lock);
    pthread_mutex_unlock(&f->disk->lock);
}

static int x_shm_unmap(sqlite3_file *base, int delete)
{
    (void)delete;
    struct file *const f = file_of(base);
    struct node *const n = f->node;
    pthread_mutex_lock(&f->disk->lock);
    if (f->has_shm && --n->shm_users == 0) {
        for (int i = 0; i < SHM_REGIONS; i++) {
            free(n->shm[i]);
            n->shm[i] = NULL;
        }
    }
    f->has_shm = false;
    return fault_leave(f->disk, SQLITE_OK);
}

static int x_close(sqlite3_file *base)
{
    x_unlock(base, SQLITE_LOCK_NONE);
    return SQLITE_OK;
}

static const sqlite3_io_methods io_methods = {
    .iVersion = 2,
    .xClose = x_close,
    .xRead = x_read,
    .xWrite = x_write,
    .xTruncate = x_truncate,
    .xSync = x_sync,
    .xFileSize = x_file_size,
    .xLock = x_lock,
    .xUnlock = x_unlock,
    .xCheckReservedLock = x_check_reserved,
    .xFileControl = x_file_control,
    .xSectorSize = x_sector_size,
    .xDeviceCharacteristics = x_characteristics,
    .xShmMap = x_shm_map,
    .xShmLock = x_shm_lock,
    .xShmBarrier = x_shm_barrier,
    .xShmUnmap = x_shm_unmap,
};

/* ---- the directory --------------------------------------------------------------------------- */

static struct fault_disk *disk_of(sqlite3_vfs *vfs)
{
    return vfs->pAppData;
}

static int x_open(sqlite3_vfs *vfs, const char *name, sqlite3_file *base, int flags, int *out_flags)
{
    struct fault_disk *const d = disk_of(vfs);
    struct file *const f = file_of(base);
    int rc = fault_enter(d, FAULT_OPEN, name);

    *f = (struct file){.disk = d};
    f->node = rc == SQLITE_OK ? fault_find(d, name) : NULL;
    if (rc == SQLITE_OK && f->node == NULL && (flags & SQLITE_OPEN_CREATE) != 0)
        f->node = fault_create(d, name);
    if (rc == SQLITE_OK && f->node == NULL)
        rc = SQLITE_CANTOPEN;
    if (rc == SQLITE_OK) {
        f->base.pMethods = &io_methods;
        f->psow = (flags & SQLITE_OPEN_MAIN_DB) == 0 || sqlite3_uri_boolean(name, "psow", 1);
        if (out_flags != NULL)
            *out_flags = flags;
    }
    return fault_leave(d, rc);
}

static int x_delete(sqlite3_vfs *vfs, const char *name, int sync)
{
    (void)sync;
    struct fault_disk *const d = disk_of(vfs);
    int rc = fault_enter(d, FAULT_DELETE, name);
    struct node *const n = fault_find(d, name);
    if (rc == SQLITE_OK && n == NULL)
        rc = SQLITE_IOERR_DELETE_NOENT;
    if (rc == SQLITE_OK)
        fault_remove(n);
    return fault_leave(d, rc);
}

static int x_access(sqlite3_vfs *vfs, const char *name, int flags, int *out)
{
    (void)flags;
    struct fault_disk *const d = disk_of(vfs);
    pthread_mutex_lock(&d->lock);
    const struct node *const n = fault_find(d, name);
    *out = n != NULL;
    return fault_leave(d, SQLITE_OK);
}

static int x_full_pathname(sqlite3_vfs *vfs, const char *name, int size, char *out)
{
    (void)vfs;
    const char *const slash = strrchr(name, '/');
    sqlite3_snprintf(size, out, "%s", slash != NULL ? slash + 1 : name);
    return SQLITE_OK;
}

static int x_randomness(sqlite3_vfs *vfs, int n, char *out)
{
    static uint8_t counter;
    (void)vfs;
    for (int i = 0; i < n; i++)
        out[i] = (char)(uint8_t)(__atomic_fetch_add(&counter, 37, __ATOMIC_RELAXED) * 11);
    return n;
}

static int x_sleep(sqlite3_vfs *vfs, int us)
{
    (void)vfs;
    return us;
}

static int x_time(sqlite3_vfs *vfs, sqlite3_int64 *out)
{
    (void)vfs;
    *out = 212000000000000;
    return SQLITE_OK;
}

static int x_last_error(sqlite3_vfs *vfs, int n, char *out)
{
    (void)vfs, (void)n, (void)out;
    return 0;
}

/* ---- the disk ----------------------------------------------------------------------------- */

struct fault_disk *fault_disk_new(const char *name)
{
    struct fault_disk *const d = calloc(1, sizeof *d);
    assert(d != NULL);
    d->vfs = (sqlite3_vfs){
        .iVersion = 2,
        .szOsFile = sizeof(struct file),
        .mxPathname = NAME_MAX_LEN - 1,
        .zName = name,
        .pAppData = d,
        .xOpen = x_open,
        .xDelete = x_delete,
        .xAccess = x_access,
        .xFullPathname = x_full_pathname,
        .xRandomness = x_randomness,
        .xSleep = x_sleep,
        .xGetLastError = x_last_error,
        .xCurrentTimeInt64 = x_time,
    };
    d->capacity = SIZE_MAX / 2;
    pthread_mutex_init(&d->lock, NULL);
    sqlite3_vfs_register(&d->vfs, 0);
    return d;
}
