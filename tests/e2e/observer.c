/* SPDX-License-Identifier: Apache-2.0 */
#include "e2e/observer.h"

#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <check.h>

#include "e2e/daemon.h"
#include "mqtt.h"

enum { ARRIVALS = 4096, TEXT = 128, WAIT_MS = 10000, BEHIND_MS = 200 };

struct arrival {
    char topic[TEXT];
    char payload[TEXT];
    int qos;
    bool retain;
};

struct observer {
    struct mqtt *mqtt;
    int wake[2];
    struct arrival arrivals[ARRIVALS];
    size_t n, expected; /* arrived; of these, looked at */
    unsigned answers;   /* PUBLISHED or SUBSCRIBED seen */
    bool connected;
};

static void wake(void *arg)
{
    struct observer *o = arg;
    const ssize_t n = write(o->wake[1], "", 1);
    (void)n; /* a full pipe wakes as well */
}

static void copy_text(char *to, struct bytes from)
{
    const size_t n = from.len < TEXT - 1 ? from.len : TEXT - 1;
    if (n > 0)
        memcpy(to, from.data, n);
    to[n] = '\0';
}

static void on_event(struct observer *o, const struct up_event *e)
{
    if (e->type == UP_CONNECTED)
        o->connected = true;
    if (e->type == UP_PUBLISHED || e->type == UP_SUBSCRIBED) {
        ck_assert_int_eq(e->result, UP_OK);
        o->answers++;
    }
    if (e->type != UP_MESSAGE)
        return;
    ck_assert_uint_lt(o->n, ARRIVALS);
    struct arrival *a = &o->arrivals[o->n++];
    copy_text(a->topic, e->topic);
    copy_text(a->payload, body_bytes(e->body));
    a->qos = e->qos;
    a->retain = e->retain;
}

static void drain(struct observer *o, int timeout_ms)
{
    struct pollfd p = {.fd = o->wake[0], .events = POLLIN};
    char discard[64];
    if (poll(&p, 1, timeout_ms) > 0)
        while (read(o->wake[0], discard, sizeof discard) > 0)
            ;
    struct up_event e;
    while (mqtt_next_event(o->mqtt, &e))
        on_event(o, &e);
}

static void wait_for_answer(struct observer *o, unsigned answers)
{
    const int64_t end_ms = test_now_ms() + WAIT_MS;
    while (o->answers < answers) {
        ck_assert_msg(test_now_ms() < end_ms, "the broker did not answer the observer");
        drain(o, 50);
    }
}

struct observer *observer_start(uint16_t broker_port, const char *filter)
{
    struct observer *o = calloc(1, sizeof *o);
    ck_assert_ptr_nonnull(o);
    ck_assert_int_eq(pipe2(o->wake, O_CLOEXEC | O_NONBLOCK), 0);
    char address[64];
    snprintf(address, sizeof address, "mqtt://127.0.0.1:%u", broker_port);
    struct mqtt_options options = mqtt_defaults();
    options.address = address;
    options.client_id = "observer";
    options.keepalive_s = 60;
    options.backoff_min_ms = 50;
    o->mqtt = mqtt_start(&options, NULL, wake, o);
    ck_assert_ptr_nonnull(o->mqtt);
    const int64_t end_ms = test_now_ms() + WAIT_MS;
    while (!o->connected) {
        ck_assert_msg(test_now_ms() < end_ms, "the observer can't connect");
        drain(o, 50);
    }
    mqtt_submit(o->mqtt,
                &(struct up_request){.type = UP_SUBSCRIBE, .topic = bytes_str(filter), .qos = 2});
    mqtt_flush(o->mqtt);
    wait_for_answer(o, 1);
    return o;
}

void observer_stop(struct observer *o)
{
    mqtt_stop(o->mqtt, 1000);
    close(o->wake[0]);
    close(o->wake[1]);
    free(o);
}

void observer_expect(struct observer *o, const char *topic, const char *payload, int qos)
{
    const int64_t end_ms = test_now_ms() + WAIT_MS;
    while (o->expected == o->n) {
        ck_assert_msg(test_now_ms() < end_ms, "%s \"%s\" did not arrive", topic, payload);
        drain(o, 50);
    }
    const struct arrival *a = &o->arrivals[o->expected++];
    ck_assert_str_eq(a->topic, topic);
    ck_assert_str_eq(a->payload, payload);
    ck_assert_int_eq(a->qos, qos);
}

static void drain_for(struct observer *o, int for_ms)
{
    const int64_t end_ms = test_now_ms() + for_ms;
    for (int64_t left_ms = for_ms; left_ms > 0; left_ms = end_ms - test_now_ms())
        drain(o, (int)left_ms);
}

void observer_quiet(struct observer *o, int for_ms)
{
    drain_for(o, for_ms);
    ck_assert_msg(o->expected == o->n, "unexpected: %s \"%s\"", o->arrivals[o->expected].topic,
                  o->arrivals[o->expected].payload);
}

size_t observer_count(struct observer *o, const char *topic)
{
    drain(o, 0);
    size_t count = 0;
    for (size_t i = 0; i < o->n; i++)
        count += strcmp(o->arrivals[i].topic, topic) == 0;
    return count;
}

void observer_expect_count(struct observer *o, const char *topic, size_t n)
{
    const int64_t end_ms = test_now_ms() + WAIT_MS;
    while (observer_count(o, topic) < n) {
        ck_assert_msg(test_now_ms() < end_ms, "%zu of %zu of %s arrived", observer_count(o, topic),
                      n, topic);
        drain(o, 50);
    }
    drain_for(o, BEHIND_MS);
    ck_assert_uint_eq(observer_count(o, topic), n);
}

void observer_publish(struct observer *o, const char *topic, const char *payload, int qos,
                      bool retain)
{
    struct body *body = payload[0] != '\0' ? body_new(bytes_str(payload)) : NULL;
    const unsigned before = o->answers;
    mqtt_submit(o->mqtt, &(struct up_request){.type = UP_PUBLISH,
                                              .topic = bytes_str(topic),
                                              .body = body,
                                              .qos = (uint8_t)qos,
                                              .retain = retain});
    mqtt_flush(o->mqtt);
    body_unref(body);
    if (qos > 0)
        wait_for_answer(o, before + 1);
}
