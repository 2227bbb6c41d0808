/* SPDX-License-Identifier: Apache-2.0 */
/*
 * sennet-sim as a program. Its verdict is only worth something if it can say no, so besides the
 * real daemon there is a gateway of the test's own that acknowledges everything and then hands each
 * message to the broker once, twice, changed, or not at all.
 */
#include <arpa/inet.h>
#include <netinet/in.h>
#include <poll.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <check.h>

#include "e2e/broker.h"
#include "e2e/daemon.h"
#include "e2e/simulator.h"
#include "mqtt.h"
#include "mqttsn/packet.h"
#include "unit/suite.h"

static struct broker broker;

/* ---- a gateway with a policy of its own ------------------------------------------------------ */

enum policy { FORWARD_ONCE, FORWARD_TWICE, FORWARD_CHANGED, FORWARD_NOTHING };

struct fake_gateway {
    int fd;
    uint16_t port;
    enum policy policy;
    struct mqtt *m;
};

static void no_wake(void *arg)
{
    (void)arg;
}

static void fake_start(struct fake_gateway *g, enum policy policy)
{
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t len = sizeof a;
    g->policy = policy;
    g->fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    ck_assert_int_eq(bind(g->fd, (struct sockaddr *)&a, sizeof a), 0);
    ck_assert_int_eq(getsockname(g->fd, (struct sockaddr *)&a, &len), 0);
    g->port = ntohs(a.sin_port);
    char address[64];
    snprintf(address, sizeof address, "mqtt://127.0.0.1:%u", broker.port);
    struct mqtt_options options = mqtt_defaults();
    options.address = address;
    options.client_id = "fake-gateway";
    options.keepalive_s = 30;
    g->m = mqtt_start(&options, NULL, no_wake, NULL);
    ck_assert_ptr_nonnull(g->m);
    const int64_t end_ms = test_now_ms() + SIMULATOR_LIMIT_MS;
    struct up_event event; /* it takes nothing before it was told that there is a connection */
    while (!mqtt_next_event(g->m, &event) || event.type != UP_CONNECTED) {
        ck_assert_int_lt(test_now_ms(), end_ms);
        poll(NULL, 0, 10);
    }
}

static void fake_forward(struct fake_gateway *g, const struct sn_packet *p)
{
    static uint8_t data[256];
    const uint8_t topic[2] = {(uint8_t)(p->topic_id >> 8), (uint8_t)p->topic_id};
    ck_assert_int_eq(p->topic_kind, SN_TOPIC_SHORT);
    ck_assert_uint_lt(p->data.len, sizeof data);
    memcpy(data, p->data.data, p->data.len);
    if (g->policy == FORWARD_CHANGED)
        data[p->data.len / 2] ^= 1;
    struct body *body = body_new(bytes_of(data, p->data.len));
    const int copies = g->policy == FORWARD_NOTHING ? 0 : g->policy == FORWARD_TWICE ? 2 : 1;
    for (int i = 0; i < copies; i++)
        mqtt_submit(g->m, &(struct up_request){
                              .type = UP_PUBLISH, .topic = bytes_of(topic, 2), .body = body});
    mqtt_flush(g->m);
    body_unref(body);
}

static bool fake_answer(struct fake_gateway *g, const struct sn_packet *p, struct sn_packet *out)
{
    *out = (struct sn_packet){.msg_id = p->msg_id, .topic_id = p->topic_id};
    switch ((int)p->type) {
    case SN_CONNECT:
        out->type = SN_CONNACK;
        return true;
    case SN_PUBLISH:
        fake_forward(g, p);
        out->type = p->qos == SN_QOS_2 ? SN_PUBREC : SN_PUBACK;
        return p->qos == SN_QOS_1 || p->qos == SN_QOS_2;
    case SN_PUBREL:
        out->type = SN_PUBCOMP;
        return true;
    case SN_DISCONNECT:
        out->type = SN_DISCONNECT;
        return true;
    default:
        return false;
    }
}

