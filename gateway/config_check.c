/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What only the whole configuration shows: keys that are missing, keys that contradict each other,
 * doubles, and the values that need more than their own line to be judged.
 */
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "config_priv.h"

enum { NAME_MAX_OCTETS = 64, NUMBER_ROOM = 16 };

/* ---- retransmission toward nodes ------------------------------------------------------------- */

static void say_order(struct config_builder *b, enum config_message m, const char *name,
                      int64_t value_ms, const char *bound, int64_t bound_ms)
{
    char text[CONFIG_TEXT_ROOM / 4];
    char limit[CONFIG_TEXT_ROOM / 4];
    config_number_print(config_key_find(SECTION_GATEWAY, name), value_ms, text, sizeof text);
    config_number_print(config_key_find(SECTION_GATEWAY, bound), bound_ms, limit, sizeof limit);
    const bool here = config_is_set(&b->gateway, SECTION_GATEWAY, name);
    config_say2(&b->report, config_place_of(&b->gateway, SECTION_GATEWAY, here ? name : bound), m,
                text, limit);
}

/* Afterwards retry_min is what the engine goes by, and the printed configuration loads quietly. */
static void check_retry(struct config_builder *b)
{
    const int64_t start_ms = b->config->gateway.retry_interval_ms;
    const int64_t min_ms = b->config->gateway.retry_min_ms;
    const int64_t max_ms = b->config->gateway.retry_max_ms;
    /* The default may well be above: only who wrote it expects it to matter. */
    const bool said_min = config_is_set(&b->gateway, SECTION_GATEWAY, "retry_min");
    if (start_ms > max_ms)
        say_order(b, SAY_RETRY_ABOVE_MAX, "retry_interval", start_ms, "retry_max", max_ms);
    if (said_min && min_ms > max_ms)
        say_order(b, SAY_RETRY_ORDER, "retry_min", min_ms, "retry_max", max_ms);
    else if (said_min && min_ms > start_ms)
        say_order(b, SAY_RETRY_MIN_IDLE, "retry_min", min_ms, "retry_interval", start_ms);
    if (min_ms > start_ms)
        b->config->gateway.retry_min_ms = start_ms;
}

/* ---- topics ---------------------------------------------------------------------------------- */

static int by_topic_id(const void *one, const void *two)
{
    const struct config_topic_origin *a = one;
    const struct config_topic_origin *b = two;
    if (a->topic_id != b->topic_id)
        return a->topic_id < b->topic_id ? -1 : 1;
    return a->index < b->index ? -1 : 1;
}

static void say_topic_twice(struct config_builder *b, const struct config_topic_origin *first,
                            const struct config_topic_origin *again, const char *topic)
{
    char id[NUMBER_ROOM];
    char line[NUMBER_ROOM];
    snprintf(id, sizeof id, "%u", again->topic_id);
    snprintf(line, sizeof line, "%u", first->at.line);
    config_say3(&b->report, again->at, SAY_TOPIC_TWICE, id, topic, line);
}

/* Entries without a topic go; the order of the others stays. */
static void compact(struct config_topics *t)
{
    size_t n = 0;
    for (size_t i = 0; i < t->n_entries; i++) {
        if (t->entries[i].topic != NULL)
            t->entries[n++] = t->entries[i];
    }
    t->n_entries = n;
}

/* An id twice in one file is a mistake; a later file replaces what an earlier one said. */
static void check_topics(struct config_builder *b, size_t i)
{
    struct config_topics *t = &b->config->topics[i];
    struct config_topic_origin *o = b->topics[i].entries;
    if (t->n_entries < 2)
        return;
    qsort(o, t->n_entries, sizeof *o, by_topic_id);
    for (size_t k = 1; k < t->n_entries; k++) {
        if (o[k].topic_id != o[k - 1].topic_id)
            continue;
        struct sn_predefined *kept = &t->entries[o[k - 1].index];
        if (o[k].at.file == o[k - 1].at.file)
            say_topic_twice(b, &o[k - 1], &o[k], kept->topic);
        free((void *)(uintptr_t)kept->topic);
        kept->topic = t->entries[o[k].index].topic;
        t->entries[o[k].index].topic = NULL;
        o[k].index = o[k - 1].index;
    }
    compact(t);
}

/* ---- names that are not given ---------------------------------------------------------------- */

/* The host name, with '-' for what a name may not hold. */
static void name_after_host(struct config_builder *b)
{
    static const char allowed[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"
                                  ".-_";
    char host[NAME_MAX_OCTETS + 1] = "";
    if (gethostname(host, sizeof host - 1) != 0 || host[0] == '\0')
        snprintf(host, sizeof host, "gateway");
    for (char *at = host; *at != '\0'; at++) {
        if (strchr(allowed, *at) == NULL)
            *at = '-';
    }
    b->config->gateway.name = config_copy(&b->report, bytes_str(host));
}

void config_check(struct config_builder *b)
{
    check_retry(b);
    if (b->config->gateway.name == NULL)
        name_after_host(b);
    config_check_brokers(b);
    config_check_routes(b);
    config_check_links(b);
    for (size_t i = 0; i < b->config->n_topics; i++)
        check_topics(b, i);
}
