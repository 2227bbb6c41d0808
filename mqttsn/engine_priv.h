/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Inside the engine. One file per conversation; what they share stands here.
 *
 *   engine.c        entries, dispatch by type and state     names.c     interned topic names
 *   client.c        sessions, state machine, supervision    topics.c    topic ids of a client
 *   connect.c       CONNECT and the will dialogue           profile.c   options by client id
 *   setup.c         the configuration, and how it changes
 *   publish_up.c    PUBLISH from nodes                      outbox.c    packets and requests out
 *   publish_down.c  PUBLISH to nodes, REGISTER before it     queue.c     what waits for a node
 *   subscribe.c     REGISTER, SUBSCRIBE, UNSUBSCRIBE        limiter.c   replies to strangers
 *   sleep.c         DISCONNECT, PINGREQ, sleep              will.c      the will and its updates
 *   discover.c      ADVERTISE, SEARCHGW, GWINFO             air.c       what a radio tells
 *   round_trip.c    how long a node has to answer           journal.c, restore.c   the store
 *
 * `c` may be freed by sn_client_apply(); functions that can end a session say so by returning false
 * when it is gone.
 */
#ifndef SENNET_MQTTSN_ENGINE_PRIV_H
#define SENNET_MQTTSN_ENGINE_PRIV_H

#include "base/body.h"
#include "base/deadline.h"
#include "base/hindex.h"
#include "base/hmap.h"
#include "base/list.h"
#include "base/origin.h"
#include "base/parcels.h"
#include "base/rng.h"
#include "base/slabs.h"

#include "mqttsn/discover.h"
#include "mqttsn/engine.h"
#include "mqttsn/journal.h"
#include "mqttsn/packet.h"
#include "mqttsn/topics.h"

struct sn_client;

/* How late a copy made by the air may come: link layers send again when they lose an
 * acknowledgement, and forwarders hold packets back. */
enum { SN_COPIES_MS = 2000 };

/* ---- names.c: one copy of every topic name, however many clients use it ---------------------- */

struct sn_name {
    struct hmap_node node;
    uint32_t refs;
    uint16_t len;
    uint8_t text[];
};

/* The interned name with one more reference, or NULL (no memory, quota). */
struct sn_name *sn_name_get(struct sn_engine *e, struct bytes text);
/* The interned name if there is one; no reference taken. */
struct sn_name *sn_name_find(const struct sn_engine *e, struct bytes text);
void sn_name_unref(struct sn_engine *e, struct sn_name *name);

static inline struct sn_name *sn_name_ref(struct sn_name *name)
{
    name->refs++;
    return name;
}

static inline struct bytes sn_name_bytes(const struct sn_name *name)
{
    return bytes_of(name->text, name->len);
}

/* ---- profile.c: what [client GLOB] and [topics GLOB] say about a client id ------------------- */

struct sn_alias {
    uint16_t topic_id;
    struct sn_name *name;
};

struct sn_profile {
    struct hmap_node node;
    struct bytes sections;            /* bit set of the sections that matched */
    struct sn_client_options options; /* defaults filled in */
    struct sn_alias *aliases;         /* sorted by id */
    size_t n_aliases;
};

/* By the engine's sections, which are there already. */
int sn_profiles_init(struct sn_engine *e);
void sn_profiles_deinit(struct sn_engine *e);
/* The profile for a client id, kept until the sections change; NULL when out of memory. */
const struct sn_profile *sn_profile_get(struct sn_engine *e, struct bytes client_id);
/* O(log aliases); NULL when the id is not predefined. */
struct sn_name *sn_profile_alias(const struct sn_profile *p, uint16_t topic_id);

/* ---- setup.c: the engine's copy of its configuration ------------------------------------------ */

/* Cuts what is above all bounds. */
void sn_setup_limit(struct sn_engine_config *config);
/* 0 or -ENOMEM; what was copied is freed with the engine. */
int sn_setup_links(struct sn_engine *e, const struct sn_engine_config *from);
int sn_setup_sections(struct sn_engine *e, const struct sn_engine_config *from);
void sn_setup_sections_free(struct sn_engine *e);

