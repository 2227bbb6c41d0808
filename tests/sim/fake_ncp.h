/* SPDX-License-Identifier: Apache-2.0 */
/*
 * An NCP as a script: answers what the start needs, does what the knobs say, remembers what it was
 * asked. And the gateway's side around a stick's machine: bytes in and out, events gathered, time.
 * For single causes and effects; tools/emu/emu_ezsp.c is the stick that behaves like one.
 */
#ifndef SENNET_TESTS_SIM_FAKE_NCP_H
#define SENNET_TESTS_SIM_FAKE_NCP_H

#include "radio/stick/ash.h"
#include "radio/stick/ezsp_frame.h"

enum { NCP_QUEUE = 64, NCP_LATER = 16, NCP_IDS = 0x120, NCP_TEXT = 1024 };

struct ncp_frame {
    uint8_t octets[ASH_DATA_MAX];
    size_t len;
    int64_t at_ms; /* of those that come later */
};

struct ncp {
    uint8_t version;
    bool has_network;
    uint8_t channel;
    uint16_t pan_id;
    uint8_t max_payload;
    uint16_t unicasts;    /* APS unicast message count */
    uint8_t reset_code;   /* of the RSTACK; 0: no answer to RST */
    unsigned deaf_resets; /* so many RSTs are not heard */
    bool lenient;         /* what it does not understand is no offence: the line was forged */
    bool up_first;        /* NETWORK_UP before the response that causes it */
    bool no_up;
    int64_t sent_after_ms; /* messageSent behind sendUnicast; -1: never */
    uint32_t sent_status;
    uint32_t status_of[NCP_IDS];             /* of a command's response */
    bool unknown_id[NCP_IDS];                /* answered by invalidCommand */
    bool mute_id[NCP_IDS];                   /* not answered */
    uint8_t frame_control;                   /* more bits for responses */
    unsigned lose_acks, lose_data, nak_next; /* so many, then no more */
    uint64_t eui64_of_node;                  /* what lookups find, 0: nothing */
    uint16_t short_of_node;

    /* What it was told. */
    unsigned asked[NCP_IDS];
    struct ncp_frame last[NCP_IDS]; /* parameters */
    uint16_t order[256];            /* ids, a ring */
    unsigned n_asked;
    unsigned resets, duplicates, nacks, not_ready;

    struct ash_deframer rx;
    uint8_t frm_rx, frm_tx;
    uint8_t seq; /* of the last command */
    bool waiting, ack_due;
    int64_t repeat_at_ms;
    struct ncp_frame queue[NCP_QUEUE];
    size_t queue_at, queued;
    struct ncp_frame later[NCP_LATER];
    size_t n_later;
};

struct ncp_world {
    struct stick *stick;
    struct ncp ncp;
    int64_t now_ms;
    bool line_cut; /* nothing passes either way */
    unsigned ups, downs, reopens, packets, warnings;
    unsigned outcomes[4];
    uint32_t max_packet_bytes;
    uint64_t from; /* EUI-64 of the last packet */
    bool to_group;
    struct bytes packet; /* the last one */
    uint8_t packet_room[256];
    uint8_t wire[8192];  /* from the host */
    char text[NCP_TEXT]; /* the last DOWN or REOPEN */
    char up[NCP_TEXT];
    char logged[4 * NCP_TEXT];
};

/* A stick of that version, with a network; the port is not open. */
struct ncp_world *ncp_world_new(uint8_t version, const struct stick_config *config);
void ncp_world_free(struct ncp_world *w);

/* Opens the port and runs until packets pass; fails after a minute. */
void ncp_world_start(struct ncp_world *w);
void ncp_world_run(struct ncp_world *w, int64_t ms);

/* A packet for a node. */
void ncp_world_send(struct ncp_world *w, uint64_t eui64, struct bytes packet);
void ncp_world_send_group(struct ncp_world *w, struct bytes packet);

/* A response that the script would not give. */
void ncp_response(struct ncp_world *w, uint8_t seq, uint16_t id, struct bytes parameters);

/* A callback with these parameters, now or later. */
void ncp_callback(struct ncp_world *w, int64_t after_ms, uint16_t id, struct bytes parameters);
void ncp_status(struct ncp_world *w, uint32_t ember, uint32_t sl);
void ncp_message(struct ncp_world *w, uint8_t type, uint16_t sender, uint64_t eui64,
                 const struct ezsp_aps *aps, struct bytes message);

/* Something that is no DATA, or spoiled, to the host. */
void ncp_raw(struct ncp_world *w, struct bytes octets);
void ncp_says(struct ncp_world *w, enum ash_type type, uint8_t code);

/* The position of the first question of that id, -1: never asked. */
int ncp_asked_at(const struct ncp *ncp, uint16_t id);

#endif
