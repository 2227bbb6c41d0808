/* SPDX-License-Identifier: Apache-2.0 */
/* The client machine asleep and awake, and QoS 2 messages that the air has copied. */

#include <check.h>

#include "client_world.h"
#include "mqttsn/packet.h"
#include "tools/client.h"
#include "unit/suite.h"

enum { COPIES_MS = 2000, LONG_MS = 600000 };

/* QoS 2 on a predefined topic, which needs no registration. */
static struct sn_packet message(uint16_t msg_id, const char *data)
{
    return (struct sn_packet){.type = SN_PUBLISH,
                              .qos = SN_QOS_2,
                              .topic_kind = SN_TOPIC_PREDEFINED,
                              .topic_id = 5,
                              .msg_id = msg_id,
                              .data = bytes_str(data)};
}

static void receive(struct world *w, uint16_t msg_id, const char *data)
{
    const struct sn_packet p = message(msg_id, data);
    world_send_exchange(w, &p);
    world_settle(w);
    ck_assert(!w->gw.down_open);
}

static void send_copy(struct world *w, struct sn_packet p)
{
    world_send(w, &p);
    world_settle(w);
}

static unsigned messages(const struct world *w)
{
    return world_count_events(w, SNC_MESSAGE);
}

static void fall_asleep(struct world *w)
{
    ck_assert_int_eq(snc_disconnect(w->c, w->now_ms, 300), 0);
    ck_assert(!snc_is_asleep(w->c));
    world_settle(w);
    ck_assert(snc_is_asleep(w->c));
    world_forget(w);
}

/* ---- copies ---------------------------------------------------------------------------------- */

START_TEST(a_copy_behind_the_pubrel_is_not_delivered_again)
{
    struct world w;
    world_init_connected(&w, &WORLD_OPTIONS);
    receive(&w, 7, "on");
    w.now_ms += COPIES_MS;
    world_forget(&w);
    send_copy(&w, message(7, "on"));
    ck_assert_uint_eq(messages(&w), 0);
    ck_assert_uint_eq(snc_counters(w.c)->duplicates, 1);
    ck_assert_int_eq(world_sent(&w, 0).type, SN_PUBREC); /* in case it is no copy after all */
    ck_assert(!snc_receiving(w.c));
    world_deinit(&w);
}

END_TEST

START_TEST(later_an_unmarked_message_of_that_id_is_a_new_one)
{
    struct world w;
    world_init_connected(&w, &WORLD_OPTIONS);
    receive(&w, 7, "on");
    w.now_ms += COPIES_MS + 1;
    receive(&w, 7, "on");
    ck_assert_uint_eq(messages(&w), 2);
    ck_assert_uint_eq(snc_counters(w.c)->duplicates, 0);
    world_deinit(&w);
}

END_TEST

START_TEST(a_marked_repetition_is_recognised_for_as_long_as_a_gateway_repeats)
{
    struct world w;
    world_init_connected(&w, &WORLD_OPTIONS);
    struct sn_packet p = message(7, "on");
    p.dup = true;
    receive(&w, 7, "on");
    w.now_ms += WORLD_RETRY_MS * (WORLD_OPTIONS.retry_count + 2);
    send_copy(&w, p);
    ck_assert_uint_eq(messages(&w), 1);
    w.now_ms++;
    send_copy(&w, p);
    ck_assert_uint_eq(messages(&w), 2);
    world_deinit(&w);
}

END_TEST

START_TEST(another_message_under_the_same_id_is_delivered_at_once)
{
    struct world w;
    world_init_connected(&w, &WORLD_OPTIONS);
    receive(&w, 7, "on");
    receive(&w, 7, "off");
    ck_assert_uint_eq(messages(&w), 2);
    struct sn_packet p = message(7, "off");
    p.topic_id = 6;
    send_copy(&w, p);
    ck_assert_uint_eq(messages(&w), 3);
    ck_assert_uint_eq(snc_counters(w.c)->duplicates, 0);
    world_deinit(&w);
}

END_TEST

START_TEST(an_id_given_up_before_its_pubrel_may_carry_another_message)
{
    struct world w;
    world_init_connected(&w, &WORLD_OPTIONS);
    send_copy(&w, message(7, "on"));
    ck_assert(snc_receiving(w.c));
    send_copy(&w, message(7, "off"));
    send_copy(&w, message(7, "off"));
    ck_assert_uint_eq(messages(&w), 2);
    ck_assert_uint_eq(snc_counters(w.c)->duplicates, 1);
    world_deinit(&w);
}

