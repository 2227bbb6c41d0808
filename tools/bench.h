/* SPDX-License-Identifier: Apache-2.0 */
/*
 * sennet-bench from the inside. One thread, one epoll: simulated nodes (air, nodes), MQTT connections
 * or the stub broker (wire, broker), the books (tally), what the system says of the gateway (probe),
 * and the cases that use all of them. It has to cost less than what it measures, so nothing here
 * allocates or scans per message.
 */
#ifndef SENNET_TOOLS_BENCH_H
#define SENNET_TOOLS_BENCH_H

#include <netinet/in.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <sys/types.h>

#include "base/list.h"

#include "tools/bench_air.h"
#include "tools/bench_tally.h"

enum {
    BENCH_NAME_MAX = 40,
    BENCH_NODES_MAX = 1000000,
    BENCH_CASES_MAX = 128,
    BENCH_POOL = 1000, /* messages of QoS 0 under way at most, of all nodes together */
    BENCH_POOL_PER_NODE = 10,
    BENCH_KEEP_ALIVE_S = 600,
    BENCH_WINDOW = 4000, /* nodes that connect at once, unless the user says otherwise */
    BENCH_REPEAT_MAX = 100,
    BENCH_ECHO_NODES = 100, /* at the raw limit */
};

#define BENCH_SECOND INT64_C(1000000000)

struct bench;
struct bench_case;
struct wire;

/* ---- what is wanted -------------------------------------------------------------------------- */

struct bench_options {
    const char *gateway; /* host:port */
    const char *broker;  /* host:port; NULL: none */
    int stub_port;       /* the tool is the broker, and listens here; -1: it isn't */
    pid_t pid;           /* of the gateway; 0: unknown */
    double seconds;
    double warm_seconds;
    unsigned repeat;
    uint32_t ports;   /* source ports at most; above that, nodes share them, by address */
    uint32_t crowd;   /* nodes that are connected besides, and idle */
    uint32_t window;  /* CONNECTs and wake-ups under way at once; 0: all */
    uint32_t size;    /* of payloads */
    const char *json; /* a file, "-" for stdout, or NULL */
    bool limits;      /* measure the raw limits as well */
    bool head;        /* of the table */
    const char *label;
};

enum bench_kind {
    KIND_ECHO,
    KIND_RAW,
    KIND_UP,
    KIND_DOWN,
    KIND_FAN,
    KIND_CONNECT,
    KIND_FLUSH,
    KIND_MEMORY,
    KIND_IDLE,
};

struct bench_result;

/* One row of the table of what can be measured. */
struct bench_figure {
    const char *name;
    const char *what;  /* for --help */
    const char *limit; /* the raw figure to compare with; NULL: none */
    void (*run)(struct bench *b, const struct bench_case *c, struct bench_result *r);
    enum bench_kind kind;
    int qos;          /* -1..2 */
    int observed_qos; /* raw: of the subscriber */
    bool variant;     /* echo: batched; memory: with a registration and a subscription */
    bool paced;       /* the number is messages a second, not nodes */
    uint32_t nodes;   /* unless the user says otherwise */
};

struct bench_case {
    const struct bench_figure *figure;
    uint32_t nodes;
    uint32_t rate; /* messages a second; 0: as fast as they are taken */
    char name[BENCH_NAME_MAX];
    int limit; /* index of the case to compare with; -1: none */
};

/* ---- what came out --------------------------------------------------------------------------- */

struct bench_result {
    double seconds;   /* of the measured part */
    double rate;      /* messages (connects, deliveries ...) a second in it */
    double cpu_us;    /* of the gateway (echo: of the echo server) per message; negative: unknown */
    double cpu_share; /* of one processor */
    double tool_us;   /* of this tool per message */
    double p50_us, p99_us, p999_us;
    double rss_kib;
    double bytes_per_node; /* memory: RSS that each node added */
    double wakeups;        /* idle: of all threads of the gateway, per second */
    double ratio;          /* of the limit's rate, or of its median latency; 0: none */
    uint64_t sent, arrived, lost, duplicated, reordered, misrouted, refused;
    uint64_t repeats; /* packets that a node or, to be seen by DUP, the gateway had to repeat */
    uint64_t gateway_drops; /* datagrams that the kernel dropped at the gateway's socket */
    uint64_t tool_drops;    /* and at others, which are ours */
    const char *trouble;    /* why there is no figure; NULL: there is */
};

/* ---- the world of a case --------------------------------------------------------------------- */

