/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The MQTT-SN 1.2 gateway engine: every conversation with every node, as one machine.
 *
 *     datagrams  -> sn_engine_input()            sn_engine_peek_packet() -> datagrams
 *     broker side-> sn_engine_event()            sn_engine_peek_request()-> broker side
 *     time       -> sn_engine_advance()          sn_engine_next_deadline()
 *
 * No file descriptor, thread, clock or global; the same inputs at the same times give the same
 * outputs (`seed` included). `now_ms` is monotonic milliseconds and never decreases. Every entry
 * first fires what is due, then handles its input. Outputs are borrowed until "done", and must be
 * drained before the next datagram batch for the bounds below to hold. Not thread safe: one thread
 * per engine.
 *
 * Failures of peers are counted (sn_engine_stats()) and never returned. The engine does not abort
 * on out of memory after construction: the request at hand is refused (congestion) or dropped,
 * counted.
 */
#ifndef SENNET_MQTTSN_ENGINE_H
#define SENNET_MQTTSN_ENGINE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/bytes.h"
#include "base/clock.h"
#include "base/hash.h"
#include "base/log.h"
#include "base/peer.h"

#include "mqttsn/port.h"
#include "mqttsn/record.h"
#include "mqttsn/stats.h"

/* ---- configuration: everything is copied by sn_engine_new() ---------------------------------- */

/* Three-valued switches of [client GLOB] sections: unset falls through to the link, then default.
 */
enum sn_switch { SN_UNSET, SN_NO, SN_YES };

/* Options of one [client GLOB] section; 0 or SN_UNSET means "not said here". When several sections
 * match a client id, a later section overrides an earlier one, key by key. */
enum sn_overflow { SN_OVERFLOW_UNSET, SN_DROP_OLDEST, SN_DROP_NEWEST, SN_LATEST_PER_TOPIC };

struct sn_client_options {
    enum sn_switch allow;         /* no: CONNECT is refused with "not supported" */
    enum sn_switch qos_minus_one; /* accept PUBLISH QoS -1 of these clients */
    uint32_t max_packet_bytes;    /* largest packet sent to the client; 0: the link's */
    uint32_t max_topics;          /* registered topic ids; default 256, at most 65534 */
    uint32_t max_subscriptions;   /* default 64 */
    uint32_t max_queue;           /* messages waiting for the node; default 100 */
    uint32_t max_queue_bytes;     /* their payloads and topics; default 64 KiB */
    uint32_t max_inflight;        /* QoS 1/2 PUBLISHes of the node open at once; default 16 */
    int64_t keep_alive_max_ms;    /* supervision of clients with keep alive 0; default 24 h */
    enum sn_overflow overflow;  /* what gives way when the queue is full; default SN_DROP_OLDEST */
    enum sn_switch queue_qos_0; /* keep QoS 0 messages for a sleeping node; default yes */
    enum sn_switch rebind;      /* PINGREQ wakes a sleeper from another address; default yes */
    enum sn_switch
        resume_asleep; /* CONNECT of a sleeper never begins a clean session; default no */

    /* Peculiarities of nodes in the field (reference section 4.13); the defaults suit all others. */
    enum sn_switch
        regack; /* no: the node never answers REGISTER; send none, nor what would need one */
    enum sn_switch dup; /* no: never set DUP toward the node, it takes offence */
    uint8_t max_qos;    /* deliver at this QoS at most: 1 + QoS, so that 0 means "not said" */
};

struct sn_client_section {
    const char *glob; /* `*` any run, `?` any octet, [abc] and [a-z] sets, backslash quotes */
    struct sn_client_options options;
};

struct sn_predefined {
    uint16_t topic_id; /* 1..65534 */
    const char *topic; /* valid MQTT topic name */
};

/* One [topics] (glob NULL: every node, and QoS -1 talkers) or [topics GLOB] section. A later
 * section overrides an earlier one for the same id; sections with a glob override those without. */
struct sn_topics_section {
    const char *glob;
    const struct sn_predefined *entries;
    size_t n_entries;
};

/* What the engine must know of a link; index = peer.link. */
struct sn_link_limits {
    uint32_t max_packet_bytes;    /* largest MQTT-SN packet in either direction, 12..65535 */
    enum sn_switch qos_minus_one; /* SN_UNSET counts as yes */
    uint32_t advertise_s;         /* T_ADV: ADVERTISE to its group, cut to 65535; 0: none */
    bool reports; /* tells what becomes of packets: sn_engine_outcome() for each, sooner or later */
};

