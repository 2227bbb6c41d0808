/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Sessions: the record, the state machine of section 6.14 (figure 4) and its supervision.
 *
 * Deciding and doing are separate: sn_next_state() contains every legal arrow once, and
 * sn_client_apply() alone carries one out. Invariants:
 *
 *   - a record in SN_ST_DISCONNECTED or SN_ST_LOST exists only for a CleanSession=0 session (or for
 *     the instant in which a CONNECT is being refused);
 *   - `connecting` is set exactly in SN_ST_CONNECTING;
 *   - supervision is armed in every state.
 */
#include <assert.h>
#include <stdlib.h>

#include "mqttsn/engine_priv.h"

const char *const sn_state_names[SN_ST_COUNT] = {
    [SN_ST_DISCONNECTED] = "disconnected",
    [SN_ST_CONNECTING] = "connecting",
    [SN_ST_ACTIVE] = "active",
    [SN_ST_ASLEEP] = "asleep",
    [SN_ST_AWAKE] = "awake",
    [SN_ST_LOST] = "lost",
};

static const char *const event_names[SN_CE_COUNT] = {
    [SN_CE_CONNECT] = "connect",
    [SN_CE_ACCEPTED] = "accepted",
    [SN_CE_REFUSED] = "refused",
    [SN_CE_DISCONNECT] = "disconnect",
    [SN_CE_SLEEP] = "sleep",
    [SN_CE_WAKE] = "wake",
    [SN_CE_ROUSE] = "connect",
    [SN_CE_DROWSE] = "drowse",
    [SN_CE_SILENCE] = "silence",
    [SN_CE_REPLACED] = "replaced",
    [SN_CE_CLOSED] = "closed_by_broker",
    [SN_CE_DENIED] = "not_allowed",
};

enum sn_state sn_next_state(enum sn_state state, enum sn_client_event event)
{
    const bool connected = state == SN_ST_ACTIVE || state == SN_ST_ASLEEP || state == SN_ST_AWAKE;
    switch (event) {
    case SN_CE_CONNECT:
        return SN_ST_CONNECTING;
    case SN_CE_ACCEPTED:
        return state == SN_ST_CONNECTING ? SN_ST_ACTIVE : state;
    case SN_CE_REFUSED:
        return state == SN_ST_CONNECTING ? SN_ST_DISCONNECTED : state;
    case SN_CE_DISCONNECT:
    case SN_CE_CLOSED:
    case SN_CE_DENIED:
        return SN_ST_DISCONNECTED;
    case SN_CE_SLEEP:
        return connected ? SN_ST_ASLEEP : state;
    case SN_CE_WAKE:
        return state == SN_ST_ASLEEP ? SN_ST_AWAKE : state;
    case SN_CE_ROUSE:
        return connected ? SN_ST_ACTIVE : state;
    case SN_CE_DROWSE:
        return state == SN_ST_AWAKE ? SN_ST_ASLEEP : state;
    case SN_CE_SILENCE:
        return connected ? SN_ST_LOST : SN_ST_DISCONNECTED;
    case SN_CE_REPLACED:
        return connected ? SN_ST_LOST : SN_ST_DISCONNECTED;
    case SN_CE_COUNT:
        break;
    }
    return state;
}

/* ---- finding --------------------------------------------------------------------------------- */

struct sn_client *sn_client_by_id(struct sn_engine *e, struct bytes client_id)
{
    const uint64_t hash = hash_bytes(&e->config.hash_seed, client_id);
    const struct hindex *x = &e->clients_by_id;
    for (size_t at = hindex_first(x, hash); at != HINDEX_END; at = hindex_next(x, at, hash)) {
        struct sn_client *c = e->slots[hindex_number(x, at)];
        if (bytes_equal(sn_client_id(c), client_id))
            return c;
    }
    return NULL;
}

struct sn_client *sn_client_by_peer(struct sn_engine *e, const struct peer *peer)
{
    const uint64_t hash = hash_bytes(&e->config.hash_seed, peer_key(peer));
    const struct hindex *x = &e->clients_by_peer;
    for (size_t at = hindex_first(x, hash); at != HINDEX_END; at = hindex_next(x, at, hash)) {
        struct sn_client *c = e->slots[hindex_number(x, at)];
        if (sn_client_is_at(c, peer))
            return c;
    }
    return NULL;
}

