/* SPDX-License-Identifier: Apache-2.0 */
/* What the client machine receives: publications, registrations, subscriptions, hostile octets. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include <check.h>

#include "base/rng.h"

#include "client_world.h"
#include "mqttsn/packet.h"
#include "tools/client.h"
#include "tools/registrations.h"
#include "unit/suite.h"

enum { LOSSES = 8, HOSTILE_DATAGRAMS = 100000 };

static struct snc_topic named(const char *name)
{
    return (struct snc_topic){.kind = SN_TOPIC_NORMAL, .name = bytes_str(name)};
}

static struct sn_packet message(enum sn_qos qos, enum sn_topic_kind kind, uint16_t id)
{
    return (struct sn_packet){.type = SN_PUBLISH,
                              .qos = qos,
                              .topic_kind = kind,
                              .topic_id = id,
                              .msg_id = qos == SN_QOS_0 ? 0 : 7,
                              .data = bytes_str("on")};
}

static void gateway_registers(struct world *w, uint16_t id, const char *name)
{
    world_send(w, &(struct sn_packet){
                      .type = SN_REGISTER, .topic_id = id, .msg_id = 1, .topic = bytes_str(name)});
    world_settle(w);
}

/* ---- publications ---------------------------------------------------------------------------- */

static void receive_with_loss(enum sn_qos qos, unsigned lost)
{
    struct world w;
    world_init_connected(&w, &WORLD_OPTIONS);
    w.lose_first = lost;
    w.lose_count = 1;
    const struct sn_packet p = message(qos, SN_TOPIC_SHORT, 0x6162);
    world_send_exchange(&w, &p);
    world_run(&w, w.now_ms + 45000);
    ck_assert(!w.gw.down_open);
    const unsigned messages = world_count_events(&w, SNC_MESSAGE);
    if (qos == SN_QOS_2)
        ck_assert_uint_eq(messages, 1);
    else
        ck_assert_uint_eq(messages, lost == 1 ? 2 : 1); /* a lost PUBACK makes a duplicate */
    const struct world_event *first = &w.events[0];
    ck_assert_int_eq(first->e.type, SNC_MESSAGE);
    ck_assert_str_eq(first->topic, "ab");
    ck_assert_str_eq(first->data, "on");
    ck_assert_int_eq(first->e.qos, qos);
    world_deinit(&w);
}

START_TEST(qos_1_is_received_whichever_packet_is_lost)
{
    receive_with_loss(SN_QOS_1, (unsigned)_i);
}

END_TEST

START_TEST(qos_2_is_received_once_whichever_packet_is_lost)
{
    receive_with_loss(SN_QOS_2, (unsigned)_i);
}

END_TEST

START_TEST(a_msg_id_can_be_used_again_after_pubrel)
{
    struct world w;
    world_init_connected(&w, &WORLD_OPTIONS);
    struct sn_packet p = message(SN_QOS_2, SN_TOPIC_PREDEFINED, 5);
    for (unsigned i = 1; i <= 3; i++) {
        p.data = bytes_str(i % 2 == 0 ? "on" : "off"); /* else it would pass for a copy */
        world_send_exchange(&w, &p);
        world_settle(&w);
        ck_assert_uint_eq(world_count_events(&w, SNC_MESSAGE), i);
    }
    ck_assert_uint_eq(snc_counters(w.c)->duplicates, 0);
    world_deinit(&w);
}

END_TEST

START_TEST(unknown_pubrel_and_pubrec_are_answered)
{
    struct world w;
    world_init_connected(&w, &WORLD_OPTIONS);
    world_send(&w, &(struct sn_packet){.type = SN_PUBREL, .msg_id = 77});
    world_send(&w, &(struct sn_packet){.type = SN_PUBREC, .msg_id = 78});
    world_settle(&w);
    ck_assert_int_eq(world_sent(&w, 0).type, SN_PUBCOMP);
    ck_assert_int_eq(world_sent(&w, 0).msg_id, 77);
    ck_assert_int_eq(world_sent(&w, 1).type, SN_PUBREL);
    ck_assert_int_eq(world_sent(&w, 1).msg_id, 78);
    world_deinit(&w);
}

