/* SPDX-License-Identifier: Apache-2.0 */
/* The real daemon, found by nodes through a multicast group of the loopback interface. */
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
#include "unit/suite.h"

enum { PATIENCE_MS = 10000 };

static const char group_address[] = "239.83.78.42";

static struct broker broker;
static struct daemon gateway;
static uint16_t group_port;

/* ---- nodes that know nothing but the group ----------------------------------------------------- */

struct scout {
    struct node ear;   /* hears the group */
    struct node mouth; /* everything else; connected once a gateway was found */
};

static struct sockaddr_in at_group(void)
{
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_port = htons(group_port)};
    ck_assert_int_eq(inet_pton(AF_INET, group_address, &a.sin_addr), 1);
    return a;
}

static void scout_open(struct scout *s)
{
    const int on = 1;
    const struct in_addr loopback = {.s_addr = htonl(INADDR_LOOPBACK)};
    const struct sockaddr_in group = at_group();
    const struct sockaddr_in own = {.sin_family = AF_INET, .sin_addr = loopback};
    const struct ip_mreq join = {.imr_multiaddr = group.sin_addr, .imr_interface = loopback};
    s->ear.fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    s->mouth.fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    ck_assert_int_eq(setsockopt(s->ear.fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on), 0);
    ck_assert_int_eq(bind(s->ear.fd, (const struct sockaddr *)&group, sizeof group), 0);
    ck_assert_int_eq(setsockopt(s->ear.fd, IPPROTO_IP, IP_ADD_MEMBERSHIP, &join, sizeof join), 0);
    ck_assert_int_eq(bind(s->mouth.fd, (const struct sockaddr *)&own, sizeof own), 0);
    ck_assert_int_eq(
        setsockopt(s->mouth.fd, IPPROTO_IP, IP_MULTICAST_IF, &loopback, sizeof loopback), 0);
}

static void scout_close(struct scout *s)
{
    node_close(&s->ear);
    node_close(&s->mouth);
}

static void say_to_group(const struct scout *s, const char *octets, size_t len)
{
    const struct sockaddr_in group = at_group();
    ck_assert_int_eq(
        sendto(s->mouth.fd, octets, len, 0, (const struct sockaddr *)&group, sizeof group),
        (ssize_t)len);
}

#define SAY_TO_GROUP(s, octets) say_to_group((s), (octets), sizeof(octets) - 1)

/* Waits for these octets from a gateway, and what scouts say is passed over; where they came from. */
static struct sockaddr_in hear_on_group(const struct scout *s, const char *octets, size_t len)
{
    struct sockaddr_in from = {0};
    for (;;) {
        char got[64];
        socklen_t from_len = sizeof from;
        struct pollfd p = {.fd = s->ear.fd, .events = POLLIN};
        ck_assert_msg(poll(&p, 1, PATIENCE_MS) == 1, "nothing on the group:\n%s", gateway.log);
        const ssize_t n =
            recvfrom(s->ear.fd, got, sizeof got, 0, (struct sockaddr *)&from, &from_len);
        if (n == (ssize_t)len && memcmp(got, octets, len) == 0)
            return from;
    }
}

#define HEAR_ON_GROUP(s, octets) hear_on_group((s), (octets), sizeof(octets) - 1)

static void connect_to(struct scout *s, const struct sockaddr_in *found, const char *client_id)
{
    ck_assert_int_eq(connect(s->mouth.fd, (const struct sockaddr *)found, sizeof *found), 0);
    node_connect(&s->mouth, client_id);
}

static void drain(const struct scout *s)
{
    char got[64];
    while (recv(s->ear.fd, got, sizeof got, MSG_DONTWAIT) >= 0)
        ;
}

static void start(const char *interface, const char *advertise)
{
    char more[160];
    group_port = free_udp_port();
    snprintf(more, sizeof more, "multicast = %s:%u@%s\nadvertise = %s\n", group_address, group_port,
             interface, advertise);
    broker_start(&broker, NULL);
    daemon_start(&gateway, broker.port, more);
    daemon_wait_log(&gateway, "broker.connected", PATIENCE_MS);
}

static void stop(void)
{
    const int status = daemon_end(&gateway, SIGTERM);
    ck_assert_msg(status == 0, "exit status %d:\n%s", status, gateway.log);
    ck_assert_msg(strstr(gateway.log, "Sanitizer") == NULL, "%s", gateway.log);
    broker_stop(&broker);
}

/* ---- tests ------------------------------------------------------------------------------------- */

