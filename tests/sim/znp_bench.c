/* SPDX-License-Identifier: Apache-2.0 */
#include "sim/znp_bench.h"

#include <stdio.h>
#include <stdlib.h>

#include <check.h>

#include "radio/stick/core.h"
#include "unit/golden.h"

struct bench *bench_new(const struct stick_config *config)
{
    struct bench *b = calloc(1, sizeof *b);
    *b = (struct bench){.now_ms = 1000,
                        .product = 1,
                        .caps = 0x0659,
                        .nib_len = 116,
                        .state = ZNP_STATE_COORDINATOR,
                        .channel = 15,
                        .pan_id = 0x1A62};
    b->s = stick_new(&stick_znp, config, b->now_ms);
    return b;
}

void bench_free(struct bench *b)
{
    stick_free(b->s);
    free(b);
}

/* ---- to the gateway ---------------------------------------------------------------------------- */

static void say_bytes(struct bench *b, uint16_t cmd, struct bytes data)
{
    uint8_t frame[ZNP_FRAME_MAX];
    struct writer w = wr_to(frame, sizeof frame);
    znp_frame_write(&w, cmd, data);
    stick_input(b->s, b->now_ms, bytes_of(frame, wr_close(&w)));
}

void bench_say(struct bench *b, uint16_t cmd, const char *data)
{
    size_t len;
    uint8_t *octets = golden_octets(data, &len);
    say_bytes(b, cmd, bytes_of(octets, len));
    free(octets);
    bench_run(b, 0);
}

void bench_confirm(struct bench *b, uint8_t status, uint8_t id)
{
    const uint8_t confirm[] = {status, 0xE8, id};
    say_bytes(b, ZNP_DATA_CONFIRM, bytes_of(confirm, sizeof confirm));
    bench_run(b, 0);
}

void bench_answer(struct bench *b, uint16_t request, uint8_t status)
{
    say_bytes(b, znp_answer(request), bytes_of(&status, 1));
    bench_run(b, 0);
}

static void put_nib(const struct bench *b, struct writer *w)
{
    uint8_t nib[116] = {0};
    const bool aligned = b->nib_len == sizeof nib;
    nib[aligned ? 24 : 22] = b->channel;
    nib[aligned ? 36 : 33] = (uint8_t)b->pan_id;
    nib[aligned ? 37 : 34] = (uint8_t)(b->pan_id >> 8);
    wr_u8(w, 0);
    wr_u8(w, (uint8_t)b->nib_len);
    wr_bytes(w, bytes_of(nib, b->nib_len));
}

/* The answer to `asked`, after its status where there is nothing else to say. */
static void put_answer(struct bench *b, const struct bench_asked *asked, struct writer *w)
{
    struct reader r = rd_of(bytes_of(asked->data, asked->len));
    const uint16_t id = rd_u16_le(&r);
    switch (asked->cmd) {
    case ZNP_PING:
        wr_u16_le(w, b->caps);
        return;
    case ZNP_VERSION:
        wr_bytes(w, bytes_of((const uint8_t[]){2, b->product, 2, 7, 1}, 5));
        wr_u32_le(w, 20230075);
        return;
    case ZNP_NV_LENGTH:
        wr_u16_le(w, b->nib_len);
        return;
    case ZNP_NV_READ:
    case ZNP_NV_READ_EXT:
        if (id == ZNP_NV_NIB) {
            put_nib(b, w);
            return;
        }
        wr_u8(w, 0);
        wr_u8(w, id == ZNP_NV_ACTIVE_KEY ? 17 : 1);
        wr_u8(w, b->role);
        if (id == ZNP_NV_ACTIVE_KEY)
            wr_bytes(w, bytes_of(b->key, sizeof b->key));
        return;
    case ZNP_DEVICE_INFO:
        wr_u8(w, 0);
        wr_u64_le(w, 0x00124B0021A81179);
        wr_u16_le(w, 0);
        wr_bytes(w, bytes_of((const uint8_t[]){7, b->state, 0}, 3));
        return;
    case ZNP_EXT_NWK_INFO:
        wr_u16_le(w, 0);
        wr_u8(w, b->state);
        wr_u16_le(w, b->pan_id);
        wr_u16_le(w, 0);
        wr_u64_le(w, 0x00124B0021A81179);
        wr_u64_le(w, 0);
        wr_u8(w, b->channel);
        return;
    case ZNP_NWK_LOOKUP:
        wr_u64_le(w, b->lookup);
        return;
    case ZNP_DATA_RETRIEVE:
        wr_u8(w, 0);
        wr_u8(w, asked->data[6]);
        for (unsigned i = 0; i < asked->data[6]; i++)
            wr_u8(w, (uint8_t)(asked->data[4] + i));
        return;
    default:
        wr_u8(w, 0);
    }
}