END_TEST

START_TEST(unknown_normal_id_is_refused_at_every_qos)
{
    struct world w;
    world_init_connected(&w, &WORLD_OPTIONS);
    for (unsigned qos = 0; qos <= 2; qos++) {
        const struct sn_packet p = message((enum sn_qos)qos, SN_TOPIC_NORMAL, 0x0099);
        world_send(&w, &p);
        world_settle(&w);
        const struct sn_packet answer = world_sent(&w, qos);
        ck_assert_int_eq(answer.type, SN_PUBACK);
        ck_assert_int_eq(answer.return_code, SN_INVALID_TOPIC_ID);
        ck_assert_int_eq(answer.topic_id, 0x0099);
        ck_assert_int_eq(answer.msg_id, p.msg_id);
    }
    ck_assert_uint_eq(w.event_count, 0);
    world_deinit(&w);
}

END_TEST

/* Any node near a gateway hears them. */
START_TEST(broadcasts_of_discovery_are_nothing_out_of_place)
{
    struct world w;
    world_init_connected(&w, &WORLD_OPTIONS);

    const enum sn_type types[] = {SN_ADVERTISE, SN_SEARCHGW, SN_GWINFO};

    for (size_t i = 0; i < sizeof types / sizeof *types; i++) {
        const struct sn_packet p = {.type = types[i], .gw_id = 1, .duration_s = 900};
        world_send(&w, &p);
        world_settle(&w);
    }
    ck_assert_uint_eq(w.sent_count, 0);
    ck_assert_uint_eq(w.event_count, 0);
    ck_assert_uint_eq(snc_counters(w.c)->unexpected, 0);
    ck_assert_uint_eq(snc_counters(w.c)->malformed, 0);
    ck_assert(snc_is_connected(w.c));
    world_deinit(&w);
}

END_TEST

START_TEST(messages_out_of_place_do_nothing)
{
    struct world w;
    world_init_connected(&w, &WORLD_OPTIONS);

    const enum sn_type types[] = {SN_CONNECT,       SN_CONNACK,     SN_WILLTOPICREQ, SN_WILLMSGREQ,
                                  SN_REGACK,        SN_PUBACK,      SN_PUBCOMP,      SN_SUBACK,
                                  SN_UNSUBACK,      SN_PINGRESP,    SN_SUBSCRIBE,    SN_UNSUBSCRIBE,
                                  SN_WILLTOPICRESP, SN_WILLMSGRESP, SN_WILLTOPICUPD};

    for (size_t i = 0; i < sizeof types / sizeof *types; i++) {
        const struct sn_packet p = {.type = types[i],
                                    .topic_id = 5,
                                    .msg_id = 7,
                                    .client_id = bytes_str("x"),
                                    .topic = bytes_str("t")};
        world_send(&w, &p);
        world_settle(&w);
    }
    ck_assert_uint_eq(w.sent_count, 0);
    ck_assert_uint_eq(w.event_count, 0);
    ck_assert_uint_eq(snc_counters(w.c)->unexpected, sizeof types / sizeof *types);
    ck_assert(snc_is_connected(w.c));
    world_deinit(&w);
}

END_TEST

