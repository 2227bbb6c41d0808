/* SPDX-License-Identifier: Apache-2.0 */
/*
 * T_retry for one node: as configured until its round trips are known, then by RFC 6298.
 * Repetitions back off exponentially, but no further than T_retry as configured, unless the node is
 * slower than that. The longer wait stays until a round trip is measured again (Karn): or a node
 * that has become slow would be repeated to for ever, its answers never telling how slow. For
 * the same reason the bound itself doubles with each exchange that ended well but late.
 */
#include "mqttsn/engine_priv.h"

enum { DOUBLINGS_MAX = 6 };

int64_t sn_retry_ms(const struct sn_engine *e, const struct sn_down *d)
{
    const int64_t configured_ms = e->config.retry_interval_ms;
    const int64_t longest_ms = time_max(e->config.retry_max_ms, configured_ms);
    const int64_t bound_ms = time_min(configured_ms << d->late, longest_ms);
    if (d->srtt_ms8 == 0)
        return bound_ms;
    const int64_t least_ms = time_min(e->config.retry_min_ms, configured_ms);
    int64_t rto_ms = (int64_t)d->srtt_ms8 / 8 + d->rttvar_ms4;
    rto_ms = rto_ms < least_ms ? least_ms : time_min(rto_ms, e->config.retry_max_ms);
    return time_min(rto_ms << d->doublings, time_max(rto_ms, bound_ms));
}

/* The answer came so close behind the latest sending that the ones before were probably lost, rather
 * than the node slow. */
static bool is_answer_to_latest(const struct sn_engine *e, const struct sn_down *d)
{
    return e->now_ms - d->latest_ms < sn_retry_ms(e, d) / 8;
}

void sn_round_trip(const struct sn_engine *e, struct sn_down *d)
{
    if (d->repeated) {
        if (d->tries > 1 && !d->stalled && d->late < DOUBLINGS_MAX && !is_answer_to_latest(e, d))
            d->late++;
        return;
    }
    d->doublings = 0;
    d->late = 0;
    const int64_t took_ms = time_min(e->now_ms - d->sent_ms, e->config.retry_max_ms);
    const int64_t rtt_ms = took_ms > 0 ? took_ms : 1;
    if (d->srtt_ms8 == 0) {
        d->srtt_ms8 = (uint32_t)(rtt_ms * 8);
        d->rttvar_ms4 = (uint32_t)(rtt_ms * 2);
        return;
    }
    const int64_t error_ms = rtt_ms - (int64_t)d->srtt_ms8 / 8;
    const int64_t deviation_ms = error_ms < 0 ? -error_ms : error_ms;
    const int64_t srtt_ms8 = (int64_t)d->srtt_ms8 + error_ms;
    d->srtt_ms8 = srtt_ms8 > 0 ? (uint32_t)srtt_ms8 : 1;
    d->rttvar_ms4 = (uint32_t)((int64_t)d->rttvar_ms4 - d->rttvar_ms4 / 4 + deviation_ms);
}

void sn_round_trip_missed(struct sn_down *d)
{
    if (d->doublings < DOUBLINGS_MAX)
        d->doublings++;
}
