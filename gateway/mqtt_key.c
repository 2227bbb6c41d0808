/* SPDX-License-Identifier: Apache-2.0 */
#include "mqtt_key.h"

#include <limits.h>
#include <stdbool.h>
#include <stddef.h>

#include <MQTTAsync.h>

#include "mqtt_ids.h"

static enum mqtt_key_kind kind_of(const char **text)
{
    const char *const t = *text;
    if (t[0] == 's' && t[1] == 'c') {
        *text += 2;
        return KEY_RELEASED;
    }
    *text += t[0] != '\0';
    switch (t[0]) {
    case 's':
        return KEY_SENT;
    case 'r':
        return KEY_RECEIVED;
    case 'q':
        return KEY_QUEUED;
    default:
        return KEY_OTHER;
    }
}

/* UINT_MAX: it is no number, or too large a one. */
static unsigned number_of(const char *text)
{
    enum { DIGITS_MAX = 9 };

    unsigned number = 0;
    size_t n = 0;
    for (; text[n] >= '0' && text[n] <= '9' && n < DIGITS_MAX; n++)
        number = number * 10 + (unsigned)(text[n] - '0');
    return n > 0 && text[n] == '\0' ? number : UINT_MAX;
}

struct mqtt_key mqtt_key_of(const char *text)
{
    const enum mqtt_key_kind kind = kind_of(&text);
    const bool is_v5 = *text == '5';
    text += is_v5;
    if (kind == KEY_OTHER || *text != '-')
        return (struct mqtt_key){.kind = KEY_OTHER};
    const unsigned id = number_of(text + 1);
    const bool valid = id != UINT_MAX && (kind == KEY_QUEUED || (id > 0 && id < PACKET_IDS));
    return (struct mqtt_key){.kind = valid ? kind : KEY_OTHER,
                             .version = is_v5 ? MQTTVERSION_5 : MQTTVERSION_3_1_1,
                             .id = id};
}
