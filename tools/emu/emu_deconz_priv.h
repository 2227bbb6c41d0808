/* SPDX-License-Identifier: Apache-2.0 */
/*
 * An emulated ConBee (radio reference, chapter D), between its files: emu_deconz.c (line, commands,
 * network), emu_deconz_aps.c (packets), emu_deconz_parameters.c (what the stick remembers).
 *
 * config.firmware:
 *     0, 1  ConBee II: protocol 010D, watchdog, both addresses of a sender when asked
 *     2     ConBee III: the same with another platform
 *     3     ConBee I: protocol 0107: no watchdog, a sender has one address
 *     4     as 1, but it never says by itself that its state has changed: poll
 *     5     as 1, but its answers carry sequence numbers of its own
 */
#ifndef SENNET_TOOLS_EMU_EMU_DECONZ_PRIV_H
#define SENNET_TOOLS_EMU_EMU_DECONZ_PRIV_H

#include "tools/emu/emu.h"

enum {
    DECONZ_FRAME_MAX = 300,
    DECONZ_ASDU_MAX = 82,
    DECONZ_INDICATIONS = 24,
    DECONZ_CONFIRMS = 64,
    DECONZ_SENDS = 32,
    DECONZ_ENDPOINTS = 2,
    DECONZ_ENDPOINT_MAX = 64,
    DECONZ_VALUE_MAX = 32,
    DECONZ_PARAMETERS = 24,
    DECONZ_ANSWERS = 16,
};

enum deconz_command {
    DECONZ_APS_CONFIRM = 0x04,
    DECONZ_DEVICE_STATE = 0x07,
    DECONZ_CHANGE_NETWORK = 0x08,
    DECONZ_READ = 0x0A,
    DECONZ_WRITE = 0x0B,
    DECONZ_VERSION = 0x0D,
    DECONZ_STATE_CHANGED = 0x0E,
    DECONZ_APS_REQUEST = 0x12,
    DECONZ_APS_INDICATION = 0x17,
    DECONZ_REBOOT = 0x1E,
};

enum deconz_status {
    DECONZ_SUCCESS,
    DECONZ_FAILURE,
    DECONZ_BUSY,
    DECONZ_TIMEOUT,
    DECONZ_UNSUPPORTED,
    DECONZ_ERROR,
    DECONZ_NO_NETWORK,
    DECONZ_INVALID_VALUE,
};

enum deconz_network { DECONZ_OFFLINE, DECONZ_JOINING, DECONZ_CONNECTED, DECONZ_LEAVING };

enum deconz_parameter {
    DECONZ_MAC = 0x01,
    DECONZ_PAN = 0x05,
    DECONZ_ADDRESS = 0x07,
    DECONZ_EXTENDED_PAN = 0x08,
    DECONZ_COORDINATOR = 0x09,
    DECONZ_CHANNELS = 0x0A,
    DECONZ_APS_EXTENDED_PAN = 0x0B,
    DECONZ_TRUST_CENTER = 0x0E,
    DECONZ_SECURITY = 0x10,
    DECONZ_ENDPOINT = 0x13,
    DECONZ_PREDEFINED_PAN = 0x15,
    DECONZ_NETWORK_KEY = 0x18,
    DECONZ_LINK_KEY = 0x19,
    DECONZ_CHANNEL = 0x1C,
    DECONZ_PERMIT_JOIN = 0x21,
    DECONZ_PROTOCOL = 0x22,
    DECONZ_UPDATE_ID = 0x24,
    DECONZ_WATCHDOG = 0x26,
    DECONZ_FRAME_COUNTER = 0x27,
    DECONZ_ZDP_HANDLING = 0x28,
};

struct deconz_value {
    uint8_t id, len;
    uint8_t octets[DECONZ_VALUE_MAX];
};

/* Index, endpoint, profile ... as parameter 13 carries it; len 0: none. */
struct deconz_endpoint {
    uint8_t len;
    uint8_t octets[DECONZ_ENDPOINT_MAX];
};

struct deconz_send {
    bool used;
    uint8_t id, mode, dst_endpoint, src_endpoint;
    uint64_t to;
    uint32_t handle;
};

struct deconz_confirm {
    struct deconz_send of;
    uint8_t status;
    bool frees; /* a slot, when it has been read */
};

