/* SPDX-License-Identifier: Apache-2.0 */
/* The settings: one table behind the command line and the scenario files. */
#include "tools/sim_plan.h"

#include <errno.h>
#include <math.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"

#include "mqttsn/packet.h"
#include "mqttsn/topic.h"
#include "tools/sim_payload.h"

/* ---- values ---------------------------------------------------------------------------------- */

enum { VALUE_MAX = 128 };

static bool no(struct sim_why *why, const char *format, ...) __attribute__((format(printf, 2, 3)));

static bool no(struct sim_why *why, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    vsnprintf(why->text, sizeof why->text, format, args);
    va_end(args);
    return false;
}

static bool is(struct bytes text, const char *word)
{
    return bytes_equal(text, bytes_str(word));
}

/* A terminated copy for strtod() and friends. */
static bool terminated(struct bytes text, char out[VALUE_MAX])
{
    if (text.len == 0 || text.len >= VALUE_MAX || memchr(text.data, '\0', text.len) != NULL)
        return false;
    memcpy(out, text.data, text.len);
    out[text.len] = '\0';
    return true;
}

static bool number(struct bytes text, double min, double max, double *out)
{
    char copy[VALUE_MAX];
    if (!terminated(text, copy) || strspn(copy, "0123456789.eE+-") != text.len)
        return false;
    char *end;
    const double value = strtod(copy, &end);
    if (*end != '\0' || !isfinite(value) || value < min || value > max)
        return false;
    *out = value;
    return true;
}

static bool whole(struct bytes text, uint64_t min, uint64_t max, uint64_t *out)
{
    char copy[VALUE_MAX];
    if (!terminated(text, copy) || strspn(copy, "0123456789") != text.len)
        return false;
    errno = 0;
    const unsigned long long value = strtoull(copy, NULL, 10);
    if (errno != 0 || value < min || value > max)
        return false;
    *out = value;
    return true;
}

bool plan_duration(struct bytes text, int64_t unit_ms, int64_t *out_ms)
{
    static const struct {
        const char *suffix;
        int64_t ms;
    } units[] = {
        {"ms", 1      },
        {"s",  1000   },
        {"m",  60000  },
        {"h",  3600000}
    };

    for (size_t i = 0; i < sizeof units / sizeof units[0]; i++) {
        const struct bytes suffix = bytes_str(units[i].suffix);
        if (text.len > suffix.len &&
            memcmp(text.data + (text.len - suffix.len), suffix.data, suffix.len) == 0) {
            unit_ms = units[i].ms;
            text.len -= suffix.len;
            break;
        }
    }
    double value;
    if (!number(text, 0, 1e12 / (double)unit_ms, &value))
        return false;
    *out_ms = (int64_t)(value * (double)unit_ms + 0.5);
    return true;
}

static bool boolean(struct bytes text, bool *out)
{
    *out = is(text, "yes") || is(text, "on") || is(text, "true") || is(text, "1");
    return *out || is(text, "no") || is(text, "off") || is(text, "false") || is(text, "0");
}

/* A plain name: it becomes a client id and a topic level. */
static bool name_into(struct bytes text, char out[SIM_NAME_MAX + 1])
{
    if (text.len == 0 || text.len > SIM_NAME_MAX)
        return false;
    for (size_t i = 0; i < text.len; i++) {
        const uint8_t c = text.data[i];
        if (c <= ' ' || c >= 0x7f || c == '/' || c == '+' || c == '#' || c == '$')
            return false;
    }
    memcpy(out, text.data, text.len);
    out[text.len] = '\0';
    return true;
}

/* ---- settings of a group --------------------------------------------------------------------- */

typedef bool group_setter(struct sim_group *g, struct bytes value, struct sim_why *why);

static bool set_nodes(struct sim_group *g, struct bytes value, struct sim_why *why)
{
    uint64_t n;
    if (!whole(value, 1, SIM_NODES_MAX, &n))
        return no(why, "nodes must be a whole number from 1 to %d", SIM_NODES_MAX);
    g->nodes = (uint32_t)n;
    return true;
}

