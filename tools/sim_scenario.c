/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Scenario files (sennet-sim(1)):
 *
 *     # comment
 *     [run]
 *     seconds = 60
 *     [group meters]
 *     nodes = 12
 *     rate = 1
 *     [events]
 *     at 10s group meters vanish 2
 */
#include <errno.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include "tools/sim_plan.h"

enum { LINE_MAX_OCTETS = 512 };

enum section { SECTION_NONE, SECTION_RUN, SECTION_GROUP, SECTION_EVENTS, SECTION_BAD };

struct scenario {
    struct sim_plan *plan;
    const char *file;
    FILE *errors;
    unsigned line;
    int n_errors;
    enum section section;
    struct sim_group *group;
};

static void error(struct scenario *s, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

static void error(struct scenario *s, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    fprintf(s->errors, "%s:%u: error: ", s->file, s->line);
    vfprintf(s->errors, format, args);
    fputc('\n', s->errors);
    va_end(args);
    s->n_errors++;
}

/* ---- words ----------------------------------------------------------------------------------- */

static bool is_blank(uint8_t c)
{
    return c == ' ' || c == '\t' || c == '\r' || c == '\n';
}

static struct bytes trim(struct bytes text)
{
    while (text.len > 0 && is_blank(text.data[0]))
        text = bytes_of(text.data + 1, text.len - 1);
    while (text.len > 0 && is_blank(text.data[text.len - 1]))
        text.len--;
    return text;
}

/* The first word of `rest`, which is moved behind it; empty at the end. */
static struct bytes next_word(struct bytes *rest)
{
    const struct bytes text = trim(*rest);
    size_t n = 0;
    while (n < text.len && !is_blank(text.data[n]))
        n++;
    *rest = bytes_of(n < text.len ? text.data + n : NULL, text.len - n);
    return bytes_of(text.data, n);
}

static bool is(struct bytes text, const char *word)
{
    return bytes_equal(text, bytes_str(word));
}

static int shown(struct bytes text)
{
    return (int)(text.len < 64 ? text.len : 64);
}

#define SHOWN(text) shown(text), (const char *)((text).len > 0 ? (text).data : (const uint8_t *)"")

/* ---- sections -------------------------------------------------------------------------------- */

static void begin_section(struct scenario *s, struct bytes line)
{
    s->section = SECTION_BAD;
    s->group = NULL;
    if (line.data[line.len - 1] != ']') {
        error(s, "a section ends with ]");
        return;
    }
    struct bytes rest = bytes_of(line.data + 1, line.len - 2);
    const struct bytes kind = next_word(&rest);
    const struct bytes name = next_word(&rest);
    if (trim(rest).len > 0) {
        error(s, "unexpected \"%.*s\" in the section's name", SHOWN(trim(rest)));
    } else if (is(kind, "run") && name.len == 0) {
        s->section = SECTION_RUN;
    } else if (is(kind, "events") && name.len == 0) {
        s->section = SECTION_EVENTS;
    } else if (is(kind, "group")) {
        struct sim_why why;
        s->group = plan_add_group(s->plan, &s->plan->defaults, name, &why);
        if (s->group == NULL)
            error(s, "%s", why.text);
        else
            s->section = SECTION_GROUP;
    } else {
        error(s, "unknown section [%.*s]: there are [run], [group NAME] and [events]", SHOWN(kind));
    }
}

static void read_setting(struct scenario *s, struct bytes line)
{
    const uint8_t *equals = memchr(line.data, '=', line.len);
    if (equals == NULL) {
        error(s, "expected name = value, found \"%.*s\"", SHOWN(line));
        return;
    }
    const size_t n = (size_t)(equals - line.data);
    const struct bytes name = trim(bytes_of(line.data, n));
    const struct bytes value = trim(bytes_of(equals + 1, line.len - n - 1));
    struct sim_why why;
    const bool understood = s->section == SECTION_RUN
                                ? plan_run_setting(s->plan, name, value, &why)
                                : plan_group_setting(s->group, name, value, &why);
    if (!understood)
        error(s, "%s", why.text);
}

/* ---- events ---------------------------------------------------------------------------------- */

static bool find_group(const struct sim_plan *plan, struct bytes name, int *out)
{
    for (size_t i = 0; i < plan->n_groups; i++) {
        if (is(name, plan->groups[i].name)) {
            *out = (int)i;
            return true;
        }
    }
    return false;
}

static bool action_of(struct bytes word, enum sim_action *out)
{
    static const char *const words[] = {"vanish", "reconnect", "disconnect", "rate"};
    for (unsigned i = 0; i < sizeof words / sizeof words[0]; i++) {
        if (is(word, words[i])) {
            *out = (enum sim_action)i;
            return true;
        }
    }
    return false;
}

/* What follows the action: a number of nodes, or a rate. */
static bool read_argument(struct scenario *s, struct bytes word, struct sim_event *event)
{
    struct sim_group scratch = s->plan->defaults;
    struct sim_why why;
    if (event->action == ACTION_RATE) {
        if (!plan_group_setting(&scratch, bytes_str("rate"), word, &why)) {
            error(s, "%s", why.text);
            return false;
        }
        event->rate = scratch.rate;
        event->rate_max = scratch.rate_max;
        return true;
    }
    if (word.len == 0)
        return true;
    if (!plan_group_setting(&scratch, bytes_str("nodes"), word, &why)) {
        error(s, "expected how many nodes, found \"%.*s\"", SHOWN(word));
        return false;
    }
    event->count = scratch.nodes;
    return true;
}

static void add_event(struct scenario *s, const struct sim_event *event)
{
    struct sim_plan *plan = s->plan;
    if (plan->n_events == 0) {
        free(plan->events);
        plan->events = calloc(SIM_EVENTS_MAX, sizeof *plan->events);
    }
    if (plan->events == NULL || plan->n_events == SIM_EVENTS_MAX) {
        error(s, "more than %d events, or out of memory", SIM_EVENTS_MAX);
        return;
    }
    plan->events[plan->n_events++] = *event;
}

/* at TIME group NAME|all ACTION [ARGUMENT] */
static void read_event(struct scenario *s, struct bytes line)
{
    struct sim_event event = {.group = SIM_ALL_GROUPS};
    struct bytes rest = line;
    const struct bytes at = next_word(&rest);
    const struct bytes when = next_word(&rest);
    const struct bytes group = next_word(&rest);
    const struct bytes name = next_word(&rest);
    const struct bytes action = next_word(&rest);
    const struct bytes argument = next_word(&rest);
    if (!is(at, "at") || !plan_duration(when, 1000, &event.at_ms) || !is(group, "group")) {
        error(s, "expected \"at TIME group NAME ACTION\", found \"%.*s\"", SHOWN(line));
        return;
    }
    if (!is(name, "all") && !find_group(s->plan, name, &event.group)) {
        error(s, "no group \"%.*s\" above", SHOWN(name));
        return;
    }
    if (!action_of(action, &event.action)) {
        error(s, "unknown action \"%.*s\": there are vanish, reconnect, disconnect and rate",
              SHOWN(action));
        return;
    }
    if (!read_argument(s, argument, &event))
        return;
    if (trim(rest).len > 0) {
        error(s, "unexpected \"%.*s\" after the event", SHOWN(trim(rest)));
        return;
    }
    add_event(s, &event);
}

/* ---- the file -------------------------------------------------------------------------------- */

static void read_line(struct scenario *s, struct bytes line)
{
    line = trim(line);
    if (line.len == 0 || line.data[0] == '#' || line.data[0] == ';')
        return;
    if (line.data[0] == '[') {
        begin_section(s, line);
        return;
    }
    switch (s->section) {
    case SECTION_NONE:
        error(s, "\"%.*s\" before any section", SHOWN(line));
        break;
    case SECTION_RUN:
    case SECTION_GROUP:
        read_setting(s, line);
        break;
    case SECTION_EVENTS:
        read_event(s, line);
        break;
    case SECTION_BAD: /* said already */
        break;
    }
}

/* False at the end of the file. A line that is too long is an error and skipped. */
static bool next_line(struct scenario *s, FILE *in, char buf[LINE_MAX_OCTETS], struct bytes *out)
{
    if (fgets(buf, LINE_MAX_OCTETS, in) == NULL)
        return false;
    s->line++;
    *out = bytes_str(buf);
    if (out->len == LINE_MAX_OCTETS - 1 && buf[out->len - 1] != '\n') {
        error(s, "line longer than %d octets", LINE_MAX_OCTETS - 2);
        *out = bytes_of(NULL, 0);
        int c;
        while ((c = fgetc(in)) != EOF && c != '\n')
            ;
    }
    return true;
}

int plan_read(struct sim_plan *plan, const char *file, FILE *in, FILE *errors)
{
    struct scenario s = {.plan = plan, .file = file, .errors = errors};
    char buf[LINE_MAX_OCTETS];
    struct bytes line;
    while (next_line(&s, in, buf, &line))
        read_line(&s, line);
    if (ferror(in))
        error(&s, "can't be read: %s", strerror(errno));
    if (s.n_errors == 0 && plan->n_groups == 0)
        error(&s, "no [group NAME] section");
    return s.n_errors;
}
