/* SPDX-License-Identifier: Apache-2.0 */
/* The words that stand for a choice. A field holds the number of its word, from 1. */
#include "base/text.h"

#include "config_priv.h"
#include "mqtt.h"
#include "tls.h"

static const char *const overflow_words[] = {
    [SN_DROP_OLDEST] = "drop-oldest",
    [SN_DROP_NEWEST] = "drop-newest",
    [SN_LATEST_PER_TOPIC] = "latest-per-topic",
};
static const char *const qos_words[] = {[1] = "0", [2] = "1", [3] = "2"};
static const char *const flow_words[] = {
    [1 + PORT_FLOW_NONE] = "none",
    [1 + PORT_FLOW_RTSCTS] = "rtscts",
    [1 + PORT_FLOW_XONXOFF] = "xonxoff",
};
static const char *const pin_words[] = {[1] = "off", [2] = "on"};
static const char *const api_words[] = {[1] = "auto", [2] = "1", [3] = "2"};
static const char *const family_words[] = {
    [1 + XBEE_AUTO] = "auto",
    [1 + XBEE_ZIGBEE] = "zigbee",
    [1 + XBEE_802154] = "802.15.4",
};
static const char *const framing_words[] = {
    [1 + LINE_RAW] = "raw",
    [1 + LINE_SLIP] = "slip",
    [1 + LINE_HDLC] = "hdlc",
    [1 + LINE_COBS] = "cobs",
};

static const char *const durable_words[] = {
    [1 + STORE_OFF] = "off",
    [1 + STORE_PROCESS] = "process",
    [1 + STORE_POWER] = "power",
};
static const char *const full_words[] = {
    [1 + SPOOL_REFUSE] = "refuse",
    [1 + SPOOL_DROP_OLDEST] = "drop-oldest",
};
static const char *const tls_min_words[] = {[1 + TLS_MIN_1_2] = "1.2", [1 + TLS_MIN_1_3] = "1.3"};
static const char *const mqtt_words[] = {
    [1 + MQTT_AUTO] = "auto",
    [1 + MQTT_5] = "5",
    [1 + MQTT_3_1_1] = "3.1.1",
};

static const char *const sessions_words[] = {
    [1 + SESSIONS_SHARED] = "shared",
    [1 + SESSIONS_OWN] = "own",
};
static const char *const retain_words[] = {
    [1 + ROUTE_RETAIN_SAME] = "same",
    [1 + ROUTE_RETAIN_NO] = "no",
    [1 + ROUTE_RETAIN_YES] = "yes",
};
static const char *const direction_words[] = {
    [1 + ROUTE_BOTH] = "both",
    [1 + ROUTE_UP] = "up",
    [1 + ROUTE_DOWN] = "down",
};

struct words {
    const char *const *list;
    size_t n;
};

#define WORDS(list)                                                                                \
    {                                                                                              \
        (list), sizeof(list) / sizeof((list)[0])                                                   \
    }

static const struct words word_lists[] = {
    [TYPE_OVERFLOW] = WORDS(overflow_words), [TYPE_QOS] = WORDS(qos_words),
    [TYPE_FLOW] = WORDS(flow_words),         [TYPE_PIN] = WORDS(pin_words),
    [TYPE_API] = WORDS(api_words),           [TYPE_FAMILY] = WORDS(family_words),
    [TYPE_FRAMING] = WORDS(framing_words),   [TYPE_DURABLE] = WORDS(durable_words),
    [TYPE_FULL] = WORDS(full_words),         [TYPE_TLS_MIN] = WORDS(tls_min_words),
    [TYPE_MQTT] = WORDS(mqtt_words),         [TYPE_SESSIONS] = WORDS(sessions_words),
    [TYPE_RETAIN] = WORDS(retain_words),     [TYPE_DIRECTION] = WORDS(direction_words),
};

enum { N_LISTS = sizeof word_lists / sizeof word_lists[0] };

const char *config_word(enum config_type type, size_t number)
{
    if ((size_t)type >= N_LISTS || number >= word_lists[type].n)
        return NULL;
    return word_lists[type].list[number];
}

void config_words_print(enum config_type type, char *out, size_t size)
{
    const struct words *words = &word_lists[type];
    struct text t = text_to(out, size);
    for (size_t i = 1; i < words->n; i++) {
        text_word(&t, i == 1 ? "" : i + 1 == words->n ? " or " : ", ");
        text_word(&t, words->list[i]);
    }
}
