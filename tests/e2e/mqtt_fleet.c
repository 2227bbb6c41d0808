/* SPDX-License-Identifier: Apache-2.0 */
#include "e2e/mqtt_fleet.h"

#include <assert.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

#include "e2e/pinned.h"

enum { TURN_EVENTS = 16 };

static void must(bool ok, const char *what)
{
    if (ok)
        return;
    perror(what);
    abort();
}

int64_t fleet_now_us(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (int64_t)t.tv_sec * 1000000 + t.tv_nsec / 1000;
}

bool fleet_allow_files(unsigned needed)
{
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit) != 0)
        return false;
    limit.rlim_cur = limit.rlim_max;
    return setrlimit(RLIMIT_NOFILE, &limit) == 0 && limit.rlim_cur >= needed;
}

static void wake(void *arg)
{
    struct fleet *const f = arg;
    const uint64_t one = 1;
    atomic_fetch_add(&f->wakes, 1);
    must(write(f->event_fd, &one, sizeof one) == sizeof one, "eventfd");
}

void fleet_start(struct fleet *f, unsigned n, const struct mqtt_host_options *options)
{
    const struct mqtt_host_options defaults = mqtt_host_defaults();

    *f = (struct fleet){.n = n, .event_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)};
    f->ones = calloc(n, sizeof *f->ones);
    must(f->event_fd >= 0 && f->ones != NULL, "fleet");
    for (unsigned i = 0; i < n; i++)
        f->ones[i].number = i;
    f->host = mqtt_host_new(options != NULL ? options : &defaults, wake, f);
    must(f->host != NULL, "mqtt_host_new");
}

struct mqtt_options fleet_options(struct fleet *f, unsigned number, uint16_t port)
{
    static char client_id[32];
    struct mqtt_options o = mqtt_defaults();

    snprintf(f->address, sizeof f->address, "mqtt://127.0.0.1:%u", port);
    snprintf(client_id, sizeof client_id, "own-%u", number);
    o.address = f->address;
    o.version = pinned_to_5() ? MQTT_5 : MQTT_3_1_1;
    o.client_id = client_id;
    o.window = 16;
    o.window_qos2 = 8;
    o.max_queued = 64;
    o.max_inbox = 256;
    o.backoff_min_ms = 200;
    o.backoff_max_ms = 2000;
    o.seed = 7;
    o.session = MQTT_SESSION_KEPT;
    o.user = &f->ones[number];
    return o;
}

void fleet_open(struct fleet *f, unsigned number, const struct mqtt_options *options)
{
    struct fleet_one *const one = &f->ones[number];

    assert(one->m == NULL);
    one->m = mqtt_start(options, f->host, NULL, NULL);
    must(one->m != NULL, "mqtt_start");
}

static void note_online(struct fleet *f, struct fleet_one *one, bool online)
{
    f->online -= one->online;
    one->online = online;
    f->online += one->online;
}

void fleet_close(struct fleet *f, unsigned number, bool abort)
{
    mqtt_close(f->ones[number].m, abort);
    f->ones[number].m = NULL;
    note_online(f, &f->ones[number], false);
}

bool fleet_stop(struct fleet *f, int64_t drain_ms)
{
    const bool all = mqtt_host_free(f->host, drain_ms);
    close(f->event_fd);
    free(f->ones);
    return all;
}

static void count_answer(struct fleet *f, struct fleet_one *one, const struct up_event *e)
{
    switch (e->result) {
    case UP_OK:
        one->ok++;
        f->ok++;
        break;
    case UP_BUSY:
        one->busy++;
        f->busy++;
        break;
    case UP_REFUSED:
        one->denied++;
        f->denied++;
        break;
    case UP_IN_DOUBT:
        one->doubt++;
        f->doubt++;
        break;
    }
    const int64_t took_us = fleet_now_us() - one->asked_us;
    if (e->type == UP_PUBLISHED && e->result == UP_OK && took_us > f->slowest_us)
        f->slowest_us = took_us;
}

static void take(struct fleet *f, struct fleet_one *one, const struct up_event *e)
{
    switch (e->type) {
    case UP_CONNECTED:
        one->connected++;
        f->connected++;
        one->session_present = e->session_present;
        one->up_at_ms = fleet_now_us() / 1000;
        note_online(f, one, true);
        break;
    case UP_DISCONNECTED:
        one->disconnected++;
        f->disconnected++;
        one->refused += e->refused;
        f->refused += e->refused;
        one->code = e->code;
        one->down_at_ms = fleet_now_us() / 1000;
        snprintf(one->why, sizeof one->why, "%s", e->why);
        note_online(f, one, false);
        break;
    case UP_SUBSCRIBED:
        one->subscribed++;
        f->subscribed++;
        break;
    case UP_PUBLISHED:
    case UP_UNSUBSCRIBED:
        count_answer(f, one, e);
        break;
    case UP_MESSAGE:
        one->messages++;
        f->messages++;
        snprintf(one->last_topic, sizeof one->last_topic, "%.*s", (int)e->topic.len,
                 (const char *)e->topic.data);
        break;
    }
    if (f->on_event != NULL)
        f->on_event(f, one, e);
}

void fleet_turn(struct fleet *f, int ms)
{
    uint64_t wakes;
    struct pollfd fd = {.fd = f->event_fd, .events = POLLIN};

    mqtt_host_flush(f->host);
    if (poll(&fd, 1, ms) <= 0 || read(f->event_fd, &wakes, sizeof wakes) <= 0)
        return;
    for (struct mqtt *m; (m = mqtt_host_next_ready(f->host)) != NULL;) {
        struct fleet_one *const one = mqtt_user(m);
        struct up_event e;
        for (unsigned i = 0; i < TURN_EVENTS && one->m == m && mqtt_next_event(m, &e); i++)
            take(f, one, &e);
    }
    mqtt_host_flush(f->host);
}

void fleet_publish(struct fleet *f, unsigned number, const char *topic, uint8_t qos,
                   const char *text)
{
    struct body *body = body_new(bytes_str(text));
    f->ones[number].asked_us = fleet_now_us();
    mqtt_submit(f->ones[number].m, &(struct up_request){.type = UP_PUBLISH,
                                                        .token = number,
                                                        .topic = bytes_str(topic),
                                                        .body = body,
                                                        .qos = qos});
    body_unref(body);
}

void fleet_subscribe(struct fleet *f, unsigned number, const char *filter, uint8_t qos)
{
    mqtt_submit(f->ones[number].m,
                &(struct up_request){
                    .type = UP_SUBSCRIBE, .token = number, .topic = bytes_str(filter), .qos = qos});
}
