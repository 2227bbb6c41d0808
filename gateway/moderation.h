/* SPDX-License-Identifier: Apache-2.0 */
/*
 * When a thread that is woken for nearly every packet had better be late: what network cards call
 * interrupt moderation. A pure machine.
 *
 * Being woken costs more than a packet does, and so do the threads that are woken behind this one.
 * When packets come so fast that a run of waits were all short, and each brought few of them, the thread
 * sleeps before it waits again, and finds many. Once a sleep has brought few, it is woken by each one again,
 * so slow traffic is never late. A peer that gathers packets itself needs none of this; whether it does is
 * seen from time to time.
 */
#ifndef SENNET_GATEWAY_MODERATION_H
#define SENNET_GATEWAY_MODERATION_H

#include <stdint.h>

enum {
    MODERATION_SHORT_NS = 100000, /* from one wait to the next */
    MODERATION_RUN = 16,          /* short ones in a row */
    MODERATION_SLEEP_NS = 200000,
    MODERATION_FEW = 4,     /* packets that a sleep is not worth */
    MODERATION_SLEEPS = 64, /* then it is seen how many would come without */
};

/* All zero: as at the start. */
struct moderation {
    int64_t waited_ns; /* when the latest wait began */
    unsigned run;
    unsigned sleeps; /* in a row */
};

/* Before each wait. `packets` have come since the one before; `now_ns` is the time of a monotonic
 * clock. Nanoseconds to sleep first: 0 or MODERATION_SLEEP_NS. */
int64_t moderation_pause(struct moderation *m, int64_t now_ns, unsigned packets);

#endif