START_TEST(nodes_find_the_gateway_by_its_group)
{
    struct scout one;
    struct scout two;
    start("127.0.0.1", "0");
    daemon_wait_log(&gateway, "link.group_joined", PATIENCE_MS);
    scout_open(&one);
    scout_open(&two);
    SAY_TO_GROUP(&one, "\x03\x01\x00");
    const struct sockaddr_in found = HEAR_ON_GROUP(&one, "\x03\x02\x01");
    ck_assert_uint_eq(ntohs(found.sin_port), gateway.port);
    ck_assert_uint_eq(ntohl(found.sin_addr.s_addr), INADDR_LOOPBACK);
    connect_to(&one, &found, "one");
    /* The other has heard the answer, too. */
    const struct sockaddr_in overheard = HEAR_ON_GROUP(&two, "\x03\x02\x01");
    connect_to(&two, &overheard, "two");
    scout_close(&one);
    scout_close(&two);
    stop();
}

END_TEST

START_TEST(the_gateway_advertises_itself_while_its_broker_is_there)
{
    struct scout s;
    start("lo", "1s");
    scout_open(&s);
    const struct sockaddr_in found = HEAR_ON_GROUP(&s, "\x05\x00\x01\x00\x01");
    const int64_t first_ms = test_now_ms();
    HEAR_ON_GROUP(&s, "\x05\x00\x01\x00\x01");
    const int64_t waited_ms = test_now_ms() - first_ms;
    ck_assert_msg(waited_ms > 500 && waited_ms < 5000, "%lld ms", (long long)waited_ms);
    connect_to(&s, &found, "one");
    broker_end(&broker, SIGKILL);
    daemon_wait_log(&gateway, "broker.lost", PATIENCE_MS);
    drain(&s);
    node_quiet(&s.ear, 2500);
    const struct sockaddr_in unconnected = {.sin_family = AF_UNSPEC};
    ck_assert_int_eq(connect(s.mouth.fd, (const struct sockaddr *)&unconnected, sizeof unconnected),
                     0);
    SAY_TO_GROUP(&s, "\x03\x01\x00");
    char got[64];
    ck_assert(node_hear(&s.ear, got, sizeof got, 1000)); /* itself */
    ck_assert_str_eq(got, "03 01 00");
    node_quiet(&s.ear, 1000);
    broker_start_again(&broker);
    HEAR_ON_GROUP(&s, "\x05\x00\x01\x00\x01");
    ck_assert_msg(!daemon_has_logged(&gateway, "gateway.id_conflict"), "%s", gateway.log);
    scout_close(&s);
    stop();
}

END_TEST

START_TEST(a_twin_raises_an_alarm_and_only_discovery_is_heard_on_the_group)
{
    struct scout twin;
    start("127.0.0.1", "15m");
    scout_open(&twin);
    SAY_TO_GROUP(&twin, "\x0A\x04\x04\x01\x00\x3C"
                        "dev1"); /* CONNECT */
    SAY_TO_GROUP(&twin, "\x05\x00\x02\x03\x84");
    daemon_wait_log(&gateway, "gateway.seen", PATIENCE_MS);
    SAY_TO_GROUP(&twin, "\x05\x00\x01\x03\x84");
    daemon_wait_log(&gateway, "gateway.id_conflict", PATIENCE_MS);
    SAY_TO_GROUP(&twin, "\x03\x01\x00");
    HEAR_ON_GROUP(&twin, "\x03\x02\x01");
    node_quiet(&twin.mouth, 100); /* no CONNACK; and our daemon has heard itself by now */
    kill(gateway.pid, SIGUSR1);
    daemon_wait_log(&gateway, "drop.group=1", PATIENCE_MS);
    daemon_wait_log(&gateway, "gateways.id_conflict=1", PATIENCE_MS);
    daemon_wait_log(&gateway, "own_echoes=", PATIENCE_MS);
    ck_assert_msg(!daemon_has_logged(&gateway, "own_echoes=0"), "%s", gateway.log);
    scout_close(&twin);
    stop();
}

END_TEST

START_TEST(a_group_that_cannot_be_joined_does_not_keep_the_gateway_from_working)
{
    static const char *const nowhere[] = {"no-such0", "203.0.113.7"};
    struct node n;
    start(nowhere[_i], "15m");
    daemon_wait_log(&gateway, "link.group_failed", PATIENCE_MS);
    node_open(&n, gateway.port);
    node_connect(&n, "dev1");
    node_say(&n, "03 01 00"); /* who knows the address may still ask */
    node_expect(&n, "03 02 01");
    node_close(&n);
    stop();
}

END_TEST

int main(void)
{
    Suite *suite = suite_create("discover");
    TCase *t = tcase_create("discover");
    tcase_set_timeout(t, 60);
    tcase_add_test(t, nodes_find_the_gateway_by_its_group);
    tcase_add_test(t, the_gateway_advertises_itself_while_its_broker_is_there);
    tcase_add_test(t, a_twin_raises_an_alarm_and_only_discovery_is_heard_on_the_group);
    tcase_add_loop_test(t, a_group_that_cannot_be_joined_does_not_keep_the_gateway_from_working, 0,
                        2);
    suite_add_tcase(suite, t);
    return run_suite(suite);
}
