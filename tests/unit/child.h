/* SPDX-License-Identifier: Apache-2.0 */
/* The end of processes that a test has started, which it does not wait for without a bound. */
#ifndef SENNET_TESTS_UNIT_CHILD_H
#define SENNET_TESTS_UNIT_CHILD_H

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/types.h>
#include <sys/wait.h>
#include <unistd.h>

#include <check.h>

enum { CHILD_REPORT_ROOM = 1024, CHILD_SOON_MS = 30000 };

/* Lines of /proc/PID/status: what it is doing, and which signals wait for it, are blocked, ignored or
 * caught; and in which function of the kernel it sleeps. */
static inline void child_report(pid_t pid, char report[CHILD_REPORT_ROOM])
{
    char line[256];
    size_t len = 0;

    report[0] = '\0';
    snprintf(line, sizeof line, "/proc/%d/status", (int)pid);
    FILE *f = fopen(line, "r");
    while (f != NULL && fgets(line, sizeof line, f) != NULL) {
        const bool tells = strncmp(line, "State:", 6) == 0 || strncmp(line, "Sig", 3) == 0 ||
                           strncmp(line, "ShdPnd:", 7) == 0 || strncmp(line, "TracerPid:", 10) == 0;
        if (tells && len + strlen(line) < CHILD_REPORT_ROOM)
            len += (size_t)snprintf(report + len, CHILD_REPORT_ROOM - len, "%s", line);
    }
    if (f != NULL)
        fclose(f);
    snprintf(line, sizeof line, "/proc/%d/wchan", (int)pid);
    f = fopen(line, "r");
    if (f != NULL && fgets(line, sizeof line, f) != NULL)
        snprintf(report + len, CHILD_REPORT_ROOM - len, "wchan:\t%s\n", line);
    if (f != NULL)
        fclose(f);
}

/* Whether it ends within this time; then it is gone, and `*status` is what waitpid() says. */
static inline bool child_ends(pid_t pid, int within_ms, int *status)
{
    struct pollfd p = {.fd = (int)syscall(SYS_pidfd_open, pid, 0), .events = POLLIN};

    ck_assert_msg(p.fd >= 0, "process %d can't be waited for: %s", (int)pid, strerror(errno));
    const bool has_ended = TEMP_FAILURE_RETRY(poll(&p, 1, within_ms)) == 1;
    close(p.fd);
    if (has_ended)
        ck_assert_int_eq(waitpid(pid, status, 0), pid);
    return has_ended;
}

/* The test fails, with what the kernel says of a process that should have ended. */
static inline void child_hangs(pid_t pid, const char *name)
{
    char report[CHILD_REPORT_ROOM];

    child_report(pid, report);
    kill(pid, SIGKILL);
    ck_abort_msg("%s (process %d) does not end:\n%s", name, (int)pid, report);
}

/* What waitpid() says of it. The test fails if it does not end within this time. */
static inline int child_wait(pid_t pid, int within_ms, const char *name)
{
    int status = -1;

    if (!child_ends(pid, within_ms, &status))
        child_hangs(pid, name);
    return status;
}

#endif