struct sn_engine_config {
    uint8_t gateway_id;
    int64_t retry_interval_ms; /* T_retry, default 10 s */
    /* Once a node's round trips are known, T_retry for it follows them (RFC 6298), within these
     * bounds: never sooner than retry_min_ms (or retry_interval_ms, if that is less), never later
     * than retry_max_ms. */
    int64_t retry_min_ms; /* default 1 s */
    int64_t retry_max_ms; /* default 60 s */
    unsigned retry_count; /* N_retry, default 3: repetitions after the first sending */
    /* So long after its CONNACK an equal CONNECT with CleanSession is a late copy made by the air,
     * whatever the client has said since, and changes nothing. 0: it begins a new session. */
    int64_t late_connect_ms;
    uint32_t max_clients;      /* sessions of all kinds; default 100000 */
    uint64_t max_memory_bytes; /* everything kept for peers; default 256 MiB */
    uint32_t max_waiting;      /* messages waiting for nodes, of all together; default 1000000 */
    uint32_t max_client_id;    /* octets; default 64 */
    int64_t session_expiry_ms; /* a stored (CleanSession=0) session without its node; default 7 d */
    int64_t gwinfo_delay_ms;   /* GWINFO to a group waits up to this, at random; default 500 ms */
    struct sn_client_options defaults;
    const struct sn_client_section *clients;
    size_t n_clients;
    const struct sn_topics_section *topics;
    size_t n_topics;
    const struct sn_link_limits *links;
    size_t n_links;
    struct hash_seed hash_seed;
    struct hash_seed print_seed; /* of what is recorded: the same in every process of one store */
    bool journal;                /* emit records (record.h) */
    enum log_level log_level;
};

/* Fills in the defaults above; lists empty, seed zero. */
struct sn_engine_config sn_engine_defaults(void);

struct sn_engine;

/* A new engine without sessions, or NULL when out of memory. */
struct sn_engine *sn_engine_new(const struct sn_engine_config *config, int64_t now_ms);

/* Frees everything; outputs not yet taken are lost. NULL is ignored. */
void sn_engine_free(struct sn_engine *e);

/* From now on everything goes by this configuration, but for what an engine is made with (gateway id,
 * number of links and their limits of size, seeds, journal). All that is known of nodes stays:
 *
 *   predefined ids   count at once. What a client has subscribed by an id that is another topic's now,
 *                    it goes on getting, with a REGISTER
 *   allow = no       ends sessions that there are, stored ones too; a node that listens hears DISCONNECT
 *   limits           hold for what comes; what is above them already stays
 *   times            hold from the next time on that they are needed; supervision at once
 *
 * 0, or -ENOMEM: nothing has changed. O(clients). */
int sn_engine_configure(struct sn_engine *e, int64_t now_ms, const struct sn_engine_config *config);

/* ---- after a restart ------------------------------------------------------------------------- */

/* Before any input: one stored row at a time (SESSION, TOPIC, EXCHANGE, DELIVERY; the session's own
 * first, DELIVERY in order). Emits no record of what it takes. What contradicts itself or the
 * configuration's limits is left out and counted in the log.
 *
 *   0        taken
 *   1        left out; the store should forget it: its ..._GONE is emitted, and for a session the
 *            broker side is asked to discard it
 *   -ENOMEM */
int sn_engine_restore(struct sn_engine *e, const struct sn_record *record);

/* All rows are there. Every connected session is opened on the broker side, and gets as long as it
 * ever has (keep alive or sleep, with tolerance) to be heard of: then its will is due. Opening is asked
 * again with each UPSTREAM that is up, until it is accepted, and nobody is given up before. What is
 * under way to connected nodes goes out again at once. */
void sn_engine_restored(struct sn_engine *e, int64_t now_ms);

/* Records taken from now on belong to that batch, packets that depend on them name it. Those of the
 * batch before should have been taken. */
void sn_engine_batch(struct sn_engine *e, uint64_t batch);

/* Does the broker side store a PUBLISH of QoS 2 in the batch in which it is asked for it (spool.h)?
 * Not until this says so: then the exchange is recorded with it, else not before the broker side has
 * answered. To be told whenever that changes, before the next input. */
void sn_engine_spooling(struct sn_engine *e, bool spooling);

/* Emits everything there is to record, read while it is taken; changes in between come as ever.
 * O(everything). */
void sn_engine_record_all(struct sn_engine *e);

