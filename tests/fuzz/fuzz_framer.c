/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Any octets on a plain serial line: what comes out is within the limit, no octet is counted twice,
 * and after a pause the next intact frame is found. And any packet: written and read it is the same.
 * The first octet: framing, limit; FD in the input: a pause in LINE_RAW.
 */
#include "fuzz.h"
#include "radio/stick/framing.h"

static void must_find(struct framer *f, struct bytes packet)
{
    static uint8_t frame[FRAMER_FRAME_MAX];
    struct writer w = wr_to(frame, sizeof frame);
    framer_encode(f->framing, &w, packet);
    fuzz_require(wr_close(&w) > 0);
    struct reader r = rd_of(bytes_of(frame, w.len));
    struct bytes out, last = {0};
    unsigned n = 0;
    framer_pause(f);
    for (; framer_next(f, &r, &out); n++)
        last = out;
    /* One more where the garbage before had no check and ends here. */
    fuzz_require(n == 1 || (n == 2 && f->framing != LINE_RAW));
    fuzz_require(bytes_equal(last, packet));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct reader in = rd_of(bytes_of(data, size));
    struct framer f;
    struct bytes out;
    size_t decoded = 0;
    const uint8_t first = rd_u8(&in);
    framer_init(&f, (enum line_framing)(first & 3), (first & 4) != 0 ? FRAMER_PACKET_MAX : 255);
    const struct bytes whole = bytes_of(in.at, rd_left(&in));
    while (rd_left(&in) > 0) {
        if (*in.at == 0xFD)
            framer_pause(&f);
        struct reader piece = rd_of(rd_bytes(&in, 1 + (size_t)(first >> 3) % rd_left(&in)));
        while (framer_next(&f, &piece, &out)) {
            fuzz_require(out.len > 0 && out.len <= f.limit);
            decoded += out.len;
        }
        fuzz_require(rd_left(&piece) == 0);
        fuzz_require(decoded + f.skipped <= size);
    }
    must_find(&f, bytes_of("\x05\x0D\x00\x7E\xC0", 5));
    must_find(&f, bytes_of("\x02\x16", 2));
    if (f.framing != LINE_RAW && whole.len > 0 && whole.len <= f.limit)
        must_find(&f, whole);
    return 0;
}
