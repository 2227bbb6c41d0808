/* SPDX-License-Identifier: Apache-2.0 */
/* A store in a directory of its own, and what it holds as text. */
#ifndef SENNET_TESTS_UNIT_STORE_WORLD_H
#define SENNET_TESTS_UNIT_STORE_WORLD_H

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

#include "store.h"

struct store_world {
    char dir[64]; /* "": in memory */
    struct store_options options;
    struct store *s;
    char error[512];
    pthread_mutex_t lock;
    pthread_cond_t woken;
    unsigned wakes;
};

/* A directory, and default options for it, but without an intent log. */
void world_init(struct store_world *w);
/* Closes what is open, and removes the directory. */
void world_deinit(struct store_world *w);

/* What store_open() said. */
int world_try_open(struct store_world *w);
void world_open(struct store_world *w);
void world_close(struct store_world *w);
void world_reopen(struct store_world *w);

/* "dir/name", in one of a few buffers. */
const char *world_path(const struct store_world *w, const char *name);
/* One statement by a connection of its own; the first column of the first row as text, "" if none. */
const char *world_sql(const struct store_world *w, const char *sql);

/* Flushes and waits until that is committed. */
void world_commit(struct store_world *w);
void world_wait_batch(struct store_world *w, uint64_t batch);
/* The next event, which must come and be of that type. */
struct store_event world_event(struct store_world *w, enum store_event_type type);
struct store_event world_fetch(struct store_world *w, uint64_t after, unsigned n, size_t max_bytes);

/* All that store_load() gives, a line each; valid until the next call. */
const char *world_load(struct store_world *w);
/* Closes, opens, loads. */
const char *world_reload(struct store_world *w);

/* ---- records --------------------------------------------------------------------------------- */

void put_session(struct store_world *w, uint64_t client, const char *client_id);
void put_topic(struct store_world *w, uint64_t client, uint16_t topic_id, const char *name);
void put_exchange(struct store_world *w, uint64_t client, uint16_t msg_id);
void put_subscription(struct store_world *w, uint64_t client, const char *filter, uint8_t qos);
void put_delivery(struct store_world *w, uint64_t client, uint64_t number, uint64_t journal,
                  const char *text);
/* The same, worth delivering for so long. */
void put_expiring(struct store_world *w, uint64_t client, uint64_t number, uint64_t journal,
                  const char *text, int64_t expiry_s);
void put_spool(struct store_world *w, uint64_t client, uint64_t number, const char *text);
void put_routed(struct store_world *w, uint64_t journal);
/* SESSION_GONE, TOPIC_GONE, EXCHANGE_GONE, DELIVERY_GONE, SPOOL_GONE. */
void put_gone(struct store_world *w, enum sn_record_type type, uint64_t client, uint64_t key);

uint64_t world_message(struct store_world *w, const char *topic, const char *text);

#endif
