/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Inside sennet-sim: the world of simulated nodes and the modules that work on it.
 *
 *     sim.c         program: start, loop, end
 *     sim_args.c    command line             sim_plan.c, sim_scenario.c: what shall happen
 *     sim_node.c    what a node does         sim_publish.c: what it says
 *     sim_sleep.c   sleeping, waking up, and what is checked about that
 *     sim_net.c     sockets, epoll, and the air between
 *     sim_stick.c   an emulated coordinator in place of the sockets
 *     sim_broker.c  the other end: what arrives at the broker, commands from there
 *     sim_observer.c, sim_tap.c: seeing it cheaply
 *     sim_run.c     phases, scenario events, the end of a run
 *     sim_table.c   what is shown meanwhile  sim_report.c, sim_json.c: the ledger at the end
 *
 * One thread; Paho's threads only wake it. The clock is read once per wake-up.
 */
#ifndef SENNET_TOOLS_SIM_H
#define SENNET_TOOLS_SIM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <sys/socket.h>

#include "base/deadline.h"
#include "base/list.h"
#include "base/rng.h"

#include "tools/client.h"
#include "tools/sim_air.h"
#include "tools/sim_histogram.h"
#include "tools/sim_ledger.h"
#include "tools/sim_payload.h"
#include "tools/sim_plan.h"
#include "tools/sim_stick.h"

struct observer;
struct sim_broker;
struct sim_table;

enum node_state {
    NODE_OFF,
    NODE_WAITING, /* to be connected: in the queue, or after a failure */
    NODE_CONNECTING,
    NODE_SUBSCRIBING,
    NODE_ACTIVE,
    NODE_TALKING,        /* QoS -1 only: never connects */
    NODE_FALLING_ASLEEP, /* DISCONNECT with duration sent */
    NODE_ASLEEP,
    NODE_AWAKE,   /* PINGREQ sent */
    NODE_LEAVING, /* DISCONNECT sent */
    NODE_VANISHED,
    NODE_STATES
};

enum will_state {
    WILL_NONE,
    WILL_DUE,      /* vanished: must be seen at the broker */
    WILL_POSSIBLE, /* the connection broke in a way that the gateway may see differently */
    WILL_EARLY,    /* seen while we believed in the connection: perhaps we hear of its end next */
};

enum { NODE_TOPIC_MAX = SIM_NAME_MAX + 24 };

/* The one QoS 1/2 publication that a client may have open. */
struct node_open {
    bool is_open;
    int qos;
    uint64_t seq;
    int64_t sent_us;
    bool in_storm; /* sent while others were awake */
};

struct sim_node {
    struct snc *client; /* NULL while off or vanished */
    const struct sim_group *group;
    struct deadline due; /* at or before the earliest of all below and of the client */
    struct list queued;  /* waiting to connect */
    struct air_path path;
    uint32_t number;
    uint32_t incarnation; /* counts its sockets */
    int fd;               /* -1: none */
    enum node_state state;
    enum will_state will;
    bool has_connected; /* at least once */
    bool subscribed;
    int64_t connect_us;      /* first CONNECT of this attempt; 0: not connecting */
    int64_t retry_at_ms;     /* the next attempt to connect or subscribe */
    int64_t next_publish_us; /* INT64_MAX: never */
    int64_t next_command_us;
    int64_t hold_until_ms; /* told "congestion": silent until then */
    int64_t wake_ms;       /* asleep: until when */
    int64_t awake_us;      /* awake: since when */
    uint64_t wakes;
    uint64_t period_repeats; /* of our packets, when this awake period began */
    uint32_t round;          /* the last in which it was woken with all others */
    uint32_t commands_due;   /* to be sent while it sleeps */
    struct list commanded;   /* among those to whom some are due */
    bool resuming;           /* connects from sleep, to publish */
    uint32_t owed;           /* publications due that the window held back */
    uint64_t turn;           /* publications so far: picks QoS and topic when they are mixed */
    uint64_t commands;       /* so far */
    struct node_open open;
    /* for the table */
    uint64_t sent;
    uint64_t acknowledged;
    uint64_t arrived;
    uint64_t down;
    int64_t last_latency_us;
    struct payload last;
    struct node_open latest; /* latest publication of any QoS, to time its arrival */
    char topic[NODE_TOPIC_MAX];
};

