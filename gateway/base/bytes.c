/* SPDX-License-Identifier: Apache-2.0 */
#include "base/bytes.h"

/* Length of the sequence that `lead` starts, and the range allowed for its second octet (Unicode
 * table 3-7); 0 for an octet that cannot start a sequence. */
static size_t sequence_length(uint8_t lead, uint8_t *low, uint8_t *high)
{
    *low = 0x80;
    *high = 0xBF;
    if (lead >= 0xC2 && lead <= 0xDF)
        return 2;
    if (lead >= 0xE0 && lead <= 0xEF) {
        if (lead == 0xE0)
            *low = 0xA0;
        if (lead == 0xED)
            *high = 0x9F;
        return 3;
    }
    if (lead >= 0xF0 && lead <= 0xF4) {
        if (lead == 0xF0)
            *low = 0x90;
        if (lead == 0xF4)
            *high = 0x8F;
        return 4;
    }
    return 0;
}

bool bytes_is_utf8(struct bytes text)
{
    struct reader r = rd_of(text);
    while (rd_left(&r) > 0) {
        const uint8_t lead = rd_u8(&r);
        if (lead == 0)
            return false;
        if (lead < 0x80)
            continue;
        uint8_t low;
        uint8_t high;
        const size_t n = sequence_length(lead, &low, &high);
        if (n == 0)
            return false;
        const struct bytes tail = rd_bytes(&r, n - 1);
        if (tail.len == 0 || tail.data[0] < low || tail.data[0] > high)
            return false;
        for (size_t i = 1; i < tail.len; i++) {
            if ((tail.data[i] & 0xC0) != 0x80)
                return false;
        }
    }
    return true;
}
