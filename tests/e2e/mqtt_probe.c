/* SPDX-License-Identifier: Apache-2.0 */
#include "e2e/mqtt_probe.h"

#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <time.h>
#include <unistd.h>

#include "e2e/pinned.h"

int64_t probe_now_ms(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

static void wake(void *arg)
{
    struct probe *const p = arg;
    const uint64_t one = 1;
    atomic_fetch_add(&p->wakes, 1);
    ck_assert_int_eq(write(p->event_fd, &one, sizeof one), sizeof one);
}

enum mqtt_version probe_version(void)
{
    return pinned_to_5() ? MQTT_5 : MQTT_3_1_1;
}

struct mqtt_options probe_options(struct probe *p, uint16_t port)
{
    struct mqtt_options o = mqtt_defaults();
    snprintf(p->address, sizeof p->address, "mqtt://127.0.0.1:%u", port);
    o.address = p->address;
    o.client_id = "sennet-test";
    o.backoff_min_ms = 50;
    o.backoff_max_ms = 200;
    o.seed = 42;
    o.version = probe_version();
    return o;
}

void probe_start(struct probe *p, const struct mqtt_options *options)
{
    /* options->address may point into the probe: mqtt_start() copies it below. */
    char address[sizeof p->address];
    memcpy(address, p->address, sizeof address);
    *p = (struct probe){.event_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)};
    memcpy(p->address, address, sizeof address);
    ck_assert_int_ge(p->event_fd, 0);
    p->answers = calloc(PROBE_TOKENS, sizeof *p->answers);
    p->copies = calloc(PROBE_TOKENS, sizeof *p->copies);
    ck_assert(p->answers != NULL && p->copies != NULL);
    p->m = mqtt_start(options, NULL, wake, p);
    ck_assert_ptr_nonnull(p->m);
}

void probe_stop(struct probe *p, int64_t drain_ms)
{
    mqtt_stop(p->m, drain_ms);
    close(p->event_fd);
    free(p->answers);
    free(p->copies);
}

static void keep_text(char *to, size_t size, struct bytes from)
{
    const size_t len = from.len < size - 1 ? from.len : size - 1;
    if (len > 0)
        memcpy(to, from.data, len);
    to[len] = '\0';
}

static void count(struct probe *p, const struct up_event *e)
{
    ck_assert_uint_lt(e->token, PROBE_TOKENS);
    struct probe_answers *const a = &p->answers[e->token];
    switch (e->result) {
    case UP_OK:
        a->ok++;
        p->ok++;
        p->spooled_ok = e->spooled;
        break;
    case UP_BUSY:
        a->busy++;
        p->busy++;
        p->spooled_busy = e->spooled;
        keep_text(p->busy_topic, sizeof p->busy_topic, e->topic);
        keep_text(p->busy_body, sizeof p->busy_body, body_bytes(e->body));
        break;
    case UP_REFUSED:
        a->refused++;
        p->refused++;
        break;
    case UP_IN_DOUBT:
        a->doubt++;
        p->doubt++;
        break;
    }
}

uint32_t probe_sum(const uint8_t *octets, size_t len)
{
    uint32_t sum = 2166136261U; /* FNV-1a */
    for (size_t i = 0; i < len; i++)
        sum = (sum ^ octets[i]) * 16777619U;
    return sum;
}

static void take_message(struct probe *p, const struct up_event *e)
{
    p->messages++;
    p->last = *e;
    keep_text(p->last_topic, sizeof p->last_topic, e->topic);
    keep_text(p->last_body, sizeof p->last_body, body_bytes(e->body));
    p->last_len = body_bytes(e->body).len;
    p->last_sum = probe_sum(body_bytes(e->body).data, p->last_len);
    const unsigned long number = strtoul(p->last_body, NULL, 10);
    if (number < PROBE_TOKENS)
        p->copies[number]++;
}

