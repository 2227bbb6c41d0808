/* SPDX-License-Identifier: Apache-2.0 */
#include "sim/stick_world.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

enum {
    PACKET_MIN = 5,     /* length, type, node, sequence number */
    PUBLISH_MIN = 13,   /* length, type, flags, topic id, msg id, node, sequence number */
    ENVELOPE_BYTES = 5, /* a forwarder's, with a wireless node id of two octets */
    PUBACK = 0x0D,      /* what shorter ones pass for */
    PLAIN = 0x55,
};

/* ---- failing ----------------------------------------------------------------------------------- */

__attribute__((format(printf, 2, 3))) static void note(struct stick_world *w, const char *format,
                                                       ...)
{
    char *line = w->log[w->n_log++ % STICK_WORLD_LOG];
    const int n = snprintf(line, STICK_WORLD_TEXT, "%lld ms: ", (long long)w->now_ms);
    va_list args;
    va_start(args, format);
    vsnprintf(line + n, STICK_WORLD_TEXT - (size_t)n, format, args);
    va_end(args);
}

__attribute__((format(printf, 2, 3), noreturn)) static void fail(const struct stick_world *w,
                                                                 const char *format, ...)
{
    va_list args;
    va_start(args, format);
    fprintf(stderr, "stick world at %lld ms, SENNET_SEED=%llu: ", (long long)w->now_ms,
            (unsigned long long)w->config.seed);
    vfprintf(stderr, format, args);
    va_end(args);
    fprintf(stderr, "\nthe last events:\n");
    const uint64_t first = w->n_log > STICK_WORLD_LOG ? w->n_log - STICK_WORLD_LOG : 0;
    for (uint64_t i = first; i < w->n_log; i++)
        fprintf(stderr, "    %s\n", w->log[i % STICK_WORLD_LOG]);
    abort();
}

bool stick_world_logged(const struct stick_world *w, const char *part)
{
    for (size_t i = 0; i < STICK_WORLD_LOG; i++) {
        if (strstr(w->log[i], part) != NULL)
            return true;
    }
    return false;
}

/* ---- packets with a name ----------------------------------------------------------------------- */

static uint8_t filling(uint32_t sequence, unsigned at)
{
    static const uint8_t awkward[] = {0x7E, 0x7D, 0xC0, 0xDB, 0x11, 0x13, 0x00, 0x1A,
                                      0x18, 0xFE, 0x01, 0x55, 0xFF, 0x5E, 0x5D, 0xDC};
    return awkward[(sequence * 7 + at * (1 + sequence % 3)) % sizeof awkward];
}

static struct bytes compose(const struct stick_world *w, uint8_t room[static 255], unsigned len,
                            uint16_t node, uint32_t sequence)
{
    struct writer p = wr_to(room, 255);
    wr_u8(&p, (uint8_t)len);
    if (len < PUBLISH_MIN) {
        wr_u8(&p, PUBACK);
        wr_u8(&p, (uint8_t)node);
        wr_u16(&p, (uint16_t)sequence);
    } else {
        wr_u8(&p, 0x0C);
        wr_u8(&p, 0x20);
        wr_u16(&p, 1);
        wr_u16(&p, (uint16_t)sequence);
        wr_u16(&p, node);
        wr_u32(&p, sequence);
    }
    while (p.len < len)
        wr_u8(&p, w->config.plain ? (uint8_t)PLAIN : filling(sequence, (unsigned)p.len));
    return bytes_of(room, wr_close(&p));
}

/* False: nobody composed it. */
static bool decompose(const struct stick_world *w, struct bytes packet, uint16_t *node,
                      uint32_t *sequence)
{
    struct reader r = rd_of(packet);
    const bool is_short = packet.len < PUBLISH_MIN;
    rd_bytes(&r, is_short ? 2 : 7);
    *node = is_short ? rd_u8(&r) : rd_u16(&r);
    *sequence = is_short ? rd_u16(&r) : rd_u32(&r);
    uint8_t room[255];
    return !r.failed && packet.len <= sizeof room &&
           bytes_equal(packet, compose(w, room, (unsigned)packet.len, *node, *sequence));
}

static bool behind_forwarder(const struct stick_world *w)
{
    return w->config.kind == PEER_SERIAL && w->config.stick.forwarder;
}

