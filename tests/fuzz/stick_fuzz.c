/* SPDX-License-Identifier: Apache-2.0 */
#include "stick_fuzz.h"

#include "radio/stick/stick.h"

enum { NODES = 8, KINDS = 4 };

struct world {
    struct stick *s;
    bool reports;
    struct stick_config config;
    struct reader in;
    int64_t now_ms;
    uint32_t limit;          /* of the last UP */
    uint64_t sent, outcomes; /* to nodes, not to the group */
    uint64_t packets;
    stick_wrap *wrap; /* NULL: frames are the input's business */
};

static struct stick_config configure(struct reader *r)
{
    struct stick_config c = stick_defaults();
    const uint8_t flags = rd_u8(r);
    const uint8_t more = rd_u8(r);
    c.seed = more;
    c.max_packet_bytes = (flags & 1) != 0 ? 1500 : 60 + (uint32_t)more;
    c.max_nodes = (flags & 2) != 0 ? 0 : 4;
    c.form_network = (flags & 4) != 0;
    c.channel = (flags & 8) != 0 ? 15 : 0;
    c.pan_id = (flags & 16) != 0 ? 0x1A62 : 0;
    c.permit_join_s = (flags & 32) != 0 ? 60 : 0;
    c.api = (uint8_t)((more & 3) % 3);
    c.family = (enum xbee_family)((more >> 2 & 3) % 3);
    c.framing = (enum line_framing)(more >> 4 & 3);
    c.forwarder = (more & 64) != 0;
    c.has_key = (more & 128) != 0;
    return c;
}

static void drain(struct world *w)
{
    struct stick_event e;
    while (stick_peek_event(w->s, &e)) {
        switch (e.type) {
        case STICK_EV_PACKET:
            fuzz_require(e.packet.len > 0 && e.packet.len <= w->config.max_packet_bytes);
            fuzz_require(e.peer->kind != PEER_GROUP && e.peer->kind != PEER_NONE);
            w->packets++;
            break;
        case STICK_EV_OUTCOME:
            fuzz_require(w->reports && e.outcome <= STICK_NOT_SENT);
            fuzz_require(++w->outcomes <= w->sent);
            break;
        case STICK_EV_UP:
            fuzz_require(e.max_packet_bytes <= w->config.max_packet_bytes);
            w->limit = e.max_packet_bytes;
            fuzz_require(e.text[0] != '\0');
            break;
        case STICK_EV_LOG:
            fuzz_require(e.name != NULL && e.name[0] != '\0');
            fuzz_require(bytes_is_utf8(bytes_str(e.text)));
            break;
        case STICK_EV_REOPEN:
            fuzz_require(stick_state(w->s) == STICK_GIVEN_UP || stick_state(w->s) == STICK_CLOSED);
            break;
        case STICK_EV_DOWN:
        case STICK_EV_PORT:
        case STICK_EV_FAMILY:
            break;
        }
        stick_done_event(w->s);
    }
    fuzz_require(stick_counters(w->s)->events_lost == 0);
}

static void pass_time(struct world *w, int64_t ms)
{
    const int64_t until_ms = w->now_ms + ms;
    for (unsigned fired = 0; w->now_ms < until_ms; fired++) {
        w->now_ms = time_min(until_ms, stick_next_deadline(w->s));
        stick_advance(w->s, w->now_ms);
        drain(w);
        fuzz_require(stick_next_deadline(w->s) > w->now_ms);
        fuzz_require(fired < 100000);
    }
}

static void take_bytes(struct world *w, unsigned part)
{
    struct bytes out;
    if (stick_peek_bytes(w->s, &out))
        stick_took(w->s, w->now_ms, part >= 15 ? out.len : out.len * part / 15);
}

