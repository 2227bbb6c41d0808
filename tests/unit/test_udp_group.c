/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The multicast group of a UDP link, under a real loop, on the loopback interface. Nothing sleeps:
 * the loop runs until what is expected has happened; a timer ends it when it never does.
 *
 * Wrapped (linker option): uv_timer_start(), so that ten seconds pass in ten milliseconds;
 * setsockopt() and if_nametoindex(), so that networks are down and interfaces come and go.
 *
 * "test_udp_group ip6" needs an interface with IPv6 and multicast, which loopback is not; without
 * one it is skipped. What it sends is of interface-local scope and does not leave the machine.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <ifaddrs.h>
#include <net/if.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <check.h>
#include <uv.h>

#include "radio/link.h"
#include "radio/multicast.h"
#include "unit/suite.h"

enum { SAFETY_MS = 10000, MAX_PACKET = 64, FASTER = 1000, EXIT_SKIPPED = 77, LINK = 7 };

/* ---- what is wrapped --------------------------------------------------------------------------- */

int __real_uv_timer_start(uv_timer_t *timer, uv_timer_cb cb, uint64_t timeout, uint64_t repeat);
int __wrap_uv_timer_start(uv_timer_t *timer, uv_timer_cb cb, uint64_t timeout, uint64_t repeat);
int __real_setsockopt(int fd, int level, int option, const void *value, socklen_t len);
int __wrap_setsockopt(int fd, int level, int option, const void *value, socklen_t len);
unsigned __real_if_nametoindex(const char *name);
unsigned __wrap_if_nametoindex(const char *name);

static struct {
    const int *joins; /* errno of the next joins, ended by 0; then they pass */
    const char *name; /* letters: '-' the interface "stick0" is away, '+' it is there; last stays */
    uint64_t waits[16]; /* timers started by the link, ms */
    unsigned n_waits;
} script;

int __wrap_uv_timer_start(uv_timer_t *timer, uv_timer_cb cb, uint64_t timeout, uint64_t repeat)
{
    if (script.n_waits < 16)
        script.waits[script.n_waits++] = timeout;
    return __real_uv_timer_start(timer, cb, timeout / FASTER, repeat / FASTER);
}

int __wrap_setsockopt(int fd, int level, int option, const void *value, socklen_t len)
{
    if (option == MCAST_JOIN_GROUP && script.joins != NULL && *script.joins != 0) {
        errno = *script.joins++;
        return -1;
    }
    return __real_setsockopt(fd, level, option, value, len);
}

unsigned __wrap_if_nametoindex(const char *name)
{
    if (strcmp(name, "stick0") != 0 || script.name == NULL)
        return __real_if_nametoindex(name);
    const char now = *script.name;
    if (script.name[1] != '\0')
        script.name++;
    return now == '+' ? __real_if_nametoindex("lo") : 0;
}

/* ---- a link ------------------------------------------------------------------------------------ */

struct heard {
    uint64_t count;
    char text[MAX_PACKET + 1];
    struct peer_room from;
};

struct world {
    uv_loop_t loop;
    uv_timer_t safety;
    struct link *link;
    const struct link_counters *counters;
    struct heard unicast, group;
    uint64_t batches, joined, lost, failures;
    char event[500];
    bool close_in_callback;
    bool late;
};

static void note(struct world *w, struct heard *h, const struct peer *from, struct bytes packet)
{
    ck_assert_ptr_nonnull(w->link);
    ck_assert_uint_le(packet.len, MAX_PACKET);
    h->count++;
    memcpy(h->text, packet.data, packet.len);
    h->text[packet.len] = '\0';
    peer_copy(&h->from, from);
    if (w->close_in_callback) {
        w->link->driver->close(w->link);
        w->link = NULL;
    }
}

static void on_packet(void *owner, const struct peer *from, const struct link_signal *signal,
                      struct bytes packet)
{
    note(owner, &((struct world *)owner)->unicast, signal == NULL ? from : NULL, packet);
}

static void on_group_packet(void *owner, const struct peer *from, struct bytes packet)
{
    note(owner, &((struct world *)owner)->group, from, packet);
}

