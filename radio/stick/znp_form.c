/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A new network in a stick that has none (radio reference, B.4): its settings are erased, ours
 * written, and the stack told to form. Interrupted anywhere, the stick still has no network, and
 * the next start begins anew.
 */
#include "radio/stick/znp_priv.h"

enum { FORM_MS = 100000 };

/* ---- settings ---------------------------------------------------------------------------------- */

static const struct item {
    uint16_t id;
    bool vital; /* without it there would be another network than asked for */
} items[] = {
    {ZNP_NV_STARTUP_OPTION, false},
    {ZNP_NV_LOGICAL_TYPE,   true },
    {ZNP_NV_DIRECT_CB,      false},
    {ZNP_NV_CHANNELS,       true },
    {ZNP_NV_PAN,            true },
    {ZNP_NV_EXTENDED_PAN,   false},
    {ZNP_NV_USE_EXT_PAN,    false},
    {ZNP_NV_KEYS_ENABLE,    false},
    {ZNP_NV_KEY,            true },
};

enum { ITEMS = sizeof items / sizeof items[0] };

static uint32_t channel_mask(const struct znp *z)
{
    enum { DEFAULT_CHANNEL = 15 };

    const uint8_t channel = z->s.config.channel;
    return UINT32_C(1) << (channel >= 11 && channel <= 26 ? channel : DEFAULT_CHANNEL);
}

static void put_value(const struct znp *z, uint16_t id, struct writer *w)
{
    switch ((enum znp_nv)id) {
    case ZNP_NV_CHANNELS:
        wr_u32_le(w, channel_mask(z));
        break;
    case ZNP_NV_PAN:
        wr_u16_le(w, z->form_pan);
        break;
    case ZNP_NV_EXTENDED_PAN:
    case ZNP_NV_USE_EXT_PAN:
        wr_u64_le(w, z->device.eui64); /* unique in the world */
        break;
    case ZNP_NV_KEY:
        wr_bytes(w, bytes_of(z->form_key, sizeof z->form_key));
        break;
    case ZNP_NV_DIRECT_CB:
        wr_u8(w, 1);
        break;
    case ZNP_NV_CONFIGURED:
    case ZNP_NV_CONFIGURED_12:
        wr_u8(w, 0x55);
        break;
    case ZNP_NV_STARTUP_OPTION: /* after the reset: nothing is to be erased any more */
    case ZNP_NV_LOGICAL_TYPE:   /* coordinator */
    case ZNP_NV_KEYS_ENABLE:    /* joiners get the key from us */
    case ZNP_NV_NIB:
    case ZNP_NV_ACTIVE_KEY:
        wr_u8(w, 0);
        break;
    }
}

static void ask_write(struct znp *z, int64_t now_ms, uint16_t id, struct bytes value)
{
    uint8_t data[ZNP_REQUEST_DATA];
    struct writer w = wr_to(data, sizeof data);
    znp_put_nv_write(&w, !z->nv_old, id, value);
    znp_step_ask(z, now_ms, z->nv_old ? ZNP_NV_WRITE : ZNP_NV_WRITE_EXT,
                 bytes_of(data, wr_close(&w)));
}

static void ask_init(struct znp *z, int64_t now_ms, uint16_t id)
{
    uint8_t octets[STICK_KEY_BYTES], data[ZNP_REQUEST_DATA];
    struct writer value = wr_to(octets, sizeof octets), w = wr_to(data, sizeof data);
    put_value(z, id, &value);
    znp_put_nv_init(&w, id, bytes_of(octets, value.len));
    znp_step_ask(z, now_ms, ZNP_NV_ITEM_INIT, bytes_of(data, wr_close(&w)));
}

static uint8_t status_of(const struct znp_reply *reply)
{
    struct reader r = rd_of(reply->data);
    const uint8_t status = rd_u8(&r);
    return reply->rpc_error != 0 || r.failed ? ZNP_FAILURE : status;
}

/* ---- steps ------------------------------------------------------------------------------------- */

static void erase_ask(struct znp *z, int64_t now_ms)
{
    static const uint8_t everything = 3; /* configuration and network state */
    const struct stick_config *c = &z->s.config;
    z->form_pan = c->pan_id != 0 ? c->pan_id : (uint16_t)(1 + rng_below(&z->s.rng, 0xFFFE));
    stick_secret(&z->s, z->form_key, sizeof z->form_key);
    if (c->has_key)
        memcpy(z->form_key, c->network_key, sizeof z->form_key);
    z->item = 0;
    stick_log(&z->s, LOG_NOTICE, "znp.form",
              "the stick has no network and form_network = yes: forming one (PAN %04X)",
              z->form_pan);
    ask_write(z, now_ms, ZNP_NV_STARTUP_OPTION, bytes_of(&everything, 1));
}

static void erase_heard(struct znp *z, int64_t now_ms, const struct znp_reply *reply)
{
    (void)reply; /* nothing stored, nothing to erase */
    znp_goto_reset(z, now_ms, ZNP_STEP_FORM_RESET);
}

static void next_item(struct znp *z, int64_t now_ms)
{
    z->device.state = 0;
    if (++z->item < ITEMS)
        znp_goto(z, now_ms, ZNP_STEP_FORM_WRITE, 0);
    else if (z->generation == ZNP_12)
        znp_goto_reset(z, now_ms, ZNP_STEP_FORM_RESET_12);
    else
        znp_goto(z, now_ms, ZNP_STEP_FORM_PRIMARY, 0);
}

static void write_ask(struct znp *z, int64_t now_ms)
{
    uint8_t octets[STICK_KEY_BYTES];
    struct writer w = wr_to(octets, sizeof octets);
    put_value(z, items[z->item].id, &w);
    ask_write(z, now_ms, items[z->item].id, bytes_of(octets, w.len));
}

