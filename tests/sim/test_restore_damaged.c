/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Rows out of a database that was damaged, or edited by somebody: whatever they say, the engine that
 * gets them works, stays within its limits, and gives back all memory (sn_engine_free() asserts).
 */
#include <string.h>

#include <check.h>

#include "mqttsn/engine.h"
#include "mqttsn/packet.h"
#include "unit/seed.h"
#include "unit/suite.h"

#define KEY(generation, slot) ((uint64_t)(generation) << SN_CLIENT_SLOT_BITS | (slot))

enum { NOW_MS = 5000 };

static const char *const texts[] = {"a", "b", "t", "ab", "", "a/b/c", "pre/five", "#", "\xC0\x80"};

static struct bytes some_text(struct rng *rng)
{
    return bytes_str(texts[rng_below(rng, sizeof texts / sizeof texts[0])]);
}

/* Small, or anything at all. */
static uint64_t some_number(struct rng *rng)
{
    const uint64_t shift = rng_below(rng, 64);
    return rng_below(rng, 3) > 0 ? rng_below(rng, 6) : rng_next(rng) >> shift;
}

static struct sn_record random_row(struct rng *rng, struct peer_room *room, struct body *body)
{
    static const enum sn_record_type types[] = {SN_REC_SESSION, SN_REC_TOPIC, SN_REC_EXCHANGE,
                                                SN_REC_DELIVERY};
    struct sn_record r = {.type = types[rng_below(rng, 4)]};
    if (rng_below(rng, 20) == 0)
        r.type = (enum sn_record_type)rng_below(rng, SN_REC_COUNT);
    r.client = KEY(rng_below(rng, 2) + 1, rng_below(rng, 4));
    if (rng_below(rng, 20) == 0)
        r.client = some_number(rng);
    if (r.type == SN_REC_SESSION) {
        uint8_t octets[PEER_BYTES_MAX];
        for (size_t i = 0; i < sizeof octets; i++)
            octets[i] = (uint8_t)rng_below(rng, 8);
        struct peer *p = peer_make(room, (uint16_t)rng_below(rng, 2),
                                   (enum peer_kind)rng_below(rng, 9), bytes_of(octets, 6));
        memcpy(p->bytes, octets, sizeof octets);
        p->path_len = (uint16_t)(rng_below(rng, 3) == 0 ? rng_below(rng, PEER_PATH_MAX) : 0);
        r.session.client_id = some_text(rng);
        r.session.peer = rng_below(rng, 4) > 0 ? p : NULL;
        r.session.state = (enum sn_kept_state)rng_below(rng, 4);
        r.session.clean = rng_below(rng, 2) > 0;
        r.session.keep_alive_s = (uint16_t)some_number(rng);
        r.session.sleep_s = (uint16_t)some_number(rng);
        r.session.next_msg_id = (uint16_t)some_number(rng);
        r.session.connection = (uint16_t)rng_below(rng, 3);
        r.session.will = (struct sn_will_view){.topic = some_text(rng), .body = body};
        r.session.will.qos = (uint8_t)rng_below(rng, 4);
    } else if (r.type == SN_REC_TOPIC) {
        r.topic.topic_id = (uint16_t)some_number(rng);
        r.topic.name = some_text(rng);
        r.topic.alias = (uint16_t)some_number(rng);
        r.topic.kind = (uint8_t)rng_below(rng, 5);
        r.topic.given = rng_below(rng, 2) > 0;
        r.topic.known_in = (uint16_t)rng_below(rng, 3);
        r.topic.refused_in = (uint16_t)rng_below(rng, 3);
    } else if (r.type == SN_REC_EXCHANGE) {
        r.exchange.msg_id = (uint16_t)some_number(rng);
        r.exchange.print = some_number(rng);
    } else if (r.type == SN_REC_DELIVERY) {
        r.delivery.number = some_number(rng);
        r.delivery.journal = some_number(rng);
        r.delivery.topic = some_text(rng);
        r.delivery.body = rng_below(rng, 2) > 0 ? body : NULL;
        r.delivery.qos = (uint8_t)rng_below(rng, 4);
        r.delivery.phase = (enum sn_kept_phase)rng_below(rng, 4);
        r.delivery.msg_id = (uint16_t)some_number(rng);
    }
    return r;
}

