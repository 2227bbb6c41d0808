/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A stick: the pure machine of a radio coordinator, or of any device that carries packets over a
 * byte stream. Bytes of the port go in, bytes for the port come out; packets go in, packets and
 * outcomes come out. No descriptor, clock or thread (docs/adr/0001); what moves the bytes is a port
 * (radio/port.h), what owns both is the link (radio/stick_link.c).
 *
 *     port opened, closed -> stick_opened(), stick_closed()
 *     bytes from the port -> stick_input()       stick_peek_bytes(), stick_took() -> the port
 *     packets for nodes   -> stick_send()        stick_peek_event(), stick_done_event() -> events
 *     time                -> stick_advance()     stick_next_deadline()
 *
 * `now_ms` is monotonic milliseconds and never decreases; every entry first fires what is due.
 * After stick_advance(now), next_deadline > now. Events and bytes are borrowed until done or taken
 * and should be drained after each entry: the event queue is bounded, and what does not fit is
 * counted (events_lost).
 *
 * A family (ZNP, EZSP ...) implements `struct stick_driver` of radio/stick/core.h, which holds
 * what all have in common: the table of nodes, the queues and slots of sending, retries of what
 * could not start, packets that wait for their sender's address.
 */
#ifndef SENNET_RADIO_STICK_STICK_H
#define SENNET_RADIO_STICK_STICK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/bytes.h"
#include "base/clock.h"
#include "base/hash.h"
#include "base/peer.h"

struct stick;
struct stick_driver;

enum { STICK_KEY_BYTES = 16, STICK_INPUT_MAX = 1024 };

/* ---- configuration ---------------------------------------------------------------------------- */

enum xbee_family { XBEE_AUTO, XBEE_ZIGBEE, XBEE_802154 };

enum line_framing {
    LINE_RAW,  /* the packets themselves, one behind the other (mqtt-sn-tools' bridge) */
    LINE_SLIP, /* RFC 1055 */
    LINE_HDLC, /* 7E ... CRC-16/X-25 7E, octet stuffing with 7D */
    LINE_COBS, /* zero-delimited, CRC-16/X-25 inside */
};

struct stick_config {
    uint16_t link;              /* becomes peer.link */
    uint32_t baud;              /* as the port will be opened; 0: it is no real serial line */
    uint32_t max_packet_bytes;  /* of one MQTT-SN packet; the stick may allow less. 12..1500 */
    uint64_t seed;              /* of everything random that is no secret: PAN ids, jitter */
    struct hash_seed hash_seed; /* secret: new keys are made of it */
    uint32_t max_nodes;         /* remembered; the longest unheard one gives way. 0: 1024 */

    /* ZigBee networks (znp, ezsp, deconz, and xbee with ZigBee firmware) */
    uint8_t channel;   /* 11..26; 0: as the stick has it, 15 when a network is formed */
    uint16_t pan_id;   /* 1..0xFFFE; 0: as the stick has it, random when a network is formed */
    bool form_network; /* may a network be formed when the stick has none? Never otherwise */
    bool has_key;      /* network_key is set; without it a random key when a network is formed */
    uint8_t network_key[STICK_KEY_BYTES];
    uint16_t
        permit_join_s; /* open for joining so long after each start; 0: closed, 65535: always */
    uint8_t endpoint;  /* 1..240; default E8 */
    uint16_t profile;  /* default C105 */
    uint16_t cluster;  /* default 0011 */

    /* xbee */
    uint8_t api; /* 1, 2: as the module is, else it is set so; 0: whatever the module has */
    enum xbee_family family;

    /* serial */
    enum line_framing framing;
    bool forwarder; /* nodes are behind forwarder envelopes (5.5); else one node on the line */
};

/* All defaults above. */
struct stick_config stick_defaults(void);

/* The driver of that name ("xbee", "znp", "ezsp", "deconz", "serial", "auto"), or NULL. */
const struct stick_driver *stick_driver_find(struct bytes name);

/* Name number `i`, NULL past the end. */
const char *stick_driver_name(size_t i);

/* Its name; static. */
const char *stick_driver_label(const struct stick_driver *driver);

/* Does the family tell what became of a packet (STICK_EV_OUTCOME)? */
bool stick_driver_reports(const struct stick_driver *driver);

/* A new machine without a port, or NULL when out of memory. The configuration is copied. */
struct stick *stick_new(const struct stick_driver *driver, const struct stick_config *config,
                        int64_t now_ms);

/* Frees it; what was not taken is lost. NULL is ignored. */
void stick_free(struct stick *s);

/* ---- inputs ------------------------------------------------------------------------------------ */

/* The port is open: the start-up of the family begins. Only after stick_new() or stick_closed(). */
void stick_opened(struct stick *s, int64_t now_ms);

/* The port is gone (unplugged, hung up, or closed because of STICK_EV_REOPEN). What was waiting or
 * undecided gets its outcome; nodes are remembered. Harmless when already closed. */
void stick_closed(struct stick *s, int64_t now_ms);

/* Bytes as they arrived, cut anywhere; at most STICK_INPUT_MAX at once (asserted). */
void stick_input(struct stick *s, int64_t now_ms, struct bytes in);

