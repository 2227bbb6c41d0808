/* SPDX-License-Identifier: Apache-2.0 */
#include "tools/bench_tally.h"

#include <errno.h>
#include <stdlib.h>

enum { SEEN_BITS = 64, MAGIC = 0x00534E42 }; /* "SNB" behind what no MQTT-SN packet begins with */

int tally_init(struct tally *t, uint32_t n_streams)
{
    memset(t, 0, sizeof *t); /* too large for a value on the stack */
    t->n_streams = n_streams;
    t->streams = calloc(n_streams > 0 ? n_streams : 1, sizeof *t->streams);
    return t->streams != NULL ? 0 : -ENOMEM;
}

void tally_deinit(struct tally *t)
{
    free(t->streams);
    t->streams = NULL;
    t->n_streams = 0;
}

uint32_t tally_send(struct tally *t, uint32_t stream)
{
    t->sent++;
    return t->streams[stream].sent++;
}

/* A number below the highest: whether it is new. What lies further back than the mask is counted as a
 * copy, for it can't be told; nothing under way is that old. */
static bool is_late(struct tally *t, struct tally_stream *s, uint32_t sequence)
{
    const uint32_t back = s->next - 1 - sequence;
    const uint64_t bit = back < SEEN_BITS ? UINT64_C(1) << back : 0;
    if (bit == 0 || (s->seen & bit) != 0) {
        t->duplicated++;
        return false;
    }
    s->seen |= bit;
    t->reordered++;
    if (t->missing > 0)
        t->missing--;
    return true;
}

bool tally_arrived(struct tally *t, uint32_t stream, uint32_t sequence, int64_t delay_ns)
{
    if (stream >= t->n_streams || sequence >= t->streams[stream].sent) {
        t->misrouted++;
        return false;
    }
    struct tally_stream *s = &t->streams[stream];
    if (sequence < s->next) {
        if (!is_late(t, s, sequence))
            return false;
    } else {
        const uint32_t step = sequence + 1 - s->next;
        t->missing += step - 1;
        s->seen = step < SEEN_BITS ? s->seen << step | 1 : 1;
        s->next = sequence + 1;
    }
    t->arrived++;
    if (t->measuring)
        hist_add(&t->delays, delay_ns);
    return true;
}

/* ---- what messages carry --------------------------------------------------------------------- */

void payload_put(uint8_t *out, size_t size, const struct bench_payload *p)
{
    struct writer w = wr_to(out, size);
    wr_u32(&w, MAGIC);
    wr_u32(&w, p->run);
    wr_u32(&w, p->stream);
    wr_u32(&w, p->sequence);
    wr_u32(&w, (uint32_t)((uint64_t)p->stamp_ns >> 32));
    wr_u32(&w, (uint32_t)p->stamp_ns);
    if (size > w.len)
        memset(out + w.len, '.', size - w.len);
}

bool payload_get(struct bytes in, struct bench_payload *p)
{
    struct reader r = rd_of(in);
    const uint32_t magic = rd_u32(&r);
    p->run = rd_u32(&r);
    p->stream = rd_u32(&r);
    p->sequence = rd_u32(&r);
    const uint64_t high = rd_u32(&r);
    p->stamp_ns = (int64_t)(high << 32 | rd_u32(&r));
    return !r.failed && magic == MAGIC;
}
