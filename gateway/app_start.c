/* SPDX-License-Identifier: Apache-2.0 */
/* How the application starts, with an exit code for everything that can stand in the way. */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/error.h"
#include "base/origin.h"

#include "app_priv.h"
#include "report.h"
#include "system.h"

enum {
    LOG_RECORDS = 256,
    /* Links begin to deliver when the first attempt to reach the broker has ended: nodes that speak
     * in the first second after a restart shall not be told "congestion", which sends them away for
     * minutes. A broker that does not answer at all delays them no longer than this. */
    FIRST_ATTEMPT_MS = 2000,
    SLOW_STEP_MS = 2000, /* of the start, before the log names it */
};

static const int signals[APP_SIGNALS] = {SIGTERM, SIGINT, SIGHUP, SIGUSR1};

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

/* Called from the store's thread, from Paho's and the worker's. */
void app_foreign_wake(void *arg)
{
    uv_async_send(arg);
}

static int take_names(struct app *a)
{
    const struct config *config = a->config;
    a->brokers = calloc(config->n_brokers, sizeof *a->brokers);
    a->link_names = calloc(config->n_links, sizeof *a->link_names);
    if (a->brokers == NULL || a->link_names == NULL)
        return refuse(a, EXIT_SYSTEM, "start", "out of memory");
    for (size_t i = 0; i < config->n_links; i++)
        a->link_names[i] = config->links[i].name;
    return 0;
}

/* Of a file of the state directory; -1: it is not there. */
static int64_t size_of(const struct app *a, const char *name)
{
    struct stat st;
    char *path = NULL;
    if (asprintf(&path, "%s/%s", a->config->gateway.state_dir, name) < 0)
        return -1;
    const int rc = stat(path, &st);
    free(path);
    return rc == 0 ? (int64_t)st.st_size : -1;
}

/* Only a gateway with a store leaves these there. */
static bool is_store_lost(const struct app *a)
{
    return size_of(a, "sennet.db") <= 0 &&
           (size_of(a, "effective.conf") > 0 || size_of(a, "sennet.db-intent") > 0);
}

static void say_lost(struct app *a)
{
    if (!log_begin(&a->log, LOG_ERROR, "store.begun_anew"))
        return;
    log_text(&a->log, "text",
             "a gateway has run with this state_dir, but its sennet.db is gone or empty: what was "
             "stored "
             "in it is lost to the gateway");
    log_end(&a->log);
}

/* Whoever turns the store off may not think of what waits in it. */
static void say_unused(struct app *a)
{
    if (size_of(a, "sennet.db") <= 0 || !log_begin(&a->log, LOG_WARN, "store.unused"))
        return;
    log_text(
        &a->log, "text",
        "durability is off, but state_dir holds the sennet.db of a gateway that had a store: its "
        "sessions and waiting messages stay there until durability is process or power again");
    log_end(&a->log);
}

static int start_store(struct app *a)
{
    const struct config *config = a->config;
    const struct config_store *s = &config->store;
    if (s->durability == 1 + STORE_OFF) {
        say_unused(a);
        return 0;
    }
    struct store_options options = store_defaults();
    options.dir = config->gateway.state_dir;
    options.durability = (enum store_durability)(s->durability - 1);
    options.max_bytes = s->max_bytes;
    options.linger_ms = s->linger_ms;
    options.links = a->link_names;
    options.n_links = config->n_links;
    char error[400];
    const bool lost = is_store_lost(a);
    const int rc =
        store_open(&options, app_foreign_wake, &a->wake, &a->pump.store, error, sizeof error);
    if (rc != 0)
        return refuse(a, rc > 0 ? rc : EXIT_SYSTEM, "[store]", rc > 0 ? error : "out of memory");
    if (lost)
        say_lost(a);
    return 0;
}

static int restore(struct app *a)
{
    if (a->pump.store == NULL)
        return 0;
    const int rc = pump_restore(&a->pump);
    const char *notice = store_notice(a->pump.store);
    if (notice != NULL && log_begin(&a->log, LOG_ERROR, "store.notice")) {
        log_text(&a->log, "text", notice);
        log_end(&a->log);
    }
    if (rc == -ENOMEM || app_routes_restored(a) != 0)
        return refuse(a, EXIT_SYSTEM, "[store]", "out of memory");
    report_restored(&a->log, &a->pump, rc == 0);
    return 0;
}

