/* SPDX-License-Identifier: Apache-2.0 */
/*
 * sennet-sim --sleepy: with the real daemon, and with a gateway of the test's own that makes each of
 * the mistakes that the simulator claims to find.
 */
#include <arpa/inet.h>
#include <netinet/in.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
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

enum { COMMANDS_MAX = 64, COMMAND_OCTETS = 96, TURN_MS = 10 };

static struct broker broker;

/* ---- a gateway for one sleeper, with a policy of its own ------------------------------------- */

enum policy {
    HONEST,
    TWICE_WITH_DUP,
    FORGETS_ONE,
    LAST_FIRST,
    TWICE,
    BEHIND_PINGRESP,
    NO_PINGRESP,
    TURNS_AWAY,
};

struct command {
    size_t len;
    uint8_t data[COMMAND_OCTETS];
};

struct fake_gateway {
    int fd;
    uint16_t port;
    enum policy policy;
    struct mqtt *m;
    struct sockaddr_in node;
    bool asleep;
    uint16_t msg_id;
    unsigned n_commands;
    struct command commands[COMMANDS_MAX];
};

static void no_wake(void *arg)
{
    (void)arg;
}

static void take_commands(struct fake_gateway *g)
{
    struct up_event event;
    while (mqtt_next_event(g->m, &event)) {
        if (event.type != UP_MESSAGE)
            continue;
        const struct bytes data = body_bytes(event.body);
        ck_assert_uint_lt(g->n_commands, COMMANDS_MAX);
        ck_assert_uint_le(data.len, COMMAND_OCTETS);
        struct command *c = &g->commands[g->n_commands++];
        memcpy(c->data, data.data, data.len);
        c->len = data.len;
    }
}

static void fake_start(struct fake_gateway *g, enum policy policy)
{
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t len = sizeof a;
    *g = (struct fake_gateway){.policy = policy};
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
    const struct up_request subscribe = {
        .type = UP_SUBSCRIBE, .topic = bytes_str("sim/+/command"), .qos = 1};
    struct up_event event = {.type = UP_DISCONNECTED};
    const int64_t end_ms = test_now_ms() + SIMULATOR_LIMIT_MS;
    while (event.type != UP_SUBSCRIBED) {
        ck_assert_int_lt(test_now_ms(), end_ms);
        if (!mqtt_next_event(g->m, &event)) {
            poll(NULL, 0, TURN_MS);
            continue;
        }
        if (event.type == UP_CONNECTED)
            mqtt_submit(g->m, &subscribe);
        mqtt_flush(g->m);
    }
}

static void send_packet(const struct fake_gateway *g, const struct sn_packet *p)
{
    uint8_t buf[256];
    const size_t len = sn_encode(p, buf, sizeof buf);
    ck_assert_uint_gt(len, 0);
    ck_assert_int_eq(sendto(g->fd, buf, len, 0, (const struct sockaddr *)&g->node, sizeof g->node),
                     (ssize_t)len);
}

static void send_command(struct fake_gateway *g, const struct command *c, uint16_t msg_id, bool dup)
{
    send_packet(g, &(struct sn_packet){.type = SN_PUBLISH,
                                       .qos = SN_QOS_1,
                                       .dup = dup,
                                       .topic_id = 1,
                                       .msg_id = msg_id,
                                       .data = bytes_of(c->data, c->len)});
}

/* What has been kept, in the order and number of the policy. */
static void deliver(struct fake_gateway *g)
{
    const unsigned n = g->n_commands;
    for (unsigned i = 0; i < n; i++) {
        const unsigned at = g->policy == LAST_FIRST ? n - 1 - i : i;
        if (g->policy == FORGETS_ONE && i == 0)
            continue;
        g->msg_id++;
        send_command(g, &g->commands[at], g->msg_id, false);
        if (g->policy == TWICE || g->policy == TWICE_WITH_DUP)
            send_command(g, &g->commands[at], g->msg_id, g->policy == TWICE_WITH_DUP);
    }
    g->n_commands = 0;
}

