/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The books of one direction: what became of every message, per node and QoS.
 *
 * Each (node, QoS) is a stream with its own sequence numbers from 0. A message costs one octet as
 * long as something about it is open; once everything before it is settled, nothing. At most
 * LEDGER_SPAN messages of a stream stay open: what is older is closed as it stands, and an answer
 * or arrival that comes even later is counted as `late`. So counts are exact as long as `late` is
 * 0.
 *
 * All totals are kept up to date with every call; all calls are O(1) amortised but
 * ledger_excuse_node().
 */
#ifndef SENNET_TOOLS_SIM_LEDGER_H
#define SENNET_TOOLS_SIM_LEDGER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Streams by index: QoS -1, 0, 1, 2. */
enum { LEDGER_QOS_COUNT = 4, LEDGER_SPAN = 1 << 18 };

static inline unsigned ledger_index(int qos)
{
    return (unsigned)(qos + 1);
}

struct ledger_totals {
    uint64_t sent;
    uint64_t acknowledged;
    uint64_t refused;         /* told so by the receiver */
    uint64_t arrived;         /* at least once */
    uint64_t duplicated;      /* arrivals beyond the first */
    uint64_t reordered;       /* first arrivals behind a later message of their stream */
    uint64_t lost;            /* acknowledged, not arrived, not excused */
    uint64_t missing;         /* not arrived, not refused, not excused: includes the lost */
    uint64_t arrived_unasked; /* arrived although never acknowledged (QoS 1 and 2) */
    uint64_t excused;         /* not arrived, and could not: the receiver had gone */
    uint64_t late;            /* of messages already closed: cannot be judged */
    uint64_t impossible;      /* arrivals of messages that were never sent */
};

struct ledger_stream {
    uint8_t *marks;         /* ring of `capacity`, a power of two */
    uint64_t base;          /* first open message */
    uint64_t next;          /* next to be sent */
    uint64_t expected;      /* one past the highest that arrived */
    uint64_t closed_before; /* messages below were closed by force */
    uint32_t capacity;
};

struct ledger {
    struct ledger_stream *streams; /* nodes x LEDGER_QOS_COUNT */
    size_t n_nodes;
    bool observed; /* arrivals will be reported; otherwise an acknowledgement settles a message */
    struct ledger_totals totals[LEDGER_QOS_COUNT];
};

/* 0, or -ENOMEM. */
int ledger_init(struct ledger *l, size_t n_nodes, bool observed);
void ledger_deinit(struct ledger *l);

/* Books a new message and returns its sequence number. Out of memory closes older ones early. */
uint64_t ledger_sent(struct ledger *l, size_t node, int qos);

/* The number that the next ledger_sent() will return: to write it into the payload first. */
uint64_t ledger_next(const struct ledger *l, size_t node, int qos);

void ledger_acknowledged(struct ledger *l, size_t node, int qos, uint64_t seq);
void ledger_refused(struct ledger *l, size_t node, int qos, uint64_t seq);

enum ledger_arrival {
    LEDGER_FIRST,
    LEDGER_AGAIN,
    LEDGER_LATE,
    LEDGER_IMPOSSIBLE,
};

enum ledger_arrival ledger_arrived(struct ledger *l, size_t node, int qos, uint64_t seq);

/* Whatever is still on its way to this node need not arrive: it has gone. O(open messages). */
void ledger_excuse_node(struct ledger *l, size_t node);

struct ledger_message {
    size_t node;
    int qos; /* -1 to begin with */
    uint64_t seq;
};

/* The first lost message from `*at` on, in the order of node, QoS and number; begin with {.qos =
 * -1} and go on with seq + 1. False when there is none. */
bool ledger_find_lost(const struct ledger *l, struct ledger_message *at);

/* Sum over all QoS levels. */
struct ledger_totals ledger_sum(const struct ledger *l);

#endif
