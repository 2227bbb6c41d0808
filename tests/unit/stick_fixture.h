/* SPDX-License-Identifier: Apache-2.0 */
/* A fake stick that runs, for the suites of the core: a clock, and outcomes counted. */
#ifndef SENNET_TESTS_UNIT_STICK_FIXTURE_H
#define SENNET_TESTS_UNIT_STICK_FIXTURE_H

#include "unit/fake_stick.h"
#include "unit/suite.h"

enum { SLOTS = 4, CONFIRM_MS = 6000 };

static struct stick *s;
static struct fake_stick *f;
static int64_t now_ms;
static uint32_t outcomes[4];
static uint32_t outcomes_of[256][4]; /* by the last octet of the node's address */

static inline void stick_of(const struct stick_driver *driver, const struct stick_config *config)
{
    now_ms = 1000;
    s = stick_new(driver, config, now_ms);
    ck_assert_ptr_nonnull(s);
    f = fake_of(s);
}

static inline void up(unsigned slots)
{
    stick_opened(s, now_ms);
    stick_up(s, now_ms, 82, slots, CONFIRM_MS, "a network");
}

static inline void setup(void)
{
    const struct stick_config config = stick_defaults();
    stick_of(&fake_driver, &config);
    memset(outcomes, 0, sizeof outcomes);
    memset(outcomes_of, 0, sizeof outcomes_of);
    up(SLOTS);
}

static inline void teardown(void)
{
    stick_free(s);
}

/* Takes events until there are none; counts outcomes. Returns how many of `type` there were. */
static inline unsigned drain(enum stick_event_type type)
{
    struct stick_event e;
    unsigned n = 0;
    for (; stick_peek_event(s, &e); stick_done_event(s)) {
        n += e.type == type;
        if (e.type != STICK_EV_OUTCOME)
            continue;
        outcomes[e.outcome]++;
        const uint8_t last = e.peer->addr_len > 0 ? e.peer->bytes[e.peer->addr_len - 1] : 0;
        outcomes_of[last][e.outcome]++;
    }
    return n;
}

static inline void take_bytes(void)
{
    struct bytes out;
    while (stick_peek_bytes(s, &out))
        stick_took(s, now_ms, out.len);
}

static inline void send_to(uint64_t node, uint32_t tag)
{
    fake_send(s, now_ms, PEER_EUI64, node, tag, 30);
    take_bytes();
}

static inline void advance_by(int64_t ms)
{
    const int64_t until_ms = now_ms + ms;
    while (now_ms < until_ms) {
        now_ms = time_min(until_ms, stick_next_deadline(s));
        stick_advance(s, now_ms);
        ck_assert_int_gt(stick_next_deadline(s), now_ms);
        take_bytes();
    }
}

static inline void verdict(uint8_t id, enum stick_verdict what)
{
    ck_assert(stick_verdict(s, now_ms, id, what, 100));
    take_bytes();
}

#endif
