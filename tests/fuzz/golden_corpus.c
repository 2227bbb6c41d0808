/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Makes the committed corpus of fuzz_packet: golden_corpus GOLDEN_FILE DIRECTORY writes one file
 * per vector. The 64 KiB one is left out: it shows a fuzzer nothing that 258 octets do not.
 */
#include <stdio.h>
#include <stdlib.h>

#include "unit/golden.h"

enum { LARGEST = 1024 };

static int write_vector(const char *directory, const struct golden *v)
{
    char path[512];
    snprintf(path, sizeof path, "%s/golden-%s", directory, v->number);
    FILE *out = fopen(path, "wb");
    if (out == NULL) {
        perror(path);
        return -1;
    }
    const size_t n = fwrite(v->octets, 1, v->len, out);
    return fclose(out) == 0 && n == v->len ? 0 : -1;
}

int main(int argc, char **argv)
{
    if (argc != 3) {
        fputs("usage: golden_corpus GOLDEN_FILE DIRECTORY\n", stderr);
        return EXIT_FAILURE;
    }
    int result = 0;
    struct golden_file file = golden_load(argv[1]);
    for (size_t i = 0; i < file.count && result == 0; i++) {
        if (file.vectors[i].len <= LARGEST)
            result = write_vector(argv[2], &file.vectors[i]);
    }
    golden_free(&file);
    return result == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
