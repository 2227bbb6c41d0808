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
    bool narrow; /* so little is left, as of a moment ago */
    uint64_t commits;
    int64_t look_ms; /* not again before */
};

void disk_room_init(struct disk_room *r, uv_loop_t *loop, const char *path);

/* Once per turn. Asks twice a second while something is written (`commits` counts it) or there is no
 * room. An answer that is under way is waited for by running the loop to its end. */
void disk_room_look(struct disk_room *r, int64_t now_ms, uint64_t commits);

/* A disk of `total` octets of which `available` can be written. */
bool disk_room_is_narrow(uint64_t available, uint64_t total);

#endif
