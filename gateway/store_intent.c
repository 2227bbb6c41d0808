/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The file of the intent log: made, mapped, and written by one at a time (the store's lock).
 *
 * An entry: u32 length of its operations, u32 their number, u64 check, u64 number of the entry, the
 * operations, and room up to a multiple of eight. The length is stored last, when all else stands,
 * also the zero that ends the list behind the entry: who dies in between leaves a list that is whole.
 * Lengths, tail and mark are in the machine's own order of octets; nobody else reads the file.
 */
#include "store_intent.h"

#include <errno.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <sys/mman.h>
#include <sys/vfs.h>
#include <unistd.h>

#include "base/hash.h"

#include "store_priv.h"

enum { KEPT = 256 * 1024 };

/* ---- words that are read while they may be written -------------------------------------------- */

static void store_length(uint8_t *at, uint32_t value)
{
    atomic_store_explicit((_Atomic uint32_t *)(void *)at, value, memory_order_release);
}

static void store_word(uint8_t *at, uint64_t value)
{
    atomic_store_explicit((_Atomic uint64_t *)(void *)at, value, memory_order_release);
}

/* ---- the file --------------------------------------------------------------------------------- */

/* There, writing again what is written takes new room, which may be gone. */
static bool copies_on_write(int fd)
{
    static const unsigned long kinds[] = {0x9123683EU, 0xCA451A4EU, 0x2FC12FC1U};
    struct statfs fs;
    if (fstatfs(fd, &fs) != 0)
        return false;
    for (size_t i = 0; i < sizeof kinds / sizeof kinds[0]; i++)
        if (((unsigned long)fs.f_type & UINT32_MAX) == kinds[i])
            return true;
    return false;
}

static int map_file(struct intent *log, int fd, size_t size)
{
    if (copies_on_write(fd))
        return -ENOTSUP;
    /* Also what is there already may have holes, by a copy of the directory for example. */
    const int rc = posix_fallocate(fd, 0, (off_t)size);
    if (rc != 0)
        return -rc;
    if (ftruncate(fd, (off_t)size) != 0)
        return -errno;
    void *const map = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    if (map == MAP_FAILED)
        return -errno;
    *log = (struct intent){.map = map, .size = size, .head = INTENT_START, .tail = INTENT_START};
    return 0;
}

int intent_open(struct intent *log, const char *path, size_t size)
{
    *log = (struct intent){.map = NULL};
    if (size < INTENT_BYTES_MIN)
        return -EINVAL;
    const int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (fd < 0)
        return -errno;
    const int rc = map_file(log, fd, size / 8 * 8);
    close(fd);
    return rc;
}

void intent_close(struct intent *log)
{
    if (log->map != NULL)
        munmap(log->map, log->size);
    *log = (struct intent){.map = NULL};
}

bool intent_boot_id(uint8_t out[INTENT_BOOT_BYTES])
{
    const int fd = open("/proc/sys/kernel/random/boot_id", O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return false;
    const ssize_t n = read(fd, out, INTENT_BOOT_BYTES);
    close(fd);
    return n == INTENT_BOOT_BYTES;
}

void intent_write_head(uint8_t out[INTENT_AT_BOOT], size_t size)
{
    struct writer w = wr_to(out, INTENT_AT_BOOT);
    wr_bytes(&w, bytes_of("SNetIntL", 8));
    wr_u32(&w, INTENT_VERSION);
    wr_u32(&w, (uint32_t)size);
}

uint64_t intent_check(const uint8_t id[INTENT_ID_BYTES], struct bytes in)
{
    struct hash_seed seed;
    memcpy(&seed, id, sizeof seed);
    return hash_bytes(&seed, in);
}

void intent_begin(struct intent *log, const uint8_t id[INTENT_ID_BYTES])
{
    /* Without a check that fits it is no log, until it is one. */
    store_word(log->map + INTENT_AT_CHECK, 0);
    store_length(log->map + INTENT_START, 0);
    store_word(log->map + INTENT_AT_TAIL, INTENT_START);
    store_word(log->map + INTENT_AT_MARKED, 0);
    store_word(log->map + INTENT_AT_CLOCK, 0);
    memset(log->map, 0, INTENT_AT_CHECK);
    intent_write_head(log->map, log->size);
    memcpy(log->map + INTENT_AT_ID, id, INTENT_ID_BYTES);
    if (!intent_boot_id(log->map + INTENT_AT_BOOT))
        memset(log->map + INTENT_AT_BOOT, 0, INTENT_BOOT_BYTES);
    const uint64_t check = intent_check(id, bytes_of(log->map, INTENT_AT_CHECK));
    store_word(log->map + INTENT_AT_CHECK, check != 0 ? check : 1);
    log->head = INTENT_START;
    log->tail = INTENT_START;
    log->last = (struct intent_mark){.seq = 0};
    memcpy(log->last.id, id, INTENT_ID_BYTES);
}

void intent_next_id(const struct intent *log, uint8_t id[INTENT_ID_BYTES])
{
    uint8_t text[INTENT_ID_BYTES + 8 + 1];
    struct writer w = wr_to(text, sizeof text - 1);
    wr_bytes(&w, bytes_of(log->last.id, INTENT_ID_BYTES));
    wr_u32(&w, (uint32_t)(log->last.seq >> 32));
    wr_u32(&w, (uint32_t)log->last.seq);
    for (uint8_t half = 0; half < 2; half++) {
        text[sizeof text - 1] = half;
        const uint64_t h = intent_check(log->last.id, bytes_of(text, sizeof text));
        memcpy(id + 8 * (size_t)half, &h, sizeof h);
    }
}

/* ---- entries ---------------------------------------------------------------------------------- */

static size_t padded(size_t n)
{
    return (n + 7) / 8 * 8;
}

size_t intent_used(const struct intent *log)
{
    return log->head - log->tail;
}

/* Behind the last entry there is always room for the zero that ends the list. */
size_t intent_room(const struct intent *log)
{
    return log->map != NULL ? log->size - log->head - 8 : 0;
}

bool intent_append(struct intent *log, const struct store_ops *ops, struct intent_links links,
                   int64_t clock_ms)
{
    const size_t room = intent_room(log) / 8 * 8;
    if (room <= INTENT_ENTRY_BYTES)
        return false;
    uint8_t *const entry = log->map + log->head;
    struct writer w = wr_to(entry + INTENT_ENTRY_BYTES, room - INTENT_ENTRY_BYTES);
    for (const struct store_op *op = ops->first; op != NULL && !w.failed; op = op->next)
        intent_write_op(&w, op, links);
    const size_t len = wr_close(&w);
    if (len == 0)
        return false;
    const uint32_t n = (uint32_t)ops->n;
    const uint64_t seq = log->last.seq + 1;
    memcpy(entry + 4, &n, sizeof n);
    memcpy(entry + 16, &seq, sizeof seq);
    const uint64_t check =
        intent_check(log->last.id, bytes_of(entry + 16, INTENT_ENTRY_BYTES - 16 + len)) ^ n;
    memcpy(entry + 8, &check, sizeof check);
    const size_t size = INTENT_ENTRY_BYTES + padded(len);
    store_length(entry + size, 0);
    store_word(log->map + INTENT_AT_CLOCK, (uint64_t)clock_ms);
    store_length(entry, (uint32_t)len);
    log->head += size;
    if (log->reached < log->head)
        log->reached = log->head;
    log->last.seq = seq;
    return true;
}

struct intent_point intent_here(const struct intent *log)
{
    return (struct intent_point){.at = log->head, .mark = log->last};
}

/* To the front, if that does not overlap: until the tail is moved the list stands where it was. */
static void move_up(struct intent *log)
{
    const size_t used = intent_used(log);
    if (INTENT_START + used + 8 > log->tail)
        return;
    memcpy(log->map + INTENT_START, log->map + log->tail, used);
    store_length(log->map + INTENT_START + used, 0);
    log->tail = INTENT_START;
    log->head = INTENT_START + used;
}

/* What it has grown over belongs to the file, and need not be held in memory of ours. A little is left for
 * the next time. */
static void let_go(struct intent *log)
{
    const size_t page = (size_t)sysconf(_SC_PAGESIZE);
    const size_t from = (log->head + KEPT + page - 1) / page * page;
    if (log->reached < from + KEPT)
        return;
    madvise(log->map + from, log->reached - from, MADV_DONTNEED);
    log->reached = from;
}

void intent_done(struct intent *log, const struct intent_point *upto, bool marked)
{
    log->tail = upto->at;
    move_up(log);
    let_go(log);
    store_word(log->map + INTENT_AT_TAIL, log->tail);
    if (marked)
        store_word(log->map + INTENT_AT_MARKED, upto->mark.seq);
}
