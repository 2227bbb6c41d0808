/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What Paho calls, on its two threads and with its own lock held: copy, push, signal, return.
 * No Paho function is called from here, except the two that free what Paho handed over.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "blocks.h"
#include "mqtt_priv.h"
#include "mqtt_v5.h"
#include "paho_calls.h"
#include "store.h"

enum {
    /* An inbox this many times over its bounds takes no QoS 1 and 2 message either. */
    INBOX_HARD_FACTOR = 4,
};

/* ---- the connection -------------------------------------------------------------------------- */

static const char *refusal(const struct mqtt *m, int connack)
{
    switch (connack) { /* of 3.1.1, also when MQTT 5 was asked for */
    case 1:
        return m->dial.version == MQTTVERSION_5 ? "the broker does not speak MQTT 5"
                                                : "the broker does not speak MQTT 3.1.1";
    case 2:
        return "client_id refused by the broker";
    case 3:
        return "the broker is not available (it said so)";
    case 4:
    case 5:
        return "not authorised (check username and password_file)";
    default:
        return connack > 0 ? v5_refusal(connack) : NULL;
    }
}

/* Paho has one code for everything, so the system calls are asked first. */
static void explain_failure(struct mqtt *m, int code, const char *message)
{
    const struct paho_calls calls = paho_last_calls();
    const char *const server = dial_target(&m->dial)->server;
    char error[80];

    if (refusal(m, code) != NULL)
        snprintf(m->why, WHY_MAX, "%s: %s", server, refusal(m, code));
    else if (m->cut_why[0] != '\0')
        snprintf(m->why, WHY_MAX, "%s", m->cut_why);
    else if (strstr(message, "timeout") != NULL)
        snprintf(m->why, WHY_MAX, "no answer from %s", server);
    else if (calls.resolve_error != 0) {
        snprintf(m->why, WHY_MAX, "host name in %s can't be resolved: %s", server,
                 gai_strerror(calls.resolve_error));
    } else if (calls.connect_error == ECONNREFUSED) {
        snprintf(m->why, WHY_MAX, "connection refused by %s", server);
    } else if (calls.connect_error != 0) {
        snprintf(m->why, WHY_MAX, "can't connect to %s: %s", server,
                 strerror_r(calls.connect_error, error, sizeof error));
    } else if (calls.tls[0] != '\0') {
        snprintf(m->why, WHY_MAX, "%s: %s", server, calls.tls);
    } else if (calls.receive_error >= 0 && dial_target(&m->dial)->tls &&
               dial_target(&m->dial)->path == NULL) {
        snprintf(m->why, WHY_MAX, "%s closed the connection before TLS and MQTT were agreed on",
                 server);
    } else if (calls.receive_error >= 0) {
        snprintf(m->why, WHY_MAX, "%s closed the connection before it answered: an MQTT broker?",
                 server);
    } else {
        snprintf(m->why, WHY_MAX, "can't connect to %s: Paho error %d %s", server, code, message);
    }
}

/* Has the broker something against the version? */
static enum dial_verdict verdict_of(const struct mqtt *m, int code, const char *message)
{
    const struct paho_calls calls = paho_last_calls();
    if (code == 1 || code == MQTTREASONCODE_UNSUPPORTED_PROTOCOL_VERSION)
        return DIAL_WRONG_VERSION;
    /* Which says more about its end. */
    const bool is_websocket = dial_target(&m->dial)->path != NULL && calls.receive_error == 0;
    const bool closed = code <= 0 && m->cut_why[0] == '\0' && strstr(message, "timeout") == NULL &&
                        calls.resolve_error == 0 && calls.connect_error == 0 &&
                        (calls.tls[0] == '\0' || is_websocket) && calls.receive_error >= 0;
    return closed ? DIAL_CLOSED : DIAL_OTHER;
}

static void explain_loss(struct mqtt *m)
{
    const struct paho_calls calls = paho_last_calls();
    const int error = calls.receive_error;
    char text[80];

    if (m->cut_why[0] != '\0')
        snprintf(m->why, WHY_MAX, "%s", m->cut_why);
    else if (calls.tls[0] != '\0')
        snprintf(m->why, WHY_MAX, "%s", calls.tls);
    else if (error == 0)
        snprintf(m->why, WHY_MAX, "connection closed by the broker");
    else if (error == ECONNRESET)
        snprintf(m->why, WHY_MAX, "connection reset by the broker");
    else if (error > 0)
        snprintf(m->why, WHY_MAX, "connection lost: %s", strerror_r(error, text, sizeof text));
    else
        snprintf(m->why, WHY_MAX, "connection lost: the broker did not answer");
}

static void on_socket_closing(void *arg)
{
    struct mqtt *const m = arg;

    pthread_mutex_lock(&m->lock);
    m->socket = -1;
    pthread_mutex_unlock(&m->lock);
}

