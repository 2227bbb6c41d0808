/* SPDX-License-Identifier: Apache-2.0 */
#include "disk_room.h"

#include "base/clock.h"

enum { EVERY_MS = 500 };

void disk_room_init(struct disk_room *r, uv_loop_t *loop, const char *path)
{
    *r = (struct disk_room){.loop = loop, .path = path, .commits = UINT64_MAX};
}

bool disk_room_is_narrow(uint64_t available, uint64_t total)
{
    const uint64_t part = total / 4;
    return available < (part < DISK_ROOM_KEPT ? part : DISK_ROOM_KEPT);
}

static void on_answer(uv_fs_t *request)
{
    struct disk_room *r = request->data;
    r->asking = false;
    if (request->result == 0) {
        const uv_statfs_t *fs = request->ptr;
        r->narrow = disk_room_is_narrow(fs->f_bavail * fs->f_bsize, fs->f_blocks * fs->f_bsize);
    }
    uv_fs_req_cleanup(request);
}

void disk_room_look(struct disk_room *r, int64_t now_ms, uint64_t commits)
{
    if (r->asking || now_ms < r->look_ms || (commits == r->commits && !r->narrow))
        return;
    r->commits = commits;
    r->look_ms = time_add(now_ms, EVERY_MS);
    r->request.data = r;
    r->asking = uv_fs_statfs(r->loop, &r->request, r->path, on_answer) == 0;
}
