/* SPDX-License-Identifier: Apache-2.0 */
#include "broker_watch.h"

#include "base/clock.h"

#include "logsink.h"

enum { BRIEF_MS = 60000, BRIEF_IN_A_ROW = 3 };

static void enter(struct broker_watch *w, bool connected, int64_t now_ms, int64_t wall_ms)
{
    w->connected = connected;
    w->since_ms = now_ms;
    w->since_wall_ms = wall_ms;
    w->line_ms = connected ? TIME_NEVER : time_add(now_ms, BROKER_WATCH_EVERY_MS);
}

void broker_watch_init(struct broker_watch *w, int64_t now_ms, int64_t wall_ms,
                       struct log_ring *log, const char *address, const char *name)
{
    *w = (struct broker_watch){.log = log, .address = address, .name = name};
    enter(w, false, now_ms, wall_ms);
}

bool broker_watch_event(struct broker_watch *w, int64_t now_ms, int64_t wall_ms,
                        const struct up_event *event)
{
    const bool up = event->type == UP_CONNECTED;
    const bool changed = up != w->connected;
    if (changed && !up && !event->renews)
        w->brief = now_ms - w->since_ms < BRIEF_MS ? w->brief + 1 : 0;
    const char *name = up ? "broker.connected" : changed ? "broker.lost" : "broker.attempt_failed";
    if (log_begin(w->log, up ? LOG_NOTICE : LOG_WARN, name)) {
        if (w->name != NULL)
            log_word(w->log, "broker", w->name);
        log_text(w->log, "address", event->address != NULL ? event->address : w->address);
        if (up)
            log_word(w->log, "session", event->session_present ? "kept" : "new");
        else
            log_text(w->log, "why", event->why != NULL ? event->why : "unknown");
        if (up && event->version != 0)
            log_word(w->log, "mqtt", event->version == 5 ? "5" : "3.1.1");
        if (!up && changed && w->brief >= BRIEF_IN_A_ROW)
            log_text(w->log, "hint", "does another MQTT client use the same client_id?");
        if (changed)
            log_int(w->log, up ? "outage_s" : "connected_s", (now_ms - w->since_ms) / 1000);
        log_end(w->log);
    }
    if (changed)
        enter(w, up, now_ms, wall_ms);
    return changed;
}

void broker_watch_advance(struct broker_watch *w, int64_t now_ms)
{
    char since[LOGSINK_TIME_SIZE];
    if (now_ms < w->line_ms)
        return;
    w->line_ms = time_add(now_ms, BROKER_WATCH_EVERY_MS);
    if (!log_begin(w->log, LOG_WARN, "broker.unreachable"))
        return;
    if (w->name != NULL)
        log_word(w->log, "broker", w->name);
    log_text(w->log, "address", w->address);
    log_word(w->log, "since", logsink_time(w->since_wall_ms, since));
    log_int(w->log, "for_s", (now_ms - w->since_ms) / 1000);
    log_end(w->log);
}

int64_t broker_watch_next_deadline(const struct broker_watch *w)
{
    return w->line_ms;
}
