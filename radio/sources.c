/* SPDX-License-Identifier: Apache-2.0 */
#include "radio/sources.h"

#include <stdlib.h>
#include <string.h>

struct sources *sources_new(const struct hash_seed *seed)
{
    struct sources *s = calloc(1, sizeof *s);
    if (s != NULL)
        s->seed = *seed;
    return s;
}

static uint64_t hash_of(const struct sources *s, const union sock_addr *remote)
{
    /* Not the whole structure: the scope of a global IPv6 address comes and goes. */
    uint8_t key[18];
    struct writer w = wr_to(key, sizeof key);
    if (remote->any.sa_family == AF_INET) {
        wr_bytes(&w, bytes_of(&remote->ip4.sin_addr, 4));
        wr_u16(&w, remote->ip4.sin_port);
    } else {
        wr_bytes(&w, bytes_of(&remote->ip6.sin6_addr, 16));
        wr_u16(&w, remote->ip6.sin6_port);
    }
    return hash_bytes(&s->seed, bytes_of(key, wr_close(&w)));
}

/* The number of one of our addresses, made when new. Temporary IPv6 addresses come and go for ever:
 * when the table is full everything is forgotten and learnt again. */
static uint8_t number_of(struct sources *s, const union source_address *local)
{
    for (unsigned i = 0; i < s->n_local; i++) {
        /* NOLINTNEXTLINE(bugprone-suspicious-memory-comparison,cert-exp42-c,cert-flp37-c): zeroed */
        if (memcmp(&s->local[i], local, sizeof *local) == 0)
            return (uint8_t)(i + 1);
    }
    if (s->n_local == SOURCES_LOCAL_MAX) {
        s->n_local = 0;
        memset(s->slot, 0, sizeof s->slot);
    }
    s->local[s->n_local++] = *local;
    return (uint8_t)s->n_local;
}

void sources_note(struct sources *s, const union sock_addr *remote,
                  const union source_address *local)
{
    const uint64_t hash = hash_of(s, remote);
    const uint8_t number = number_of(s, local);
    s->slot[hash % SOURCES_SLOTS] =
        (struct source_slot){.tag = (uint8_t)(hash >> 56), .source = number};
}

uint8_t sources_find(const struct sources *s, const union sock_addr *remote)
{
    const uint64_t hash = hash_of(s, remote);
    const struct source_slot *slot = &s->slot[hash % SOURCES_SLOTS];
    return slot->tag == (uint8_t)(hash >> 56) ? slot->source : SOURCE_ANY;
}

const union source_address *sources_address(const struct sources *s, uint8_t source)
{
    return source != SOURCE_ANY && source <= s->n_local ? &s->local[source - 1] : NULL;
}
