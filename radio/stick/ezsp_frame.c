/* SPDX-License-Identifier: Apache-2.0 */
/* EZSP's headers and layouts, both classes (radio reference C.3, C.4, C.5). */
#include "radio/stick/ezsp_frame.h"

/* ---- header ------------------------------------------------------------------------------------ */

enum {
    FC_RESPONSE = 0x80,
    FC_CALLBACK = 0x18, /* either bit */
    FC_TRUNCATED = 0x02,
    FC_OVERFLOW = 0x01,
    FC_HIGH_FORMAT = 0x01, /* high octet of the frame control: this header's layout */
};

void ezsp_wr_header(struct writer *w, bool legacy, uint8_t seq, uint16_t id)
{
    wr_u8(w, seq);
    wr_u8(w, 0);
    if (legacy) {
        wr_u8(w, (uint8_t)id);
        return;
    }
    wr_u8(w, FC_HIGH_FORMAT);
    wr_u16_le(w, id);
}

bool ezsp_rd_header(struct reader *r, bool legacy, struct ezsp_header *out)
{
    *out = (struct ezsp_header){.seq = rd_u8(r)};
    const uint8_t fc = rd_u8(r);
    if (legacy) {
        out->id = rd_u8(r);
    } else {
        const uint8_t high = rd_u8(r);
        out->id = rd_u16_le(r);
        if ((high & 3) != FC_HIGH_FORMAT)
            return false;
    }
    out->callback = (fc & FC_CALLBACK) != 0;
    out->overflow = (fc & FC_OVERFLOW) != 0;
    out->truncated = (fc & FC_TRUNCATED) != 0;
    return !r->failed && (fc & FC_RESPONSE) != 0;
}

const char *ezsp_name(uint16_t id)
{
    static const struct {
        uint16_t id;
        const char *name;
    } names[] = {
        {EZSP_VERSION,                "version"                },
        {EZSP_ADD_ENDPOINT,           "addEndpoint"            },
        {EZSP_NOP,                    "nop"                    },
        {EZSP_SET_CONCENTRATOR,       "setConcentrator"        },
        {EZSP_NETWORK_INIT,           "networkInit"            },
        {EZSP_FORM_NETWORK,           "formNetwork"            },
        {EZSP_PERMIT_JOINING,         "permitJoining"          },
        {EZSP_GET_EUI64,              "getEui64"               },
        {EZSP_GET_NETWORK_PARAMETERS, "getNetworkParameters"   },
        {EZSP_MAXIMUM_PAYLOAD_LENGTH, "maximumPayloadLength"   },
        {EZSP_SEND_UNICAST,           "sendUnicast"            },
        {EZSP_SEND_BROADCAST,         "sendBroadcast"          },
        {EZSP_GET_CONFIGURATION,      "getConfigurationValue"  },
        {EZSP_SET_CONFIGURATION,      "setConfigurationValue"  },
        {EZSP_SET_POLICY,             "setPolicy"              },
        {EZSP_LOOKUP_SHORT,           "lookupNodeIdByEui64"    },
        {EZSP_LOOKUP_EUI64,           "lookupEui64ByNodeId"    },
        {EZSP_SET_SECURITY,           "setInitialSecurityState"},
        {EZSP_CLEAR_TRANSIENT,        "clearTransientLinkKeys" },
        {EZSP_SET_VALUE,              "setValue"               },
        {EZSP_ADD_TRANSIENT,          "addTransientLinkKey"    },
        {EZSP_CLEAR_KEY_TABLE,        "clearKeyTable"          },
        {EZSP_IMPORT_TRANSIENT,       "importTransientKey"     },
    };

    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        if (names[i].id == id)
            return names[i].name;
    }
    return NULL;
}

/* ---- parts ------------------------------------------------------------------------------------- */

static void wr_aps(struct writer *w, const struct ezsp_aps *aps)
{
    wr_u16_le(w, aps->profile);
    wr_u16_le(w, aps->cluster);
    wr_u8(w, aps->src_endpoint);
    wr_u8(w, aps->dst_endpoint);
    wr_u16_le(w, aps->options);
    wr_u16_le(w, aps->group);
    wr_u8(w, aps->sequence);
}

