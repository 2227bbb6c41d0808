/* SPDX-License-Identifier: Apache-2.0 */
/* One connection of the gateway that speaks MQTT 5 with a broker played by the test, and perhaps a
 * store. */
#ifndef SENNET_TESTS_E2E_SCRIPT_V5_H
#define SENNET_TESTS_E2E_SCRIPT_V5_H

#include "e2e/mqtt_probe.h"
#include "e2e/script_broker.h"
#include "store.h"
#include "unit/suite.h"

enum { V5 = 5, V3_1_1 = 4 };

static struct store *store;
static struct probe probe;

/* Paho 1.3.12 forgets topic and payload of a copy of a QoS 2 message, and at the end of its threads what
 * has just come. */
const char *__lsan_default_suppressions(void);

const char *__lsan_default_suppressions(void)
{
    return "leak:readUTFlen\nleak:MQTTProtocol_handlePublishes\nleak:MQTTPacket_connack\n";
}

static inline void start(enum mqtt_version version)
{
    struct mqtt_options o = probe_options(&probe, port);
    o.client_id = "five";
    o.store = store;
    o.version = version;
    probe_start(&probe, &o);
}

static inline void stop(void)
{
    probe_stop(&probe, 0);
    hang_up();
}

static inline void set_up(void)
{
    broker_open();
}

static inline void tear_down(void)
{
    broker_close();
    store_close(store);
    store = NULL;
}

static bool asked_clean; /* by the latest CONNECT */

/* The version that a CONNECT asks for. */
static uint8_t asked(void)
{
    uint8_t packet[ROOM];
    hear_connect(packet);
    asked_clean = (packet[9] & 2) != 0;
    return packet[8];
}

static void expect_goodbye(uint8_t version)
{
    if (version == V5)
        EXPECT(0xE0, 2, 0, 0);
    else
        EXPECT(0xE0, 0);
    hang_up();
}

/* The connection that wipes, whose CONNECT was heard already. */
static inline void purge(uint8_t version)
{
    ck_assert(asked_clean);
    if (version == V5)
        SAY(0x20, 3, 0, 0, 0);
    else
        SAY(0x20, 2, 0, 0);
    expect_goodbye(version);
}

/* A new session, with these properties in both CONNACKs. */
#define WELCOME(...)                                                                               \
    do {                                                                                           \
        const uint8_t properties_[] = {0, __VA_ARGS__};                                            \
        const uint8_t n_ = sizeof properties_ - 1;                                                 \
        const uint8_t head_[] = {0x20, (uint8_t)(3 + n_), 0, 0, n_};                               \
        ck_assert_uint_eq(asked(), V5);                                                            \
        say(head_, sizeof head_);                                                                  \
        say(properties_ + 1, n_);                                                                  \
        expect_goodbye(V5);                                                                        \
        ck_assert_uint_eq(asked(), V5);                                                            \
        say(head_, sizeof head_);                                                                  \
        say(properties_ + 1, n_);                                                                  \
        PROBE_UNTIL(&probe, probe.connected == 1, SOON_MS);                                        \
    } while (0)

static inline void resume(void)
{
    ck_assert_uint_eq(asked(), V5);
    SAY(0x20, 3, 1, 0, 0);
}

static const struct suite_scenery scenery = {TEST_TIMEOUT_S, set_up, tear_down};

#endif
