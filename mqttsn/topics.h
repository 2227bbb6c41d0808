/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Inside the engine: a client's topic ids (topics.c), and what else only clients with topics have.
 * Part of engine_priv.h.
 */
#ifndef SENNET_MQTTSN_TOPICS_H
#define SENNET_MQTTSN_TOPICS_H

#include "base/list.h"

#include "mqttsn/engine.h"

struct sn_client;
struct sn_name;
struct sn_sub;
struct sn_topic_table;

struct sn_topic {
    struct list link; /* in topics.lent or topics.asked */
    struct sn_name *name;
    uint16_t id;         /* normal topic id, 0 while none is assigned */
    uint16_t alias;      /* predefined id or short name, by `kind` */
    uint16_t known_in;   /* connection in which the client knows `id`; 0 = in none */
    uint16_t refused_in; /* connection in which the client refused a REGISTER of it */
    uint8_t kind;        /* how the client wants it delivered: of its latest SUBSCRIBE */
    uint8_t n_subs;      /* open SUBSCRIBEs of it */
    bool given;          /* the client itself asked for `id` (REGACK, SUBACK), or has used it */
    bool in_lent;        /* where `link` is */
};

/* What a client has of topics and of SUBSCRIBEs; made with the first of these, kept until the session
 * is forgotten. */
struct sn_topics {
    struct ring lent;             /* registered by us alone, least recently used first */
    struct ring asked;            /* the others */
    struct sn_topic_table *table; /* of clients with many topics */
    struct sn_sub *subs;          /* open ones (subscribe.c) */
    uint16_t n;
    uint16_t n_ids;
    uint16_t next_index; /* into the ids, counted from engine.first_topic_id */
    uint16_t next_sub_token;
    uint16_t last_sub_msg_id; /* latest finished SUBSCRIBE, to repeat its SUBACK */
    uint16_t last_sub_topic_id;
    uint8_t last_sub_qos;
    bool has_last_sub;
    uint8_t n_subs;
};

/* The client's, made if need be; NULL: out of memory. */
struct sn_topics *sn_topics_of(struct sn_engine *e, struct sn_client *c);
void sn_topics_free(struct sn_engine *e, struct sn_client *c);

/* Finds or makes the client's entry for a name; at max_topics another one gives way: the least
 * recently used of those that the client has not asked for. NULL: there is none, or out of memory.
 */
struct sn_topic *sn_topic_get(struct sn_engine *e, struct sn_client *c, struct bytes text);
struct sn_topic *sn_topic_find(const struct sn_client *c, const struct sn_name *name);
/* Gives the entry a normal id if it has none. False: there is none left. O(1) until each has been
 * given once; then the next one that is not in use is searched for. */
bool sn_topic_assign_id(struct sn_engine *e, struct sn_client *c, struct sn_topic *t);
/* The entry with that normal id, or NULL. O(1). */
struct sn_topic *sn_topic_by_id(const struct sn_client *c, uint16_t id);
/* A message of this topic goes to the client. O(1). */
void sn_topic_used(struct sn_client *c, struct sn_topic *t);
/* To be called when `given`, `kind` or `n_subs` has changed: may it give way? O(1). */
void sn_topic_settle(struct sn_client *c, struct sn_topic *t);
void sn_topics_clear(struct sn_engine *e, struct sn_client *c);

#endif