static struct bytes wrap(uint8_t room[static 300], uint16_t node_id, struct bytes packet)
{
    struct writer out = wr_to(room, 300);
    wr_u8(&out, ENVELOPE_BYTES);
    wr_u8(&out, 0xFE);
    wr_u8(&out, 0);
    wr_u16(&out, node_id);
    wr_bytes(&out, packet);
    return bytes_of(room, wr_close(&out));
}

/* ---- configuration and life -------------------------------------------------------------------- */

struct stick_world_config stick_world_defaults(const char *driver)
{
    const char *seed = getenv("SENNET_SEED");
    return (struct stick_world_config){
        .driver = driver,
        .stick = stick_defaults(),
        .emu = {.eui64 = 0x00124B0021A81179},
        .ether = ether_defaults(),
        .seed = seed != NULL ? strtoull(seed, NULL, 0) : 1,
        .nodes = 1,
        .kind = PEER_EUI64,
        .reopen_ms = 1000,
    };
}

static void add_nodes(struct stick_world *w)
{
    const struct stick_world_config *c = &w->config;
    for (unsigned i = 0; i < c->nodes; i++) {
        const struct ether_node node = {
            .eui64 = 0x0013A20040522B00 + i,
            .short_address = (uint16_t)(0x4A01 + i),
            .sleepy = i < c->sleepy,
            .lqi = (uint8_t)(255 - i),
            .rssi = (int8_t)(-30 - (int)(i % 60)),
            .endpoint = c->stick.endpoint,
            .profile = c->stick.profile,
            .cluster = c->stick.cluster,
        };
        if (ether_node_add(w->ether, 0, &node) != (int)i)
            fail(w, "no memory for node %u", i);
    }
}

struct stick_world *stick_world_new(const struct stick_world_config *config)
{
    struct stick_world *w = calloc(1, sizeof *w);
    if (w == NULL)
        abort();
    w->config = *config;
    struct stick_world_config *c = &w->config;
    rng_seed(&w->rng, c->seed);
    c->stick.seed = rng_next(&w->rng);
    c->stick.hash_seed = (struct hash_seed){.k0 = rng_next(&w->rng), .k1 = rng_next(&w->rng)};
    c->emu.seed = rng_next(&w->rng);
    c->ether.seed = rng_next(&w->rng);
    w->open_at_ms = TIME_NEVER;
    w->nodes = calloc(c->nodes > 0 ? c->nodes : 1, sizeof *w->nodes);
    w->ether = ether_new(&c->ether, 0);
    const struct stick_driver *driver = stick_driver_find(bytes_str(c->driver));
    const struct emu_driver *emu = emu_driver_find(c->driver);
    if (w->nodes == NULL || w->ether == NULL || driver == NULL || emu == NULL)
        fail(w, "nobody is called %s on %s side", c->driver, driver == NULL ? "our" : "the other");
    add_nodes(w);
    w->stick = stick_new(driver, &c->stick, 0);
    w->emu = emu_new(emu, &c->emu, w->ether, 0);
    if (w->stick == NULL || w->emu == NULL)
        fail(w, "out of memory");
    w->plugged = true;
    stick_opened(w->stick, 0);
    return w;
}

static void judge_outcomes(const struct stick_world *w)
{
    const bool reports = stick_driver_reports(stick_driver_find(bytes_str(w->config.driver)));
    for (unsigned i = 0; i < w->config.nodes; i++) {
        const struct stick_world_node *n = &w->nodes[i];
        uint32_t told = 0;
        for (size_t k = 0; k < 4; k++)
            told += n->outcomes[k];
        /* Behind a forwarder they are told of the line, not of the node. */
        if (!behind_forwarder(w) && told != (reports ? n->sent : 0))
            fail(w, "node %u: %u packets to it, %u outcomes", i, n->sent, told);
    }
}

void stick_world_end(struct stick_world *w)
{
    judge_outcomes(w);
    stick_free(w->stick);
    emu_free(w->emu);
    ether_free(w->ether);
    for (unsigned i = 0; i < w->config.nodes; i++) {
        free(w->nodes[i].seen);
        free(w->nodes[i].seen_heard);
    }
    free(w->nodes);
    free(w);
}

/* ---- names ------------------------------------------------------------------------------------- */