static void take(struct probe *p, const struct up_event *e)
{
    switch (e->type) {
    case UP_CONNECTED:
        p->connected++;
        p->session_present = e->session_present;
        p->version = e->version;
        snprintf(p->at, sizeof p->at, "%s", e->address);
        break;
    case UP_DISCONNECTED:
        p->disconnected++;
        p->taken_over = e->taken_over;
        p->explained = e->explained;
        p->lost_at_ms = probe_now_ms();
        snprintf(p->why, sizeof p->why, "%s", e->why);
        break;
    case UP_SUBSCRIBED:
        p->subscribed++;
        p->granted = e->qos;
        count(p, e);
        break;
    case UP_PUBLISHED:
    case UP_UNSUBSCRIBED:
        if (e->result == UP_BUSY && e->why != NULL) {
            snprintf(p->busy_why, sizeof p->busy_why, "%s", e->why);
            snprintf(p->busy_at, sizeof p->busy_at, "%s", e->address);
        }
        count(p, e);
        break;
    case UP_MESSAGE:
        take_message(p, e);
        break;
    }
}

void probe_turn(struct probe *p, int ms)
{
    uint64_t wakes;
    struct pollfd fd = {.fd = p->event_fd, .events = POLLIN};
    mqtt_flush(p->m);
    if (poll(&fd, 1, ms) <= 0 || read(p->event_fd, &wakes, sizeof wakes) <= 0)
        return;
    for (struct up_event e; mqtt_next_event(p->m, &e);)
        take(p, &e);
}

void probe_publish_body(struct probe *p, uint64_t token, const char *topic, uint8_t qos,
                        struct body *body)
{
    mqtt_submit(p->m, &(struct up_request){.type = UP_PUBLISH,
                                           .token = token,
                                           .topic = bytes_str(topic),
                                           .body = body,
                                           .qos = qos});
}

void probe_publish(struct probe *p, uint64_t token, const char *topic, uint8_t qos, size_t len)
{
    char text[512];
    ck_assert_uint_lt(len, sizeof text);
    memset(text, 'a' + (int)(token % 26), sizeof text);
    const int digits = snprintf(text, sizeof text, "%llu", (unsigned long long)token);
    text[digits] = ' ';
    struct body *body = body_new(bytes_of(text, len > (size_t)digits ? len : (size_t)digits));
    ck_assert_ptr_nonnull(body);
    probe_publish_body(p, token, topic, qos, body);
    body_unref(body);
}

void probe_subscribe(struct probe *p, uint64_t token, const char *filter, uint8_t qos)
{
    mqtt_submit(p->m,
                &(struct up_request){
                    .type = UP_SUBSCRIBE, .token = token, .topic = bytes_str(filter), .qos = qos});
    mqtt_flush(p->m);
}

void probe_unsubscribe(struct probe *p, uint64_t token, const char *filter)
{
    mqtt_submit(p->m, &(struct up_request){
                          .type = UP_UNSUBSCRIBE, .token = token, .topic = bytes_str(filter)});
    mqtt_flush(p->m);
}

void probe_outlives_brokers(struct probe *p, struct broker *b, struct mqtt_options o)
{
    enum { ROUNDS = 4, EACH = 1500, SOON_MS = 15000 };

    o.keepalive_s = 5;
    probe_start(p, &o);
    PROBE_UNTIL(p, p->connected == 1, SOON_MS);
    uint64_t token = 1;
    for (unsigned round = 0; round < ROUNDS; round++) {
        const unsigned connected = p->connected;
        for (unsigned i = 0; i < EACH; i++, token++)
            probe_publish(p, token, "t/load", (uint8_t)(1 + token % 2), 300);
        mqtt_flush(p->m);
        probe_turn(p, 5);
        broker_end(b, SIGKILL);
        broker_start_again(b);
        PROBE_UNTIL(p, p->connected > connected, SOON_MS);
        PROBE_UNTIL(p, p->ok + p->busy + p->refused >= token - 1, SOON_MS);
    }
    for (uint64_t t = 1; t < token; t++) {
        const struct probe_answers *const a = &p->answers[t];
        ck_assert_msg(a->ok + a->busy + a->refused == 1, "token %d: %u %u %u", (int)t, a->ok,
                      a->busy, a->refused);
    }
    probe_stop(p, 100);
}
