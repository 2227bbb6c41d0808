/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Everything that can happen to a stick, at random, against a ledger: each packet to a node has
 * exactly one outcome, and the one that it should have; packets of a node go in order; nothing is
 * transmitted after its outcome. fake_stick.c checks each transmission on top (one per node, slots,
 * ids, age, length, room).
 */
#include "unit/fake_stick.h"
#include "unit/seed.h"
#include "unit/suite.h"

enum { NODES = 40, TABLE = 24, ROUNDS = 400, STEPS = 400, CONFIRM_MS = 6000, TAGS = 1 << 16 };

enum fate { FATE_NONE, FATE_WAITS, FATE_ON_AIR, FATE_DECIDED };

struct model {
    struct stick *s;
    struct fake_stick *f;
    struct rng rng;
    int64_t now_ms;
    uint32_t next_tag;
    uint8_t fate[TAGS];
    uint8_t node[TAGS];
    uint32_t last_tag[NODES]; /* transmitted, + 1 */
    uint32_t sent[NODES], told[NODES][4];
    uint32_t want[NODES][4]; /* outcomes that verdicts must give */
    uint64_t told_all[4];
};

static uint64_t below(struct model *m, uint64_t n)
{
    return rng_below(&m->rng, n);
}

static uint32_t tag_of(const struct stick_send *send)
{
    struct reader r = rd_of(stick_packet(send));
    return rd_u32(&r);
}

/* What was transmitted since the last look. */
static void look_at_transmissions(struct model *m)
{
    for (size_t i = 0; i < m->f->n_sent; i++) {
        const struct fake_sent *t = &m->f->sent[i];
        if (t->group)
            continue;
        const unsigned node = m->node[t->tag];
        ck_assert_uint_eq(node, t->address);
        ck_assert_int_ne(m->fate[t->tag], FATE_DECIDED);
        /* In order; the same again only when it could not start. */
        ck_assert(t->tag + 1 > m->last_tag[node] ||
                  (t->tag + 1 == m->last_tag[node] && t->tries > 1));
        m->last_tag[node] = t->tag + 1;
        m->fate[t->tag] = FATE_ON_AIR;
    }
    m->f->n_sent = 0;
}

static void take_events(struct model *m)
{
    look_at_transmissions(m);
    struct stick_event e;
    for (; stick_peek_event(m->s, &e); stick_done_event(m->s)) {
        if (e.type != STICK_EV_OUTCOME)
            continue;
        const unsigned node = e.peer->bytes[7];
        ck_assert_uint_eq(e.peer->kind, PEER_EUI64);
        ck_assert_uint_lt(node, NODES);
        m->told[node][e.outcome]++;
        m->told_all[e.outcome]++;
    }
    if (below(m, 4) != 0) {
        struct bytes out;
        if (stick_peek_bytes(m->s, &out))
            stick_took(m->s, m->now_ms, 1 + (size_t)below(m, out.len));
        look_at_transmissions(m);
    }
}

static uint32_t total_told(const struct model *m, unsigned node)
{
    uint32_t sum = 0;
    for (size_t k = 0; k < 4; k++)
        sum += m->told[node][k];
    return sum;
}

static void send_one(struct model *m)
{
    if (below(m, 30) == 0) {
        fake_send(m->s, m->now_ms, PEER_GROUP, below(m, 3), 0, 20);
        return;
    }
    const uint64_t node = below(m, below(m, 3) == 0 ? 3 : NODES);
    const size_t len = below(m, 25) == 0 ? 83 + (size_t)below(m, 300) : 10 + (size_t)below(m, 73);
    const uint32_t tag = m->next_tag++ % TAGS;
    m->node[tag] = (uint8_t)node;
    m->fate[tag] = FATE_WAITS;
    m->sent[node]++;
    fake_send(m->s, m->now_ms, PEER_EUI64, node, tag, len);
}

/* The stick tells what became of one that is on air. */
static void decide_one(struct model *m)
{
    static const enum stick_outcome want[] = {
        [VERDICT_DELIVERED] = STICK_DELIVERED, [VERDICT_FAILED] = STICK_FAILED,
        [VERDICT_UNKNOWN] = STICK_UNKNOWN,     [VERDICT_REFUSED] = STICK_NOT_SENT,
        [VERDICT_TOO_LONG] = STICK_NOT_SENT,
    };

    const uint8_t first = (uint8_t)below(m, 256);
    for (unsigned i = 0; i < 256; i++) {
        const uint8_t id = (uint8_t)(first + i);
        const struct stick_send *send = stick_outstanding(m->s, id);
        if (send == NULL)
            continue;
        const enum stick_verdict verdict = (enum stick_verdict)below(m, VERDICT_NOT_BEGUN + 1);
        const bool group = stick_is_group(send);
        const bool again = verdict == VERDICT_NOT_BEGUN && send->tries < STICK_TRIES;
        const uint32_t tag = tag_of(send);
        look_at_transmissions(m);
        if (!group && !again) {
            m->fate[tag] = FATE_DECIDED;
            const enum stick_outcome outcome =
                verdict == VERDICT_NOT_BEGUN ? STICK_NOT_SENT : want[verdict];
            m->want[m->node[tag]][outcome]++;
        }
        ck_assert(stick_verdict(m->s, m->now_ms, id, verdict, (int64_t)below(m, 500)));
        return;
    }
    ck_assert(!stick_verdict(m->s, m->now_ms, first, VERDICT_DELIVERED, 0));
}

