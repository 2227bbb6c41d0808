/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How an EZSP stick is started (radio reference C.3, C.6): version, configuration, endpoint, the
 * network it has, or a new one where that is allowed, then what packets need. Tables of commands;
 * what a stick may not know of them is no error.
 */
#include <inttypes.h>
#include <stdio.h>

#include "radio/stick/ezsp_priv.h"

enum { POWER_DBM = 5, DEFAULT_CHANNEL = 15, INIT_OPTIONS = 3, EXT_SECURITY = 0x0110 };

/* One command. `write` adds its parameters; `read` judges the response and may change the phase or
 * the table, NULL: an error is not fatal. */
struct ezsp_step {
    uint16_t id;
    void (*write)(struct ezsp *e, struct writer *w, const struct ezsp_step *step);
    bool (*read)(struct ezsp *e, int64_t now_ms, struct reader *r);
    uint8_t what; /* which configuration, policy or value */
    uint16_t value;
    uint8_t width; /* of the value in octets */
};

static const struct ezsp_step *first_step(enum ezsp_table table);

/* ---- parameters -------------------------------------------------------------------------------- */

static void wr_nothing(struct ezsp *e, struct writer *w, const struct ezsp_step *step)
{
    (void)e;
    (void)w;
    (void)step;
}

static void wr_what(struct ezsp *e, struct writer *w, const struct ezsp_step *step)
{
    (void)e;
    wr_u8(w, step->what);
    if (step->width == 2)
        wr_u16_le(w, step->value);
    else if (step->width == 1)
        wr_u8(w, (uint8_t)step->value);
}

/* setValue: with its length in front. */
static void wr_value(struct ezsp *e, struct writer *w, const struct ezsp_step *step)
{
    (void)e;
    wr_u8(w, step->what);
    wr_u8(w, step->width);
    if (step->width == 2)
        wr_u16_le(w, step->value);
    else
        wr_u8(w, (uint8_t)step->value);
}

static void wr_endpoint(struct ezsp *e, struct writer *w, const struct ezsp_step *step)
{
    (void)step;
    const struct stick_config *c = &e->stick.config;
    ezsp_wr_endpoint(w, c->endpoint, c->profile, c->cluster);
}

static void wr_init(struct ezsp *e, struct writer *w, const struct ezsp_step *step)
{
    (void)e;
    (void)step;
    wr_u16_le(w, INIT_OPTIONS);
}

static void wr_security(struct ezsp *e, struct writer *w, const struct ezsp_step *step)
{
    (void)step;
    uint8_t link_key[STICK_KEY_BYTES], network_key[STICK_KEY_BYTES];
    stick_secret(&e->stick, link_key, sizeof link_key);
    if (e->stick.config.has_key)
        memcpy(network_key, e->stick.config.network_key, sizeof network_key);
    else
        stick_secret(&e->stick, network_key, sizeof network_key);
    ezsp_wr_security(w, link_key, network_key);
}

static void wr_form(struct ezsp *e, struct writer *w, const struct ezsp_step *step)
{
    (void)step;
    const struct stick_config *c = &e->stick.config;
    struct ezsp_network n = {
        .pan_id = c->pan_id != 0 ? c->pan_id : (uint16_t)(1 + rng_below(&e->stick.rng, 0xFFFE)),
        .power_dbm = POWER_DBM,
        .channel = c->channel != 0 ? c->channel : DEFAULT_CHANNEL,
    };
    stick_secret(&e->stick, n.ext_pan, sizeof n.ext_pan);
    stick_log(&e->stick, LOG_NOTICE, "ezsp.form", "forming a network: channel %u, PAN %04X",
              n.channel, n.pan_id);
    ezsp_wr_network(w, &n);
}

static void wr_concentrator(struct ezsp *e, struct writer *w, const struct ezsp_step *step)
{
    (void)e;
    (void)step;
    ezsp_wr_concentrator(w);
}

/* ---- responses --------------------------------------------------------------------------------- */

static void enter(struct ezsp *e, enum ezsp_table table)
{
    e->phase = EZSP_STEPS;
    e->phase_until_ms = TIME_NEVER;
    e->table = table;
    e->step = first_step(table);
    e->step_asked = false;
}

static void wait_up(struct ezsp *e, int64_t now_ms)
{
    if (e->up_seen) {
        enter(e, EZSP_TO_PACKETS);
        return;
    }
    e->phase = EZSP_WAIT_UP;
    e->phase_until_ms = time_add(now_ms, EZSP_UP_MS);
}

