/* SPDX-License-Identifier: Apache-2.0 */
#include "app.h"

#include <assert.h>
#include <inttypes.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <uv.h>

#include "base/clock.h"
#include "base/error.h"
#include "base/log.h"

#include "broker_watch.h"
#include "logsink.h"
#include "notify.h"
#include "pump.h"
#include "report.h"
#include "system.h"

enum {
    LOG_RECORDS = 256,
    KERNEL_DROPS_EVERY_MS = 10 * 1000, /* how often the links' counters are looked at */
    DRAIN_STEP_MS = 20,                /* how often a draining gateway looks whether it is done */
    DRAIN_QUIET_MS = 40,               /* nothing under way for so long: drained */
    /* Links begin to deliver when the first attempt to reach the broker has ended: nodes that speak
     * in the first second after a restart shall not be told "congestion", which sends them away for
     * minutes. A broker that does not answer at all delays them no longer than this. */
    FIRST_ATTEMPT_MS = 2000,
    DISCONNECT_MS = 1000, /* for what QoS 0 left inside Paho, and MQTT's DISCONNECT */
};

static const struct signal_row {
    int number;
    const char *name;
} signal_rows[] = {
    {SIGTERM, "SIGTERM"},
    {SIGINT,  "SIGINT" },
    {SIGHUP,  "SIGHUP" },
    {SIGUSR1, "SIGUSR1"},
};

enum { N_SIGNALS = sizeof signal_rows / sizeof signal_rows[0] };

struct stopping {
    const char *why; /* NULL: not stopping */
    int64_t until_ms;
    int64_t step_ms;
    int64_t busy_ms; /* when something was last under way */
    uint64_t refused;
};

struct app {
    const struct config *config;
    uv_loop_t loop;
    uv_timer_t timer;
    uv_async_t wake;
    uv_signal_t signals[N_SIGNALS];
    struct link **links;
    uint64_t *kernel_drops; /* by link, as last said */
    int64_t kernel_drops_ms;
    struct pump pump;
    struct logsink sink;
    struct log_ring log;
    struct notify notify;
    struct broker_watch broker;
    struct stopping stop;
    int64_t started_ms;
    int64_t watchdog_ms; /* next beat */
    int64_t ready_ms;    /* when links start at the latest; TIME_NEVER once they have */
    int64_t armed_ms;    /* what the timer is set to */
    bool in_batch;
    bool broker_answered; /* or is known not to */
};

/* ---- the turn of the loop ---------------------------------------------------------------------
 *
 * Every wake-up is one turn: read the clocks, feed the machines, hand the results to the system,
 * arm the timer. */

static void turn_begin(struct app *a)
{
    uv_update_time(&a->loop);
    pump_time(&a->pump, (int64_t)uv_now(&a->loop), system_wall_ms());
}

