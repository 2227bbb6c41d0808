/* SPDX-License-Identifier: Apache-2.0 */
#include "app.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/error.h"

#include "app_priv.h"
#include "report.h"
#include "system.h"

enum {
    KERNEL_DROPS_EVERY_MS = 10 * 1000, /* how often the links' counters are looked at */
    DRAIN_STEP_MS = 20,                /* how often a draining gateway looks whether it is done */
    DRAIN_QUIET_MS = 40,               /* nothing under way for so long: drained */
};

/* ---- the turn of the loop --------------------------------------------------------------------- */

void app_turn_begin(struct app *a)
{
    uv_update_time(&a->loop);
    pump_time(&a->pump, (int64_t)uv_now(&a->loop), system_wall_ms());
    app_tell_minute(a);
}

static int64_t next_deadline(const struct app *a)
{
    int64_t next = time_min(pump_next_deadline(&a->pump), a->watchdog_ms);
    for (size_t i = 0; i < a->config->n_brokers; i++)
        next = time_min(next, broker_watch_next_deadline(&a->brokers[i].watch));
    next = time_min(next, a->ready_ms);
    next = time_min(next, a->minute_ms);
    next = time_min(next, a->settle_ms);
    if (a->stop.why != NULL)
        next = time_min(next, a->stop.step_ms);
    return next;
}

static void on_timer(uv_timer_t *timer);

static void arm(struct app *a)
{
    const int64_t next = next_deadline(a);
    if (next == a->armed_ms)
        return;
    a->armed_ms = next;
    if (next == TIME_NEVER) {
        uv_timer_stop(&a->timer);
        return;
    }
    const int64_t wait_ms = next > a->pump.now_ms ? next - a->pump.now_ms : 0;
    uv_timer_start(&a->timer, on_timer, (uint64_t)wait_ms, 0);
}

/* Draining is over when nothing has been under way for a moment, or when patience is. */
static void check_drained(struct app *a, unsigned events)
{
    const int64_t now_ms = a->pump.now_ms;
    const struct mqtt_gauges g = report_unfinished(&a->pump);
    if (g.queued + g.in_flight + events > 0)
        a->stop.busy_ms = now_ms;
    if (now_ms - a->stop.busy_ms >= DRAIN_QUIET_MS || now_ms >= a->stop.until_ms)
        uv_stop(&a->loop);
    a->stop.step_ms = time_add(now_ms, DRAIN_STEP_MS);
}

/* From now on nodes are heard. */
static void become_ready(struct app *a)
{
    if (a->ready_ms == TIME_NEVER)
        return;
    a->ready_ms = TIME_NEVER;
    for (size_t i = 0; i < a->pump.n_links; i++)
        a->links[i]->driver->start(a->links[i]);
    report_ready(&a->log, &a->pump, a->config);
    notify_ready(&a->notify);
}

static void look_at_disk(struct app *a)
{
    disk_watch_look(&a->disk, a->pump.now_ms, store_heartbeat_ms(a->pump.store));
    const struct store_gauges g = store_gauges(a->pump.store);
    disk_room_look(&a->room, a->pump.now_ms, g.commits);
    a->pump.disk_is_narrow = disk_room_is_narrow(&a->room, g.queued_bytes);
}

void app_turn_end(struct app *a)
{
    /* What the connection refuses comes back at once, and nodes are answered in the same turn. */
    pump_flush(&a->pump);
    const unsigned events = pump_broker(&a->pump);
    if (a->unanswered == 0 || a->pump.now_ms >= a->ready_ms)
        become_ready(a);
    if (events > 0 || log_peek(&a->log) != NULL)
        pump_flush(&a->pump);
    if (events >= PUMP_EVENTS_PER_TURN)
        uv_async_send(&a->wake);
    if (a->stop.why != NULL)
        check_drained(a, events);
    if (a->pump.store != NULL)
        look_at_disk(a);
    arm(a);
}

/* ---- links ----------------------------------------------------------------------------------- */

/* A turn begins with the first packet or outcome of a batch. */
static void join_batch(struct app *a)
{
    if (!a->in_batch)
        app_turn_begin(a);
    a->in_batch = true;
}

/* While stopping, nothing is taken any more: nodes repeat what is not answered, and the next process
 * takes it. */
static bool take_packet(struct app *a)
{
    join_batch(a);
    if (a->stop.why != NULL)
        a->stop.refused++;
    return a->stop.why == NULL;
}

