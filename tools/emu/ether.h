/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The air between an emulated coordinator and simulated nodes, as a pure machine: loss, copies,
 * latency, parents that keep frames for sleeping children, 16-bit addresses that change. Seeded;
 * the same inputs at the same times give the same air.
 *
 *     the coordinator's front end (emu_*.c)              the nodes (simulator, tests)
 *     ether_send()                                       ether_node_send()
 *     ETHER_EV_CONFIRM, ETHER_EV_RECEIVED, ANNOUNCE      ETHER_EV_TO_NODE
 *
 * Time never goes back, for any caller: bring a stick that has something on its line up to date
 * (emu_advance()) before the ether hears of anything else.
 *
 * Both kinds of event come out of one queue in the order of time; each belongs to one side, and
 * whoever pulls the queue hands it on (emu_event() takes the coordinator's).
 */
#ifndef SENNET_TOOLS_EMU_ETHER_H
#define SENNET_TOOLS_EMU_ETHER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/bytes.h"
#include "base/clock.h"

struct ether;

enum {
    ETHER_PAYLOAD_MAX = 255,
    ETHER_COORDINATOR = 0, /* as a 16-bit address */
    ETHER_SHORT_MIN = 0x0001,
    ETHER_SHORT_MAX = 0xFFF7,
    ETHER_NO_SHORT = 0xFFFE,
};

struct ether_config {
    uint64_t seed;
    unsigned loss_percent;     /* of transmissions, each way: the receiver doesn't get it */
    unsigned ack_loss_percent; /* received, but the sender is told that it was not */
    unsigned copy_percent;     /* received twice */
    int64_t latency_min_ms, latency_max_ms; /* one way; different latencies overtake each other */
    int64_t no_ack_ms;                      /* a sender gives up after this; default 4800 */
    int64_t indirect_ms;      /* a parent keeps a frame for a sleeping child; default 7680 */
    unsigned indirect_frames; /* and so many of them; default 3 */
    unsigned max_payload;     /* longer ones can't be sent; default 82, ETHER_PAYLOAD_MAX at most */
};

struct ether_config ether_defaults(void);

/* The coordinator is on. NULL when out of memory. */
struct ether *ether_new(const struct ether_config *config, int64_t now_ms);
void ether_free(struct ether *e);

/* ---- nodes ------------------------------------------------------------------------------------- */

struct ether_node {
    uint64_t eui64;
    uint16_t short_address; /* unique, ETHER_SHORT_MIN..MAX */
    bool sleepy;            /* hears only while polling: ether_node_poll() */
    uint8_t lqi;
    int8_t rssi;
    uint8_t endpoint; /* 0: it hears whatever comes (radios that know nothing of the kind) */
    uint16_t profile, cluster;
};

/* Joins: the coordinator gets ANNOUNCE. The node's number, or -1 when out of memory. */
int ether_node_add(struct ether *e, int64_t now_ms, const struct ether_node *node);
size_t ether_nodes(const struct ether *e);
const struct ether_node *ether_node_at(const struct ether *e, size_t number);

/* Number of the node with this name or address, -1: none. */
int ether_find_eui64(const struct ether *e, uint64_t eui64);
int ether_find_short(const struct ether *e, uint16_t short_address);

/* Rejoins under another 16-bit address; ANNOUNCE unless `silent`. */
void ether_node_rejoin(struct ether *e, int64_t now_ms, size_t number, uint16_t short_address,
                       bool silent);

/* Out of reach (battery empty, gone) or back. */
void ether_node_reach(struct ether *e, size_t number, bool reachable);

/* A sleepy node listens until `until_ms` (frames kept for it come now). */
void ether_node_poll(struct ether *e, int64_t now_ms, size_t number, int64_t until_ms);

/* The node sends to the coordinator, or to everybody, other nodes included. */
void ether_node_send(struct ether *e, int64_t now_ms, size_t number, bool broadcast,
                     struct bytes payload);

/* ---- the coordinator --------------------------------------------------------------------------- */

struct ether_frame {
    bool broadcast;
    bool by_eui64; /* else by short_address */
    uint64_t eui64;
    uint16_t short_address;
    /* A node of another endpoint (FF: any), profile or cluster doesn't hear it and acknowledges
     * nothing. All zero: the radio knows nothing of the kind, everybody hears it. */
    uint8_t src_endpoint, dst_endpoint;
    uint16_t profile, cluster;
    bool want_ack;   /* without it the confirm is OK as soon as the frame is on air */
    uint32_t handle; /* returned in CONFIRM */
};

/* Exactly one CONFIRM follows, unless the coordinator is off or goes off. Broadcasts are confirmed
 * as soon as they are on air. */
void ether_send(struct ether *e, int64_t now_ms, const struct ether_frame *frame,
                struct bytes payload);

/* The coordinator is off or on: while off, nothing reaches it and what it waited for is gone. */
void ether_coordinator(struct ether *e, int64_t now_ms, bool on);

enum ether_status {
    ETHER_OK,
    ETHER_NO_ACK,     /* no_ack_ms after sending; may have been received all the same */
    ETHER_NO_ADDRESS, /* nobody of that name or address; a latency after sending */
    ETHER_EXPIRED,    /* the sleeping child did not poll */
    ETHER_TOO_LONG,
    ETHER_QUEUE_FULL, /* the parent has no room for the child */
};

/* ---- time and events --------------------------------------------------------------------------- */

enum ether_event_type {
    ETHER_EV_CONFIRM,  /* coordinator */
    ETHER_EV_RECEIVED, /* coordinator: from node `number` */
    ETHER_EV_ANNOUNCE, /* coordinator: node `number` joined or rejoined */
    ETHER_EV_TO_NODE,  /* node `number` */
};

struct ether_event {
    enum ether_event_type type;
    size_t number;
    uint32_t handle;
    enum ether_status status;
    uint16_t short_address; /* CONFIRM: that the node really has; RECEIVED: when it was sent */
    bool broadcast;
    struct bytes payload; /* borrowed until done */
};

void ether_advance(struct ether *e, int64_t now_ms);
int64_t ether_next_deadline(const struct ether *e);
bool ether_peek_event(struct ether *e, struct ether_event *out);
void ether_done_event(struct ether *e);

struct ether_counters {
    uint64_t to_nodes, from_nodes; /* transmissions, broadcasts once */
    uint64_t lost, copied, expired, ack_lost, no_address;
};

const struct ether_counters *ether_counters(const struct ether *e);

#endif
