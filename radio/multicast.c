/* SPDX-License-Identifier: Apache-2.0 */
#include "radio/multicast.h"

#include <arpa/inet.h>
#include <errno.h>
#include <ifaddrs.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { TEXT_MAX = 128 };

static int set(int fd, int level, int option, int value)
{
    return setsockopt(fd, level, option, &value, sizeof value) == 0 ? 0 : -errno;
}

/* ---- reading ---------------------------------------------------------------------------------- */

static int bad(const char *text, char *error, size_t error_size)
{
    snprintf(error, error_size,
             "'%s' is not a multicast group with a port; write it like 225.1.1.1:1885, or with the "
             "interface, 225.1.1.1:1885@192.0.2.1 or [ff02::1:ff]:1885@eth0",
             text);
    return -EINVAL;
}

static bool is_multicast(const union sock_addr *a)
{
    if (a->any.sa_family == AF_INET)
        return IN_MULTICAST(ntohl(a->ip4.sin_addr.s_addr));
    return IN6_IS_ADDR_MULTICAST(&a->ip6.sin6_addr);
}

static in_port_t port_of(const union sock_addr *a)
{
    return a->any.sa_family == AF_INET ? a->ip4.sin_port : a->ip6.sin6_port;
}

/* Whatever the system would take for a name; it need not be there yet. */
static bool take_name(struct multicast *m, const char *text)
{
    const size_t len = strlen(text);
    if (len == 0 || len >= sizeof m->name || strpbrk(text, "/ :") != NULL)
        return false;
    memcpy(m->name, text, len + 1);
    return true;
}

/* What stands behind '@': an address, a link-local address with its interface, or a name. */
static bool take_interface(struct multicast *m, char *text)
{
    const sa_family_t family = m->group.any.sa_family;
    char *scope = strchr(text, '%');
    if (scope != NULL)
        *scope++ = '\0';
    struct in6_addr room;
    if (inet_pton(family, text, &room) == 1) {
        if (scope != NULL)
            return family == AF_INET6 && take_name(m, scope);
        m->interface = (union sock_addr){.any.sa_family = family};
        if (family == AF_INET)
            memcpy(&m->interface.ip4.sin_addr, &room, sizeof m->interface.ip4.sin_addr);
        else
            m->interface.ip6.sin6_addr = room;
        return true;
    }
    /* "192.0.2" is no name, but a slip of the finger. */
    return scope == NULL && strspn(text, "0123456789.") < strlen(text) && take_name(m, text);
}

static void take_interface_of(struct multicast *m, const union sock_addr *listen)
{
    if (sock_is_wildcard(listen))
        return;
    if (listen->any.sa_family == AF_INET6 && listen->ip6.sin6_scope_id != 0)
        snprintf(m->name, sizeof m->name, "%u", listen->ip6.sin6_scope_id);
    else
        m->interface = *listen;
}

/* Two sockets on one port, one of them on every address, would take each other's packets. */
static int check_against(const struct multicast *m, const union sock_addr *listen, char *error,
                         size_t error_size)
{
    if (m->group.any.sa_family != listen->any.sa_family) {
        snprintf(error, error_size,
                 "group and 'listen' must both be IPv4 or both IPv6; a second link can have the "
                 "other");
        return -EINVAL;
    }
    if (sock_is_wildcard(listen) && port_of(listen) == port_of(&m->group)) {
        snprintf(error, error_size,
                 "'listen' on all addresses takes port %u already; give the group another port, or "
                 "listen on one address only",
                 ntohs(port_of(listen)));
        return -EINVAL;
    }
    return 0;
}

int multicast_parse(const char *text, const union sock_addr *listen, struct multicast *out,
                    char *error, size_t error_size)
{
    char copy[TEXT_MAX];
    char reason[TEXT_MAX * 2];
    *out = (struct multicast){0};
    if (strlen(text) >= sizeof copy)
        return bad(text, error, error_size);
    memcpy(copy, text, strlen(text) + 1);
    char *interface = strchr(copy, '@');
    if (interface != NULL)
        *interface++ = '\0';
    if (strchr(copy, '%') != NULL || sock_parse(copy, &out->group, reason, sizeof reason) != 0 ||
        !is_multicast(&out->group) || port_of(&out->group) == 0)
        return bad(text, error, error_size);
    if (interface != NULL && !take_interface(out, interface))
        return bad(text, error, error_size);
    if (interface == NULL)
        take_interface_of(out, listen);
    return check_against(out, listen, error, error_size);
}

