/* SPDX-License-Identifier: Apache-2.0 */
/*
 * MQTT connections through Eclipse Paho, owned by a worker thread of ours (architecture: who calls
 * Paho, when, under which lock; docs/adr/0004). A connection has a worker of its own, or shares one
 * with a thousand others: its `host`.
 *
 *     loop thread:  mqtt_submit() ... mqtt_flush()   ->  bounded queue  ->  worker: every Paho call
 *     Paho threads: callbacks copy and push          ->  bounded inbox  ->  loop: mqtt_next_event()
 *
 * The worker connects, reconnects with capped exponential backoff and full jitter, keeps its own
 * send window, and never blocks the loop. While the connection is away submissions are refused at
 * once with UP_BUSY events; a PUBLISH comes back with it, message and all.
 *
 * With a store, messages of QoS 1 and 2 are committed before they are acknowledged to the broker,
 * and exchanges of QoS 2 go on in the next process (mqtt_keep.h); the broker's session is kept over
 * restarts. Without, what an earlier process left at the broker is wiped.
 */
#ifndef SENNET_GATEWAY_MQTT_H
#define SENNET_GATEWAY_MQTT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "broker/upstream.h"
#include "tls.h"

struct store;

/* Whose the session at the broker is, and what happens to it. */
enum mqtt_session {
    /* The gateway's: subscriptions are known to the process that made them. The first connection
     * wipes what another process has left, unless the store knows it; then it is kept. */
    MQTT_SESSION_OURS,
    /* A client's. What the broker has of it goes on; session_present is the broker's word. */
    MQTT_SESSION_KEPT,
    /* A client's. Wiped when the connection is made, and gone when it ends. */
    MQTT_SESSION_CLEAN,
};

/* Published by the broker when the connection ends without DISCONNECT. */
struct mqtt_will {
    struct bytes topic; /* a name without wildcards; len 0: no will */
    struct body *body;  /* NULL = empty; referenced */
    uint8_t qos;        /* 0..2 */
    bool retain;
};

enum mqtt_version { MQTT_AUTO, MQTT_5, MQTT_3_1_1 };

/* All strings are copied and kept for the life of the connection (Paho keeps pointers). */
struct mqtt_options {
    const char *address; /* "mqtt://host:port", with mqtts:// TLS, "ws://host:port/path", with
                                wss:// TLS; or several, separated by ", ", all of one kind */
    const char *proxy;   /* "http://host:port", through which they are reached, with anything before
                              an @; NULL = none */
    const char *proxy_login; /* "user:password"; NULL = none */
    const char *client_id;   /* 1..65535 octets of UTF-8 */
    const char *username;    /* NULL = none */
    const char *password;    /* NULL = none */
    unsigned keepalive_s;    /* 5..65535 */
    unsigned window;         /* requests given to Paho at once, 1..1000; default 200 */
    unsigned window_qos2;    /* PUBLISHes of QoS 2 among them; default 16. While its
                                max_inflight_messages (20) of QoS 2 are open, mosquitto acknowledges
                                and drops every further QoS 1 and 2 message of a 3.1.1 client */
    unsigned window_qos2_v5; /* the same with MQTT 5; default: three quarters of `window`, and never
                                more than those of what the broker says */
    uint8_t max_qos; /* 1 + the highest QoS of a PUBLISH; what has a higher one goes with this one.
                          Default 3. RabbitMQ 3.10 answers QoS 2 with PUBACK, which ends the
                          connection */
    unsigned max_queued;       /* messages waiting for the window; default 65536 */
    size_t max_queued_bytes;   /* their topics and payloads; default 64 MiB */
    unsigned max_inbox;        /* messages from the broker not yet taken; default 65536 */
    size_t max_inbox_bytes;    /* their topics and payloads; default 32 MiB */
    int64_t backoff_min_ms;    /* default 1 s */
    int64_t backoff_max_ms;    /* default 60 s */
    uint64_t seed;             /* of the jitter */
    int64_t primary_check_ms;  /* while another address than the first is in use: how often that is
                                 tried; 0: never. Default 5 min */
    bool cluster;              /* all addresses are of one broker, which has one session of ours */
    struct tls_options tls;    /* for mqtts:// */
    enum mqtt_version version; /* MQTT_AUTO: 5 or, with a broker that does not speak that, 3.1.1 */
    uint32_t session_expiry_s; /* MQTT 5: how long the broker keeps our session; default a day */
    uint32_t
        message_expiry_s; /* MQTT 5: messages are not worth delivering after so long; 0: always */
    unsigned user_properties; /* MQTT 5: 1 << enum origin_field of what goes with each message */
    const char *gateway;      /* for ORIGIN_GATEWAY; NULL: none */
    struct store *store;      /* of what must survive the process, or NULL; must outlive this */
    uint64_t sink; /* whose packets these are in the store; 0: the first broker's session */
    enum mqtt_session session;
    struct mqtt_will will;
    bool reconnect; /* by itself, with backoff; else only by mqtt_connect(). Default true */
    void *user;     /* for mqtt_user() */
};

struct mqtt_options mqtt_defaults(void);

struct mqtt;

/* ---- many connections, one worker --------------------------------------------------------------
 *
 *     woken:  while ((m = mqtt_host_next_ready(h)) != NULL)
 *                 some of: mqtt_next_event(m, &e)
 *     at the end of a turn:  mqtt_host_flush(h)
 *
 * Costs do not grow with the number of connections but with that of those to which something happens.
 */
struct mqtt_host;

