/* SPDX-License-Identifier: Apache-2.0 */
/* The worker hands requests to Paho, as many as the window has room for. */
#include "base/clock.h"

#include "mqtt_priv.h"
#include "paho_calls.h"

enum {
    BATCH = 64,
    BATCHES = 8, /* then other connections have their turn */
};

void mqtt_discharge(struct mqtt *m, struct item *it)
{
    atomic_fetch_sub_explicit(&m->queued, 1, memory_order_relaxed);
    atomic_fetch_sub_explicit(&m->queued_bytes, it->cost, memory_order_relaxed);
}

/* Paho did not take the request; its callbacks don't know the item. */
static void not_taken(struct mqtt *m, struct item *it, enum up_result result, bool is_lost)
{
    pthread_mutex_lock(&m->lock);
    list_unlink(&it->link);
    item_flies(m, it, false);
    if (item_lane(it) == LANE_QOS2)
        m->qos2_count--;
    it->event.result = result;
    if (is_lost) /* on_lost() will tell, or has told */
        list_push_back(&m->early, &it->link);
    else
        inbox_push(m, it);
    pthread_mutex_unlock(&m->lock);
}

/* Paho copies topic and payload before it makes the request known to its threads; from then on the
 * item may be answered and freed at any time. */
static void give_to_paho(struct mqtt *m, struct item *it)
{
    MQTTAsync_responseOptions options = MQTTAsync_responseOptions_initializer;
    const bool is_v5 = m->dial.version == MQTTVERSION_5;
    options.onSuccess = is_v5 ? NULL : on_answer;
    options.onFailure = is_v5 ? NULL : on_failure;
    options.onSuccess5 = is_v5 ? on_answer5 : NULL;
    options.onFailure5 = is_v5 ? on_failure5 : NULL;
    options.context = it;
    if (it->too_large) {
        not_taken(m, it, UP_REFUSED, false);
        return;
    }

    struct body *const body = body_ref(it->event.body);
    const struct bytes payload = body_bytes(body);
    int rc = MQTTASYNC_FAILURE;
    struct v5_description about;
    keep_giving(m, it);
    switch (it->request) {
    case UP_PUBLISH:
        v5_describe(m, it, &about);
        if (!it->is_bare)
            options.properties = about.properties;
        rc = MQTTAsync_send(m->worker.handle, it->text, (int)payload.len,
                            payload.len > 0 ? (const void *)payload.data : "", it->wire_qos,
                            it->event.retain && !m->limits.no_retain, &options);
        options.properties = (MQTTProperties){.count = 0}; /* it has a copy */
        break;
    case UP_SUBSCRIBE:
        v5_identify(m, it->subscription, &options.properties);
        rc = MQTTAsync_subscribe(m->worker.handle, it->text, it->event.qos, &options);
        break;
    case UP_UNSUBSCRIBE:
        rc = MQTTAsync_unsubscribe(m->worker.handle, it->text, &options);
        break;
    }
    keep_giving(m, NULL);
    MQTTProperties_free(&options.properties);
    body_unref(body);
    const bool ours = rc == MQTTASYNC_BAD_UTF8_STRING || rc == MQTTASYNC_BAD_QOS;
    if (rc != MQTTASYNC_SUCCESS)
        not_taken(m, it, ours ? UP_REFUSED : UP_BUSY, rc == MQTTASYNC_DISCONNECTED);
}

/* Lock held. A refusal that the worker has not read yet is one: who was told of it may have sent the message
 * again already. */
static bool can_hand_over(const struct mqtt *m, enum lane lane)
{
    return !m->worker.hold && m->worker.busy_until_ms == 0 && !m->notes.busy &&
           !list_empty(&m->queue[lane]) && mqtt_window_room(m, lane) > 0;
}

/* Fixed header, topic, packet id, properties; a subscription also has options and an identifier. */
static size_t packet_bytes(const struct item *it)
{
    enum { HEADERS = 5 + 2 + 2 + 1, SUBSCRIPTION = 1 + 1 + 4 };

    if (it->request == UP_SUBSCRIBE)
        return HEADERS + SUBSCRIPTION + strlen(it->text);
    return HEADERS + it->event.topic.len + body_bytes(it->event.body).len;
}

/* Nothing that goes with a message keeps it back. */
static bool is_too_long(const struct mqtt *m, const struct item *it)
{
    enum { MORE_LENGTH = 3 }; /* octets of the length of properties, and of the packet */

    struct v5_description about;
    if (m->limits.max_packet_bytes - packet_bytes(it) > UINT16_MAX || it->too_large)
        return false;
    v5_describe(m, it, &about);
    return packet_bytes(it) + MORE_LENGTH + about.bytes > m->limits.max_packet_bytes;
}

/* Lock held. As far as the broker goes. */
static void fit(const struct mqtt *m, struct item *it)
{
    it->too_large = packet_bytes(it) > m->limits.max_packet_bytes;
    if (it->request != UP_PUBLISH)
        return;
    it->wire_qos = it->event.qos < m->limits.max_qos ? it->event.qos : m->limits.max_qos;
    it->is_bare = is_too_long(m, it);
}

/* Lock held. */
static struct item *take_one(struct mqtt *m, enum lane lane)
{
    struct list *const link = m->queue[lane].next; /* there is one: can_hand_over() */
    list_unlink(link);
    struct item *const it = container_of(link, struct item, link);
    it->state = ITEM_IN_FLIGHT;
    fit(m, it);
    mqtt_discharge(m, it);
    list_push_back(&m->in_flight, &it->link);
    item_flies(m, it, true);
    if (lane == LANE_QOS2)
        m->qos2_count++;
    return it;
}

/* The lanes take turns while both have something to send. */
static unsigned take_batch(struct mqtt *m, struct item *batch[BATCH])
{
    unsigned n = 0;

    pthread_mutex_lock(&m->lock);
    for (bool more = true; more;) {
        more = false;
        for (enum lane lane = 0; lane < LANES; lane++) {
            if (n < BATCH && can_hand_over(m, lane)) {
                batch[n++] = take_one(m, lane);
                more = true;
            }
        }
    }
    pthread_mutex_unlock(&m->lock);
    return n;
}

void mqtt_hand_over(struct mqtt *m)
{
    struct worker *const w = &m->worker;
    struct item *batch[BATCH];
    unsigned batches = 0;

    for (unsigned n; batches < BATCHES && (n = take_batch(m, batch)) > 0; batches++) {
        paho_hold_signals();
        for (unsigned i = 0; i < n; i++)
            give_to_paho(m, batch[i]);
        paho_release_signals();
        const int64_t now_ms = mqtt_now_ms();
        atomic_store(&m->host->heartbeat_ms, now_ms);
        w->due_ms = time_min(w->due_ms, now_ms + SUPERVISE_MS);
    }
    pthread_mutex_lock(&m->lock);
    const bool more = can_hand_over(m, LANE_PLAIN) || can_hand_over(m, LANE_QOS2);
    m->starved = mqtt_is_queued(m) && !more;
    pthread_mutex_unlock(&m->lock);
    if (more)
        host_kick(m);
}