START_TEST(impossible_answers_leave_the_request_open)
{
    struct world w;
    world_init_connected(&w, &WORLD_OPTIONS);
    w.gw.silent = true;
    const struct snc_topic topic = {.kind = SN_TOPIC_PREDEFINED, .id = 5};
    snc_publish(w.c, w.now_ms, &topic, bytes_str("42"), SN_QOS_2, false);
    snc_register(w.c, w.now_ms, bytes_str("t/a1"));
    world_settle(&w);
    const uint16_t publish_id = world_sent(&w, 0).msg_id;
    const uint16_t register_id = world_sent(&w, 1).msg_id;
    const struct sn_packet answers[] = {
  /* QoS 2 is never completed by PUBACK, nor by PUBCOMP before PUBREL was sent. */
        {.type = SN_PUBACK,   .topic_id = 5,         .msg_id = publish_id},
        {.type = SN_PUBCOMP,  .msg_id = publish_id },
 /* 0000 and FFFF are reserved. */
        {.type = SN_REGACK, .topic_id = 0x0000, .msg_id = register_id                    },
        {.type = SN_REGACK, .topic_id = 0xFFFF, .msg_id = register_id}
    };
    for (size_t i = 0; i < sizeof answers / sizeof *answers; i++)
        world_send(&w, &answers[i]);
    world_settle(&w);
    ck_assert_uint_eq(w.event_count, 0);
    ck_assert(snc_publishing(w.c));
    world_run(&w, w.now_ms + WORLD_RETRY_MS);
    ck_assert_uint_eq(w.sent_count, 4);
    world_deinit(&w);
}

END_TEST

/* ---- registrations --------------------------------------------------------------------------- */

START_TEST(gateways_register_is_acknowledged_and_names_messages)
{
    struct world w;
    world_init_connected(&w, &WORLD_OPTIONS);
    gateway_registers(&w, 0x0030, "t/x");
    const struct sn_packet ack = world_sent(&w, 0);
    ck_assert_int_eq(ack.type, SN_REGACK);
    ck_assert_int_eq(ack.topic_id, 0x0030);
    ck_assert_int_eq(ack.msg_id, 1);
    ck_assert_int_eq(ack.return_code, SN_ACCEPTED);
    struct sn_packet p = message(SN_QOS_0, SN_TOPIC_NORMAL, 0x0030);
    world_send(&w, &p);
    world_settle(&w);
    ck_assert_str_eq(world_event(&w, SNC_MESSAGE)->topic, "t/x");
    /* The same number as predefined id is another topic. */
    world_forget(&w);
    p.topic_kind = SN_TOPIC_PREDEFINED;
    world_send(&w, &p);
    world_settle(&w);
    ck_assert_str_eq(world_event(&w, SNC_MESSAGE)->topic, "");
    world_deinit(&w);
}

END_TEST

START_TEST(impossible_registers_are_refused)
{
    struct world w;
    world_init_connected(&w, &WORLD_OPTIONS);
    gateway_registers(&w, 0x0000, "t/x");
    gateway_registers(&w, 0xFFFF, "t/x");
    gateway_registers(&w, 0x0030, "t/#");
    gateway_registers(&w, 0x0030, "t/\xff");
    ck_assert_int_eq(world_sent(&w, 0).return_code, SN_INVALID_TOPIC_ID);
    ck_assert_int_eq(world_sent(&w, 1).return_code, SN_INVALID_TOPIC_ID);
    ck_assert_int_eq(world_sent(&w, 2).return_code, SN_NOT_SUPPORTED);
    ck_assert_int_eq(world_sent(&w, 3).return_code, SN_NOT_SUPPORTED);
    world_deinit(&w);
}

END_TEST

START_TEST(registrations_are_bounded_and_the_latest_stay)
{
    struct world w;
    world_init_connected(&w, &WORLD_OPTIONS);
    for (unsigned i = 1; i <= 3 * REGISTRATIONS_MAX; i++) {
        char name[32];
        snprintf(name, sizeof name, "t/%u", i);
        world_forget(&w);
        gateway_registers(&w, (uint16_t)i, name);
        ck_assert_int_eq(world_sent(&w, 0).return_code, SN_ACCEPTED);
    }
    world_forget(&w);
    const struct sn_packet oldest = message(SN_QOS_0, SN_TOPIC_NORMAL, 2 * REGISTRATIONS_MAX);
    const struct sn_packet kept = message(SN_QOS_0, SN_TOPIC_NORMAL, 2 * REGISTRATIONS_MAX + 1);
    world_send(&w, &oldest);
    world_send(&w, &kept);
    world_settle(&w);
    ck_assert_str_eq(world_event(&w, SNC_MESSAGE)->topic, "t/2049");
    world_deinit(&w);
}

