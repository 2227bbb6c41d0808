/* SPDX-License-Identifier: Apache-2.0 */
/*
 * SIGHUP: the file is read and checked as at the start, by a thread, since certificates take their
 * time. What is wrong with it is logged, and changes nothing. What is right and needs no restart is in
 * effect after one turn of the loop, all of it or nothing (docs/adr/0018).
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "app_priv.h"
#include "system.h"

enum { RECORDS_AT_ONCE = 100 }; /* so that the ring of the log has room for them */

/* ---- in the thread ----------------------------------------------------------------------------- */

static void read_files(uv_work_t *work)
{
    struct app *a = work->data;
    struct reloading *r = &a->reload;
    FILE *errors = open_memstream(&r->said, &r->said_len);
    if (errors == NULL) {
        r->code = -1;
        return;
    }
    r->code = config_load_again(a->first->file, errors, &r->wanted);
    fclose(errors);
    if (r->code == 0)
        r->code = config_override(r->wanted, a->overrides);
    for (size_t i = 0; r->code == 0 && i < r->wanted->n_brokers && i < ROUTER_BROKERS_MAX; i++) {
        const struct tls_options tls = config_tls_options(&r->wanted->brokers[i]);
        r->tls[i] = tls_print(&tls);
    }
}

/* ---- what is said ------------------------------------------------------------------------------ */

static void say_line(struct app *a, enum log_level level, const char *event, struct bytes line)
{
    if (!log_begin(&a->log, level, event))
        return;
    log_str(&a->log, "text", line);
    log_end(&a->log);
}

/* Each line of what the check says, with file, line and column. */
static void say_report(struct app *a)
{
    const struct reloading *r = &a->reload;
    unsigned n = 0;
    for (size_t at = 0; r->said != NULL && at < r->said_len; n++) {
        const char *line = r->said + at;
        const char *end = memchr(line, '\n', r->said_len - at);
        const size_t len = end != NULL ? (size_t)(end - line) : r->said_len - at;
        const bool warning = memmem(line, len, ": warning: ", strlen(": warning: ")) != NULL;
        say_line(a, warning ? LOG_NOTICE : LOG_ERROR,
                 warning ? "gateway.config_warning" : "gateway.config_error", bytes_of(line, len));
        at += len + 1;
        if (n % RECORDS_AT_ONCE == RECORDS_AT_ONCE - 1)
            pump_take_logs(&a->pump);
    }
}

static void say_failed(struct app *a, const char *text)
{
    if (!log_begin(&a->log, LOG_ERROR, "gateway.reload_failed"))
        return;
    log_text(&a->log, "file", a->config->file);
    log_text(&a->log, "text", text);
    log_end(&a->log);
}

static void say_change(struct app *a, const struct config_change *c)
{
    const bool waits = c->effect == CONFIG_NEEDS_RESTART;
    if (!log_begin(&a->log, LOG_NOTICE, waits ? "gateway.needs_restart" : "gateway.changed"))
        return;
    log_text(&a->log, "what", c->what);
    log_word(&a->log, "how", c->how);
    if (c->old != NULL)
        log_text(&a->log, "old", c->old);
    if (c->new != NULL)
        log_text(&a->log, "new", c->new);
    if (waits)
        log_text(&a->log, "text", "takes effect after a restart");
    log_end(&a->log);
}

static void say_changes(struct app *a, const struct config_changes *changes)
{
    for (size_t i = 0; i < changes->n; i++) {
        say_change(a, &changes->list[i]);
        if (i % RECORDS_AT_ONCE == RECORDS_AT_ONCE - 1)
            pump_take_logs(&a->pump);
    }
}

static void say_done(struct app *a, const struct config_changes *changes, unsigned files)
{
    if (!log_begin(&a->log, LOG_NOTICE, "gateway.reloaded"))
        return;
    log_text(&a->log, "file", a->config->file);
    log_int(&a->log, "changed", (int64_t)(changes->n - changes->n_waiting));
    log_int(&a->log, "need_restart", (int64_t)changes->n_waiting);
    log_int(&a->log, "other_certificates", files);
    log_end(&a->log);
}