static void send_packet(struct world *w, unsigned how)
{
    static const enum peer_kind kinds[KINDS] = {PEER_EUI64, PEER_SHORT, PEER_SERIAL, PEER_GROUP};

    uint8_t packet[1500] = {2, 0x17}, address[8] = {0};
    struct peer_room to;
    const enum peer_kind kind = kinds[how % KINDS];
    const uint8_t node = rd_u8(&w->in) % NODES;
    const size_t len = 1 + (size_t)rd_u8(&w->in) * (how >= 12 ? 5 : 1);
    const size_t octets = kind == PEER_EUI64 ? 8 : kind == PEER_SHORT ? 2 : kind == PEER_GROUP;
    for (size_t i = 2; i < len; i++)
        packet[i] = (uint8_t)(i * 17 + node);
    address[octets > 0 ? octets - 1 : 0] = node;
    peer_make(&to, w->config.link, kind, bytes_of(address, octets));
    w->sent += kind != PEER_GROUP;
    stick_send(w->s, w->now_ms, peer_in(&to), bytes_of(packet, len));
}

static void change_port(struct world *w, unsigned how)
{
    const bool closed = stick_state(w->s) == STICK_CLOSED;
    if (closed)
        stick_opened(w->s, w->now_ms);
    else if (how >= 8 || stick_state(w->s) == STICK_GIVEN_UP)
        stick_closed(w->s, w->now_ms);
    drain(w);
}

static void hear_frame(struct world *w)
{
    uint8_t wire[STICK_INPUT_MAX];
    const size_t n = rd_u8(&w->in);
    const struct bytes content = rd_bytes(&w->in, n < rd_left(&w->in) ? n : rd_left(&w->in));
    stick_input(w->s, w->now_ms, bytes_of(wire, w->wrap(content, wire, sizeof wire)));
}

static void step(struct world *w)
{
    enum { FIRST_FRAME = 0xE0 };

    const uint8_t what = rd_u8(&w->in);
    const unsigned how = what & 15;
    if (w->wrap != NULL && what >= FIRST_FRAME) {
        hear_frame(w);
        drain(w);
        return;
    }
    switch (what >> 4) {
    case 0:
    case 1:
        pass_time(w, (int64_t)how * how);
        break;
    case 2:
        pass_time(w, (int64_t)how * 1000);
        break;
    case 3:
        take_bytes(w, how);
        break;
    case 4:
    case 5:
        send_packet(w, how);
        break;
    case 6:
        change_port(w, how);
        break;
    case 7:
        stick_permit_join(w->s, w->now_ms, how == 15 ? 65535 : how * 10);
        break;
    case 8: { /* a long piece of the line */
        size_t n = (size_t)rd_u8(&w->in) * 4;
        n = n < rd_left(&w->in) ? n : rd_left(&w->in);
        stick_input(w->s, w->now_ms, rd_bytes(&w->in, n));
        break;
    }
    default: { /* a short one, which most of a script should be */
        size_t n = what - 0x90U + 1;
        n = n < rd_left(&w->in) ? n : rd_left(&w->in);
        stick_input(w->s, w->now_ms, rd_bytes(&w->in, n));
    }
    }
    drain(w);
}

static void judge_nodes(const struct world *w)
{
    struct stick_node_info info;
    const size_t most = w->config.max_nodes == 0 ? 1024 : w->config.max_nodes;
    size_t n = 0;
    while (stick_node(w->s, n, &info))
        fuzz_require(++n <= most && info.waiting <= 64);
}

int stick_fuzz(const char *driver, const uint8_t *data, size_t size)
{
    return stick_fuzz_framed(driver, NULL, data, size);
}

int stick_fuzz_framed(const char *driver, stick_wrap *wrap, const uint8_t *data, size_t size)
{
    struct world w = {.in = rd_of(bytes_of(data, size)), .now_ms = 1000, .wrap = wrap};
    const struct stick_driver *family = stick_driver_find(bytes_str(driver));
    fuzz_require(family != NULL);
    w.config = configure(&w.in);
    w.reports = stick_driver_reports(family);
    w.s = stick_new(family, &w.config, w.now_ms);
    fuzz_require(w.s != NULL);
    stick_opened(w.s, w.now_ms);
    drain(&w);
    while (rd_left(&w.in) > 0) {
        step(&w);
        judge_nodes(&w);
    }
    pass_time(&w, 30000);
    stick_closed(w.s, w.now_ms);
    drain(&w);
    if (w.reports)
        fuzz_require(w.outcomes == w.sent);
    fuzz_require(stick_counters(w.s)->packets_in == w.packets);
    stick_free(w.s);
    return 0;
}