enum run_phase {
    RUN_WAITING, /* for the broker */
    RUN_GOING,
    RUN_DRAINING, /* nothing new; waiting for what is under way */
    RUN_LEAVING,  /* DISCONNECT sent by all */
    RUN_ENDED,
};

struct sim_options {
    const char *gateway; /* HOST:PORT */
    const char *broker;  /* NULL: none */
    const char *scenario;
    const char *json;        /* NULL: none, "-": stdout */
    const char *others;      /* NULL: none */
    const char *of_sleepers; /* an option that was given and is for them; NULL: none */
    int observe_qos;
    bool connect_only;
    bool quiet;
    bool plain;
    struct sim_stick_options stick;
};

enum round_phase {
    ROUND_GATHERING,  /* until all sleep */
    ROUND_COMMANDING, /* until the broker has all commands */
    ROUND_SETTLING,   /* until the gateway should have them */
    ROUND_WAKING,     /* until all sleep again */
};

/* Nodes that sleep, over all groups. */
struct sim_sleep {
    struct list commanded;  /* nodes with commands due, each in its turn */
    uint32_t together;      /* nodes that wake together ... */
    uint32_t lying;         /* ... asleep now ... */
    uint32_t to_wake;       /* ... and not yet woken in this round */
    uint32_t commands_open; /* not answered by the broker */
    uint32_t rounds;        /* complete */

    enum round_phase phase;

    int64_t settled_ms;
    int64_t wake_us;           /* the round's */
    struct histogram awake_us; /* PINGREQ to PINGRESP */
    struct histogram round_us; /* from waking them to the last PINGRESP */
    struct histogram storm_us; /* PUBLISH to acknowledgement of those who do not sleep, meanwhile */
    uint64_t periods;          /* awake, ended by PINGRESP */
    uint64_t after_pingresp;   /* messages that came behind it */
    uint64_t unheard;          /* likewise, but the air or a repeated PINGREQ may be the reason */
    uint64_t unanswered;       /* awake periods without PINGRESP */
    uint64_t turned_away;      /* DISCONNECT in answer to PINGREQ */
    uint64_t reordered;        /* commands of QoS 1 or 2 */
    uint64_t unmarked;         /* commands that came twice without DUP */
    uint64_t marked;           /* with DUP, as QoS 1 may */
};

/* What is counted besides the ledgers. */
struct sim_counters {
    uint64_t connects;
    uint64_t connects_refused;
    uint64_t timeouts;
    uint64_t disconnected_by_gateway;
    uint64_t refused_congestion;
    uint64_t refused_topic;
    uint64_t refused_other;
    uint64_t skipped; /* due publications left out because the window never opened */
    uint64_t subscribe_refused;
    uint64_t wills_expected;
    uint64_t wills_seen;       /* of those expected */
    uint64_t wills_possible;   /* seen, of nodes of which it was not certain */
    uint64_t wills_unexpected; /* seen, of nodes that did not vanish */
    uint64_t corrupted;
    uint64_t misrouted; /* on a topic, or at a node, where it does not belong */
    uint64_t foreign;   /* arrived at our topics, but not ours */
    uint64_t commands_refused;
    uint64_t send_failures;
    uint64_t unreachable; /* ICMP: nobody listens there */
    uint64_t stalled_ms;  /* the machine did not run us when we wanted it to */
    uint64_t retransmissions;
    uint64_t gateway_duplicates; /* QoS 2 repetitions the clients recognised: no failure */
    uint64_t told_again;         /* topic ids that the node knew */
    uint64_t malformed;
    uint64_t unexpected;
};

struct sim {
    struct sim_options options;
    struct sim_plan plan;
    struct sim_node *nodes;
    uint32_t n_nodes;
    uint32_t run; /* tells our messages from another run's */
    struct rng rng;

    /* time */
    int64_t now_us;
    int64_t now_ms;
    int64_t start_us; /* of RUN_GOING */
    int64_t end_us;   /* of RUN_GOING, when over */
    struct deadlines deadlines;
    size_t next_event; /* of the plan */

