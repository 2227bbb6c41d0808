/* SPDX-License-Identifier: Apache-2.0 */
/* The plain serial line: script of stick_fuzz.h. */
#include "stick_fuzz.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    return stick_fuzz("serial", data, size);
}
