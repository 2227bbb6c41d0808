/* SPDX-License-Identifier: Apache-2.0 */
/*
 * EZSP frames as values (radio reference C.3 to C.7): what goes into ASH's DATA. Two classes of
 * layouts: versions 8 to 13 with statuses of one octet and tags of one octet, and 14 upward with
 * sl_status (32 bits) and tags of two. Everything above sees sl_status only.
 */
#ifndef SENNET_RADIO_STICK_EZSP_FRAME_H
#define SENNET_RADIO_STICK_EZSP_FRAME_H

#include "radio/stick/core.h"

enum {
    EZSP_OLDEST = 8,
    EZSP_WIDE = 14,   /* first version of the second class */
    EZSP_NEWEST = 19, /* known to us */
    EZSP_HEADER_BYTES = 5,
    EZSP_SEND_BYTES = 25, /* the longest that a send needs beside its message */
    EZSP_NO_EUI64_INDEX = 0xFF,
};

enum ezsp_id {
    EZSP_VERSION = 0x00,
    EZSP_ADD_ENDPOINT = 0x02,
    EZSP_NOP = 0x05,
    EZSP_SET_CONCENTRATOR = 0x10,
    EZSP_NETWORK_INIT = 0x17,
    EZSP_STACK_STATUS = 0x19, /* callback */
    EZSP_FORM_NETWORK = 0x1E,
    EZSP_PERMIT_JOINING = 0x22,
    EZSP_CHILD_JOIN = 0x23,        /* callback */
    EZSP_TRUST_CENTER_JOIN = 0x24, /* callback */
    EZSP_GET_EUI64 = 0x26,
    EZSP_GET_NETWORK_PARAMETERS = 0x28,
    EZSP_MAXIMUM_PAYLOAD_LENGTH = 0x33,
    EZSP_SEND_UNICAST = 0x34,
    EZSP_SEND_BROADCAST = 0x36,
    EZSP_MESSAGE_SENT = 0x3F,     /* callback */
    EZSP_INCOMING_MESSAGE = 0x45, /* callback */
    EZSP_GET_CONFIGURATION = 0x52,
    EZSP_SET_CONFIGURATION = 0x53,
    EZSP_SET_POLICY = 0x55,
    EZSP_INVALID_COMMAND = 0x58,
    EZSP_LOOKUP_SHORT = 0x60,    /* lookupNodeIdByEui64 */
    EZSP_LOOKUP_EUI64 = 0x61,    /* lookupEui64ByNodeId */
    EZSP_SENDER_EUI64 = 0x62,    /* callback, in front of INCOMING_MESSAGE */
    EZSP_SET_SECURITY = 0x68,    /* setInitialSecurityState */
    EZSP_CLEAR_TRANSIENT = 0x6B, /* clearTransientLinkKeys */
    EZSP_ID_CONFLICT = 0x7C,     /* callback */
    EZSP_SET_VALUE = 0xAB,
    EZSP_ADD_TRANSIENT = 0xAF, /* up to version 11 */
    EZSP_CLEAR_KEY_TABLE = 0xB1,
    EZSP_IMPORT_TRANSIENT = 0x0111, /* from version 12 */
};

/* "sendUnicast" ... for people; "command 0x1234" has no name: NULL. */
const char *ezsp_name(uint16_t id);

struct ezsp_header {
    uint8_t seq;
    uint16_t id;
    bool callback;
    bool overflow;  /* the stick had to drop a callback */
    bool truncated; /* the frame did not fit */
};

/* `legacy`: the header of version 4, in which `version` is asked first. */
void ezsp_wr_header(struct writer *w, bool legacy, uint8_t seq, uint16_t id);

/* Of a frame from the stick; false for what is none. */
bool ezsp_rd_header(struct reader *r, bool legacy, struct ezsp_header *out);

/* ---- status ------------------------------------------------------------------------------------ */

enum sl_status {
    SL_OK = 0x00,
    SL_FAIL = 0x01,
    SL_INVALID_STATE = 0x02,
    SL_BUSY = 0x04,
    SL_NETWORK_UP = 0x15,
    SL_NETWORK_DOWN = 0x16,
    SL_NOT_JOINED = 0x17,
    SL_NO_MORE_RESOURCE = 0x19,
    SL_INVALID_PARAMETER = 0x21,
    SL_MESSAGE_TOO_LONG = 0x38,
    SL_DELIVERY_FAILED = 0x0C02,
    SL_MAX_MESSAGE_LIMIT = 0x0C03,
    SL_SOURCE_ROUTE_FAILURE = 0x0C13,
    SL_MANY_TO_ONE_FAILURE = 0x0C14,
    SL_NO_APS_ACK = 0x0C20,
    SL_SEND_FAILURE = 0x0C25,
    SL_NO_ROUTE = 0x0C26,
};

