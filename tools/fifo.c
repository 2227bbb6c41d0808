/* SPDX-License-Identifier: Apache-2.0 */
#include "tools/fifo.h"

#include <stdlib.h>
#include <string.h>

enum { RECORD_HEADER = sizeof(uint32_t), FIRST_CAPACITY = 128 };

void fifo_deinit(struct fifo *f)
{
    free(f->buf);
    free(f->retired);
    *f = (struct fifo){0};
}

static bool grow(struct fifo *f, size_t wanted)
{
    size_t cap = f->cap > 0 ? f->cap : FIRST_CAPACITY;
    while (cap < wanted)
        cap *= 2;
    uint8_t *buf = malloc(cap);
    if (buf == NULL)
        return false;
    const uint32_t live = f->tail - f->head;
    if (live > 0)
        memcpy(buf, f->buf + f->head, live);
    if (f->peeked && f->retired == NULL)
        f->retired = f->buf;
    else
        free(f->buf);
    f->buf = buf;
    f->cap = (uint32_t)cap;
    f->head = 0;
    f->tail = live;
    return true;
}

uint8_t *fifo_reserve(struct fifo *f, size_t len, size_t limit)
{
    const size_t live = f->tail - f->head;
    const size_t wanted = RECORD_HEADER + len;
    if (limit > UINT32_MAX / 2 || live > limit || wanted > limit - live)
        return NULL;
    if (f->cap - f->tail < wanted) {
        if (live + wanted <= f->cap && !f->peeked) {
            memmove(f->buf, f->buf + f->head, live);
            f->head = 0;
            f->tail = (uint32_t)live;
        } else if (!grow(f, live + wanted)) {
            return NULL;
        }
    }
    return f->buf + f->tail + RECORD_HEADER;
}

void fifo_commit(struct fifo *f, size_t len)
{
    const uint32_t length = (uint32_t)len;
    memcpy(f->buf + f->tail, &length, sizeof length);
    f->tail += RECORD_HEADER + length;
}

bool fifo_peek(struct fifo *f, struct bytes *out)
{
    if (f->head == f->tail)
        return false;
    uint32_t length;
    memcpy(&length, f->buf + f->head, sizeof length);
    *out = bytes_of(f->buf + f->head + RECORD_HEADER, length);
    f->peeked = true;
    return true;
}

void fifo_done(struct fifo *f)
{
    if (f->head == f->tail)
        return;
    uint32_t length;
    memcpy(&length, f->buf + f->head, sizeof length);
    f->head += RECORD_HEADER + length;
    if (f->head == f->tail)
        f->head = f->tail = 0;
    free(f->retired);
    f->retired = NULL;
    f->peeked = false;
}
