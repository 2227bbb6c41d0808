/* SPDX-License-Identifier: Apache-2.0 */
#include "tools/net.h"

#include <netdb.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "base/error.h"

int64_t net_now_ms(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

static int bind_to(int fd, int family, const char *address)
{
    const struct addrinfo hints = {
        .ai_family = family, .ai_socktype = SOCK_DGRAM, .ai_flags = AI_PASSIVE};
    struct addrinfo *local;
    if (getaddrinfo(address, "0", &hints, &local) != 0)
        return -EADDRNOTAVAIL;
    const int result = bind(fd, local->ai_addr, local->ai_addrlen) == 0 ? 0 : -errno;
    freeaddrinfo(local);
    return result;
}

/* The socket, or -errno. */
static int try_address(const struct addrinfo *to, const char *bind_address)
{
    const int fd = socket(to->ai_family, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return -errno;
    int result = bind_address != NULL ? bind_to(fd, to->ai_family, bind_address) : 0;
    if (result == 0 && connect(fd, to->ai_addr, to->ai_addrlen) != 0)
        result = -errno;
    if (result == 0)
        return fd;
    close(fd);
    return result;
}

static void name_peer(struct net *n, const struct addrinfo *to)
{
    char host[NI_MAXHOST];
    char service[NI_MAXSERV];
    if (getnameinfo(to->ai_addr, to->ai_addrlen, host, sizeof host, service, sizeof service,
                    NI_NUMERICHOST | NI_NUMERICSERV) != 0)
        snprintf(n->name, sizeof n->name, "the gateway");
    else
        snprintf(n->name, sizeof n->name, to->ai_family == AF_INET6 ? "[%.60s]:%.8s" : "%.60s:%.8s",
                 host, service);
}

int net_next(struct net *n)
{
    int result = -EADDRNOTAVAIL;
    while (n->next != NULL && result < 0) {
        const struct addrinfo *to = n->next;
        n->next = to->ai_next;
        result = try_address(to, n->bind_address);
        if (result >= 0)
            name_peer(n, to);
    }
    if (result < 0)
        return result;
    if (n->fd >= 0)
        close(n->fd);
    n->fd = result;
    return 0;
}

int net_open(struct net *n, const char *host, uint16_t port, const char *bind_address, char *why,
             size_t why_size)
{
    *n = (struct net){.fd = -1, .bind_address = bind_address};
    char service[8];
    snprintf(service, sizeof service, "%u", (unsigned)port);
    const struct addrinfo hints = {.ai_family = AF_UNSPEC, .ai_socktype = SOCK_DGRAM};
    const int failure = getaddrinfo(host, service, &hints, &n->list);
    if (failure != 0) {
        snprintf(why, why_size, "cannot resolve host '%s': %s", host, gai_strerror(failure));
        return -EHOSTUNREACH;
    }
    n->next = n->list;
    const int result = net_next(n);
    if (result < 0) {
        snprintf(why, why_size, "cannot open a UDP socket to %s port %u%s%s: %s", host,
                 (unsigned)port, bind_address != NULL ? " from " : "",
                 bind_address != NULL ? bind_address : "", strerror(-result));
        net_close(n);
    }
    return result;
}

void net_close(struct net *n)
{
    if (n->fd >= 0)
        close(n->fd);
    if (n->list != NULL)
        freeaddrinfo(n->list);
    *n = (struct net){.fd = -1};
}