END_TEST

START_TEST(long_names_are_bounded_by_octets)
{
    static uint8_t name[REGISTRATIONS_BYTES_MAX / 16];
    memset(name, 'a', sizeof name);
    struct registrations r = {0};
    for (unsigned i = 1; i <= 64; i++) {
        name[0] = (uint8_t)('A' + i % 26);
        name[1] = (uint8_t)('A' + i / 26);
        ck_assert(regs_put(&r, (uint16_t)i, bytes_of(name, sizeof name)));
        ck_assert_uint_le(r.bytes, REGISTRATIONS_BYTES_MAX);
    }
    ck_assert_uint_eq(r.count, 16);
    ck_assert_uint_eq(regs_name(&r, 64).len, sizeof name);
    ck_assert_uint_eq(regs_name(&r, 48).len, 0);
    regs_clear(&r);
}

END_TEST

START_TEST(a_name_has_one_id_and_an_id_one_name)
{
    struct registrations r = {0};
    ck_assert(regs_put(&r, 1, bytes_str("a")));
    ck_assert(regs_put(&r, 2, bytes_str("b")));
    ck_assert(regs_put(&r, 3, bytes_str("a")));
    ck_assert_uint_eq(regs_id(&r, bytes_str("a")), 3);
    ck_assert_uint_eq(regs_name(&r, 1).len, 0);
    ck_assert(regs_put(&r, 3, bytes_str("b")));
    ck_assert_uint_eq(regs_id(&r, bytes_str("a")), 0);
    ck_assert_uint_eq(regs_id(&r, bytes_str("b")), 3);
    ck_assert_uint_eq(r.count, 1);
    regs_forget(&r, 3);
    ck_assert_uint_eq(r.count, 0);
    regs_clear(&r);
}

END_TEST

/* ---- subscriptions --------------------------------------------------------------------------- */

/* _i is the packet that is lost. */
START_TEST(subscribes_by_name_and_knows_the_id)
{
    struct world w;
    world_init_connected(&w, &WORLD_OPTIONS);
    w.lose_first = (unsigned)_i;
    w.lose_count = 1;
    const struct snc_topic topic = named("cmd/dev1");
    ck_assert_int_eq(snc_subscribe(w.c, w.now_ms, &topic, SN_QOS_2), 0);
    ck_assert_int_eq(snc_unsubscribe(w.c, w.now_ms, &topic), SNC_BUSY);
    world_run(&w, w.now_ms + 15000);
    const struct world_event *done = world_event(&w, SNC_SUBSCRIBED);
    ck_assert_int_eq(done->e.return_code, SN_ACCEPTED);
    ck_assert_int_eq(done->e.qos, SN_QOS_2);
    ck_assert_str_eq(done->topic, "cmd/dev1");
    ck_assert_uint_eq(w.sent_count, _i < 2 ? 2 : 1);
    ck_assert(!world_sent(&w, 0).dup);
    if (_i < 2) {
        ck_assert(world_sent(&w, 1).dup);
        ck_assert_int_eq(world_sent(&w, 1).msg_id, world_sent(&w, 0).msg_id);
    }
    const uint16_t id = done->e.topic_id;
    world_forget(&w);
    w.lose_count = 0;
    const struct sn_packet p = message(SN_QOS_1, SN_TOPIC_NORMAL, id);
    world_send(&w, &p);
    world_settle(&w);
    ck_assert_str_eq(world_event(&w, SNC_MESSAGE)->topic, "cmd/dev1");
    world_deinit(&w);
}

END_TEST