static bool rate_of(struct bytes value, double *rate, bool *max)
{
    *max = is(value, "max");
    if (*max)
        return true;
    return number(value, 0, 1e6, rate);
}

static bool set_rate(struct sim_group *g, struct bytes value, struct sim_why *why)
{
    if (!rate_of(value, &g->rate, &g->rate_max))
        return no(why, "rate must be messages per second and node (0 to 1000000), or max");
    return true;
}

static bool set_qos(struct sim_group *g, struct bytes value, struct sim_why *why)
{
    static const char *const words[] = {"-1", "0", "1", "2", "mix"};
    for (int i = 0; i < 5; i++) {
        if (is(value, words[i])) {
            g->qos = i - 1;
            return true;
        }
    }
    return no(why, "qos must be -1, 0, 1, 2 or mix");
}

static bool set_topics(struct sim_group *g, struct bytes value, struct sim_why *why)
{
    static const char *const words[] = {"registered", "predefined", "short", "mix"};
    for (unsigned i = 0; i < 4; i++) {
        if (is(value, words[i])) {
            g->topics = (enum sim_topics)i;
            return true;
        }
    }
    return no(why, "topics must be registered, predefined, short or mix");
}

static bool set_predefined(struct sim_group *g, struct bytes value, struct sim_why *why)
{
    const uint8_t *equals = value.len > 0 ? memchr(value.data, '=', value.len) : NULL;
    const size_t id_len = equals != NULL ? (size_t)(equals - value.data) : value.len;
    struct reader r = rd_of(value);
    uint64_t id;
    const bool valid = whole(rd_bytes(&r, id_len), SN_TOPIC_ID_MIN, SN_TOPIC_ID_MAX, &id);
    rd_u8(&r);
    const struct bytes topic = rd_rest(&r);
    if (!valid || topic.len > SIM_TOPIC_MAX || !sn_topic_name_ok(topic))
        return no(why, "predefined must be ID=TOPIC as in the gateway's [topics], e.g. "
                       "1=meters/reading");
    g->predefined_id = (uint16_t)id;
    memcpy(g->predefined_topic, topic.data, topic.len);
    g->predefined_topic[topic.len] = '\0';
    return true;
}

static bool set_short(struct sim_group *g, struct bytes value, struct sim_why *why)
{
    if (value.len != 2 || !sn_topic_name_ok(value))
        return no(why, "short must be a topic name of two characters");
    memcpy(g->short_topic, value.data, 2);
    return true;
}

static bool set_size(struct sim_group *g, struct bytes value, struct sim_why *why)
{
    uint64_t n;
    if (!whole(value, 0, PAYLOAD_SIZE_MAX, &n))
        return no(why, "size must be 0 to %d octets", PAYLOAD_SIZE_MAX);
    g->size = (uint32_t)n;
    return true;
}

static bool set_wills(struct sim_group *g, struct bytes value, struct sim_why *why)
{
    return boolean(value, &g->wills) || no(why, "wills must be yes or no");
}

static bool set_clean(struct sim_group *g, struct bytes value, struct sim_why *why)
{
    return boolean(value, &g->clean) || no(why, "clean must be yes or no");
}

static bool set_downlink(struct sim_group *g, struct bytes value, struct sim_why *why)
{
    return number(value, 0, 1e4, &g->downlink) ||
           no(why, "downlink must be commands per second to each node, 0 to 10000");
}

static bool set_sleepy(struct sim_group *g, struct bytes value, struct sim_why *why)
{
    return boolean(value, &g->sleepy) || no(why, "sleepy must be yes or no");
}

enum { SLEEP_MIN_MS = 100 };

static bool set_sleep(struct sim_group *g, struct bytes value, struct sim_why *why)
{
    if (!plan_duration(value, 1000, &g->sleep_ms) || g->sleep_ms < SLEEP_MIN_MS ||
        g->sleep_ms > UINT16_MAX * INT64_C(1000))
        return no(why, "sleep must be a duration of 100 ms to %d seconds", UINT16_MAX);
    return true;
}