static void on_batch_end(void *owner)
{
    struct world *w = owner;
    ck_assert_ptr_nonnull(w->link);
    w->batches++;
}

static void on_group(void *owner, uint16_t link, bool joined)
{
    struct world *w = owner;
    ck_assert_uint_eq(link, LINK);
    *(joined ? &w->joined : &w->lost) += 1;
}

static void on_event(void *owner, uint16_t link, int level, const char *event, const char *text)
{
    struct world *w = owner;
    ck_assert_uint_eq(link, LINK);
    if (strcmp(event, "link.group_failed") == 0) {
        ck_assert_int_eq(level, 4);
        w->failures++;
    }
    snprintf(w->event, sizeof w->event, "%s %s", event, text);
}

static void on_safety(uv_timer_t *timer)
{
    ((struct world *)timer->data)->late = true;
}

static int try_open(struct world *w, const char *listen, const char *group, struct link **out)
{
    char error[500] = "";
    const struct link_config config = {
        .index = LINK, .listen = listen, .multicast = group, .max_packet_bytes = MAX_PACKET};
    const struct link_sink sink = {.owner = w,
                                   .packet = on_packet,
                                   .batch_end = on_batch_end,
                                   .group_packet = on_group_packet,
                                   .group = on_group,
                                   .event = on_event};
    return link_udp.open(&w->loop, &config, &sink, out, error, sizeof error);
}

static void world_open(struct world *w, const char *listen, const char *group)
{
    *w = (struct world){0};
    script.n_waits = 0;
    ck_assert_int_eq(uv_loop_init(&w->loop), 0);
    uv_timer_init(&w->loop, &w->safety);
    w->safety.data = w;
    __real_uv_timer_start(&w->safety, on_safety, SAFETY_MS, 0);
    ck_assert_int_eq(try_open(w, listen, group, &w->link), 0);
    link_udp.start(w->link);
    w->counters = link_udp.counters(w->link);
}

static void world_close(struct world *w)
{
    if (w->link != NULL)
        w->link->driver->close(w->link);
    w->link = NULL;
    uv_close((uv_handle_t *)&w->safety, NULL);
    uv_run(&w->loop, UV_RUN_DEFAULT);
    ck_assert_int_eq(uv_loop_close(&w->loop), 0);
    script.joins = NULL;
    script.name = NULL;
}

static void run_until(struct world *w, const uint64_t *counter, uint64_t target)
{
    while (*counter < target && !w->late)
        uv_run(&w->loop, UV_RUN_ONCE);
    ck_assert_msg(!w->late, "only %lu of %lu; last event: %s", (unsigned long)*counter,
                  (unsigned long)target, w->event);
}

/* Everybody on the link. */
static void send_to_group(struct world *w, uint8_t radius, const char *text)
{
    struct peer_room room;
    link_udp.send(w->link, peer_make_group(&room, LINK, radius), bytes_str(text));
    link_udp.flush(w->link);
}

/* ---- nodes ------------------------------------------------------------------------------------- */

static struct multicast parsed(const char *group, const char *listen)
{
    union sock_addr at;
    struct multicast m;
    char error[500] = "";
    ck_assert_int_eq(sock_parse(listen, &at, error, sizeof error), 0);
    ck_assert_msg(multicast_parse(group, &at, &m, error, sizeof error) == 0, "%s", error);
    return m;
}

/* One socket to hear the group, one to speak. */
struct node {
    int ear, mouth;
    struct multicast m;
    union sock_addr group;
};

