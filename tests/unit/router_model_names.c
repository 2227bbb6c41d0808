/* SPDX-License-Identifier: Apache-2.0 */
/* Which topics, filters and routes there are in the model, and what they are called. */
#include <stdio.h>
#include <string.h>

#include <check.h>

#include "broker/router_topics.h"
#include "mqttsn/topic.h"
#include "unit/router_model.h"

char model_topics[MODEL_TOPICS][MODEL_TEXT];

const char *const model_filters[MODEL_FILTERS] = {
    "#", "+",   "+/#",   "+/+", "a/#",  "a/+",  "b/#",  "+/a",  "+/b/#", "a/+/a", "+/+/+", "a/b/#",
    "a", "a/b", "a/a/b", "b/b", "n0/#", "+/n0", "n1/+", "$S/#", "$S/a",  "b/+/a", "a/+/+", "n0/a",
};

const char *const model_ids[MODEL_NODES] = {"n0", "n1", "n/2"};

/* From, and what it may become: the first ones have no way back. */
static const struct {
    const char *from;
    const char *topics[5];
} shapes[] = {
    {"a/#",   {"all", NULL, "#", "b/#", "{client}/#"}       },
    {"+/b/#", {"a/b", NULL, "x/+/#", "{prefix}+/#", "+/#"}  },
    {"a/+",   {"a/one", NULL, "+", "{client}/+", "a/x/+"}   },
    {"+",     {"{client}", NULL, "a/+", "+/{client}", "+/a"}},
    {"#",     {"all", NULL, "{client}/#", "a/#", "n0/#"}    },
    {"a/b",   {"b", NULL, "x", "{client}", "a/a"}           },
    {"b/#",   {"all", NULL, "a/#", "b/x/#", "{prefix}a/#"}  },
    {"+/+/a", {"+", NULL, "+/+", "n0/+/+", "a/+/b/+"}       },
};

unsigned model_pick(struct model *m, unsigned n)
{
    return (unsigned)rng_below(&m->rng, n);
}

bool model_matches(const char *filter, const char *name, bool first)
{
    if (first && name[0] == '$' && (filter[0] == '+' || filter[0] == '#'))
        return false;
    if (strcmp(filter, "#") == 0)
        return true;
    const size_t f = strcspn(filter, "/");
    const size_t n = strcspn(name, "/");
    if (filter[0] != '+' && (f != n || strncmp(filter, name, f) != 0))
        return false;
    if (filter[f] == '\0' || name[n] == '\0')
        return filter[f] == name[n] || (name[n] == '\0' && strcmp(filter + f, "/#") == 0);
    return model_matches(filter + f + 1, name + n + 1, false);
}

/* ---- names ----------------------------------------------------------------------------------- */

void model_make_topics(void)
{
    static const char *const words[] = {"a", "b", "n0"};
    unsigned n = 0;
    for (unsigned i = 0; i < 3; i++) {
        snprintf(model_topics[n++], MODEL_TEXT, "%s", words[i]);
        for (unsigned k = 0; k < 3; k++) {
            snprintf(model_topics[n++], MODEL_TEXT, "%s/%s", words[i], words[k]);
            for (unsigned l = 0; l < 3; l++)
                snprintf(model_topics[n++], MODEL_TEXT, "%s/%s/%s", words[i], words[k], words[l]);
        }
    }
    static const char *const odd[] = {"$S/a", "$S", "a/", "/a", "a/$S/b", "b/$S"};
    for (unsigned i = 0; i < 6; i++)
        snprintf(model_topics[n++], MODEL_TEXT, "%s", odd[i]);
    ck_assert_uint_eq(n, MODEL_TOPICS);
}

static bool prefix_of(const struct model *m, unsigned node, char out[MODEL_TEXT])
{
    const bool own =
        m->prefix.glob != NULL && sn_glob_match(m->prefix.glob, bytes_str(model_ids[node]));
    const bool by_id = own && strstr(m->prefix.prefix, "{client}") != NULL;
    snprintf(out, MODEL_TEXT, "gw/%s", !own ? "" : by_id ? model_ids[node] : m->prefix.prefix);
    if (by_id)
        strncat(out, "/", MODEL_TEXT - strlen(out) - 1);
    return !by_id || strchr(model_ids[node], '/') == NULL;
}

