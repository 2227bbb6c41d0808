/* SPDX-License-Identifier: Apache-2.0 */
/* For sanitizers, which know malloc(). */
#include <stdlib.h>

#include "blocks.h"

void *block_new(size_t octets)
{
    return malloc(octets > 0 ? octets : 1);
}

void block_free(void *block)
{
    free(block);
}

void *block_resize(void *block, size_t octets)
{
    return realloc(block, octets > 0 ? octets : 1);
}

void block_trim(void) {}
