/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a client knows of normal topic ids: id <-> name, from REGACK, SUBACK and the gateway's
 * REGISTER. Bounded in entries and octets; the least recently used entry makes room, which a
 * gateway finds out by PUBACK "invalid topic id" and cures by registering again (section 6.10).
 */
#ifndef SENNET_TOOLS_REGISTRATIONS_H
#define SENNET_TOOLS_REGISTRATIONS_H

#include <stdbool.h>
#include <stdint.h>

#include "base/bytes.h"

enum { REGISTRATIONS_MAX = 1024, REGISTRATIONS_BYTES_MAX = 262144 };

struct registration {
    uint8_t *name;
    uint32_t used; /* tick of the last look-up */
    uint16_t id;
    uint16_t len;
    bool fresh; /* told in this connection */
};

/* All zero is an empty table. Look-ups are O(n), meant for a handful of entries. */
struct registrations {
    struct registration *list;
    uint32_t bytes;
    uint32_t tick;
    uint16_t count;
    uint16_t cap;
};

void regs_clear(struct registrations *r);

/* Replaces what was known of this id and of this name. False when out of memory. */
bool regs_put(struct registrations *r, uint16_t id, struct bytes name);

/* The name, borrowed until the table changes; empty when unknown. */
struct bytes regs_name(struct registrations *r, uint16_t id);

/* 0 when unknown. */
uint16_t regs_id(struct registrations *r, struct bytes name);

/* A connection begins, in which the gateway may tell everything once more. */
void regs_new_connection(struct registrations *r);

/* That was told in this connection. */
bool regs_is_fresh(const struct registrations *r, uint16_t id, struct bytes name);

void regs_forget(struct registrations *r, uint16_t id);

#endif
