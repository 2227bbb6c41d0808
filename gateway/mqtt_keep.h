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
#include "mqtt_ids.h"

struct item;
struct mqtt;
struct store;

enum { KEEP_KEY_ROOM = 32 };

/* A message that an earlier process gave to Paho, and that Paho will bring to its end. */
struct resumed {
    unsigned packet_id;
    uint64_t spooled; /* its number, 0 when it is in the spool no more */
};

struct keep {
    struct store *store; /* NULL: nothing is kept */
    uint64_t sink;
    MQTTClient_persistence calls;
    struct item *giving;     /* worker: being handed to Paho */
    unsigned version;        /* of what an earlier process left; 0: nothing */
    atomic_uint creating;    /* Paho reads what is kept, of this version; 0: it does not */
    atomic_uint serving;     /* the version that Paho's handle is for */
    atomic_bool forgetting;  /* the session is being wiped: what goes has not been delivered */
    struct id_set sent;      /* with a PUBLISH in the store, ... */
    struct id_set released;  /* ... with a PUBREL, too */
    struct id_set received;  /* PUBLISHes from the broker */
    struct resumed *resumed; /* under mqtt.lock */
    atomic_uint n_resumed;

    /* Paho's receiving thread, between its calls and our callback, with MQTT 5. */
    struct {
        char key[KEEP_KEY_ROOM]; /* "" = none */
        unsigned id;
        uint8_t *packet;
        size_t len;
    } arriving; /* a PUBLISH of QoS 2 that is not stored yet: that happens along with its message */

    struct {
        char key[KEEP_KEY_ROOM];
        char released[KEEP_KEY_ROOM]; /* of its PUBREL; "" = none */
        unsigned id;
    } leaving; /* a PUBLISH that is over: whether the broker took it is told in a moment */
};

void keep_init(struct mqtt *m, struct store *store);
void keep_deinit(struct mqtt *m);

/* Worker, before there is a handle. Is the broker's session the one that our packets belong to, and
 * are these of `version` (Paho's number; 0: of any, but one)? If not, they are forgotten; if so, they
 * will be resumed, and fill the window. Sets the version that they are of, 0 when there are none. */
bool keep_recall(struct mqtt *m, unsigned version);
/* Worker. Nothing is kept, nor under way inside Paho. */
bool keep_is_empty(struct mqtt *m);
/* Worker, around making the handle: only then does Paho read what is kept. */
void keep_creating(struct mqtt *m, unsigned version);
/* Worker. The broker's session is about to be wiped, and Paho's memory of it; ... */
void keep_wipe(struct mqtt *m);
/* ... that did not come about; ... */
void keep_spare(struct mqtt *m);
/* ... or is done, and it begins anew. */
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
/* Commits a message from the broker, with what becomes of its packet: the received PUBLISH is not
 * needed any more (3.1.1) or from now on (5). Returns the journal number. */
uint64_t keep_message(struct mqtt *m, const struct up_event *event, int packet_id);
/* There is no room for it: Paho keeps the message itself, the packet must be known, too. */
void keep_unheard(struct mqtt *m);
/* What the broker says of a message that it has answered: MQTT 5 can refuse them. */
void keep_gone(struct mqtt *m, bool delivered);

#endif
