/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Many MQTT connections of the gateway on one host, with a loop that counts what comes back. As the
 * probe, it drains only when it was woken.
 */
#ifndef SENNET_TESTS_E2E_MQTT_FLEET_H
#define SENNET_TESTS_E2E_MQTT_FLEET_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "mqtt.h"

struct fleet_one {
    struct mqtt *m; /* NULL: closed */
    unsigned number;
    unsigned connected, disconnected, refused;
    uint8_t code;
    bool online;
    bool session_present;
    unsigned ok, busy, doubt, denied, subscribed, messages;
    int64_t asked_us; /* the latest PUBLISH */
    int64_t up_at_ms, down_at_ms;
    char why[120];
    char last_topic[64];
};

struct fleet {
    struct mqtt_host *host;
    int event_fd;
    atomic_uint wakes;
    char address[64];
    struct fleet_one *ones;
    unsigned n;
    /* Sums over all. */
    unsigned online, connected, disconnected, refused;
    unsigned ok, busy, doubt, denied, subscribed, messages;
    int64_t slowest_us; /* from PUBLISH to its answer */
    void (*on_event)(struct fleet *f, struct fleet_one *one,
                     const struct up_event *e); /* or NULL */
    void *arg;
};

int64_t fleet_now_us(void);

/* More descriptors, as many as the system gives. False when there are less than `needed`. */
bool fleet_allow_files(unsigned needed);

/* Room for `n` connections; none is opened yet. NULL options: mqtt_host_defaults(). */
void fleet_start(struct fleet *f, unsigned n, const struct mqtt_host_options *options);

/* Options with small queues and windows, as for a client's own session; client id "own-NUMBER".
 * The texts are valid until the next call. */
struct mqtt_options fleet_options(struct fleet *f, unsigned number, uint16_t port);
void fleet_open(struct fleet *f, unsigned number, const struct mqtt_options *options);
void fleet_close(struct fleet *f, unsigned number, bool abort);

/* False when the worker had to be left behind. */
bool fleet_stop(struct fleet *f, int64_t drain_ms);

/* Flushes, and takes what comes within `ms`. */
void fleet_turn(struct fleet *f, int ms);

void fleet_publish(struct fleet *f, unsigned number, const char *topic, uint8_t qos,
                   const char *text);
void fleet_subscribe(struct fleet *f, unsigned number, const char *filter, uint8_t qos);

#define FLEET_UNTIL(f, condition, ms)                                                              \
    do {                                                                                           \
        const int64_t until_ = fleet_now_us() / 1000 + (ms);                                       \
        while (!(condition)) {                                                                     \
            ck_assert_msg(                                                                         \
                fleet_now_us() / 1000 < until_,                                                    \
                "not within %d ms: %s (online %u up %u down %u refused %u ok %u busy %u "          \
                "doubt %u messages %u)",                                                           \
                (int)(ms), #condition, (f)->online, (f)->connected, (f)->disconnected,             \
                (f)->refused, (f)->ok, (f)->busy, (f)->doubt, (f)->messages);                      \
            fleet_turn((f), 20);                                                                   \
        }                                                                                          \
    } while (0)

#endif
