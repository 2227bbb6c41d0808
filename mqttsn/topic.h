/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What MQTT allows as topic name and topic filter (3.1.1 section 4.7), and what is prudent in a
 * session shared by all nodes: one bad topic makes a broker close the connection, so whatever
 * common brokers refuse (control characters, non-characters, absurd depth) is refused here, at the
 * node.
 */
#ifndef SENNET_MQTTSN_TOPIC_H
#define SENNET_MQTTSN_TOPIC_H

#include <stdbool.h>
#include <stddef.h>

#include "base/bytes.h"

enum {
    SN_TOPIC_MAX = 65535,     /* octets, by MQTT */
    SN_TOPIC_LEVELS_MAX = 128 /* brokers refuse somewhere above; ours is a design limit */
};

/* A name to publish to. O(len). */
bool sn_topic_name_ok(struct bytes name);

/* A name that brokers may deliver to: whatever MQTT has not forbidden, prudent or not. O(len). */
bool sn_topic_name_legal(struct bytes name);

/* A filter to subscribe to: `+` and `#` where they may stand; shared subscriptions ($share/...) are
 * not accepted. O(len). */
bool sn_topic_filter_ok(struct bytes filter);

/* True when a (valid) filter contains a wildcard. */
bool sn_topic_has_wildcard(struct bytes filter);

/* Octets of the shortest name that a (valid) filter matches: `+` may stand for nothing, and `/#` for
 * the level above. */
size_t sn_topic_shortest(struct bytes filter);

/* Glob on octets: `*` any run, `?` any one, [abc] [a-z] [!a] sets, backslash takes the next octet
 * literally. A malformed set matches nothing. O(len(glob) * len(text)) at worst. */
bool sn_glob_match(const char *glob, struct bytes text);

#endif
