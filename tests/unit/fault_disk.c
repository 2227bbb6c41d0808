/* SPDX-License-Identifier: Apache-2.0 */
#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "fault_priv.h"

/* ---- content --------------------------------------------------------------------------------- */

static void resize(struct content *c, size_t len)
{
    if (len > c->cap) {
        c->cap = 2 * len;
        c->data = realloc(c->data, c->cap);
        assert(c->data != NULL);
    }
    if (len > c->len)
        memset(c->data + c->len, 0, len - c->len);
    c->len = len;
}

static void put(struct content *c, int64_t at, const void *data, size_t len)
{
    if ((size_t)at + len > c->len)
        resize(c, (size_t)at + len);
    if (len > 0)
        memcpy(c->data + at, data, len);
}

static void apply(struct content *c, const struct change *change)
{
    if (change->truncate)
        resize(c, change->len);
    else
        put(c, change->at, change->data, change->len);
}

static void forget_changes(struct node *n)
{
    while (n->changes != NULL) {
        struct change *const change = n->changes;
        n->changes = change->next;
        free(change);
    }
    n->changes_end = &n->changes;
}

void fault_change(struct node *n, bool truncate, int64_t at, const void *data, size_t len)
{
    if (n->final && truncate) {
        resize(&n->now, len);
        return;
    }
    if (n->final) {
        put(&n->now, at, data, len);
        return;
    }
    struct change *const change = malloc(sizeof *change + (truncate ? 0 : len));
    assert(change != NULL);
    *change = (struct change){.at = at, .len = len, .truncate = truncate};
    if (!truncate && len > 0)
        memcpy(change->data, data, len);
    *n->changes_end = change;
    n->changes_end = &change->next;
    apply(&n->now, change);
}

void fault_synced(struct node *n)
{
    for (const struct change *c = n->changes; c != NULL; c = c->next)
        apply(&n->synced, c);
    forget_changes(n);
    n->durable_name = true;
}

void fault_remove(struct node *n)
{
    forget_changes(n);
    n->now.len = 0;
    n->synced.len = 0;
    n->exists = false;
    n->durable_name = false;
}

size_t fault_bytes(const struct fault_disk *d)
{
    size_t bytes = 0;
    for (int i = 0; i < FILES; i++)
        bytes += d->nodes[i].exists ? d->nodes[i].now.len : 0;
    return bytes;
}

struct node *fault_find(struct fault_disk *d, const char *name)
{
    for (int i = 0; i < FILES; i++)
        if (d->nodes[i].exists && strcmp(d->nodes[i].name, name) == 0)
            return &d->nodes[i];
    return NULL;
}

struct node *fault_create(struct fault_disk *d, const char *name)
{
    for (int i = 0; i < FILES; i++) {
        struct node *const n = &d->nodes[i];
        if (n->exists)
            continue;
        n->exists = true;
        n->changes_end = &n->changes;
        sqlite3_snprintf(sizeof n->name, n->name, "%s", name);
        return n;
    }
    return NULL;
}

/* ---- failing --------------------------------------------------------------------------------- */

/* The hook, and whether the call is to fail; the lock is held afterwards. */
int fault_enter(struct fault_disk *d, enum fault_call call, const char *file)
{
    if (d->hook != NULL && call != FAULT_READ && call != FAULT_OPEN)
        d->hook(d->hook_arg, call, file);
    pthread_mutex_lock(&d->lock);
    if ((d->fail_mask & 1U << call) == 0 || d->fail_n == 0)
        return SQLITE_OK;
    if (d->fail_in > 1) {
        d->fail_in--;
        return SQLITE_OK;
    }
    d->fail_n--;
    d->failed++;
    return d->fail_rc;
}

int fault_leave(struct fault_disk *d, int rc)
{
    pthread_mutex_unlock(&d->lock);
    return rc;
}

/* ---- the disk -------------------------------------------------------------------------------- */

void fault_disk_free(struct fault_disk *d)
{
    sqlite3_vfs_unregister(&d->vfs);
    for (int i = 0; i < FILES; i++) {
        fault_remove(&d->nodes[i]);
        free(d->nodes[i].now.data);
        free(d->nodes[i].synced.data);
    }
    pthread_mutex_destroy(&d->lock);
    free(d);
}

void fault_disk_hook(struct fault_disk *d,
                     void (*hook)(void *arg, enum fault_call call, const char *file), void *arg)
{
    pthread_mutex_lock(&d->lock);
    d->hook = hook;
    d->hook_arg = arg;
    pthread_mutex_unlock(&d->lock);
}