/* What the stick says by itself after a request. */
static void follow(struct bench *b, const struct bench_asked *asked)
{
    const bool starts = asked->cmd == ZNP_STARTUP_FROM_APP || asked->cmd == ZNP_BDB_START;
    if (asked->cmd == ZNP_RESET_REQ) {
        b->state = 0;
        say_bytes(b, ZNP_RESET_IND, bytes_of((const uint8_t[]){0, 2, b->product, 2, 7, 1}, 6));
    }
    if (asked->cmd == ZNP_BDB_START && b->formation != 0) {
        say_bytes(b, ZNP_BDB_NOTIFY, bytes_of((const uint8_t[]){b->formation, 2, 0}, 3));
        return;
    }
    if (!starts)
        return;
    b->state = ZNP_STATE_COORDINATOR;
    b->nib_len = 116;
    if (b->silent_start)
        return;
    say_bytes(b, ZNP_STATE_CHANGE, bytes_of((const uint8_t[]){8}, 1));
    say_bytes(b, ZNP_STATE_CHANGE, bytes_of((const uint8_t[]){9}, 1));
}

/* True when a rule has taken care of it. */
static bool obey_rule(struct bench *b, const struct bench_asked *asked)
{
    for (unsigned i = 0; i < BENCH_RULES; i++) {
        struct bench_rule *rule = &b->rules[i];
        if (rule->times == 0 || rule->cmd != asked->cmd)
            continue;
        rule->times--;
        if (rule->how == BENCH_STATUS)
            say_bytes(b, znp_answer(asked->cmd), bytes_of(&rule->status, 1));
        if (rule->how == BENCH_UNKNOWN)
            say_bytes(
                b, ZNP_RPC_ERROR,
                bytes_of((const uint8_t[]){2, (uint8_t)(asked->cmd >> 8), (uint8_t)asked->cmd}, 3));
        return true;
    }
    return false;
}

static void on_request(struct bench *b, const struct znp_frame *frame)
{
    ck_assert_uint_lt(b->n_asked, BENCH_ASKED);
    struct bench_asked *asked = &b->asked[b->n_asked++];
    asked->cmd = frame->cmd;
    asked->len = frame->data.len;
    memcpy(asked->data, frame->data.data, frame->data.len);
    const bool packet = frame->cmd == ZNP_DATA_REQUEST || frame->cmd == ZNP_DATA_REQUEST_EXT;
    if (obey_rule(b, asked) || (packet && b->holds_data))
        return;
    if (frame->cmd != ZNP_RESET_REQ) {
        uint8_t data[ZNP_DATA_MAX];
        struct writer w = wr_to(data, sizeof data);
        put_answer(b, asked, &w);
        say_bytes(b, znp_answer(frame->cmd), bytes_of(data, wr_close(&w)));
    }
    follow(b, asked);
}

/* ---- from the gateway -------------------------------------------------------------------------- */

static void take_bytes(struct bench *b)
{
    struct bytes out;
    uint8_t copy[STICK_OUT_BYTES];
    while (stick_peek_bytes(b->s, &out)) {
        const struct bytes in = bytes_of(copy, out.len);
        memcpy(copy, out.data, out.len);
        stick_took(b->s, b->now_ms, out.len);
        if (b->in_boot_loader && memchr(copy, 0xEF, in.len) != NULL)
            b->in_boot_loader = false;
        if (b->echoes)
            stick_input(b->s, b->now_ms, in);
        if (b->babbles)
            stick_input(b->s, b->now_ms, bytes_of("\x1A\xC0\x38\xBC\x7E", 5));
        if (b->dead || b->in_boot_loader || b->held_by_pins)
            continue;
        struct znp_frame frame;
        for (size_t at = 0; at < in.len;) {
            at += znp_framer_put(&b->in, bytes_of(in.data + at, in.len - at));
            while (znp_framer_next(&b->in, &frame))
                on_request(b, &frame);
        }
    }
}

