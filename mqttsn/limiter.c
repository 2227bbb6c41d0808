/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Answers to talkers without a session are limited per address and in all, or a forged source
 * address would turn the gateway into a reflector. Addresses hash into a fixed table: two that
 * share a bucket share its allowance. Each bucket holds the time from which the next answer is free
 * of debt (GCRA).
 */
#include "mqttsn/engine_priv.h"

enum {
    PER_ADDRESS_MS = 1000, /* one answer a second ... */
    BURST = 3,             /* ... after three at once */
    ALL_US = 1000,         /* a thousand a second in all ... */
    ALL_BURST = 1000,
};

bool sn_limiter_allow(struct sn_engine *e, const struct peer *from)
{
    struct sn_limiter *l = &e->limiter;
    const uint64_t hash = hash_bytes(&e->config.hash_seed, peer_key(from));
    int64_t *next_ms = &l->next_ms[hash % SN_LIMITER_BUCKETS];
    const int64_t now_ms = e->now_ms;
    const int64_t now_us = now_ms * 1000;
    const int64_t bucket = *next_ms > now_ms ? *next_ms : now_ms;
    const int64_t all = l->all_next_us > now_us ? l->all_next_us : now_us;
    const bool too_soon = bucket - now_ms > (int64_t)(BURST - 1) * PER_ADDRESS_MS ||
                          all - now_us > (int64_t)(ALL_BURST - 1) * ALL_US;
    if (too_soon) {
        sn_count(e, SN_STAT_RATE_LIMITED);
        return false;
    }
    *next_ms = bucket + PER_ADDRESS_MS;
    l->all_next_us = all + ALL_US;
    return true;
}
