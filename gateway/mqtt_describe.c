/* SPDX-License-Identifier: Apache-2.0 */
/* What goes with a message to a broker of MQTT 5: when it expires, and where it came from. */
#include <string.h>

#include "base/origin.h"

#include "mqtt_priv.h"

enum { IDENTIFIER = 1, LENGTH = 2, EXPIRY = 4 };

static bool is_wanted(const struct mqtt *m, enum origin_field field)
{
    return (m->options.user_properties >> field & 1U) != 0;
}

/* Paho copies what it is given, and changes nothing. */
static MQTTLenString view(struct bytes in)
{
    return (MQTTLenString){.len = (int)in.len, .data = (char *)(uintptr_t)in.data};
}

static void add(struct v5_description *d, enum origin_field field, struct bytes text)
{
    const struct bytes name = bytes_str(origin_name(field));
    if ((size_t)d->properties.count == sizeof d->list / sizeof d->list[0])
        return;
    MQTTProperty *const p = &d->list[d->properties.count++];
    *p = (MQTTProperty){.identifier = MQTTPROPERTY_CODE_USER_PROPERTY};
    p->value.data = view(name);
    p->value.value = view(text);
    d->bytes += IDENTIFIER + LENGTH + name.len + LENGTH + text.len;
}

static void add_expiry(struct v5_description *d, uint32_t expiry_s, uint32_t age_s)
{
    MQTTProperty *const p = &d->list[d->properties.count++];
    *p = (MQTTProperty){.identifier = MQTTPROPERTY_CODE_MESSAGE_EXPIRY_INTERVAL};
    p->value.integer4 = expiry_s > age_s ? expiry_s - age_s : 1;
    d->bytes += IDENTIFIER + EXPIRY;
}

void v5_describe(const struct mqtt *m, const struct item *it, struct v5_description *d)
{
    struct reader r = rd_of(body_origin(it->event.body));
    struct bytes text;
    enum origin_field field;
    unsigned seen = 1U << ORIGIN_GATEWAY;
    d->properties = (MQTTProperties){.array = d->list};
    d->bytes = 0;
    if (m->dial.version != MQTTVERSION_5 || it->request != UP_PUBLISH)
        return;
    if (m->options.message_expiry_s > 0)
        add_expiry(d, m->options.message_expiry_s, it->age_s);
    if (m->options.user_properties == 0)
        return;
    if (is_wanted(m, ORIGIN_GATEWAY) && m->options.gateway != NULL)
        add(d, ORIGIN_GATEWAY, bytes_str(m->options.gateway));
    while (origin_next(&r, &field, &text)) {
        if (is_wanted(m, field) && (seen >> field & 1U) == 0)
            add(d, field, text);
        seen |= 1U << field;
    }
    d->properties.max_count = d->properties.count;
    d->properties.length = (int)d->bytes;
}
