/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the router needs to know of topics: filters as sets of topic names (MQTT 3.1.1 section 4.7),
 * and names that are rewritten from one filter to another. Pure functions.
 *
 * Two filters with the same wildcards in the same order name each other's topics: what a wildcard of
 * the one stands for, its partner stands for. It works in both directions:
 *
 *     a/+/#  <->  site1/+/x/#        a/b/c/d  <->  site1/b/x/c/d        a/b  <->  site1/b/x
 *
 * A few topics have no partner: what would be the empty name, and what would begin with `$` where
 * the filter begins with a wildcard, since such a filter does not match it.
 *
 * Filters and names given are valid (mqttsn/topic.h).
 */
#ifndef SENNET_BROKER_ROUTER_TOPICS_H
#define SENNET_BROKER_ROUTER_TOPICS_H

#include <stdbool.h>

#include "base/bytes.h"

/* O(len). */
bool topics_match(struct bytes filter, struct bytes name);

/* True only when every name that `narrow` matches is matched by `wide`. Of two filters that match
 * the same but are written differently (`#`, `+/#`) it may say no. O(len). */
bool topics_cover(struct bytes wide, struct bytes narrow);

/* Writes the filter that matches exactly what both match, not longer than both together. False when
 * they have no topic in common. O(len). */
bool topics_intersect(struct bytes a, struct bytes b, struct writer *out);

/* Writes how `name`, which lies in `from`, is called in `to`. `name` may also be a filter that `from`
 * covers; then the result is the filter of the same topics in `to`. A `to` without wildcards is the
 * name itself. Not longer than `to` and `name` together. False when `name` does not lie in `from`, or
 * has no partner that MQTT allows and `to` matches. O(len). */
bool topics_rewrite(struct bytes from, struct bytes to, struct bytes name, struct writer *out);

/* Have they the same wildcards in the same order? */
bool topics_same_wildcards(struct bytes a, struct bytes b);

/* ---- templates ------------------------------------------------------------------------------- */

/* What {client}, {link}, {gateway} and {prefix} stand for. */
struct topics_constants {
    struct bytes client;
    struct bytes link;
    struct bytes gateway;
    struct bytes prefix;
    bool has_prefix; /* else what mentions {prefix} has no name */
};

/* NULL, or what is wrong with the text of a template: static, for people. */
const char *topics_template_fault(const char *text);

/* Writes it with its constants; a template without fault. False when a constant that it mentions
 * can't be part of a topic. A client chooses its id: it may be one level of a topic and no more, so
 * an id that contains `/`, `+`, `#` or control characters, or begins with `$`, is none. The others
 * are the operator's: they may contain `/`. */
bool topics_expand(const char *text, const struct topics_constants *with, struct writer *out);

#endif