static void adopt_socket(struct mqtt *m)
{
    const int fd = paho_last_calls().socket; /* the CONNACK has just come from there */
    m->socket = paho_on_close(fd, on_socket_closing, m) ? fd : -1;
    m->cut_why[0] = '\0';
}

/* Told from here, not by the worker: it has to come before the messages of a resumed session. */
static void tell_connected(struct mqtt *m, struct item *it, bool session_present)
{
    if (it == NULL) {
        mqtt_cut(m, "out of memory");
        return;
    }
    const bool known = m->resumable || m->options.session == MQTT_SESSION_KEPT;
    const char *const address = dial_target(&m->dial)->uri;
    memcpy(it->text, address, strlen(address));
    it->event = (struct up_event){.type = UP_CONNECTED,
                                  .session_present = known && session_present,
                                  .address = it->text,
                                  .version = (uint8_t)m->dial.version};
    m->resumable = m->options.session == MQTT_SESSION_OURS;
    atomic_fetch_add(&m->connects, 1);
    atomic_store(&m->online, !m->stopping);
    inbox_push(m, it);
}

void on_connected(void *context, MQTTAsync_successData *data)
{
    struct mqtt *const m = context;

    pthread_mutex_lock(&m->lock);
    m->limits = limits_of(m);
    pthread_mutex_unlock(&m->lock);
    mqtt_connected(m, data->alt.connect.sessionPresent != 0);
}

void mqtt_connected(struct mqtt *m, bool session_present)
{
    pthread_mutex_lock(&m->lock);
    struct item *it = item_new(m, strlen(dial_target(&m->dial)->uri));
    const bool purging = m->purging;
    pthread_mutex_unlock(&m->lock);
    if (!purging && !session_present)
        keep_session_lost(m);
    pthread_mutex_lock(&m->lock);
    adopt_socket(m);
    m->notes.connected = true;
    m->taken_over = false;
    if (!m->purging) {
        tell_connected(m, it, session_present);
        it = NULL;
    }
    host_kick(m);
    pthread_mutex_unlock(&m->lock);
    item_free(it);
    paho_wake_sender(); /* for what Paho has kept of an earlier connection */
}

void on_connect_failed(void *context, MQTTAsync_failureData *data)
{
    mqtt_connect_failed(context, data != NULL ? data->code : MQTTASYNC_FAILURE,
                        data != NULL ? data->message : NULL);
}

void mqtt_connect_failed(struct mqtt *m, int code, const char *message)
{
    if (message == NULL)
        message = "";
    pthread_mutex_lock(&m->lock);
    m->dial.verdict = verdict_of(m, code, message);
    m->dial.unreached =
        code <= 0 && (paho_last_calls().connect_error != 0 || strstr(message, "timeout") != NULL);
    explain_failure(m, code, message);
    m->refusal = refusal(m, code) != NULL ? (uint8_t)code : 0;
    m->notes.failed = true;
    host_kick(m);
    pthread_mutex_unlock(&m->lock);
}

/* Closed or reset, by whom and why is not known. */
static bool is_bare_end(const struct mqtt *m)
{
    const struct paho_calls calls = paho_last_calls();
    return m->cut_why[0] == '\0' && calls.tls[0] == '\0' &&
           (calls.receive_error == 0 || calls.receive_error == ECONNRESET);
}

void mqtt_lost(struct mqtt *m, bool has_reason)
{
    pthread_mutex_lock(&m->lock);
    atomic_store(&m->online, false);
    explain_loss(m);
    m->explained = has_reason;
    m->untold = true;
    m->refusal = 0;
    m->notes.lost = true;
    host_kick(m);
    pthread_mutex_unlock(&m->lock);
}

/* NOLINTNEXTLINE(readability-non-const-parameter): a callback of Paho's type */
void on_lost(void *context, char *cause)
{
    struct mqtt *const m = context;

    (void)cause; /* always NULL in Paho 1.3 */
    pthread_mutex_lock(&m->lock);
    const bool is_bare = is_bare_end(m);
    pthread_mutex_unlock(&m->lock);
    mqtt_lost(m, !is_bare);
}

void on_closed(void *context, MQTTAsync_successData *data)
{
    struct mqtt *const m = context;

    (void)data;
    pthread_mutex_lock(&m->lock);
    atomic_store(&m->online, false);
    m->notes.closed = true;
    host_kick(m);
    pthread_mutex_unlock(&m->lock);
}

bool mqtt_cut(struct mqtt *m, const char *why)
{
    if (m->socket < 0)
        return false;
    if (m->cut_why[0] == '\0')
        snprintf(m->cut_why, WHY_MAX, "%s", why);
    shutdown(m->socket, SHUT_RDWR);
    return true;
}

