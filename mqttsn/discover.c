/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Discovery (section 6.1): ADVERTISE, SEARCHGW and GWINFO, on links that have a group.
 *
 * Only while the broker can be reached: a gateway that is of no use does not offer itself. A
 * SEARCHGW to the group is answered to the group after a short random wait, unless somebody else
 * answers it meanwhile. One that came to us alone, or through a forwarder, is answered at once to
 * who asked. Nothing here depends on sessions or makes one, and memory is fixed.
 */
#include <stdlib.h>

#include "mqttsn/engine_priv.h"

enum {
    FIRST_ADVERTISE_MS = 1000, /* after the broker came; at random, as other gateways see it come */
    ADVERTISE_S_MAX = 65535,   /* Duration has 16 bits */
    PER_SEARCHER_MS = 1000,    /* one answer a second to each ... */
    WINDOW_MS = 1000,          /* ... and SN_SEARCHES_PER_WINDOW in all */

    /* Another gateway is forgotten when it has missed N_ADV advertisements. */
    N_ADV = 3,
    UNKNOWN_DURATION_S = 15 * 60, /* of one that has only answered a search yet */
    GATEWAY_LIFE_MIN_MS = 60 * 1000,
    CONFLICT_EVERY_MS = 60 * 1000,
};

static uint16_t advertise_s(const struct sn_engine *e, const struct sn_beacon *b)
{
    const uint32_t s = e->links[b->link].advertise_s;
    return s < ADVERTISE_S_MAX ? (uint16_t)s : (uint16_t)ADVERTISE_S_MAX;
}

int sn_discover_init(struct sn_engine *e)
{
    struct sn_discover *d = &e->discover;
    d->beacons = calloc(e->config.n_links + 1, sizeof *d->beacons);
    if (d->beacons == NULL)
        return -1;
    for (size_t i = 0; i < e->config.n_links; i++) {
        struct sn_beacon *b = &d->beacons[i];
        b->link = (uint16_t)i;
        b->advertise_s = advertise_s(e, b);
        deadline_init(&b->advertise, SN_DL_ADVERTISE);
        deadline_init(&b->answer, SN_DL_GWINFO);
    }
    for (size_t i = 0; i < SN_SEARCHES_PER_WINDOW; i++)
        d->answered_ms[i] = e->now_ms - WINDOW_MS;
    d->conflict_ms = e->now_ms;
    /* Waits can be watched from outside, so they must not tell the key of the hash tables. */
    rng_seed(&d->rng, hash_bytes(&e->config.hash_seed, bytes_str("discover")));
    return 0;
}

void sn_discover_deinit(struct sn_engine *e)
{
    struct sn_discover *d = &e->discover;
    for (size_t i = 0; d->beacons != NULL && i < e->config.n_links; i++) {
        deadline_disarm(&e->deadlines, &d->beacons[i].advertise);
        deadline_disarm(&e->deadlines, &d->beacons[i].answer);
    }
    free(d->beacons);
    d->beacons = NULL;
}

/* ---- ADVERTISE ---------------------------------------------------------------------------------
 */

/* Starts or stops what may only be said while we are of use and can be heard. */
static void refresh(struct sn_engine *e, struct sn_beacon *b)
{
    const int64_t period_ms = advertise_s(e, b) * INT64_C(1000);
    if (!e->upstream_up || !b->joined) {
        deadline_disarm(&e->deadlines, &b->advertise);
        deadline_disarm(&e->deadlines, &b->answer);
    } else if (period_ms > 0 && !deadline_armed(&b->advertise)) {
        const int64_t most_ms = period_ms < FIRST_ADVERTISE_MS ? period_ms : FIRST_ADVERTISE_MS;
        const int64_t wait_ms = (int64_t)rng_below(&e->discover.rng, (uint64_t)most_ms + 1);
        deadline_arm(&e->deadlines, &b->advertise, time_add(e->now_ms, wait_ms));
    }
}

void sn_discover_refresh(struct sn_engine *e)
{
    for (size_t i = 0; i < e->config.n_links; i++)
        refresh(e, &e->discover.beacons[i]);
}

