/* SPDX-License-Identifier: Apache-2.0 */
/*
 * For LD_PRELOAD, in tests only: a name service that a test can take away. What it does with the
 * names of "test." (RFC 6761) stands in the file that SENNET_RESOLVER names, each time anew:
 *
 *     up      they are this machine
 *     down    the name server refuses at once
 *     hang    it does not answer, and the caller gives up after ten seconds, as with the two
 *             attempts of five seconds each that resolv.conf(5) has by default
 */
#include <dlfcn.h>
#include <fcntl.h>
#include <netdb.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

enum { HANGS_S = 10 };

typedef int resolve(const char *node, const char *service, const struct addrinfo *hints,
                    struct addrinfo **result);

static bool ends_with(const char *text, const char *end)
{
    const size_t n = strlen(text), k = strlen(end);
    return n >= k && strcmp(text + n - k, end) == 0;
}

/* The first letter of the file. */
static char mode(void)
{
    const char *path = getenv("SENNET_RESOLVER");
    char letter = 'u';
    const int fd = path != NULL ? open(path, O_RDONLY | O_CLOEXEC) : -1;
    if (fd < 0)
        return letter;
    if (read(fd, &letter, 1) != 1)
        letter = 'u';
    close(fd);
    return letter;
}

/* NOLINTNEXTLINE(readability-inconsistent-declaration-parameter-name): the system's are reserved */
int getaddrinfo(const char *node, const char *service, const struct addrinfo *hints,
                struct addrinfo **result)
{
    resolve *next = NULL;
    void *found = dlsym(RTLD_NEXT, "getaddrinfo");
    if (found == NULL)
        abort();
    memcpy(&next, &found, sizeof next); /* a data pointer made a function pointer */
    if (node == NULL || !ends_with(node, ".test"))
        return next(node, service, hints, result);
    const char m = mode();
    if (m == 'h') {
        struct timespec left = {.tv_sec = HANGS_S};
        while (nanosleep(&left, &left) != 0)
            ;
    }
    return m == 'u' ? next("127.0.0.1", service, hints, result) : EAI_AGAIN;
}