struct peer *stick_world_peer(const struct stick_world *w, unsigned number, struct peer_room *room)
{
    uint8_t address[8];
    struct writer out = wr_to(address, sizeof address);
    const struct ether_node *node = ether_node_at(w->ether, number);
    if (w->config.kind == PEER_EUI64) {
        wr_u32(&out, (uint32_t)(node->eui64 >> 32));
        wr_u32(&out, (uint32_t)node->eui64);
    } else if (w->config.kind == PEER_SHORT) {
        wr_u16(&out, node->short_address);
    }
    return peer_make(room, w->config.stick.link, w->config.kind, bytes_of(address, out.len));
}

/* The node of that address, -1: nobody. */
static int number_of(const struct stick_world *w, const struct peer *peer)
{
    struct reader r = rd_of(bytes_of(peer->bytes, peer->addr_len));
    if (peer->link != w->config.stick.link || peer->kind != w->config.kind)
        return -1;
    if (peer->kind == PEER_SERIAL)
        return 0;
    if (peer->kind == PEER_SHORT)
        return ether_find_short(w->ether, rd_u16(&r));
    const uint64_t high = rd_u32(&r);
    return ether_find_eui64(w->ether, high << 32 | rd_u32(&r));
}

/* ---- ledgers ----------------------------------------------------------------------------------- */

/* Marks a sequence number; true when it has been there before. */
static bool mark(uint8_t **seen, uint32_t *highest, uint32_t sequence)
{
    if (sequence >= *highest) {
        uint8_t *more = realloc(*seen, sequence + 1);
        if (more == NULL)
            abort();
        memset(more + *highest, 0, sequence + 1 - *highest);
        *seen = more;
        *highest = sequence + 1;
    }
    const bool before = (*seen)[sequence] != 0;
    (*seen)[sequence] = 1;
    return before;
}

static void node_got(struct stick_world *w, const struct ether_event *e)
{
    struct stick_world_node *n = &w->nodes[e->number];
    uint16_t node;
    uint32_t sequence;
    const bool composed = decompose(w, e->payload, &node, &sequence);
    if (composed && e->broadcast) {
        n->groups++;
        return;
    }
    if (!composed || node != e->number || sequence >= n->sent) {
        if (!w->config.faulty)
            fail(w, "node %zu got %zu octets that nobody sent to it", e->number, e->payload.len);
        w->altered++;
        return;
    }
    n->received++;
    n->overtaken += sequence + 1 < n->highest;
    n->copies += mark(&n->seen, &n->highest, sequence);
}

/* Takes the envelope off; false when it isn't one. */
static bool unwrap(const struct stick_world *w, struct bytes *packet, int *number)
{
    struct reader r = rd_of(*packet);
    const uint8_t len = rd_u8(&r);
    const uint8_t type = rd_u8(&r);
    rd_u8(&r);
    *number = ether_find_short(w->ether, rd_u16(&r));
    *packet = rd_rest(&r);
    return !r.failed && len == ENVELOPE_BYTES && type == 0xFE;
}

static void gateway_got(struct stick_world *w, const struct stick_event *e)
{
    struct bytes packet = e->packet;
    int number = number_of(w, e->peer);
    if (behind_forwarder(w) && !unwrap(w, &packet, &number))
        number = -1;
    if (number < 0) {
        char text[PEER_TEXT_MAX];
        if (!w->config.faulty)
            fail(w, "a packet from %s", peer_print(e->peer, text, sizeof text));
        w->strangers++;
        return;
    }
    struct stick_world_node *n = &w->nodes[number];
    uint16_t node;
    uint32_t sequence;
    if (!decompose(w, packet, &node, &sequence) || node != number || sequence >= n->uttered) {
        if (!w->config.faulty)
            fail(w, "%zu octets that node %d did not send", packet.len, number);
        w->altered++;
        return;
    }
    n->heard++;
    n->heard_groups += e->to_group;
    n->heard_copies += mark(&n->seen_heard, &n->highest_heard, sequence);
}

static void outcome_told(struct stick_world *w, const struct stick_event *e)
{
    const int number = number_of(w, e->peer);
    if (number < 0)
        fail(w, "an outcome of a packet to nobody");
    w->nodes[number].outcomes[e->outcome]++;
}

