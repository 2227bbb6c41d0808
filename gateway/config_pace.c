/* SPDX-License-Identifier: Apache-2.0 */
/* Limits of a broker's connection: hours become minutes of the day, and what messages can't survive is
 * said. */
#include <stdio.h>
#include <string.h>

#include "config_priv.h"

enum { MINUTE_MS = 60000 };

struct pace_config config_pace(const struct config_broker *broker)
{
    struct pace_config pace = {
        .messages = broker->rate_messages,
        .bytes = broker->rate_bytes,
        .collect_ms = (int64_t)broker->collect_s * 1000,
        .n_quiet = broker->n_quiet,
    };
    memcpy(pace.quiet, broker->quiet_hours, sizeof pace.quiet);
    return pace;
}

/* ---- quiet hours ----------------------------------------------------------------------------- */

/* One or two digits. */
static bool read_number(struct reader *r, unsigned digits_min, unsigned *out)
{
    unsigned digits = 0;
    *out = 0;
    while (digits < 2 && rd_left(r) > 0 && *r->at >= '0' && *r->at <= '9') {
        *out = *out * 10 + (unsigned)(rd_u8(r) - '0');
        digits++;
    }
    return digits >= digits_min;
}

static bool read_time(struct reader *r, unsigned max, uint16_t *out)
{
    unsigned hour = 0;
    unsigned minute = 0;
    if (!read_number(r, 1, &hour) || rd_left(r) == 0 || rd_u8(r) != ':' ||
        !read_number(r, 2, &minute))
        return false;
    const unsigned time = hour * 60 + minute;
    *out = (uint16_t)time;
    return minute < 60 && time <= max;
}

static const char *read_hours(struct bytes text, struct pace_hours *out)
{
    struct reader r = rd_of(text);
    if (!read_time(&r, PACE_DAY - 1, &out->from) || rd_left(&r) == 0 || rd_u8(&r) != '-' ||
        !read_time(&r, PACE_DAY, &out->to) || rd_left(&r) > 0)
        return "that is no time of day and another";
    return out->from == out->to ? "that ends where it begins" : NULL;
}

/* NULL: all is well. `wrong` is the part that is not. */
static const char *read_quiet(struct config_broker *broker, struct bytes *wrong)
{
    static const char blanks[] = " ";
    const char *at = broker->quiet;
    *wrong = bytes_str(at);
    for (;;) {
        at += strspn(at, blanks);
        size_t len = strcspn(at, ",");
        const char *next = at + len;
        while (len > 0 && at[len - 1] == ' ')
            len--;
        *wrong = bytes_of(at, len);
        if (broker->n_quiet == PACE_HOURS_MAX)
            return "these are too many";
        if (len == 0) {
            *wrong = bytes_str(broker->quiet);
            return "a part between the commas is empty";
        }
        const char *fault = read_hours(*wrong, &broker->quiet_hours[broker->n_quiet]);
        if (fault != NULL)
            return fault;
        broker->n_quiet++;
        if (*next == '\0')
            break;
        at = next + 1;
    }
    return NULL;
}

/* Minutes, over midnight, too; PACE_DAY: there is no other time. */
static unsigned longest_quiet(const struct config_broker *broker)
{
    const struct pace_config pace = config_pace(broker);
    unsigned longest = 0;
    unsigned run = 0;
    for (unsigned i = 0; i < 2 * PACE_DAY; i++) {
        run = pace_is_quiet_at(&pace, i % PACE_DAY) ? run + 1 : 0;
        longest = run > longest ? run : longest;
    }
    return longest < PACE_DAY ? longest : PACE_DAY;
}

static void check_quiet(struct config_builder *b, size_t i)
{
    struct config_broker *broker = &b->config->brokers[i];
    if (broker->quiet == NULL)
        return;
    struct bytes wrong;
    const char *fault = read_quiet(broker, &wrong);
    if (fault == NULL && longest_quiet(broker) == PACE_DAY) {
        wrong = bytes_str(broker->quiet);
        fault = "that is all day, and nothing would ever be sent";
    }
    if (fault == NULL)
        return;
    char text[CONFIG_TEXT_ROOM];
    snprintf(text, sizeof text, "%.*s", (int)wrong.len, (const char *)wrong.data);
    config_say2(&b->report, config_place_of(&b->brokers[i], SECTION_BROKER, "quiet"), SAY_QUIET,
                text, fault);
    broker->n_quiet = 0;
}

/* ---- what waits, and where ------------------------------------------------------------------- */

static void check_store(struct config_builder *b, size_t i)
{
    static const char *const keys[] = {"collect", "quiet"};
    const struct config_broker *broker = &b->config->brokers[i];
    const bool wanted[] = {broker->collect_s > 0, broker->quiet != NULL};
    if (b->config->store.durability != 1 + STORE_OFF)
        return;
    for (size_t k = 0; k < sizeof keys / sizeof keys[0]; k++) {
        if (wanted[k])
            config_say1(&b->report, config_place_of(&b->brokers[i], SECTION_BROKER, keys[k]),
                        SAY_PACE_STORE, keys[k]);
    }
}

static void check_age(struct config_builder *b, size_t i)
{
    const struct config_broker *broker = &b->config->brokers[i];
    const int64_t age_ms = b->config->store.spool_age_ms;
    const int64_t quiet_ms = (int64_t)longest_quiet(broker) * MINUTE_MS;
    const int64_t wait_ms = quiet_ms + (int64_t)broker->collect_s * 1000;
    if (wait_ms == 0 || age_ms == 0 || wait_ms < age_ms)
        return;
    const struct config_key *key = config_key_find(SECTION_STORE, "spool_age");
    char wait[CONFIG_TEXT_ROOM / 4];
    char age[CONFIG_TEXT_ROOM / 4];
    config_number_print(key, wait_ms, wait, sizeof wait);
    config_number_print(key, age_ms, age, sizeof age);
    config_say2(&b->report,
                config_place_of(&b->brokers[i], SECTION_BROKER, quiet_ms > 0 ? "quiet" : "collect"),
                SAY_PACE_AGE, wait, age);
}

void config_check_pace(struct config_builder *b, size_t i)
{
    check_quiet(b, i);
    check_store(b, i);
    check_age(b, i);
}
