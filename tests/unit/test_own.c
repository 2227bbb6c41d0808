/* SPDX-License-Identifier: Apache-2.0 */
/* A client's own session: opening and closing, its connection, and who else speaks for it. */
#include <string.h>

#include <check.h>

#include "unit/own_life.h"
#include "unit/suite.h"

/* ---- OPEN ------------------------------------------------------------------------------------ */

START_TEST(it_is_opened_when_the_connack_has_come)
{
    struct own_life l = own_begin();
    own_opens(&l, OWN_KEY, true, "w");
    ck_assert_str_eq(own_said(&l), "connect clean will=w q1");
    own_connects(&l, false);
    ck_assert_str_eq(own_said(&l), "opened ok");
    own_end(&l);
}

END_TEST

START_TEST(a_session_that_is_not_clean_tells_whether_the_broker_has_kept_it)
{
    struct own_life l = own_begin();
    own_opens(&l, OWN_KEY, false, NULL);
    ck_assert_str_eq(own_said(&l), "connect");
    own_connects(&l, true);
    ck_assert_str_eq(own_said(&l), "opened ok present");
    own_end(&l);
}

END_TEST

START_TEST(a_refusal_of_the_broker_is_the_clients)
{
    static const struct {
        uint8_t code;
        bool busy;
    } rows[] = {
        {1,    false}, /* 3.1.1: unacceptable protocol version */
        {2,    false}, /* identifier rejected */
        {3,    true }, /* server unavailable */
        {4,    false}, /* bad user name or password */
        {5,    false}, /* not authorised */
        {0x80, true }, /* MQTT 5: unspecified */
        {0x82, false}, /* protocol error */
        {0x84, false}, /* unsupported version */
        {0x85, false}, /* client id not valid */
        {0x86, false}, /* bad user name or password */
        {0x87, false}, /* not authorised */
        {0x88, true }, /* server unavailable */
        {0x89, true }, /* server busy */
        {0x8A, false}, /* banned */
        {0x8C, false}, /* bad authentication method */
        {0x90, false}, /* topic name invalid: the will's */
        {0x95, false}, /* packet too large */
        {0x97, true }, /* quota exceeded */
        {0x99, false}, /* payload format invalid: the will's */
        {0x9A, false}, /* retain not supported: the will's */
        {0x9B, false}, /* QoS not supported: the will's */
        {0x9C, true }, /* use another server */
        {0x9D, true }, /* server moved */
        {0x9F, true }, /* connection rate exceeded */
    };

    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct own_life l = own_begin();
        own_opens(&l, OWN_KEY, true, NULL);
        own_said(&l);
        own_is_refused(&l, rows[i].code);
        ck_assert_str_eq(own_said(&l),
                         rows[i].busy ? "disconnect; opened busy" : "disconnect; opened never");
        own_closes(&l, SN_CLOSE_NORMAL, true);
        ck_assert(own_is_over(l.o));
        own_end(&l);
    }
}

END_TEST

static void expect_log(struct own_life *l, const char *text)
{
    const struct log_record *r = log_peek(own_log(l->o));
    ck_assert_ptr_nonnull(r);
    ck_assert_str_eq(r->event, "session.attempt_failed");
    ck_assert_str_eq(r->text, text);
    log_done(own_log(l->o));
    ck_assert_ptr_null(log_peek(own_log(l->o)));
}

START_TEST(what_keeps_a_client_out_is_said_but_not_an_outage)
{
    struct own_life l = own_begin();
    own_opens(&l, OWN_KEY, true, NULL);
    own_hears(&l, &(struct up_event){.type = UP_DISCONNECTED, .why = "connection refused"});
    ck_assert_ptr_null(log_peek(own_log(l.o)));
    own_broker_up(l.o, l.now_ms, true);
    own_hears(&l, &(struct up_event){.type = UP_DISCONNECTED, .why = "it has no certificate"});
    expect_log(&l, "client=n why=\"it has no certificate\"");
    own_broker_up(l.o, l.now_ms, false);
    own_hears(&l, &(struct up_event){.type = UP_DISCONNECTED,
                                     .refused = true,
                                     .code = 0x86,
                                     .why = "bad user name or password"});
    expect_log(&l, "client=n why=\"bad user name or password\"");
    own_end(&l);
}