static void node_open(struct node *n, const char *group, const char *listen)
{
    const int on = 1;
    char error[200];
    union sock_addr at;
    n->m = parsed(group, listen);
    ck_assert_int_eq(sock_parse(listen, &at, error, sizeof error), 0);
    n->mouth = sock_open_udp(&at);
    ck_assert_int_ge(n->mouth, 0);
    const int interface = multicast_interface(&n->m);
    n->ear = multicast_join(&n->m, interface, n->mouth);
    ck_assert_msg(n->ear >= 0, "%s", strerror(-n->ear));
    n->group = n->m.group;
    if (n->group.any.sa_family == AF_INET6) {
        n->group.ip6.sin6_scope_id = (uint32_t)interface;
        __real_setsockopt(n->ear, IPPROTO_IPV6, IPV6_RECVHOPLIMIT, &on, sizeof on);
    } else {
        __real_setsockopt(n->ear, IPPROTO_IP, IP_RECVTTL, &on, sizeof on);
    }
}

static void node_close(struct node *n)
{
    close(n->ear);
    close(n->mouth);
}

static void node_say(const struct node *n, const union sock_addr *to, const char *text)
{
    const ssize_t len = (ssize_t)strlen(text);
    ck_assert_int_eq(sendto(n->mouth, text, (size_t)len, 0, &to->any, sock_len(to)), len);
}

/* What everybody hears next; returns how many hops it had to go. */
static int node_hear(const struct node *n, const char *text, union sock_addr *from)
{
    char got[MAX_PACKET];
    _Alignas(struct cmsghdr) char control[64];
    struct iovec iov = {.iov_base = got, .iov_len = sizeof got};
    struct msghdr h = {.msg_name = from,
                       .msg_namelen = sizeof *from,
                       .msg_iov = &iov,
                       .msg_iovlen = 1,
                       .msg_control = control,
                       .msg_controllen = sizeof control};
    struct pollfd ready = {.fd = n->ear, .events = POLLIN};
    ck_assert_msg(poll(&ready, 1, SAFETY_MS) == 1, "nothing heard on the group");
    const ssize_t len = recvmsg(n->ear, &h, 0);
    ck_assert_int_eq(len, (ssize_t)strlen(text));
    ck_assert_mem_eq(got, text, strlen(text));
    int hops = -1;
    for (struct cmsghdr *c = CMSG_FIRSTHDR(&h); c != NULL; c = CMSG_NXTHDR(&h, c))
        memcpy(&hops, CMSG_DATA(c), sizeof hops);
    return hops;
}

/* "ADDRESS:PORT" and what follows, with a port that was free a moment ago. */
static const char *group_at(const char *address, const char *behind)
{
    static char text[128];
    union sock_addr any;
    char error[200];
    ck_assert_int_eq(sock_parse("127.0.0.1:0", &any, error, sizeof error), 0);
    const int fd = sock_open_udp(&any);
    socklen_t len = sizeof any;
    ck_assert_int_eq(getsockname(fd, &any.any, &len), 0);
    close(fd);
    snprintf(text, sizeof text, "%s:%u%s", address, ntohs(any.ip4.sin_port), behind);
    return text;
}

static union sock_addr address_of(const struct world *w)
{
    union sock_addr a;
    char error[200];
    ck_assert_int_eq(sock_parse(link_udp.where(w->link), &a, error, sizeof error), 0);
    return a;
}

/* ---- talking ----------------------------------------------------------------------------------- */

