/* SPDX-License-Identifier: Apache-2.0 */
/*
 * From an open port to a running coordinator: is it there, what is it, does it have a network, start
 * that one, register our endpoint (radio reference, B.2 to B.5). Each step asks one thing; the table
 * below tells what, and who reads the answer.
 *
 * The network that is stored in a stick is never touched. A new one is made only where there is none
 * and the configuration says so (znp_form.c).
 */
#include <stdarg.h>
#include <stdio.h>

#include "radio/stick/znp_priv.h"

enum {
    STEP_TRIES = 3, /* of a question without an answer */
    RESET_WAIT_MS = 30000,
    NETWORK_MS = 60000,
    POLL_MS = 3000,
    RESETS_MAX = 5, /* during one start: that stick has a problem */

    PACKET_BYTES = 82,  /* H.1: network security, no fragmentation */
    CONFIRM_MS = 10000, /* a parent keeps a frame for a sleeper for 7.68 s */
    SLOTS_3X0 = 16,
    SLOTS = 2,
};

void znp_step_ask(struct znp *z, int64_t now_ms, uint16_t cmd, struct bytes data)
{
    znp_ask(z, now_ms, ZNP_BY_START, (uint32_t)z->step, cmd, data);
}

void znp_goto(struct znp *z, int64_t now_ms, enum znp_step step, int64_t delay_ms)
{
    if (step != z->step)
        z->tries = 0;
    z->step = step;
    z->step_ms = now_ms + delay_ms;
    if (delay_ms == 0)
        znp_start_due(z, now_ms);
}

void znp_give_up(struct znp *z, int64_t now_ms, const char *format, ...)
{
    char text[STICK_TEXT_MAX];
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    stick_reopen(&z->s, now_ms, text);
}

/* ---- hello: is it there, and not in its boot loader? ------------------------------------------- */

static void complain_of_silence(struct znp *z, int64_t now_ms)
{
    if (z->heard_echo)
        znp_give_up(z, now_ms,
                    "the line sends back what we write: this is no stick, or its port is wired to "
                    "itself");
    else if (z->heard_octets)
        znp_give_up(z, now_ms,
                    "the device sends something, but nothing that a ZNP stick would say: check "
                    "baud (115200 as a rule) and whether the stick has Z-Stack firmware (driver = "
                    "znp) or another family's");
    else
        znp_give_up(z, now_ms,
                    "the stick does not answer: check device and baud, flow_control = none unless "
                    "the board has RTS/CTS, and that the firmware is a Z-Stack coordinator; a "
                    "stick in its boot loader has to be unplugged and plugged in again");
}

/* What helps when pings have no answer, in this order. CC253x starts in a boot loader that waits a
 * minute unless told to go on; boards with an automatic boot loader are held in it, or in reset,
 * by DTR and RTS. */
static void hello_ask(struct znp *z, int64_t now_ms)
{
    static const struct {
        uint16_t skips;
        bool pins;
        int8_t rts;
        int16_t wait_ms;
    } measures[] = {
        {0,   false, 0, 0   },
        {0,   false, 0, 0   },
        {1,   false, 0, 1000},
        {256, false, 0, 2500},
        {0,   true,  0, 150 },
        {0,   true,  1, 150 },
        {0,   true,  0, 1000},
    };

    const unsigned i = z->hello / 2;
    const bool pin_step = i < sizeof measures / sizeof measures[0] && measures[i].pins;
    if (i >= sizeof measures / sizeof measures[0]) {
        complain_of_silence(z, now_ms);
        return;
    }
    /* Even: the measure. Odd: the ping after it. */
    if (z->hello % 2 == 0 && measures[i].wait_ms > 0) {
        uint8_t skip[256];
        memset(skip, 0xEF, sizeof skip);
        stick_write(&z->s, bytes_of(skip, measures[i].skips));
        if (pin_step)
            stick_set_port(&z->s,
                           (struct stick_port){.baud = -1, .dtr = 0, .rts = measures[i].rts});
        /* The pins want all their steps before a ping makes sense. */
        const bool more = pin_step && measures[i].wait_ms < 1000;
        z->hello += more ? 2 : 1;
        znp_goto(z, now_ms, ZNP_STEP_HELLO, measures[i].wait_ms);
        return;
    }
    z->hello |= 1;
    znp_step_ask(z, now_ms, ZNP_PING, bytes_of(NULL, 0));
}