START_TEST(subscription_outcomes_are_reported)
{
    struct world w;
    world_init_connected(&w, &WORLD_OPTIONS);
    const struct snc_topic all = named("#");
    snc_subscribe(w.c, w.now_ms, &all, SN_QOS_1);
    world_settle(&w);
    ck_assert_int_eq(world_event(&w, SNC_SUBSCRIBED)->e.topic_id, 0);
    world_forget(&w);
    w.gw.return_code = SN_NOT_SUPPORTED;
    snc_subscribe(w.c, w.now_ms, &all, SN_QOS_1);
    world_settle(&w);
    ck_assert_int_eq(world_event(&w, SNC_SUBSCRIBED)->e.return_code, SN_NOT_SUPPORTED);
    world_forget(&w);
    snc_unsubscribe(w.c, w.now_ms, &all);
    world_settle(&w);
    world_event(&w, SNC_UNSUBSCRIBED);
    const struct snc_topic nameless = named("");
    ck_assert_int_eq(snc_subscribe(w.c, w.now_ms, &nameless, SN_QOS_0), SNC_INVALID);
    ck_assert_int_eq(snc_subscribe(w.c, w.now_ms, &all, SN_QOS_MINUS_1), SNC_INVALID);
    world_deinit(&w);
}

END_TEST

/* ---- limits and hostility -------------------------------------------------------------------- */

START_TEST(unread_messages_are_bounded_and_counted)
{
    struct world w;
    world_init_connected(&w, &WORLD_OPTIONS);
    uint8_t frame[256];
    const struct sn_packet p0 = message(SN_QOS_0, SN_TOPIC_PREDEFINED, 5);
    const size_t len = sn_encode(&p0, frame, sizeof frame);
    for (unsigned i = 0; i < 100000; i++)
        snc_input(w.c, w.now_ms, bytes_of(frame, len));
    ck_assert_uint_gt(snc_counters(w.c)->events_dropped, 0);
    /* QoS 1 is not acknowledged while there is no room, and our own outcomes still arrive. */
    const struct sn_packet p1 = message(SN_QOS_1, SN_TOPIC_PREDEFINED, 5);
    const size_t len1 = sn_encode(&p1, frame, sizeof frame);
    snc_input(w.c, w.now_ms, bytes_of(frame, len1));
    struct bytes packet;
    ck_assert(!snc_peek_packet(w.c, &packet));
    const uint64_t dropped = snc_counters(w.c)->events_dropped;
    snc_input(w.c, w.now_ms, bytes_of("\x02\x18", 2));
    ck_assert_uint_eq(snc_counters(w.c)->events_dropped, dropped);
    world_deinit(&w);
}

END_TEST

START_TEST(unsent_packets_are_bounded_and_reported_busy)
{
    struct world w;
    world_init_connected(&w, &WORLD_OPTIONS);
    const struct snc_topic topic = {.kind = SN_TOPIC_PREDEFINED, .id = 5};
    unsigned sent = 0;
    while (snc_publish(w.c, w.now_ms, &topic, bytes_str("42"), SN_QOS_0, false) == 0)
        ck_assert_uint_lt(++sent, 100000);
    ck_assert_int_eq(snc_publish(w.c, w.now_ms, &topic, bytes_str("42"), SN_QOS_0, false),
                     SNC_BUSY);
    ck_assert_uint_gt(sent, 1000);
    world_deinit(&w);
}

END_TEST