/* Both ways through one group: link at `listen`, node at `at`. */
static void talk(const char *group, const char *listen, const char *at, bool wildcard)
{
    struct world w;
    struct node n;
    char text[PEER_TEXT_MAX];
    world_open(&w, listen, group);
    ck_assert_uint_eq(w.joined, 1);
    ck_assert_ptr_nonnull(strstr(w.event, "link.group_joined"));
    node_open(&n, group, at);

    node_say(&n, &n.group, "search");
    run_until(&w, &w.group.count, 1);
    ck_assert_str_eq(w.group.text, "search");
    ck_assert_uint_eq(w.counters->group_in, 1);
    ck_assert_uint_eq(w.counters->packets_in, 1);
    ck_assert_uint_ge(w.batches, 1);
    ck_assert(!link_udp.is_own(w.link, peer_in(&w.group.from)));
    union sock_addr from;
    ck_assert_int_eq(node_hear(&n, "search", &from), 1);

    /* The answer to one goes where the question came from; the group hears the link's own port. */
    link_udp.send(w.link, peer_in(&w.group.from), bytes_str("to one"));
    send_to_group(&w, 0, "to all");
    run_until(&w, &w.group.count, 2);
    ck_assert_str_eq(w.group.text, "to all");
    ck_assert(link_udp.is_own(w.link, peer_in(&w.group.from)));
    ck_assert_int_eq(node_hear(&n, "to all", &from), 1);
    struct peer_room room;
    peer_print(sock_to_peer(&room, LINK, &from), text, sizeof text);
    if (!wildcard)
        ck_assert_str_eq(text, link_udp.where(w.link));
    struct pollfd ready = {.fd = n.mouth, .events = POLLIN};
    ck_assert_int_eq(poll(&ready, 1, SAFETY_MS), 1);
    ck_assert_int_eq(recv(n.mouth, text, sizeof text, 0), 6);
    ck_assert_mem_eq(text, "to one", 6);

    send_to_group(&w, 3, "near");
    ck_assert_int_eq(node_hear(&n, "near", &from), 3);
    send_to_group(&w, 255, "far");
    ck_assert_int_eq(node_hear(&n, "far", &from), 255);

    /* A node can connect to the address that it has seen. */
    node_say(&n, &from, "connect");
    run_until(&w, &w.unicast.count, 1);
    ck_assert_str_eq(w.unicast.text, "connect");
    ck_assert_uint_eq(w.counters->send_drops, 0);
    ck_assert_uint_eq(w.lost + w.failures, 0);
    node_close(&n);
    world_close(&w);
}

START_TEST(group_and_link_hear_each_other)
{
    talk(group_at("239.83.78.1", "@127.0.0.1"), "127.0.0.1:0", "127.0.0.1:0", false);
    talk(group_at("239.83.78.1", "@lo"), "127.0.0.1:0", "127.0.0.1:0", false);
    talk(group_at("239.83.78.1", ""), "127.0.0.1:0", "127.0.0.1:0", false);
}

END_TEST

START_TEST(a_link_on_all_addresses_knows_its_own_packets)
{
    struct world w;
    struct peer_room room;
    talk(group_at("239.83.78.2", "@127.0.0.1"), "0.0.0.0:0", "127.0.0.1:0", true);
    world_open(&w, "0.0.0.0:0", group_at("239.83.78.2", "@127.0.0.1"));
    union sock_addr a = address_of(&w);
    ck_assert_int_eq(inet_pton(AF_INET, "127.0.0.1", &a.ip4.sin_addr), 1);
    ck_assert(link_udp.is_own(w.link, sock_to_peer(&room, LINK, &a)));
    ck_assert(link_udp.is_own(w.link, sock_to_peer(&room, 0, &a))); /* heard by another link */
    ck_assert_int_eq(inet_pton(AF_INET, "203.0.113.7", &a.ip4.sin_addr), 1);
    ck_assert(!link_udp.is_own(w.link, sock_to_peer(&room, LINK, &a)));
    ck_assert(!link_udp.is_own(w.link, peer_make(&room, LINK, PEER_SERIAL, bytes_of(NULL, 0))));
    world_close(&w);
}

END_TEST

START_TEST(what_goes_to_a_group_on_the_links_own_port_is_not_for_the_link)
{
    struct world w;
    struct node n;
    world_open(&w, "0.0.0.0:0", NULL);
    union sock_addr to = address_of(&w);
    node_open(&n, group_at("239.83.78.3", "@127.0.0.1"), "127.0.0.1:0"); /* the machine is in it */
    n.group.ip4.sin_port = to.ip4.sin_port;
    node_say(&n, &n.group, "stray");
    ck_assert_int_eq(inet_pton(AF_INET, "127.0.0.1", &to.ip4.sin_addr), 1);
    node_say(&n, &to, "mine");
    run_until(&w, &w.unicast.count, 1);
    ck_assert_str_eq(w.unicast.text, "mine");
    ck_assert_uint_eq(w.unicast.count, 1);
    send_to_group(&w, 0, "x"); /* this link has no group */
    ck_assert_uint_eq(w.counters->send_drops, 1);
    node_close(&n);
    world_close(&w);
}

