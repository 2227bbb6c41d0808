/* SPDX-License-Identifier: Apache-2.0 */
#include "mqtt_v5.h"

#include <stdio.h>
#include <string.h>

#include "mqtt_priv.h"

enum {
    PACKET_MAX = 268435460, /* of any MQTT packet */
    FIRST_ERROR = 0x80,
};

/* ---- limits ---------------------------------------------------------------------------------- */

struct limits limits_of(const struct mqtt *m)
{
    return (struct limits){.window = m->options.window,
                           .window_qos2 = m->options.window_qos2,
                           .max_packet_bytes = PACKET_MAX,
                           .max_qos = m->options.max_qos > 0 ? m->options.max_qos - 1 : 2};
}

/* Paho's accessors take no constants. */
static bool has(const MQTTProperties *p, enum MQTTPropertyCodes code)
{
    return MQTTProperties_hasProperty((MQTTProperties *)(uintptr_t)p, code) != 0;
}

static uint32_t number(const MQTTProperties *p, enum MQTTPropertyCodes code)
{
    return (uint32_t)MQTTProperties_getNumericValue((MQTTProperties *)(uintptr_t)p, code);
}

static unsigned receive_maximum(const MQTTProperties *connack)
{
    const uint32_t most = has(connack, MQTTPROPERTY_CODE_RECEIVE_MAXIMUM)
                              ? number(connack, MQTTPROPERTY_CODE_RECEIVE_MAXIMUM)
                              : 0;
    return most > 0 ? most : UINT16_MAX;
}

/* QoS 1 must find room besides exchanges of QoS 2, which take twice as long. */
static unsigned share_of_qos2(unsigned window)
{
    return window > 1 ? window - (window + 3) / 4 : 1;
}

void v5_take_limits(struct mqtt *m, const MQTTProperties *connack)
{
    struct limits *const l = &m->limits;
    *l = limits_of(m);
    const unsigned most = receive_maximum(connack);
    if (most < l->window)
        l->window = most;
    const unsigned chosen = m->options.window_qos2_v5;
    l->window_qos2 = chosen > 0 ? chosen : share_of_qos2(l->window);
    if (share_of_qos2(most) < l->window_qos2)
        l->window_qos2 = share_of_qos2(most);
    if (has(connack, MQTTPROPERTY_CODE_MAXIMUM_PACKET_SIZE))
        l->max_packet_bytes = number(connack, MQTTPROPERTY_CODE_MAXIMUM_PACKET_SIZE);
    if (has(connack, MQTTPROPERTY_CODE_MAXIMUM_QOS)) {
        const uint8_t highest = number(connack, MQTTPROPERTY_CODE_MAXIMUM_QOS) & 1;
        l->max_qos = highest < l->max_qos ? highest : l->max_qos;
    }
    l->no_identifiers = has(connack, MQTTPROPERTY_CODE_SUBSCRIPTION_IDENTIFIERS_AVAILABLE) &&
                        number(connack, MQTTPROPERTY_CODE_SUBSCRIPTION_IDENTIFIERS_AVAILABLE) == 0;
    l->no_retain = has(connack, MQTTPROPERTY_CODE_RETAIN_AVAILABLE) &&
                   number(connack, MQTTPROPERTY_CODE_RETAIN_AVAILABLE) == 0;
}

unsigned v5_keepalive_s(const MQTTProperties *connack, unsigned ours)
{
    if (!has(connack, MQTTPROPERTY_CODE_SERVER_KEEP_ALIVE))
        return ours;
    const unsigned theirs = number(connack, MQTTPROPERTY_CODE_SERVER_KEEP_ALIVE);
    return theirs > 0 && theirs < ours ? theirs : ours;
}

uint32_t v5_expiry_s(const MQTTProperties *message)
{
    if (!has(message, MQTTPROPERTY_CODE_MESSAGE_EXPIRY_INTERVAL))
        return 0;
    const uint32_t s = number(message, MQTTPROPERTY_CODE_MESSAGE_EXPIRY_INTERVAL);
    return s > 0 ? s : 1; /* it has just come: give it its last second */
}