struct sn_client *sn_client_by_key(struct sn_engine *e, uint64_t key)
{
    const uint32_t slot = sn_client_slot(key);
    if (slot >= e->n_slots || e->slots[slot] == NULL || e->slots[slot]->key != key)
        return NULL;
    return e->slots[slot];
}

/* ---- slots and keys -------------------------------------------------------------------------- */

static bool slots_grow(struct sn_engine *e)
{
    const uint32_t cap = e->cap_slots > 0 ? e->cap_slots * 2 : 64;
    struct sn_client **slots = realloc(e->slots, cap * sizeof *slots);
    if (slots != NULL)
        e->slots = slots;
    uint32_t *generations = realloc(e->generations, cap * sizeof *generations);
    if (generations != NULL)
        e->generations = generations;
    uint32_t *free_slots = realloc(e->free_slots, cap * sizeof *free_slots);
    if (free_slots != NULL)
        e->free_slots = free_slots;
    if (slots == NULL || generations == NULL || free_slots == NULL)
        return false;
    e->cap_slots = cap;
    return true;
}

static uint64_t fresh_key(struct sn_engine *e, uint32_t slot)
{
    const uint32_t mask = (1U << (SN_CLIENT_KEY_BITS - SN_CLIENT_SLOT_BITS)) - 1;
    e->generations[slot] = (e->generations[slot] + 1) & mask;
    if (e->generations[slot] == 0)
        e->generations[slot] = 1;
    return (uint64_t)e->generations[slot] << SN_CLIENT_SLOT_BITS | slot;
}

static bool take_slot(struct sn_engine *e, struct sn_client *c)
{
    uint32_t slot;
    if (e->n_free > 0) {
        slot = e->free_slots[--e->n_free];
    } else {
        if (e->n_slots == e->cap_slots && !slots_grow(e))
            return false;
        slot = e->n_slots++;
        e->generations[slot] = e->journal.first_generation;
    }
    e->slots[slot] = c;
    c->key = fresh_key(e, slot);
    return true;
}

static bool take_slot_of(struct sn_engine *e, struct sn_client *c, uint64_t key)
{
    const uint32_t slot = sn_client_slot(key);
    const uint32_t generation = (uint32_t)(key >> SN_CLIENT_SLOT_BITS);
    while (e->cap_slots <= slot) {
        if (!slots_grow(e))
            return false;
    }
    for (; e->n_slots <= slot; e->n_slots++)
        e->slots[e->n_slots] = NULL;
    e->slots[slot] = c;
    e->generations[slot] = generation;
    if (e->journal.first_generation < generation)
        e->journal.first_generation = generation;
    c->key = key;
    return true;
}

/* Who had the other slots before is not known any more, only that no session had a later
 * generation. */
void sn_slots_restored(struct sn_engine *e)
{
    e->n_free = 0;
    for (uint32_t slot = e->n_slots; slot-- > 0;) {
        if (e->slots[slot] != NULL)
            continue;
        e->generations[slot] = e->journal.first_generation;
        e->free_slots[e->n_free++] = slot;
    }
}

static void release_slot(struct sn_engine *e, const struct sn_client *c)
{
    const uint32_t slot = sn_client_slot(c->key);
    e->slots[slot] = NULL;
    e->free_slots[e->n_free++] = slot;
}

/* ---- life cycle ------------------------------------------------------------------------------ */

/* What a client takes of tables, at most: two entries of indexes that are 7/16 full, and its slot. */
enum { PLACES = 2 * 8 * 16 / 7 + sizeof(struct sn_client *) + 2 * sizeof(uint32_t) };

static size_t client_size(size_t id_len)
{
    return record_octets(sizeof(struct sn_client), offsetof(struct sn_client, id), id_len);
}

