/* SPDX-License-Identifier: Apache-2.0 */
#include "capture_file.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static void say(struct capture_file *f, enum log_level level, const char *event, const char *why)
{
    if (!log_begin(f->log, level, event))
        return;
    log_text(f->log, "file", f->path);
    log_text(f->log, "why", why);
    log_int(f->log, "packets", (int64_t)f->records);
    log_end(f->log);
}

static void fail(struct capture_file *f, int error)
{
    f->failed = true;
    say(f, LOG_ERROR, "capture.failed", strerror(-error));
}

static void write_on(struct capture_file *f);

static void on_written(uv_fs_t *request)
{
    struct capture_file *f = request->data;
    const ssize_t n = request->result;
    uv_fs_req_cleanup(request);
    f->writing = false;
    if (n < 0) {
        fail(f, (int)n);
        return;
    }
    f->written_of += (size_t)n;
    write_on(f);
}

/* Goes on with the buffer under way; then takes the other one, if it is not empty. */
static void write_on(struct capture_file *f)
{
    unsigned writing = 1 - f->filling;
    if (f->writing || f->failed)
        return;
    if (f->written_of >= f->used[writing]) {
        f->used[writing] = 0;
        f->written_of = 0;
        if (f->used[f->filling] == 0)
            return;
        writing = f->filling;
        f->filling = 1 - f->filling;
    }
    const uv_buf_t buf = uv_buf_init((char *)f->buffers[writing] + f->written_of,
                                     (unsigned)(f->used[writing] - f->written_of));
    const int rc = uv_fs_write(f->loop, &f->request, f->fd, &buf, 1, -1, on_written);
    f->writing = rc == 0;
    if (rc != 0)
        fail(f, rc);
}

static void on_timer(uv_timer_t *timer)
{
    write_on(timer->data);
}

int capture_file_open(struct capture_file *f, uv_loop_t *loop, const char *path, uint64_t limit,
                      struct log_ring *log, char *error, size_t error_size)
{
    *f = (struct capture_file){.loop = loop, .log = log, .path = path, .limit = limit};
    f->fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    if (f->fd < 0) {
        const int rc = -errno;
        snprintf(error, error_size, "%s can't be written: %s", path, strerror(-rc));
        return rc;
    }
    f->buffers[0] = malloc(CAPTURE_BUFFER_BYTES);
    f->buffers[1] = malloc(CAPTURE_BUFFER_BYTES);
    if (f->buffers[0] == NULL || f->buffers[1] == NULL || uv_timer_init(loop, &f->timer) != 0) {
        free(f->buffers[0]);
        free(f->buffers[1]);
        close(f->fd);
        f->fd = -1;
        snprintf(error, error_size, "out of memory");
        return -ENOMEM;
    }
    f->timer.data = f;
    f->request.data = f;
    struct writer w = wr_to(f->buffers[0], CAPTURE_BUFFER_BYTES);
    capture_header(&w);
    f->used[0] = w.len;
    f->bytes = w.len;
    write_on(f);
    return 0;
}

void capture_file_put(struct capture_file *f, int64_t wall_ms, bool to_node,
                      const struct capture_end *end, const struct peer *peer, struct bytes packet)
{
    const size_t most = packet.len + CAPTURE_OVERHEAD;
    size_t *used = &f->used[f->filling];
    if (f->full || f->failed)
        return;
    if (f->limit != 0 && f->bytes + most > f->limit) {
        f->full = true;
        say(f, LOG_WARN, "capture.full", "it has reached capture_limit; the rest is not captured");
        return;
    }
    struct writer w = wr_to(f->buffers[f->filling] + *used, CAPTURE_BUFFER_BYTES - *used);
    capture_record(&w, wall_ms, to_node, end, peer, packet);
    if (wr_close(&w) == 0) {
        f->dropped++;
        return;
    }
    *used += w.len;
    f->bytes += w.len;
    f->records++;
    if (*used >= CAPTURE_BUFFER_BYTES / 2)
        write_on(f);
    else if (!uv_is_active((uv_handle_t *)&f->timer))
        uv_timer_start(&f->timer, on_timer, CAPTURE_EVERY_MS, 0);
}

void capture_file_finish(struct capture_file *f)
{
    if (f->buffers[0] == NULL || uv_is_closing((uv_handle_t *)&f->timer))
        return;
    if (f->dropped > 0 && log_begin(f->log, LOG_WARN, "capture.dropped")) {
        log_int(f->log, "packets", (int64_t)f->dropped);
        log_end(f->log);
    }
    uv_close((uv_handle_t *)&f->timer, NULL);
    write_on(f);
}

void capture_file_free(struct capture_file *f)
{
    if (f->buffers[0] == NULL)
        return;
    close(f->fd);
    free(f->buffers[0]);
    free(f->buffers[1]);
    f->buffers[0] = NULL;
}