END_TEST

/* The connection tries its next address, perhaps. */
START_TEST(while_the_broker_does_not_answer_the_client_waits_but_not_for_ever)
{
    struct own_life l = own_begin();
    own_opens(&l, OWN_KEY, true, NULL);
    own_loses(&l);
    own_pass_time(&l, 10000);
    own_loses(&l);
    ck_assert_str_eq(own_said(&l), "connect clean");
    own_pass_time(&l, 11000);
    ck_assert_str_eq(own_said(&l), "disconnect; opened busy");
    own_connects(&l, false); /* too late */
    ck_assert_str_eq(own_said(&l), "");
    own_end(&l);
}

END_TEST

START_TEST(while_publishes_are_taken_it_is_opened_at_once_though_the_broker_is_away)
{
    struct own_life l = own_begin();
    own_is_accepting(&l, true);
    own_opens(&l, OWN_KEY, true, NULL);
    ck_assert_str_eq(own_said(&l), "connect clean; opened ok");
    own_publishes(&l, "t", 1);
    ck_assert_str_eq(own_said(&l), "pub t q1");
    own_answers(&l, UP_OK, 0);
    ck_assert_str_eq(own_said(&l), "published 5 ok");

    /* The broker refuses it, for ever: that is the client's, and it is not believed again. */
    own_is_refused(&l, 5);
    ck_assert_str_eq(own_said(&l), "disconnect; closed");
    own_opens(&l, OWN_KEY, true, NULL);
    ck_assert_str_eq(own_said(&l), "connect clean");
    own_is_refused(&l, 5);
    ck_assert_str_eq(own_said(&l), "disconnect; opened never");
    own_opens(&l, OWN_KEY, true, NULL);
    own_connects(&l, false);
    own_closes(&l, SN_CLOSE_NORMAL, true);
    own_said(&l);
    own_opens(&l, OWN_KEY, false, NULL);
    ck_assert_str_eq(own_said(&l), "connect; opened ok");
    own_end(&l);
}

END_TEST

START_TEST(that_publishes_are_taken_is_also_good_news_for_one_that_waits)
{
    struct own_life l = own_begin();
    own_opens(&l, OWN_KEY, false, NULL);
    own_said(&l);
    own_is_accepting(&l, true);
    ck_assert_str_eq(own_said(&l), "opened ok");
    own_connects(&l, true);
    ck_assert_str_eq(own_said(&l), "");
    own_end(&l);
}

END_TEST

START_TEST(opened_again_while_it_is_connected_it_is_opened_at_once)
{
    struct own_life l = own_opened(false, "w");
    own_opens(&l, OWN_KEY, false, "w");
    ck_assert_str_eq(own_said(&l), "opened ok present");
    own_opens(&l, OWN_KEY, true, "w"); /* the broker is to forget */
    ck_assert_str_eq(own_said(&l), "disconnect; connect clean will=w q1");
    own_connects(&l, false);
    ck_assert_str_eq(own_said(&l), "opened ok");
    own_end(&l);
}

END_TEST

START_TEST(under_another_key_it_is_another_session_of_the_same_client)
{
    const uint64_t key = 2 << 24;
    struct own_life l = own_opened(true, NULL);
    own_subscribes(&l, "a", 1);
    own_answers(&l, UP_OK, 1);
    own_publishes(&l, "t", 1);
    own_said(&l);
    own_closes(&l, SN_CLOSE_NORMAL, true);
    ck_assert_str_eq(own_said(&l), ""); /* something is open */
    own_opens(&l, key, true, NULL);
    ck_assert_str_eq(own_said(&l), "disconnect; connect clean");
    own_connects(&l, false);
    ck_assert_str_eq(own_said(&l), "opened ok"); /* and no filters */
    own_publishes(&l, "old key", 1);
    ck_assert_str_eq(own_said(&l), "");
    struct sn_event event;
    own_upstream(l.o, l.now_ms, &(struct up_event){.type = UP_MESSAGE, .topic = bytes_str("t")});
    ck_assert(own_peek_event(l.o, &event));
    ck_assert_uint_eq(event.message.recipients[0].client, key);
    own_done_event(l.o);
    own_end(&l);
}