struct mqtt_host_options {
    unsigned
        connects_at_once;    /* attempts to connect that are under way; those that take longer than
                                  a second do not count. 0: no limit */
    unsigned connects_per_s; /* that begin per second; 0: no limit */
};

/* 32 at once, 500 per second. */
struct mqtt_host_options mqtt_host_defaults(void);

/* Starts the worker. `wake(arg)` is called from foreign threads, whenever events wait and the loop has
 * not been woken since it last drained: it may do nothing but uv_async_send(). NULL when out of memory
 * or without threads. */
struct mqtt_host *mqtt_host_new(const struct mqtt_host_options *options, void (*wake)(void *arg),
                                void *arg);

/* Loop thread. A connection with events, or NULL when there is none. Call it until then: wake-ups
 * coalesce. What the caller leaves in a connection comes again after the others have had their turn. */
struct mqtt *mqtt_host_next_ready(struct mqtt_host *h);

/* Loop thread: mqtt_flush() of all connections that were submitted to, with one wake-up. */
void mqtt_host_flush(struct mqtt_host *h);

/* Loop thread: mqtt_stop() of all connections at once, with the same bounds, and the end of the
 * worker. */
bool mqtt_host_free(struct mqtt_host *h, int64_t drain_ms);

/* As mqtt_heartbeat_ms(). */
int64_t mqtt_host_heartbeat_ms(const struct mqtt_host *h);

/* ---- a connection ------------------------------------------------------------------------------ */

/* It begins to connect at once. With a `host`, which is drained by mqtt_host_next_ready(), the host's
 * `wake` counts and the one here is ignored. Without, it has a worker of its own: as mqtt_host_new().
 * NULL when out of memory or without threads. */
struct mqtt *mqtt_start(const struct mqtt_options *options, struct mqtt_host *host,
                        void (*wake)(void *arg), void *arg);

void *mqtt_user(const struct mqtt *m);

/* Loop thread. Tries now, and not when the backoff ends. Does nothing while there is a connection or
 * an attempt. */
void mqtt_connect(struct mqtt *m);

/* Loop thread. Ends the connection and forgets it: `m` must not be used any more, no event of it comes.
 * Without `abort`, what was submitted has two seconds to be answered, and DISCONNECT is sent: the broker
 * drops the will, unless it does not read for five seconds. With it the TCP connection is closed as it is, and the broker publishes the will. Does
 * not block: the host does the rest, and another connection of the same host with the same address and
 * client id begins when that is done. Only for connections that share a host. */
void mqtt_close(struct mqtt *m, bool abort);

/* Loop thread. Copies the request into the queue; when that is full, or the connection is away, the
 * refusal comes back as an event (UP_BUSY) after the next mqtt_flush(). A topic which brokers
 * answer by closing the connection comes back as UP_REFUSED. Cheap: no system call. */
void mqtt_submit(struct mqtt *m, const struct up_request *request);

/* Loop thread, once per batch of submissions: wakes the worker if there is something for it. */
void mqtt_flush(struct mqtt *m);

/* Loop thread. The next event, borrowed until the following call; false when the inbox is empty.
 * Drain it fully: wake-ups coalesce. UP_DISCONNECTED comes before the answers to what was open. */
bool mqtt_next_event(struct mqtt *m, struct up_event *out);

/* Loop thread. From now on the connection goes by these options: addresses, login, TLS, keep alive,
 * bounds and times. Its name, session, will, store and version stay. With `renew` a connection that there
 * is is ended, with DISCONNECT, as soon as nothing is under way and at the latest after some seconds, and
 * made anew at once, in the same session (if the broker is at the same address); an attempt that is waited for
 * begins at once, too. Without, they hold with the next one. Bounds of the queue hold now. 0, or -ENOMEM:
 * nothing has changed. */
int mqtt_change(struct mqtt *m, const struct mqtt_options *options, bool renew);

/* Loop thread. Stops: waits up to `drain_ms` for what was submitted, disconnects, joins the worker
 * and frees. Events not yet taken are lost. Blocks for at most drain_ms + 2 s: when Paho does not
 * return by then, the worker is left behind and frees everything itself,
 * should Paho ever return. `wake` is never called after this. False: that has happened, and the
 * store must not be closed. */
bool mqtt_stop(struct mqtt *m, int64_t drain_ms);

/* Any thread. Monotonic milliseconds (of uv_hrtime's clock) at which the worker last proved to be
 * alive; for the watchdog. */
int64_t mqtt_heartbeat_ms(const struct mqtt *m);

/* Figures for logs and status. */
struct mqtt_gauges {
    bool connected;
    uint64_t queued;      /* waiting for the window */
    uint64_t in_flight;   /* inside Paho */
    uint64_t connects;    /* successful ones since start */
    uint64_t inbox_drops; /* QoS 0 messages dropped because the inbox was full */
    uint64_t inbox_cuts;  /* connections cut so that the broker keeps a QoS 1 or 2 message which the
                             inbox, at four times its bounds, could not take */
    uint64_t no_memory;   /* answers and QoS 0 messages lost because malloc() failed */
};

/* Of all connections of the process: those ended because the broker had sent what is against the rules of
 * MQTT, and acknowledgements of nothing, which are passed over. */
struct mqtt_rule_gauges {
    uint64_t broken;
    uint64_t ignored;
};

struct mqtt_rule_gauges mqtt_rule_gauges(void);

struct mqtt_gauges mqtt_gauges(const struct mqtt *m);

/* The version which the Paho library linked in reports, e.g. "1.3.11", for --version. */
const char *mqtt_library_version(void);

#endif
