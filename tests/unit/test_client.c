/* SPDX-License-Identifier: Apache-2.0 */
/* The client machine of the tools, in virtual time against a model gateway and a lossy air. */
#include <stdio.h>

#include <check.h>

#include "base/rng.h"

#include "client_world.h"
#include "mqttsn/packet.h"
#include "tools/client.h"
#include "unit/suite.h"

/* No exchange of this suite needs more packets: losing each of them in turn covers all losses. */
enum { LOSSES = 10, LONG_MS = 600000 };

static struct snc_topic named(const char *name)
{
    return (struct snc_topic){.kind = SN_TOPIC_NORMAL, .name = bytes_str(name)};
}

static struct snc_topic predefined(uint16_t id)
{
    return (struct snc_topic){.kind = SN_TOPIC_PREDEFINED, .id = id};
}

static int publish(struct world *w, struct snc_topic topic, enum sn_qos qos)
{
    return snc_publish(w->c, w->now_ms, &topic, bytes_str("42"), qos, false);
}

static void assert_frame(const struct world *w, unsigned n, const void *octets, size_t len)
{
    ck_assert_uint_lt(n, w->sent_count);
    ck_assert_uint_eq(w->sent[n].len, len);
    ck_assert_mem_eq(w->sent[n].data, octets, len);
}

/* ---- session --------------------------------------------------------------------------------- */

START_TEST(connects_and_reports_it)
{
    struct world w;
    world_init(&w, &WORLD_OPTIONS);
    ck_assert(!snc_is_connected(w.c));
    ck_assert_int_eq(snc_connect(w.c, w.now_ms), 0);
    ck_assert_int_eq(snc_connect(w.c, w.now_ms), SNC_BUSY);
    world_settle(&w);
    assert_frame(&w, 0,
                 "\x0A\x04\x04\x01\x00\x3C"
                 "dev1",
                 10);
    ck_assert_int_eq(world_event(&w, SNC_CONNECTED)->e.return_code, SN_ACCEPTED);
    ck_assert(snc_is_connected(w.c));
    world_deinit(&w);
}

END_TEST

START_TEST(refusal_of_connect_is_reported)
{
    struct world w;
    world_init(&w, &WORLD_OPTIONS);
    w.gw.return_code = SN_CONGESTION;
    snc_connect(w.c, w.now_ms);
    world_settle(&w);
    ck_assert_int_eq(world_event(&w, SNC_REFUSED)->e.return_code, SN_CONGESTION);
    ck_assert(!snc_is_connected(w.c));
    ck_assert_int_eq(snc_next_deadline(w.c), TIME_NEVER);
    world_deinit(&w);
}

END_TEST

/* _i is the packet of the dialogue that is lost. */
START_TEST(will_dialogue_survives_the_loss_of_any_packet)
{
    struct snc_options options = WORLD_OPTIONS;
    options.will_topic = "state/dev1";
    options.will_message = bytes_str("gone");
    options.will_qos = 1;
    options.will_retain = true;
    struct world w;
    world_init(&w, &options);
    w.lose_first = (unsigned)_i;
    w.lose_count = 1;
    snc_connect(w.c, w.now_ms);
    world_run(&w, 50000);
    world_event(&w, SNC_CONNECTED);
    ck_assert_str_eq(w.gw.will_topic, "state/dev1");
    ck_assert_str_eq(w.gw.will_message, "gone");
    assert_frame(&w, 0,
                 "\x0A\x04\x0C\x01\x00\x3C"
                 "dev1",
                 10);
    const struct sn_packet last = world_sent(&w, w.sent_count - 1);
    ck_assert(last.type == SN_WILLMSG || last.type == SN_PINGREQ);
    ck_assert_uint_eq(snc_counters(w.c)->retransmissions, _i < 6 ? 1 : 0);
    world_deinit(&w);
}

END_TEST

