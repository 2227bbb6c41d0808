/* SPDX-License-Identifier: Apache-2.0 */
#include "radio/sockaddr.h"

#include <arpa/inet.h>
#include <errno.h>
#include <net/if.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

/* The strict decimal number that `text` is, or -1: no sign, no blank, nothing above `max`. */
static int64_t decimal(const char *text, int64_t max)
{
    int64_t value = 0;
    if (*text == '\0')
        return -1;
    for (; *text != '\0'; text++) {
        if (*text < '0' || *text > '9')
            return -1;
        value = value * 10 + (*text - '0');
        if (value > max)
            return -1;
    }
    return value;
}

static int bad(const char *text, char *error, size_t error_size)
{
    snprintf(error, error_size,
             "'%s' is not an address with a port; write it like 127.0.0.1:1884 or [::1]:1884 "
             "(host names are not looked up)",
             text);
    return -EINVAL;
}

/* Splits off what follows `mark`; NULL when there is no mark. */
static char *cut(char *text, char mark)
{
    char *at = strrchr(text, mark);
    if (at == NULL)
        return NULL;
    *at = '\0';
    return at + 1;
}

static int parse_ip4(char *host, in_port_t port, union sock_addr *out)
{
    out->ip4 = (struct sockaddr_in){.sin_family = AF_INET, .sin_port = port};
    return inet_pton(AF_INET, host, &out->ip4.sin_addr) == 1 ? 0 : -EINVAL;
}

static int parse_ip6(char *host, in_port_t port, union sock_addr *out)
{
    out->ip6 = (struct sockaddr_in6){.sin6_family = AF_INET6, .sin6_port = port};
    const char *scope = cut(host, '%');
    if (inet_pton(AF_INET6, host, &out->ip6.sin6_addr) != 1)
        return -EINVAL;
    if (scope == NULL)
        return 0;
    const int64_t number = decimal(scope, UINT32_MAX);
    out->ip6.sin6_scope_id = number > 0 ? (uint32_t)number : if_nametoindex(scope);
    return out->ip6.sin6_scope_id != 0 ? 0 : -ENODEV;
}

int sock_parse(const char *text, union sock_addr *out, char *error, size_t error_size)
{
    char copy[INET6_ADDRSTRLEN + IF_NAMESIZE + sizeof "[%]:65535"];
    if (strlen(text) >= sizeof copy)
        return bad(text, error, error_size);
    memcpy(copy, text, strlen(text) + 1);
    char *host = copy;
    const char *port_text = cut(copy, ':');
    const int64_t port = port_text != NULL ? decimal(port_text, UINT16_MAX) : -1;
    if (port < 0)
        return bad(text, error, error_size);

    int rc = 0;
    if (*host == '[') {
        const char *after = cut(++host, ']');
        rc =
            after != NULL && *after == '\0' ? parse_ip6(host, htons((uint16_t)port), out) : -EINVAL;
    } else {
        rc = parse_ip4(host, htons((uint16_t)port), out);
    }
    if (rc == -ENODEV) {
        snprintf(error, error_size,
                 "'%s' names an interface that this machine does not have; "
                 "see `ip link`",
                 text);
    } else if (rc != 0) {
        bad(text, error, error_size);
    }
    return rc;
}

socklen_t sock_len(const union sock_addr *a)
{
    return a->any.sa_family == AF_INET ? sizeof a->ip4 : sizeof a->ip6;
}

bool sock_is_wildcard(const union sock_addr *a)
{
    if (a->any.sa_family == AF_INET)
        return a->ip4.sin_addr.s_addr == htonl(INADDR_ANY);
    return IN6_IS_ADDR_UNSPECIFIED(&a->ip6.sin6_addr);
}

struct peer *sock_to_peer(struct peer_room *room, uint16_t link, const union sock_addr *a)
{
    uint8_t octets[PEER_ADDR_MAX];
    struct writer w = wr_to(octets, sizeof octets);
    if (a->any.sa_family == AF_INET) {
        wr_bytes(&w, bytes_of(&a->ip4.sin_addr, 4));
        wr_u16(&w, ntohs(a->ip4.sin_port));
        return peer_make(room, link, PEER_IP4, bytes_of(octets, wr_close(&w)));
    }
    wr_bytes(&w, bytes_of(&a->ip6.sin6_addr, 16));
    wr_u16(&w, ntohs(a->ip6.sin6_port));
    wr_u32(&w, a->ip6.sin6_scope_id);
    return peer_make(room, link, PEER_IP6, bytes_of(octets, wr_close(&w)));
}

bool sock_from_peer(const struct peer *p, sa_family_t family, union sock_addr *out)
{
    struct reader r = rd_of(bytes_of(p->bytes, p->addr_len));
    if (family == AF_INET && p->kind == PEER_IP4) {
        out->ip4 = (struct sockaddr_in){.sin_family = AF_INET};
        const struct bytes address = rd_bytes(&r, 4);
        out->ip4.sin_port = htons(rd_u16(&r));
        if (!rd_close(&r))
            return false;
        memcpy(&out->ip4.sin_addr, address.data, address.len);
        return true;
    }
    if (family == AF_INET6 && p->kind == PEER_IP6) {
        out->ip6 = (struct sockaddr_in6){.sin6_family = AF_INET6};
        const struct bytes address = rd_bytes(&r, 16);
        out->ip6.sin6_port = htons(rd_u16(&r));
        out->ip6.sin6_scope_id = rd_u32(&r);
        if (!rd_close(&r))
            return false;
        memcpy(&out->ip6.sin6_addr, address.data, address.len);
        return true;
    }
    return false;
}