/* With `key` 0 under a new one. */
static struct sn_client *client_new(struct sn_engine *e, struct bytes client_id,
                                    const struct sn_profile *profile, uint64_t key)
{
    if (e->clients_by_id.count >= e->config.max_clients)
        return NULL;
    struct sn_client *c = sn_alloc(e, client_size(client_id.len));
    if (c == NULL)
        return NULL;
    if (!hindex_reserve(&e->clients_by_id) ||
        (key != SN_NO_CLIENT ? !take_slot_of(e, c, key) : !take_slot(e, c))) {
        sn_free(e, c, client_size(client_id.len));
        return NULL;
    }
    if (!sn_charge(e, PLACES)) {
        release_slot(e, c);
        sn_free(e, c, client_size(client_id.len));
        return NULL;
    }
    deadline_init(&c->supervise, SN_DL_SUPERVISE);
    c->profile = profile;
    c->state = SN_ST_DISCONNECTED;
    c->id_len = (uint8_t)client_id.len;
    memcpy(c->id, client_id.data, client_id.len);
    hindex_insert(&e->clients_by_id, hash_bytes(&e->config.hash_seed, client_id),
                  sn_client_slot(c->key));
    return c;
}

struct sn_client *sn_client_new(struct sn_engine *e, struct bytes client_id,
                                const struct sn_profile *profile)
{
    return client_new(e, client_id, profile, SN_NO_CLIENT);
}

struct sn_client *sn_client_restore(struct sn_engine *e, struct bytes client_id,
                                    const struct sn_profile *profile, uint64_t key)
{
    return client_new(e, client_id, profile, key);
}

static uint64_t peer_hash(const struct sn_engine *e, const struct peer *peer)
{
    return hash_bytes(&e->config.hash_seed, peer_key(peer));
}

void sn_client_unbind(struct sn_engine *e, struct sn_client *c)
{
    const struct peer *peer = sn_client_peer(c);
    if (peer == NULL)
        return;
    hindex_remove(&e->clients_by_peer, peer_hash(e, peer), sn_client_slot(c->key));
    if (c->peer_at == SN_PEER_FAR)
        sn_free(e, c->where.far, peer_size(peer));
    c->peer_at = SN_PEER_NOWHERE;
    c->undecided = 0;
}

bool sn_client_bind(struct sn_engine *e, struct sn_client *c, const struct peer *peer)
{
    const size_t size = peer_size(peer);
    struct peer *far = NULL;
    if (sn_client_is_at(c, peer))
        return true;
    if (!hindex_reserve(&e->clients_by_peer) ||
        (size > SN_PEER_NEAR && (far = sn_alloc(e, size)) == NULL))
        return false;
    sn_client_unbind(e, c);
    if (far != NULL)
        c->where.far = far;
    memcpy(far != NULL ? (void *)far : (void *)c->where.near, peer, size);
    c->peer_at = far != NULL ? SN_PEER_FAR : SN_PEER_NEAR_BY;
    hindex_insert(&e->clients_by_peer, peer_hash(e, peer), sn_client_slot(c->key));
    sn_journal_session(e, c);
    return true;
}

/* Everything of the session but the record and its address. */
static void drop_content(struct sn_engine *e, struct sn_client *c)
{
    sn_connecting_free(e, c);
    sn_subs_clear(e, c);
    sn_up_clear(e, c);
    sn_down_clear(e, c);
    sn_topics_clear(e, c);
    sn_will_free(e, c);
}

/* With `discard` the key is dead for the broker side afterwards, so what it still waits for is
 * answered first. */
static void ask_close(struct sn_engine *e, struct sn_client *c, enum sn_close_how how, bool discard)
{
    if (discard) {
        sn_journal_discarded(e, c);
        sn_down_clear(e, c);
    }
    sn_ask(e,
           &(struct sn_request){
               .type = SN_REQ_CLOSE, .client = c->key, .close = {.how = how, .discard = discard}
    },
           NULL, NULL);
    c->open = false;
}

void sn_client_reset(struct sn_engine *e, struct sn_client *c)
{
    if (c->open || c->connection != 0) /* the broker side knows it, present or stored */
        ask_close(e, c, SN_CLOSE_NORMAL, true);
    drop_content(e, c);
    c->connection = 0;
    c->key = fresh_key(e, sn_client_slot(c->key));
    if (c->topics != NULL)
        c->topics->has_last_sub = false;
    c->has_regacked = false;
}

