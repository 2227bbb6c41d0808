/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The books of a case. Each stream (a node, or a publisher's topic) numbers its messages from 0; what
 * arrives is new, a copy, or out of order, and what never does is lost. Delays go into a histogram
 * while `measuring`.
 */
#ifndef SENNET_TOOLS_BENCH_TALLY_H
#define SENNET_TOOLS_BENCH_TALLY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/bytes.h"

#include "tools/sim_histogram.h"

struct tally_stream {
    uint32_t sent;
    uint32_t next; /* one past the highest that arrived */
    uint64_t seen; /* bit i: number next - 1 - i has arrived */
};

struct tally {
    struct tally_stream *streams;
    uint32_t n_streams;
    uint64_t sent, arrived, duplicated, reordered;
    uint64_t missing;   /* overtaken by later ones, so far */
    uint64_t misrouted; /* came to the wrong node, or from nowhere */
    bool measuring;
    struct histogram delays; /* ns */
};

/* 0, or -ENOMEM. */
int tally_init(struct tally *t, uint32_t n_streams);
void tally_deinit(struct tally *t);

/* The number of the stream's next message, which is on its way from now on. */
uint32_t tally_send(struct tally *t, uint32_t stream);

/* True when it is the first copy. */
bool tally_arrived(struct tally *t, uint32_t stream, uint32_t sequence, int64_t delay_ns);

/* ---- what messages carry --------------------------------------------------------------------- */

enum { PAYLOAD_MIN = 24, BENCH_PAYLOAD_MAX = 1024 };

struct bench_payload {
    uint32_t run;
    uint32_t stream;
    uint32_t sequence;
    int64_t stamp_ns;
};

/* Writes `size` octets, at least PAYLOAD_MIN. */
void payload_put(uint8_t *out, size_t size, const struct bench_payload *p);
/* False when it is none of ours. */
bool payload_get(struct bytes in, struct bench_payload *p);

#endif