/* ---- taking effect ----------------------------------------------------------------------------- */

static void reload_logs(struct app *a)
{
    const enum log_level level = a->config->gateway.log_level;
    a->log.level = level;
    sn_engine_log(a->pump.engine)->level = level;
    if (a->pump.router != NULL)
        router_log(a->pump.router)->level = level;
    list_foreach (at, &a->pump.sinks) {
        const struct sink *s = container_of(at, struct sink, all);
        if (s->shared != NULL)
            shared_log(s->shared)->level = level;
        if (s->spool != NULL)
            spool_log(s->spool)->level = level;
    }
    logsink_flush(&a->sink); /* lines of both forms are never mixed in one write */
    a->sink.options.json = a->config->gateway.log_json;
    a->sink.options.verbose = level >= LOG_DEBUG;
}

static void reload_spools(struct app *a, const struct config_changes *changes)
{
    for (unsigned i = 0; i < a->config->n_brokers; i++) {
        struct sink *s = &a->brokers[i].sink;
        if (s->spool == NULL || (changes->spools >> i & 1) == 0)
            continue;
        const struct spool_config config = app_spool_config(a, i, 0);
        pump_limit_spool(&a->pump, s, &config);
    }
}

static void reload_brokers(struct app *a, const struct config_changes *changes)
{
    for (size_t i = 0; i < a->config->n_brokers; i++) {
        const struct config_broker *b = &a->config->brokers[i];
        struct app_broker *broker = &a->brokers[i];
        broker->watch.address = b->address;
        if ((changes->brokers >> i & 1) == 0)
            continue;
        const struct mqtt_options options = app_shared_options(a, i);
        if (mqtt_change(broker->sink.mqtt, &options, (changes->renewals >> i & 1) != 0) != 0)
            say_failed(a, "out of memory: the connection to a broker goes on as it was");
        app_warn_insecure(a, b);
    }
}

/* From the order of the file to the numbers that brokers have here. Of one that the file does not have any
 * more the files are not known. */
static void number_files(struct app *a)
{
    struct reloading *r = &a->reload;
    struct tls_print here[ROUTER_BROKERS_MAX];
    for (size_t i = 0; i < a->config->n_brokers; i++) {
        const size_t at = app_broker_of(r->wanted, config_broker_name(&a->config->brokers[i]));
        here[i] = at < r->wanted->n_brokers ? r->tls[at] : a->brokers[i].tls;
    }
    memcpy(r->tls, here, a->config->n_brokers * sizeof here[0]);
}

/* The files of TLS count for brokers that are spoken to with it. How many have other ones now. */
static unsigned compare_files(struct app *a, struct config_changes *changes)
{
    unsigned n = 0;
    for (size_t i = 0; i < a->config->n_brokers; i++) {
        struct app_broker *b = &a->brokers[i];
        if (tls_print_equal(&b->tls, &a->reload.tls[i]))
            continue;
        b->tls = a->reload.tls[i];
        changes->brokers |= UINT32_C(1) << i;
        changes->renewals |= UINT32_C(1) << i;
        n++;
    }
    return n;
}

/* 0 or -ENOMEM: nothing has changed. */
static int reload_engine(struct app *a, const struct config *config)
{
    struct sn_engine_config engine;
    int rc = config_engine(config, &engine);
    if (rc != 0)
        return rc;
    rc = sn_engine_configure(a->pump.engine, a->pump.now_ms, &engine);
    config_engine_free(&engine);
    return rc;
}

