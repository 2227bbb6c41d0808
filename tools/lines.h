/* SPDX-License-Identifier: Apache-2.0 */
/* Messages from files: a whole file, or a descriptor line by line without blocking on it. */
#ifndef SENNET_TOOLS_LINES_H
#define SENNET_TOOLS_LINES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/bytes.h"

/* A line longer than this is skipped and counted; no packet could carry it. */
enum { LINES_MAX = 65535 };

struct lines {
    int fd;
    uint8_t *buf; /* LINES_MAX + 1 octets */
    size_t start;
    size_t end;
    bool at_end;    /* end of file seen */
    bool overlong;  /* inside a line that is being skipped */
    size_t skipped; /* lines too long */
    int read_errno; /* why reading ended early, or 0 */
};

/* 0, or -ENOMEM. */
int lines_init(struct lines *l, int fd);
void lines_deinit(struct lines *l);

/* One read(2), to be called when the descriptor is readable. */
void lines_fill(struct lines *l);

/* The next complete line without its end (the last one may lack it), borrowed until the next call
 * of any of these. False: read more, or `at_end`. */
bool lines_next(struct lines *l, struct bytes *out);

/* Reads all of `fd` into a new buffer of at most `max` octets; a file that is longer gives -EFBIG.
 * 0, or -errno. The caller frees `*data`. */
int lines_whole(int fd, size_t max, uint8_t **data, size_t *len);

#endif
