/* SPDX-License-Identifier: Apache-2.0 */
#include "e2e/subscriber.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include <check.h>

#include "unit/child.h"

enum { LINE = 1024, SOON_MS = 10000 };

static struct {
    const struct daemon *gateway;
    pid_t pid;
    int output;
    char line[LINE];
} sub;

const char *subscriber_line(void)
{
    size_t n = 0;
    while (n + 1 < sizeof sub.line) {
        struct pollfd p = {.fd = sub.output, .events = POLLIN};
        ck_assert_msg(poll(&p, 1, SOON_MS) == 1, "no message:\n%s", daemon_log_end(sub.gateway));
        ck_assert_int_eq(read(sub.output, sub.line + n, 1), 1);
        if (sub.line[n] == '\n')
            break;
        n++;
    }
    sub.line[n] = '\0';
    return sub.line;
}

/* The first message is one that waits at the broker, and comes when it has subscribed. */
void subscriber_start(const struct broker *b, const struct daemon *gateway)
{
    char text[8];
    int ends[2];
    posix_spawn_file_actions_t actions;
    const char *const waiting[] = {
        "mosquitto_pub", "-p", text, "-t", "waiting", "-m", "x", "-r", NULL};
    const char *const words[] = {"mosquitto_sub", "-V", "5", "-p", text, "-t", "#", "-q", "2", "-F",
                                 "%t %p [%E] %P", NULL};
    sub.gateway = gateway;
    snprintf(text, sizeof text, "%u", b->port);
    broker_run(b, waiting);
    ck_assert_int_eq(pipe2(ends, O_CLOEXEC), 0);
    posix_spawn_file_actions_init(&actions);
    posix_spawn_file_actions_adddup2(&actions, ends[1], STDOUT_FILENO);
    ck_assert_int_eq(
        posix_spawnp(&sub.pid, words[0], &actions, NULL, (char *const *)(uintptr_t)words, environ),
        0);
    posix_spawn_file_actions_destroy(&actions);
    close(ends[1]);
    sub.output = ends[0];
    ck_assert_int_eq(strncmp(subscriber_line(), "waiting x ", 10), 0);
}

void subscriber_stop(void)
{
    kill(sub.pid, SIGTERM);
    child_wait(sub.pid, SOON_MS, "mosquitto_sub");
    close(sub.output);
}