struct stick_world_node stick_world_total(const struct stick_world *w)
{
    struct stick_world_node sum = {0};
    for (unsigned i = 0; i < w->config.nodes; i++) {
        const struct stick_world_node *n = &w->nodes[i];
        sum.sent += n->sent;
        sum.received += n->received;
        sum.copies += n->copies;
        sum.overtaken += n->overtaken;
        sum.groups += n->groups;
        sum.uttered += n->uttered;
        sum.heard += n->heard;
        sum.heard_copies += n->heard_copies;
        sum.heard_groups += n->heard_groups;
        for (size_t k = 0; k < 4; k++)
            sum.outcomes[k] += n->outcomes[k];
    }
    return sum;
}

/* ---- carrying ---------------------------------------------------------------------------------- */

static void stick_told(struct stick_world *w, const struct stick_event *e)
{
    switch (e->type) {
    case STICK_EV_PACKET:
        gateway_got(w, e);
        break;
    case STICK_EV_OUTCOME:
        outcome_told(w, e);
        break;
    case STICK_EV_UP:
        note(w, "link up, %u octets: %s", e->max_packet_bytes, e->text);
        w->ups++;
        w->up_ms = w->now_ms;
        w->max_packet_bytes = e->max_packet_bytes;
        break;
    case STICK_EV_DOWN:
        note(w, "link down: %s", e->text);
        w->downs++;
        break;
    case STICK_EV_PORT:
        note(w, "port: baud %d, dtr %d, rts %d", e->port.baud, e->port.dtr, e->port.rts);
        w->ports++;
        w->port = e->port;
        break;
    case STICK_EV_REOPEN:
        note(w, "reopen: %s", e->text);
        w->reopens++;
        w->open_at_ms = w->now_ms + w->config.reopen_ms;
        break;
    case STICK_EV_FAMILY:
        note(w, "family %s at %d", e->name, e->port.baud);
        break;
    case STICK_EV_LOG:
        note(w, "log %d %s: %s", e->level, e->name, e->text);
        break;
    }
}

static bool drain_events(struct stick_world *w)
{
    struct stick_event e;
    bool any = false;
    while (stick_peek_event(w->stick, &e)) {
        stick_told(w, &e);
        stick_done_event(w->stick);
        any = true;
    }
    if (w->open_at_ms != TIME_NEVER && stick_state(w->stick) == STICK_GIVEN_UP)
        stick_closed(w->stick, w->now_ms);
    return any;
}

static bool drain_ether(struct stick_world *w)
{
    struct ether_event e;
    bool any = false;
    ether_advance(w->ether, w->now_ms);
    while (ether_peek_event(w->ether, &e)) {
        if (e.type == ETHER_EV_TO_NODE)
            node_got(w, &e);
        else
            emu_event(w->emu, w->now_ms, &e);
        ether_done_event(w->ether);
        any = true;
    }
    return any;
}

static bool port_is_open(const struct stick_world *w)
{
    const enum stick_state state = stick_state(w->stick);
    return w->plugged && state != STICK_CLOSED;
}

static bool from_stick(struct stick_world *w)
{
    struct bytes in;
    if (!emu_peek_bytes_us(w->emu, w->now_us, &in))
        return false;
    const unsigned max = w->config.piece_max;
    if (in.len > STICK_INPUT_MAX)
        in.len = STICK_INPUT_MAX;
    if (max > 0 && in.len > 1) {
        const size_t piece = 1 + (size_t)rng_below(&w->rng, max);
        in.len = piece < in.len ? piece : in.len;
    }
    w->bytes_in += in.len;
    /* With the port closed they are nobody's. */
    if (port_is_open(w))
        stick_input(w->stick, w->now_ms, in);
    emu_took(w->emu, in.len);
    return true;
}

static bool to_stick(struct stick_world *w)
{
    struct bytes out;
    if (!port_is_open(w) || w->blocked || !stick_peek_bytes(w->stick, &out))
        return false;
    const size_t room = emu_room(w->emu);
    if (out.len > room)
        out.len = room;
    if (out.len == 0)
        return false;
    w->bytes_out += out.len;
    emu_input_us(w->emu, w->now_us, out);
    stick_took(w->stick, w->now_ms, out.len);
    return true;
}