struct deconz_indication {
    bool broadcast, zdo;
    uint64_t eui64;
    uint16_t from;
    uint8_t endpoint, lqi, len;
    uint16_t profile, cluster;
    int8_t rssi;
    uint8_t asdu[ETHER_PAYLOAD_MAX];
};

/* A node's answer to a ZDO request, still in the air. */
struct deconz_answer {
    int64_t at_ms; /* 0: free */
    uint8_t seq;
    uint16_t cluster;
    size_t node;
};

struct emu_deconz {
    struct emu m;

    uint8_t frame[DECONZ_FRAME_MAX]; /* from the host, unescaped */
    size_t frame_len;
    bool escaped, broken;
    uint8_t sequence; /* of what the stick says by itself */

    /* kept without power */
    struct deconz_value values[DECONZ_PARAMETERS];
    struct deconz_endpoint endpoints[DECONZ_ENDPOINTS];
    bool stored_network;

    enum deconz_network network;
    int64_t network_ms; /* the change under way is done; TIME_NEVER */
    bool to_connect;    /* ... and then? */
    bool changed;       /* configuration, since the network was last started */
    uint8_t said;       /* the state that the host knows */
    int64_t boot_ms;    /* deaf until */
    int64_t starve_ms;  /* the watchdog bites */
    struct deconz_endpoint active[DECONZ_ENDPOINTS];
    uint16_t pan_id;
    uint8_t channel;

    struct deconz_send sends[DECONZ_SENDS];
    struct deconz_confirm confirms[DECONZ_CONFIRMS];
    size_t confirm_first, n_confirms;
    struct deconz_indication indications[DECONZ_INDICATIONS];
    size_t indication_first, n_indications;
    struct deconz_answer answers[DECONZ_ANSWERS];
    unsigned slots_busy;
    uint32_t handle;
    uint8_t zdo_sequence, aps_counter;
};

/* ---- emu_deconz.c ------------------------------------------------------------------------------ */

/* The state octet as it is now; the host is about to learn it. */
uint8_t conbee_state(struct emu_deconz *d);

struct deconz_request {
    uint8_t command, sequence;
    struct bytes rest; /* behind the frame length */
};

/* cmd, seq, status, frame length, and behind it `with_length` ? payload length and payload : payload. */
void conbee_answer(struct emu_deconz *d, int64_t now_ms, const struct deconz_request *request,
                   enum deconz_status status, bool with_length, struct bytes payload);

/* ---- emu_deconz_parameters.c ------------------------------------------------------------------- */

void conbee_parameters_init(struct emu_deconz *d);
void conbee_read(struct emu_deconz *d, int64_t now_ms, const struct deconz_request *request);
void conbee_write(struct emu_deconz *d, int64_t now_ms, const struct deconz_request *request);
uint64_t conbee_number(const struct emu_deconz *d, enum deconz_parameter id);
void conbee_set_number(struct emu_deconz *d, enum deconz_parameter id, uint64_t value);
unsigned conbee_protocol(const struct emu_deconz *d);

/* ---- emu_deconz_aps.c -------------------------------------------------------------------------- */

void conbee_aps_reset(struct emu_deconz *d);
unsigned conbee_slots(const struct emu_deconz *d);
void conbee_aps_request(struct emu_deconz *d, int64_t now_ms, const struct deconz_request *request);
void conbee_aps_confirm(struct emu_deconz *d, int64_t now_ms, const struct deconz_request *request);
void conbee_aps_indication(struct emu_deconz *d, int64_t now_ms,
                           const struct deconz_request *request);
void conbee_aps_event(struct emu_deconz *d, int64_t now_ms, const struct ether_event *event);
void conbee_aps_due(struct emu_deconz *d, int64_t now_ms);
int64_t conbee_aps_deadline(const struct emu_deconz *d);

/* ---- integers of 64 bits ----------------------------------------------------------------------- */

static inline uint64_t conbee_rd_u64(struct reader *r)
{
    const uint64_t low = rd_u32_le(r);
    return low | (uint64_t)rd_u32_le(r) << 32;
}

static inline void conbee_wr_u64(struct writer *w, uint64_t value)
{
    wr_u32_le(w, (uint32_t)value);
    wr_u32_le(w, (uint32_t)(value >> 32));
}

#endif