/* 0 or -ENOMEM. */
static int start_router(struct app *a, const struct hash_seed *seed)
{
    const struct config *config = a->config;
    if (app_routes_begin(a) != 0)
        return -ENOMEM;
    if (!config_is_routed(config) && a->routes_before == NULL)
        return 0;
    struct router_config router = router_defaults();
    app_routes_fill(a->routes_before != NULL ? a->routes_before : a->routes, &router);
    router.hash_seed = *seed;
    router.log_level = config->gateway.log_level;
    router.journal = a->pump.store != NULL;
    router.gateway = config->gateway.name;
    for (size_t i = 0; i < config->n_brokers; i++)
        a->broker_names[i] = config_broker_name(&config->brokers[i]);
    router.broker_names = a->broker_names;
    router.link_names = a->link_names;
    router.n_links = config->n_links;
    router.n_brokers = (unsigned)config->n_brokers;
    a->pump.router = router_new(&router, a->pump.now_ms);
    return a->pump.router != NULL ? 0 : -ENOMEM;
}

void app_log_about(const struct app *a, unsigned broker, struct log_ring *ring)
{
    if (a->config->n_brokers > 1)
        log_about(ring, "broker", bytes_str(config_broker_name(&a->config->brokers[broker])));
}

/* The shared session at a broker. 0 or -ENOMEM. */
static int start_sink(struct app *a, unsigned broker, const struct hash_seed seeds[])
{
    const bool stored = a->pump.store != NULL;
    struct shared_config config = shared_defaults();
    config.hash_seed = seeds[1];
    config.journal = stored && a->pump.router == NULL;
    config.log_level = a->config->gateway.log_level;
    struct sink *s = &a->brokers[broker].sink;
    s->broker = broker;
    int rc = 0;
    if (stored)
        rc = store_sink(a->pump.store, config_broker_name(&a->config->brokers[broker]),
                        bytes_of(NULL, 0), &s->number);
    s->shared = shared_new(&config, a->pump.now_ms);
    const bool spooled = app_wants_spool(a, broker);
    if (spooled)
        s->spool = app_new_spool(a, broker, &seeds[2], 0);
    if (rc != 0 || s->shared == NULL || (spooled && s->spool == NULL))
        return -ENOMEM;
    app_log_about(a, broker, shared_log(s->shared));
    if (spooled)
        app_log_about(a, broker, spool_log(s->spool));
    return pump_add(&a->pump, s);
}

static int start_machines(struct app *a)
{
    const struct config *config = a->config;
    const bool journal = a->pump.store != NULL;
    struct hash_seed seeds[5];
    if (system_random(seeds, sizeof seeds) != 0)
        return refuse(a, EXIT_SYSTEM, "start", "the system gives no random numbers");
    a->own_seed = seeds[4];

    struct sn_engine_config engine;
    if (config_engine(config, &engine) != 0)
        return refuse(a, EXIT_SYSTEM, "start", "out of memory");
    engine.hash_seed = seeds[0];
    engine.print_seed = seeds[0];
    if (journal)
        memcpy(&engine.print_seed, store_seed(a->pump.store), sizeof engine.print_seed);
    engine.journal = journal;
    engine.log_level = config->gateway.log_level;
    a->pump.engine = sn_engine_new(&engine, a->pump.now_ms);
    config_engine_free(&engine);

    int rc = a->pump.engine != NULL ? start_router(a, &seeds[3]) : -ENOMEM;
    for (unsigned i = 0; i < config->n_brokers && rc == 0; i++)
        rc = start_sink(a, i, seeds);
    return rc == 0 ? 0 : refuse(a, EXIT_SYSTEM, "start", "out of memory");
}

