/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The pump: carries the outputs of one machine to the inputs of the next until all are quiet.
 *
 *     links --packets--> engine --requests--> [router] --> session --requests--> spool --> MQTT connection
 *     links <--packets-- engine <---events--- [router] <-- session <---events--- spool <-- MQTT connection
 *               |                                |            |                    |
 *               +------------records-------------+------------+--------------------+--> store
 *
 * Session, spool and connection are a sink (sink.h); there are as many as there are brokers. With one
 * broker and nothing to rename there is no router.
 *
 * It owns nothing and decides nothing, but for packets that must not leave before the store has
 * committed what they tell: these it holds back. Without a store there are no spools either. What costs
 * a system call (handing packets to the system, waking a connection's worker, writing the log) waits
 * for pump_flush(), once per turn of the loop.
 */
#ifndef SENNET_GATEWAY_PUMP_H
#define SENNET_GATEWAY_PUMP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/bytes.h"
#include "base/deadline.h"
#include "base/list.h"
#include "base/log.h"
#include "base/parcels.h"
#include "base/peer.h"

#include "broker/router.h"
#include "capture_file.h"
#include "logsink.h"
#include "mqttsn/engine.h"
#include "radio/link.h"
#include "sink.h"
#include "store.h"

/* No more than what a link reads in a turn: what is sent to nodes is answered, and must be read. */
enum { PUMP_EVENTS_PER_TURN = 256 };

/* The parts are the owner's and set by it before the first call. */
struct pump {
    struct sn_engine *engine;
    struct router *router; /* NULL: everything is the first sink's */
    struct store *store;   /* NULL: nothing is stored */
    struct link **links;   /* by index; NULL where a link is gone */
    size_t n_links;
    struct logsink *sink;
    struct log_ring *log;             /* the owner's own records */
    struct capture_file *capture;     /* NULL: nothing is captured */
    struct capture_end *capture_ends; /* by link */
    unsigned origins;                 /* 1 << enum origin_field: what goes with messages of nodes */
    const char *const *link_names;    /* by link; for that */

    /* Sees what a connection tells about itself (CONNECTED, DISCONNECTED), before the session. */
    void (*broker)(void *owner, const struct sink *sink, const struct up_event *event);
    /* The store fails, or works again; `why` is for people, NULL in the latter case. */
    void (*store_state)(void *owner, const char *why);
    /* While restoring: the spool has `n` messages for a sink that there is not. They stay there. */
    void (*orphan)(void *owner, uint64_t sink, uint64_t n);

    /* Sessions of their own; NULL: there are none. */
    /* Which session that client has at that broker, now that it opens one, or is restored: NULL: the
     * shared one; one that was added; or `*refused`: none. */
    struct sink *(*own)(void *owner, unsigned broker, uint64_t client, struct bytes client_id,
                        bool *refused);
    /* While restoring: the one of that number, with messages of a session that is no more; NULL: it can't
     * be had. */
    struct sink *(*own_again)(void *owner, uint64_t number, uint64_t client);
    /* Its connection begins or ends: sets or clears sink->mqtt. False: it can't begin, for ever. */
    bool (*own_command)(void *owner, struct sink *sink, const struct own_command *command);
    /* Nothing is left of it: pump_remove() it, and free it. */
    void (*own_over)(void *owner, struct sink *sink);
    struct mqtt_host *hosts[ROUTER_BROKERS_MAX]; /* of such connections, by broker */
    void *owner;

    /* The pump's. */
    uint64_t left_out[SN_REC_COUNT]; /* rows that the machines did not take at the start, by type */
    struct sink *shared[ROUTER_BROKERS_MAX]; /* by broker */
    unsigned n_brokers;
    struct list sinks;
    struct list dirty;
    struct list fresh;
    struct list touched;
    struct list fetches;
    struct list uncommitted;
    struct list over;      /* own sessions of which nothing is left, by `touched` */
    struct hmap own_sinks; /* by client key and broker */
    struct sink *fetching;
    struct deadlines due; /* of sinks */
    struct parcels held;  /* packets that wait for the store */
    uint64_t batch;       /* the store's present one */
    uint64_t committed;   /* batches */
    uint64_t held_drops;  /* packets for which there was no room to wait */
    bool usable;          /* as the spools were told */
    bool stopping;        /* nothing more of the spools is given to the connections */
    int64_t now_ms;
    int64_t wall_ms;
    int64_t stamp_s; /* the second of `stamp` */
    char stamp[24];
    int minute;            /* of the day; -1: not known */
    bool unfinished;       /* machines were not quiet: go on in the next turn */
    uint64_t no_link;      /* packets for a link that is not there */
    int64_t room_told_ms;  /* that the store has no room; not again before */
    bool disk_is_narrow;   /* too full for messages that would wait there */
    uint64_t own_echoes;   /* our own packets to a group, heard back */
    uint64_t lost_logs[3]; /* as said, per ring */
};

/* The time of this turn, monotonic (never decreasing) and since 1970. Call first in every turn. */
void pump_time(struct pump *p, int64_t now_ms, int64_t wall_ms);

/* It is that minute of the day (broker/pace.h). What follows from it is carried with the next input, or
 * by pump_advance(), which is then due. */
void pump_minute(struct pump *p, unsigned minute);

/* Once, before anything else; then each sink; and when all are gone. */
void pump_init(struct pump *p);
/* 0 or -ENOMEM. */
int pump_add(struct pump *p, struct sink *s);
void pump_remove(struct pump *p, struct sink *s);
/* Other limits for what waits in its spool, and leaves it. */
void pump_limit_spool(struct pump *p, struct sink *s, const struct spool_config *config);
/* The client of an own session has another key now. */
void pump_rekey(struct pump *p, struct sink *s, uint64_t client);
void pump_deinit(struct pump *p);

/* Once, before anything else is carried: brings the machines to where the store says they were. 0,
 * -ENOMEM, or -EIO: it could not be read (said in its notice), and they begin anew. */
int pump_restore(struct pump *p);

/* Takes what the store has to tell. */
void pump_store(struct pump *p);

/* One packet from a link; `signal` may be NULL. */
void pump_packet(struct pump *p, const struct peer *from, const struct link_signal *signal,
                 struct bytes packet);

/* One packet that was sent to a link's group. What a link of ours said itself is not taken. */
void pump_group_packet(struct pump *p, const struct peer *from, struct bytes packet);

/* The link's group was joined or lost. */
void pump_group(struct pump *p, uint16_t link, bool joined);

/* What became of a packet, and how large packets may be from now on, as a stick tells it. */
void pump_outcome(struct pump *p, const struct peer *to, enum stick_outcome outcome);
void pump_link(struct pump *p, uint16_t link, bool up);
void pump_limit(struct pump *p, uint16_t link, uint32_t max_packet_bytes);

/* Takes what the connections have to tell; how many events. When it is PUMP_EVENTS_PER_TURN or more,
 * more may wait. */
unsigned pump_broker(struct pump *p);

/* Takes the records of all machines at once, where many come together. */
void pump_take_logs(struct pump *p);

/* Fires what is due. */
void pump_advance(struct pump *p);

/* Do all brokers know which filters nobody wants any more? O(filters). */
bool pump_is_settled(const struct pump *p);

/* Hands everything to the system. Call last in every turn. */
void pump_flush(struct pump *p);

/* When to call pump_advance() at the latest. */
int64_t pump_next_deadline(const struct pump *p);

#endif
