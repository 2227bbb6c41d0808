/* SPDX-License-Identifier: Apache-2.0 */
#include "disk_room.h"

#include "base/clock.h"

enum {
    EVERY_MS = 50,
    IDLE_MS = 500,
    COPIES = 3, /* of what is written: in the WAL, and in pages of the database that are not full */
};

void disk_room_init(struct disk_room *r, uv_loop_t *loop, const char *path)
{
    *r = (struct disk_room){.loop = loop, .path = path, .commits = UINT64_MAX};
}

bool disk_room_is_narrow(const struct disk_room *r, uint64_t queued)
{
    const uint64_t part = r->total / 4;
    const uint64_t kept = part < DISK_ROOM_KEPT ? part : DISK_ROOM_KEPT;
    return r->total > 0 && r->available < kept + COPIES * queued;
}

static void on_answer(uv_fs_t *request)
{
    struct disk_room *r = request->data;
    r->asking = false;
    if (request->result == 0) {
        const uv_statfs_t *fs = request->ptr;
        r->available = fs->f_bavail * fs->f_bsize;
        r->total = fs->f_blocks * fs->f_bsize;
    }
    uv_fs_req_cleanup(request);
}

void disk_room_look(struct disk_room *r, int64_t now_ms, uint64_t commits)
{
    const bool written = commits != r->commits;
    if (r->asking || now_ms < r->look_ms || (!written && !disk_room_is_narrow(r, 0)))
        return;
    r->commits = commits;
    r->look_ms = time_add(now_ms, written ? EVERY_MS : IDLE_MS);
    r->request.data = r;
    r->asking = uv_fs_statfs(r->loop, &r->request, r->path, on_answer) == 0;
}
