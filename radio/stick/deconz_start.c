/* SPDX-License-Identifier: Apache-2.0 */
/*
 * From an open port to a network: version, what the stick has, a network formed where there is none
 * and the configuration allows it, our endpoint, online. A table of steps, each one command with its
 * answer, or a wait for the state of the network.
 */
#include <stdio.h>

#include "radio/stick/deconz_priv.h"

enum {
    TRIES = 3,
    WAIT_OFFLINE_MS = 5000,
    WAIT_ONLINE_MS = 25000,
    STATE_EVERY_MS = 250,
    AGAIN_MS = 300,
    PAYLOAD_MAX = 82,
    SLOTS = 6, /* one more than any firmware has, which waits for the flag */
    CONFIRM_MS = 20000,
    WATCHDOG_SINCE = 0x0108,
    SECURITY_TRUST_CENTER = 3,
};

static const int32_t bauds[] = {0, 38400, 115200}; /* 0: as the port was opened */

enum { BAUDS = sizeof bauds / sizeof bauds[0] };

static void enter(struct deconz *d, int64_t now_ms, enum deconz_step step)
{
    d->step = step;
    d->tries = 0;
    d->pause_ms = now_ms;
    if (step == STEP_WAIT_OFFLINE)
        d->step_ms = now_ms + WAIT_OFFLINE_MS;
    else if (step == STEP_WAIT_ONLINE)
        d->step_ms = now_ms + WAIT_ONLINE_MS;
    else
        d->step_ms = now_ms;
}

void deconz_start(struct deconz *d, int64_t now_ms)
{
    d->baud_at = 0;
    d->forming = false;
    d->endpoint_fits = false;
    d->plain_indications = false;
    d->protocol = 0;
    d->state = 0;
    enter(d, now_ms, STEP_VERSION);
}

/* ---- the network ------------------------------------------------------------------------------- */

static bool has_network(const struct deconz *d)
{
    return d->coordinator && d->pan_id != 0 && d->pan_id != 0xFFFF;
}

static void warn_if_other(struct deconz *d)
{
    const struct stick_config *c = &d->s.config;
    if (c->channel != 0 && c->channel != d->channel)
        stick_log(&d->s, LOG_WARN, "deconz.other_channel",
                  "the stick's network is on channel %u, the configuration says %u; the network is "
                  "kept as it is",
                  d->channel, c->channel);
    if (c->pan_id != 0 && c->pan_id != d->pan_id)
        stick_log(&d->s, LOG_WARN, "deconz.other_pan_id",
                  "the stick's network has PAN id 0x%04x, the configuration says 0x%04x; the "
                  "network is kept as it is",
                  d->pan_id, c->pan_id);
}

static void prepare_forming(struct deconz *d)
{
    const struct stick_config *c = &d->s.config;
    d->forming = true;
    d->channel = c->channel != 0 ? c->channel : 15;
    d->pan_id = c->pan_id;
    if (d->pan_id == 0)
        d->pan_id = (uint16_t)(1 + rng_below(&d->s.rng, 0xFFFE - 1));
    d->extended_pan = rng_next(&d->s.rng);
    stick_secret(&d->s, d->key, sizeof d->key);
    if (c->has_key)
        memcpy(d->key, c->network_key, sizeof d->key);
    stick_log(&d->s, LOG_NOTICE, "deconz.forming",
              "the stick has no network: forming one on channel %u with PAN id 0x%04x", d->channel,
              d->pan_id);
}

/* All is read: resume, form, or give up? */
static void choose(struct deconz *d, int64_t now_ms)
{
    const bool online = (d->state & STATE_NETWORK) == STATE_CONNECTED;
    if (has_network(d)) {
        warn_if_other(d);
        enter(d, now_ms,
              !d->endpoint_fits ? STEP_WRITE_ENDPOINT
              : online          ? STEP_READ_PAN
                                : STEP_ONLINE);
    } else if (d->s.config.form_network) {
        prepare_forming(d);
        enter(d, now_ms, STEP_FORM_COORDINATOR);
    } else {
        stick_reopen(&d->s, now_ms,
                     "the stick has no network, and form_network = no forbids to form one");
    }
}

