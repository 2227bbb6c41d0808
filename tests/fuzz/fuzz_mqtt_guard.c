/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Any packets of a broker, between any requests. No packet is read beyond its end, nothing is passed that
 * was not asked for, and an acknowledgement passes once.
 * The first octet: level; then per step: first octet, length, that many octets. First octets with the low
 * bit are sent, with the id that follows; the others have come.
 */
#include <string.h>

#include "base/bytes.h"

#include "broker/mqtt_guard.h"
#include "fuzz.h"

static bool is_ack(uint8_t first)
{
    return first >> 4 == 4 || first >> 4 == 7 || first >> 4 == 9 || first >> 4 == 11;
}

static void receive(struct guard *g, uint8_t first, struct bytes rest)
{
    char why[GUARD_WHY_MAX] = "";
    uint8_t *const copy = malloc(rest.len > 0 ? rest.len : 1); /* ends where the packet ends */
    if (rest.len > 0)
        memcpy(copy, rest.data, rest.len);
    const struct bytes packet = bytes_of(copy, rest.len);
    const unsigned open = g->open;
    const enum guard_verdict v = guard_received(g, first, packet, why);
    fuzz_require((v == GUARD_BROKEN) == (why[0] != '\0'));
    if (g->level != 0 && is_ack(first) && v == GUARD_PASS) {
        fuzz_require(g->open + 1 == open);
        fuzz_require(guard_received(g, first, packet, why) == GUARD_IGNORE);
    } else if (g->level != 0) { /* a PUBREC may be an error, which is the end */
        fuzz_require(g->open == open || (first >> 4 == 5 && g->open + 1 == open));
    }
    free(copy);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct reader in = rd_of(bytes_of(data, size));
    struct guard g = {0};
    guard_begin(&g, rd_u8(&in) % 6);
    while (rd_left(&in) > 0) {
        const uint8_t first = rd_u8(&in);
        if ((first & 1) != 0) {
            guard_sent(&g, first & 0xFE, rd_u16(&in));
            continue;
        }
        const uint8_t wanted = rd_u8(&in);
        const size_t len = wanted < rd_left(&in) ? wanted : rd_left(&in);
        receive(&g, first, rd_bytes(&in, len));
    }
    guard_end(&g);
    return 0;
}
