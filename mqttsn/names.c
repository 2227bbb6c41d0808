/* SPDX-License-Identifier: Apache-2.0 */
#include <assert.h>

#include "mqttsn/engine_priv.h"

void *sn_alloc_quietly(struct sn_engine *e, size_t n)
{
    if (!sn_charge(e, n))
        return NULL;
    void *ptr = slab_new(&e->slabs, n);
    if (ptr == NULL) {
        sn_refund(e, n);
        e->journal.exhausted = true;
    }
    return ptr;
}

void *sn_alloc(struct sn_engine *e, size_t n)
{
    void *ptr = sn_alloc_quietly(e, n);
    if (ptr == NULL)
        sn_no_memory(e);
    return ptr;
}

void sn_no_memory(struct sn_engine *e)
{
    sn_count(e, SN_STAT_DROP_NO_MEMORY);
    if (log_begin(&e->log, LOG_WARN, "memory.short")) {
        log_int(&e->log, "charged", (int64_t)e->memory_bytes);
        log_int(&e->log, "max_memory", (int64_t)e->config.max_memory_bytes);
        log_end(&e->log);
    }
}

void sn_free(struct sn_engine *e, void *ptr, size_t n)
{
    if (ptr == NULL)
        return;
    sn_refund(e, n);
    slab_free(&e->slabs, ptr, n);
}

static size_t name_size(size_t len)
{
    return record_octets(sizeof(struct sn_name), offsetof(struct sn_name, text), len);
}

static struct sn_name *find_hashed(const struct sn_engine *e, struct bytes text, uint64_t hash)
{
    for (struct hmap_node *n = hmap_first(&e->names, hash); n != NULL; n = hmap_next(n)) {
        struct sn_name *name = container_of(n, struct sn_name, node);
        if (bytes_equal(sn_name_bytes(name), text))
            return name;
    }
    return NULL;
}

struct sn_name *sn_name_find(const struct sn_engine *e, struct bytes text)
{
    return find_hashed(e, text, hash_bytes(&e->config.hash_seed, text));
}

struct sn_name *sn_name_get(struct sn_engine *e, struct bytes text)
{
    const uint64_t hash = hash_bytes(&e->config.hash_seed, text);
    struct sn_name *name = find_hashed(e, text, hash);
    if (name != NULL)
        return sn_name_ref(name);
    assert(text.len <= UINT16_MAX);
    name = sn_alloc(e, name_size(text.len));
    if (name == NULL)
        return NULL;
    name->refs = 1;
    name->len = (uint16_t)text.len;
    if (text.len > 0)
        memcpy(name->text, text.data, text.len);
    hmap_insert(&e->names, &name->node, hash);
    return name;
}

void sn_name_unref(struct sn_engine *e, struct sn_name *name)
{
    assert(name->refs > 0);
    if (--name->refs > 0)
        return;
    hmap_remove(&e->names, &name->node);
    sn_free(e, name, name_size(name->len));
}
