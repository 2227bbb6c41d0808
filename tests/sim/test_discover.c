/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Discovery among many: a flood of searches from forged addresses, and several gateways on one air
 * that hear each other with a delay.
 */
#include <stdlib.h>

#include <check.h>

#include "mqttsn/engine.h"
#include "mqttsn/packet.h"
#include "unit/seed.h"
#include "unit/suite.h"

enum { ASKED = 3 }; /* octets of a SEARCHGW */

static struct sn_engine *new_engine(uint8_t id, uint64_t seed)
{
    const struct sn_link_limits link = {.max_packet_bytes = 1400};
    struct sn_engine_config config = sn_engine_defaults();
    config.gateway_id = id;
    config.hash_seed = (struct hash_seed){.k0 = seed, .k1 = ~seed};
    config.links = &link;
    config.n_links = 1;
    config.log_level = LOG_WARN;
    struct sn_engine *e = sn_engine_new(&config, 0);
    ck_assert_ptr_nonnull(e);
    sn_engine_event(e, 0, &(struct sn_event){.type = SN_EV_UPSTREAM, .upstream.up = true});
    sn_engine_group(e, 0, 0, true);
    return e;
}

static const struct peer *address(struct peer_room *room, uint32_t number)
{
    uint8_t octets[6] = {10, 0, 0, 0, 7, 0};
    struct writer w = wr_to(octets + 1, 4);
    wr_u32(&w, number);
    return peer_make(room, 0, PEER_IP4, bytes_of(octets, sizeof octets));
}

/* ---- a flood ----------------------------------------------------------------------------------- */

enum { FLOOD_MS = 3000, PER_MS = 10, MOST_IN_A_SECOND = 10 };

/* 10,000 searches a second, each from another address or all from one; to us or to the group. */
static void flood(struct rng *rng, bool one_address, bool to_group)
{
    const uint8_t search[ASKED] = {0x03, 0x01, 0x00};
    int64_t answers_ms[64] = {0};
    unsigned n = 0;
    uint64_t octets = 0;
    struct sn_engine *e = new_engine(1, rng_next(rng));
    for (int64_t now_ms = 1; now_ms <= FLOOD_MS; now_ms++) {
        for (unsigned i = 0; i < PER_MS; i++) {
            struct peer_room room;
            const struct peer *from = address(&room, one_address ? 7 : (uint32_t)rng_next(rng));
            const struct bytes datagram = bytes_of(search, sizeof search);
            if (to_group)
                sn_engine_input_group(e, now_ms, from, datagram);
            else
                sn_engine_input(e, now_ms, from, datagram);
        }
        struct sn_outgoing out;
        for (; sn_engine_peek_packet(e, &out); sn_engine_done_packet(e)) {
            ck_assert_uint_lt(n, 64);
            answers_ms[n++] = now_ms;
            octets += out.bytes.len;
            ck_assert_uint_le(out.bytes.len, 2 * ASKED);
        }
    }
    const unsigned most = one_address ? 1 : MOST_IN_A_SECOND;
    for (unsigned i = most; i < n; i++)
        ck_assert_int_ge(answers_ms[i] - answers_ms[i - most], 1000);
    ck_assert_uint_gt(n, 0);
    const struct sn_stats *stats = sn_engine_stats(e);
    ck_assert_uint_eq(stats->n[SN_STAT_SEARCHES], FLOOD_MS * PER_MS);
    ck_assert_uint_eq(stats->n[SN_STAT_GWINFOS], n);
    ck_assert_uint_eq(sn_engine_gauges(e).memory_bytes, 0);
    printf("%s to %s: %d searches, %u answers, %llu octets for %d\n",
           one_address ? "one address" : "many addresses", to_group ? "the group" : "us",
           FLOOD_MS * PER_MS, n, (unsigned long long)octets, FLOOD_MS * PER_MS * ASKED);
    sn_engine_free(e);
}

START_TEST(a_flood_of_searches_gets_few_answers)
{
    struct rng rng = seeded_rng();
    for (unsigned i = 0; i < 4; i++)
        flood(&rng, i % 2 == 0, i / 2 == 0);
}

END_TEST