/* Queues a packet for a node (PEER_EUI64, PEER_SHORT, PEER_SERIAL) or everybody (PEER_GROUP). The
 * packets of a node keep their order, and the next one goes only when the one before is decided.
 * Exactly one outcome follows for each packet to a node, if the family reports them; it may be
 * there when this returns (NOT_SENT). O(1). */
void stick_send(struct stick *s, int64_t now_ms, const struct peer *to, struct bytes packet);

/* Opens the network for joining for so long (0: closes it, 65535: for ever). Remembered while the
 * stick is away. Nothing happens where the family has no such thing. */
void stick_permit_join(struct stick *s, int64_t now_ms, unsigned seconds);

void stick_advance(struct stick *s, int64_t now_ms);

/* ---- outputs ----------------------------------------------------------------------------------- */

int64_t stick_next_deadline(const struct stick *s);

/* Bytes for the port, in order; false when there are none. */
bool stick_peek_bytes(struct stick *s, struct bytes *out);

/* The port took `n` of them. */
void stick_took(struct stick *s, int64_t now_ms, size_t n);

/* What became of a packet. */
enum stick_outcome {
    STICK_DELIVERED, /* the node's radio (or, for a plain line, the line) has it */
    STICK_FAILED,    /* sent and not acknowledged: it may have arrived all the same */
    STICK_UNKNOWN,   /* the stick never told */
    STICK_NOT_SENT,  /* never on air: too long, queue full, refused, stick away */
};

enum stick_event_type {
    STICK_EV_PACKET,
    STICK_EV_OUTCOME, /* of one packet to `peer` */
    STICK_EV_UP,      /* packets pass from now on; `text` describes stick and network */
    STICK_EV_DOWN,    /* no longer; `text` says why. Not sent when the port was closed */
    STICK_EV_PORT,    /* change the port as `port` says, then go on */
    STICK_EV_REOPEN,  /* this opening has failed: close the port, open it later; `text` says why */
    STICK_EV_FAMILY,  /* of `auto`: it is a stick of family `name`, which should be opened with that
                         driver at port.baud. Nothing more comes */
    STICK_EV_LOG,     /* `name` is a stable event name, `text` a sentence for people */
};

/* -1: leave as it is. */
struct stick_port {
    int32_t baud;
    int8_t dtr, rts;
};

/* How well the last hop of a packet was heard. */
struct link_signal {
    bool has_lqi, has_rssi;
    uint8_t lqi; /* 0..255 */
    int8_t rssi; /* dBm */
};

struct stick_event {
    enum stick_event_type type;
    const struct peer *peer;   /* PACKET: who sent it; OUTCOME: to whom it went */
    struct bytes packet;       /* PACKET */
    struct link_signal signal; /* PACKET */
    bool to_group;             /* PACKET: it was a broadcast */
    enum stick_outcome outcome;
    uint32_t max_packet_bytes; /* UP: what the network carries, config.max_packet_bytes at most */
    struct stick_port port;
    int level; /* LOG: enum log_level */
    const char *name;
    const char *text; /* UP, DOWN, REOPEN, LOG */
};

bool stick_peek_event(struct stick *s, struct stick_event *out);
void stick_done_event(struct stick *s);

/* ---- looking in -------------------------------------------------------------------------------- */

enum stick_state {
    STICK_CLOSED,   /* no port */
    STICK_STARTING, /* talking to the stick, no packets yet */
    STICK_RUNNING,
    STICK_GIVEN_UP, /* STICK_EV_REOPEN was said: waits for stick_closed() */
};

enum stick_state stick_state(const struct stick *s);

/* All since stick_new(). */
struct stick_counters {
    uint64_t frames_in, frames_out; /* of the family's protocol, intact */
    uint64_t bad_frames;            /* checksum, length or escape wrong */
    uint64_t skipped_bytes;         /* between frames, or of bad ones */
    uint64_t strange_frames;        /* intact, but unknown or malformed inside */
    uint64_t packets_in, packets_out;
    uint64_t delivered, failed, unknown, not_sent; /* outcomes */
    uint64_t too_long;                             /* of not_sent */
    uint64_t queue_full;                           /* of not_sent */
    uint64_t expired;                              /* of not_sent: waited too long */
    uint64_t restarts;        /* transmissions that the stick could not start, tried again */
    uint64_t unknown_ids;     /* confirms for nothing outstanding */
    uint64_t foreign;         /* received for another endpoint, profile or cluster */
    uint64_t oversize_in;     /* received packets larger than max_packet_bytes */
    uint64_t empty_in;        /* received packets of no octets */
    uint64_t unresolved;      /* received from an address that nobody could name */
    uint64_t nodes_forgotten; /* of the table, when it was full */
    uint64_t stick_resets;    /* that it did by itself */
    uint64_t events_lost;
};

const struct stick_counters *stick_counters(const struct stick *s);

/* What is known of a node; 255, 0 where it is not. */
struct stick_node_info {
    struct peer_room peer;
    uint16_t short_address; /* FFFE: unknown */
    uint8_t lqi;            /* 0..255, of the last packet */
    bool has_lqi, has_rssi;
    int8_t rssi; /* dBm, of the last packet */
    int64_t heard_ms;
    uint32_t delivered, failed;
    uint32_t waiting; /* packets queued */
};

/* Node number `i` in no particular order but each once, while nothing else is called. False past
 * the end. O(1) for the next of the last one asked for. */
bool stick_node(struct stick *s, size_t i, struct stick_node_info *out);

#endif