static void up(struct deconz *d, int64_t now_ms)
{
    char text[STICK_TEXT_MAX];
    static const char *const platforms[16] = {
        [5] = "ConBee or RaspBee", [7] = "ConBee II or RaspBee II", [9] = "ConBee III"};
    const unsigned platform = (d->version >> 8) & 0xFF;
    const char *name =
        platform < 16 && platforms[platform] != NULL ? platforms[platform] : "deCONZ";
    snprintf(text, sizeof text, "%s, firmware 0x%08lx, address %016llx, channel %u, PAN id 0x%04x",
             name, (unsigned long)d->version, (unsigned long long)d->mac, d->channel, d->pan_id);
    d->step = STEP_UP;
    d->step_ms = TIME_NEVER;
    d->poll_ms = now_ms;
    d->watchdog_ms = d->protocol >= WATCHDOG_SINCE ? now_ms + 300000 : TIME_NEVER;
    stick_up(&d->s, now_ms, PAYLOAD_MAX, SLOTS, CONFIRM_MS, text);
}

static void restart(struct deconz *d, int64_t now_ms, const char *why)
{
    d->request.waits = false;
    d->zdo.waits = false;
    d->was_silent = false;
    d->s.counters.stick_resets++;
    stick_down(&d->s, now_ms, why);
    d->endpoint_fits = false;
    enter(d, now_ms, STEP_VERSION); /* all of it: a reset forgets the watchdog, too */
}

void deconz_network_lost(struct deconz *d, int64_t now_ms)
{
    restart(d, now_ms, "the stick has left its network; it may have reset itself");
}

/* ---- sending what a step asks for --------------------------------------------------------------- */

static void write_u8(struct deconz *d, int64_t now_ms, uint8_t number, uint8_t value)
{
    deconz_write(d, now_ms, number, bytes_of(&value, 1));
}

static void write_u64(struct deconz *d, int64_t now_ms, uint8_t number, uint64_t value)
{
    uint8_t octets[8];
    struct writer w = wr_to(octets, sizeof octets);
    wr_u64_le(&w, value);
    deconz_write(d, now_ms, number, bytes_of(octets, w.len));
}

static void write_key(struct deconz *d, int64_t now_ms)
{
    uint8_t value[1 + STICK_KEY_BYTES] = {0}; /* index */
    memcpy(value + 1, d->key, STICK_KEY_BYTES);
    deconz_write(d, now_ms, PARAM_NETWORK_KEY, bytes_of(value, sizeof value));
}

static void put_endpoint(const struct deconz *d, struct writer *w)
{
    const struct stick_config *c = &d->s.config;
    wr_u8(w, 0); /* index */
    wr_u8(w, c->endpoint);
    wr_u16_le(w, c->profile);
    wr_u16_le(w, 1); /* device */
    wr_u8(w, 0);     /* version */
    for (unsigned list = 0; list < 2; list++) {
        wr_u8(w, 1);
        wr_u16_le(w, c->cluster);
    }
}

static void write_endpoint(struct deconz *d, int64_t now_ms)
{
    uint8_t value[32];
    struct writer w = wr_to(value, sizeof value);
    put_endpoint(d, &w);
    deconz_write(d, now_ms, PARAM_ENDPOINT, bytes_of(value, wr_close(&w)));
}

static void write_form(struct deconz *d, int64_t now_ms)
{
    uint8_t value[4];
    struct writer w = wr_to(value, sizeof value);
    if (d->step == STEP_FORM_MASK) {
        wr_u32_le(&w, UINT32_C(1) << d->channel);
        deconz_write(d, now_ms, PARAM_CHANNEL_MASK, bytes_of(value, w.len));
    } else if (d->step == STEP_FORM_PAN) {
        wr_u16_le(&w, d->pan_id);
        deconz_write(d, now_ms, PARAM_PAN_ID, bytes_of(value, w.len));
    } else if (d->step == STEP_FORM_EXTENDED) {
        write_u64(d, now_ms, PARAM_EXTENDED_PAN, d->extended_pan);
    } else if (d->step == STEP_FORM_APS_EXTENDED) {
        write_u64(d, now_ms, PARAM_APS_EXTENDED_PAN, d->extended_pan);
    } else if (d->step == STEP_FORM_KEY) {
        write_key(d, now_ms);
    } else if (d->step == STEP_FORM_TRUST_CENTER) {
        write_u64(d, now_ms, PARAM_TRUST_CENTER, d->mac);
    } else {
        const uint8_t number = d->step == STEP_FORM_COORDINATOR  ? PARAM_COORDINATOR
                               : d->step == STEP_FORM_PREDEFINED ? PARAM_PREDEFINED_PAN
                                                                 : PARAM_SECURITY_MODE;
        write_u8(d, now_ms, number, d->step == STEP_FORM_SECURITY ? SECURITY_TRUST_CENTER : 1);
    }
}