static void pass_time(struct model *m, int64_t ms)
{
    const int64_t until_ms = m->now_ms + ms;
    while (m->now_ms < until_ms) {
        m->now_ms = time_min(until_ms, stick_next_deadline(m->s));
        stick_advance(m->s, m->now_ms);
        take_events(m);
        ck_assert_int_gt(stick_next_deadline(m->s), m->now_ms);
    }
}

static void hear_one(struct model *m)
{
    static const struct stick_radio unmarked;
    const uint64_t node = below(m, NODES);
    const uint16_t address = (uint16_t)(0xFFF0 + below(m, 16));
    const struct bytes packet = bytes_of("packet", (size_t)below(m, 7));
    switch (below(m, 3)) {
    case 0:
        stick_heard(m->s, m->now_ms, PEER_EUI64, node, address, &unmarked, packet);
        break;
    case 1:
        stick_heard_short(m->s, m->now_ms, address, &unmarked, packet);
        break;
    default:
        stick_learn(m->s, m->now_ms, node, address);
    }
}

static void change_state(struct model *m)
{
    const enum stick_state state = stick_state(m->s);
    switch (state) {
    case STICK_CLOSED:
        stick_opened(m->s, m->now_ms);
        break;
    case STICK_STARTING:
        stick_up(m->s, m->now_ms, 60 + (uint32_t)below(m, 23), 1 + (unsigned)below(m, 12),
                 CONFIRM_MS, "up");
        break;
    case STICK_GIVEN_UP:
        stick_closed(m->s, m->now_ms);
        break;
    case STICK_RUNNING:
        if (below(m, 8) != 0)
            return;
        if (below(m, 3) == 0)
            stick_down(m->s, m->now_ms, "down");
        else if (below(m, 2) == 0)
            stick_reopen(m->s, m->now_ms, "reopen");
        else
            stick_closed(m->s, m->now_ms);
    }
}

static void step(struct model *m)
{
    switch (below(m, 16)) {
    case 0:
        change_state(m);
        break;
    case 1:
        if (below(m, 3) == 0)
            stick_pause(m->s);
        else
            stick_resume(m->s, m->now_ms);
        break;
    case 2:
        pass_time(m, (int64_t)below(m, below(m, 10) == 0 ? 20000 : 400));
        break;
    case 3:
    case 4:
        hear_one(m);
        break;
    case 5:
        m->f->verdict_at_once = below(m, 5) == 0;
        m->f->verdict = VERDICT_NOT_BEGUN;
        m->f->again_ms = (int64_t)below(m, 300);
        m->f->frame_bytes = (size_t)below(m, 2000);
        break;
    case 6:
    case 7:
    case 8:
    case 9:
        decide_one(m);
        break;
    default:
        send_one(m);
    }
    take_events(m);
    for (unsigned node = 0; node < NODES; node++) {
        if (total_told(m, node) > m->sent[node])
            ck_abort_msg("more outcomes than packets to node %u", node);
    }
}

static void judge(const struct model *m)
{
    const struct stick_counters *c = stick_counters(m->s);
    uint64_t group_not_sent = c->not_sent;
    for (unsigned node = 0; node < NODES; node++) {
        ck_assert_uint_eq(total_told(m, node), m->sent[node]);
        ck_assert_uint_eq(m->told[node][STICK_DELIVERED], m->want[node][STICK_DELIVERED]);
        ck_assert_uint_eq(m->told[node][STICK_FAILED], m->want[node][STICK_FAILED]);
        ck_assert_uint_ge(m->told[node][STICK_UNKNOWN], m->want[node][STICK_UNKNOWN]);
        ck_assert_uint_ge(m->told[node][STICK_NOT_SENT], m->want[node][STICK_NOT_SENT]);
        group_not_sent -= m->told[node][STICK_NOT_SENT];
    }
    ck_assert_uint_le(group_not_sent, c->not_sent); /* it did not wrap */
    ck_assert_uint_ge(c->delivered, m->told_all[STICK_DELIVERED]);
    ck_assert_uint_ge(c->unknown, m->told_all[STICK_UNKNOWN]);
    ck_assert_uint_eq(c->events_lost, 0);
}

START_TEST(each_packet_has_exactly_one_outcome_whatever_happens)
{
    static struct model m;
    struct rng seeds = seeded_rng();
    for (unsigned round = 0; round < ROUNDS; round++) {
        m = (struct model){.now_ms = 1000};
        rng_seed(&m.rng, rng_next(&seeds));
        struct stick_config config = stick_defaults();
        config.max_nodes = TABLE;
        config.hash_seed.k0 = rng_next(&m.rng);
        m.s = stick_new(&fake_driver, &config, m.now_ms);
        ck_assert_ptr_nonnull(m.s);
        m.f = fake_of(m.s);
        for (unsigned i = 0; i < STEPS; i++)
            step(&m);
        stick_closed(m.s, m.now_ms);
        take_events(&m);
        judge(&m);
        pass_time(&m, 100000);
        judge(&m);
        stick_free(m.s);
    }
}

END_TEST

int main(void)
{
    Suite *suite = suite_create("stick_model");
    TCase *tc = tcase_create("model");
    tcase_set_timeout(tc, 60);
    tcase_add_test(tc, each_packet_has_exactly_one_outcome_whatever_happens);
    suite_add_tcase(suite, tc);
    return run_suite(suite);
}