/* The next ADVERTISE comes by the new time, soon. */
void sn_discover_reschedule(struct sn_engine *e)
{
    for (size_t i = 0; i < e->config.n_links; i++) {
        struct sn_beacon *b = &e->discover.beacons[i];
        if (b->advertise_s == advertise_s(e, b))
            continue;
        b->advertise_s = advertise_s(e, b);
        deadline_disarm(&e->deadlines, &b->advertise);
        refresh(e, b);
    }
}

void sn_discover_group(struct sn_engine *e, uint16_t link, bool joined)
{
    if (link >= e->config.n_links)
        return;
    e->discover.beacons[link].joined = joined;
    refresh(e, &e->discover.beacons[link]);
}

static void send_to_group(struct sn_engine *e, const struct sn_beacon *b, uint8_t radius,
                          const struct sn_packet *p)
{
    struct peer_room room;
    sn_send(e, peer_make_group(&room, b->link, radius), p, 0);
}

void sn_advertise_due(struct sn_engine *e, struct sn_beacon *b)
{
    const struct sn_packet p = {
        .type = SN_ADVERTISE, .gw_id = e->config.gateway_id, .duration_s = advertise_s(e, b)};
    sn_count(e, SN_STAT_ADVERTISES);
    send_to_group(e, b, 0, &p);
    deadline_arm(&e->deadlines, &b->advertise, time_add(e->now_ms, p.duration_s * INT64_C(1000)));
}

/* ---- SEARCHGW, GWINFO --------------------------------------------------------------------------
 */

/* When this talker (or another that shares its bucket) may next be answered. */
static int64_t *searcher(struct sn_engine *e, const struct peer *from)
{
    const uint64_t hash = hash_bytes(&e->config.hash_seed, peer_key(from));
    return &e->discover.searcher_ms[hash % SN_SEARCHER_BUCKETS];
}

/* Takes one answer out of those that this second may still see. */
static bool take_answer(struct sn_engine *e)
{
    struct sn_discover *d = &e->discover;
    if (e->now_ms - d->answered_ms[d->oldest_answer] < WINDOW_MS)
        return false;
    d->answered_ms[d->oldest_answer] = e->now_ms;
    d->oldest_answer = (d->oldest_answer + 1) % SN_SEARCHES_PER_WINDOW;
    return true;
}

static void answer(struct sn_engine *e, const struct peer *to, uint8_t radius)
{
    if (!take_answer(e)) {
        sn_count(e, SN_STAT_RATE_LIMITED);
        return;
    }
    sn_count(e, SN_STAT_GWINFOS);
    sn_send(e, to,
            &(struct sn_packet){.type = SN_GWINFO, .gw_id = e->config.gateway_id, .radius = radius},
            0);
}

/* One answer serves all that have asked by then; it reaches as far as the farthest asked for. When
 * it will be given. */
static int64_t answer_later(struct sn_engine *e, struct sn_beacon *b, uint8_t radius)
{
    if (!deadline_armed(&b->answer)) {
        const uint64_t most_ms = (uint64_t)e->config.gwinfo_delay_ms;
        const int64_t wait_ms = (int64_t)rng_below(&e->discover.rng, most_ms + 1);
        b->radius = radius;
        deadline_arm(&e->deadlines, &b->answer, time_add(e->now_ms, wait_ms));
    } else if (b->radius != 0 && (radius == 0 || radius > b->radius)) {
        b->radius = radius;
    }
    return b->answer.at_ms;
}

void sn_gwinfo_due(struct sn_engine *e, struct sn_beacon *b)
{
    struct peer_room room;
    answer(e, peer_make_group(&room, b->link, b->radius), b->radius);
}

void sn_on_searchgw(struct sn_engine *e, const struct peer *from, const struct sn_packet *p,
                    bool to_group)
{
    sn_count(e, SN_STAT_SEARCHES);
    if (!e->upstream_up) {
        sn_count(e, SN_STAT_IGNORED_STATE);
        return;
    }
    int64_t *next_ms = searcher(e, from);
    if (*next_ms > e->now_ms) {
        sn_count(e, SN_STAT_RATE_LIMITED);
        return;
    }
    int64_t answered_ms = e->now_ms;
    struct sn_beacon *b = from->link < e->config.n_links ? &e->discover.beacons[from->link] : NULL;
    /* Behind a forwarder nobody else hears our answer, so there is nothing to wait for. */
    if (to_group && from->path_len == 0 && b != NULL && b->joined)
        answered_ms = answer_later(e, b, p->radius);
    else
        answer(e, from, p->radius);
    *next_ms = time_add(answered_ms, PER_SEARCHER_MS);
}

