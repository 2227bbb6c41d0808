/* SPDX-License-Identifier: Apache-2.0 */
#include "radio/stick/xbee_frame.h"

#include <assert.h>

enum { START = 0x7E, ESCAPE = 0x7D, XON = 0x11, XOFF = 0x13, FLIP = 0x20 };

static void put(struct writer *w, uint8_t octet, bool escaped)
{
    const bool special = octet == START || octet == ESCAPE || octet == XON || octet == XOFF;
    if (escaped && special) {
        wr_u8(w, ESCAPE);
        octet ^= FLIP;
    }
    wr_u8(w, octet);
}

size_t xbee_encode(struct bytes content, bool escaped, void *out, size_t size)
{
    struct writer w = wr_to(out, size);
    uint8_t sum = 0;
    if (content.len == 0 || content.len > XBEE_CONTENT_MAX)
        return 0;
    wr_u8(&w, START);
    put(&w, (uint8_t)(content.len >> 8), escaped);
    put(&w, (uint8_t)content.len, escaped);
    for (size_t i = 0; i < content.len; i++) {
        sum = (uint8_t)(sum + content.data[i]);
        put(&w, content.data[i], escaped);
    }
    put(&w, (uint8_t)(0xFF - sum), escaped);
    return wr_close(&w);
}

void xbee_feed(struct xbee_decoder *d, struct bytes in)
{
    if (d->at > 0) {
        memmove(d->raw, d->raw + d->at, d->end - d->at);
        d->end -= d->at;
        d->at = 0;
    }
    assert(in.len <= sizeof d->raw - d->end);
    if (in.len > 0)
        memcpy(d->raw + d->end, in.data, in.len);
    d->end += in.len;
}

enum outcome { MORE, BAD, WHOLE };

/* Octets behind the start, escapes undone. */
struct source {
    const struct xbee_decoder *d;
    size_t at;
    enum outcome outcome; /* WHOLE while all is well */
};

static uint8_t take(struct source *s)
{
    const struct xbee_decoder *d = s->d;
    if (s->outcome != WHOLE)
        return 0;
    const bool is_escape = s->at < d->end && d->escaped && d->raw[s->at] == ESCAPE;
    if (s->at + (is_escape ? 2 : 1) > d->end) {
        s->outcome = MORE;
        return 0;
    }
    const uint8_t octet = d->raw[s->at + (is_escape ? 1 : 0)];
    if (d->escaped && octet == START) { /* never inside a frame */
        s->outcome = BAD;
        return 0;
    }
    s->at += is_escape ? 2 : 1;
    return is_escape ? octet ^ FLIP : octet;
}

/* Is there a frame at d->at, which is a start? */
static enum outcome try_frame(struct xbee_decoder *d, size_t *len, size_t *next)
{
    struct source s = {.d = d, .at = d->at + 1, .outcome = WHOLE};
    const unsigned high = take(&s);
    *len = high << 8 | take(&s);
    if (s.outcome == WHOLE && (*len == 0 || *len > XBEE_CONTENT_MAX))
        return BAD;
    uint8_t sum = 0;
    for (size_t i = 0; i < *len && s.outcome == WHOLE; i++) {
        d->content[i] = take(&s);
        sum = (uint8_t)(sum + d->content[i]);
    }
    sum = (uint8_t)(sum + take(&s));
    *next = s.at;
    return s.outcome != WHOLE ? s.outcome : sum == 0xFF ? WHOLE : BAD;
}

bool xbee_next(struct xbee_decoder *d, struct bytes *content)
{
    while (d->at < d->end) {
        size_t len = 0;
        size_t next = 0;
        if (d->raw[d->at] != START) {
            d->at++;
            d->skipped++;
            continue;
        }
        switch (try_frame(d, &len, &next)) {
        case MORE:
            return false;
        case BAD:
            xbee_give_up(d);
            break;
        case WHOLE:
            d->at = next;
            *content = bytes_of(d->content, len);
            return true;
        }
    }
    return false;
}

bool xbee_is_partial(const struct xbee_decoder *d)
{
    return d->at < d->end;
}

void xbee_give_up(struct xbee_decoder *d)
{
    if (d->at == d->end)
        return;
    d->at++;
    d->bad++;
    d->skipped++;
}