/* ---- the session record ---------------------------------------------------------------------- */

enum sn_state {
    SN_ST_DISCONNECTED,
    SN_ST_CONNECTING, /* will dialogue or waiting for the broker side */
    SN_ST_ACTIVE,
    SN_ST_ASLEEP,
    SN_ST_AWAKE,
    SN_ST_LOST,
    SN_ST_COUNT
};

/* What can happen to a session as a whole. */
enum sn_client_event {
    SN_CE_CONNECT,    /* an acceptable CONNECT arrived */
    SN_CE_ACCEPTED,   /* the broker side opened the session */
    SN_CE_REFUSED,    /* it did not */
    SN_CE_DISCONNECT, /* the node said DISCONNECT */
    SN_CE_SLEEP,      /* ... with a duration */
    SN_CE_WAKE,       /* PINGREQ of a sleeper */
    SN_CE_ROUSE,      /* ... CONNECT, which may be a late copy */
    SN_CE_DROWSE,     /* everything delivered, or given up: back to sleep */
    SN_CE_SILENCE,    /* supervision ran out, or the will dialogue was given up */
    SN_CE_REPLACED,   /* another client id took over the address */
    SN_CE_CLOSED,     /* the broker side ended it */
    SN_CE_DENIED,     /* the configuration does not allow it any more */
    SN_CE_COUNT
};

struct sn_will {
    struct sn_name *topic;
    struct body *body;
    uint8_t qos;
    bool retain;
};

/* An unfinished CONNECT. */
struct sn_connecting {
    enum { SN_STEP_WILLTOPIC, SN_STEP_WILLMSG, SN_STEP_BROKER } step;
    struct sn_will will;
    uint16_t token; /* of OPEN: the answer to an earlier one is not ours */
    bool wants_will;
    bool resumes; /* the session that the sleeper has, though it says CleanSession */
    bool proven;  /* the address has answered us, so we may repeat by timer */
    unsigned tries;
};

/* One PUBLISH of the node, open or recently finished (publish_up.c). */
struct sn_up_entry {
    enum { SN_UP_FREE, SN_UP_PENDING, SN_UP_RECEIVED, SN_UP_DONE } state;

    uint16_t msg_id;
    uint16_t topic_id;
    uint16_t token;
    uint16_t connection; /* in which it came */
    uint8_t qos;
    bool recorded;
    bool restored;       /* from the store, which learns a moment later that it is complete */
    uint64_t print;      /* of topic and data: tells a repetition from a reused msg id */
    int64_t answered_ms; /* by PUBREC, PUBACK or PUBCOMP, latest */
};

struct sn_up {
    uint16_t capacity;
    uint16_t next_token;
    struct sn_up_entry entries[];
};

/* Seconds of eight and a half years in which the engine was started in the middle. There may be a
 * million messages, and each of them has a time and the rest in one word. */
enum { SN_EXPIRES_BITS = 28, SN_EXPIRES_MAX = (1 << SN_EXPIRES_BITS) - 1 };

/* A message waiting for the node (publish_down.c). */
struct sn_message {
    struct list link;
    struct sn_name *name;
    struct body *body;
    uint64_t number;  /* of its row in the store; 0: it has none */
    uint64_t journal; /* number under which the broker side has stored it, or 0 */
    uint32_t delivery_id;
    uint32_t expires_s : SN_EXPIRES_BITS; /* of sn_expires_s() */
    uint8_t qos : 2;
    bool retain : 1;
    bool restored : 1; /* an earlier process may have sent it, for all we know */
};

/* What the head of the queue is waiting for. */
enum sn_down_phase { SN_DN_IDLE, SN_DN_REGISTER, SN_DN_PUBACK, SN_DN_PUBREC, SN_DN_PUBCOMP };

enum { SN_TOO_LARGE_LOGGED = 4 };