static void fake_serve(struct fake_gateway *g)
{
    uint8_t buf[512];
    struct sockaddr_in from;
    socklen_t from_len = sizeof from;
    const ssize_t n = recvfrom(g->fd, buf, sizeof buf, 0, (struct sockaddr *)&from, &from_len);
    struct sn_packet p;
    struct sn_packet answer;
    ck_assert_int_gt(n, 0);
    ck_assert_int_eq(sn_decode(bytes_of(buf, (size_t)n), &p), SN_DECODED);
    if (!fake_answer(g, &p, &answer))
        return;
    const size_t len = sn_encode(&answer, buf, sizeof buf);
    ck_assert_int_eq(sendto(g->fd, buf, len, 0, (struct sockaddr *)&from, from_len), (ssize_t)len);
}

/* Plays the gateway until the simulator ends; its exit status. */
static int fake_run(enum policy policy, int qos)
{
    struct fake_gateway g;
    char options[512];
    fake_start(&g, policy);
    snprintf(options, sizeof options,
             "--broker mqtt://127.0.0.1:%u --nodes 5 --rate 20 --seconds 1 --drain 1 "
             "--topics short --qos %d --json -",
             broker.port, qos);
    sim_start(g.port, options);
    struct pollfd p[] = {
        {.fd = g.fd,     .events = POLLIN},
        {.fd = sim_fd(), .events = POLLIN}
    };
    const int64_t end_ms = test_now_ms() + SIMULATOR_LIMIT_MS;
    for (;;) {
        ck_assert_msg(test_now_ms() < end_ms, "it did not end:\n%s", sim_output());
        poll(p, 2, 1000);
        if (p[0].revents != 0)
            fake_serve(&g);
        if (p[1].revents != 0 && !sim_read())
            break;
    }
    mqtt_stop(g.m, 100);
    close(g.fd);
    return sim_status();
}

/* ---- tests ----------------------------------------------------------------------------------- */

static void open_broker(void)
{
    broker_start(&broker, "max_queued_messages 0\n");
}

static void close_broker(void)
{
    broker_stop(&broker);
}

START_TEST(is_content_with_a_gateway_that_forwards_once)
{
    const int qos = _i;
    const int status = fake_run(FORWARD_ONCE, qos);
    assert_said("\"ok\": true");
    ck_assert_int_eq(status, 0);
}

END_TEST

START_TEST(fails_when_acknowledged_messages_do_not_arrive)
{
    ck_assert_int_eq(fake_run(FORWARD_NOTHING, _i), 1);
    assert_said("acknowledged to nodes and never arrived");
    assert_said("\"ok\": false");
}

END_TEST

START_TEST(qos_0_that_does_not_arrive_is_no_failure)
{
    ck_assert_int_eq(fake_run(FORWARD_NOTHING, 0), 0);
}

END_TEST

START_TEST(fails_when_qos_2_comes_twice)
{
    ck_assert_int_eq(fake_run(FORWARD_TWICE, 2), 1);
    assert_said("QoS 2 messages arrived at the broker more than once");
}

END_TEST

START_TEST(qos_1_may_come_twice)
{
    ck_assert_int_eq(fake_run(FORWARD_TWICE, 1), 0);
}

END_TEST

START_TEST(a_changed_message_has_not_arrived)
{
    ck_assert_int_eq(fake_run(FORWARD_CHANGED, 1), 1);
    assert_said("messages corrupted");
}

END_TEST

static const char GATEWAY_TOPICS[] = "[topics]\n1 = meters/reading\n";

