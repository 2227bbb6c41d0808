/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What shall be simulated: groups of nodes, and events at given times. One table of settings serves
 * both the command line (--name value) and scenario files (name = value).
 */
#ifndef SENNET_TOOLS_SIM_PLAN_H
#define SENNET_TOOLS_SIM_PLAN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include "base/bytes.h"

#include "tools/sim_air.h"

enum {
    SIM_GROUPS_MAX = 64,
    SIM_EVENTS_MAX = 4096,
    SIM_NODES_MAX = 200000,
    SIM_NAME_MAX = 32,
    SIM_TOPIC_MAX = 128,
    SIM_ALL_GROUPS = -1,
    SIM_QOS_MIX = 3, /* besides -1..2 */
};

enum sim_topics { TOPICS_REGISTERED, TOPICS_PREDEFINED, TOPICS_SHORT, TOPICS_MIX };

struct sim_group {
    char name[SIM_NAME_MAX + 1];
    char id_prefix[SIM_NAME_MAX + 1]; /* also the first level of its topics */
    uint32_t nodes;
    uint32_t first; /* number of its first node */
    double rate;    /* messages per second and node */
    bool rate_max;  /* instead: the next as soon as the last is answered */
    int qos;        /* -1..2, SIM_QOS_MIX */
    enum sim_topics topics;
    uint16_t predefined_id;
    char predefined_topic[SIM_TOPIC_MAX + 1]; /* what the gateway's [topics] says for the id */
    char short_topic[3];
    uint32_t size; /* of payloads; shorter ones are padded */
    bool wills;
    bool clean;
    double downlink; /* commands per second to each node */

    bool sleepy; /* publishes only when it wakes up; `rate` means nothing */
    int64_t sleep_ms;
    int64_t wake_jitter_ms;      /* 0..this is added */
    bool wake_together;          /* when all such nodes sleep and have their commands */
    uint32_t commands_per_sleep; /* to each node */
    uint32_t wake_publish;       /* every n-th time it wakes to publish; 0: never */

    uint16_t keep_alive_s;
    int64_t retry_ms;
    uint32_t retry_count;
    struct air_settings air;
};

enum sim_action { ACTION_VANISH, ACTION_RECONNECT, ACTION_DISCONNECT, ACTION_RATE };

struct sim_event {
    int64_t at_ms;
    int group; /* index, or SIM_ALL_GROUPS */
    enum sim_action action;
    uint32_t count; /* this many of each group; 0: all */
    double rate;    /* ACTION_RATE */
    bool rate_max;
};

struct sim_plan {
    struct sim_group defaults; /* of the groups that follow */
    struct sim_group *groups;
    size_t n_groups;
    struct sim_event *events; /* by time */
    size_t n_events;
    int64_t duration_ms; /* TIME_NEVER: until interrupted */
    int64_t drain_ms;
    uint64_t seed;
    bool has_seed;
    uint32_t connect_window; /* CONNECTs open at once */
    uint32_t rounds;         /* of waking together, after which the run ends; 0: no matter */
    int64_t p99_ms;    /* no acknowledgement may take longer while others wake; 0: no matter */
    bool gateway_dies; /* it is killed meanwhile: the broker may send a command once more */
};

/* Why something was not understood, for people. */
struct sim_why {
    char text[200];
};

/* Defaults: no group, no event. */
void plan_init(struct sim_plan *plan);
void plan_deinit(struct sim_plan *plan);

/* Applies one setting to `g`. False, with the reason, when the name or value is not understood. */
bool plan_group_setting(struct sim_group *g, struct bytes name, struct bytes value,
                        struct sim_why *why);

/* Likewise for what concerns the whole run: seconds, drain, seed, connect-window, rounds, p99. */
bool plan_run_setting(struct sim_plan *plan, struct bytes name, struct bytes value,
                      struct sim_why *why);

/* Whether a setting of that name exists for groups or for the run. */
bool plan_knows(struct bytes name);

/* Whether it is one of the run. */
bool plan_is_of_run(struct bytes name);

/* "10s", "250ms", "2m", or a bare number of `unit_ms`. */
bool plan_duration(struct bytes text, int64_t unit_ms, int64_t *out_ms);

/* A copy of `from` under a new name, at the end. NULL, with the reason, when there are too many or
 * the name is taken. */
struct sim_group *plan_add_group(struct sim_plan *plan, const struct sim_group *from,
                                 struct bytes name, struct sim_why *why);

/* Reads a scenario; errors go to `errors` as "file:line: error: text", all of them. Returns how
 * many there were. */
int plan_read(struct sim_plan *plan, const char *file, FILE *in, FILE *errors);

/* Numbers the nodes, sorts the events. False, with the reason, when there are none or too many, or
 * settings contradict each other. */
bool plan_finish(struct sim_plan *plan, struct sim_why *why);

uint32_t plan_nodes(const struct sim_plan *plan);

/* Whether anything is sent to the nodes of the group from the broker. */
bool plan_commands(const struct sim_group *g);

/* The duration that its sleepers announce: whole seconds, never less than they sleep. */
uint16_t plan_sleep_s(const struct sim_group *g);

#endif
