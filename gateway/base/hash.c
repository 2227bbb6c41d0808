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

/* Little-endian loads, written so that compilers make one instruction of them. */
static inline uint64_t load_4(const uint8_t *p)
{
    return (uint64_t)p[0] | (uint64_t)p[1] << 8 | (uint64_t)p[2] << 16 | (uint64_t)p[3] << 24;
}

static inline uint64_t load_8(const uint8_t *p)
{
    return (uint64_t)p[0] | (uint64_t)p[1] << 8 | (uint64_t)p[2] << 16 | (uint64_t)p[3] << 24 |
           (uint64_t)p[4] << 32 | (uint64_t)p[5] << 40 | (uint64_t)p[6] << 48 |
           (uint64_t)p[7] << 56;
}

/* The last `n` octets, less than eight, of `in`: by loads that overlap, not one by one. */
static inline uint64_t load_tail(struct bytes in, unsigned n)
{
    if (n == 0)
        return 0;
    const uint8_t *end = in.data + in.len;
    if (in.len >= 8)
        return load_8(end - 8) >> (64 - 8 * n);
    if (n >= 4)
        return load_4(in.data) | load_4(end - 4) << (8 * (n - 4));
    return in.data[0] | (uint64_t)in.data[n / 2] << (8 * (n / 2)) |
           (uint64_t)in.data[n - 1] << (8 * (n - 1));
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
        absorb(&s, load_8(in.data + at));
    absorb(&s, load_tail(in, (unsigned)(in.len - at)) | (uint64_t)(in.len & 0xFF) << 56);
    s.v2 ^= 0xFF;
    sip_round(&s);
    sip_round(&s);
    sip_round(&s);
    return s.v0 ^ s.v1 ^ s.v2 ^ s.v3;
}
