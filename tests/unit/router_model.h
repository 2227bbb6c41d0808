/* SPDX-License-Identifier: Apache-2.0 */
/* The world of test_router_model.c: a router, two shared sessions, two brokers, and nodes. */
#ifndef SENNET_TESTS_UNIT_ROUTER_MODEL_H
#define SENNET_TESTS_UNIT_ROUTER_MODEL_H

#include "base/rng.h"

#include "broker/router.h"
#include "broker/shared.h"

enum {
    MODEL_NODES = 3,
    MODEL_BROKERS = 2,
    MODEL_TOPICS = 45,
    MODEL_FILTERS = 24,
    MODEL_ROUTES = 5,
    MODEL_TEXT = 64,
    MODEL_WIRE = 4096,
};

extern char model_topics[MODEL_TOPICS][MODEL_TEXT];
extern const char *const model_filters[MODEL_FILTERS];

extern const char *const model_ids[MODEL_NODES];

/* How a topic of a node is called at a broker; empty: not at all. */
struct model_name {
    char up[MODEL_TEXT];
    char down[MODEL_TEXT];
    int most_qos;    /* downwards; -1: as it is */
    bool impossible; /* upwards: it must go there, and has no name */
};

struct model_sub {
    bool live;
    uint8_t granted;
};

struct model_node {
    uint64_t key;
    bool open;
    bool clean;
    bool opening;
    struct model_sub subs[MODEL_FILTERS];
    int asked[256]; /* by token: filter, or -1 */
    uint16_t next_token;
};

struct model_broker {
    bool up;
    char held[MODEL_WIRE / 8][MODEL_TEXT]; /* filters */
    unsigned n_held;
    struct up_event wire[MODEL_WIRE]; /* answers under way */
    unsigned n_wire;
};

struct model_heard {
    unsigned node;
    char topic[MODEL_TEXT];
    uint8_t qos;
};

struct model_seen {
    unsigned broker;
    char topic[MODEL_TEXT];
};

struct model_row {
    uint64_t client;
    char filter[MODEL_TEXT];
    uint8_t qos;
};

struct model {
    struct rng rng;
    int64_t now_ms;
    struct router *router;
    struct shared *shared[MODEL_BROKERS];
    struct model_broker brokers[MODEL_BROKERS];
    struct model_node nodes[MODEL_NODES];
    struct route routes[MODEL_ROUTES];
    struct route_prefix prefix;
    struct route lent[2][MODEL_ROUTES]; /* what the router borrows, and did before */
    struct route_prefix lent_prefix[2];
    unsigned lent_at;
    unsigned n_routes;
    struct model_name names[MODEL_NODES][MODEL_BROKERS][MODEL_TOPICS];
    struct model_heard heard[MODEL_NODES * 8];
    unsigned n_heard;
    struct model_seen seen[MODEL_BROKERS * 4];
    unsigned n_seen;
    int published; /* outcome of the latest, or -1 */
    struct model_row rows[MODEL_NODES * MODEL_FILTERS];
    unsigned n_rows;
};

unsigned model_pick(struct model *m, unsigned n);
/* Section 4.7, another wording than the one under test. */
bool model_matches(const char *filter, const char *name, bool first);

void model_name(const struct model *m, unsigned node, unsigned b, const char *topic,
                struct model_name *out);

void model_make_topics(void);
void model_make_routes(struct model *m);
void model_make_names(struct model *m);

/* Random routes and prefix; all brokers up, all nodes open. */
void model_begin(struct model *m, uint64_t seed);
void model_end(struct model *m);
void model_restart(struct model *m);
/* Other routes and another prefix, while all goes on. */
void model_change(struct model *m);

void model_open(struct model *m, unsigned node, bool clean);
void model_close(struct model *m, unsigned node);
void model_subscribe(struct model *m, unsigned node, unsigned filter, uint8_t qos);
void model_unsubscribe(struct model *m, unsigned node, unsigned filter);
/* And the brokers answer; m->seen, m->published. */
void model_publish(struct model *m, unsigned node, const char *topic, uint8_t qos);
/* Somebody publishes at the broker, at QoS 2; m->heard. */
void model_tell(struct model *m, unsigned broker, const char *topic);
void model_broker_answers(struct model *m, unsigned broker);
void model_lose_broker(struct model *m, unsigned broker);
void model_connect_broker(struct model *m, unsigned broker, bool session_present);
void model_pass_time(struct model *m, int64_t ms);
/* All brokers up, everything answered, everything that was put off done. */
void model_rest(struct model *m);

#endif