static bool failed(struct ezsp *e, int64_t now_ms, const char *what, uint32_t status)
{
    char text[STICK_TEXT_MAX];
    snprintf(text, sizeof text, "%s failed: %s (status 0x%" PRIX32 ")", what,
             ezsp_status_name(status), status);
    ezsp_restart(e, now_ms, text);
    return false;
}

static bool rd_endpoint(struct ezsp *e, int64_t now_ms, struct reader *r)
{
    const uint32_t status = ezsp_rd_status(r, e->version);
    return status == SL_OK || failed(e, now_ms, "registering our endpoint", status);
}

static bool rd_init(struct ezsp *e, int64_t now_ms, struct reader *r)
{
    const uint32_t status = ezsp_rd_status(r, e->version);
    if (status == SL_OK) {
        wait_up(e, now_ms);
        return false;
    }
    if (status != SL_NOT_JOINED)
        return failed(e, now_ms, "starting the stick's network", status);
    if (e->stick.config.form_network) {
        enter(e, EZSP_TO_FORM);
        return false;
    }
    ezsp_give_up(e, now_ms,
                 "the stick has no network and the configuration allows forming none: set "
                 "form_network = yes for a new one (which nodes have to join), or plug in the "
                 "stick that has the old one");
    return false;
}

static bool rd_security(struct ezsp *e, int64_t now_ms, struct reader *r)
{
    const uint32_t status = ezsp_rd_status(r, e->version);
    return status == SL_OK || failed(e, now_ms, "setting the new network's keys", status);
}

static bool rd_form(struct ezsp *e, int64_t now_ms, struct reader *r)
{
    const uint32_t status = ezsp_rd_status(r, e->version);
    if (status != SL_OK)
        return failed(e, now_ms, "forming a network", status);
    wait_up(e, now_ms);
    return false;
}

/* How many unicasts the stick keeps at once. A quarter is left for questions after addresses and for
 * what the stack sends by itself. */
static bool rd_slots(struct ezsp *e, int64_t now_ms, struct reader *r)
{
    (void)now_ms;
    const uint32_t status = ezsp_rd_status(r, e->version);
    const uint16_t unicasts = rd_u16_le(r);
    const unsigned slots = unicasts - unicasts / 4U;
    if (!r->failed && status == SL_OK && slots > 0)
        e->slots = slots < EZSP_SLOTS ? slots : EZSP_SLOTS;
    return true;
}

/* The stick's network is kept, whatever the configuration wants. */
static bool rd_network(struct ezsp *e, int64_t now_ms, struct reader *r)
{
    uint32_t status;
    if (!ezsp_rd_network(r, e->version, &status, &e->network) || status != SL_OK)
        return failed(e, now_ms, "reading the network's parameters", status);
    const struct stick_config *c = &e->stick.config;
    const struct ezsp_network *n = &e->network;
    if ((c->channel != 0 && c->channel != n->channel) ||
        (c->pan_id != 0 && c->pan_id != n->pan_id)) {
        stick_log(&e->stick, LOG_WARN, "ezsp.other_network",
                  "the stick's network is on channel %u, PAN %04X, not on channel %u, PAN %04X "
                  "as configured; it is kept. To have another one, erase the stick's network with "
                  "its vendor's tool first; all nodes must join again",
                  n->channel, n->pan_id, c->channel != 0 ? c->channel : n->channel,
                  c->pan_id != 0 ? c->pan_id : n->pan_id);
    }
    return true;
}

static bool rd_eui64(struct ezsp *e, int64_t now_ms, struct reader *r)
{
    (void)now_ms;
    e->eui64 = rd_u64_le(r);
    return true;
}

static void up(struct ezsp *e, int64_t now_ms)
{
    char text[STICK_TEXT_MAX];
    const struct ezsp_network *n = &e->network;
    const unsigned v = e->stack_version;
    snprintf(text, sizeof text,
             "EmberZNet %u.%u.%u (EZSP %u), channel %u, PAN %04X, coordinator %016" PRIx64, v >> 12,
             v >> 8 & 15, v >> 4 & 15, e->version, n->channel, n->pan_id, e->eui64);
    e->phase = EZSP_RUNNING;
    e->phase_until_ms = TIME_NEVER;
    e->nop_at_ms = time_add(now_ms, EZSP_NOP_MS);
    stick_up(&e->stick, now_ms, e->max_payload, e->slots, EZSP_CONFIRM_MS, text);
}

static bool rd_payload(struct ezsp *e, int64_t now_ms, struct reader *r)
{
    const uint8_t payload = rd_u8(r);
    const unsigned most = ASH_DATA_MAX - EZSP_HEADER_BYTES - EZSP_SEND_BYTES;
    if (!r->failed && payload > 0)
        e->max_payload = payload < most ? payload : most;
    up(e, now_ms);
    return false;
}

