/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Messages to nodes, by the names that nodes know.
 *
 * A topic of a broker is a node's topic by the first route that fits, if no earlier route to that
 * broker is for that topic. Clients who share a naming share the result, so a message costs as much as
 * there are namings among its recipients. Only where more than one route fits, or a wildcard at the
 * beginning of a filter came to stand behind a prefix (and so matches `$...` there), is the client
 * asked for which of its filters it gets the message.
 */
#include <assert.h>
#include <stdlib.h>

#include "broker/router_priv.h"
#include "broker/router_topics.h"

enum { NO_GROUP = UINT32_MAX, QOS_MAX = 2 };

/* ---- readings -------------------------------------------------------------------------------- */

static struct bytes reading_text(const struct router *r, const struct reading *it,
                                 struct bytes topic)
{
    if (it->of_broker)
        return bytes_of(topic.data + it->text.at, it->text.len);
    return texts_at(&r->down, it->text);
}

/* Does a route that comes before the `end`th, and names one of the brokers, have the topic? */
static bool is_taken(const struct naming *n, uint32_t end, uint32_t brokers, struct bytes topic)
{
    for (uint32_t i = 0; i < end; i++) {
        const struct way *way = &n->ways[i];
        if (way->route->down && (way->route->brokers & brokers) != 0 &&
            topics_match(way->from, topic))
            return true;
    }
    return false;
}

/* Does the `i`th way fit? Then it reads the topic so; `*valid`: and the topic is its. */
static bool read_by_way(struct router *r, const struct naming *n, uint32_t i, unsigned broker,
                        struct bytes topic, struct reading *out, bool *valid)
{
    const struct way *way = &n->ways[i];
    if (!way->route->down || !way->ok || !has_broker(way->route->brokers, broker))
        return false;
    struct writer w = texts_room(&r->down, way->from.len + topic.len + 1);
    if (w.buf == NULL || !topics_rewrite(way->to, way->from, topic, &w))
        return false;
    const int qos = way->route->qos;
    *out = (struct reading){
        .text = {.at = r->down.len, .len = w.len},
          .most_qos = qos >= 0 ? (uint8_t)qos : QOS_MAX
    };
    *valid = !is_taken(n, i, UINT32_C(1) << broker, bytes_of(w.buf, w.len));
    return true;
}

/* The same by the prefix. */
static bool read_by_prefix(const struct router *r, const struct naming *n, unsigned broker,
                           struct bytes topic, struct reading *out, bool *valid)
{
    const struct bytes prefix = n->prefix;
    if (!has_broker(r->config.rest, broker) || !n->has_prefix || topic.len <= prefix.len ||
        !bytes_equal(bytes_of(topic.data, prefix.len), prefix))
        return false;
    *out = (struct reading){
        .text = {.at = prefix.len, .len = topic.len - prefix.len},
        .of_broker = true,
        .most_qos = QOS_MAX
    };
    const struct bytes name = bytes_of(topic.data + prefix.len, topic.len - prefix.len);
    *valid = !is_taken(n, n->n_ways, UINT32_MAX, name);
    return true;
}

/* The first valid reading; of client `c`, if that is not NULL, the first that it has asked for, at
 * `*qos`. `*n_fit`: how many ways fit. Its text is at the end of router.down. */
static bool read_topic(struct router *r, const struct naming *n, const struct client *c,
                       unsigned broker, struct bytes topic, struct reading *out, uint8_t *qos,
                       unsigned *n_fit)
{
    bool found = false;
    *n_fit = 0;
    *qos = QOS_MAX;
    for (uint32_t i = 0; i <= n->n_ways; i++) {
        struct reading one;
        bool valid;
        const bool fits = i < n->n_ways ? read_by_way(r, n, i, broker, topic, &one, &valid)
                                        : read_by_prefix(r, n, broker, topic, &one, &valid);
        *n_fit += fits;
        if (!fits || found || !valid)
            continue;
        if (c != NULL && !wants_match(c, reading_text(r, &one, topic), qos))
            continue;
        found = true;
        *out = one;
        r->down.len += one.of_broker ? 0 : one.text.len;
    }
    return found;
}

/* ---- groups ---------------------------------------------------------------------------------- */

/* The group of recipients who know the message so; its text is kept with the first of them. NO_GROUP:
 * out of memory. */
static uint32_t group_get(struct router *r, const struct reading *name, size_t texts_before,
                          struct bytes topic)
{
    const struct bytes text = reading_text(r, name, topic);
    const bool same = bytes_equal(text, topic);
    for (size_t i = 0; i < r->n_groups; i++) {
        const struct group *g = &r->groups[i];
        const bool last = i + 1 == r->n_groups;
        if (g->same ? !same : !last || !bytes_equal(reading_text(r, &g->name, topic), text))
            continue;
        r->down.len = texts_before;
        return (uint32_t)i;
    }
    if (r->n_groups == r->cap_groups) {
        const size_t cap = r->cap_groups > 0 ? r->cap_groups * 2 : 8;
        struct group *grown = realloc(r->groups, cap * sizeof *grown);
        if (grown == NULL)
            return NO_GROUP;
        r->groups = grown;
        r->cap_groups = cap;
    }
    r->groups[r->n_groups] = (struct group){.name = *name, .same = same};
    return (uint32_t)r->n_groups++;
}

