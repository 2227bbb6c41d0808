/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A link carries opaque MQTT-SN packets to and from peers. The daemon runs any number of links of
 * any kind; a kind is one file that exports one `struct link_driver`, and one row in links.c. All
 * sticks are one kind (stick_link.c), with the machine of their family inside.
 *
 * Threads: everything happens on the loop thread. A link never blocks.
 */
#ifndef SENNET_RADIO_LINK_H
#define SENNET_RADIO_LINK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/bytes.h"
#include "base/peer.h"

#include "radio/port.h"
#include "radio/stick/stick.h"

struct link;

/* What a link tells its owner. Called on the loop thread, from the loop, and except for `event` and
 * `group` never from within a call of struct link_driver; `packet` and `from` are borrowed for the
 * call; `signal` is NULL where the medium knows none. `batch_end` comes after the last packet or outcome of one wake-up, so that the owner does
 * its per-batch work once. */
struct link_sink {
    void *owner;
    void (*packet)(void *owner, const struct peer *from, const struct link_signal *signal,
                   struct bytes packet);
    void (*batch_end)(void *owner);
    /* A packet that was sent to the link's group, by others or by ourselves: see is_own(). */
    void (*group_packet)(void *owner, const struct peer *from, struct bytes packet);
    /* From now on packets to and from the group can pass, or can't any more. Not at first. These
     * two may be NULL when no link has a group. */
    void (*group)(void *owner, uint16_t link, bool joined);
    /* What became of one packet to `to`. Only from links whose driver reports; exactly one for each
     * packet to a peer that is no group. May be NULL, and so may `limit`, when no link is a stick. */
    void (*outcome)(void *owner, const struct peer *to, enum stick_outcome outcome);
    /* The stick is there and in its network, or is not any more. Not at first. May be NULL, too. */
    void (*up)(void *owner, uint16_t link, bool up);
    /* What the link carries from now on, at most its configured max_packet_bytes. */
    void (*limit)(void *owner, uint16_t link, uint32_t max_packet_bytes);
    /* A stable event name ("link.up", "link.lost", ...) with a sentence for people. */
    void (*event)(void *owner, uint16_t link, int level, const char *event, const char *text);
};

/* What a link counts; all since start. */
struct link_counters {
    uint64_t packets_in, packets_out;
    uint64_t group_in; /* of packets_in those that were sent to the group */
    uint64_t bytes_in, bytes_out;
    uint64_t oversize;      /* arrived larger than max_packet_bytes: dropped */
    uint64_t empty;         /* arrived without content: dropped */
    uint64_t kernel_drops;  /* lost in the socket's receive buffer */
    uint64_t send_deferred; /* the system was busy; sent later */
    uint64_t send_drops;    /* not sent: queue full or refused by the system */
    uint64_t receive_errors;
};

struct link_config {
    uint16_t index;                   /* becomes peer.link */
    const char *name;                 /* [link NAME] */
    const char *driver;               /* sticks: the name of the family */
    const char *listen;               /* udp: "127.0.0.1:1884", "[::]:1884" */
    const char *multicast;            /* udp: "225.1.1.1:1885@eth0"; NULL: the link has no group */
    uint32_t max_packet_bytes;        /* of one MQTT-SN packet with its envelopes */
    uint32_t receive_buffer_bytes;    /* asked of the system; 0: leave alone */
    struct port_config port;          /* sticks: what to open */
    const struct stick_config *stick; /* sticks: copied by open() */
};

struct link_driver {
    const char *name; /* `driver = NAME` */

    /* Could this configuration work at all? Touches nothing. 0; -ENODEV when it could if a device
     * or interface were there; or another negative errno: never. With a sentence in `error`. */
    int (*check)(const struct link_config *config, char *error, size_t error_size);

    /* Opens, so that nobody else can have it and what arrives waits in the system. 0 and `*out`; or
     * a negative errno with a sentence in `error` (what, why, what to do). */
    int (*open)(void *loop, const struct link_config *config, const struct link_sink *sink,
                struct link **out, char *error, size_t error_size);

    /* Begins to deliver what arrives, and what has arrived since open. Once. */
    void (*start)(struct link *l);

    /* Queues one packet. Never fails visibly: what cannot be sent is counted. To PEER_GROUP it goes
     * to everybody within the radius, from the same address as everything else, because nodes take
     * the gateway's address from there. */
    void (*send)(struct link *l, const struct peer *to, struct bytes packet);

    /* Hands everything queued to the system: once per batch. */
    void (*flush)(struct link *l);

    /* Is `from` where this link sends from? What comes from there to a group is our own, heard
     * back. NULL: the driver knows no groups. */
    bool (*is_own)(const struct link *l, const struct peer *from);

    const struct link_counters *(*counters)(const struct link *l);

    /* The address really bound ("127.0.0.1:49152"), for logs and tests. */
    const char *(*where)(const struct link *l);

    /* The machine of a stick, for status (nodes, counters, permit join). NULL: it is no stick. */
    struct stick *(*stick)(struct link *l);

    /* Closes and frees, after the loop has run its close callbacks. */
    void (*close)(struct link *l);
};

/* Every link starts with this. */
struct link {
    const struct link_driver *driver;
};

extern const struct link_driver link_udp;
extern const struct link_driver link_stick; /* of every name of stick_driver_name() */

/* At which baud rate a stick of that driver is opened when none is configured. */
uint32_t stick_link_baud(const char *driver);

/* The driver of that name, or NULL. */
const struct link_driver *link_driver_find(struct bytes name);

/* Name number `i` in registry order, NULL past the end: for error messages and --help. */
const char *link_driver_name(size_t i);

#endif
