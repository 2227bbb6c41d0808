/* SPDX-License-Identifier: Apache-2.0 */
/*
 * From an open port to an XBee that passes packets: find its baud, out of transparent mode into an
 * API mode if it is in none, read what it is, set what the configuration asks for, wait for its
 * network. Nothing is written to its flash.
 */
#include <stdio.h>

#include "radio/stick/xbee_priv.h"

enum {
    ASK_TRIES = 2,
    ASK_MS = 1000,
    GUARD_MS = 1200, /* of silence on both sides of "+++" */
    OK_MS = 1500,
    TRIES = 3,
    NETWORK_MS = 60000,
    NETWORK_EVERY_MS = 1000,
    SLOTS = 8,
    LIMIT_ZIGBEE = 84,
    LIMIT_ZIGBEE_ENCRYPTED = 66,
    LIMIT_802154 = 100,
    NP_FRAGMENTS = 0xFF,
    AO_LEGACY = 2,
};

const char xbee_names[N_XBEE_SETTINGS][3] = {
    [SET_AP] = "AP", [SET_OP] = "OP", [SET_AO] = "AO", [SET_VR] = "VR", [SET_HV] = "HV",
    [SET_SH] = "SH", [SET_SL] = "SL", [SET_MY] = "MY", [SET_ID] = "ID", [SET_OI] = "OI",
    [SET_CH] = "CH", [SET_CE] = "CE", [SET_NP] = "NP", [SET_NH] = "NH", [SET_EE] = "EE",
    [SET_SP] = "SP", [SET_AI] = "AI",
};

static const int32_t bauds[] = {9600, 38400, 57600, 115200, 19200};

enum { BAUDS = sizeof bauds / sizeof bauds[0] };

static void enter(struct xbee *x, int64_t now_ms, enum xbee_phase phase, int64_t ms)
{
    x->phase = phase;
    x->tries = 0;
    x->deadline_ms = now_ms + ms;
    memset(x->text, 0, sizeof x->text);
}

/* ---- looking for it ---------------------------------------------------------------------------- */

/* Escaped or not, this question has no octet that an escape would alter. */
static void ask_ap(struct xbee *x, int64_t now_ms)
{
    x->decoder.escaped = true;
    xbee_at(x, xbee_names[SET_AP], bytes_of(NULL, 0));
    x->deadline_ms = now_ms + ASK_MS;
}

void xbee_start(struct xbee *x, int64_t now_ms)
{
    x->baud_at = 0;
    x->baud = (int32_t)x->s.config.baud;
    x->setting = 0;
    enter(x, now_ms, XBEE_ASK_AP, 0);
    ask_ap(x, now_ms);
}

static void next_baud(struct xbee *x, int64_t now_ms)
{
    const int32_t first = (int32_t)x->s.config.baud;
    if (x->baud_at < BAUDS && bauds[x->baud_at] == first)
        x->baud_at++;
    if (first == 0 || x->baud_at >= BAUDS) {
        stick_reopen(&x->s, now_ms,
                     "no XBee answers at any baud, neither in API mode nor to \"+++\": is it the "
                     "right device, and is flow_control right for the adapter?");
        return;
    }
    x->baud = bauds[x->baud_at++];
    stick_set_port(&x->s, (struct stick_port){.baud = x->baud, .dtr = -1, .rts = -1});
    enter(x, now_ms, XBEE_ASK_AP, 0);
    ask_ap(x, now_ms);
}

static void say(struct xbee *x, const char *text)
{
    stick_write(&x->s, bytes_str(text));
}

