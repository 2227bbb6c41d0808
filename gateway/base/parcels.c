/* SPDX-License-Identifier: Apache-2.0 */
#include "base/parcels.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

enum { FIRST = 512, ALIGNMENT = 16 };

/* In front of each parcel. */
struct header {
    size_t size; /* of the whole: header, parcel, padding */
    size_t unused;
};

_Static_assert(sizeof(struct header) <= ALIGNMENT, "a header keeps the alignment");
_Static_assert(_Alignof(max_align_t) <= ALIGNMENT, "aligned for any type");

static size_t whole(size_t size)
{
    return (ALIGNMENT + size + ALIGNMENT - 1) & ~(size_t)(ALIGNMENT - 1);
}

void parcels_init(struct parcels *q, size_t max)
{
    *q = (struct parcels){.max = max};
}

void parcels_deinit(struct parcels *q)
{
    free(q->buf);
    parcels_init(q, q->max);
}

void parcels_spare(struct parcels *q)
{
    if (q->head == q->tail && q->cap > FIRST)
        parcels_deinit(q);
}

void *parcels_room(struct parcels *q, size_t size)
{
    if (size > q->max)
        return NULL;
    const size_t more = whole(size);
    size_t cap = q->cap > 0 ? q->cap : FIRST;
    while (cap - q->tail < more)
        cap *= 2;
    if (cap > q->max && cap != q->cap)
        cap = q->max;
    if (cap - q->tail < more)
        return NULL;
    if (cap != q->cap) {
        uint8_t *buf = realloc(q->buf, cap);
        if (buf == NULL)
            return NULL;
        q->buf = buf;
        q->cap = cap;
    }
    return q->buf + q->tail + ALIGNMENT;
}

void parcels_add(struct parcels *q, size_t size)
{
    const struct header header = {.size = whole(size)};
    assert(q->cap - q->tail >= header.size);
    memcpy(q->buf + q->tail, &header, sizeof header);
    q->tail += header.size;
}

void *parcels_first(const struct parcels *q)
{
    return q->head != q->tail ? q->buf + q->head + ALIGNMENT : NULL;
}

void parcels_done(struct parcels *q)
{
    struct header header;
    assert(q->head != q->tail);
    memcpy(&header, q->buf + q->head, sizeof header);
    q->head += header.size;
    if (q->head == q->tail) {
        q->head = 0;
        q->tail = 0;
    }
}
