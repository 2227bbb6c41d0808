/* SPDX-License-Identifier: Apache-2.0 */
#include "tools/hex.h"

#include <string.h>

/* NOLINTNEXTLINE(readability-non-const-parameter): it is written through the member */
void hex_start(struct hex *h, uint8_t *buf, size_t cap)
{
    *h = (struct hex){.buf = buf, .cap = cap};
}

static void fault(struct hex *h, const char *why)
{
    if (h->why == NULL)
        h->why = why;
}

static void put(struct hex *h, unsigned octet)
{
    if (h->len == h->cap)
        fault(h, "more octets than a message can have");
    else
        h->buf[h->len++] = (uint8_t)octet;
}

static void end_group(struct hex *h)
{
    if (h->prefixed && h->digits == 0)
        fault(h, "0x without digits");
    else if (h->prefixed && h->digits == 1)
        put(h, h->high);
    else if (h->digits % 2 != 0)
        fault(h, "half an octet");
    h->digits = 0;
    h->prefixed = false;
}

static void put_digit(struct hex *h, unsigned value)
{
    if (h->digits % 2 == 0)
        h->high = value;
    else
        put(h, h->high << 4 | value);
    h->digits++;
}

void hex_feed(struct hex *h, char c)
{
    if (h->why != NULL)
        return;
    if (c >= '0' && c <= '9') {
        put_digit(h, (unsigned)(c - '0'));
    } else if (c >= 'a' && c <= 'f') {
        put_digit(h, (unsigned)(c - 'a') + 10);
    } else if (c >= 'A' && c <= 'F') {
        put_digit(h, (unsigned)(c - 'A') + 10);
    } else if ((c == 'x' || c == 'X') && h->digits == 1 && h->high == 0 && !h->prefixed) {
        h->prefixed = true;
        h->digits = 0;
    } else if (c != '\0' && strchr(" \t\r\n:,-", c) != NULL) {
        end_group(h);
    } else {
        fault(h, "not hexadecimal");
    }
}

bool hex_end(struct hex *h)
{
    end_group(h);
    return h->why == NULL;
}
