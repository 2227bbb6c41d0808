/* SPDX-License-Identifier: Apache-2.0 */
/* Inside the application: app.c (what happens in a turn of the loop), app_start.c, app_stop.c. */
#ifndef SENNET_GATEWAY_APP_PRIV_H
#define SENNET_GATEWAY_APP_PRIV_H

#include <stdbool.h>
#include <stdint.h>

#include <uv.h>

#include "base/log.h"

#include "app.h"
#include "broker_watch.h"
#include "config_change.h"
#include "disk_room.h"
#include "disk_watch.h"
#include "logsink.h"
#include "notify.h"
#include "pump.h"
#include "tls_print.h"

enum { APP_SIGNALS = 4 };

struct stopping {
    const char *why; /* NULL: not stopping */
    int64_t until_ms;
    int64_t step_ms;
    int64_t busy_ms; /* when something was last under way */
    uint64_t refused;
};

/* One [broker], and its shared session. */
struct app_broker {
    struct sink sink;
    struct broker_watch watch;
    struct tls_print tls; /* of the files that its connections are made with */
    bool answered;        /* or is known not to */
};

/* SIGHUP: the files are read by a thread of libuv's pool, which has this while it is `busy`. */
struct reloading {
    uv_work_t work;
    struct config *wanted;
    struct tls_print tls[ROUTER_BROKERS_MAX]; /* of its brokers, by number there, then as here */
    char *said;                               /* what is wrong with it */
    size_t said_len;
    int code; /* of config_load_again() */
    bool busy;
    bool again; /* when that is done */
};

struct app {
    struct config *config; /* in effect */
    struct config *first;  /* as the process was started; the caller's */
    const struct config_overrides *overrides;
    struct reloading reload;
    uv_loop_t loop;
    uv_timer_t timer;
    uv_async_t wake;
    uv_signal_t signals[APP_SIGNALS];
    struct link **links;
    uint64_t *kernel_drops; /* by link, as last said */
    int64_t kernel_drops_ms;
    struct pump pump;
    const char **link_names; /* as the store has them */
    struct logsink sink;
    struct log_ring log;
    struct capture_file capture;
    struct notify notify;
    struct disk_watch disk;
    struct disk_room room;
    struct app_broker *brokers; /* by index */
    struct hmap own_ids;        /* nodes' own sessions, by broker and client id */
    struct hash_seed own_seed;
    struct app_routes *routes;        /* as the router has them, or will */
    struct app_routes *routes_before; /* while restoring: of the process before; NULL: the same */
    bool routes_unsaved;              /* for the next process */
    int64_t settle_ms;                /* when to look whether they can be; TIME_NEVER: no need to */
    const char *broker_names[ROUTER_BROKERS_MAX];
    struct stopping stop;
    int64_t started_ms;
    int64_t watchdog_ms; /* next beat */
    int64_t minute;      /* since 1970, as told to the pump */
    int64_t minute_ms;   /* when the next one begins; TIME_NEVER: nobody wants to know */
    int64_t ready_ms;    /* when links start at the latest; TIME_NEVER once they have */
    int64_t armed_ms;    /* what the timer is set to */
    bool in_batch;
    unsigned unanswered; /* brokers of whose first attempt nothing is known yet */
};

/* ---- app.c: the callbacks that starting hands out -------------------------------------------- */

/* Every wake-up is one turn: read the clocks, feed the machines, hand the results to the system, arm
 * the timer. */
void app_turn_begin(struct app *a);
void app_turn_end(struct app *a);

void app_on_packet(void *owner, const struct peer *from, const struct link_signal *signal,
                   struct bytes packet);
void app_on_group_packet(void *owner, const struct peer *from, struct bytes packet);
void app_on_group(void *owner, uint16_t link, bool joined);
void app_on_outcome(void *owner, const struct peer *to, enum stick_outcome outcome);
void app_on_up(void *owner, uint16_t link, bool up);
void app_on_limit(void *owner, uint16_t link, uint32_t max_packet_bytes);
void app_on_batch_end(void *owner);
void app_on_link_event(void *owner, uint16_t link, int level, const char *event, const char *text);
void app_on_wake(uv_async_t *wake);
void app_on_broker(void *owner, const struct sink *sink, const struct up_event *event);
void app_on_orphan(void *owner, uint64_t sink, uint64_t n);
void app_on_store_state(void *owner, const char *why);
void app_on_signal(uv_signal_t *handle, int number);
void app_say_status(struct app *a);

