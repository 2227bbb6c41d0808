/* SPDX-License-Identifier: Apache-2.0 */
/* sennet-bench: how fast an MQTT-SN gateway is, what it costs, and whether every message arrives. */
#include "tools/bench.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/prctl.h>
#include <sys/random.h>
#include <sys/resource.h>
#include <unistd.h>

#include "base/error.h"

#include "tools/bench_wire.h"

/* Each node needs a file, and the pace needs a timer that is not rounded. */
static void ask_for_more(void)
{
    struct rlimit files;
    if (getrlimit(RLIMIT_NOFILE, &files) == 0) {
        files.rlim_cur = files.rlim_max;
        setrlimit(RLIMIT_NOFILE, &files);
    }
    prctl(PR_SET_TIMERSLACK, 1000UL, 0UL, 0UL, 0UL);
}

static double compare(const struct bench_case *c, const struct bench_result *r,
                      const struct bench_result *limit)
{
    if (limit->trouble != NULL || r->trouble != NULL)
        return 0;
    if (c->figure->paced)
        return limit->p50_us > 0 ? r->p50_us / limit->p50_us : 0;
    return limit->rate > 0 ? r->rate / limit->rate : 0;
}

/* NULL with a message: it can't be opened. */
static FILE *json_file(const struct bench_options *o)
{
    if (o->json == NULL || strcmp(o->json, "-") == 0)
        return stdout;
    FILE *f = fopen(o->json, "ae");
    if (f == NULL)
        fprintf(stderr, "sennet-bench: %s: %s\n", o->json, strerror(errno));
    return f;
}

static void take_all(struct bench *b, const struct bench_case *cases, unsigned n_cases,
                     struct bench_result *all)
{
    const size_t repeat = b->options.repeat;
    const bool shows = isatty(STDERR_FILENO);
    for (unsigned round = 0; round < repeat; round++) {
        for (unsigned i = 0; i < n_cases; i++) {
            if (shows)
                fprintf(stderr, "\r\033[K%u of %zu: %s ", round + 1, repeat, cases[i].name);
            run_case(b, &cases[i], &all[i * repeat + round]);
        }
    }
    if (shows)
        fprintf(stderr, "\r\033[K");
}

static int measure(struct bench *b, const struct bench_case *cases, unsigned n_cases)
{
    const struct bench_options *o = &b->options;
    const size_t repeat = o->repeat;
    const bool for_people = o->json == NULL || strcmp(o->json, "-") != 0;
    FILE *json = json_file(o);
    struct bench_result *all = calloc(n_cases * repeat, sizeof *all);
    if (json == NULL || all == NULL) {
        free(all);
        return EXIT_SYSTEM;
    }
    take_all(b, cases, n_cases, all);
    if (for_people && o->head)
        report_head(o);
    bool well = true;
    for (unsigned i = 0; i < n_cases; i++) {
        struct bench_result r = result_median(&all[i * repeat], o->repeat);
        if (cases[i].limit >= 0) /* smaller index: its median is done */
            r.ratio = compare(&cases[i], &r, &all[(size_t)cases[i].limit * repeat]);
        all[i * repeat] = r;
        if (for_people)
            report_row(&cases[i], &r);
        if (o->json != NULL)
            report_json(json, o, &cases[i], &r);
        well = report_verdict(&cases[i], &r) && well;
    }
    if (json != stdout)
        fclose(json);
    free(all);
    return well ? EXIT_OK : EXIT_RUNTIME;
}

int main(int argc, char **argv)
{
    static struct bench b;
    static struct bench_case cases[BENCH_CASES_MAX];
    unsigned n_cases;
    const int e = bench_args(&b, argc, argv, cases, &n_cases);
    if (e != 0)
        return -1 - e;
    ask_for_more();
    list_init(&b.waiting);
    b.stub_fd = -1;
    b.epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    if (b.epoll_fd < 0 || getrandom(&b.run, sizeof b.run, 0) != (ssize_t)sizeof b.run) {
        perror("sennet-bench");
        return EXIT_SYSTEM;
    }
    int result = EXIT_UNAVAILABLE;
    if (b.options.stub_port < 0 || broker_listen(&b))
        result = measure(&b, cases, n_cases);
    wire_free(b.stub);
    if (b.stub_fd >= 0)
        close(b.stub_fd);
    close(b.epoll_fd);
    return result;
}
