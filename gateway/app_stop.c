/* SPDX-License-Identifier: Apache-2.0 */
/* How the application ends, also after a start that failed half way. */
#include <assert.h>
#include <stdlib.h>

#include "app_priv.h"
#include "report.h"

enum { DISCONNECT_MS = 1000 }; /* for what QoS 0 left inside Paho, and MQTT's DISCONNECT */

void app_take_log(struct app *a)
{
    logsink_take(&a->sink, a->pump.now_ms, a->pump.wall_ms, &a->log, &a->pump.lost_logs[0]);
}

static void close_handle(uv_handle_t *handle, void *arg)
{
    (void)arg;
    if (!uv_is_closing(handle))
        uv_close(handle, NULL);
}

/* The connection goes last but one: it may take a while, and during that a second signal must have
 * its default effect. */
static bool stop_brokers(struct app *a, struct mqtt_gauges *left)
{
    bool ended = true;
    *left = report_unfinished(&a->pump);
    for (size_t i = 0; a->brokers != NULL && i < a->config->n_brokers; i++) {
        struct sink *s = &a->brokers[i].sink;
        if (s->mqtt == NULL)
            continue;
        for (size_t k = 0; k < APP_SIGNALS; k++)
            uv_signal_stop(&a->signals[k]);
        ended &= mqtt_stop(s->mqtt, DISCONNECT_MS);
        s->mqtt = NULL;
    }
    for (size_t i = 0; i < ROUTER_BROKERS_MAX; i++) {
        if (a->pump.hosts[i] != NULL)
            ended &= mqtt_host_free(a->pump.hosts[i], DISCONNECT_MS);
        a->pump.hosts[i] = NULL;
    }
    return ended;
}

/* A thread of Paho's that was left behind may still come to the store. */
static void stop_store(struct app *a, bool broker_ended)
{
    if (a->pump.store == NULL)
        return;
    store_flush(a->pump.store);
    if (broker_ended)
        store_close(a->pump.store);
    else
        store_sync(a->pump.store);
    a->pump.store = NULL;
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

static void free_brokers(struct app *a)
{
    for (size_t i = 0; a->brokers != NULL && i < a->config->n_brokers; i++) {
        spool_free(a->brokers[i].sink.spool);
        shared_free(a->brokers[i].sink.shared);
    }
    free(a->brokers);
}

void app_finish(struct app *a)
{
    struct mqtt_gauges left = {0};
    stop_store(a, stop_brokers(a, &left)); /* both wake the loop */
    capture_file_finish(&a->capture);
    if (a->stop.why != NULL)
        report_stopped(&a->log, &a->pump, a->stop.why, a->pump.now_ms - a->started_ms, &left);
    app_take_log(a);
    logsink_finish(&a->sink, a->pump.now_ms, a->pump.wall_ms);
    close_loop(a);
    capture_file_free(&a->capture);
    free(a->pump.capture_ends);
    notify_close(&a->notify);
    app_own_free(a);
    pump_deinit(&a->pump);
    free_brokers(a);
    router_free(a->pump.router);
    app_routes_free(a->routes);
    app_routes_free(a->routes_before);
    sn_engine_free(a->pump.engine);
    log_deinit(&a->log);
    free(a->links);
    free(a->link_names);
    free(a->kernel_drops);
    app_reload_free(a);
}
