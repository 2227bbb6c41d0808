/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A bounded queue of octet records in one growing buffer. After the first few records it allocates
 * nothing; a queue that was never used costs nothing. The peeked record stays where it is until
 * fifo_done(), whatever is pushed meanwhile.
 */
#ifndef SENNET_TOOLS_FIFO_H
#define SENNET_TOOLS_FIFO_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/bytes.h"

/* All zero is an empty queue. */
struct fifo {
    uint8_t *buf;
    uint8_t *retired; /* an outgrown buffer in which the peeked record still lies */
    uint32_t cap;
    uint32_t head;
    uint32_t tail;
    bool peeked;
};

void fifo_deinit(struct fifo *f);

/* Room for one record of up to `len` octets, to be filled and then committed; NULL when the queue
 * would hold more than `limit` octets, or out of memory. O(1) amortised. */
uint8_t *fifo_reserve(struct fifo *f, size_t len, size_t limit);

/* Appends the first `len` octets of the reserved room, at most what was reserved. */
void fifo_commit(struct fifo *f, size_t len);

bool fifo_peek(struct fifo *f, struct bytes *out);

/* Removes the oldest record; nothing when there is none. */
void fifo_done(struct fifo *f);

#endif