END_TEST

/* ---- CLOSE ----------------------------------------------------------------------------------- */

START_TEST(it_disconnects_when_everything_has_gone)
{
    struct own_life l = own_opened(true, "w");
    own_publishes(&l, "t", 1);
    own_has_backlog(&l, 2);
    own_said(&l);
    own_closes(&l, SN_CLOSE_NORMAL, true);
    own_answers(&l, UP_OK, 0);
    ck_assert_str_eq(own_said(&l), "published 5 ok");
    own_has_backlog(&l, 1);
    ck_assert(!own_is_over(l.o));
    own_has_backlog(&l, 0);
    ck_assert_str_eq(own_said(&l), "disconnect");
    ck_assert(own_is_over(l.o));
    own_end(&l);
}

END_TEST

START_TEST(a_stored_session_is_not_over_and_its_broker_keeps_it)
{
    struct own_life l = own_opened(false, NULL);
    own_closes(&l, SN_CLOSE_NORMAL, false);
    ck_assert_str_eq(own_said(&l), "disconnect");
    ck_assert(!own_is_over(l.o));
    own_opens(&l, OWN_KEY, false, NULL);
    own_connects(&l, true);
    ck_assert_str_eq(own_said(&l), "connect; opened ok present");
    own_end(&l);
}

END_TEST

START_TEST(what_waits_in_the_spool_is_sent_though_the_client_has_gone)
{
    struct own_life l = own_begin();
    own_is_accepting(&l, true);
    own_opens(&l, OWN_KEY, true, "w");
    own_has_backlog(&l, 1);
    own_said(&l);
    own_closes(&l, SN_CLOSE_NORMAL, true);
    /* A node that has said good-bye has no will. */
    ck_assert_str_eq(own_said(&l), "disconnect; connect clean");
    own_connects(&l, false);
    ck_assert_str_eq(own_said(&l), "");
    own_has_backlog(&l, 0);
    ck_assert_str_eq(own_said(&l), "disconnect");
    ck_assert(own_is_over(l.o));
    own_end(&l);
}

END_TEST

START_TEST(a_stored_session_that_is_discarded_is_wiped_at_the_broker)
{
    struct own_life l = own_opened(false, NULL);
    own_closes(&l, SN_CLOSE_NORMAL, false);
    own_said(&l);
    own_closes(&l, SN_CLOSE_NORMAL, true);
    ck_assert_str_eq(own_said(&l), "connect clean");
    ck_assert(!own_is_over(l.o));
    own_connects(&l, false);
    ck_assert_str_eq(own_said(&l), "disconnect");
    ck_assert(own_is_over(l.o));
    own_end(&l);

    /* Also from within it, and when another session begins before that is done. */
    l = own_opened(false, NULL);
    own_closes(&l, SN_CLOSE_NORMAL, true);
    ck_assert_str_eq(own_said(&l), "disconnect; connect clean");
    own_opens(&l, 2 << 24, false, NULL);
    own_connects(&l, false);
    ck_assert_str_eq(own_said(&l), "disconnect; connect");
    own_connects(&l, false);
    ck_assert_str_eq(own_said(&l), "opened ok");
    own_end(&l);
}

END_TEST

/* ---- connections that are lost --------------------------------------------------------------- */

START_TEST(a_lost_connection_is_none_of_the_clients_business)
{
    struct own_life l = own_opened(false, NULL);
    own_loses(&l);
    own_pass_time(&l, 600000);
    own_loses(&l); /* an attempt */
    own_publishes(&l, "t", 1);
    own_connects(&l, true);
    ck_assert_str_eq(own_said(&l), "published 5 busy");
    own_tells(&l, "m", 1, false, 7);
    ck_assert_str_eq(own_said(&l), "message m q1 j7");
    own_end(&l);
}

END_TEST

