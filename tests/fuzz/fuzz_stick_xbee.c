/* SPDX-License-Identifier: Apache-2.0 */
/* The driver of XBee modules: script of stick_fuzz.h, with frames made whole, in API mode 2. */
#include "radio/stick/xbee_frame.h"
#include "stick_fuzz.h"

static size_t wrap(struct bytes content, uint8_t *out, size_t size)
{
    return xbee_encode(content, true, out, size);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    return stick_fuzz_framed("xbee", wrap, data, size);
}