START_TEST(a_peeked_message_stays_while_others_arrive)
{
    struct world w;
    world_init_connected(&w, &WORLD_OPTIONS);
    uint8_t frame[256];
    struct sn_packet p = message(SN_QOS_0, SN_TOPIC_SHORT, 0x6162);
    size_t len = sn_encode(&p, frame, sizeof frame);
    snc_input(w.c, w.now_ms, bytes_of(frame, len));
    struct snc_event e;
    ck_assert(snc_peek_event(w.c, &e));
    p.data = bytes_str("off");
    len = sn_encode(&p, frame, sizeof frame);
    for (unsigned i = 0; i < 500; i++)
        snc_input(w.c, w.now_ms, bytes_of(frame, len));
    ck_assert_uint_eq(e.data.len, 2);
    ck_assert_mem_eq(e.data.data, "on", 2);
    snc_done_event(w.c);
    unsigned others = 0;
    for (; snc_peek_event(w.c, &e); snc_done_event(w.c)) {
        ck_assert_mem_eq(e.data.data, "off", 3);
        ck_assert_mem_eq(e.topic.data, "ab", 2);
        others++;
    }
    ck_assert_uint_eq(others, 500);
    world_deinit(&w);
}

END_TEST

/* Octets without any shape, or a message of a real type with a wrong body, or one that fits. */
static size_t hostile_datagram(struct rng *rng, uint8_t *buf, size_t cap)
{
    size_t len = rng_below(rng, 24);
    for (size_t i = 0; i < len; i++)
        buf[i] = (uint8_t)rng_next(rng);
    const uint64_t shape = rng_below(rng, 4);
    if (shape == 0 || len < 2)
        return len;
    buf[0] = (uint8_t)len;
    buf[1] = (uint8_t)rng_below(rng, SN_TYPE_COUNT);
    if (shape == 1)
        return len;
    static const char *const names[] = {"t", "t/a", "#", "\xff", "cmd/dev1"};
    const struct sn_packet p = {.type = (enum sn_type)rng_below(rng, SN_TYPE_COUNT),
                                .dup = rng_below(rng, 2) == 0,
                                .qos = (enum sn_qos)rng_below(rng, 4),
                                .topic_kind = (enum sn_topic_kind)rng_below(rng, 4),
                                .topic_id = (uint16_t)rng_below(rng, 8),
                                .msg_id = (uint16_t)rng_below(rng, 8),
                                .return_code = (uint8_t)rng_below(rng, 4),
                                .topic = bytes_str(names[rng_below(rng, 5)]),
                                .data = bytes_str("x")};
    const size_t encoded = sn_encode(&p, buf, cap);
    return encoded > 0 ? encoded : len;
}

static void owner_acts(struct world *w, struct rng *rng)
{
    static const char *const names[] = {"t", "t/a", "cmd/dev1"};
    const struct snc_topic topic = rng_below(rng, 2) == 0
                                       ? named(names[rng_below(rng, 3)])
                                       : (struct snc_topic){.kind = SN_TOPIC_PREDEFINED, .id = 5};
    switch (rng_below(rng, 8)) {
    case 0:
        snc_connect(w->c, w->now_ms);
        break;
    case 1:
        snc_subscribe(w->c, w->now_ms, &topic, SN_QOS_2);
        break;
    case 2:
        snc_unsubscribe(w->c, w->now_ms, &topic);
        break;
    case 3:
        snc_ping(w->c, w->now_ms);
        break;
    case 4:
        snc_disconnect(w->c, w->now_ms, (uint16_t)rng_below(rng, 2));
        break;
    default:
        snc_publish(w->c, w->now_ms, &topic, bytes_str("42"), (enum sn_qos)rng_below(rng, 4),
                    false);
        break;
    }
}

/* Whatever came in: time goes on, and everything that goes out is a message. */
static void check_outputs(struct world *w)
{
    snc_advance(w->c, w->now_ms);
    ck_assert_int_gt(snc_next_deadline(w->c), w->now_ms);
    struct bytes packet;
    struct sn_packet p;
    for (; snc_peek_packet(w->c, &packet); snc_done_packet(w->c))
        ck_assert_int_eq(sn_decode(packet, &p), SN_DECODED);
    struct snc_event e;
    while (snc_peek_event(w->c, &e))
        snc_done_event(w->c);
}

