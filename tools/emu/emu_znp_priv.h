/* SPDX-License-Identifier: Apache-2.0 */
/* The emulated Z-Stack coordinator inside: emu_znp.c (life, network), emu_znp_af.c (data),
 * emu_znp_zdo.c (addresses, joining, formation). */
#ifndef SENNET_TOOLS_EMU_EMU_ZNP_PRIV_H
#define SENNET_TOOLS_EMU_EMU_ZNP_PRIV_H

#include "tools/emu/emu.h"
#include "tools/emu/emu_znp_nv.h"

enum {
    SOF = 0xFE,
    SKIP_BOOT = 0xEF,
    DATA_MAX = 250,
    ENDPOINTS = 16,
    GROUPS = 8,

    FIRMWARE_3X = 0,
    FIRMWARE_30 = 1,
    FIRMWARE_12 = 2,
    FIRMWARE_BOOT = 3,
    FIRMWARE_NO_FORM = 4,

    /* cmd0 */
    SREQ_SYS = 0x21,
    SREQ_AF = 0x24,
    SREQ_ZDO = 0x25,
    SREQ_SAPI = 0x26,
    SREQ_UTIL = 0x27,
    SREQ_APP_CNF = 0x2F,
    AREQ_SYS = 0x41,
    AREQ_AF = 0x44,
    AREQ_ZDO = 0x45,
    AREQ_APP_CNF = 0x4F,
    SRSP_RPC_ERROR = 0x60,

    NV_STARTUP_OPTION = 0x0003,
    NV_NIB = 0x0021,
    NV_EXTENDED_PAN_ID = 0x002D,
    NV_ACTIVE_KEY = 0x003A,
    NV_ALTERNATE_KEY = 0x003B,
    NV_CONFIGURED_3 = 0x0060,
    NV_CONFIGURED_12 = 0x0F00,
    NV_NETWORK_KEY = 0x0062,
    NV_KEY_IN_USE = 0x0082,
    NV_PAN_ID = 0x0083,
    NV_CHANNELS = 0x0084,
    NV_LOGICAL_TYPE = 0x0087,

    STATE_HOLD = 0,
    STATE_STARTING = 8,
    STATE_COORDINATOR = 9,

    ST_OK = 0x00,
    ST_FAILURE = 0x01,
    ST_INVALID = 0x02,
    ST_MEMORY = 0x10,
    ST_BUFFER_FULL = 0x11,
    ST_NO_ACK = 0xB7,
    ST_DUPLICATE = 0xB8,
    ST_INVALID_REQUEST = 0xC2,
    ST_NO_ROUTE = 0xCD,
    ST_EXPIRED = 0xF0,
    ST_OVERFLOW = 0xF1,

    START_MS = 400, /* until the network is up */
    RESET_MS = 600,
    COUNT_AF_SLOTS_3X = 16,
    COUNT_AF_SLOTS_OLD = 2,
    NO_FRAGMENTS = 82,
};

struct endpoint {
    uint8_t number; /* 0: a free place */
    uint16_t profile;
};

/* An endpoint's membership; endpoint 0: a free place. */
struct group {
    uint8_t endpoint;
    uint16_t id;
};

struct emu_stick {
    struct emu m;
    uint8_t in[DATA_MAX + 5];
    size_t n_in;
    struct znp_nv nv;
    struct endpoint endpoints[ENDPOINTS];
    struct group groups[GROUPS];
    bool in_boot_loader;
    bool zdo_raw; /* MSG_CB_REGISTER */
    uint8_t state;
    int64_t up_at_ms;   /* the network comes up */
    int64_t boot_at_ms; /* the firmware says that it has started */
    bool formation;     /* by BDB: tells when done */
    unsigned busy;      /* sends in the air */
    uint8_t seq;
};

static inline struct emu_stick *emu_znp_of(struct emu *m)
{
    return (struct emu_stick *)(void *)m; /* its first member */
}

static inline void put_eui64(struct writer *w, uint64_t eui64)
{
    wr_u32_le(w, (uint32_t)eui64);
    wr_u32_le(w, (uint32_t)(eui64 >> 32));
}

static inline uint64_t get_eui64(struct reader *r)
{
    const uint64_t low = rd_u32_le(r);
    return low | (uint64_t)rd_u32_le(r) << 32;
}

/* An AREQ to the host. */
void emu_znp_tell(struct emu_stick *z, int64_t now_ms, uint8_t cmd0, uint8_t cmd1,
                  const struct writer *data);
/* The answer to a synchronous request. */
void emu_znp_answer(struct emu_stick *z, int64_t now_ms, uint8_t cmd0, uint8_t cmd1,
                    const struct writer *data);
bool emu_znp_has_network(struct emu_stick *z);
uint8_t emu_znp_channel(struct emu_stick *z);
uint16_t emu_znp_pan_id(struct emu_stick *z);
void emu_znp_put_extended_pan(struct emu_stick *z, struct writer *w);
/* The network will be up soon; `formation`: by BDB, which tells when. */
void emu_znp_start(struct emu_stick *z, int64_t now_ms, bool formation);

/* Commands of a subsystem: the answer's data goes to `out`, which stays empty when it has been
 * answered already. False: unknown. */
bool emu_znp_af(struct emu_stick *z, int64_t now_ms, uint8_t cmd1, struct reader *r,
                struct writer *out);
bool emu_znp_zdo(struct emu_stick *z, int64_t now_ms, uint8_t cmd1, struct reader *r,
                 struct writer *out);
bool emu_znp_util(struct emu_stick *z, uint8_t cmd1, struct reader *r, struct writer *out);
bool emu_znp_app_cnf(struct emu_stick *z, int64_t now_ms, uint8_t cmd1, struct reader *r,
                     struct writer *out);

/* Events of the ether. */
void emu_znp_confirm(struct emu_stick *z, int64_t now_ms, const struct ether_event *event);
void emu_znp_incoming(struct emu_stick *z, int64_t now_ms, const struct ether_event *event);
void emu_znp_announce(struct emu_stick *z, int64_t now_ms, size_t number);

#endif
