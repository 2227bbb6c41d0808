/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The file behind a capture. Packets are put into memory; a thread of libuv's pool writes them, so a
 * slow card never holds the loop. What arrives while both buffers are full is counted, not kept. The
 * file is whole records at any time within CAPTURE_EVERY_MS, so it can be read while it grows.
 */
#ifndef SENNET_GATEWAY_CAPTURE_FILE_H
#define SENNET_GATEWAY_CAPTURE_FILE_H

#include <stdbool.h>
#include <stdint.h>

#include <uv.h>

#include "base/log.h"

#include "capture.h"

enum { CAPTURE_BUFFER_BYTES = 512 * 1024, CAPTURE_EVERY_MS = 200 };

struct capture_file {
    uv_loop_t *loop;
    uv_timer_t timer;
    uv_fs_t request;
    struct log_ring *log; /* "capture.full", "capture.failed" */
    const char *path;
    uv_file fd;
    uint8_t *buffers[2];
    size_t used[2];
    unsigned filling; /* the other one is being written while `writing` */
    bool writing;
    size_t written_of;     /* octets of the buffer being written that are in the file */
    uint64_t bytes, limit; /* in the file and in memory; 0: no limit */
    uint64_t records, dropped;
    bool full, failed;
};

/* Creates or empties the file (mode 0600) and writes its header. 0, or a negative errno with a
 * sentence in `error`; then there is nothing to close. `path` must stay. */
int capture_file_open(struct capture_file *f, uv_loop_t *loop, const char *path, uint64_t limit,
                      struct log_ring *log, char *error, size_t error_size);

/* One packet. O(its length); never blocks. */
void capture_file_put(struct capture_file *f, int64_t wall_ms, bool to_node,
                      const struct capture_end *end, const struct peer *peer, struct bytes packet);

/* Begins to write what is in memory: it is in the file when the loop has run out of work. Harmless
 * when not open, as is the next. */
void capture_file_finish(struct capture_file *f);

/* After the loop: closes the file. */
void capture_file_free(struct capture_file *f);

#endif