/* ---- tables ------------------------------------------------------------------------------------ */

#define CONFIG(what, value)                                                                        \
    {                                                                                              \
        EZSP_SET_CONFIGURATION, wr_what, NULL, what, value, 2                                      \
    }
#define POLICY(what, value)                                                                        \
    {                                                                                              \
        EZSP_SET_POLICY, wr_what, NULL, what, value, 1                                             \
    }

static const struct ezsp_step to_network[] = {
    CONFIG(0x19, 2), /* addresses that the trust center remembers */
    CONFIG(0x12, 7680), /* ms that a packet waits for a sleeping child */
    CONFIG(0x10, 30), /* hops */
    CONFIG(0x2D, 1), /* networks */
    CONFIG(0x0C, 2), /* stack profile: ZigBee PRO */
    CONFIG(0x0D, 5), /* security level */
    CONFIG(0x11, 32), /* children */
    CONFIG(0x13, 8), /* 2^8 minutes without a poll, and a child is gone */
    CONFIG(0x36, 300), /* s that a key for joining lives */
    CONFIG(0x01, 0xFF), /* buffers: all memory that is left, hence last */
    POLICY(1, 0x12), /* bindings */
    POLICY(4, 0x40), /* messageSent without the message */
    POLICY(5, 0x51), /* key requests of nodes to the trust center */
    POLICY(6, 0x60), /* and for each other */
    POLICY(0, 0x02), /* nobody joins, known nodes may come back */
    {EZSP_SET_VALUE,    wr_value,    NULL,        0x43, 10000, 2}, /* ms that a new node may take */
    {EZSP_ADD_ENDPOINT, wr_endpoint, rd_endpoint, 0,    0,     0},
    {EZSP_NETWORK_INIT, wr_init,     rd_init,     0,    0,     0},
};

static const struct ezsp_step to_form[] = {
    {EZSP_SET_SECURITY,    wr_security, rd_security, 0,    0,            0},
    {EZSP_SET_VALUE,       wr_value,    NULL,        0x0A, EXT_SECURITY, 2},
    {EZSP_CLEAR_KEY_TABLE, wr_nothing,  NULL,        0,    0,            0},
    {EZSP_FORM_NETWORK,    wr_form,     rd_form,     0,    0,            0},
};

static const struct ezsp_step to_packets[] = {
    {EZSP_SET_VALUE,              wr_value,        NULL,       0x07, 1, 1}, /* what the stack learns survives a power cut */
    {EZSP_SET_CONCENTRATOR,       wr_concentrator, NULL,       0,    0, 0},
    {EZSP_GET_CONFIGURATION,      wr_what,         rd_slots,   0x03, 0, 0},
    {EZSP_GET_NETWORK_PARAMETERS, wr_nothing,      rd_network, 0,    0, 0},
    {EZSP_GET_EUI64,              wr_nothing,      rd_eui64,   0,    0, 0},
    {EZSP_MAXIMUM_PAYLOAD_LENGTH, wr_nothing,      rd_payload, 0,    0, 0},
};

/* The last step of each ends the table by itself. */
static const struct ezsp_step *first_step(enum ezsp_table table)
{
    switch (table) {
    case EZSP_TO_NETWORK:
        return to_network;
    case EZSP_TO_FORM:
        return to_form;
    case EZSP_TO_PACKETS:
        break;
    }
    return to_packets;
}

/* ---- the course -------------------------------------------------------------------------------- */

static void ask_version(struct ezsp *e, int64_t now_ms, uint8_t version)
{
    uint8_t room[ASH_DATA_MAX];
    struct writer w = ezsp_request(e, room, EZSP_VERSION);
    wr_u8(&w, version);
    ezsp_command(e, now_ms, &w, EZSP_JOB_START, EZSP_VERSION, 0);
}

void ezsp_start_greet(struct ezsp *e, int64_t now_ms)
{
    e->phase = EZSP_GREETING;
    e->version = 0;
    e->seq = 0;
    e->slots = EZSP_SLOTS;
    e->max_payload = EZSP_PAYLOAD;
    ask_version(e, now_ms, EZSP_NEWEST);
}

static void refuse_version(struct ezsp *e, int64_t now_ms, const struct ezsp_version *v)
{
    char text[STICK_TEXT_MAX];
    snprintf(text, sizeof text,
             "the stick's firmware is too old: it speaks EZSP %u (EmberZNet %u.%u.%u), and %u "
             "(EmberZNet 6.7) is the oldest that we speak; flash a newer EmberZNet NCP firmware",
             v->version, v->stack_version >> 12, v->stack_version >> 8 & 15U,
             v->stack_version >> 4 & 15U, EZSP_OLDEST);
    ezsp_give_up(e, now_ms, text);
}