void v5_take_identifiers(const MQTTProperties *message, struct up_event *event)
{
    MQTTProperties *const p = (MQTTProperties *)(uintptr_t)message;
    const int n = MQTTProperties_propertyCount(p, MQTTPROPERTY_CODE_SUBSCRIPTION_IDENTIFIER);
    if (n <= 0 || n > UP_SUBSCRIPTIONS_MAX)
        return;
    for (int i = 0; i < n; i++) {
        event->subscriptions[i] = (uint32_t)MQTTProperties_getNumericValueAt(
            p, MQTTPROPERTY_CODE_SUBSCRIPTION_IDENTIFIER, i);
    }
    event->n_subscriptions = (uint8_t)n;
}

void v5_identify(const struct mqtt *m, uint32_t id, MQTTProperties *properties)
{
    MQTTProperty one = {.identifier = MQTTPROPERTY_CODE_SUBSCRIPTION_IDENTIFIER};
    if (m->dial.version != MQTTVERSION_5 || m->limits.no_identifiers || id == 0 ||
        id > UP_SUBSCRIPTION_ID_MAX)
        return;
    one.value.integer4 = id;
    MQTTProperties_add(properties, &one);
}

/* ---- reasons --------------------------------------------------------------------------------- */

struct reason {
    int code;
    const char *text;
};

static const char *text_of(const struct reason *list, size_t n, int code)
{
    for (size_t i = 0; i < n; i++) {
        if (list[i].code == code)
            return list[i].text;
    }
    return NULL;
}

const char *v5_refusal(int reason)
{
    static const struct reason list[] = {
        {MQTTREASONCODE_UNSPECIFIED_ERROR,            "the broker refused without a reason"              },
        {MQTTREASONCODE_UNSUPPORTED_PROTOCOL_VERSION, "the broker does not speak MQTT 5"                 },
        {MQTTREASONCODE_CLIENT_IDENTIFIER_NOT_VALID,  "client_id refused by the broker"                  },
        {MQTTREASONCODE_BAD_USER_NAME_OR_PASSWORD,
         "not authorised (check username and password_file)"                                             },
        {MQTTREASONCODE_NOT_AUTHORIZED,               "not authorised (check username and password_file)"},
        {MQTTREASONCODE_SERVER_UNAVAILABLE,           "the broker is not available (it said so)"         },
        {MQTTREASONCODE_SERVER_BUSY,                  "the broker is busy (it said so)"                  },
        {MQTTREASONCODE_BANNED,                       "the broker has banned this client"                },
        {MQTTREASONCODE_BAD_AUTHENTICATION_METHOD,
         "the broker wants another way of authentication"                                                },
        {MQTTREASONCODE_QUOTA_EXCEEDED,               "a quota of the broker is exceeded"                },
        {MQTTREASONCODE_USE_ANOTHER_SERVER,           "the broker sends us to another one"               },
        {MQTTREASONCODE_SERVER_MOVED,                 "the broker has moved: update the address"         },
        {MQTTREASONCODE_CONNECTION_RATE_EXCEEDED,     "the broker takes no more connections right now"   },
    };
    const char *const text = text_of(list, sizeof list / sizeof list[0], reason);
    if (text != NULL || reason < FIRST_ERROR || reason > 0xFF)
        return text;
    const char *const paho = MQTTReasonCode_toString((enum MQTTReasonCodes)reason);
    return paho != NULL ? paho : "the broker refused with a reason that MQTT does not know";
}

const char *v5_farewell(int reason)
{
    static const struct reason list[] = {
        {MQTTREASONCODE_SESSION_TAKEN_OVER,
         "another client with this client_id has taken the session over"                           },
        {MQTTREASONCODE_SERVER_SHUTTING_DOWN,     "the broker is shutting down"                    },
        {MQTTREASONCODE_KEEP_ALIVE_TIMEOUT,       "the broker heard nothing of us for too long"    },
        {MQTTREASONCODE_NOT_AUTHORIZED,           "the broker withdrew our authorisation"          },
        {MQTTREASONCODE_SERVER_BUSY,              "the broker is busy"                             },
        {MQTTREASONCODE_RECEIVE_MAXIMUM_EXCEEDED,
         "the broker counts more unacknowledged messages than its Receive Maximum"                 },
        {MQTTREASONCODE_PACKET_TOO_LARGE,         "a packet was too large for the broker"          },
        {MQTTREASONCODE_MESSAGE_RATE_TOO_HIGH,    "too many messages per second for the broker"    },
        {MQTTREASONCODE_QUOTA_EXCEEDED,           "a quota of the broker is exceeded"              },
        {MQTTREASONCODE_ADMINISTRATIVE_ACTION,    "the broker's administrator ended the connection"},
        {MQTTREASONCODE_USE_ANOTHER_SERVER,       "the broker sends us to another one"             },
        {MQTTREASONCODE_SERVER_MOVED,             "the broker has moved: update the address"       },
        {MQTTREASONCODE_MAXIMUM_CONNECT_TIME,     "the broker allows no longer connections"        },
    };
    const char *const text = text_of(list, sizeof list / sizeof list[0], reason);
    if (text != NULL || reason < FIRST_ERROR)
        return text;
    return MQTTReasonCode_toString((enum MQTTReasonCodes)reason);
}