void app_on_packet(void *owner, const struct peer *from, const struct link_signal *signal,
                   struct bytes packet)
{
    struct app *a = owner;
    if (take_packet(a))
        pump_packet(&a->pump, from, signal, packet);
}

void app_on_group_packet(void *owner, const struct peer *from, struct bytes packet)
{
    struct app *a = owner;
    if (take_packet(a))
        pump_group_packet(&a->pump, from, packet);
}

static void check_kernel_drops(struct app *a)
{
    if (a->pump.now_ms < a->kernel_drops_ms)
        return;
    a->kernel_drops_ms = time_add(a->pump.now_ms, KERNEL_DROPS_EVERY_MS);
    for (size_t i = 0; i < a->pump.n_links; i++)
        report_kernel_drops(&a->log, a->config->links[i].name, a->links[i], &a->kernel_drops[i]);
}

void app_on_batch_end(void *owner)
{
    struct app *a = owner;
    a->in_batch = false;
    check_kernel_drops(a);
    app_turn_end(a);
}

/* From a timer of the link, or in the midst of a turn: what follows from it needs one of its own. */
void app_on_group(void *owner, uint16_t link, bool joined)
{
    struct app *a = owner;
    app_turn_begin(a);
    pump_group(&a->pump, link, joined);
    uv_async_send(&a->wake);
}

void app_on_up(void *owner, uint16_t link, bool up)
{
    struct app *a = owner;
    app_turn_begin(a);
    pump_link(&a->pump, link, up);
    uv_async_send(&a->wake);
}

void app_on_limit(void *owner, uint16_t link, uint32_t max_packet_bytes)
{
    struct app *a = owner;
    app_turn_begin(a);
    pump_limit(&a->pump, link, max_packet_bytes);
    uv_async_send(&a->wake);
}

void app_on_outcome(void *owner, const struct peer *to, enum stick_outcome outcome)
{
    struct app *a = owner;
    join_batch(a);
    pump_outcome(&a->pump, to, outcome);
}

void app_on_link_event(void *owner, uint16_t link, int level, const char *event, const char *text)
{
    struct app *a = owner;
    if (!log_begin(&a->log, (enum log_level)level, event))
        return;
    log_text(&a->log, "link", a->config->links[link].name);
    log_text(&a->log, "text", text);
    log_end(&a->log);
    uv_async_send(&a->wake); /* links have timers of their own: have it written soon */
}

/* ---- the broker ------------------------------------------------------------------------------ */

void app_on_wake(uv_async_t *wake)
{
    struct app *a = wake->data;
    app_turn_begin(a);
    pump_store(&a->pump);
    app_turn_end(a);
}

void app_say_status(struct app *a)
{
    const size_t n = a->config->n_brokers;
    size_t connected = 0;
    for (size_t i = 0; i < n; i++)
        connected += a->brokers[i].watch.connected;
    char text[64];
    if (n == 1)
        snprintf(text, sizeof text, "%s",
                 connected > 0 ? "Connected to the broker" : "Broker not reachable");
    else
        snprintf(text, sizeof text, "Connected to %zu of %zu brokers", connected, n);
    notify_status(&a->notify, text);
}

void app_on_broker(void *owner, const struct sink *sink, const struct up_event *event)
{
    struct app *a = owner;
    struct app_broker *b = &a->brokers[sink->broker];
    if (!b->answered)
        a->unanswered--;
    b->answered = true;
    if (!broker_watch_event(&b->watch, a->pump.now_ms, a->pump.wall_ms, event))
        return;
    app_say_status(a);
    app_routes_connected(a);
}

struct orphan {
    struct app *app;
    uint64_t sink;
    uint64_t n;
};

static int say_orphan(void *owner, uint64_t number, const char *broker, struct bytes client_id)
{
    const struct orphan *o = owner;
    if (number != o->sink || !log_begin(&o->app->log, LOG_WARN, "store.no_broker"))
        return 0;
    log_text(&o->app->log, "broker", broker);
    if (client_id.len > 0)
        log_str(&o->app->log, "client", client_id);
    log_int(&o->app->log, "messages", (int64_t)o->n);
    log_text(
        &o->app->log, "text",
        broker[0] != '\0'
            ? "these wait for a broker that the configuration does not have any more; they are "
              "kept, and sent when it has one of that name again"
            : "these come from a damaged file that does not tell any more for which broker they "
              "are; they are kept, and not sent");
    log_end(&o->app->log);
    return 1;
}

