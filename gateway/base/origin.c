/* SPDX-License-Identifier: Apache-2.0 */
#include "base/origin.h"

#include <stddef.h>

const char *origin_name(unsigned field)
{
    static const char *const names[] = {
        [ORIGIN_GATEWAY] = "gateway", [ORIGIN_CLIENT] = "client", [ORIGIN_LINK] = "link",
        [ORIGIN_ADDRESS] = "address", [ORIGIN_LQI] = "lqi",       [ORIGIN_RSSI] = "rssi",
        [ORIGIN_TIME] = "time",
    };
    return field < ORIGIN_FIELDS ? names[field] : NULL;
}

void origin_put(struct writer *w, enum origin_field field, struct bytes text)
{
    if (text.len == 0 || text.len > ORIGIN_TEXT_MAX || w->cap - w->len < 2 + text.len)
        return;
    wr_u8(w, (uint8_t)field);
    wr_u8(w, (uint8_t)text.len);
    wr_bytes(w, text);
}

bool origin_next(struct reader *r, enum origin_field *field, struct bytes *text)
{
    while (rd_left(r) > 0) {
        const uint8_t number = rd_u8(r);
        *text = rd_bytes(r, rd_u8(r));
        if (r->failed)
            return false;
        *field = (enum origin_field)number;
        if (number < ORIGIN_FIELDS && text->len > 0)
            return true;
    }
    return false;
}