static int64_t next_deadline(const struct app *a)
{
    int64_t next = time_min(pump_next_deadline(&a->pump), a->watchdog_ms);
    next = time_min(next, broker_watch_next_deadline(&a->broker));
    next = time_min(next, a->ready_ms);
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
    const struct mqtt_gauges g = mqtt_gauges(a->pump.mqtt);
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

static void turn_end(struct app *a)
{
    /* What the connection refuses comes back at once, and nodes are answered in the same turn. */
    pump_flush(&a->pump);
    const unsigned events = pump_broker(&a->pump);
    if (a->broker_answered || a->pump.now_ms >= a->ready_ms)
        become_ready(a);
    if (events > 0 || log_peek(&a->log) != NULL)
        pump_flush(&a->pump);
    if (events == PUMP_EVENTS_PER_TURN)
        uv_async_send(&a->wake);
    if (a->stop.why != NULL)
        check_drained(a, events);
    arm(a);
}

/* ---- links ----------------------------------------------------------------------------------- */

/* Begins a turn with the first packet of a batch. While stopping, nothing is taken any more: nodes
 * repeat what is not answered, and the next process takes it. */
static bool take_packet(struct app *a)
{
    if (!a->in_batch)
        turn_begin(a);
    a->in_batch = true;
    if (a->stop.why != NULL)
        a->stop.refused++;
    return a->stop.why == NULL;
}

static void on_packet(void *owner, const struct peer *from, struct bytes packet)
{
    struct app *a = owner;
    if (take_packet(a))
        pump_packet(&a->pump, from, packet);
}

static void on_group_packet(void *owner, const struct peer *from, struct bytes packet)
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

static void on_batch_end(void *owner)
{
    struct app *a = owner;
    a->in_batch = false;
    check_kernel_drops(a);
    turn_end(a);
}

/* From a timer of the link, or in the midst of a turn: what follows from it needs one of its own. */
static void on_group(void *owner, uint16_t link, bool joined)
{
    struct app *a = owner;
    uv_update_time(&a->loop);
    pump_time(&a->pump, (int64_t)uv_now(&a->loop), system_wall_ms());
    pump_group(&a->pump, link, joined);
    uv_async_send(&a->wake);
}

static void on_link_event(void *owner, uint16_t link, int level, const char *event,
                          const char *text)
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

/* Called from Paho's and the worker's threads. */
static void on_foreign_wake(void *arg)
{
    uv_async_send(arg);
}

static void on_wake(uv_async_t *wake)
{
    struct app *a = wake->data;
    turn_begin(a);
    turn_end(a);
}

static void say_status(struct app *a)
{
    notify_status(&a->notify,
                  a->broker.connected ? "Connected to the broker" : "Broker not reachable");
}

static void on_broker(void *owner, const struct up_event *event)
{
    struct app *a = owner;
    a->broker_answered = true;
    if (broker_watch_event(&a->broker, a->pump.now_ms, a->pump.wall_ms, event))
        say_status(a);
}

/* ---- timer and signals ----------------------------------------------------------------------- */

static void beat_watchdog(struct app *a)
{
    const int64_t worker_ms = mqtt_heartbeat_ms(a->pump.mqtt);
    a->watchdog_ms = time_add(a->pump.now_ms, notify_interval_ms(&a->notify));
    if (notify_alive(&a->notify, a->pump.now_ms, worker_ms)) {
        notify_watchdog(&a->notify);
    } else if (log_begin(&a->log, LOG_ERROR, "gateway.stuck")) {
        log_word(&a->log, "part", "mqtt-worker");
        log_int(&a->log, "silent_ms", a->pump.now_ms - worker_ms);
        log_end(&a->log);
    }
}

static void on_timer(uv_timer_t *timer)
{
    struct app *a = timer->data;
    a->armed_ms = TIME_NEVER;
    turn_begin(a);
    pump_advance(&a->pump);
    if (a->pump.now_ms >= a->watchdog_ms)
        beat_watchdog(a);
    broker_watch_advance(&a->broker, a->pump.now_ms);
    turn_end(a);
}

static void begin_stop(struct app *a, const char *why)
{
    const int64_t now_ms = a->pump.now_ms;
    a->stop = (struct stopping){.why = why,
                                .until_ms = time_add(now_ms, a->config->gateway.drain_ms),
                                .step_ms = now_ms,
                                .busy_ms = now_ms};
    notify_stopping(&a->notify, a->config->gateway.drain_ms);
    if (log_begin(&a->log, LOG_NOTICE, "gateway.stopping")) {
        log_word(&a->log, "why", why);
        log_end(&a->log);
    }
}

__attribute__((noreturn)) static void stop_at_once(struct app *a, const char *why)
{
    const struct mqtt_gauges g = mqtt_gauges(a->pump.mqtt);
    report_stopped(&a->log, &a->pump, why, a->pump.now_ms - a->started_ms, &g);
    pump_flush(&a->pump);
    _exit(EXIT_RUNTIME);
}

static void on_signal(uv_signal_t *handle, int number)
{
    struct app *a = handle->data;
    turn_begin(a);
    switch (number) {
    case SIGUSR1:
        report_counters(&a->log, &a->pump);
        break;
    case SIGHUP:
        if (log_begin(&a->log, LOG_NOTICE, "gateway.reload_unsupported")) {
            log_text(&a->log, "text", "this version reads its configuration only when it starts");
            log_end(&a->log);
        }
        break;
    default:
        if (a->stop.why != NULL)
            stop_at_once(a, "second_signal");
        begin_stop(a, number == SIGTERM ? "SIGTERM" : "SIGINT");
        break;
    }
    turn_end(a);
}

/* ---- starting -------------------------------------------------------------------------------- */

/* Says why the start failed; returns `code`. */
static int refuse(struct app *a, int code, const char *what, const char *why)
{
    if (log_begin(&a->log, LOG_ERROR, "gateway.failed")) {
        log_text(&a->log, "what", what);
        log_text(&a->log, "why", why);
        log_end(&a->log);
    }
    return code;
}

static void start_log(struct app *a)
{
    const struct logsink_options options = {
        .fd = STDERR_FILENO,
        .json = a->config->gateway.log_json,
        .journal = logsink_is_journal(getenv("JOURNAL_STREAM"), STDERR_FILENO),
        .verbose = a->config->gateway.log_level >= LOG_DEBUG,
    };
    logsink_init(&a->sink, &options);
}

static int start_machines(struct app *a)
{
    const struct config *config = a->config;
    struct hash_seed seeds[2];
    if (system_random(seeds, sizeof seeds) != 0)
        return refuse(a, EXIT_SYSTEM, "start", "the system gives no random numbers");

    struct sn_engine_config engine;
    if (config_engine(config, &engine) != 0)
        return refuse(a, EXIT_SYSTEM, "start", "out of memory");
    engine.hash_seed = seeds[0];
    engine.log_level = config->gateway.log_level;
    a->pump.engine = sn_engine_new(&engine, a->pump.now_ms);
    config_engine_free(&engine);

    struct shared_config shared = shared_defaults();
    shared.hash_seed = seeds[1];
    shared.log_level = config->gateway.log_level;
    a->pump.shared = shared_new(&shared, a->pump.now_ms);
    if (a->pump.engine == NULL || a->pump.shared == NULL)
        return refuse(a, EXIT_SYSTEM, "start", "out of memory");
    return 0;
}

static int start_loop(struct app *a)
{
    int rc = uv_timer_init(&a->loop, &a->timer);
    a->timer.data = a;
    a->wake.data = a;
    if (rc == 0)
        rc = uv_async_init(&a->loop, &a->wake, on_wake);
    for (size_t i = 0; i < N_SIGNALS && rc == 0; i++) {
        a->signals[i].data = a;
        rc = uv_signal_init(&a->loop, &a->signals[i]);
        if (rc == 0)
            rc = uv_signal_start(&a->signals[i], on_signal, signal_rows[i].number);
    }
    return rc == 0 ? 0 : refuse(a, EXIT_SYSTEM, "start", uv_strerror(rc));
}

static int exit_code_of(int error)
{
    switch (error) {
    case -EADDRINUSE:
    case -EADDRNOTAVAIL:
    case -ENODEV:
        return EXIT_UNAVAILABLE;
    case -EACCES:
    case -EPERM:
        return EXIT_PERMISSION;
    default:
        return EXIT_SYSTEM;
    }
}

static struct link_config link_config_of(const struct config_link *l, size_t index)
{
    return (struct link_config){
        .index = (uint16_t)index,
        .name = l->name,
        .listen = l->listen,
        .multicast = l->multicast,
        .max_packet_bytes = l->max_packet_bytes,
        .receive_buffer_bytes = l->receive_buffer_bytes,
    };
}

static int start_links(struct app *a)
{
    const size_t n = a->config->n_links;
    const struct link_sink sink = {.owner = a,
                                   .packet = on_packet,
                                   .batch_end = on_batch_end,
                                   .group_packet = on_group_packet,
                                   .group = on_group,
                                   .event = on_link_event};
    a->links = calloc(n, sizeof(struct link *));
    a->kernel_drops = calloc(n, sizeof *a->kernel_drops);
    if (a->links == NULL || a->kernel_drops == NULL)
        return refuse(a, EXIT_SYSTEM, "start", "out of memory");
    a->pump.links = a->links;
    a->pump.n_links = n;
    for (size_t i = 0; i < n; i++) {
        const struct config_link *l = &a->config->links[i];
        const struct link_config config = link_config_of(l, i);
        const struct link_driver *driver = link_driver_find(bytes_str(l->driver));
        char error[300];
        const int rc = driver->open(&a->loop, &config, &sink, &a->links[i], error, sizeof error);
        if (rc != 0) {
            char what[128];
            snprintf(what, sizeof what, "[link %s]", l->name);
            return refuse(a, exit_code_of(rc), what, error);
        }
    }
    return 0;
}

static int start_broker(struct app *a)
{
    const struct config_broker *b = &a->config->broker;
    struct mqtt_options options = mqtt_defaults();
    options.address = b->address;
    options.client_id = b->client_id;
    options.username = b->username;
    options.password = b->password;
    options.keepalive_s = b->keepalive_s;
    options.window = b->window;
    options.max_queued = b->max_queued;
    options.max_queued_bytes = b->max_queued_bytes;
    options.backoff_min_ms = b->reconnect_min_ms;
    options.backoff_max_ms = b->reconnect_max_ms;
    if (system_random(&options.seed, sizeof options.seed) != 0)
        return refuse(a, EXIT_SYSTEM, "start", "the system gives no random numbers");
    a->pump.mqtt = mqtt_start(&options, on_foreign_wake, &a->wake);
    if (a->pump.mqtt == NULL)
        return refuse(a, EXIT_SYSTEM, "[broker]", "out of memory or threads");
    broker_watch_init(&a->broker, a->pump.now_ms, a->pump.wall_ms, &a->log, b->address);
    say_status(a);
    return 0;
}

static void start_notify(struct app *a)
{
    const struct notify_environment env = {.socket = getenv("NOTIFY_SOCKET"),
                                           .watchdog_usec = getenv("WATCHDOG_USEC"),
                                           .watchdog_pid = getenv("WATCHDOG_PID")};
    const int rc = notify_open(&a->notify, &env, getpid());
    if (rc != 0 && log_begin(&a->log, LOG_WARN, "gateway.notify_unusable")) {
        log_text(&a->log, "socket", env.socket);
        log_text(&a->log, "why", strerror(-rc));
        log_end(&a->log);
    }
    const int64_t interval_ms = notify_interval_ms(&a->notify);
    a->watchdog_ms = interval_ms > 0 ? time_add(a->pump.now_ms, interval_ms) : TIME_NEVER;
}

/* 0 when every link is open, otherwise an exit code. */
static int start(struct app *a)
{
    char error[300];
    turn_begin(a);
    a->started_ms = a->pump.now_ms;
    if (system_state_dir(a->config->gateway.state_dir, error, sizeof error) != 0)
        return refuse(a, EXIT_NO_STATE, "[gateway]", error);
    system_raise_file_limit();
    start_notify(a);
    int rc = start_machines(a);
    if (rc == 0)
        rc = start_loop(a);
    if (rc == 0)
        rc = start_links(a);
    if (rc == 0)
        rc = start_broker(a);
    if (rc != 0)
        return rc;
    a->ready_ms = time_add(a->pump.now_ms, FIRST_ATTEMPT_MS);
    turn_end(a);
    return 0;
}

/* ---- stopping -------------------------------------------------------------------------------- */

static void close_handle(uv_handle_t *handle, void *arg)
{
    (void)arg;
    if (!uv_is_closing(handle))
        uv_close(handle, NULL);
}

/* The connection goes last but one: it may take a while, and during that a second signal must have
 * its default effect. */
static void stop_broker(struct app *a, struct mqtt_gauges *left)
{
    if (a->pump.mqtt == NULL)
        return;
    for (size_t i = 0; i < N_SIGNALS; i++)
        uv_signal_stop(&a->signals[i]);
    *left = mqtt_gauges(a->pump.mqtt);
    mqtt_stop(a->pump.mqtt, DISCONNECT_MS);
    a->pump.mqtt = NULL;
}

static void close_loop(struct app *a)
{
    for (size_t i = 0; i < a->pump.n_links; i++) {
        if (a->links[i] != NULL)
            a->links[i]->driver->close(a->links[i]);
        a->links[i] = NULL;
    }
    uv_walk(&a->loop, close_handle, NULL);
    uv_run(&a->loop, UV_RUN_DEFAULT);
    const int rc = uv_loop_close(&a->loop);
    assert(rc == 0);
    (void)rc;
}

/* Also after a start that failed half way. */
static void finish(struct app *a)
{
    struct mqtt_gauges left = {0};
    stop_broker(a, &left);
    if (a->stop.why != NULL)
        report_stopped(&a->log, &a->pump, a->stop.why, a->pump.now_ms - a->started_ms, &left);
    logsink_take(&a->sink, a->pump.now_ms, a->pump.wall_ms, &a->log, &a->pump.lost_logs[0]);
    logsink_finish(&a->sink, a->pump.now_ms, a->pump.wall_ms);
    close_loop(a);
    notify_close(&a->notify);
    shared_free(a->pump.shared);
    sn_engine_free(a->pump.engine);
    log_deinit(&a->log);
    free(a->links);
    free(a->kernel_drops);
}

/* ---- outside --------------------------------------------------------------------------------- */

static int run(struct app *a)
{
    if (log_init(&a->log, LOG_RECORDS, a->config->gateway.log_level) != 0)
        return EXIT_SYSTEM;
    if (uv_loop_init(&a->loop) != 0) {
        log_deinit(&a->log);
        return EXIT_SYSTEM;
    }
    start_log(a);
    const int code = start(a);
    if (code == 0)
        uv_run(&a->loop, UV_RUN_DEFAULT);
    finish(a);
    return code;
}

int app_run(const struct config *config)
{
    struct app *a = calloc(1, sizeof *a);
    if (a == NULL)
        return EXIT_SYSTEM;
    umask(0077);
    signal(SIGPIPE, SIG_IGN);
    a->config = config;
    a->armed_ms = TIME_NEVER;
    a->ready_ms = TIME_NEVER;
    a->watchdog_ms = TIME_NEVER;
    a->notify.fd = -1;
    a->pump.sink = &a->sink;
    a->pump.log = &a->log;
    a->pump.broker = on_broker;
    a->pump.owner = a;
    const int code = run(a);
    free(a);
    return code;
}