END_TEST

START_TEST(impossible_packets_on_the_group_are_counted)
{
    struct world w;
    struct node n;
    char big[MAX_PACKET + 2];
    memset(big, 'x', sizeof big);
    big[sizeof big - 1] = '\0';
    const char *group = group_at("239.83.78.4", "@127.0.0.1");
    world_open(&w, "127.0.0.1:0", group);
    node_open(&n, group, "127.0.0.1:0");
    node_say(&n, &n.group, big);
    node_say(&n, &n.group, "");
    node_say(&n, &n.group, big + 1);
    run_until(&w, &w.group.count, 1);
    ck_assert_uint_eq(strlen(w.group.text), MAX_PACKET);
    ck_assert_uint_eq(w.counters->oversize, 1);
    ck_assert_uint_eq(w.counters->empty, 1);
    node_close(&n);
    world_close(&w);
}

END_TEST

START_TEST(a_link_may_be_closed_from_its_groups_callback)
{
    struct world w;
    struct node n;
    const char *group = group_at("239.83.78.5", "@127.0.0.1");
    world_open(&w, "127.0.0.1:0", group);
    node_open(&n, group, "127.0.0.1:0");
    w.close_in_callback = true;
    for (unsigned i = 0; i < 10; i++)
        node_say(&n, &n.group, "last words");
    run_until(&w, &w.group.count, 1);
    node_close(&n);
    world_close(&w);
    ck_assert_uint_eq(w.group.count, 1);
}

END_TEST

/* ---- networks that are not there --------------------------------------------------------------- */

START_TEST(a_group_that_cannot_be_joined_is_said_once_and_tried_again_while_the_link_works)
{
    static const int joins[] = {ENODEV, ENODEV, ENOBUFS, ENODEV, ENODEV, 0};
    struct world w;
    struct node n;
    const char *group = group_at("239.83.78.6", "@127.0.0.1");
    script.joins = joins;
    world_open(&w, "127.0.0.1:0", group);
    ck_assert_uint_eq(w.failures, 1);
    ck_assert_ptr_nonnull(strstr(w.event, "239.83.78.6"));
    send_to_group(&w, 0, "nobody");
    ck_assert_uint_eq(w.counters->send_drops, 1);
    script.joins = NULL;
    node_open(&n, group, "127.0.0.1:0");
    script.joins = joins + 1;
    const union sock_addr to = address_of(&w);
    node_say(&n, &to, "hello");
    run_until(&w, &w.unicast.count, 1);
    run_until(&w, &w.joined, 1);
    ck_assert_uint_eq(w.failures, 3); /* each time that the reason changed */
    /* 10 s, doubling to a minute; then the interface is looked at once a minute. */
    static const uint64_t waits[] = {10000, 20000, 40000, 60000, 60000, 60000};
    ck_assert_uint_eq(script.n_waits, 6);
    ck_assert_mem_eq(script.waits, waits, sizeof waits);
    node_say(&n, &n.group, "there you are");
    run_until(&w, &w.group.count, 1);
    node_close(&n);
    world_close(&w);
}

END_TEST

START_TEST(an_interface_may_come_late_and_go_and_come_back)
{
    struct world w;
    script.name = "--++-+";
    world_open(&w, "127.0.0.1:0", group_at("239.83.78.7", "@stick0"));
    ck_assert_uint_eq(w.joined, 0);
    ck_assert_uint_eq(w.failures, 1);
    run_until(&w, &w.joined, 1);
    run_until(&w, &w.lost, 1);
    ck_assert_uint_eq(w.failures, 2);
    send_to_group(&w, 0, "nobody");
    ck_assert_uint_eq(w.counters->send_drops, 1);
    run_until(&w, &w.joined, 2);
    send_to_group(&w, 0, "all");
    run_until(&w, &w.group.count, 1);
    world_close(&w);
}

END_TEST