static const char *advice(int error)
{
    switch (error) {
    case EADDRINUSE:
        return "is already in use (another sennetd? see `ss -lunp`)";
    case EADDRNOTAVAIL:
        return "is not an address of this machine; see `ip address`, or listen on 0.0.0.0 or [::]";
    case EACCES:
    case EPERM:
        return "needs a privilege that this process does not have; take a port above 1023";
    case EAFNOSUPPORT:
        return "needs an address family that is switched off on this machine";
    default:
        return NULL;
    }
}

int sock_explain(int error, const char *listen, char *text, size_t text_size)
{
    const char *known = advice(error);
    if (known != NULL)
        snprintf(text, text_size, "%s %s", listen, known);
    else
        snprintf(text, text_size, "can't listen on %s: %s", listen, strerror(error));
    return -error;
}

static int set_on(int fd, int level, int option)
{
    const int on = 1;
    return setsockopt(fd, level, option, &on, sizeof on);
}

int sock_open_udp(const union sock_addr *address)
{
    const int family = address->any.sa_family;
    const int fd = socket(family, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, IPPROTO_UDP);
    if (fd < 0)
        return -errno;
    const bool wildcard = sock_is_wildcard(address);
    int rc = set_on(fd, SOL_SOCKET, SO_RXQ_OVFL);
    if (rc == 0 && family == AF_INET6)
        rc = set_on(fd, IPPROTO_IPV6, IPV6_V6ONLY);
    if (rc == 0 && wildcard)
        rc = family == AF_INET ? set_on(fd, IPPROTO_IP, IP_PKTINFO)
                               : set_on(fd, IPPROTO_IPV6, IPV6_RECVPKTINFO);
    /* Linux hands what comes to a group to every socket on its port, unless told not to. */
    const int off = 0;
    if (family == AF_INET)
        setsockopt(fd, IPPROTO_IP, IP_MULTICAST_ALL, &off, sizeof off);
    else
        setsockopt(fd, IPPROTO_IPV6, IPV6_MULTICAST_ALL, &off, sizeof off);
    if (rc == 0)
        rc = bind(fd, &address->any, sock_len(address));
    if (rc == 0)
        return fd;
    const int error = errno;
    close(fd);
    return -error;
}

/* Only an own address can be bound. */
bool sock_is_local(const union sock_addr *a)
{
    union sock_addr any_port = *a;
    const int fd = socket(a->any.sa_family, SOCK_DGRAM | SOCK_CLOEXEC, IPPROTO_UDP);
    if (fd < 0)
        return false;
    if (a->any.sa_family == AF_INET)
        any_port.ip4.sin_port = 0;
    else
        any_port.ip6.sin6_port = 0;
    const bool local = bind(fd, &any_port.any, sock_len(&any_port)) == 0;
    close(fd);
    return local;
}

static void put_control(struct msghdr *h, int level, int type, const void *data, size_t len)
{
    struct cmsghdr *c = CMSG_FIRSTHDR(h);
    if (c == NULL) /* no room: the system chooses */
        return;
    c->cmsg_level = level;
    c->cmsg_type = type;
    c->cmsg_len = CMSG_LEN(len);
    memcpy(CMSG_DATA(c), data, len);
    h->msg_controllen = CMSG_SPACE(len);
}

void sock_put_source(struct msghdr *h, sa_family_t family, const void *address)
{
    if (family == AF_INET) {
        struct in_pktinfo info = {0};
        memcpy(&info.ipi_spec_dst, address, sizeof info.ipi_spec_dst);
        put_control(h, IPPROTO_IP, IP_PKTINFO, &info, sizeof info);
    } else {
        struct in6_pktinfo info = {0};
        memcpy(&info.ipi6_addr, address, sizeof info.ipi6_addr);
        put_control(h, IPPROTO_IPV6, IPV6_PKTINFO, &info, sizeof info);
    }
}

void sock_put_hops(struct msghdr *h, sa_family_t family, int hops)
{
    if (family == AF_INET)
        put_control(h, IPPROTO_IP, IP_TTL, &hops, sizeof hops);
    else
        put_control(h, IPPROTO_IPV6, IPV6_HOPLIMIT, &hops, sizeof hops);
}

uint32_t sock_receive_buffer(int fd, uint32_t asked)
{
    const int want = asked <= INT32_MAX / 2 ? (int)asked : INT32_MAX / 2;
    if (want > 0 && setsockopt(fd, SOL_SOCKET, SO_RCVBUFFORCE, &want, sizeof want) != 0)
        setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &want, sizeof want);
    int granted = 0;
    socklen_t len = sizeof granted;
    getsockopt(fd, SOL_SOCKET, SO_RCVBUF, &granted, &len);
    return (uint32_t)granted / 2; /* the system keeps twice what it grants, for bookkeeping */
}