static void on_wake_up(struct fake_gateway *g)
{
    const struct sn_packet pingresp = {.type = SN_PINGRESP};
    if (g->policy == TURNS_AWAY) {
        send_packet(g, &(struct sn_packet){.type = SN_DISCONNECT});
        return;
    }
    take_commands(g);
    if (g->policy == BEHIND_PINGRESP)
        send_packet(g, &pingresp);
    deliver(g);
    if (g->policy != BEHIND_PINGRESP && g->policy != NO_PINGRESP)
        send_packet(g, &pingresp);
}

static void fake_serve(struct fake_gateway *g)
{
    uint8_t buf[512];
    socklen_t from_len = sizeof g->node;
    const ssize_t n = recvfrom(g->fd, buf, sizeof buf, 0, (struct sockaddr *)&g->node, &from_len);
    struct sn_packet p;
    ck_assert_int_gt(n, 0);
    ck_assert_int_eq(sn_decode(bytes_of(buf, (size_t)n), &p), SN_DECODED);
    switch ((int)p.type) {
    case SN_CONNECT:
        send_packet(g, &(struct sn_packet){.type = SN_CONNACK});
        break;
    case SN_SUBSCRIBE:
        send_packet(g, &(struct sn_packet){
                           .type = SN_SUBACK, .qos = p.qos, .topic_id = 1, .msg_id = p.msg_id});
        break;
    case SN_DISCONNECT:
        g->asleep = p.duration_s > 0;
        send_packet(g, &(struct sn_packet){.type = SN_DISCONNECT});
        break;
    case SN_PINGREQ:
        ck_assert(g->asleep && bytes_equal(p.client_id, bytes_str("sim-0")));
        on_wake_up(g);
        break;
    default:
        break;
    }
}

/* Plays the gateway until the simulator ends; its exit status. */
static int fake_run(enum policy policy, const char *more)
{
    static struct fake_gateway g;
    char options[512];
    fake_start(&g, policy);
    snprintf(options, sizeof options,
             "--broker mqtt://127.0.0.1:%u --sleepy --sleep 300ms --commands-per-sleep 3 "
             "--retry-interval 200ms --retry-count 1 --seconds 1 --drain 1%s",
             broker.port, more);
    sim_start(g.port, options);
    struct pollfd p[] = {
        {.fd = g.fd,     .events = POLLIN},
        {.fd = sim_fd(), .events = POLLIN}
    };
    const int64_t end_ms = test_now_ms() + SIMULATOR_LIMIT_MS;
    for (;;) {
        ck_assert_msg(test_now_ms() < end_ms, "it did not end:\n%s", sim_output());
        poll(p, 2, TURN_MS);
        take_commands(&g);
        if (p[0].revents != 0)
            fake_serve(&g);
        if (p[1].revents != 0 && !sim_read())
            break;
    }
    mqtt_stop(g.m, 100);
    close(g.fd);
    return sim_status();
}

/* ---- what it finds --------------------------------------------------------------------------- */

static void open_broker(void)
{
    broker_start(&broker, "max_queued_messages 0\nset_tcp_nodelay true\n");
}

static void close_broker(void)
{
    broker_stop(&broker);
}

START_TEST(is_content_with_a_gateway_that_keeps_the_rules)
{
    ck_assert_int_eq(fake_run(HONEST, ""), 0);
    assert_said("each message once, PINGRESP last");
}

END_TEST

START_TEST(a_repetition_that_says_so_is_no_failure)
{
    ck_assert_int_eq(fake_run(TWICE_WITH_DUP, ""), 0);
    assert_said("commands that came again, with DUP");
}

END_TEST

static const struct {
    enum policy policy;
    const char *said;
} MISTAKES[] = {
    {FORGETS_ONE,     "accepted by the broker and never arrived at their node"},
    {LAST_FIRST,      "behind later ones"                                     },
    {TWICE,           "again, without DUP"                                    },
    {BEHIND_PINGRESP, "behind its PINGRESP"                                   },
    {NO_PINGRESP,     "ended without PINGRESP"                                },
    {TURNS_AWAY,      "woke up in time and were told DISCONNECT"              },
};

START_TEST(what_the_broker_repeats_because_the_gateway_died_is_no_failure)
{
    ck_assert_int_eq(fake_run(TWICE, " --gateway-dies yes"), 0);
    assert_said("commands that came again, as new messages");
}

END_TEST

START_TEST(fails_for_each_mistake_of_a_gateway)
{
    ck_assert_int_eq(fake_run(MISTAKES[_i].policy, ""), 1);
    assert_said(MISTAKES[_i].said);
}