/* Each block of the write is there, or not, or rubbish: then from its beginning to its end. */
static void tear(struct content *c, const struct change *change, struct rng *rng)
{
    const int64_t end = change->at + (int64_t)change->len;
    for (int64_t at = change->at; at < end;) {
        const int64_t block = at / BLOCK * BLOCK;
        const int64_t next = block + BLOCK < end ? block + BLOCK : end;
        const uint64_t fate = rng_below(rng, 4);
        if (fate <= 1) {
            put(c, at, change->data + (at - change->at), (size_t)(next - at));
        } else if (fate == 2) {
            uint8_t rubbish[BLOCK];
            for (size_t i = 0; i < sizeof rubbish; i += 8) {
                const uint64_t r = rng_next(rng);
                memcpy(rubbish + i, &r, 8);
            }
            const int64_t up_to = block + BLOCK < (int64_t)c->len ? block + BLOCK : next;
            put(c, block, rubbish, (size_t)(up_to - block));
        }
        at = next;
    }
}

static void crash_file(const struct node *n, struct node *out, enum fault_crash how,
                       struct rng *rng)
{
    const struct content *const sure = how == FAULT_KILLED ? &n->now : &n->synced;
    put(&out->now, 0, sure->data, sure->len);
    out->now.len = sure->len;
    /* Mostly all or nothing of what was not synced, so that transactions are cut anywhere. */
    const uint64_t mood = rng_below(rng, 4);
    if (how == FAULT_POWER_CUT && mood > 0) {
        for (const struct change *c = n->changes; c != NULL; c = c->next) {
            if (c->truncate || mood == 1)
                apply(&out->now, c);
            else
                tear(&out->now, c, rng);
        }
    }
    out->durable_name = true;
    out->final = true;
}

struct fault_disk *fault_disk_crash(struct fault_disk *d, const char *name, enum fault_crash how,
                                    struct rng *rng)
{
    struct fault_disk *const out = fault_disk_new(name);
    pthread_mutex_lock(&d->lock);
    for (int i = 0; i < FILES; i++) {
        const struct node *const n = &d->nodes[i];
        const bool there =
            n->exists && (n->durable_name || how == FAULT_KILLED || rng_below(rng, 2) == 0);
        if (there)
            crash_file(n, fault_create(out, n->name), how, rng);
    }
    pthread_mutex_unlock(&d->lock);
    return out;
}

void fault_disk_fail(struct fault_disk *d, unsigned mask, uint64_t first, uint64_t n, int rc)
{
    pthread_mutex_lock(&d->lock);
    d->fail_mask = mask;
    d->fail_in = first;
    d->fail_n = n;
    d->fail_rc = rc;
    d->failed = 0;
    pthread_mutex_unlock(&d->lock);
}

void fault_disk_heal(struct fault_disk *d)
{
    pthread_mutex_lock(&d->lock);
    d->fail_mask = 0;
    d->fail_n = 0;
    pthread_mutex_unlock(&d->lock);
}

uint64_t fault_disk_failed(struct fault_disk *d)
{
    pthread_mutex_lock(&d->lock);
    const uint64_t n = d->failed;
    pthread_mutex_unlock(&d->lock);
    return n;
}

void fault_disk_wipe(struct fault_disk *d)
{
    pthread_mutex_lock(&d->lock);
    for (int i = 0; i < FILES; i++)
        if (d->nodes[i].exists)
            fault_remove(&d->nodes[i]);
    pthread_mutex_unlock(&d->lock);
}

void fault_disk_capacity(struct fault_disk *d, size_t bytes)
{
    pthread_mutex_lock(&d->lock);
    d->capacity = bytes;
    pthread_mutex_unlock(&d->lock);
}

void fault_disk_sync_ms(struct fault_disk *d, unsigned ms)
{
    pthread_mutex_lock(&d->lock);
    d->sync_ms = ms;
    pthread_mutex_unlock(&d->lock);
}

struct fault_figures fault_disk_figures(struct fault_disk *d)
{
    pthread_mutex_lock(&d->lock);
    struct fault_figures figures = d->figures;
    figures.bytes = fault_bytes(d);
    pthread_mutex_unlock(&d->lock);
    return figures;
}

uint8_t *fault_disk_file(struct fault_disk *d, const char *suffix, size_t *len)
{
    for (int i = 0; i < FILES; i++) {
        struct node *const n = &d->nodes[i];
        const size_t name_len = strlen(n->name);
        const size_t suffix_len = strlen(suffix);
        if (!n->exists || name_len < suffix_len ||
            strcmp(n->name + name_len - suffix_len, suffix) != 0)
            continue;
        *len = n->now.len;
        return n->now.data;
    }
    return NULL;
}