/* Everything that happens at this instant. */
static void settle(struct stick_world *w)
{
    bool any = true;
    for (unsigned turns = 0; any; turns++) {
        if (turns > 100000)
            fail(w, "the same instant for ever");
        emu_advance_us(w->emu, w->now_us);
        stick_advance(w->stick, w->now_ms);
        any = drain_ether(w);
        any = from_stick(w) || any;
        any = to_stick(w) || any;
        any = drain_events(w) || any;
    }
    if (stick_next_deadline(w->stick) <= w->now_ms)
        fail(w, "after advance() the driver's deadline is not in the future");
    if (emu_next_us(w->emu) <= w->now_us)
        fail(w, "after advance() the emulator's deadline is not in the future");
}

/* When the machines that count milliseconds want to be called. */
static int64_t next_ms(const struct stick_world *w)
{
    return time_min(stick_next_deadline(w->stick),
                    time_min(ether_next_deadline(w->ether), w->open_at_ms));
}

static void step(struct stick_world *w, int64_t until_us)
{
    settle(w);
    w->now_us = time_min(until_us, time_min(time_us(next_ms(w)), emu_next_us(w->emu)));
    w->now_ms = w->now_us / 1000;
    if (w->open_at_ms <= w->now_ms) {
        w->open_at_ms = w->plugged ? TIME_NEVER : time_add(w->now_ms, w->config.reopen_ms);
        if (w->plugged) {
            note(w, "the port is opened");
            stick_opened(w->stick, w->now_ms);
        }
    }
    settle(w);
}

void stick_world_run(struct stick_world *w, int64_t ms)
{
    const int64_t until_us = w->now_us + ms * 1000;
    do {
        step(w, until_us);
    } while (w->now_us < until_us);
}

bool stick_world_until_up(struct stick_world *w, int64_t limit_ms)
{
    const int64_t until_us = w->now_us + limit_ms * 1000;
    settle(w);
    while (stick_state(w->stick) != STICK_RUNNING && w->now_us < until_us)
        step(w, until_us);
    return stick_state(w->stick) == STICK_RUNNING;
}

int64_t stick_world_start(struct stick_world *w)
{
    const int64_t from_ms = w->now_ms;
    if (!stick_world_until_up(w, 60000))
        fail(w, "not running after a minute");
    return w->now_ms - from_ms;
}

void stick_world_unplug(struct stick_world *w)
{
    note(w, "unplugged");
    w->plugged = false;
    w->open_at_ms = TIME_NEVER;
    emu_power_off(w->emu, w->now_ms);
    stick_closed(w->stick, w->now_ms);
    settle(w);
}

void stick_world_plug(struct stick_world *w)
{
    note(w, "plugged in");
    w->plugged = true;
    w->open_at_ms = TIME_NEVER;
    emu_power_on(w->emu, w->now_ms);
    stick_opened(w->stick, w->now_ms);
    settle(w);
}

/* ---- packets ----------------------------------------------------------------------------------- */

static unsigned fitting(unsigned len)
{
    return len < PACKET_MIN ? PACKET_MIN : len > 250 ? 250 : len;
}

void stick_world_to_node(struct stick_world *w, unsigned number, unsigned len)
{
    uint8_t room[255], wrapped[300];
    struct peer_room to;
    struct stick_world_node *n = &w->nodes[number];
    struct bytes packet = compose(w, room, fitting(len), (uint16_t)number, n->sent++);
    if (behind_forwarder(w))
        packet = wrap(wrapped, ether_node_at(w->ether, number)->short_address, packet);
    stick_send(w->stick, w->now_ms, stick_world_peer(w, number, &to), packet);
    settle(w);
}

void stick_world_to_group(struct stick_world *w, unsigned len)
{
    uint8_t room[255];
    struct peer_room to;
    peer_make_group(&to, w->config.stick.link, 0);
    stick_send(w->stick, w->now_ms, peer_in(&to), compose(w, room, fitting(len), 0xFFFF, 0));
    settle(w);
}

static void utter(struct stick_world *w, unsigned number, unsigned len, bool broadcast)
{
    uint8_t room[255];
    const struct bytes packet =
        compose(w, room, fitting(len), (uint16_t)number, w->nodes[number].uttered++);
    ether_node_send(w->ether, w->now_ms, number, broadcast, packet);
    settle(w);
}

void stick_world_from_node(struct stick_world *w, unsigned number, unsigned len)
{
    utter(w, number, len, false);
}

void stick_world_from_node_to_group(struct stick_world *w, unsigned number, unsigned len)
{
    utter(w, number, len, true);
}
