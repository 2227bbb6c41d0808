/* SPDX-License-Identifier: Apache-2.0 */
/* Between the files of the emulated XBee: emu_xbee.c (frames, air), emu_xbee_at.c (settings,
 * command mode). */
#ifndef SENNET_TOOLS_EMU_EMU_XBEE_PRIV_H
#define SENNET_TOOLS_EMU_EMU_XBEE_PRIV_H

#include "tools/emu/emu_xbee.h"

enum {
    XBEE_SETTINGS = 48,
    XBEE_FRAME = 512, /* frame data; longer ones are refused */
    XBEE_SLOTS = 8,
    XBEE_SLOTS_MAX = 32,
    XBEE_LATER = 32,
    XBEE_LINE = 80, /* of command mode */
};

enum xbee_setting {
    XBEE_AP,
    XBEE_AO,
    XBEE_SH,
    XBEE_SL,
    XBEE_MY,
    XBEE_ID,
    XBEE_OI,
    XBEE_OP,
    XBEE_CH,
    XBEE_NP,
    XBEE_VR,
    XBEE_HV,
    XBEE_CE,
    XBEE_EE,
    XBEE_AI,
    XBEE_NH,
};

/* A send that waits for its confirm. */
struct xbee_send {
    bool used;
    uint8_t id;
    uint8_t discovery;
    uint16_t dst16;
};

struct xbee_later {
    int64_t at_ms;
    uint8_t len; /* 0: free */
    uint8_t data[12];
};

struct xbee {
    struct emu emu; /* first */
    bool begun;     /* power has been on before: the flash holds something */
    uint64_t now[XBEE_SETTINGS], flash[XBEE_SETTINGS], queued[XBEE_SETTINGS];
    bool is_queued[XBEE_SETTINGS];
    int64_t network_ms; /* the network will be there; TIME_NEVER: it is, or there is none */
    int64_t reset_ms;   /* FR: soon */
    uint8_t reset_status;

    /* octets of a frame from the host */
    uint8_t frame[XBEE_FRAME];
    unsigned frame_at;
    uint16_t frame_len;
    uint8_t sum;
    bool in_frame, escaped;

    /* AP=0 */
    char line[XBEE_LINE];
    unsigned line_len;
    bool commanding;
    unsigned pluses;
    int64_t heard_ms; /* the last octet */
    int64_t ok_ms;    /* +++ and silence: OK */
    int64_t command_end_ms;
    uint64_t aired; /* octets that went on air as they are */

    struct xbee_send sends[XBEE_SLOTS_MAX];
    struct xbee_later later[XBEE_LATER];
};

static inline struct xbee *xbee_of(struct emu *m)
{
    return (struct xbee *)(void *)m;
}

static inline unsigned xbee_model(const struct xbee *x)
{
    return x->emu.config.firmware & EMU_XBEE_MODEL;
}

static inline bool xbee_is_zigbee(const struct xbee *x)
{
    return xbee_model(x) == EMU_XBEE_ZIGBEE;
}

/* ---- emu_xbee.c -------------------------------------------------------------------------------- */

/* API frame to the host, framed as AP says; nothing in transparent mode. `answer`: takes
 * config.command_ms. */
void xbee_say(struct xbee *x, int64_t now_ms, struct bytes data, bool answer);

/* Its data `after_ms` later. */
void xbee_say_later(struct xbee *x, int64_t now_ms, int64_t after_ms, struct bytes data);

/* The network begins to be formed or resumed. */
void xbee_form(struct xbee *x, int64_t now_ms, int64_t after_ms);

/* ---- emu_xbee_at.c ----------------------------------------------------------------------------- */

void xbee_defaults(struct xbee *x, uint64_t *values);

/* Frames 08 and 09, behind the type. */
void xbee_at_frame(struct xbee *x, int64_t now_ms, bool queue, struct reader r);

/* Octets in transparent mode. */
void xbee_at_octet(struct xbee *x, int64_t now_ms, uint8_t octet);
void xbee_at_advance(struct xbee *x, int64_t now_ms);
int64_t xbee_at_deadline(const struct xbee *x);

#endif
