/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Inside the engine: what the conversations tell the store (record.h), and what must be stored
 * before a client may hear of it. Part of engine_priv.h.
 *
 * A conversation records what it has changed, and says sn_journal_bind() when what it tells the
 * client next would be wrong after a restart that had forgotten the change. From then on nothing
 * leaves for that client before the batch of this moment is committed. Without `journal` all of
 * these do nothing.
 */
#ifndef SENNET_MQTTSN_JOURNAL_H
#define SENNET_MQTTSN_JOURNAL_H

#include "base/parcels.h"

#include "mqttsn/record.h"

struct sn_engine;
struct sn_client;
struct sn_topic;
struct sn_up_entry;
struct sn_message;
struct sn_profile;

/* What is on its way to the store (journal.c). */
struct sn_journal {
    struct parcels records;
    uint64_t batch;       /* of the records taken now */
    uint64_t bound;       /* the latest that somebody was told something of */
    uint64_t floor;       /* records were not taken in the batch in which they were made */
    uint64_t last_number; /* of a DELIVERY */
    uint32_t next_slot;   /* everything is being recorded: whose turn it is */
    uint32_t n_reopening; /* clients */
    uint32_t first_generation;
    uint64_t left_out;
    bool exhausted; /* an allocation has failed */
    bool everything;
    bool spooling; /* the gateway takes QoS 2 over before the broker has it */
};

void sn_journal_init(struct sn_engine *e);
void sn_journal_deinit(struct sn_engine *e);

/* What the client hears from now on rests on what is recorded in this entry of the engine, before
 * or after; something must be. */
void sn_journal_bind(struct sn_engine *e, struct sn_client *c);
/* ... or by the broker side, a moment ago. Records something if nothing else was: a batch without
 * records would never be committed. */
void sn_journal_bind_to_all(struct sn_engine *e, struct sn_client *c);
/* The batch that a packet queued with `after` waits for, now that it is taken. */
uint64_t sn_journal_after(const struct sn_engine *e, uint64_t after);

/* The broker side has accepted the client's connection: the session begins, or goes on. Binds. */
void sn_journal_accepted(struct sn_engine *e, struct sn_client *c);
/* Something in the session's row has changed ... */
void sn_journal_session(struct sn_engine *e, struct sn_client *c);
/* ... or perhaps its state has. */
void sn_journal_state(struct sn_engine *e, struct sn_client *c);
/* A DISCONNECT of the client (`sleep_s` 0: for good) is about to be answered. Binds if that is not
 * what the store knows already. */
void sn_journal_leaving(struct sn_engine *e, struct sn_client *c, uint16_t sleep_s);
/* The session is no more, nor anything under its key. */
void sn_journal_discarded(struct sn_engine *e, struct sn_client *c);
/* A msg id of ours is taken for the client. */
void sn_journal_msg_id(struct sn_engine *e, struct sn_client *c);

/* A topic's id, `given`, the way it is delivered, or what the client knows of it has changed. */
void sn_journal_topic(struct sn_engine *e, const struct sn_client *c, const struct sn_topic *t);
void sn_journal_topic_gone(struct sn_engine *e, const struct sn_client *c,
                           const struct sn_topic *t);

/* A PUBLISH of QoS 2 was forwarded, or the broker side has it. */
void sn_journal_forwarded(struct sn_engine *e, struct sn_client *c, struct sn_up_entry *x);
void sn_journal_received(struct sn_engine *e, struct sn_client *c, struct sn_up_entry *x);
/* The exchange is complete, refused, or gives way. */
void sn_journal_exchange_gone(struct sn_engine *e, const struct sn_client *c,
                              struct sn_up_entry *x);

/* A message has come to wait for the client. */
void sn_journal_queued(struct sn_engine *e, const struct sn_client *c, struct sn_message *m);
/* The head of its queue has got further at QoS 2. Binds. */
void sn_journal_phase(struct sn_engine *e, struct sn_client *c);
void sn_journal_message_gone(struct sn_engine *e, const struct sn_client *c,
                             const struct sn_message *m);

/* ---- restore.c ------------------------------------------------------------------------------- */

/* The session under its old key. NULL: out of memory. The key must be free. */
struct sn_client *sn_client_restore(struct sn_engine *e, struct bytes client_id,
                                    const struct sn_profile *profile, uint64_t key);
/* All keys that come back are there: new ones go on behind. */
void sn_slots_restored(struct sn_engine *e);
/* Gives it that id, as it had before; later ones go on behind. */
void sn_topic_set_id(struct sn_engine *e, struct sn_client *c, struct sn_topic *t, uint16_t id);
/* An EXCHANGE row; false when there is no place for it. */
bool sn_up_restore(struct sn_engine *e, struct sn_client *c, const struct sn_record *row);

/* The broker side answers an OPEN of sn_engine_restored(). May end the session. */
void sn_on_reopened(struct sn_engine *e, struct sn_client *c, const struct sn_event *event);
void sn_on_closed(struct sn_engine *e, struct sn_client *c);
/* It is not waited for any more. */
void sn_reopening_over(struct sn_engine *e, struct sn_client *c);
/* The broker is there: asks for all that have not been answered. O(clients), if there are any. */
void sn_reopen_all(struct sn_engine *e);
/* A row was left out when it was restored: the store shall forget it. */
void sn_journal_left_out(struct sn_engine *e, const struct sn_record *row);

#endif