/* ---- several gateways -------------------------------------------------------------------------- */

enum { GATEWAYS = 5, SEARCHES = 200, PERIOD_MS = 2000, AIR = 64 };

struct air {
    struct sn_engine *gateways[GATEWAYS];

    struct {
        int64_t at_ms;
        unsigned from;
        uint8_t octets[8];
        size_t len;
    } flying[AIR];

    unsigned n_flying;
    int64_t delay_ms;
    unsigned answers;
};

static void send(struct air *a, unsigned from, int64_t now_ms, struct bytes packet)
{
    ck_assert_uint_lt(a->n_flying, AIR);
    ck_assert_uint_le(packet.len, sizeof a->flying[0].octets);
    a->flying[a->n_flying].at_ms = now_ms + a->delay_ms;
    a->flying[a->n_flying].from = from;
    a->flying[a->n_flying].len = packet.len;
    memcpy(a->flying[a->n_flying].octets, packet.data, packet.len);
    a->n_flying++;
}

/* Everybody but the sender hears what has arrived. */
static void arrive(struct air *a, int64_t now_ms)
{
    while (a->n_flying > 0 && a->flying[0].at_ms <= now_ms) {
        struct peer_room room;
        const struct bytes packet = bytes_of(a->flying[0].octets, a->flying[0].len);
        const struct peer *from = address(&room, a->flying[0].from);
        for (unsigned g = 0; g < GATEWAYS; g++) {
            if (g != a->flying[0].from)
                sn_engine_input_group(a->gateways[g], now_ms, from, packet);
        }
        a->n_flying--;
        memmove(&a->flying[0], &a->flying[1], a->n_flying * sizeof a->flying[0]);
    }
}

static void step(struct air *a, int64_t now_ms)
{
    arrive(a, now_ms);
    for (unsigned g = 0; g < GATEWAYS; g++) {
        struct sn_outgoing out;
        sn_engine_advance(a->gateways[g], now_ms);
        for (; sn_engine_peek_packet(a->gateways[g], &out); sn_engine_done_packet(a->gateways[g])) {
            ck_assert_int_eq(out.to->kind, PEER_GROUP);
            a->answers++;
            send(a, g, now_ms, out.bytes);
        }
    }
}

START_TEST(several_gateways_answer_each_search_about_once)
{
    static const int64_t delays_ms[] = {0, 5, 50};
    static const double most[] = {1.05, 1.2, 2.0};
    struct rng rng = seeded_rng();
    struct air *a = calloc(1, sizeof *a);
    a->delay_ms = delays_ms[_i];
    for (unsigned g = 0; g < GATEWAYS; g++)
        a->gateways[g] = new_engine((uint8_t)(g + 1), rng_next(&rng));
    const uint8_t search[ASKED] = {0x03, 0x01, 0x00};
    for (int64_t now_ms = 1; now_ms <= SEARCHES * PERIOD_MS; now_ms++) {
        if (now_ms % PERIOD_MS == 1) {
            const unsigned before = a->answers;
            send(a, GATEWAYS, now_ms - a->delay_ms, bytes_of(search, sizeof search));
            step(a, now_ms);
            for (unsigned i = 0; i < 500; i++)
                step(a, ++now_ms);
            ck_assert_uint_gt(a->answers, before); /* nobody waits for an answer in vain */
        }
        step(a, now_ms);
    }
    const double per_search = (double)a->answers / SEARCHES;
    printf("%d gateways, %d ms apart: %.3f answers per search\n", GATEWAYS, (int)a->delay_ms,
           per_search);
    ck_assert_double_le(per_search, most[_i]);
    ck_assert_double_ge(per_search, 1.0);
    for (unsigned g = 0; g < GATEWAYS; g++)
        sn_engine_free(a->gateways[g]);
    free(a);
}

END_TEST

int main(void)
{
    Suite *s = suite_create("discover");
    TCase *t = tcase_create("discover");
    tcase_set_timeout(t, 60);
    tcase_add_test(t, a_flood_of_searches_gets_few_answers);
    tcase_add_loop_test(t, several_gateways_answer_each_search_about_once, 0, 3);
    suite_add_tcase(s, t);
    return run_suite(s);
}