void xbee_text(struct xbee *x, int64_t now_ms, struct bytes in)
{
    for (size_t i = 0; i < in.len; i++) {
        memmove(x->text, x->text + 1, 2);
        x->text[2] = (char)in.data[i];
        if (memcmp(x->text, "OK\r", 3) != 0)
            continue;
        if (x->phase == XBEE_PLUS) {
            enter(x, now_ms, XBEE_TEXT_AP, OK_MS);
            say(x, x->s.config.api == 1 ? "ATAP1\r" : "ATAP2\r");
        } else if (x->phase == XBEE_TEXT_AP) {
            enter(x, now_ms, XBEE_TEXT_CN, OK_MS);
            say(x, "ATCN\r");
        } else {
            stick_log(&x->s, LOG_WARN, "xbee.api_mode_set",
                      "the module was in transparent mode and is now in API mode, until it loses "
                      "power: set AP in its flash (ATWR)");
            enter(x, now_ms, XBEE_ASK_AP, 0);
            ask_ap(x, now_ms);
            return;
        }
    }
}

static void looking_due(struct xbee *x, int64_t now_ms)
{
    switch ((unsigned)x->phase) {
    case XBEE_ASK_AP:
        if (++x->tries < ASK_TRIES)
            ask_ap(x, now_ms);
        else
            enter(x, now_ms, XBEE_SILENCE, GUARD_MS);
        break;
    case XBEE_SILENCE:
        enter(x, now_ms, XBEE_PLUS, GUARD_MS + OK_MS);
        say(x, "+++");
        break;
    default:
        next_baud(x, now_ms);
        break;
    }
}

/* ---- reading and writing settings -------------------------------------------------------------- */

static void read_setting(struct xbee *x, int64_t now_ms)
{
    xbee_at(x, xbee_names[x->setting], bytes_of(NULL, 0));
    x->deadline_ms = now_ms + XBEE_AT_MS;
}

/* What is to be written for this setting, if anything. */
static bool wanted(const struct xbee *x, size_t setting, uint8_t value[2], size_t *len)
{
    const struct stick_config *c = &x->s.config;
    *len = 1;
    if (setting == SET_AP) {
        value[0] = c->api;
        return c->api != 0 && x->value[SET_AP] != c->api;
    }
    if (!x->is_802154)
        return false; /* a ZigBee module finds its channel and PAN by itself */
    if (setting == SET_CH) {
        value[0] = c->channel;
        return c->channel != 0 && x->value[SET_CH] != c->channel;
    }
    *len = 2;
    value[0] = (uint8_t)(c->pan_id >> 8);
    value[1] = (uint8_t)c->pan_id;
    return setting == SET_ID && c->pan_id != 0 && x->value[SET_ID] != c->pan_id;
}

static void wait_for_network(struct xbee *x, int64_t now_ms);

/* Writes the next setting that differs, from x->setting on. */
static void write_next(struct xbee *x, int64_t now_ms)
{
    uint8_t value[2];
    size_t len;
    for (; x->setting < N_XBEE_SETTINGS; x->setting++) {
        if (!wanted(x, x->setting, value, &len))
            continue;
        x->deadline_ms = now_ms + XBEE_AT_MS;
        xbee_at(x, xbee_names[x->setting], bytes_of(value, len));
        return;
    }
    wait_for_network(x, now_ms);
}

static void warn_of_settings(struct xbee *x)
{
    const struct stick_config *c = &x->s.config;
    if (x->is_802154)
        return;
    if (c->channel != 0 && x->has[SET_CH] && x->value[SET_CH] != c->channel)
        stick_log(&x->s, LOG_WARN, "xbee.other_channel",
                  "the module's network is on channel %u, the configuration says %u; it is kept as "
                  "it is",
                  (unsigned)x->value[SET_CH], c->channel);
    if (c->pan_id != 0 && x->has[SET_OI] && x->value[SET_OI] != c->pan_id)
        stick_log(&x->s, LOG_WARN, "xbee.other_pan_id",
                  "the module's network has PAN id 0x%04x, the configuration says 0x%04x; it is "
                  "kept as it is",
                  (unsigned)x->value[SET_OI], c->pan_id);
    if (x->has[SET_CE] && x->value[SET_CE] != 1)
        stick_log(&x->s, LOG_WARN, "xbee.no_coordinator",
                  "the module is no coordinator (CE is not 1): nodes that talk to address 0 will "
                  "not be heard");
}

