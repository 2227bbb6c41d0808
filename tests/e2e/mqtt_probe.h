/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One MQTT connection of the gateway under test, with a loop that only counts what comes back. It
 * drains only when it was woken: a lost wake-up is a test that times out.
 */
#ifndef SENNET_TESTS_E2E_MQTT_PROBE_H
#define SENNET_TESTS_E2E_MQTT_PROBE_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include <check.h>

#include "e2e/broker.h"
#include "mqtt.h"

enum { PROBE_TOKENS = 120000 };

/* How often each token was answered how. */
struct probe_answers {
    uint8_t ok, busy, refused, doubt;
};

struct probe {
    struct mqtt *m;
    int event_fd;
    atomic_uint wakes;
    char address[64];
    unsigned connected;
    unsigned disconnected;
    bool session_present; /* of the latest connection */
    uint8_t version;      /* the same */
    bool taken_over;      /* the latest loss */
    bool explained;       /* the same */
    char at[64];          /* address of the latest connection */
    char why[320];        /* of the latest loss */
    int64_t lost_at_ms;
    struct probe_answers *answers; /* PROBE_TOKENS, by token */
    unsigned ok, busy, refused, doubt;
    uint64_t spooled_ok;   /* number of the latest spooled message answered so */
    uint64_t spooled_busy; /* the same */
    char busy_why[64];     /* of the broker, if it gave one */
    char busy_at[64];      /* and which one that was */
    char busy_topic[128];  /* that came back with it, and the payload */
    char busy_body[128];
    unsigned subscribed;
    uint8_t granted; /* of the latest SUBSCRIBED */
    unsigned messages;
    uint16_t *copies;     /* PROBE_TOKENS, by the number that a message begins with */
    struct up_event last; /* MESSAGE; without its pointers */
    char last_topic[128];
    char last_body[128];
    size_t last_len;   /* of its payload, */
    uint32_t last_sum; /* and probe_sum() of that */
};

int64_t probe_now_ms(void);

/* To compare payloads by. */
uint32_t probe_sum(const uint8_t *octets, size_t len);

/* What SENNET_TEST_MQTT_VERSION says: "5", else 3.1.1, as fakes speak nothing else. */
enum mqtt_version probe_version(void);

/* Options for fast tests: small backoff, client id of its own, that version. */
struct mqtt_options probe_options(struct probe *p, uint16_t port);
void probe_start(struct probe *p, const struct mqtt_options *options);
void probe_stop(struct probe *p, int64_t drain_ms);

/* Takes events, if any come within `ms`. */
void probe_turn(struct probe *p, int ms);

/* A PUBLISH whose payload is the decimal token, filled up to `len` octets with one letter. */
void probe_publish(struct probe *p, uint64_t token, const char *topic, uint8_t qos, size_t len);
void probe_publish_body(struct probe *p, uint64_t token, const char *topic, uint8_t qos,
                        struct body *body);
void probe_subscribe(struct probe *p, uint64_t token, const char *filter, uint8_t qos);
void probe_unsubscribe(struct probe *p, uint64_t token, const char *filter);

/* Starts it with these options, and ends it. In between its broker is killed again and again while requests
 * are under way, so that a write may meet the dead connection first; each is answered once. */
void probe_outlives_brokers(struct probe *p, struct broker *b, struct mqtt_options o);

#define PROBE_UNTIL(p, condition, ms)                                                              \
    do {                                                                                           \
        const int64_t until_ = probe_now_ms() + (ms);                                              \
        while (!(condition)) {                                                                     \
            ck_assert_msg(probe_now_ms() < until_,                                                 \
                          "not within %d ms: %s (ok %u busy %u refused %u doubt %u, up %u "        \
                          "down %u, messages %u, why '%s')",                                       \
                          (int)(ms), #condition, (p)->ok, (p)->busy, (p)->refused, (p)->doubt,     \
                          (p)->connected, (p)->disconnected, (p)->messages, (p)->why);             \
            probe_turn((p), 20);                                                                   \
        }                                                                                          \
    } while (0)

#endif
