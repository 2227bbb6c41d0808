/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A fuzz target is one function. libFuzzer calls it (clang, preset `fuzz`), and so does
 * replay_main.c with every file of the committed corpus, so that gcc-only machines test the same
 * inputs. `data` is a heap block of exactly `size` octets: AddressSanitizer sees any over-read.
 */
#ifndef SENNET_TESTS_FUZZ_FUZZ_H
#define SENNET_TESTS_FUZZ_FUZZ_H

#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

/* Returns 0. What must hold is stated with fuzz_require(). */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* An assert that stays in release builds: ends the process, which is how a finding looks. */
#define fuzz_require(condition)                                                                    \
    do {                                                                                           \
        if (!(condition)) {                                                                        \
            fprintf(stderr, "%s:%d: does not hold: %s\n", __FILE__, __LINE__, #condition);         \
            abort();                                                                               \
        }                                                                                          \
    } while (0)

#endif