enum up_result v5_result(int reason)
{
    switch (reason) {
    case MQTTREASONCODE_SERVER_UNAVAILABLE:
    case MQTTREASONCODE_SERVER_BUSY:
    case MQTTREASONCODE_RECEIVE_MAXIMUM_EXCEEDED:
    case MQTTREASONCODE_MESSAGE_RATE_TOO_HIGH:
    case MQTTREASONCODE_QUOTA_EXCEEDED:
        return UP_BUSY;
    default:
        return reason >= FIRST_ERROR ? UP_REFUSED : UP_BUSY;
    }
}

/* ---- callbacks ------------------------------------------------------------------------------- */

void on_connected5(void *context, MQTTAsync_successData5 *data)
{
    struct mqtt *const m = context;

    pthread_mutex_lock(&m->lock);
    const unsigned keepalive_s = v5_keepalive_s(&data->properties, m->dial.keepalive_s);
    const bool other_keepalive = keepalive_s != m->dial.keepalive_s;
    v5_take_limits(m, &data->properties);
    atomic_store(&m->host->will_less_qos, 2U - m->limits.max_qos);
    atomic_store(&m->host->will_no_retain, m->limits.no_retain);
    m->dial.keepalive_s = keepalive_s;
    pthread_mutex_unlock(&m->lock);
    mqtt_connected(m, data->alt.connect.sessionPresent != 0);
    if (!other_keepalive)
        return;
    /* Paho has a keep alive per CONNECT, so the next one says what the broker wants. */
    pthread_mutex_lock(&m->lock);
    if (!m->purging)
        mqtt_cut(m, "the broker demands a shorter keep alive: connecting again with that");
    pthread_mutex_unlock(&m->lock);
}

void on_connect_failed5(void *context, MQTTAsync_failureData5 *data)
{
    mqtt_connect_failed(context, data != NULL ? data->code : MQTTASYNC_FAILURE,
                        data != NULL ? data->message : NULL);
}

/* The broker's DISCONNECT. Paho does not call on_lost() then. */
void on_dismissed5(void *context, MQTTProperties *properties, enum MQTTReasonCodes reason)
{
    struct mqtt *const m = context;
    const char *const text = v5_farewell((int)reason);
    const MQTTProperty *const said =
        MQTTProperties_getProperty(properties, MQTTPROPERTY_CODE_REASON_STRING);

    pthread_mutex_lock(&m->lock);
    if (m->cut_why[0] == '\0' && said != NULL)
        snprintf(m->cut_why, WHY_MAX, "%s (it says: %.*s)",
                 text != NULL ? text : "connection closed by the broker", said->value.data.len,
                 said->value.data.data);
    else if (m->cut_why[0] == '\0')
        snprintf(m->cut_why, WHY_MAX, "%s",
                 text != NULL ? text : "connection closed by the broker");
    m->taken_over = reason == MQTTREASONCODE_SESSION_TAKEN_OVER;
    pthread_mutex_unlock(&m->lock);
    /* "Unspecified error" is none. */
    mqtt_lost(m, (int)reason > FIRST_ERROR && reason != MQTTREASONCODE_SESSION_TAKEN_OVER);
}

void on_closed5(void *context, MQTTAsync_successData5 *data)
{
    (void)data;
    on_closed(context, NULL);
}

void on_answer5(void *context, MQTTAsync_successData5 *data)
{
    mqtt_answered(context, data != NULL ? (int)data->reasonCode : 0);
}

void on_failure5(void *context, MQTTAsync_failureData5 *data)
{
    mqtt_refused(context, data != NULL ? (int)data->reasonCode : 0, data != NULL ? data->code : 0);
}