static void ask_state(struct deconz *d, int64_t now_ms)
{
    const uint8_t zeros[3] = {0};
    deconz_command(d, now_ms, DECONZ_DEVICE_STATE, bytes_of(zeros, sizeof zeros));
}

static void change_network(struct deconz *d, int64_t now_ms, uint8_t state)
{
    deconz_command(d, now_ms, DECONZ_CHANGE_NETWORK, bytes_of(&state, 1));
}

/* The network has not come to the state that the step waits for. */
static void wait_is_over(struct deconz *d, int64_t now_ms)
{
    stick_reopen(&d->s, now_ms,
                 d->step == STEP_WAIT_ONLINE
                     ? "the stick does not get its network up: is another coordinator or much "
                       "interference on its channel?"
                     : "the stick does not leave its network");
}

void deconz_step(struct deconz *d, int64_t now_ms)
{
    static const uint8_t reads[] = {
        [STEP_PROTOCOL] = PARAM_PROTOCOL,       [STEP_MAC] = PARAM_MAC,
        [STEP_COORDINATOR] = PARAM_COORDINATOR, [STEP_PAN_ID] = PARAM_PAN_ID,
        [STEP_CHANNEL] = PARAM_CHANNEL,         [STEP_READ_PAN] = PARAM_PAN_ID,
        [STEP_READ_CHANNEL] = PARAM_CHANNEL,
    };
    const uint8_t zeros[4] = {0};
    const uint8_t ttl[] = {0x58, 0x02, 0, 0}; /* 600 s */
    const bool waits = d->step == STEP_WAIT_OFFLINE || d->step == STEP_WAIT_ONLINE;
    if (waits && d->step_ms <= now_ms)
        wait_is_over(d, now_ms);
    else if (d->step == STEP_VERSION)
        deconz_command(d, now_ms, DECONZ_VERSION, bytes_of(zeros, 4));
    else if (d->step == STEP_WATCHDOG)
        deconz_write(d, now_ms, PARAM_WATCHDOG, bytes_of(ttl, sizeof ttl));
    else if (d->step == STEP_ENDPOINT)
        deconz_read(d, now_ms, PARAM_ENDPOINT, bytes_of(zeros, 1));
    else if (d->step == STEP_STATE || waits)
        ask_state(d, now_ms);
    else if (d->step == STEP_WRITE_ENDPOINT)
        write_endpoint(d, now_ms);
    else if (d->step == STEP_OFFLINE || d->step == STEP_ONLINE)
        change_network(d, now_ms, d->step == STEP_ONLINE ? STATE_CONNECTED : STATE_OFFLINE);
    else if (d->step >= STEP_FORM_COORDINATOR && d->step <= STEP_FORM_TRUST_CENTER)
        write_form(d, now_ms);
    else
        deconz_read(d, now_ms, reads[d->step], bytes_of(NULL, 0));
}

/* ---- answers ----------------------------------------------------------------------------------- */

static bool endpoint_is_ours(const struct deconz *d, struct bytes value)
{
    uint8_t ours[32];
    struct writer w = wr_to(ours, sizeof ours);
    put_endpoint(d, &w);
    return bytes_equal(value, bytes_of(ours, w.len));
}

void deconz_endpoint_seen(struct deconz *d, int64_t now_ms, const struct deconz_frame *f,
                          struct reader *r)
{
    rd_u8(r); /* its number */
    if (f->status == DECONZ_OK && !endpoint_is_ours(d, rd_rest(r)))
        restart(d, now_ms, "the stick has forgotten our endpoint: it has reset itself");
}

static void on_version(struct deconz *d, struct reader *r)
{
    d->version = rd_u32_le(r);
    stick_log(&d->s, LOG_INFO, "deconz.version", "firmware 0x%08lx", (unsigned long)d->version);
}

