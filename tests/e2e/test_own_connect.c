/* SPDX-License-Identifier: Apache-2.0 */
/* What a broker of MQTT 5 reads in the CONNECT of a node's own session. */
#include <signal.h>
#include <string.h>

#include "e2e/daemon.h"
#include "e2e/script_broker.h"
#include "unit/suite.h"

enum { EXPIRY_AT = 13, SESSION_EXPIRY = 0x11 };

static struct daemon gateway;
static struct node node;

/* The gateway's own connections: one that wipes, one that stays, and more when it has grown impatient.
 * Their sockets close with the process. */
static void welcome_gateway(void)
{
    uint8_t packet[ROOM];
    while (!daemon_has_logged(&gateway, "broker.connected")) {
        struct pollfd fd = {.fd = listener, .events = POLLIN};
        if (poll(&fd, 1, 100) != 1)
            continue;
        hear_connect(packet);
        SAY(0x20, 3, 0, 0, 0);
    }
}

static uint32_t session_expiry_s(const uint8_t *connect)
{
    const uint8_t *p = connect + EXPIRY_AT;
    ck_assert_uint_ge(p[-1], 5);
    ck_assert_uint_eq(p[0], SESSION_EXPIRY);
    return (uint32_t)p[1] << 24 | (uint32_t)p[2] << 16 | (uint32_t)p[3] << 8 | p[4];
}

static uint32_t asked_expiry_s(const char *more)
{
    uint8_t packet[ROOM];
    broker_open();
    daemon_start(&gateway, port, more);
    welcome_gateway();
    node_open(&node, gateway.port);
    node_say(&node, "09 04 00 01 00 3C 64 65 76");
    hear_connect(packet);
    ck_assert_mem_eq(packet + EXPIRY_AT + packet[EXPIRY_AT - 1], "\0\3dev", 5);
    SAY(0x20, 3, 0, 0, 0);
    node_expect(&node, "03 05 00");
    node_close(&node);
    ck_assert_int_eq(daemon_end(&gateway, SIGTERM), 0);
    broker_close();
    return session_expiry_s(packet);
}

#define V5  "[broker]\nversion = 5\n"
#define OWN "[store]\ndurability = off\n[client dev]\nsessions = own\n"

START_TEST(the_broker_keeps_a_session_as_long_as_the_gateway_waits_for_its_node)
{
    ck_assert_uint_eq(asked_expiry_s(V5 OWN), 7 * 86400);
    ck_assert_uint_eq(asked_expiry_s(V5 "[gateway]\nsession_expiry = 30d\n" OWN), 30 * 86400);
}

END_TEST

START_TEST(the_broker_may_keep_it_for_longer)
{
    ck_assert_uint_eq(asked_expiry_s(V5 "session_expiry = 60d\n" OWN), 60 * 86400);
}

END_TEST

int main(void)
{
    Suite *suite = suite_create("CONNECT of own sessions");
    TCase *all = tcase_create("CONNECT");
    tcase_set_timeout(all, TEST_TIMEOUT_S);
    tcase_add_test(all, the_broker_keeps_a_session_as_long_as_the_gateway_waits_for_its_node);
    tcase_add_test(all, the_broker_may_keep_it_for_longer);
    suite_add_tcase(suite, all);
    return run_suite(suite);
}