START_TEST(silence_ends_in_timeout_after_n_retry)
{
    struct world w;
    world_init(&w, &WORLD_OPTIONS);
    w.gw.silent = true;
    const int64_t start_ms = w.now_ms;
    snc_connect(w.c, w.now_ms);
    world_run(&w, LONG_MS);
    ck_assert_uint_eq(w.sent_count, 4);
    for (unsigned i = 0; i < 4; i++)
        ck_assert_int_eq(w.sent_at_ms[i], start_ms + i * (int64_t)WORLD_RETRY_MS);
    const struct world_event *timeout = world_event(&w, SNC_TIMEOUT);
    ck_assert_uint_eq(timeout->e.sendings, 4);
    ck_assert_int_eq(timeout->at_ms, start_ms + 4 * (int64_t)WORLD_RETRY_MS);
    ck_assert_int_eq(snc_connect(w.c, w.now_ms), 0);
    world_deinit(&w);
}

END_TEST

START_TEST(pings_in_time_when_nothing_else_is_sent)
{
    struct world w;
    world_init_connected(&w, &WORLD_OPTIONS);
    const int64_t start_ms = w.now_ms;
    world_run(&w, start_ms + 49999);
    ck_assert_uint_eq(w.gw.pings, 0);
    world_run(&w, start_ms + 60000);
    ck_assert_uint_eq(w.gw.pings, 1);
    world_event(&w, SNC_PONG);
    ck_assert_int_eq(publish(&w, predefined(5), SN_QOS_0), 0);
    const int64_t published_ms = w.now_ms;
    world_run(&w, published_ms + 49999);
    ck_assert_uint_eq(w.gw.pings, 1);
    world_run(&w, published_ms + 50000);
    ck_assert_uint_eq(w.gw.pings, 2);
    world_deinit(&w);
}

END_TEST

START_TEST(unanswered_pings_end_the_connection)
{
    struct world w;
    world_init_connected(&w, &WORLD_OPTIONS);
    w.gw.silent = true;
    world_run(&w, LONG_MS);
    ck_assert_uint_eq(w.sent_count, 4);
    ck_assert_uint_eq(world_event(&w, SNC_TIMEOUT)->e.sendings, 4);
    ck_assert(!snc_is_connected(w.c));
    ck_assert_int_eq(publish(&w, predefined(5), SN_QOS_1), SNC_NOT_CONNECTED);
    world_deinit(&w);
}

END_TEST

START_TEST(without_keep_alive_it_never_pings)
{
    struct snc_options options = WORLD_OPTIONS;
    options.keep_alive_s = 0;
    struct world w;
    world_init_connected(&w, &options);
    ck_assert_int_eq(snc_next_deadline(w.c), TIME_NEVER);
    ck_assert_int_eq(snc_ping(w.c, w.now_ms), 0);
    ck_assert_int_eq(snc_ping(w.c, w.now_ms), SNC_BUSY);
    world_settle(&w);
    world_event(&w, SNC_PONG);
    world_deinit(&w);
}

END_TEST

START_TEST(answers_the_gateways_ping_only_when_connected)
{
    struct world w;
    world_init(&w, &WORLD_OPTIONS);
    world_send(&w, &(struct sn_packet){.type = SN_PINGREQ});
    world_settle(&w);
    ck_assert_uint_eq(w.sent_count, 0);
    world_deinit(&w);
    world_init_connected(&w, &WORLD_OPTIONS);
    world_send(&w, &(struct sn_packet){.type = SN_PINGREQ});
    world_settle(&w);
    ck_assert_int_eq(world_sent(&w, 0).type, SN_PINGRESP);
    world_deinit(&w);
}

END_TEST

START_TEST(tells_who_ended_the_connection)
{
    struct world w;
    world_init_connected(&w, &WORLD_OPTIONS);
    ck_assert_int_eq(snc_disconnect(w.c, w.now_ms, 0), 0);
    ck_assert(!snc_is_connected(w.c));
    world_settle(&w);
    assert_frame(&w, 0, "\x02\x18", 2);
    ck_assert(!world_event(&w, SNC_DISCONNECTED)->e.by_gateway);
    world_deinit(&w);

    world_init_connected(&w, &WORLD_OPTIONS);
    world_send(&w, &(struct sn_packet){.type = SN_DISCONNECT});
    world_send(&w, &(struct sn_packet){.type = SN_DISCONNECT});
    world_settle(&w);
    ck_assert(world_event(&w, SNC_DISCONNECTED)->e.by_gateway);
    ck_assert_uint_eq(w.sent_count, 0);
    ck_assert_int_eq(snc_next_deadline(w.c), TIME_NEVER);
    world_deinit(&w);
}