static unsigned restore_random(struct sn_engine *e, struct rng *rng, struct body *body)
{
    struct peer_room room;
    const struct sn_record row = random_row(rng, &room, body);
    return sn_engine_restore(e, &row) == 0;
}

static void drain(struct sn_engine *e)
{
    struct sn_outgoing packet;
    struct sn_request request;
    struct sn_record record;
    for (; sn_engine_peek_packet(e, &packet); sn_engine_done_packet(e))
        ;
    for (; sn_engine_peek_request(e, &request); sn_engine_done_request(e))
        ;
    for (; sn_engine_peek_record(e, &record); sn_engine_done_record(e))
        ;
    for (; log_peek(sn_engine_log(e)) != NULL; log_done(sn_engine_log(e)))
        ;
}

/* What any node might say. */
static void talk(struct sn_engine *e, struct rng *rng, int64_t now_ms)
{
    struct peer_room room;
    uint8_t octets[128];
    uint8_t address[6];
    for (size_t i = 0; i < sizeof address; i++)
        address[i] = (uint8_t)rng_below(rng, 8);
    struct sn_packet p = {.type = (enum sn_type)rng_below(rng, SN_TYPE_COUNT),
                          .protocol_id = SN_PROTOCOL_ID,
                          .duration_s = (uint16_t)some_number(rng),
                          .qos = (enum sn_qos)rng_below(rng, 3),
                          .topic_id = (uint16_t)rng_below(rng, 6),
                          .msg_id = (uint16_t)rng_below(rng, 6),
                          .topic = some_text(rng)};
    if (p.type == SN_CONNECT || p.type == SN_PINGREQ)
        p.client_id = some_text(rng);
    const size_t len = sn_encode(&p, octets, sizeof octets);
    sn_engine_input(e, now_ms, peer_make(&room, 0, PEER_IP4, bytes_of(address, 6)),
                    bytes_of(octets, len));
}

START_TEST(damaged_rows_do_no_harm)
{
    enum { ROUNDS = 3000, ROWS = 40, WORDS = 20 };

    static const struct sn_predefined predefined = {.topic_id = 5, .topic = "pre/five"};
    static const struct sn_topics_section topics = {.entries = &predefined, .n_entries = 1};
    static const struct sn_link_limits link = {.max_packet_bytes = 1000};

    struct rng rng = seeded_rng();
    struct body *body = body_new(bytes_str("some octets"));
    unsigned taken = 0, begun = 0;
    for (unsigned round = 0; round < ROUNDS; round++) {
        struct sn_engine_config config = sn_engine_defaults();
        config.journal = true;
        config.topics = &topics;
        config.n_topics = 1;
        config.links = &link;
        config.n_links = 1;
        config.defaults.max_queue = 1 + (uint32_t)rng_below(&rng, 4);
        config.defaults.max_topics = 1 + (uint32_t)rng_below(&rng, 4);
        config.defaults.overflow = (enum sn_overflow)(1 + rng_below(&rng, 3));
        struct sn_engine *e = sn_engine_new(&config, NOW_MS);
        ck_assert_ptr_nonnull(e);
        for (unsigned i = 0; i < ROWS; i++)
            taken += restore_random(e, &rng, body);
        sn_engine_restored(e, NOW_MS);
        begun += sn_engine_gauges(e).clients > 0;
        int64_t now_ms = NOW_MS;
        sn_engine_event(e, now_ms,
                        &(struct sn_event){.type = SN_EV_UPSTREAM, .upstream = {.up = true}});
        for (unsigned i = 0; i < WORDS; i++) {
            talk(e, &rng, now_ms);
            drain(e);
            now_ms += (int64_t)rng_below(&rng, 20000);
            sn_engine_advance(e, now_ms);
            ck_assert_int_gt(sn_engine_next_deadline(e), now_ms);
        }
        drain(e);
        sn_engine_free(e);
    }
    body_unref(body);
    ck_assert_uint_gt(begun, ROUNDS / 2);
    ck_assert_uint_gt(taken, ROUNDS);
}

END_TEST

int main(void)
{
    Suite *suite = suite_create("restore_damaged");
    TCase *tc = tcase_create("restore_damaged");
    tcase_set_timeout(tc, 30);
    tcase_add_test(tc, damaged_rows_do_no_harm);
    suite_add_tcase(suite, tc);
    return run_suite(suite);
}