/* What a step's answer tells. False: it tells less than it should. */
static bool take(struct deconz *d, struct bytes value)
{
    struct reader r = rd_of(value);
    switch ((unsigned)d->step) {
    case STEP_VERSION:
        on_version(d, &r);
        break;
    case STEP_PROTOCOL:
        d->protocol = rd_u16_le(&r);
        break;
    case STEP_MAC:
        d->mac = rd_u64_le(&r);
        break;
    case STEP_COORDINATOR:
        d->coordinator = rd_u8(&r) == 1;
        break;
    case STEP_PAN_ID:
    case STEP_READ_PAN:
        d->pan_id = rd_u16_le(&r);
        break;
    case STEP_CHANNEL:
    case STEP_READ_CHANNEL:
        d->channel = rd_u8(&r);
        break;
    case STEP_ENDPOINT:
        d->endpoint_fits = endpoint_is_ours(d, value);
        break;
    case STEP_STATE:
    case STEP_WAIT_OFFLINE:
    case STEP_WAIT_ONLINE:
        d->state = rd_u8(&r);
        break;
    default: /* an acknowledgement */
        break;
    }
    return !r.failed;
}

/* Firmware without the parameter or without so many endpoints says so; we can do without. */
static bool may_be_refused(enum deconz_step step)
{
    return step == STEP_PROTOCOL || step == STEP_WATCHDOG || step == STEP_ENDPOINT ||
           step == STEP_FORM_APS_EXTENDED || step == STEP_COORDINATOR ||
           step == STEP_FORM_PREDEFINED;
}

static void next(struct deconz *d, int64_t now_ms)
{
    const uint8_t network = d->state & STATE_NETWORK;
    switch ((unsigned)d->step) {
    case STEP_MAC:
        enter(d, now_ms, d->protocol >= WATCHDOG_SINCE ? STEP_WATCHDOG : STEP_COORDINATOR);
        break;
    case STEP_STATE:
        choose(d, now_ms);
        break;
    case STEP_WAIT_OFFLINE:
    case STEP_WAIT_ONLINE:
        if (network == (d->step == STEP_WAIT_ONLINE ? STATE_CONNECTED : STATE_OFFLINE))
            enter(d, now_ms, (enum deconz_step)(d->step + 1));
        else
            d->pause_ms = time_min(now_ms + STATE_EVERY_MS, d->step_ms);
        break;
    case STEP_READ_CHANNEL:
        up(d, now_ms);
        break;
    default:
        enter(d, now_ms, (enum deconz_step)(d->step + 1));
        break;
    }
}

/* Refused, or not understood: once more, then the opening has failed. */
static void once_more(struct deconz *d, int64_t now_ms, const char *why)
{
    if (++d->tries < TRIES) {
        d->pause_ms = now_ms + AGAIN_MS;
        return;
    }
    char text[STICK_TEXT_MAX];
    snprintf(text, sizeof text, "start-up step %u of the stick has failed: %s", (unsigned)d->step,
             why);
    stick_reopen(&d->s, now_ms, text);
}

void deconz_step_answer(struct deconz *d, int64_t now_ms, const struct deconz_frame *f,
                        struct bytes value)
{
    if (f->status != DECONZ_OK && !may_be_refused(d->step)) {
        char why[64];
        snprintf(why, sizeof why, "it answers with status %u", f->status);
        once_more(d, now_ms, why);
        return;
    }
    if (f->status == DECONZ_OK && !take(d, value)) {
        once_more(d, now_ms, "its answer is too short");
        return;
    }
    if (f->status != DECONZ_OK && d->step == STEP_COORDINATOR)
        d->coordinator = true;
    next(d, now_ms);
}

void deconz_step_silence(struct deconz *d, int64_t now_ms)
{
    if (++d->tries < TRIES)
        return;
    if (d->step != STEP_VERSION) {
        stick_reopen(&d->s, now_ms, "the stick has stopped to answer in the midst of its start");
        return;
    }
    d->tries = 0;
    if (++d->baud_at < BAUDS && d->s.config.baud != 0) {
        stick_set_port(&d->s, (struct stick_port){.baud = bauds[d->baud_at], .dtr = -1, .rts = -1});
        return;
    }
    stick_reopen(&d->s, now_ms,
                 "no ConBee or RaspBee answers, neither at 38400 nor at 115200 baud: is it the "
                 "right device, and is nothing else using it?");
}
