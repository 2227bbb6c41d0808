/* SPDX-License-Identifier: Apache-2.0 */
/*
 * When a message may leave for a broker whose line costs money: a pure machine. All limits hold at
 * once; each may be absent.
 *
 *     messages, bytes   per second: a bucket each, which holds what one second brings. A message that
 *                       is larger than a bucket needs a full one, and leaves it in debt: so in any
 *                       stretch of t seconds no more leaves than t + 1 seconds bring, and one message.
 *     collect           messages leave while a window is open. One opens every so often, at times
 *                       that chance has chosen, so that gateways do not come together. It is open
 *                       until who has the messages says that all which waited then are done with
 *                       (pace_collected()), through outages, too.
 *     quiet             hours of the day in which nothing leaves, in whatever time pace_wall() goes by.
 *                       They close a window. If the time until they come again is short, one opens in
 *                       its first half. Without `collect` the first message leaves up to a minute
 *                       later, by chance, too. While the time of day is not known, it is quiet.
 */
#ifndef SENNET_BROKER_PACE_H
#define SENNET_BROKER_PACE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
    PACE_HOURS_MAX = 8,
    PACE_DAY = 24 * 60,   /* minutes */
    PACE_OVERHEAD = 16,   /* octets that MQTT needs around a message, in both directions */
    PACE_BEGIN_MS = 60000 /* after quiet hours, at most */
};

/* Minutes of the day: from, inclusive, 0 to 1439; to, exclusive, 0 to 1440. Over midnight if `to` is
 * not above `from`. */
struct pace_hours {
    uint16_t from, to;
};

struct pace_config {
    uint32_t messages;  /* per second; 0: any number */
    uint64_t bytes;     /* per second, up to 2^40; 0: any number */
    int64_t collect_ms; /* 0: always open */
    struct pace_hours quiet[PACE_HOURS_MAX];
    unsigned n_quiet;
    uint64_t seed; /* paces of one seed go together */
};

/* In thousandths, so that a millisecond brings a whole number. */
struct pace_bucket {
    int64_t per_ms; /* 0: no limit */
    int64_t level;  /* below 0: in debt */
};

struct pace {
    struct pace_config config;
    uint64_t chance;
    int64_t now_ms;
    struct pace_bucket messages, bytes;
    int64_t open_ms;  /* when the next window opens */
    int64_t begin_ms; /* nothing leaves before */
    bool open;        /* the window; always, without `collect` */
    bool opened;      /* and nobody has asked yet */
    bool told;        /* the time of day */
    bool quiet;
};

/* Is there any limit? */
bool pace_is_limited(const struct pace_config *config);

/* Is that minute of the day a quiet one? */
bool pace_is_quiet_at(const struct pace_config *config, unsigned minute);

void pace_init(struct pace *p, const struct pace_config *config, int64_t now_ms);
/* The same limits? */
bool pace_is_same(const struct pace_config *a, const struct pace_config *b);
/* Others from now on. The time of day is not known then. */
void pace_change(struct pace *p, const struct pace_config *config, int64_t now_ms);
void pace_advance(struct pace *p, int64_t now_ms);
/* It is that minute of the day, 0 to 1439: to be told when it changes, for whatever reason. */
void pace_wall(struct pace *p, int64_t now_ms, unsigned minute);

/* Has a window opened since this was asked last? Then pace_collected() is due when what waits now has
 * been sent. */
bool pace_has_opened(struct pace *p);
void pace_collected(struct pace *p);

/* The earliest time at which a message of so many octets (topic and payload) may leave, as far as is
 * known: now or later, or TIME_NEVER. */
int64_t pace_when(const struct pace *p, size_t bytes);
/* It leaves. */
void pace_take(struct pace *p, size_t bytes);

/* When a window opens. */
int64_t pace_next_deadline(const struct pace *p);

#endif
