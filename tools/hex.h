/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Octets from hexadecimal text, fed character by character: "0516", "05 16", "05:16", "0x05,0x16".
 * Blanks, colons, commas and hyphens separate; between two of them stands an even number of digits,
 * or one digit behind "0x".
 */
#ifndef SENNET_TOOLS_HEX_H
#define SENNET_TOOLS_HEX_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/bytes.h"

struct hex {
    uint8_t *buf;
    size_t cap;
    size_t len;
    unsigned digits; /* in this group, without 0x */
    unsigned high;   /* the digit that waits for its partner */
    bool prefixed;
    const char *why; /* the first fault, NULL while there is none */
};

void hex_start(struct hex *h, uint8_t *buf, size_t cap);
void hex_feed(struct hex *h, char c);

/* Ends the last group. False when anything was wrong; `why` tells what. */
bool hex_end(struct hex *h);

#endif