static void write_heard(struct znp *z, int64_t now_ms, const struct znp_reply *reply)
{
    if (status_of(reply) == ZNP_OK)
        next_item(z, now_ms);
    else /* most likely there is no such item yet */
        znp_goto(z, now_ms, ZNP_STEP_FORM_INIT, 0);
}

static void init_ask(struct znp *z, int64_t now_ms)
{
    ask_init(z, now_ms, items[z->item].id);
}

static void init_heard(struct znp *z, int64_t now_ms, const struct znp_reply *reply)
{
    const uint8_t status = status_of(reply);
    const struct item *item = &items[z->item];
    if (status == ZNP_OK || status == ZNP_ITEM_CREATED) {
        next_item(z, now_ms);
        return;
    }
    if (item->vital) {
        znp_give_up(z, now_ms,
                    "the stick does not store a setting of the new network (item %04X: %02X): its "
                    "flash memory is full or worn out; erase it with its vendor's tool",
                    item->id, status);
        return;
    }
    stick_log(&z->s, LOG_WARN, "znp.nv", "the stick does not store item %04X (%02X)", item->id,
              status);
    next_item(z, now_ms);
}

static void ask_channels(struct znp *z, int64_t now_ms, bool primary, uint32_t mask)
{
    uint8_t data[8];
    struct writer w = wr_to(data, sizeof data);
    znp_put_set_channel(&w, primary, mask);
    znp_step_ask(z, now_ms, ZNP_BDB_SET_CHANNEL, bytes_of(data, w.len));
}

static void primary_ask(struct znp *z, int64_t now_ms)
{
    ask_channels(z, now_ms, true, channel_mask(z));
}

static void primary_heard(struct znp *z, int64_t now_ms, const struct znp_reply *reply)
{
    if (status_of(reply) != ZNP_OK)
        znp_give_up(z, now_ms, "the stick refuses its channel (BDB_SET_CHANNEL: %02X)",
                    status_of(reply));
    else
        znp_goto(z, now_ms, ZNP_STEP_FORM_SECONDARY, 0);
}

static void secondary_ask(struct znp *z, int64_t now_ms)
{
    ask_channels(z, now_ms, false, 0);
}

static void secondary_heard(struct znp *z, int64_t now_ms, const struct znp_reply *reply)
{
    (void)reply; /* there is no other channel then, which is what we want */
    znp_goto(z, now_ms, ZNP_STEP_FORM_BDB, 0);
}

static void bdb_ask(struct znp *z, int64_t now_ms)
{
    static const uint8_t mode = ZNP_BDB_FORMATION;
    znp_step_ask(z, now_ms, ZNP_BDB_START, bytes_of(&mode, 1));
}

static void bdb_heard(struct znp *z, int64_t now_ms, const struct znp_reply *reply)
{
    if (status_of(reply) != ZNP_OK)
        znp_give_up(z, now_ms, "the stick refuses to form a network (BDB_START: %02X)",
                    status_of(reply));
    else
        znp_await_network(z, now_ms, FORM_MS);
}

void znp_start_bdb(struct znp *z, int64_t now_ms, uint8_t status)
{
    enum { IN_PROGRESS = 1 };

    if (!z->forming || (z->step != ZNP_STEP_AWAIT && z->step != ZNP_STEP_FORM_BDB))
        return;
    if (status != ZNP_OK && status != IN_PROGRESS)
        znp_give_up(z, now_ms,
                    "the stick could not form a network (commissioning status %u): the channel is "
                    "too noisy, or a network with this pan_id exists nearby; try another channel",
                    status);
}

static void mark_ask(struct znp *z, int64_t now_ms)
{
    ask_init(z, now_ms, z->generation == ZNP_12 ? ZNP_NV_CONFIGURED_12 : ZNP_NV_CONFIGURED);
}

/* The mark is for other programs; our own test is the network itself. */
static void mark_heard(struct znp *z, int64_t now_ms, const struct znp_reply *reply)
{
    (void)reply;
    stick_log(&z->s, LOG_NOTICE, "znp.formed",
              "a new network was formed: PAN %04X, channel %u. Nodes have to join it",
              z->network.pan_id, z->network.channel);
    z->forming = false;
    znp_goto(z, now_ms, ZNP_STEP_REGISTER, 0);
}

const struct znp_step_row *znp_form_row(enum znp_step step)
{
    static const struct {
        enum znp_step step;
        struct znp_step_row row;
    } rows[] = {
        {ZNP_STEP_FORM_ERASE,     {"erasing its settings", erase_ask, erase_heard}       },
        {ZNP_STEP_FORM_RESET,     {"resetting itself", znp_ask_reset, NULL}              },
        {ZNP_STEP_FORM_WRITE,     {"storing settings", write_ask, write_heard}           },
        {ZNP_STEP_FORM_INIT,      {"storing settings", init_ask, init_heard}             },
        {ZNP_STEP_FORM_RESET_12,  {"resetting itself", znp_ask_reset, NULL}              },
        {ZNP_STEP_FORM_PRIMARY,   {"setting its channel", primary_ask, primary_heard}    },
        {ZNP_STEP_FORM_SECONDARY, {"setting its channel", secondary_ask, secondary_heard}},
        {ZNP_STEP_FORM_BDB,       {"beginning to form a network", bdb_ask, bdb_heard}    },
        {ZNP_STEP_FORM_MARK,      {"storing that it has a network", mark_ask, mark_heard}},
    };

    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        if (rows[i].step == step)
            return &rows[i].row;
    }
    return NULL;
}