/* The downlink conversation: the head of the queue is what is under way. */
struct sn_down {
    struct deadline retry;
    struct sn_client *client;
    struct list queue;
    uint32_t n_queued;
    uint32_t queued_bytes;
    uint32_t first_expires_s; /* nothing that waits expires before; 0: nothing expires */

    enum sn_down_phase phase;

    uint16_t msg_id;     /* of the request under way */
    uint16_t publish_id; /* under which the head was sent before: repeat with DUP; 0 = never */
    uint32_t srtt_ms8;   /* smoothed round trip, in eighths; 0 = nothing measured yet */
    int64_t sent_ms;     /* first sending of the request under way */
    int64_t latest_ms;   /* latest sending of it */
    uint32_t rttvar_ms4; /* mean deviation of the round trip, in quarters */
    uint32_t too_large[SN_TOO_LARGE_LOGGED]; /* topics of which it is logged that they do not fit */
    uint8_t next_too_large;
    uint8_t tries;       /* sendings of the request under way */
    uint8_t doublings;   /* of T_retry since a round trip was measured */
    uint8_t late;        /* exchanges since then that were answered after a repetition only */
    uint8_t rounds;      /* times the request was given up and taken up again */
    bool repeated;       /* the request under way was sent more than once, under its msg id */
    bool held;           /* its repetition waits for the radio's outcome */
    bool stalled;        /* given up until the node gives a sign of life */
    bool repaired;       /* the mapping was registered anew once for this message ... */
    int64_t repaired_ms; /* ... since then */
};

/* An open SUBSCRIBE or UNSUBSCRIBE (subscribe.c). */
struct sn_sub {
    struct sn_sub *next;
    uint16_t msg_id;
    uint16_t token;
    uint16_t topic_id;   /* for the SUBACK ... */
    uint16_t refused_id; /* ... and for one that refuses */
    struct sn_topic *topic;
    uint8_t kind; /* that the client wants for the topic */
    bool is_unsubscribe;
};

enum { SN_PEER_NEAR = 16 }; /* addresses that are short are kept in the record */

enum sn_peer_at { SN_PEER_NOWHERE, SN_PEER_NEAR_BY, SN_PEER_FAR };

/* Every octet here is there once per node; tests/sim/test_sizes.c holds their number. */
struct sn_client {
    struct deadline supervise;
    int64_t heard_ms;
    int64_t connack_ms; /* of this connection */
    uint64_t key;       /* mqttsn/port.h */
    uint64_t barrier;   /* batch that must be committed before it hears of us */
    const struct sn_profile *profile;
    struct sn_will *will;
    struct sn_connecting *connecting; /* only in SN_ST_CONNECTING */
    struct sn_up *up;
    struct sn_down *down;
    struct sn_topics *topics;

    union {
        struct peer *far;
        uint8_t near[SN_PEER_NEAR]; /* a struct peer */
    } where;                        /* by `peer_at`: see sn_client_peer() */

    uint32_t connack_again; /* milliseconds after that: the latest, for a repetition */
    uint32_t wake_left;     /* messages that it still gets in this awake period */
    uint32_t connect_print; /* of the CONNECT's octets: recognises its repetition */
    uint16_t keep_alive_s;
    uint16_t sleep_s;
    uint16_t connection; /* counts connections, never 0 */
    uint16_t next_msg_id;
    uint16_t kept_msg_id;  /* as recorded: the store tells of msg ids up to here */
    uint16_t kept_sleep_s; /* as recorded */
    uint16_t next_open_token;
    uint8_t state;           /* enum sn_state; only sn_client_apply() writes it */
    uint8_t undecided;       /* packets to it of which the radio has not told the outcome */
    unsigned peer_at : 2;    /* enum sn_peer_at */
    unsigned kept_state : 2; /* enum sn_kept_state, as recorded */
    bool recorded : 1;       /* the store has it */
    bool unheard : 1;        /* ... from an earlier process; no sign of its being in it yet */
    bool reopening : 1;      /* since the restart the broker side has not taken it yet */
    bool clean : 1;
    bool open : 1; /* OPEN was sent to the broker side and not yet CLOSE */
    bool idle : 1; /* nothing has happened since the CONNACK */
    bool
        in_doubt : 1; /* active, if that CONNECT was no copy: else it sleeps, and wakes by its id */
    bool has_regacked : 1; /* it answers REGISTER at all */
    uint8_t id_len;
    uint8_t id[];
};

