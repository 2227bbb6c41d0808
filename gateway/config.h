/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The configuration: one strict file, read into one immutable value. gateway.conf.example documents
 * every key; config_schema.c is the one table behind parsing, checking, --print-config and the man
 * page. Dialect: docs/adr/0008 and gateway.conf(5).
 */
#ifndef SENNET_GATEWAY_CONFIG_H
#define SENNET_GATEWAY_CONFIG_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include "base/log.h"

#include "broker/pace.h"
#include "broker/router.h"
#include "broker/spool.h"
#include "mqttsn/engine.h"
#include "radio/link.h"
#include "store.h"
#include "tls.h"

/* What a new value of a key takes, in a process that goes on (config_change.h). */
enum config_effect {
    CONFIG_NEEDS_RESTART,
    CONFIG_TAKES_EFFECT,     /* at once */
    CONFIG_NEEDS_CONNECTION, /* the same, with another connection to the broker, in the same session */
};

/* The first one is where everything goes that no route sends elsewhere. */
struct config_broker {
    char *name; /* NULL: [broker] alone, which is called CONFIG_BROKER_NAME */
    char
        *address; /* mqtt://host:port, ws://host:port/path, or several of them, separated by ", " */
    char *proxy;  /* http://host:port, with *** in place of a login; NULL = none */
    char *proxy_login; /* user:password, which stood in there; NULL = none */
    char *client_id;   /* default "sennet-<gateway name>" */
    char *username;    /* NULL = none */
    char *password_file;
    char *password; /* content of password_file without its line end; NULL = none */
    unsigned keepalive_s;
    unsigned window;
    unsigned window_qos2;    /* not above window */
    unsigned window_qos2_v5; /* 0: as the broker says */
    uint8_t max_qos;         /* 1 + QoS */
    unsigned max_queued;
    uint64_t max_queued_bytes;
    int64_t reconnect_min_ms;
    int64_t reconnect_max_ms;

    /* What leaves for it. */
    uint32_t rate_messages; /* per second; 0: any number */
    uint64_t rate_bytes;
    uint32_t collect_s; /* 0: messages leave at any time */
    char *quiet;        /* as written; NULL: none */
    struct pace_hours quiet_hours[PACE_HOURS_MAX];
    unsigned n_quiet;

    /* Of TLS; NULL = not given. The files are read by the connection, each time anew. */
    char *ca_file;
    char *ca_path;
    char *crl_file;
    char *cert_file;
    char *key_file;
    char *key_password_file;
    char *ciphers;
    char *alpn;
    char *psk_identity;
    char *psk_file;
    uint8_t tls_min; /* 1 + enum tls_version */
    enum sn_switch insecure;

    uint8_t version;           /* of MQTT: 1 + enum mqtt_version */
    uint32_t session_expiry_s; /* of MQTT 5 */
    uint32_t message_expiry_s; /* the same; 0: none */
    char *user_properties;     /* the same, as written; NULL: none */
    unsigned properties;       /* these: 1 << enum origin_field */
    int64_t primary_check_ms;
    enum sn_switch cluster;
    uint8_t sessions;    /* 1 + enum broker_sessions */
    char *own_client_id; /* template of the MQTT client id in sessions of a node's own */
};

/* Whether nodes share one MQTT session at a broker, or have one each. */
enum broker_sessions { SESSIONS_SHARED, SESSIONS_OWN };

/* Of a route. */
enum route_direction { ROUTE_BOTH, ROUTE_UP, ROUTE_DOWN };

/* What [broker] without a name is called, in routes and in the store. */
#define CONFIG_BROKER_NAME "default"

struct config_link {
    char *name;
    char *driver;
    char *listen;
    char *multicast; /* NULL: the link has no group */
    unsigned advertise_s;
    uint32_t max_packet_bytes;
    uint32_t receive_buffer_bytes;
    enum sn_switch qos_minus_one;

    /* Of sticks. Choices are one more than the value they stand for (struct port_config, struct
     * stick_config); 0 is never that of a choice: not said. */
    char *device;
    uint32_t baud; /* 0: what is usual for the driver */
    uint8_t flow_control;
    uint8_t dtr, rts;
    uint8_t channel; /* 0: as the stick has it */
    uint16_t pan_id; /* 0: as the stick has it */
    char *network_key_file;
    bool has_network_key;
    uint8_t network_key[STICK_KEY_BYTES]; /* the content of that file */
    enum sn_switch form_network;
    unsigned permit_join_s;
    uint8_t endpoint;
    uint16_t profile;
    uint16_t cluster;
    uint8_t api;
    uint8_t family;
    uint8_t framing;
    enum sn_switch forwarder;
    char *prefix; /* NULL: none; template */

    unsigned line; /* of the section, for later errors */
};