END_TEST

START_TEST(sleeps_wakes_for_its_messages_and_sleeps_again)
{
    struct world w;
    world_init_connected(&w, &WORLD_OPTIONS);
    ck_assert_int_eq(snc_disconnect(w.c, w.now_ms, 300), 0);
    world_settle(&w);
    assert_frame(&w, 0, "\x04\x18\x01\x2C", 4);
    ck_assert(!world_event(&w, SNC_DISCONNECTED)->e.by_gateway);
    ck_assert_int_eq(snc_next_deadline(w.c), TIME_NEVER);
    const struct sn_packet message = {.type = SN_PUBLISH,
                                      .qos = SN_QOS_1,
                                      .topic_kind = SN_TOPIC_PREDEFINED,
                                      .topic_id = 5,
                                      .msg_id = 9,
                                      .data = bytes_str("on")};
    world_forget(&w);
    world_send(&w, &message);
    world_settle(&w);
    ck_assert_uint_eq(w.sent_count, 0);
    w.gw.silent = true; /* the model would answer the ping before the message */
    ck_assert_int_eq(snc_ping(w.c, w.now_ms), 0);
    world_run(&w, w.now_ms + WORLD_RETRY_MS - 1);
    assert_frame(&w, 0,
                 "\x06\x16"
                 "dev1",
                 6);
    world_send(&w, &message);
    world_run(&w, w.now_ms + WORLD_RETRY_MS - 1); /* the message restarted T_retry */
    ck_assert_uint_eq(w.sent_count, 2);
    ck_assert_int_eq(world_sent(&w, 1).type, SN_PUBACK);
    world_send(&w, &(struct sn_packet){.type = SN_PINGRESP});
    world_settle(&w);
    world_event(&w, SNC_MESSAGE);
    world_event(&w, SNC_PONG);
    ck_assert_int_eq(snc_next_deadline(w.c), TIME_NEVER);
    w.gw.silent = false;
    ck_assert_int_eq(snc_connect(w.c, w.now_ms), 0);
    world_settle(&w);
    ck_assert(snc_is_connected(w.c));
    world_deinit(&w);
}

END_TEST

START_TEST(wake_up_without_answer_returns_to_sleep)
{
    struct world w;
    world_init_connected(&w, &WORLD_OPTIONS);
    snc_disconnect(w.c, w.now_ms, 300);
    world_settle(&w);
    w.gw.silent = true;
    snc_ping(w.c, w.now_ms);
    world_run(&w, LONG_MS);
    world_event(&w, SNC_TIMEOUT);
    ck_assert_int_eq(snc_ping(w.c, w.now_ms), 0);
    /* A DISCONNECT in answer to the wake-up: the gateway does not know us any more. */
    world_send(&w, &(struct sn_packet){.type = SN_DISCONNECT});
    world_settle(&w);
    ck_assert(w.events[w.event_count - 1].e.by_gateway);
    ck_assert_int_eq(snc_ping(w.c, w.now_ms), SNC_NOT_CONNECTED);
    world_deinit(&w);
}

END_TEST

/* ---- publishing ------------------------------------------------------------------------------ */

START_TEST(repeats_publish_with_dup_and_the_same_msg_id)
{
    struct world w;
    world_init_connected(&w, &WORLD_OPTIONS);
    w.gw.silent = true;
    ck_assert_int_eq(publish(&w, predefined(5), SN_QOS_1), 0);
    ck_assert(snc_publishing(w.c));
    ck_assert_int_eq(publish(&w, predefined(5), SN_QOS_2), SNC_BUSY);
    world_run(&w, w.now_ms + 3 * WORLD_RETRY_MS);
    ck_assert_uint_eq(w.sent_count, 4);
    assert_frame(&w, 0,
                 "\x09\x0C\x21\x00\x05\x00\x01"
                 "42",
                 9);
    for (unsigned i = 1; i < 4; i++)
        assert_frame(&w, i,
                     "\x09\x0C\xA1\x00\x05\x00\x01"
                     "42",
                     9);
    world_run(&w, LONG_MS);
    world_event(&w, SNC_TIMEOUT);
    ck_assert(!snc_publishing(w.c));
    world_deinit(&w);
}

