/* SPDX-License-Identifier: Apache-2.0 */
/*
 * sennet-sim with a stick of every family, each with the real daemon and a mosquitto: nodes that
 * publish and nodes that sleep, in an ether that loses and doubles packets, with a 16-bit address
 * that changes every second, and a stick that is pulled out in between. All of them at once,
 * because they mostly wait. scripts/stick-test.sh does it for half an hour.
 */
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <check.h>

#include "e2e/broker.h"
#include "e2e/daemon.h"
#include "unit/suite.h"

enum {
    FAMILIES = 5,
    START_MS = 30000,
    RUN_MS = 150000,
    RETRIES = 10,       /* of the gateway: what it gives up waits until the node speaks again */
    OUTPUT_ROOM = 3500, /* with the end of the log, as much as fits into a message of Check */
    PATH_ROOM = 128,
};

struct bench {
    const char *family;
    struct broker broker;
    struct daemon gateway;
    pid_t sim;
    int status;
    int64_t took_ms;
    char link[PATH_ROOM], output[PATH_ROOM];
};

static char directory[] = "/tmp/sennet-sticks-XXXXXX";

static struct bench benches[FAMILIES];
static const char *const FAMILY[FAMILIES] = {"znp", "ezsp", "deconz", "xbee", "serial"};

/* Retries are short, and so is the patience of the sticks: with the usual ones a lost packet takes
 * seconds, and there are many. */
static const char scenario[] = "[run]\n"
                               "seed = 7\n"
                               "drain = 90s\n"
                               "connect-window = 20\n"
                               "[group active]\n"
                               "nodes = 20\n"
                               "rate = 0.3\n"
                               "qos = mix\n"
                               "topics = mix\n"
                               "downlink = 0.1\n"
                               "clean = no\n"
                               "keep-alive = 10s\n"
                               "retry-interval = 1\n"
                               "retry-count = 40\n"
                               "loss = 20%\n"
                               "duplicate = 5%\n"
                               "latency = 5ms\n"
                               "jitter = 50ms\n"
                               "[group sleepers]\n"
                               "nodes = 20\n"
                               "sleepy = yes\n"
                               "sleep = 6s\n"
                               "wake-publish = 2\n"
                               "commands-per-sleep = 1\n"
                               "qos = 1\n"
                               "clean = no\n"
                               "retry-interval = 1\n"
                               "retry-count = 40\n"
                               "loss = 20%\n"
                               "duplicate = 5%\n"
                               "latency = 5ms\n"
                               "jitter = 50ms\n";

/* ---- programs ---------------------------------------------------------------------------------- */

static void write_file(const char *path, const char *text)
{
    FILE *f = fopen(path, "w");
    ck_assert_ptr_nonnull(f);
    fputs(text, f);
    ck_assert_int_eq(fclose(f), 0);
}

static const char *said(const struct bench *b)
{
    static char text[OUTPUT_ROOM];
    FILE *f = fopen(b->output, "r");
    ck_assert_ptr_nonnull(f);
    if (fseek(f, 0, SEEK_END) == 0 && ftell(f) >= OUTPUT_ROOM)
        fseek(f, 1 - OUTPUT_ROOM, SEEK_END); /* the end says what became of it */
    else
        rewind(f);
    const size_t n = fread(text, 1, sizeof text - 1, f);
    text[n] = '\0';
    fclose(f);
    return text;
}

static void start_sim(struct bench *b, const char *plan)
{
    char url[64];
    const char *program = getenv("SENNET_SIM");
    ck_assert_msg(program != NULL, "set SENNET_SIM to the program under test");
    snprintf(b->link, sizeof b->link, "%s/%s", directory, b->family);
    snprintf(b->output, sizeof b->output, "%s/%s.out", directory, b->family);
    snprintf(url, sizeof url, "mqtt://127.0.0.1:%u", b->broker.port);
    write_file(b->output, "");
    b->sim = fork();
    ck_assert_int_ge(b->sim, 0);
    if (b->sim > 0)
        return;
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    const int fd = open(b->output, O_WRONLY | O_APPEND);
    dup2(fd, STDOUT_FILENO);
    dup2(fd, STDERR_FILENO);
    execl(program, "sennet-sim", "--stick", b->family, "--stick-link", b->link, "--broker", url,
          "--scenario", plan, "--quiet", "--rejoin", "1", "--replug", "4", "--replugs", "2",
          "--no-ack", "150ms", (char *)NULL);
    _exit(127);
}

