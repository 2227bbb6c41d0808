/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Towards a broker with limits (pace.h, and spool.h, "Limits") messages leave when the pace lets them,
 * in the order in which they would leave anyway.
 */
#include "base/clock.h"

#include "broker/spool_priv.h"

static void tell_quiet(struct spool *s, bool quiet)
{
    if (!log_begin(&s->log, LOG_INFO, quiet ? "spool.quiet_began" : "spool.quiet_ended"))
        return;
    log_int(&s->log, "messages", (int64_t)s->gauges.messages);
    log_end(&s->log);
}

static void tell_window(struct spool *s, const char *event)
{
    if (!log_begin(&s->log, LOG_DEBUG, event))
        return;
    log_int(&s->log, "messages", (int64_t)s->gauges.messages);
    log_end(&s->log);
}

static void end_window(struct spool *s)
{
    pace_collected(&s->pace);
    tell_window(s, "spool.collected");
}

/* What waits now is what the window is for; what comes meanwhile goes along, until that has gone. */
void meter_advance(struct spool *s)
{
    if (!s->metered)
        return;
    pace_advance(&s->pace, s->now_ms);
    if (!pace_has_opened(&s->pace))
        return;
    s->collect_upto = s->last_number;
    s->to_collect = s->gauges.messages;
    if (s->to_collect == 0) {
        pace_collected(&s->pace);
        return;
    }
    tell_window(s, "spool.collecting");
}

void spool_wall(struct spool *s, int64_t now_ms, unsigned minute)
{
    spool_advance(s, now_ms);
    const bool before = s->pace.quiet && s->pace.told;
    pace_wall(&s->pace, s->now_ms, minute);
    if (s->pace.quiet != before)
        tell_quiet(s, s->pace.quiet);
    if (s->pace.quiet)
        s->to_collect = 0;
}

void meter_gone(struct spool *s, uint64_t number)
{
    if (s->to_collect > 0 && number <= s->collect_upto && --s->to_collect == 0)
        end_window(s);
}

void meter_lost(struct spool *s)
{
    if (s->to_collect <= s->gauges.messages)
        return;
    s->to_collect = s->gauges.messages;
    if (s->to_collect == 0)
        end_window(s);
}

bool meter_allows(const struct spool *s, uint64_t bytes)
{
    return !s->metered || pace_when(&s->pace, (size_t)bytes) <= s->now_ms;
}

bool meter_lets_pass(struct spool *s, const struct up_request *r)
{
    const size_t bytes = r->topic.len + body_bytes(r->body).len;
    if (!s->metered)
        return true;
    const bool on_disk = s->n_disk > 0 && s->unreadable_ms == TIME_NEVER;
    if (!list_empty(&s->ready) || on_disk || !meter_allows(s, bytes))
        return false;
    pace_take(&s->pace, bytes);
    return true;
}

int64_t meter_next(const struct spool *s)
{
    if (!s->metered)
        return TIME_NEVER;
    int64_t next_ms = pace_next_deadline(&s->pace);
    const struct message *m = s->up && !s->window_full ? first_ready(s) : NULL;
    if (m != NULL)
        next_ms = time_min(next_ms, pace_when(&s->pace, (size_t)m->bytes));
    return next_ms;
}