void sn_client_free(struct sn_engine *e, struct sn_client *c)
{
    sn_journal_discarded(e, c);
    drop_content(e, c);
    deadline_disarm(&e->deadlines, &c->supervise);
    sn_client_unbind(e, c);
    sn_topics_free(e, c);
    hindex_remove(&e->clients_by_id, hash_bytes(&e->config.hash_seed, sn_client_id(c)),
                  sn_client_slot(c->key));
    release_slot(e, c);
    sn_refund(e, PLACES);
    sn_free(e, c, client_size(c->id_len));
}

uint16_t sn_client_msg_id(struct sn_engine *e, struct sn_client *c)
{
    if (++c->next_msg_id == 0)
        c->next_msg_id = 1;
    sn_journal_msg_id(e, c);
    return c->next_msg_id;
}

/* ---- supervision ----------------------------------------------------------------------------- */

/* Section 7.2: a tenth more for durations above one minute, half more for the others. */
static int64_t tolerant_ms(uint16_t duration_s)
{
    return duration_s > 60 ? duration_s * INT64_C(1100) : duration_s * INT64_C(1500);
}

static int64_t keep_alive_ms(const struct sn_client *c)
{
    return c->keep_alive_s > 0 ? tolerant_ms(c->keep_alive_s)
                               : c->profile->options.keep_alive_max_ms;
}

/* How long a request may be under way before it is given up, which ends an awake period: a sleep may
 * well be shorter than one repetition. */
static int64_t longest_request_ms(const struct sn_engine *e)
{
    const int64_t configured_ms = e->config.retry_interval_ms;
    const int64_t slowest_ms =
        e->config.retry_max_ms > configured_ms ? e->config.retry_max_ms : configured_ms;
    return slowest_ms * (e->config.retry_count + INT64_C(1));
}

/* When the session is to be looked at, if nothing is heard before. */
static int64_t silence_limit_ms(const struct sn_engine *e, const struct sn_client *c)
{
    switch ((enum sn_state)c->state) {
    case SN_ST_ACTIVE:
        return time_max(keep_alive_ms(c), c->in_doubt ? tolerant_ms(c->sleep_s) : 0);
    case SN_ST_ASLEEP:
        return tolerant_ms(c->sleep_s);
    case SN_ST_AWAKE:
        return tolerant_ms(c->sleep_s) + longest_request_ms(e);
    case SN_ST_CONNECTING:
        return e->config.retry_interval_ms;
    case SN_ST_DISCONNECTED:
    case SN_ST_LOST:
    case SN_ST_COUNT:
        break;
    }
    return e->config.session_expiry_ms;
}

void sn_client_supervise(struct sn_engine *e, struct sn_client *c)
{
    deadline_arm(&e->deadlines, &c->supervise, time_add(c->heard_ms, silence_limit_ms(e, c)));
}

void sn_client_trust(struct sn_engine *e, struct sn_client *c)
{
    if (!c->in_doubt)
        return;
    c->in_doubt = false;
    sn_journal_state(e, c);
    sn_client_supervise(e, c);
}

/* On the broker side as well. */
static void end_stored(struct sn_engine *e, struct sn_client *c)
{
    ask_close(e, c, SN_CLOSE_NORMAL, true);
    sn_client_free(e, c);
}

static void expire(struct sn_engine *e, struct sn_client *c)
{
    if (log_begin(&e->log, LOG_INFO, "client.expired")) {
        log_str(&e->log, "client", sn_client_id(c));
        log_end(&e->log);
    }
    end_stored(e, c);
}

/* Packets only note the time; the deadline is moved when it fires, so that a busy node costs no
 * heap operation per packet. */
void sn_client_due(struct sn_engine *e, struct sn_client *c)
{
    if (c->state == SN_ST_CONNECTING) {
        sn_connect_due(e, c);
        return;
    }
    const int64_t since_ms = sn_client_connected(c) ? sn_air_audible_ms(e, c) : c->heard_ms;
    const int64_t due_ms = time_add(since_ms, silence_limit_ms(e, c));
    if (due_ms > e->now_ms) {
        deadline_arm(&e->deadlines, &c->supervise, due_ms);
        return;
    }
    if (c->reopening) /* nobody would publish its will yet */
        deadline_arm(&e->deadlines, &c->supervise, time_add(e->now_ms, silence_limit_ms(e, c)));
    else if (sn_client_connected(c))
        sn_client_apply(e, c, SN_CE_SILENCE);
    else
        expire(e, c);
}