/* ---- other gateways ----------------------------------------------------------------------------
 */

static bool is_alive(const struct sn_engine *e, const struct sn_gateway *g)
{
    return g->until_ms > e->now_ms;
}

unsigned sn_gateways_alive(const struct sn_engine *e)
{
    unsigned n = 0;
    for (size_t i = 0; i < SN_GATEWAYS; i++)
        n += is_alive(e, &e->discover.gateways[i]) ? 1 : 0;
    return n;
}

static void log_gateway(struct sn_engine *e, enum log_level level, const char *event,
                        const struct peer *from, const struct sn_packet *p)
{
    if (!log_begin(&e->log, level, event))
        return;
    log_int(&e->log, "id", p->gw_id);
    log_peer(&e->log, "from", from);
    log_word(&e->log, "packet", sn_type_name(p->type));
    if (p->type == SN_ADVERTISE)
        log_int(&e->log, "duration_s", p->duration_s);
    log_end(&e->log);
}

/* The entry of that gateway, or a free one; NULL when all are taken. */
static struct sn_gateway *gateway_entry(struct sn_engine *e, const struct peer *from, uint8_t id)
{
    struct sn_gateway *free_one = NULL;
    for (size_t i = 0; i < SN_GATEWAYS; i++) {
        struct sn_gateway *g = &e->discover.gateways[i];
        if (!is_alive(e, g))
            free_one = g;
        else if (g->id == id && peer_equal((const struct peer *)(const void *)g->peer, from))
            return g;
    }
    return free_one;
}

/* Strangers can claim to be gateways, so the table does not grow, and nobody alive is put out. */
static void remember(struct sn_engine *e, const struct peer *from, const struct sn_packet *p)
{
    struct sn_gateway *g = gateway_entry(e, from, p->gw_id);
    if (g == NULL) {
        sn_count(e, SN_STAT_GATEWAYS_UNKNOWN);
        return;
    }
    if (!is_alive(e, g)) {
        *g = (struct sn_gateway){.id = p->gw_id, .duration_s = UNKNOWN_DURATION_S};
        memcpy(g->peer, from, peer_size(from));
        sn_count(e, SN_STAT_GATEWAYS_SEEN);
        log_gateway(e, LOG_INFO, "gateway.seen", from, p);
    }
    if (p->type == SN_ADVERTISE)
        g->duration_s = p->duration_s;
    const int64_t life_ms = g->duration_s * INT64_C(1000) * N_ADV;
    g->until_ms =
        time_add(e->now_ms, life_ms > GATEWAY_LIFE_MIN_MS ? life_ms : GATEWAY_LIFE_MIN_MS);
}

/* Nodes tell gateways apart by this number: two with one number take each other's nodes. */
static void alarm_conflict(struct sn_engine *e, const struct peer *from, const struct sn_packet *p)
{
    sn_count(e, SN_STAT_ID_CONFLICTS);
    if (e->now_ms < e->discover.conflict_ms)
        return;
    e->discover.conflict_ms = time_add(e->now_ms, CONFLICT_EVERY_MS);
    log_gateway(e, LOG_WARN, "gateway.id_conflict", from, p);
}

void sn_on_gateway(struct sn_engine *e, const struct peer *from, const struct sn_packet *p)
{
    struct sn_beacon *b = from->link < e->config.n_links ? &e->discover.beacons[from->link] : NULL;
    if (b == NULL || from->path_len > 0) {
        sn_count(e, SN_STAT_IGNORED_STATE);
        return;
    }
    if (p->type == SN_GWINFO && deadline_armed(&b->answer)) {
        sn_count(e, SN_STAT_GWINFOS_SUPPRESSED);
        deadline_disarm(&e->deadlines, &b->answer);
    }
    if (p->type == SN_GWINFO && p->data.len > 0)
        return; /* a client's, about a gateway that is elsewhere */
    if (p->gw_id == e->config.gateway_id)
        alarm_conflict(e, from, p);
    else
        remember(e, from, p);
}