/* ---- answers --------------------------------------------------------------------------------- */

unsigned mqtt_window_used(const struct mqtt *m)
{
    return atomic_load_explicit(&m->in_flight_count, memory_order_relaxed) + m->resuming;
}

unsigned mqtt_window_room(const struct mqtt *m, enum lane lane)
{
    const unsigned used = mqtt_window_used(m);
    const unsigned room = used < m->limits.window ? m->limits.window - used : 0;
    if (lane == LANE_PLAIN)
        return room;
    const unsigned room2 =
        m->qos2_count < m->limits.window_qos2 ? m->limits.window_qos2 - m->qos2_count : 0;
    return room2 < room ? room2 : room;
}

/* Lock held. Refills of half a window: one wake-up of the worker per answer would cost more than
 * all the rest. */
static void give_room(struct mqtt *m)
{
    const struct limits *const l = &m->limits;
    const bool plain = !list_empty(&m->queue[LANE_PLAIN]) &&
                       mqtt_window_room(m, LANE_PLAIN) >= (l->window + 1) / 2;
    const bool qos2 = !list_empty(&m->queue[LANE_QOS2]) && m->qos2_count <= l->window_qos2 / 2 &&
                      mqtt_window_room(m, LANE_QOS2) > 0;

    if (m->starved && (plain || qos2)) {
        m->starved = false;
        host_kick(m);
    } else if (m->stopping && mqtt_window_used(m) == 0) {
        host_kick(m);
    }
}

/* Lock held. The item leaves Paho with this result; returns it when nobody wants it any more. */
static struct item *settle(struct mqtt *m, struct item *it, enum up_result result, bool early)
{
    const bool resumes = it->request == UP_PUBLISH && it->wire_qos > 0;
    const bool is_awaited = it->request != UP_PUBLISH || it->event.qos > 0;
    struct item *unwanted = it;

    list_unlink(&it->link);
    it->event.result = result;
    m->notes.taken |= result == UP_OK && is_awaited;
    if (result != UP_BUSY) {
        body_unref(it->event.body);
        it->event.body = NULL;
    }
    if (item_lane(it) == LANE_QOS2)
        m->qos2_count--;
    switch (it->state) {
    case ITEM_QUEUED: /* not given to Paho: can't be answered by it */
        break;
    case ITEM_IN_FLIGHT:
        item_flies(m, it, false);
        if (is_awaited || result != UP_OK || it->event.spooled != 0)
            unwanted = NULL;
        break;
    case ITEM_ABANDONED:
        if (resumes)
            m->resuming--;
        else
            m->stranded--;
        break;
    case ITEM_IN_DOUBT:
        m->resuming--;
        unwanted = NULL;
        break;
    }
    if (unwanted == NULL && early)
        list_push_back(&m->early, &it->link);
    else if (unwanted == NULL)
        inbox_push(m, it);
    give_room(m);
    return unwanted;
}

void on_answer(void *context, MQTTAsync_successData *data)
{
    mqtt_answered(context, data != NULL ? data->alt.qos : 0);
}

void mqtt_answered(struct item *it, int granted)
{
    struct mqtt *const m = it->m;

    keep_gone(m, true);
    pthread_mutex_lock(&m->lock);
    if (it->request == UP_SUBSCRIBE)
        it->event.qos = (uint8_t)granted;
    struct item *const unwanted = settle(m, it, UP_OK, false);
    pthread_mutex_unlock(&m->lock);
    item_free(unwanted);
}

/* Of Paho's, not of the broker's. */
static enum up_result given_up(const struct item *it)
{
    if (it->request != UP_PUBLISH || it->wire_qos != 2)
        return UP_BUSY;
    if (it->event.spooled != 0)
        return keep_failed(it->m, it);
    /* In doubt, and the broker has lost the session: nobody will ever know. A QoS 2 message that
     * Paho gave up while connected can't be told from one that it will still deliver. */
    return UP_REFUSED;
}

void on_failure(void *context, MQTTAsync_failureData *data)
{
    struct item *const it = context;

    const int code = data != NULL ? data->code : 0;
    mqtt_refused(it, it->request == UP_SUBSCRIBE ? code : 0, code);
}

/* Lock held. The answer says who it comes from; the loop may hear it when that is no address of ours
 * any more. Returns the item, in no list, and perhaps in another place. */
static struct item *with_address(struct mqtt *m, struct item *it)
{
    const char *const address = dial_target(&m->dial)->uri;
    const size_t topic = it->event.topic.len;
    const size_t len = strlen(address) + 1;

    list_unlink(&it->link);
    struct item *const grown = block_resize(it, sizeof *it + topic + 1 + len);
    if (grown == NULL)
        return it;
    list_init(&grown->link);
    memcpy(grown->text + topic + 1, address, len);
    grown->event.topic = bytes_of(grown->text, topic);
    grown->event.address = grown->text + topic + 1;
    return grown;
}