/* What a node still has to do, in this order. */
enum node_todo {
    TODO_CONNECT = 1,
    TODO_REGISTER = 2,
    TODO_SUBSCRIBE = 4,     /* to its own topic */
    TODO_SUBSCRIBE_ALL = 8, /* to the topic of all */
    TODO_SLEEP = 16,
    TODO_WAKE = 32, /* PINGREQ until PINGRESP */
    TODO_DISCONNECT = 64,
};

struct node {
    struct list waiting;  /* in bench.waiting while an answer is due, by the time of sending */
    int64_t asked_ns;     /* when */
    int64_t stamp_ns;     /* the time in the open PUBLISH */
    uint32_t sequence;    /* its number */
    uint16_t msg_id;      /* of what is open */
    uint16_t last_msg_id; /* given so far */
    uint16_t topic_id;    /* of what it publishes to */
    uint16_t down_id;     /* of what it subscribed to */
    uint16_t received_id; /* QoS 2 from the gateway that waits for PUBREL */
    uint8_t todo;         /* enum node_todo */
    uint8_t awaits;       /* enum sn_type; 0: nothing */
    uint8_t tries;
    bool holds_received;
};

/* How messages are kept coming. Of QoS 0 a window of all streams together may be under way, and
 * arrival makes room; of QoS 1 and 2 each stream has one under way, as MQTT-SN wants it. */
struct flow {
    enum bench_kind kind;
    int qos;
    bool open;
    bool pooled;
    bool by_arrival; /* one per stream: settled by its arrival, not by the sender's answer */
    uint32_t window; /* pooled: messages under way */
    uint32_t streams;
    uint32_t
        next; /* stream whose turn it is; at the beginning, of QoS 1 and 2, the next to begin */
    uint64_t given_up;  /* pooled: lost for good, as it seems */
    int64_t arrived_ns; /* latest arrival */
    uint32_t rate;      /* a second; 0: as fast as possible */
    int64_t begin_ns;   /* of that rate */
    uint64_t due;       /* messages sent at that rate */
};

struct bench {
    struct bench_options options;
    struct sockaddr_in gateway, broker;
    int epoll_fd;
    int64_t now_ns;      /* read after each wake-up */
    uint32_t run;        /* marks payloads of the present case */
    const char *trouble; /* the case can't go on */

    struct air air;
    struct node *nodes; /* the crowd comes behind the others */
    uint32_t n_nodes;
    struct list waiting;                       /* for answers, by the time of asking */
    uint32_t busy;                             /* nodes that have something to do, */
    uint32_t work_next, work_end, work_window; /* will have, and how many at once */
    unsigned work_todo;
    uint64_t repeats, refused, lost_nodes;

    struct wire *source; /* publishes */
    struct wire *sink;   /* receives; both may be the same */
    int stub_fd;         /* listening; -1: no stub */
    struct wire *stub;   /* the gateway's connection to it; NULL: none */
    unsigned stub_accepts;
    bool stub_lasts; /* it has been there for a while */

    struct flow flow;
    struct tally tally;
};

/* ---- topics ---------------------------------------------------------------------------------- */

enum { BENCH_TOPIC_MAX = 32 };

enum bench_topic { BENCH_UP, BENCH_DOWN, BENCH_ALL, BENCH_RAW };

struct bytes bench_topic(enum bench_topic kind, uint32_t stream, char text[BENCH_TOPIC_MAX]);

/* ---- time and events (bench_loop.c) ------------------------------------------------------------ */

int64_t bench_clock_ns(void);

enum bench_tag { TAG_AIR, TAG_WIRE, TAG_STUB };

/* False with errno. */
bool bench_watch(const struct bench *b, int fd, enum bench_tag tag, uint32_t index, bool writable);

/* One turn: waits up to `until_ns`, handles what came, sends what is due. */
void bench_step(struct bench *b, int64_t until_ns);

/* Turns until `done` says so. False when it was not by `until_ns`. */
bool bench_until(struct bench *b, bool (*done)(const struct bench *b), int64_t until_ns);

/* Turns until then. */
void bench_run_until(struct bench *b, int64_t until_ns);

/* ---- nodes (bench_node.c) -------------------------------------------------------------------- */

/* Nodes in the state of before CONNECT, with sockets to `peer` unless it is NULL. False with a message
 * on stderr. */
bool nodes_init(struct bench *b, uint32_t n, const struct sockaddr_in *peer);
void nodes_deinit(struct bench *b);

/* Gives nodes [first, first + n) work, `window` of them at a time, and waits until it is done. False
 * when it was not in time. */
bool nodes_work(struct bench *b, uint32_t first, uint32_t n, unsigned todo, uint32_t window,
                double seconds);

void node_begin(struct bench *b, uint32_t node, unsigned todo);

