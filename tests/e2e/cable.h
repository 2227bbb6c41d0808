/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A TCP cable between a client and a broker, which a test can pull and plug in again: a relay on a
 * loopback port of its own, one connection at a time, in a thread of its own.
 */
#ifndef SENNET_TESTS_E2E_CABLE_H
#define SENNET_TESTS_E2E_CABLE_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

struct cable {
    uint16_t port; /* connect here */
    uint16_t to;
    int listener;
    pthread_t thread;
    atomic_bool mute;      /* nothing goes from the broker to the client; it is kept */
    atomic_bool cut;       /* reset both sides, once */
    atomic_bool unplugged; /* accept and drop */
    atomic_bool gentle;    /* an end is no reset for the client */
    atomic_uint delay_us;  /* that each octet is under way, in either direction; 0 = none */
    atomic_bool stop;
    atomic_size_t upward; /* octets carried to the broker */
    atomic_uint connections;
    atomic_uint plain; /* of these, began with something else than a record of a TLS handshake */
};

void cable_start(struct cable *c, uint16_t broker_port);
void cable_stop(struct cable *c);

#endif
