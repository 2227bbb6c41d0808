/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Is there room under state_dir? What waits in the store leaves it by being deleted, and to delete it room
 * is needed, too: a disk that is filled to its end by messages for the broker would keep them for ever. So
 * none are taken any more while there still is some. Asked of the system by a thread of libuv's pool, as a
 * disk that hangs may let even that wait.
 */
#ifndef SENNET_GATEWAY_DISK_ROOM_H
#define SENNET_GATEWAY_DISK_ROOM_H

#include <stdbool.h>
#include <stdint.h>

#include <uv.h>

/* SQLite's WAL and its way back into the database; of small disks a quarter. */
#define DISK_ROOM_KEPT ((uint64_t)8 << 20)

struct disk_room {
    uv_fs_t request;
    uv_loop_t *loop;
    const char *path; /* borrowed */
    bool asking;
    uint64_t available; /* octets, as of a moment ago */
    uint64_t total;     /* 0: not known */
    uint64_t commits;
    int64_t look_ms; /* not again before */
};

void disk_room_init(struct disk_room *r, uv_loop_t *loop, const char *path);

/* Once per turn. Asks every 50 ms while something is written (`commits` counts it), twice a second while there
 * is little room. An answer that is under way is waited for by running the loop to its end. */
void disk_room_look(struct disk_room *r, int64_t now_ms, uint64_t commits);

/* Is too little left for more, beside `queued` octets that are to be written? */
bool disk_room_is_narrow(const struct disk_room *r, uint64_t queued);

#endif
