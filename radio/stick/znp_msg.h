/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The messages of Z-Stack's ZNP interface that the driver uses (radio reference, B.2 to B.6): pure
 * functions between octets and values. Everything is little-endian, EUI-64 included. `put` writes
 * the data of a request; `get` reads the data of an answer or indication and is false when it is
 * malformed. Answers may be longer than we know: firmwares have grown fields at the end.
 */
#ifndef SENNET_RADIO_STICK_ZNP_MSG_H
#define SENNET_RADIO_STICK_ZNP_MSG_H

#include "base/bytes.h"

enum znp_command {
    /* asked and answered; the answer is znp_answer() of these */
    ZNP_PING = 0x2101,
    ZNP_VERSION = 0x2102,
    ZNP_NV_ITEM_INIT = 0x2107,
    ZNP_NV_READ = 0x2108,
    ZNP_NV_WRITE = 0x2109,
    ZNP_NV_LENGTH = 0x2113,
    ZNP_NV_READ_EXT = 0x211C,
    ZNP_NV_WRITE_EXT = 0x211D,
    ZNP_REGISTER = 0x2400,
    ZNP_DATA_REQUEST = 0x2401,
    ZNP_DATA_REQUEST_EXT = 0x2402,
    ZNP_DELETE = 0x2404,
    ZNP_DATA_RETRIEVE = 0x2412,
    ZNP_NWK_ADDR_REQ = 0x2500,
    ZNP_IEEE_ADDR_REQ = 0x2501,
    ZNP_PERMIT_JOIN_REQ = 0x2536,
    ZNP_MSG_CB_REGISTER = 0x253E,
    ZNP_STARTUP_FROM_APP = 0x2540,
    ZNP_EXT_ROUTE_DISC = 0x2545,
    ZNP_EXT_NWK_INFO = 0x2550,
    ZNP_DEVICE_INFO = 0x2700,
    ZNP_NWK_LOOKUP = 0x2741, /* a 16-bit address -> EUI-64, from the stick's own table */
    ZNP_BDB_START = 0x2F05,
    ZNP_BDB_SET_CHANNEL = 0x2F08,

    /* only sent */
    ZNP_RESET_REQ = 0x4100,

    /* only heard */
    ZNP_RESET_IND = 0x4180,
    ZNP_DATA_CONFIRM = 0x4480,
    ZNP_INCOMING = 0x4481,
    ZNP_INCOMING_EXT = 0x4482,
    ZNP_NWK_ADDR_RSP = 0x4580,
    ZNP_IEEE_ADDR_RSP = 0x4581,
    ZNP_PERMIT_JOIN_RSP = 0x45B6,
    ZNP_STATE_CHANGE = 0x45C0,
    ZNP_DEVICE_ANNCE = 0x45C1,
    ZNP_SRC_RTG = 0x45C4,
    ZNP_CONCENTRATOR = 0x45C8,
    ZNP_LEAVE = 0x45C9,
    ZNP_TC_DEVICE = 0x45CA,
    ZNP_PERMIT_JOIN = 0x45CB,
    ZNP_MSG_CB = 0x45FF,
    ZNP_BDB_NOTIFY = 0x4F80,
    ZNP_RPC_ERROR = 0x6000, /* answers any request */
};

static inline uint16_t znp_answer(uint16_t request)
{
    return (uint16_t)(request + 0x4000);
}

enum znp_nv {
    ZNP_NV_STARTUP_OPTION = 0x0003,
    ZNP_NV_NIB = 0x0021,
    ZNP_NV_EXTENDED_PAN = 0x002D,
    ZNP_NV_ACTIVE_KEY = 0x003A,
    ZNP_NV_USE_EXT_PAN = 0x0047,
    ZNP_NV_CONFIGURED = 0x0060,
    ZNP_NV_KEY = 0x0062,
    ZNP_NV_KEYS_ENABLE = 0x0063,
    ZNP_NV_PAN = 0x0083,
    ZNP_NV_CHANNELS = 0x0084,
    ZNP_NV_LOGICAL_TYPE = 0x0087,
    ZNP_NV_DIRECT_CB = 0x008F,
    ZNP_NV_CONFIGURED_12 = 0x0F00,
};

enum znp_status {
    ZNP_OK = 0x00,
    ZNP_FAILURE = 0x01,
    ZNP_INVALID_PARAMETER = 0x02,
    ZNP_ITEM_CREATED = 0x09,
    ZNP_MEMORY = 0x10,
    ZNP_BUFFER_FULL = 0x11,
    ZNP_NO_MAC_RESOURCES = 0x1A,
    ZNP_APS_NO_ACK = 0xB7,
    ZNP_DUPLICATE_ENTRY = 0xB8,
    ZNP_SECURITY_FAIL = 0xBB,
    ZNP_INVALID_REQUEST = 0xC2,
    ZNP_TABLE_FULL = 0xC7,
    ZNP_NO_ROUTE = 0xCD,
    ZNP_CHANNEL_ACCESS = 0xE1,
    ZNP_MAC_NO_ACK = 0xE9,
    ZNP_EXPIRED = 0xF0,
    ZNP_OVERFLOW = 0xF1,
};