END_TEST

static void publish_with_loss(enum sn_qos qos, unsigned lost)
{
    struct world w;
    world_init_connected(&w, &WORLD_OPTIONS);
    w.lose_first = lost;
    w.lose_count = 1;
    const int64_t start_ms = w.now_ms;
    ck_assert_int_eq(publish(&w, named("t/a1"), qos), 0);
    world_run(&w, start_ms + 45000);
    const struct world_event *done = world_event(&w, SNC_PUBLISHED);
    ck_assert_int_eq(done->e.return_code, SN_ACCEPTED);
    ck_assert_int_eq(done->e.qos, qos);
    ck_assert_int_eq(done->e.took_ms, done->at_ms - start_ms);
    ck_assert(!snc_publishing(w.c));
    ck_assert_uint_ge(w.gw.delivered, 1);
    if (qos == SN_QOS_2)
        ck_assert_uint_eq(w.gw.delivered, 1);
    ck_assert_str_eq(w.gw.last_data, "42");
    const unsigned exchange = qos == SN_QOS_2 ? 6 : 4; /* with REGISTER and REGACK */
    ck_assert_uint_eq(snc_counters(w.c)->retransmissions, lost < exchange ? 1 : 0);
    ck_assert_uint_eq(done->e.sendings, lost >= 2 && lost < exchange ? 2 : 1);
    world_deinit(&w);
}

START_TEST(qos_1_arrives_whichever_packet_is_lost)
{
    publish_with_loss(SN_QOS_1, (unsigned)_i);
}

END_TEST

START_TEST(qos_2_arrives_once_whichever_packet_is_lost)
{
    publish_with_loss(SN_QOS_2, (unsigned)_i);
}

END_TEST

START_TEST(registers_a_name_once_and_then_uses_its_id)
{
    struct world w;
    world_init_connected(&w, &WORLD_OPTIONS);
    ck_assert_int_eq(publish(&w, named("t/a1"), SN_QOS_0), 0);
    ck_assert(snc_publishing(w.c));
    world_settle(&w);
    ck_assert(!snc_publishing(w.c));
    ck_assert_int_eq(publish(&w, named("t/a1"), SN_QOS_1), 0);
    world_settle(&w);
    ck_assert_uint_eq(w.gw.registers, 1);
    ck_assert_str_eq(w.gw.last_topic, "t/a1");
    ck_assert_uint_eq(w.gw.delivered, 2);
    ck_assert_int_eq(world_sent(&w, 2).topic_id, 0x0021);
    ck_assert_uint_eq(world_count_events(&w, SNC_REGISTERED), 0);

    ck_assert_int_eq(snc_register(w.c, w.now_ms, bytes_str("t/b2")), 0);
    ck_assert_int_eq(snc_register(w.c, w.now_ms, bytes_str("t/c3")), SNC_BUSY);
    ck_assert_int_eq(publish(&w, named("t/d4"), SN_QOS_1), SNC_BUSY);
    world_settle(&w);
    const struct world_event *registered = world_event(&w, SNC_REGISTERED);
    ck_assert_int_eq(registered->e.topic_id, 0x0022);
    ck_assert_str_eq(registered->topic, "t/b2");
    world_deinit(&w);
}

END_TEST

START_TEST(invalid_topic_id_forgets_the_registration)
{
    struct world w;
    world_init_connected(&w, &WORLD_OPTIONS);
    publish(&w, named("t/a1"), SN_QOS_1);
    world_settle(&w);
    w.gw.return_code = SN_INVALID_TOPIC_ID;
    world_forget(&w);
    publish(&w, named("t/a1"), SN_QOS_1);
    world_settle(&w);
    ck_assert_uint_eq(w.gw.registers, 1);
    ck_assert_int_eq(world_event(&w, SNC_PUBLISHED)->e.return_code, SN_INVALID_TOPIC_ID);
    w.gw.return_code = SN_ACCEPTED;
    publish(&w, named("t/a1"), SN_QOS_1);
    world_settle(&w);
    ck_assert_uint_eq(w.gw.registers, 2);
    ck_assert_int_eq(w.events[w.event_count - 1].e.return_code, SN_ACCEPTED);
    /* QoS 0: the refusal is the only event there is. */
    world_forget(&w);
    w.gw.return_code = SN_INVALID_TOPIC_ID;
    publish(&w, named("t/a1"), SN_QOS_0);
    world_settle(&w);
    ck_assert_int_eq(world_event(&w, SNC_PUBLISHED)->e.qos, SN_QOS_0);
    w.gw.return_code = SN_ACCEPTED;
    publish(&w, named("t/a1"), SN_QOS_0);
    world_settle(&w);
    ck_assert_uint_eq(w.gw.registers, 3);
    world_deinit(&w);
}

