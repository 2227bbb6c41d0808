/* SPDX-License-Identifier: Apache-2.0 */
/* What the pump knows of where a packet comes from, for brokers that want to be told. */
#include <stdio.h>
#include <time.h>

#include "base/origin.h"

#include "pump_priv.h"

enum { NUMBER_ROOM = 8, ADDRESS_ROOM = ORIGIN_TEXT_MAX + 1 };

static bool is_wanted(const struct pump *p, enum origin_field field)
{
    return (p->origins >> field & 1U) != 0;
}

/* The date is made once per second. */
static void put_time(struct pump *p, struct writer *w)
{
    const int64_t wall_ms = p->wall_ms > 0 ? p->wall_ms : 0;
    const time_t second = (time_t)(wall_ms / 1000);
    char text[sizeof p->stamp + NUMBER_ROOM];
    struct tm tm;
    if (second != p->stamp_s || p->stamp[0] == '\0') {
        if (gmtime_r(&second, &tm) == NULL ||
            strftime(p->stamp, sizeof p->stamp, "%Y-%m-%dT%H:%M:%S", &tm) == 0)
            p->stamp[0] = '\0';
        p->stamp_s = second;
    }
    if (p->stamp[0] == '\0')
        return;
    snprintf(text, sizeof text, "%s.%03dZ", p->stamp, (int)(wall_ms % 1000));
    origin_put(w, ORIGIN_TIME, bytes_str(text));
}

static void put_number(struct writer *w, enum origin_field field, int number)
{
    char text[NUMBER_ROOM];
    snprintf(text, sizeof text, "%d", number);
    origin_put(w, field, bytes_str(text));
}

void pump_tell_origin(struct pump *p, const struct peer *from, const struct link_signal *signal)
{
    uint8_t fields[ORIGIN_MAX];
    char address[ADDRESS_ROOM];
    struct writer w = wr_to(fields, sizeof fields);
    if (is_wanted(p, ORIGIN_LINK) && from->link < p->n_links)
        origin_put(&w, ORIGIN_LINK, bytes_str(p->link_names[from->link]));
    if (is_wanted(p, ORIGIN_ADDRESS))
        origin_put(&w, ORIGIN_ADDRESS, bytes_str(peer_print(from, address, sizeof address)));
    if (is_wanted(p, ORIGIN_LQI) && signal != NULL && signal->has_lqi)
        put_number(&w, ORIGIN_LQI, signal->lqi);
    if (is_wanted(p, ORIGIN_RSSI) && signal != NULL && signal->has_rssi)
        put_number(&w, ORIGIN_RSSI, signal->rssi);
    if (is_wanted(p, ORIGIN_TIME))
        put_time(p, &w);
    sn_engine_origin(p->engine, is_wanted(p, ORIGIN_CLIENT), bytes_of(fields, w.len));
}