static struct ezsp_aps rd_aps(struct reader *r)
{
    struct ezsp_aps aps;
    aps.profile = rd_u16_le(r);
    aps.cluster = rd_u16_le(r);
    aps.src_endpoint = rd_u8(r);
    aps.dst_endpoint = rd_u8(r);
    aps.options = rd_u16_le(r);
    aps.group = rd_u16_le(r);
    aps.sequence = rd_u8(r);
    return aps;
}

static void wr_tag(struct writer *w, uint8_t version, uint16_t tag)
{
    if (version >= EZSP_WIDE)
        wr_u16_le(w, tag);
    else
        wr_u8(w, (uint8_t)tag);
}

static uint16_t rd_tag(struct reader *r, uint8_t version)
{
    return version >= EZSP_WIDE ? rd_u16_le(r) : rd_u8(r);
}

static void wr_message(struct writer *w, struct bytes message)
{
    if (message.len > UINT8_MAX) {
        w->failed = true;
        return;
    }
    wr_u8(w, (uint8_t)message.len);
    wr_bytes(w, message);
}

uint32_t ezsp_rd_status(struct reader *r, uint8_t version)
{
    return version >= EZSP_WIDE ? rd_u32_le(r) : ezsp_sl_of_ember(rd_u8(r));
}

/* ---- requests ---------------------------------------------------------------------------------- */

enum {
    OUTGOING_DIRECT = 0,
    NO_ALIAS = 0xFFFE,
    DEVICE_ID = 0x0001,

    TC_GLOBAL_LINK_KEY = 0x0004,
    TC_HASHED_LINK_KEY = 0x0084,
    HAVE_PRECONFIGURED_KEY = 0x0100,
    HAVE_NETWORK_KEY = 0x0200,
    REQUIRE_ENCRYPTED_KEY = 0x0800,

    CONCENTRATOR_HIGH_RAM = 0xFFF9,
    FIRST_IMPORT_VERSION = 12,
    ALL_CHANNELS = 0x07FFF800,
};

void ezsp_wr_unicast(struct writer *w, uint8_t version, uint16_t dst, const struct ezsp_aps *aps,
                     uint16_t tag, struct bytes message)
{
    wr_u8(w, OUTGOING_DIRECT);
    wr_u16_le(w, dst);
    wr_aps(w, aps);
    wr_tag(w, version, tag);
    wr_message(w, message);
}

void ezsp_wr_broadcast(struct writer *w, uint8_t version, uint16_t dst, const struct ezsp_aps *aps,
                       uint8_t radius, uint16_t tag, struct bytes message)
{
    if (version >= EZSP_WIDE)
        wr_u16_le(w, NO_ALIAS);
    wr_u16_le(w, dst);
    if (version >= EZSP_WIDE)
        wr_u8(w, 0); /* the network layer's sequence number: the stack's own */
    wr_aps(w, aps);
    wr_u8(w, radius);
    wr_tag(w, version, tag);
    wr_message(w, message);
}

void ezsp_wr_endpoint(struct writer *w, uint8_t endpoint, uint16_t profile, uint16_t cluster)
{
    wr_u8(w, endpoint);
    wr_u16_le(w, profile);
    wr_u16_le(w, DEVICE_ID);
    wr_u8(w, 0); /* application version */
    wr_u8(w, 1);
    wr_u8(w, 1);
    wr_u16_le(w, cluster);
    wr_u16_le(w, cluster);
}

void ezsp_wr_security(struct writer *w, const uint8_t link_key[16], const uint8_t network_key[16])
{
    wr_u16_le(w, TC_GLOBAL_LINK_KEY | TC_HASHED_LINK_KEY | HAVE_PRECONFIGURED_KEY |
                     HAVE_NETWORK_KEY | REQUIRE_ENCRYPTED_KEY);
    wr_bytes(w, bytes_of(link_key, 16));
    wr_bytes(w, bytes_of(network_key, 16));
    wr_u8(w, 0);     /* sequence of the network key */
    wr_u64_le(w, 0); /* the trust center is this stick */
}

void ezsp_wr_network(struct writer *w, const struct ezsp_network *network)
{
    wr_bytes(w, bytes_of(network->ext_pan, sizeof network->ext_pan));
    wr_u16_le(w, network->pan_id);
    wr_u8(w, (uint8_t)network->power_dbm);
    wr_u8(w, network->channel);
    wr_u8(w, 0);     /* join method */
    wr_u16_le(w, 0); /* network manager */
    wr_u8(w, 0);     /* update id */
    wr_u32_le(w, ALL_CHANNELS);
}