/* ---- inputs ---------------------------------------------------------------------------------- */

/* One datagram (possibly an envelope) as it arrived from `from`. O(1) plus output. */
void sn_engine_input(struct sn_engine *e, int64_t now_ms, const struct peer *from,
                     struct bytes datagram);

/* What is known of where the datagrams come from that are put in from now on: goes with the bodies of
 * their PUBLISHes as it is (base/origin.h), together with the client id if `with_client`. Copied;
 * ORIGIN_MAX octets at most. Nothing at first, which costs nothing. */
void sn_engine_origin(struct sn_engine *e, bool with_client, struct bytes fields);

/* One datagram that `from` sent to the group of its link. Only discovery is heard there (SEARCHGW,
 * ADVERTISE, GWINFO, SEARCHGW in envelopes); all else counts as drop.group. What this process said
 * itself must not come back here: it would pass for another gateway with our id. */
void sn_engine_input_group(struct sn_engine *e, int64_t now_ms, const struct peer *from,
                           struct bytes datagram);

/* Can packets to and from the group of that link pass? No group is joined at first, and until then
 * nothing is sent to it. */
void sn_engine_group(struct sn_engine *e, int64_t now_ms, uint16_t link, bool joined);

/* What became of a packet to a peer, as far as its radio knows. */
enum sn_air { SN_AIR_DELIVERED, SN_AIR_UNDELIVERED, SN_AIR_NOT_SENT };

/* From a link that reports, once for each packet to a peer without forwarders in between (others
 * are ignored). Until it is said, the radio may still be at it, and a request to that node is not
 * repeated: T_retry counts from the outcome on. Waits 30 s for it at most. O(1). */
void sn_engine_outcome(struct sn_engine *e, int64_t now_ms, const struct peer *to,
                       enum sn_air outcome);

/* From now on nobody behind the link can be heard, or they can again: a stick was pulled out, or came
 * back. Meanwhile silence says nothing about nodes, so they stay connected; each has its whole time
 * (keep alive or sleep) from the link's return on. Links are up at first. */
void sn_engine_link(struct sn_engine *e, int64_t now_ms, uint16_t link, bool up);

/* From now on the link carries packets of so many octets toward nodes, envelopes included; never
 * more than its max_packet_bytes. 0: these. */
void sn_engine_link_limit(struct sn_engine *e, int64_t now_ms, uint16_t link, uint32_t bytes);

/* One event of the broker side. MESSAGE is O(recipients). */
void sn_engine_event(struct sn_engine *e, int64_t now_ms, const struct sn_event *event);

/* Fires what is due. Afterwards sn_engine_next_deadline() > now_ms. */
void sn_engine_advance(struct sn_engine *e, int64_t now_ms);

/* ---- outputs --------------------------------------------------------------------------------- */

int64_t sn_engine_next_deadline(const struct sn_engine *e);

/* A packet to send. `to` and `bytes` are borrowed until done; envelopes are already in place and
 * `to` is the peer on the link (its forwarder path is of no concern to the link), or PEER_GROUP of
 * a link whose group is joined: everybody within the radius that the peer carries. */
struct sn_outgoing {
    const struct peer *to;
    struct bytes bytes;
    uint64_t after; /* the batch that must be committed before it may leave; 0: none */
};

bool sn_engine_peek_packet(struct sn_engine *e, struct sn_outgoing *out);
void sn_engine_done_packet(struct sn_engine *e);

bool sn_engine_peek_request(struct sn_engine *e, struct sn_request *out);
void sn_engine_done_request(struct sn_engine *e);

/* To the store, in order (record.h). Only with `journal`. */
bool sn_engine_peek_record(struct sn_engine *e, struct sn_record *out);
void sn_engine_done_record(struct sn_engine *e);

/* Records wait here until taken with log_peek()/log_done(). Its level may be changed at any time.
 */
struct log_ring *sn_engine_log(struct sn_engine *e);

/* ---- looking in ------------------------------------------------------------------------------ */

const struct sn_stats *sn_engine_stats(const struct sn_engine *e);

/* Figures of the moment. */
struct sn_gauges {
    uint32_t clients;      /* sessions known */
    uint32_t connected;    /* of these connected (active, asleep or awake) */
    uint64_t queued;       /* messages waiting for nodes */
    uint64_t memory_bytes; /* charged */
    uint32_t gateways;     /* others heard lately */
};

struct sn_gauges sn_engine_gauges(const struct sn_engine *e);

#endif