START_TEST(qos_2_in_doubt_is_answered_later)
{
    struct own_life l = own_opened(false, NULL);
    own_publishes(&l, "t", 2);
    const struct up_request r = l.asked[0];
    l.n_asked = 0;
    own_loses(&l);
    own_hears(&l, &(struct up_event){
                      .type = UP_PUBLISHED, .token = r.token, .qos = 2, .result = UP_IN_DOUBT});
    ck_assert_str_eq(own_said(&l), "pub t q2; published 5 doubt");
    own_closes(&l, SN_CLOSE_NORMAL, false); /* it is still open */
    ck_assert_str_eq(own_said(&l), "");
    own_connects(&l, true);
    own_hears(
        &l, &(struct up_event){.type = UP_PUBLISHED, .token = r.token, .qos = 2, .result = UP_OK});
    ck_assert_str_eq(own_said(&l), "disconnect; published 5 ok");
    own_hears(/* once is enough */
              &l, &(struct up_event){
                      .type = UP_PUBLISHED, .token = r.token, .qos = 2, .result = UP_OK});
    ck_assert_str_eq(own_said(&l), "");
    own_end(&l);
}

END_TEST

START_TEST(refusals_of_publishes_are_told)
{
    struct own_life l = own_opened(true, NULL);
    own_publishes(&l, "t", 1);
    own_answers(&l, UP_REFUSED, 0);
    own_publishes(&l, "t", 0);
    own_answers(&l, UP_BUSY, 0);
    ck_assert_str_eq(own_said(&l), "pub t q1; published 5 never; pub t q0; published 5 busy");
    own_end(&l);
}

END_TEST

/* ---- who else speaks for it ------------------------------------------------------------------ */

START_TEST(taken_over_says_the_broker_and_it_is_not_taken_back)
{
    struct own_life l = own_opened(false, "w");
    own_hears(&l, &(struct up_event){.type = UP_DISCONNECTED, .taken_over = true});
    ck_assert_str_eq(own_said(&l), "disconnect; closed");
    own_pass_time(&l, 600000);
    ck_assert_str_eq(own_said(&l), "");
    own_closes(&l, SN_CLOSE_NORMAL, true); /* what is at the broker is the other's */
    ck_assert_str_eq(own_said(&l), "");
    ck_assert(own_is_over(l.o));
    own_opens(&l, OWN_KEY, false, NULL); /* until the node is here again */
    ck_assert_str_eq(own_said(&l), "connect clean");
    own_end(&l);
}

END_TEST

/* Lost, connected, lost again ... `pause_ms` after each CONNACK. */
static void flap(struct own_life *l, unsigned times, int64_t pause_ms)
{
    for (unsigned i = 0; i < times; i++) {
        own_connects(l, true);
        own_pass_time(l, pause_ms);
        own_loses(l);
    }
}

START_TEST(two_connections_in_a_row_that_did_not_last_were_ended_by_somebody_else)
{
    struct own_life l = own_opened(true, NULL);
    own_loses(&l); /* it had lasted */
    flap(&l, 1, 1000);
    ck_assert_str_eq(own_said(&l), "");
    flap(&l, 1, 1000);
    ck_assert_str_eq(own_said(&l), "disconnect");
    own_pass_time(&l, 1000);
    ck_assert_str_eq(own_said(&l), "closed");
    own_pass_time(&l, 600000);
    ck_assert_str_eq(own_said(&l), "");
    ck_assert(own_is_over(l.o)); /* a clean session */
    own_end(&l);
}

END_TEST

/* Each ends the other's connection. The node is with the one that it came to last. */
START_TEST(of_two_that_speak_for_a_client_the_elder_gives_way)
{
    struct own_life elder = own_opened(false, NULL);
    struct own_life newcomer = own_begin();
    own_opens(&newcomer, OWN_KEY, false, NULL);
    own_connects(&newcomer, false);
    own_said(&newcomer);
    own_loses(&elder);
    for (int i = 0; i < 2; i++) {
        own_connects(&elder, true);
        own_loses(&newcomer);
        own_connects(&newcomer, true);
        own_loses(&elder);
    }
    ck_assert_str_eq(own_said(&elder), "disconnect");
    own_pass_time(&elder, 1000);
    ck_assert_str_eq(own_said(&elder), "closed");
    own_pass_time(&newcomer, 600000);
    ck_assert_str_eq(own_said(&newcomer), "");
    own_end(&elder);
    own_end(&newcomer);
}

