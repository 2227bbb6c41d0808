/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Many nodes, the engine, the shared session and an ideal broker, in virtual time, through bad air.
 *
 *   world.c    a seed is set up, runs for hours of virtual time, calms down, is judged
 *   air.c      packets are lost, copied and late, and overtake each other in both directions;
 *              addresses that nodes get, lose and take from each other; forwarders
 *   node.c     what nodes do all day: publish, sleep, wake, leave, vanish, come back
 *   wish.c     what a node wants beside talking: subscriptions that come and go, updates of its will
 *   broker.c   an MQTT broker whose connection breaks; the rest of the world, which publishes to it
 *   judge.c    ledgers of all messages; what the gateway may have done wrong at any moment
 *   restart.c  the gateway dies, and starts again
 *   watch.c    what the judge reads off the air and the log: losses, wills, repetitions
 *   main.c     options, seeds, the summary
 *
 * Promised, and judged without exception:
 *   - a publication of QoS 1 or 2 whose acceptance the node has heard of is at the broker, at QoS 2
 *     once; whatever the node has heard, QoS 2 is never there twice; the accepted ones of a node are
 *     there in the order of sending;
 *   - a message of effective QoS 1 or 2 that the broker sends while a node is subscribed (it has the
 *     SUBACK, and has not begun to unsubscribe) arrives at that node, at the highest QoS of its
 *     matching filters, unless its session ends or a policy drops it, which is then in the log;
 *   - QoS 2 arrives once; first arrivals at a node are in the order of the broker;
 *   - a node is lost when, and only when, the gateway has not heard it for as long as clause 7.2
 *     says; its will is then published, the one in force, once, and at no other time;
 *   - no queue is longer than its quota; after the last session is discarded no memory is charged,
 *     no filter subscribed, nothing queued;
 *   - all of this also when the gateway is killed at any moment and started again (with a store and a
 *     spool, --restarts), though what it had accepted then may get to the broker later; who is connected
 *     and has been told so stays connected;
 *   - the gateway repeats its requests at most 1.6 times as often as the loss makes necessary.
 *
 * Not promised, because MQTT-SN 1.2 has no means for it (docs/spec-notes.md, "Copies and late
 * packets"). A packet lives for up to PACKET_LIFE_MS in this air, and its copies as long:
 *   - QoS 0 and -1 carry no msg id. Copied by the air they arrive twice, and in any order;
 *   - QoS 1 may arrive more than once; only the first arrivals are in order;
 *   - CONNECT, DISCONNECT, PINGREQ and the will's updates carry no msg id, and a gateway can't know in
 *     which order a client used its ids. A copy of one of these, or of SUBSCRIBE and UNSUBSCRIBE,
 *     that comes after the client has done the opposite undoes that. So nodes let QUIET_MS pass
 *     between opposites: CONNACK and DISCONNECT for good, DISCONNECT and CONNECT, SUBSCRIBE and
 *     UNSUBSCRIBE of one filter, two updates of the will. Nothing else waits. Some nodes (`hasty`)
 *     don't wait either: of these, QoS 2 upward may be there twice, and subscriptions and wills are
 *     not judged;
 *   - a copy of CONNECT behind a SUBSCRIBE looks like a client that begins a clean session anew. The
 *     gateway is told that this air has such copies (late_connect);
 *   - A session that ends (CleanSession=1) takes its unfinished exchanges along. What was under way
 *     to the node may still arrive, in the next one: then it is a new message to it.
 */
#ifndef SENNET_TESTS_CHAOS_H
#define SENNET_TESTS_CHAOS_H

#include "base/deadline.h"
#include "base/rng.h"

#include "sim/world.h"
#include "tools/client.h"

enum {
    LOSS_PERCENT = 30,
    COPY_PERCENT = 5,
    DELAY_MIN_MS = 10,
    JITTER_MS = 500,
    PACKET_LIFE_MS = DELAY_MIN_MS + 2 * JITTER_MS, /* a copy adds its own jitter */
    QUIET_MS = PACKET_LIFE_MS + 90,
    START_MS = 5000,
    SECOND_MS = 1000,
    MINUTE_MS = 60 * SECOND_MS,
    PACKET_MAX = 160,
    GROUP_NODES = 20, /* share a group filter */
    ALIASES = 8,      /* predefined ids and short names, each for every eighth node */
    FIRST_ALIAS_DOWN = 1,
    FIRST_ALIAS_UP = 101,
    FORWARDERS = 3,
};

/* ---- ledgers --------------------------------------------------------------------------------- */

struct up_message {
    uint32_t order; /* of its first arrival at the broker, among those of its node */
    uint8_t qos;
    uint8_t copies; /* at the broker */
    bool told;      /* the node has heard that it was accepted ... */
    uint16_t era;   /* ... in which session */
};

struct down_message {
    uint32_t id; /* index of struct news */
    uint8_t least_qos, most_qos;
    uint8_t copies; /* at the node */
    bool must;      /* arrive */
    bool over;      /* the session in which it was sent has ended */
};

/* A message of the world, for one or more nodes. */
struct news {
    enum news_kind { NEWS_PERSONAL, NEWS_GROUP, NEWS_ALIAS, NEWS_SHORT, NEWS_KINDS } kind;

    uint16_t who; /* node, group, or alias */
    uint8_t level;
    uint8_t qos;
};

/* ---- a node ---------------------------------------------------------------------------------- */

enum slot {
    SLOT_EXACT,
    SLOT_PLUS,
    SLOT_HASH,
    SLOT_FRONT,
    SLOT_GROUP,
    SLOT_ALIAS,
    SLOT_SHORT,
    FILTER_SLOTS,
    PERSONAL_SLOTS = SLOT_GROUP
};

/* One filter of a node, as the node sees it. */
struct filter_slot {
    bool wanted;
    bool have;  /* granted, and nothing else asked since */
    bool maybe; /* asked for (or to end it) and not answered */
    uint8_t qos;
    int64_t quiet_ms;
};

/* What the gateway's will of a node may be: bit g for the payload "INDEX.g". */
enum { WILL_CONNECT = 0, WILL_EMPTY = 62, WILL_NONE = 63 };

struct will_update {
    enum { UPD_IDLE, UPD_TOPIC, UPD_DELETE, UPD_MESSAGE } step;

    unsigned generation;
    unsigned sendings;
    int64_t due_ms;
    int64_t quiet_ms;
};

/* What the gateway is seen to do with the node (watch.c). */
struct watched {
    bool connected;
    bool asleep;
    bool awake;
    bool in_doubt;        /* active by a CONNECT that may be a late copy */
    unsigned address;     /* that the node last connected, or woke, from */
    int64_t since_ms;     /* of its latest change of state */
    int64_t heard_ms;     /* from `address` */
    int64_t heard_any_ms; /* from wherever */
    unsigned connect_address;
    uint16_t sleep_s;
    bool connect_will, connect_clean; /* of the latest CONNECT that arrived ... */
    bool clean;                       /* ... and of that which the session began with */
    unsigned wills, wills_min, wills_max;
    bool mourned;     /* its latest loss is in wills_min */
    uint64_t will[2]; /* what may have been in force at the latest losses */
    uint8_t request;  /* of the gateway, type and msg id ... */
    uint16_t request_id;
    uint16_t publish_id; /* ... and of its latest PUBLISH */
    bool answered, publish_answered;
};

struct chaos_node {
    struct deadline timer;
    struct deadline news;
    unsigned index;
    char id[12];

    /* what it is like */
    bool clean, sleeper, hasty, has_will;
    uint8_t will_qos;
    uint16_t keep_alive_s, sleep_s;
    int64_t talk_ms, news_ms; /* means */

    /* where it is */
    unsigned address;     /* index into air.owners; meaningless while forwarded */
    int forwarder;        /* or -1 */
    bool homeless;        /* its address was given to another */
    bool borrowed;        /* its address was another's, and the gateway has not confirmed it */
    int64_t out_until_ms; /* out of reach of any radio */

    /* what it does */
    struct snc *c;
    int64_t act_ms;
    int64_t quiet_ms; /* not before: CONNECT, or DISCONNECT */
    bool pinging;     /* awake, or about to */
    bool rebooting;   /* a stored session begins anew: a clean connection in between */

    enum { STAY, FINISH, DISCARD, GONE } end;

    bool finished;  /* has said good-bye */
    bool discarded; /* is connected for the last time */

    struct filter_slot slots[FILTER_SLOTS];
    int open_slot; /* asked for, or -1 */
    bool open_is_unsubscribe;
    struct will_update update;
    uint64_t will; /* bits: which may be in force */

    /* the ledgers */
    struct up_message *up;
    uint32_t n_up, cap_up, up_arrived;
    uint16_t era; /* sessions that have ended */
    int open_up;  /* the QoS 1 or 2 publication under way, or -1 */
    struct down_message *down;
    uint32_t n_down, cap_down;
    uint32_t last_down; /* id of the latest first arrival, QoS 1 and 2 */
    uint32_t drops;     /* that the gateway logged */
    uint64_t counted;   /* repetitions of its client machine that are in the totals */
    struct watched gw;
};

/* ---- the rest -------------------------------------------------------------------------------- */

struct flight;
struct sn_client;

struct air {
    struct flight **heap;
    size_t n, cap;
    struct flight *free;
    uint32_t next_order;
    int *owners; /* node of each address, or -1 */
    uint32_t n_addresses, cap_addresses;
};

struct broker {
    struct deadline timer;
    struct list queue;  /* struct pending: in order, as TCP is */
    struct list doubts; /* QoS 2 publications of a broken connection */
    int64_t last_ms;
    int64_t flap_ms;    /* when the connection breaks, or comes back ... */
    int64_t dead_ms;    /* ... and when it is dead before it breaks */
    int64_t settled_ms; /* since then the filters below are what the session wants */
    bool up;
    bool *filters; /* that the session is subscribed to */
};

/* What the summary is made of: nothing but uint64_t, which main.c relies on. */
struct totals {
    uint64_t seeds, failed, virtual_ms, cpu_ms;
    uint64_t up[3], down[3];                           /* messages by QoS; down: arrived, by node */
    uint64_t up_lost, up_twice, down_lost, down_twice; /* QoS 1, 2 lost; QoS 2 twice: failures */
    uint64_t up_again, down_again;                     /* QoS 1 more than once: allowed */
    uint64_t policy_drops, quota_drops, refused_drops; /* missing; logged, by reason */
    uint64_t packets, packets_lost, packets_copied;
    uint64_t connects, sleeps, wakes, moves, takeovers, reboots, vanished, losses, wills, updates,
        flaps, broken; /* broken: with requests under way */
    uint64_t restarts;
    uint64_t failures; /* of the store */
    uint64_t gw_requests, gw_answered, gw_repeated;
    uint64_t node_answered, node_repeated;
};

struct chaos_options {
    uint64_t seed;
    unsigned nodes;
    int64_t active_ms;
    int64_t restart_ms; /* between two restarts, in the mean; 0: there are none, and no store */
    int64_t fail_ms;    /* between two failures of the store, likewise */
    int trace;          /* node, or -1 */
};

struct chaos {
    struct chaos_options options;
    struct rng rng;
    struct sim_world w;
    struct sn_predefined topics[2 * ALIASES];
    char topic_names[2 * ALIASES][8];
    struct sn_topics_section section;
    struct sn_client_section tight;
    struct deadlines timers;
    struct air air;
    struct broker broker;
    struct chaos_node *nodes;
    unsigned n_nodes;
    struct news *news;
    uint32_t n_news, cap_news;
    struct totals *totals;
    uint64_t base_memory, base_shared; /* what the machines keep without clients */
    unsigned retry_count;              /* of the nodes */
    struct deadline restart;
    struct deadline trouble; /* of the store */
    int64_t worked_ms;       /* since when it works again */
    bool down;               /* the gateway */
    bool calm;               /* clean air, nobody does anything new */
    unsigned n_gone;
    bool failed;
};

enum timer_kind { TIMER_NODE, TIMER_NEWS, TIMER_BROKER, TIMER_RESTART, TIMER_TROUBLE };

/* world.c */
/* False when it failed, after it has said how. */
bool chaos_play(const struct chaos_options *options, struct totals *totals);
void chaos_fail(struct chaos *x, const char *format, ...) __attribute__((format(printf, 2, 3)));
/* Everything that the machines have put out goes its way. */
void chaos_flush(struct chaos *x);
int64_t chaos_random(struct chaos *x, int64_t from, int64_t to);
bool chaos_chance(struct chaos *x, unsigned percent);
/* Half to one and a half of it. */
int64_t chaos_about(struct chaos *x, int64_t mean_ms);
void *chaos_grow(void *array, uint32_t *cap, size_t each);

static inline int64_t chaos_now(const struct chaos *x)
{
    return x->w.now_ms;
}

/* air.c: addresses from here on are those of forwarders, whose nodes are told apart by their ids */
enum { FIRST_FORWARDER = 0xFF0000 };

void air_deinit(struct chaos *x);
int64_t air_next(const struct chaos *x);
void air_from_node(struct chaos *x, struct chaos_node *n, struct bytes packet);
void air_from_gateway(struct chaos *x, const struct sim_packet *p);
void air_arrive(struct chaos *x);
/* Somewhere else: a new address, or a forwarder. */
void air_move(struct chaos *x, struct chaos_node *n);
/* To the address of another, who gets a new one when it speaks. MQTT-SN tells nodes apart by it, so
 * the other must be silent, and who takes it begin with CONNECT, or PINGREQ, and
 * go on only when that was answered. */
bool air_take_over(struct chaos *x, struct chaos_node *n, struct chaos_node *from);
void air_place(struct chaos *x, struct chaos_node *n);
unsigned air_address(const struct peer *peer);

/* broker.c */
void broker_init(struct chaos *x);
void broker_deinit(struct chaos *x);
void broker_take(struct chaos *x, struct sim_ask *ask);
void broker_due(struct chaos *x);
/* The gateway has died; and is back. */
void broker_breaks_off(struct chaos *x);
void broker_returns(struct chaos *x);
void news_due(struct chaos *x, struct chaos_node *n);
size_t news_topic(const struct news *m, char *out, size_t size);

/* restart.c */
void restart_init(struct chaos *x);
void restart_deinit(struct chaos *x);
void restart_due(struct chaos *x);
void trouble_due(struct chaos *x);

/* node.c */
void node_init(struct chaos *x, unsigned index);
void node_deinit(struct chaos *x, struct chaos_node *n);
void node_due(struct chaos *x, struct chaos_node *n);
void node_input(struct chaos *x, struct chaos_node *n, struct bytes packet);
bool node_is_away(const struct chaos *x, const struct chaos_node *n);
/* What its machine has put out goes its way; and its timer. */
void node_flush(struct chaos *x, struct chaos_node *n);
void node_calm(struct chaos *x, struct chaos_node *n);

/* wish.c */
void wish_init(struct chaos *x, struct chaos_node *n);
/* True when it has asked for something, or waits for an answer. */
bool wish_filters(struct chaos *x, struct chaos_node *n);
void wish_flip(struct chaos *x, struct chaos_node *n);
void wish_answered(struct chaos *x, struct chaos_node *n, const struct snc_event *event);
/* The connection is over: what was asked for may have happened. */
void wish_interrupted(struct chaos *x, struct chaos_node *n);
void wish_connecting(struct chaos *x, struct chaos_node *n);
void wish_connected(struct chaos_node *n);
void wish_update_will(struct chaos *x, struct chaos_node *n);
void wish_will_due(struct chaos *x, struct chaos_node *n);
/* True when the packet answers an update of the will. */
bool wish_will_answered(struct chaos *x, struct chaos_node *n, const struct sn_packet *p);

/* judge.c */
void judge_published(struct chaos *x, struct chaos_node *n, const struct snc_event *event);
/* A new entry, for the payload. */
uint32_t judge_sends_up(struct chaos *x, struct chaos_node *n, uint8_t qos);
void judge_at_broker(struct chaos *x, const struct sim_ask *ask);
/* The broker sends it: whom must it reach? Called before the gateway hears of it. */
void judge_sends_down(struct chaos *x, uint32_t id);
/* A node is certain to be subscribed to it. */
bool judge_is_wanted(const struct chaos *x, const struct news *m);
void judge_at_node(struct chaos *x, struct chaos_node *n, const struct snc_event *event);
void judge_session_ended(struct chaos_node *n);
/* Of the nodes that the message is for. */
void judge_quotas(struct chaos *x, uint32_t id);
/* Everything must be there; when the node has nothing more to come. */
void judge_node(struct chaos *x, struct chaos_node *n);
bool judge_nothing_waits(struct chaos *x, const struct chaos_node *n);
void judge_end(struct chaos *x);

/* watch.c */
void watch_log(void *chaos, const struct log_record *record);
void watch_to_gateway(struct chaos *x, struct chaos_node *n, unsigned address,
                      const struct sn_packet *p);
void watch_from_gateway(struct chaos *x, const struct peer *to, const struct sn_packet *p);
/* The event says that a request of the node was answered. */
void watch_answered(struct chaos *x, const struct chaos_node *n, const struct snc_event *event);
void watch_due(struct chaos *x, struct chaos_node *n);
void watch_will(struct chaos *x, struct bytes topic, struct bytes data);
/* A will of QoS 0 or 1 was interrupted by the connection: it may be missing, or come again. */
void watch_will_broken(struct chaos *x, const struct sim_ask *ask, bool arrived);
/* The gateway has started again, and knows the node as `c`, or not at all (NULL). */
void watch_restarted(struct chaos *x, struct chaos_node *n, const struct sn_client *c);
/* Repetitions over those that the loss makes necessary. */
double watch_ratio(uint64_t repeated, uint64_t answered);

#endif
