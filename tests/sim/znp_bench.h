/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A ZNP stick on strings: answers each request as it is told, instantly, and writes down what was
 * asked. It knows nothing of nodes or air; the tests say every indication themselves. For what a
 * whole stick does there is the emulator (tools/emu/).
 */
#ifndef SENNET_TESTS_SIM_ZNP_BENCH_H
#define SENNET_TESTS_SIM_ZNP_BENCH_H

#include "radio/stick/stick.h"
#include "radio/stick/znp_frame.h"
#include "radio/stick/znp_msg.h"

enum { BENCH_ASKED = 512, BENCH_TEXT = 320, BENCH_RULES = 8 };

/* An exception from the usual answer to `cmd`. */
struct bench_rule {
    uint16_t cmd;
    unsigned times; /* 0: no rule */

    enum { BENCH_MUTE, BENCH_UNKNOWN, BENCH_STATUS } how;

    uint8_t status;
};

struct bench_asked {
    uint16_t cmd;
    uint8_t data[ZNP_DATA_MAX];
    size_t len;
};

struct bench {
    struct stick *s;
    int64_t now_ms;

    /* the stick */
    uint8_t product;
    uint16_t caps;
    uint16_t nib_len; /* of the item that tells of the network: PAN and channel as below */
    uint8_t state, role, channel;
    uint16_t pan_id;
    uint64_t lookup; /* answer to every ZNP_NWK_LOOKUP; 0: unknown */
    uint8_t key[16];
    bool in_boot_loader; /* until it reads EF */
    bool held_by_pins;   /* until DTR is low and RTS has gone up and down */
    bool dead, echoes, babbles;
    bool silent_start;  /* the network comes up without a word */
    uint8_t formation;  /* status of BDB commissioning */
    uint16_t fetch_len; /* what ZNP_DATA_RETRIEVE gives, octets 00 01 02 ... */
    bool holds_data;    /* answers to packets are kept back until bench_answer() */
    struct bench_rule rules[BENCH_RULES];

    struct znp_framer in;
    struct bench_asked asked[BENCH_ASKED];
    size_t n_asked;
    int8_t last_rts;

    /* the gateway's side */
    unsigned ups, downs, reopens, ports, outcomes[4], packets;
    char text[BENCH_TEXT];    /* of the last UP, DOWN, REOPEN */
    char log[BENCH_TEXT * 4]; /* names of all LOG events */
    struct peer_room from;    /* of the last packet */
    uint8_t packet[512];
    size_t packet_len;
    bool to_group;
};

/* A 3.x.0 stick whose coordinator runs on PAN 1A62, channel 15. Not opened yet: change it first. */
struct bench *bench_new(const struct stick_config *config);
void bench_free(struct bench *b);

void bench_open(struct bench *b);
void bench_run(struct bench *b, int64_t ms);

/* Opens, and fails unless it is up within `ms`. */
void bench_start(struct bench *b, int64_t ms);

void bench_rule(struct bench *b, uint16_t cmd, unsigned times, int how, uint8_t status);

/* The stick says this; `data` as hexadecimal text. */
void bench_say(struct bench *b, uint16_t cmd, const char *data);

void bench_confirm(struct bench *b, uint8_t status, uint8_t id);

/* The held-back answer to a packet. */
void bench_answer(struct bench *b, uint16_t request, uint8_t status);

/* A packet for the node with this EUI-64. */
void bench_send(struct bench *b, uint64_t eui64, const char *packet);
void bench_send_group(struct bench *b, const char *packet);

/* How often was this asked, and the last time; NULL: never. */
unsigned bench_count(const struct bench *b, uint16_t cmd);
const struct bench_asked *bench_last(const struct bench *b, uint16_t cmd);

/* The id that the last packet was sent under. */
uint8_t bench_id(const struct bench *b);

#endif