static void hello_heard(struct znp *z, int64_t now_ms, const struct znp_reply *reply)
{
    struct reader r = rd_of(reply->data);
    const uint16_t can = rd_u16_le(&r);
    if (reply->none || reply->rpc_error != 0 || r.failed) {
        z->hello++;
        znp_goto(z, now_ms, ZNP_STEP_HELLO, reply->none ? 0 : ZNP_HELLO_MS);
        return;
    }
    z->generation = (can & ZNP_CAP_APP_CNF) != 0 ? ZNP_3X0 : ZNP_12;
    znp_goto(z, now_ms, ZNP_STEP_VERSION, 0);
}

/* ---- what is it? ------------------------------------------------------------------------------- */

static const char *generation_name(const struct znp *z)
{
    static const char *const names[] = {
        [ZNP_12] = "Z-Stack 1.2", [ZNP_30X] = "Z-Stack 3.0.x", [ZNP_3X0] = "Z-Stack 3.x.0"};
    return names[z->generation];
}

static void version_ask(struct znp *z, int64_t now_ms)
{
    znp_step_ask(z, now_ms, ZNP_VERSION, bytes_of(NULL, 0));
}

static void version_heard(struct znp *z, int64_t now_ms, const struct znp_reply *reply)
{
    z->version = (struct znp_version){0};
    if (reply->rpc_error == 0 && znp_get_version(reply->data, &z->version)) {
        if (z->version.product == 0)
            z->generation = ZNP_12;
        else if (z->version.product == 2 && z->generation != ZNP_12)
            z->generation = ZNP_30X;
    }
    stick_log(&z->s, LOG_INFO, "znp.version", "%s, firmware %u.%u.%u revision %u",
              generation_name(z), z->version.major, z->version.minor, z->version.maint,
              z->version.revision);
    znp_goto(z, now_ms, ZNP_STEP_DEVICE, 0);
}

static void device_ask(struct znp *z, int64_t now_ms)
{
    znp_step_ask(z, now_ms, ZNP_DEVICE_INFO, bytes_of(NULL, 0));
}

static void device_heard(struct znp *z, int64_t now_ms, const struct znp_reply *reply)
{
    z->device = (struct znp_device){0};
    if (reply->rpc_error == 0)
        znp_get_device(reply->data, &z->device);
    znp_goto(z, now_ms, ZNP_STEP_NIB, 0);
}

/* ---- does it have a network? ------------------------------------------------------------------- */

static void nib_ask(struct znp *z, int64_t now_ms)
{
    static const uint8_t id[] = {ZNP_NV_NIB, 0};
    znp_step_ask(z, now_ms, ZNP_NV_LENGTH, bytes_of(id, sizeof id));
}

void znp_step_nv_read(struct znp *z, int64_t now_ms, uint16_t id)
{
    uint8_t data[8];
    struct writer w = wr_to(data, sizeof data);
    znp_put_nv_read(&w, !z->nv_old, id);
    znp_step_ask(z, now_ms, z->nv_old ? ZNP_NV_READ : ZNP_NV_READ_EXT, bytes_of(data, w.len));
}

static void no_network(struct znp *z, int64_t now_ms)
{
    z->forming = z->s.config.form_network;
    if (z->forming)
        znp_goto(z, now_ms, ZNP_STEP_FORM_ERASE, 0);
    else
        znp_give_up(z, now_ms,
                    "the stick has no network yet. To let the gateway form one, set form_network "
                    "= yes (and channel, pan_id, network_key_file as you like) in its section");
}

static void nib_heard(struct znp *z, int64_t now_ms, const struct znp_reply *reply)
{
    struct reader r = rd_of(reply->data);
    const uint16_t length = rd_u16_le(&r);
    if (z->device.state == ZNP_STATE_COORDINATOR)
        znp_goto(z, now_ms, ZNP_STEP_ROLE, 0);
    else if (reply->rpc_error != 0 ||
             r.failed) /* never form a network because a question was not understood */
        znp_give_up(z, now_ms,
                    "the stick does not tell whether it has a network (OSAL_NV_LENGTH): its "
                    "firmware is too old, or no coordinator's");
    else if (length == 0)
        no_network(z, now_ms);
    else
        znp_goto(z, now_ms, ZNP_STEP_NIB_READ, 0);
}

