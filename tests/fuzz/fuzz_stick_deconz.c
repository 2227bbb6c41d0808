/* SPDX-License-Identifier: Apache-2.0 */
/* The driver of ConBee and RaspBee: script of stick_fuzz.h, with frames made whole. */
#include "radio/stick/deconz_frame.h"
#include "stick_fuzz.h"

/* The first three octets are command, sequence number and status. */
static size_t wrap(struct bytes content, uint8_t *out, size_t size)
{
    struct reader r = rd_of(content);
    struct deconz_frame f = {.command = rd_u8(&r), .seq = rd_u8(&r), .status = rd_u8(&r)};
    f.content = rd_rest(&r);
    return deconz_encode(&f, out, size);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    return stick_fuzz_framed("deconz", wrap, data, size);
}