static int start_loop(struct app *a)
{
    int rc = uv_timer_init(&a->loop, &a->timer);
    a->timer.data = a;
    a->wake.data = a;
    if (rc == 0)
        rc = uv_async_init(&a->loop, &a->wake, app_on_wake);
    for (size_t i = 0; i < APP_SIGNALS && rc == 0; i++) {
        a->signals[i].data = a;
        rc = uv_signal_init(&a->loop, &a->signals[i]);
        if (rc == 0)
            rc = uv_signal_start(&a->signals[i], app_on_signal, signals[i]);
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

/* 0, an exit code when it can't be opened. A stick that is not there is no such case. */
static int start_link(struct app *a, size_t i, const struct link_sink *sink)
{
    const struct config_link *l = &a->config->links[i];
    const struct link_driver *driver = link_driver_find(bytes_str(l->driver));
    struct link_config config;
    struct stick_config stick;
    char error[300];
    config_radio(a->config, i, &config, &stick);
    if (system_random(&stick.seed, sizeof stick.seed) != 0 ||
        system_random(&stick.hash_seed, sizeof stick.hash_seed) != 0)
        return refuse(a, EXIT_SYSTEM, "start", "the system gives no random numbers");
    const int rc = driver->open(&a->loop, &config, sink, &a->links[i], error, sizeof error);
    explicit_bzero(&stick, sizeof stick);
    if (rc == 0)
        return 0;
    char what[128];
    snprintf(what, sizeof what, "[link %s]", l->name);
    return refuse(a, exit_code_of(rc), what, error);
}

void app_take_origins(struct app *a)
{
    a->pump.origins = 0;
    for (size_t i = 0; i < a->config->n_brokers; i++)
        a->pump.origins |= a->config->brokers[i].properties & ~(1U << ORIGIN_GATEWAY);
}

static int start_links(struct app *a)
{
    const size_t n = a->config->n_links;
    const struct link_sink sink = {.owner = a,
                                   .packet = app_on_packet,
                                   .batch_end = app_on_batch_end,
                                   .group_packet = app_on_group_packet,
                                   .group = app_on_group,
                                   .outcome = app_on_outcome,
                                   .up = app_on_up,
                                   .limit = app_on_limit,
                                   .event = app_on_link_event};
    a->links = calloc(n, sizeof(struct link *));
    a->kernel_drops = calloc(n, sizeof *a->kernel_drops);
    if (a->links == NULL || a->kernel_drops == NULL)
        return refuse(a, EXIT_SYSTEM, "start", "out of memory");
    a->pump.links = a->links;
    a->pump.n_links = n;
    a->pump.link_names = a->link_names;
    app_take_origins(a);
    int rc = 0;
    for (size_t i = 0; i < n && rc == 0; i++) {
        rc = start_link(a, i, &sink);
        if (rc == 0 && a->links[i]->driver->stick != NULL)
            pump_link(&a->pump, (uint16_t)i, false); /* until it says that it is up */
    }
    return rc;
}

static int start_capture(struct app *a)
{
    const struct config *config = a->config;
    char error[300];
    if (config->gateway.pcap == NULL)
        return 0;
    a->pump.capture_ends = calloc(a->pump.n_links, sizeof *a->pump.capture_ends);
    if (a->pump.capture_ends == NULL)
        return refuse(a, EXIT_SYSTEM, "start", "out of memory");
    for (size_t i = 0; i < a->pump.n_links; i++)
        a->pump.capture_ends[i] = capture_end(a->links[i]->driver->where(a->links[i]), (uint16_t)i);
    const int rc = capture_file_open(&a->capture, &a->loop, config->gateway.pcap,
                                     config->gateway.pcap_limit, &a->log, error, sizeof error);
    if (rc != 0)
        return refuse(a, EXIT_NO_STATE, "pcap", error);
    a->pump.capture = &a->capture;
    return 0;
}

void app_warn_insecure(struct app *a, const struct config_broker *b)
{
    if (b->insecure != SN_YES || !log_begin(&a->log, LOG_WARN, "broker.insecure"))
        return;
    log_text(&a->log, "address", b->address);
    log_text(&a->log, "text",
             "insecure = yes: the broker is not verified, so whoever is on the way can read and "
             "change everything");
    log_end(&a->log);
}

struct mqtt_options app_mqtt_options(const struct app *a, const struct config_broker *b)
{
    struct mqtt_options options = mqtt_defaults();
    options.address = b->address;
    options.proxy = b->proxy;
    options.proxy_login = b->proxy_login;
    options.keepalive_s = b->keepalive_s;
    options.window = b->window;
    options.window_qos2 = b->window_qos2;
    options.window_qos2_v5 = b->window_qos2_v5;
    options.max_qos = b->max_qos;
    options.max_queued = b->max_queued;
    options.max_queued_bytes = b->max_queued_bytes;
    options.backoff_min_ms = b->reconnect_min_ms;
    options.backoff_max_ms = b->reconnect_max_ms;
    options.tls = config_tls_options(b);
    options.version = (enum mqtt_version)(b->version - 1);
    options.session_expiry_s = b->session_expiry_s;
    options.message_expiry_s = b->message_expiry_s;
    options.user_properties = b->properties;
    options.gateway = a->config->gateway.name;
    options.primary_check_ms = b->primary_check_ms;
    options.cluster = b->cluster == SN_YES;
    options.store = a->pump.store;
    return options;
}

struct mqtt_options app_shared_options(const struct app *a, size_t broker)
{
    const struct config_broker *b = &a->config->brokers[broker];
    struct mqtt_options options = app_mqtt_options(a, b);
    options.client_id = b->client_id;
    options.username = b->username;
    options.password = b->password;
    options.sink = a->brokers[broker].sink.number;
    return options;
}

static int start_broker(struct app *a, size_t i)
{
    const struct config_broker *b = &a->config->brokers[i];
    struct app_broker *broker = &a->brokers[i];
    struct mqtt_options options = app_shared_options(a, i);
    broker->tls = tls_print(&options.tls);
    if (system_random(&options.seed, sizeof options.seed) != 0)
        return refuse(a, EXIT_SYSTEM, "start", "the system gives no random numbers");
    broker->sink.mqtt = mqtt_start(&options, NULL, app_foreign_wake, &a->wake);
    if (broker->sink.mqtt == NULL)
        return refuse(a, EXIT_SYSTEM, "[broker]", "out of memory or threads");
    app_warn_insecure(a, b);
    broker_watch_init(&broker->watch, a->pump.now_ms, a->pump.wall_ms, &a->log, b->address,
                      a->config->n_brokers > 1 ? config_broker_name(b) : NULL);
    return 0;
}

static int start_brokers(struct app *a)
{
    int rc = 0;
    a->unanswered = (unsigned)a->config->n_brokers;
    for (size_t i = 0; i < a->config->n_brokers && rc == 0; i++)
        rc = start_broker(a, i);
    disk_watch_init(&a->disk, &a->log);
    disk_room_init(&a->room, &a->loop, a->config->gateway.state_dir);
    if (rc == 0)
        app_say_status(a);
    return rc;
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

static int start_minutes(struct app *a)
{
    app_begin_minutes(a);
    return 0;
}

struct step {
    const char *name;
    int (*run)(struct app *a);
};

static const struct step steps[] = {
    {"loop",       start_loop    },
    {"names",      take_names    },
    {"open_store", start_store   },
    {"machines",   start_machines},
    {"load_store", restore       },
    {"minutes",    start_minutes },
    {"links",      start_links   },
    {"capture",    start_capture },
    {"brokers",    start_brokers },
};

/* What the log holds is written before each step: who looks on while a disk keeps the gateway waiting
 * shall see what it has come to. */
static int run_step(struct app *a, const struct step *step)
{
    const int64_t begun_ms = a->pump.now_ms;
    report_step(&a->log, step->name);
    app_take_log(a);
    const int rc = step->run(a);
    app_turn_begin(a);
    if (a->pump.now_ms - begun_ms >= SLOW_STEP_MS)
        report_slow_step(&a->log, step->name, a->pump.now_ms - begun_ms);
    return rc;
}

/* 0 when every link is open, otherwise an exit code. */
static int start(struct app *a)
{
    char error[300];
    app_turn_begin(a);
    a->started_ms = a->pump.now_ms;
    if (system_state_dir(a->config->gateway.state_dir, error, sizeof error) != 0)
        return refuse(a, EXIT_NO_STATE, "[gateway]", error);
    system_raise_file_limit();
    start_notify(a);
    int rc = 0;
    for (size_t i = 0; rc == 0 && i < sizeof steps / sizeof steps[0]; i++)
        rc = run_step(a, &steps[i]);
    if (rc != 0)
        return rc;
    a->ready_ms = time_add(a->pump.now_ms, FIRST_ATTEMPT_MS);
    app_turn_end(a);
    system_let_go_of_start();
    return 0;
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
    app_finish(a);
    return code;
}

int app_run(struct config *config, const struct config_overrides *overrides)
{
    system_tune_memory();
    struct app *a = calloc(1, sizeof *a);
    if (a == NULL)
        return EXIT_SYSTEM;
    umask(0077);
    signal(SIGPIPE, SIG_IGN);
    signal(SIGXFSZ, SIG_IGN); /* a file that may not grow is an error of its writer, not the end */
    signal(SIGUSR1, SIG_IGN); /* until it is handled: asking too early must not be deadly */
    a->config = config;
    a->first = config;
    a->overrides = overrides;
    a->armed_ms = TIME_NEVER;
    a->ready_ms = TIME_NEVER;
    a->watchdog_ms = TIME_NEVER;
    a->minute_ms = TIME_NEVER;
    a->settle_ms = TIME_NEVER;
    a->notify.fd = -1;
    a->pump.sink = &a->sink;
    a->pump.log = &a->log;
    a->pump.broker = app_on_broker;
    a->pump.store_state = app_on_store_state;
    a->pump.orphan = app_on_orphan;
    a->pump.own = config_has_own(config) ? app_own : NULL;
    a->pump.own_again = app_own_again;
    a->pump.own_command = app_own_command;
    a->pump.own_over = app_own_over;
    hmap_init(&a->own_ids);
    a->pump.owner = a;
    pump_init(&a->pump);
    const int code = run(a);
    free(a);
    return code;
}