static void on_version(struct ezsp *e, int64_t now_ms, struct reader *r)
{
    struct ezsp_version v;
    if (!ezsp_rd_version(r, &v)) {
        ezsp_restart(e, now_ms, "the stick does not tell its version");
        return;
    }
    if (v.version < EZSP_OLDEST) {
        refuse_version(e, now_ms, &v);
        return;
    }
    const bool agreed = v.version == (e->phase == EZSP_GREETING ? EZSP_NEWEST : e->version);
    e->version = v.version;
    e->stack_version = v.stack_version;
    if (!agreed && e->phase == EZSP_GREETING2) {
        ezsp_restart(e, now_ms, "the stick changes its mind about its version");
        return;
    }
    if (!agreed) {
        e->phase = EZSP_GREETING2;
        ask_version(e, now_ms, v.version);
        return;
    }
    if (v.version > EZSP_NEWEST) {
        stick_log(&e->stick, LOG_NOTICE, "ezsp.version",
                  "the stick speaks EZSP %u, newer than any we know; trying it as version %u",
                  v.version, EZSP_NEWEST);
    }
    enter(e, EZSP_TO_NETWORK);
}

bool ezsp_start_next(struct ezsp *e, int64_t now_ms)
{
    uint8_t room[ASH_DATA_MAX];
    const struct ezsp_step *step = e->step;
    struct writer w = ezsp_request(e, room, step->id);
    step->write(e, &w, step);
    e->step_asked = true;
    return ezsp_command(e, now_ms, &w, EZSP_JOB_START, step->id, 0);
}

/* The stick does not know a command that we cannot do without. */
static void unknown_command(struct ezsp *e, int64_t now_ms, uint16_t id)
{
    char text[STICK_TEXT_MAX];
    snprintf(text, sizeof text, "the stick's firmware does not know %s", ezsp_name(id));
    ezsp_restart(e, now_ms, text);
}

void ezsp_start_response(struct ezsp *e, int64_t now_ms, uint16_t id, struct reader *r)
{
    if (e->phase == EZSP_GREETING || e->phase == EZSP_GREETING2) {
        on_version(e, now_ms, r);
        return;
    }
    const struct ezsp_step *step = e->step;
    if (e->phase != EZSP_STEPS || !e->step_asked)
        return; /* the network went down meanwhile, and the steps begin anew */
    if (step->read == NULL) {
        const uint32_t status =
            id == EZSP_INVALID_COMMAND ? (uint32_t)SL_FAIL : ezsp_rd_status(r, e->version);
        if (status != SL_OK)
            stick_log(&e->stick, LOG_DEBUG, "ezsp.not_set", "%s 0x%02X: %s", ezsp_name(step->id),
                      step->what, ezsp_status_name(status));
        e->step++;
        return;
    }
    if (id == EZSP_INVALID_COMMAND && step->read != rd_slots) {
        unknown_command(e, now_ms, step->id);
        return;
    }
    if (step->read(e, now_ms, r))
        e->step++;
}

static void went_down(struct ezsp *e, int64_t now_ms)
{
    e->phase = EZSP_WAIT_BACK;
    e->phase_until_ms = time_add(now_ms, EZSP_BACK_MS);
    e->nop_at_ms = TIME_NEVER;
    e->up_seen = false;
    ezsp_send_clear(e);
    ezsp_join_clear(e);
    stick_down(&e->stick, now_ms, "the stick says that its network is down");
}

void ezsp_start_status(struct ezsp *e, int64_t now_ms, uint32_t status)
{
    stick_log(&e->stick, LOG_DEBUG, "ezsp.stack_status", "%s (0x%" PRIX32 ")",
              ezsp_status_name(status), status);
    if (status == SL_NETWORK_UP) {
        e->up_seen = true;
        if (e->phase == EZSP_WAIT_UP || e->phase == EZSP_WAIT_BACK)
            enter(e, EZSP_TO_PACKETS);
        return;
    }
    if (status != SL_NETWORK_DOWN && status != SL_NOT_JOINED)
        return;
    e->up_seen = false;
    if (e->phase == EZSP_RUNNING || (e->phase == EZSP_STEPS && e->table == EZSP_TO_PACKETS))
        went_down(e, now_ms);
}

void ezsp_start_late(struct ezsp *e, int64_t now_ms)
{
    ezsp_restart(e, now_ms,
                 e->phase == EZSP_WAIT_BACK ? "the stick's network has not come back for 10 s"
                                            : "the stick's network has not come up within 10 s");
}