static void nib_read_ask(struct znp *z, int64_t now_ms)
{
    znp_step_nv_read(z, now_ms, ZNP_NV_NIB);
}

/* Started without a network, Z-Stack 1.2 would form one of its own. */
static void nib_read_heard(struct znp *z, int64_t now_ms, const struct znp_reply *reply)
{
    uint8_t status;
    struct bytes nib;
    if (reply->rpc_error == 0 && znp_get_nv(reply->data, &status, &nib) && znp_nib_is_empty(nib))
        no_network(z, now_ms);
    else
        znp_goto(z, now_ms, ZNP_STEP_ROLE, 0);
}

static void role_ask(struct znp *z, int64_t now_ms)
{
    znp_step_nv_read(z, now_ms, ZNP_NV_LOGICAL_TYPE);
}

static void role_heard(struct znp *z, int64_t now_ms, const struct znp_reply *reply)
{
    uint8_t status;
    struct bytes role;
    const bool running = z->device.state == ZNP_STATE_COORDINATOR;
    const bool told =
        reply->rpc_error == 0 && znp_get_nv(reply->data, &status, &role) && role.len > 0;
    if (told && role.data[0] != 0 && !running)
        znp_give_up(z, now_ms,
                    "the stick belongs to a network as a %s, not as its coordinator: erase its "
                    "settings with its vendor's tool, or flash coordinator firmware",
                    role.data[0] == 1 ? "router" : "end device");
    else
        znp_goto(z, now_ms, running ? ZNP_STEP_NETWORK : ZNP_STEP_STARTUP, 0);
}

/* ---- start it ---------------------------------------------------------------------------------- */

static void startup_ask(struct znp *z, int64_t now_ms)
{
    enum { DELAY_MS = 100 };

    uint8_t delay[2];
    struct writer w = wr_to(delay, sizeof delay);
    wr_u16_le(&w, DELAY_MS);
    znp_step_ask(z, now_ms, ZNP_STARTUP_FROM_APP, bytes_of(delay, w.len));
}

static void startup_heard(struct znp *z, int64_t now_ms, const struct znp_reply *reply)
{
    enum { LEFT_STOPPED = 2 };

    struct reader r = rd_of(reply->data);
    const uint8_t status = rd_u8(&r);
    if (reply->rpc_error != 0 || r.failed || status >= LEFT_STOPPED)
        znp_give_up(z, now_ms,
                    "the stick could not start its network (ZDO_STARTUP_FROM_APP: %02X): another "
                    "attempt follows; if it never succeeds its settings are damaged",
                    status);
    else
        znp_await_network(z, now_ms, NETWORK_MS);
}

void znp_await_network(struct znp *z, int64_t now_ms, int64_t ms)
{
    z->phase_end_ms = now_ms + ms;
    if (z->device.state == ZNP_STATE_COORDINATOR) /* told before the answer to our request */
        znp_goto(z, now_ms, ZNP_STEP_NETWORK, 0);
    else
        znp_goto(z, now_ms, ZNP_STEP_AWAIT, POLL_MS);
}

/* The state change is told once and may get lost, so we also ask. */
static void await_heard(struct znp *z, int64_t now_ms, const struct znp_reply *reply)
{
    struct znp_device device = {0};
    if (reply->rpc_error == 0 && znp_get_device(reply->data, &device)) {
        z->device = device;
        if (device.state == ZNP_STATE_COORDINATOR) {
            znp_goto(z, now_ms, ZNP_STEP_NETWORK, 0);
            return;
        }
    }
    if (now_ms >= z->phase_end_ms)
        znp_give_up(z, now_ms, "the stick's network does not come up (state %u instead of 9)",
                    z->device.state);
    else
        znp_goto(z, now_ms, ZNP_STEP_AWAIT, POLL_MS);
}