END_TEST

START_TEST(congestion_is_reported_at_every_step)
{
    struct world w;
    world_init_connected(&w, &WORLD_OPTIONS);
    w.gw.return_code = SN_CONGESTION;
    publish(&w, named("t/a1"), SN_QOS_1); /* refused at REGISTER */
    world_settle(&w);
    ck_assert_int_eq(world_event(&w, SNC_PUBLISHED)->e.return_code, SN_CONGESTION);
    ck_assert_uint_eq(w.gw.publishes, 0);
    ck_assert(!snc_publishing(w.c));
    for (unsigned qos = 1; qos <= 2; qos++) { /* refused by PUBACK, also in place of PUBREC */
        world_forget(&w);
        publish(&w, predefined(5), (enum sn_qos)qos);
        world_settle(&w);
        ck_assert_int_eq(world_event(&w, SNC_PUBLISHED)->e.return_code, SN_CONGESTION);
        ck_assert(!snc_publishing(w.c));
    }
    world_deinit(&w);
}

END_TEST

START_TEST(qos_minus_one_needs_no_connection_and_no_name)
{
    struct world w;
    world_init(&w, &WORLD_OPTIONS);
    ck_assert_int_eq(publish(&w, predefined(5), SN_QOS_MINUS_1), 0);
    const struct snc_topic brief = {.kind = SN_TOPIC_SHORT, .id = 0x6162};
    ck_assert_int_eq(publish(&w, brief, SN_QOS_MINUS_1), 0);
    ck_assert_int_eq(publish(&w, named("t/a1"), SN_QOS_MINUS_1), SNC_INVALID);
    world_settle(&w);
    assert_frame(&w, 0,
                 "\x09\x0C\x61\x00\x05\x00\x00"
                 "42",
                 9);
    assert_frame(&w, 1,
                 "\x09\x0C\x62"
                 "ab"
                 "\x00\x00"
                 "42",
                 9);
    ck_assert_int_eq(snc_next_deadline(w.c), TIME_NEVER);
    world_deinit(&w);
}

END_TEST

START_TEST(what_does_not_fit_a_packet_is_refused)
{
    static uint8_t big[SN_PACKET_MAX];
    struct world w;
    world_init_connected(&w, &WORLD_OPTIONS);
    const struct snc_topic topic = predefined(5);
    const struct bytes too_much = bytes_of(big, SN_PACKET_MAX - 8);
    ck_assert_int_eq(snc_publish(w.c, w.now_ms, &topic, too_much, SN_QOS_1, false), SNC_TOO_LARGE);
    ck_assert_int_eq(snc_register(w.c, w.now_ms, too_much), SNC_TOO_LARGE);
    const struct bytes fits = bytes_of(big, SN_PACKET_MAX - 9);
    ck_assert_int_eq(snc_publish(w.c, w.now_ms, &topic, fits, SN_QOS_1, false), 0);
    struct bytes packet;
    ck_assert(snc_peek_packet(w.c, &packet));
    ck_assert_uint_eq(packet.len, SN_PACKET_MAX);
    world_deinit(&w);
}

END_TEST

