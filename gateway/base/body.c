/* SPDX-License-Identifier: Apache-2.0 */
#include "base/body.h"

#include <stdlib.h>

struct body *body_new(struct bytes content)
{
    if (content.len > UINT32_MAX)
        return NULL;
    struct body *b = malloc(sizeof *b + content.len);
    if (b == NULL)
        return NULL;
    atomic_init(&b->refs, 1);
    b->len = (uint32_t)content.len;
    if (content.len > 0)
        memcpy(b->data, content.data, content.len);
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
    return b != NULL ? bytes_of(b->data, b->len) : bytes_of(NULL, 0);
}
