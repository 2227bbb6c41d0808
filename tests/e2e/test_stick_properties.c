/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How well a stick has heard a node, as a subscriber at the broker reads it: LQI and RSSI go with the message as
 * user properties, as far as the frames of the stick's family tell them. The stick and its node are sennet-sim's.
 */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <check.h>

#include "e2e/simulator.h"
#include "e2e/subscriber.h"
#include "unit/suite.h"

/* Of the first node of sennet-sim. */
#define LQI  "lqi:80"
#define RSSI "rssi:-40"

static const struct family {
    const char *driver;
    const char *stick; /* as sennet-sim is to play it */
    bool has_lqi, has_rssi;
} families[] = {
    {"znp",    "znp",               true,  false},
    {"ezsp",   "ezsp",              true,  true },
    {"deconz", "deconz",            true,  true },
    {"xbee",   "xbee",              false, false},
    {"xbee",   "xbee --firmware 1", false, true }, /* 802.15.4 */
};

static char directory[] = "/tmp/sennet-signal-XXXXXX";
static struct broker broker;
static struct daemon gateway;

static void plug(const struct family *f)
{
    char options[256];
    snprintf(options, sizeof options,
             "--nodes 1 --rate 2 --qos 1 --seconds 600 --stick-link %s/stick --stick %s", directory,
             f->stick);
    sim_start(1, options);
    while (strstr(sim_output(), "device = ") == NULL)
        ck_assert_msg(sim_read(), "%s", sim_output());
}

static void start_gateway(const struct family *f)
{
    char more[512];
    snprintf(more, sizeof more,
             "[broker]\nversion = 5\nuser_properties = client, link, lqi, rssi\n"
             "[link stick]\ndriver = %s\ndevice = %s/stick\n",
             f->driver, directory);
    broker_start(&broker, NULL);
    daemon_start(&gateway, broker.port, more);
    daemon_wait_log(&gateway, "broker.connected", 10000);
    subscriber_start(&broker, &gateway);
}

static void stop(void)
{
    sim_signal(SIGTERM);
    sim_wait();
    const int status = daemon_end(&gateway, SIGTERM);
    ck_assert_msg(status == 0, "exit status %d:\n%s", status, daemon_log_end(&gateway));
    ck_assert_msg(strstr(gateway.log, "Sanitizer") == NULL, "%s", daemon_log_end(&gateway));
    subscriber_stop();
    broker_stop(&broker);
    rmdir(directory);
}

static bool has(const char *line, const char *property)
{
    const char *const at = strstr(line, property);
    const size_t len = strlen(property);
    return at != NULL && (at[len] == ' ' || at[len] == '\0');
}

START_TEST(a_message_tells_how_well_the_stick_has_heard_it)
{
    const struct family *const f = &families[_i];
    ck_assert_ptr_nonnull(mkdtemp(directory));
    plug(f);
    start_gateway(f);
    const char *const line = subscriber_line();
    ck_assert_msg(has(line, "link:stick"), "%s: %s", f->stick, line);
    ck_assert_msg(strstr(line, "client:sim-") != NULL, "%s: %s", f->stick, line);
    ck_assert_msg(has(line, LQI) == f->has_lqi, "%s: %s", f->stick, line);
    ck_assert_msg(has(line, RSSI) == f->has_rssi, "%s: %s", f->stick, line);
    ck_assert_msg((strstr(line, "lqi:") != NULL) == f->has_lqi, "%s: %s", f->stick, line);
    ck_assert_msg((strstr(line, "rssi:") != NULL) == f->has_rssi, "%s: %s", f->stick, line);
    stop();
}

END_TEST

int main(void)
{
    Suite *suite = suite_create("stick properties");
    TCase *t = tcase_create("signal");
    tcase_set_timeout(t, 60);
    tcase_add_loop_test(t, a_message_tells_how_well_the_stick_has_heard_it, 0,
                        (int)(sizeof families / sizeof families[0]));
    suite_add_tcase(suite, t);
    return run_suite(suite);
}
