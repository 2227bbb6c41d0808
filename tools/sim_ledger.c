/* SPDX-License-Identifier: Apache-2.0 */
#include "tools/sim_ledger.h"

#include <errno.h>
#include <stdlib.h>

enum { FIRST_CAPACITY = 16 };

enum mark {
    ACKNOWLEDGED = 1,
    REFUSED = 2,
    ARRIVED = 4,
    EXCUSED = 8,
};

int ledger_init(struct ledger *l, size_t n_nodes, bool observed)
{
    *l = (struct ledger){.n_nodes = n_nodes, .observed = observed};
    l->streams = calloc(n_nodes * LEDGER_QOS_COUNT, sizeof *l->streams);
    return l->streams != NULL || n_nodes == 0 ? 0 : -ENOMEM;
}

void ledger_deinit(struct ledger *l)
{
    for (size_t i = 0; i < l->n_nodes * LEDGER_QOS_COUNT; i++)
        free(l->streams[i].marks);
    free(l->streams);
    *l = (struct ledger){0};
}

static struct ledger_stream *stream_of(const struct ledger *l, size_t node, int qos)
{
    return &l->streams[node * LEDGER_QOS_COUNT + ledger_index(qos)];
}

/* ---- marks ----------------------------------------------------------------------------------- */

static bool is_lost(unsigned mark)
{
    return (mark & (ACKNOWLEDGED | ARRIVED | EXCUSED)) == ACKNOWLEDGED;
}

static bool is_missing(unsigned mark)
{
    return (mark & (ARRIVED | EXCUSED | REFUSED)) == 0;
}

static bool is_unasked(unsigned mark, int qos)
{
    return qos > 0 && (mark & (ACKNOWLEDGED | ARRIVED)) == ARRIVED;
}

static bool is_excused(unsigned mark)
{
    return (mark & (EXCUSED | ARRIVED)) == EXCUSED;
}

/* Nothing more can be learnt of it. A refused message may still turn out to have arrived. */
static bool is_settled(const struct ledger *l, unsigned mark, int qos)
{
    const bool answered = qos <= 0 || (mark & ACKNOWLEDGED) != 0;
    const bool arrived = !l->observed || (mark & ARRIVED) != 0;
    return answered && arrived;
}

static uint8_t *mark_at(const struct ledger_stream *s, uint64_t seq)
{
    return &s->marks[seq & (s->capacity - 1)];
}

static void close_settled(struct ledger *l, struct ledger_stream *s, int qos)
{
    while (s->base < s->next && is_settled(l, *mark_at(s, s->base), qos))
        s->base++;
}

static void add_bits(struct ledger *l, struct ledger_stream *s, int qos, uint64_t seq,
                     unsigned bits)
{
    uint8_t *at = mark_at(s, seq);
    const unsigned old = *at;
    const unsigned new = old | bits;
    struct ledger_totals *t = &l->totals[ledger_index(qos)];
    *at = (uint8_t) new;
    t->lost += (uint64_t)is_lost(new) - (uint64_t)is_lost(old);
    t->missing += (uint64_t)is_missing(new) - (uint64_t)is_missing(old);
    t->arrived_unasked += (uint64_t)is_unasked(new, qos) - (uint64_t)is_unasked(old, qos);
    t->excused += (uint64_t)is_excused(new) - (uint64_t)is_excused(old);
    if (seq == s->base)
        close_settled(l, s, qos);
}

/* ---- sending --------------------------------------------------------------------------------- */

static bool grow(struct ledger_stream *s)
{
    const uint32_t capacity = s->capacity == 0 ? FIRST_CAPACITY : s->capacity * 2;
    if (capacity > LEDGER_SPAN)
        return false;
    uint8_t *marks = malloc(capacity);
    if (marks == NULL)
        return false;
    for (uint64_t seq = s->base; seq < s->next; seq++)
        marks[seq & (capacity - 1)] = *mark_at(s, seq);
    free(s->marks);
    s->marks = marks;
    s->capacity = capacity;
    return true;
}

uint64_t ledger_next(const struct ledger *l, size_t node, int qos)
{
    return stream_of(l, node, qos)->next;
}

