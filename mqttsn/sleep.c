/* SPDX-License-Identifier: Apache-2.0 */
/*
 * PINGREQ and DISCONNECT (sections 6.11, 6.12) and the sleep cycle (section 6.14):
 *
 *     active  DISCONNECT(D)         -> asleep   messages wait in the queue
 *     asleep  PINGREQ(client id)    -> awake    the queue is delivered ...
 *     awake   queue empty, all acknowledged -> PINGRESP, asleep again
 *
 * A sleeper wakes by its client id, from whatever address it has now: a translated UDP port seldom
 * outlives a night.
 */
#include "mqttsn/engine_priv.h"

static void ping_response(struct sn_engine *e, struct sn_client *c)
{
    sn_reply(e, c, &(struct sn_packet){.type = SN_PINGRESP});
}

/* The sleeper that the message names, if it may be woken from this address. */
static struct sn_client *sleeper(struct sn_engine *e, const struct peer *from,
                                 const struct sn_packet *p)
{
    struct sn_client *c = p->client_id.len > 0 ? sn_client_by_id(e, p->client_id) : NULL;
    if (c == NULL || (c->state != SN_ST_ASLEEP && c->state != SN_ST_AWAKE))
        return NULL;
    if (c->profile->options.rebind == SN_NO)
        return NULL;
    sn_client_displace(e, c, sn_client_by_peer(e, from));
    return sn_client_bind(e, c, from) ? c : NULL;
}

/* What waits, and as much again of what arrives meanwhile. */
static uint32_t most_per_period(const struct sn_client *c)
{
    const uint32_t max_queue = c->profile->options.max_queue;
    return max_queue <= UINT32_MAX / 2 ? 2 * max_queue : UINT32_MAX;
}

static void wake(struct sn_engine *e, struct sn_client *c)
{
    if (c->state == SN_ST_ASLEEP) {
        c->wake_left = most_per_period(c);
        sn_client_apply(e, c, SN_CE_WAKE);
    } else {
        sn_down_resend(e, c); /* it missed something: repeat what is under way */
    }
    sn_down_resume(e, c);
    sn_down_run(e, c);
}

/* `c` is the session of the address, or NULL. */
void sn_on_pingreq(struct sn_engine *e, struct sn_client *c, const struct peer *from,
                   const struct sn_packet *p)
{
    const bool named = p->client_id.len > 0;
    const bool other = named && (c == NULL || !bytes_equal(sn_client_id(c), p->client_id));
    if (other)
        c = sleeper(e, from, p);
    if (c == NULL || !sn_client_connected(c)) {
        sn_unknown_talker(e, from);
        return;
    }
    c->heard_ms = e->now_ms;
    c->idle = false;
    c->unheard = false;
    if (named && c->in_doubt)
        sn_client_apply(e, c, SN_CE_SLEEP); /* its CONNECT was a copy: this is how sleepers wake */
    sn_client_trust(e, c);
    if (c->state != SN_ST_ACTIVE) {
        wake(e, c);
        return;
    }
    ping_response(e, c);
    sn_down_resume(e, c);
}

/* Answered however often it comes: the reply may have been lost, and some clients wait for it for
 * ever. Only who is still connecting can't be put to sleep. */
void sn_on_disconnect(struct sn_engine *e, struct sn_client *c, const struct sn_packet *p)
{
    if (p->duration_s > 0 && !sn_client_connected(c)) {
        sn_count(e, SN_STAT_IGNORED_STATE); /* repeated, it finds the node connected */
        return;
    }
    sn_journal_leaving(e, c, p->duration_s);
    sn_reply(e, c, &(struct sn_packet){.type = SN_DISCONNECT});
    if (p->duration_s == 0) { /* a zero duration is none */
        sn_client_apply(e, c, SN_CE_DISCONNECT);
        return;
    }
    c->sleep_s = p->duration_s;
    sn_client_apply(e, c, SN_CE_SLEEP);
}