void mqtt_refused(struct item *it, int reason, int code)
{
    struct mqtt *const m = it->m;
    const bool by_broker = reason >= MQTTREASONCODE_UNSPECIFIED_ERROR;
    const enum up_result said = by_broker ? v5_result(reason) : UP_BUSY;

    if (by_broker)
        keep_gone(m, said != UP_BUSY);
    pthread_mutex_lock(&m->lock);
    /* Paho ends a clean session before it tells that the connection is lost, or shortly after. */
    const bool early = code == MQTTASYNC_OPERATION_INCOMPLETE &&
                       m->options.session == MQTT_SESSION_CLEAN &&
                       (atomic_load(&m->online) || m->untold);
    if (by_broker && said == UP_BUSY) {
        it = with_address(m, it);
        it->event.why = v5_refusal(reason);
        m->notes.busy = true;
        host_kick(m);
    }
    struct item *const unwanted = settle(m, it, by_broker ? said : given_up(it), early);
    pthread_mutex_unlock(&m->lock);
    item_free(unwanted);
}

/* ---- messages -------------------------------------------------------------------------------- */

static struct item *message_item(struct mqtt *m, const char *topic, size_t len,
                                 const MQTTAsync_message *message)
{
    struct item *const it = item_new(m, len);
    if (it == NULL)
        return NULL;
    if (len > 0)
        memcpy(it->text, topic, len);
    it->event = (struct up_event){.type = UP_MESSAGE,
                                  .qos = (uint8_t)message->qos,
                                  .retain = message->retained != 0,
                                  .expiry_s = v5_expiry_s(&message->properties),
                                  .topic = bytes_of(it->text, len)};
    v5_take_identifiers(&message->properties, &it->event);
    const size_t payload = message->payloadlen > 0 ? (size_t)message->payloadlen : 0;
    it->cost = len + payload;
    if (payload > 0) {
        it->event.body = body_new(bytes_of(message->payload, payload));
        if (it->event.body == NULL) {
            atomic_fetch_add(&m->no_memory, 1);
            item_free(it);
            return NULL;
        }
    }
    return it;
}

static bool inbox_has_room(const struct mqtt *m, const struct item *it)
{
    const size_t factor = it->event.qos == 0 ? 1 : INBOX_HARD_FACTOR;

    return m->inbox_messages < factor * m->options.max_inbox &&
           m->inbox_bytes + it->cost <= factor * m->options.max_inbox_bytes;
}

/* Lock held. What becomes of a QoS 1 or 2 message that can't be kept: the connection is cut before
 * Paho acknowledges, so that the broker still has it and sends it again. Of QoS 2 the broker only
 * awaits the PUBCOMP; Paho itself keeps the message when its callback returns 0, and offers it
 * again with the next packet. Returns what the callback must return. */
static int refuse_message(struct mqtt *m, int qos)
{
    atomic_fetch_add(&m->inbox_cuts, 1);
    const bool cut = mqtt_cut(m, "the gateway could not keep up with the broker");
    return qos == 2 && cut ? 0 : 1;
}

/* Blocks until it is committed: Paho acknowledges when we return. Only this thread adds messages, so
 * the room that there is now will be there. */
static void journal(struct mqtt *m, struct item *it, const MQTTAsync_message *message)
{
    if (m->keep.store == NULL || message->qos == 0)
        return;
    pthread_mutex_lock(&m->lock);
    const bool room = inbox_has_room(m, it);
    pthread_mutex_unlock(&m->lock);
    if (room)
        it->event.journal = keep_message(m, &it->event, message->msgid);
    else if (message->qos == 2)
        keep_unheard(m);
}

int on_message(void *context, char *topic, int topic_len, MQTTAsync_message *message)
{
    struct mqtt *const m = context;
    const size_t len = topic_len > 0 ? (size_t)topic_len : strlen(topic);
    struct item *it = message_item(m, topic, len, message);
    int taken = 1;

    if (it != NULL)
        journal(m, it, message);
    pthread_mutex_lock(&m->lock);
    if (it != NULL && inbox_has_room(m, it)) {
        m->inbox_messages++;
        m->inbox_bytes += it->cost;
        inbox_push(m, it);
        it = NULL;
    } else if (message->qos > 0) {
        taken = refuse_message(m, message->qos);
    } else if (it != NULL) {
        atomic_fetch_add(&m->inbox_drops, 1);
    }
    pthread_mutex_unlock(&m->lock);

    item_free(it);
    if (taken == 1) {
        MQTTAsync_freeMessage(&message);
        MQTTAsync_free(topic);
    }
    return taken;
}
