/* SPDX-License-Identifier: Apache-2.0 */
/* The deCONZ driver inside: deconz.c (commands and data), deconz_start.c (until packets pass). */
#ifndef SENNET_RADIO_STICK_DECONZ_PRIV_H
#define SENNET_RADIO_STICK_DECONZ_PRIV_H

#include "radio/stick/core.h"
#include "radio/stick/deconz_frame.h"

enum {
    DECONZ_ZDO_ID = 0, /* request id of our own ZDO messages; packets have 1..255 */
    DECONZ_CONTENT_MAX = 160,

    STATE_NETWORK = 0x03, /* mask of the next */
    STATE_OFFLINE = 0,
    STATE_CONNECTED = 2,
    STATE_CONFIRM = 0x04,
    STATE_INDICATION = 0x08,
    STATE_FREE_SLOT = 0x20,
};

/* Parameters. */
enum {
    PARAM_MAC = 0x01,
    PARAM_PAN_ID = 0x05,
    PARAM_EXTENDED_PAN = 0x08,
    PARAM_COORDINATOR = 0x09,
    PARAM_CHANNEL_MASK = 0x0A,
    PARAM_APS_EXTENDED_PAN = 0x0B,
    PARAM_TRUST_CENTER = 0x0E,
    PARAM_SECURITY_MODE = 0x10,
    PARAM_ENDPOINT = 0x13,
    PARAM_PREDEFINED_PAN = 0x15,
    PARAM_NETWORK_KEY = 0x18,
    PARAM_CHANNEL = 0x1C,
    PARAM_PERMIT_JOIN = 0x21,
    PARAM_PROTOCOL = 0x22,
    PARAM_WATCHDOG = 0x26,
};

enum deconz_step {
    STEP_VERSION,
    STEP_PROTOCOL,
    STEP_MAC,
    STEP_WATCHDOG,
    STEP_COORDINATOR,
    STEP_PAN_ID,
    STEP_CHANNEL,
    STEP_ENDPOINT,
    STEP_STATE,
    /* forming */
    STEP_FORM_COORDINATOR,
    STEP_FORM_MASK,
    STEP_FORM_PREDEFINED,
    STEP_FORM_PAN,
    STEP_FORM_EXTENDED,
    STEP_FORM_APS_EXTENDED,
    STEP_FORM_KEY,
    STEP_FORM_SECURITY,
    STEP_FORM_TRUST_CENTER,
    /* into the network */
    STEP_WRITE_ENDPOINT,
    STEP_OFFLINE,
    STEP_WAIT_OFFLINE,
    STEP_ONLINE,
    STEP_WAIT_ONLINE,
    STEP_READ_PAN,
    STEP_READ_CHANNEL,
    STEP_UP,
};

/* A command that waits to be sent. */
struct deconz_pending {
    bool waits;
    size_t len;
    uint8_t content[DECONZ_CONTENT_MAX];
};

struct deconz {
    struct stick s;
    struct deconz_decoder decoder;
    uint8_t seq;
    uint8_t state; /* as last told */

    /* The command that awaits its answer; 0: none. */
    uint8_t command;
    uint8_t parameter;  /* of READ, WRITE */
    uint8_t request_id; /* of DATA_REQUEST */
    bool is_step;       /* it belongs to the start-up */
    int64_t answer_ms;  /* due until then */
    unsigned silences;  /* commands without answer, in a row */
    bool was_silent;    /* one was without answer: see whether the endpoint is still there */

    /* Running. */
    struct deconz_pending request; /* DATA_REQUEST of a packet */
    uint8_t waiting_id;            /* its request id */
    struct deconz_pending zdo;
    struct deconz_pending join; /* WRITE_PARAMETER */
    bool plain_indications;     /* the firmware does not tell both addresses */
    uint8_t tsn;
    bool fetched; /* the last command was for an indication */
    int64_t poll_ms;
    int64_t watchdog_ms;

    /* Starting. */
    enum deconz_step step;
    unsigned tries; /* of the step */
    unsigned baud_at;
    int64_t step_ms;  /* a waiting step gives up then */
    int64_t pause_ms; /* nothing is sent before */
    bool forming, endpoint_fits, coordinator;
    uint32_t version;
    uint16_t protocol, pan_id;
    uint64_t mac, extended_pan;
    uint8_t channel;
    uint8_t key[STICK_KEY_BYTES];
};

static inline struct deconz *deconz_of(struct stick *s)
{
    return container_of(s, struct deconz, s);
}

/* Sends a command now; nothing may be under way. */
void deconz_command(struct deconz *d, int64_t now_ms, uint8_t command, struct bytes content);

/* READ or WRITE of one parameter. */
void deconz_read(struct deconz *d, int64_t now_ms, uint8_t parameter, struct bytes arguments);
void deconz_write(struct deconz *d, int64_t now_ms, uint8_t parameter, struct bytes value);

/* ---- deconz_start.c ---------------------------------------------------------------------------- */

void deconz_start(struct deconz *d, int64_t now_ms);
/* Nothing is under way: sends what the step asks for, or waits. */
void deconz_step(struct deconz *d, int64_t now_ms);
/* The answer to the step's command; `value` is the parameter's, without its number. */
void deconz_step_answer(struct deconz *d, int64_t now_ms, const struct deconz_frame *f,
                        struct bytes value);
/* There was none. */
void deconz_step_silence(struct deconz *d, int64_t now_ms);
/* READ of the endpoint while packets pass. Without it the stick has reset itself. */
void deconz_endpoint_seen(struct deconz *d, int64_t now_ms, const struct deconz_frame *f,
                          struct reader *r);
/* The network went away while packets passed. */
void deconz_network_lost(struct deconz *d, int64_t now_ms);

#endif
