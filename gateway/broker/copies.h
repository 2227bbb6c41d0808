/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Brokers of MQTT 5 may send a copy of a message for each subscription that matches it, and name that
 * subscription in it. Which copy is passed on? That of one of the subscriptions, chosen in the same way
 * each time. But not before it is certain that the broker had that subscription when it took the message:
 * those that wait there for a place in the window (Receive Maximum) come behind the SUBACK of a
 * subscription that is younger than they, and have no copy for it. So a subscription has to be *proven* by
 * a copy of its own. Until then a copy that would prove it, but equals one that was passed on lately for
 * another subscription, is taken for a copy of that. A message is never left out for a copy that may not
 * come, and if the subscription that it was left out for ends in between, the other copy passes for that reason; in
 * the moments in which subscriptions change a message may come twice.
 *
 * For each message: copies_begin(), copy_consider() for each subscription of the session that matches and
 * that the broker has, copy_passes(). Without names everything passes, and so do messages that are retained.
 *
 * Costs: O(1) per subscription that matches; hashed is the content of what is left out, and while one of
 * them is not proven.
 */
#ifndef SENNET_BROKER_COPIES_H
#define SENNET_BROKER_COPIES_H

#include <stdbool.h>
#include <stdint.h>

#include "broker/upstream.h"

enum { COPIES_REMEMBERED = 4 };

/* Copies of one message come one after the other. */
struct copies_of_late {
    struct {
        uint64_t hash;       /* of the message */
        uint32_t id;         /* 0: none */
    } at[COPIES_REMEMBERED]; /* the latest first */
};

/* Of one session. All zero is the beginning. */
struct copies {
    struct copies_of_late passed;  /* for that subscription, while others were not proven */
    struct copies_of_late awaited; /* left out, since one for that subscription was to come */
    uint64_t left_out;             /* since start */
};

/* One that is being judged. */
struct copy {
    const struct up_event *message; /* borrowed */
    struct copies *copies;
    uint32_t first; /* the subscription whose copy counts, as far as is known; 0: none is proven */
    uint32_t named; /* one that the broker has, and that this copy is for; 0: none */
    uint64_t hash;
    uint8_t first_qos;
    bool has_hash;
    bool in_doubt; /* one of the subscriptions is not proven */
    bool is_known; /* it was passed on for another subscription */
};

struct copy copies_begin(struct copies *c, const struct up_event *message);
/* `qos`: those with the greatest one count. `proven` belongs to the subscription: false when the broker is
 * told of it anew, or to change it. */
void copy_consider(struct copy *c, uint32_t id, uint8_t qos, bool *proven);
/* False: it is left out, and counted. */
bool copy_passes(struct copy *c);

/* The broker has that subscription no more. */
void copies_forget(struct copies *c, uint32_t id);

/* Identifiers of a process begin behind this one: what waits at the broker may be for subscriptions of an
 * earlier one, which are not to be mistaken for others. */
uint32_t copies_seed_id(uint64_t seed);
/* The one behind it. */
uint32_t copies_next_id(uint32_t id);

#endif
