/* SPDX-License-Identifier: Apache-2.0 */
/* The emulated network coprocessor inside: emu_ezsp.c (life, frames, network), emu_ezsp_commands.c
 * (what the host asks, and what it is told), emu_ezsp_network.c (the network, its keys and values),
 * emu_ash.c below all. */
#ifndef SENNET_TOOLS_EMU_EMU_EZSP_PRIV_H
#define SENNET_TOOLS_EMU_EMU_EZSP_PRIV_H

#include "tools/emu/emu.h"
#include "tools/emu/emu_ash.h"

enum { EMU_EZSP_ENDPOINTS = 4, EMU_EZSP_GROUPS = 16, EMU_EZSP_KEY = 16 };

/* Named once; the numbers differ between the layouts. */
enum emu_ezsp_status {
    EZ_OK,
    EZ_FAIL,
    EZ_INVALID,
    EZ_NO_BUFFERS,
    EZ_NOT_DELIVERED,
    EZ_STATE,
    EZ_TOO_MANY,
    EZ_TOO_LONG,
    EZ_UP,
    EZ_DOWN,
    EZ_NOT_JOINED,
    EZ_OPENED, /* for joining */
    EZ_CLOSED,
    EZ_UNKNOWN_FRAME,
};

struct emu_ezsp_sent {
    bool used;
    uint16_t destination, tag;
    uint8_t type;
    uint8_t aps[11];
};

struct emu_ncp {
    struct emu m;
    struct emu_ash ash;
    uint8_t version;
    uint8_t seq; /* of the latest request */
    bool legacy; /* that request came in the oldest layout */
    bool negotiated;
    bool software_reset;
    int64_t boot_ms;

    bool has_network, initialised, up, has_security;
    int64_t network_ms; /* it comes up, or is gone, then */
    bool leaving;
    int64_t door_ms; /* it opens or closes then */
    bool open;
    int64_t close_ms;
    uint8_t new_key[EMU_EZSP_KEY], key[EMU_EZSP_KEY];
    uint8_t channel;
    uint16_t pan_id;
    uint8_t extended_pan[8];

    unsigned n_endpoints;

    struct {
        uint8_t number;
        uint16_t profile;
    } endpoints[EMU_EZSP_ENDPOINTS];

    struct {
        uint16_t id;
        uint8_t endpoint; /* 0: a free place */
    } groups[EMU_EZSP_GROUPS];
    struct emu_ezsp_sent sent[32];
    unsigned busy;
    uint8_t aps_sequence, zdo_tsn;

    /* A node's answer to a question for an address, and the confirm of the question. */
    int64_t answer_ms;
    struct emu_ezsp_sent question;
    uint16_t answer_cluster;
    int answer_node; /* -1: nobody answers */
    uint8_t answer_tsn;
};

static inline struct emu_ncp *emu_ncp_of(struct emu *m)
{
    return (struct emu_ncp *)(void *)m; /* its first member */
}

void emu_ezsp_put_status(const struct emu_ncp *n, struct writer *w, enum emu_ezsp_status status);
void emu_ezsp_callback(struct emu_ncp *n, int64_t now_ms, uint16_t id, const struct writer *body);
void emu_ezsp_tell_stack(struct emu_ncp *n, int64_t now_ms, enum emu_ezsp_status status);

/* The network as it left the factory, after a reset, and in time. */
void emu_ezsp_network_new(struct emu_ncp *n);
void emu_ezsp_network_off(struct emu_ncp *n);
void emu_ezsp_network_due(struct emu_ncp *n, int64_t now_ms);
int64_t emu_ezsp_network_deadline(const struct emu_ncp *n);

/* What is asked and told of it; as emu_ezsp_command(). */
bool emu_ezsp_network_command(struct emu_ncp *n, int64_t now_ms, uint16_t id, struct reader *r,
                              struct writer *w);

/* False: there is no such command in this version. */
bool emu_ezsp_command(struct emu_ncp *n, int64_t now_ms, uint16_t id, struct reader *r,
                      struct writer *w);

void emu_ezsp_confirm(struct emu_ncp *n, int64_t now_ms, const struct ether_event *event);
void emu_ezsp_incoming(struct emu_ncp *n, int64_t now_ms, const struct ether_event *event);
void emu_ezsp_zdo_answer(struct emu_ncp *n, int64_t now_ms);
void emu_ezsp_joined(struct emu_ncp *n, int64_t now_ms, size_t number);

#endif