/* Open SUBSCRIBEs and UNSUBSCRIBEs. */
static inline unsigned sn_client_subs(const struct sn_client *c)
{
    return c->topics != NULL ? c->topics->n_subs : 0;
}

/* NULL while its address is unknown. */
static inline const struct peer *sn_client_peer(const struct sn_client *c)
{
    if (c->peer_at == SN_PEER_NEAR_BY)
        return (const struct peer *)(const void *)c->where.near;
    return c->peer_at == SN_PEER_FAR ? c->where.far : NULL;
}

static inline bool sn_client_is_at(const struct sn_client *c, const struct peer *peer)
{
    const struct peer *own = sn_client_peer(c);
    return own != NULL && peer_equal(own, peer);
}

/* When it was sent its latest CONNACK. */
static inline int64_t sn_client_connack_again_ms(const struct sn_client *c)
{
    return c->connack_ms + c->connack_again;
}

static inline struct bytes sn_client_id(const struct sn_client *c)
{
    return bytes_of(c->id, c->id_len);
}

/* ---- the engine ------------------------------------------------------------------------------ */

enum { SN_LIMITER_BUCKETS = 4096 };

/* Replies to talkers without session: a fixed table, so that strangers cost no memory. */
struct sn_limiter {
    int64_t next_ms[SN_LIMITER_BUCKETS];
    int64_t all_next_us;
};

struct sn_queued_request {
    struct sn_request request;
    struct sn_name *name;
    struct body *body;
    struct peer *peer;
    uint8_t *client_id;
};

struct sn_requests {
    struct sn_queued_request *ring;
    size_t cap, head, count;
};

struct sn_engine {
    struct sn_engine_config config; /* lists owned by the profile source below */
    struct sn_link_limits *links;
    uint32_t *carried; /* per link: octets toward nodes */
    int64_t *back_ms;  /* per link: when it came up; TIME_NEVER while it is down */
    struct sn_client_section *client_sections;
    struct sn_topics_section *topics_sections;
    struct hmap profiles;
    struct sn_profile *stranger; /* plain [topics] only: for QoS -1 */
    uint16_t first_topic_id;     /* above every predefined one */

    struct hindex clients_by_id; /* slots */
    struct hindex clients_by_peer;
    struct hmap names;
    struct sn_client **slots;
    uint32_t *generations;
    uint32_t *free_slots;
    uint32_t n_slots, cap_slots, n_free;

    struct slabs slabs;
    struct deadlines deadlines;
    struct parcels outbox;
    struct sn_requests requests;
    struct sn_journal journal;
    struct sn_limiter limiter;
    struct sn_discover discover;
    struct sn_stats stats;
    struct log_ring log;
    uint64_t memory_bytes;
    uint64_t queued;
    int64_t expiry_base_ms; /* when messages expired whose `expires_s` is 0 */
    uint32_t connected;
    bool upstream_up;
    bool accepting; /* sessions may be opened: the broker is there, or a spool in its stead */
    int64_t now_ms; /* of the entry being handled */
    uint16_t origin_len;
    bool origin_client; /* and the client id belongs to it */
    uint8_t origin[ORIGIN_MAX];
};

enum sn_deadline_kind { SN_DL_SUPERVISE, SN_DL_RETRY, SN_DL_ADVERTISE, SN_DL_GWINFO };

static inline void sn_count(struct sn_engine *e, enum sn_stat stat)
{
    e->stats.n[stat]++;
}