static void decide_family(struct xbee *x)
{
    const enum xbee_family family = x->s.config.family;
    x->is_802154 = family == XBEE_802154 || (family == XBEE_AUTO && !x->has[SET_OP]);
    x->new_frames = !x->is_802154 || (x->has[SET_AO] && x->value[SET_AO] < AO_LEGACY);
}

static void read_next(struct xbee *x, int64_t now_ms)
{
    x->tries = 0;
    if (++x->setting < N_XBEE_SETTINGS) {
        read_setting(x, now_ms);
        return;
    }
    decide_family(x);
    warn_of_settings(x);
    enter(x, now_ms, XBEE_WRITE, 0);
    x->setting = 0;
    write_next(x, now_ms);
}

/* The first answer: it is there, and in API mode. */
static void found(struct xbee *x, int64_t now_ms)
{
    x->decoder.escaped = x->value[SET_AP] == 2;
    enter(x, now_ms, XBEE_READ, 0);
    x->setting = SET_AP;
    read_next(x, now_ms);
}

static void written(struct xbee *x, int64_t now_ms, uint8_t status)
{
    if (status != 0)
        stick_log(&x->s, LOG_WARN, "xbee.setting_refused", "the module refuses %s as configured",
                  xbee_names[x->setting]);
    else if (x->setting == SET_AP)
        x->decoder.escaped = x->s.config.api == 2;
    x->setting++;
    x->tries = 0;
    write_next(x, now_ms);
}

static uint64_t number_of(struct bytes value)
{
    uint64_t n = 0;
    for (size_t i = 0; i < value.len && i < 8; i++)
        n = n << 8 | value.data[i];
    return n;
}

/* ---- the network ------------------------------------------------------------------------------- */

static uint32_t payload_limit(const struct xbee *x)
{
    const bool encrypted = x->has[SET_EE] && x->value[SET_EE] != 0;
    const uint64_t np = x->has[SET_NP] ? x->value[SET_NP] : 0;
    if (np > 0)
        return np > NP_FRAGMENTS ? NP_FRAGMENTS : (uint32_t)np;
    if (x->is_802154)
        return LIMIT_802154;
    return encrypted ? LIMIT_ZIGBEE_ENCRYPTED : LIMIT_ZIGBEE;
}

/* Three attempts of the module, each as long as its network is wide or its children sleep. */
static int64_t confirm_ms(const struct xbee *x)
{
    if (x->is_802154)
        return 3000;
    const int64_t nh = x->has[SET_NH] ? (int64_t)x->value[SET_NH] : 30;
    const int64_t sp_ms = x->has[SET_SP] ? (int64_t)x->value[SET_SP] * 10 : 0;
    const int64_t router_ms = 3 * (50 * nh + 100) + 500;
    const int64_t sleeper_ms = 3 * (50 * nh + sp_ms * 12 / 10) + 1000;
    const int64_t ms = sleeper_ms > router_ms ? sleeper_ms : router_ms;
    return time_min(ms, 120000);
}

static void up(struct xbee *x, int64_t now_ms)
{
    char text[STICK_TEXT_MAX];
    snprintf(
        text, sizeof text,
        "XBee with %s firmware %04x, address %08lx%08lx, channel %u, PAN id 0x%04x, API mode %u",
        x->is_802154 ? "802.15.4" : "ZigBee", (unsigned)x->value[SET_VR],
        (unsigned long)x->value[SET_SH], (unsigned long)x->value[SET_SL],
        (unsigned)x->value[SET_CH],
        (unsigned)(x->is_802154 ? x->value[SET_ID] : x->value[SET_OI]) & 0xFFFF,
        x->decoder.escaped ? 2U : 1U);
    if (x->s.config.baud != 0 && x->baud != (int32_t)x->s.config.baud)
        stick_log(
            &x->s, LOG_WARN, "xbee.other_baud",
            "the module is at %ld baud, the configuration says %lu: write baud = %ld, for the "
            "search takes seconds at each start",
            (long)x->baud, (unsigned long)x->s.config.baud, (long)x->baud);
    x->phase = XBEE_UP;
    x->deadline_ms = TIME_NEVER;
    x->health_ms = now_ms + XBEE_HEALTH_MS;
    x->misses = 0;
    x->unknown = x->s.counters.unknown;
    stick_up(&x->s, now_ms, payload_limit(x), SLOTS, confirm_ms(x), text);
}

