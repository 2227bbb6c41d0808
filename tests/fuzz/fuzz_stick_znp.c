/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The ZNP driver: script of stick_fuzz.h. Frames of the line have a checksum, which chance would
 * hardly ever get right; so each mutation repairs those of the pieces that are one frame.
 */
#include "stick_fuzz.h"

enum { START = 0xFE, PIECE = 0x90, OVERHEAD = 5 };

/* libFuzzer's own; there is none where the corpus is only replayed. */
size_t LLVMFuzzerMutate(uint8_t *data, size_t size, size_t max_size) __attribute__((weak));
size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t size, size_t max_size, unsigned seed);

size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t size, size_t max_size, unsigned seed)
{
    (void)seed;
    size = LLVMFuzzerMutate(data, size, max_size);
    for (size_t i = 1; i + 1 < size; i++) {
        const size_t len = data[i + 1];
        if (data[i] != START || data[i - 1] != PIECE + OVERHEAD - 1 + len ||
            i + OVERHEAD + len > size)
            continue;
        uint8_t fcs = 0;
        for (size_t k = 1; k < OVERHEAD - 1 + len; k++)
            fcs ^= data[i + k];
        data[i + OVERHEAD - 1 + len] = fcs;
    }
    return size;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    return stick_fuzz("znp", data, size);
}