/* Charges memory kept for peers to the global cap; false when it is reached. */
static inline bool sn_charge(struct sn_engine *e, size_t n)
{
    if (e->memory_bytes + n > e->config.max_memory_bytes)
        return false;
    e->memory_bytes += n;
    return true;
}

static inline void sn_refund(struct sn_engine *e, size_t n)
{
    e->memory_bytes -= n;
}

/* Charged allocation, zeroed; NULL is counted as drop.no_memory, and logged. */
void *sn_alloc(struct sn_engine *e, size_t n);
/* The same; the caller counts what its failure leads to. */
void *sn_alloc_quietly(struct sn_engine *e, size_t n);
/* An allocation outside of these has failed. */
void sn_no_memory(struct sn_engine *e);
void sn_free(struct sn_engine *e, void *ptr, size_t n);

/* ---- client.c -------------------------------------------------------------------------------- */

extern const char *const sn_state_names[SN_ST_COUNT];

/* The state after `event`, or the same when the event has no meaning there. Pure. */
enum sn_state sn_next_state(enum sn_state state, enum sn_client_event event);

/* Applies an event: the only place that changes a session's state, arms its supervision, closes it
 * toward the broker side and discards it when nothing of it is to be kept. False when it is gone.
 */
bool sn_client_apply(struct sn_engine *e, struct sn_client *c, enum sn_client_event event);

struct sn_client *sn_client_by_id(struct sn_engine *e, struct bytes client_id);
struct sn_client *sn_client_by_peer(struct sn_engine *e, const struct peer *peer);
/* By key, NULL when that session is gone. */
struct sn_client *sn_client_by_key(struct sn_engine *e, uint64_t key);
/* A new record in SN_ST_DISCONNECTED, or NULL (limit, memory). */
struct sn_client *sn_client_new(struct sn_engine *e, struct bytes client_id,
                                const struct sn_profile *profile);
/* Frees the record and everything it owns; the broker side is not told. */
void sn_client_free(struct sn_engine *e, struct sn_client *c);
/* Forgets registrations, queue, exchanges and will, under a new key: CleanSession=1. False: memory.
 */
void sn_client_reset(struct sn_engine *e, struct sn_client *c);
void sn_client_unbind(struct sn_engine *e, struct sn_client *c);
/* Moves the session to another address; false when out of memory (nothing changed). */
bool sn_client_bind(struct sn_engine *e, struct sn_client *c, const struct peer *peer);
/* `newcomer` (NULL: a client not known yet) speaks from the address that `holder` has (NULL: nobody),
 * which is not there any more if it is another one. A sleeper is no less well for it: it sleeps on,
 * without address. */
void sn_client_displace(struct sn_engine *e, const struct sn_client *newcomer,
                        struct sn_client *holder);
/* The configuration does not allow it any more: nothing of its session stays. */
void sn_client_deny(struct sn_engine *e, struct sn_client *c);
/* Ends its doubt, if there is any. */
void sn_client_trust(struct sn_engine *e, struct sn_client *c);
void sn_client_supervise(struct sn_engine *e, struct sn_client *c);
/* Its supervision deadline fired. */
void sn_client_due(struct sn_engine *e, struct sn_client *c);
/* Takes the next msg id for a request of ours; never 0. */
uint16_t sn_client_msg_id(struct sn_engine *e, struct sn_client *c);

static inline bool sn_client_connected(const struct sn_client *c)
{
    return c->state == SN_ST_ACTIVE || c->state == SN_ST_ASLEEP || c->state == SN_ST_AWAKE;
}

/* ---- outbox.c -------------------------------------------------------------------------------- */

/* Queues a packet that may leave when batch `after` is committed. False: dropped, counted, because the
 * outbox is full. */
