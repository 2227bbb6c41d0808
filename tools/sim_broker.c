/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The far end: sees what arrives at the broker, and sends commands to the nodes from there.
 *
 * Commands go through an MQTT client. Arrivals are seen by a tap with QoS 0 (sim_observer.c) unless
 * told otherwise: over one unbroken TCP connection that is exactly one copy of whatever the broker
 * got, and costs least. With --observe-qos 1 or 2 the client subscribes instead.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "mqtt.h"
#include "tools/sim.h"

enum {
    FILTERS_MAX = SIM_GROUPS_MAX * 4,
    INBOX_MESSAGES = 1 << 20,
    INBOX_BYTES = 256 << 20,
    BACKOFF_MAX_MS = 5000, /* what waits for it at the broker is wanted soon */
    STOP_DRAIN_MS = 500,
    TOKEN_QOS_SHIFT = 38,
    TOKEN_NODE_SHIFT = 40,
};

#define TOKEN_SEQ_MASK  ((UINT64_C(1) << TOKEN_QOS_SHIFT) - 1)
#define TOKEN_SUBSCRIBE UINT64_MAX

struct filter {
    char text[SIM_TOPIC_MAX + 1];
};

struct sim_broker {
    struct mqtt *m;
    int wake_fd;
    bool connected;
    bool is_dirty;       /* something was submitted since the last flush */
    unsigned unanswered; /* SUBSCRIBEs */
    unsigned n_filters;
    uint64_t gaps;
    char trouble[200];
    struct filter filters[FILTERS_MAX];
};

/* ---- life cycle ------------------------------------------------------------------------------ */

static void wake(void *arg)
{
    const struct sim_broker *b = arg;
    const uint64_t one = 1;
    /* A full counter wakes just as well. */
    if (write(b->wake_fd, &one, sizeof one) < 0)
        return;
}

static void add_filter(struct sim_broker *b, const char *prefix, const char *rest)
{
    struct filter f;
    snprintf(f.text, sizeof f.text, "%s%s", prefix, rest);
    for (unsigned i = 0; i < b->n_filters; i++) {
        if (strcmp(b->filters[i].text, f.text) == 0)
            return;
    }
    if (b->n_filters < FILTERS_MAX)
        b->filters[b->n_filters++] = f;
}

static void collect_filters(struct sim_broker *b, const struct sim_plan *plan)
{
    for (size_t i = 0; i < plan->n_groups; i++) {
        const struct sim_group *g = &plan->groups[i];
        add_filter(b, g->id_prefix, "/+/reading");
        if (g->wills)
            add_filter(b, g->id_prefix, "/+/will");
        add_filter(b, g->predefined_topic, "");
        add_filter(b, g->short_topic, "");
    }
}

static bool needs_client(const struct sim *sim)
{
    bool commands = false;
    for (size_t i = 0; i < sim->plan.n_groups; i++)
        commands = commands || plan_commands(&sim->plan.groups[i]);
    return commands || sim->options.observe_qos > 0;
}

static bool start_client(struct sim *sim)
{
    struct sim_broker *b = sim->broker;
    char client_id[SIM_NAME_MAX + 32];
    /* Two runs with one prefix would collide at the gateway anyway, so the prefix is the name. */
    snprintf(client_id, sizeof client_id, "sennet-sim-%s", sim->plan.groups[0].id_prefix);
    struct mqtt_options options = mqtt_defaults();
    options.address = sim->options.broker;
    options.client_id = client_id;
    options.keepalive_s = 60;
    options.max_inbox = INBOX_MESSAGES;
    options.max_inbox_bytes = INBOX_BYTES;
    options.backoff_max_ms = BACKOFF_MAX_MS;
    options.seed = sim->plan.seed;
    b->wake_fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
    b->m = b->wake_fd >= 0 ? mqtt_start(&options, NULL, wake, b) : NULL;
    if (b->m != NULL && net_watch_broker(sim, b->wake_fd))
        return true;
    fprintf(stderr, "sennet-sim: the MQTT client can't be started (%s)\n", strerror(errno));
    return false;
}

bool broker_start(struct sim *sim)
{
    struct sim_broker *b = calloc(1, sizeof *b);
    if (b == NULL) {
        fprintf(stderr, "sennet-sim: out of memory\n");
        return false;
    }
    b->wake_fd = -1;
    sim->broker = b;
    collect_filters(b, &sim->plan);
    snprintf(b->trouble, sizeof b->trouble, "no answer");
    if ((needs_client(sim) && !start_client(sim)) ||
        (sim->options.observe_qos == 0 && !observer_start(sim))) {
        broker_stop(sim);
        return false;
    }
    return true;
}