static bool set_wake_jitter(struct sim_group *g, struct bytes value, struct sim_why *why)
{
    if (!plan_duration(value, 1000, &g->wake_jitter_ms) ||
        g->wake_jitter_ms > UINT16_MAX * INT64_C(1000))
        return no(why, "wake-jitter must be a duration of 0 to %d seconds", UINT16_MAX);
    return true;
}

static bool set_wake_together(struct sim_group *g, struct bytes value, struct sim_why *why)
{
    return boolean(value, &g->wake_together) || no(why, "wake-together must be yes or no");
}

static bool set_commands_per_sleep(struct sim_group *g, struct bytes value, struct sim_why *why)
{
    uint64_t n;
    if (!whole(value, 0, 100000, &n))
        return no(why, "commands-per-sleep must be 0 to 100000");
    g->commands_per_sleep = (uint32_t)n;
    return true;
}

static bool set_wake_publish(struct sim_group *g, struct bytes value, struct sim_why *why)
{
    uint64_t n;
    if (!whole(value, 0, 1000000, &n))
        return no(why, "wake-publish must be 0 (never), 1 (each time a node wakes up), 2 ...");
    g->wake_publish = (uint32_t)n;
    return true;
}

static bool set_keep_alive(struct sim_group *g, struct bytes value, struct sim_why *why)
{
    int64_t ms;
    if (!plan_duration(value, 1000, &ms) || ms / 1000 > UINT16_MAX)
        return no(why, "keep-alive must be 0 to %d seconds", UINT16_MAX);
    g->keep_alive_s = (uint16_t)(ms / 1000);
    return true;
}

static bool set_retry_interval(struct sim_group *g, struct bytes value, struct sim_why *why)
{
    if (!plan_duration(value, 1000, &g->retry_ms) || g->retry_ms < 10)
        return no(why, "retry-interval must be at least 10 ms, e.g. 10s");
    return true;
}

static bool set_retry_count(struct sim_group *g, struct bytes value, struct sim_why *why)
{
    uint64_t n;
    if (!whole(value, 0, 100, &n))
        return no(why, "retry-count must be 0 to 100");
    g->retry_count = (uint32_t)n;
    return true;
}

static bool set_id_prefix(struct sim_group *g, struct bytes value, struct sim_why *why)
{
    return name_into(value, g->id_prefix) ||
           no(why, "id-prefix must be 1 to %d printable characters without / + # $", SIM_NAME_MAX);
}

/* 0.05 or 5%. */
static bool probability(struct bytes value, double *out)
{
    const bool percent = value.len > 1 && value.data[value.len - 1] == '%';
    if (percent)
        value.len--;
    if (!number(value, 0, percent ? 100 : 1, out))
        return false;
    *out /= percent ? 100 : 1;
    return true;
}

static bool set_loss(struct sim_group *g, struct bytes value, struct sim_why *why)
{
    return probability(value, &g->air.loss) || no(why, "loss must be 0 to 1, or 0%% to 100%%");
}

static bool set_duplicate(struct sim_group *g, struct bytes value, struct sim_why *why)
{
    return probability(value, &g->air.duplicate) ||
           no(why, "duplicate must be 0 to 1, or 0%% to 100%%");
}

static bool set_latency(struct sim_group *g, struct bytes value, struct sim_why *why)
{
    return plan_duration(value, 1, &g->air.latency_ms) ||
           no(why, "latency must be a duration such as 20ms");
}

static bool set_jitter(struct sim_group *g, struct bytes value, struct sim_why *why)
{
    return plan_duration(value, 1, &g->air.jitter_ms) ||
           no(why, "jitter must be a duration such as 20ms");
}