static void ask_network(struct xbee *x, int64_t now_ms)
{
    xbee_at(x, xbee_names[SET_AI], bytes_of(NULL, 0));
    x->deadline_ms = now_ms + NETWORK_EVERY_MS;
}

static void wait_for_network(struct xbee *x, int64_t now_ms)
{
    if (x->is_802154 || !x->has[SET_AI] || x->value[SET_AI] == 0) {
        up(x, now_ms);
        return;
    }
    stick_log(&x->s, LOG_NOTICE, "xbee.no_network",
              "the module has no network yet (AI = %02x); waiting for it",
              (unsigned)x->value[SET_AI]);
    enter(x, now_ms, XBEE_WAIT_NETWORK, NETWORK_EVERY_MS);
    x->give_up_ms = now_ms + NETWORK_MS;
}

void xbee_network(struct xbee *x, int64_t now_ms, bool there)
{
    if (x->phase == XBEE_WAIT_NETWORK && there) {
        ask_network(x, now_ms);
    } else if (x->phase == XBEE_UP && !there) {
        stick_down(&x->s, now_ms, "the module has left its network");
        enter(x, now_ms, XBEE_WAIT_NETWORK, NETWORK_EVERY_MS);
        x->give_up_ms = now_ms + NETWORK_MS;
    }
}

void xbee_restart(struct xbee *x, int64_t now_ms, const char *why)
{
    stick_down(&x->s, now_ms, why);
    x->setting = 0;
    enter(x, now_ms, XBEE_ASK_AP, 0);
    ask_ap(x, now_ms);
}

/* ---- answers and silence ----------------------------------------------------------------------- */

void xbee_start_response(struct xbee *x, int64_t now_ms, const char name[2], uint8_t status,
                         struct bytes value)
{
    const size_t at = x->phase == XBEE_ASK_AP         ? (size_t)SET_AP
                      : x->phase == XBEE_WAIT_NETWORK ? (size_t)SET_AI
                                                      : x->setting;
    if (at >= N_XBEE_SETTINGS || memcmp(name, xbee_names[at], 2) != 0)
        return; /* of an earlier one */
    if (x->phase == XBEE_WRITE) {
        written(x, now_ms, status);
        return;
    }
    x->has[at] = status == 0;
    x->value[at] = status == 0 ? number_of(value) : 0;
    if (x->phase == XBEE_ASK_AP) {
        found(x, now_ms);
    } else if (x->phase == XBEE_READ) {
        read_next(x, now_ms);
    } else if (x->phase == XBEE_WAIT_NETWORK && x->value[SET_AI] == 0) {
        x->setting = SET_SL; /* channel and PAN are known now */
        enter(x, now_ms, XBEE_READ, 0);
        read_next(x, now_ms);
    }
}

static void reading_due(struct xbee *x, int64_t now_ms)
{
    if (++x->tries >= TRIES)
        stick_reopen(&x->s, now_ms, "the module has stopped to answer in the midst of its start");
    else if (x->phase == XBEE_READ)
        read_setting(x, now_ms);
    else
        write_next(x, now_ms);
}

void xbee_start_due(struct xbee *x, int64_t now_ms)
{
    if (x->phase < XBEE_READ) {
        looking_due(x, now_ms);
    } else if (x->phase == XBEE_READ || x->phase == XBEE_WRITE) {
        reading_due(x, now_ms);
    } else if (x->phase == XBEE_WAIT_NETWORK && now_ms >= x->give_up_ms) {
        stick_reopen(&x->s, now_ms,
                     "the module gets no network: is it a coordinator (CE = 1), and are ID, SC and "
                     "the channels of the others the same?");
    } else if (x->phase == XBEE_WAIT_NETWORK) {
        ask_network(x, now_ms);
    }
}
