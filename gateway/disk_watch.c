/* SPDX-License-Identifier: Apache-2.0 */
#include "disk_watch.h"

/* Who waits for the disk was last heard of before it began to hang, or little later. */
enum { EXCUSED_BEFORE_MS = 2000 };

void disk_watch_init(struct disk_watch *w, struct log_ring *log)
{
    *w = (struct disk_watch){.log = log};
}

static void say_slow(struct disk_watch *w, int64_t now_ms)
{
    if (!log_begin(w->log, LOG_WARN, "store.slow"))
        return;
    log_int(w->log, "silent_ms", now_ms - w->since_ms);
    log_text(
        w->log, "text",
        "the disk under state_dir does not answer. With durability = process nobody waits for it "
        "until some mebibytes do; with power, nodes do");
    log_end(w->log);
}

static void say_answers(struct disk_watch *w, int64_t now_ms)
{
    if (!log_begin(w->log, LOG_NOTICE, "store.answers"))
        return;
    log_int(w->log, "after_ms", now_ms - w->since_ms);
    log_end(w->log);
}

void disk_watch_look(struct disk_watch *w, int64_t now_ms, int64_t since_ms)
{
    const bool slow = now_ms - since_ms >= DISK_WATCH_SLOW_MS;
    if (slow && !w->said) {
        w->since_ms = since_ms;
        say_slow(w, now_ms);
    } else if (!slow && w->said) {
        say_answers(w, now_ms);
    }
    w->said = slow;
}

bool disk_watch_excuses(int64_t now_ms, int64_t since_ms, int64_t silent_ms)
{
    return now_ms - since_ms >= DISK_WATCH_SLOW_MS &&
           now_ms - since_ms + EXCUSED_BEFORE_MS >= silent_ms;
}
