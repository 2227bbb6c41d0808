/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a radio tells of its packets, and how long they may be.
 *
 * A coordinator tries for seconds to reach a node, and keeps a packet for a sleeping one until it
 * polls. To repeat a request meanwhile would put a second copy behind the first: so a repetition
 * that is due waits for the outcome, and T_retry counts from there. A radio that never tells holds
 * a request back once for AIR_PATIENCE_MS.
 */
#include <stdlib.h>

#include "mqttsn/engine_priv.h"

enum { AIR_PATIENCE_MS = 30000 };

int sn_air_init(struct sn_engine *e)
{
    e->carried = calloc(e->config.n_links + 1, sizeof *e->carried);
    e->back_ms = calloc(e->config.n_links + 1, sizeof *e->back_ms);
    if (e->carried == NULL || e->back_ms == NULL)
        return -1;
    for (size_t i = 0; i < e->config.n_links; i++)
        e->carried[i] = e->links[i].max_packet_bytes;
    return 0;
}

void sn_air_sent(struct sn_engine *e, struct sn_client *c)
{
    const struct peer *to = sn_client_peer(c);
    if (to != NULL && to->link < e->config.n_links && e->links[to->link].reports &&
        to->path_len == 0 && c->undecided < UINT8_MAX)
        c->undecided++;
}

bool sn_air_hold(struct sn_engine *e, struct sn_down *d)
{
    if (d->client->undecided == 0)
        return false;
    if (d->held) { /* long enough */
        d->client->undecided = 0;
        return false;
    }
    d->held = true;
    deadline_arm(&e->deadlines, &d->retry, time_add(e->now_ms, AIR_PATIENCE_MS));
    return true;
}

void sn_engine_outcome(struct sn_engine *e, int64_t now_ms, const struct peer *to,
                       enum sn_air outcome)
{
    sn_engine_advance(e, now_ms);
    if (outcome == SN_AIR_UNDELIVERED)
        sn_count(e, SN_STAT_AIR_UNDELIVERED);
    else if (outcome == SN_AIR_NOT_SENT)
        sn_count(e, SN_STAT_AIR_NOT_SENT);
    struct sn_client *c = sn_client_by_peer(e, to);
    if (c == NULL || c->undecided == 0)
        return;
    c->undecided--;
    /* A stick that is away is not the node's fault: it keeps its tries until it can hear them. */
    if (outcome == SN_AIR_NOT_SENT && c->down != NULL && c->down->tries > 0)
        c->down->tries--;
    if (c->undecided == 0 && c->down != NULL)
        sn_down_rearm(e, c->down);
}

void sn_engine_link(struct sn_engine *e, int64_t now_ms, uint16_t link, bool up)
{
    sn_engine_advance(e, now_ms);
    if (link < e->config.n_links && up == (e->back_ms[link] == TIME_NEVER))
        e->back_ms[link] = up ? now_ms : TIME_NEVER;
}

int64_t sn_air_audible_ms(const struct sn_engine *e, const struct sn_client *c)
{
    const struct peer *peer = sn_client_peer(c);
    if (peer == NULL || peer->link >= e->config.n_links)
        return c->heard_ms;
    const int64_t back_ms = e->back_ms[peer->link];
    return back_ms == TIME_NEVER ? e->now_ms : time_max(c->heard_ms, back_ms);
}

void sn_engine_link_limit(struct sn_engine *e, int64_t now_ms, uint16_t link, uint32_t bytes)
{
    sn_engine_advance(e, now_ms);
    if (link >= e->config.n_links)
        return;
    const uint32_t most = e->links[link].max_packet_bytes;
    e->carried[link] = bytes == 0 || bytes > most ? most : bytes;
}