/* The same. */
static int reload_routes(struct app *a, const struct config *config)
{
    struct router_config router = router_defaults();
    struct app_routes *fresh = app_routes_new(config, config);
    if (fresh == NULL)
        return -ENOMEM;
    app_routes_fill(fresh, &router);
    const int rc = router_configure(a->pump.router, a->pump.now_ms, &router);
    app_routes_free(rc == 0 ? a->routes : fresh);
    if (rc != 0)
        return rc;
    a->routes = fresh;
    app_routes_changed(a);
    return 0;
}

/* 0 or -ENOMEM: nothing has changed, and `wanted` is of no use any more. */
static int reload_machines(struct app *a, struct config *wanted,
                           const struct config_changes *changes)
{
    const int engine = changes->engine ? reload_engine(a, wanted) : 0;
    const int routes = engine == 0 && changes->routing ? reload_routes(a, wanted) : 0;
    if (engine == 0 && routes == 0)
        return 0;
    config_adopt(a->config, wanted, changes);
    if (engine == 0 && changes->engine)
        (void)reload_engine(a, a->config);
    return -ENOMEM;
}

static void take_effect(struct app *a, const struct config_changes *changes)
{
    reload_logs(a);
    reload_spools(a, changes);
    reload_brokers(a, changes);
    app_take_origins(a);
    app_own_reload(a, changes);
    if (changes->spools != 0)
        app_begin_minutes(a);
}

static void forget(struct reloading *r)
{
    config_free(r->wanted);
    free(r->said);
    *r = (struct reloading){.again = r->again};
}

/* What can fail comes first; from config_adopt() on there is no way back, but one. */
static void apply(struct app *a)
{
    struct reloading *r = &a->reload;
    struct config_changes changes;
    const bool has_router = a->pump.router != NULL;
    if (config_compare(a->first, a->config, r->wanted, has_router, &changes) != 0) {
        say_failed(a, "out of memory");
        return;
    }
    number_files(a);
    config_adopt(a->config, r->wanted, &changes);
    if (reload_machines(a, r->wanted, &changes) != 0) {
        say_failed(a, "out of memory");
        config_changes_free(&changes);
        return;
    }
    struct config *old = a->config;
    a->config = r->wanted;
    r->wanted = NULL;
    const unsigned files = compare_files(a, &changes);
    say_changes(a, &changes);
    take_effect(a, &changes);
    say_done(a, &changes, files);
    if (old != a->first)
        config_free(old);
    config_changes_free(&changes);
}

/* ---- the way through --------------------------------------------------------------------------- */

static void on_files_read(uv_work_t *work, int status)
{
    struct app *a = work->data;
    struct reloading *r = &a->reload;
    (void)status; /* is never cancelled */
    r->busy = false;
    if (a->stop.why != NULL) /* there is nothing left that it could change */
        return;
    app_turn_begin(a);
    say_report(a);
    if (r->code == 0)
        apply(a);
    else
        say_failed(a, r->code > 0 ? "the gateway goes on with the configuration that it has"
                                  : "out of memory");
    if (a->ready_ms == TIME_NEVER)
        notify_ready(&a->notify);
    const bool again = r->again;
    r->again = false;
    forget(r);
    if (again)
        app_reload(a);
    pump_advance(&a->pump);
    app_turn_end(a);
}

void app_reload(struct app *a)
{
    struct reloading *r = &a->reload;
    if (a->stop.why != NULL)
        return;
    r->again = r->busy;
    if (r->busy)
        return;
    if (a->ready_ms == TIME_NEVER)
        notify_reloading(&a->notify, uv_hrtime() / 1000);
    r->work.data = a;
    r->busy = uv_queue_work(&a->loop, &r->work, read_files, on_files_read) == 0;
    if (r->busy)
        return;
    say_failed(a, "out of memory");
    if (a->ready_ms == TIME_NEVER)
        notify_ready(&a->notify);
}

void app_reload_free(struct app *a)
{
    forget(&a->reload);
    if (a->config != a->first)
        config_free(a->config);
    a->config = a->first;
}