/* What a status of a send means (B.5). */
enum znp_class {
    ZNP_CLASS_OK,
    ZNP_CLASS_BUSY,    /* the stick or the parent has no room, or the channel: never on air */
    ZNP_CLASS_ROUTE,   /* nobody knows the way, or the key: never on air */
    ZNP_CLASS_NO_ACK,  /* on air, and not acknowledged */
    ZNP_CLASS_REFUSED, /* it won't, whatever we try */
};

enum znp_class znp_class_of(uint8_t status);

enum {
    ZNP_CAP_APP_CNF = 0x0400,

    ZNP_BROADCAST_AWAKE = 0xFFFD, /* everybody whose receiver is always on */
    ZNP_BROADCAST_ROUTERS = 0xFFFC,

    ZNP_MODE_SHORT = 2,
    ZNP_MODE_EUI64 = 3,
    ZNP_MODE_BROADCAST = 0x0F,

    ZNP_OPTION_APS_ACK = 0x10,
    ZNP_RADIUS = 30,

    ZNP_STATE_STARTING = 8,
    ZNP_STATE_COORDINATOR = 9,

    ZNP_BDB_FORMATION = 0x04,
};

/* ---- requests ---------------------------------------------------------------------------------- */

void znp_put_nv_read(struct writer *w, bool ext, uint16_t id);
void znp_put_nv_write(struct writer *w, bool ext, uint16_t id, struct bytes value);
void znp_put_nv_init(struct writer *w, uint16_t id, struct bytes value);
void znp_put_set_channel(struct writer *w, bool primary, uint32_t mask);
void znp_put_register(struct writer *w, uint8_t endpoint, uint16_t profile, uint16_t cluster);
void znp_put_permit_join(struct writer *w, uint8_t mode, uint16_t to, uint8_t seconds);
void znp_put_nwk_addr(struct writer *w, uint64_t eui64);
void znp_put_ieee_addr(struct writer *w, uint16_t short_address);
void znp_put_route_disc(struct writer *w, uint16_t to);
void znp_put_retrieve(struct writer *w, uint32_t timestamp, uint16_t at, uint8_t n);

/* From endpoint to endpoint of the same number. */
struct znp_data {
    uint8_t mode; /* of ZNP_DATA_REQUEST_EXT */
    uint64_t to;  /* EUI-64, or 16 bits */
    uint8_t endpoint_to, endpoint;
    uint16_t cluster;
    uint8_t id, options, radius;
    struct bytes payload;
};

void znp_put_data(struct writer *w, const struct znp_data *data);
void znp_put_data_ext(struct writer *w, const struct znp_data *data);

/* ---- answers and indications ------------------------------------------------------------------- */

struct znp_version {
    uint8_t product, major, minor, maint;
    uint32_t revision; /* 0: not told */
};

bool znp_get_version(struct bytes in, struct znp_version *out);

/* The octets of an item; empty when the stick has none. */
bool znp_get_nv(struct bytes in, uint8_t *status, struct bytes *value);

struct znp_device {
    uint64_t eui64;
    uint16_t short_address;
    uint8_t state;
};

bool znp_get_device(struct bytes in, struct znp_device *out);

/* Does the stack's state (item ZNP_NV_NIB, as read) say that there is no network? The item is made
 * when the stack first starts, so its length alone says nothing. False, too, for a layout that is
 * unknown: then nothing is certain, and a network might be lost. */
bool znp_nib_is_empty(struct bytes nib);

struct znp_network {
    uint16_t pan_id;
    uint8_t state, channel;
    uint64_t extended_pan;
};

bool znp_get_network(struct bytes in, struct znp_network *out);

struct znp_confirm {
    uint8_t status, endpoint, id;
};

bool znp_get_confirm(struct bytes in, struct znp_confirm *out);

struct znp_incoming {
    bool by_eui64;
    bool broadcast;
    bool fetch; /* `payload` is still in the stick, `len` octets of it */
    uint64_t from;
    uint16_t pan_id; /* of the sender; 0: ours */
    uint16_t group, cluster;
    uint8_t endpoint_from, endpoint, lqi;
    uint32_t timestamp;
    uint16_t len;
    struct bytes payload;
};

/* What follows the payload differs between firmwares and is ignored. */
bool znp_get_incoming(struct bytes in, struct znp_incoming *out);
bool znp_get_incoming_ext(struct bytes in, struct znp_incoming *out);

/* A 64-bit and a 16-bit address that belong together. */
struct znp_pair {
    uint64_t eui64;
    uint16_t short_address;
};

/* DEVICE_ANNCE, TC_DEVICE; NWK_ADDR_RSP and IEEE_ADDR_RSP (false, too, when they report failure). */
bool znp_get_annce(struct bytes in, struct znp_pair *out, uint8_t *capability);
bool znp_get_tc_device(struct bytes in, struct znp_pair *out);
bool znp_get_addresses(struct bytes in, struct znp_pair *out);

struct znp_leave {
    struct znp_pair who;
    bool rejoins;
};

bool znp_get_leave(struct bytes in, struct znp_leave *out);

/* A ZDO message as it came, for firmwares that pass these on only so. */
struct znp_zdo {
    uint16_t from, cluster;
    struct bytes data;
};

bool znp_get_zdo(struct bytes in, struct znp_zdo *out);

#endif