void app_on_orphan(void *owner, uint64_t sink, uint64_t n)
{
    struct app *a = owner;
    store_sinks_each(a->pump.store, say_orphan, &(struct orphan){a, sink, n});
}

void app_on_store_state(void *owner, const char *why)
{
    struct app *a = owner;
    const bool failing = why != NULL;
    if (!log_begin(&a->log, failing ? LOG_ERROR : LOG_NOTICE,
                   failing ? "store.failing" : "store.recovered"))
        return;
    if (failing) {
        log_text(&a->log, "why", why);
        log_text(
            &a->log, "text",
            "nothing is stored until this is put right: a crash now loses sessions and messages, "
            "and nodes are told congestion while the broker is away");
    }
    log_end(&a->log);
}

/* ---- timer and signals ----------------------------------------------------------------------- */

static void beat_watchdog(struct app *a)
{
    const int64_t now_ms = a->pump.now_ms;
    int64_t worker_ms = now_ms;
    for (size_t i = 0; i < a->config->n_brokers; i++)
        worker_ms = time_min(worker_ms, mqtt_heartbeat_ms(a->brokers[i].sink.mqtt));
    for (size_t i = 0; i < ROUTER_BROKERS_MAX; i++) {
        if (a->pump.hosts[i] != NULL)
            worker_ms = time_min(worker_ms, mqtt_host_heartbeat_ms(a->pump.hosts[i]));
    }
    const int64_t store_ms = a->pump.store != NULL ? store_heartbeat_ms(a->pump.store) : now_ms;
    /* Paho's threads wait for the disk with a lock that the worker needs. */
    const bool excused = disk_watch_excuses(now_ms, store_ms, now_ms - worker_ms);
    a->watchdog_ms = time_add(now_ms, notify_interval_ms(&a->notify));
    if (excused || notify_alive(&a->notify, now_ms, worker_ms)) {
        notify_watchdog(&a->notify);
    } else if (log_begin(&a->log, LOG_ERROR, "gateway.stuck")) {
        log_word(&a->log, "part", "mqtt-worker");
        log_int(&a->log, "silent_ms", now_ms - worker_ms);
        log_end(&a->log);
    }
}

static void on_timer(uv_timer_t *timer)
{
    struct app *a = timer->data;
    a->armed_ms = TIME_NEVER;
    app_turn_begin(a);
    pump_advance(&a->pump);
    if (a->pump.now_ms >= a->watchdog_ms)
        beat_watchdog(a);
    for (size_t i = 0; i < a->config->n_brokers; i++)
        broker_watch_advance(&a->brokers[i].watch, a->pump.now_ms);
    app_routes_settle(a);
    app_turn_end(a);
}

static void begin_stop(struct app *a, const char *why)
{
    const int64_t now_ms = a->pump.now_ms;
    a->stop = (struct stopping){.why = why,
                                .until_ms = time_add(now_ms, a->config->gateway.drain_ms),
                                .step_ms = now_ms,
                                .busy_ms = now_ms};
    a->pump.stopping = true;
    notify_stopping(&a->notify, a->config->gateway.drain_ms);
    if (log_begin(&a->log, LOG_NOTICE, "gateway.stopping")) {
        log_word(&a->log, "why", why);
        log_end(&a->log);
    }
}

__attribute__((noreturn)) static void stop_at_once(struct app *a, const char *why)
{
    const struct mqtt_gauges g = report_unfinished(&a->pump);
    report_stopped(&a->log, &a->pump, why, a->pump.now_ms - a->started_ms, &g);
    pump_flush(&a->pump);
    _exit(EXIT_RUNTIME);
}

void app_on_signal(uv_signal_t *handle, int number)
{
    struct app *a = handle->data;
    app_turn_begin(a);
    switch (number) {
    case SIGUSR1:
        report_counters(&a->log, &a->pump, a->config);
        break;
    case SIGHUP:
        app_reload(a);
        break;
    default:
        if (a->stop.why != NULL)
            stop_at_once(a, "second_signal");
        begin_stop(a, number == SIGTERM ? "SIGTERM" : "SIGINT");
        break;
    }
    app_turn_end(a);
}