/* ---- app_start.c ------------------------------------------------------------------------------- */

/* Called from foreign threads. */
void app_foreign_wake(void *arg);
/* What every connection to that broker has in common; strings are borrowed. */
struct mqtt_options app_mqtt_options(const struct app *a, const struct config_broker *b);
/* The same of the shared session at broker number `broker`. */
struct mqtt_options app_shared_options(const struct app *a, size_t broker);
/* Where there are several brokers, all that the ring says is about that one. */
void app_log_about(const struct app *a, unsigned broker, struct log_ring *ring);
/* What the configuration wants to go with messages. */
void app_take_origins(struct app *a);
void app_warn_insecure(struct app *a, const struct config_broker *b);

/* ---- app_stop.c -------------------------------------------------------------------------------- */

/* Ends everything that has begun, and frees it. */
void app_finish(struct app *a);
/* What the application's own log holds is written now. */
void app_take_log(struct app *a);

/* ---- app_routes.c ------------------------------------------------------------------------------ */

/* The number of the broker with that name; c->n_brokers: there is none. */
size_t app_broker_of(const struct config *c, const char *name);
/* Of `from`, by the numbers that brokers and links have in `here`. NULL: out of memory. */
struct app_routes *app_routes_new(const struct config *from, const struct config *here);
void app_routes_free(struct app_routes *r);
/* Borrowed. */
void app_routes_fill(const struct app_routes *r, struct router_config *out);
/* Before there is a router. 0 or -ENOMEM. */
int app_routes_begin(struct app *a);
/* All has been restored; what the brokers have since the process before is to be called as it is now. 0 or
 * -ENOMEM. */
int app_routes_restored(struct app *a);
/* They are others now, and brokers may still go by the old ones. */
void app_routes_changed(struct app *a);
/* A broker is connected. */
void app_routes_connected(struct app *a);
/* If it is time for that: are they saved? */
void app_routes_settle(struct app *a);

/* ---- app_spool.c ------------------------------------------------------------------------------- */

/* What a spool for that broker goes by, but for its seed. `memory`: octets of messages that it keeps in
 * memory; 0: it is the shared session's, with the default. */
struct spool_config app_spool_config(const struct app *a, unsigned broker, size_t memory);
/* Do messages for that broker go through spools? */
bool app_wants_spool(const struct app *a, unsigned broker);
/* NULL when out of memory. `memory`: octets of messages that it keeps in memory, 0: the default. */
struct spool *app_new_spool(const struct app *a, unsigned broker, const struct hash_seed *seed,
                            size_t memory);
/* From now on the pump knows the time of day, if it is of interest. */
void app_begin_minutes(struct app *a);
/* In every turn, so that a clock that was set shows at once. */
void app_tell_minute(struct app *a);

/* ---- app_own.c: pump.own and its like ---------------------------------------------------------- */

struct sink *app_own(void *owner, unsigned broker, uint64_t client, struct bytes client_id,
                     bool *refused);
struct sink *app_own_again(void *owner, uint64_t number, uint64_t client);
bool app_own_command(void *owner, struct sink *sink, const struct own_command *command);
void app_own_over(void *owner, struct sink *sink);
/* All of them, when their connections have ended. */
void app_own_free(struct app *a);
/* The configuration in effect has changed: at the brokers of `changed` for all, at others for those whose
 * own login has. Connections of `renewed` are made anew. */
void app_own_reload(struct app *a, const struct config_changes *changes);

/* ---- app_reload.c ------------------------------------------------------------------------------ */

/* SIGHUP. What comes of it is in the log. */
void app_reload(struct app *a);
/* Whatever is left of it, at the end. */
void app_reload_free(struct app *a);

#endif