/* Choices are one more than the value they stand for (enum store_durability, enum spool_full). */
struct config_store {
    uint8_t durability;
    uint64_t max_bytes;
    int64_t linger_ms;
    uint64_t spool_messages;
    uint64_t spool_bytes;
    uint8_t spool_full;
    int64_t spool_age_ms;
    enum sn_switch spool_qos_0;
    unsigned spool_window;
};

/* `glob` is NULL for plain [topics]. Layout-compatible lists for sn_engine_config are built by
 * config_engine(). */
struct config_topics {
    char *glob;
    struct sn_predefined *entries; /* topics owned */
    size_t n_entries;
};

struct config_client {
    char *glob;
    struct sn_client_options options;

    /* On the broker side. Texts are templates; NULL: not said. */
    char *prefix;
    uint8_t sessions; /* 1 + enum broker_sessions; 0: as the broker's section says */
    char *mqtt_client_id;
    char *username;
    char *password_file;
    char *cert_file;
    char *key_file;
};

/* [route NAME]; choices are one more than the value they stand for. */
struct config_route {
    char *name;
    char *client; /* NULL: all */
    char *from;
    char *to;         /* as written: names of brokers */
    uint32_t brokers; /* the same, a bit for each */
    char *topic;      /* NULL: as it is */
    uint8_t qos;      /* 0: as it is */
    uint8_t retain;   /* 1 + enum route_retain */
    uint8_t direction;
    enum sn_switch required;
};

struct config {
    char *file; /* as given */

    struct {
        uint8_t id;
        char *name; /* default: host name, made safe for a client id */
        char *state_dir;
        char *prefix; /* NULL: none; template */
        char *pcap;   /* NULL: no capture */
        uint64_t pcap_limit;
        enum log_level log_level;
        bool log_json;
        int64_t retry_interval_ms;
        int64_t retry_min_ms;
        int64_t retry_max_ms;
        unsigned retry_count;
        int64_t late_connect_ms;
        uint32_t max_clients;
        uint64_t max_memory_bytes;
        uint32_t max_waiting;
        uint32_t max_client_id;
        int64_t session_expiry_ms;
        int64_t gwinfo_delay_ms;
        int64_t drain_ms; /* how long SIGTERM waits for what is under way */
    } gateway;
    struct config_broker *brokers; /* at least one */
    size_t n_brokers;
    struct config_route *routes;
    size_t n_routes;
    struct config_store store;
    struct config_link *links; /* at least one */
    size_t n_links;
    struct config_topics *topics;
    size_t n_topics;
    struct config_client *clients;
    size_t n_clients;
};

/* CONFIG_BROKER_NAME of [broker] without a name. */
const char *config_broker_name(const struct config_broker *broker);

/* May any client have a session of its own? */
bool config_has_own(const struct config *c);

/* Reads `path` and the drop-ins of include_dir. Every error of every file goes to `errors` as
 * "file:line:column: error: text" (warnings likewise), in file order.
 *
 *   0                 *out is set; free with config_free()
 *   EXIT_NO_INPUT     the file can't be read (said on `errors`)
 *   EXIT_CONFIG       it has errors (all said)
 *   -ENOMEM
 *
 * Touches nothing: opens files for reading only. */
int config_load(const char *path, FILE *errors, struct config **out);

/* The same for a process that goes on: nothing that it could wait for is opened. */
int config_load_again(const char *path, FILE *errors, struct config **out);

void config_free(struct config *c);

/* What the command line says, whatever the file does. */
struct config_overrides {
    bool debug;
    bool has_format;
    bool json;        /* if has_format */
    const char *pcap; /* NULL: as the file says */
};

/* 0 or -ENOMEM. */
int config_override(struct config *c, const struct config_overrides *o);

/* Writes the effective configuration in the file's own dialect, secrets as ***. */
void config_print(const struct config *c, FILE *out);

/* What TLS toward this broker goes by, borrowing every string from it. */
struct tls_options config_tls_options(const struct config_broker *broker);

/* What the link of number `index` is opened with, borrowing every string from `c`; `stick` gets what
 * `out` points to. Seeds are the caller's. */
void config_radio(const struct config *c, size_t index, struct link_config *out,
                  struct stick_config *stick);

/* Those limits as the spool has them; the seed is the caller's. */
struct pace_config config_pace(const struct config_broker *broker);

/* A route as the router has it, borrowing every string. */
void config_route(const struct config_route *from, struct route *out);

/* The engine's part of it, borrowing every string from `c`. The arrays inside are allocated:
 * release with config_engine_free(). Seeds and log level are the caller's. 0 or -ENOMEM. */
int config_engine(const struct config *c, struct sn_engine_config *out);
void config_engine_free(struct sn_engine_config *ec);

#endif
