/* SPDX-License-Identifier: Apache-2.0 */
/* What spools are made with, and the time of day that they go by. */
#include "base/clock.h"

#include "app_priv.h"
#include "system.h"

enum { MINUTE_MS = 60000 };

bool app_wants_spool(const struct app *a, unsigned broker)
{
    const struct pace_config pace = config_pace(&a->config->brokers[broker]);
    return a->pump.store != NULL || pace_is_limited(&pace);
}

struct spool_config app_spool_config(const struct app *a, unsigned broker, size_t memory)
{
    const struct config_store *s = &a->config->store;
    struct spool_config config = spool_defaults();
    const int64_t expiry_ms = INT64_C(1000) * a->config->brokers[broker].message_expiry_s;
    config.log_level = a->config->gateway.log_level;
    config.max_messages = s->spool_messages;
    config.max_bytes = s->spool_bytes;
    config.full = (enum spool_full)(s->spool_full - 1);
    config.max_age_ms = s->spool_age_ms;
    if (expiry_ms > 0 && (config.max_age_ms == 0 || config.max_age_ms > expiry_ms))
        config.max_age_ms = expiry_ms;
    config.qos_0 = s->spool_qos_0 == SN_YES;
    config.window = s->spool_window;
    config.hold_ms = time_min(config.hold_ms, a->config->gateway.retry_interval_ms / 2);
    config.pace = config_pace(&a->config->brokers[broker]);
    config.pace.seed = a->own_seed.k1 + broker; /* of all sessions there: they keep one time */
    config.sparing = memory > 0;
    if (memory > 0)
        config.max_memory_bytes = memory;
    return config;
}

struct spool *app_new_spool(const struct app *a, unsigned broker, const struct hash_seed *seed,
                            size_t memory)
{
    struct spool_config config = app_spool_config(a, broker, memory);
    config.hash_seed = *seed;
    return spool_new(&config, a->pump.now_ms);
}

/* A clock that was set shows in the next turn, which is a minute away at most. */
void app_tell_minute(struct app *a)
{
    if (a->minute_ms == TIME_NEVER)
        return;
    const int64_t wall_ms = a->pump.wall_ms > 0 ? a->pump.wall_ms : 0;
    const int64_t minute = wall_ms / MINUTE_MS;
    if (minute == a->minute && a->pump.now_ms < a->minute_ms)
        return;
    a->minute = minute;
    a->minute_ms = time_add(a->pump.now_ms, MINUTE_MS - wall_ms % MINUTE_MS);
    pump_minute(&a->pump, system_minute(wall_ms));
}

void app_begin_minutes(struct app *a)
{
    bool wanted = false;
    for (size_t i = 0; i < a->config->n_brokers; i++)
        wanted |= a->config->brokers[i].n_quiet > 0;
    if (!wanted)
        return;
    a->minute = -1;
    a->minute_ms = a->pump.now_ms;
    app_tell_minute(a);
}
