/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the engine counts. Everything that is dropped, refused or repeated has its counter; names
 * are stable ("drop.queue_full") and are what logs, status pages and metrics show.
 */
#ifndef SENNET_MQTTSN_STATS_H
#define SENNET_MQTTSN_STATS_H

#include <stdint.h>

/* clang-format off */
#define SN_STATS(X)                                                                                \
    X(PACKETS_IN, "packets.in")                                                                    \
    X(PACKETS_OUT, "packets.out")                                                                  \
    X(BYTES_IN, "bytes.in")                                                                        \
    X(BYTES_OUT, "bytes.out")                                                                      \
    X(BAD_TRUNCATED, "malformed.truncated")                                                        \
    X(BAD_LENGTH, "malformed.length")                                                              \
    X(BAD_TYPE, "malformed.type")                                                                  \
    X(BAD_BODY, "malformed.body")                                                                  \
    X(BAD_ENVELOPE, "malformed.envelope")                                                          \
    X(BAD_OVERSIZE, "malformed.oversize")                                                          \
    X(BAD_DIRECTION, "malformed.direction")                                                        \
    X(IGNORED_STATE, "ignored.state")                                                              \
    X(IGNORED_UNKNOWN_ACK, "ignored.unknown_ack")                                                  \
    X(UNKNOWN_TALKER, "unknown_talker")                                                            \
    X(RATE_LIMITED, "rate_limited")                                                                \
    X(ADVERTISES, "advertises")                                                                    \
    X(SEARCHES, "searches")                                                                        \
    X(GWINFOS, "gwinfos")                                                                          \
    X(GWINFOS_SUPPRESSED, "gwinfos.suppressed")                                                    \
    X(GATEWAYS_SEEN, "gateways.seen")                                                              \
    X(GATEWAYS_UNKNOWN, "gateways.not_remembered")                                                 \
    X(ID_CONFLICTS, "gateways.id_conflict")                                                        \
    X(CONNECTS, "connects")                                                                        \
    X(CONNECTS_REFUSED, "connects.refused")                                                        \
    X(CONNECTS_REPEATED, "connects.repeated")                                                      \
    X(TAKEOVERS, "takeovers")                                                                      \
    X(DISCONNECTS, "disconnects")                                                                  \
    X(LOST, "lost")                                                                                \
    X(WILLS, "wills")                                                                              \
    X(REGISTRATIONS, "registrations")                                                              \
    X(REGISTRATIONS_REFUSED, "registrations.refused")                                              \
    X(WITHDRAWALS, "registrations.withdrawn")                                                      \
    X(SUBSCRIBES, "subscribes")                                                                    \
    X(SUBSCRIBES_REFUSED, "subscribes.refused")                                                    \
    X(PUBLISH_UP_QOS0, "publish.up.qos0")                                                          \
    X(PUBLISH_UP_QOS1, "publish.up.qos1")                                                          \
    X(PUBLISH_UP_QOS2, "publish.up.qos2")                                                          \
    X(PUBLISH_UP_QOSM1, "publish.up.qos_minus_one")                                                \
    X(PUBLISH_UP_DUPLICATE, "publish.up.duplicate")                                                \
    X(PUBLISH_UP_REFUSED, "publish.up.refused")                                                    \
    X(PUBLISH_UP_CONGESTED, "publish.up.congested")                                                \
    X(PUBLISH_DOWN_QOS0, "publish.down.qos0")                                                      \
    X(PUBLISH_DOWN_QOS1, "publish.down.qos1")                                                      \
    X(PUBLISH_DOWN_QOS2, "publish.down.qos2")                                                      \
    X(DELIVERED, "publish.down.delivered")                                                         \
    X(RETRANSMISSIONS, "retransmissions")                                                          \
    X(GAVE_UP, "retransmissions.gave_up")                                                          \
    X(AIR_UNDELIVERED, "air.undelivered")                                                          \
    X(AIR_NOT_SENT, "air.not_sent")                                                                \
    X(DROP_GROUP, "drop.group")                                                                    \
    X(DROP_QOS_MINUS_1, "drop.qos_minus_one")                                                      \
    X(DROP_UNKNOWN_TOPIC, "drop.unknown_topic")                                                    \
    X(DROP_QUEUE_FULL, "drop.queue_full")                                                          \
    X(DROP_SUPERSEDED, "drop.superseded")                                                          \
    X(DROP_EXPIRED, "drop.expired")                                                                \
    X(DROP_TOPIC_LIMIT, "drop.topic_limit")                                                          \
    X(DROP_TOO_LARGE, "drop.too_large")                                                            \
    X(DROP_REFUSED_BY_CLIENT, "drop.refused_by_client")                                            \
    X(DROP_UPSTREAM, "drop.upstream_unavailable")                                                  \
    X(DROP_CLIENT_GONE, "drop.client_gone")                                                        \
    X(DROP_OUTPUT_FULL, "drop.output_full")                                                        \
    X(DROP_NO_MEMORY, "drop.no_memory")

/* clang-format on */

enum sn_stat {

#define X(symbol, name) SN_STAT_##symbol,
    SN_STATS(X)
#undef X
        SN_STAT_COUNT
};

struct sn_stats {
    uint64_t n[SN_STAT_COUNT];
};

/* "packets.in" and so on; `stat` below SN_STAT_COUNT. */
const char *sn_stat_name(enum sn_stat stat);

#endif