    /* network */
    struct sockaddr_storage gateway;
    socklen_t gateway_len;
    int epoll_fd;
    int signal_fd;
    struct air air;
    struct sim_stick *stick; /* NULL: nodes have sockets */

    /* connecting */
    struct list connect_queue;
    uint32_t connecting; /* CONNECTs open */
    uint32_t connected;
    uint32_t ever_connected;
    uint32_t publishing; /* open publications */
    uint32_t in_state[NODE_STATES];
    struct sim_sleep sleep;
    int64_t all_connected_us;

    enum run_phase phase;
    int64_t phase_ms; /* since when */
    unsigned interrupts;
    bool drain_cut;            /* by its time or by the user, with something still under way */
    struct sim_broker *broker; /* NULL: none */
    struct observer *observer; /* NULL: the broker's client observes, or nobody */
    struct sim_table *table;   /* NULL: plain lines */

    struct ledger up;
    struct ledger down;
    struct histogram connack_us;
    struct histogram publish_us; /* to the acknowledgement */
    struct histogram arrival_us; /* to the broker, of the latest message of each node */
    struct sim_counters counters;
};

/* ---- sim_args.c ------------------------------------------------------------------------------ */

/* 0 to go on; otherwise -1 - exit code: everything has been said. */
int sim_args(struct sim *sim, int argc, char **argv);

/* ---- sim_node.c ------------------------------------------------------------------------------ */

void node_init(struct sim *sim, struct sim_node *n, uint32_t number, const struct sim_group *group);
void node_deinit(struct sim *sim, struct sim_node *n);

/* Switches it on: it connects as soon as the connect window allows. */
void node_start(struct sim *sim, struct sim_node *n);

/* Switches it off without a word. */
void node_vanish(struct sim *sim, struct sim_node *n);

/* Says DISCONNECT. */
void node_leave(struct sim *sim, struct sim_node *n);

void node_input(struct sim *sim, struct sim_node *n, struct bytes packet);
void node_due(struct sim *sim, struct sim_node *n);

/* Whatever the client machine has to say: events handled, packets sent, deadline armed. */
void node_pump(struct sim *sim, struct sim_node *n);

/* Lets nodes of the queue connect while the window is open. */
void nodes_connect(struct sim *sim);

const char *node_state_name(enum node_state state);

/* The only way to change a node's state: the figures of `sim` follow. */
void node_enter(struct sim *sim, struct sim_node *n, enum node_state state);

/* Its connection was lost: it tries again after a while. */
void node_wait_and_retry(struct sim *sim, struct sim_node *n);

/* ---- sim_sleep.c ----------------------------------------------------------------------------- */

void sleep_init(struct sim *sim);

/* Says DISCONNECT with a duration when nothing keeps the node awake. */
void sleep_if_idle(struct sim *sim, struct sim_node *n);

/* The gateway has agreed, or the awake period is over; the latter with or without PINGRESP. */
void sleep_begun(struct sim *sim, struct sim_node *n);
void sleep_pong(struct sim *sim, struct sim_node *n);
void sleep_unanswered(struct sim *sim, struct sim_node *n);

/* PINGREQ, or CONNECT if it is to publish. */
void sleep_wake(struct sim *sim, struct sim_node *n);

/* False when the node's radio is off; a packet that should not have come is counted. */
bool sleep_hears(struct sim *sim, const struct sim_node *n, struct bytes packet);

/* A command has come to a sleepy node. */
void sleep_judge(struct sim *sim, const struct sim_node *n, const struct snc_event *event, int qos,
                 bool is_repeated, bool is_late);

/* The node is no longer there to be commanded or woken. */
void sleep_forget(struct sim_node *n);

/* Commands and rounds. Call after every wake-up; and when it wants to be called at the latest. */
void sleep_step(struct sim *sim);
int64_t sleep_next_ms(const struct sim *sim);

/* At the end: sleepers come for what still waits for them, whatever they had planned. */
void sleep_hurry(struct sim *sim);

/* ---- sim_publish.c --------------------------------------------------------------------------- */

/* Publishes what is due and possible. */
void node_publish(struct sim *sim, struct sim_node *n);

