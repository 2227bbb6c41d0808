/* SPDX-License-Identifier: Apache-2.0 */
#include "radio/stick/znp_frame.h"

enum {
    HEADER = 4, /* start, length, cmd0, cmd1 */
    SUBSYSTEM_MAX = 0x15,
};

static uint8_t checksum(struct bytes covered)
{
    uint8_t fcs = 0;
    for (size_t i = 0; i < covered.len; i++)
        fcs ^= covered.data[i];
    return fcs;
}

void znp_frame_write(struct writer *w, uint16_t cmd, struct bytes data)
{
    if (data.len > ZNP_DATA_MAX) {
        w->failed = true;
        return;
    }
    const uint8_t head[] = {ZNP_START, (uint8_t)data.len, (uint8_t)(cmd >> 8), (uint8_t)cmd};
    wr_bytes(w, bytes_of(head, sizeof head));
    wr_bytes(w, data);
    wr_u8(w, checksum(bytes_of(head + 1, sizeof head - 1)) ^ checksum(data));
}

void znp_framer_reset(struct znp_framer *f)
{
    f->at = f->end = 0;
}

size_t znp_framer_put(struct znp_framer *f, struct bytes in)
{
    memmove(f->buf, f->buf + f->at, f->end - f->at);
    f->end -= f->at;
    f->at = 0;
    const size_t room = sizeof f->buf - f->end;
    const size_t n = in.len < room ? in.len : room;
    if (n > 0)
        memcpy(f->buf + f->end, in.data, n);
    f->end += n;
    return n;
}

/* Of a frame's first octets: could they be one? The sooner we see that they can't, the fewer
 * octets of the frames behind are waited for. */
static bool plausible(struct bytes seen)
{
    if (seen.len > 1 && seen.data[1] > ZNP_DATA_MAX)
        return false;
    if (seen.len <= 2)
        return true;
    const unsigned type = seen.data[2] >> 5, subsystem = seen.data[2] & 0x1F;
    return type >= 1 && type <= 3 && subsystem <= SUBSYSTEM_MAX;
}

bool znp_framer_next(struct znp_framer *f, struct znp_frame *out)
{
    while (f->at < f->end) {
        const struct bytes seen = bytes_of(f->buf + f->at, f->end - f->at);
        if (seen.data[0] != ZNP_START) {
            f->at++;
            f->skipped++;
            continue;
        }
        if (!plausible(seen)) {
            znp_framer_give_up(f);
            continue;
        }
        const size_t data_len = seen.len > 1 ? seen.data[1] : 0;
        if (seen.len < HEADER + data_len + 1)
            return false;
        if (checksum(bytes_of(seen.data + 1, HEADER - 1 + data_len)) !=
            seen.data[HEADER + data_len]) {
            znp_framer_give_up(f);
            continue;
        }
        out->cmd = (uint16_t)(seen.data[2] << 8 | seen.data[3]);
        out->data = bytes_of(seen.data + HEADER, data_len);
        f->at += HEADER + data_len + 1;
        return true;
    }
    return false;
}

bool znp_framer_partial(const struct znp_framer *f)
{
    return f->at < f->end;
}

void znp_framer_give_up(struct znp_framer *f)
{
    if (!znp_framer_partial(f))
        return;
    f->at++;
    f->skipped++;
    f->bad++;
}