END_TEST

START_TEST(lossy_air_is_no_excuse_for_losing_commands)
{
    ck_assert_int_eq(fake_run(FORGETS_ONE, " --loss 1% --clean no"), 1);
    assert_said("never arrived at their node");
}

END_TEST

START_TEST(fails_when_rounds_or_figures_are_missing)
{
    ck_assert_int_eq(fake_run(HONEST, " --wake-together --rounds 9"), 1);
    assert_said("rounds of waking together were not completed");
    ck_assert_int_eq(fake_run(HONEST, " --p99 500"), 1);
    assert_said("nothing was measured");
}

END_TEST

/* ---- with the daemon ------------------------------------------------------------------------- */

static int daemon_sim(const char *configuration, const char *more)
{
    static struct daemon d;
    char options[512];
    daemon_start(&d, broker.port, configuration);
    daemon_wait_log(&d, "broker.connected", 15000);
    snprintf(options, sizeof options, "--broker mqtt://127.0.0.1:%u --sleepy --seed 1 %s",
             broker.port, more);
    sim_start(d.port, options);
    const int status = sim_wait();
    ck_assert_int_eq(daemon_end(&d, SIGTERM), 0);
    return status;
}

/* The big one is scripts/sleep-test.sh. */
START_TEST(a_storm_of_sleepers)
{
    const int status =
        daemon_sim("", "--nodes 50 --commands-per-sleep 10 --wake-together --wake-jitter 500ms "
                       "--sleep 60 --rounds 1 --seconds 15 --others 10 --rate 20 --p99 2s");
    assert_said("50 nodes woke together 1 times");
    assert_said("each message once, PINGRESP last");
    ck_assert_int_eq(status, 0);
}

END_TEST

START_TEST(sleepers_in_bad_air)
{
    static const char *const qos[] = {"--qos 0", "--qos 1", "--qos 2", "--qos mix"};
    char options[256];
    snprintf(options, sizeof options,
             "--nodes 20 --commands-per-sleep 5 --sleep 500ms --wake-jitter 300ms --seconds 2 "
             "--drain 30 --clean no --wake-publish 3 --loss 5%% --jitter 20 --duplicate 5%% "
             "--retry-interval 300ms %s",
             qos[_i]);
    const int status = daemon_sim("", options);
    assert_said("each message once, PINGRESP last");
    ck_assert_int_eq(status, 0);
}

END_TEST

START_TEST(a_queue_that_is_too_small_is_found)
{
    const int status = daemon_sim("[client *]\nmax_queue = 5\n",
                                  "--nodes 3 --commands-per-sleep 6 --wake-together --sleep 60 "
                                  "--rounds 1 --seconds 15 --drain 2");
    assert_said("3 x commands were accepted by the broker and never arrived at their node");
    ck_assert_int_eq(status, 1);
}

END_TEST

int main(void)
{
    TCase *judge = tcase_create("verdict");
    tcase_set_timeout(judge, 90);
    tcase_add_checked_fixture(judge, open_broker, close_broker);
    tcase_add_test(judge, is_content_with_a_gateway_that_keeps_the_rules);
    tcase_add_test(judge, a_repetition_that_says_so_is_no_failure);
    tcase_add_test(judge, what_the_broker_repeats_because_the_gateway_died_is_no_failure);
    tcase_add_loop_test(judge, fails_for_each_mistake_of_a_gateway, 0,
                        sizeof MISTAKES / sizeof MISTAKES[0]);
    tcase_add_test(judge, lossy_air_is_no_excuse_for_losing_commands);
    tcase_add_test(judge, fails_when_rounds_or_figures_are_missing);

    TCase *real = tcase_create("daemon");
    tcase_set_timeout(real, 90);
    tcase_add_checked_fixture(real, open_broker, close_broker);
    tcase_add_test(real, a_storm_of_sleepers);
    tcase_add_loop_test(real, sleepers_in_bad_air, 0, 4);
    tcase_add_test(real, a_queue_that_is_too_small_is_found);

    Suite *suite = suite_create("sim_sleep");
    suite_add_tcase(suite, judge);
    suite_add_tcase(suite, real);
    return run_suite(suite);
}