void znp_start_state(struct znp *z, int64_t now_ms, uint8_t state)
{
    z->device.state = state;
    if (z->s.state == STICK_RUNNING) {
        if (state != ZNP_STATE_COORDINATOR)
            znp_restart(z, now_ms, "the stick has left its network; starting that again");
    } else if (state == ZNP_STATE_COORDINATOR && z->step == ZNP_STEP_AWAIT) {
        znp_goto(z, now_ms, ZNP_STEP_NETWORK, 0);
    }
}

/* ---- which network is it? ---------------------------------------------------------------------- */

static void network_ask(struct znp *z, int64_t now_ms)
{
    if (z->tries == 0)
        z->phase_end_ms = now_ms + NETWORK_MS;
    znp_step_ask(z, now_ms, ZNP_EXT_NWK_INFO, bytes_of(NULL, 0));
}

static void warn_of_differences(struct znp *z)
{
    const struct stick_config *c = &z->s.config;
    const struct znp_network *n = &z->network;
    if (c->channel != 0 && c->channel != n->channel)
        stick_log(&z->s, LOG_WARN, "znp.network_differs",
                  "channel = %u is configured, but the network in the stick is on channel %u; the "
                  "stick's network is kept. Correct the configuration, or erase the stick and let "
                  "all nodes join anew",
                  c->channel, n->channel);
    if (c->pan_id != 0 && c->pan_id != n->pan_id)
        stick_log(&z->s, LOG_WARN, "znp.network_differs",
                  "pan_id = %04X is configured, but the network in the stick is %04X; the stick's "
                  "network is kept. Correct the configuration, or erase the stick and let all "
                  "nodes join anew",
                  c->pan_id, n->pan_id);
}

static void after_network(struct znp *z, int64_t now_ms)
{
    znp_goto(z, now_ms,
             z->forming            ? ZNP_STEP_FORM_MARK
             : z->s.config.has_key ? ZNP_STEP_KEY
                                   : ZNP_STEP_REGISTER,
             0);
}

static void network_heard(struct znp *z, int64_t now_ms, const struct znp_reply *reply)
{
    struct znp_network *n = &z->network;
    *n = (struct znp_network){0};
    if (reply->rpc_error != 0) { /* an old firmware: it runs, and that must do */
        after_network(z, now_ms);
        return;
    }
    const bool there = znp_get_network(reply->data, n) && n->pan_id != 0xFFFF && n->channel != 0;
    if (there) {
        warn_of_differences(z);
        after_network(z, now_ms);
    } else if (now_ms >= z->phase_end_ms) {
        znp_give_up(z, now_ms, "the stick runs, but on no network (PAN %04X, channel %u)",
                    n->pan_id, n->channel);
    } else {
        z->tries = 1;
        znp_goto(z, now_ms, ZNP_STEP_NETWORK, POLL_MS);
    }
}

static void key_ask(struct znp *z, int64_t now_ms)
{
    znp_step_nv_read(z, now_ms, ZNP_NV_ACTIVE_KEY);
}

/* The item is a sequence number and the key. Not every firmware lets us read it. */
static void key_heard(struct znp *z, int64_t now_ms, const struct znp_reply *reply)
{
    uint8_t status;
    struct bytes item;
    if (reply->rpc_error == 0 && znp_get_nv(reply->data, &status, &item) &&
        item.len > STICK_KEY_BYTES &&
        memcmp(item.data + 1, z->s.config.network_key, STICK_KEY_BYTES) != 0)
        stick_log(&z->s, LOG_WARN, "znp.network_differs",
                  "the network in the stick has another key than network_key_file; the stick's "
                  "network is kept");
    znp_goto(z, now_ms, ZNP_STEP_REGISTER, 0);
}

/* ---- our endpoint ------------------------------------------------------------------------------ */

static void register_ask(struct znp *z, int64_t now_ms)
{
    const struct stick_config *c = &z->s.config;
    uint8_t data[ZNP_REQUEST_DATA];
    struct writer w = wr_to(data, sizeof data);
    znp_put_register(&w, c->endpoint, c->profile, c->cluster);
    znp_step_ask(z, now_ms, ZNP_REGISTER, bytes_of(data, wr_close(&w)));
}