/* ---- transitions ----------------------------------------------------------------------------- */

static void log_transition(struct sn_engine *e, const struct sn_client *c, enum sn_state old,
                           enum sn_client_event why)
{
    if (!log_begin(&e->log, LOG_INFO, "client.state"))
        return;
    log_str(&e->log, "client", sn_client_id(c));
    log_word(&e->log, "old", sn_state_names[old]);
    log_word(&e->log, "new", sn_state_names[c->state]);
    log_word(&e->log, "why", event_names[why]);
    if (sn_client_peer(c) != NULL)
        log_peer(&e->log, "peer", sn_client_peer(c));
    log_end(&e->log);
}

/* A stored session begins when it is first accepted. */
static bool is_kept(const struct sn_client *c)
{
    return !c->clean && c->connection != 0;
}

/* The connection is over: tell the broker side, which owns publishing the will. */
static void close_upstream(struct sn_engine *e, struct sn_client *c, enum sn_client_event why)
{
    const bool lost = c->state == SN_ST_LOST;
    if (lost)
        sn_count(e, SN_STAT_LOST);
    if (why == SN_CE_DISCONNECT)
        sn_count(e, SN_STAT_DISCONNECTS);
    if (!c->open)
        return;
    /* Taking over an address is no loss for a clean session: its end was due at any moment. */
    const bool will_due = lost && !(why == SN_CE_REPLACED && c->clean);
    if (will_due && c->will != NULL)
        sn_count(e, SN_STAT_WILLS);
    ask_close(e, c, will_due ? SN_CLOSE_LOST : SN_CLOSE_NORMAL, !is_kept(c));
}

bool sn_client_apply(struct sn_engine *e, struct sn_client *c, enum sn_client_event event)
{
    const enum sn_state old = (enum sn_state)c->state;
    const enum sn_state new = sn_next_state(old, event);
    const bool was_connected = sn_client_connected(c);
    c->state = (uint8_t) new;
    const bool is_connected = sn_client_connected(c);
    if (!was_connected && is_connected)
        e->connected++;
    if (was_connected && !is_connected)
        e->connected--;
    if (new != old)
        log_transition(e, c, old, event);
    if (new != SN_ST_CONNECTING)
        sn_connecting_free(e, c);
    c->in_doubt = event == SN_CE_ROUSE;
    if (new == SN_ST_DISCONNECTED || new == SN_ST_LOST) {
        close_upstream(e, c, event);
        if (!is_kept(c)) {
            sn_client_free(e, c);
            return false;
        }
    }
    if (!is_connected) {
        sn_subs_clear(e, c); /* their answers would find another connection */
        sn_reopening_over(e, c);
    }
    if (new != SN_ST_ACTIVE &&new != SN_ST_AWAKE)
        sn_down_pause(e, c);
    if (event == SN_CE_ACCEPTED)
        sn_journal_accepted(e, c);
    else
        sn_journal_state(e, c);
    c->heard_ms = e->now_ms;
    sn_client_supervise(e, c);
    return true;
}

void sn_client_deny(struct sn_engine *e, struct sn_client *c)
{
    /* A sleeper does not hear: it gets DISCONNECT, like any stranger, when it says something. */
    if (c->state == SN_ST_ACTIVE || c->state == SN_ST_AWAKE)
        sn_reply(e, c, &(struct sn_packet){.type = SN_DISCONNECT});
    if (sn_client_apply(e, c, SN_CE_DENIED))
        end_stored(e, c);
}

void sn_client_displace(struct sn_engine *e, const struct sn_client *newcomer,
                        struct sn_client *holder)
{
    if (holder == NULL || holder == newcomer)
        return;
    sn_count(e, SN_STAT_TAKEOVERS);
    /* Asleep, nothing happens to it: not even its sleep timer begins anew. */
    const enum sn_client_event event = holder->state == SN_ST_AWAKE ? SN_CE_DROWSE : SN_CE_REPLACED;
    if (holder->state != SN_ST_ASLEEP && !sn_client_apply(e, holder, event))
        return;
    sn_client_unbind(e, holder);
    sn_journal_session(e, holder);
}