uint64_t ledger_sent(struct ledger *l, size_t node, int qos)
{
    struct ledger_stream *s = stream_of(l, node, qos);
    struct ledger_totals *t = &l->totals[ledger_index(qos)];
    t->sent++;
    t->missing++;
    const uint64_t seq = s->next;
    if (seq - s->base == s->capacity && !grow(s)) {
        s->closed_before = ++s->base;
        if (s->capacity == 0) { /* not even the first octet: nothing of it can be judged */
            s->next++;
            return seq;
        }
        close_settled(l, s, qos);
    }
    s->next++;
    *mark_at(s, seq) = 0;
    if (seq == s->base)
        close_settled(l, s, qos);
    return seq;
}

/* ---- what becomes of it ---------------------------------------------------------------------- */

/* True when the message is open; otherwise it was settled, or closed by force, or never sent. */
static bool is_open(const struct ledger_stream *s, uint64_t seq)
{
    return seq >= s->base && seq < s->next;
}

void ledger_acknowledged(struct ledger *l, size_t node, int qos, uint64_t seq)
{
    struct ledger_stream *s = stream_of(l, node, qos);
    struct ledger_totals *t = &l->totals[ledger_index(qos)];
    if (!is_open(s, seq)) {
        t->late++;
        return;
    }
    if ((*mark_at(s, seq) & ACKNOWLEDGED) == 0)
        t->acknowledged++;
    add_bits(l, s, qos, seq, ACKNOWLEDGED);
}

void ledger_refused(struct ledger *l, size_t node, int qos, uint64_t seq)
{
    struct ledger_stream *s = stream_of(l, node, qos);
    l->totals[ledger_index(qos)].refused++;
    if (is_open(s, seq))
        add_bits(l, s, qos, seq, REFUSED);
}

enum ledger_arrival ledger_arrived(struct ledger *l, size_t node, int qos, uint64_t seq)
{
    struct ledger_stream *s = stream_of(l, node, qos);
    struct ledger_totals *t = &l->totals[ledger_index(qos)];
    if (seq >= s->next) {
        t->impossible++;
        return LEDGER_IMPOSSIBLE;
    }
    if (seq < s->base && seq < s->closed_before) {
        t->late++;
        return LEDGER_LATE;
    }
    if (seq < s->base || (*mark_at(s, seq) & ARRIVED) != 0) {
        t->duplicated++;
        return LEDGER_AGAIN;
    }
    t->arrived++;
    if (seq < s->expected)
        t->reordered++;
    else
        s->expected = seq + 1;
    add_bits(l, s, qos, seq, ARRIVED);
    return LEDGER_FIRST;
}

void ledger_excuse_node(struct ledger *l, size_t node)
{
    for (int qos = -1; qos <= 2; qos++) {
        struct ledger_stream *s = stream_of(l, node, qos);
        for (uint64_t seq = s->base; seq < s->next; seq++)
            add_bits(l, s, qos, seq, EXCUSED);
    }
}

bool ledger_find_lost(const struct ledger *l, struct ledger_message *at)
{
    for (; at->node < l->n_nodes; at->node++, at->qos = -1) {
        for (; at->qos <= 2; at->qos++, at->seq = 0) {
            const struct ledger_stream *s = stream_of(l, at->node, at->qos);
            at->seq = at->seq < s->base ? s->base : at->seq;
            while (at->seq < s->next && !is_lost(*mark_at(s, at->seq)))
                at->seq++;
            if (at->seq < s->next)
                return true;
        }
    }
    return false;
}

struct ledger_totals ledger_sum(const struct ledger *l)
{
    struct ledger_totals sum = {0};
    for (unsigned i = 0; i < LEDGER_QOS_COUNT; i++) {
        const struct ledger_totals *t = &l->totals[i];
        sum.sent += t->sent;
        sum.acknowledged += t->acknowledged;
        sum.refused += t->refused;
        sum.arrived += t->arrived;
        sum.duplicated += t->duplicated;
        sum.reordered += t->reordered;
        sum.lost += t->lost;
        sum.missing += t->missing;
        sum.arrived_unasked += t->arrived_unasked;
        sum.excused += t->excused;
        sum.late += t->late;
        sum.impossible += t->impossible;
    }
    return sum;
}