/* The schedule after (re)connecting, or when the rate changed. */
void node_schedule(struct sim *sim, struct sim_node *n);

/* Sends it a command if one is due. */
void node_command(struct sim *sim, struct sim_node *n);

void node_published(struct sim *sim, struct sim_node *n, const struct snc_event *event);

/* ---- sim_net.c ------------------------------------------------------------------------------- */

/* Room for `n_nodes` sockets, epoll, signals. False when the system refuses (said on stderr). */
bool net_init(struct sim *sim);
bool net_watch_broker(struct sim *sim, int fd);
bool net_watch_observer(struct sim *sim, int fd, uint32_t events);
/* Readable, and writable if asked; again to change that. */
bool net_watch_stick(struct sim *sim, int fd, bool write);
void net_deinit(struct sim *sim);

/* "host:port", IPv6 in brackets. NULL when done, else why not. Blocks for the name service. */
const char *net_resolve(const char *text, int socktype, struct sockaddr_storage *out,
                        socklen_t *len);
bool net_open(struct sim *sim, struct sim_node *n);
void net_close(struct sim *sim, struct sim_node *n);
void net_send(struct sim *sim, struct sim_node *n, struct bytes packet);

/* Waits until something happens, at most until `until_ms`, and handles it. */
void net_wait(struct sim *sim, int64_t until_ms);
void net_read_clock(struct sim *sim);

/* ---- sim_broker.c ---------------------------------------------------------------------------- */

/* False when it could not be started (said on stderr). */
bool broker_start(struct sim *sim);
void broker_stop(struct sim *sim);

/* Handles everything that has come through the MQTT client. */
void broker_drain(struct sim *sim);

/* A message has arrived at the broker. */
void broker_arrival(struct sim *sim, struct bytes topic, struct bytes data);

/* What has to be subscribed to see them all. */
unsigned broker_filters(const struct sim *sim);
const char *broker_filter(const struct sim *sim, unsigned i);

/* Hands over the commands submitted since. */
void broker_flush(struct sim *sim);

/* Subscribed to everything. */
bool broker_ready(const struct sim *sim);

/* Connected or trying; with the last reason. */
const char *broker_trouble(const struct sim *sim);

/* Messages that the observer itself dropped, and times it lost the broker: with either, losses may
 * be its own. */
uint64_t broker_drops(const struct sim *sim);
uint64_t broker_gaps(const struct sim *sim);

/* Sends a command to the node. False when there is no connection to send it over. */
bool broker_command(struct sim *sim, struct sim_node *n);

/* ---- sim_observer.c --------------------------------------------------------------------------- */

/* False when the address is no good (said on stderr). */
bool observer_start(struct sim *sim);
void observer_stop(struct sim *sim);
void observer_ready_io(struct sim *sim);
void observer_advance(struct sim *sim);
int64_t observer_next_ms(const struct sim *sim);
bool observer_is_ready(const struct sim *sim);
const char *observer_trouble(const struct sim *sim);
uint64_t observer_gaps(const struct sim *sim);

/* ---- sim_run.c ------------------------------------------------------------------------------- */

/* Moves phases on, fires scenario events. Call after every wake-up. */
void run_step(struct sim *sim);

/* When run_step() wants to be called at the latest. */
int64_t run_next_ms(const struct sim *sim);
void run_interrupt(struct sim *sim);

/* Seconds of the phase in which nodes publish, so far or in all; never 0. */
double run_seconds(const struct sim *sim);

/* ---- sim_table.c ----------------------------------------------------------------------------- */

struct sim_table *table_new(struct sim *sim);
void table_free(struct sim_table *t);
void table_arrival(struct sim_table *t, struct bytes topic, struct bytes data);
void table_resize(struct sim_table *t);
void table_draw(struct sim *sim);
void progress_line(const struct sim *sim);

/* ---- sim_report.c, sim_json.c ---------------------------------------------------------------- */

/* True when nothing acknowledged was lost, nothing of QoS 2 came twice, and anything was done. */
bool report_verdict(const struct sim *sim);
void report_print(const struct sim *sim, FILE *out);

/* 0, or -errno. */
int report_json(const struct sim *sim, const char *file);

#endif