END_TEST

START_TEST(connections_that_lasted_in_between_are_no_sign)
{
    struct own_life l = own_opened(false, NULL);
    own_loses(&l);
    flap(&l, 1, 1000);
    flap(&l, 1, 6000);
    flap(&l, 1, 1000);
    flap(&l, 1, 6000);
    ck_assert_str_eq(own_said(&l), "");
    own_end(&l);
}

END_TEST

START_TEST(a_broker_in_trouble_is_no_sign)
{
    struct own_life l = own_opened(false, NULL);
    own_loses(&l);
    flap(&l, 1, 1000);
    own_broker_trouble(l.o, l.now_ms);
    flap(&l, 3, 1000);
    ck_assert_str_eq(own_said(&l), "");

    /* Also when it is heard of a little later. */
    own_pass_time(&l, 10000);
    flap(&l, 2, 1000);
    ck_assert_str_eq(own_said(&l), "disconnect");
    own_pass_time(&l, 500);
    own_broker_trouble(l.o, l.now_ms);
    own_pass_time(&l, 5000);
    ck_assert_str_eq(own_said(&l), "connect");
    own_end(&l);
}

END_TEST

/* A node that heard "congestion" would send again what is on its way to the broker. */
START_TEST(what_a_spool_has_of_an_ended_connection_is_its_to_answer)
{
    struct own_life l = own_begin_with((struct own_config){.spooled = true});
    own_opens(&l, OWN_KEY, false, NULL);
    own_connects(&l, false);
    own_publishes(&l, "t", 2);
    own_said(&l);
    const uint64_t token = l.asked[0].token;
    own_hears(&l, &(struct up_event){.type = UP_DISCONNECTED, .taken_over = true});
    ck_assert_str_eq(own_said(&l), "disconnect; closed");
    own_hears(&l, &(struct up_event){.type = UP_PUBLISHED, .token = token, .qos = 2});
    ck_assert_str_eq(own_said(&l), "published 5 ok");
    own_end(&l);
}

END_TEST

START_TEST(a_connection_that_the_broker_ends_with_a_reason_was_not_taken_over)
{
    struct own_life l = own_opened(false, NULL);
    for (unsigned i = 0; i < 20; i++) {
        own_pass_time(&l, 1000);
        own_hears(&l,
                  &(struct up_event){.type = UP_DISCONNECTED, .why = "busy", .explained = true});
        ck_assert_str_eq(own_said(&l), "");
        ck_assert_str_eq(log_peek(own_log(l.o))->event, "session.lost");
        log_done(own_log(l.o));
        own_connects(&l, true);
    }
    own_loses(&l); /* but now */
    flap(&l, 2, 1000);
    ck_assert_str_eq(own_said(&l), "disconnect");
    own_end(&l);
}

END_TEST

/* With MQTT 3.1.1 nobody is told who has come. Two gateways for a node, whatever their pauses. */
START_TEST(two_gateways_for_one_client_do_not_fight_for_ever)
{
    static const int64_t pauses_ms[] = {10, 900, 4000, 6000, 30000, 60000};

    struct own_life a = own_opened(false, NULL);
    struct own_life b = own_begin();
    own_opens(&b, OWN_KEY, false, NULL);
    unsigned connects = 0;
    struct own_life *in = &a, *out = &b;
    for (bool tries = true; tries && connects < 100; connects++) {
        own_connects(out, true);
        own_loses(in);
        struct own_life *const was_in = in;
        in = out;
        out = was_in;
        own_pass_time(in, pauses_ms[_i]);
        own_pass_time(out, pauses_ms[_i]);
        tries = strstr(own_said(out), "disconnect") == NULL;
    }
    ck_assert_uint_le(connects, 30);
    own_pass_time(in, 600000);
    own_pass_time(out, 600000);
    ck_assert(own_gauges(in->o).connected);
    ck_assert(!own_gauges(out->o).connected);
    ck_assert_ptr_null(strstr(own_said(out), "connect")); /* and no attempt */
    own_end(&a);
    own_end(&b);
}