START_TEST(everything_through_the_real_gateway)
{
    static struct daemon d;
    char options[512];
    daemon_start(&d, broker.port, GATEWAY_TOPICS);
    daemon_wait_log(&d, "broker.connected", 15000);
    char scenario[] = "/tmp/sennet-sim-XXXXXX";
    const int fd = mkstemp(scenario);
    static const char text[] = "[group a]\nnodes = 8\nrate = 10\nqos = mix\ntopics = mix\n"
                               "wills = yes\nkeep-alive = 2\ndownlink = 3\n"
                               "[group b]\nnodes = 2\nrate = 5\nqos = -1\n"
                               "[events]\nat 500ms group a vanish 2\n"
                               "at 1s group a disconnect 1\nat 1500ms group b rate 20\n";
    ck_assert_int_eq(write(fd, text, sizeof text - 1), (ssize_t)sizeof text - 1);
    close(fd);
    snprintf(options, sizeof options,
             "--broker mqtt://127.0.0.1:%u --seconds 3 --drain 20 --seed 1 --scenario %s",
             broker.port, scenario);
    sim_start(d.port, options);
    const int status = sim_wait();
    unlink(scenario);
    assert_said("OK: nothing acknowledged was lost");
    assert_said("wills: 2 expected, 2 seen");
    ck_assert_int_eq(status, 0);
    ck_assert_int_eq(daemon_end(&d, SIGTERM), 0);
}

END_TEST

START_TEST(an_interrupt_ends_the_run_in_order)
{
    static struct daemon d;
    char options[256];
    daemon_start(&d, broker.port, GATEWAY_TOPICS);
    daemon_wait_log(&d, "broker.connected", 15000);
    snprintf(options, sizeof options, "--broker mqtt://127.0.0.1:%u --nodes 5 --rate 50",
             broker.port);
    sim_start(d.port, options);
    while (strstr(sim_output(), "nodes 5/5") == NULL)
        ck_assert_msg(sim_read(), "it ended:\n%s", sim_output());
    sim_signal(SIGINT);
    ck_assert_int_eq(sim_wait(), 0);
    assert_said("ledger after");
    ck_assert_int_eq(daemon_end(&d, SIGTERM), 0);
}

END_TEST

START_TEST(a_gateway_that_is_not_there_is_a_failure)
{
    sim_start(free_udp_port(), "--nodes 2 --seconds 1");
    ck_assert_int_eq(sim_wait(), 1);
    assert_said("no node could reach the gateway");
}

END_TEST

/* What takes too long then is not the gateway's fault. */
START_TEST(a_machine_that_stands_still_is_told)
{
    sim_start(free_udp_port(), "--nodes 1 --seconds 2");
    poll(NULL, 0, 1000);
    sim_signal(SIGSTOP);
    poll(NULL, 0, 500);
    sim_signal(SIGCONT);
    ck_assert_int_eq(sim_wait(), 1);
    assert_said("milliseconds in which the machine stood still");
}

END_TEST

START_TEST(usage_errors_exit_64)
{
    static const char *const bad[] = {
        "--nonsense",          "--nodes 0",   "--qos 3",     "--downlink 1",
        "--gateway localhost", "--rate fast", "--replugs 5", "--line-faults 51",
        "--reset 1ms",         "extra",       "--sleep 5"};
    sim_start(1, bad[_i]);
    ck_assert_int_eq(sim_wait(), 64);
    assert_said("sennet-sim --help");
}

END_TEST

int main(void)
{
    TCase *judge = tcase_create("verdict");
    tcase_set_timeout(judge, 90);
    tcase_add_checked_fixture(judge, open_broker, close_broker);
    tcase_add_loop_test(judge, is_content_with_a_gateway_that_forwards_once, -1, 3);
    tcase_add_loop_test(judge, fails_when_acknowledged_messages_do_not_arrive, 1, 3);
    tcase_add_test(judge, qos_0_that_does_not_arrive_is_no_failure);
    tcase_add_test(judge, fails_when_qos_2_comes_twice);
    tcase_add_test(judge, qos_1_may_come_twice);
    tcase_add_test(judge, a_changed_message_has_not_arrived);
    tcase_add_test(judge, everything_through_the_real_gateway);
    tcase_add_test(judge, an_interrupt_ends_the_run_in_order);

    TCase *alone = tcase_create("alone");
    tcase_set_timeout(alone, 90);
    tcase_add_test(alone, a_gateway_that_is_not_there_is_a_failure);
    tcase_add_test(alone, a_machine_that_stands_still_is_told);
    tcase_add_loop_test(alone, usage_errors_exit_64, 0, 11);

    Suite *suite = suite_create("sim");
    suite_add_tcase(suite, judge);
    suite_add_tcase(suite, alone);
    return run_suite(suite);
}
