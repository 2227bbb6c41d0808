/* SPDX-License-Identifier: Apache-2.0 */
/* A table for people, lines of JSON for programs, and whether all is well. */
#include <stdio.h>
#include <stdlib.h>

#include "tools/bench.h"

/* ---- the middle of several ------------------------------------------------------------------- */

static double key(const struct bench_result *r)
{
    return r->rate > 0 ? r->rate : r->rss_kib;
}

static int by_key(const void *a, const void *b)
{
    const double x = key(a);
    const double y = key(b);
    return x < y ? -1 : x > y;
}

struct bench_result result_median(struct bench_result *results, unsigned n)
{
    qsort(results, n, sizeof *results, by_key);
    struct bench_result r = results[n / 2];
    r.sent = r.arrived = r.lost = r.duplicated = r.reordered = r.misrouted = r.refused = 0;
    r.repeats = r.gateway_drops = r.tool_drops = 0;
    for (unsigned i = 0; i < n; i++) {
        const struct bench_result *one = &results[i];
        r.sent += one->sent;
        r.arrived += one->arrived;
        r.lost += one->lost;
        r.duplicated += one->duplicated;
        r.reordered += one->reordered;
        r.misrouted += one->misrouted;
        r.refused += one->refused;
        r.repeats += one->repeats;
        r.gateway_drops += one->gateway_drops;
        r.tool_drops += one->tool_drops;
        if (one->trouble != NULL)
            r.trouble = one->trouble;
    }
    return r;
}

/* ---- for people ------------------------------------------------------------------------------ */

void report_head(const struct bench_options *o)
{
    printf("%s%s\n\n", o->label, o->stub_port >= 0 ? ", with the stub broker" : "");
    puts("| Case | per second | of the limit | gateway, µs each | tool, µs | p50 µs | p99 µs | "
         "p99.9 µs | RSS MiB | lost, twice, disorder | repeated | dropped by the kernel |\n"
         "|---|--:|--:|--:|--:|--:|--:|--:|--:|---|--:|--:|");
    fflush(stdout);
}

/* A number, or nothing when there is none. */
static void cell(double value, const char *unit, int digits)
{
    if (value > 0)
        printf(" %.*f%s |", digits, value, unit);
    else
        printf(" |");
}

static void delay_cell(double us)
{
    cell(us, "", us < 100 ? 1 : 0);
}

void report_row(const struct bench_case *c, const struct bench_result *r)
{
    printf("| `%s` |", c->name);
    if (r->trouble != NULL) {
        printf(" %s |\n", r->trouble);
        fflush(stdout);
        return;
    }
    cell(r->rate, "", 0);
    cell(r->ratio, "", 2);
    cell(r->cpu_us, "", 2);
    cell(r->tool_us, "", 2);
    delay_cell(r->p50_us);
    delay_cell(r->p99_us);
    delay_cell(r->p999_us);
    cell(r->rss_kib / 1024, "", 1);
    printf(" %llu, %llu, %llu | %llu | %llu |\n", (unsigned long long)r->lost,
           (unsigned long long)r->duplicated, (unsigned long long)r->reordered,
           (unsigned long long)r->repeats, (unsigned long long)r->gateway_drops);
    if (c->figure->kind == KIND_MEMORY && c->nodes > 0)
        printf("| | %.0f octets per node |\n", r->bytes_per_node);
    if (c->figure->kind == KIND_IDLE)
        printf("| | %.2f wake-ups a second, %.3f %% of a processor |\n", r->wakeups,
               r->cpu_share * 100);
    fflush(stdout);
}

/* ---- for programs ---------------------------------------------------------------------------- */

static void json_number(FILE *to, const char *name, double value)
{
    fprintf(to, ", \"%s\": %.6g", name, value);
}

static void json_count(FILE *to, const char *name, uint64_t value)
{
    fprintf(to, ", \"%s\": %llu", name, (unsigned long long)value);
}

void report_json(FILE *to, const struct bench_options *o, const struct bench_case *c,
                 const struct bench_result *r)
{
    fprintf(to, "{\"case\": \"%s\", \"label\": \"%s\", \"broker\": \"%s\"", c->name, o->label,
            o->stub_port >= 0 ? "stub" : "real");
    json_count(to, "repeat", o->repeat);
    if (r->trouble != NULL)
        fprintf(to, ", \"trouble\": \"%s\"", r->trouble);
    json_number(to, "seconds", r->seconds);
    json_number(to, "rate", r->rate);
    if (r->ratio > 0)
        json_number(to, "ratio", r->ratio);
    if (r->cpu_us >= 0)
        json_number(to, "cpu_us", r->cpu_us);
    if (r->cpu_share >= 0)
        json_number(to, "cpu_share", r->cpu_share);
    if (r->tool_us >= 0)
        json_number(to, "tool_us", r->tool_us);
    json_number(to, "p50_us", r->p50_us);
    json_number(to, "p99_us", r->p99_us);
    json_number(to, "p999_us", r->p999_us);
    json_number(to, "rss_kib", r->rss_kib);
    if (c->figure->kind == KIND_MEMORY)
        json_number(to, "bytes_per_node", r->bytes_per_node);
    if (c->figure->kind == KIND_IDLE)
        json_number(to, "wakeups", r->wakeups);
    json_count(to, "sent", r->sent);
    json_count(to, "arrived", r->arrived);
    json_count(to, "lost", r->lost);
    json_count(to, "duplicated", r->duplicated);
    json_count(to, "reordered", r->reordered);
    json_count(to, "misrouted", r->misrouted);
    json_count(to, "refused", r->refused);
    json_count(to, "repeats", r->repeats);
    json_count(to, "gateway_drops", r->gateway_drops);
    json_count(to, "tool_drops", r->tool_drops);
    fprintf(to, "}\n");
    fflush(to);
}

/* ---- the verdict ----------------------------------------------------------------------------- */

static bool complain(const struct bench_case *c, uint64_t n, const char *what)
{
    fprintf(stderr, "sennet-bench: %s: %llu messages %s\n", c->name, (unsigned long long)n, what);
    return false;
}

/* The kernel may drop what has no QoS, and what a node said again may arrive again at QoS 1. */
bool report_verdict(const struct bench_case *c, const struct bench_result *r)
{
    const int qos = c->figure->qos;
    const bool excused = qos <= 0 && r->gateway_drops + r->tool_drops > 0;
    bool well = r->trouble == NULL;
    if (!well)
        fprintf(stderr, "sennet-bench: %s: %s\n", c->name, r->trouble);
    if (r->lost > 0 && !excused && c->figure->kind != KIND_ECHO)
        well = complain(c, r->lost, "lost");
    if (r->duplicated > 0 && (qos != 1 || r->gateway_drops + r->tool_drops + r->repeats == 0))
        well = complain(c, r->duplicated, "arrived twice");
    if (r->reordered > 0)
        well = complain(c, r->reordered, "out of order");
    if (r->misrouted > 0)
        well = complain(c, r->misrouted, "at the wrong node");
    return well;
}