END_TEST

START_TEST(finished_exchanges_make_room_for_open_ones)
{
    struct world w;
    world_init_connected(&w, &WORLD_OPTIONS);
    send_copy(&w, message(1, "open"));
    for (uint16_t id = 2; id < 30; id++)
        receive(&w, id, "on");
    send_copy(&w, message(1, "open"));
    ck_assert_uint_eq(messages(&w), 29);
    ck_assert_uint_eq(snc_counters(w.c)->duplicates, 1);
    world_deinit(&w);
}

END_TEST

/* The gateway has taken back an alias meanwhile: the same message, under another topic id. */
START_TEST(a_marked_repetition_before_the_pubrel_may_have_another_topic_id)
{
    struct world w;
    world_init_connected(&w, &WORLD_OPTIONS);
    send_copy(&w, (struct sn_packet){
                      .type = SN_REGISTER, .topic_id = 42, .msg_id = 1, .topic = bytes_str("p/5")});
    send_copy(&w, message(7, "on"));
    struct sn_packet by_name = message(7, "on");
    by_name.topic_kind = SN_TOPIC_NORMAL;
    by_name.topic_id = 42;
    by_name.dup = true;
    send_copy(&w, by_name);
    ck_assert_uint_eq(messages(&w), 1);
    ck_assert_uint_eq(snc_counters(w.c)->duplicates, 1);
    /* Copies of the repetition may come behind the PUBREL. */
    send_copy(&w, (struct sn_packet){.type = SN_PUBREL, .msg_id = 7});
    send_copy(&w, by_name);
    ck_assert_uint_eq(messages(&w), 1);
    ck_assert_uint_eq(snc_counters(w.c)->duplicates, 2);
    world_deinit(&w);
}

END_TEST

START_TEST(a_new_clean_session_forgets_them)
{
    struct world w;
    world_init_connected(&w, &WORLD_OPTIONS);
    receive(&w, 7, "on");
    snc_disconnect(w.c, w.now_ms, 0);
    world_settle(&w);
    ck_assert_int_eq(snc_connect(w.c, w.now_ms), 0);
    world_settle(&w);
    send_copy(&w, message(7, "on"));
    ck_assert_uint_eq(messages(&w), 2);
    world_deinit(&w);
}

END_TEST

/* ---- asleep ---------------------------------------------------------------------------------- */

START_TEST(is_asleep_only_with_its_radio_off)
{
    struct world w;
    world_init_connected(&w, &WORLD_OPTIONS);
    ck_assert(!snc_is_asleep(w.c));
    fall_asleep(&w);
    w.gw.silent = true;
    ck_assert_int_eq(snc_ping(w.c, w.now_ms), 0);
    ck_assert(!snc_is_asleep(w.c));
    world_send(&w, &(struct sn_packet){.type = SN_PINGRESP});
    world_settle(&w);
    ck_assert(snc_is_asleep(w.c));
    ck_assert(!snc_is_connected(w.c));
    world_deinit(&w);
}

END_TEST

START_TEST(receives_qos_2_once_over_two_awake_periods)
{
    struct world w;
    world_init_connected(&w, &WORLD_OPTIONS);
    fall_asleep(&w);
    w.gw.silent = true;
    snc_ping(w.c, w.now_ms);
    world_settle(&w);
    send_copy(&w, message(7, "on"));
    world_run(&w, w.now_ms + LONG_MS); /* nothing more: the node gives up and sleeps */
    world_event(&w, SNC_TIMEOUT);
    ck_assert(snc_is_asleep(w.c));
    snc_ping(w.c, w.now_ms);
    world_settle(&w);
    struct sn_packet p = message(7, "on");
    p.dup = true;
    send_copy(&w, p);
    send_copy(&w, (struct sn_packet){.type = SN_PUBREL, .msg_id = 7});
    send_copy(&w, (struct sn_packet){.type = SN_PINGRESP});
    ck_assert_uint_eq(messages(&w), 1);
    ck_assert_int_eq(world_sent(&w, w.sent_count - 1).type, SN_PUBCOMP);
    world_event(&w, SNC_PONG);
    world_deinit(&w);
}

END_TEST

