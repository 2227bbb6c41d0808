/* SPDX-License-Identifier: Apache-2.0 */
/*
 * For LD_PRELOAD, in tests only: a disk that takes its time. The file that SENNET_DISK names holds two
 * numbers, read anew each time: for how many milliseconds a sync hangs, and how many of them do so
 * ("0": all). With "2100 1" only the first one of the process hangs.
 */
#include <dlfcn.h>
#include <errno.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

typedef int sync_file(int fd);

static atomic_uint synced;

static void hang(void)
{
    const char *path = getenv("SENNET_DISK");
    FILE *f = path != NULL ? fopen(path, "re") : NULL;
    unsigned ms = 0, times = 0;
    if (f == NULL)
        return;
    const int n = fscanf(f, "%u %u", &ms, &times);
    fclose(f);
    const unsigned before = atomic_fetch_add(&synced, 1);
    if (n < 1 || (times > 0 && before >= times))
        return;
    struct timespec left = {.tv_sec = ms / 1000, .tv_nsec = ms % 1000 * 1000000L};
    while (nanosleep(&left, &left) != 0 && errno == EINTR)
        ;
}

static sync_file *real(const char *name)
{
    sync_file *out = NULL;
    void *found = dlsym(RTLD_NEXT, name);
    if (found == NULL)
        abort();
    memcpy(&out, &found, sizeof out); /* a data pointer made a function pointer */
    return out;
}

int fsync(int fd)
{
    hang();
    return real("fsync")(fd);
}

/* NOLINTNEXTLINE(readability-inconsistent-declaration-parameter-name): the system's are reserved */
int fdatasync(int fd)
{
    hang();
    return real("fdatasync")(fd);
}
