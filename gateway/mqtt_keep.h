/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What Paho keeps in our store, through its persistence interface (MQTTClientPersistence.h): of MQTT's
 * exactly-once exchanges all that must survive the process, and nothing else (docs/adr/0012).
 *
 *     kept      PUBLISHes of QoS 2 in both directions, and the PUBRELs sent
 *     not kept  QoS 1 (its repetition is allowed), and commands that wait inside Paho: what they
 *               carry is in the spool
 *
 * Paho calls these with its own lock held, and goes on when they return: so a PUBREC, a PUBREL or a
 * PUBLISH of QoS 2 leaves after its packet has been committed.
 */
#ifndef SENNET_GATEWAY_MQTT_KEEP_H
#define SENNET_GATEWAY_MQTT_KEEP_H

#include <MQTTClientPersistence.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include <MQTTAsync.h>

#include "broker/upstream.h"

struct item;
struct mqtt;
struct store;

enum { PACKET_IDS = 65536 };

/* One bit for each packet id. */
struct id_set {
    atomic_uchar bits[PACKET_IDS / 8];
};

/* A message that an earlier process gave to Paho, and that Paho will bring to its end. */
struct resumed {
    unsigned packet_id;
    uint64_t spooled; /* its number, 0 when it is in the spool no more */
};

struct keep {
    struct store *store; /* NULL: nothing is kept */
    MQTTClient_persistence calls;
    struct item *giving;     /* worker: being handed to Paho */
    atomic_bool creating;    /* Paho reads what is kept */
    atomic_bool forgetting;  /* the session is being wiped: what goes has not been delivered */
    struct id_set sent;      /* with a PUBLISH in the store, ... */
    struct id_set released;  /* ... with a PUBREL, too */
    struct id_set received;  /* PUBLISHes from the broker */
    struct resumed *resumed; /* under mqtt.lock */
    atomic_uint n_resumed;
};

void keep_init(struct mqtt *m, struct store *store);
void keep_deinit(struct mqtt *m);

/* Worker, before there is a handle. Is the broker's session the one that our packets belong to? If
 * not, they are forgotten; if so, they will be resumed, and fill the window. */
bool keep_recall(struct mqtt *m);
/* Worker, around making the handle: only then does Paho read what is kept. */
void keep_creating(struct mqtt *m, bool creating);
/* Worker. The broker's session is about to be wiped, and Paho's memory of it; ... */
void keep_wipe(struct mqtt *m);
/* ... that is done, and it begins anew. */
void keep_begin(struct mqtt *m);

/* Worker, around handing the item to Paho: its packet id becomes known in between. */
void keep_giving(struct mqtt *m, struct item *it);
/* Lock held. Paho has given up a spooled message of QoS 2. UP_IN_DOUBT: not for good, it goes on when
 * there is a connection again, and keep_on_delivered() will tell. UP_BUSY: the broker will not pass
 * on what it had of it. UP_OK: it most probably has. */
enum up_result keep_failed(struct mqtt *m, const struct item *it);

/* Paho's threads. The broker has no session of ours, though we had one: before UP_CONNECTED, what was
 * under way comes back to the spool. */
void keep_session_lost(struct mqtt *m);
void keep_on_delivered(void *context, MQTTAsync_token packet_id);
/* The key of a received PUBLISH that goes with the message, or NULL; `room` is for it. */
const char *keep_received_key(struct mqtt *m, int packet_id, char room[16]);

#endif