/* Ember's status, or EZSP's own, as sl_status; SL_FAIL for those that only say "no". */
uint32_t ezsp_sl_of_ember(uint8_t ember);

/* A status as this version writes it. */
uint32_t ezsp_rd_status(struct reader *r, uint8_t version);

const char *ezsp_status_name(uint32_t sl);

/* What a status says of a packet. DELIVERED at the call means: queued, the outcome follows. */
struct ezsp_ruling {
    enum stick_verdict verdict;
    int64_t again_ms; /* of NOT_BEGUN */
};

struct ezsp_ruling ezsp_at_call(uint32_t sl);
struct ezsp_ruling ezsp_at_sent(uint32_t sl);

/* ---- requests ---------------------------------------------------------------------------------- */

struct ezsp_aps {
    uint16_t profile, cluster;
    uint8_t src_endpoint, dst_endpoint;
    uint16_t options, group;
    uint8_t sequence;
};

enum { EZSP_APS_DEFAULT = 0x1140, EZSP_APS_ADDRESS_AND_ROUTE = 0x1100 };

void ezsp_wr_unicast(struct writer *w, uint8_t version, uint16_t dst, const struct ezsp_aps *aps,
                     uint16_t tag, struct bytes message);
void ezsp_wr_broadcast(struct writer *w, uint8_t version, uint16_t dst, const struct ezsp_aps *aps,
                       uint8_t radius, uint16_t tag, struct bytes message);

/* One cluster in, the same out. */
void ezsp_wr_endpoint(struct writer *w, uint8_t endpoint, uint16_t profile, uint16_t cluster);

/* Of a coordinator that forms a network: link key (hashed per node), network key. */
void ezsp_wr_security(struct writer *w, const uint8_t link_key[16], const uint8_t network_key[16]);

struct ezsp_network {
    uint8_t ext_pan[8];
    uint16_t pan_id;
    int8_t power_dbm;
    uint8_t channel;
};

void ezsp_wr_network(struct writer *w, const struct ezsp_network *network);

/* Id and parameters of the key that lets anybody in depend on the version. */
uint16_t ezsp_transient_id(uint8_t version);
void ezsp_wr_transient(struct writer *w, uint8_t version, const uint8_t key[16]);

void ezsp_wr_concentrator(struct writer *w);

/* ---- responses and callbacks: false when malformed ---------------------------------------------- */

struct ezsp_version {
    uint8_t version, stack_type;
    uint16_t stack_version; /* a digit per four bits: 7430 is 7.4.3.0 */
};

bool ezsp_rd_version(struct reader *r, struct ezsp_version *out);

struct ezsp_sent {
    uint32_t status;
    uint8_t type;
    uint16_t destination, tag;
    struct ezsp_aps aps;
};

bool ezsp_rd_sent(struct reader *r, uint8_t version, struct ezsp_sent *out);

enum ezsp_incoming_type {
    EZSP_IN_UNICAST,
    EZSP_IN_UNICAST_REPLY,
    EZSP_IN_MULTICAST,
    EZSP_IN_MULTICAST_LOOPBACK, /* our own */
    EZSP_IN_BROADCAST,
    EZSP_IN_BROADCAST_LOOPBACK,
};

struct ezsp_incoming {
    uint8_t type;
    struct ezsp_aps aps;
    uint16_t sender;
    bool has_eui64;
    uint64_t eui64;
    uint8_t lqi;
    int8_t rssi;
    struct bytes message;
};

bool ezsp_rd_incoming(struct reader *r, uint8_t version, struct ezsp_incoming *out);

bool ezsp_rd_network(struct reader *r, uint8_t version, uint32_t *status, struct ezsp_network *out);

struct ezsp_join {
    uint16_t short_address;
    uint64_t eui64;
    bool left;
};

bool ezsp_rd_trust_center_join(struct reader *r, struct ezsp_join *out);
bool ezsp_rd_child_join(struct reader *r, struct ezsp_join *out);

/* An EUI-64 of all ones or all zeros names nobody. */
static inline bool ezsp_is_eui64(uint64_t eui64)
{
    return eui64 != 0 && eui64 != UINT64_MAX;
}

#endif
