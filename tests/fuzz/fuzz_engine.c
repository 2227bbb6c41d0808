/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The engine, alone or with the shared session, in virtual time: the input says what up to eight
 * nodes, the broker side and the clock do (engine_script.h). After each step what must always hold
 * is required (engine_judge.h, engine_seam.h), and at the end that nobody is left waiting.
 *
 * FUZZ_TRACE=1 in the environment prints what happens.
 */
#include "engine_words.h"
#include "engine_world.h"
#include "fuzz.h"

enum { ACTIONS_MAX = 300 };

/* ---- nodes ----------------------------------------------------------------------------------- */

/* A block of its own, so that nobody reads past its end unseen. */
static void send_datagram(struct world *w, unsigned node, const struct datagram *d, bool to_group)
{
    const struct peer *peer = peer_in(&w->judge.peers[node].room);
    struct peer_room direct;
    peer_make(&direct, peer->link, (enum peer_kind)peer->kind,
              bytes_of(peer->bytes, peer->addr_len));
    if (!judge_ready(&w->judge))
        world_take_packets(w, UINT32_MAX);
    uint8_t *copy = malloc(d->len);
    fuzz_require(copy != NULL || d->len == 0);
    if (d->len > 0)
        memcpy(copy, d->data, d->len);
    judge_input(&w->judge, w->now_ms, peer_in(&direct), bytes_of(copy, d->len), to_group);
    free(copy);
}

static struct datagram in_envelopes(const struct peer *peer, const struct sn_packet *p)
{
    struct datagram d = {0};
    struct writer wr = wr_to(d.data, sizeof d.data);
    struct reader path = rd_of(bytes_of(peer->bytes + peer->addr_len, peer->path_len));
    while (rd_left(&path) > 0) {
        const struct sn_envelope env = {.node_id = rd_bytes(&path, rd_u8(&path))};
        wr.len += sn_envelope_encode(&env, wr.buf + wr.len, wr.cap - wr.len);
    }
    d.len = wr.len + sn_encode(p, wr.buf + wr.len, wr.cap - wr.len);
    return d;
}

static void say(struct world *w, unsigned node, unsigned action)
{
    const struct judged_peer *peer = &w->judge.peers[node];
    const struct sn_packet p = word_packet(&w->in, action, peer);
    w->latest[node] = in_envelopes(peer_in((struct peer_room *)(uintptr_t)&peer->room), &p);
    send_datagram(w, node, &w->latest[node], false);
}

static void say_raw(struct world *w, unsigned node)
{
    const struct bytes octets = rd_bytes(&w->in, rd_u8(&w->in) % 64);
    struct datagram *d = &w->latest[node];
    *d = (struct datagram){.len = octets.len};
    if (octets.len > 0)
        memcpy(d->data, octets.data, octets.len);
    send_datagram(w, node, d, false);
}

static void say_again(struct world *w, unsigned node)
{
    const uint8_t at = rd_u8(&w->in);
    const uint8_t flip = rd_u8(&w->in);
    const uint8_t cut = rd_u8(&w->in);
    struct datagram d = w->latest[node];
    if (d.len > 0)
        d.data[at % d.len] ^= flip;
    d.len -= cut < d.len ? cut : d.len;
    send_datagram(w, node, &d, false);
}

static void say_to_group(struct world *w, unsigned node)
{
    static const enum sn_type types[] = {SN_SEARCHGW, SN_ADVERTISE, SN_GWINFO, SN_CONNECT};
    struct sn_packet p = {.type = types[rd_u8(&w->in) & 3]};
    p.gw_id = rd_u8(&w->in);
    p.radius = rd_u8(&w->in);
    p.duration_s = word_duration(&w->in);
    if (p.type == SN_GWINFO && p.radius > 3)
        p.data = bytes_str("\xC0\x00\x02\x01");
    const struct datagram d = in_envelopes(peer_in(&w->judge.peers[node].room), &p);
    send_datagram(w, node, &d, true);
}

/* ---- the script ------------------------------------------------------------------------------ */

static void other_action(struct world *w, unsigned action)
{
    const uint8_t operand = rd_u8(&w->in);
    switch (action) {
    case ACT_TIME:
        world_pass_time(w, operand);
        break;
    case ACT_UPSTREAM:
        world_set_upstream(w, operand);
        break;
    case ACT_BROKER:
        world_answer(w, operand, rd_u8(&w->in));
        break;
    case ACT_BOGUS:
        world_bogus(w, operand, rd_u8(&w->in));
        break;
    case ACT_CLOSED:
        world_close_by_broker(w, operand);
        break;
    case ACT_DRAIN:
        w->drain = (enum drain)(operand & 3);
        world_take_packets(w, operand >> 2);
        break;
    case ACT_GROUP:
        sn_engine_group(w->engine, w->now_ms, operand >> 1 & 3, (operand & 1) != 0);
        break;
    case ACT_IDLE:
        break;
    case ACT_SETTLE:
        world_settle(w);
        break;
    case ACT_LOG:
        sn_engine_log(w->engine)->level = (enum log_level)(LOG_ERROR + operand % 6);
        break;
    default:
        break;
    }
}

static void act(struct world *w)
{
    const uint8_t octet = rd_u8(&w->in);
    const unsigned action = octet & ((1U << ACTION_BITS) - 1);
    const unsigned node = octet >> ACTION_BITS;
    if (action == ACT_RAW)
        say_raw(w, node);
    else if (action == ACT_AGAIN)
        say_again(w, node);
    else if (action < ACT_TIME)
        say(w, node, action);
    else if (action == ACT_MESSAGE)
        world_message(w);
    else if (action == ACT_SAY_TO_GROUP)
        say_to_group(w, node);
    else
        other_action(w, action);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct world *w = calloc(1, sizeof *w);
    fuzz_require(w != NULL);
    w->in = rd_of(bytes_of(data, size));
    uint8_t config[CONFIG_OCTETS];
    for (unsigned i = 0; i < CONFIG_OCTETS; i++)
        config[i] = rd_u8(&w->in);
    if (world_init(w, config)) {
        for (unsigned i = 0; i < ACTIONS_MAX && rd_left(&w->in) > 0; i++) {
            act(w);
            world_drain(w, w->drain);
            if (w->obliging)
                world_settle(w);
            world_drain(w, w->drain);
            world_judge(w);
        }
        if ((config[3] & 0x80) == 0)
            world_end_well(w);
        store_restore(w, config);
    }
    world_deinit(w);
    free(w);
    return 0;
}
