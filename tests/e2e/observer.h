/* SPDX-License-Identifier: Apache-2.0 */
/* An MQTT client at the broker: sees everything that arrives there, and publishes for the nodes. */
#ifndef SENNET_TESTS_E2E_OBSERVER_H
#define SENNET_TESTS_E2E_OBSERVER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct observer;

/* Connects and subscribes to `filter` with QoS 2; returns when the broker has granted it. */
struct observer *observer_start(uint16_t broker_port, const char *filter);
void observer_stop(struct observer *o);

/* Waits for a message of exactly this content; others before it are a failure. */
void observer_expect(struct observer *o, const char *topic, const char *payload, int qos);

/* Nothing must arrive for this long. */
void observer_quiet(struct observer *o, int for_ms);

/* Messages that arrived so far with this topic (those expected included). */
size_t observer_count(struct observer *o, const char *topic);

/* Waits until there are so many with this topic; no more must come in 200 ms behind them. */
void observer_expect_count(struct observer *o, const char *topic, size_t n);

/* Publishes; QoS 1 and 2 wait for the broker's acknowledgement. */
void observer_publish(struct observer *o, const char *topic, const char *payload, int qos,
                      bool retain);

#endif
