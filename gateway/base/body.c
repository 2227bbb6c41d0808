/* SPDX-License-Identifier: Apache-2.0 */
#include "base/body.h"

#include <stdlib.h>

enum { LENGTH = 2 }; /* of the origin */

/* With so much room behind the content. */
static inline struct body *make(struct bytes content, size_t behind)
{
    if (content.len >= BODY_HAS_ORIGIN)
        return NULL;
    struct body *b = malloc(sizeof *b + content.len + behind);
    if (b == NULL)
        return NULL;
    atomic_init(&b->refs, 1);
    b->len = (uint32_t)content.len;
    if (content.len > 0)
        memcpy(b->data, content.data, content.len);
    return b;
}

struct body *body_new(struct bytes content)
{
    return make(content, 0);
}

struct body *body_new_from(struct bytes content, struct bytes origin)
{
    if (origin.len == 0)
        return make(content, 0);
    const size_t behind = LENGTH + origin.len;
    struct body *b = origin.len <= UINT16_MAX ? make(content, behind) : NULL;
    if (b == NULL)
        return NULL;
    b->len |= BODY_HAS_ORIGIN;
    struct writer w = wr_to(b->data + content.len, behind);
    wr_u16(&w, (uint16_t)origin.len);
    wr_bytes(&w, origin);
    return b;
}

struct body *body_ref(struct body *b)
{
    if (b != NULL)
        atomic_fetch_add_explicit(&b->refs, 1, memory_order_relaxed);
    return b;
}

void body_unref(struct body *b)
{
    if (b != NULL && atomic_fetch_sub_explicit(&b->refs, 1, memory_order_acq_rel) == 1)
        free(b);
}

struct bytes body_bytes(const struct body *b)
{
    return b != NULL ? bytes_of(b->data, b->len & ~BODY_HAS_ORIGIN) : bytes_of(NULL, 0);
}

struct bytes body_origin(const struct body *b)
{
    if (b == NULL || (b->len & BODY_HAS_ORIGIN) == 0)
        return bytes_of(NULL, 0);
    const uint8_t *const at = b->data + (b->len & ~BODY_HAS_ORIGIN);
    struct reader length = rd_of(bytes_of(at, LENGTH));
    return bytes_of(at + LENGTH, rd_u16(&length));
}

size_t body_size(const struct body *b)
{
    const size_t origin = body_origin(b).len;
    return b != NULL ? sizeof *b + body_bytes(b).len + (origin > 0 ? LENGTH + origin : 0) : 0;
}