static void on_event(struct bench *b, const struct stick_event *e)
{
    switch (e->type) {
    case STICK_EV_PACKET:
        b->packets++;
        peer_copy(&b->from, e->peer);
        memcpy(b->packet, e->packet.data, e->packet.len);
        b->packet_len = e->packet.len;
        b->to_group = e->to_group;
        break;
    case STICK_EV_OUTCOME:
        b->outcomes[e->outcome]++;
        break;
    case STICK_EV_UP:
        b->ups++;
        break;
    case STICK_EV_DOWN:
        b->downs++;
        break;
    case STICK_EV_REOPEN:
        b->reopens++;
        break;
    case STICK_EV_PORT:
        b->ports++;
        if (e->port.dtr == 0 && b->last_rts == 1 && e->port.rts == 0)
            b->held_by_pins = false;
        b->last_rts = e->port.rts;
        break;
    case STICK_EV_FAMILY: /* only of driver = auto */
        break;
    case STICK_EV_LOG:
        if (strlen(b->log) + strlen(e->name) + 2 < sizeof b->log)
            snprintf(b->log + strlen(b->log), sizeof b->log - strlen(b->log), " %s", e->name);
        break;
    }
    if (e->type == STICK_EV_UP || e->type == STICK_EV_DOWN || e->type == STICK_EV_REOPEN)
        snprintf(b->text, sizeof b->text, "%s", e->text);
}

static void drain(struct bench *b)
{
    struct stick_event event;
    take_bytes(b);
    while (stick_peek_event(b->s, &event)) {
        on_event(b, &event);
        stick_done_event(b->s);
    }
    take_bytes(b);
}

void bench_run(struct bench *b, int64_t ms)
{
    const int64_t end_ms = b->now_ms + ms;
    drain(b);
    int64_t at_ms;
    while ((at_ms = stick_next_deadline(b->s)) <= end_ms) {
        if (at_ms > b->now_ms)
            b->now_ms = at_ms;
        stick_advance(b->s, b->now_ms);
        ck_assert_int_gt(stick_next_deadline(b->s), b->now_ms);
        drain(b);
    }
    b->now_ms = end_ms;
}

void bench_open(struct bench *b)
{
    stick_opened(b->s, b->now_ms);
    bench_run(b, 0);
}

void bench_start(struct bench *b, int64_t ms)
{
    bench_open(b);
    bench_run(b, ms);
    ck_assert_msg(b->ups == 1 && b->reopens == 0, "not up: %s", b->text);
}

void bench_rule(struct bench *b, uint16_t cmd, unsigned times, int how, uint8_t status)
{
    for (unsigned i = 0; i < BENCH_RULES; i++) {
        if (b->rules[i].times > 0)
            continue;
        b->rules[i] = (struct bench_rule){.cmd = cmd, .times = times, .status = status};
        b->rules[i].how = how;
        return;
    }
    ck_abort_msg("too many rules");
}

static void send_to(struct bench *b, const struct peer *to, const char *packet)
{
    size_t len;
    uint8_t *octets = golden_octets(packet, &len);
    stick_send(b->s, b->now_ms, to, bytes_of(octets, len));
    free(octets);
    bench_run(b, 0);
}

void bench_send(struct bench *b, uint64_t eui64, const char *packet)
{
    uint8_t address[8];
    struct peer_room room;
    struct writer w = wr_to(address, sizeof address);
    wr_u64(&w, eui64);
    send_to(b, peer_make(&room, 0, PEER_EUI64, bytes_of(address, sizeof address)), packet);
}

void bench_send_group(struct bench *b, const char *packet)
{
    struct peer_room room;
    send_to(b, peer_make_group(&room, 0, 0), packet);
}

unsigned bench_count(const struct bench *b, uint16_t cmd)
{
    unsigned n = 0;
    for (size_t i = 0; i < b->n_asked; i++)
        n += b->asked[i].cmd == cmd;
    return n;
}

const struct bench_asked *bench_last(const struct bench *b, uint16_t cmd)
{
    for (size_t i = b->n_asked; i-- > 0;) {
        if (b->asked[i].cmd == cmd)
            return &b->asked[i];
    }
    return NULL;
}

uint8_t bench_id(const struct bench *b)
{
    for (size_t i = b->n_asked; i-- > 0;) {
        if (b->asked[i].cmd == ZNP_DATA_REQUEST)
            return b->asked[i].data[6];
        if (b->asked[i].cmd == ZNP_DATA_REQUEST_EXT)
            return b->asked[i].data[15];
    }
    ck_abort_msg("no packet was sent");
    return 0;
}