END_TEST

/* Once an hour is no sign, whatever it is. */
START_TEST(losses_now_and_then_are_no_sign)
{
    struct own_life l = own_opened(false, NULL);
    for (unsigned i = 0; i < 100; i++) {
        own_pass_time(&l, 3600000);
        own_loses(&l);
        own_connects(&l, true);
    }
    ck_assert_str_eq(own_said(&l), "");
    own_end(&l);
}

END_TEST

START_TEST(the_client_itself_may_come_back_at_any_time)
{
    struct own_life l = own_opened(false, NULL);
    own_loses(&l);
    flap(&l, 2, 1000);
    own_said(&l);
    own_opens(&l, OWN_KEY, false, NULL); /* before it was decided */
    own_pass_time(&l, 2000);
    ck_assert_str_eq(own_said(&l), "connect");
    own_connects(&l, true);
    ck_assert_str_eq(own_said(&l), "opened ok present");
    own_end(&l);
}

END_TEST

int main(void)
{
    Suite *suite = suite_create("own");
    TCase *opens = tcase_create("open");
    tcase_add_test(opens, it_is_opened_when_the_connack_has_come);
    tcase_add_test(opens, a_session_that_is_not_clean_tells_whether_the_broker_has_kept_it);
    tcase_add_test(opens, a_refusal_of_the_broker_is_the_clients);
    tcase_add_test(opens, what_keeps_a_client_out_is_said_but_not_an_outage);
    tcase_add_test(opens, while_the_broker_does_not_answer_the_client_waits_but_not_for_ever);
    tcase_add_test(opens, while_publishes_are_taken_it_is_opened_at_once_though_the_broker_is_away);
    tcase_add_test(opens, that_publishes_are_taken_is_also_good_news_for_one_that_waits);
    tcase_add_test(opens, opened_again_while_it_is_connected_it_is_opened_at_once);
    tcase_add_test(opens, under_another_key_it_is_another_session_of_the_same_client);
    suite_add_tcase(suite, opens);
    TCase *closes = tcase_create("close");
    tcase_add_test(closes, it_disconnects_when_everything_has_gone);
    tcase_add_test(closes, a_stored_session_is_not_over_and_its_broker_keeps_it);
    tcase_add_test(closes, what_waits_in_the_spool_is_sent_though_the_client_has_gone);
    tcase_add_test(closes, a_stored_session_that_is_discarded_is_wiped_at_the_broker);
    suite_add_tcase(suite, closes);
    TCase *lost = tcase_create("lost");
    tcase_add_test(lost, a_lost_connection_is_none_of_the_clients_business);
    tcase_add_test(lost, qos_2_in_doubt_is_answered_later);
    tcase_add_test(lost, refusals_of_publishes_are_told);
    suite_add_tcase(suite, lost);
    TCase *others = tcase_create("others");
    tcase_add_test(others, taken_over_says_the_broker_and_it_is_not_taken_back);
    tcase_add_test(others, two_connections_in_a_row_that_did_not_last_were_ended_by_somebody_else);
    tcase_add_test(others, of_two_that_speak_for_a_client_the_elder_gives_way);
    tcase_add_test(others, connections_that_lasted_in_between_are_no_sign);
    tcase_add_test(others, a_broker_in_trouble_is_no_sign);
    tcase_add_test(others, what_a_spool_has_of_an_ended_connection_is_its_to_answer);
    tcase_add_test(others, a_connection_that_the_broker_ends_with_a_reason_was_not_taken_over);
    tcase_add_loop_test(others, two_gateways_for_one_client_do_not_fight_for_ever, 0, 6);
    tcase_add_test(others, losses_now_and_then_are_no_sign);
    tcase_add_test(others, the_client_itself_may_come_back_at_any_time);
    suite_add_tcase(suite, others);
    return run_suite(suite);
}