/* _i packets pass, then the gateway ends the connection. */
START_TEST(kept_session_resumes_an_open_publication)
{
    struct snc_options options = WORLD_OPTIONS;
    options.clean = false;
    struct world w;
    world_init_connected(&w, &options);
    w.lose_first = (unsigned)_i;
    w.lose_count = LOSSES;
    publish(&w, named("t/a1"), SN_QOS_2);
    world_settle(&w);
    w.lose_count = 0;
    world_send(&w, &(struct sn_packet){.type = SN_DISCONNECT});
    world_settle(&w);
    ck_assert_int_eq(snc_connect(w.c, w.now_ms), 0);
    world_settle(&w);
    ck_assert_int_eq(world_event(&w, SNC_PUBLISHED)->e.return_code, SN_ACCEPTED);
    ck_assert_uint_eq(w.gw.delivered, 1);
    ck_assert(!snc_publishing(w.c));
    world_deinit(&w);
}

END_TEST

START_TEST(clean_session_ends_an_open_publication)
{
    struct world w;
    world_init_connected(&w, &WORLD_OPTIONS);
    w.gw.silent = true;
    publish(&w, predefined(5), SN_QOS_1);
    world_send(&w, &(struct sn_packet){.type = SN_DISCONNECT});
    world_settle(&w);
    ck_assert(!snc_publishing(w.c));
    world_deinit(&w);
}

END_TEST

START_TEST(msg_ids_wrap_without_zero_or_one_in_use)
{
    struct world w;
    world_init_connected(&w, &WORLD_OPTIONS);
    w.gw.silent = true;
    ck_assert_int_eq(publish(&w, predefined(5), SN_QOS_1), 0);
    world_settle(&w);
    const uint16_t in_use = world_sent(&w, 0).msg_id;
    const struct snc_topic filter = named("t/#");
    for (unsigned i = 0; i < 70000; i++) {
        world_forget(&w);
        ck_assert_int_eq(snc_unsubscribe(w.c, w.now_ms, &filter), 0);
        world_settle(&w);
        const uint16_t id = world_sent(&w, 0).msg_id;
        ck_assert_uint_ne(id, 0);
        ck_assert_uint_ne(id, in_use);
        world_send(&w, &(struct sn_packet){.type = SN_UNSUBACK, .msg_id = id});
        world_settle(&w);
        world_event(&w, SNC_UNSUBSCRIBED);
    }
    world_deinit(&w);
}

END_TEST

int main(void)
{
    TCase *session = tcase_create("session");
    tcase_add_test(session, connects_and_reports_it);
    tcase_add_test(session, refusal_of_connect_is_reported);
    tcase_add_loop_test(session, will_dialogue_survives_the_loss_of_any_packet, 0, LOSSES);
    tcase_add_test(session, silence_ends_in_timeout_after_n_retry);
    tcase_add_test(session, pings_in_time_when_nothing_else_is_sent);
    tcase_add_test(session, unanswered_pings_end_the_connection);
    tcase_add_test(session, without_keep_alive_it_never_pings);
    tcase_add_test(session, answers_the_gateways_ping_only_when_connected);
    tcase_add_test(session, tells_who_ended_the_connection);
    tcase_add_test(session, sleeps_wakes_for_its_messages_and_sleeps_again);
    tcase_add_test(session, wake_up_without_answer_returns_to_sleep);

    TCase *up = tcase_create("publishing");
    tcase_add_test(up, repeats_publish_with_dup_and_the_same_msg_id);
    tcase_add_loop_test(up, qos_1_arrives_whichever_packet_is_lost, 0, LOSSES);
    tcase_add_loop_test(up, qos_2_arrives_once_whichever_packet_is_lost, 0, LOSSES);
    tcase_add_test(up, registers_a_name_once_and_then_uses_its_id);
    tcase_add_test(up, invalid_topic_id_forgets_the_registration);
    tcase_add_test(up, congestion_is_reported_at_every_step);
    tcase_add_test(up, qos_minus_one_needs_no_connection_and_no_name);
    tcase_add_test(up, what_does_not_fit_a_packet_is_refused);
    tcase_add_loop_test(up, kept_session_resumes_an_open_publication, 0, 6);
    tcase_add_test(up, clean_session_ends_an_open_publication);
    tcase_add_test(up, msg_ids_wrap_without_zero_or_one_in_use);

    Suite *suite = suite_create("client");
    suite_add_tcase(suite, session);
    suite_add_tcase(suite, up);
    return run_suite(suite);
}
