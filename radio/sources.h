/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Which of our addresses a node talked to. On a machine with several addresses, a socket bound to
 * the wildcard would answer from the one that routing prefers, and a node that asked another one
 * drops the answer. So the link remembers, in fixed memory: our own addresses (few), and for each
 * of 65536 slots, chosen by a seeded hash of the node's address, which of them was used last.
 *
 * It is a hint: a slot taken over by another node means that routing chooses, as without it.
 */
#ifndef SENNET_RADIO_SOURCES_H
#define SENNET_RADIO_SOURCES_H

#include <stdbool.h>
#include <stdint.h>

#include "base/bytes.h"
#include "base/hash.h"

#include "radio/sockaddr.h"

enum { SOURCES_SLOTS = 65536, SOURCES_LOCAL_MAX = 64, SOURCE_ANY = 0 };

/* One of our addresses; the socket's family tells which. */
union source_address {
    struct in_addr ip4;
    struct in6_addr ip6;
};

struct sources {
    struct hash_seed seed;
    unsigned n_local;
    union source_address local[SOURCES_LOCAL_MAX]; /* number i is known as i + 1 */

    struct source_slot {
        uint8_t tag; /* more bits of the hash, against taking another node's slot for one's own */
        uint8_t source;
    } slot[SOURCES_SLOTS];
};

/* NULL when out of memory. free() it. */
struct sources *sources_new(const struct hash_seed *seed);

/* Remembers that `remote` was heard at our address `local`, whose unused octets are zero. O(our
 * addresses). */
void sources_note(struct sources *s, const union sock_addr *remote,
                  const union source_address *local);

/* A number for sources_address(); SOURCE_ANY when unknown. O(1). */
uint8_t sources_find(const struct sources *s, const union sock_addr *remote);

/* The address behind a number from sources_find(); NULL for SOURCE_ANY, and for a number given out
 * before everything was forgotten. */
const union source_address *sources_address(const struct sources *s, uint8_t source);

#endif
