/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How a connection is made: to which of the addresses, with what options of Paho's. Worker thread,
 * but for what says otherwise.
 */
#ifndef SENNET_GATEWAY_MQTT_CONNECT_H
#define SENNET_GATEWAY_MQTT_CONNECT_H

#include <stdbool.h>
#include <stddef.h>

#include <MQTTAsync.h>

#include "dialer.h"
#include "paho_tls.h"
#include "paho_tunnel.h"
#include "resolver.h"

struct mqtt;

enum { DIAL_ANY_VERSION = 0 };

/* What an attempt that failed says about the version of MQTT. */
enum dial_verdict { DIAL_OTHER, DIAL_WRONG_VERSION, DIAL_CLOSED };

/* One of the addresses; constant. */
struct target {
    char *uri;          /* "mqtts://[2001:db8::1]:8883", "wss://broker.lan:443/mqtt" */
    const char *server; /* the same without scheme, points into it */
    char *host;         /* without port and brackets */
    char port[8];       /* "8883" */
    bool tls;
    bool usual_port;  /* of ws:// or wss:// */
    const char *path; /* of a WebSocket; NULL: none */
};

/* The way to all of them; constant. */
struct proxy {
    char *server; /* "proxy.lan:3128"; NULL: none */
    char *host;
    char port[8];
};

struct dial {
    struct target *targets; /* at least one */
    size_t n_targets;
    struct proxy proxy;
    size_t at;                    /* the one in use; changes under the lock */
    size_t session_at;            /* the one whose broker has our session, */
    bool has_session;             /* if any has */
    char ticket[PAHO_TICKET_MAX]; /* of the latest handshake; "" = none */
    unsigned version;             /* Paho's number for it, in use */
    unsigned created;             /* the one that the handle was made for; 0: there is none */
    bool created_tls;             /* and whether for TLS: there is no way back from that in Paho */
    unsigned refused;             /* bits of versions that the broker does not speak */
    unsigned closed;              /* attempts in a row that it ended without a word */
    unsigned keepalive_s;         /* ours, or what the broker demands; under the lock */
    enum dial_verdict verdict;    /* under the lock */
    bool unreached;               /* likewise: the attempt got no TCP connection */
    struct resolver_wait wait;
    struct dialer_job *job;            /* of a tunnel that is being made */
    char tunnel[PAHO_TUNNEL_NAME_MAX]; /* the latest one; "" = none */
};

/* Any thread. "mqtt://a:1883, mqtt://b:1883" as config_address_full() writes it, and "http://c:3128" or
 * NULL. 0 or -ENOMEM. */
int dial_init(struct dial *d, const char *addresses, const char *proxy);
void dial_deinit(struct dial *d);
/* Takes over the addresses, and the proxy, of another one that was only initialised. What is known of the
 * session stays, if its broker is among them. Under the lock. */
void dial_replace(struct dial *d, struct dial *from);

/* Any thread. */
const struct target *dial_target(const struct dial *d);

/* After an attempt has failed: the next address. True: it is worth one in this round. */
bool dial_next(struct mqtt *m);
/* The first address again. */
void dial_first(struct mqtt *m);
/* The broker at the address in use has our session now. */
void dial_settled(struct mqtt *m);
/* Would the session of the address in use be one that we have left behind, with what was under way in
 * it? */
bool dial_is_stale(const struct mqtt *m);
/* What the session is known by in the store, to be freed; NULL: out of memory. Is a stored one ours? */
char *dial_session_name(const struct mqtt *m);
bool dial_recall_session(struct mqtt *m, const void *name, size_t len);

/* Paho's number of the only version that is allowed, or DIAL_ANY_VERSION. */
unsigned dial_fixed_version(const struct mqtt *m);
/* Begins with this one, if any is allowed; 0: with the newest. */
void dial_begin(struct mqtt *m, unsigned version);
/* After an attempt has failed: goes over to the other version, if the broker may rather speak that.
 * True: it is worth an attempt at once. */
bool dial_other_version(struct mqtt *m);

/* Worker. The broker has refused the QoS of the will, or that it is retained: true when the next CONNECT has
 * a lesser one. */
bool dial_lesser_will(struct mqtt *m, uint8_t refusal);

/* True: the address can be tried. False: its host name has to be looked up first, and a note says when
 * that is done. */
bool dial_look_up(struct mqtt *m);
/* Then: EAI_x, 0 when there are addresses. */
int dial_lookup_error(const struct mqtt *m);
void dial_forget_lookup(struct mqtt *m);

/* ---- mqtt_tunnel.c: what has to be there before Paho connects --------------------------------- */

/* Is there anything? */
bool dial_needs_tunnel(const struct mqtt *m);
/* The host, and its port, that TCP goes to first. */
const char *dial_first_hop(const struct mqtt *m, const char **port);
/* The same, for texts: "proxy.lan:3128". */
const char *dial_first_server(const struct mqtt *m);
/* Once that is looked up: begins, and a note says when it is over. False: `why`. */
bool dial_begin_tunnel(struct mqtt *m, char *why, size_t why_size);
/* Then. False: `why`. */
bool dial_take_tunnel(struct mqtt *m, char *why, size_t why_size);
void dial_forget_tunnel(struct mqtt *m);
/* Does Paho do TLS? */
bool dial_paho_tls(const struct mqtt *m);
/* For Paho: where to connect to. */
const char *dial_paho_uri(const struct mqtt *m, char *room, size_t size);
/* The attempt for what the options say; NULL: `why`. */
struct tls_attempt *dial_tls_attempt(const struct mqtt *m, char *why, size_t why_size);

/* ---- mqtt_connect.c again -------------------------------------------------------------------- */

/* Is there a handle that can't be used, for its version or its TLS? */
bool dial_needs_other_handle(const struct mqtt *m);
/* Makes sure that there is a handle for the version in use. Paho's codes. */
int dial_create(struct mqtt *m, MQTTAsync *handle);

/* on_connected() or on_connect_failed() follows, if this is MQTTASYNC_SUCCESS. Else `why` may say why
 * not; when empty, only Paho's code does. */
int dial_connect(struct mqtt *m, MQTTAsync handle, bool clean, char *why, size_t why_size);

/* on_closed() follows. */
int dial_close(struct mqtt *m, MQTTAsync handle);

#endif
