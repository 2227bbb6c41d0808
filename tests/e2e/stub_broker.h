/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A broker for thousands of connections, in a process of its own, so that what the gateway needs can be
 * told from what the broker needs. It speaks MQTT 3.1.1 and 5, acknowledges and forgets. Client ids say how each is treated:
 *
 *     mute...    its CONNECT is never answered
 *     refused... its CONNACK says "not authorised"
 *     deaf...    CONNACK, then nothing is read any more
 *     owing...   its session is present, and its PUBLISHes are not acknowledged
 *     chatty...  as deaf, but it is sent messages
 *
 * Whoever publishes to the topic "cut" is cut off.
 */
#ifndef SENNET_TESTS_E2E_STUB_BROKER_H
#define SENNET_TESTS_E2E_STUB_BROKER_H

#include <stdatomic.h>
#include <stdint.h>
#include <sys/types.h>

/* Shared with its process. */
struct stub_counts {
    atomic_uint connects;
    atomic_uint open;     /* accepted, and not gone */
    atomic_uint most_new; /* the largest number at once that had not been answered yet */
    atomic_uint publishes;
    atomic_uint duplicates;
    atomic_uint disconnects;
    atomic_uint restarts;
};

struct stub_broker {
    pid_t pid;
    uint16_t port;
    int listener;
    int commands;
    struct stub_counts *counts;
};

/* Before any thread is started. Aborts when that can't be done. */
void stub_start(struct stub_broker *b);
/* The same port again; all connections are gone in between. */
void stub_restart(struct stub_broker *b);
void stub_stop(struct stub_broker *b);

#endif