static void finish(struct znp *z, int64_t now_ms)
{
    char text[STICK_TEXT_MAX];

    struct text_of_network {
        char pan[16], channel[16];
    } words = {"unknown", "unknown"};

    if (z->network.channel != 0) {
        snprintf(words.pan, sizeof words.pan, "%04X", z->network.pan_id);
        snprintf(words.channel, sizeof words.channel, "%u", z->network.channel);
    }
    snprintf(text, sizeof text, "%s %u.%u.%u (%u), coordinator %016llX, PAN %s, channel %s",
             generation_name(z), z->version.major, z->version.minor, z->version.maint,
             z->version.revision, (unsigned long long)z->device.eui64, words.pan, words.channel);
    z->step = ZNP_STEP_NONE;
    z->step_ms = TIME_NEVER;
    z->resets = 0;
    z->reset_done = false;
    stick_up(&z->s, now_ms, PACKET_BYTES, z->generation == ZNP_3X0 ? SLOTS_3X0 : SLOTS, CONFIRM_MS,
             text);
}

static void register_heard(struct znp *z, int64_t now_ms, const struct znp_reply *reply)
{
    struct reader r = rd_of(reply->data);
    const uint8_t status = rd_u8(&r);
    const bool answered = reply->rpc_error == 0 && !r.failed;
    if (answered && status == ZNP_OK) {
        if (z->generation == ZNP_12)
            znp_goto(z, now_ms, ZNP_STEP_CALLBACK, 0);
        else
            finish(z, now_ms);
    } else if (answered && !z->unregistered) {
        /* It is registered since an earlier start, but with which profile and cluster? */
        znp_goto(z, now_ms, ZNP_STEP_UNREGISTER, 0);
    } else if (!z->reset_done) {
        z->reset_done = true;
        znp_goto_reset(z, now_ms, ZNP_STEP_RESET);
    } else {
        znp_give_up(z, now_ms, "the stick refuses to register endpoint %02X (AF_REGISTER: %02X)",
                    z->s.config.endpoint, status);
    }
}

static void unregister_ask(struct znp *z, int64_t now_ms)
{
    z->unregistered = true;
    znp_step_ask(z, now_ms, ZNP_DELETE, bytes_of(&z->s.config.endpoint, 1));
}

static void unregister_heard(struct znp *z, int64_t now_ms, const struct znp_reply *reply)
{
    (void)reply; /* what it was good for the next registration tells */
    znp_goto(z, now_ms, ZNP_STEP_REGISTER, 0);
}

/* Z-Stack 1.2 tells of devices only so. */
static void callback_ask(struct znp *z, int64_t now_ms)
{
    static const uint8_t all[] = {0xFF, 0xFF};
    znp_step_ask(z, now_ms, ZNP_MSG_CB_REGISTER, bytes_of(all, sizeof all));
}

static void callback_heard(struct znp *z, int64_t now_ms, const struct znp_reply *reply)
{
    (void)reply;
    finish(z, now_ms);
}

/* ---- resets ------------------------------------------------------------------------------------ */

void znp_goto_reset(struct znp *z, int64_t now_ms, enum znp_step step)
{
    z->phase_end_ms = TIME_NEVER;
    znp_goto(z, now_ms, step, 0);
}

void znp_ask_reset(struct znp *z, int64_t now_ms)
{
    static const uint8_t soft = 1; /* a hard one makes CC2531 vanish from USB for seconds */
    if (z->phase_end_ms == TIME_NEVER) {
        z->phase_end_ms = now_ms + RESET_WAIT_MS;
        z->step_ms = z->phase_end_ms;
        znp_tell(z, ZNP_RESET_REQ, bytes_of(&soft, 1));
        return;
    }
    /* No word of it. Perhaps that got lost: a new start finds out. */
    znp_start(z, now_ms, 0);
}

