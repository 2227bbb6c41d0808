/* SPDX-License-Identifier: Apache-2.0 */
/* The XBee driver inside: xbee.c (frames and data), xbee_start.c (until packets pass). */
#ifndef SENNET_RADIO_STICK_XBEE_PRIV_H
#define SENNET_RADIO_STICK_XBEE_PRIV_H

#include "radio/stick/core.h"
#include "radio/stick/xbee_frame.h"

enum { XBEE_HEALTH_MS = 45000, XBEE_AT_MS = 2000 };

/* Settings that are read at the start. */
enum xbee_setting {
    SET_AP,
    SET_OP, /* unknown to 802.15.4 firmware, which tells the families apart */
    SET_AO,
    SET_VR,
    SET_HV,
    SET_SH,
    SET_SL,
    SET_MY,
    SET_ID,
    SET_OI,
    SET_CH,
    SET_CE,
    SET_NP,
    SET_NH,
    SET_EE,
    SET_SP,
    SET_AI,
    N_XBEE_SETTINGS
};

enum xbee_phase {
    /* looking for it */
    XBEE_ASK_AP,
    XBEE_SILENCE, /* before "+++" */
    XBEE_PLUS,    /* "OK" is to come */
    XBEE_TEXT_AP, /* for "ATAP2" */
    XBEE_TEXT_CN, /* for "ATCN" */
    /* API mode works */
    XBEE_READ,
    XBEE_WRITE,
    XBEE_WAIT_NETWORK,
    XBEE_UP,
};

struct xbee {
    struct stick s;
    struct xbee_decoder decoder;
    int64_t partial_ms; /* a frame under way is given up then */
    enum xbee_phase phase;
    unsigned baud_at, tries;
    int32_t baud;        /* of the port now, 0: unknown */
    int64_t deadline_ms; /* of the phase */
    int64_t give_up_ms;  /* of waiting for the network */
    char text[4];        /* the latest octets, while it speaks text */

    size_t setting; /* that is read or written */
    uint8_t at_id;  /* of the latest AT command */
    bool has[N_XBEE_SETTINGS];
    uint64_t value[N_XBEE_SETTINGS];
    bool is_802154;
    bool new_frames; /* types 10 and 90 whatever the firmware */

    int64_t health_ms; /* next look; while up */
    unsigned misses;
    uint64_t unknown; /* outcomes, when it was looked at last */
};

static inline struct xbee *xbee_of(struct stick *s)
{
    return container_of(s, struct xbee, s);
}

/* Sends a frame. */
void xbee_send(struct xbee *x, struct bytes content);

/* An AT command; `value` empty asks. */
void xbee_at(struct xbee *x, const char name[2], struct bytes value);

/* ---- xbee_start.c ------------------------------------------------------------------------------ */

extern const char xbee_names[N_XBEE_SETTINGS][3];

void xbee_start(struct xbee *x, int64_t now_ms);
void xbee_start_due(struct xbee *x, int64_t now_ms);
/* Octets while text is spoken. */
void xbee_text(struct xbee *x, int64_t now_ms, struct bytes in);
/* An AT response while not up. */
void xbee_start_response(struct xbee *x, int64_t now_ms, const char name[2], uint8_t status,
                         struct bytes value);
/* The module has reset itself, or told that its network came or went. */
void xbee_restart(struct xbee *x, int64_t now_ms, const char *why);
void xbee_network(struct xbee *x, int64_t now_ms, bool there);

#endif
