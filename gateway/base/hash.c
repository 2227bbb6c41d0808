/* SPDX-License-Identifier: Apache-2.0 */
/* SipHash with one compression and three finalisation rounds (Aumasson and Bernstein, 2012). */
#include "base/hash.h"

struct sip {
    uint64_t v0, v1, v2, v3;
};

static inline uint64_t rotl(uint64_t x, unsigned n)
{
    return (x << n) | (x >> (64 - n));
}

static inline void sip_round(struct sip *s)
{
    s->v0 += s->v1;
    s->v1 = rotl(s->v1, 13) ^ s->v0;
    s->v0 = rotl(s->v0, 32);
    s->v2 += s->v3;
    s->v3 = rotl(s->v3, 16) ^ s->v2;
    s->v0 += s->v3;
    s->v3 = rotl(s->v3, 21) ^ s->v0;
    s->v2 += s->v1;
    s->v1 = rotl(s->v1, 17) ^ s->v2;
    s->v2 = rotl(s->v2, 32);
}

/* Little-endian load of up to eight octets. */
static inline uint64_t load(const uint8_t *p, size_t n)
{
    uint64_t word = 0;
    for (size_t i = 0; i < n; i++)
        word |= (uint64_t)p[i] << (8 * i);
    return word;
}

static inline void absorb(struct sip *s, uint64_t word)
{
    s->v3 ^= word;
    sip_round(s);
    s->v0 ^= word;
}

uint64_t hash_bytes(const struct hash_seed *seed, struct bytes in)
{
    struct sip s = {
        .v0 = seed->k0 ^ 0x736f6d6570736575U,
        .v1 = seed->k1 ^ 0x646f72616e646f6dU,
        .v2 = seed->k0 ^ 0x6c7967656e657261U,
        .v3 = seed->k1 ^ 0x7465646279746573U,
    };
    size_t at = 0;
    for (; in.len - at >= 8; at += 8)
        absorb(&s, load(in.data + at, 8));
    const uint64_t tail = in.len > at ? load(in.data + at, in.len - at) : 0;
    absorb(&s, tail | (uint64_t)(in.len & 0xFF) << 56);
    s.v2 ^= 0xFF;
    sip_round(&s);
    sip_round(&s);
    sip_round(&s);
    return s.v0 ^ s.v1 ^ s.v2 ^ s.v3;
}