bool sn_send(struct sn_engine *e, const struct peer *to, const struct sn_packet *p, uint64_t after);
/* To the client, if its address is known, behind all that it was told before. */
void sn_reply(struct sn_engine *e, struct sn_client *c, const struct sn_packet *p);
/* A message of type and return code only, to a client whose address is known. */
void sn_reply_code(struct sn_engine *e, const struct sn_client *c, enum sn_type type, uint8_t code);
/* Largest packet (envelopes not counted) that may go to this client. */
size_t sn_packet_limit(const struct sn_engine *e, const struct sn_client *c);
bool sn_packet_fits(const struct sn_engine *e, const struct sn_client *c,
                    const struct sn_packet *p);
/* Could that name be registered with the client? */
bool sn_register_fits(const struct sn_engine *e, const struct sn_client *c, struct bytes name);

/* ---- air.c ----------------------------------------------------------------------------------- */

/* 0, or -1 when out of memory. */
int sn_air_init(struct sn_engine *e);
/* Since when it could have been heard, and was not. */
int64_t sn_air_audible_ms(const struct sn_engine *e, const struct sn_client *c);
/* A packet went to the client. */
void sn_air_sent(struct sn_engine *e, struct sn_client *c);
/* Shall a repetition that is due wait for the outcome? Then the deadline is armed for that. */
bool sn_air_hold(struct sn_engine *e, struct sn_down *d);

/* Queues a request; takes references of its own. False when out of memory (nothing queued). */
bool sn_ask(struct sn_engine *e, const struct sn_request *request, struct sn_name *name,
            struct body *body);
void sn_outbox_init(struct sn_engine *e);
void sn_outbox_deinit(struct sn_engine *e);

/* ---- limiter.c ------------------------------------------------------------------------------- */

/* May we answer this address now? 1/s with a burst of 3 per address, 1,000/s in all. */
bool sn_limiter_allow(struct sn_engine *e, const struct peer *from);

/* ---- queue.c --------------------------------------------------------------------------------- */

/* Appends a copy of `as`, with references of its own, by the client's overflow policy. NULL: not kept,
 * `why` says why. */
struct sn_message *sn_queue_add(struct sn_engine *e, struct sn_client *c,
                                const struct sn_message *as, enum sn_stat *why);
/* A message for the client, or for one that is gone (NULL), is lost: counted, logged, and reported
 * to the broker side. */
void sn_message_dropped(struct sn_engine *e, struct sn_client *c, const struct sn_name *name,
                        uint32_t delivery_id, enum sn_stat why);
/* The queue must not be empty. */
struct sn_message *sn_queue_head(const struct sn_down *d);
struct sn_message *sn_queue_at(struct list *link);
/* The head has reached the node, or is given up: counted, reported, removed. */
void sn_queue_delivered(struct sn_engine *e, struct sn_down *d);
void sn_queue_drop(struct sn_engine *e, struct sn_down *d, enum sn_stat why);
/* The head is not worth delivering any more: dropped, unless the node may have received half of it. */
bool sn_queue_drop_expired(struct sn_engine *e, struct sn_down *d);
bool sn_queue_has_expired(const struct sn_engine *e, const struct sn_down *d);
/* A time of the records, and as it is kept: in seconds, rounded up. 0: never. */
void sn_expiry_init(struct sn_engine *e);
uint32_t sn_expires_s(const struct sn_engine *e, int64_t expires_ms);
/* That is worth delivering for so long from now on; 0: for ever. */
uint32_t sn_expires_after(const struct sn_engine *e, uint32_t expiry_s);
int64_t sn_expires_ms(const struct sn_engine *e, uint32_t expires_s);
/* Tells the broker side, if it wants to know. */
void sn_report_done(struct sn_engine *e, const struct sn_client *c, uint32_t delivery_id,
                    bool dropped);

/* ---- conversations --------------------------------------------------------------------------- */

/* Handlers of arriving messages; `c` is the session of the address. */
void sn_on_connect(struct sn_engine *e, const struct peer *from, const struct sn_packet *p,
                   struct bytes raw);
