/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A broker that misbehaves on request, for what a real one can't be made to do. It speaks just
 * enough MQTT 3.1.1 and 5, one connection at a time, in a thread of its own, and remembers what it saw.
 */
#ifndef SENNET_TESTS_E2E_FAKE_BROKER_H
#define SENNET_TESTS_E2E_FAKE_BROKER_H

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

enum { FAKE_SILENT = -1, FAKE_DROP = -2, FAKE_CONNECTIONS_MAX = 256 };

/* Applies to connections accepted from now on, and to packets received from now on. */
struct fake_behaviour {
    int connack; /* return code; FAKE_SILENT: no answer at all; FAKE_DROP: close at once */
    bool session_present;
    bool deaf;            /* reads nothing more after the CONNACK */
    bool mute;            /* answers nothing but pings after the CONNACK */
    uint8_t suback;       /* 0x80 = failure */
    int ack_delay_ms;     /* each PUBACK and PUBREC waits that long */
    unsigned reset_after; /* PUBLISHes, then the connection is reset; 0 = never */
};

struct fake_connection {
    int64_t at_ms; /* accepted */
    bool clean;    /* of its CONNECT */
    uint16_t keepalive;
};

struct fake_broker {
    uint16_t port;
    int listener;
    pthread_t thread;
    int stop;   /* an eventfd: the test is over */
    bool is_v5; /* the connection of now; of its thread only */
    pthread_mutex_t lock;
    /* under `lock` */
    struct fake_behaviour behaviour;
    struct fake_connection connections[FAKE_CONNECTIONS_MAX];
    unsigned connection_count; /* may exceed the table */
    unsigned publishes;
    unsigned duplicates;   /* with DUP set */
    unsigned wrong_topics; /* PUBLISHes to another topic than `topic` */
    unsigned disconnects;  /* DISCONNECT packets */
    char topic[64];        /* "" = any */
    char expected_fill;    /* not 0: all payload octets must be equal to each other */
    unsigned wrong_payloads;
};

void fake_start(struct fake_broker *f, struct fake_behaviour behaviour);
void fake_set(struct fake_broker *f, struct fake_behaviour behaviour);
void fake_stop(struct fake_broker *f);

unsigned fake_connections(struct fake_broker *f);
unsigned fake_publishes(struct fake_broker *f);

#endif