START_TEST(a_link_may_be_closed_while_its_group_is_being_left)
{
    struct world w;
    script.name = "+-";
    world_open(&w, "127.0.0.1:0", group_at("239.83.78.8", "@stick0"));
    ck_assert_uint_eq(w.joined, 1);
    run_until(&w, &w.lost, 1);
    world_close(&w);
}

END_TEST

START_TEST(a_link_that_cannot_be_opened_leaves_nothing_of_its_group)
{
    struct world w;
    struct link *second = NULL;
    world_open(&w, "127.0.0.1:0", group_at("239.83.78.9", ""));
    ck_assert_int_eq(try_open(&w, link_udp.where(w.link), group_at("239.83.78.9", ""), &second),
                     -EADDRINUSE);
    world_close(&w);
}

END_TEST

/* ---- IPv6 -------------------------------------------------------------------------------------- */

static char listen6[64], group6[64];

/* An address of an interface that does multicast; false: there is none. */
static bool find_ip6(void)
{
    struct ifaddrs *all = NULL;
    bool found = false;
    if (getifaddrs(&all) != 0)
        return false;
    for (const struct ifaddrs *i = all; i != NULL && !found; i = i->ifa_next) {
        const unsigned wanted = IFF_UP | IFF_MULTICAST;
        if (i->ifa_addr == NULL || i->ifa_addr->sa_family != AF_INET6 ||
            (i->ifa_flags & wanted) != wanted)
            continue;
        char host[INET6_ADDRSTRLEN];
        union sock_addr a;
        memcpy(&a, i->ifa_addr, sizeof a.ip6);
        inet_ntop(AF_INET6, &a.ip6.sin6_addr, host, sizeof host);
        const bool link_local = IN6_IS_ADDR_LINKLOCAL(&a.ip6.sin6_addr);
        snprintf(listen6, sizeof listen6, link_local ? "[%s%%%s]:0" : "[%s]:0", host, i->ifa_name);
        snprintf(group6, sizeof group6, "@%s", link_local ? i->ifa_name : host);
        found = true;
    }
    freeifaddrs(all);
    return found;
}

START_TEST(group_and_link_hear_each_other_over_ipv6)
{
    talk(group_at("[ff01::1:ff]", group6), listen6, listen6, false);
    talk(group_at("[ff01::1:ff]", group6), "[::]:0", listen6, true);
    talk(group_at("[ff01::1:ff]", ""), listen6, listen6, false);
}

END_TEST

static Suite *suite_ip4(void)
{
    Suite *s = suite_create("udp_group");
    TCase *t = tcase_create("ip4");
    tcase_set_timeout(t, 60);
    tcase_add_test(t, group_and_link_hear_each_other);
    tcase_add_test(t, a_link_on_all_addresses_knows_its_own_packets);
    tcase_add_test(t, what_goes_to_a_group_on_the_links_own_port_is_not_for_the_link);
    tcase_add_test(t, impossible_packets_on_the_group_are_counted);
    tcase_add_test(t, a_link_may_be_closed_from_its_groups_callback);
    tcase_add_test(t,
                   a_group_that_cannot_be_joined_is_said_once_and_tried_again_while_the_link_works);
    tcase_add_test(t, an_interface_may_come_late_and_go_and_come_back);
    tcase_add_test(t, a_link_may_be_closed_while_its_group_is_being_left);
    tcase_add_test(t, a_link_that_cannot_be_opened_leaves_nothing_of_its_group);
    suite_add_tcase(s, t);
    return s;
}

static Suite *suite_ip6(void)
{
    Suite *s = suite_create("udp_group_ip6");
    TCase *t = tcase_create("ip6");
    tcase_set_timeout(t, 60);
    tcase_add_test(t, group_and_link_hear_each_other_over_ipv6);
    suite_add_tcase(s, t);
    return s;
}

int main(int argc, char *argv[])
{
    if (argc < 2 || strcmp(argv[1], "ip6") != 0)
        return run_suite(suite_ip4());
    if (!find_ip6()) {
        puts("skipped: no interface here has IPv6 and multicast");
        return EXIT_SKIPPED;
    }
    return run_suite(suite_ip6());
}