void broker_stop(struct sim *sim)
{
    struct sim_broker *b = sim->broker;
    if (b == NULL)
        return;
    observer_stop(sim);
    if (b->m != NULL) {
        /* The session outlives the connection; it must not go on collecting messages. */
        for (unsigned i = 0; b->connected && i < b->n_filters; i++) {
            mqtt_submit(b->m, &(struct up_request){.type = UP_UNSUBSCRIBE,
                                                   .token = TOKEN_SUBSCRIBE,
                                                   .topic = bytes_str(b->filters[i].text)});
        }
        mqtt_flush(b->m);
        mqtt_stop(b->m, STOP_DRAIN_MS);
    }
    if (b->wake_fd >= 0)
        close(b->wake_fd);
    free(b);
    sim->broker = NULL;
}

unsigned broker_filters(const struct sim *sim)
{
    return sim->broker->n_filters;
}

const char *broker_filter(const struct sim *sim, unsigned i)
{
    return sim->broker->filters[i].text;
}

static bool client_ready(const struct sim_broker *b)
{
    return b->m == NULL || (b->connected && b->unanswered == 0);
}

bool broker_ready(const struct sim *sim)
{
    return client_ready(sim->broker) && (sim->observer == NULL || observer_is_ready(sim));
}

const char *broker_trouble(const struct sim *sim)
{
    return client_ready(sim->broker) ? observer_trouble(sim) : sim->broker->trouble;
}

uint64_t broker_drops(const struct sim *sim)
{
    return sim->broker != NULL && sim->broker->m != NULL ? mqtt_gauges(sim->broker->m).inbox_drops
                                                         : 0;
}

uint64_t broker_gaps(const struct sim *sim)
{
    if (sim->observer != NULL)
        return observer_gaps(sim);
    return sim->broker != NULL ? sim->broker->gaps : 0;
}

void broker_flush(struct sim *sim)
{
    if (sim->broker->is_dirty)
        mqtt_flush(sim->broker->m);
    sim->broker->is_dirty = false;
}

/* ---- commands -------------------------------------------------------------------------------- */

static int command_qos(const struct sim_node *n)
{
    const int qos = n->group->qos;
    return qos >= 0 && qos <= 2 ? qos : (int)(n->commands % 3);
}

bool broker_command(struct sim *sim, struct sim_node *n)
{
    if (!sim->broker->connected)
        return false;
    const int qos = command_qos(n);
    const struct payload p = {.kind = PAYLOAD_COMMAND,
                              .qos = qos,
                              .node = n->number,
                              .run = sim->run,
                              .seq = ledger_next(&sim->down, n->number, qos)};
    uint8_t text[PAYLOAD_NATURAL_MAX];
    const size_t len = payload_write(text, sizeof text, &p, 0);
    char topic[NODE_TOPIC_MAX];
    snprintf(topic, sizeof topic, "%s/%u/command", n->group->id_prefix, (unsigned)n->number);
    struct body *body = body_new(bytes_of(text, len));
    if (body == NULL)
        return false;
    n->commands++;
    sim->sleep.commands_open++;
    ledger_sent(&sim->down, n->number, qos);
    const struct up_request request = {.type = UP_PUBLISH,
                                       .token = (uint64_t)n->number << TOKEN_NODE_SHIFT |
                                                (uint64_t)qos << TOKEN_QOS_SHIFT | p.seq,
                                       .topic = bytes_str(topic),
                                       .body = body,
                                       .qos = (uint8_t)qos};
    mqtt_submit(sim->broker->m, &request);
    body_unref(body);
    sim->broker->is_dirty = true;
    return true;
}

static void on_command_published(struct sim *sim, const struct up_event *event)
{
    const uint64_t node = event->token >> TOKEN_NODE_SHIFT;
    const int qos = (int)(event->token >> TOKEN_QOS_SHIFT & 3);
    const uint64_t seq = event->token & TOKEN_SEQ_MASK;
    if (sim->sleep.commands_open > 0)
        sim->sleep.commands_open--;
    if (node >= sim->n_nodes || event->result == UP_IN_DOUBT)
        return;
    if (event->result == UP_OK) {
        ledger_acknowledged(&sim->down, (size_t)node, qos, seq);
        return;
    }
    sim->counters.commands_refused++;
    ledger_refused(&sim->down, (size_t)node, qos, seq);
}

/* ---- what arrives ---------------------------------------------------------------------------- */

/* A reading belongs on the node's own topic, the predefined or the short one, its will on no other
 * than its will topic. */
