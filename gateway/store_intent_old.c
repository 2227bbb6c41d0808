/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What another process has left in the log. Read as a file, not through a mapping: it may be shorter
 * than it says. Nothing in it is believed but what its checks vouch for.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "store_intent.h"
#include "store_priv.h"

enum { FILE_MAX = 1 << 30 };

/* ---- the file --------------------------------------------------------------------------------- */

/* 0 or -errno; an empty one is not there. */
static int read_all(int fd, uint8_t **data, size_t *len)
{
    struct stat st;
    if (fstat(fd, &st) != 0)
        return -errno;
    if (!S_ISREG(st.st_mode))
        return -EINVAL;
    const size_t size = st.st_size < FILE_MAX ? (size_t)st.st_size : (size_t)FILE_MAX;
    *data = malloc(size + 1);
    if (*data == NULL)
        return -ENOMEM;
    while (*len < size) {
        const ssize_t n = pread(fd, *data + *len, size - *len, (off_t)*len);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return -errno;
        if (n == 0)
            break;
        *len += (size_t)n;
    }
    return 0;
}

static int read_file(const char *path, uint8_t **data, size_t *len)
{
    const int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
    if (fd < 0)
        return -errno;
    const int rc = read_all(fd, data, len);
    close(fd);
    return rc;
}

/* ---- the header ------------------------------------------------------------------------------- */

/* In the machine's own order of octets; a cursor that is at its end gives zero. */
static uint64_t get_word(struct reader *r)
{
    const struct bytes b = rd_bytes(r, 8);
    uint64_t out = 0;
    if (b.len == sizeof out)
        memcpy(&out, b.data, sizeof out);
    return out;
}

static uint32_t get_half(struct reader *r)
{
    const struct bytes b = rd_bytes(r, 4);
    uint32_t out = 0;
    if (b.len == sizeof out)
        memcpy(&out, b.data, sizeof out);
    return out;
}

struct header {
    struct intent_mark last; /* its id; the mark of the database, as far as it is known here */
    uint64_t tail;
    int64_t clock_ms;
};

static enum intent_state read_header(struct bytes file, struct header *h)
{
    uint8_t head[INTENT_AT_BOOT];
    uint8_t boot[INTENT_BOOT_BYTES];
    struct reader r = rd_of(file);
    const struct bytes before = rd_bytes(&r, INTENT_AT_CHECK);
    const uint64_t check = get_word(&r);
    h->tail = get_word(&r);
    h->last.seq = get_word(&r);
    h->clock_ms = (int64_t)get_word(&r);
    if (r.failed || file.len < INTENT_BYTES_MIN)
        return INTENT_FOREIGN;
    if (check == 0) /* about to begin */
        return INTENT_NONE;
    memcpy(h->last.id, before.data + INTENT_AT_ID, INTENT_ID_BYTES);
    intent_write_head(head, file.len);
    const uint64_t right = intent_check(h->last.id, before);
    if (memcmp(before.data, head, sizeof head) != 0 || check != (right != 0 ? right : 1))
        return INTENT_FOREIGN;
    if (!intent_boot_id(boot) || memcmp(before.data + INTENT_AT_BOOT, boot, sizeof boot) != 0)
        return INTENT_STALE;
    return INTENT_OURS;
}

/* ---- entries ---------------------------------------------------------------------------------- */

struct entry {
    uint32_t n; /* operations */
    uint64_t seq;
    struct bytes ops;
};

enum step { STEP_ENTRY, STEP_END, STEP_TORN };

static enum step next_entry(struct reader *r, const uint8_t *id, struct entry *out)
{
    struct reader at = *r;
    const uint32_t len = get_half(&at);
    if (len == 0)
        return at.failed ? STEP_TORN : STEP_END;
    out->n = get_half(&at);
    const uint64_t check = get_word(&at);
    struct reader checked = at;
    out->seq = get_word(&at);
    out->ops = rd_bytes(&at, len);
    rd_bytes(&at, (8 - len % 8) % 8);
    if (at.failed || (intent_check(id, rd_bytes(&checked, 8 + (size_t)len)) ^ out->n) != check)
        return STEP_TORN;
    *r = at;
    return STEP_ENTRY;
}

/* An entry with its operations, or nothing of it. 0; 1: it is not what it should be; -ENOMEM. */
static int read_ops(const struct entry *e, struct intent_names *names, struct store_ops *out)
{
    struct reader r = rd_of(e->ops);
    struct store_ops ops = {.first = NULL};
    int rc = 0;
    while (rc == 0 && rd_left(&r) > 0) {
        struct store_op *const op = intent_read_op(&r, names);
        if (op != NULL)
            store_ops_add(&ops, op);
        else
            rc = r.failed ? 1 : -ENOMEM;
    }
    if (rc == 0 && ops.n != e->n)
        rc = 1;
    if (rc == 0)
        store_ops_join(out, &ops);
    store_ops_free(&ops);
    return rc;
}

/* `out` NULL: they are only counted. */
static int read_entries(struct reader *r, const struct header *h, uint64_t after,
                        struct intent_names *names, struct store_ops *out, struct intent_left *left)
{
    struct entry e;
    uint64_t last = 0;
    enum step step;
    while ((step = next_entry(r, h->last.id, &e)) == STEP_ENTRY) {
        if (last != 0 && e.seq != last + 1)
            break;
        last = e.seq;
        if (e.seq <= after)
            continue;
        const int rc = out != NULL ? read_ops(&e, names, out) : 0;
        if (rc < 0)
            return rc;
        if (rc > 0)
            break;
        left->entries++;
        left->first = left->first != 0 ? left->first : e.seq;
        left->last = e.seq;
    }
    left->torn = step != STEP_END;
    return 0;
}

static int take(struct bytes file, const struct intent_mark *mark, struct intent_names *names,
                struct store_ops *out, struct intent_left *left)
{
    struct header h = {.tail = 0};
    left->state = read_header(file, &h);
    if (left->state == INTENT_FOREIGN || left->state == INTENT_NONE)
        return 0;
    /* A database that has seen less than it had said is an older one, put back. */
    if (left->state == INTENT_OURS &&
        (mark == NULL || !intent_same_log(mark, &h.last) || mark->seq < h.last.seq))
        left->state = INTENT_OTHER;
    const bool ours = left->state == INTENT_OURS;
    struct reader r = rd_of(file);
    rd_bytes(&r, h.tail >= INTENT_START && h.tail % 8 == 0 ? (size_t)h.tail : SIZE_MAX);
    const bool wanted = ours || (left->state == INTENT_OTHER && mark == NULL);
    left->clock_ms = ours ? h.clock_ms : 0;
    return read_entries(&r, &h, ours ? mark->seq : h.last.seq, names, wanted ? out : NULL, left);
}

int intent_read(const char *path, const struct intent_mark *mark, struct intent_names *names,
                struct store_ops *out, struct intent_left *left)
{
    uint8_t *data = NULL;
    size_t len = 0;

    *left = (struct intent_left){.state = INTENT_NONE};
    int rc = read_file(path, &data, &len);
    left->missing = rc == -ENOENT || (rc == 0 && len == 0);
    if (rc == 0 && len > 0) {
        rc = take(bytes_of(data, len), mark, names, out, left);
    } else if (rc != 0 && rc != -ENOENT && rc != -ENOMEM) {
        *left = (struct intent_left){.state = INTENT_UNREADABLE, .error = -rc};
        rc = 0;
    }
    free(data);
    return rc == -ENOENT ? 0 : rc;
}