static const struct {
    const char *name;
    group_setter *set;
} GROUP_SETTINGS[] = {
    {"nodes",              set_nodes             },
    {"rate",               set_rate              },
    {"qos",                set_qos               },
    {"topics",             set_topics            },
    {"predefined",         set_predefined        },
    {"short",              set_short             },
    {"size",               set_size              },
    {"wills",              set_wills             },
    {"clean",              set_clean             },
    {"downlink",           set_downlink          },
    {"sleepy",             set_sleepy            },
    {"sleep",              set_sleep             },
    {"wake-jitter",        set_wake_jitter       },
    {"wake-together",      set_wake_together     },
    {"commands-per-sleep", set_commands_per_sleep},
    {"wake-publish",       set_wake_publish      },
    {"keep-alive",         set_keep_alive        },
    {"retry-interval",     set_retry_interval    },
    {"retry-count",        set_retry_count       },
    {"id-prefix",          set_id_prefix         },
    {"loss",               set_loss              },
    {"duplicate",          set_duplicate         },
    {"latency",            set_latency           },
    {"jitter",             set_jitter            },
};

enum { N_GROUP_SETTINGS = sizeof GROUP_SETTINGS / sizeof GROUP_SETTINGS[0] };

static const char *const RUN_SETTINGS[] = {"seconds", "drain", "seed",        "connect-window",
                                           "rounds",  "p99",   "gateway-dies"};

bool plan_is_of_run(struct bytes name)
{
    for (size_t i = 0; i < sizeof RUN_SETTINGS / sizeof RUN_SETTINGS[0]; i++) {
        if (is(name, RUN_SETTINGS[i]))
            return true;
    }
    return false;
}

bool plan_knows(struct bytes name)
{
    for (size_t i = 0; i < N_GROUP_SETTINGS; i++) {
        if (is(name, GROUP_SETTINGS[i].name))
            return true;
    }
    return plan_is_of_run(name);
}

bool plan_group_setting(struct sim_group *g, struct bytes name, struct bytes value,
                        struct sim_why *why)
{
    for (size_t i = 0; i < N_GROUP_SETTINGS; i++) {
        if (is(name, GROUP_SETTINGS[i].name))
            return GROUP_SETTINGS[i].set(g, value, why);
    }
    return no(why, "unknown setting \"%.*s\"", (int)(name.len < 64 ? name.len : 64),
              (const char *)name.data);
}

/* ---- settings of the run --------------------------------------------------------------------- */

bool plan_run_setting(struct sim_plan *plan, struct bytes name, struct bytes value,
                      struct sim_why *why)
{
    uint64_t n;
    if (is(name, "seconds")) {
        if (!plan_duration(value, 1000, &plan->duration_ms))
            return no(why, "seconds must be a duration such as 60 or 2m");
        return true;
    }
    if (is(name, "drain"))
        return plan_duration(value, 1000, &plan->drain_ms) ||
               no(why, "drain must be a duration such as 10s");
    if (is(name, "seed")) {
        plan->has_seed = whole(value, 0, UINT64_MAX, &plan->seed);
        return plan->has_seed || no(why, "seed must be a whole number");
    }
    if (is(name, "connect-window")) {
        if (!whole(value, 1, SIM_NODES_MAX, &n))
            return no(why, "connect-window must be 1 to %d", SIM_NODES_MAX);
        plan->connect_window = (uint32_t)n;
        return true;
    }
    if (is(name, "rounds")) {
        if (!whole(value, 0, 1000000, &n))
            return no(why, "rounds must be 0 to 1000000");
        plan->rounds = (uint32_t)n;
        return true;
    }
    if (is(name, "p99"))
        return plan_duration(value, 1, &plan->p99_ms) ||
               no(why, "p99 must be a duration such as 200ms");
    if (is(name, "gateway-dies"))
        return boolean(value, &plan->gateway_dies) || no(why, "gateway-dies must be yes or no");
    return no(why, "unknown setting \"%.*s\" of the run", (int)(name.len < 64 ? name.len : 64),
              (const char *)name.data);
}

/* ---- the plan -------------------------------------------------------------------------------- */

void plan_init(struct sim_plan *plan)
{
    *plan = (struct sim_plan){
        .defaults = {.name = "nodes",
                     .id_prefix = "sim",
                     .nodes = 1,
                     .rate = 1,
                     .qos = 1,
                     .predefined_id = 1,
                     .predefined_topic = "meters/reading",
                     .short_topic = "me",
                     .clean = true,
                     .sleep_ms = 30000,
                     .keep_alive_s = 60,
                     .retry_ms = 10000,
                     .retry_count = 3},
        .duration_ms = TIME_NEVER,
        .drain_ms = 10000,
        .connect_window = 256,
    };
}

