/* SPDX-License-Identifier: Apache-2.0 */
#include "tools/lines.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

int lines_init(struct lines *l, int fd)
{
    *l = (struct lines){.fd = fd, .buf = malloc(LINES_MAX + 1)};
    return l->buf != NULL ? 0 : -ENOMEM;
}

void lines_deinit(struct lines *l)
{
    free(l->buf);
    *l = (struct lines){.fd = -1};
}

void lines_fill(struct lines *l)
{
    if (l->start > 0) {
        memmove(l->buf, l->buf + l->start, l->end - l->start);
        l->end -= l->start;
        l->start = 0;
    }
    if (l->end == LINES_MAX + 1) {
        l->overlong = true;
        l->end = 0;
    }
    const ssize_t n = read(l->fd, l->buf + l->end, LINES_MAX + 1 - l->end);
    if (n > 0) {
        l->end += (size_t)n;
    } else if (n == 0 || (errno != EAGAIN && errno != EINTR)) {
        l->read_errno = n < 0 ? errno : 0;
        l->at_end = true;
    }
}

static bool take(struct lines *l, size_t len, size_t with_end, struct bytes *out)
{
    *out = bytes_of(l->buf + l->start, len);
    l->start += with_end;
    if (!l->overlong)
        return true;
    l->overlong = false;
    l->skipped++;
    return false;
}

bool lines_next(struct lines *l, struct bytes *out)
{
    while (l->start < l->end) {
        const size_t left = l->end - l->start;
        const uint8_t *found = memchr(l->buf + l->start, '\n', left);
        if (found == NULL && !l->at_end)
            return false;
        const size_t len = found != NULL ? (size_t)(found - (l->buf + l->start)) : left;
        if (take(l, len, found != NULL ? len + 1 : len, out))
            return true;
    }
    if (l->at_end && l->overlong) {
        l->overlong = false;
        l->skipped++;
    }
    return false;
}

int lines_whole(int fd, size_t max, uint8_t **data, size_t *len)
{
    uint8_t *buf = malloc(max + 1);
    size_t used = 0;
    ssize_t n = 1;
    if (buf == NULL)
        return -ENOMEM;
    while (n != 0 && used <= max) {
        n = read(fd, buf + used, max + 1 - used);
        if (n < 0 && errno != EINTR) {
            const int error = errno;
            free(buf);
            return -error;
        }
        used += n > 0 ? (size_t)n : 0;
    }
    if (used > max) {
        free(buf);
        return -EFBIG;
    }
    *data = buf;
    *len = used;
    return 0;
}