/* What the route calls the topic; false: it has no name. */
static bool name_by(const struct model *m, const struct route *route, unsigned node,
                    const char *topic, char out[MODEL_TEXT])
{
    char prefix[MODEL_TEXT];
    const bool has_prefix = prefix_of(m, node, prefix);
    if (route == NULL || route->topic == NULL) {
        snprintf(out, MODEL_TEXT, "%s%s", prefix, topic);
        return has_prefix;
    }
    char to[MODEL_TEXT] = "";
    for (const char *at = route->topic; *at != '\0';) {
        const bool client = strncmp(at, "{client}", 8) == 0;
        const bool mount = strncmp(at, "{prefix}", 8) == 0;
        if ((client && strchr(model_ids[node], '/') != NULL) || (mount && !has_prefix))
            return false;
        const size_t len = strlen(to);
        snprintf(to + len, MODEL_TEXT - len, "%.*s", client || mount ? MODEL_TEXT : 1,
                 client  ? model_ids[node]
                 : mount ? prefix
                         : at);
        at += client || mount ? 8 : 1;
    }
    struct writer w = wr_to(out, MODEL_TEXT - 1);
    if (!topics_rewrite(bytes_str(route->from), bytes_str(to), bytes_str(topic), &w))
        return false;
    out[w.len] = '\0';
    return true;
}

static bool has(const struct route *route, unsigned node, const char *topic)
{
    return (route->client == NULL || sn_glob_match(route->client, bytes_str(model_ids[node]))) &&
           model_matches(route->from, topic, true);
}

/* One direction. */
static void name_one(const struct model *m, unsigned node, unsigned b, const char *topic, bool down,
                     struct model_name *out)
{
    char *name = down ? out->down : out->up;
    const struct route *first = NULL;
    bool any = false;
    for (unsigned i = 0; i < m->n_routes; i++) {
        const struct route *route = &m->routes[i];
        if (!(down ? route->down : route->up) || !has(route, node, topic))
            continue;
        any = true;
        if (first == NULL && (route->brokers >> b & 1) != 0)
            first = route;
    }
    name[0] = '\0';
    if (first == NULL && (any || b != 0))
        return;
    if (down)
        out->most_qos = first != NULL ? first->qos : -1;
    if (name_by(m, first, node, topic, name))
        return;
    name[0] = '\0';
    if (!down && (first == NULL || first->required))
        out->impossible = true;
}

void model_name(const struct model *m, unsigned node, unsigned b, const char *topic,
                struct model_name *out)
{
    *out = (struct model_name){.most_qos = -1};
    name_one(m, node, b, topic, false, out);
    name_one(m, node, b, topic, true, out);
}

void model_make_names(struct model *m)
{
    for (unsigned node = 0; node < MODEL_NODES; node++) {
        for (unsigned b = 0; b < MODEL_BROKERS; b++) {
            for (int t = 0; t < MODEL_TOPICS; t++)
                model_name(m, node, b, model_topics[t], &m->names[node][b][t]);
        }
    }
}

void model_make_routes(struct model *m)
{
    m->n_routes = model_pick(m, MODEL_ROUTES + 1);
    for (unsigned i = 0; i < m->n_routes; i++) {
        const unsigned shape = model_pick(m, sizeof shapes / sizeof shapes[0]);
        const unsigned topic = model_pick(m, 5);
        const unsigned direction = model_pick(m, 3);
        m->routes[i] = (struct route){
            .name = "r",
            .client = model_pick(m, 4) == 0 ? "n*0" : NULL,
            .from = shapes[shape].from,
            .brokers = 1 + model_pick(m, 3),
            .topic = shapes[shape].topics[topic],
            .qos = model_pick(m, 3) == 0 ? (int)model_pick(m, 2) + 1 : -1,
            .up = direction != 1,
            .down = direction != 0,
            .required = model_pick(m, 3) != 0,
        };
        if (topic == 0 && route_fault(&m->routes[i]) != NULL) {
            m->routes[i].up = true;
            m->routes[i].down = false;
        }
        if (route_fault(&m->routes[i]) != NULL)
            m->routes[i].topic = NULL;
        ck_assert_ptr_null(route_fault(&m->routes[i]));
    }
    static const char *const prefixes[] = {"", "p/", "{client}/"};
    m->prefix = (struct route_prefix){.glob = model_pick(m, 2) == 0 ? "n?" : NULL,
                                      .prefix = prefixes[model_pick(m, 3)]};
}