START_TEST(hostile_octets_do_no_harm)
{
    struct snc_options options = WORLD_OPTIONS;
    options.clean = _i % 2 == 0;
    options.will_topic = _i < 2 ? "state/dev1" : NULL;
    struct world w;
    world_init(&w, &options);
    struct rng rng;
    const uint64_t seed = 0x5e2u + (uint64_t)_i;
    printf("hostile_octets_do_no_harm: seed %" PRIu64 "\n", seed);
    rng_seed(&rng, seed);
    uint8_t buf[256];
    unsigned connected = 0;
    for (unsigned i = 0; i < HOSTILE_DATAGRAMS; i++) {
        const size_t len = hostile_datagram(&rng, buf, sizeof buf);
        /* A copy of its own: the sanitizer sees each octet read behind it. */
        uint8_t *datagram = malloc(len > 0 ? len : 1);
        memcpy(datagram, buf, len);
        snc_input(w.c, w.now_ms, bytes_of(datagram, len));
        free(datagram);
        if (rng_below(&rng, 4) == 0)
            owner_acts(&w, &rng);
        if (!snc_is_connected(w.c) && rng_below(&rng, 4) == 0)
            snc_input(w.c, w.now_ms, bytes_of("\x03\x05\x00", 3));
        w.now_ms += (int64_t)rng_below(&rng, 2000);
        check_outputs(&w);
        connected += snc_is_connected(w.c);
    }
    ck_assert_uint_gt(connected, HOSTILE_DATAGRAMS / 4); /* not only at the door */
    const struct snc_counters *counters = snc_counters(w.c);
    ck_assert_uint_gt(counters->malformed, 0);
    ck_assert_uint_gt(counters->unexpected, 0);
    ck_assert_uint_gt(counters->retransmissions, 0);
    world_deinit(&w);
}

END_TEST

int main(void)
{
    TCase *down = tcase_create("publications");
    tcase_add_loop_test(down, qos_1_is_received_whichever_packet_is_lost, 0, LOSSES);
    tcase_add_loop_test(down, qos_2_is_received_once_whichever_packet_is_lost, 0, LOSSES);
    tcase_add_test(down, a_msg_id_can_be_used_again_after_pubrel);
    tcase_add_test(down, unknown_pubrel_and_pubrec_are_answered);
    tcase_add_test(down, unknown_normal_id_is_refused_at_every_qos);
    tcase_add_test(down, broadcasts_of_discovery_are_nothing_out_of_place);
    tcase_add_test(down, messages_out_of_place_do_nothing);
    tcase_add_test(down, impossible_answers_leave_the_request_open);

    TCase *names = tcase_create("registrations");
    tcase_add_test(names, gateways_register_is_acknowledged_and_names_messages);
    tcase_add_test(names, impossible_registers_are_refused);
    tcase_add_test(names, registrations_are_bounded_and_the_latest_stay);
    tcase_add_test(names, long_names_are_bounded_by_octets);
    tcase_add_test(names, a_name_has_one_id_and_an_id_one_name);

    TCase *subscriptions = tcase_create("subscriptions");
    tcase_add_loop_test(subscriptions, subscribes_by_name_and_knows_the_id, 0, 3);
    tcase_add_test(subscriptions, subscription_outcomes_are_reported);

    TCase *limits = tcase_create("limits");
    tcase_set_timeout(limits, 60);
    tcase_add_test(limits, unread_messages_are_bounded_and_counted);
    tcase_add_test(limits, unsent_packets_are_bounded_and_reported_busy);
    tcase_add_test(limits, a_peeked_message_stays_while_others_arrive);
    tcase_add_loop_test(limits, hostile_octets_do_no_harm, 0, 4);

    Suite *suite = suite_create("client inbound");
    suite_add_tcase(suite, down);
    suite_add_tcase(suite, names);
    suite_add_tcase(suite, subscriptions);
    suite_add_tcase(suite, limits);
    return run_suite(suite);
}
