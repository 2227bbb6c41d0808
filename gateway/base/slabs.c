/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A slab begins at a multiple of its size, so a record knows where its slab is. Room is taken in the
 * order of memory first, which makes the system give pages only when they are needed, and what was
 * freed is taken before.
 */
#include "base/slabs.h"

#include <assert.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

/* A little less than its alignment: so much malloc() needs to put the next one right behind. */
enum { ALIGNMENT = 32 * 1024, SLAB_BYTES = ALIGNMENT - 64 };

struct room {
    struct room *next;
};

struct slab {
    struct slab *next, *prev; /* of those with room; NULL at both ends */
    struct room *freed;
    uint32_t fresh; /* where the room begins that was never used */
    uint32_t n;     /* records in use */
};

_Static_assert(sizeof(struct slab) % SLAB_STEP == 0, "the first record is aligned");
_Static_assert(sizeof(struct room) <= SLAB_STEP, "each record has room for a link");

/* Number of a size, and the size itself, rounded up. */
static size_t number_of(size_t octets)
{
    return octets > 0 ? (octets - 1) / SLAB_STEP : 0;
}

static size_t size_of(size_t number)
{
    return (number + 1) * SLAB_STEP;
}

static bool has_room(const struct slab *slab, size_t size)
{
    return slab->freed != NULL || slab->fresh + size <= SLAB_BYTES;
}

static void open_slab(struct slab **first, struct slab *slab)
{
    slab->prev = NULL;
    slab->next = *first;
    if (*first != NULL)
        (*first)->prev = slab;
    *first = slab;
}

static void close_slab(struct slab **first, const struct slab *slab)
{
    if (slab->prev != NULL)
        slab->prev->next = slab->next;
    else
        *first = slab->next;
    if (slab->next != NULL)
        slab->next->prev = slab->prev;
}

static struct slab *add_slab(struct slab **first)
{
    void *at;
    if (posix_memalign(&at, ALIGNMENT, SLAB_BYTES) != 0)
        return NULL;
    struct slab *const slab = at;
    *slab = (struct slab){.fresh = sizeof *slab};
    open_slab(first, slab);
    return slab;
}

void slabs_deinit(struct slabs *all)
{
    for (size_t i = 0; i < SLAB_SIZES; i++) {
        struct slab *const kept = all->open[i];
        assert(kept == NULL || (kept->n == 0 && kept->next == NULL));
        free(kept);
        all->open[i] = NULL;
    }
}

void *slab_new(struct slabs *all, size_t octets)
{
    if (octets > SLAB_LARGEST)
        return calloc(1, octets);
    const size_t number = number_of(octets);
    const size_t size = size_of(number);
    struct slab **const first = &all->open[number];
    struct slab *const slab = *first != NULL ? *first : add_slab(first);
    if (slab == NULL)
        return NULL;
    void *record = slab->freed;
    if (record != NULL) {
        slab->freed = slab->freed->next;
    } else {
        record = (char *)slab + slab->fresh;
        slab->fresh += (uint32_t)size;
    }
    slab->n++;
    if (!has_room(slab, size))
        close_slab(first, slab);
    return memset(record, 0, size);
}

void slab_free(struct slabs *all, void *record, size_t octets)
{
    if (record == NULL || octets > SLAB_LARGEST) {
        free(record);
        return;
    }
    struct slab *const slab = (void *)((uintptr_t)record & ~((uintptr_t)ALIGNMENT - 1));
    const size_t number = number_of(octets);
    struct slab **const first = &all->open[number];
    assert(slab->n > 0);
    if (!has_room(slab, size_of(number)))
        open_slab(first, slab);
    struct room *const room = record;
    room->next = slab->freed;
    slab->freed = room;
    const bool alone = slab->next == NULL && slab->prev == NULL;
    if (--slab->n > 0 || alone)
        return;
    close_slab(first, slab);
    free(slab);
}
