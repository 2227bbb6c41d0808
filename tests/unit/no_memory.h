/* SPDX-License-Identifier: Apache-2.0 */
/* Memory that can be away: for suites linked with -Wl,--wrap=calloc. */
#ifndef SENNET_TESTS_UNIT_NO_MEMORY_H
#define SENNET_TESTS_UNIT_NO_MEMORY_H

#include <stdbool.h>
#include <stddef.h>

static bool no_memory;

void *__real_calloc(size_t n, size_t size);
void *__wrap_calloc(size_t n, size_t size);

void *__wrap_calloc(size_t n, size_t size)
{
    return no_memory ? NULL : __real_calloc(n, size);
}

#endif