/* Finds the group for all clients of the naming, once per message. */
static void read_for_all(struct router *r, struct naming *n, unsigned broker, struct bytes topic)
{
    if (n->message == r->n_messages)
        return;
    n->message = r->n_messages;
    n->group = NO_GROUP;
    n->in_doubt = false;
    const size_t before = r->down.len;
    struct reading name;
    uint8_t qos;
    unsigned n_fit;
    if (!read_topic(r, n, NULL, broker, topic, &name, &qos, &n_fit))
        return;
    const struct bytes text = reading_text(r, &name, topic);
    n->in_doubt = n_fit > 1 || text.data[0] == '$';
    n->most_qos = name.most_qos;
    n->group = group_get(r, &name, before, topic);
}

/* NO_GROUP: there is no way to the client. */
static uint32_t group_of(struct router *r, unsigned broker, struct bytes topic,
                         struct sn_recipient *to)
{
    const struct client *c = router_client(r, to->client);
    if (c == NULL)
        return NO_GROUP;
    struct naming *n = c->naming;
    read_for_all(r, n, broker, topic);
    uint32_t group = n->group;
    uint8_t most = n->most_qos;
    if (group != NO_GROUP && (n->in_doubt || c->n_over > 0)) {
        const size_t before = r->down.len;
        struct reading name;
        uint8_t qos;
        unsigned n_fit;
        if (!read_topic(r, n, c, broker, topic, &name, &qos, &n_fit))
            return NO_GROUP;
        most = name.most_qos < qos ? name.most_qos : qos;
        group = group_get(r, &name, before, topic);
    }
    if (to->qos > most)
        to->qos = most;
    return group;
}

/* ---- entries --------------------------------------------------------------------------------- */

static bool recipients_reserve(struct router *r, size_t n)
{
    if (n <= r->cap_recipients)
        return true;
    struct sn_recipient *grown = realloc(r->recipients, 2 * n * sizeof *grown);
    if (grown == NULL)
        return false;
    r->recipients = grown;
    uint32_t *groups = realloc(r->group_of, n * sizeof *groups);
    if (groups == NULL)
        return false;
    r->group_of = groups;
    r->cap_recipients = n;
    return true;
}

/* The first half of router.recipients as they came, the second by groups. */
static void sort_recipients(struct router *r, size_t n)
{
    size_t first = n;
    for (size_t g = 0; g < r->n_groups; g++) {
        r->groups[g].first = first;
        first += r->groups[g].n;
        r->groups[g].n = 0;
    }
    for (size_t i = 0; i < n; i++) {
        if (r->group_of[i] == NO_GROUP)
            continue;
        struct group *g = &r->groups[r->group_of[i]];
        r->recipients[g->first + g->n++] = r->recipients[i];
    }
}

void router_on_message(struct router *r, unsigned broker, const struct sn_event *event)
{
    const struct bytes topic = event->message.topic;
    const size_t n = event->message.n_recipients;
    assert(r->n_groups == 0); /* the previous one must have been taken */
    if (!recipients_reserve(r, n)) {
        router_no_memory(r, "message");
        return;
    }
    r->n_messages++;
    r->down.len = 0;
    r->message = *event;
    bool lost = false;
    for (size_t i = 0; i < n; i++) {
        struct sn_recipient *to = &r->recipients[i];
        *to = event->message.recipients[i];
        to->delivery_id = 0; /* nobody is to be told */
        r->group_of[i] = group_of(r, broker, topic, to);
        if (r->group_of[i] == NO_GROUP)
            lost = true;
        else
            r->groups[r->group_of[i]].n++;
    }
    r->gauges.unroutable += lost;
    sort_recipients(r, n);
    while (r->next_group < r->n_groups && r->groups[r->next_group].n == 0)
        r->next_group++;
    if (r->next_group == r->n_groups)
        router_done_message(r);
}

bool router_peek_message(const struct router *r, struct sn_event *out)
{
    if (r->next_group >= r->n_groups)
        return false;
    const struct group *g = &r->groups[r->next_group];
    const struct bytes topic = r->message.message.topic;
    *out = r->message;
    out->message.recipients = &r->recipients[g->first];
    out->message.n_recipients = g->n;
    if (g->same)
        return true;
    out->message.topic = reading_text(r, &g->name, topic);
    out->message.journal = 0;
    return true;
}

/* Groups without recipients are left out: who was to be there has been asked, and said no. */
void router_done_message(struct router *r)
{
    do
        r->next_group++;
    while (r->next_group < r->n_groups && r->groups[r->next_group].n == 0);
    if (r->next_group < r->n_groups)
        return;
    r->n_groups = 0;
    r->next_group = 0;
}

void router_down_deinit(struct router *r)
{
    free(r->down.buf);
    free(r->groups);
    free(r->recipients);
    free(r->group_of);
}