uint16_t ezsp_transient_id(uint8_t version)
{
    return version < FIRST_IMPORT_VERSION ? EZSP_ADD_TRANSIENT : EZSP_IMPORT_TRANSIENT;
}

void ezsp_wr_transient(struct writer *w, uint8_t version, const uint8_t key[16])
{
    wr_u64_le(w, UINT64_MAX); /* anybody */
    wr_bytes(w, bytes_of(key, 16));
    if (version >= FIRST_IMPORT_VERSION && version < EZSP_WIDE)
        wr_u8(w, 0); /* flags */
}

void ezsp_wr_concentrator(struct writer *w)
{
    wr_u8(w, 1);
    wr_u16_le(w, CONCENTRATOR_HIGH_RAM);
    wr_u16_le(w, 5);  /* seconds between its route requests: least */
    wr_u16_le(w, 60); /* and most */
    wr_u8(w, 3);      /* route errors that call for one */
    wr_u8(w, 1);      /* delivery failures that do */
    wr_u8(w, 0);      /* hops: as many as the stack allows */
}

/* ---- responses and callbacks ------------------------------------------------------------------- */

/* Versions to come may append; what we know must be there. */
static bool whole(const struct reader *r)
{
    return !r->failed;
}

bool ezsp_rd_version(struct reader *r, struct ezsp_version *out)
{
    out->version = rd_u8(r);
    out->stack_type = rd_u8(r);
    out->stack_version = rd_u16_le(r);
    return whole(r);
}

bool ezsp_rd_sent(struct reader *r, uint8_t version, struct ezsp_sent *out)
{
    const bool wide = version >= EZSP_WIDE;
    *out = (struct ezsp_sent){.status = wide ? rd_u32_le(r) : 0};
    out->type = rd_u8(r);
    out->destination = rd_u16_le(r);
    out->aps = rd_aps(r);
    out->tag = rd_tag(r, version);
    if (!wide)
        out->status = ezsp_rd_status(r, version);
    rd_bytes(r, rd_u8(r));
    return whole(r);
}

bool ezsp_rd_incoming(struct reader *r, uint8_t version, struct ezsp_incoming *out)
{
    *out = (struct ezsp_incoming){.type = rd_u8(r)};
    out->aps = rd_aps(r);
    if (version >= EZSP_WIDE) {
        out->sender = rd_u16_le(r);
        out->eui64 = rd_u64_le(r);
        out->has_eui64 = ezsp_is_eui64(out->eui64);
        rd_bytes(r, 2); /* indexes of binding and address table */
        out->lqi = rd_u8(r);
        out->rssi = (int8_t)rd_u8(r);
        rd_bytes(r, 4); /* time stamp */
    } else {
        out->lqi = rd_u8(r);
        out->rssi = (int8_t)rd_u8(r);
        out->sender = rd_u16_le(r);
        rd_bytes(r, 2);
    }
    out->message = rd_bytes(r, rd_u8(r));
    return whole(r);
}

bool ezsp_rd_network(struct reader *r, uint8_t version, uint32_t *status, struct ezsp_network *out)
{
    *status = ezsp_rd_status(r, version);
    rd_bytes(r, 1); /* node type */
    const struct bytes ext_pan = rd_bytes(r, sizeof out->ext_pan);
    if (ext_pan.len > 0)
        memcpy(out->ext_pan, ext_pan.data, ext_pan.len);
    out->pan_id = rd_u16_le(r);
    out->power_dbm = (int8_t)rd_u8(r);
    out->channel = rd_u8(r);
    rd_bytes(r, 1 + 2 + 1 + 4); /* join method, manager, update id, channels */
    return whole(r);
}

bool ezsp_rd_trust_center_join(struct reader *r, struct ezsp_join *out)
{
    enum { DEVICE_LEFT = 2 };

    out->short_address = rd_u16_le(r);
    out->eui64 = rd_u64_le(r);
    out->left = rd_u8(r) == DEVICE_LEFT;
    rd_bytes(r, 1 + 2); /* decision, parent */
    return whole(r);
}

bool ezsp_rd_child_join(struct reader *r, struct ezsp_join *out)
{
    rd_bytes(r, 1); /* index */
    out->left = rd_u8(r) == 0;
    out->short_address = rd_u16_le(r);
    out->eui64 = rd_u64_le(r);
    rd_bytes(r, 1); /* node type */
    return whole(r);
}
