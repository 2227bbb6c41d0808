/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A client that comes back while the end of its earlier connection is still under way: the broker would
 * end that one as taken over, and publish its will; and both would keep their packets in one place. So
 * the heir waits until its elder is gone. Who is not at the end is nobody's elder: that takeover is
 * wanted.
 */
#include <string.h>

#include "mqtt_priv.h"

static uint64_t name_hash(const struct mqtt *m)
{
    return hash_bytes(&m->host->name_seed, bytes_str(m->options.client_id));
}

static bool same_name(const struct mqtt *a, const struct mqtt *b)
{
    return strcmp(a->options.client_id, b->options.client_id) == 0 &&
           strcmp(a->options.address, b->options.address) == 0;
}

static bool is_ending(struct mqtt *m)
{
    pthread_mutex_lock(&m->lock);
    const bool ending = m->stopping;
    pthread_mutex_unlock(&m->lock);
    return ending;
}

/* The youngest that is about to end; its own elders end before it. */
static struct mqtt *find_elder(const struct mqtt *m, uint64_t hash)
{
    for (struct hmap_node *n = hmap_first(&m->host->names, hash); n != NULL; n = hmap_next(n)) {
        struct worker *const w = container_of(n, struct worker, name);
        struct mqtt *const other = container_of(w, struct mqtt, worker);
        if (same_name(m, other) && w->heir == NULL && is_ending(other))
            return other;
    }
    return NULL;
}

void names_enter(struct mqtt *m)
{
    struct worker *const w = &m->worker;
    const uint64_t hash = name_hash(m);

    w->elder = find_elder(m, hash);
    if (w->elder != NULL)
        w->elder->worker.heir = m;
    hmap_insert(&m->host->names, &w->name, hash);
}

void names_leave(struct mqtt *m)
{
    struct worker *const w = &m->worker;

    hmap_remove(&m->host->names, &w->name);
    if (w->elder != NULL)
        w->elder->worker.heir = w->heir;
    if (w->heir == NULL)
        return;
    w->heir->worker.elder = w->elder;
    if (w->elder == NULL)
        host_kick(w->heir);
}
