/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A family of sticks without a protocol, for tests of what all families share: each transmission is
 * written down, and the test says what becomes of it. Aborts when the core breaks its contract with
 * a driver.
 */
#ifndef SENNET_TESTS_UNIT_FAKE_STICK_H
#define SENNET_TESTS_UNIT_FAKE_STICK_H

#include "radio/stick/core.h"

enum { FAKE_SENT_MAX = 4096, FAKE_FRAME = 20 };

struct fake_sent {
    uint8_t id;
    uint8_t tries;
    uint8_t radius;
    bool group;
    uint64_t address;
    uint32_t tag; /* the first four octets of the packet */
    uint16_t len;
    int64_t at_ms, queued_ms;
};

struct fake_stick {
    struct stick s;
    struct fake_sent sent[FAKE_SENT_MAX]; /* all since the test took them */
    size_t n_sent;
    uint64_t on_air[256]; /* address + 1 of the node, by id */
    bool verdict_at_once; /* from within transmit() */
    enum stick_verdict verdict;
    int64_t again_ms;
    size_t frame_bytes; /* written per transmission */
    int64_t deadline_ms;
    unsigned opened, closed, advanced, deinits;
    unsigned join_calls, join_seconds;
    void (*on_input)(struct fake_stick *f, int64_t now_ms, struct bytes in);
};

extern const struct stick_driver fake_driver, fake_silent_driver; /* reports, and doesn't */

static inline struct fake_stick *fake_of(struct stick *s)
{
    return (struct fake_stick *)(void *)s;
}

/* A packet of `len` octets that begins with the tag. */
struct bytes fake_packet(uint8_t room[static 1500], uint32_t tag, size_t len);

/* Sends such a packet to the node, or (kind GROUP) to everybody within `address` hops. */
void fake_send(struct stick *s, int64_t now_ms, enum peer_kind kind, uint64_t address, uint32_t tag,
               size_t len);

#endif
