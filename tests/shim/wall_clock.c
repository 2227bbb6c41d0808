/* SPDX-License-Identifier: Apache-2.0 */
/*
 * For LD_PRELOAD, in tests only: a clock on the wall that a test sets. The file that SENNET_CLOCK
 * names holds a 64-bit number of seconds, in the machine's order, by which it is wrong; the test may
 * change it at any time. The monotonic clock is as it is, and so is the kernel: who adds something to
 * the time of day and waits until then, waits for years when the clock is ahead, and not at all when
 * it is behind.
 */
#include <fcntl.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

static const volatile int64_t *wrong_s;
static const int64_t right;

__attribute__((constructor)) static void look(void)
{
    wrong_s = &right;
    const char *path = getenv("SENNET_CLOCK");
    const int fd = path != NULL ? open(path, O_RDONLY | O_CLOEXEC) : -1;
    if (fd < 0)
        return;
    void *at = mmap(NULL, sizeof *wrong_s, PROT_READ, MAP_SHARED, fd, 0);
    close(fd);
    if (at != MAP_FAILED)
        wrong_s = at;
}

/* Others may ask before our constructor has run. */
static int64_t wrong(void)
{
    return wrong_s != NULL ? *wrong_s : 0;
}

int clock_gettime(clockid_t clock, struct timespec *t)
{
    const long rc = syscall(SYS_clock_gettime, clock, t);
    if (rc == 0 &&
        (clock == CLOCK_REALTIME || clock == CLOCK_REALTIME_COARSE || clock == CLOCK_TAI))
        t->tv_sec += wrong();
    return (int)rc;
}

/* NOLINTNEXTLINE(readability-inconsistent-declaration-parameter-name): the system's are reserved */
int gettimeofday(struct timeval *tv, void *zone)
{
    (void)zone;
    struct timespec t;
    const int rc = clock_gettime(CLOCK_REALTIME, &t);
    *tv = (struct timeval){.tv_sec = t.tv_sec, .tv_usec = t.tv_nsec / 1000};
    return rc;
}

/* NOLINTNEXTLINE(readability-inconsistent-declaration-parameter-name): the system's are reserved */
time_t time(time_t *out)
{
    struct timespec t;
    clock_gettime(CLOCK_REALTIME, &t);
    if (out != NULL)
        *out = t.tv_sec;
    return t.tv_sec;
}
