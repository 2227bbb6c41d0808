/* SPDX-License-Identifier: Apache-2.0 */
/* mosquitto_sub at the broker, which shows of messages what MQTT 5 has beside topic and payload. One at a time. */
#ifndef SENNET_TESTS_E2E_SUBSCRIBER_H
#define SENNET_TESTS_E2E_SUBSCRIBER_H

#include "e2e/broker.h"
#include "e2e/daemon.h"

/* Returns when it has subscribed to everything. */
void subscriber_start(const struct broker *b, const struct daemon *gateway);
void subscriber_stop(void);

/* The next message, valid until the one after it: "TOPIC PAYLOAD [EXPIRY] NAME:VALUE NAME:VALUE". When none
 * comes the test fails with the log of the gateway. */
const char *subscriber_line(void);

#endif
