/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A stick's machine, the emulated stick at the other end of its line, and nodes in the ether, all
 * in virtual time. A test of a family is short:
 *
 *     struct stick_world_config c = stick_world_defaults("znp");
 *     c.nodes = 10;
 *     c.emu.formed = true;
 *     struct stick_world *w = stick_world_new(&c);      // plugged in
 *     stick_world_start(w);                             // until STICK_EV_UP, or fails
 *     stick_world_to_node(w, 3, 20);                    // a packet of 20 octets to node 3
 *     stick_world_from_node(w, 4, 20);
 *     stick_world_run(w, 1000);
 *     ck_assert_uint_eq(w->nodes[3].received, 1);       // what came to the node
 *     ck_assert_uint_eq(w->nodes[4].heard, 1);          // what came to the gateway's side
 *     ck_assert_uint_eq(w->nodes[3].outcomes[STICK_DELIVERED], 1);
 *     stick_world_end(w);                               // judges the ledger, frees
 *
 * Packets are PUBLISH messages that carry the node's number and a sequence number, filled with the
 * octets that framings escape (unless they are to be plain); the world checks that each one arrives
 * unaltered at the right node, that there is one outcome per packet and node where the family
 * reports, and what the contract of the machines says of deadlines. Whatever does not hold prints
 * the reason, the seed and the last events, and aborts.
 *
 * The owner's duties are played, too: STICK_EV_REOPEN closes the port and opens it after
 * `reopen_ms`. Bytes from the stick are cut into random pieces. `w->stick`, `w->emu`, `w->ether` are
 * there for everything that is not wrapped here.
 */
#ifndef SENNET_TESTS_SIM_STICK_WORLD_H
#define SENNET_TESTS_SIM_STICK_WORLD_H

#include "radio/stick/stick.h"
#include "tools/emu/emu.h"

enum { STICK_WORLD_LOG = 24, STICK_WORLD_TEXT = 320 };

struct stick_world_config {
    const char *driver;        /* of both sides: they carry the same name */
    struct stick_config stick; /* seed is set from `seed` */
    struct emu_config emu;     /* as is the seed; eui64 has a default */
    struct ether_config ether; /* and here */
    uint64_t seed;             /* SENNET_SEED from the environment if set, else 1 */
    unsigned nodes;            /* in the ether from the beginning */
    unsigned sleepy;           /* the first so many of them poll only when the test says */
    enum peer_kind kind;       /* how the gateway names nodes: EUI64, SHORT, SERIAL */
    unsigned piece_max;        /* bytes come in pieces of 1..piece_max; 0: as the emulator gives */
    int64_t reopen_ms;         /* after STICK_EV_REOPEN */
    bool plain;                /* packets of octets that no framing escapes */
    bool faulty;               /* the line alters frames: altered packets are counted, not fatal */
};

/* What became of the packets of one node. */
struct stick_world_node {
    uint32_t sent;      /* to it, by stick_world_to_node() */
    uint32_t received;  /* by it, copies included */
    uint32_t copies;    /* of these */
    uint32_t overtaken; /* of these came after a later one */
    uint32_t groups;    /* broadcasts received */
    uint32_t uttered;   /* from it, by stick_world_from_node() */
    uint32_t heard;     /* by the gateway, copies included */
    uint32_t heard_copies;
    uint32_t heard_groups;           /* of heard: it was told that they were broadcasts */
    uint32_t outcomes[4];            /* by enum stick_outcome */
    uint32_t highest, highest_heard; /* sequence number + 1 */
    uint8_t *seen, *seen_heard;      /* by sequence number */
};

struct stick_world {
    struct stick_world_config config;
    struct stick *stick;
    struct emu *emu;
    struct ether *ether;
    struct rng rng;
    int64_t now_us;     /* the line is as exact as that; all else counts */
    int64_t now_ms;     /* these */
    bool plugged;       /* the device is there */
    bool blocked;       /* the port takes no bytes (flow control holds the line) */
    int64_t open_at_ms; /* the port will be opened; TIME_NEVER: it is open, or nobody tries */
    struct stick_world_node *nodes;
    unsigned ups, downs, reopens, ports;
    int64_t up_ms;                /* of the last STICK_EV_UP */
    uint32_t max_packet_bytes;    /* of the last STICK_EV_UP */
    struct stick_port port;       /* of the last STICK_EV_PORT */
    uint64_t bytes_in, bytes_out; /* of the line, as the stick's machine sees it */
    uint64_t altered;             /* packets that no node sent so (config.faulty) */
    uint64_t strangers;           /* packets of peers that are no node's (config.faulty) */
    char log[STICK_WORLD_LOG][STICK_WORLD_TEXT]; /* the last events as text, a ring */
    uint64_t n_log;
};

/* One node, ZigBee names, a perfect line, plugged in. */
struct stick_world_config stick_world_defaults(const char *driver);

/* The port is opened at once. */
struct stick_world *stick_world_new(const struct stick_world_config *config);

/* Fails unless each packet to a node has exactly one outcome by now (if the family reports): run
 * long enough before, or unplug. Frees. */
void stick_world_end(struct stick_world *w);

/* Lets time pass, event by event. */
void stick_world_run(struct stick_world *w, int64_t ms);

/* Until STICK_RUNNING; false after `limit_ms`. */
bool stick_world_until_up(struct stick_world *w, int64_t limit_ms);

/* The same, within a minute or it fails. Returns how long it took. */
int64_t stick_world_start(struct stick_world *w);

/* Pulls the device out: hung up, and without power. */
void stick_world_unplug(struct stick_world *w);

/* And back: the port is opened. */
void stick_world_plug(struct stick_world *w);

/* The address of node `number` as the gateway names it. */
struct peer *stick_world_peer(const struct stick_world *w, unsigned number, struct peer_room *room);

/* A packet of `len` octets (more behind a forwarder) from the gateway to a node, everybody, from a
 * node to the gateway, to everybody. Below 13 octets there is room for the numbers of 256 nodes and
 * of 65,536 packets each way. */
void stick_world_to_node(struct stick_world *w, unsigned number, unsigned len);
void stick_world_to_group(struct stick_world *w, unsigned len);
void stick_world_from_node(struct stick_world *w, unsigned number, unsigned len);
void stick_world_from_node_to_group(struct stick_world *w, unsigned number, unsigned len);

/* Does a text of the last events contain this? ("link up", "znp.version", part of a sentence.) */
bool stick_world_logged(const struct stick_world *w, const char *part);

/* Sums over the nodes. */
struct stick_world_node stick_world_total(const struct stick_world *w);

#endif
