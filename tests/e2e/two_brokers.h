/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Two brokers behind one gateway, with an observer at each, and a node. `home` is the first [broker],
 * `cloud` the one that routes name.
 */
#ifndef SENNET_TESTS_E2E_TWO_BROKERS_H
#define SENNET_TESTS_E2E_TWO_BROKERS_H

#include <signal.h>
#include <stdio.h>
#include <string.h>

#include <check.h>

#include "e2e/broker.h"
#include "e2e/daemon.h"
#include "e2e/observer.h"
#include "e2e/pinned.h"

enum { CONFIG_ROOM = 4096, SOON_MS = 10000 };

static struct broker home, cloud;
static struct daemon gateway;
static struct observer *at_home, *at_cloud;
static struct node node;

static inline const char *with_cloud(const char *more)
{
    static char config[CONFIG_ROOM];
    snprintf(config, sizeof config,
             "[broker cloud]\naddress = 127.0.0.1:%u\nreconnect_max = 1s\n%s%s\n", cloud.port,
             pinned_line(), more);
    return config;
}

static inline void wait_for_brokers(void)
{
    daemon_wait_log(&gateway, "broker.connected broker=default", SOON_MS);
    daemon_wait_log(&gateway, "broker.connected broker=cloud", SOON_MS);
}

static inline void start_at(const char *of_home, const char *more)
{
    broker_start(&home, of_home);
    broker_start(&cloud, NULL);
    daemon_start(&gateway, home.port, with_cloud(more));
    wait_for_brokers();
    at_home = observer_start(home.port, "#");
    at_cloud = observer_start(cloud.port, "#");
    node_open(&node, gateway.port);
}

static inline void start(const char *more)
{
    start_at(NULL, more);
}

static inline void stop(void)
{
    node_close(&node);
    observer_stop(at_home);
    if (at_cloud != NULL)
        observer_stop(at_cloud);
    const int status = daemon_end(&gateway, SIGTERM);
    ck_assert_msg(status == 0, "exit status %d:\n%s", status, daemon_log_end(&gateway));
    ck_assert_msg(strstr(gateway.log, "Sanitizer") == NULL, "%s", daemon_log_end(&gateway));
    broker_stop(&home);
    broker_stop(&cloud);
}

#endif