void sn_on_will_topic(struct sn_engine *e, struct sn_client *c, const struct sn_packet *p);
void sn_on_will_msg(struct sn_engine *e, struct sn_client *c, const struct sn_packet *p);
void sn_on_opened(struct sn_engine *e, struct sn_client *c, const struct sn_event *event);
void sn_connect_due(struct sn_engine *e, struct sn_client *c);
void sn_connecting_free(struct sn_engine *e, struct sn_client *c);

void sn_on_register(struct sn_engine *e, struct sn_client *c, const struct sn_packet *p);
void sn_on_subscribe(struct sn_engine *e, struct sn_client *c, const struct sn_packet *p);
void sn_on_unsubscribe(struct sn_engine *e, struct sn_client *c, const struct sn_packet *p);
void sn_on_subscribed(struct sn_engine *e, struct sn_client *c, const struct sn_event *event);
void sn_subs_clear(struct sn_engine *e, struct sn_client *c);

void sn_on_publish(struct sn_engine *e, struct sn_client *c, const struct sn_packet *p);
void sn_on_publish_qos_minus_1(struct sn_engine *e, struct sn_client *c, const struct peer *from,
                               const struct sn_packet *p);
void sn_on_pubrel(struct sn_engine *e, struct sn_client *c, const struct sn_packet *p);
void sn_on_published(struct sn_engine *e, struct sn_client *c, const struct sn_event *event);
void sn_up_clear(struct sn_engine *e, struct sn_client *c);

void sn_on_regack(struct sn_engine *e, struct sn_client *c, const struct sn_packet *p);
void sn_on_puback(struct sn_engine *e, struct sn_client *c, const struct sn_packet *p);
void sn_on_pubrec(struct sn_engine *e, struct sn_client *c, const struct sn_packet *p);
void sn_on_pubcomp(struct sn_engine *e, struct sn_client *c, const struct sn_packet *p);
void sn_on_message(struct sn_engine *e, const struct sn_event *event);
/* Nothing of the head is under way, and nothing is remembered of it. */
void sn_down_idle(struct sn_engine *e, struct sn_down *d);
/* Sends what can be sent; called whenever something stopped being in the way. May end an awake
 * period, never the session. */
void sn_down_run(struct sn_engine *e, struct sn_client *c);
/* A sign of life: takes up again what was given up. */
void sn_down_resume(struct sn_engine *e, struct sn_client *c);
/* Repeats the request under way now, if there is one. */
void sn_down_resend(struct sn_engine *e, struct sn_client *c);
/* Counts T_retry of the request under way, if there is one, from now on. */
void sn_down_rearm(struct sn_engine *e, struct sn_down *d);
/* The node fell asleep or went away: the request under way returns to the head of the queue. */
void sn_down_pause(struct sn_engine *e, struct sn_client *c);
void sn_down_due(struct sn_engine *e, struct sn_down *d);
void sn_down_clear(struct sn_engine *e, struct sn_client *c);

/* ---- round_trip.c ---------------------------------------------------------------------------- */

/* How long the node now has to answer. */
int64_t sn_retry_ms(const struct sn_engine *e, const struct sn_down *d);
/* The request under way was answered. What was sent more than once tells nothing (Karn). */
void sn_round_trip(const struct sn_engine *e, struct sn_down *d);
/* It was not, in that time. */
void sn_round_trip_missed(struct sn_down *d);

void sn_on_pingreq(struct sn_engine *e, struct sn_client *c, const struct peer *from,
                   const struct sn_packet *p);
void sn_on_disconnect(struct sn_engine *e, struct sn_client *c, const struct sn_packet *p);

void sn_on_will_topic_upd(struct sn_engine *e, struct sn_client *c, const struct sn_packet *p);
void sn_on_will_msg_upd(struct sn_engine *e, struct sn_client *c, const struct sn_packet *p);
void sn_will_free(struct sn_engine *e, struct sn_client *c);
struct sn_will_view sn_will_view(const struct sn_will *w);

/* A request of a talker without session: DISCONNECT, within limits. */
void sn_unknown_talker(struct sn_engine *e, const struct peer *from);

#endif