void plan_deinit(struct sim_plan *plan)
{
    free(plan->groups);
    free(plan->events);
    plan->groups = NULL;
    plan->events = NULL;
    plan->n_groups = plan->n_events = 0;
}

struct sim_group *plan_add_group(struct sim_plan *plan, const struct sim_group *from,
                                 struct bytes name, struct sim_why *why)
{
    struct sim_group new = *from;
    if (!name_into(name, new.name)) {
        no(why, "a group needs a name of 1 to %d printable characters", SIM_NAME_MAX);
        return NULL;
    }
    for (size_t i = 0; i < plan->n_groups; i++) {
        if (strcmp(plan->groups[i].name, new.name) == 0) {
            no(why, "there is a group %s already", new.name);
            return NULL;
        }
    }
    if (plan->n_groups == 0)
        plan->groups = calloc(SIM_GROUPS_MAX, sizeof *plan->groups);
    if (plan->groups == NULL || plan->n_groups == SIM_GROUPS_MAX) {
        no(why, "more than %d groups, or out of memory", SIM_GROUPS_MAX);
        return NULL;
    }
    plan->groups[plan->n_groups] = new;
    return &plan->groups[plan->n_groups++];
}

static int by_time(const void *left, const void *right)
{
    const struct sim_event *a = left;
    const struct sim_event *b = right;
    return (a->at_ms > b->at_ms) - (a->at_ms < b->at_ms);
}

bool plan_commands(const struct sim_group *g)
{
    return g->downlink > 0 || g->commands_per_sleep > 0;
}

uint16_t plan_sleep_s(const struct sim_group *g)
{
    const int64_t longest_ms = g->sleep_ms + (g->wake_together ? 0 : g->wake_jitter_ms);
    return (uint16_t)((longest_ms + 999) / 1000);
}

static bool check_sleep(const struct sim_group *g, struct sim_why *why)
{
    const bool has_sleepers_settings =
        g->wake_together || g->commands_per_sleep > 0 || g->wake_publish > 0;
    if (!g->sleepy && has_sleepers_settings)
        return no(why, "wake-together, commands-per-sleep, wake-publish: %s is not sleepy",
                  g->name);
    /* A node connects again to publish, and a clean session would lose what waits for it. */
    if (g->sleepy && g->wake_publish > 0 && g->clean)
        return no(why, "group %s: wake-publish needs clean = no", g->name);
    if (g->sleepy && g->sleep_ms + g->wake_jitter_ms > UINT16_MAX * INT64_C(1000))
        return no(why, "group %s: sleep and wake-jitter together exceed %d seconds", g->name,
                  UINT16_MAX);
    return true;
}

static bool check_rounds(const struct sim_plan *plan, struct sim_why *why)
{
    bool together = false;
    for (size_t i = 0; i < plan->n_groups; i++)
        together = together || plan->groups[i].wake_together;
    return plan->rounds == 0 || together || no(why, "rounds needs nodes with wake-together");
}

bool plan_finish(struct sim_plan *plan, struct sim_why *why)
{
    uint64_t nodes = 0;
    for (size_t i = 0; i < plan->n_groups; i++) {
        if (!check_sleep(&plan->groups[i], why))
            return false;
        plan->groups[i].first = (uint32_t)nodes;
        nodes += plan->groups[i].nodes;
        if (nodes > SIM_NODES_MAX)
            return no(why, "more than %d nodes", SIM_NODES_MAX);
    }
    if (nodes == 0)
        return no(why, "no group of nodes");
    if (!check_rounds(plan, why))
        return false;
    if (plan->n_events > 0)
        qsort(plan->events, plan->n_events, sizeof *plan->events, by_time);
    return true;
}

uint32_t plan_nodes(const struct sim_plan *plan)
{
    const struct sim_group *last = &plan->groups[plan->n_groups - 1];
    return last->first + last->nodes;
}