void znp_start_reset(struct znp *z, int64_t now_ms)
{
    enum { SETTLE_MS = 100 };

    z->phase_end_ms = TIME_NEVER;
    switch ((int)z->step) {
    case ZNP_STEP_HELLO: /* it has just got power, and has heard nothing that we said before */
        z->hello = 0;
        z->current = (struct znp_request){0};
        z->current_end_ms = TIME_NEVER;
        znp_goto(z, now_ms, ZNP_STEP_HELLO, SETTLE_MS);
        return;
    case ZNP_STEP_FORM_RESET:
        znp_goto(z, now_ms, ZNP_STEP_FORM_WRITE, SETTLE_MS);
        return;
    case ZNP_STEP_FORM_RESET_12:
        znp_goto(z, now_ms, ZNP_STEP_STARTUP, SETTLE_MS);
        return;
    case ZNP_STEP_RESET:
        znp_start(z, now_ms, SETTLE_MS);
        return;
    default:
        z->s.counters.stick_resets++;
        if (++z->resets > RESETS_MAX)
            znp_give_up(z, now_ms,
                        "the stick resets itself again and again: a weak power supply or USB hub "
                        "is the usual reason");
        else
            znp_restart(z, now_ms, "the stick has reset itself");
    }
}

/* ---- steps ------------------------------------------------------------------------------------- */

static const struct znp_step_row rows[ZNP_STEPS] = {
    [ZNP_STEP_HELLO] = {"saying hello",                     hello_ask,      hello_heard     },
    [ZNP_STEP_VERSION] = {"telling its version",              version_ask,    version_heard   },
    [ZNP_STEP_DEVICE] = {"telling its state",                device_ask,     device_heard    },
    [ZNP_STEP_NIB] = {"telling whether it has a network", nib_ask,        nib_heard       },
    [ZNP_STEP_NIB_READ] = {"telling whether it has a network", nib_read_ask,   nib_read_heard  },
    [ZNP_STEP_ROLE] = {"telling its role",                 role_ask,       role_heard      },
    [ZNP_STEP_STARTUP] = {"starting its network",             startup_ask,    startup_heard   },
    [ZNP_STEP_AWAIT] = {"starting its network",             device_ask,     await_heard     },
    [ZNP_STEP_NETWORK] = {"describing its network",           network_ask,    network_heard   },
    [ZNP_STEP_KEY] = {"describing its network",           key_ask,        key_heard       },
    [ZNP_STEP_REGISTER] = {"registering our endpoint",         register_ask,   register_heard  },
    [ZNP_STEP_UNREGISTER] = {"registering our endpoint",         unregister_ask, unregister_heard},
    [ZNP_STEP_RESET] = {"resetting itself",                 znp_ask_reset,  NULL            },
    [ZNP_STEP_CALLBACK] = {"registering our endpoint",         callback_ask,   callback_heard  },
};

static const struct znp_step_row *row_of(enum znp_step step)
{
    const struct znp_step_row *row = znp_form_row(step);
    return row != NULL ? row : &rows[step];
}

void znp_start(struct znp *z, int64_t now_ms, int64_t delay_ms)
{
    z->hello = 0;
    z->unregistered = false;
    z->forming = false;
    z->nv_old = false;
    z->phase_end_ms = TIME_NEVER;
    z->step = ZNP_STEP_NONE;
    znp_goto(z, now_ms, ZNP_STEP_HELLO, delay_ms);
}

void znp_start_due(struct znp *z, int64_t now_ms)
{
    z->step_ms = TIME_NEVER;
    if (z->step != ZNP_STEP_NONE)
        row_of(z->step)->ask(z, now_ms);
}

/* Firmware that has only the NV commands with 8-bit offsets. */
static bool is_older(struct znp *z, const struct znp_reply *reply)
{
    if (reply->rpc_error == 0 || z->nv_old ||
        (reply->cmd != ZNP_NV_READ_EXT && reply->cmd != ZNP_NV_WRITE_EXT))
        return false;
    z->nv_old = true;
    return true;
}

void znp_start_reply(struct znp *z, int64_t now_ms, const struct znp_reply *reply)
{
    /* An indication may have led us on while the answer was under way, or while it is asked again
     * later. */
    if (reply->arg != (uint32_t)z->step || z->step_ms != TIME_NEVER)
        return;
    const struct znp_step_row *row = row_of(z->step);
    if (reply->none && z->step != ZNP_STEP_HELLO) {
        if (++z->tries >= STEP_TRIES)
            znp_give_up(z, now_ms, "the stick gave no answer while %s", row->doing);
        else
            znp_goto(z, now_ms, z->step, 0);
        return;
    }
    if (is_older(z, reply))
        znp_goto(z, now_ms, z->step, 0);
    else
        row->heard(z, now_ms, reply);
}
