/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Reads tests/golden/ (codec.txt tells the format) into numbered datagrams with the lines that say
 * what they must be. Whoever uses it gives those lines their meaning. A file that breaks the format
 * ends the test program with a message.
 */
#ifndef SENNET_TESTS_UNIT_GOLDEN_H
#define SENNET_TESTS_UNIT_GOLDEN_H

#include <stddef.h>
#include <stdint.h>

enum { GOLDEN_LINES_MAX = 6 };

struct golden {
    char *number;
    uint8_t *octets; /* a heap block of exactly `len` */
    size_t len;
    char *expect[GOLDEN_LINES_MAX];
    unsigned n_expect;
};

struct golden_file {
    struct golden *vectors;
    size_t count;
};

struct golden_file golden_load(const char *path);
void golden_free(struct golden_file *file);

/* "0A 0b0c 78*248" as a heap block of exactly `*len` octets. */
uint8_t *golden_octets(const char *text, size_t *len);

#endif