/* ---- joining ---------------------------------------------------------------------------------- */

static bool same_address(const struct sockaddr *one, const union sock_addr *two)
{
    union sock_addr a;
    if (one == NULL || one->sa_family != two->any.sa_family)
        return false;
    memcpy(&a, one, sock_len(two));
    if (one->sa_family == AF_INET)
        return a.ip4.sin_addr.s_addr == two->ip4.sin_addr.s_addr;
    return IN6_ARE_ADDR_EQUAL(&a.ip6.sin6_addr, &two->ip6.sin6_addr);
}

static int interface_with(const union sock_addr *address)
{
    struct ifaddrs *all = NULL;
    unsigned index = 0;
    if (getifaddrs(&all) != 0)
        return -errno;
    for (const struct ifaddrs *i = all; i != NULL && index == 0; i = i->ifa_next) {
        if (same_address(i->ifa_addr, address))
            index = if_nametoindex(i->ifa_name);
    }
    freeifaddrs(all);
    return index != 0 ? (int)index : -ENODEV;
}

/* Names may be numbers behind '%' only, but nobody calls an interface "4". */
static int interface_named(const char *name)
{
    const unsigned index = if_nametoindex(name);
    if (index != 0)
        return (int)index;
    char back[IF_NAMESIZE];
    char *end = NULL;
    const unsigned long number = strtoul(name, &end, 10);
    if (*end != '\0' || number == 0 || number > INT32_MAX ||
        if_indextoname((unsigned)number, back) == NULL)
        return -ENODEV;
    return (int)number;
}

int multicast_interface(const struct multicast *m)
{
    if (m->name[0] != '\0')
        return interface_named(m->name);
    if (m->interface.any.sa_family != AF_UNSPEC)
        return interface_with(&m->interface);
    return 0;
}

/* What we say is to be heard on this machine as well: nodes may run here. */
static int prepare_sender(const struct multicast *m, int interface, int sender)
{
    if (m->group.any.sa_family == AF_INET6) {
        const int rc = set(sender, IPPROTO_IPV6, IPV6_MULTICAST_IF, interface);
        return rc == 0 ? set(sender, IPPROTO_IPV6, IPV6_MULTICAST_LOOP, 1) : rc;
    }
    struct ip_mreqn via = {.imr_ifindex = interface};
    if (m->interface.any.sa_family == AF_INET)
        via.imr_address = m->interface.ip4.sin_addr;
    if (setsockopt(sender, IPPROTO_IP, IP_MULTICAST_IF, &via, sizeof via) != 0)
        return -errno;
    return set(sender, IPPROTO_IP, IP_MULTICAST_LOOP, 1);
}

/* Bound to the group's own address, so that nothing else on the port arrives; and shared, because
 * other programs on this machine may want to hear the group. */
static int bind_and_join(const struct multicast *m, int interface, int fd)
{
    const bool ip6 = m->group.any.sa_family == AF_INET6;
    const int level = ip6 ? IPPROTO_IPV6 : IPPROTO_IP;
    union sock_addr at = m->group;
    if (ip6)
        at.ip6.sin6_scope_id = (uint32_t)interface;
    int rc = set(fd, SOL_SOCKET, SO_REUSEADDR, 1);
    if (rc == 0 && ip6)
        rc = set(fd, IPPROTO_IPV6, IPV6_V6ONLY, 1);
    if (rc == 0)
        set(fd, level, ip6 ? IPV6_MULTICAST_ALL : IP_MULTICAST_ALL, 0);
    if (rc == 0 && bind(fd, &at.any, sock_len(&at)) != 0)
        rc = -errno;
    if (rc != 0)
        return rc;
    struct group_req join = {.gr_interface = (uint32_t)interface};
    memcpy(&join.gr_group, &m->group, sock_len(&m->group));
    return setsockopt(fd, level, MCAST_JOIN_GROUP, &join, sizeof join) == 0 ? 0 : -errno;
}

int multicast_join(const struct multicast *m, int interface, int sender)
{
    const int fd =
        socket(m->group.any.sa_family, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, IPPROTO_UDP);
    if (fd < 0)
        return -errno;
    int rc = bind_and_join(m, interface, fd);
    if (rc == 0)
        rc = prepare_sender(m, interface, sender);
    if (rc == 0)
        return fd;
    close(fd);
    return rc;
}
