/* SPDX-License-Identifier: Apache-2.0 */
#include "e2e/simulator.h"

#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <unistd.h>

#include <check.h>

#include "e2e/daemon.h"
#include "unit/child.h"

enum { OUTPUT_MAX = 65536, ARGUMENTS_MAX = 60 };

static struct {
    pid_t pid;
    int fd;
    size_t len;
    char output[OUTPUT_MAX];
} sim;

void sim_start(uint16_t gateway_port, const char *options)
{
    static char line[2048];
    snprintf(line, sizeof line, "sennet-sim --gateway 127.0.0.1:%u --plain %s", gateway_port,
             options);
    char *arguments[ARGUMENTS_MAX + 1] = {0};
    char *rest = line;
    for (int i = 0; i < ARGUMENTS_MAX && rest != NULL; i++)
        arguments[i] = strsep(&rest, " ");
    ck_assert_ptr_null(rest);
    const char *program = getenv("SENNET_SIM");
    ck_assert_msg(program != NULL, "set SENNET_SIM to the program under test");
    int ends[2];
    ck_assert_int_eq(pipe(ends), 0);
    sim.len = 0;
    sim.pid = fork();
    ck_assert_int_ge(sim.pid, 0);
    if (sim.pid == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        dup2(ends[1], STDOUT_FILENO);
        dup2(ends[1], STDERR_FILENO);
        close(ends[0]);
        close(ends[1]);
        execv(program, arguments);
        _exit(127);
    }
    close(ends[1]);
    sim.fd = ends[0];
}

int sim_fd(void)
{
    return sim.fd;
}

bool sim_read(void)
{
    const ssize_t n = read(sim.fd, sim.output + sim.len, sizeof sim.output - 1 - sim.len);
    if (n <= 0)
        return false;
    sim.len += (size_t)n;
    sim.output[sim.len] = '\0';
    return true;
}

const char *sim_output(void)
{
    return sim.output;
}

int sim_status(void)
{
    close(sim.fd);
    const int status = child_wait(sim.pid, SIMULATOR_LIMIT_MS, "sennet-sim");
    ck_assert_msg(WIFEXITED(status), "it did not exit by itself:\n%s", sim.output);
    return WEXITSTATUS(status);
}

int sim_wait(void)
{
    struct pollfd p = {.fd = sim.fd, .events = POLLIN};
    const int64_t end_ms = test_now_ms() + SIMULATOR_LIMIT_MS;
    do {
        ck_assert_msg(test_now_ms() < end_ms, "it did not end:\n%s", sim.output);
        poll(&p, 1, 1000);
    } while (p.revents == 0 || sim_read());
    return sim_status();
}

void sim_signal(int signal)
{
    ck_assert_int_eq(kill(sim.pid, signal), 0);
}

void assert_said(const char *text)
{
    ck_assert_msg(strstr(sim.output, text) != NULL, "\"%s\" is not in:\n%s", text, sim.output);
}