/* PUBLISHes the next message of the node; QoS 1 and 2 leave it busy. */
void node_publish(struct bench *b, uint32_t node, int qos, int64_t stamp_ns);

void node_input(void *bench, uint32_t node, struct bytes packet);

/* What has waited too long is said again. */
void nodes_advance(struct bench *b);
bool node_is_busy(const struct bench *b, uint32_t node);

/* ---- the flow of messages (bench_flow.c) ----------------------------------------------------- */

void flow_open(struct bench *b, const struct bench_case *c);
void flow_close(struct bench *b);

/* Sends whatever may be sent now. Returns when to call again, at the latest. */
int64_t flow_pump(struct bench *b);

/* Everything that was sent has arrived and is acknowledged. */
bool flow_is_dry(const struct bench *b);

/* The sender has its answer. */
void flow_settled(struct bench *b, uint32_t stream);

/* A message came to the broker's side. */
void flow_arrived(struct bench *b, struct bytes payload);
/* One came to a node. True when it is new. */
bool flow_arrived_at(struct bench *b, uint32_t node, struct bytes payload);
/* And the node has got rid of it. */
void flow_released(struct bench *b, uint32_t node);

/* ---- brokers (bench_broker.c) ---------------------------------------------------------------- */

/* Listens on the port of the options. False with a message on stderr. */
bool broker_listen(struct bench *b);

/* The connections that the figure needs: for what comes up, for what goes down, or, raw, both
 * between themselves. Sets trouble and returns false when there is no broker. */
bool broker_open(struct bench *b, const struct bench_figure *f);
void broker_close(struct bench *b);
void broker_ready(struct bench *b, enum bench_tag tag, uint32_t index);
void broker_flush(struct bench *b);

void broker_publish(struct bench *b, enum bench_topic topic, const struct bench_payload *p,
                    int qos);

/* PUBLISHes of the source that are not acknowledged. */
uint32_t broker_unacknowledged(const struct bench *b);

/* ---- what the system knows (bench_probe.c) --------------------------------------------------- */

struct probe {
    int64_t at_ns;
    int64_t cpu_ns;   /* of all threads of the process; -1: unknown */
    int64_t tool_ns;  /* of ours */
    int64_t switches; /* voluntary: how often its threads went to sleep, and so were woken */
    int64_t rss_kib;
    uint64_t udp_drops; /* at the gateway's port */
    uint64_t all_drops; /* of all sockets of this machine */
    uint64_t arrived;   /* of the tally */
};

struct probe probe_take(const struct bench *b, pid_t pid);

/* Waits until the gateway has had nothing to do for a moment. */
void probe_settle(struct bench *b, double seconds);

/* ---- cases (bench_case.c, bench_stream.c, bench_many.c, bench_echo.c) ------------------------ */

/* "up-1:100". NULL: done; otherwise why not. */
const char *case_parse(const char *text, struct bench_case *out);
void case_list(void);
/* Names the figure that this one is compared with; NULL: none. */
const char *case_limit(const struct bench_options *o, const struct bench_figure *f);

void run_case(struct bench *b, const struct bench_case *c, struct bench_result *r);
void run_echo(struct bench *b, const struct bench_case *c, struct bench_result *r);
void run_stream(struct bench *b, const struct bench_case *c, struct bench_result *r);
void run_connect(struct bench *b, const struct bench_case *c, struct bench_result *r);
void run_flush(struct bench *b, const struct bench_case *c, struct bench_result *r);
void run_memory(struct bench *b, const struct bench_case *c, struct bench_result *r);
void run_idle(struct bench *b, const struct bench_case *c, struct bench_result *r);

/* Between two probes, per message. */
void result_between(struct bench_result *r, const struct probe *from, const struct probe *to);
/* What the books say when all is over. */
void result_books(const struct bench *b, struct bench_result *r);
void result_drops(struct bench_result *r, const struct probe *from, const struct probe *to);

/* ---- results (bench_report.c) ---------------------------------------------------------------- */

/* Of several runs of one case: the middle one, with the losses of all. */
struct bench_result result_median(struct bench_result *results, unsigned n);
void report_head(const struct bench_options *o);
void report_row(const struct bench_case *c, const struct bench_result *r);
void report_json(FILE *to, const struct bench_options *o, const struct bench_case *c,
                 const struct bench_result *r);
/* Whether nothing went wrong that must not; otherwise why, on stderr. */
bool report_verdict(const struct bench_case *c, const struct bench_result *r);

/* ---- the command line (bench_args.c) --------------------------------------------------------- */

/* 0, or -1 - the exit status. */
int bench_args(struct bench *b, int argc, char **argv, struct bench_case *cases, unsigned *n_cases);

#endif
