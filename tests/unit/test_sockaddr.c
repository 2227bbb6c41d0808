/* SPDX-License-Identifier: Apache-2.0 */
/* Socket addresses as text, the registry of links, and which address of ours a node talked to. */
#include <arpa/inet.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include <check.h>

#include "radio/link.h"
#include "radio/sockaddr.h"
#include "radio/sources.h"
#include "unit/suite.h"

/* socket() is wrapped (linker option) to see that nobody opens one. */
int __real_socket(int domain, int type, int protocol);
int __wrap_socket(int domain, int type, int protocol);

static int last_socket;

int __wrap_socket(int domain, int type, int protocol)
{
    last_socket = __real_socket(domain, type, protocol);
    return last_socket;
}

/* ---- addresses ------------------------------------------------------------------------------- */

START_TEST(addresses_are_read_and_printed_back)
{
    static const char *const good[] = {"127.0.0.1:1884",  "0.0.0.0:0", "255.255.255.255:65535",
                                       "[::1]:1884",      "[::]:0",    "[2001:db8::7]:10000",
                                       "[fe80::1%1]:1884"};
    for (size_t i = 0; i < sizeof good / sizeof good[0]; i++) {
        union sock_addr a, back;
        char error[200] = "";
        ck_assert_msg(sock_parse(good[i], &a, error, sizeof error) == 0, "%s", error);
        struct peer_room room;
        char text[PEER_TEXT_MAX];
        struct peer *p = sock_to_peer(&room, 3, &a);
        ck_assert_str_eq(peer_print(p, text, sizeof text), good[i]);
        ck_assert_uint_eq(p->link, 3);
        ck_assert(sock_from_peer(p, a.any.sa_family, &back));
        ck_assert_mem_eq(&a, &back, sock_len(&a));
        ck_assert(!sock_from_peer(p, a.any.sa_family == AF_INET ? AF_INET6 : AF_INET, &back));
    }
    union sock_addr named;
    char error[200];
    ck_assert_int_eq(sock_parse("[fe80::1%lo]:1", &named, error, sizeof error), 0);
    ck_assert_uint_eq(named.ip6.sin6_scope_id, 1);
}

END_TEST

START_TEST(what_is_not_an_address_is_refused_with_a_sentence)
{
    static const char *const bad[] = {
        "",
        "1884",
        "127.0.0.1",
        "127.0.0.1:",
        "127.0.0.1:65536",
        "127.0.0.1:-1",
        "127.0.0.1: 1",
        "127.0.0.1:1x",
        "127.0.0:1884",
        "localhost:1884",
        "::1:1884",
        "[::1]",
        "[::1]1884",
        "[::1:1884",
        "[127.0.0.1]:1884",
        "[::1]x:1",
        "*:1884",
        "[::1%]:1",
        "[::g]:1",
        "127.0.0.1:99999999999999",
    };
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        union sock_addr a;
        char error[200] = "";
        ck_assert_msg(sock_parse(bad[i], &a, error, sizeof error) < 0, "'%s' taken", bad[i]);
        ck_assert_uint_gt(strlen(error), 20);
    }
    union sock_addr a;
    char error[200];
    char endless[1000];
    memset(endless, '1', sizeof endless);
    endless[sizeof endless - 1] = '\0';
    ck_assert_int_lt(sock_parse(endless, &a, error, sizeof error), 0);
    ck_assert_int_eq(sock_parse("[fe80::1%nosuch0]:1", &a, error, sizeof error), -ENODEV);
    ck_assert_ptr_nonnull(strstr(error, "interface"));
}

END_TEST

START_TEST(the_registry_finds_drivers_by_name)
{
    ck_assert_ptr_eq(link_driver_find(bytes_str("udp")), &link_udp);
    ck_assert_ptr_null(link_driver_find(bytes_str("udp6")));
    ck_assert_ptr_null(link_driver_find(bytes_str("")));
    ck_assert_str_eq(link_driver_name(0), "udp");
    ck_assert_str_eq(link_driver_name(1), stick_driver_name(0)); /* the sticks come behind */
    ck_assert_ptr_eq(link_driver_find(bytes_str(link_driver_name(1))), &link_stick);
    size_t n = 1;
    while (stick_driver_name(n - 1) != NULL)
        n++;
    ck_assert_ptr_null(link_driver_name(n));
    ck_assert_ptr_null(link_driver_find(bytes_str("stick")));
}

END_TEST

START_TEST(check_touches_nothing_and_knows_a_bad_address)
{
    char error[200] = "";
    struct link_config c = {.listen = "127.0.0.1:1884", .max_packet_bytes = 100};
    last_socket = -7;
    ck_assert_int_eq(link_udp.check(&c, error, sizeof error), 0);
    c.listen = "127.0.0.1";
    ck_assert_int_eq(link_udp.check(&c, error, sizeof error), -EINVAL);
    c.listen = NULL;
    ck_assert_int_eq(link_udp.check(&c, error, sizeof error), -EINVAL);
    ck_assert_ptr_nonnull(strstr(error, "'listen'"));
    ck_assert_int_eq(last_socket, -7);
}

END_TEST

START_TEST(sources_forget_rather_than_grow)
{
    const struct hash_seed seed = {1, 2};
    struct sources *s = sources_new(&seed);
    union sock_addr remote = {
        .ip4 = {.sin_family = AF_INET, .sin_port = htons(1000)}
    };
    union source_address local = {0};
    ck_assert_uint_eq(sources_find(s, &remote), SOURCE_ANY);
    for (uint32_t i = 1; i <= 10 * SOURCES_LOCAL_MAX; i++) {
        remote.ip4.sin_addr.s_addr = htonl(i);
        local.ip4.s_addr = htonl(0x7F000000 + i);
        sources_note(s, &remote, &local);
        const uint8_t found = sources_find(s, &remote);
        ck_assert_uint_ne(found, SOURCE_ANY);
        ck_assert_mem_eq(sources_address(s, found), &local, sizeof local);
        ck_assert_uint_le(s->n_local, SOURCES_LOCAL_MAX);
    }
    free(s);
}

END_TEST
int main(void)
{
    Suite *suite = suite_create("sockaddr");
    TCase *t = tcase_create("sockaddr");
    tcase_add_test(t, addresses_are_read_and_printed_back);
    tcase_add_test(t, what_is_not_an_address_is_refused_with_a_sentence);
    tcase_add_test(t, the_registry_finds_drivers_by_name);
    tcase_add_test(t, check_touches_nothing_and_knows_a_bad_address);
    tcase_add_test(t, sources_forget_rather_than_grow);
    suite_add_tcase(suite, t);
    return run_suite(suite);
}