START_TEST(a_publication_keeps_the_node_from_sleeping)
{
    struct world w;
    world_init_connected(&w, &WORLD_OPTIONS);
    const struct snc_topic topic = {.kind = SN_TOPIC_PREDEFINED, .id = 5};
    ck_assert_int_eq(snc_publish(w.c, w.now_ms, &topic, bytes_str("42"), SN_QOS_1, false), 0);
    ck_assert_int_eq(snc_disconnect(w.c, w.now_ms, 300), SNC_BUSY);
    world_settle(&w);
    fall_asleep(&w);
    /* Asleep nothing can be published; a connection lets it, and sleep is asked for again. */
    ck_assert_int_eq(snc_publish(w.c, w.now_ms, &topic, bytes_str("43"), SN_QOS_1, false),
                     SNC_NOT_CONNECTED);
    ck_assert_int_eq(snc_connect(w.c, w.now_ms), 0);
    world_settle(&w);
    ck_assert_int_eq(snc_publish(w.c, w.now_ms, &topic, bytes_str("43"), SN_QOS_1, false), 0);
    world_settle(&w);
    ck_assert_str_eq(w.gw.last_data, "43");
    fall_asleep(&w);
    world_deinit(&w);
}

END_TEST

START_TEST(another_duration_can_be_asked_for_while_asleep)
{
    struct world w;
    world_init_connected(&w, &WORLD_OPTIONS);
    fall_asleep(&w);
    ck_assert_int_eq(snc_disconnect(w.c, w.now_ms, 600), 0);
    world_settle(&w);
    ck_assert_uint_eq(world_sent(&w, 0).duration_s, 600);
    ck_assert(snc_is_asleep(w.c));
    world_deinit(&w);
}

END_TEST

/* The gateway answers and delivers until it hears DISCONNECT. */
START_TEST(what_crosses_the_disconnect_is_nothing_out_of_place)
{
    struct world w;
    world_init_connected(&w, &WORLD_OPTIONS);
    fall_asleep(&w);
    w.gw.silent = true;
    ck_assert_int_eq(snc_ping(w.c, w.now_ms), 0);
    ck_assert_int_eq(snc_disconnect(w.c, w.now_ms, 0), 0);
    send_copy(&w, message(7, "on"));
    send_copy(&w, (struct sn_packet){.type = SN_PINGRESP});
    ck_assert_uint_eq(w.event_count, 0);
    ck_assert_uint_eq(snc_counters(w.c)->unexpected, 0);
    send_copy(&w, (struct sn_packet){.type = SN_DISCONNECT});
    ck_assert(!world_event(&w, SNC_DISCONNECTED)->e.by_gateway);
    send_copy(&w, (struct sn_packet){.type = SN_PINGRESP});
    ck_assert_uint_eq(snc_counters(w.c)->unexpected, 1);
    world_deinit(&w);
}

END_TEST

int main(void)
{
    TCase *copies = tcase_create("copies");
    tcase_add_test(copies, a_copy_behind_the_pubrel_is_not_delivered_again);
    tcase_add_test(copies, later_an_unmarked_message_of_that_id_is_a_new_one);
    tcase_add_test(copies, a_marked_repetition_is_recognised_for_as_long_as_a_gateway_repeats);
    tcase_add_test(copies, another_message_under_the_same_id_is_delivered_at_once);
    tcase_add_test(copies, an_id_given_up_before_its_pubrel_may_carry_another_message);
    tcase_add_test(copies, finished_exchanges_make_room_for_open_ones);
    tcase_add_test(copies, a_marked_repetition_before_the_pubrel_may_have_another_topic_id);
    tcase_add_test(copies, a_new_clean_session_forgets_them);

    TCase *asleep = tcase_create("asleep");
    tcase_add_test(asleep, is_asleep_only_with_its_radio_off);
    tcase_add_test(asleep, receives_qos_2_once_over_two_awake_periods);
    tcase_add_test(asleep, a_publication_keeps_the_node_from_sleeping);
    tcase_add_test(asleep, another_duration_can_be_asked_for_while_asleep);
    tcase_add_test(asleep, what_crosses_the_disconnect_is_nothing_out_of_place);

    Suite *suite = suite_create("client_sleep");
    suite_add_tcase(suite, copies);
    suite_add_tcase(suite, asleep);
    return run_suite(suite);
}