/* A gateway is not to be told of a stick that is not there yet, or it waits for it. */
static void await_stick(const struct bench *b)
{
    const int64_t end_ms = test_now_ms() + START_MS;
    while (access(b->link, F_OK) != 0) {
        ck_assert_msg(test_now_ms() < end_ms, "%s: no stick:\n%s", b->family, said(b));
        poll(NULL, 0, 20);
    }
}

static void start_gateway(struct bench *b)
{
    char more[512];
    const bool is_serial = strcmp(b->family, "serial") == 0;
    snprintf(more, sizeof more,
             "[link stick]\ndriver = %s\ndevice = %s\n%s[topics]\n1 = meters/reading\n", b->family,
             b->link, is_serial ? "framing = slip\nforwarder = yes\n" : "");
    daemon_start_patient(&b->gateway, b->broker.port, RETRIES, more);
}

static void await_end(void)
{
    const int64_t start_ms = test_now_ms();
    const int64_t end_ms = start_ms + RUN_MS;
    unsigned running = FAMILIES;
    while (running > 0) {
        poll(NULL, 0, 100);
        for (unsigned i = 0; i < FAMILIES; i++) {
            struct bench *b = &benches[i];
            daemon_has_logged(&b->gateway, ""); /* its pipe must not fill up */
            if (b->sim != 0 && waitpid(b->sim, &b->status, WNOHANG) == b->sim) {
                b->sim = 0;
                running--;
                b->took_ms = test_now_ms() - start_ms;
            }
            ck_assert_msg(b->sim == 0 || test_now_ms() < end_ms, "%s: it does not end:\n%s\n%s",
                          b->family, said(b), daemon_log_end(&b->gateway));
        }
    }
}

static void judge(struct bench *b)
{
    const int ended = daemon_end(&b->gateway, SIGTERM);
    ck_assert_msg(ended == 0, "%s: the gateway's exit status is %d:\n%s", b->family, ended,
                  daemon_log_end(&b->gateway));
    ck_assert_msg(strstr(b->gateway.log, "Sanitizer") == NULL, "%s", daemon_log_end(&b->gateway));
    ck_assert_msg(WIFEXITED(b->status) && WEXITSTATUS(b->status) == 0, "%s:\n%s\n%s", b->family,
                  said(b), daemon_log_end(&b->gateway));
    ck_assert_msg(strstr(said(b), "OK: nothing acknowledged was lost") != NULL, "%s", said(b));
    ck_assert_msg(strstr(said(b), "nodes: 40, connected at least once: 40") != NULL, "%s", said(b));
    ck_assert_msg(strstr(said(b), "pulled out 2 times") != NULL, "%s", said(b));
    ck_assert_msg(strstr(said(b), "nodes that got another address") != NULL, "%s", said(b));
    printf("after %d s, %s\n", (int)(b->took_ms / 1000), said(b));
    broker_stop(&b->broker);
    unlink(b->output);
}

START_TEST(forty_nodes_behind_a_stick_of_any_family_lose_nothing)
{
    char plan[PATH_ROOM];
    ck_assert_ptr_nonnull(mkdtemp(directory));
    snprintf(plan, sizeof plan, "%s/scenario", directory);
    write_file(plan, scenario);
    for (unsigned i = 0; i < FAMILIES; i++) {
        benches[i].family = FAMILY[i];
        broker_start(&benches[i].broker, "max_queued_messages 0\nset_tcp_nodelay true\n");
        start_sim(&benches[i], plan);
    }
    for (unsigned i = 0; i < FAMILIES; i++) {
        await_stick(&benches[i]);
        start_gateway(&benches[i]);
    }
    await_end();
    for (unsigned i = 0; i < FAMILIES; i++)
        judge(&benches[i]);
    unlink(plan);
    rmdir(directory);
}

END_TEST

int main(void)
{
    Suite *suite = suite_create("sticks");
    TCase *t = tcase_create("nodes");
    tcase_set_timeout(t, 240);
    tcase_add_test(t, forty_nodes_behind_a_stick_of_any_family_lose_nothing);
    suite_add_tcase(suite, t);
    return run_suite(suite);
}
