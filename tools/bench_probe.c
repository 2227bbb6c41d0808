/* SPDX-License-Identifier: Apache-2.0 */
/* What the system knows of the gateway: processor time, memory, sleeps, dropped datagrams. */
#include <arpa/inet.h>
#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "tools/bench.h"

enum { LINE = 512, PATH = 300, SETTLE_MS = 100, SETTLE_SHARE = 100 };

static int64_t clock_of(clockid_t clock)
{
    struct timespec t;
    if (clock_gettime(clock, &t) != 0)
        return -1;
    return (int64_t)t.tv_sec * BENCH_SECOND + t.tv_nsec;
}

static int64_t cpu_of(pid_t pid)
{
    clockid_t clock;
    return pid > 0 && clock_getcpuclockid(pid, &clock) == 0 ? clock_of(clock) : -1;
}

/* The number behind "key" in a file of lines "key number ..."; 0 when there is none. */
static int64_t number_in(const char *path, const char *key)
{
    char line[LINE];
    int64_t value = 0;
    FILE *f = fopen(path, "re");
    while (f != NULL && fgets(line, sizeof line, f) != NULL) {
        if (strncmp(line, key, strlen(key)) == 0)
            value = strtoll(line + strlen(key), NULL, 10);
    }
    if (f != NULL)
        fclose(f);
    return value;
}

static int64_t switches_of(pid_t pid)
{
    char path[PATH];
    int64_t sum = 0;
    snprintf(path, sizeof path, "/proc/%d/task", (int)pid);
    DIR *tasks = opendir(path);
    const struct dirent *entry;
    while (tasks != NULL && (entry = readdir(tasks)) != NULL) {
        if (entry->d_name[0] == '.')
            continue;
        snprintf(path, sizeof path, "/proc/%d/task/%.20s/status", (int)pid, entry->d_name);
        sum += number_in(path, "voluntary_ctxt_switches:");
    }
    if (tasks != NULL)
        closedir(tasks);
    return sum;
}

/* The last column of /proc/net/udp, of all sockets at that port. */
static uint64_t drops_at(uint16_t port)
{
    char line[LINE];
    uint64_t sum = 0;
    FILE *f = fopen("/proc/net/udp", "re");
    while (f != NULL && fgets(line, sizeof line, f) != NULL) {
        const char *colon = strchr(line, ':');
        colon = colon != NULL ? strchr(colon + 1, ':') : NULL;
        const size_t len = strcspn(line, "\n");
        line[len] = '\0';
        while (colon != NULL && line[strlen(line) - 1] == ' ')
            line[strlen(line) - 1] = '\0';
        const char *last = strrchr(line, ' ');
        if (colon != NULL && last != NULL && strtoul(colon + 1, NULL, 16) == port)
            sum += strtoull(last, NULL, 10);
    }
    if (f != NULL)
        fclose(f);
    return sum;
}

/* "Udp:" stands twice in /proc/net/snmp: names, and below them numbers. */
static uint64_t receive_errors(void)
{
    char names[LINE] = "";
    char line[LINE];
    uint64_t value = 0;
    FILE *f = fopen("/proc/net/snmp", "re");
    while (f != NULL && fgets(line, sizeof line, f) != NULL) {
        if (strncmp(line, "Udp:", 4) != 0)
            continue;
        if (names[0] == '\0') {
            memcpy(names, line, sizeof names);
            continue;
        }
        char *name_state;
        char *number_state;
        const char *name = strtok_r(names, " \n", &name_state);
        const char *number = strtok_r(line, " \n", &number_state);
        while (name != NULL && number != NULL) {
            if (strcmp(name, "RcvbufErrors") == 0)
                value = strtoull(number, NULL, 10);
            name = strtok_r(NULL, " \n", &name_state);
            number = strtok_r(NULL, " \n", &number_state);
        }
        break;
    }
    if (f != NULL)
        fclose(f);
    return value;
}

struct probe probe_take(const struct bench *b, pid_t pid)
{
    struct probe p = {.udp_drops = drops_at(ntohs(b->gateway.sin_port)),
                      .all_drops = receive_errors(),
                      .arrived = b->tally.arrived};
    if (pid > 0) {
        char path[PATH];
        snprintf(path, sizeof path, "/proc/%d/status", (int)pid);
        p.rss_kib = number_in(path, "VmRSS:");
        p.switches = switches_of(pid);
    }
    p.tool_ns = clock_of(CLOCK_PROCESS_CPUTIME_ID);
    p.cpu_ns = cpu_of(pid);
    p.at_ns = bench_clock_ns();
    return p;
}

void probe_settle(struct bench *b, double seconds)
{
    const int64_t until_ns = bench_clock_ns() + (int64_t)(seconds * (double)BENCH_SECOND);
    const int64_t turn_ns = SETTLE_MS * (BENCH_SECOND / 1000);
    int64_t used_ns = turn_ns;
    while (used_ns > turn_ns / SETTLE_SHARE && b->now_ns < until_ns && b->trouble == NULL) {
        const int64_t before_ns = cpu_of(b->options.pid);
        bench_run_until(b, bench_clock_ns() + turn_ns);
        used_ns = cpu_of(b->options.pid) - before_ns;
    }
}
