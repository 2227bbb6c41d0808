/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a connection of the gateway costs, as one of many on a host:
 *
 *     mqtt_bench CONNECTIONS MESSAGES [ADDRESS [CA-FILE]]
 *
 * Against the stub broker in a process of its own, or the broker at ADDRESS ("wss://localhost:9001/mqtt",
 * or a port of this machine), with the authorities of CA-FILE. Messages are
 * QoS 1, 64 octets; first as many as go, then one at a time. CPU is this process's: loop, worker and
 * Paho's threads. Build with optimisation.
 */
#include <malloc.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "e2e/mqtt_fleet.h"
#include "e2e/stub_broker.h"

enum { PER_CONNECTION = 16, GIVE_UP_MS = 120000, SPARSE = 2000, BODY = 64 };

static struct fleet fleet;
static struct stub_broker stub;

static int64_t cpu_us(void)
{
    struct timespec t;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
    return (int64_t)t.tv_sec * 1000000 + t.tv_nsec / 1000;
}

static long rss_kib(void)
{
    long pages = 0;
    FILE *f = fopen("/proc/self/statm", "r");
    if (f == NULL || fscanf(f, "%*d %ld", &pages) != 1)
        pages = 0;
    if (f != NULL)
        fclose(f);
    return pages * (sysconf(_SC_PAGESIZE) / 1024);
}

static void wait_for(const unsigned *counter, unsigned wanted, const char *what)
{
    const int64_t until_us = fleet_now_us() + (int64_t)GIVE_UP_MS * 1000;
    while (*counter < wanted) {
        if (fleet_now_us() > until_us) {
            fprintf(stderr, "%s: %u of %u\n", what, *counter, wanted);
            exit(EXIT_FAILURE);
        }
        fleet_turn(&fleet, 100);
    }
}

static char text[BODY + 1];
static unsigned to_send;

static void next(struct fleet *f, struct fleet_one *one, const struct up_event *e)
{
    if (e->type != UP_PUBLISHED || to_send == 0)
        return;
    to_send--;
    fleet_publish(f, one->number, "bench/topic", 1, text);
}

static void flood(unsigned n, unsigned messages)
{
    const int64_t start_us = fleet_now_us();
    const int64_t start_cpu = cpu_us();
    const unsigned before = fleet.ok;
    to_send = messages;
    fleet.on_event = next;
    for (unsigned i = 0; i < PER_CONNECTION; i++) {
        for (unsigned k = 0; k < n && to_send > 0; k++, to_send--)
            fleet_publish(&fleet, k, "bench/topic", 1, text);
    }
    wait_for(&fleet.ok, before + messages, "answers");
    fleet.on_event = NULL;
    const int64_t took_us = fleet_now_us() - start_us;
    printf("  flood: %.0f messages/s, %.1f us of CPU each\n", messages * 1e6 / (double)took_us,
           (double)(cpu_us() - start_cpu) / messages);
}

static void one_by_one(unsigned n)
{
    const int64_t start_us = fleet_now_us();
    const int64_t start_cpu = cpu_us();
    for (unsigned i = 0; i < SPARSE; i++) {
        const unsigned before = fleet.ok;
        fleet_publish(&fleet, i * 7919 % n, "bench/topic", 1, text);
        wait_for(&fleet.ok, before + 1, "an answer");
    }
    printf("  one at a time: %.0f us each, %.1f us of CPU\n",
           (double)(fleet_now_us() - start_us) / SPARSE, (double)(cpu_us() - start_cpu) / SPARSE);
}

static void open_all(unsigned n, const char *address, const char *ca_file)
{
    const int64_t start_us = fleet_now_us();
    const int64_t start_cpu = cpu_us();
    const long before_kib = rss_kib();
    const size_t before = mallinfo2().uordblks;
    for (unsigned i = 0; i < n; i++) {
        struct mqtt_options o = fleet_options(&fleet, i, 0);
        o.address = address;
        o.tls.ca_file = ca_file;
        o.backoff_min_ms = 1000;
        o.backoff_max_ms = 60000;
        fleet_open(&fleet, i, &o);
    }
    wait_for(&fleet.online, n, "connections");
    printf("  %u connections in %.0f ms, %.0f us of CPU each\n", n,
           (double)(fleet_now_us() - start_us) / 1000, (double)(cpu_us() - start_cpu) / n);
    printf("  memory each: %.1f KiB resident, %.1f KiB allocated\n",
           (double)(rss_kib() - before_kib) / n,
           (double)(mallinfo2().uordblks - before) / 1024 / n);
}

static void idle(unsigned n)
{
    const int64_t start_cpu = cpu_us();
    for (const int64_t until_us = fleet_now_us() + 5000000; fleet_now_us() < until_us;)
        fleet_turn(&fleet, 1000);
    printf("  idle: %.2f %% of a CPU for %u\n", (double)(cpu_us() - start_cpu) / 50000, n);
}

static void restart(unsigned n)
{
    stub_restart(&stub);
    const int64_t start_us = fleet_now_us();
    const int64_t start_cpu = cpu_us();
    wait_for(&fleet.disconnected, n, "losses");
    wait_for(&fleet.online, n, "reconnections");
    printf("  broker restart: all back after %.0f ms, %.0f us of CPU each; at most %u at once\n",
           (double)(fleet_now_us() - start_us) / 1000, (double)(cpu_us() - start_cpu) / n,
           atomic_load(&stub.counts->most_new));
}

int main(int argc, char **argv)
{
    const unsigned n = argc > 1 ? (unsigned)strtoul(argv[1], NULL, 10) : 0;
    const unsigned messages = argc > 2 ? (unsigned)strtoul(argv[2], NULL, 10) : 0;
    const char *const where = argc > 3 ? argv[3] : NULL;
    char address[256];

    if (n == 0 || messages == 0) {
        fprintf(stderr, "usage: mqtt_bench CONNECTIONS MESSAGES [ADDRESS [CA-FILE]]\n");
        return EXIT_FAILURE;
    }
    memset(text, 'x', BODY);
    if (!fleet_allow_files(2 * n + 64))
        fprintf(stderr, "mqtt_bench: more descriptors than the system allows\n");
    if (where == NULL)
        stub_start(&stub);
    if (where != NULL && strstr(where, "://") != NULL)
        snprintf(address, sizeof address, "%s", where);
    else
        snprintf(address, sizeof address, "mqtt://127.0.0.1:%lu",
                 where != NULL ? strtoul(where, NULL, 10) : stub.port);
    fleet_start(&fleet, n, NULL);
    printf("%u connections, %s\n", n, where == NULL ? "stub" : address);
    open_all(n, address, argc > 4 ? argv[4] : NULL);
    flood(n, messages);
    one_by_one(n);
    idle(n);
    if (where == NULL)
        restart(n);
    const bool all = fleet_stop(&fleet, 1000);
    if (where == NULL)
        stub_stop(&stub);
    return all ? EXIT_SUCCESS : EXIT_FAILURE;
}