static bool is_its_topic(const struct sim_node *n, const struct payload *p, struct bytes topic)
{
    const struct sim_group *g = n->group;
    if (p->kind == PAYLOAD_READING) {
        return bytes_equal(topic, bytes_str(n->topic)) ||
               bytes_equal(topic, bytes_str(g->predefined_topic)) ||
               bytes_equal(topic, bytes_str(g->short_topic));
    }
    char will[NODE_TOPIC_MAX];
    snprintf(will, sizeof will, "%s/%u/will", g->id_prefix, (unsigned)n->number);
    return p->kind == PAYLOAD_WILL && bytes_equal(topic, bytes_str(will));
}

static void on_will(struct sim *sim, struct sim_node *n)
{
    switch (n->will) {
    case WILL_DUE:
        sim->counters.wills_seen++;
        n->will = WILL_NONE;
        break;
    case WILL_POSSIBLE:
        sim->counters.wills_possible++;
        n->will = WILL_NONE;
        break;
    case WILL_NONE:
    case WILL_EARLY:
        sim->counters.wills_unexpected++;
        n->will = WILL_EARLY;
        break;
    }
}

static void on_reading(struct sim *sim, struct sim_node *n, const struct payload *p)
{
    if (ledger_arrived(&sim->up, n->number, p->qos, p->seq) != LEDGER_FIRST)
        return;
    n->arrived++;
    if (n->latest.is_open && n->latest.qos == p->qos && n->latest.seq == p->seq) {
        hist_add(&sim->arrival_us, sim->now_us - n->latest.sent_us);
        n->latest.is_open = false;
    }
}

void broker_arrival(struct sim *sim, struct bytes topic, struct bytes data)
{
    struct payload p;
    const enum payload_result result = payload_read(data, &p);
    if (result == PAYLOAD_CORRUPT) {
        sim->counters.corrupted++;
    } else if (result == PAYLOAD_FOREIGN || p.run != sim->run) {
        sim->counters.foreign++;
    } else if (p.node >= sim->n_nodes || !is_its_topic(&sim->nodes[p.node], &p, topic)) {
        sim->counters.misrouted++;
    } else if (p.kind == PAYLOAD_WILL) {
        on_will(sim, &sim->nodes[p.node]);
    } else {
        on_reading(sim, &sim->nodes[p.node], &p);
    }
    if (sim->table != NULL)
        table_arrival(sim->table, topic, data);
}

/* ---- the connection -------------------------------------------------------------------------- */

static void on_connected(struct sim *sim, const struct up_event *event)
{
    struct sim_broker *b = sim->broker;
    b->connected = true;
    /* With a tap it is there for commands only. */
    if (event->session_present || sim->observer != NULL)
        return;
    b->unanswered = b->n_filters;
    for (unsigned i = 0; i < b->n_filters; i++) {
        const struct up_request request = {.type = UP_SUBSCRIBE,
                                           .token = TOKEN_SUBSCRIBE,
                                           .topic = bytes_str(b->filters[i].text),
                                           .qos = (uint8_t)sim->options.observe_qos};
        mqtt_submit(b->m, &request);
    }
    b->is_dirty = true;
}

static void on_disconnected(struct sim *sim, const char *why)
{
    struct sim_broker *b = sim->broker;
    if (b->connected)
        b->gaps++;
    b->connected = false;
    snprintf(b->trouble, sizeof b->trouble, "%s", why != NULL ? why : "no reason given");
}

static void on_subscribed(struct sim *sim, const struct up_event *event)
{
    struct sim_broker *b = sim->broker;
    if (event->result == UP_OK && b->unanswered > 0)
        b->unanswered--;
    else if (event->result != UP_OK)
        snprintf(b->trouble, sizeof b->trouble, "the broker refuses a subscription");
}

void broker_drain(struct sim *sim)
{
    struct sim_broker *b = sim->broker;
    uint64_t count;
    if (read(b->wake_fd, &count, sizeof count) < 0 && errno != EAGAIN)
        return;
    struct up_event event;
    while (mqtt_next_event(b->m, &event)) {
        switch (event.type) {
        case UP_CONNECTED:
            on_connected(sim, &event);
            break;
        case UP_DISCONNECTED:
            on_disconnected(sim, event.why);
            break;
        case UP_PUBLISHED:
            on_command_published(sim, &event);
            break;
        case UP_SUBSCRIBED:
            on_subscribed(sim, &event);
            break;
        case UP_UNSUBSCRIBED:
            break;
        case UP_MESSAGE:
            broker_arrival(sim, event.topic, body_bytes(event.body));
            break;
        }
    }
}
